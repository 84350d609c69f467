"""How a check reaches a learner's code: one small object, so that the code may live elsewhere.

A backend has five methods (`Backend`). `Local` calls functions of this process, as in a
learner's own notebook. Grading in two processes puts another object with the same methods in
`check.session.backend`; there the learner's names are proxies, which only the backend can call,
and everything that crosses is plain data (see `coursekit.grading.values`).

Before each call, of the learner's function and of the reference alike, the generators of Python,
NumPy and torch are seeded with SEED; afterwards they go on as if nothing had happened.
"""

from __future__ import annotations

import inspect
import linecache
import os
import random
import re
import sysconfig
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FunctionType, TracebackType
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from coursekit.grading.values import class_names, copied, printable

SEED = 20_260


@dataclass(frozen=True)
class Failure:
    """An exception that a learner's code raised.

    Args:
        type: the name of its class.
        bases: the names of its class and of the classes above it, nearest first.
        message: its text, without memory addresses.
        function: the name of the learner's function that was running.
        line: the number of its line, counted in the cell or file.
        source: the text of that line.
    """

    type: str
    bases: tuple[str, ...] = ()
    message: str = ""
    function: str = ""
    line: int = 0
    source: str = ""

    @property
    def safe_type(self) -> str:
        """The nearest class that Python itself defines: a name that carries no data."""
        return next((name for name in self.bases if name in _BUILTIN), "Exception")


@dataclass(frozen=True)
class Outcome:
    """What came of a call.

    Args:
        value: what the function returned, not yet known to be plain data.
        arguments_after: the arguments as the function left them, if the call asked for them.
        error: the exception, if one was raised; value is then None.
        refused: why a value in another process is not plain data and was not sent; mostly empty.
    """

    value: Any = None
    arguments_after: tuple[Any, ...] = ()
    error: Failure | None = None
    refused: str = ""


class Backend(Protocol):
    """What a check needs of the process that holds the learner's names."""

    def name(self, fn: Any) -> str:
        """Return the name of the function as its author wrote it."""

    def inputs(self, fn: Any) -> Sequence[str]:
        """Return the names of its positional parameters, as far as they are known."""

    def call(self, fn: Any, args: Sequence[Any], after: bool = False) -> Outcome:
        """Call `fn` on copies of `args` after seeding.

        Args:
            fn: the learner's function.
            args: its arguments, plain data.
            after: ask for the arguments as the function left them, in place of its result.
        """

    def gradient(
        self, fn: Any, args: Sequence[Any], wrt: Sequence[int], weights: Sequence[Tensor]
    ) -> Outcome:
        """Differentiate the weighted sum of the floating tensors that `fn` returns.

        Args:
            fn: the learner's function.
            args: its arguments.
            wrt: positions of the arguments to differentiate by.
            weights: one tensor for each floating tensor of the result, in order.

        Returns:
            An Outcome whose value is a list with one gradient for each position, None where
            no gradient arrives.
        """

    def data(self, value: Any) -> Outcome:
        """Fetch a plain variable of the learner's."""


def parameters_of(fn: Callable[..., Any] | None) -> list[str]:
    """Name the positional parameters of a function, as far as Python knows them."""
    try:
        parameters = inspect.signature(fn).parameters.values() if fn is not None else []
    except (TypeError, ValueError):
        return []
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return [p.name for p in parameters if p.kind in positional]


def _plain(fn: Any) -> bool:
    return type(fn) is FunctionType


class Local:
    """The backend of a learner's own kernel: functions are called where they stand."""

    def name(self, fn: Any) -> str:
        """Return the name in the `def` or `class`, or the type of something else."""
        if _plain(fn):
            return "the function" if fn.__name__ == "<lambda>" else fn.__name__
        if issubclass(type(fn), type):
            return class_names(fn)[0]
        return "the function" if callable(fn) else f"the {type(fn).__name__}"

    def inputs(self, fn: Any) -> Sequence[str]:
        """Return the names that a plain function gives its inputs."""
        return parameters_of(fn) if _plain(fn) else ()

    def call(self, fn: Any, args: Sequence[Any], after: bool = False) -> Outcome:
        """Call `fn` on copies of `args` after seeding."""
        arguments = copied(tuple(args))
        outcome = _outcome(lambda: fn(*arguments))
        return Outcome(None, arguments, outcome.error) if after else outcome

    def gradient(
        self, fn: Any, args: Sequence[Any], wrt: Sequence[int], weights: Sequence[Tensor]
    ) -> Outcome:
        """Differentiate the weighted sum of the floating tensors that `fn` returns."""
        arguments = copied(tuple(args))
        return _outcome(lambda: weighted_gradient(fn, arguments, wrt, weights))

    def data(self, value: Any) -> Outcome:
        """Return the variable itself."""
        return Outcome(value)


