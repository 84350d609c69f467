"""Log-mel filterbank features of recorded speech.

The front end of most recognizers since the 1980s: cut the signal into short overlapping frames,
take the power spectrum of each, pool it in triangular bands that are spaced evenly on the mel
scale, and take the logarithm. No pre-emphasis, dither or cepstral transform is applied.

Source: Davis and Mermelstein, "Comparison of parametric representations for monosyllabic word
recognition in continuously spoken sentences", 1980. The mel scale is the form of the HTK toolkit.
"""

import torch
from jaxtyping import Float
from torch import Tensor


def frame_signal(
    waveform: Float[Tensor, "samples"], frame_length: int, hop_length: int
) -> Float[Tensor, "frames frame_length"]:
    """Cut a waveform into overlapping frames; a waveform shorter than one frame is padded.

    Args:
        waveform: Samples, shape (samples,).
        frame_length: Samples a frame.
        hop_length: Samples from the start of one frame to the start of the next.

    Returns:
        Shape (frames, frame_length), frames = 1 + (samples - frame_length) // hop_length.
        Samples after the last whole frame are dropped.

    Raises:
        ValueError: If the waveform is not one-dimensional or empty, or a length is below 1.
    """
    if waveform.ndim != 1 or waveform.numel() == 0:
        raise ValueError(
            f"waveform must have shape (samples,) with samples >= 1, got {tuple(waveform.shape)}"
        )
    if frame_length < 1 or hop_length < 1:
        raise ValueError(
            "frame_length and hop_length must be at least 1, "
            f"got frame_length={frame_length} and hop_length={hop_length}"
        )
    missing = frame_length - len(waveform)
    if missing > 0:
        waveform = torch.nn.functional.pad(waveform, (0, missing))
    return waveform.unfold(0, frame_length, hop_length)


def power_spectrogram(
    waveform: Float[Tensor, "samples"],
    sample_rate: int,
    *,
    frame_seconds: float = 0.025,
    hop_seconds: float = 0.010,
    fft_size: int | None = None,
) -> Float[Tensor, "frames bins"]:
    """Return the power spectrum of each Hann-windowed frame.

    Args:
        waveform: Samples in [-1, 1], shape (samples,).
        sample_rate: Samples a second.
        frame_seconds: Length of a frame.
        hop_seconds: Distance between the starts of two frames.
        fft_size: Points of the Fourier transform; by default the next power of two.

    Returns:
        |FFT|^2, shape (frames, fft_size // 2 + 1); bin k is at k * sample_rate / fft_size hertz.
    """
    frame_length = round(frame_seconds * sample_rate)
    fft_size = fft_size or 1 << (frame_length - 1).bit_length()
    frames = frame_signal(waveform, frame_length, round(hop_seconds * sample_rate))
    window = torch.hann_window(frame_length, dtype=waveform.dtype, device=waveform.device)
    return torch.fft.rfft(frames * window, n=fft_size).abs().square()


