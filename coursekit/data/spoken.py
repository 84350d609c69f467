"""Spoken words: an embedded set of synthetic speech, and the synthesizer that makes more.

The synthesizer is espeak-ng (https://github.com/espeak-ng/espeak-ng), a formant synthesizer. It
is optional: ``pip install espeakng-loader`` brings the library with its data, and an installed
command ``espeak-ng`` serves as well. It is under the GPL-3, so it runs in a process of its own
and nothing of it stands in this package; section 2 of that license leaves its output free.
"""

from __future__ import annotations

import functools
import importlib.util
import math
import os
import re
import shutil
import struct
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from filelock import FileLock
from jaxtyping import Float, Int
from scipy.signal import resample_poly
from torch import Tensor

from coursekit.data.catalog import (
    SPLITS,
    DataFileError,
    Entry,
    FullDataUnavailable,
    cache_folder,
)
from coursekit.data.clips import Waveforms
from coursekit.data.download import fetch
from coursekit.errors import UserError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SAMPLE_RATE = 8000
PROCESS = Path(__file__).with_name("espeak_process.py")
RATES = (80, 450)  # words a minute that espeak-ng accepts
PITCHES = (0, 99)
SILENCE = 0.005  # of the peak: what is quieter at either end of a clip is cut off
COMMANDS = "speech_commands_v0.02.tar.gz"
COMMANDS_URL = f"https://storage.googleapis.com/download.tensorflow.org/data/{COMMANDS}"
COMMANDS_SHA256 = "af14739ee7dc311471de98f5f9d2c9191b18aedfe957f4a6ff791c709868ff58"
COMMANDS_RATE = 16_000
MU = 255  # of the mu-law
TIMEOUT = 60  # seconds for one text; it takes hundredths of one


class SynthesizerMissing(UserError, RuntimeError):
    """There is no espeak-ng; the message says how to install it."""


class SynthesisError(UserError, RuntimeError):
    """The synthesizer failed; the message holds its own."""


@dataclass(frozen=True)
class Engine:
    """An espeak-ng that can be run.

    Attributes:
        name: "espeakng-loader" (the Python package) or "espeak-ng" (the command).
        version: Version of espeak-ng. Two versions do not give the same samples.
        data: Folder of its voices and dictionaries.
        program: What begins the command line.
    """

    name: str
    version: str
    data: Path
    program: tuple[str, ...]

    @property
    def repeatable(self) -> bool:
        """Whether the same text gives the same samples again.

        From version 1.52 on espeak-ng seeds its noise by the clock. The package's library takes a
        seed instead; the command does not.
        """
        major, minor = re.findall(r"\d+", self.version)[:2]
        return self.name == "espeakng-loader" or (int(major), int(minor)) < (1, 52)


@dataclass(frozen=True)
class SpokenWords:
    """Words, each clip one word by one voice.

    Attributes:
        waveforms: One float32 tensor of shape (samples,) in [-1, 1] a clip, without silence at
            its ends.
        labels: int64 of shape (n,), indices into `classes`.
        classes: The words.
        voices: The voice of each clip, as language+variant, or the speaker's code.
        rates: int64 of shape (n,), the rate asked for in words a minute; -1 for recorded speech.
        pitches: int64 of shape (n,), the pitch asked for, 0 to 99; -1 for recorded speech.
        sample_rate: Samples a second.
    """

    waveforms: Sequence[Float[Tensor, " samples"]]
    labels: Int[Tensor, " n"]
    classes: tuple[str, ...]
    voices: tuple[str, ...]
    rates: Int[Tensor, " n"]
    pitches: Int[Tensor, " n"]
    sample_rate: int

    def __len__(self) -> int:
        return len(self.labels)

    def __repr__(self) -> str:
        return (
            f"SpokenWords({len(self):,} clips of {len(self.classes)} words, "
            f"{len(set(self.voices))} voices at {self.sample_rate} Hz)"
        )

    def by_word(self) -> dict[str, list[Tensor]]:
        """Collect the clips of each word.

        Returns:
            Word to its waveforms, in the order of the clips.
        """
        clips: dict[str, list[Tensor]] = {word: [] for word in self.classes}
        for waveform, label in zip(self.waveforms, self.labels.tolist(), strict=True):
            clips[self.classes[label]].append(waveform)
        return clips

    def padded(self, seconds: float = 1.0) -> Float[Tensor, "n samples"]:
        """Put each clip into the middle of equally long silence.

        Args:
            seconds: Length of each row; of longer clips the middle is kept.

        Returns:
            float32 of shape (n, samples).

        Raises:
            ValueError: `seconds` is not positive.
        """
        if not seconds > 0:
            raise ValueError(f"seconds must be positive, got {seconds!r}")
        length = max(1, round(seconds * self.sample_rate))
        rows = torch.zeros(len(self), length)
        for row, waveform in zip(rows, self.waveforms, strict=True):
            kept = min(length, len(waveform))
            here, there = (length - kept) // 2, (len(waveform) - kept) // 2
            row[here : here + kept] = waveform[there : there + kept]
        return rows


