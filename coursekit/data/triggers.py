"""Clips for trigger-word detection: words mixed over backgrounds, with a label for every frame.

The task and its labels, ones for a while after each trigger word, follow the exercise "Trigger word
detection" of the course Sequence Models (deeplearning.ai, 2018): there 10 s at 44.1 kHz, 1,375
frames, and 50 ones after each word. Here words and backgrounds are arguments, and a loudness is
drawn for each word.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from coursekit.data.calls import colored_noise

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PEAK = 0.99  # a clip that would exceed it is made quieter as a whole


@dataclass(frozen=True)
class Event:
    """One word in a clip.

    Attributes:
        word: What is said.
        start: First sample of the word.
        end: One after its last sample.
        snr: Mean power of the word over that of the clip's background, in dB.
        sample_rate: Samples a second.
    """

    word: str
    start: int
    end: int
    snr: float
    sample_rate: int

    @property
    def start_seconds(self) -> float:
        """Begin of the word in s."""
        return self.start / self.sample_rate

    @property
    def end_seconds(self) -> float:
        """End of the word in s."""
        return self.end / self.sample_rate


@dataclass(frozen=True)
class TriggerClips:
    """Clips with words and frame-wise labels.

    Attributes:
        waveforms: float32 of shape (n, samples) in [-1, 1].
        targets: int64 of shape (n, frames): 1 in the frames after the end of a trigger word. Frame
            t holds the samples from t hop to (t + 1) hop - 1.
        events: The words of each clip in the order of time.
        trigger: The trigger word.
        hop: Samples a frame.
        sample_rate: Samples a second.
    """

    waveforms: Float[Tensor, "n samples"]
    targets: Int[Tensor, "n frames"]
    events: list[list[Event]]
    trigger: str
    hop: int
    sample_rate: int

    def __len__(self) -> int:
        return len(self.targets)

    def __repr__(self) -> str:
        seconds = self.waveforms.shape[1] / self.sample_rate
        return (
            f"TriggerClips({len(self):,} clips of {seconds:g} s at {self.sample_rate} Hz, "
            f"{self.targets.shape[1]:,} frames, {self.positive_share:.1%} ones)"
        )

    @property
    def positive_share(self) -> float:
        """Share of ones among all targets: 1 minus the accuracy of never answering."""
        return float(self.targets.double().mean())


def label_frames(
    ends: Sequence[int], frames: int, hop: int, ones: int
) -> Int[np.ndarray, " frames"]:
    """Label the frames after the ends of trigger words.

    Args:
        ends: For each trigger word, one after its last sample.
        frames: Number of frames.
        hop: Samples a frame.
        ones: How many frames are 1 after each end; the first is the first frame that holds no
            sample of the word.

    Returns:
        int64 of shape (frames,).

    >>> label_frames([5], frames=6, hop=4, ones=3)
    array([0, 0, 1, 1, 1, 0])
    """
    targets = np.zeros(frames, dtype=np.int64)
    for end in ends:
        first = -(-end // hop)
        targets[first : first + ones] = 1
    return targets


def place(lengths: Sequence[int], room: int, random: np.random.Generator) -> list[int]:
    """Place words so that none overlap, every such placement in the given order equally likely.

    Args:
        lengths: Length of each word in samples, in the order of time.
        room: Samples that there are.
        random: The source of chance.

    Returns:
        First sample of each word.

    Raises:
        ValueError: The words do not fit.
    """
    free = room - sum(lengths)
    if free < 0:
        raise ValueError(f"room must hold the words, {sum(lengths)} samples, got {room}")
    # Shrink every word to a point: k points among `free` samples, repetition allowed, are as many
    # choices as k different numbers below free + k (stars and bars).
    points = np.sort(random.choice(free + len(lengths), len(lengths), replace=False))
    before = np.cumsum([0, *lengths[:-1]]) if lengths else np.zeros(0, dtype=np.int64)
    return (points - np.arange(len(lengths)) + before).tolist()


def mix(
    background: np.ndarray,
    words: Sequence[np.ndarray],
    starts: Sequence[int],
    snrs: Sequence[float],
) -> tuple[np.ndarray, np.ndarray]:
    """Lay words over a background.

    Args:
        background: Shape (samples,).
        words: The words, each of shape (length,).
        starts: First sample of each.
        snrs: Signal-to-noise ratio of each: its mean power over that of the background, in dB.

    Returns:
        The background and the words apart, each of shape (samples,), scaled together where their
        sum would exceed 0.99.
    """
    power = (background**2).mean()
    speech = np.zeros_like(background)
    for word, start, snr in zip(words, starts, snrs, strict=True):
        gain = np.sqrt(power * 10 ** (snr / 10) / (word**2).mean())
        speech[start : start + len(word)] += gain * word
    scale = min(1.0, PEAK / max(float(np.abs(background + speech).max()), 1e-12))
    return scale * background, scale * speech


def trigger_words(
    examples: int,
    trigger: str = "activate",
    words: Mapping[str, Sequence[Tensor]] | None = None,
    backgrounds: Sequence[Tensor] | None = None,
    sample_rate: int = 8000,
    *,
    split: str | None = "train",
    seconds: float = 10.0,
    hop: int = 64,
    ones: int = 50,
    triggers: tuple[int, int] = (0, 3),
    others: tuple[int, int] = (0, 4),
    snr: tuple[float, float] = (0.0, 20.0),
    level: tuple[float, float] = (-45.0, -25.0),
    seed: int,
) -> TriggerClips:
    """Mix words over backgrounds and label the frames after each trigger word.

    Each clip draws a background and an excerpt of it, its loudness, how many trigger words and how
    many other words it holds, which clips of them, their order, their places (none overlap) and for
    each word a signal-to-noise ratio. The last frames hold no word, so that every trigger word is
    followed by all its ones. With the usual arguments about one frame in twenty is 1: a detector
    that never answers has an accuracy of about 94 %, which is why accuracy misleads here.

    Args:
        examples: Number of clips, n.
        trigger: The trigger word, a key of `words`.
        words: Word to its clips at `sample_rate`, cut at both ends, as `SpokenWords.by_word`
            gives; None for the embedded `words`.
        backgrounds: Sounds at `sample_rate`, each of shape (samples,) and at least as long as a
            clip; None for generated noise of drawn color.
        sample_rate: Samples a second of all sounds.
        split: The split of the embedded words that is taken if `words` is None; None for all.
        seconds: Length of a clip.
        hop: Samples a frame; a last frame that would not be full is left out.
        ones: How many frames are labeled 1 after the end of a trigger word.
        triggers: The least and the most trigger words in a clip.
        others: The least and the most other words in a clip.
        snr: The least and the greatest ratio of a word's mean power to that of the background, dB.
        level: The least and the greatest root mean square of the background, in dB relative to 1.
            A clip that would exceed 0.99 is made quieter as a whole, which leaves the ratios as
            they are.
        seed: Seed of the draws.

    Returns:
        The clips; waveforms take 4 n seconds sample_rate bytes.

    Raises:
        ValueError: An argument is out of range, a sound is silent or has another shape, a
            background is too short, or the most words that may come do not fit.

    Source: the task of the exercise "Trigger word detection", Sequence Models, deeplearning.ai.

    >>> trigger_words(2, seed=0)  # doctest: +ELLIPSIS
    TriggerClips(2 clips of 10 s at 8000 Hz, 1,250 frames, ...% ones)
    """
    if words is None:
        words = _embedded(split, sample_rate)
    _check(examples, hop, ones, sample_rate, triggers, others, snr, level)
    samples, frames = round(seconds * sample_rate), round(seconds * sample_rate) // hop
    room = (frames - ones) * hop
    clips = _check_words(words, trigger, triggers, others, room)
    grounds = _check_backgrounds(backgrounds, samples)
    distractors = [word for word in clips if word != trigger]
    random = np.random.default_rng(seed)
    waveforms = np.zeros((examples, samples), dtype=np.float32)
    targets = np.zeros((examples, frames), dtype=np.int64)
    events: list[list[Event]] = []
    for k in range(examples):
        background = _excerpt(grounds, samples, random)
        background *= 10 ** (random.uniform(*level) / 20) / np.sqrt((background**2).mean())
        names = [trigger] * int(random.integers(*triggers, endpoint=True))
        for _ in range(int(random.integers(*others, endpoint=True))):
            names.append(distractors[int(random.integers(len(distractors)))])
        names = [names[i] for i in random.permutation(len(names))]
        said = [clips[name][int(random.integers(len(clips[name])))] for name in names]
        starts = place([len(word) for word in said], room, random)
        ratios = random.uniform(*snr, len(said)).tolist()
        ground, speech = mix(background, said, starts, ratios)
        waveforms[k] = ground + speech
        events.append(
            [
                Event(name, start, start + len(word), ratio, sample_rate)
                for name, start, word, ratio in zip(names, starts, said, ratios, strict=True)
            ]
        )
        ends = [event.end for event in events[k] if event.word == trigger]
        targets[k] = label_frames(ends, frames, hop, ones)
    return TriggerClips(
        waveforms=torch.from_numpy(waveforms),
        targets=torch.from_numpy(targets),
        events=events,
        trigger=trigger,
        hop=hop,
        sample_rate=sample_rate,
    )


def _embedded(split: str | None, sample_rate: int) -> dict[str, list[Tensor]]:
    from coursekit.data import load

    spoken = load("words", split)
    if sample_rate != spoken.sample_rate:
        raise ValueError(
            f"sample_rate must be {spoken.sample_rate}, that of the embedded words, unless words "
            f"are given, got {sample_rate!r}"
        )
    return spoken.by_word()


def _check(
    examples: int,
    hop: int,
    ones: int,
    sample_rate: int,
    triggers: tuple[int, int],
    others: tuple[int, int],
    snr: tuple[float, float],
    level: tuple[float, float],
) -> None:
    positive = {"examples": examples, "hop": hop, "ones": ones, "sample_rate": sample_rate}
    for name, value in positive.items():
        if value < 1:
            raise ValueError(f"{name} must be at least 1, got {value!r}")
    for name, limits in (("triggers", triggers), ("others", others)):
        if not 0 <= limits[0] <= limits[1]:
            raise ValueError(f"{name} must be (least, most), got {limits!r}")
    for name, decibels in (("snr", snr), ("level", level)):
        if not decibels[0] <= decibels[1]:
            raise ValueError(f"{name} must be (least, greatest) in dB, got {decibels!r}")


def _check_sound(name: str, sound: Tensor) -> np.ndarray:
    samples = np.asarray(sound, dtype=np.float64)
    if samples.ndim != 1 or not samples.any() or not np.isfinite(samples).all():
        raise ValueError(
            f"{name} must have the shape (samples,) and hold finite sound, got shape "
            f"{tuple(samples.shape)}{'' if samples.any() else ' of silence'}"
        )
    return samples


def _check_words(
    words: Mapping[str, Sequence[Tensor]],
    trigger: str,
    triggers: tuple[int, int],
    others: tuple[int, int],
    room: int,
) -> dict[str, list[np.ndarray]]:
    if trigger not in words:
        raise ValueError(f"trigger must be one of {', '.join(words)}, got {trigger!r}")
    if len(words) < 2 and others[1] > 0:
        raise ValueError("words must hold a word beside the trigger, or others be (0, 0)")
    clips = {word: [_check_sound(f"words[{word!r}]", s) for s in words[word]] for word in words}
    empty = [word for word, sounds in clips.items() if not sounds]
    if empty:
        raise ValueError(f"words must hold a clip of each word, got none of {empty[0]!r}")
    lengths = {word: max(map(len, sounds)) for word, sounds in clips.items()}
    longest = max((n for word, n in lengths.items() if word != trigger), default=0)
    needed = triggers[1] * lengths[trigger] + others[1] * longest
    if needed > room:
        raise ValueError(
            f"seconds must leave room for {triggers[1]} trigger and {others[1]} other words, "
            f"{needed} samples, before the last frames; they leave {max(room, 0)}"
        )
    return clips


def _check_backgrounds(
    backgrounds: Sequence[Tensor] | None, samples: int
) -> list[np.ndarray] | None:
    if backgrounds is None:
        return None
    if not backgrounds:
        raise ValueError("backgrounds must hold at least one sound, got none")
    grounds = [_check_sound(f"backgrounds[{k}]", sound) for k, sound in enumerate(backgrounds)]
    for k, sound in enumerate(grounds):
        if len(sound) < samples:
            raise ValueError(
                f"backgrounds[{k}] must have at least the {samples} samples of a clip, "
                f"got {len(sound)}"
            )
    return grounds


def _excerpt(
    grounds: list[np.ndarray] | None, samples: int, random: np.random.Generator
) -> np.ndarray:
    """Draw an excerpt of a background that is not silent throughout, or noise of drawn color."""
    if grounds is None:
        return colored_noise(1, samples, random.uniform(0, 1.5), random)[0].astype(np.float64)
    while True:
        ground = grounds[int(random.integers(len(grounds)))]
        start = int(random.integers(len(ground) - samples + 1))
        excerpt = ground[start : start + samples]
        if excerpt.any():
            return excerpt.copy()


def draw(name: str) -> Figure:
    """Draw clips with their words above and their targets below.

    Args:
        name: "trigger-words".

    Returns:
        The figure.
    """
    from matplotlib.figure import Figure

    data = trigger_words(3, triggers=(1, 2), others=(2, 3), snr=(5.0, 20.0), seed=2)
    figure = Figure(figsize=(11, 6.4), layout="constrained")
    axes = figure.subplots(6, 1, sharex=True, height_ratios=[3, 1] * 3)
    for k in range(len(data)):
        top, bottom = axes[2 * k], axes[2 * k + 1]
        samples = data.waveforms[k].numpy()
        top.specgram(samples, NFFT=256, Fs=data.sample_rate, noverlap=192, cmap="magma")
        top.set_ylim(0, 5300)
        top.set_yticks([0, 2000, 4000])
        top.set_ylabel("Hz")
        for event in data.events[k]:
            chosen = event.word == data.trigger
            top.plot(
                [event.start_seconds, event.end_seconds], [4250, 4250], "C1" if chosen else "k"
            )
            top.text(
                (event.start_seconds + event.end_seconds) / 2,
                4400,
                event.word,
                ha="center",
                fontsize=8,
                weight="bold" if chosen else "normal",
            )
        times = np.arange(data.targets.shape[1]) * data.hop / data.sample_rate
        bottom.fill_between(times, data.targets[k].numpy(), step="post", lw=0)
        bottom.set_ylim(0, 1.1)
        bottom.set_yticks([0, 1])
        bottom.set_ylabel("target")
    axes[-1].set_xlabel("time in s")
    axes[-1].set_xlim(0, data.waveforms.shape[1] / data.sample_rate)
    figure.suptitle(f"{name}: the target is 1 after the end of “{data.trigger}”", fontsize=10)
    return figure
