"""What comes out of a batch: tables, files for other systems, and a page for each learner.

`write_all` fills a folder::

    grades.csv, tasks.csv          one row a submission; one row a task
    nbgrader.csv, canvas.csv       for gradebooks
    junit.xml                      for continuous integration
    similarity.csv, .html          answers to look at (`coursekit.grading.official.similarity`)
    learners/NAME/                 feedback.html, results.json, gradescope.json,
                                   classroom50.json, junit.xml

The same grades give the same bytes; nothing but Gradescope's `execution_time` tells of time. Texts
that come from learners are escaped, bounded, and harmless in spreadsheets
(`coursekit.grading.official.harmless`). Points in tables have at most 6 digits behind the point.

Where a system has one grade for a learner and exercise, the best of several submissions counts,
the first of equally good ones. An exercise that nobody could recognize appears in the tables and
in the learner's own files, not in gradebooks. A submission at which the grader itself failed never
becomes a 0 in a gradebook: its cell is empty in Canvas, its row is left out for nbgrader.

**Canvas.** `canvas.csv` is what Grades, Import reads: the columns Student, ID, SIS User ID, SIS
Login ID and Section, which the importer only reads to find a learner, then one column for each
exercise, and below the header the row "    Points Possible". The learner's name stands under
Student and SIS Login ID. If names of submissions are login ids (or names as Canvas has them),
nothing needs to be filled in; else copy ID from an export of Canvas. To grade an assignment that
exists, rename a column to the header that the export has for it, "Title (12345)"; Canvas offers to
create any other. An empty cell leaves a grade as it is. Scores have two digits behind the point,
as many as Canvas keeps.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from coursekit.errors import UserError
from coursekit.grading.notebook import Exercise, assignment_name, write_pieces
from coursekit.grading.official import similarity
from coursekit.grading.official.feedback import (
    ExerciseText,
    counting,
    exercise_text,
    feedback,
    why,
)
from coursekit.grading.official.formats import classroom50, gradescope, junit, results
from coursekit.grading.official.harmless import cell, figure, folder_name, line
from coursekit.grading.official.results import FAILED, Grade

NBGRADER = (
    "assignment", "duedate", "timestamp", "student_id", "last_name", "first_name", "email",
    "raw_score", "late_submission_penalty", "score", "max_score",
)  # fmt: skip
CANVAS = ("Student", "ID", "SIS User ID", "SIS Login ID", "Section")
GRADES = (
    "learner", "exercise", "score", "max_score", "percent", "status", "reason", "file", "sha256",
)  # fmt: skip
TASKS = (
    "learner", "exercise", "task", "public_earned", "public_points", "hidden_earned",
    "hidden_points", "status", "reason",
)  # fmt: skip
SIMILARITY = (
    "exercise", "learner_a", "learner_b", "share_of_a", "share_of_b", "common", "task",
    "task_common",
)  # fmt: skip
Row = Iterable[str]


def write_all(
    grades: Sequence[Grade],
    folder: Path,
    exercises: Mapping[str, Exercise | Mapping[str, Any]],
    *,
    book: str = "",
) -> list[Path]:
    """Write everything that comes out of a batch; each file whole or not at all.

    Args:
        grades: All grades. They may be read several times, one after the other, and need not be
            in memory.
        folder: Where to write; it is made if it is missing. Other files in it are left alone.
        exercises: For each exercise its solution, or what a release recorded of it; the latter
            holds no texts of tasks, so that pages do without, and nothing to ignore in the report
            on similarity but what many learners share.
        book: Where the built book lies, see `coursekit.grading.official.feedback.chapter_link`.

    Returns:
        The files, whether or not they changed.

    Raises:
        UserError: When a file cannot be written, or two learners would share a folder.
        ValueError: If `book` has a scheme of its own.
    """
    folder = Path(folder)
    keys = [(grade.learner, grade.exercise, grade.file) for grade in grades]
    order = sorted(range(len(keys)), key=lambda number: (keys[number], number))
    folders = _folders({learner for learner, _, _ in keys})

    def each() -> Iterator[Grade]:
        return (grades[number] for number in order)

    written = [
        _stream(folder / "grades.csv", _table(GRADES, map(grade_row, each()))),
        _stream(folder / "tasks.csv", _table(TASKS, (r for g in each() for r in task_rows(g)))),
        _stream(folder / "junit.xml", junit(each)),
    ]
    texts = {name: exercise_text(exercise) for name, exercise in exercises.items()}
    written += _gradebooks(folder, each, {name: text.points for name, text in texts.items()})
    for learner, own in groupby(each(), key=lambda grade: grade.learner):
        written += _learner(folder / "learners" / folders[learner], list(own), texts, book)
    return [*written, *_similarity(folder, _Answers(grades, order), exercises)]


class _Answers(Mapping[tuple[str, str], Mapping[str, str]]):
    """The answers of the grades that count, read when they are asked for."""

    def __init__(self, grades: Sequence[Grade], order: Sequence[int]):
        self._grades = grades
        self._places: dict[tuple[str, str], int] = {}
        best: dict[tuple[str, str], float] = {}
        for number in order:
            grade = grades[number]
            key = (grade.learner, grade.exercise)
            if grade.answers and grade.score > best.get(key, -1.0):
                best[key], self._places[key] = grade.score, number

    def __getitem__(self, key: tuple[str, str]) -> Mapping[str, str]:
        return self._grades[self._places[key]].answers

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)


def _folders(learners: set[str]) -> dict[str, str]:
    folders = {learner: folder_name(learner) for learner in sorted(learners)}
    taken: dict[str, str] = {}
    for learner, name in folders.items():
        if name in taken:
            raise UserError(
                f"the learners {line(taken[name])} and {line(learner)} would share the folder "
                f"{name}: rename the submissions of one of them"
            )
        taken[name] = learner
    return folders


def _stream(path: Path, pieces: Iterable[str]) -> Path:
    """Write a file.

    It is not forced to the disk, which would be most of the time: after a loss of power the same
    call writes it again from the grades, which are.
    """
    write_pieces(path, pieces, durable=False)
    return path


def _table(header: Sequence[str], rows: Iterable[Row]) -> Iterator[str]:
    """Yield a table line by line, as RFC 4180 has it but with the line ends of Unix."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(header)
    for row in rows:
        writer.writerow(row)
        yield out.getvalue()
        out.seek(0)
        out.truncate()
    yield out.getvalue()