@functools.cache
def find_engine() -> Engine:
    """Find espeak-ng: first the Python package, then the command.

    Returns:
        The engine.

    Raises:
        SynthesizerMissing: There is neither.
        SynthesisError: It is there and does not start.
    """
    return _installed_engine() or _command_engine() or _no_engine()


def package_engine(folder: Path) -> Engine:
    """Take espeak-ng from the files of the Python package.

    Args:
        folder: The folder ``espeakng_loader``, installed or unpacked from its wheel.

    Returns:
        The engine.

    Raises:
        SynthesisError: It does not start.
    """
    endings = {"win32": "espeak-ng.dll", "darwin": "libespeak-ng.dylib"}
    library = folder / endings.get(sys.platform, "libespeak-ng.so")
    data = folder / "espeak-ng-data"
    program = (sys.executable, "-I", "-S", str(PROCESS), str(library), str(data))
    return Engine("espeakng-loader", _run(program, "").decode().strip(), data, program)


def _installed_engine() -> Engine | None:
    spec = importlib.util.find_spec("espeakng_loader")
    if spec is None or spec.origin is None:
        return None
    return package_engine(Path(spec.origin).parent)


def _command_engine() -> Engine | None:
    command = shutil.which("espeak-ng")
    if command is None:
        return None
    answer = _run((command, "--version"), "").decode()
    found = re.search(r": (\S+)\s+Data at: (.+)", answer)
    if found is None:
        raise SynthesisError(f"{command} --version answered {answer!r}, which names no data")
    return Engine("espeak-ng", found[1], Path(found[2].strip()), (command,))


def _no_engine() -> Engine:
    raise SynthesizerMissing(
        "no espeak-ng was found; install it by: pip install espeakng-loader (or install the "
        'package espeak-ng of your system). load("words") needs none'
    )


def _run(command: Sequence[str], text: str) -> bytes:
    """Run the engine with a text on its standard input and return its standard output."""
    try:
        done = subprocess.run(
            command, input=text.encode(), capture_output=True, timeout=TIMEOUT, check=True
        )
    except subprocess.CalledProcessError as error:
        reason = error.stderr.decode(errors="replace").strip() or f"exit code {error.returncode}"
        raise SynthesisError(f"espeak-ng failed: {reason}") from error
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SynthesisError(f"espeak-ng failed: {error}") from error
    return done.stdout


@functools.cache
def languages(engine: Engine | None = None) -> tuple[str, ...]:
    """List the languages and accents of the synthesizer.

    Args:
        engine: The synthesizer; None for that of `find_engine`.

    Returns:
        Names such as "de" or "en-gb-scotland", sorted; each can be a voice.

    Raises:
        SynthesizerMissing: There is no espeak-ng.
    """
    files = ((engine or find_engine()).data / "lang").rglob("*")
    return tuple(sorted(path.name.lower() for path in files if path.is_file()))


