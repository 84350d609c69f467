"""Notebooks of learners as tests: nbval's files and cells, with the instructor as source of truth.

A notebook is a file of nbval's, each check cell of its exercise one item; `coursekit.grading.plan`
says what runs and `coursekit.grading.runner` runs it. nbval's own way to run a cell is replaced:
it waits the whole timeout for a kernel that has died, marks what follows a timeout as expected to
fail, and obeys markers and tags of the notebook.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Generator, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from _pytest.junitxml import xml_key
from nbformat import NotebookNode
from nbval.plugin import IPyNbCell, IPyNbFile

from coursekit.errors import UserError
from coursekit.grading.kernel import Kernel
from coursekit.grading.notebook import NAME, Exercise, exercise_name, read_exercise, read_notebook
from coursekit.grading.plan import Step, answered, key_of, make_plan, record_of
from coursekit.grading.run import known_exercise, load_known
from coursekit.grading.runner import Result, Runner
from coursekit.grading.summary import Fact, append, lines

CONTROL = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|[^\S\n\t ]|[\x00-\x08\x0b-\x1f\x7f-\x9f]")


class Source:
    """Where the truth about a notebook's exercise comes from.

    Args:
        given: What --coursekit-exercise says.

    Raises:
        UserError: When it is no notebook, folder or name of an exercise.
    """

    def __init__(self, given: str):
        self.path, self.name = Path(given).resolve(), ""
        self.one: dict[str, Any] | None = None
        if self.path.is_file():
            self.one = _recorded(self.path)
        elif not self.path.is_dir():
            self.one, self.name = load_known(given), given
            if not self.one:
                raise UserError(
                    f"--coursekit-exercise {given}: it is no notebook, no folder and no name of an "
                    "exercise: give for example exercises, or 1-basics/01-logistic-neuron"
                )

    def known(self, path: Path, notebook: NotebookNode) -> dict[str, Any]:
        """Return the exercise that a notebook is a copy of.

        Raises:
            UserError: When there is none.
        """
        if self.one is not None and not (self.path.is_file() and path.samefile(self.path)):
            known = self.one
        else:
            named = exercise_name(notebook) or f"{path.resolve().parent.name}/{path.stem}"
            truth = self.path / f"{named}.ipynb" if self.path.is_dir() else path
            if truth.exists() and truth.samefile(path):
                return known_exercise(path, notebook)
            if not NAME.fullmatch(named) or not truth.is_file():
                raise UserError(
                    f"{path} is no copy of an exercise in {self.path}: give a notebook whose "
                    "metadata, or whose folder and name, say which exercise it is"
                )
            known = _recorded(truth)
        ids = {cell["id"] for cell in known["cells"] if cell["role"] == "answer"}
        if not ids & {key_of(cell) for cell in notebook.cells}:
            raise UserError(
                f"{path} is no copy of {known['exercise']}: none of its answer cells is there"
            )
        return known


def _recorded(path: Path) -> dict[str, Any]:
    """Describe an instructor's notebook, or an exercise as released."""
    exercise = read_exercise(path)
    name = exercise_name(exercise.notebook) or exercise.name
    try:
        named = Exercise(name, path, exercise.notebook, exercise.tasks)
        return record_of(named, load_known(name))
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path}: a check cell has no points in its metadata") from error


class CheckFailed(Exception):
    """A check cell that did not earn all its points."""


class Notebook(IPyNbFile):
    """A learner's notebook."""

    grading: Grading
    runner: Runner | None = None
    exercise = ""
    notes: tuple[str, ...] = ()

    def collect(self) -> Iterator[pytest.Item]:
        """Yield an item for each check cell, or one that says why there are none."""
        try:
            yield from self._items()
        except Exception as error:  # one bad file must not keep pytest from running the others
            known = isinstance(error, UserError)
            reason = str(error) if known else f"it cannot be read ({type(error).__name__}: {error})"
            yield Refused.from_parent(self, name="notebook", reason=clean(reason))

    def _items(self) -> list[pytest.Item]:
        notebook = read_notebook(self.path)
        self.exercise = exercise_name(notebook)
        known = self.grading.source.known(self.path, notebook)
        self.exercise = known["exercise"]
        if self.config.option.coursekit_worked_on and not answered(notebook, known):
            return [Untouched.from_parent(self, name="notebook", reason="no task was answered yet")]
        plan = make_plan(notebook, known, own=False, strict=True)
        kernel = Kernel(self.grading.folder())
        self.runner = Runner(plan, known, kernel, self.config.option.coursekit_timeout)
        self.notes = (*plan.notes, *plan.borrowed)
        return [
            CheckCell.from_parent(
                self, name=f"{step.task}, {step.role}", cell_num=number, cell=_cell(step),
                options=dict.fromkeys(("skip", "check", "check_exception"), False), step=step,
            )
            for number, step in enumerate(plan.steps)
            if step in self.runner.checks()
        ]  # fmt: skip

    def setup(self) -> None:
        """Do nothing: the kernel starts with the first check that runs."""

    def teardown(self) -> None:
        """End the kernel."""
        if self.runner is not None:
            self.runner.kernel.stop()


def _cell(step: Step) -> NotebookNode:
    return NotebookNode(cell_type="code", source=step.source, metadata=NotebookNode(), outputs=[])


class _Reported:
    """What all items of a notebook have in common."""

    parent: Any
    name: str
    path: Path

    def described(self, reason: str) -> dict[str, Any]:
        """Return the fact of this item; the reason is why it has no result."""
        raise NotImplementedError

    def reportinfo(self) -> tuple[Path, int, str]:
        """Return where the item stands and how reports call it."""
        return self.path, 0, f"{self.parent.exercise or self.path.name}: {self.name}"

    def fact(self, **given: Any) -> dict[str, Any]:
        """Return what the summary needs, as plain data that crosses to another process."""
        return asdict(Fact(self.parent.exercise, self.parent.nodeid, **given))


