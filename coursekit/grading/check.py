"""The checks of an exercise: compare what a learner's function returns, and explain.

A check cell names a task, checks and ends in the points:

    check.task("bilinear", points=2)
    check.close(bilinear, cases=[(image, x, y)], reference=reference)
    check.points()

Cases are tuples of positional arguments. They are copied and the random generators seeded before
every call (`coursekit.grading.backend`), results must be plain data (`coursekit.grading.values`)
and are compared as copies (`coursekit.grading.compare`). A check never raises for a fault of the
learner's; it displays one message. An exception of the author's (a reference that raises, cases
that are not plain data) is raised. Messages of hidden checks show no inputs and no values.

Everything that is known between two checks is in `session`.
"""

from __future__ import annotations

import inspect
import io
import json
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any

import numpy as np
import torch

from coursekit.grading import compare
from coursekit.grading.backend import (
    Backend,
    Failure,
    Local,
    Outcome,
    floating_tensors,
    seeded,
    weighted_gradient,
)
from coursekit.grading.compare import Difference, difference, same
from coursekit.grading.messages import Message
from coursekit.grading.values import NotPlain, copied, described, number, plain, rebuilt

__all__ = [
    "Session",
    "TaskResult",
    "close",
    "encode",
    "equal",
    "exercise",
    "gradient",
    "holds",
    "points",
    "raises",
    "reset",
    "same",
    "score",
    "session",
    "task",
    "unchanged",
    "value",
]

Cases = Sequence[tuple[Any, ...]]
STEP = 1e-6  # of the finite differences, in float64


@dataclass
class TaskResult:
    """The result of one check cell.

    Args:
        task: the name of the task.
        hidden: whether the cell holds hidden tests.
        points: what the cell is worth.
        earned: the part that was reached.
        messages: the plain texts of its checks, in order.
        explanations: those of the known mistakes that its checks recognized.
    """

    task: str
    hidden: bool
    points: float
    earned: float
    messages: list[str] = field(default_factory=list)
    explanations: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Verdict:
    """What one case showed: the difference, if any, and the encodings that name a mistake."""

    difference: Difference | None
    observed: dict[str, Any]
    expected: dict[str, Any] | None = None


@dataclass
class Cell:
    """What has happened in a check cell since `task`."""

    task: str
    points: float
    hidden: bool
    passed: int = 0
    calls: list[list[Verdict]] = field(default_factory=list)
    messages: list[str] = field(default_factory=list)


class _Nowhere(io.TextIOBase):
    """A stream that forgets what is written to it."""

    def write(self, text: str) -> int:
        return len(text)