def weighted_gradient(
    fn: Callable[..., Any], arguments: Sequence[Any], wrt: Sequence[int], weights: Sequence[Tensor]
) -> list[Tensor | None]:
    """Differentiate sum(weights * fn(*arguments)) with autograd.

    Args:
        fn: returns a tensor, or a list or tuple of them.
        arguments: those at the positions `wrt` are floating tensors.
        wrt: positions to differentiate by.
        weights: one tensor for each floating tensor of the result, in order.

    Returns:
        One gradient for each position, None where the result does not depend on it.
    """
    with torch.enable_grad():
        for position in wrt:
            arguments[position].requires_grad_()
        outputs = floating_tensors(fn(*arguments))
        if len(outputs) != len(weights):  # a float or an array came out, which carry no gradient
            return [None for _ in wrt]
        pairs = zip(outputs, weights, strict=True)
        terms = [(output * weight.to(output.device)).sum() for output, weight in pairs]
        total = sum(terms, torch.zeros(()))
        if not total.requires_grad:
            return [None for _ in wrt]
        inputs = [arguments[position] for position in wrt]
        return list(torch.autograd.grad(total, inputs, allow_unused=True))


def floating_tensors(value: Any) -> list[Tensor]:
    """List the floating tensors in a value, dicts in the order of their keys."""
    if type(value) in (torch.Tensor, torch.nn.Parameter) and value.is_floating_point():
        return [value]
    if isinstance(value, (list, tuple)):
        return [tensor for item in value for tensor in floating_tensors(item)]
    if isinstance(value, dict):
        ordered = [value[key] for key in sorted(value, key=repr)]
        return [tensor for item in ordered for tensor in floating_tensors(item)]
    return []


@contextmanager
def seeded() -> Iterator[None]:
    """Seed Python, NumPy and torch with SEED inside the block and restore them after it."""
    # A learner may draw from NumPy's global generator, so that one is seeded.
    states = random.getstate(), np.random.get_state(), torch.random.get_rng_state()  # noqa: NPY002
    random.seed(SEED)
    np.random.seed(SEED)  # noqa: NPY002
    # torch.manual_seed would note a call for a GPU that is not in use, and its stack: 1.5 ms.
    torch.default_generator.manual_seed(SEED)
    if torch.cuda.is_initialized():
        torch.cuda.manual_seed_all(SEED)
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])  # noqa: NPY002
        torch.random.set_rng_state(states[2])


def _outcome(run: Callable[[], Any]) -> Outcome:
    try:
        with seeded():
            return Outcome(run())
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a learner's SystemExit must not end the kernel either
        return Outcome(error=failure(error))


_BUILTIN = frozenset(
    name
    for name, value in vars(__import__("builtins")).items()
    if isinstance(value, type) and issubclass(value, BaseException)
)
_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")
_PATHS = [sysconfig.get_path(key) for key in ("stdlib", "platstdlib", "purelib", "platlib")]
_PATHS += [str(Path(module).parent) for module in (torch.__file__, np.__file__)]
_PATHS += [str(Path(__file__).parent.parent)]
_LIBRARIES = tuple(
    f"{path}{os.sep}" for given in _PATHS for path in {given, str(Path(given).resolve())}
)


def failure(error: BaseException) -> Failure:
    """Describe an exception by its class, its text and the deepest line of the learner's."""
    names = class_names(type(error))
    function, line, source = _position(BaseException.__dict__["__traceback__"].__get__(error))
    return Failure(
        type=names[0],
        bases=names,
        message=_text(error),
        function=function,
        line=line,
        source=source,
    )


def _text(error: BaseException) -> str:
    try:
        text = printable(_ADDRESS.sub("", str(error)[:10_000]))
    except BaseException:  # __str__ is the learner's and may raise anything
        return "(its text cannot be shown)"
    return cut(text, 300)


def cut(text: str, most: int) -> str:
    """Keep the printable characters of one line of text, at most so many.

    What has been cut stays as it is when it is cut again.
    """
    line = "".join(c if c.isprintable() else " " if c in "\t\n" else "?" for c in text)
    return line if len(line) <= most else f"{line[: most - 1]}…"


def _position(trace: TracebackType | None) -> tuple[str, int, str]:
    found = ("", 0, "")
    while trace is not None:
        code = trace.tb_frame.f_code
        name = code.co_filename
        if not name.startswith(("<frozen", *_LIBRARIES)):
            source = linecache.getline(name, trace.tb_lineno).strip()
            found = (cut(code.co_name, 80), trace.tb_lineno, cut(source, 200))
        trace = trace.tb_next
    return found
