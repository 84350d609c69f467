"""Recorded speech with transcripts in five languages, one Ogg Opus file a clip."""

from __future__ import annotations

import csv
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from matplotlib.figure import Figure

from coursekit.data.catalog import Entry, check_file, find
from coursekit.data.clips import Waveforms
from coursekit.data.drawing import sound_sheet
from coursekit.data.spelling import LATIN, normalize_text

__all__ = ["DIGIT_NAMES", "LETTER_NAMES", "SAMPLE_RATE", "Speech", "load", "normalize_text"]

SAMPLE_RATE = 8000
# Clips of the same name say the same in every language. These are in all five; the Russian
# speaker, too, names the letters a to z.
DIGIT_NAMES = tuple(f"digits/{digit}" for digit in range(10))
LETTER_NAMES = tuple(f"letters/{letter}" for letter in LATIN)


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
        language: Two letters, as `normalize_text` takes them.
    """

    waveforms: Waveforms
    texts: list[str]
    names: list[str]
    sample_rate: int
    seconds: list[float]
    paths: list[Path]
    language: str = "en"

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

    def select(self, prefix: str) -> Speech:
        """Choose the clips whose names begin alike, such as "digits/" or "letters/".

        Args:
            prefix: Beginning of the name.

        Returns:
            These clips, in the order of this set.

        Raises:
            ValueError: No name begins so.
        """
        indices = [i for i, name in enumerate(self.names) if name.startswith(prefix)]
        if not indices:
            raise ValueError(
                f"prefix must begin one of the {len(self)} names, such as {self.names[0]!r}, "
                f"got {prefix!r}"
            )
        return self._at(indices)

    def pick(self, names: Iterable[str]) -> Speech:
        """Choose clips by name, such as `DIGIT_NAMES`: the same words in every language.

        Args:
            names: Names of clips.

        Returns:
            These clips, in this order.

        Raises:
            ValueError: Some are not in this set; a split holds only a part of them.
        """
        position = {name: index for index, name in enumerate(self.names)}
        wanted = list(names)
        missing = [name for name in wanted if name not in position]
        if missing:
            raise ValueError(
                f"names must be clips of this set, got {', '.join(map(repr, missing[:5]))} "
                f"({len(missing)} of {len(wanted)} are missing)"
            )
        return self._at([position[name] for name in wanted])

    def _at(self, indices: Sequence[int]) -> Speech:
        return replace(
            self,
            waveforms=self.waveforms.pick(indices),
            texts=[self.texts[i] for i in indices],
            names=[self.names[i] for i in indices],
            seconds=[self.seconds[i] for i in indices],
            paths=[self.paths[i] for i in indices],
        )


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
        speech_only: Leave out the clips whose text is empty and which belong to no split: tones,
            silences, and in some languages speech that the publisher did not transcribe.

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
        waveforms=Waveforms(paths, SAMPLE_RATE),
        texts=[row["text"] for row in rows],
        names=[row["name"] for row in rows],
        sample_rate=SAMPLE_RATE,
        seconds=[float(row["seconds"]) for row in rows],
        paths=paths,
        language=entry.name.removeprefix("speech-"),
    )


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
        [
            f"{data.names[i]}: {textwrap.shorten(data.texts[i], 60, placeholder=' …')}"
            for i in chosen
        ],
        f"{name}: validation clips from the shortest to the longest",
    )
