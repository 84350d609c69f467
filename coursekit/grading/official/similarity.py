"""Answers that resemble each other more than the task explains: a list to look at, no verdict.

Winnowing (S. Schleimer, D. S. Wilkerson and A. Aiken, "Winnowing: local algorithms for document
fingerprinting", SIGMOD 2003) over Python's tokens: comments, docstrings and layout are dropped,
literals and the names that an author may choose become one word each; K tokens in a row are hashed
and of W neighboring hashes the smallest is kept. So every run of K + W - 1 tokens that two answers
share is found, wherever it stands, whatever its names. Names that mean something to everybody
(keywords, built-ins, imported modules, attributes, keyword arguments) stay, since independent
answers differ most in what they call.

Runs that stand in the released text or in the solutions are ignored, and so are fingerprints that
many learners have: they come from the task or from a hint. A group larger than that bound is
therefore not found by this report. How many pairs one would expect by chance is not known.
"""

from __future__ import annotations

import builtins
import heapq
import io
import keyword
import re
import token
import tokenize
from array import array
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from itertools import pairwise

import numpy as np

from coursekit.grading.notebook import Exercise
from coursekit.grading.official.harmless import page
from coursekit.grading.release import released_source

K, W = 9, 4  # runs of 12 tokens are always found, runs of fewer than 9 never
COMMON_SHARE, COMMON_LEAST, COMMON_MOST = 0.05, 10, 50
LEAST = 5  # fingerprints that a pair must share
SCORE = 0.4  # share of one learner's fingerprints that the other must have
CHARACTERS, TOKENS = 100_000, 20_000  # of one answer that are read
BASE, PRIME = 0x5DEECE66D, 2**61 - 1  # of the rolling hash
PAIRS, SHOWN = 5000, 50  # pairs of an exercise that are kept; pairs whose code the page shows

_DROPPED = {
    tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT,
    tokenize.ENCODING, tokenize.ENDMARKER,
}  # fmt: skip
_WORDS = {*keyword.kwlist, *keyword.softkwlist, *dir(builtins)}
_OPENS = {getattr(token, name) for name in ("FSTRING_START",) if hasattr(token, name)}
_CLOSES = {getattr(token, name) for name in ("FSTRING_END",) if hasattr(token, name)}
_ROUGH = re.compile(
    r"#[^\n]*|(?P<string>[rbufRBUF]{0,2}(?:\"{3}.*?(?:\"{3}|\Z)|'{3}.*?(?:'{3}|\Z)|\"[^\"\n]*\"?|"
    r"'[^'\n]*'?))|(?P<number>\d[\w.]*)|(?P<name>[^\W\d]\w*)|(?P<operator>\*\*=?|//=?|[-+*/%@&|^=!"
    r"<>:]=|->|<<|>>|\S)",
    re.S,
)


@dataclass(frozen=True)
class Pair:
    """Two learners whose answers to an exercise share fingerprints.

    Attributes:
        exercise: "part/name".
        first: One learner.
        second: The other; the names are in alphabetical order.
        first_share: The part of the first's fingerprints that the second has too, 0 to 1.
        second_share: The other way around.
        common: How many fingerprints they share.
        task: The task in which they share most.
        task_common: How many there.
    """

    exercise: str
    first: str
    second: str
    first_share: float
    second_share: float
    common: int
    task: str
    task_common: int

    @property
    def score(self) -> float:
        """The larger of both shares: copied code stays copied when more is written around it."""
        return max(self.first_share, self.second_share)


def words(source: str) -> list[str]:
    """Return the normalized tokens of an answer, also of one that Python cannot read."""
    source = source[:CHARACTERS].replace("\0", " ")  # which Python 3.12's tokenizer trips over
    try:
        read = list(_read(source))
    except (SyntaxError, ValueError, tokenize.TokenError, RecursionError, MemoryError):
        read = list(_read_roughly(source))
    return _normalized(read[:TOKENS])


