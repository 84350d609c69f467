"""Sets that word vectors are judged by, and a small corpus to train them on.

They are the test data of gensim, which the course installs: nothing is embedded, and the files'
checksums are compared as for all data.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import torch
from jaxtyping import Float
from matplotlib.figure import Figure
from torch import Tensor

from coursekit.data.catalog import DataFileError, Entry, find
from coursekit.data.drawing import text_sheet
from coursekit.data.text import wrapped


@dataclass(frozen=True)
class Analogies:
    """Questions such as "Athens is to Greece as Baghdad is to …".

    Attributes:
        questions: Four words a question: a, b, c and the answer d, with a : b = c : d.
        sections: The relation each question asks for, such as "capital-common-countries"; those
            that begin with "gram" are grammatical.
    """

    questions: list[tuple[str, str, str, str]]
    sections: list[str]

    def __len__(self) -> int:
        return len(self.questions)

    def __repr__(self) -> str:
        return f"Analogies({len(self):,} questions, {len(set(self.sections))} sections)"


@dataclass(frozen=True)
class Similarities:
    """Pairs of words with the mean of how alike people found them.

    Attributes:
        pairs: The two words of each pair.
        scores: float32 of shape (n,), from 0 to 10.
        collections: "wordsim353" (relatedness and likeness mixed) or "simlex999" (likeness alone).
    """

    pairs: list[tuple[str, str]]
    scores: Float[Tensor, " n"]
    collections: list[str]

    def __len__(self) -> int:
        return len(self.pairs)

    def __repr__(self) -> str:
        return f"Similarities({len(self):,} pairs of {', '.join(dict.fromkeys(self.collections))})"

    def collection(self, name: str) -> Similarities:
        """Select the pairs of one collection.

        Args:
            name: "wordsim353" or "simlex999".

        Returns:
            Its pairs.

        Raises:
            ValueError: There is no such collection.
        """
        names = list(dict.fromkeys(self.collections))
        if name not in names:
            raise ValueError(f"name must be one of {', '.join(names)}, got {name!r}")
        chosen = [i for i, other in enumerate(self.collections) if other == name]
        return Similarities(
            [self.pairs[i] for i in chosen], self.scores[chosen], [name] * len(chosen)
        )


@dataclass(frozen=True)
class Corpus:
    """Short documents.

    Attributes:
        texts: One string a document.
    """

    texts: list[str]

    def __len__(self) -> int:
        return len(self.texts)

    def __repr__(self) -> str:
        words = sum(len(text.split()) for text in self.texts)
        return f"Corpus({len(self):,} documents, {words:,} words)"

    def sentences(self) -> list[list[str]]:
        """Divide the documents into lower-case words.

        Returns:
            One list of words a document: runs of letters, with inner apostrophes.

        >>> Corpus(["The Hume Highway's closed at 4:00pm."]).sentences()
        [['the', 'hume', "highway's", 'closed', 'at', 'pm']]
        """
        return [re.findall(r"[^\W\d_]+(?:'[^\W\d_]+)*", text.lower()) for text in self.texts]


def load(
    entry: Entry, split: str | None = None, full: bool = False
) -> Analogies | Similarities | Corpus:
    """Load an evaluation set or the corpus.

    Args:
        entry: "analogies", "similarity" or "lee-news".
        split: None; these sets have no splits, and `coursekit.data.load` refuses others.
        full: No entry of this module has a fuller set; `coursekit.data.load` refuses it.

    Returns:
        `Analogies`, `Similarities` or `Corpus`, in the order of the files.

    Raises:
        DataFileError: A line is not what its format asks for.
    """
    lines = {path: _read_lines(entry, path) for path in entry.files}
    if entry.name == "analogies":
        return _analogies(next(iter(lines.values())))
    if entry.name == "similarity":
        return _similarities({_stem(path): rows for path, rows in lines.items()})
    return Corpus([line for rows in lines.values() for line in rows])


def _stem(path: str) -> str:
    return path.rpartition("/")[2].partition(".")[0]


def _read_lines(entry: Entry, path: str) -> list[str]:
    """Read the lines of a file of the package that are not empty."""
    try:
        text = (entry.folder / path).read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise DataFileError(f"{entry.folder / path} cannot be read ({error})") from error
    return [line for line in text.splitlines() if line.strip()]


def _analogies(lines: list[str]) -> Analogies:
    """Parse word2vec's questions: ``: section``, then four words a line."""
    questions, sections, section = [], [], ""
    for line in lines:
        if line.startswith(":"):
            section = line.removeprefix(":").strip()
            continue
        words = line.split()
        if len(words) != 4 or not section:
            raise DataFileError(f"analogies: line {line!r} must hold four words below a section")
        a, b, c, d = words
        questions.append((a, b, c, d))
        sections.append(section)
    return Analogies(questions, sections)


def _similarities(lines: dict[str, list[str]]) -> Similarities:
    """Parse tables of two words and a score, below comments."""
    pairs, scores, collections = [], [], []
    for name, rows in lines.items():
        for row in rows:
            if row.startswith("#"):
                continue
            cells = row.split("\t")
            if len(cells) != 3:
                raise DataFileError(f"{name}: line {row!r} must hold two words and a score")
            pairs.append((cells[0], cells[1]))
            scores.append(float(cells[2]))
            collections.append(name)
    return Similarities(pairs, torch.tensor(scores), collections)


def draw(name: str) -> Figure:
    """Draw a table of samples.

    Args:
        name: "analogies", "similarity" or "lee-news".

    Returns:
        The figure.
    """
    data = load(find(name))
    if isinstance(data, Analogies):
        rows = []
        for section in dict.fromkeys(data.sections):
            members = [
                q for q, own in zip(data.questions, data.sections, strict=True) if own == section
            ]
            a, b, c, d = members[len(members) // 2]
            rows.append([section, f"{len(members):,}", f"{a} : {b} = {c} : {d}"])
        return text_sheet(["section", "questions", "one of them"], rows, f"{name}: all sections")
    if isinstance(data, Similarities):
        rows = []
        for own in dict.fromkeys(data.collections):
            part = data.collection(own)
            order = part.scores.argsort().tolist()
            chosen = [order[int(k * (len(order) - 1) / 9)] for k in range(10)]
            rows += [[own, f"{part.scores[i]:.2f}", " – ".join(part.pairs[i])] for i in chosen]
        return text_sheet(["collection", "score", "words"], rows, f"{name}: from apart to alike")
    rows = []
    for i in range(0, len(data), 40):
        rows += wrapped([str(i), data.texts[i][:230].strip() + " …"], (5, 90))
    return text_sheet(["no.", "first characters"], rows, f"{name}: every 40th document")
