"""Plain data: the only values that a check passes to a learner's function or accepts from it.

Plain are None, bool, int, float, str, list, tuple, dict, torch tensors, NumPy arrays and NumPy
scalars. Types are compared exactly: a subclass may lie about its shape or about equality, so it
is refused. `plain` turns a value into a copy that holds nothing of the learner's: tensors and
arrays become `Array`, and later comparisons never call a method of the original.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

SMALL = 36  # arrays of up to so many elements are shown whole
LEAVES = 80  # of a nested value so many parts are written
DEEPEST = 20  # containers nested more deeply than this are refused

# Taken once, before any cell of a learner runs: `tensor.detach` would look into the instance first.
_detach = torch.Tensor.detach
_TENSORS = (torch.Tensor, torch.nn.Parameter)
_NUMPY_SCALARS = frozenset(
    kind for kind in np.sctypeDict.values() if issubclass(kind, (np.number, np.bool_))
)
# What x.shape and torch.sort(x) return: tuples under another name, made by torch alone.
_TORCH_TUPLES = frozenset(
    {torch.Size} | {kind for kind in vars(torch.return_types).values() if isinstance(kind, type)}
)
_NATIVE_FLOATS = (torch.float16, torch.float32, torch.float64)
_FAMILIES = {"b": "bool", "i": "int", "u": "int", "f": "float", "c": "complex", "O": "int"}


@dataclass(frozen=True, eq=False)
class Array:
    """A tensor, array or number copied to NumPy.

    Args:
        values: the numbers; bfloat16 and narrower formats are widened to float32.
        dtype: the original format, "float" or "int" or "bool" for a number of Python's.
        source: "tensor", "array" or "number".
    """

    values: np.ndarray
    dtype: str
    source: str

    @property
    def shape(self) -> tuple[int, ...]:
        """The lengths of the axes; empty for a single number."""
        return self.values.shape

    @property
    def family(self) -> str:
        """The kind of number: "bool", "int", "float" or "complex"."""
        return _FAMILIES[self.values.dtype.kind]


class NotPlain(TypeError):
    """A value that is not plain data; its text says which and where."""


def plain(value: Any, where: str = "the result", depth: int = 0) -> Any:
    """Copy `value` with every tensor, array and number in it as an `Array`.

    Args:
        value: anything a learner's function returned.
        where: what `value` is called in the message of the exception.
        depth: how many containers stand around it.

    Returns:
        None, str, Array, or a list, tuple or dict of these.

    Raises:
        NotPlain: if the type of `value`, or of something in it, is not exactly a plain one.
    """
    kind = type(value)
    if depth > DEEPEST:
        raise NotPlain(f"{where} is nested more than {DEEPEST} deep")
    if value is None or kind is str:
        return value
    if kind in (bool, int, float):
        return Array(np.asarray(value), kind.__name__, "number")
    if kind in _TENSORS:
        return _from_tensor(value, where)
    if kind in _NUMPY_SCALARS:
        return Array(np.array(value), value.dtype.name, "number")
    if kind is np.ndarray:
        if value.dtype.kind not in "biufc":
            raise NotPlain(f"{where} is an array of dtype {value.dtype}, not of numbers")
        return Array(np.array(value), value.dtype.name, "array")
    if kind in (list, tuple) or kind in _TORCH_TUPLES:
        items = [plain(item, f"{where}[{i}]", depth + 1) for i, item in enumerate(value)]
        return items if kind is list else tuple(items)
    if kind is dict:
        for key in value:
            if type(key) not in (str, int, float, bool):
                raise NotPlain(f"{where} has {_named(type(key))} as a key")
        return {key: plain(item, f"{where}[{key!r}]", depth + 1) for key, item in value.items()}
    raise NotPlain(f"{where} is {_named(kind)}")


def class_names(kind: type) -> tuple[str, ...]:
    """Name a class and those above it, nearest first, past whatever its metaclass may say."""
    above = type.__dict__["__mro__"].__get__(kind)
    return tuple(printable(type.__dict__["__name__"].__get__(base))[:80] for base in above)


def printable(text: str) -> str:
    """Put text on one line, without control characters."""
    return "".join(c if c.isprintable() else "?" for c in " ".join(text.split()))


def _named(kind: type) -> str:
    name, *above = class_names(kind)
    article = "an" if name[:1] in "aeiouAEIOU" else "a"
    ancestor = next((base for base in above if base in _PLAIN), None)
    return f"{article} {name}" + (f", a subclass of {ancestor}" if ancestor else "")


_PLAIN = ("bool", "int", "float", "str", "list", "tuple", "dict", "ndarray", "Tensor")


def _from_tensor(value: Tensor, where: str) -> Array:
    tensor = _detach(value)
    if tensor.is_quantized or tensor.is_nested or tensor.device.type == "meta":
        raise NotPlain(f"{where} is a quantized, nested or meta tensor")
    if tensor.layout is not torch.strided:
        tensor = tensor.to_dense()
    dtype = str(tensor.dtype).removeprefix("torch.")
    if tensor.is_floating_point() and tensor.dtype not in _NATIVE_FLOATS:
        tensor = tensor.float()
    tensor = tensor.cpu().resolve_conj().resolve_neg()
    return Array(np.array(tensor.numpy()), dtype, "tensor")


def copied(value: Any, where: str = "the argument") -> Any:
    """Copy plain data of an author's, so that a function may spoil its arguments.

    Args:
        value: an argument of a case.
        where: what it is called in the message of the exception.

    Returns:
        The same value in the same types; a tensor keeps its device and `requires_grad`.

    Raises:
        TypeError: if `value` is not plain data, the only kind that reaches every learner.
    """
    kind = type(value)
    if value is None or kind in (bool, int, float, str) or kind in _NUMPY_SCALARS:
        return value
    if kind in _TENSORS:
        return value.detach().clone().requires_grad_(value.requires_grad)
    if kind is np.ndarray:
        return value.copy()
    if kind in (list, tuple) or kind in _TORCH_TUPLES:
        items = [copied(item, f"{where}[{i}]") for i, item in enumerate(value)]
        return items if kind is list else tuple(items)
    if kind is dict:
        return {key: copied(item, f"{where}[{key!r}]") for key, item in value.items()}
    raise TypeError(f"{where} must be plain data, got {_named(kind)}")


def rebuilt(value: Any) -> Any:
    """Turn a `plain` value into what an author's condition works with.

    Args:
        value: the answer of `plain`.

    Returns:
        Tensors and arrays as CPU tensors, numbers as Python numbers, containers as they were.
    """
    if isinstance(value, Array):
        if value.source == "number":
            return value.values.item()
        if value.values.dtype == np.longdouble:
            return torch.from_numpy(value.values.astype(np.float64))
        return torch.from_numpy(value.values.copy())
    if isinstance(value, (list, tuple)):
        return type(value)(rebuilt(item) for item in value)
    if isinstance(value, dict):
        return {key: rebuilt(item) for key, item in value.items()}
    return value


def number(value: Any, beside: Any = None) -> str:
    """Write a number with 6 digits, or with as many as tell it from the one `beside` it."""
    value, beside = (v.item() if isinstance(v, np.generic) else v for v in (value, beside))
    if not isinstance(value, float):
        return str(value)
    for digits in (6, 9, 12):
        text = f"{value:.{digits}g}"
        if not isinstance(beside, float) or value == beside or text != f"{beside:.{digits}g}":
            return text
    return repr(value)


def described(value: Any) -> str:
    """Write a `plain` value compactly: small arrays whole, others by shape and first values.

    Of nested containers so many leaves are written as make a message, the others as dots.
    """
    left = LEAVES

    def told(item: Any) -> str:
        nonlocal left
        left -= 1
        if left < 0:
            return "…"
        if isinstance(item, Array):
            return _described_array(item)
        if isinstance(item, str):
            text = repr(item[:150])
            whole = len(item) <= 150 and len(text) <= 120
            return text if whole else f"{text[:100]}… ({len(item)} characters)"
        if isinstance(item, (list, tuple)):
            ends = "[]" if isinstance(item, list) else "()"
            return _joined([told(part) for part in item[:8]], len(item), *ends)
        if isinstance(item, dict):
            pairs = [f"{_told_key(key)}: {told(item[key])}" for key in list(item)[:8]]
            return _joined(pairs, len(item), "{", "}")
        return repr(item)

    return told(value)


def _told_key(key: Any) -> str:
    text = repr(key)
    return text if len(text) <= 120 else f"{text[:100]}…"


def _described_array(array: Array) -> str:
    if array.source == "number":
        return number(array.values[()])
    head = f"{array.source} {array.dtype} {array.shape}"
    if array.values.size == 0:
        return f"{head}, empty"
    if array.values.size > SMALL:
        first = ", ".join(number(v) for v in array.values.ravel()[:4])
        return f"{head}, first values {first}, …"
    formatter: Any = {"float_kind": number}
    body = np.array2string(array.values, separator=", ", max_line_width=88, formatter=formatter)
    return f"{head} {body}" if array.values.ndim < 2 else f"{head}\n{body}"


def _joined(parts: list[str], length: int, left: str, right: str) -> str:
    more = f", … ({length} in all)" if length > len(parts) else ""
    comma = "," if left == "(" and length == 1 else ""
    if any("\n" in part for part in parts):
        inner = ",\n ".join(part.replace("\n", "\n ") for part in parts)
        return f"{left}{inner}{more}{right}"
    return f"{left}{', '.join(parts)}{comma}{more}{right}"