def _read(source: str) -> Iterator[tuple[str, str]]:
    """Yield (kind, text) with Python's tokenizer; docstrings and comments are left out."""
    depth, begins = 0, True
    for found in tokenize.generate_tokens(io.StringIO(source).readline):
        if found.type in _OPENS:
            depth += 1
            if depth == 1:
                yield "string", ""
        elif found.type in _CLOSES:
            depth -= 1
        elif depth == 0 and found.type in _DROPPED:
            begins = begins or found.type == tokenize.NEWLINE
            continue
        elif depth == 0 and found.type == tokenize.STRING:
            if not begins:
                yield "string", ""
            continue  # a string on its own is a docstring; so are those that follow it
        elif depth == 0 and found.type == tokenize.NUMBER:
            yield "number", ""
        elif depth == 0:
            kind = "name" if found.type == tokenize.NAME else "operator"
            yield kind, found.string
        begins = False


def _read_roughly(source: str) -> Iterator[tuple[str, str]]:
    for found in _ROUGH.finditer(source):
        if found.lastgroup:
            fixed = found.lastgroup in ("string", "number")
            yield found.lastgroup, "" if fixed else found[0]


def _normalized(read: Sequence[tuple[str, str]]) -> list[str]:
    """Replace literals and the names that an author chose."""
    known = _WORDS | _imported(read)
    normal: list[str] = []
    depth, before = 0, ""
    for place, (kind, text) in enumerate(read):
        if kind != "name":
            depth += (text in ("(", "[", "{")) - (text in (")", "]", "}"))
            normal.append(text or kind)
        else:
            after = read[place + 1][1] if place + 1 < len(read) else ""
            argument = depth > 0 and after == "=" and before in ("(", ",")
            attribute = before == "." and place > 1 and read[place - 2][1] not in ("self", "cls")
            normal.append(text if text in known or argument or attribute else "name")
        before = text
    return normal


def _imported(read: Sequence[tuple[str, str]]) -> set[str]:
    """Return names that modules of this course go by, and those that the answer imports."""
    names = {"np", "torch", "F", "nn", "math", "plt"}
    for (_, before), (kind, text) in pairwise(read):
        if before in ("import", "from", "as") and kind == "name":
            names.add(text)
    return names


@lru_cache(maxsize=65536)
def _code(word: str) -> int:
    """Return a number for a token, the same in every run; Python's own hash is not."""
    digest = blake2b(word.encode("utf-8", "backslashreplace"), digest_size=8).digest()
    return int.from_bytes(digest, "big")


def hashes(tokens: Sequence[str]) -> list[int]:
    """Return the rolling hash (Karp and Rabin) of each run of K tokens; none for fewer than K."""
    codes = [_code(one) for one in tokens]
    leading = pow(BASE, K, PRIME)
    values, value = [], 0
    for place, code in enumerate(codes):
        value = (value * BASE + code) % PRIME
        if place >= K:
            value = (value - codes[place - K] * leading) % PRIME
        if place >= K - 1:
            values.append(value)
    return values


def fingerprints(values: Sequence[int]) -> set[int]:
    """Keep the smallest of every W neighboring hashes; of fewer than W the smallest."""
    if not values:
        return set()
    return {min(values[i : i + W]) for i in range(max(len(values) - W + 1, 1))}


def released_texts(exercise: Exercise) -> list[str]:
    """Return the code that all learners have, or come to without each other: what to ignore.

    That is each code cell as released, and the solution's answers.
    """
    cells = [cell for cell in exercise.notebook.cells if cell.cell_type == "code"]
    return [text for cell in cells for text in (released_source(cell), str(cell.source))]


def report(
    answers: Mapping[tuple[str, str], Mapping[str, str]],
    released: Mapping[str, Iterable[str]],
    *,
    score: float = SCORE,
    least: int = LEAST,
) -> list[Pair]:
    """Find pairs of learners whose answers to an exercise share much.

    Ignored is what more than 5 % of the learners of an exercise have, but not what 10 or fewer
    have, and always what more than 50 have. The last bound keeps the work linear in the number
    of learners.

    Args:
        answers: For (learner, exercise) the text of each answer, by task.
        released: For each exercise the texts to ignore, see `released_texts`.
        score: The share of one learner's fingerprints that the other must have.
        least: How many fingerprints they must share.

    Returns:
        Pairs by exercise, highest score first; at most 5,000 for an exercise.
    """
    learners: dict[str, list[str]] = defaultdict(list)
    for learner, exercise in sorted(answers):
        learners[exercise].append(learner)
    return [
        pair
        for exercise, names in sorted(learners.items())
        for pair in _pairs(exercise, names, answers, released.get(exercise, ()), score, least)
    ]


