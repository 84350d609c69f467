"""The trusted process of official grading: it holds solutions and hidden tests, one a job.

For each submission it forks a marker (:mod:`coursekit.grading.official.marker`), which cannot spoil
anything for the next one, and takes a grade from it. For each exercise it keeps a zygote, which
never sees what stands here.
"""

from __future__ import annotations

import gc
import json
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from coursekit.errors import UserError
from coursekit.grading import check
from coursekit.grading.lean import nbformat
from coursekit.grading.notebook import NAME, Exercise, exercise_from, read_exercise
from coursekit.grading.official import marker
from coursekit.grading.official.grader import failed, receive, refused, send
from coursekit.grading.official.marker import Desk, Needs, run_cell
from coursekit.grading.official.remote import Proxy
from coursekit.grading.official.results import Job
from coursekit.grading.official.sheet import Part, Sheet, make_sheet
from coursekit.grading.session import Session
from coursekit.kernels import hugepages
from coursekit.kernels.forkserver import Forked, ForkServer

READY_SECONDS = 300.0
END_SECONDS = 30.0
AT_ONCE = 500  # names of modules in one message


def serve(argument: dict[str, Any], fds: Sequence[int]) -> None:
    """Grade what comes until the other end is closed; called in a child of the fork server.

    Args:
        argument: `address` of the fork server; `memory`, bytes, and `seconds` that a learner's
            cell or call may take; `without`, names of protections that are left out.
        fds: One: the socket to the grader.
    """
    with socket.socket(fileno=fds[0]) as grader:
        solutions = receive(grader)
        if solutions is not None:
            _Examiner(grader, solutions, argument).run()


@dataclass
class _Room:
    """What is kept for one exercise."""

    desk: Desk
    zygote: Forked


