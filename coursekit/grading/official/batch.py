"""Grade everything that was handed in, on this machine or on many, however often interrupted.

A batch reads the folder of submissions, leaves out what its store already holds, has the rest
graded by a pool, saves each grade as it comes, and ends by writing the exports. Nothing here
imports torch.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Protocol

from tqdm import tqdm

from coursekit.errors import UserError
from coursekit.grading.official.grader import lacking, refused
from coursekit.grading.official.pools import Graders, LocalPool, Workshop
from coursekit.grading.official.results import BOOK, FAILED, GRADED, REFUSED, Grade, Job
from coursekit.grading.official.store import Grades, Place, Store, key_of
from coursekit.grading.official.submissions import ENDING, Survey, doubled, survey

NAME = re.compile(r"[a-z0-9][a-z0-9-]*/[a-z0-9][a-z0-9-]*")
SCHEDULER = re.compile(r"(tcp|tls|ws|wss|ucx)://.+:\d+")


class Interrupted(Exception):
    """The batch was stopped by Ctrl-C; its message says how to go on."""


class Pool(Protocol):
    """Where submissions are graded."""

    def grades(self, jobs: Iterator[Job]) -> Iterator[Grade]:
        """Yield a grade for each job."""
        ...


@dataclass
class Summary:
    """What a batch came to.

    Attributes:
        learners: How many handed in.
        submissions: Rows, one for each submission.
        counts: How many of them are "graded", "refused" and "failed".
        fresh: How many were graded in this run; the others were there from an earlier one.
        mean: Mean share of the points of those "graded", 0 to 1; None when there is none.
        exercises: Those that occur.
        written: Files that were written.
    """

    learners: int
    submissions: int
    counts: Counter[str]
    fresh: int
    mean: float | None
    exercises: list[str] = field(default_factory=list)
    written: list[Path] = field(default_factory=list)

    @property
    def exit_code(self) -> int:
        """0 when every submission has its row and none failed, else 1."""
        return int(self.counts[FAILED] > 0)

    def places(self, out: Path) -> list[str]:
        """Return what to print about the files: those in a folder of `out` as one line."""
        inside = Counter(path.relative_to(out).parts[0] for path in self.written)
        return [
            str(out / name) + (f" ({count} files)" if (out / name).is_dir() else "")
            for name, count in inside.items()
        ]

    def as_dict(self) -> dict[str, str]:
        """Return the columns of the table."""
        mean = "-" if self.mean is None else f"{100 * self.mean:.1f} %"
        return {
            "learners": str(self.learners),
            "submissions": str(self.submissions),
            **{name: str(self.counts[name]) for name in (GRADED, REFUSED, FAILED)},
            "mean": mean,
        }


def grade_all(
    folder: Path | str,
    out: Path | str,
    *,
    solutions: Path | str,
    jobs: int | None = None,
    exercises: Sequence[str] = (),
    scheduler: str = "",
    seconds: float = 60.0,
    unsafe: bool = False,
    book: str = "",
    workshop: Workshop | None = None,
) -> Summary:
    """Grade a folder of submissions and write the results.

    What was graded before with the same notebook, solution, limits and software is kept; where
    grading failed it is tried again.

    Args:
        folder: SUBMISSIONS; see :mod:`coursekit.grading.official.submissions`.
        out: Where results go; must not lie inside `folder`.
        solutions: The folder of instructors' notebooks, PART/NAME.ipynb.
        jobs: Submissions graded at once on this machine; one a core by default.
        exercises: Grade and export only these; every learner gets a row for each.
        scheduler: A Dask scheduler, "tcp://HOST:PORT", whose workers grade instead.
        seconds: Time limit of a cell or call of a learner's.
        unsafe: Grade although a protection of the sandbox is missing.
        book: Address of the rendered book, to which feedback links; without it only named.
        workshop: Where graders come from; by default the official ones.

    Returns:
        What it came to.

    Raises:
        UserError: For bad input, a missing protection, a scheduler that does not answer.
        Interrupted: After Ctrl-C; what is graded is kept.
    """
    if not scheduler and workshop is None:
        lacking(unsafe)  # before any thread starts
    jobs = _demand_numbers(jobs, seconds, scheduler)
    if not BOOK.match(book):
        raise UserError(f"--book must be an http(s) or file address or a path, got {book}")
    folder, out = Path(folder), Path(out)
    texts = read_solutions(Path(solutions))
    chosen = _demand_exercises(exercises, texts)
    _demand_apart(folder, out)
    found = survey(folder, texts)
    wanted = _selected(found.jobs, chosen)
    workshop = workshop or Graders(texts, seconds, unsafe)
    with Store(out) as store:
        batch = _Batch(store, texts, found, wanted, chosen, key=(seconds, unsafe))
        todo = batch.todo()
        if todo:
            batch.run(todo, _pool(workshop, jobs, scheduler, out))
        return batch.finish(out, book, fresh=len(todo))


def _demand_numbers(jobs: int | None, seconds: float, scheduler: str) -> int:
    jobs = cores() if jobs is None else jobs
    if jobs < 1:
        raise UserError(f"--jobs must be at least 1, got {jobs}")
    if not 0 < seconds < float("inf"):
        raise UserError(f"--seconds must be a positive number, got {seconds:g}")
    if scheduler and not SCHEDULER.fullmatch(scheduler):
        raise UserError(f"--scheduler must look like tcp://HOST:PORT, got {scheduler}")
    return jobs


def cores() -> int:
    """Return how many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def read_solutions(folder: Path) -> dict[str, bytes]:
    """Return the instructor's notebooks by exercise.

    Raises:
        UserError: When there is none, or one cannot be read.
    """
    try:
        paths = sorted(folder.glob(f"*/*{ENDING}"))
        named = {f"{path.parent.name}/{path.stem}": path for path in paths}
        texts = {name: path.read_bytes() for name, path in named.items() if NAME.fullmatch(name)}
        for text in texts.values():
            text.decode()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"a solution in {folder} cannot be read: {error}") from error
    if not texts:
        raise UserError(
            f"{folder} holds no solution PART/NAME{ENDING}: give the course's folder by --solutions"
        )
    return texts


