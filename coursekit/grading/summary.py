"""What continuous integration shows of graded notebooks: a few lines, and a page in Markdown.

Everything that a notebook can say is untrusted text: in tables each mark that Markdown or HTML
could read is written as an entity, in details it stands escaped inside of ``<pre>``.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from coursekit.errors import UserError

MOST_BYTES = 900_000  # GitHub refuses a summary of more than 1 MiB
MOST_CELL, MOST_DETAIL = 300, 4000
PLAIN = frozenset(" ,-()")
FEEDBACK = (
    "Feedback only: the notebook's code and the checks ran in one process. Official grading "
    "(`coursekit grade`) keeps them apart."
)


@dataclass
class Fact:
    """The result of one check cell, or why a notebook has none.

    Attributes:
        exercise: The exercise, empty when it could not be recognized.
        file: The notebook.
        status: "passed", "partly", "failed", "not answered", "error", "refused" or "untouched".
        task: The task.
        title: What its heading says.
        side: "public" or "hidden".
        points: What the cell is worth.
        earned: The part that was reached.
        messages: What its checks said, or the reason.
        explanation: What is said about a known mistake.
        undecided: Points of the task whose hidden tests are absent.
        notes: What else the learner should know about the notebook.
        cells: How many check cells the notebook has.
    """

    exercise: str
    file: str
    status: str
    task: str = ""
    title: str = ""
    side: str = ""
    points: float = 0.0
    earned: float = 0.0
    messages: list[str] = field(default_factory=list)
    explanation: str = ""
    undecided: float = 0.0
    notes: list[str] = field(default_factory=list)
    cells: int = 0

    @property
    def name(self) -> str:
        """The exercise, with its file where that does not say which exercise it is."""
        if self.exercise and self.file.endswith(f"{self.exercise}.ipynb"):
            return self.exercise
        return f"{self.exercise} ({self.file})" if self.exercise else self.file


def lines(facts: Sequence[Fact]) -> list[str]:
    """Return one line for each notebook."""
    return [f"{group[0].name}: {_verdict(group)}" for group in _grouped(facts)]


def _grouped(facts: Iterable[Fact]) -> list[list[Fact]]:
    groups: dict[str, list[Fact]] = {}
    for fact in facts:
        groups.setdefault(fact.file, []).append(fact)
    return [groups[file] for file in sorted(groups)]


def _verdict(group: list[Fact]) -> str:
    """Say in one sentence or two what a notebook reached, and what that does not mean."""
    first = group[-1]
    if first.status == "untouched":
        return "not worked on yet, left out."
    if first.status == "refused":
        return f"could not be graded: {first.messages[0]}"
    hidden = any(fact.side == "hidden" for fact in group)
    kind = "Checks" if hidden else "Public checks"
    whole = len(group) == first.cells and all(fact.status == "passed" for fact in group)
    earned, points = sum(fact.earned for fact in group), sum(fact.points for fact in group)
    said = f"{kind}{' passed' if whole else ''}: {round(earned, 2):g} of {points:g} points."
    if len(group) < first.cells:
        said += f" Only {len(group)} of {first.cells} check cells ran."
    undecided = sum({fact.task: fact.undecided for fact in group}.values())
    if undecided:
        said += f" Hidden tests decide {undecided:g} more points when the exercise is graded."
    return said


def markdown(facts: Sequence[Fact], most: int = MOST_BYTES) -> str:
    """Return the page.

    Args:
        facts: The results.
        most: Bytes that it may take; details, then whole notebooks are left out beyond.
    """
    shown = ["## Exercises\n", f"{FEEDBACK}\n"]
    groups = _grouped(facts)
    if not groups:
        shown.append("No exercise was graded.\n")
    reserve = 200  # for what says that something was left out
    left = most - reserve - sum(len(text.encode()) for text in shown)
    for number, group in enumerate(groups):
        table, details = _table(group), _details(group)
        if (size := len(table.encode())) > left:
            rest = len(groups) - number
            shown.append(f"{rest} more notebooks do not fit here: see the log of the run.\n")
            break
        shown.append(table)
        left -= size
        if details and (size := len(details.encode())) > left - reserve:
            details = "Its messages do not fit here: see the log of the run.\n"
            size = len(details)
        shown.append(details)
        left -= size
    return "\n".join(shown)


def _table(group: list[Fact]) -> str:
    text = [f"### {_plain(group[0].name)}\n", f"{_plain(_verdict(group))}\n"]
    tasks: dict[str, list[Fact]] = {}
    for fact in group:
        if fact.task:
            tasks.setdefault(fact.task, []).append(fact)
    if tasks:
        text += ["| Task | Points | Result | What to do next |", "|---|---|---|---|"]
        text += [_row(cells) for cells in tasks.values()] + [""]
    return "\n".join(text)


def _row(cells: list[Fact]) -> str:
    earned, points = sum(c.earned for c in cells), sum(c.points for c in cells)
    bad = next((cell for cell in cells if cell.status != "passed"), None)
    status = "passed" if bad is None else bad.status
    if bad is None and cells[0].undecided:
        status = "public checks passed"
    elif bad is not None and bad.side == "hidden":
        status = f"{status} (hidden tests)"
    share = f"{round(earned, 2):g} of {points:g}"
    return f"| {_plain(cells[0].title)} | {share} | {status} | {_plain(_advice(cells[0], bad))} |"


def _advice(first: Fact, bad: Fact | None) -> str:
    """Say what to do next about a task."""
    if bad is None:
        if first.undecided:
            return (
                f"Try inputs of your own, small and odd ones: hidden tests decide "
                f"{first.undecided:g} more points."
            )
        return "Nothing."
    if bad.status == "not answered":
        return f"Replace raise NotImplementedError in the answer cell {bad.task}."
    if bad.explanation:
        return bad.explanation
    if bad.status == "error":
        return bad.messages[0] if bad.messages else "See the log of the run."
    if bad.side == "hidden":
        return "Test other shapes, number types and edge cases that the task mentions."
    return "Compare expected and got in the message below; then open the first hint."


def _details(group: list[Fact]) -> str:
    """Return collapsed messages of what failed, and notes."""
    text = []
    for fact in group:
        if fact.status in ("passed", "not answered", "untouched"):
            continue
        title = f"{fact.title} ({fact.task}, {fact.side})" if fact.task else fact.name
        said = [m for m in fact.messages if not m.startswith("passed")]
        text.append(_collapsed(title, [*said, fact.explanation]))
    notes = list(dict.fromkeys(note for fact in group for note in fact.notes))
    if notes:
        text.append(_collapsed("Notes", notes))
    return "\n".join(text)


def _collapsed(title: str, texts: Iterable[str]) -> str:
    body = "\n".join(text for text in texts if text)
    body = body if len(body) <= MOST_DETAIL else f"{body[: MOST_DETAIL - 1]}…"
    # An empty line ends the first block of HTML; inside of <pre> nothing is read as Markdown.
    return (
        f"<details><summary>{html.escape(_printable(title))}</summary>\n\n"
        f"<pre>{html.escape(_printable(body, keep=chr(10)))}</pre>\n\n</details>\n"
    )


def _printable(text: str, keep: str = "") -> str:
    """Replace what shows nothing or turns the direction of text; keep these characters."""
    return "".join(c if c.isprintable() or c in keep else " " for c in text)


def _plain(text: str) -> str:
    """Return text for one cell of a table, read by Markdown as these very characters."""
    text = " ".join(_printable(text).split())
    text = text if len(text) <= MOST_CELL else f"{text[: MOST_CELL - 1]}…"
    return "".join(c if c.isalnum() or c in PLAIN or ord(c) > 127 else f"&#{ord(c)};" for c in text)


def append(path: Path, facts: Sequence[Fact]) -> None:
    """Append the page to a file.

    Args:
        path: The file; what it holds counts towards the size that is allowed.
        facts: The results.

    Raises:
        UserError: When the file cannot be written.
    """
    try:
        held = path.stat().st_size if path.exists() else 0
        with path.open("a", encoding="utf-8", errors="replace") as file:
            file.write(markdown(facts, max(MOST_BYTES - held, 0)))
    except OSError as error:
        raise UserError(
            f"--coursekit-summary {path} cannot be written ({error.strerror}): give a file in a "
            "folder that exists"
        ) from error
