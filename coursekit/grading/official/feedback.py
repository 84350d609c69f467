"""What a learner gets back: one page that explains every point, without a script or another host.

For each task it shows what was asked, what the checks expected and what came, why (the explanation
of the known mistake that the answer equals), where to read, and what the hidden checks gave. Hints
are left out of the text of a task, hidden tests are never in it. Everything is escaped; formulas
become MathML by docutils, and stand as TeX where docutils cannot read them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import mistune
from docutils.utils.math import latex2mathml
from markupsafe import Markup, escape

from coursekit.grading.notebook import HEADING, Exercise
from coursekit.grading.official.harmless import page
from coursekit.grading.official.results import BOOK, FAILED, REFUSED, CellGrade, Grade, TaskGrade

SHORT = 40  # characters of a formula that fits a telephone
MOST = 40  # messages of a cell, facts of a message and notes that are shown

_VERDICTS = {
    "passed": ("Right", "good"),
    "partly": ("Partly right", "part"),
    "failed": ("Not right yet", "bad"),
    "not answered": ("Not answered", "bad"),
    "error": ("Could not be judged", "bad"),
}
_REFUSED = "This could not be graded, so it has 0 points:"
_FAILED = "The grader itself failed, which is no fault of yours; ask for a new grading. It said:"
_HINTS = re.compile(r"<details\b.*?(?:</details>|\Z)", re.S | re.I)
_ACCENT = re.compile(r"\\(tilde|hat|bar|dot|vec)\b\s*(\\[A-Za-z]+|[A-Za-z])")
_TILDE = re.compile(
    r"<munderover>(<mi>[^<]*</mi>)((?:(?!</?munderover>).)*?)(<mo[^>]*>~</mo>)</munderover>"
)


@dataclass(frozen=True)
class ExerciseText:
    """What a page says about an exercise.

    Attributes:
        name: "part/name".
        title: The exercise's title.
        points: What it is worth.
        numbers: The number of each task, by its id.
        tasks: The text of each task as HTML, by its id; empty when only ids are known.
    """

    name: str
    title: str
    points: float
    numbers: Mapping[str, int]
    tasks: Mapping[str, Markup] = field(default_factory=dict)


def exercise_text(exercise: Exercise | Mapping[str, Any]) -> ExerciseText:
    """Prepare the text of an exercise once, for all learners.

    Args:
        exercise: A solution taken apart, or what a release recorded of it (the known JSON), which
            holds no texts of tasks.
    """
    if not isinstance(exercise, Exercise):
        order = {task: number for number, task in enumerate(exercise["order"], 1)}
        worth = sum(
            float(task[side]["points"])
            for task in exercise["tasks"].values()
            for side in ("public", "hidden")
        )
        return ExerciseText(exercise["exercise"], exercise["exercise"], worth, order)
    titles = (
        re.search(r"^# (?:Exercise: )?(.+?)(?:: exercise)?\s*$", cell.source, re.M)
        for cell in exercise.notebook.cells
        if cell.cell_type == "markdown"
    )
    title = next((found[1] for found in titles if found), exercise.name)
    title = title[0].upper() + title[1:]
    return ExerciseText(
        exercise.name,
        title,
        sum(exercise.points(p) for t in exercise.tasks for p in (t.public, t.hidden)),
        {task.id: number for number, task in enumerate(exercise.tasks, 1)},
        {task.id: _asked(exercise.source(task.text)) for task in exercise.tasks},
    )


def _asked(source: str) -> Markup:
    """Render the text of a task: what stands below its heading, without the hints."""
    heading = HEADING.search(source)
    below = source[heading.end() :] if heading else source
    return Markup(_markdown(_HINTS.sub("", below)))


# A long formula scrolls on a narrow page, so the keyboard must reach it.
_FOCUS = ' tabindex="0" role="group" aria-label="Formula"'


class _Renderer(mistune.HTMLRenderer):
    """Markdown as HTML of one file: no picture is fetched, no markup of the text's is kept."""

    def image(self, text: str, url: str, title: str | None = None) -> str:
        return f"<em>{escape(text)}</em>"

    def link(self, text: str, url: str, title: str | None = None) -> str:
        safe = url.startswith(("https://", "http://"))
        return f'<a href="{escape(url)}">{text}</a>' if safe else text

    def heading(self, text: str, level: int, **attributes: Any) -> str:
        return f"<h5>{text}</h5>\n"

    def inline_math(self, text: str) -> str:
        formula = _mathml(text, as_block=False)
        return f'<span class="inline"{_FOCUS}>{formula}</span>' if len(text) > SHORT else formula

    def block_math(self, text: str) -> str:
        focus = _FOCUS if len(text) > SHORT else ""
        return f'<div class="display"{focus}>{_mathml(text, as_block=True)}</div>\n'