class Session:
    """The state of the checks of one exercise.

    Attributes:
        backend: reaches the learner's code.
        observer: if set, called as observer(task, hidden, call_index, case_index, encoded) for
            every case, where encoded is the answer of `encode` or {"error": "TypeName"}.
        known: the known mistakes of the exercise, as release writes them.
        results: one TaskResult for each (task, hidden) whose cell ran to `points`.
    """

    def __init__(self) -> None:
        self.backend: Backend = Local()
        self.observer: Callable[[str, bool, int, int, dict[str, Any]], None] | None = None
        self.known: dict[str, Any] = {}
        self.results: list[TaskResult] = []
        self._exercise: str | None = None
        self._cell: Cell | None = None

    @property
    def cell(self) -> Cell:
        """The check cell that is running."""
        if self._cell is None:
            raise RuntimeError("check.task(name, points=…) must come before the checks")
        return self._cell

    def exercise(self, name: str) -> None:
        """Begin an exercise; mistakes set in `known` before the first call are kept."""
        if not re.fullmatch(r"[\w-]+/[\w-]+", name):
            raise ValueError(f"name must be of the form 'part/exercise', got {name!r}")
        if self._exercise is not None or not self.known:
            path = files("coursekit.grading").joinpath("known", f"{name}.json")
            self.known = json.loads(path.read_text("utf-8")) if path.is_file() else {}
        self._exercise, self._cell, self.results = name, None, []

    def task(self, name: str, points: float, hidden: bool) -> None:
        """Begin a check cell and forget an earlier result of it."""
        if not points > 0:
            raise ValueError(f"points must be positive, got {points}")
        self._cell = Cell(name, points, hidden)
        self.results = [r for r in self.results if (r.task, r.hidden) != (name, hidden)]

    def points(self) -> float | None:
        """End a check cell: show and return what was earned, None if the tests are not here."""
        cell = self.cell
        if not cell.calls:
            if not cell.hidden:
                raise RuntimeError(f"no check ran for task {cell.task!r}")
            noun = "this point is" if cell.points == 1 else f"these {cell.points:g} points are"
            text = f"{noun.capitalize()} decided by hidden tests when the exercise is graded."
            Message("note", text, "points", data=_identity(cell)).show()
            return None
        total = len(cell.calls)
        explanation = None if cell.passed == total else self._explanation(cell)
        if explanation is not None:
            facts = (("mistake", explanation),)
            Message("note", "this looks like a known mistake", "mistake", facts).show()
        earned = float(cell.points) * cell.passed / total
        result = TaskResult(
            task=cell.task,
            hidden=cell.hidden,
            points=float(cell.points),
            earned=earned,
            messages=list(cell.messages),
            explanations=[] if explanation is None else [explanation],
        )
        self.results = [r for r in self.results if (r.task, r.hidden) != (cell.task, cell.hidden)]
        self.results.append(result)
        _points_message(cell, earned).show()
        return earned

    def run(
        self,
        kind: str,
        subject: str,
        cases: Cases,
        judge: Callable[[tuple[Any, ...]], Verdict],
        *,
        passes: str,
        about: str,
        names: Sequence[str] = (),
    ) -> None:
        """Judge every case, report the first that fails and count the check.

        Args:
            kind: the name of the check.
            subject: what the message is about, as a rule the name of the function.
            cases: the inputs.
            judge: returns what one case showed.
            passes: what holds if every case passes.
            about: what the author says that this check is about.
            names: of the inputs.
        """
        cell = self.cell
        verdicts: list[Verdict] = []
        for index, case in enumerate(_valid(cases)):
            verdict = judge(case)
            verdicts.append(verdict)
            if self.observer is not None:
                where = (cell.task, cell.hidden, len(cell.calls), index)
                self.observer(*where, verdict.observed)
        cell.calls.append(verdicts)
        failed = next((i for i, v in enumerate(verdicts) if v.difference is not None), None)
        data = {**_identity(cell), "about": about}
        if failed is None:
            cell.passed += 1
            title = f"{subject}: hidden check{_aside(about)}" if cell.hidden else passes
            message = Message("passed", title, kind, data=data)
        else:
            found = verdicts[failed].difference
            assert found is not None
            message = _failed(kind, subject, found, cell, failed, cases, about, names, data)
        cell.messages.append(repr(message))
        message.show()

    def call(self, fn: Any, case: tuple[Any, ...]) -> Outcome:
        """Call a learner's function without letting it write where it must not."""
        with self._quiet():
            return self.backend.call(fn, case)

    def gradient(self, fn: Any, case: tuple[Any, ...], wrt: Any, weights: Any) -> Outcome:
        """Differentiate a learner's function without letting it write where it must not."""
        with self._quiet():
            return self.backend.gradient(fn, case, wrt, weights)

    @contextmanager
    def _quiet(self) -> Iterator[None]:
        # Anything on stderr would cost all points under nbgrader; what a hidden check's call
        # prints could show its inputs.
        nowhere = _Nowhere()
        with warnings.catch_warnings(), redirect_stderr(nowhere):
            warnings.simplefilter("ignore")
            if not self.cell.hidden:
                yield
                return
            with redirect_stdout(nowhere):
                yield

    def _explanation(self, cell: Cell) -> str | None:
        """Name the one known mistake that would have returned the same; None if not one."""
        side = "hidden" if cell.hidden else "public"
        mistakes = self.known.get("tasks", {}).get(cell.task, {}).get("mistakes", [])
        outputs = [[verdict.observed for verdict in call] for call in cell.calls]
        everywhere = [m for m in mistakes if _all_same(m.get(side), outputs)]
        if len(everywhere) == 1:
            return str(everywhere[0]["explanation"])
        call, case, verdict = next(
            (i, j, verdict)
            for i, verdicts in enumerate(cell.calls)
            for j, verdict in enumerate(verdicts)
            if verdict.difference is not None
        )

        def matches(mistake: dict[str, Any]) -> bool:
            try:
                output = mistake[side][call][case]
            except (KeyError, IndexError, TypeError):
                return False
            differs = verdict.expected is None or not same(output, verdict.expected)
            return differs and same(output, verdict.observed)

        there = [mistake for mistake in mistakes if matches(mistake)]
        return str(there[0]["explanation"]) if len(there) == 1 else None


