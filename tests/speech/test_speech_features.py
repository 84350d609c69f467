"""Log-mel features against librosa and python_speech_features."""

import librosa
import numpy as np
import pytest
import python_speech_features.base
import python_speech_features.sigproc
import torch

from coursekit.speech.features import (
    frame_signal,
    hertz_to_mel,
    log_mel,
    mel_filterbank,
    mel_to_hertz,
    normalize,
    power_spectrogram,
    stack_frames,
)

RATE = 8000


@pytest.fixture
def noise():
    return torch.randn(4321, dtype=torch.float64, generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize(
    ("rate", "fft_size", "bands", "low"), [(8000, 256, 40, 60.0), (16000, 512, 26, 0.0)]
)
def test_mel_filterbank_equals_that_of_librosa(rate, fft_size, bands, low):
    expected = librosa.filters.mel(
        sr=rate, n_fft=fft_size, n_mels=bands, fmin=low, htk=True, norm=None, dtype=np.float64
    )
    ours = mel_filterbank(bands, fft_size, rate, low_hertz=low).numpy()
    np.testing.assert_allclose(ours, expected, atol=1e-12)


def test_power_spectrogram_equals_that_of_python_speech_features(noise):
    frames = python_speech_features.sigproc.framesig(
        noise.numpy(), 200, 80, winfunc=lambda n: np.hanning(n + 1)[:-1]
    )
    expected = python_speech_features.sigproc.powspec(frames, 256) * 256  # theirs divides by 256
    ours = power_spectrogram(noise, RATE).numpy()
    np.testing.assert_allclose(ours, expected[: len(ours)], rtol=1e-9, atol=1e-12)


def test_log_mel_equals_that_of_librosa(noise):
    padded = np.pad(noise.numpy(), (28, 28))  # librosa centers 200 samples in frames of 256
    power = librosa.feature.melspectrogram(
        y=padded, sr=RATE, n_fft=256, win_length=200, hop_length=80, center=False,
        n_mels=40, fmin=60.0, htk=True, norm=None,
    )  # fmt: skip
    ours = log_mel(noise, RATE)
    np.testing.assert_allclose(ours.numpy(), np.log(power.T + 1e-8), rtol=1e-5, atol=1e-5)
    assert ours.shape == (1 + (4321 - 200) // 80, 40)


def test_a_pure_tone_is_strongest_in_the_band_around_it():
    tone = torch.sin(2 * torch.pi * 1000.0 * torch.arange(RATE) / RATE)
    band = int(log_mel(tone, RATE).mean(dim=0).argmax())
    centers = mel_to_hertz(
        torch.linspace(*hertz_to_mel(torch.tensor([60.0, 4000.0])).tolist(), 42)
    )[1:-1]
    assert abs(float(centers[band]) - 1000.0) < 60.0


def test_mel_scale_and_its_inverse_cancel_and_agree_with_librosa():
    hertz = torch.linspace(0, 4000, 33, dtype=torch.float64)
    assert torch.allclose(mel_to_hertz(hertz_to_mel(hertz)), hertz)
    np.testing.assert_allclose(hertz_to_mel(hertz), librosa.hz_to_mel(hertz.numpy(), htk=True))


def test_normalized_features_ignore_the_gain_of_the_microphone(noise):
    quiet, loud = normalize(log_mel(noise, RATE)), normalize(log_mel(8.0 * noise, RATE))
    assert torch.allclose(quiet, loud, atol=1e-5)
    assert torch.allclose(quiet.mean(dim=0), torch.zeros(40, dtype=torch.float64), atol=1e-9)
    assert torch.allclose(quiet.square().mean(dim=0), torch.ones(40, dtype=torch.float64))


def test_normalizing_silence_gives_zeros():
    assert normalize(log_mel(torch.zeros(1000), RATE)).abs().max() < 0.01


@pytest.mark.parametrize("frames", [1, 2, 3, 4, 9, 10, 11])
def test_stacked_frames_hold_every_frame_once(frames):
    features = torch.arange(frames * 2.0).reshape(frames, 2)
    stacked = stack_frames(features, 3, 3)
    assert stacked.shape == (-(-frames // 3), 6)
    unstacked = stacked.reshape(-1, 2)
    assert torch.equal(unstacked[:frames], features)
    assert torch.equal(unstacked[frames:], features[-1:].expand(len(unstacked) - frames, 2))


def test_stacked_frames_may_overlap():
    features = torch.arange(5.0)[:, None]
    assert stack_frames(features, 3, 1).tolist() == [[0, 1, 2], [1, 2, 3], [2, 3, 4]]


def test_a_waveform_shorter_than_a_frame_gives_one_padded_frame():
    assert frame_signal(torch.ones(3), 5, 2).tolist() == [[1, 1, 1, 0, 0]]


def test_bad_input_is_named():
    with pytest.raises(ValueError, match=r"waveform must have shape \(samples,\).*got \(2, 9\)"):
        frame_signal(torch.zeros(2, 9), 5, 2)
    with pytest.raises(ValueError, match=r"frame_length and hop_length must be at least 1.*=0"):
        frame_signal(torch.zeros(9), 0, 2)
    with pytest.raises(ValueError, match=r"low_hertz and high_hertz.*got 60 and 5000"):
        mel_filterbank(40, 256, RATE, low_hertz=60, high_hertz=5000)
    with pytest.raises(ValueError, match="features must have shape"):
        stack_frames(torch.zeros(0, 3), 3, 3)
    with pytest.raises(ValueError, match="size and stride must be at least 1, got 3 and 0"):
        stack_frames(torch.zeros(4, 3), 3, 0)