class CheckCell(_Reported, IPyNbCell):
    """A check cell of an exercise; it passes if it earns all its points."""

    def __init__(self, name: str, parent: Any, step: Step, **given: Any):
        super().__init__(name, parent, **given)
        self.step = step
        self.result: Result | None = None

    def setup(self) -> None:
        """Do nothing; nbval would expect a failure here after a timeout."""

    def runtest(self) -> None:
        """Run what stands above the check cell, and the cell.

        Raises:
            CheckFailed: When points are missing.
        """
        self.result = self.parent.runner.check(self.step)
        self.user_properties += [("earned", self.result.earned), ("points", self.result.points)]
        if self.result.status != "passed":
            raise CheckFailed(self._text())

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """Return the check's message, or why there is none."""
        if isinstance(excinfo.value, CheckFailed | UserError):
            return clean(str(excinfo.value))
        return pytest.Item.repr_failure(self, excinfo, style)

    def described(self, reason: str) -> dict[str, Any]:
        """Return the fact of this item.

        Args:
            reason: Why it has no result; empty when it has one.
        """
        known = self.parent.runner.known
        task = known["tasks"][self.step.task]
        points = float(task[self.step.role]["points"])
        got = self.result or Result("", "", points, status="error", messages=[reason])
        absent = f"{self.step.task}-hidden" not in {s.id for s in self.parent.runner.steps}
        return self.fact(
            task=self.step.task,
            title=task["title"],
            side=self.step.role,
            points=points,
            earned=got.earned,
            status=got.status,
            messages=[clean(text) for text in got.messages],
            explanation=clean(got.explanation),
            undecided=float(task["hidden"]["points"]) if absent else 0.0,
            notes=[clean(note) for note in (*self.parent.notes, *self.parent.runner.notes)],
            cells=len(self.parent.runner.checks()),
        )

    def _text(self) -> str:
        assert self.result is not None
        got = self.result
        head = f"{round(got.earned, 2):g} of {got.points:g} points, {got.status}"
        failed = [text for text in got.messages if not text.startswith("passed")]
        return "\n".join([head, *failed, *([got.explanation] if got.explanation else [])])


class Refused(_Reported, pytest.Item):
    """A notebook that cannot be graded: one failed item that says why."""

    status = "refused"

    def __init__(self, name: str, parent: Any, reason: str):
        super().__init__(name, parent)
        self.reason = reason

    def runtest(self) -> None:
        """Fail with the reason."""
        raise CheckFailed(self.reason)

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """Return the reason."""
        return str(excinfo.value)

    def described(self, reason: str) -> dict[str, Any]:
        """Return the fact of this item."""
        return self.fact(status=self.status, messages=[self.reason], cells=1)


class Untouched(Refused):
    """A notebook in which nothing was answered: one skipped item."""

    status = "untouched"

    def runtest(self) -> None:
        """Skip with the reason."""
        pytest.skip(self.reason)


class Grading:
    """The hooks that are at work while notebooks are graded.

    Args:
        config: Of the run.
    """

    def __init__(self, config: pytest.Config):
        self.config = config
        self.facts: list[Fact] = []
        self._folder: tempfile.TemporaryDirectory | None = None
        try:
            self.source = Source(config.option.coursekit_exercise)
        except UserError as error:
            raise pytest.UsageError(str(error)) from error

    def folder(self) -> Path:
        """Return an empty folder for kernels: a module beside a notebook must not be imported."""
        if self._folder is None:
            self._folder = tempfile.TemporaryDirectory(prefix="coursekit-")
        return Path(self._folder.name)

    def pytest_collect_file(self, file_path: Path, parent: Any) -> Any:
        """Collect a notebook."""
        if file_path.suffix != ".ipynb":
            return None
        collected = Notebook.from_parent(parent, path=file_path)
        collected.grading = self
        return collected

    def pytest_collect_directory(self, path: Path, parent: Any) -> Any:
        """Collect a folder that is called like a notebook, to say so."""
        return self.pytest_collect_file(path, parent)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: Any, call: Any) -> Generator[None, Any, Any]:
        """Attach the result to the report, which crosses to the main process with it."""
        report = yield
        over = call.when == "call" or (call.when == "setup" and report.failed)
        if isinstance(item, _Reported) and over:
            report.coursekit = item.described(str(report.longrepr or ""))
        return report

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: Any) -> None:
        """Take in a result; give JUnit's testcase the exercise's name."""
        if hasattr(self.config, "workerinput"):
            return
        data = getattr(report, "coursekit", None)
        if data is None:
            return
        fact = Fact(**data)
        self.facts.append(fact)
        xml = self.config.stash.get(xml_key, None)
        if xml is not None:
            xml.node_reporter(report).add_attribute("classname", fact.name)

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Print one line an exercise."""
        if self.facts:
            terminalreporter.section("exercises")
            for line in lines(self.facts):
                terminalreporter.write_line(line)

    def pytest_sessionfinish(self) -> None:
        """Append the summary."""
        target = self.config.option.coursekit_summary
        if target and not hasattr(self.config, "workerinput"):
            append(Path(target), self.facts)

    def pytest_unconfigure(self) -> None:
        """Remove the kernels' folder."""
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None


def clean(text: str) -> str:
    """Return text without colors and control characters, lines kept."""
    return CONTROL.sub("", text)