session = Session()


def reset() -> Session:
    """Replace the session by a new one and return it."""
    global session
    session = Session()
    return session


def exercise(name: str) -> None:
    """Begin an exercise; the last statement of its setup cell.

    Args:
        name: "part/exercise", for example "6-special/01-spatial-transformer".
    """
    session.exercise(name)


def task(name: str, points: float, hidden: bool = False) -> None:
    """Begin a check cell.

    Args:
        name: the task, the grade_id of its answer cell.
        points: what this cell is worth.
        hidden: whether its tests stay with the teacher; their messages then give nothing away.
    """
    session.task(name, points, hidden)


def points() -> float | None:
    """End a check cell and display the result.

    Returns:
        points * passed / all checks since `task`; None in a cell whose hidden tests are absent.
    """
    return session.points()


def close(
    fn: Any,
    cases: Cases,
    reference: Callable[..., Any],
    *,
    rtol: float | None = None,
    atol: float | None = None,
    about: str = "",
) -> None:
    """Check that `fn` agrees with a reference within the tolerance of its number format.

    Structure, shape and kind of number must agree; tensors and arrays are interchangeable, and so
    are a number and a tensor without axes, a list and a tuple. A result more precise than
    the reference's is fine.

    Args:
        fn: the learner's function.
        cases: tuples of positional arguments.
        reference: called on the same arguments.
        rtol: relative tolerance; by default 1e-7 for an expected float64, 1e-4 for float32.
        atol: absolute tolerance; by default 1e-9 for an expected float64, 1e-5 for float32.
        about: what this check is about, shown in its message.
    """
    _against_reference("close", fn, cases, reference, about, {"rtol": rtol, "atol": atol})


def equal(fn: Any, cases: Cases, reference: Callable[..., Any], *, about: str = "") -> None:
    """Check that `fn` returns exactly what a reference returns.

    Args:
        fn: the learner's function.
        cases: tuples of positional arguments.
        reference: called on the same arguments.
        about: what this check is about, shown in its message.
    """
    _against_reference("equal", fn, cases, reference, about, {"exact": True})


def _against_reference(
    kind: str,
    fn: Any,
    cases: Cases,
    reference: Callable[..., Any],
    about: str,
    options: dict[str, Any],
) -> None:
    def judge(case: tuple[Any, ...]) -> Verdict:
        expected = _referred(reference, case)
        got, found, observed = _result(session.call(fn, case))
        found = found or difference(got, expected, **options)
        return Verdict(found, observed, compare.encode(expected))

    name = session.backend.name(fn)
    verb = "equals" if kind == "equal" else "agrees with"
    passes = f"{name} {verb} the reference on {_count(cases)}"
    names = _parameters(reference)
    session.run(kind, name, cases, judge, passes=passes, about=about, names=names)


def holds(
    fn: Any, cases: Cases, condition: Callable[..., Any], says: str, *, about: str = ""
) -> None:
    """Check that a property holds for what `fn` returns.

    Args:
        fn: the learner's function.
        cases: tuples of positional arguments.
        condition: called as condition(output, *inputs), true if the property holds; tensors and
            arrays of the output come as CPU tensors. An exception counts as false.
        says: the property in words, for example "every row sums to 1".
        about: what this check is about, shown in its message.
    """

    def judge(case: tuple[Any, ...]) -> Verdict:
        got, found, observed = _result(session.call(fn, case))
        if found is None:
            found = _property(condition, got, case, says)
        return Verdict(found, observed)

    name = session.backend.name(fn)
    passes = f"{name}: {says} ({_count(cases)})"
    names = _parameters(condition)[1:]
    session.run("holds", name, cases, judge, passes=passes, about=about, names=names)


