"""Recorded sounds other than speech: backgrounds, noises, calls of whales and dolphins."""

from __future__ import annotations

import csv
import textwrap
from dataclasses import dataclass
from pathlib import Path

import torch
from matplotlib.figure import Figure
from torch import Tensor

from coursekit.data.catalog import Entry, check_file, find
from coursekit.data.clips import Waveforms, resample
from coursekit.data.drawing import sound_sheet

SAMPLE_RATES = {"backgrounds": 16000, "noises": 16000, "cetaceans": 44100}


@dataclass(frozen=True)
class Sounds:
    """Recorded sounds.

    Attributes:
        waveforms: One float32 tensor of shape (samples,) in [-1, 1] a clip, decoded on demand.
        kinds: What sort of sound each clip is, for example "ambience" or "dolphin".
        captions: What is heard in each clip.
        names: The publisher's name of each clip.
        sample_rate: Samples a second.
        seconds: Length of each clip, known without decoding it.
        paths: The sound file of each clip.
    """

    waveforms: Waveforms
    kinds: list[str]
    captions: list[str]
    names: list[str]
    sample_rate: int
    seconds: list[float]
    paths: list[Path]

    def __len__(self) -> int:
        return len(self.names)

    def __repr__(self) -> str:
        return f"Sounds({len(self)} clips, {sum(self.seconds):.0f} s at {self.sample_rate} Hz)"

    def resampled(self, sample_rate: int) -> list[Tensor]:
        """Decode all clips at another rate, such as the 8,000 of the recorded speech.

        Args:
            sample_rate: Samples a second that are wanted.

        Returns:
            One float32 tensor of shape (samples,) in [-1, 1] a clip.

        Raises:
            ValueError: The rate is not positive.
        """
        return [
            torch.from_numpy(resample(wave.numpy(), self.sample_rate, sample_rate)).clamp_(-1, 1)
            for wave in self.waveforms
        ]


def read_listing(folder: Path) -> list[dict[str, str]]:
    """Read the list of clips.

    Args:
        folder: Folder of a set of sounds.

    Returns:
        One row a clip: name, path, seconds, split, kind, caption, author, origin, sha256.
    """
    with (folder / "clips.tsv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))


def load(entry: Entry, split: str | None = None, full: bool = False) -> Sounds:
    """Load a set of recorded sounds.

    Args:
        entry: A set of sounds of the catalog.
        split: "train", "validation" or "test" where the entry has splits, or None for all. No
            recording stands in two of them.
        full: Has no effect; the files are all there is.

    Returns:
        The clips in the order of their names.

    Raises:
        DataFileError: A clip is missing or damaged.
    """
    rows = [row for row in read_listing(entry.folder) if split in (None, row["split"])]
    paths = [entry.folder / row["path"] for row in rows]
    for path, row in zip(paths, rows, strict=True):
        check_file(path, row["sha256"], entry)
    return Sounds(
        waveforms=Waveforms(paths, SAMPLE_RATES[entry.name]),
        kinds=[row["kind"] for row in rows],
        captions=[row["caption"] for row in rows],
        names=[row["name"] for row in rows],
        sample_rate=SAMPLE_RATES[entry.name],
        seconds=[float(row["seconds"]) for row in rows],
        paths=paths,
    )


def draw(name: str) -> Figure:
    """Draw waveforms and spectrograms of a few clips, spread over the kinds and captions.

    Args:
        name: A set of sounds of the catalog.

    Returns:
        The figure; it shows frequencies up to 8 kHz.
    """
    data = load(find(name))
    first: dict[tuple[str, str], int] = {}
    for index, described in enumerate(zip(data.kinds, data.captions, strict=True)):
        first.setdefault(described, index)
    order = [first[described] for described in sorted(first)]
    count = min(8, len(order))
    chosen = [order[int(len(order) * (k + 0.5) / count)] for k in range(count)]
    waves = [data.waveforms[i].numpy() for i in chosen]
    return sound_sheet(
        [resample(wave, data.sample_rate, 16000) for wave in waves],
        16000,
        [textwrap.shorten(f"{data.kinds[i]}: {data.captions[i]}", 60) for i in chosen],
        f"{name}: {count} of {len(data)} clips",
    )
