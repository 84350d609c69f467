"""Frames of plain data over a socket, between two processes that do not trust each other.

A frame is a length of 8 bytes, a length of 4 bytes, a header in JSON and the raw numbers of all
tensors and arrays. Lengths are held against limits before memory is taken, and time is counted for
a whole frame, so that neither a flood nor a drip goes on. What the values may be, and how they are
checked, stands in `coursekit.grading.official.codec`.
"""

from __future__ import annotations

import json
import socket
import struct
import time
from collections.abc import Sequence
from typing import Any

from coursekit.grading.official.codec import (
    MOST_BYTES,
    Malformed,
    TooLarge,
    decode,
    encode,
    megabytes,
)

__all__ = [
    "MOST_BYTES",
    "MOST_HEADER",
    "Channel",
    "Closed",
    "Malformed",
    "TooLarge",
    "TooLate",
    "decode",
    "encode",
    "framed",
    "parsed",
]

MOST_HEADER = 4 << 20  # bytes; JSON takes up to 25 times as much memory when it is read

_LENGTHS = struct.Struct(">QI")
_CHUNK = 1 << 18  # bytes that memory is taken for at first


class Closed(ConnectionError):
    """The other process is gone."""


class TooLate(TimeoutError):
    """A frame was not sent or received as a whole within its time."""


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
        """Read so many bytes; memory is taken as they arrive, at most twice as much."""
        data, filled = bytearray(min(count, _CHUNK)), 0
        while filled < count:
            if filled == len(data):
                data += bytes(min(count - filled, filled))
            try:
                self._socket.settimeout(_left(deadline))
                with memoryview(data) as view:
                    arrived = self._socket.recv_into(view[filled:])
            except TimeoutError as error:
                raise TooLate("no whole frame in time") from error
            except OSError as error:
                raise Closed(str(error)) from error
            if not arrived:
                raise Closed("the other end is closed")
            filled += arrived
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
        raise TooLarge(f"it takes {megabytes(total)}, more than {most >> 20} MB")
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