def gradient(
    fn: Any,
    cases: Cases,
    *,
    wrt: Sequence[int] = (0,),
    reference: Callable[..., Any] | None = None,
    about: str = "",
) -> None:
    """Check the gradient of sum(weights * fn(*inputs)), with fixed random weights.

    Args:
        fn: the learner's function; returns one or more floating tensors.
        cases: tuples of positional arguments.
        wrt: positions of the tensors to differentiate by.
        reference: differentiated by autograd in the formats given; None compares `fn` in
            float64 with its own finite differences.
        about: what this check is about, shown in its message.
    """

    def judge(case: tuple[Any, ...]) -> Verdict:
        if reference is None:
            case = tuple(_in_double(argument) for argument in case)
        output, found, observed = _result(session.call(fn, case))
        if found is None and reference is not None:
            found = difference(output, _referred(reference, case), values=False)
        if found is not None:
            return Verdict(found, observed)
        weights = _weights(rebuilt(output))
        got, found, observed = _result(session.gradient(fn, case, wrt, weights))
        if found is not None:
            return Verdict(found, observed)
        if reference is None:
            expected = _finite_differences(fn, case, wrt, weights)
            tolerance = {"rtol": 1e-4, "atol": 1e-6}
        else:
            with seeded():
                slopes = weighted_gradient(reference, copied(case), wrt, weights)
            expected, tolerance = [plain(slope) for slope in slopes], {}
        found = _between_gradients(got, expected, wrt, tolerance)
        return Verdict(found, observed, compare.encode(expected))

    name = session.backend.name(fn)
    other = "finite differences" if reference is None else "the reference's"
    passes = f"the gradient of {name} agrees with {other} on {_count(cases)}"
    names = _parameters(reference)
    session.run("gradient", name, cases, judge, passes=passes, about=about, names=names)


def raises(
    fn: Any,
    cases: Cases,
    error: type[BaseException] | tuple[type[BaseException], ...],
    *,
    about: str = "",
) -> None:
    """Check that `fn` refuses its arguments with an exception.

    Args:
        fn: the learner's function.
        cases: tuples of positional arguments.
        error: the class of the exception, or several.
        about: what this check is about, shown in its message.
    """
    wanted = {e.__name__ for e in (error if isinstance(error, tuple) else (error,))}
    words = " or ".join(sorted(wanted))

    def judge(case: tuple[Any, ...]) -> Verdict:
        outcome = session.call(fn, case)
        got, found, observed = _result(outcome)
        if outcome.error is None:
            shown = "something that is not plain data" if found else described(got)
            facts = (("expected", words), ("got", f"no exception, but the result {shown}"))
            return Verdict(Difference("no error", facts), observed)
        if outcome.error.type == "NotImplementedError":
            return Verdict(found, observed)
        if wanted.intersection(outcome.error.bases):
            return Verdict(None, observed)
        facts = (("expected", words), *_raised(outcome.error))
        return Verdict(Difference("other error", facts), observed)

    name = session.backend.name(fn)
    passes = f"{name} raises {words} on {_count(cases)}"
    session.run("raises", name, cases, judge, passes=passes, about=about)


def unchanged(fn: Any, cases: Cases, *, about: str = "") -> None:
    """Check that `fn` leaves its arguments as they were, bit for bit.

    Args:
        fn: the learner's function.
        cases: tuples of positional arguments.
        about: what this check is about, shown in its message.
    """

    def judge(case: tuple[Any, ...]) -> Verdict:
        outcome = session.call(fn, case)
        if outcome.error is not None:
            _, found, observed = _result(outcome)
            return Verdict(found, observed)
        before = [plain(argument) for argument in case]
        after, found, observed = _result(Outcome(list(outcome.arguments_after)))
        if found is not None:
            return Verdict(Difference("changed"), observed)
        pairs = enumerate(zip(before, after, strict=True))
        spoiled = next((i for i, (b, a) in pairs if compare.changed(b, a)), None)
        if spoiled is not None:
            facts = (
                ("argument", f"number {spoiled + 1}"),
                ("before", described(before[spoiled])),
                ("after", described(after[spoiled])),
                ("hint", "work on a copy, for example x = x.clone()"),
            )
            found = Difference("changed", facts)
        return Verdict(found, observed, compare.encode(before))

    name = session.backend.name(fn)
    passes = f"{name} leaves its arguments unchanged on {_count(cases)}"
    session.run("unchanged", name, cases, judge, passes=passes, about=about)


def value(
    got: Any,
    expected: Any,
    *,
    rtol: float | None = None,
    atol: float | None = None,
    about: str = "",
) -> None:
    """Check a plain variable that an answer cell sets.

    Args:
        got: the variable.
        expected: what it should be.
        rtol: relative tolerance, as in `close`.
        atol: absolute tolerance, as in `close`.
        about: what the variable is, shown in the message.
    """

    def judge(case: tuple[Any, ...]) -> Verdict:
        data = session.backend.data(got)
        if data is None or data is Ellipsis:
            return Verdict(Difference("not answered"), {"error": "NotImplementedError"})
        result, found, observed = _result(Outcome(data))
        right = plain(expected)
        found = found or difference(result, right, rtol=rtol, atol=atol)
        return Verdict(found, observed, compare.encode(right))

    subject = about or "the value"
    passes = f"{subject} agrees with what is expected"
    session.run("value", subject, [()], judge, passes=passes, about="")


