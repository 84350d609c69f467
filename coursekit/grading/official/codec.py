"""Plain data as nodes for JSON and raw buffers, and back, without belief in what arrives.

Nothing is ever unpickled, and nothing is built but None, bool, int, float, str, list, tuple, dict,
torch tensors, NumPy arrays and NumPy scalars, the types that `coursekit.grading.values` calls
plain. Formats come from a fixed table, and every buffer must have the length that its format and
shape ask for. What comes out of `decode` is judged by `plain` as if it came from a function here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from coursekit.grading.values import DEEPEST

MOST_BYTES = 128 << 20  # in a frame
MOST_ITEMS = 200_000  # in all values of a frame together
MOST_BITS = 13_000  # of an int, fewer than the 4,300 digits that Python is willing to write
MOST_AXES = 32

# Taken once, so that a learner who replaces them harms nobody's replies but their own.
_detach = torch.Tensor.detach
_TENSORS = (torch.Tensor, torch.nn.Parameter)
_TUPLES = frozenset(
    {tuple, torch.Size}
    | {kind for kind in vars(torch.return_types).values() if isinstance(kind, type)}
)
_FORMATS = (
    *("bool", "uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64"),
    *("float16", "float32", "float64", "complex64", "complex128"),
)
_NARROW = ("bfloat16", "float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz")
_TORCH_FORMATS = {name: getattr(torch, name) for name in (*_FORMATS, *_NARROW)}
_TORCH_NAMES = {dtype: name for name, dtype in _TORCH_FORMATS.items()}
_NUMPY_FORMATS = {name: np.dtype(name) for name in _FORMATS}
_NUMPY_SCALARS = frozenset(
    kind for kind in np.sctypeDict.values() if issubclass(kind, (np.number, np.bool_))
)
_WIDE = {"f": ("longdouble", np.float64), "c": ("clongdouble", np.complex128)}
_WIDE_FORMATS = {"longdouble": np.longdouble, "clongdouble": np.clongdouble}


class Malformed(ValueError):
    """What arrived is no frame, or a larger one than allowed."""


class TooLarge(ValueError):
    """What is to be sent exceeds a limit of the wire; the text says which."""


def megabytes(count: int) -> str:
    """Write a number of bytes, rounded up."""
    return f"{math.ceil(count / (1 << 20))} MB"


def encode(values: Sequence[Any], most: int = MOST_BYTES) -> tuple[list[Any], list[bytes]]:
    """Turn plain values into nodes for JSON and raw buffers, in the order of the nodes.

    Args:
        values: Plain data of exact types; a Parameter goes as a tensor, what torch returns in a
            tuple of its own as a tuple. Tensors go to the CPU and keep `requires_grad` and the
            order of their axes in memory, arrays become contiguous.
        most: Bytes that the buffers may have together.

    Raises:
        TooLarge: When there are too many bytes or items, or an int is too long.
        TypeError: When something is not plain data.
    """
    encoder = _Encoder(most)
    return [encoder.node(value, 0) for value in values], encoder.buffers


class _Encoder:
    def __init__(self, most: int) -> None:
        self.buffers: list[bytes] = []
        self.most, self.bytes, self.items = most, 0, 0

    def node(self, value: Any, depth: int) -> Any:
        kind = type(value)
        self.items += 1
        if self.items > MOST_ITEMS:
            raise TooLarge(f"it holds more than {MOST_ITEMS:,} items")
        if depth > DEEPEST:
            raise TypeError(f"nested more than {DEEPEST} deep")
        if value is None or kind in (bool, float, str):
            return value
        if kind is int:
            return _int_node(value)
        if kind is list or kind in _TUPLES:
            items = [self.node(item, depth + 1) for item in value]
            return ["l" if kind is list else "t", *items]
        if kind is dict:
            nodes: list[Any] = ["d"]
            for key, item in value.items():
                if type(key) not in (str, int, float, bool):
                    raise TypeError(f"{type(key).__name__} as a key")
                nodes += [self.node(key, depth + 1), self.node(item, depth + 1)]
            return nodes
        if kind in _TENSORS:
            return self._tensor(value)
        if kind is np.ndarray or kind in _NUMPY_SCALARS:
            return self._array(np.asarray(value), "A" if kind is np.ndarray else "S")
        raise TypeError(f"{kind.__name__} is not plain data")

    def _tensor(self, value: Tensor) -> list[Any]:
        tensor = _detach(value)
        if tensor.is_quantized or tensor.is_nested or tensor.device.type == "meta":
            raise TypeError("a quantized, nested or meta tensor cannot be sent")
        if tensor.layout is not torch.strided:
            tensor = tensor.to_dense()
        if tensor.dtype not in _TORCH_NAMES:
            raise TypeError(f"a tensor of {tensor.dtype} cannot be sent")
        self._reserve(tensor.shape, tensor.element_size())
        tensor = tensor.cpu().resolve_conj().resolve_neg()
        strides = tensor.stride()
        order = sorted(range(tensor.dim()), key=lambda axis: -strides[axis])
        straight = tensor.permute(order).contiguous()
        flat = straight.view(-1).view(torch.uint8) if straight.numel() else torch.zeros(0).byte()
        self.buffers.append(flat.numpy().tobytes())
        name = _TORCH_NAMES[tensor.dtype]
        return ["T", name, list(straight.shape), order, bool(value.requires_grad)]

    def _array(self, value: np.ndarray, tag: str) -> list[Any]:
        name = value.dtype.name
        if name not in _NUMPY_FORMATS and value.dtype.kind in _WIDE:
            name, value = _split(value)
        elif name not in _NUMPY_FORMATS:
            raise TypeError(f"an array of dtype {value.dtype} cannot be sent")
        self._reserve(value.shape, value.itemsize)
        straight = np.ascontiguousarray(value, dtype=value.dtype.newbyteorder("="))
        shape = list(value.shape if name in _NUMPY_FORMATS else value.shape[1:])
        self.buffers.append(straight.tobytes())
        return [tag, name, shape]

    def _reserve(self, shape: Sequence[int], itemsize: int) -> None:
        if len(shape) > MOST_AXES:
            raise TooLarge(f"an array of more than {MOST_AXES} axes")
        self.bytes += math.prod(shape) * itemsize
        if self.bytes > self.most:
            raise TooLarge(f"it takes {megabytes(self.bytes)}, more than {self.most >> 20} MB")


def _int_node(value: int) -> Any:
    if value.bit_length() < 64:
        return value
    if value.bit_length() > MOST_BITS:
        raise TooLarge(f"an int of more than {MOST_BITS:,} bits")
    return ["i", format(value, "x")]


def _split(value: np.ndarray) -> tuple[str, np.ndarray]:
    """Write wide numbers as sums of two ordinary ones, which cannot be malformed."""
    name, narrow = _WIDE[value.dtype.kind]
    with np.errstate(all="ignore"):
        high: np.ndarray = value.astype(narrow)
        low: np.ndarray = np.where(np.isfinite(high), value - high, 0).astype(narrow)
    return name, np.stack([high, low])


def decode(nodes: Any, body: bytearray) -> list[Any]:
    """Turn what `encode` made back into values.

    Args:
        nodes: What JSON gave.
        body: The buffers, one after the other.

    Returns:
        The values; tensors and arrays own their memory.

    Raises:
        Malformed: When anything is not as `encode` makes it.
    """
    if type(nodes) is not list:
        raise Malformed("the values are no list")
    decoder = _Decoder(body)
    values = [decoder.value(node, 0) for node in nodes]
    if decoder.position != len(body):
        raise Malformed("more bytes than the values need")
    return values


class _Decoder:
    def __init__(self, body: bytearray) -> None:
        self.body, self.position, self.items = memoryview(body), 0, 0

    def value(self, node: Any, depth: int) -> Any:
        self.items += 1
        if self.items > MOST_ITEMS or depth > DEEPEST:
            raise Malformed("too many values, or nested too deeply")
        kind = type(node)
        if node is None or kind in (bool, float, str):
            return node
        if kind is int and node.bit_length() < 64:
            return node
        if kind is not list or not node:
            raise Malformed("no value")
        tag = node[0]
        if tag == "l":
            return [self.value(item, depth + 1) for item in node[1:]]
        if tag == "t":
            return tuple([self.value(item, depth + 1) for item in node[1:]])
        if tag == "d":
            return self._dict(node, depth)
        if tag == "i" and len(node) == 2:
            return _long_int(node[1])
        if tag == "T" and len(node) == 5:
            return self._tensor(*node[1:])
        if tag in ("A", "S") and len(node) == 3:
            return self._array(tag, *node[1:])
        raise Malformed("an unknown kind of value")

    def _dict(self, node: list[Any], depth: int) -> dict[Any, Any]:
        parts = [self.value(part, depth + 1) for part in node[1:]]
        keys = parts[::2]
        if len(parts) % 2 or any(type(key) not in (str, int, float, bool) for key in keys):
            raise Malformed("no keys and values")
        result = dict(zip(keys, parts[1::2], strict=True))
        if len(result) != len(keys):
            raise Malformed("a key stands twice")
        return result

    def _tensor(self, name: Any, shape: Any, order: Any, requires_grad: Any) -> Tensor:
        dtype = _TORCH_FORMATS.get(name) if type(name) is str else None
        if dtype is None or type(requires_grad) is not bool:
            raise Malformed("a tensor of unknown format")
        if requires_grad and not (dtype.is_floating_point or dtype.is_complex):
            raise Malformed("a gradient of whole numbers")
        raw = self._taken(_checked(shape), dtype.itemsize)
        if type(order) is not list or not all(type(axis) is int for axis in order):
            raise Malformed("no order of axes")
        if sorted(order) != list(range(len(shape))):
            raise Malformed("no order of axes")
        if dtype is torch.bool:
            _only_bools(raw)
        tensor = torch.empty(shape, dtype=dtype)
        if raw.size:
            tensor.view(-1).view(torch.uint8).numpy()[:] = raw
        if order != sorted(order):
            tensor = tensor.permute(sorted(range(len(order)), key=order.__getitem__))
        return tensor.requires_grad_(requires_grad)

    def _array(self, tag: str, name: Any, shape: Any) -> Any:
        shape = _checked(shape)
        if tag == "S" and shape:
            raise Malformed("a scalar with axes")
        if type(name) is str and name in _WIDE_FORMATS:
            narrow = np.dtype(np.float64 if name == "longdouble" else np.complex128)
            raw = self._taken([2, *shape], narrow.itemsize)
            parts = raw.view(narrow).reshape(2, *shape)
            with np.errstate(all="ignore"):
                array = np.asarray(parts[0].astype(_WIDE_FORMATS[name]) + parts[1])
        else:
            dtype = _NUMPY_FORMATS.get(name) if type(name) is str else None
            if dtype is None:
                raise Malformed("an array of unknown format")
            raw = self._taken(shape, dtype.itemsize)
            if dtype.kind == "b":
                _only_bools(raw)
            array = np.empty(shape, dtype)
            array.reshape(-1).view(np.uint8)[:] = raw
        return array if tag == "A" else array[()]

    def _taken(self, shape: list[int], itemsize: int) -> np.ndarray:
        """Look at the next buffer, so many bytes as format and shape say."""
        count = math.prod(shape) * itemsize
        if count > len(self.body) - self.position:
            raise Malformed("fewer bytes than a shape needs")
        part = self.body[self.position : self.position + count]
        self.position += count
        return np.frombuffer(part, np.uint8)


def _checked(shape: Any) -> list[int]:
    if type(shape) is not list or len(shape) > MOST_AXES:
        raise Malformed("no shape")
    if not all(type(length) is int and 0 <= length < 1 << 40 for length in shape):
        raise Malformed("no shape")
    if math.prod(max(length, 1) for length in shape) >= 1 << 50:
        raise Malformed("no shape")
    return shape


def _only_bools(raw: np.ndarray) -> None:
    if raw.size and raw.max() > 1:
        raise Malformed("a truth value that is neither")


def _long_int(text: Any) -> int:
    if type(text) is not str or not 0 < len(text) <= MOST_BITS // 4 + 2:
        raise Malformed("no int")
    digits = text.removeprefix("-")
    if not digits or not set(digits) <= set("0123456789abcdef"):
        raise Malformed("no int")
    value = int(text, 16)
    if not 64 <= value.bit_length() <= MOST_BITS:
        raise Malformed("no long int")
    return value
