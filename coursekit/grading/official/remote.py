"""The trusted end: how checks reach a learner's code that lives in another process.

In the marker a learner's names are bound to proxies. Only `RemoteBackend`, which stands in
`check.session.backend`, can do anything with them: it sends requests to the learner's process
(`coursekit.grading.official.learner`) and turns each reply, which may be anything, into an
`Outcome` of plain values and short printable texts. Once that process is late, gone or sends what
cannot be read, it is not asked again.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import Any, NoReturn

from torch import Tensor

from coursekit.grading import recipes
from coursekit.grading.backend import Failure, Outcome, cut
from coursekit.grading.official.wire import MOST_BYTES, Channel, Closed, Malformed, TooLate
from coursekit.grading.values import copied

LEAST_SECONDS = 0.01
TIME_LIMIT, DIED = "TimeLimit", "Died"
_LINES = 10_000_000


class Proxy:
    """What stands for a name of the learner's where that code does not run.

    Every use of it raises, but as first argument of a check.
    """

    __slots__ = ("_inputs", "_name")

    def __init__(self, name: str, inputs: tuple[str, ...] = ()) -> None:
        object.__setattr__(self, "_name", name)
        object.__setattr__(self, "_inputs", inputs)

    def __getattribute__(self, attribute: str) -> Any:
        if attribute == "__class__":  # isinstance asks for it
            return Proxy
        return _refuse(self)

    def __repr__(self) -> str:
        return f"<the learner's {proxy_name(self)}>"


def proxy_name(proxy: Proxy) -> str:
    """Return the name that a proxy stands for."""
    name: str = object.__getattribute__(proxy, "_name")
    return name


def _refuse(proxy: Proxy, *_: Any, **__: Any) -> NoReturn:
    name = proxy_name(proxy)
    raise TypeError(
        f"{name} is the learner's and runs in another process: give it to check.* as first argument"
    )


_OPERATIONS = """
    abs add and bool bytes call complex contains delattr delitem divmod enter eq exit float
    floordiv format ge getitem gt hash iadd iand ifloordiv ilshift imatmul imod imul index int
    invert ior ipow irshift isub iter itruediv ixor le len lshift lt matmul mod mul ne neg next
    or pos pow radd rand rdivmod reversed rfloordiv rlshift rmatmul rmod rmul ror round rpow
    rrshift rshift rsub rtruediv rxor setattr setitem str sub truediv xor
