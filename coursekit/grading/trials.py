"""Run cells of an exercise in a plain namespace, and try out other answers in copies of it.

:func:`in_worker` starts a fresh interpreter with one thread, so that nothing of the caller leaks
into a proof. In there a :class:`Bench` executes cells in order; :meth:`Bench.try_out` forks, so
that a trial starts from the state reached so far in milliseconds and leaves no trace. Where forking
is not safe (anywhere but Linux) a trial repeats the earlier cells in an interpreter of its own.
"""

from __future__ import annotations

import ast
import builtins
import contextlib
import importlib
import io
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

CAN_FORK = sys.platform == "linux"
ENVIRONMENT = {
    "COURSEKIT_PROGRESS": "0",
    "MKL_NUM_THREADS": "1",
    "MPLBACKEND": "Agg",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "PYTHONHASHSEED": "0",
}
TIME_LIMIT, DIED = "TimeLimit", "Died"

_running: set[subprocess.Popen] = set()


@dataclass(frozen=True)
class Step:
    """A cell to run: its id, and the text to run under it."""

    id: str
    source: str


@dataclass
class Outcome:
    """What running one cell led to.

    Attributes:
        id: The cell.
        error: The name of an exception's type, "TimeLimit" or "Died"; empty when all went well.
        text: The exception's message.
        value: The number that the cell ends in, if it ends in one.
        results: What ``check.points()`` recorded, as mappings.
        observed: ``[hidden, call, case, encoded output]`` for each call of a learner's function.
        stderr: What was written to standard error.
    """

    id: str
    error: str = ""
    text: str = ""
    value: float | None = None
    results: list[dict[str, Any]] = field(default_factory=list)
    observed: list[tuple[bool, int, int, Any]] = field(default_factory=list)
    stderr: str = ""


class Bench:
    """A namespace in which the cells of one exercise run one after the other."""

    def __init__(self) -> None:
        self.namespace: dict[str, Any] = {"__name__": "__main__", "__builtins__": builtins}
        self.history: list[Step] = []

    def run(self, steps: list[Step]) -> list[Outcome]:
        """Execute cells here; an error ends its own cell, not the others."""
        self.history += steps
        return [self._execute(step) for step in steps]

    def _execute(self, step: Step) -> Outcome:
        from coursekit.grading import check

        outcome = Outcome(step.id)
        errors = io.StringIO()
        before = list(map(id, check.session.results))

        def observe(task: str, hidden: bool, call: int, case: int, encoded: dict) -> None:
            outcome.observed.append((hidden, call, case, encoded))

        check.session.observer = observe
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(errors):
            try:
                value = _execute_cell(step, self.namespace)
            except BaseException as error:
                outcome.error, outcome.text = type(error).__name__, str(error)
            else:
                is_number = isinstance(value, int | float) and not isinstance(value, bool)
                outcome.value = float(value) if is_number else None
        outcome.stderr = errors.getvalue()[:2000]
        outcome.results = [asdict(r) for r in check.session.results if id(r) not in before]
        return outcome

    def try_out(
        self, steps: list[Step], seconds: float, known: dict | None = None
    ) -> list[Outcome]:
        """Execute cells in a copy of this namespace.

        Args:
            steps: The cells.
            seconds: How long all of them may take together.
            known: Known mistakes that checks shall name.

        Returns:
            One outcome for each cell; the cell that died or was cut short says so and is the last.
        """
        try:
            if not CAN_FORK:
                argument = {
                    "history": [asdict(step) for step in self.history],
                    "steps": [asdict(step) for step in steps],
                    "known": known,
                }
                return [Outcome(**x) for x in in_worker(replay, argument, Path.cwd(), seconds * 2)]
            return self._forked(steps, seconds, known)
        except WorkerFailed as error:
            return [Outcome(steps[0].id, error.kind, str(error))]

    def _forked(self, steps: list[Step], seconds: float, known: dict | None) -> list[Outcome]:
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reading)
            try:
                with os.fdopen(writing, "wb") as pipe:
                    self._report(steps, known, pipe)
            finally:
                os._exit(0)
        os.close(writing)
        lines, ended = _read_until(reading, time.monotonic() + seconds)
        if not ended:
            os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        outcomes = [Outcome(**json.loads(line)) for line in lines]
        if len(outcomes) < len(steps):
            kind = DIED if ended else TIME_LIMIT
            text = "the process ended" if ended else f"it took longer than {seconds:g} s"
            outcomes.append(Outcome(steps[len(outcomes)].id, kind, text))
        return outcomes

    def _report(self, steps: list[Step], known: dict | None, pipe: io.BufferedWriter) -> None:
        from coursekit.grading import check

        if known is not None:
            check.session.known = known
        for step in steps:
            pipe.write(json.dumps(asdict(self._execute(step))).encode() + b"\n")
            pipe.flush()