_markdown = mistune.create_markdown(
    escape=True, renderer=_Renderer(escape=True), plugins=["math", "table"]
)


def _mathml(tex: str, as_block: bool) -> str:
    try:
        formula = latex2mathml.tex2mathml(_readable(tex), as_block=as_block)
    except Exception:  # docutils reads a part of TeX and fails on the rest in several ways
        return f'<code class="tex">{escape(tex.strip())}</code>'
    return _mended(re.sub(r"\n\s*", "", formula))


def _readable(tex: str) -> str:
    """Write TeX as docutils reads it: digits and accents one by one, no distance between lines."""
    tex = tex.replace(r"\dots", r"\ldots").replace(r"\mathrel", "").strip()
    tex = re.sub(r"\\\\\[[\d.]+[a-z]{2}\]", r"\\\\", tex)
    tex = re.sub(r"\\([td]?frac)\s*(\d)\s*(\d)", r"\\\1{\2}{\3}", tex)
    tex = re.sub(r"([_^])(\d)(?=\d)", r"\1{\2}", tex)
    return _ACCENT.sub(r"\\\1{\2}", tex)


def _mended(formula: str) -> str:
    """Set log and the like apart from their neighbors, and the index of a letter with a tilde
    beside it: docutils sets it below.
    """
    formula = _TILDE.sub(r"<msub><mover>\1\3</mover>\2</msub>", formula)
    formula = formula.replace("<mo>&ApplyFunction;</mo>", "")
    formula = formula.replace("<mo>'</mo>", '<mo lspace="0" rspace="0">′</mo>')
    space = '<mspace width="0.17em"></mspace>'
    formula = re.sub(r"(</m[in]>)(?=<mi>[a-z]{2,}</mi>)", rf"\1{space}", formula)
    return re.sub(r"(<mi>[a-z]{2,}</mi>)(?=<m(?:i|n|frac|sub|sup|over)>)", rf"\1{space}", formula)


def counting(grades: Iterable[Grade]) -> list[Grade]:
    """Return the grades that count: of several for one learner and exercise the best, the first
    of equally good ones, and the grader's own failures last; by learner and exercise.
    """
    best: dict[tuple[str, str], Grade] = {}
    for grade in grades:
        key = (grade.learner, grade.exercise)
        worth = (grade.status != FAILED, grade.score)
        if key not in best or worth > (best[key].status != FAILED, best[key].score):
            best[key] = grade
    return sorted(best.values(), key=lambda grade: (grade.learner, grade.exercise))


def why(task: TaskGrade) -> str:
    """Return in one line why a task has not all of its points; empty when it has."""
    if task.earned >= task.points:
        return task.reason
    if task.reason:
        return task.reason
    if task.status == "not answered":
        return "not answered, the answer cell is as it was released"
    told = [*task.public.said, *task.hidden.said]
    failed = next((said for said in told if said.status == "failed"), None)
    if failed is None:
        return "no check was passed"
    raised = dict(failed.facts).get("got", "") if failed.title.endswith("was raised") else ""
    return f"{failed.title}: {raised}" if raised else failed.title


