"""Comparison of results: the first difference in words, and encodings that known mistakes keep.

Everything here works on the copies made by `coursekit.grading.values.plain`; no method of a
learner's object is ever called.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from coursekit.grading.values import Array, described, number

# Relative and absolute tolerance for the format of the expected value. That of float64 lies below
# 6e-8, the rounding error of float32, so that a result computed in float32 is told apart. Python's
# floats carry no format: they may come from float32 arithmetic, so they are compared as float32.
TOLERANCES = {
    "float64": (1e-9, 1e-10),
    "float32": (1e-4, 1e-5),
    "float16": (1e-2, 1e-3),
    "bfloat16": (2e-2, 1e-2),
    "float": (1e-4, 1e-5),
    "complex128": (1e-9, 1e-10),
    "complex64": (1e-4, 1e-5),
}
_WIDE = (1e-9, 1e-10)

# What failed, in words that give away neither inputs nor expected values.
REASONS = {
    "not answered": "not answered yet",
    "error": "an exception was raised",
    "none": "None was returned",
    "type": "the result is not plain data",
    "structure": "the structure of the result differs",
    "kind": "the kind of number differs (float, int or bool)",
    "shape": "the shape differs",
    "nan": "the result contains NaN",
    "infinite": "the result is infinite",
    "precision": "the result is less precise than expected",
    "value": "the values differ",
    "detached": "no gradient flows back to an input",
    "gradient": "the gradient differs",
    "changed": "an argument was modified in place",
    "property": "the property does not hold",
    "no error": "no exception was raised",
    "other error": "another exception was raised",
    "score": "the score is too low",
}

SAMPLES = 256  # an encoding keeps at most so many values of an array


@dataclass(frozen=True)
class Difference:
    """The first thing that is wrong with a result.

    Args:
        kind: a key of REASONS.
        facts: (label, text) pairs for a public message: expected, got, where, hint.
        hidden: an addition to the reason that a hidden message may show.
    """

    kind: str
    facts: tuple[tuple[str, str], ...] = ()
    hidden: str = ""

    @property
    def reason(self) -> str:
        """What failed, in words that give nothing away."""
        return REASONS[self.kind]


def difference(
    got: Any,
    expected: Any,
    *,
    rtol: float | None = None,
    atol: float | None = None,
    exact: bool = False,
    values: bool = True,
    where: str = "result",
) -> Difference | None:
    """Find the first difference between two `plain` values.

    Args:
        got: the learner's.
        expected: the reference's; the format of its numbers sets the tolerance.
        rtol: relative tolerance; None takes that of the format.
        atol: absolute tolerance; None takes that of the format.
        exact: compare numbers exactly.
        values: False compares structure, kind and shape only.
        where: the name of the value in messages.

    Returns:
        None when they agree. NaN agrees with NaN in the same place, a list with a tuple,
        a tensor with an array, a number with an array without axes.
    """
    options: dict[str, Any] = {"rtol": rtol, "atol": atol, "exact": exact, "values": values}
    if got is None and expected is not None and where == "result":
        hint = ("hint", "did you forget to return?")
        return Difference("none", (("expected", _outlined(expected)), ("got", "None"), hint))
    if isinstance(expected, Array) and isinstance(got, Array):
        return _between_arrays(got, expected, where=where, **options)
    if isinstance(expected, (list, tuple)) and isinstance(got, (list, tuple)):
        if len(got) != len(expected):
            return _structure(got, expected, where)
        pairs = (
            difference(g, e, where=f"{where}[{i}]", **options)
            for i, (g, e) in enumerate(zip(got, expected, strict=True))
        )
        return next((found for found in pairs if found), None)
    if isinstance(expected, dict) and isinstance(got, dict):
        if {(type(k), k) for k in got} != {(type(k), k) for k in expected}:
            return _structure(got, expected, where)
        pairs = (
            difference(got[key], expected[key], where=f"{where}[{key!r}]", **options)
            for key in expected
        )
        return next((found for found in pairs if found), None)
    if type(got) is not type(expected):
        return _structure(got, expected, where)
    if got != expected and values:  # both None or both str
        return _text_difference(got, expected, where)
    return None


def _structure(got: Any, expected: Any, where: str) -> Difference:
    facts = [("expected", _outlined(expected)), ("got", _outlined(got))]
    if where != "result":
        facts.append(("where", where))
    return Difference("structure", tuple(facts))


def _outlined(value: Any) -> str:
    """Name the structure of a `plain` value, then show it."""
    if isinstance(value, (list, tuple)):
        return f"a {type(value).__name__} of {len(value)}: {described(value)}"
    if isinstance(value, (str, dict)):
        return f"a {type(value).__name__}: {described(value)}"
    if isinstance(value, Array) and value.source == "number":
        return f"the {value.dtype} {described(value)}"
    return described(value)


def _text_difference(got: str, expected: str, where: str) -> Difference:
    same = (i for i, (g, e) in enumerate(zip(got, expected, strict=False)) if g != e)
    first = next(same, min(len(got), len(expected)))
    place = "" if where == "result" else f"{where}, "
    return Difference(
        "value",
        (
            ("expected", described(expected)),
            ("got", described(got)),
            ("where", f"{place}first differing character at {first}"),
        ),
    )


def _between_arrays(
    got: Array,
    expected: Array,
    *,
    rtol: float | None,
    atol: float | None,
    exact: bool,
    values: bool,
    where: str,
) -> Difference | None:
    shown = [("expected", described(expected)), ("got", described(got))]
    place = [] if where == "result" else [("where", where)]
    if got.shape != expected.shape:
        facts = [("expected", f"shape {expected.shape}"), ("got", f"shape {got.shape}"), *place]
        return Difference("shape", tuple(facts))
    # A Python int may stand for a float, as in the type `float` of an annotation.
    int_for_float = got.dtype == "int" and expected.family == "float" and not exact
    if got.family != expected.family and not int_for_float:
        kinds = [
            ("expected", f"{expected.family} ({described(expected)})"),
            ("got", f"{got.family} ({described(got)})"),
        ]
        return Difference("kind", (*kinds, *place))
    if not values:
        return None
    defaults = (0.0, 0.0) if exact else TOLERANCES.get(expected.dtype, _WIDE)
    if expected.family in ("int", "bool") and rtol is None and atol is None:
        defaults = (0.0, 0.0)
    limits = (
        defaults[0] if rtol is None else rtol,
        defaults[1] if atol is None else atol,
    )
    wrong = _differing(got.values, expected.values, *limits)
    if not wrong.any():
        return None
    return _explained(got, expected, wrong, where, shown)


def _widened(values: np.ndarray) -> np.ndarray:
    if values.dtype.kind == "c":
        return values.astype(np.complex128)
    return values.astype(np.float64)


def _differing(got: np.ndarray, expected: np.ndarray, rtol: float, atol: float) -> np.ndarray:
    """Mark the elements that differ by more than atol + rtol * |expected|."""
    if rtol == atol == 0 and got.dtype.kind not in "fc" and expected.dtype.kind not in "fc":
        return np.asarray(got != expected)
    g, e = _widened(got), _widened(expected)
    with np.errstate(all="ignore"):
        close = np.abs(g - e) <= atol + rtol * np.abs(e)
        close &= np.isfinite(g) & np.isfinite(e)
    return np.asarray(~(close | (g == e) | (np.isnan(g) & np.isnan(e))))


def _explained(
    got: Array,
    expected: Array,
    wrong: np.ndarray,
    where: str,
    shown: list[tuple[str, str]],
) -> Difference:
    index = tuple(int(i) for i in np.argwhere(wrong)[0]) if wrong.ndim else ()
    g, e = got.values[index], expected.values[index]
    place = where + (f"[{', '.join(map(str, index))}]" if index else "")
    text = f"{place}: expected {number(e, g)}, got {number(g, e)}"
    if wrong.size > 1:
        text += f" ({int(wrong.sum())} of {wrong.size} values differ)"
    facts = [*shown, ("where", text)]
    if wrong.ndim == 0 and got.source == expected.source == "number" and where == "result":
        facts = [("expected", number(e, g)), ("got", number(g, e))]
    kind = "value"
    if got.family in ("float", "complex"):
        bad = got.values[wrong]
        if np.isnan(bad).any():
            kind = "nan"
        elif np.isinf(bad).any():
            kind = "infinite"
        elif _only_imprecise(got, expected):
            kind = "precision"
            facts.append(("dtype", f"expected {expected.dtype}, got {got.dtype}"))
    return Difference(kind, tuple(facts))


def _only_imprecise(got: Array, expected: Array) -> bool:
    """Whether a result in a narrower format agrees as well as that format can."""
    own = TOLERANCES.get("float32" if got.dtype == "float" else got.dtype, _WIDE)
    asked = TOLERANCES.get(expected.dtype, _WIDE)
    return own > asked and not _differing(got.values, expected.values, *own).any()


def changed(before: Any, after: Any) -> bool:
    """Whether two `plain` values differ in any bit, type or format."""
    if type(before) is not type(after):
        return True
    if isinstance(before, Array):
        if before.dtype != after.dtype or before.shape != after.shape:
            return True
        if before.values.dtype.kind == "O":  # an int of more than 64 bits
            return bool((before.values != after.values).any())
        return before.values.tobytes() != after.values.tobytes()
    if isinstance(before, (list, tuple)):
        return len(before) != len(after) or any(map(changed, before, after))
    if isinstance(before, dict):
        return list(before) != list(after) or any(changed(before[k], after[k]) for k in before)
    return bool(before != after)


def encode(value: Any) -> dict[str, Any]:
    """Encode a `plain` value for JSON, to be compared by `same`.

    Args:
        value: the answer of `plain`.

    Returns:
        Kind, shape, family of numbers and the values with 6 significant digits: all of them
        up to 256, else 256 evenly spaced ones; containers recursively.
    """
    if value is None:
        return {"kind": "none"}
    if isinstance(value, str):
        return {"kind": "str", "value": value}
    if isinstance(value, Array):
        flat = value.values.ravel()
        return {
            "kind": "array",
            "dtype": value.family,
            "shape": list(value.shape),
            "values": [_rounded(v.item() if hasattr(v, "item") else v) for v in _sampled(flat)],
        }
    if isinstance(value, dict):
        pairs = [[key, encode(value[key])] for key in sorted(value, key=repr)]
        return {"kind": "dict", "length": len(pairs), "items": list(_sampled(pairs))}
    items = [encode(item) for item in _sampled(value)]
    return {"kind": "list", "length": len(value), "items": items}


def _sampled(items: Any) -> Any:
    if len(items) <= SAMPLES:
        return items
    return [items[i] for i in np.linspace(0, len(items) - 1, SAMPLES).round().astype(int)]


def _rounded(value: Any) -> Any:
    if isinstance(value, complex):
        return [_rounded(value.real), _rounded(value.imag)]
    if isinstance(value, float):
        return float(f"{value:.6g}") if np.isfinite(value) else str(value)
    return value


def same(a: Any, b: Any) -> bool:
    """Whether two encodings stand for the same value, numbers within a relative 1e-4."""
    if not isinstance(a, dict) or not isinstance(b, dict) or a.get("kind") != b.get("kind"):
        return False
    if a.get("kind") == "array":
        head = all(a[key] == b[key] for key in ("dtype", "shape"))
        return head and _same_numbers(_flattened(a["values"]), _flattened(b["values"]))
    if a.get("kind") == "list":
        return a["length"] == b["length"] and all(map(same, a["items"], b["items"]))
    if a.get("kind") == "dict":
        keys = [key for key, _ in a["items"]] == [key for key, _ in b["items"]]
        pairs = zip(a["items"], b["items"], strict=False)
        return keys and a["length"] == b["length"] and all(same(x[1], y[1]) for x, y in pairs)
    return a == b


def _flattened(values: list[Any]) -> list[Any]:
    return [part for value in values for part in (value if isinstance(value, list) else [value])]


def _same_numbers(a: list[Any], b: list[Any]) -> bool:
    if len(a) != len(b):
        return False
    numbers = [abs(v) for v in (*a, *b) if not isinstance(v, str)]
    # Rounding noise around zero is judged by the size of the largest value.
    floor = 1e-5 * max(numbers, default=0) if any(isinstance(v, float) for v in (*a, *b)) else 0

    def close(x: Any, y: Any) -> bool:
        if isinstance(x, float) and isinstance(y, float):
            return abs(x - y) <= floor + 1e-4 * max(abs(x), abs(y))
        return bool(x == y)

    return all(map(close, a, b))