def score(
    fn: Any,
    cases: Cases,
    score: Callable[..., Any],
    at_least: float,
    *,
    says: str,
    about: str = "",
) -> None:
    """Check that what `fn` returns scores high enough on every case.

    Args:
        fn: the learner's function.
        cases: tuples of positional arguments.
        score: called as score(output, *inputs), returns a number, more is better; tensors and
            arrays of the output come as CPU tensors. An exception counts as a failure.
        at_least: the score that is needed.
        says: the score in words, for example "the accuracy".
        about: what this check is about, shown in its message.
    """
    reached: list[float] = []

    def judge(case: tuple[Any, ...]) -> Verdict:
        got, found, observed = _result(session.call(fn, case))
        if found is None:
            found = _too_low(score, got, case, at_least, says, reached)
        return Verdict(found, observed)

    name = session.backend.name(fn)

    session.run(
        "score",
        name,
        cases,
        judge,
        passes=f"{name}: {says} is at least {at_least:g} ({_count(cases)})",
        about=about,
        names=_parameters(score)[1:],
    )


def encode(value: Any) -> dict[str, Any]:
    """Encode a plain value for JSON (`coursekit.grading.compare.encode`)."""
    return compare.encode(plain(value))


def _result(outcome: Outcome) -> tuple[Any, Difference | None, dict[str, Any]]:
    """Return the plain result, what is wrong with it already, and its encoding."""
    error = outcome.error
    if error is not None:
        if error.type == "NotImplementedError":
            return None, Difference("not answered"), {"error": error.type}
        found = Difference("error", _raised(error), hidden=error.safe_type)
        return None, found, {"error": error.type}
    try:
        result = plain(outcome.value)
    except NotPlain as refused:
        wanted = "a number, string, list, tuple, dict, tensor or array of exactly that type"
        found = Difference("type", (("expected", wanted), ("got", str(refused))))
        return None, found, {"error": "NotPlain"}
    return result, None, compare.encode(result)


def _raised(error: Failure) -> tuple[tuple[str, str], ...]:
    text = f"{error.type}: {error.message}" if error.message else error.type
    if not error.function:
        return (("got", text),)
    return (("got", text), ("where", f"{error.function}, line {error.line}: {error.source}"))