def points_of(text: bytes) -> float:
    """Return what a solution's check cells are worth together, 0 when that cannot be read."""
    try:
        marks = [cell["metadata"].get("nbgrader", {}) for cell in json.loads(text)["cells"]]
        return float(sum(mark["points"] for mark in marks if mark.get("grade")))
    except (ValueError, KeyError, TypeError, AttributeError):
        return 0.0


def _demand_exercises(names: Sequence[str], known: Collection[str]) -> list[str]:
    for name in names:
        if name not in known:
            choices = ", ".join(sorted(known))
            raise UserError(f"no exercise is called {name}: choose from {choices}")
    return sorted(set(names))


def _demand_apart(folder: Path, out: Path) -> None:
    """Refuse results among the submissions: they would be taken for submissions."""
    inside, outside = out.resolve(), folder.resolve()
    if outside.is_dir() and inside.is_relative_to(outside):
        raise UserError(f"--out {out} lies inside {folder}: give a folder beside it")


def _selected(jobs: list[Job], chosen: list[str]) -> list[Job]:
    """Return the jobs of the chosen exercises, with one for each that a learner did not hand in."""
    if not chosen:
        return jobs
    by_learner: dict[str, list[Job]] = defaultdict(list)
    for job in jobs:
        by_learner[job.learner].append(job)
    selected = []
    for learner, theirs in by_learner.items():
        have = {job.exercise for job in theirs}
        selected += [job for job in theirs if job.exercise in chosen or _open(job)]
        if not any(_open(job) for job in theirs):
            missing = [name for name in chosen if name not in have]
            note = next((job.reason for job in theirs if not job.exercise), "")
            reason = note or "no notebook of this exercise was handed in"
            selected += [
                Job(learner, name, f"({name} is missing)", reason=reason) for name in missing
            ]
    return sorted(selected, key=lambda job: (job.learner, job.exercise, job.file))


def _open(job: Job) -> bool:
    """Whether only the notebook itself can say which exercise a job is."""
    return not job.exercise and not job.reason


def _pool(workshop: Workshop, jobs: int, scheduler: str, out: Path) -> AbstractContextManager[Pool]:
    if not scheduler:
        return LocalPool(workshop, jobs)
    try:
        from coursekit.grading.official.cluster import ClusterPool
    except ModuleNotFoundError as error:
        raise UserError(
            f'--scheduler needs the package {error.name}: run pip install "coursekit[grade]"'
        ) from error
    return ClusterPool(workshop, scheduler, label=f"{os.uname().nodename} {out.resolve()}")