def _execute_cell(step: Step, namespace: dict[str, Any]) -> Any:
    """Run a cell's text as Jupyter would and return the value of its last expression."""
    tree = ast.parse(step.source, step.id)
    last = tree.body[-1] if tree.body else None
    if not isinstance(last, ast.Expr):
        exec(compile(tree, step.id, "exec"), namespace)
        return None
    tree.body.pop()
    exec(compile(tree, step.id, "exec"), namespace)
    return eval(compile(ast.Expression(last.value), step.id, "eval"), namespace)


def _read_until(reading: int, deadline: float) -> tuple[list[bytes], bool]:
    """Read whole lines until the other end closes; returns them and whether it did in time."""
    data = bytearray()
    try:
        while True:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([reading], [], [], left)[0]:
                return bytes(data).split(b"\n")[:-1], False
            chunk = os.read(reading, 1 << 16)
            if not chunk:
                return bytes(data).split(b"\n")[:-1], True
            data += chunk
    finally:
        os.close(reading)


class WorkerFailed(Exception):
    """A worker that ended without an answer; ``kind`` is "Died" or "TimeLimit"."""

    def __init__(self, kind: str, text: str):
        self.kind = kind
        super().__init__(text)


def in_worker(function: Callable[[Any], Any], argument: Any, folder: Path, seconds: float) -> Any:
    """Call a module's function in a fresh interpreter.

    Args:
        function: A public function of a module; takes and returns what JSON can hold.
        argument: What to call it with.
        folder: The working directory.
        seconds: How long it may take.

    Raises:
        WorkerFailed: When it dies or takes longer; the text says why.
    """
    with tempfile.TemporaryDirectory() as scratch:
        asked, answered = Path(scratch, "asked.json"), Path(scratch, "answered.json")
        asked.write_text(json.dumps(argument), encoding="utf-8")
        place = f"{function.__module__}:{function.__name__}"
        program = "from coursekit.grading.trials import answer; answer()"
        process = subprocess.Popen(
            [sys.executable, "-c", program, place, str(asked), str(answered)],
            cwd=folder,
            env={**os.environ, **ENVIRONMENT},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=CAN_FORK,
        )
        _running.add(process)
        try:
            _, errors = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired as error:
            raise WorkerFailed(TIME_LIMIT, f"it took longer than {seconds:g} s") from error
        finally:
            _running.discard(process)
            _end(process)
        if process.returncode or not answered.is_file():
            lines = errors.decode(errors="replace").strip().splitlines() or ["no message"]
            raise WorkerFailed(DIED, f"it ended with code {process.returncode}: {lines[-1]}")
        return json.loads(answered.read_text(encoding="utf-8"))


def end_workers() -> None:
    """End every worker that runs, for a caller that was interrupted."""
    for process in list(_running):
        if process.poll() is None:
            _kill(process)


def _end(process: subprocess.Popen) -> None:
    if process.poll() is None:
        _kill(process)
        process.communicate()


def _kill(process: subprocess.Popen) -> None:
    """Kill a worker, with the trials that it forked."""
    if CAN_FORK:
        os.killpg(process.pid, signal.SIGKILL)
    else:
        process.kill()


def answer() -> None:
    """Do what :func:`in_worker` asks for in this interpreter."""
    place, asked, answered = sys.argv[1:]
    module, name = place.split(":")
    argument = json.loads(Path(asked).read_text(encoding="utf-8"))
    result = getattr(importlib.import_module(module), name)(argument)
    Path(answered).write_text(json.dumps(result), encoding="utf-8")


def replay(argument: dict[str, Any]) -> list[dict[str, Any]]:
    """Run earlier cells, then the cells of a trial: :meth:`Bench.try_out` without forking."""
    from coursekit.grading import check

    bench = Bench()
    bench.run([Step(**step) for step in argument["history"]])
    if argument["known"] is not None:
        check.session.known = argument["known"]
    return [asdict(outcome) for outcome in bench.run([Step(**s) for s in argument["steps"]])]
