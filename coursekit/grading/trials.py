"""Run cells of an exercise in a plain namespace, and try out other answers in copies of it.

A :class:`Bench` executes cells in order; :meth:`Bench.try_out` forks, so that a trial starts from
the state reached so far in milliseconds and leaves no trace. Where forking is not safe (anywhere
but Linux) a trial repeats the earlier cells in an interpreter of its own.
"""

from __future__ import annotations

import ast
import builtins
import contextlib
import gc
import hashlib
import io
import json
import os
import random
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from coursekit.grading.workers import (
    DIED,
    ENVIRONMENT,
    TIME_LIMIT,
    WorkerFailed,
    in_worker,
    read_lines,
)

__all__ = [
    "DIED",
    "ENVIRONMENT",
    "TIME_LIMIT",
    "Bench",
    "Outcome",
    "References",
    "Step",
    "WorkerFailed",
    "begin_afresh",
    "in_worker",
]

CAN_FORK = sys.platform == "linux"


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
        verdicts: For each check and each of its cases ``[encoded output, encoded expected output
            or None, whether they differ]``.
        stderr: What was written to standard error.
    """

    id: str
    error: str = ""
    text: str = ""
    value: float | None = None
    results: list[dict[str, Any]] = field(default_factory=list)
    observed: list[tuple[bool, int, int, Any]] = field(default_factory=list)
    verdicts: list[list[tuple[Any, Any, bool]]] = field(default_factory=list)
    stderr: str = ""


class References:
    """What the references of checks return, kept so that each is computed once for all variants.

    A result belongs to the place of its check, which is the number in the cell, and to the content
    of the case. References have to be independent of the learner's answers: what one returned
    before there were any is compared with what it returns among the solution's.

    Attributes:
        recall: Whether to return what is known instead of calling references.
        unstable: (task, hidden, number of the check) where a reference has changed its mind.
    """

    def __init__(self) -> None:
        self.recall = False
        self.unstable: list[tuple[str, bool, int]] = []
        self._known: dict[tuple[str, bool, int, str], Any] = {}

    def __call__(self, reference: Callable[..., Any], case: tuple[Any, ...]) -> Any:
        """Stand in for ``coursekit.grading.judging.referred``."""
        from coursekit.grading import check, judging
        from coursekit.grading.compare import encode, same

        cell = check.session.cell
        place = (cell.task, cell.hidden, len(cell.calls))
        key = (*place, fingerprint(case))
        if self.recall and key in self._known:
            return self._known[key]
        value = judging.referred(reference, case)
        if key in self._known and not same(encode(self._known[key]), encode(value)):
            self.unstable.append(place)
        self._known[key] = value
        return value

    @contextlib.contextmanager
    def standing_in(self) -> Iterator[None]:
        """Let checks ask this object instead of calling their references."""
        from coursekit.grading import check

        before = vars(check)["referred"]
        vars(check)["referred"] = self
        try:
            yield
        finally:
            vars(check)["referred"] = before


def fingerprint(case: Any) -> str:
    """Return a digest of plain data: kinds, formats, shapes and every bit of the values."""
    from coursekit.grading.values import Array, plain

    digest = hashlib.blake2b(digest_size=16)

    def feed(value: Any) -> None:
        if isinstance(value, Array):
            head = (value.dtype, value.source, value.shape)
            digest.update(repr(head).encode())
            kind = value.values.dtype.kind
            digest.update(repr(value.values).encode() if kind == "O" else value.values.tobytes())
        elif isinstance(value, dict):
            digest.update(f"dict {len(value)}".encode())
            for key, item in value.items():
                digest.update(repr(key).encode())
                feed(item)
        elif isinstance(value, list | tuple):
            digest.update(f"list {len(value)}".encode())
            for item in value:
                feed(item)
        else:
            digest.update(repr(value).encode())

    feed(plain(case))
    return digest.hexdigest()


class Bench:
    """A namespace in which the cells of one exercise run one after the other.

    Args:
        references: Keeps what references return; None calls them each time.
    """

    def __init__(self, references: References | None = None) -> None:
        self.namespace: dict[str, Any] = {"__name__": "__main__", "__builtins__": builtins}
        self.history: list[Step] = []
        self.references = references

    def run(self, steps: list[Step]) -> list[Outcome]:
        """Execute cells here; an error ends its own cell, not the others."""
        self.history += steps
        return [self._execute(step) for step in steps]

    def _execute(self, step: Step) -> Outcome:
        from coursekit.grading import check

        outcome = Outcome(step.id)
        errors = io.StringIO()
        before = list(map(id, check.session.results))
        cell_before = check.session._cell

        def observe(task: str, hidden: bool, call: int, case: int, encoded: dict) -> None:
            outcome.observed.append((hidden, call, case, encoded))

        check.session.observer = observe
        with contextlib.ExitStack() as around:
            around.enter_context(contextlib.redirect_stdout(io.StringIO()))
            around.enter_context(contextlib.redirect_stderr(errors))
            if self.references is not None:
                around.enter_context(self.references.standing_in())
            try:
                value = _execute_cell(step, self.namespace)
            except BaseException as error:
                outcome.error, outcome.text = type(error).__name__, str(error)
            else:
                is_number = isinstance(value, int | float) and not isinstance(value, bool)
                outcome.value = float(value) if is_number else None
        outcome.stderr = errors.getvalue()[:2000]
        outcome.results = [asdict(r) for r in check.session.results if id(r) not in before]
        if check.session._cell is not cell_before:
            outcome.verdicts = [
                [(v.observed, v.expected, v.difference is not None) for v in call]
                for call in check.session.cell.calls
            ]
        return outcome

    def try_out(self, steps: list[Step], seconds: float) -> list[Outcome]:
        """Execute cells in a copy of this namespace.

        Args:
            steps: The cells.
            seconds: How long all of them may take together.

        Returns:
            One outcome for each cell; the cell that died or was cut short says so and is the last.
        """
        try:
            if not CAN_FORK:
                argument = {
                    "history": [asdict(step) for step in self.history],
                    "steps": [asdict(step) for step in steps],
                }
                return [Outcome(**x) for x in in_worker(replay, argument, Path.cwd(), seconds * 2)]
            return self._forked(steps, seconds)
        except WorkerFailed as error:
            return [Outcome(steps[0].id, error.kind, str(error))]

    def _forked(self, steps: list[Step], seconds: float) -> list[Outcome]:
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reading)
            try:
                with os.fdopen(writing, "wb") as pipe:
                    self._report(steps, pipe)
            finally:
                os._exit(0)
        os.close(writing)
        lines, ended = read_lines(reading, seconds)
        if not ended:
            os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        outcomes = [Outcome(**json.loads(line)) for line in lines]
        if len(outcomes) < len(steps):
            kind = DIED if ended else TIME_LIMIT
            text = "the process ended" if ended else f"it took longer than {seconds:g} s"
            outcomes.append(Outcome(steps[len(outcomes)].id, kind, text))
        return outcomes

    def _report(self, steps: list[Step], pipe: io.BufferedWriter) -> None:
        gc.freeze()  # a collection would touch, and so copy, all objects shared with the parent
        if self.references is not None:
            self.references.recall = True
        for step in steps:
            pipe.write(json.dumps(vars(self._execute(step))).encode() + b"\n")
            pipe.flush()


def begin_afresh() -> None:
    """Undo what running an exercise leaves behind in its process besides its names.

    That is the state of the checks, figures, random generators and the default format of torch.
    Modules stay imported.
    """
    import numpy as np
    import torch

    from coursekit.grading import check

    check.reset()
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002
    torch.manual_seed(torch.Generator().initial_seed())  # that of a fresh interpreter
    torch.set_default_dtype(torch.float32)
    torch.set_grad_enabled(True)


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


def replay(argument: dict[str, Any]) -> list[dict[str, Any]]:
    """Run earlier cells, then the cells of a trial: :meth:`Bench.try_out` without forking."""
    bench = Bench()
    bench.run([Step(**step) for step in argument["history"]])
    return [asdict(outcome) for outcome in bench.run([Step(**s) for s in argument["steps"]])]
