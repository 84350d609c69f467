"""Fetching files over HTTP so that nothing half fetched is ever taken for the whole.

A file grows under another name, is compared with its published checksum and then renamed. What an
interrupted download has left is continued by the next one; a file with another checksum is fetched
anew. (The usual helpers, ``torch.hub``, torchvision and pooch, begin again from the first byte.)
"""

from __future__ import annotations

import errno
import hashlib
import http.client
import os
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import BinaryIO, Literal

from filelock import FileLock
from tqdm import tqdm

from coursekit.errors import UserError

CHUNK = 1 << 18  # bytes
TIMEOUT = 30.0  # seconds without a byte
TRIES = 3  # without progress
LOCAL = (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS, errno.EFBIG)  # not the network


class DownloadError(UserError, OSError):
    """A file could not be fetched; the message says why, and what was kept."""


def fetch(
    url: str, path: Path, *, sha256: str | None = None, md5: str | None = None, title: str = ""
) -> Path:
    """Fetch a file unless it is here already.

    Two processes may ask for the same file: one fetches it, the other waits.

    Args:
        url: An address that begins with ``http://`` or ``https://``.
        path: Where the file goes; its folder is made. What has come so far stands beside it, with
            ".part" added to the name.
        sha256: The published checksum; the file that is here already is compared with it as well.
        md5: The same, for publishers that give no other.
        title: What the bar of progress shows; the file's name by default.

    Returns:
        The path.

    Raises:
        ValueError: There is no checksum or the address has another scheme.
        DownloadError: The file could not be fetched, or has another checksum.
    """
    if not url.startswith(("http://", "https://")):
        raise ValueError(f"url must begin with http:// or https://, got {url!r}")
    if sha256 is None and md5 is None:
        raise ValueError("fetch needs sha256 or md5, to know when the file is whole")
    kind: Literal["sha256", "md5"] = "md5" if sha256 is None else "sha256"
    expected = sha256 or md5
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_name(path.name + ".lock")):
            if path.is_file() and _checksum(path, kind) == expected:
                return path
            part = path.with_name(path.name + ".part")
            _complete(url, part, title or path.name)
            if _checksum(part, kind) != expected:
                part.unlink()  # a remainder of another file, perhaps: once more, from its beginning
                _complete(url, part, title or path.name)
            if _checksum(part, kind) != expected:
                part.unlink()
                raise DownloadError(
                    f"{url} has not the published {kind} {expected}: it was changed on its way or "
                    "at its place; try another network, or look for a newer release of the course"
                )
            os.replace(part, path)
    except PermissionError as error:
        raise DownloadError(
            f"{path.parent} cannot be written ({error.strerror}); set COURSEKIT_CACHE to a folder "
            "of yours"
        ) from error
    return path


def _checksum(path: Path, kind: str) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, kind).hexdigest()


def _complete(url: str, part: Path, title: str) -> None:
    """Append to a partial file until the server says that it is whole."""
    tries = 0
    while True:
        before = part.stat().st_size if part.is_file() else 0
        try:
            with part.open("ab") as file:
                _append(url, file, title)
                file.flush()
                os.fsync(file.fileno())
            return
        except (OSError, http.client.HTTPException) as error:
            kept = part.stat().st_size
            tries = 0 if kept > before else tries + 1
            refused = isinstance(error, urllib.error.HTTPError)
            if refused or tries == TRIES or _is_local(error):
                raise DownloadError(_explain(url, part, error)) from error


def _append(url: str, file: BinaryIO, title: str) -> None:
    """Fetch what a partial file lacks; where the server cannot continue, fetch it all."""
    start = file.seek(0, os.SEEK_END)
    request = urllib.request.Request(url, headers={"User-Agent": "coursekit"})
    if start:
        request.add_header("Range", f"bytes={start}-")
    try:
        answer = urllib.request.urlopen(request, timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        if start and error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            return  # nothing is lacking; the checksum tells whether it is the right file
        raise
    with answer:
        if start and answer.status != http.HTTPStatus.PARTIAL_CONTENT:
            start = file.truncate(0)
        length = answer.headers.get("Content-Length")
        total = start + int(length) if length else None
        quiet = os.environ.get("COURSEKIT_PROGRESS") == "0"
        with tqdm(
            desc=title,
            initial=start,
            total=total,
            unit="B",
            unit_scale=True,
            disable=quiet,
            file=sys.stderr,
        ) as bar:
            while chunk := answer.read(CHUNK):
                file.write(chunk)
                bar.update(len(chunk))
        if total is not None and file.tell() < total:
            raise http.client.IncompleteRead(b"", total - file.tell())


def _is_local(error: Exception) -> bool:
    """Whether the error is this machine's own: a full disk, say."""
    return isinstance(error, OSError) and error.errno in LOCAL


def _explain(url: str, part: Path, error: Exception) -> str:
    reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or error
    reason = str(reason).splitlines()[0] if str(reason) else type(error).__name__
    if isinstance(error, urllib.error.HTTPError):
        reason = f"the server answered {error.code} {reason}"
    if part.stat().st_size == 0:
        part.unlink()
        return f"{url} could not be fetched ({reason})"
    kept = part.stat().st_size
    return (
        f"{url} could not be fetched to its end ({reason}); {kept:,} bytes are kept in {part}: "
        "the same command goes on from there"
    )
