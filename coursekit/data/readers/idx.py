"""The IDX format of MNIST, Fashion-MNIST and EMNIST, compressed by gzip or not.

Two zero bytes, one byte for the type, one for the number of axes, then the length of each axis as
a big-endian 32-bit integer, then the numbers, big-endian, the last axis fastest.

Source: Y. LeCun, C. Cortes, C. Burges, "The MNIST database of handwritten digits", section "The
IDX file format", http://yann.lecun.com/exdb/mnist/.
"""

from __future__ import annotations

import gzip
import math
import os
import struct
import zlib
from typing import BinaryIO, cast

import numpy as np
from jaxtyping import Shaped

from coursekit.data.readers.files import ReadError, file_size, shown

MAX_BYTES = 1 << 30
_TYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_MAX_AXES = 32
_GZIP = b"\x1f\x8b"
_BEST_RATIO = 1032
"""Deflate writes at least two bits for 258 bytes, so no stream grows by more than this."""
_CHUNK = 1 << 20


def read_idx(
    path: str | os.PathLike[str], max_bytes: int = MAX_BYTES
) -> Shaped[np.ndarray, "*axes"]:
    """Read an array.

    Args:
        path: A file such as ``train-images-idx3-ubyte`` or ``t10k-labels-idx1-ubyte.gz``; what is
            compressed is known by its first bytes, not by its name.
        max_bytes: The largest array to accept, in bytes.

    Returns:
        An array of the shape and type in the header (uint8, int8, int16, int32, float32 or
        float64), in the byte order of this machine, which may be written to.

    Raises:
        ReadError: The file is not in this format; its size is not the one that the header
            promises; a number is NaN or infinite; or it takes over `max_bytes`. The message names
            the byte (of the uncompressed data).
    """
    size = file_size(path)
    try:
        with open(path, "rb") as file:
            return _read_open(path, file, size, max_bytes)
    except OSError as error:
        raise ReadError(path, "byte 0", f"cannot be read ({error})") from error


def _read_open(
    path: str | os.PathLike[str], file: BinaryIO, size: int, max_bytes: int
) -> Shaped[np.ndarray, "*axes"]:
    """Read a file that is compressed or not."""
    packed = file.read(2) == _GZIP
    file.seek(0)
    if not packed:
        return _read(path, file, size, max_bytes)
    try:
        with gzip.GzipFile(fileobj=file) as unpacked:
            return _read(path, cast(BinaryIO, unpacked), size, max_bytes)
    except (EOFError, zlib.error, OSError) as error:
        place = f"before byte {file.tell()} of the {size:,} compressed ones"
        raise ReadError(path, place, f"cannot be unpacked ({error})") from error


def _read(
    path: str | os.PathLike[str], file: BinaryIO, size: int, max_bytes: int
) -> Shaped[np.ndarray, "*axes"]:
    """Read header and numbers from a file of `size` bytes, which may be compressed."""
    shape, dtype = _header(path, file)
    header = 4 + 4 * len(shape)
    wanted = math.prod(shape) * dtype.itemsize
    if wanted > max_bytes:
        problem = f"{_product(shape, dtype)} bytes, expected at most max_bytes = {max_bytes:,}"
        raise ReadError(path, "byte 4", problem)
    packed = isinstance(file, gzip.GzipFile)
    most = size * _BEST_RATIO if packed else size - header
    if wanted > most or (not packed and wanted < most):
        kind = "compressed file" if packed else "file"
        problem = (
            f"the header promises {_product(shape, dtype)} bytes of numbers, but the {kind} of "
            f"{size:,} bytes holds {'at most ' if packed else ''}{most:,}"
        )
        raise ReadError(path, "byte 4", problem)
    data = _exactly(path, file, wanted, header)
    values = np.frombuffer(data, dtype).reshape(shape)
    if dtype.kind == "f":
        finite = np.isfinite(values)
        if not finite.all():
            first = int(np.argmin(finite))
            place = f"byte {header + first * dtype.itemsize}"
            raise ReadError(path, place, f"{values.flat[first]}, expected a finite number")
    return values.astype(dtype.newbyteorder("="), copy=False)


def _header(
    path: str | os.PathLike[str], file: BinaryIO
) -> tuple[tuple[int, ...], np.dtype[np.generic]]:
    """Read the shape and the type."""
    magic = file.read(4)
    if len(magic) < 4 or magic[:2] != b"\0\0":
        raise ReadError(path, "byte 0", f"{shown(magic)}, expected two zero bytes, type and axes")
    if magic[2] not in _TYPES:
        known = ", ".join(f"0x{code:02x}" for code in _TYPES)
        raise ReadError(path, "byte 2", f"type 0x{magic[2]:02x}, expected one of {known}")
    axes = magic[3]
    if not 1 <= axes <= _MAX_AXES:
        raise ReadError(path, "byte 3", f"{axes} axes, expected 1 to {_MAX_AXES}")
    lengths = file.read(4 * axes)
    if len(lengths) < 4 * axes:
        raise ReadError(path, f"byte {4 + len(lengths)}", f"the file ends in the {axes} lengths")
    shape = struct.unpack(f">{axes}I", lengths)
    if 0 in shape:
        raise ReadError(path, f"byte {4 + 4 * shape.index(0)}", "length 0, expected at least 1")
    return shape, np.dtype(_TYPES[magic[2]])


def _exactly(path: str | os.PathLike[str], file: BinaryIO, wanted: int, header: int) -> bytearray:
    """Read `wanted` bytes, and see that no more follow (which also checks gzip's checksum)."""
    data = bytearray()
    while len(data) < wanted:
        chunk = file.read(min(_CHUNK, wanted - len(data)))
        if not chunk:
            problem = f"the file ends, expected {wanted - len(data):,} more bytes"
            raise ReadError(path, f"byte {header + len(data)}", problem)
        data += chunk
    if file.read(1):
        problem = "more bytes follow, expected the end of the file"
        raise ReadError(path, f"byte {header + wanted}", problem)
    return data


def _product(shape: tuple[int, ...], dtype: np.dtype[np.generic]) -> str:
    """Write a size as the product that it comes from."""
    return f"{' x '.join(map(str, (*shape, dtype.itemsize)))}"
