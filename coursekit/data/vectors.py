"""Pretrained word vectors, with the lists of words that debiasing needs.

The vectors are word2vec's of Mikolov et al., "Distributed representations of words and phrases and
their compositionality" (2013), trained on Google News; the lists are those of Bolukbasi et al.,
"Man is to computer programmer as woman is to homemaker? Debiasing word embeddings" (2016).
"""

from __future__ import annotations

import functools
import json
import zipfile
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from gensim.models import KeyedVectors
from jaxtyping import Float
from matplotlib.figure import Figure
from torch import Tensor

from coursekit.data.catalog import (
    DataFileError,
    Entry,
    FullDataUnavailable,
    cache_folder,
    find,
)
from coursekit.data.download import DownloadError, fetch

# The file that gensim.downloader fetches, with the checksum of gensim's list of models.
FULL = "word2vec-google-news-300"
FULL_URL = f"https://github.com/RaRe-Technologies/gensim-data/releases/download/{FULL}/{FULL}.gz"
FULL_MD5 = "a5e5354d40acb95f9ec66d5977d140ef"

DRAWN = {
    "family": "mother father sister son uncle husband",
    "animals": "dog cat horse cow wolf sheep",
    "music": "piano violin guitar trumpet flute orchestra",
    "food": "bread cheese rice soup butter chocolate",
    "professions": "nurse doctor lawyer judge teacher engineer",
    "traffic": "car truck bus train bicycle airplane",
}


class Profession(NamedTuple):
    """A profession and how people judged it, from -1 (female) over 0 to 1 (male).

    Attributes:
        name: A word of the vocabulary.
        definition: Whether the word itself says it: actress -1, nurse -0.1.
        stereotype: Whether people expect it: actress 0, nurse -0.9.
    """

    name: str
    definition: float
    stereotype: float


@dataclass(frozen=True)
class GenderWords:
    """The lists of Bolukbasi et al. (2016) for finding and removing a gender direction.

    Attributes:
        definitional_pairs: Ten pairs (female, male) whose differences define the direction.
        equalize_pairs: 52 pairs to be made equidistant from neutral words, most as (male, female):
            take no sign from their order.
        specific_seed: 218 words that are gendered by definition, chosen by hand.
        specific: 1,441 such words, found from the seed by a classifier.
        professions: 320 professions with two judgments each.
    """

    definitional_pairs: tuple[tuple[str, str], ...]
    equalize_pairs: tuple[tuple[str, str], ...]
    specific_seed: tuple[str, ...]
    specific: tuple[str, ...]
    professions: tuple[Profession, ...]

    def __len__(self) -> int:
        return len(self.specific)

    def __repr__(self) -> str:
        return (
            f"GenderWords({len(self.definitional_pairs)} and {len(self.equalize_pairs)} pairs, "
            f"{len(self):,} words, {len(self.professions)} professions)"
        )


