"""What runs in the learner's process: cells, calls, gradients and variables, on request.

Nothing here guards anything: a learner's code shares this process and may replace every function
of it. It guards itself against honest accidents only, such as an exception of any class, a result
that cannot be sent or an exhausted stack, and answers each request with one frame:

    {"ok": true}, with the value if one was asked for
    {"empty": true}, for a variable that is still ``...``
    {"failure": {"type", "bases", "message", "function", "line", "source"}}
    {"refused": text}, for a value that is not plain data

The caller sees to it that standard input, output and error lead nowhere.
"""

from __future__ import annotations

import linecache
import re
from dataclasses import asdict
from types import CodeType
from typing import Any

from coursekit.grading import recipes
from coursekit.grading.backend import Failure, Local, Outcome, cut, failure
from coursekit.grading.judging import unreadable
from coursekit.grading.official.wire import Channel, Closed, Malformed, TooLarge, framed
from coursekit.grading.values import NotPlain, plain

# Lines that Jupyter takes and that change no result.
_LINE_MAGICS = frozenset({"autoreload", "config", "load_ext", "matplotlib", "reload_ext"})
_CELL_MAGICS = frozenset({"capture", "time"})
_NAMELESS = ("Exception", ("Exception", "BaseException"), "it cannot be described")
_MAGIC = re.compile(r"(\s*)(%%?|!)\s*(\w*)")


def serve(channel: Channel, namespace: dict[str, Any]) -> None:
    """Answer requests until the other end closes.

    Args:
        channel: Leads to the marker.
        namespace: Where the exercise's setup cell has run; answer cells run in it.
    """
    learner = _Learner(namespace)
    while True:
        try:
            header, values = channel.receive()
        except (Closed, Malformed):
            return
        frame = learner.answer(header, values)
        try:
            channel.send_frame(frame)
        except Closed:
            return


def cell_name(name: str) -> str:
    """Return the name of the file that a cell is said to come from."""
    return f"<cell {name}>"


class _Learner:
    def __init__(self, namespace: dict[str, Any]) -> None:
        self.namespace, self.local = namespace, Local()
        self.given = dict(namespace)  # what drivers of the author's may use
        namespace.setdefault("display", _shown_nowhere)
        namespace.setdefault("get_ipython", _no_shell)
        namespace.setdefault("input", _no_input)

    def answer(self, header: dict[str, Any], values: list[Any]) -> bytes:
        """Do what a request asks; whatever a learner's code raises becomes a failure."""
        try:
            reply, results = getattr(self, f"_{header['do']}")(header, *values)
            return _framed(reply, results)
        except BaseException as error:
            return framed(_failed(_described(error)), [])

    def _cell(self, header: dict[str, Any]) -> tuple[dict[str, Any], list[Any]]:
        name = cell_name(header["id"])
        remember(name, header["source"])
        try:
            code = compiled(header["source"], name)
        except SyntaxError as error:
            return _failed(_misspelt(error)), []
        exec(code, self.namespace)
        return {"ok": True}, []

    def _call(
        self, header: dict[str, Any], subject: Any, *args: Any
    ) -> tuple[dict[str, Any], list[Any]]:
        outcome = self.local.call(self._found(subject), args, header["after"])
        if header["after"]:
            return _replied(outcome, list(outcome.arguments_after))
        return _replied(outcome, outcome.value)

    def _gradient(
        self, header: dict[str, Any], subject: Any, weights: list[Any], *args: Any
    ) -> tuple[dict[str, Any], list[Any]]:
        outcome = self.local.gradient(self._found(subject), args, header["wrt"], weights)
        return _replied(outcome, outcome.value)

    def _fetch(self, header: dict[str, Any]) -> tuple[dict[str, Any], list[Any]]:
        value = self._lookup(header["name"])
        return ({"empty": True}, []) if value is Ellipsis else _replied(Outcome(), value)

    def _found(self, subject: tuple[Any, ...]) -> Any:
        return recipes.restored(subject, self._lookup, self.given)

    def _lookup(self, name: str) -> Any:
        if name not in self.namespace:
            raise NameError(f"name '{name}' is not defined")
        return self.namespace[name]


def _failed(error: Failure) -> dict[str, Any]:
    return {"failure": asdict(error)}


def _replied(outcome: Outcome, value: Any) -> tuple[dict[str, Any], list[Any]]:
    return (_failed(outcome.error), []) if outcome.error else ({"ok": True}, [value])


def _framed(reply: dict[str, Any], results: list[Any]) -> bytes:
    """Frame a reply, or say why its value cannot be sent."""
    try:
        return framed(reply, results)
    except TooLarge as error:
        text = f"the result cannot be sent: {error}"
        return framed(_failed(Failure("TooLarge", ("TooLarge",), text)), [])
    except TypeError as error:
        text = f"the result cannot be sent: {error}"
    try:
        plain(results[0])
    except NotPlain as error:
        text = str(error)
    except Exception as error:
        text = unreadable(error)
    return framed({"refused": cut(text, 300)}, [])


def _described(error: BaseException) -> Failure:
    try:
        return failure(error)
    except BaseException:  # what describes exceptions has been replaced, or there is no memory
        return Failure(*_NAMELESS)


def remember(name: str, source: str) -> None:
    """Let tracebacks and `inspect` find the lines of a text that is no file."""
    lines = [f"{line}\n" for line in source.split("\n")]
    linecache.cache[name] = (len(source), None, lines, name)


def compiled(source: str, name: str) -> CodeType:
    """Compile a cell as Jupyter would, without its magics.

    Raises:
        SyntaxError: When it is no Python; a magic that would change something is none.
    """
    lines = source.split("\n")
    while True:
        try:
            return compile("\n".join(lines), name, "exec", dont_inherit=True)
        except SyntaxError as error:
            row = (error.lineno or 0) - 1
            found = _MAGIC.match(lines[row]) if 0 <= row < len(lines) else None
            if found is None:
                raise
            indent, sign, magic = found.groups()
            if magic not in {"%": _LINE_MAGICS, "%%": _CELL_MAGICS}.get(sign, ()):
                text = "shell commands and magics are not run in grading: remove this line"
                raise SyntaxError(text, (name, row + 1, 1, lines[row])) from None
            lines[row] = f"{indent}pass"


def _misspelt(error: SyntaxError) -> Failure:
    described = failure(error)
    line, text = error.lineno or 0, cut((error.text or "").strip(), 200)
    return Failure(described.type, described.bases, cut(error.msg, 300), "<module>", line, text)


def _shown_nowhere(*objects: Any, **options: Any) -> None:
    """Stand for IPython's `display`."""


def _no_shell() -> None:
    """Stand for `get_ipython` where there is no IPython."""


def _no_input(prompt: Any = "") -> str:
    """Stand for `input`."""
    raise EOFError("nobody answers input() in grading: give the value in the code")