class _Examiner:
    def __init__(self, grader: socket.socket, solutions: Any, argument: dict[str, Any]):
        self.grader, self.solutions, self.argument = grader, solutions, argument
        self.seconds: float = argument["seconds"]
        self.server = ForkServer.connect(argument["address"])
        self.rooms: dict[str, _Room] = {}
        self.modules = set(sys.modules)

    def run(self) -> None:
        """Answer each job by a grade."""
        try:
            while (job := receive(self.grader)) is not None:
                start = time.monotonic()
                content = job["content"]
                job["content"] = None if content is None else bytes.fromhex(content)
                grade = self.examine(Job(**job))
                grade["seconds"] = round(time.monotonic() - start, 4)
                send(self.grader, grade)
        finally:
            for name in list(self.rooms):
                self.close(name)

    def examine(self, job: Job) -> dict[str, Any]:
        """Grade one submission; when its exercise is not ready, prepare it first."""
        if job.reason:
            return vars(refused(job, job.reason, points=self.points(job.exercise)))
        grade = self.marked(job)
        while isinstance(grade, Needs):
            try:
                self.open(grade.exercise)
            except (UserError, OSError) as error:
                reason = f"exercise {grade.exercise} cannot be prepared: {error}"
                return vars(failed(job, reason, grade.exercise))
            grade = self.marked(job)
        return grade

    def points(self, name: str) -> float:
        """Return what an exercise is worth, 0 for none."""
        if name not in self.rooms:
            try:
                return make_sheet(self.read(name)).points
            except UserError:
                return 0.0
        return self.rooms[name].desk.sheet.points

    def read(self, name: str) -> Exercise:
        """Read a solution.

        Raises:
            UserError: When there is none of that name, or it does not keep the layout.
        """
        if not NAME.fullmatch(name):
            raise UserError(f"no exercise is called {name!r}")
        if isinstance(self.solutions, dict):
            if name not in self.solutions:
                raise UserError(f"no exercise is called {name}")
            return exercise_from(nbformat.reads(self.solutions[name], 4), name)
        path = Path(self.solutions) / f"{name}.ipynb"
        if not path.is_file():
            raise UserError(f"no exercise is called {name}")
        return read_exercise(path)

    def known(self, name: str) -> bool:
        """Whether there is an exercise of that name."""
        if not NAME.fullmatch(name):
            return False
        if isinstance(self.solutions, dict):
            return name in self.solutions
        return (Path(self.solutions) / f"{name}.ipynb").is_file()

    def open(self, name: str) -> None:
        """Prepare an exercise: run its setup here, and start its zygote.

        Raises:
            UserError: When a setup cell does not run.
        """
        sheet = make_sheet(self.read(name))
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        argument = {
            "cells": [[part.id, part.source] for part in sheet.setup],
            "memory": self.argument["memory"],
            "seconds": int(marker.total_seconds(self.seconds)) + 10,
            "scratch": str(Path(self.argument["address"]).parent),
            "without": self.argument["without"],
        }
        with theirs:
            zygote = self.server.fork(
                "coursekit.grading.official.zygote:serve", argument, fds=[theirs.fileno()]
            )
        try:
            namespace = self.set_up(sheet)
            reply = _reply(ours, READY_SECONDS)
            if not reply.get("ready"):
                raise UserError(reply.get("reason", "its zygote ended"))
            self.settle(ours)
        except BaseException:
            ours.close()
            zygote.kill()
            raise
        self.rooms[name] = _Room(Desk(sheet, namespace, check.session, ours), zygote)

    def settle(self, control: socket.socket) -> None:
        """Have a zygote import what the rehearsal has imported here, and get ready to fork."""
        modules = [name for name in list(sys.modules) if name not in self.modules]
        parts = [modules[i : i + AT_ONCE] for i in range(0, len(modules), AT_ONCE)]
        for request in (*({"do": "import", "modules": part} for part in parts), {"do": "settle"}):
            control.send(json.dumps(request).encode())
            if not _reply(control, READY_SECONDS).get("done"):
                raise UserError("its zygote ended")

    def set_up(self, sheet: Sheet) -> dict[str, Any]:
        """Run the setup cells on the trusted side; learners' names become proxies."""
        namespace: dict[str, Any] = {"__name__": "__main__", "check": check}
        check.reset()
        for part in sheet.setup:
            if sheet.on_trusted_side(part):
                _run(part, namespace)
        self.rehearse(sheet, dict(namespace))
        gc.collect()
        gc.freeze()
        hugepages.collapse()
        return namespace | {name: Proxy(name, sheet.inputs.get(name, ())) for name in sheet.names}

    def rehearse(self, sheet: Sheet, namespace: dict[str, Any]) -> None:
        """Have the solution earn all points here, once.

        An exercise whose solution does not is not fit to be graded. What its checks import and
        what torch does on first use is then done for every marker.
        """
        session, check.session = check.session, Session()
        check.session.show = lambda message: None
        try:
            for part in sheet.parts:
                _run(replace(part, source=sheet.solution(part)), namespace)
            earned = sum(result.earned for result in check.session.results)
        finally:
            check.session = session
        if earned != sheet.points:
            raise UserError(f"its solution earns {earned:g} of {sheet.points:g} points")

    def close(self, name: str) -> None:
        """End an exercise's zygote."""
        room = self.rooms.pop(name)
        room.desk.control.close()
        if not room.zygote.wait(END_SECONDS):
            room.zygote.kill()
        room.zygote.close()

    def marked(self, job: Job) -> dict[str, Any] | Needs:
        """Fork a marker and wait for what it says, but not for ever."""
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reading)
            desks = {name: room.desk for name, room in self.rooms.items()}
            marker.become(writing, job, desks, self.known, self.seconds)
        os.close(writing)
        seconds = marker.total_seconds(self.seconds) + END_SECONDS
        try:
            data = self.listen(reading, seconds)
        finally:
            os.close(reading)
            os.kill(child, signal.SIGKILL)
            _, status = os.waitpid(child, 0)
        for name in list(self.rooms):
            self.clear(name)
        if data is None:
            return vars(refused(job, f"it could not be marked within {seconds:g} s",
                                points=self.points(job.exercise)))  # fmt: skip
        if not data:
            code = os.waitstatus_to_exitcode(status)
            return vars(failed(job, f"its marker ended without a word (code {code})"))
        said = json.loads(data)
        return Needs(said["needs"]) if "needs" in said else said

    def listen(self, reading: int, seconds: float) -> bytes | None:
        """Read what the marker writes; None when it is late."""
        data, deadline = bytearray(), time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            ready, _, _ = select.select([reading, self.grader.fileno()], [], [], left)
            if self.grader.fileno() in ready and not self.grader.recv(1, socket.MSG_PEEK):
                raise SystemExit  # nobody waits for the grade any more
            if reading in ready:
                piece = os.read(reading, 1 << 20)
                if not piece:
                    return bytes(data)
                data += piece
        return None

    def clear(self, name: str) -> None:
        """Have the zygote end its learners' processes; one that does not answer is replaced."""
        control = self.rooms[name].desk.control
        try:
            control.send(json.dumps({"do": "end"}).encode())
            if not _reply(control, END_SECONDS).get("done"):
                self.close(name)
        except OSError:
            self.close(name)


def _run(part: Part, namespace: dict[str, Any]) -> None:
    try:
        run_cell(part, namespace)
    except Exception as error:
        raise UserError(f"cell {part.id}: {type(error).__name__}: {error}") from error


def _reply(control: socket.socket, seconds: float) -> dict[str, Any]:
    """Receive one message of a zygote; empty when none comes."""
    if not select.select([control], [], [], seconds)[0]:
        return {}
    data = control.recv(1 << 16)
    return dict(json.loads(data)) if data else {}
