"""Right whales' calls in sea noise: exact contours, levels and boxes; loudness does not decide."""

import numpy as np
import pytest
import torch
from scipy.signal import hilbert, welch
from sklearn.metrics import roc_auc_score

from coursekit.data import calls
from coursekit.data.calls import OTHER_SOUNDS, SAMPLE_RATE, band_power, colored_noise, up_calls

SAMPLES = 4000


@pytest.fixture(scope="module")
def data():
    return up_calls(1000, seed=3)


@pytest.fixture(scope="module")
def parts():
    random = np.random.default_rng(5)
    labels, other = random.integers(0, 2, 200), random.integers(0, len(OTHER_SOUNDS), 200)
    made, fields = calls._make(labels, other, (-3.0, 9.0), random)
    return labels, other, made, fields


def test_same_seed_gives_the_same_bytes_and_another_seed_others():
    first, again, other = up_calls(40, seed=1), up_calls(40, seed=1), up_calls(40, seed=2)
    for name in ("waveforms", "labels", "boxes", "contours", "other", "other_boxes", "snr"):
        assert getattr(first, name).numpy().tobytes() == getattr(again, name).numpy().tobytes()
    assert not torch.equal(first.waveforms, other.waveforms)


def test_clips_have_the_stated_shape_type_and_range(data):
    assert data.waveforms.shape == (1000, SAMPLES)
    assert data.waveforms.dtype == torch.float32
    peaks = data.waveforms.abs().amax(1)
    assert peaks.min() > 0.0999
    assert peaks.max() < 0.9001
    assert len(data) == 1000
    assert repr(data) == "UpCalls(1,000 clips of 2 s at 2000 Hz, 500 with a call)"


@pytest.mark.parametrize(("share", "count"), [(0.5, 50), (0.07, 7), (0.0, 0), (1.0, 100)])
def test_exactly_the_stated_share_holds_a_call(share, count):
    data = up_calls(100, positive_share=share, seed=0)
    assert int(data.labels.sum()) == count
    for field in (data.boxes, data.contours, data.snr[:, None]):
        assert torch.equal(field.isnan().any(1), data.labels == 0)
        assert torch.equal(field.isnan().all(1), data.labels == 0)


def test_other_sounds_are_as_frequent_as_stated(data):
    present = (data.other > 0).float()
    assert present[data.labels == 0].mean() == pytest.approx(0.8, abs=0.05)
    assert present[data.labels == 1].mean() == pytest.approx(0.2, abs=0.05)
    assert set(data.other[data.labels == 0].tolist()) == set(range(len(OTHER_SOUNDS)))
    assert torch.equal(data.other_boxes.isnan().all(1), data.other == 0)
    assert torch.equal(data.other_snr.isnan(), data.other == 0)


def test_boxes_follow_from_contours_and_lie_inside_clip_and_band(data):
    boxes, contours = data.boxes[data.labels == 1], data.contours[data.labels == 1]
    assert torch.allclose(boxes[:, 1] - boxes[:, 0], contours[:, 2], atol=1e-5)
    assert torch.allclose(boxes[:, 2], contours[:, 0])
    assert torch.allclose(boxes[:, 3], contours[:, 0] + contours[:, 1])
    for box in (boxes, data.other_boxes[data.other > 0]):
        assert box[:, 0].min() >= 0
        assert box[:, 1].max() <= 2
        assert box[:, 2].min() >= 10
        assert box[:, 3].max() <= 250
        assert (box[:, 1] > box[:, 0]).all()
        assert (box[:, 3] > box[:, 2]).all()


def test_instantaneous_frequency_of_a_call_equals_the_stated_contour(parts):
    labels, _, made, (_, boxes, contours, *_) = parts
    time = np.arange(SAMPLES) / SAMPLE_RATE
    for k in np.flatnonzero(labels):
        first, rise, duration, bend = contours[k]
        phase = np.unwrap(np.angle(hilbert(made.calls[k])))
        measured = np.gradient(phase) * SAMPLE_RATE / (2 * np.pi)
        u = (time - boxes[k, 0]) / duration
        middle = (u > 0.2) & (u < 0.8)
        assert np.abs(measured - (first + rise * u.clip(0) ** bend))[middle].max() < 2.0
        assert np.all(made.calls[k][(u < 0) | (u >= 1)] == 0)


