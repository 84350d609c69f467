"""Pairs for translation: verses in Spanish and English, and captions in many languages."""

from __future__ import annotations

from dataclasses import dataclass

from matplotlib.figure import Figure

from coursekit.data.catalog import Entry, find
from coursekit.data.drawing import text_sheet
from coursekit.data.text import read_table, wrapped


@dataclass(frozen=True)
class Pairs:
    """Sentences with their translations.

    Attributes:
        sources: The sentences to translate.
        targets: A translation of each.
        references: A second translation into the language of the targets, to score against; ""
            where there is none.
        ids: Where each pair was taken from, such as "Ruth 1:16".
        languages: Codes of the source's and the target's language.
    """

    sources: list[str]
    targets: list[str]
    references: list[str]
    ids: list[str]
    languages: tuple[str, str]

    def __len__(self) -> int:
        return len(self.sources)

    def __repr__(self) -> str:
        source, target = self.languages
        return f"Pairs({len(self):,} pairs, {source} to {target})"


@dataclass(frozen=True)
class Captions:
    """Pictures' captions in many languages, line by line the same picture.

    Attributes:
        texts: Language code to one caption a picture; "" where it lacks one.
        names: The publisher's name of each picture, with its folders.
    """

    texts: dict[str, list[str]]
    names: list[str]

    def __len__(self) -> int:
        return len(self.names)

    def __repr__(self) -> str:
        return f"Captions({len(self):,} pictures, {len(self.texts)} languages)"

    def pairs(self, source: str, target: str) -> Pairs:
        """Pair two languages.

        Args:
            source: Code of the language to translate from.
            target: Code of the language to translate into.

        Returns:
            The different pairs in which neither caption is missing, in the order of the pictures;
            pictures often share a caption.

        Raises:
            ValueError: There is no such language.
        """
        for name, code in (("source", source), ("target", target)):
            if code not in self.texts:
                raise ValueError(f"{name} must be one of {', '.join(self.texts)}, got {code!r}")
        rows = zip(self.texts[source], self.texts[target], self.names, strict=True)
        kept: dict[tuple[str, str], str] = {}
        for one, other, name in rows:
            if one and other:
                kept.setdefault((one, other), name)
        return Pairs(
            sources=[one for one, _ in kept],
            targets=[other for _, other in kept],
            references=[""] * len(kept),
            ids=list(kept.values()),
            languages=(source, target),
        )


def load(entry: Entry, split: str | None = None, full: bool = False) -> Pairs | Captions:
    """Load verses or captions.

    Args:
        entry: "verses" or "captions".
        split: "train", "validation", "test", or None for all.
        full: No entry of this module has a fuller set; `coursekit.data.load` refuses it.

    Returns:
        `Pairs` from Spanish to English for "verses", `Captions` for "captions".

    Raises:
        DataFileError: A file of the entry cannot be read.
    """
    if entry.name == "captions":
        rows = read_table(entry.folder / "captions.tsv.gz", split)
        # A split is never empty, so that the first row names the languages.
        languages = [column for column in rows[0] if column not in ("stamp", "split")]
        texts = {language: [row[language] for row in rows] for language in languages}
        return Captions(texts, [row["stamp"] for row in rows])
    rows = read_table(entry.folder / "verses.tsv.gz", split)
    return Pairs(
        sources=[row["spanish"] for row in rows],
        targets=[row["english"] for row in rows],
        references=[row["reference"] for row in rows],
        ids=[row["verse"] for row in rows],
        languages=("es", "en"),
    )


def draw(name: str) -> Figure:
    """Draw a table of samples.

    Args:
        name: "verses" or "captions".

    Returns:
        The figure.
    """
    data = load(find(name), "train")
    step = len(data) // 8
    chosen = range(step // 2, len(data), step)
    title = f"{name}: pairs spread over the training split"
    if isinstance(data, Captions):
        codes = ["en", "es", "fr", "de", "it", "ru"]
        cells = [[data.texts[code][i] for code in codes] for i in chosen]
        rows = [line for row in cells for line in wrapped(row, [24] * 6)]
        return text_sheet(codes, rows, title, width=150)
    columns = (data.ids, data.sources, data.targets, data.references)
    cells = [[column[i] for column in columns] for i in chosen]
    rows = [line for row in cells for line in wrapped(row, (19, 40, 40, 40))]
    return text_sheet(["verse", "Spanish", "English", "second English"], rows, title, width=150)