"""
for _operation in _OPERATIONS.split():
    setattr(Proxy, f"__{_operation}__", _refuse)


class RemoteBackend:
    """A `coursekit.grading.backend.Backend` whose functions live at the other end of a channel.

    Attributes:
        seconds: How long a call may take.
        deadline: When the last call must have ended, by `time.monotonic`.
        dead: Why the learner's process answers no more: "" while it does, "TimeLimit" or "Died".
    """

    def __init__(self, channel: Channel, seconds: float = 60.0, most: int = MOST_BYTES) -> None:
        """Talk to a process in which `coursekit.grading.official.learner.serve` runs.

        Args:
            channel: Leads there.
            seconds: How long a call may take, with sending and receiving.
            most: Bytes that a reply may have.

        Raises:
            ValueError: When `seconds` is not positive.
        """
        if not 0 < seconds < math.inf:
            raise ValueError(f"seconds must be positive and finite, got {seconds}")
        self._channel, self.seconds, self._most = channel, seconds, most
        self._end: Failure | None = None
        self.deadline, self.dead = math.inf, ""

    def run_cell(self, id: str, source: str, seconds: float | None = None) -> Failure | None:
        """Run a cell of the learner's.

        Args:
            id: Its name, for messages.
            source: Its text.
            seconds: How long it may take; None takes the limit of a call.

        Returns:
            The exception that it raised or why its process ended; None when all went well.
        """
        header = {"do": "cell", "id": id, "source": source}
        return self._ask(header, [], seconds).error

    def name(self, fn: Any) -> str:
        """Return the learner's name."""
        return proxy_name(_proxied(fn))

    def inputs(self, fn: Any) -> tuple[str, ...]:
        """Return the names that the exercise gives the inputs of a function."""
        return object.__getattribute__(fn, "_inputs") if type(fn) is Proxy else ()

    def call(self, fn: Any, args: Sequence[Any], after: bool = False) -> Outcome:
        """Call `fn` on copies of `args` after seeding; a `Backend` method."""
        header = {"do": "call", "after": after}
        outcome = self._ask(header, [recipes.described(fn, self.name), *copied(tuple(args))])
        if not after or outcome.error or outcome.refused:
            return outcome
        if type(outcome.value) is not list or len(outcome.value) != len(args):
            return Outcome(error=self._died("it sent what is no list of arguments"))
        return Outcome(None, tuple(outcome.value))

    def gradient(
        self, fn: Any, args: Sequence[Any], wrt: Sequence[int], weights: Sequence[Tensor]
    ) -> Outcome:
        """Differentiate the weighted sum of the floating tensors; a `Backend` method."""
        header = {"do": "gradient", "wrt": list(wrt)}
        values = [recipes.described(fn, self.name), list(weights), *copied(tuple(args))]
        outcome = self._ask(header, values)
        if outcome.error or outcome.refused:
            return outcome
        got = outcome.value
        if type(got) is not list or len(got) != len(wrt):
            return Outcome(error=self._died("it sent what are no gradients"))
        if not all(slope is None or type(slope) is Tensor for slope in got):
            return Outcome(error=self._died("it sent what are no gradients"))
        return outcome

    def data(self, value: Any) -> Outcome:
        """Fetch a plain variable of the learner's."""
        return self._ask({"do": "fetch", "name": proxy_name(_proxied(value))}, [])

    def _ask(
        self, header: dict[str, Any], values: list[Any], seconds: float | None = None
    ) -> Outcome:
        """Send a request and read the reply; a process that fails at it is given up."""
        if self._end is not None:
            return Outcome(error=self._end)
        left = max(self.deadline - time.monotonic(), LEAST_SECONDS)
        seconds = min(self.seconds if seconds is None else seconds, left)
        try:
            reply, results = self._channel.exchange(header, values, seconds, self._most)
            return _outcome(reply, results)
        except TooLate:
            text = f"it took longer than {seconds:g} s (an endless loop?)"
            return Outcome(error=self._ended(TIME_LIMIT, text))
        except Closed:
            text = "its process ended (os._exit, a crash, or out of memory?)"
            return Outcome(error=self._ended(DIED, text))
        except Malformed as error:
            return Outcome(error=self._died(f"it sent what cannot be read: {error}"))

    def _died(self, text: str) -> Failure:
        return self._ended(DIED, text)

    def _ended(self, why: str, text: str) -> Failure:
        # No base class: a check for an exception must not take this for one.
        self.dead, self._end = why, Failure(why, (why,), text)
        return self._end


def _proxied(fn: Any) -> Proxy:
    if type(fn) is not Proxy:
        raise TypeError(f"a check needs a name of the learner's first, got {type(fn).__name__}")
    return fn


def _outcome(reply: dict[str, Any], results: list[Any]) -> Outcome:
    """Read a reply.

    Raises:
        Malformed: When it is none.
    """
    if len(reply) != 1:
        raise Malformed("no reply")
    if reply.get("ok") is True and len(results) <= 1:
        return Outcome(results[0] if results else None)
    if results:
        raise Malformed("values that nobody asked for")
    if reply.get("empty") is True:
        return Outcome(Ellipsis)
    if "refused" in reply:
        return Outcome(refused=_text(reply["refused"], 300) or "it cannot be sent")
    if "failure" in reply:
        return Outcome(error=_failure(reply["failure"]))
    raise Malformed("no reply")


def _failure(said: Any) -> Failure:
    keys = {"type", "bases", "message", "function", "line", "source"}
    if type(said) is not dict or set(said) != keys:
        raise Malformed("no description of an exception")
    bases, line = said["bases"], said["line"]
    if type(bases) is not list or type(line) is not int or not 0 <= line <= _LINES:
        raise Malformed("no description of an exception")
    return Failure(
        type=_text(said["type"], 80),
        bases=tuple(_text(base, 80) for base in bases[:100]),
        message=_text(said["message"], 300),
        function=_text(said["function"], 80),
        line=line,
        source=_text(said["source"], 200),
    )


def _text(said: Any, most: int) -> str:
    if type(said) is not str:
        raise Malformed("no text")
    return cut(said, most)
