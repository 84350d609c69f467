"""What a page calls: `claim` in a chapter, `ledger` on the page that lists all claims."""

from __future__ import annotations

import html
import os
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from coursekit.claims.citations import cited
from coursekit.claims.course import find_root
from coursekit.claims.records import append_run, read_runs, record_path, run_seed, shown_runs
from coursekit.claims.stated import (
    ClaimError,
    ClaimFailed,
    Figures,
    Stated,
    current_code,
    listed_claims,
)
from coursekit.claims.tables import figure, html_table, published, spread, text_table

SEEDS_VARIABLE = "COURSEKIT_CLAIM_SEEDS"

Holds = Callable[[Figures], bool]


def claim(
    chapter: str,
    experiment: Callable[[int], Mapping[str, float]],
    *,
    paper: Mapping[str, float | str],
    source: str | Sequence[str],
    holds: Holds,
    contenders: tuple[str, str],
    unit: str = "",
    reproduced: bool = True,
    reason: str = "",
    setting: str = "",
) -> Claim:
    """Measure what a paper claims and compare.

    Args:
        chapter: Name of the page, ``"6-special/01-spatial-transformer"``.
        experiment: Takes a seed and returns named figures.
        paper: Published figures, under the same names where they mean the same.
        source: Citation key or keys of the published figures.
        holds: Takes the figures and says whether they bear the claim out; it uses nothing else.
        contenders: The two figures that `holds` must tell apart: exchanged, it must be false.
        unit: Unit of the figures.
        reproduced: False for a claim that honest runs do not bear out.
        reason: Why it is not reproduced; needed then.
        setting: What was measured, in a few words: sizes, budgets.

    Returns:
        The claim with the figures of seed 0, shown as a table. With COURSEKIT_CLAIM_SEEDS set to
        seeds, those are run and recorded instead.

    Raises:
        ClaimError: The claim is not stated well.
        ClaimFailed: The figures do not say what the chapter says.
    """
    stated = Stated(
        chapter=chapter,
        paper=dict(paper),
        sources=(source,) if isinstance(source, str) else tuple(source),
        contenders=contenders,
        unit=unit,
        reproduced=reproduced,
        reason=reason,
        setting=setting,
    )
    stated.check()
    root = find_root()
    code = current_code(root, chapter) if root else ""
    seeds = os.environ.get(SEEDS_VARIABLE)
    if seeds and root:
        for seed in map(int, seeds.split(",")):
            run = run_seed(experiment, seed, code)
            append_run(record_path(root, chapter), chapter, run)
            shown = ", ".join(f"{name} {figure(x)}" for name, x in run["figures"].items())
            print(f"{chapter} seed {seed}: {shown} ({run['seconds']:.0f} s)", flush=True)
        figures: Figures = {}
    else:
        figures = run_seed(experiment, 0, code)["figures"]
        judge(stated, figures, holds)
    runs, current = shown_runs(read_runs(root, chapter) if root else [], code)
    return Claim(stated, figures, runs, current, sum(bool(holds(r["figures"])) for r in runs))


def judge(stated: Stated, figures: Figures, holds: Holds) -> None:
    """Compare figures with what a chapter says about them.

    Args:
        stated: The claim.
        figures: What was measured.
        holds: The condition.

    Raises:
        ClaimError: The condition does not tell the contenders apart.
        ClaimFailed: It is not what the chapter says.
    """
    first, second = stated.contenders
    missing = [name for name in stated.contenders if name not in figures]
    if missing:
        raise ClaimError(
            f"contenders must be names that the experiment returns "
            f"({', '.join(figures)}), got {', '.join(map(repr, missing))}"
        )
    shown = ", ".join(f"{name} = {figure(value)}" for name, value in figures.items())
    if bool(holds(figures)) is not stated.reproduced:
        outcome = (
            "does not hold" if stated.reproduced else "holds, although reproduced=False was said"
        )
        raise ClaimFailed(f"The claim of {stated.chapter} {outcome}: {shown}")
    if stated.reproduced and holds(swap(figures, first, second)):
        raise ClaimError(
            f"holds must be false with {first!r} and {second!r} exchanged, but it is true: "
            f"it does not test the claim ({shown})"
        )


def swap(figures: Figures, first: str, second: str) -> Figures:
    """Exchange two figures.

    Args:
        figures: What was measured.
        first: Name of one.
        second: Name of the other.

    Returns:
        A copy in which they have changed places.
    """
    return {**figures, first: figures[second], second: figures[first]}


