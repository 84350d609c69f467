"""Inside a kernel: put back what a notebook's cells may have bent, before its checks run.

:func:`keep` remembers, before the first answer runs, the functions that checks and references rest
on, the names of the setup cell and the machinery of IPython. :func:`arm` puts all of it back and
lets messages carry a token. The former is repeated after each call of a learner's function.

This undoes replaced functions, input transformers, hooks and forged displays. It cannot do more:
code in the same process can change objects in place, start threads, or read the token while a
check calls it.
"""

from __future__ import annotations

import builtins
import inspect
import math
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from operator import is_
from types import FunctionType, ModuleType
from typing import Any, cast

from coursekit.grading import check
from coursekit.grading.backend import Backend, Local
from coursekit.grading.messages import Message

OURS = "coursekit.grading"
BENEATH = (
    "IPython.core.display_functions", "IPython.core.interactiveshell", "ipykernel.zmqshell",
    "math", "numpy", "numpy.linalg", "torch", "torch.linalg", "torch.nn.functional",
    "torchvision.ops",
)  # fmt: skip
CLASSES = ("ZMQDisplayPublisher", "ZMQInteractiveShell", "InteractiveShell", "Tensor")
CHANGING = (__name__, "__main__", "sys", "warnings")  # Python itself replaces functions of these
TRANSFORMERS = ("cleanup_transforms", "line_transforms", "token_transformers")


@dataclass
class Kept:
    """What was remembered.

    Attributes:
        places: Modules and classes, each with its callables by name.
        functions: Functions of the checks with their code and defaults.
        names: Values of the setup cell's names.
        shell: Of IPython, lists and objects by (holder, attribute).
        callbacks: IPython's callbacks by event.
        session: The session of the checks.
    """

    places: list[tuple[Any, dict[str, Any]]] = field(default_factory=list)
    functions: list[tuple[FunctionType, tuple[Any, ...]]] = field(default_factory=list)
    names: dict[str, Any] = field(default_factory=dict)
    shell: list[tuple[Any, str, Any]] = field(default_factory=list)
    callbacks: dict[str, list[Any]] = field(default_factory=dict)
    session: check.Session | None = None


_kept = Kept()


def keep(names: Sequence[str]) -> None:
    """Remember the state of this kernel.

    Args:
        names: What the exercise's setup cells define and no answer is asked to.
    """
    global _kept
    shell = _shell()
    space = shell.user_ns
    modules = [m for name, m in sys.modules.items() if name.startswith(OURS) or name in BENEATH]
    modules += [builtins, math]
    modules += [v for m in (*modules, space) for v in _values(m) if isinstance(v, ModuleType)]
    modules = [m for m in dict.fromkeys(modules) if m.__name__ not in CHANGING]
    classes = {
        value
        for module in modules
        for value in _values(module)
        if isinstance(value, type)
        and (value.__module__.startswith(OURS) or value.__name__ in CLASSES)
    }
    _kept = Kept(
        places=[(m, _callables(m)) for m in modules] + [(c, _callables(c)) for c in classes],
        functions=list(_codes(modules)),
        names={name: space[name] for name in names if name in space},
        shell=[(h, a, _copied(getattr(h, a))) for h, a in _machinery(shell)],
        callbacks={event: list(found) for event, found in shell.events.callbacks.items()},
        session=check.session,
    )


def arm(token: str) -> None:
    """Put everything back, and let the messages of the next check cell carry a token.

    Args:
        token: Drawn for one cell.
    """
    restore()
    shell = _shell()
    _restore_shell(shell)
    shell.user_ns.update(_kept.names, check=check)
    session = check.session
    for name in [name for name in vars(session) if hasattr(type(session), name)]:
        del session.__dict__[name]

    def show(message: Message) -> None:
        # Published as it stands: a formatter of the notebook's could write another one.
        signed = replace(message, data={**message.data, "token": token})
        shell.display_pub.publish(data=signed._repr_mimebundle_(), metadata={})

    session.show, session.observer = show, None
    session.backend = cast(Backend, _Watched())


def restore() -> None:
    """Put the functions back that checks and references rest on."""
    for function, (code, defaults, keywords) in _kept.functions:
        if function.__code__ is not code:
            function.__code__ = code
        function.__defaults__, function.__kwdefaults__ = defaults, keywords
    for place, known in _kept.places:
        space = vars(place)
        if not all(map(is_, map(space.get, known), known.values())):  # 1 ms for all places
            for name, value in known.items():
                if space.get(name) is not value:
                    setattr(place, name, value)
        if isinstance(place, type):
            for name in [n for n in space if n not in known and callable(space[n])]:
                if any(name in vars(base) for base in place.__mro__[1:]):  # it hides a method
                    delattr(place, name)
    if _kept.session is not None:
        check.session = _kept.session


class _Watched:
    """The backend of a learner's own kernel; what a call has bent is put back after it."""

    def __init__(self) -> None:
        self._local = Local()

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._local, name)

        def watched(*args: Any, **kwargs: Any) -> Any:
            try:
                return method(*args, **kwargs)
            finally:
                restore()

        return watched


def _restore_shell(shell: Any) -> None:
    for holder, attribute, value in _kept.shell:
        setattr(holder, attribute, _copied(value))
    for event, callbacks in _kept.callbacks.items():
        shell.events.callbacks[event] = list(callbacks)
    for holder in (shell, shell.display_pub, shell.kernel, shell.events):
        for name in [n for n in vars(holder) if inspect.isfunction(getattr(type(holder), n, None))]:
            del holder.__dict__[name]


def _machinery(shell: Any) -> Iterable[tuple[Any, str]]:
    for attribute in (
        "input_transformers_post", "ast_transformers", "custom_exceptions", "display_pub",
        "displayhook", "input_transformer_manager", "events",
    ):  # fmt: skip
        yield shell, attribute
    for attribute in TRANSFORMERS:
        yield shell.input_transformer_manager, attribute


def _codes(modules: Iterable[Any]) -> Iterable[tuple[FunctionType, tuple[Any, ...]]]:
    for module in modules:
        for value in _values(module):
            spaces = vars(value).values() if isinstance(value, type) else (value,)
            for found in spaces:
                if isinstance(found, FunctionType) and found.__module__.startswith(OURS):
                    yield found, (found.__code__, found.__defaults__, found.__kwdefaults__)


def _callables(place: Any) -> dict[str, Any]:
    wrapped = (staticmethod, classmethod, property)
    return {
        name: value
        for name, value in vars(place).items()
        if callable(value) or isinstance(value, (ModuleType, *wrapped))
    }


def _values(place: Any) -> list[Any]:
    return list(place.values() if isinstance(place, dict) else vars(place).values())


def _copied(value: Any) -> Any:
    return list(value) if isinstance(value, list) else value


def _shell() -> Any:
    from IPython.core.getipython import get_ipython

    return get_ipython()
