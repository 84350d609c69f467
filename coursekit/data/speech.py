"""Recorded speech with transcripts, one Ogg Opus file a clip."""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import overload

import soundfile
import torch
from jaxtyping import Float
from matplotlib.figure import Figure
from torch import Tensor

from coursekit.data.catalog import DataFileError, Entry, check_file, find
from coursekit.data.drawing import sound_sheet

SAMPLE_RATE = 8000
DIGITS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
# What the speaker says for the written forms that are not letters: "28.8 kilobit", "dial 500".
SPOKEN = {"28.8": " twenty eight point eight ", "500": " five hundred ", "*": " star "}
SPOKEN |= {"#": " pound "} | {str(digit): f" {word} " for digit, word in enumerate(DIGITS)}


class Waveforms(Sequence[Tensor]):
    """Clips that are decoded when they are first asked for, and kept.

    Decoding all 24 minutes takes seconds; most uses need the short clips only. Iteration and
    slices decode on all cores, because libsndfile works without the interpreter's lock.

    Args:
        paths: The Ogg files.
    """

    def __init__(self, paths: Sequence[Path]):
        self._paths = list(paths)
        self._decoded: dict[Path, Tensor] = {}

    def __len__(self) -> int:
        return len(self._paths)

    @overload
    def __getitem__(self, index: int) -> Tensor: ...
    @overload
    def __getitem__(self, index: slice) -> list[Tensor]: ...
    def __getitem__(self, index: int | slice) -> Tensor | list[Tensor]:
        if isinstance(index, slice):
            return self._decode(self._paths[index])
        return self._decode([self._paths[index]])[0]

    def __iter__(self) -> Iterator[Tensor]:
        return iter(self[:])

    def _decode(self, paths: list[Path]) -> list[Tensor]:
        missing = [path for path in paths if path not in self._decoded]
        if len(missing) > 1:
            with ThreadPoolExecutor(os.cpu_count()) as pool:
                self._decoded.update(zip(missing, pool.map(read_clip, missing), strict=True))
        elif missing:
            self._decoded[missing[0]] = read_clip(missing[0])
        return [self._decoded[path] for path in paths]


@dataclass(frozen=True)
class Speech:
    """Recorded clips.

    Attributes:
        waveforms: One float32 tensor of shape (samples,) in [-1, 1] a clip, decoded on demand.
        texts: What is said, in the spelling of the publisher.
        names: The publisher's name of each clip.
        sample_rate: Samples a second.
        seconds: Length of each clip, known without decoding it.
        paths: The Ogg file of each clip.
    """

    waveforms: Sequence[Float[Tensor, " samples"]]
    texts: list[str]
    names: list[str]
    sample_rate: int
    seconds: list[float]
    paths: list[Path]

    def __len__(self) -> int:
        return len(self.names)

    def __repr__(self) -> str:
        minutes = sum(self.seconds) / 60
        return f"Speech({len(self):,} clips, {minutes:.1f} minutes at {self.sample_rate} Hz)"

    def path(self, index: int) -> Path:
        """Say where the Ogg file of a clip is, for an audio player.

        Args:
            index: Number of the clip.

        Returns:
            The path.
        """
        return self.paths[index]


def normalize_text(text: str) -> str:
    """Spell a transcript in the letters a to z, the apostrophe and single spaces.

    Args:
        text: A transcript as published.

    Returns:
        What the speaker says, digits and signs in words.

    >>> normalize_text("Press 1, or # to re-record it; don't wait.")
    "press one or pound to re record it don't wait"
    """
    written = "|".join(map(re.escape, SPOKEN))  # "500" stands before "5", so it is tried first
    text = re.sub(written, lambda match: SPOKEN[match.group()], text.lower())
    words = re.sub(r"[^a-z' ]", " ", text).split()
    return " ".join(word for word in (word.strip("'") for word in words) if word)


def read_transcripts(folder: Path) -> list[dict[str, str]]:
    """Read the list of clips.

    Args:
        folder: Folder of a speech set.

    Returns:
        One row a clip: name, path, seconds, split, text, published, sha256.
    """
    with (folder / "transcripts.tsv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))


def load(
    entry: Entry, split: str | None = None, full: bool = False, speech_only: bool = True
) -> Speech:
    """Load a set of recorded speech.

    Args:
        entry: A speech set of the catalog.
        split: "train", "validation", "test", or None for all. No text, spelled by
            `normalize_text`, stands in two of them.
        full: Has no effect; the files are all there is.
        speech_only: Leave out the tones and silences, whose text is empty and which belong to
            no split.

    Returns:
        The clips in the order of their names.

    Raises:
        DataFileError: A clip is missing or damaged.
    """
    rows = [
        row
        for row in read_transcripts(entry.folder)
        if (row["text"] or not speech_only) and split in (None, row["split"])
    ]
    paths = [entry.folder / row["path"] for row in rows]
    for path, row in zip(paths, rows, strict=True):
        check_file(path, row["sha256"], entry)
    return Speech(
        waveforms=Waveforms(paths),
        texts=[row["text"] for row in rows],
        names=[row["name"] for row in rows],
        sample_rate=SAMPLE_RATE,
        seconds=[float(row["seconds"]) for row in rows],
        paths=paths,
    )


def read_clip(path: Path) -> Float[Tensor, " samples"]:
    """Decode a clip.

    Args:
        path: A mono sound file at 8 kHz.

    Returns:
        float32 of shape (samples,) in [-1, 1].

    Raises:
        DataFileError: It cannot be decoded, or is not mono at 8 kHz.
    """
    try:
        samples, rate = soundfile.read(path, dtype="float32")
    except soundfile.LibsndfileError as error:
        raise DataFileError(
            f"{path} cannot be decoded ({error}); soundfile needs a libsndfile with Opus: "
            "pip install --force-reinstall soundfile"
        ) from error
    if rate != SAMPLE_RATE or samples.ndim != 1:
        raise DataFileError(
            f"{path} must be mono at {SAMPLE_RATE} Hz, got {rate} Hz and shape {samples.shape}"
        )
    return torch.from_numpy(samples).clamp_(-1, 1)


def draw(name: str) -> Figure:
    """Draw waveforms and spectrograms of a few validation clips, spread by their length.

    Args:
        name: A speech set of the catalog.

    Returns:
        The figure.
    """
    clips = 8
    data = load(find(name), "validation")
    by_length = sorted(range(len(data)), key=data.seconds.__getitem__)
    chosen = [by_length[int(len(data) * (k + 0.5) / clips)] for k in range(clips)]
    return sound_sheet(
        [data.waveforms[i] for i in chosen],
        data.sample_rate,
        [f"{data.names[i]}: {data.texts[i][:60]}" for i in chosen],
        f"{name}: validation clips from the shortest to the longest",
    )
