"""The checks of an exercise: compare what a learner's function returns, and explain.

A check cell names a task, checks and ends in the points:

    check.task("bilinear", points=2)
    check.close(bilinear, cases=[(image, x, y)], reference=reference)
    check.points()

In the place of a function may stand what is wanted of a class or a generator: `make`, `take` and
`through` (`coursekit.grading.recipes`).

Cases are tuples of positional arguments. They are copied, and the random generators seeded with
`coursekit.grading.backend.SEED`, before every call. Results must be plain data
(`coursekit.grading.values`) and are compared as copies (`coursekit.grading.compare`). A check never
raises for a fault of the learner's; it displays one message. A fault of the author's is raised: a
reference that raises, cases that are not plain data. Messages of hidden checks show no inputs and
no values.

Everything that is known between two checks is in `session`; `session.backend` is the only object
that touches the learner's code, and the one to replace when that code runs in another process.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from coursekit.grading import compare, gradients
from coursekit.grading.backend import Outcome, parameters_of
from coursekit.grading.compare import Difference, difference, same
from coursekit.grading.judging import (
    counted,
    property_of,
    raised,
    referred,
    result_of,
    too_low,
)
from coursekit.grading.recipes import Taken, make, take, through
from coursekit.grading.session import Cases, Session, TaskResult, Verdict
from coursekit.grading.values import described, plain

__all__ = [
    "Session",
    "TaskResult",
    "close",
    "encode",
    "equal",
    "exercise",
    "gradient",
    "holds",
    "make",
    "points",
    "raises",
    "reset",
    "same",
    "score",
    "session",
    "take",
    "task",
    "through",
    "unchanged",
    "value",
]

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
        rtol: relative tolerance; by default 1e-9 for an expected float64, 1e-4 for float32.
        atol: absolute tolerance; by default 1e-10 for an expected float64, 1e-5 for float32.
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
        expected = referred(reference, case)
        got, found, observed = result_of(session.call(fn, case))
        found = found or difference(got, expected, **options)
        return Verdict(found, observed, compare.encode(expected))

    name = session.name(fn)
    verb = "equals" if kind == "equal" else "agrees with"
    if type(fn) is Taken and fn.count > 1:
        verb = "equal" if kind == "equal" else "agree with"
    passes = f"{name} {verb} the reference on {counted(cases)}"
    names = session.inputs(fn, parameters_of(reference))
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
        got, found, observed = result_of(session.call(fn, case))
        if found is None:
            found = property_of(condition, got, case, says)
        return Verdict(found, observed)

    name = session.name(fn)
    passes = f"{name}: {says} ({counted(cases)})"
    names = session.inputs(fn, parameters_of(condition)[1:])
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

    def evaluate(case: tuple[Any, ...]) -> Any:
        return result_of(session.call(fn, case))[0]

    def judge(case: tuple[Any, ...]) -> Verdict:
        double = gradients.in_double(case, wrt)
        case = double if reference is None else case
        output, found, observed = result_of(session.call(fn, case))
        right = output if reference is None else referred(reference, case)
        if found is None and reference is None:
            found = gradients.unfit(output)
        found = found or difference(output, right, values=False)
        if found is not None:
            return Verdict(found, observed)
        weights = gradients.weights_for(right)
        got, found, observed = result_of(session.gradient(fn, case, wrt, weights))
        if found is not None:
            return Verdict(found, observed)
        if reference is None:
            expected = gradients.by_differences(evaluate, case, wrt, weights)
            found = gradients.compared(got, expected, wrt, rtol=1e-4, atol=1e-6)
        else:
            expected = gradients.by_autograd(reference, case, wrt, weights)
            found = gradients.compared(got, expected, wrt)
        return Verdict(found, observed, compare.encode(expected))

    name = session.name(fn)
    other = "finite differences" if reference is None else "the reference's"
    passes = f"the gradient of {name} agrees with {other} on {counted(cases)}"
    names = session.inputs(fn, parameters_of(reference))
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
        got, found, observed = result_of(outcome)
        if outcome.error is None:
            shown = "something that is not plain data" if found else described(got)
            facts = (("expected", words), ("got", f"no exception, but the result {shown}"))
            return Verdict(Difference("no error", facts), observed)
        if outcome.error.type == "NotImplementedError":
            return Verdict(found, observed)
        if wanted.intersection(outcome.error.bases):
            return Verdict(None, observed)
        return Verdict(
            Difference("other error", (("expected", words), *raised(outcome.error))), observed
        )

    name = session.name(fn)
    passes = f"{name} raises {words} on {counted(cases)}"
    session.run("raises", name, cases, judge, passes=passes, about=about)


def unchanged(fn: Any, cases: Cases, *, about: str = "") -> None:
    """Check that `fn` leaves its arguments as they were, bit for bit.

    Args:
        fn: the learner's function.
        cases: tuples of positional arguments.
        about: what this check is about, shown in its message.
    """

    def judge(case: tuple[Any, ...]) -> Verdict:
        outcome = session.call(fn, case, after=True)
        if outcome.error is not None:
            _, found, observed = result_of(outcome)
            return Verdict(found, observed)
        before = [plain(argument) for argument in case]
        arguments = list(outcome.arguments_after)
        after, found, observed = result_of(Outcome(arguments, refused=outcome.refused))
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

    name = session.name(fn)
    passes = f"{name} leaves its arguments unchanged on {counted(cases)}"
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
        outcome = session.backend.data(got)
        empty = outcome.value is None or outcome.value is Ellipsis
        if empty and not outcome.error and not outcome.refused:
            return Verdict(Difference("not answered"), {"error": "NotImplementedError"})
        result, found, observed = result_of(outcome)
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

    def judge(case: tuple[Any, ...]) -> Verdict:
        got, found, observed = result_of(session.call(fn, case))
        if found is None:
            found = too_low(score, got, case, at_least, says)
        return Verdict(found, observed)

    name = session.name(fn)
    passes = f"{name}: {says} is at least {at_least:g} ({counted(cases)})"
    names = session.inputs(fn, parameters_of(score)[1:])
    session.run("score", name, cases, judge, passes=passes, about=about, names=names)


def encode(value: Any) -> dict[str, Any]:
    """Encode a plain value for JSON (`coursekit.grading.compare.encode`)."""
    return compare.encode(plain(value))