def _referred(reference: Callable[..., Any], case: tuple[Any, ...]) -> Any:
    with seeded(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return plain(reference(*copied(case)), "the reference's result")


def _property(
    condition: Callable[..., Any], got: Any, case: tuple[Any, ...], says: str
) -> Difference | None:
    facts = [("expected", says), ("got", described(got))]
    try:
        if bool(condition(rebuilt(got), *copied(case))):
            return None
    except Exception as error:  # a condition may rely on a shape that the result does not have
        facts.append(("why", f"the property cannot be judged on this result: {error}"))
    return Difference("property", tuple(facts))


def _too_low(
    score: Callable[..., Any],
    got: Any,
    case: tuple[Any, ...],
    at_least: float,
    says: str,
    reached: list[float],
) -> Difference | None:
    try:
        reached.append(float(score(rebuilt(got), *copied(case))))
    except Exception as error:  # a score may rely on a shape that the result does not have
        why = f"the score cannot be computed for this result: {error}"
        return Difference("score", (("got", described(got)), ("why", why)))
    if reached[-1] >= at_least:
        return None
    needed, scored = number(float(at_least), reached[-1]), number(reached[-1], float(at_least))
    return Difference("score", (("score", says), ("needed", needed), ("reached", scored)))


def _in_double(argument: Any) -> Any:
    if isinstance(argument, torch.Tensor) and argument.is_floating_point():
        return argument.detach().double()
    return argument


def _weights(output: Any) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [
        torch.randn(tensor.shape, generator=generator, dtype=torch.float64).to(tensor.dtype)
        for tensor in floating_tensors(output)
    ]


def _finite_differences(
    fn: Any, case: tuple[Any, ...], wrt: Sequence[int], weights: list[torch.Tensor]
) -> list[Any]:
    def total(arguments: list[Any]) -> float:
        output, found, _ = _result(session.call(fn, tuple(arguments)))
        if found is not None:
            return float("nan")
        tensors = floating_tensors(rebuilt(output))
        return sum(float((t * w).sum()) for t, w in zip(tensors, weights, strict=True))

    slopes = []
    for position in wrt:
        slope = torch.zeros_like(case[position])
        for i in range(slope.numel()):
            sides = []
            for step in (STEP, -STEP):
                arguments = list(copied(case))
                arguments[position].view(-1)[i] += step
                sides.append(total(arguments))
            slope.view(-1)[i] = (sides[0] - sides[1]) / (2 * STEP)
        slopes.append(plain(slope))
    return slopes


def _between_gradients(
    got: list[Any], expected: list[Any], wrt: Sequence[int], tolerance: dict[str, float]
) -> Difference | None:
    for position, g, e in zip(wrt, got, expected, strict=True):
        nothing = e is None or not np.any(e.values)
        if g is None and nothing:
            continue
        label = f"gradient of input {position + 1}"
        if g is None:
            hint = "something cuts the graph: .detach(), .item(), .data, NumPy or torch.no_grad"
            facts = (("expected", described(e)), ("got", f"no {label}"), ("hint", hint))
            return Difference("detached", facts)
        if e is None:
            if np.any(g.values):
                return Difference("gradient", (("expected", "zero"), ("got", described(g))))
            continue
        found = difference(g, e, where=label, **tolerance)
        if found is not None:
            kind = "gradient" if found.kind == "value" else found.kind
            return Difference(kind, found.facts)
    return None


def _valid(cases: Cases) -> Cases:
    wrong = not isinstance(cases, (list, tuple)) or not cases
    if wrong or not all(isinstance(case, tuple) for case in cases):
        raise TypeError("cases must be a list of one or more tuples of positional arguments")
    return cases


def _parameters(fn: Callable[..., Any] | None) -> list[str]:
    """Name the positional parameters of an author's function, as far as Python knows them."""
    try:
        parameters = inspect.signature(fn).parameters.values() if fn is not None else []
    except (TypeError, ValueError):
        return []
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return [p.name for p in parameters if p.kind in positional]


def _count(cases: Cases) -> str:
    return "1 case" if len(cases) == 1 else f"{len(cases)} cases"


def _aside(about: str) -> str:
    return f" ({about})" if about else ""


def _identity(cell: Cell) -> dict[str, Any]:
    return {"task": cell.task, "hidden": cell.hidden}


def _all_same(recorded: Any, outputs: list[list[dict[str, Any]]]) -> bool:
    return (
        isinstance(recorded, list)
        and [len(call) for call in recorded] == [len(call) for call in outputs]
        and all(all(map(same, a, b)) for a, b in zip(recorded, outputs, strict=True))
    )


def _failed(
    kind: str,
    subject: str,
    found: Difference,
    cell: Cell,
    index: int,
    cases: Cases,
    about: str,
    names: Sequence[str],
    data: dict[str, Any],
) -> Message:
    if cell.hidden:
        reason = found.reason + (f" ({found.hidden})" if found.hidden else "")
        title = f"{subject}: hidden check{_aside(about)}: {reason}"
        return Message("failed", title, kind, data=data)
    if found.kind == "not answered":
        return Message("failed", f"{subject}: {found.reason}", kind, data=data)
    case = f", case {index + 1} of {len(cases)}" if len(cases) > 1 else ""
    title = f"{subject}{_aside(about)}{case}: {found.reason}"
    labels = [names[i] if i < len(names) else f"input {i + 1}" for i in range(len(cases[index]))]
    inputs = [
        (label, described(plain(argument)))
        for label, argument in zip(labels, cases[index], strict=True)
    ]
    return Message("failed", title, kind, (*inputs, *found.facts), data)


def _points_message(cell: Cell, earned: float) -> Message:
    total, side = len(cell.calls), "hidden" if cell.hidden else "public"
    if cell.passed == total:
        counted = f"{side} checks passed"
    else:
        counted = f"{cell.passed} of {total} {side} checks passed"
    noun = "point" if cell.points == 1 else "points"
    title = f"{cell.task}: {round(earned, 2):g} of {cell.points:g} {noun}, {counted}"
    data = {**_identity(cell), "earned": earned, "points": float(cell.points)}
    return Message("note", title, "points", data=data)