def grade_row(grade: Grade) -> list[str]:
    """Return the row of one submission in grades.csv; `percent` is empty without points."""
    percent = figure(100 * grade.score / grade.max_score, 2) if grade.max_score else ""
    numbers = [figure(grade.score), figure(grade.max_score), percent]
    texts = [grade.status, grade.reason, grade.file, grade.sha256]
    return [cell(grade.learner), cell(grade.exercise), *numbers, *map(cell, texts)]


def task_rows(grade: Grade) -> list[list[str]]:
    """Return the rows of one submission in tasks.csv; `reason` says why points are missing."""
    return [
        [
            *map(cell, (grade.learner, grade.exercise, task.task)),
            *(figure(x) for s in (task.public, task.hidden) for x in (s.earned, s.points)),
            cell(task.status),
            cell(why(task)),
        ]
        for task in grade.tasks
    ]


def _gradebooks(
    folder: Path, each: Callable[[], Iterator[Grade]], points: Mapping[str, float]
) -> list[Path]:
    """Write nbgrader.csv and canvas.csv, which need the scores of all learners at once."""
    best: dict[tuple[str, str], tuple[str, float]] = {}
    worth = dict(points)
    learners: list[str] = []
    for learner, own in groupby(each(), key=lambda grade: grade.learner):
        learners.append(learner)
        for grade in counting(own):
            if grade.exercise:
                best[learner, grade.exercise] = (grade.status, grade.score)
                worth.setdefault(grade.exercise, grade.max_score)
    taken = {name: worth[name] for name in sorted({name for _, name in best})}
    return [
        _stream(folder / "nbgrader.csv", _table(NBGRADER, nbgrader_rows(learners, taken, best))),
        _stream(folder / "canvas.csv", _table(*canvas_table(learners, taken, best))),
    ]


def nbgrader_rows(
    learners: Sequence[str],
    worth: Mapping[str, float],
    best: Mapping[tuple[str, str], tuple[str, float]],
) -> Iterator[list[str]]:
    """Yield rows as nbgrader's exporter writes them.

    There is one for each exercise and learner, with 0.0 where nothing was handed in; names,
    addresses, due dates and times are not known here and empty.
    """
    for exercise, points in worth.items():
        for learner in learners:
            status, score = best.get((learner, exercise), ("", 0.0))
            if status == FAILED:
                continue
            numbers = [str(float(figure(x))) for x in (score, 0.0, score, points)]
            yield [cell(assignment_name(exercise)), "", "", cell(learner), "", "", "", *numbers]


def canvas_table(
    learners: Sequence[str],
    worth: Mapping[str, float],
    best: Mapping[tuple[str, str], tuple[str, float]],
) -> tuple[list[str], Iterator[list[str]]]:
    """Return the header and the rows of canvas.csv; see the module's text."""
    header = [*CANVAS, *(cell(exercise) for exercise in worth)]

    def rows() -> Iterator[list[str]]:
        yield ["    Points Possible", "", "", "", "", *(figure(p, 2) for p in worth.values())]
        for learner in learners:
            graded = (best.get((learner, exercise), (FAILED, 0.0)) for exercise in worth)
            scores = ["" if status == FAILED else figure(score, 2) for status, score in graded]
            # Canvas would take a learner of that name for the row above.
            name = cell(learner).replace("Points Possible", "Points-Possible")
            yield [name, "", "", cell(learner), "", *scores]

    return header, rows()


def _learner(
    folder: Path, grades: Sequence[Grade], texts: Mapping[str, ExerciseText], book: str
) -> list[Path]:
    """Write the five files of one learner."""
    contents = {
        "feedback.html": feedback(grades, texts, book=book),
        "results.json": _json(results(grades)),
        "gradescope.json": _json(gradescope(counting(grades))),
        "classroom50.json": _json(classroom50(counting(grades))),
        "junit.xml": "".join(junit(lambda: iter(grades))),
    }
    return [_stream(folder / name, [text]) for name, text in contents.items()]


def _json(data: Mapping[str, Any]) -> str:
    """Return JSON in one line, which takes a tenth of the time that indented JSON takes."""
    return json.dumps(data, sort_keys=True, ensure_ascii=False) + "\n"


def _similarity(
    folder: Path,
    answers: Mapping[tuple[str, str], Mapping[str, str]],
    exercises: Mapping[str, Exercise | Mapping[str, Any]],
) -> list[Path]:
    released = {
        name: similarity.released_texts(exercise)
        for name, exercise in exercises.items()
        if isinstance(exercise, Exercise)
    }
    pairs = similarity.report(answers, released)
    rows = (
        [
            *map(cell, (pair.exercise, pair.first, pair.second)),
            figure(pair.first_share, 4),
            figure(pair.second_share, 4),
            str(pair.common),
            cell(pair.task),
            str(pair.task_common),
        ]
        for pair in pairs
    )
    learners = len({learner for learner, _ in answers})
    page = similarity.page_of(pairs, answers, learners)
    return [
        _stream(folder / "similarity.csv", _table(SIMILARITY, rows)),
        _stream(folder / "similarity.html", [page]),
    ]
