"""Generated calls of right whales in generated sea noise, with exact labels and boxes.

The up-call of the right whales is a tone that rises within 50 to 200 Hz (Mellinger 2004, "A
comparison of methods for detecting right whale calls", Canadian Acoustics 32), in the North Pacific
from about 90 to 150 Hz in 0.7 s (McDonald and Moore 2002, "Calls recorded from North Pacific right
whales", J. Cetacean Res. Manage. 4). Clips last 2 s at 2,000 samples a second, as in the detection
challenge of Cornell University and Marinexplore (Kaggle, 2013). Nothing here was recorded in the
sea: real noise has more kinds of sound, and real calls have echoes, harmonics and other shapes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SAMPLE_RATE = 2000
SECONDS = 2.0
BAND = (50.0, 250.0)  # in Hz: where calls lie and where the signal-to-noise ratio is measured
OTHER_SOUNDS = ("none", "down-sweep", "flat moan", "arch", "clicks")
# Of every sound the least and the most: first frequency in Hz, rise in Hz, duration in s, bend.
# The bend p shapes the contour f(u) = first + rise u^p, with u from 0 to 1 over the duration.
UP_CALL = ((55.0, 110.0), (45.0, 110.0), (0.6, 1.2), (1.0, 2.2))
SHAPES = {
    "down-sweep": ((120.0, 210.0), (-100.0, -45.0), (0.6, 1.2), (0.5, 1.0)),
    "flat moan": ((70.0, 200.0), (-6.0, 6.0), (0.6, 1.4), (1.0, 1.0)),
    "arch": ((60.0, 120.0), (45.0, 90.0), (0.6, 1.2), (1.0, 1.0)),
}
SLOPES = (0.8, 1.8)  # exponents a of the noise's power density 1 / f^a
CORNER = 10.0  # in Hz: below it the density is flat, as after the high-pass of a recorder
FADE = 0.2  # share of a call over which it swells, and over which it dies away
CHUNK = 512  # clips made at a time, to bound the memory


@dataclass(frozen=True)
class UpCalls:
    """Clips of sea noise, some with an up-call.

    Attributes:
        waveforms: float32 of shape (n, samples) in [-1, 1].
        labels: int64 of shape (n,): 1 where the clip holds an up-call.
        boxes: float32 of shape (n, 4): start and end of the up-call in s, its least and greatest
            instantaneous frequency in Hz; NaN without one.
        contours: float32 of shape (n, 4): first frequency and rise in Hz, duration in s, and bend p
            of the up-call: after a share u of its duration its frequency is first + rise u^p; NaN
            without one.
        other: int64 of shape (n,): which other sound the clip holds, an index into `OTHER_SOUNDS`.
        other_boxes: float32 of shape (n, 4), as `boxes`, for the other sound.
        snr: float32 of shape (n,): mean power of the up-call over its duration against that of the
            noise of the clip, other sound excluded, between 50 and 250 Hz, in dB; NaN without one.
        other_snr: float32 of shape (n,), as `snr`, for the other sound.
        sample_rate: Samples a second.
    """

    waveforms: Float[Tensor, "n samples"]
    labels: Int[Tensor, " n"]
    boxes: Float[Tensor, "n 4"]
    contours: Float[Tensor, "n 4"]
    other: Int[Tensor, " n"]
    other_boxes: Float[Tensor, "n 4"]
    snr: Float[Tensor, " n"]
    other_snr: Float[Tensor, " n"]
    sample_rate: int

    def __len__(self) -> int:
        return len(self.labels)

    def __repr__(self) -> str:
        return (
            f"UpCalls({len(self):,} clips of {self.waveforms.shape[1] / self.sample_rate:g} s at "
            f"{self.sample_rate} Hz, {int(self.labels.sum()):,} with a call)"
        )


@dataclass(frozen=True)
class Parts:
    """What a clip is the sum of, each float32 of shape (n, samples), before the common gain.

    Attributes:
        noise: Colored noise, lines of distant ships and rain.
        calls: The up-call, or zeros.
        others: The other sound, or zeros.
    """

    noise: np.ndarray
    calls: np.ndarray
    others: np.ndarray


def colored_noise(
    count: int,
    samples: int,
    slope: float | np.ndarray,
    random: np.random.Generator,
    flat_below: float = 1.0,
) -> np.ndarray:
    """Draw Gaussian noise whose power density falls as a power of the frequency.

    Args:
        count: Number of rows.
        samples: Samples a row.
        slope: Exponent a of the density 1 / f^a, one for all or one a row: 0 is white, 1 pink,
            2 brown.
        random: The source of chance.
        flat_below: Frequency, in cycles a row, below which the density no longer rises.

    Returns:
        float32 of shape (count, samples), with mean 0 and mean power 1 in every row.

    Raises:
        ValueError: `samples` is less than 2.

    >>> colored_noise(2, 8, 1.0, np.random.default_rng(0)).shape
    (2, 8)
    """
    if samples < 2:
        raise ValueError(f"samples must be at least 2, got {samples!r}")
    spectrum = np.fft.rfft(random.standard_normal((count, samples), dtype=np.float32))
    frequencies = np.maximum(np.arange(spectrum.shape[1]), max(flat_below, 1.0))
    exponents = np.broadcast_to(np.asarray(slope, dtype=np.float64), (count,))
    spectrum *= (frequencies[None] ** (-exponents[:, None] / 2)).astype(np.float32)
    spectrum[:, 0] = 0
    noise = np.fft.irfft(spectrum, samples)
    return (noise / np.sqrt((noise**2).mean(1, keepdims=True))).astype(np.float32)


def band_power(
    waveforms: np.ndarray, sample_rate: int = SAMPLE_RATE, band: tuple[float, float] = BAND
) -> np.ndarray:
    """Measure the mean power inside a band by the discrete Fourier transform (Parseval).

    Args:
        waveforms: Shape (n, samples).
        sample_rate: Samples a second.
        band: Lower and upper frequency in Hz, both inside.

    Returns:
        Shape (n,), in squared units of the samples.
    """
    samples = waveforms.shape[1]
    spectrum = np.abs(np.fft.rfft(waveforms)) ** 2
    frequencies = np.fft.rfftfreq(samples, 1 / sample_rate)
    inside = (frequencies >= band[0]) & (frequencies <= band[1])
    return 2 * spectrum[:, inside].sum(1) / samples**2


def tones(
    contours: np.ndarray,
    starts: np.ndarray,
    phases: np.ndarray,
    samples: int,
    arch: bool = False,
) -> np.ndarray:
    """Sing tones along contours.

    Args:
        contours: Shape (n, 4): first frequency and rise in Hz, duration in s, bend p.
        starts: Shape (n,), in s.
        phases: Shape (n,), in radians.
        samples: Samples a row, at `SAMPLE_RATE`.
        arch: Rise evenly over the first half of the duration and fall back over the second,
            instead of following first + rise u^p.

    Returns:
        Shape (n, samples), with mean power 1 over the duration of each tone and zeros outside.
    """
    first, rise, duration, bend = (column[:, None] for column in contours.T)
    u = (np.arange(samples) / SAMPLE_RATE - starts[:, None]) / duration
    inside = (u >= 0) & (u < 1)
    u = u.clip(0, 1)
    if arch:  # the integral of 2u, then of 2 - 2u
        swept = np.where(u < 0.5, u**2, 2 * u - u**2 - 0.5)
    else:
        swept = u ** (bend + 1) / (bend + 1)
    phase = 2 * np.pi * duration * (first * u + rise * swept) + phases[:, None]
    envelope = np.sin(np.pi / 2 * np.minimum(np.minimum(u, 1 - u) / FADE, 1)) ** 2
    tone = np.where(inside, envelope * np.sin(phase), 0)
    return tone * np.sqrt(inside.sum(1, keepdims=True) / (tone**2).sum(1, keepdims=True))


def _draw_contours(
    ranges: Sequence[tuple[float, float]], count: int, random: np.random.Generator
) -> np.ndarray:
    least, greatest = np.array(ranges).T
    return random.uniform(least, greatest, (count, 4))


def _draw_starts(contours: np.ndarray, seconds: float, random: np.random.Generator) -> np.ndarray:
    return random.uniform(0, seconds - contours[:, 2])


def _boxes(contours: np.ndarray, starts: np.ndarray) -> np.ndarray:
    first, rise, duration, _ = contours.T
    low, high = first + np.minimum(rise, 0), first + np.maximum(rise, 0)
    return np.stack([starts, starts + duration, low, high], 1)


def _ships(count: int, samples: int, random: np.random.Generator) -> np.ndarray:
    """Draw the lines of a distant ship: harmonics of its blade rate, slowly swelling."""
    time = (np.arange(samples) / SAMPLE_RATE).astype(np.float32)
    blade, slow = random.uniform(7, 17, (count, 1)), random.uniform(0.1, 0.5, (count, 1))
    turn = np.exp((2j * np.pi * blade).astype(np.complex64) * time)
    harmonic = turn.copy()
    lines = np.zeros((count, samples), dtype=np.complex64)
    for number in range(2, 12):
        harmonic *= turn
        phase = np.exp(2j * np.pi * random.random((count, 1)))
        level = random.uniform(0, 1, (count, 1)) / np.sqrt(number)
        lines += harmonic * (level * phase).astype(np.complex64)
    swell = 1 + 0.5 * np.sin(2 * np.pi * (slow * time + random.random((count, 1))))
    return lines.real * swell


def _clicks(count: int, samples: int, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Draw trains of 3 to 8 decaying clicks of mean power 1 over the train, and their boxes."""
    time = np.arange(samples) / SAMPLE_RATE
    number = random.integers(3, 9, count)
    gap = random.uniform(0.08, 0.22, count)
    length = gap * (number - 1) + 0.05
    start = random.uniform(0, samples / SAMPLE_RATE - length)
    pitch = random.uniform(80, 220, (count, 1))
    train = np.zeros((count, samples))
    for k in range(8):
        since = time - (start + k * gap)[:, None]
        sounding = (since >= 0) & (since < 0.05) & (k < number)[:, None]
        click = np.exp(-since.clip(0) / 0.012) * np.sin(2 * np.pi * pitch * since)
        train += np.where(sounding, click, 0)
    inside = (time >= start[:, None]) & (time < (start + length)[:, None])
    train *= np.sqrt(inside.sum(1, keepdims=True) / (train**2).sum(1, keepdims=True))
    # A click that decays in 12 ms has half its power 1 / (2 pi 0.012) = 13 Hz beside its pitch.
    boxes = np.stack([start, start + length, pitch[:, 0] - 13, pitch[:, 0] + 13], 1)
    return train, boxes