@pytest.mark.parametrize("kind", ["down-sweep", "flat moan", "arch"])
def test_other_tones_stay_inside_their_boxes_and_move_as_named(parts, kind):
    _, other, made, fields = parts
    time = np.arange(SAMPLES) / SAMPLE_RATE
    for k in np.flatnonzero(other == OTHER_SOUNDS.index(kind)):
        left, right, low, high = fields[3][k]
        phase = np.unwrap(np.angle(hilbert(made.others[k])))
        frequency = np.gradient(phase) * SAMPLE_RATE / (2 * np.pi)
        u = (time - left) / (right - left)
        middle = frequency[(u > 0.2) & (u < 0.8)]
        assert low - 3 < middle.min()
        assert middle.max() < high + 3
        half = len(middle) // 2
        moved = {
            "down-sweep": middle[-1] < middle[0] - 10,
            "flat moan": abs(middle[-1] - middle[0]) < 8,
            "arch": middle[half] > max(middle[0], middle[-1]) + 10,
        }
        assert moved[kind]


def test_clicks_are_short_and_stay_inside_their_boxes(parts):
    _, other, made, fields = parts
    time = np.arange(SAMPLES) / SAMPLE_RATE
    for k in np.flatnonzero(other == OTHER_SOUNDS.index("clicks")):
        left, right, *_ = fields[3][k]
        assert np.all(made.others[k][(time < left) | (time >= right)] == 0)
        starts = np.diff((np.abs(made.others[k]) > 0).astype(int)) == 1
        assert 2 <= starts.sum() <= 8


def test_measured_signal_to_noise_ratio_is_the_stated_one(parts):
    labels, other, made, (_, boxes, _, other_boxes, snr, other_snr) = parts
    noise = band_power(made.noise)
    time = np.arange(SAMPLES) / SAMPLE_RATE
    for sounds, box, stated in (
        (made.calls, boxes, snr),
        (made.others, other_boxes, other_snr),
    ):
        for k in np.flatnonzero(~np.isnan(stated)):
            inside = (time >= box[k, 0]) & (time < box[k, 1])
            power = (sounds[k][inside] ** 2).mean()
            assert 10 * np.log10(power / noise[k]) == pytest.approx(stated[k], abs=0.02)
    assert np.isnan(snr[labels == 0]).all()
    assert np.isnan(other_snr[other == 0]).all()
    assert np.nanmin(snr) < -1.5
    assert np.nanmax(snr) > 7.5


def test_clip_is_the_sum_of_its_parts_times_a_gain(parts):
    *_, made, (waveforms, *_) = parts
    mixed = made.noise + made.calls + made.others
    gain = np.abs(waveforms).max(1) / np.abs(mixed).max(1)
    assert np.allclose(waveforms, mixed * gain[:, None], atol=1e-6)


def test_band_power_equals_the_power_of_a_tone_inside_and_nothing_of_one_outside():
    time = np.arange(SAMPLES) / SAMPLE_RATE
    inside, outside = 0.3 * np.sin(2 * np.pi * 120 * time), np.sin(2 * np.pi * 400 * time)
    assert band_power(np.stack([inside, outside])) == pytest.approx([0.045, 0.0], abs=1e-9)


@pytest.mark.parametrize("slope", [0.0, 1.0, 1.8])
def test_spectrum_of_the_noise_falls_with_the_stated_slope(slope):
    noise = colored_noise(64, SAMPLES, slope, np.random.default_rng(0))
    frequencies, density = welch(noise, SAMPLE_RATE, nperseg=1000, axis=1)
    chosen = (frequencies > 20) & (frequencies < 900)
    fitted = np.polyfit(np.log(frequencies[chosen]), np.log(density.mean(0)[chosen]), 1)[0]
    assert fitted == pytest.approx(-slope, abs=0.05)
    assert (noise**2).mean(1) == pytest.approx(np.ones(64), rel=1e-4)
    assert np.abs(noise.mean(1)).max() < 1e-3