@functools.cache
def variants(engine: Engine | None = None) -> tuple[str, ...]:
    """List the variants of the synthesizer's voices: other throats, for every language.

    Args:
        engine: The synthesizer; None for that of `find_engine`.

    Returns:
        Names such as "f2" or "Denis", sorted.

    Raises:
        SynthesizerMissing: There is no espeak-ng.
    """
    files = ((engine or find_engine()).data / "voices" / "!v").iterdir()
    return tuple(sorted(path.name for path in files))


def _check_voice(voice: str, engine: Engine) -> None:
    language, plus, variant = voice.partition("+")
    if language not in languages(engine) or (plus and variant not in variants(engine)):
        raise ValueError(
            "voices must be languages of espeak-ng, such as en-us, or language+variant, such as "
            f"en-us+f2 (see languages() and variants()), got {voice!r}"
        )


def _check_range(name: str, value: int, limits: tuple[int, int]) -> None:
    if not limits[0] <= value <= limits[1]:
        raise ValueError(f"{name} must be from {limits[0]} to {limits[1]}, got {value!r}")


def say(
    text: str,
    voice: str = "en-us",
    rate: int = 160,
    pitch: int = 50,
    sample_rate: int = SAMPLE_RATE,
    engine: Engine | None = None,
) -> Float[Tensor, " samples"]:
    """Synthesize one text.

    Equal arguments give equal samples, in every process, with one version of espeak-ng on one
    kind of machine, if the engine is `Engine.repeatable`.

    Args:
        text: What to say.
        voice: A language of `languages`, or language+variant with a variant of `variants`.
        rate: Words a minute, 80 to 450.
        pitch: 0 to 99; 50 is the voice's own.
        sample_rate: Samples a second; espeak-ng makes 22,050, which are resampled.
        engine: The synthesizer; None for that of `find_engine`.

    Returns:
        float32 of shape (samples,) in [-1, 1], without silence at its ends: it begins and ends
        at a sample that reaches 0.5 % of the peak.

    Raises:
        ValueError: An argument is out of range, or the text gives no sound.
        SynthesizerMissing: There is no espeak-ng.
        SynthesisError: espeak-ng failed.
    """
    engine = engine or find_engine()
    _check_voice(voice, engine)
    _check_range("rate", rate, RATES)
    _check_range("pitch", pitch, PITCHES)
    if sample_rate < 1:
        raise ValueError(f"sample_rate must be positive, got {sample_rate!r}")
    if engine.name == "espeak-ng":
        options = ("-v", voice, "-s", str(rate), "-p", str(pitch), "--stdin", "--stdout")
        answer = _run((*engine.program, *options), text)
        made_rate, header = struct.unpack("<I", answer[24:28])[0] if answer else 0, 44
    else:
        answer = _run((*engine.program, voice, str(rate), str(pitch)), text)
        made_rate, header = int.from_bytes(answer[:4], sys.byteorder), 4
    samples = np.frombuffer(answer[header:], dtype=np.int16) / 32768
    if not samples.any():
        raise ValueError(f"text must be something that espeak-ng can say in {voice}, got {text!r}")
    divisor = math.gcd(sample_rate, made_rate)
    if sample_rate != made_rate:
        samples = resample_poly(samples, sample_rate // divisor, made_rate // divisor)
    return torch.from_numpy(_trim(samples).astype(np.float32)).clamp_(-1, 1)


def _trim(samples: np.ndarray) -> np.ndarray:
    loud = np.flatnonzero(np.abs(samples) >= SILENCE * np.abs(samples).max())
    return samples[loud[0] : loud[-1] + 1]


def synthesize(
    words: Sequence[str],
    voices: Sequence[str],
    *,
    seed: int | None = None,
    rate: int | tuple[int, int] = 160,
    pitch: int | tuple[int, int] = 50,
    sample_rate: int = SAMPLE_RATE,
) -> SpokenWords:
    """Synthesize every word by every voice.

    Args:
        words: Different words or short texts.
        voices: Languages of `languages`, or language+variant with a variant of `variants`.
        seed: Seed of the draws; needed if `rate` or `pitch` is a range.
        rate: Words a minute, 80 to 450, or the least and the most to draw from for each clip.
        pitch: 0 to 99, or the least and the most to draw from for each clip.
        sample_rate: Samples a second.

    Returns:
        The clips: all words of the first voice, then those of the next.

    Raises:
        ValueError: An argument is empty or out of range, or a range comes without a seed.
        SynthesizerMissing: There is no espeak-ng.
        SynthesisError: espeak-ng failed.
    """
    if not words or len(set(words)) != len(words):
        raise ValueError(f"words must be different and at least one, got {list(words)!r}")
    if not voices or len(set(voices)) != len(voices):
        raise ValueError(f"voices must be different and at least one, got {list(voices)!r}")
    ranges = [value if isinstance(value, tuple) else (value, value) for value in (rate, pitch)]
    if seed is None and any(low != high for low, high in ranges):
        raise ValueError("seed must be a number where rate or pitch is a range, got None")
    random, count = np.random.default_rng(seed), len(words) * len(voices)
    drawn = []
    for name, limits, (low, high) in zip(("rate", "pitch"), (RATES, PITCHES), ranges, strict=True):
        _check_range(name, low, limits)
        _check_range(name, high, limits)
        if low > high:
            raise ValueError(f"{name} must be (least, most), got {(low, high)!r}")
        drawn.append(random.integers(low, high, count, endpoint=True))
    rates, pitches = drawn
    texts = [word for _ in voices for word in words]
    said_by = [voice for voice in voices for _ in words]
    find_engine()
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        jobs = (texts, said_by, rates.tolist(), pitches.tolist(), [sample_rate] * count)
        waveforms = list(pool.map(say, *jobs))
    return SpokenWords(
        waveforms=waveforms,
        labels=torch.arange(len(words)).repeat(len(voices)),
        classes=tuple(words),
        voices=tuple(said_by),
        rates=torch.from_numpy(rates),
        pitches=torch.from_numpy(pitches),
        sample_rate=sample_rate,
    )


def encode_mu_law(waveform: np.ndarray) -> np.ndarray:
    """Round samples to the 255 steps of the mu-law, which are finer near zero.

    Args:
        waveform: Samples in [-1, 1], of any shape.

    Returns:
        uint8 of the same shape, 1 to 255; 128 is zero.

    Source: the continuous form of ITU-T G.711's law with mu = 255.

    >>> encode_mu_law(np.array([-1.0, -0.01, 0.0, 0.01, 1.0]))
    array([  1,  99, 128, 157, 255], dtype=uint8)
    """
    exact = np.asarray(waveform, dtype=np.float64)
    compressed = np.sign(exact) * np.log1p(MU * np.abs(exact)) / np.log1p(MU)
    return (128 + np.rint(127 * compressed)).astype(np.uint8)


def decode_mu_law(codes: np.ndarray) -> np.ndarray:
    """Expand what `encode_mu_law` made.

    Args:
        codes: uint8 of any shape.

    Returns:
        float32 of the same shape in [-1, 1].

    >>> decode_mu_law(np.array([1, 128, 255], dtype=np.uint8)).tolist()
    [-1.0, 0.0, 1.0]
    """
    steps = (np.arange(256) - 128) / 127
    table = np.sign(steps) * np.expm1(np.abs(steps) * np.log1p(MU)) / MU
    return table.clip(-1, 1).astype(np.float32)[codes]


def load(entry: Entry, split: str | None = None, full: bool = False) -> SpokenWords:
    """Load the embedded words.

    Args:
        entry: The entry of the catalog.
        split: A split by voice: "train", "validation", "test", or None for all.
        full: Fetch Speech Commands 0.02 instead, words that people recorded, at 16 kHz: its own
            validation and test lists, the rest for training. The classes are those of the embedded
            words; nobody says "activate". Clips are decoded when they are asked for.

    Returns:
        The clips, all words of a voice together; of the full set in the order of their paths.

    Raises:
        DataFileError: The file cannot be read.
        FullDataUnavailable: `full` and the set can be neither found nor fetched.
    """
    if full:
        return _speech_commands(entry, split)
    path = entry.folder / "words.npz"
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        waveforms = torch.from_numpy(decode_mu_law(arrays["samples"]))
        clips = waveforms.split(arrays["lengths"].tolist())
        member = arrays["split"]
        chosen = [k for k in range(len(member)) if split in (None, SPLITS[member[k]])]
        return SpokenWords(
            waveforms=[clips[k] for k in chosen],
            labels=torch.from_numpy(arrays["labels"][chosen]).long(),
            classes=tuple(arrays["classes"].tolist()),
            voices=tuple(arrays["voices"][arrays["voice"][chosen]].tolist()),
            rates=torch.from_numpy(arrays["rates"][chosen]).long(),
            pitches=torch.from_numpy(arrays["pitches"][chosen]).long(),
            sample_rate=SAMPLE_RATE,
        )
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise DataFileError(f"{path} cannot be read ({error}); reinstall coursekit") from error


def _speech_commands(entry: Entry, split: str | None) -> SpokenWords:
    """Read Speech Commands, fetching and unpacking it once."""
    cache = cache_folder()
    folder, part = cache / "speech-commands-0.02", cache / "speech-commands-0.02.part"
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with FileLock(cache / "speech-commands-0.02.lock"):
            if not folder.is_dir():
                archive = fetch(COMMANDS_URL, cache / COMMANDS, sha256=COMMANDS_SHA256)
                shutil.rmtree(part, ignore_errors=True)
                with tarfile.open(archive) as packed:
                    packed.extractall(part, filter="data")
                part.rename(folder)
        lists = {
            name: set((folder / f"{file}_list.txt").read_text(encoding="utf-8").split())
            for name, file in (("validation", "validation"), ("test", "testing"))
        }
    except (OSError, tarfile.TarError) as error:
        raise FullDataUnavailable(
            f"Speech Commands could not be fetched into {cache} "
            f"({str(error).splitlines()[0]}); with no network use the {entry.examples:,} synthetic "
            f'words that are here: load("{entry.name}")'
        ) from error
    classes = load(entry).classes
    paths = {
        f"{path.parent.name}/{path.name}": path
        for word in classes
        for path in sorted((folder / word).glob("*.wav"))
    }
    lists["train"] = set(paths) - lists["validation"] - lists["test"]
    chosen = [name for name in paths if split is None or name in lists[split]]
    asked = torch.full((len(chosen),), -1)
    return SpokenWords(
        waveforms=Waveforms([paths[name] for name in chosen], COMMANDS_RATE),
        labels=torch.tensor([classes.index(name.split("/")[0]) for name in chosen]),
        classes=classes,
        voices=tuple(name.split("/")[1].split("_")[0] for name in chosen),
        rates=asked,
        pitches=asked,
        sample_rate=COMMANDS_RATE,
    )


def draw(name: str) -> Figure:
    """Draw four words, each by two voices.

    Args:
        name: "words".

    Returns:
        The figure.
    """
    from coursekit.data.catalog import find
    from coursekit.data.drawing import sound_sheet

    data = load(find(name), "validation")
    words = ("activate", "yes", "seven", "stop")
    shown = [
        next(
            k
            for k in range(len(data))
            if data.classes[int(data.labels[k])] == word and data.voices[k] == voice
        )
        for voice in sorted(set(data.voices))[:2]
        for word in words
    ]
    titles = [f"{data.classes[int(data.labels[k])]}\n{data.voices[k]}" for k in shown]
    waveforms = [data.waveforms[k] for k in shown]
    return sound_sheet(waveforms, data.sample_rate, titles, f"{name}: synthetic speech")