def _add(noise: np.ndarray, rows: np.ndarray, sound: np.ndarray, level: np.ndarray) -> None:
    """Add sounds to some rows, each at a level in dB of its power between 50 and 250 Hz."""
    gain = 10 ** (level / 20) / np.sqrt(band_power(sound))
    noise[rows] += (gain[:, None] * sound).astype(noise.dtype)


def _sea(count: int, samples: int, random: np.random.Generator) -> np.ndarray:
    """Draw noise of mean power 1 between 50 and 250 Hz: colored, half with a ship, a third rain."""
    slopes = random.uniform(*SLOPES, count)
    noise = colored_noise(count, samples, slopes, random, CORNER * samples / SAMPLE_RATE)
    noise /= np.sqrt(band_power(noise))[:, None]
    ship = np.flatnonzero(random.random(count) < 1 / 2)
    lines = _ships(len(ship), samples, random)
    _add(noise, ship, lines, random.uniform(-15, -3, len(ship)))
    rain = np.flatnonzero(random.random(count) < 1 / 3)
    white = random.standard_normal((len(rain), samples), dtype=np.float32)
    _add(noise, rain, white, random.uniform(-10, 0, len(rain)))
    return noise / np.sqrt(band_power(noise))[:, None]


def _others(
    kinds: np.ndarray, samples: int, random: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Draw the other sounds with mean power 1 over their durations, and their boxes."""
    sounds = np.zeros((len(kinds), samples))
    boxes = np.full((len(kinds), 4), np.nan)
    for name, ranges in SHAPES.items():
        rows = np.flatnonzero(kinds == OTHER_SOUNDS.index(name))
        contours = _draw_contours(ranges, len(rows), random)
        starts = _draw_starts(contours, samples / SAMPLE_RATE, random)
        phases = random.uniform(0, 2 * np.pi, len(rows))
        sounds[rows] = tones(contours, starts, phases, samples, arch=name == "arch")
        boxes[rows] = _boxes(contours, starts)
    rows = np.flatnonzero(kinds == OTHER_SOUNDS.index("clicks"))
    sounds[rows], boxes[rows] = _clicks(len(rows), samples, random)
    return sounds, boxes


def up_calls(
    examples: int,
    positive_share: float = 0.5,
    snr: tuple[float, float] = (-10.0, 5.0),
    hard_negatives: float = 0.8,
    beside_calls: float = 0.2,
    *,
    seed: int,
) -> UpCalls:
    """Make clips of sea noise, some of which hold a right whale's up-call.

    Each clip lasts 2 s at 2,000 samples a second. Its noise is Gaussian with a power density
    1 / f^a above 10 Hz, a drawn from 0.8 to 1.8; half of the clips have the lines of a distant
    ship, a third rain (white noise). An up-call rises from 55-110 Hz by 45-110 Hz in 0.6-1.2 s. So
    that loudness does not tell which clips hold a call, most others hold another sound of the same
    strength in the same band: a down-sweep, a flat moan, an arch that rises and falls back, or
    clicks; some clips with a call hold one too. A common gain, drawn for every clip, sets its peak
    to between 0.1 and 0.9.

    Args:
        examples: Number of clips, n.
        positive_share: Share of the clips that hold a call; exactly ``round(n * share)`` do.
        snr: The least and the greatest signal-to-noise ratio in dB, measured between 50 and 250 Hz
            over the duration of the sound; the other sounds are drawn from it as well.
        hard_negatives: Chance that a clip without a call holds another sound.
        beside_calls: Chance that a clip with a call holds another sound too.
        seed: Seed of the draws.

    Returns:
        The clips in random order.

    Raises:
        ValueError: An argument is out of range.

    Source: the frequencies follow Mellinger (2004) and McDonald and Moore (2002), the clips the
    Kaggle whale detection challenge (2013); the noise, the other sounds and all levels are a model.

    >>> up_calls(4, seed=0)
    UpCalls(4 clips of 2 s at 2000 Hz, 2 with a call)
    """
    if examples < 1:
        raise ValueError(f"examples must be at least 1, got {examples!r}")
    for name, share in (
        ("positive_share", positive_share),
        ("hard_negatives", hard_negatives),
        ("beside_calls", beside_calls),
    ):
        if not 0 <= share <= 1:
            raise ValueError(f"{name} must be from 0 to 1, got {share!r}")
    if not snr[0] <= snr[1]:
        raise ValueError(f"snr must be (least, greatest) in dB, got {snr!r}")
    random = np.random.default_rng(seed)
    labels = np.zeros(examples, dtype=np.int64)
    labels[: round(examples * positive_share)] = 1
    random.shuffle(labels)
    chance = np.where(labels == 1, beside_calls, hard_negatives)
    other = random.integers(1, len(OTHER_SOUNDS), examples) * (random.random(examples) < chance)
    chunks = [slice(k, k + CHUNK) for k in range(0, examples, CHUNK)]
    made = [_make(labels[chunk], other[chunk], snr, random) for chunk in chunks]
    waveforms, boxes, contours, other_boxes, ratios, other_ratios = (
        torch.from_numpy(np.concatenate(field).astype(np.float32))
        for field in zip(*(fields for _, fields in made), strict=True)
    )
    return UpCalls(
        waveforms=waveforms,
        labels=torch.from_numpy(labels),
        boxes=boxes,
        contours=contours,
        other=torch.from_numpy(other),
        other_boxes=other_boxes,
        snr=ratios,
        other_snr=other_ratios,
        sample_rate=SAMPLE_RATE,
    )


def _make(
    labels: np.ndarray, other: np.ndarray, snr: tuple[float, float], random: np.random.Generator
) -> tuple[Parts, tuple[np.ndarray, ...]]:
    """Make a chunk: its parts; its waveforms, boxes, contours, other boxes and two ratios."""
    count, samples = len(labels), round(SECONDS * SAMPLE_RATE)
    noise = _sea(count, samples, random)
    calling = np.flatnonzero(labels)
    contours, boxes = np.full((2, count, 4), np.nan)
    ratios, calls = np.full(count, np.nan), np.zeros((count, samples))
    contours[calling] = drawn = _draw_contours(UP_CALL, len(calling), random)
    starts = _draw_starts(drawn, SECONDS, random)
    boxes[calling] = _boxes(drawn, starts)
    ratios[calling] = random.uniform(*snr, len(calling))
    phases = random.uniform(0, 2 * np.pi, len(calling))
    calls[calling] = tones(drawn, starts, phases, samples)
    calls[calling] *= 10 ** (ratios[calling, None] / 20)
    others, other_boxes = _others(other, samples, random)
    other_ratios = np.where(other > 0, random.uniform(*snr, count), np.nan)
    others *= 10 ** (np.nan_to_num(other_ratios)[:, None] / 20)
    mixed = noise + calls + others
    gain = random.uniform(0.1, 0.9, count) / np.abs(mixed).max(1)
    waveforms = (mixed * gain[:, None]).astype(np.float32)
    fields = (waveforms, boxes, contours, other_boxes, ratios, other_ratios)
    return Parts(noise, calls, others), fields


def draw(name: str) -> Figure:
    """Draw clips louder than usual with their boxes: up-calls above, other sounds below.

    Args:
        name: "up-calls".

    Returns:
        The figure.
    """
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle

    data = up_calls(128, snr=(0.0, 9.0), seed=1)
    alone = (data.labels == 1) & (data.other == 0)
    shown = torch.where(alone, data.snr, -torch.inf).argsort(descending=True)[:2].tolist()
    both = (data.labels == 1) & (data.other > 0)
    shown.append(int(torch.where(both, data.snr + data.other_snr, -torch.inf).argmax()))
    shown.append(int(((data.labels == 0) & (data.other == 0)).nonzero()[0]))
    for kind in range(1, len(OTHER_SOUNDS)):
        quiet = (data.labels == 0) & (data.other == kind)
        shown.append(int(torch.where(quiet, data.other_snr, -torch.inf).argmax()))
    figure = Figure(figsize=(11, 5.2), layout="constrained")
    axes = figure.subplots(2, 4, sharex=True, sharey=True)
    for axis, k in zip(axes.flat, shown, strict=True):
        samples = data.waveforms[k].numpy()
        axis.specgram(samples, NFFT=256, Fs=SAMPLE_RATE, noverlap=240, cmap="magma", pad_to=1024)
        title = f"up-call, {data.snr[k]:.0f} dB" if data.labels[k] else "no call"
        if data.other[k]:
            title += f"; {OTHER_SOUNDS[data.other[k]]}"
        axis.set_title(title, fontsize=9)
        axis.set_ylim(0, 300)
        axis.set_xlim(0.064, SECONDS - 0.064)
        for boxes, style in ((data.boxes, "-"), (data.other_boxes, ":")):
            if not boxes[k].isnan().any():
                left, right, low, high = boxes[k].tolist()
                axis.add_patch(
                    Rectangle(
                        (left, low), right - left, high - low, fill=False, ec="w", ls=style, lw=1.4
                    )
                )
    for axis in axes[:, 0]:
        axis.set_ylabel("frequency in Hz")
    for axis in axes[1]:
        axis.set_xlabel("time in s")
    figure.suptitle(f"{name}: solid boxes are calls, dotted ones other sounds", fontsize=10)
    return figure
