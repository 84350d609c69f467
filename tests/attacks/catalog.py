"""The catalog of hostile submissions: what each one tries, and what its code honestly earns.

An attack is a function of a `Kit` that returns what the attacker hands in. Its docstring says what
it tries. It leaves evidence wherever it can: `took(…)` of `PRELUDE` writes a file into a folder
that everybody may write, speaks to a listener and puts a word into the exception that ends in the
attacker's own feedback. `tell()` says that the attack was carried out and how it was refused, so
that an attack which never ran is noticed.

Everything here is bounded: should every protection fail, a run fills some gigabytes for some
seconds, signals only the grader's own processes and changes only files that the tests planted.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nbformat import NotebookNode

from coursekit.grading.notebook import grade_id, notebook_text, read_notebook

TASKS = ("softmax", "layer_norm", "box_iou", "attention")
MARKER = r"(?:HIDDEN|NEIGHBOR|PLANTED|ENVIRON)-[0-9a-f]{12}"

PRELUDE = """
import ctypes, errno, fcntl, gc, mmap, os, re, resource, signal, socket, struct, subprocess, sys
import threading, time
from pathlib import Path

import numpy as np
import torch

TAKEN, DENIED = [], []
MARKER = re.compile(rb"(?:HIDDEN|NEIGHBOR|PLANTED|ENVIRON)-[0-9a-f]{12}")
libc = ctypes.CDLL(None, use_errno=True)


class Tried(Exception):
    pass


def took(what):
    TAKEN.append(str(what)[:100])
    for leave in (leave_file, leave_word):
        try:
            leave()
        except BaseException as error:
            DENIED.append(f"{leave.__name__}: {type(error).__name__}")


def leave_file():
    with open(@@drop@@ + "/@@attack@@", "a") as file:
        file.write(TAKEN[-1])


def leave_word():
    with socket.create_connection(("127.0.0.1", @@port@@), timeout=1) as connection:
        connection.sendall(b"@@attack@@ " + TAKEN[-1].encode())


def attempt(label, function, *args):
    try:
        got = function(*args)
    except BaseException as error:
        DENIED.append(f"{label} {getattr(error, 'strerror', None) or type(error).__name__}")
        return None
    took(f"{label}: {got!r:.60}")
    return got


def search(label, data):
    data = data if isinstance(data, bytes) else str(data).encode("utf-8", "replace")
    found = sorted(set(MARKER.findall(data)))
    if found:
        took(f"{label}: {found[:3]}")
    return found


def called(number, *args):
    wide = [ctypes.c_long(a) if isinstance(a, int) else a for a in args]
    got = libc.syscall(ctypes.c_long(number), *wide)
    if got < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return got


def tell(*args, **kwargs):
    if TAKEN:
        raise Tried("TOO" "K @@attack@@: " + "; ".join(TAKEN)[:200])
    raise Tried("TRI" "ED @@attack@@: " + "; ".join(DENIED)[:200])
"""


@dataclass
class Kit:
    """What an attacker has to work with.

    Attributes:
        exercise: The released exercise.
        right: A right answer to each task.
        places: What stands for @@name@@ in an attack's code: paths and numbers.
    """

    exercise: Path
    right: dict[str, str]
    places: dict[str, Any] = field(default_factory=dict)
    attack: str = ""

    def filled(self, code: str) -> str:
        """Put paths and numbers into an attack's code."""
        code = textwrap.dedent(code).strip("\n").replace("@@attack@@", self.attack)
        for name, value in self.places.items():
            code = code.replace(f"@@{name}@@", repr(value))
        return code

    def notebook(self, **answers: str) -> NotebookNode:
        """Return the released exercise with some answers filled in."""
        notebook = read_notebook(self.exercise)
        for cell in notebook.cells:
            if grade_id(cell) in answers:
                cell.source = self.filled(answers[grade_id(cell)])
        return notebook

    def submission(self, **answers: str) -> bytes:
        """Return a notebook with these answers, as its file's bytes."""
        return written(self.notebook(**answers))

    def code(self, top: str = "", call: str = "tell()", others: str = "tell()") -> bytes:
        """Return a notebook whose every function is hostile.

        Args:
            top: Runs in the first answer cell.
            call: What the function of the first task does.
            others: What the functions of the other tasks do.
        """
        first = f"{self.filled(PRELUDE)}\n\n\n{self.filled(top)}\n\n\n{function(TASKS[0], call)}"
        return self.submission(**{TASKS[0]: first}, **{t: function(t, others) for t in TASKS[1:]})

    def lies(self, top: str, value: str) -> bytes:
        """Return a notebook whose functions return a lie; the first one says that it was tried."""
        return self.code(top, "tell()", f"return {value}")

    def one(self, call: str, top: str = "") -> bytes:
        """Return a notebook whose last function is hostile while the others are right."""
        source = f"{self.filled(PRELUDE)}\n\n\n{self.filled(top)}\n\n\n{function(TASKS[-1], call)}"
        return self.submission(**{**self.right, TASKS[-1]: source})


Handed = bytes | Callable[[Path], None]


@dataclass(frozen=True)
class Attack:
    """One hostile submission.

    Attributes:
        name: Of the attack and, unless `learner` says otherwise, of the learner.
        tries: What it tries.
        build: Returns the bytes of the notebook, or a function that puts something at its path.
        honest: The points that its code earns without any trick, of 20.
        shows: A regular expression that the words of its grade match: proof that it ran.
        learner: The name of the learner's folder.
    """

    name: str
    tries: str
    build: Callable[[Kit], Handed]
    honest: float = 0.0
    shows: str = ""
    learner: bytes = b""


ATTACKS: list[Attack] = []


def attack(
    honest: float = 0.0, shows: str | None = None, learner: bytes = b""
) -> Callable[[Callable[[Kit], Handed]], Callable[[Kit], Handed]]:
    """Enter a function into the catalog; by default its `tell()` must be heard."""

    def enter(build: Callable[[Kit], Handed]) -> Callable[[Kit], Handed]:
        name = build.__name__.strip("_").replace("_", "-")
        tries = " ".join((build.__doc__ or "").split())
        heard = f"TRIED {name}" if shows is None else shows
        ATTACKS.append(Attack(name, tries, build, honest, heard, learner or name.encode()))
        return build

    return enter


def function(name: str, body: str) -> str:
    """Return the text of a function that takes anything."""
    return f"def {name}(*args, **kwargs):\n{textwrap.indent(textwrap.dedent(body).strip(), '    ')}"


def written(notebook: NotebookNode) -> bytes:
    """Return a notebook's bytes as the course writes them."""
    return notebook_text(notebook).encode("utf-8")