class _Batch:
    """One run over the jobs of a folder."""

    def __init__(
        self,
        store: Store,
        texts: Mapping[str, bytes],
        found: Survey,
        wanted: list[Job],
        chosen: list[str],
        key: tuple[float, bool],
    ):
        self.store, self.texts, self.found, self.chosen = store, texts, found, chosen
        self.jobs = {(job.learner, job.file): job for job in wanted}
        self.points = {name: points_of(text) for name, text in texts.items()}
        self.everything = key_of(list(texts.values()), *key)
        self.keys = {name: key_of([text], *key) for name, text in texts.items()}

    def key(self, job: Job) -> str:
        """Return what the grade of a job rests upon besides its notebook."""
        if job.reason:
            facts = [job.reason, job.exercise, self.points.get(job.exercise, 0.0)]
            return hashlib.sha256(json.dumps(facts).encode()).hexdigest()
        return self.keys.get(job.exercise, self.everything)

    def todo(self) -> list[Job]:
        """Return what is not graded yet, exercise by exercise."""
        left = [job for job in self.jobs.values() if not self.store.done(job, self.key(job))]
        return sorted(left, key=lambda job: (job.exercise, job.learner, job.file))

    def run(self, todo: list[Job], pool: AbstractContextManager[Pool]) -> None:
        """Grade and save.

        Raises:
            Interrupted: After Ctrl-C.
        """
        quiet = os.environ.get("COURSEKIT_PROGRESS") == "0"
        bar = tqdm(total=len(self.jobs), unit="notebook", disable=quiet, leave=False)
        bar.update(len(self.jobs) - len(todo))
        saved = len(self.jobs) - len(todo)
        try:
            with bar:
                for job in todo:
                    if job.reason:
                        self.save(refused(job, job.reason, points=self.worth(job.exercise)))
                        saved += 1
                        bar.update()
                runnable = [job for job in todo if not job.reason]
                if runnable:
                    with pool as places:
                        for grade in places.grades(iter(runnable)):
                            self.save(grade)
                            saved += 1
                            bar.update()
        except KeyboardInterrupt as error:
            raise Interrupted(
                f"stopped with {saved} of {len(self.jobs)} submissions graded and kept: go on with "
                "the same command"
            ) from error

    def worth(self, exercise: str) -> float:
        """Return the points of an exercise, 0 for none."""
        return self.points.get(exercise, 0.0)

    def save(self, grade: Grade) -> None:
        """Keep one grade."""
        job = self.jobs[grade.learner, grade.file]
        if not grade.max_score:
            grade = replace(grade, max_score=self.worth(grade.exercise))
        self.store.save(grade, self.key(job))

    def finish(self, out: Path, book: str, fresh: int) -> Summary:
        """Settle copies, write the exports and count."""
        places, changes = self.settle()

        def settled(grade: Grade) -> Grade:
            change = changes.get((grade.learner, grade.file))
            return change(grade) if change else grade

        grades = Grades(self.store, places, settled)
        summary = summarize(grades, fresh)
        texts = {name: self.texts[name] for name in summary.exercises if name in self.texts}
        summary.written = [self.store.path, *write_exports(grades, out, texts, book)]
        return summary

    def settle(self) -> tuple[list[Place], dict[Place, Callable[[Grade], Grade]]]:
        """Leave one grade for each learner and exercise.

        Of several notebooks that turned out to be the same exercise, the one whose path said so
        counts; without one, equal notebooks count once, and different ones give 0 points.

        Returns:
            The places of the grades that count, in order, and what is to be changed in some.
        """
        groups: dict[tuple[str, str, str], list[str]] = defaultdict(list)
        for learner, exercise, file in self.store.places():
            if (learner, file) in self.jobs and not self.unwanted(exercise):
                groups[learner, exercise, "" if exercise else file].append(file)
        places: list[Place] = []
        changes: dict[Place, Callable[[Grade], Grade]] = {}
        for (learner, exercise, _), files in sorted(groups.items()):
            jobs = [self.jobs[learner, file] for file in files]
            readable = [job for job in jobs if not job.reason] or jobs
            named = [job for job in readable if job.exercise]
            kept = (named or readable)[0].file
            places.append((learner, kept))
            others = [*self.found.passed_over.get((learner, exercise), [])]
            others += [file for file in files if file != kept]
            if not named and len({job.sha256 for job in readable}) > 1:
                changes[learner, kept] = partial(refuse, doubled(job.file for job in readable))
            elif others:
                note = f"Not graded, because {kept} was: {', '.join(sorted(others))}"
                changes[learner, kept] = partial(annotate, note)
        return places, changes

    def unwanted(self, exercise: str) -> bool:
        """Whether a notebook turned out to be an exercise that was not asked for."""
        return bool(self.chosen and exercise and exercise not in self.chosen)


def refuse(reason: str, grade: Grade) -> Grade:
    """Return a grade with 0 points and a reason."""
    return replace(grade, status=REFUSED, score=0.0, tasks=[], answers={}, reason=reason)


def annotate(note: str, grade: Grade) -> Grade:
    """Return a grade with one more note."""
    return replace(grade, notes=[*grade.notes, note])


def summarize(grades: Sequence[Grade], fresh: int) -> Summary:
    """Count grades."""
    counts: Counter[str] = Counter()
    learners, exercises, shares = set(), set(), []
    for grade in grades:
        counts[grade.status] += 1
        exercises.add(grade.exercise)
        learners.add(grade.learner)
        if grade.status == GRADED and grade.max_score:
            shares.append(grade.score / grade.max_score)
    mean = sum(shares) / len(shares) if shares else None
    return Summary(len(learners), len(grades), counts, fresh, mean, sorted(exercises - {""}))


def write_exports(
    grades: Sequence[Grade], out: Path, solutions: Mapping[str, bytes], book: str = ""
) -> list[Path]:
    """Write every export into the folder of results and return the files.

    Args:
        grades: The grades that count.
        out: The folder.
        solutions: The instructor's notebooks of the exercises that occur; one that does not keep
            the layout is left out, as all that was handed in for it has failed.
        book: Address of the rendered book.
    """
    from coursekit.grading.lean import nbformat
    from coursekit.grading.notebook import LayoutError, exercise_from
    from coursekit.grading.official.exports import write_all

    exercises = {}
    for name, text in sorted(solutions.items()):
        try:
            exercises[name] = exercise_from(nbformat.reads(text.decode(), 4), name)
        except (LayoutError, nbformat.reader.NotJSONError):
            continue
    return write_all(grades, out, exercises, book=book)