@dataclass(frozen=True)
class Claim:
    """A measured claim, shown as a table.

    Attributes:
        stated: The claim as the chapter states it.
        figures: Figures of this run; empty while seeds are recorded.
        runs: Recorded runs.
        current: Whether today's code made them.
        held: How many of them bear the claim out.
    """

    stated: Stated
    figures: Figures
    runs: list[dict[str, Any]]
    current: bool
    held: int

    def _head(self) -> list[str]:
        unit = f" ({self.stated.unit})" if self.stated.unit else ""
        many = "seed" if len(self.runs) == 1 else "seeds"
        recorded = "recorded"
        if self.runs:
            recorded += f" min – median – max, {len(self.runs)} {many}"
        return [
            f"figure{unit}",
            f"paper ({cited(find_root(), self.stated.sources)})",
            "this run (seed 0)",
            recorded,
        ]

    def _rows(self) -> list[list[str]]:
        names = [*self.figures, *(n for n in self.stated.paper if n not in self.figures)]
        return [
            [
                name,
                published(self.stated.paper.get(name, "–")),
                figure(self.figures.get(name, "–")),
                spread(self.runs, name),
            ]
            for name in names
        ]

    def _notes(self) -> list[str]:
        return [self.stated.setting, verdict(self.stated, self.runs, self.current, self.held)]

    def _repr_html_(self) -> str:
        return html_table(self._head(), self._rows(), self._notes())

    def __repr__(self) -> str:
        return text_table(self._head(), self._rows(), self._notes())


def verdict(stated: Stated, runs: Sequence[Mapping[str, Any]], current: bool, held: int) -> str:
    """Say in one sentence what the record shows.

    Args:
        stated: The claim.
        runs: Recorded runs.
        current: Whether today's code made them.
        held: How many of them bear the claim out.

    Returns:
        The sentence.
    """
    said = "" if stated.reproduced else f"Not reproduced: {stated.reason.rstrip('.')}. "
    if not runs:
        return f"{said}Not yet measured on fresh seeds."
    seconds = statistics.median(run["seconds"] for run in runs)
    said += (
        f"The condition holds on {held} of {len(runs)} recorded seeds ({figure(seconds)} s each)."
    )
    return said if current else f"{said} Recorded with other code: to be re-measured."


@dataclass(frozen=True)
class Entry:
    """A claim of the ledger.

    Attributes:
        title: Title of the chapter.
        link: Its page.
        head: Names of the columns.
        rows: A figure each.
        notes: What the record shows, and the setting.
    """

    title: str
    link: str
    head: list[str]
    rows: list[list[str]]
    notes: list[str]

    def _repr_html_(self) -> str:
        title = f'<a href="{html.escape(self.link)}">{html.escape(self.title)}</a>'
        table = html_table(self.head, self.rows, self.notes)
        return f'<p class="claim-title">{title}</p>{table}'

    def __repr__(self) -> str:
        return f"{self.title}\n{text_table(self.head, self.rows, self.notes)}"


@dataclass(frozen=True)
class Ledger:
    """All claims of the book, a table each."""

    entries: list[Entry]

    def _repr_html_(self) -> str:
        return "".join(entry._repr_html_() for entry in self.entries)

    def __repr__(self) -> str:
        return "\n\n".join(map(repr, self.entries))


def ledger(root: Path | None = None) -> Ledger:
    """List every claim of the book with the paper's figures and ours.

    Args:
        root: Folder of the course; found by itself if left out.

    Returns:
        A table for each claim, in the order of the book.
    """
    root = root or find_root()
    if root is None:
        raise ClaimError("root must be the folder of the course: no book/_toc.yml was found")
    return Ledger([_entry(root, stated) for stated in listed_claims(root)])


def _entry(root: Path, stated: Stated) -> Entry:
    runs, current = shown_runs(read_runs(root, stated.chapter), stated.code)
    held = sum(stated.holds(run["figures"]) for run in runs)
    measured = list(runs[-1]["figures"]) if runs else []
    names = [*measured, *(name for name in stated.paper if name not in measured)]
    unit = f" ({stated.unit})" if stated.unit else ""
    return Entry(
        stated.title,
        f"{stated.chapter}.html",
        [f"figure{unit}", f"paper ({cited(root, stated.sources)})", "here: min – median – max"],
        [
            [
                name,
                published(stated.paper[name]) if name in stated.paper else "–",
                spread(runs, name),
            ]
            for name in names
        ],
        [stated.setting, verdict(stated, runs, current, held)],
    )
