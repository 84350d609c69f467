"""What a fork server and its clients send each other: JSON with a length, and file descriptors."""

from __future__ import annotations

import array
import json
import os
import socket
import struct
from collections.abc import Sequence
from typing import Any

LENGTH = struct.Struct("!Q")
MOST_BYTES = 16 << 20
MOST_DESCRIPTORS = 250  # the kernel takes 253 in one message


class Closed(ConnectionError):
    """The other side is gone."""


def send(connection: socket.socket, message: Any, descriptors: Sequence[int] = ()) -> None:
    """Send a message.

    Args:
        connection: A connected Unix stream socket.
        message: What JSON can hold.
        descriptors: Open files of which the receiver gets copies.

    Raises:
        ValueError: Too many descriptors, or the message is longer than 16 MiB.
        OSError: The other side is gone.
    """
    if len(descriptors) > MOST_DESCRIPTORS:
        raise ValueError(
            f"descriptors: at most {MOST_DESCRIPTORS} in one message, got {len(descriptors)}"
        )
    data = json.dumps(message).encode()
    if len(data) > MOST_BYTES:
        raise ValueError(f"message: at most {MOST_BYTES} bytes of JSON, got {len(data)}")
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))]
    connection.sendmsg([LENGTH.pack(len(data))], rights if descriptors else [])
    connection.sendall(data)


def receive(connection: socket.socket) -> tuple[Any, list[int]]:
    """Receive a message within the connection's time limit.

    Args:
        connection: A connected Unix stream socket.

    Returns:
        The message, and descriptors that now belong to the caller and close on exec.

    Raises:
        Closed: The other side closed the connection before the end of a message.
        ValueError: What came is no message.
        OSError: The connection broke, or its time limit is over.
    """
    head, descriptors, _, _ = socket.recv_fds(connection, LENGTH.size, MOST_DESCRIPTORS)
    try:
        for descriptor in descriptors:
            os.set_inheritable(descriptor, False)
        head += _exactly(connection, LENGTH.size - len(head)) if head else b""
        if not head:
            raise Closed("the connection was closed")
        (size,) = LENGTH.unpack(head)
        if size > MOST_BYTES:
            raise ValueError(f"a message of {size} bytes was announced")
        return json.loads(_exactly(connection, size)), list(descriptors)
    except BaseException:
        for descriptor in descriptors:
            os.close(descriptor)
        raise


def _exactly(connection: socket.socket, size: int) -> bytes:
    parts = bytearray()
    while len(parts) < size:
        part = connection.recv(min(size - len(parts), 1 << 20))
        if not part:
            raise Closed("the connection was closed in a message")
        parts += part
    return bytes(parts)
