"""What a check finds in the outcome of one call: the plain result, or what is wrong with it."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

from coursekit.grading import compare
from coursekit.grading.backend import Failure, Outcome, cut, seeded
from coursekit.grading.compare import Difference
from coursekit.grading.session import Cases
from coursekit.grading.values import Array, NotPlain, copied, described, number, plain, rebuilt

MOST_BITS = 1000  # of an int; the largest float has 1024


def result_of(outcome: Outcome) -> tuple[Any, Difference | None, dict[str, Any]]:
    """Return the plain result, what is wrong with it already, and its encoding."""
    error = outcome.error
    if error is not None:
        if error.type == "NotImplementedError":
            return None, Difference("not answered"), {"error": error.type}
        found = Difference("error", raised(error), hidden=error.safe_type)
        return None, found, {"error": error.type}
    refused = outcome.refused
    try:
        result = None if refused else plain(outcome.value)
        refused = refused or ("the result holds an int that is too long" if _long(result) else "")
    except NotPlain as error:
        refused = cut(str(error), 300)
    except Exception as error:  # a format that NumPy does not know, a key that cannot be written
        refused = unreadable(error)
    if refused:
        wanted = "a number, string, list, tuple, dict, tensor or array of exactly that type"
        found = Difference("type", (("expected", wanted), ("got", refused)))
        return None, found, {"error": "NotPlain"}
    return result, None, compare.encode(result)


def unreadable(error: Exception) -> str:
    """Say why a value that has an accepted type cannot be read."""
    return cut(f"the result cannot be read: {error}", 300)


def _long(value: Any) -> bool:
    """Whether a plain value holds an int beyond every float, with which nothing can be compared."""
    if isinstance(value, dict):
        return any(map(_long, value.values())) or any(
            type(key) is int and key.bit_length() > MOST_BITS for key in value
        )
    if isinstance(value, (list, tuple)):
        return any(map(_long, value))
    whole = isinstance(value, Array) and value.values.dtype.kind == "O"
    return whole and value.values.item().bit_length() > MOST_BITS


def raised(error: Failure) -> tuple[tuple[str, str], ...]:
    """Return the facts of a message about an exception."""
    text = f"{error.type}: {error.message}" if error.message else error.type
    if not error.function:
        return (("got", text),)
    place = f"{error.function}, line {error.line}"
    return (("got", text), ("where", f"{place}: {error.source}" if error.source else place))


def referred(reference: Callable[..., Any], case: tuple[Any, ...]) -> Any:
    """Call an author's reference as a learner's function is called; return the plain result."""
    with seeded(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return plain(reference(*copied(case)), "the reference's result")


def property_of(
    condition: Callable[..., Any], got: Any, case: tuple[Any, ...], says: str
) -> Difference | None:
    """Find whether a property does not hold for a plain result."""
    facts = [("expected", says), ("got", described(got))]
    try:
        if bool(condition(rebuilt(got), *copied(case))):
            return None
    except Exception as error:  # a condition may rely on a shape that the result does not have
        facts.append(("why", f"the property cannot be judged on this result: {error}"))
    return Difference("property", tuple(facts))


def too_low(
    score: Callable[..., Any],
    got: Any,
    case: tuple[Any, ...],
    at_least: float,
    says: str,
) -> Difference | None:
    """Find whether the score of a plain result is too low."""
    try:
        reached = float(score(rebuilt(got), *copied(case)))
    except Exception as error:  # a score may rely on a shape that the result does not have
        why = f"the score cannot be computed for this result: {error}"
        return Difference("score", (("got", described(got)), ("why", why)))
    if reached >= at_least:
        return None
    needed, scored = number(float(at_least), reached), number(reached, float(at_least))
    return Difference("score", (("score", says), ("needed", needed), ("reached", scored)))


def counted(cases: Cases) -> str:
    """Write how many cases there are."""
    return "1 case" if len(cases) == 1 else f"{len(cases)} cases"
