"""Keep grades in one SQLite file, so that a batch that is killed goes on where it stopped.

A grade that was saved is on the disk: every grade is one transaction in write-ahead mode with
``synchronous=FULL``, which costs one fsync each and is little beside grading. The file is made
under another name and then put into place, so that it is there whole or not at all. One process at
a time has a store open; the folder should lie on a disk of its own machine.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sqlite3
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

import coursekit
from coursekit.errors import UserError
from coursekit.grading.official.results import FAILED, Grade, Job, grade_from

APPLICATION = 0x434B4752  # "CKGR", in the header of the file
VERSION = 1
MAGIC = b"SQLite format 3\0"
SCHEMA = f"""
PRAGMA application_id = {APPLICATION};
PRAGMA user_version = {VERSION};
CREATE TABLE grades (
    learner TEXT NOT NULL,
    file TEXT NOT NULL,
    exercise TEXT NOT NULL,
    status TEXT NOT NULL,
    sha256 TEXT NOT NULL,
    key TEXT NOT NULL,
    grade TEXT NOT NULL,
    PRIMARY KEY (learner, file)
) WITHOUT ROWID;
"""
COLUMNS = "learner, file, exercise, status, sha256, key"
LIBRARIES = ("torch", "torchvision", "numpy")

Place = tuple[str, str]  # learner and file: whose grade it is


class Store:
    """The grades of one folder of results; a context manager.

    Args:
        folder: Where ``grades.db`` lies, made if it is missing.

    Raises:
        UserError: When the folder cannot be written, another process has it open, or the file is
            damaged, newer, or no store of grades.
    """

    def __init__(self, folder: Path):
        self.path = folder / "grades.db"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._lock = FileLock(folder / "lock", timeout=0)
            self._lock.acquire()
        except Timeout as error:
            raise UserError(
                f"another coursekit grade writes to {folder}: wait until it has ended, or give "
                "another --out"
            ) from error
        except OSError as error:
            raise UserError(
                f"{folder} cannot be written ({error.strerror}): give another --out"
            ) from error
        try:
            self._connection = self._open()
        except BaseException:
            self._lock.release()
            raise

    def _open(self) -> sqlite3.Connection:
        with self._faults():
            if not os.path.lexists(self.path):
                create(self.path)
            self._recognize()
            connection = sqlite3.connect(self.path, isolation_level=None)
            try:
                (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
                if verdict != "ok":
                    raise sqlite3.DatabaseError(verdict.splitlines()[-1])
                connection.execute(f"SELECT {COLUMNS}, grade FROM grades LIMIT 1").fetchone()
                connection.execute("PRAGMA journal_mode = WAL")
                connection.execute("PRAGMA synchronous = FULL")
            except BaseException:
                connection.close()
                raise
        return connection

    def _recognize(self) -> None:
        """Refuse a file that is not ours before SQLite touches it."""
        with open(self.path, "rb") as file:
            head = file.read(100)
        ours = int.from_bytes(head[68:72], "big") == APPLICATION
        if head[:16] != MAGIC or len(head) < 100 or not ours:
            raise UserError(
                f"{self.path} is no store of coursekit's grades: move it away, or give another "
                "--out"
            )
        version = int.from_bytes(head[60:64], "big")
        if version != VERSION:
            raise UserError(
                f"{self.path} was written by another version of coursekit (format {version}, this "
                f"one has {VERSION}): give another --out"
            )

    @contextlib.contextmanager
    def _faults(self) -> Iterator[None]:
        """Turn what SQLite and the disk complain about into one line."""
        try:
            yield
        except sqlite3.OperationalError as error:
            raise UserError(
                f"{self.path} cannot be written ({error}): make room and permission, then run the "
                "same command again"
            ) from error
        except sqlite3.DatabaseError as error:
            raise UserError(
                f"{self.path} is damaged ({error}): restore it from a backup, or move it away and "
                "grade anew"
            ) from error
        except OSError as error:
            raise UserError(
                f"{self.path} cannot be opened ({error.strerror}): give another --out"
            ) from error

    def save(self, grade: Grade, key: str = "") -> None:
        """Put a grade on the disk in place of an earlier one of the same learner and file.

        Args:
            grade: The grade.
            key: What it rests upon; see :func:`key_of`.

        Raises:
            UserError: When the disk is full or the like; the earlier grade is kept then.
        """
        text = json.dumps(asdict(grade), allow_nan=False)
        row = (grade.learner, grade.file, grade.exercise, grade.status, grade.sha256, key, text)
        with self._faults():
            self._connection.execute("INSERT OR REPLACE INTO grades VALUES (?,?,?,?,?,?,?)", row)

    def done(self, job: Job, key: str = "") -> bool:
        """Say whether a job was graded as it is now; where grading failed it was not."""
        with self._faults():
            row = self._connection.execute(
                "SELECT status, sha256, key FROM grades WHERE learner = ? AND file = ?",
                (job.learner, job.file),
            ).fetchone()
        return row is not None and row[0] != FAILED and row[1:] == (job.sha256, key)

    def places(self) -> list[tuple[str, str, str]]:
        """Return (learner, exercise, file) of every grade, sorted."""
        with self._faults():
            return sorted(self._connection.execute("SELECT learner, exercise, file FROM grades"))

    def grade(self, learner: str, file: str) -> Grade:
        """Return one grade.

        Raises:
            KeyError: When there is none.
        """
        with self._faults():
            row = self._connection.execute(
                "SELECT grade FROM grades WHERE learner = ? AND file = ?", (learner, file)
            ).fetchone()
        if row is None:
            raise KeyError((learner, file))
        return grade_from(json.loads(row[0]))

    def grades(self) -> list[Grade]:
        """Return all grades, sorted by learner, exercise and file."""
        return [self.grade(learner, file) for learner, _, file in self.places()]

    def close(self) -> None:
        """Close the file and let others have it."""
        self._connection.close()
        self._lock.release()

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Grades(Sequence[Grade]):
    """Grades that are read when they are asked for, so that ten thousand need no memory.

    Args:
        store: Where they are.
        places: Learner and file of each, in order.
        change: What is done to each grade when it is read.
    """

    def __init__(
        self, store: Store, places: Sequence[Place], change: Callable[[Grade], Grade] | None = None
    ):
        self._store, self._places, self._change = store, places, change

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, index: Any) -> Any:
        """Return a grade, or a part of the sequence for a slice."""
        if isinstance(index, slice):
            return Grades(self._store, self._places[index], self._change)
        grade = self._store.grade(*self._places[index])
        return self._change(grade) if self._change else grade


def create(path: Path) -> None:
    """Write an empty store, whole or not at all."""
    scratch = path.with_name(".grades.db.new")
    scratch.unlink(missing_ok=True)
    connection = sqlite3.connect(scratch)
    try:
        connection.executescript(f"BEGIN; {SCHEMA} COMMIT;")
    finally:
        connection.close()
    os.replace(scratch, path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def key_of(solutions: Collection[bytes], seconds: float, unsafe: bool) -> str:
    """Return what a grade rests upon besides the notebook: solution, limits and software.

    Args:
        solutions: The instructor's notebooks that may have been used: one, or all.
        seconds: The time limit.
        unsafe: Whether it was graded although a protection was missing.

    Returns:
        64 hexadecimal digits.
    """
    digests = sorted(hashlib.sha256(text).hexdigest() for text in solutions)
    facts = [digests, float(seconds), unsafe, software()]
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


@cache
def software() -> Mapping[str, str]:
    """Return the versions of what grades: coursekit's and a hash of its grader, and libraries'."""
    root = Path(coursekit.__file__).parent
    digest = hashlib.sha256()
    for path in sorted([*(root / "grading").rglob("*.py"), *(root / "grading").rglob("*.json")]):
        name = path.relative_to(root).as_posix()
        digest.update(f"{name}\0".encode() + hashlib.sha256(path.read_bytes()).digest())
    found = {"coursekit": coursekit.__version__, "grader": digest.hexdigest()}
    return found | {name: _version(name) for name in LIBRARIES}


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""