@dataclass(frozen=True)
class Vectors:
    """Words and their vectors.

    Attributes:
        words: The vocabulary; phrases are joined by "_".
        vectors: float32 of shape (n, dimension), one row a word.
        gender_words: Lists for debiasing.
    """

    words: tuple[str, ...]
    vectors: Float[Tensor, "n dimension"]
    gender_words: GenderWords

    def __len__(self) -> int:
        return len(self.words)

    def __repr__(self) -> str:
        return f"Vectors({len(self):,} words, {self.vectors.shape[1]} dimensions)"

    def __contains__(self, word: object) -> bool:
        return word in self._rows

    @functools.cached_property
    def _rows(self) -> dict[str, int]:
        return {word: row for row, word in enumerate(self.words)}

    @functools.cached_property
    def _lengths(self) -> Tensor:
        return self.vectors.norm(dim=1).clamp_min(1e-12)

    def index(self, word: str) -> int:
        """Find the row of a word.

        Args:
            word: A word of the vocabulary, in its spelling.

        Returns:
            The row.

        Raises:
            ValueError: The vocabulary lacks it.
        """
        if word in self._rows:
            return self._rows[word]
        others = [other for other in (word.lower(), word.replace(" ", "_")) if other in self._rows]
        hint = f"; there is {others[0]!r}" if others else ""
        raise ValueError(f"word must be one of the {len(self):,} words, got {word!r}{hint}")

    def vector(self, word: str) -> Float[Tensor, " dimension"]:
        """Look up the vector of a word.

        Args:
            word: A word of the vocabulary.

        Returns:
            float32 of shape (dimension,): a view, not a copy.

        Raises:
            ValueError: The vocabulary lacks it.
        """
        return self.vectors[self.index(word)]

    def nearest(
        self,
        vector: Float[Tensor, " dimension"],
        count: int = 10,
        exclude: Collection[str] = (),
    ) -> list[tuple[str, float]]:
        """Find the words whose vectors make the smallest angles with a vector.

        Args:
            vector: Any vector of the dimension, for example king - man + woman.
            count: How many words.
            exclude: Words to leave out; in an analogy, the three that were asked with.

        Returns:
            Pairs of word and cosine, the largest cosine first.

        Raises:
            ValueError: The vector has another shape or is zero, or there are not `count` words, or
                an excluded word is not in the vocabulary.
        """
        if vector.shape != self.vectors.shape[1:] or not vector.any():
            raise ValueError(
                f"vector must have shape ({self.vectors.shape[1]},) and not be zero, got shape "
                f"{tuple(vector.shape)} and length {vector.norm():.3g}"
            )
        rows = sorted({self.index(word) for word in exclude})
        if not 1 <= count <= len(self) - len(rows):
            raise ValueError(f"count must be from 1 to {len(self) - len(rows):,}, got {count}")
        cosines = (self.vectors @ (vector / vector.norm()) / self._lengths).clamp(-1, 1)
        cosines[rows] = -2
        best = cosines.topk(count)
        return [
            (self.words[row], cosine)
            for row, cosine in zip(best.indices.tolist(), best.values.tolist(), strict=True)
        ]

    def to_gensim(self) -> Any:
        """Make gensim's object of the same vectors, for its evaluations.

        Returns:
            A ``gensim.models.KeyedVectors`` with a copy of the vectors.
        """
        keyed = KeyedVectors(self.vectors.shape[1], count=0)
        keyed.add_vectors(list(self.words), self.vectors.numpy())
        return keyed


def load(entry: Entry, split: str | None = None, full: bool = False) -> Vectors:
    """Load word vectors.

    Args:
        entry: Word vectors of the catalog.
        split: None: vectors have no splits.
        full: Fetch all 3,000,000 words (1.7 GB; 3.6 GB of memory). Those vectors have the lengths
            that training gave them; the embedded ones have length 1.

    Returns:
        The vectors in the order of the release: frequent words first.

    Raises:
        DataFileError: An embedded file cannot be read.
        FullDataUnavailable: `full` and the file can be neither found nor fetched.
    """
    try:
        gender_words = _read_lists(entry.folder / "gender-words.json")
        if full:
            return _full_vectors(gender_words)
        with np.load(entry.folder / "vectors.npz", allow_pickle=False) as archive:
            words = tuple(word.decode() for word in archive["words"].tolist())
            vectors = torch.from_numpy(archive["vectors"]).float()
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
        if isinstance(error, FullDataUnavailable):
            raise
        raise DataFileError(f"{entry.folder} cannot be read ({error}); reinstall") from error
    return Vectors(words, vectors, gender_words)


def _read_lists(path: Path) -> GenderWords:
    lists = json.loads(path.read_text(encoding="utf-8"))
    return GenderWords(
        definitional_pairs=tuple((first, second) for first, second in lists["definitional_pairs"]),
        equalize_pairs=tuple((first, second) for first, second in lists["equalize_pairs"]),
        specific_seed=tuple(lists["specific_seed"]),
        specific=tuple(lists["specific"]),
        professions=tuple(Profession(*row) for row in lists["professions"]),
    )