def test_every_row_of_noise_has_its_own_slope():
    noise = colored_noise(2, SAMPLES, np.array([0.0, 2.0]), np.random.default_rng(0))
    share = band_power(noise, band=(0.5, 50)) / (noise**2).mean(1)
    assert share[0] < 0.1 < 0.9 < share[1]


def test_spectrum_of_the_noise_is_flat_below_the_corner():
    noise = colored_noise(400, SAMPLES, 2.0, np.random.default_rng(0), flat_below=100)
    low, high = (band_power(noise, band=band).mean() for band in ((1, 25), (25.5, 49.5)))
    assert low == pytest.approx(high, rel=0.02)
    above = band_power(noise, band=(75.5, 99.5)).mean()
    expected = sum(100**2 / k**2 for k in range(151, 200)) / 49
    assert above / high == pytest.approx(expected, rel=0.03)


def matched_filter_scores(waveforms):
    """Score clips by the best match with a bank of 24 calls, after whitening each spectrum."""
    grid = [(f, r, d, 1.5) for f in (60, 75, 90, 105) for r in (60, 90) for d in (0.7, 0.9, 1.1)]
    contours = np.array(grid)
    nothing = np.zeros(len(grid))
    spectra = np.fft.rfft(waveforms)
    width = 41
    smooth = np.apply_along_axis(
        lambda row: np.convolve(row, np.ones(width) / width, "same"), 1, np.abs(spectra) ** 2
    )
    white = spectra / np.sqrt(smooth)
    frequencies = np.fft.rfftfreq(SAMPLES, 1 / SAMPLE_RATE)
    white[:, (frequencies < 40) | (frequencies > 260)] = 0
    white /= np.sqrt((np.abs(white) ** 2).sum(1, keepdims=True))
    best = np.zeros(len(waveforms))
    for k in range(len(grid)):
        template = np.fft.rfft(calls.tones(contours[k : k + 1], nothing[:1], nothing[:1], SAMPLES))
        match = white * template.conj()
        analytic = np.fft.ifft(match, SAMPLES)  # no negative frequencies: the envelope
        best = np.maximum(best, np.abs(analytic).max(1))
    return best


def test_loudness_does_not_tell_calls_and_a_matched_filter_does(data):
    waveforms, labels = data.waveforms.numpy()[:600].astype(np.float64), data.labels.numpy()[:600]
    band, whole = band_power(waveforms), (waveforms**2).mean(1)
    beside = band_power(waveforms, band=(300, 900)) + band_power(waveforms, band=(5, 45))
    for energy in (band, whole, band / whole, band / beside):
        assert roc_auc_score(labels, energy) < 0.68
    assert roc_auc_score(labels, matched_filter_scores(waveforms)) > 0.9


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"examples": 0}, "examples must be at least 1, got 0"),
        ({"positive_share": 1.5}, "positive_share must be from 0 to 1, got 1.5"),
        ({"hard_negatives": -1}, "hard_negatives must be from 0 to 1, got -1"),
        ({"beside_calls": 2}, "beside_calls must be from 0 to 1, got 2"),
        ({"snr": (5, 1)}, r"snr must be \(least, greatest\) in dB, got \(5, 1\)"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        up_calls(**{"examples": 4, "seed": 0, **arguments})


def test_too_short_noise_is_refused():
    with pytest.raises(ValueError, match="samples must be at least 2, got 1"):
        colored_noise(1, 1, 1.0, np.random.default_rng(0))


def test_picture_shows_calls_with_boxes_and_every_other_sound():
    titles = [axis.get_title() for axis in calls.draw("up-calls").axes]
    assert len(titles) == 8
    assert sum(title.startswith("up-call") for title in titles) == 3
    assert titles[3:] == ["no call", *(f"no call; {name}" for name in OTHER_SOUNDS[1:])]
