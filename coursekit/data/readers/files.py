"""What the readers share: the error that they raise, and reading that no file can make run away.

A reader takes files from anywhere. It checks what a header promises against the size of the file
before it makes room for it, reads text in lines of bounded length, and says where it stopped.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from coursekit.errors import UserError

MAX_LINE = 1 << 20
"""Bytes in the longest line of text; a line of word vectors has some thousands."""
MAX_MESSAGE = 300


class ReadError(UserError, ValueError):
    """A file does not hold what its format asks for.

    Args:
        path: The file.
        place: Where in it: a byte, a line, or the path of an element.
        problem: What stands there and what was expected.

    >>> print(ReadError("t.idx", "byte 2", "type 0x07, expected one of 0x08, 0x09"))
    t.idx, byte 2: type 0x07, expected one of 0x08, 0x09
    """

    def __init__(self, path: str | os.PathLike[str], place: str, problem: str):
        if len(problem) > MAX_MESSAGE:  # a parser may quote what stands in the file
            problem = problem[: MAX_MESSAGE - 3] + "..."
        super().__init__(f"{os.fspath(path)}, {place}: {problem}")
        self.path = Path(path)
        self.place = place
        self.problem = problem

    def __reduce__(self) -> tuple[type[ReadError], tuple[Path, str, str]]:
        return type(self), (self.path, self.place, self.problem)


def file_size(path: str | os.PathLike[str]) -> int:
    """Say how many bytes a file has.

    Args:
        path: A regular file; a pipe or a device could deliver without end.

    Returns:
        Its size in bytes, at least 1.

    Raises:
        ReadError: There is no such regular file, or it is empty.
    """
    try:
        size = os.stat(path).st_size
    except (OSError, ValueError) as error:  # ValueError: the name holds a NUL
        raise ReadError(path, "byte 0", f"cannot be opened ({error})") from error
    if not os.path.isfile(path):
        raise ReadError(path, "byte 0", "is no regular file; expected one")
    if not size:
        raise ReadError(path, "byte 0", "the file is empty")
    return size


def read_whole(path: str | os.PathLike[str], max_bytes: int) -> bytes:
    """Read a file whose size is bounded.

    Args:
        path: A regular file.
        max_bytes: The largest size to accept.

    Returns:
        Its bytes.

    Raises:
        ReadError: The file is missing, empty, larger, or cannot be read.
    """
    size = file_size(path)
    if size > max_bytes:
        problem = f"the file has {size:,} bytes, expected at most max_bytes = {max_bytes:,}"
        raise ReadError(path, f"byte {max_bytes}", problem)
    try:
        with open(path, "rb") as file:
            return file.read(size)
    except OSError as error:
        raise ReadError(path, "byte 0", f"cannot be read ({error})") from error


def text_lines(path: str | os.PathLike[str], max_line: int = MAX_LINE) -> Iterator[tuple[int, str]]:
    r"""Read a UTF-8 text line by line.

    Lines end in "\n" or "\r\n", the last one too: a file that ends within a line was cut off.

    Args:
        path: A regular file.
        max_line: Bytes in the longest line to accept, its end included.

    Yields:
        The number of the line, from 1, and its text without the end.

    Raises:
        ReadError: The file is missing or empty; a line is too long, is not UTF-8, holds a NUL or a
            carriage return, or has no end.
    """
    file_size(path)
    try:
        with open(path, "rb") as file:
            number = 0
            while line := file.readline(max_line):
                number += 1
                yield number, _text_of(path, number, line, max_line)
    except OSError as error:
        raise ReadError(path, "byte 0", f"cannot be read ({error})") from error


def _text_of(path: str | os.PathLike[str], number: int, line: bytes, max_line: int) -> str:
    place = f"line {number}"
    if not line.endswith(b"\n"):
        if len(line) == max_line:
            raise ReadError(path, place, f"the line has {max_line:,} bytes or more")
        raise ReadError(path, place, "the file ends within a line; expected a newline at its end")
    line = line[:-2] if line.endswith(b"\r\n") else line[:-1]
    for byte, name in ((b"\0", "NUL"), (b"\r", "carriage return")):
        if byte in line:
            problem = f"a {name} within the line; expected text with lines that end in \\n"
            raise ReadError(path, f"{place}, byte {line.index(byte)}", problem)
    try:
        return line.decode()
    except UnicodeDecodeError as error:
        problem = f"{line[error.start : error.start + 1]!r} is not UTF-8 ({error.reason})"
        raise ReadError(path, f"{place}, byte {error.start}", problem) from error


def shown(value: object, longest: int = 60) -> str:
    """Write a value that came from a file, shortened, for a message.

    Args:
        value: Anything.
        longest: Characters after which it is cut.

    Returns:
        Its `repr` in one line.

    >>> shown("a" * 100, longest=10)
    "'aaaaaa..."
    """
    if isinstance(value, str | bytes):
        value = value[: longest + 1]
    elif isinstance(value, int) and value.bit_length() > 200:
        return f"an integer of {value.bit_length()} bits"
    elif isinstance(value, list | dict):
        return f"{type(value).__name__} of {len(value)}"
    text = repr(value)
    return text if len(text) <= longest else text[: longest - 3] + "..."


def check_file_name(
    path: str | os.PathLike[str], place: str, name: str, folders: bool = False
) -> str:
    """Refuse the name of an image that leads out of the folder of images.

    Args:
        path: The file that holds the name.
        place: Where in it.
        name: The name.
        folders: Whether it may stand in a folder: "train/1.jpg".

    Returns:
        The name as it is.

    Raises:
        ReadError: It is empty or absolute, holds "..", a backslash, a colon or a control
            character, or a slash though `folders` is false.
    """
    parts = name.split("/")
    unsafe = any(part in ("", ".", "..") for part in parts) or (len(parts) > 1 and not folders)
    if unsafe or any(c in '\\:"<>|?*' or c < " " or c == "\x7f" for c in name):
        kind = "relative path that stays in its folder" if folders else "file name without a folder"
        raise ReadError(path, place, f"file name {shown(name)}, expected a {kind}")
    return name