def _full_vectors(gender_words: GenderWords) -> Vectors:
    """Read all vectors, fetching them once into the folder of fetched data sets."""
    path = cache_folder() / f"{FULL}.gz"
    try:
        fetch(FULL_URL, path, md5=FULL_MD5)
    except DownloadError as error:
        raise FullDataUnavailable(
            f"the 3,000,000 vectors could not be fetched ({error}); with no network use the 26,423 "
            'that stand in the package: load("word-vectors")'
        ) from error
    keyed = KeyedVectors.load_word2vec_format(path, binary=True)
    return Vectors(tuple(keyed.index_to_key), torch.from_numpy(keyed.vectors), gender_words)


def draw(name: str) -> Figure:
    """Draw a map of six groups of words: their first two principal components.

    Args:
        name: Word vectors of the catalog.

    Returns:
        The figure.
    """
    data = load(find(name))
    words = [word for group in DRAWN.values() for word in group.split()]
    chosen = torch.stack([data.vector(word) for word in words])
    chosen = chosen - chosen.mean(dim=0)
    _, values, directions = torch.linalg.svd(chosen, full_matrices=False)
    directions = directions[:2] * directions[:2].sum(dim=1, keepdim=True).sign()  # a fixed sign
    places = (chosen @ directions.T).numpy()
    share = (values[:2].square().sum() / values.square().sum()).item()
    figure = Figure(figsize=(9, 6.5))
    figure.set_layout_engine("none")  # the axes have their place, whatever a page's style says
    axis = figure.add_axes((0.08, 0.08, 0.9, 0.87))
    start = 0
    for (group, members), marker in zip(DRAWN.items(), "osD^vP", strict=True):
        here = slice(start, start := start + len(members.split()))
        axis.scatter(places[here, 0], places[here, 1], marker=marker, s=22, label=group)
    axis.margins(0.08)
    axis.set_xlabel("first principal component")
    axis.set_ylabel("second principal component")
    axis.legend(fontsize=8, loc="lower left")
    axis.set_title(
        f"{name}: {len(words)} of {len(data):,} words; the plane holds {share:.0%} of their "
        "variance",
        fontsize=10,
    )
    axis.autoscale_view()
    points = axis.transData.transform(places) * 72 / figure.dpi  # in points, as offsets are
    for word, place, offset in zip(words, places, _label_offsets(words, points), strict=True):
        axis.annotate(
            word, place, xytext=offset, textcoords="offset points", fontsize=8, ha="center",
            va="center",
        )  # fmt: skip
    return figure


def _label_offsets(words: list[str], points: np.ndarray) -> list[tuple[float, float]]:
    """Place each label beside its marker where it covers no marker and no earlier label.

    Args:
        words: The labels.
        points: Their markers, (n, 2) in points.

    Returns:
        From the marker to the middle of the label, in points; the least overlap there is.
    """
    boxes = [(x - 4, y - 4, x + 4, y + 4) for x, y in points]
    offsets: list[tuple[float, float]] = []
    for word, (x, y) in zip(words, points, strict=True):
        half = 2.2 * len(word) + 1  # half the width of a label of 8 points
        candidates = [
            (side * (half + 5 if rise < 8 else half / 2), float(rise * way))
            for rise in (0, 6, 11, 17)
            for side in (1, -1)
            for way in (1, -1)
        ]

        def covered(offset: tuple[float, float], x=x, y=y, half=half) -> float:
            left, low = x + offset[0] - half, y + offset[1] - 4.5
            right, high = left + 2 * half, low + 9
            return abs(offset[1]) + sum(  # rather a slight overlap than a label far off
                max(0.0, min(right, box[2]) - max(left, box[0]))
                * max(0.0, min(high, box[3]) - max(low, box[1]))
                for box in boxes
            )

        best = min(candidates, key=covered)
        offsets.append(best)
        middle = x + best[0], y + best[1]
        boxes.append((middle[0] - half, middle[1] - 4.5, middle[0] + half, middle[1] + 4.5))
    return offsets