@lru_cache(maxsize=4096)
def _marks(source: str) -> frozenset[int]:
    return frozenset(fingerprints(hashes(words(source))))


def _pairs(
    exercise: str,
    names: Sequence[str],
    answers: Mapping[tuple[str, str], Mapping[str, str]],
    released: Iterable[str],
    score: float,
    least: int,
) -> list[Pair]:
    """Find the pairs of one exercise through an index from each fingerprint to its holders."""
    ignored = {value for text in released for value in hashes(words(text))}
    marks, owners = array("Q"), array("L")
    for number, learner in enumerate(names):
        own = set().union(*map(_marks, answers[learner, exercise].values())) - ignored
        marks.extend(own)
        owners.extend([number] * len(own))
    most = min(max(COMMON_LEAST, COMMON_SHARE * len(names)), COMMON_MOST)
    totals, shared, common = _holders(marks, owners, int(most))
    found = (
        (-count / min(totals[a], totals[b]), -count, a, b)
        for a, b, count in shared
        if count >= least and count / min(totals[a], totals[b]) >= score
    )
    pairs = []
    for _, count, a, b in heapq.nsmallest(PAIRS, found):
        shares = (-count / totals[a], -count / totals[b])
        first, second = answers[names[a], exercise], answers[names[b], exercise]
        task, there = _matching_task(first, second, ignored | common)
        pairs.append(Pair(exercise, names[a], names[b], *shares, -count, task, there))
    return pairs


def _holders(
    marks: array[int], owners: array[int], most: int
) -> tuple[list[int], Iterator[tuple[int, int, int]], set[int]]:
    """Find who shares fingerprints with whom; 16 bytes a fingerprint and the pairs of one learner.

    Returns:
        How many fingerprints each learner has that count; (learner, later learner, how many they
        share); and the fingerprints that more than `most` learners have, which do not count.
    """
    if not marks:
        return [], iter(()), set()
    values, numbers = np.array(marks), np.array(owners)
    order = np.lexsort((numbers, values))
    values, numbers = values[order], numbers[order]
    begins = np.flatnonzero(np.concatenate(([True], values[1:] != values[:-1])))
    sizes = np.diff(np.append(begins, len(values)))
    counts = np.bincount(numbers, weights=np.repeat(sizes <= most, sizes)).astype(int)
    ends = np.repeat(np.where(sizes <= most, begins + sizes, 0), sizes)

    def shared() -> Iterator[tuple[int, int, int]]:
        # Holders of a fingerprint stand side by side, in order: the later ones follow.
        places = np.argsort(numbers, kind="stable")
        for own in np.split(places, np.flatnonzero(np.diff(numbers[places])) + 1):
            rest = [numbers[place + 1 : ends[place]] for place in own if place + 1 < ends[place]]
            if rest:
                others, common = np.unique(np.concatenate(rest), return_counts=True)
                first = int(numbers[own[0]])
                yield from zip([first] * len(others), others.tolist(), common.tolist(), strict=True)

    return counts.tolist(), shared(), set(values[begins[sizes > most]].tolist())


def _matching_task(
    first: Mapping[str, str], second: Mapping[str, str], ignored: set[int]
) -> tuple[str, int]:
    """Return the task of the first in which they share most, and how many fingerprints there."""
    other = set().union(*map(_marks, second.values())) - ignored
    shared = {task: len(_marks(source) & other) for task, source in sorted(first.items())}
    task = max(shared, key=lambda name: shared[name])
    return task, shared[task]


def page_of(
    pairs: Sequence[Pair], answers: Mapping[tuple[str, str], Mapping[str, str]], learners: int
) -> str:
    """Write the pairs as a page; the code of the first 50 stands side by side.

    Args:
        pairs: What `report` found.
        answers: The texts that it compared.
        learners: How many learners were compared.
    """
    ordered = sorted(pairs, key=lambda pair: (-pair.score, -pair.common, pair.exercise))

    def code(learner: str, pair: Pair) -> str:
        return answers.get((learner, pair.exercise), {}).get(pair.task, "")

    shown = [(p, code(p.first, p), code(p.second, p)) for p in ordered[:SHOWN]]
    return page(
        "similarity.html.j2",
        pairs=ordered[:1000],
        total=len(ordered),
        shown=shown,
        learners=learners,
        score=SCORE,
        least=LEAST,
    )