def passed_of(side: CellGrade) -> tuple[int, int]:
    """Return how many checks of a cell were passed, and how many ran."""
    judged = [said.status for said in side.said if said.status in ("passed", "failed")]
    return judged.count("passed"), len(judged)


def hidden_words(task: TaskGrade) -> str:
    """Say what the hidden checks showed, and no more than that."""
    passed, total = passed_of(task.hidden)
    if not total:
        return "" if task.hidden.earned > 0 else "They did not run."
    if passed == total:
        which = "The only one passed" if total == 1 else f"All {total} passed"
        return f"{which}, on inputs that the notebook does not show."
    words = f"{passed} of {total} passed. They try other inputs, and what they try is not shown."
    public, ran = passed_of(task.public)
    if ran and public == ran:
        words += (
            " The checks that you see passed, so look at what the text asks beyond their inputs: "
            "other shapes and sizes, extreme or empty inputs, arguments that must not change."
        )
    return words


def chapter_link(book: str, exercise: str) -> str:
    """Return the page of the book that an exercise belongs to.

    Args:
        book: Where the book lies: an http(s) or file address, or a path relative to the page.
        exercise: "part/name".

    Raises:
        ValueError: If `book` has another scheme.
    """
    if not BOOK.match(book):
        raise ValueError(f"book must be an http(s) or file address or a path, got {book!r}")
    return f"{book.rstrip('/')}/{exercise}.html"


def feedback(
    grades: Sequence[Grade], exercises: Mapping[str, ExerciseText], *, book: str = ""
) -> str:
    """Write the page of one learner.

    Args:
        grades: All grades of one learner.
        exercises: What is known of the exercises, by name.
        book: Where the book lies, see `chapter_link`; without it chapters are named, not linked.

    Returns:
        A page of HTML; the same grades give the same text.

    Raises:
        ValueError: If there is no grade, or grades are of several learners.
    """
    learners = {grade.learner for grade in grades}
    if len(learners) != 1:
        raise ValueError(f"grades must be of one learner, got {len(learners)} learners")
    return page(
        "feedback.html.j2",
        learner=grades[0].learner,
        score=sum(grade.score for grade in counting(grades)),
        max_score=sum(grade.max_score for grade in counting(grades)),
        several=len(counting(grades)) < len(grades),
        parts=[_part(grade, exercises.get(grade.exercise), book) for grade in grades],
        most=MOST,
    )


def _part(grade: Grade, text: ExerciseText | None, book: str) -> SimpleNamespace:
    def total(side: str) -> CellGrade:
        cells = [getattr(task, side) for task in grade.tasks]
        return CellGrade(sum(c.points for c in cells), sum(c.earned for c in cells))

    return SimpleNamespace(
        grade=grade,
        title=text.title if text else grade.exercise or grade.file or "Submission",
        chapter=text.title if text else "",
        link=chapter_link(book, text.name) if text and book else "",
        verdict={REFUSED: _REFUSED, FAILED: _FAILED}.get(grade.status, ""),
        public=total("public"),
        hidden=total("hidden"),
        tasks=[
            _item(grade, task, text, number) for number, task in enumerate(grade.tasks, 1)
        ],
    )  # fmt: skip


def _item(grade: Grade, task: TaskGrade, text: ExerciseText | None, number: int) -> SimpleNamespace:
    verdict, color = _VERDICTS.get(task.status, (task.status, "part"))
    return SimpleNamespace(
        task=task,
        number=text.numbers.get(task.task, number) if text else number,
        verdict=verdict,
        color=color,
        text=text.tasks.get(task.task, "") if text else "",
        reason=why(task) if task.reason or task.earned <= 0 else "",
        hidden=hidden_words(task),
        answer=grade.answers.get(task.task, ""),
    )