def hertz_to_mel(hertz: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Convert frequencies to the mel scale: linear below about 1 kHz, logarithmic above.

    >>> hertz_to_mel(torch.tensor([0.0, 1000.0])).round()
    tensor([   0., 1000.])
    """
    return 2595.0 * torch.log10(1.0 + hertz / 700.0)


def mel_to_hertz(mel: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Convert mels to hertz, the inverse of `hertz_to_mel`."""
    return 700.0 * (10.0 ** (mel / 2595.0) - 1.0)


def mel_filterbank(
    num_mels: int,
    fft_size: int,
    sample_rate: int,
    *,
    low_hertz: float = 0.0,
    high_hertz: float | None = None,
) -> Float[Tensor, "num_mels bins"]:
    """Return triangular filters whose centers are spaced evenly on the mel scale.

    Each triangle rises from the center of its left neighbor to 1 at its own center and falls
    to the center of its right neighbor.

    Args:
        num_mels: Number of filters.
        fft_size: Points of the Fourier transform that the filters apply to.
        sample_rate: Samples a second.
        low_hertz: Left edge of the first filter.
        high_hertz: Right edge of the last filter, by default half the sample rate.

    Returns:
        Weights in [0, 1], float64, shape (num_mels, fft_size // 2 + 1).

    Raises:
        ValueError: If the edges are not in order 0 <= low < high <= sample_rate / 2.
    """
    high_hertz = sample_rate / 2 if high_hertz is None else high_hertz
    if not 0 <= low_hertz < high_hertz <= sample_rate / 2:
        raise ValueError(
            "low_hertz and high_hertz must satisfy 0 <= low < high <= sample_rate / 2 = "
            f"{sample_rate / 2:g}, got {low_hertz:g} and {high_hertz:g}"
        )
    edges = hertz_to_mel(torch.tensor([low_hertz, high_hertz], dtype=torch.float64))
    points = mel_to_hertz(
        torch.linspace(float(edges[0]), float(edges[1]), num_mels + 2, dtype=torch.float64)
    )
    bins = torch.arange(fft_size // 2 + 1, dtype=torch.float64) * sample_rate / fft_size
    left, center, right = points[:-2, None], points[1:-1, None], points[2:, None]
    rising = (bins - left) / (center - left)
    falling = (right - bins) / (right - center)
    return torch.minimum(rising, falling).clamp(min=0.0)


def log_mel(
    waveform: Float[Tensor, "samples"],
    sample_rate: int,
    *,
    num_mels: int = 40,
    low_hertz: float = 60.0,
    frame_seconds: float = 0.025,
    hop_seconds: float = 0.010,
    floor: float = 1e-8,
) -> Float[Tensor, "frames num_mels"]:
    """Return log-mel filterbank features, one row every `hop_seconds`.

    Args:
        waveform: Samples in [-1, 1], shape (samples,).
        sample_rate: Samples a second.
        num_mels: Number of mel bands.
        low_hertz: Left edge of the first band.
        frame_seconds: Length of a frame.
        hop_seconds: Distance between the starts of two frames.
        floor: Power added before the logarithm, so that silence stays finite.

    Returns:
        Natural logarithm of the power in each band, shape (frames, num_mels).
    """
    power = power_spectrogram(
        waveform, sample_rate, frame_seconds=frame_seconds, hop_seconds=hop_seconds
    )
    fft_size = 2 * (power.shape[1] - 1)
    filters = mel_filterbank(num_mels, fft_size, sample_rate, low_hertz=low_hertz)
    return torch.log(power @ filters.to(power).T + floor)


def normalize(features: Float[Tensor, "frames bands"]) -> Float[Tensor, "frames bands"]:
    """Give each band mean 0 and standard deviation 1 over the utterance.

    The mean in the log domain is the microphone's gain and coloring, which carry no words.

    Args:
        features: Shape (frames, bands).

    Returns:
        The same shape; a band that does not vary becomes about 0.
    """
    mean = features.mean(dim=0, keepdim=True)
    deviation = features.std(dim=0, correction=0, keepdim=True)
    return (features - mean) / deviation.clamp(min=1e-3)


def stack_frames(
    features: Float[Tensor, "frames bands"], size: int, stride: int
) -> Float[Tensor, "steps stacked"]:
    """Join `size` neighboring frames in one row and keep every `stride`-th row.

    With size = stride = 3 and frames every 10 ms, the recognizer takes one step every 30 ms and
    still sees every frame. Frames after the last whole row are kept by repeating the last frame.

    Args:
        features: Shape (frames, bands).
        size: Frames a row.
        stride: Frames from one row to the next.

    Returns:
        Shape (steps, size * bands), oldest frame first, steps = max(1, ceil((frames - size) /
        stride) + 1).

    Raises:
        ValueError: If there is no frame, or size or stride is below 1.
    """
    if features.ndim != 2 or len(features) == 0:
        raise ValueError(
            f"features must have shape (frames, bands) with frames >= 1, "
            f"got {tuple(features.shape)}"
        )
    if size < 1 or stride < 1:
        raise ValueError(f"size and stride must be at least 1, got {size} and {stride}")
    steps = max(1, -(-(len(features) - size) // stride) + 1)
    last = len(features) - 1
    rows = torch.arange(steps)[:, None] * stride + torch.arange(size)  # (steps, size)
    return features[rows.clamp(max=last)].flatten(1)
