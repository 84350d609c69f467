"""Plain data over a socket between two processes that do not trust each other.

A frame is a length of 8 bytes, a length of 4 bytes, a header in JSON and the raw numbers of all
tensors and arrays. What arrives is checked before it is believed: lengths against limits before
memory is taken, formats against a fixed table, every buffer against its format and shape. Nothing
is ever unpickled, and nothing is built but None, bool, int, float, str, list, tuple, dict, torch
tensors, NumPy arrays and NumPy scalars, the types that `coursekit.grading.values` calls plain.
"""

from __future__ import annotations

import json
import math
import socket
import struct
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from coursekit.grading.values import DEEPEST

MOST_BYTES = 128 << 20  # in a frame
MOST_HEADER = 4 << 20  # bytes; JSON takes up to 25 times as much memory when it is read
MOST_ITEMS = 200_000  # in all values of a frame together
MOST_BITS = 13_000  # of an int, fewer than the 4,300 digits that Python is willing to write
MOST_AXES = 32

_LENGTHS = struct.Struct(">QI")
_CHUNK = 1 << 20  # bytes read at once

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


class Closed(ConnectionError):
    """The other process is gone."""


class TooLate(TimeoutError):
    """A frame was not sent or received as a whole within its time."""


class Malformed(ValueError):
    """What arrived is no frame, or a larger one than allowed."""


class TooLarge(ValueError):
    """What is to be sent exceeds a limit of the wire; the text says which."""


class Channel:
    """Frames over one end of a connected stream socket."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock

    def send(
        self, header: dict[str, Any], values: Sequence[Any] = (), seconds: float | None = None
    ) -> None:
        """Send a header, which JSON can hold, and plain values.

        Args:
            header: What the frame is about.
            values: Plain data.
            seconds: How long it may take; None waits.

        Raises:
            TooLarge: When the frame exceeds a limit; nothing has been sent then.
            TypeError: When a value is not plain data; nothing has been sent then.
            Closed: When the other end is gone.
            TooLate: When the other end does not read it in time.
        """
        self.send_frame(framed(header, values), seconds)

    def send_frame(self, data: bytes, seconds: float | None = None) -> None:
        """Send what `framed` returned; raises as `send` does."""
        frame, deadline = memoryview(data), _deadline(seconds)
        while frame:
            try:
                self._socket.settimeout(_left(deadline))
                frame = frame[self._socket.send(frame) :]
            except TimeoutError as error:
                raise TooLate("the other process does not read") from error
            except OSError as error:
                raise Closed(str(error)) from error

    def receive(
        self, seconds: float | None = None, most: int = MOST_BYTES
    ) -> tuple[dict[str, Any], list[Any]]:
        """Receive one frame.

        Args:
            seconds: How long it may take from now until its last byte; None waits.
            most: Bytes that it may have.

        Returns:
            The header, a mapping whose content is for the caller to check, and the values.

        Raises:
            Closed: When the other end is gone.
            TooLate: When the frame is not there in time.
            Malformed: When it is no frame or too large.
        """
        deadline = _deadline(seconds)
        lengths = bytes(self._exactly(_LENGTHS.size, deadline))
        total, head = _LENGTHS.unpack(lengths)
        if total > most or head > min(total, MOST_HEADER):
            raise Malformed(f"a frame of {total} bytes with a header of {head}")
        header = bytes(self._exactly(head, deadline))
        return parsed(header, self._exactly(total - head, deadline))

    def _exactly(self, count: int, deadline: float | None) -> bytearray:
        """Read so many bytes; memory is taken as they arrive."""
        data = bytearray()
        while len(data) < count:
            try:
                self._socket.settimeout(_left(deadline))
                chunk = self._socket.recv(min(count - len(data), _CHUNK))
            except TimeoutError as error:
                raise TooLate("no whole frame in time") from error
            except OSError as error:
                raise Closed(str(error)) from error
            if not chunk:
                raise Closed("the other end is closed")
            data += chunk
        return data

    def exchange(
        self, header: dict[str, Any], values: Sequence[Any], seconds: float, most: int = MOST_BYTES
    ) -> tuple[dict[str, Any], list[Any]]:
        """Send one frame and receive one, both within the same `seconds`."""
        deadline = time.monotonic() + seconds
        self.send(header, values, seconds)
        return self.receive(max(deadline - time.monotonic(), 0.0), most)

    def close(self) -> None:
        """Close this end."""
        self._socket.close()


def _deadline(seconds: float | None) -> float | None:
    return None if seconds is None else time.monotonic() + seconds


def _left(deadline: float | None) -> float | None:
    if deadline is None:
        return None
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def framed(header: dict[str, Any], values: Sequence[Any], most: int = MOST_BYTES) -> bytes:
    """Return a whole frame; `Channel.send` says what it raises."""
    nodes, buffers = encode(values, most)
    head = json.dumps([header, nodes], separators=(",", ":")).encode("ascii")
    if len(head) > MOST_HEADER:
        raise TooLarge(f"it takes more than {MOST_HEADER >> 20} MB of text")
    total = len(head) + sum(map(len, buffers))
    if total > most:
        raise TooLarge(f"it takes {_megabytes(total)}, more than {most >> 20} MB")
    return b"".join([_LENGTHS.pack(total, len(head)), head, *buffers])


def parsed(header: bytes, body: bytearray) -> tuple[dict[str, Any], list[Any]]:
    """Return the header and the values of a frame; `Channel.receive` says what it raises."""
    try:
        whole = json.loads(header)
    except (ValueError, RecursionError) as error:
        raise Malformed("the header is no JSON") from error
    if type(whole) is not list or len(whole) != 2 or type(whole[0]) is not dict:
        raise Malformed("the header is no pair of a mapping and nodes")
    return whole[0], decode(whole[1], body)


def _megabytes(count: int) -> str:
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
        if tensor.layout is not torch.strided:
            tensor = tensor.to_dense()
        if tensor.dtype not in _TORCH_NAMES:
            raise TypeError(f"a tensor of {tensor.dtype} cannot be sent")
        self._reserve(tensor.numel() * tensor.element_size())
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
        self._reserve(value.nbytes)
        straight = np.ascontiguousarray(value, dtype=value.dtype.newbyteorder("="))
        shape = list(value.shape if name in _NUMPY_FORMATS else value.shape[1:])
        self.buffers.append(straight.tobytes())
        return [tag, name, shape]

    def _reserve(self, count: int) -> None:
        self.bytes += count
        if self.bytes > self.most:
            raise TooLarge(f"it takes {_megabytes(self.bytes)}, more than {self.most >> 20} MB")


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
    if math.prod(max(length, 1) for length in shape) >= 1 << 60:
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
