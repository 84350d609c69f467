"""Every way to die, odd exceptions, and disturbances of the interpreter."""

from __future__ import annotations

from catalog import Kit, attack, function

DEATHS = "ended its process"


@attack()
def odd_exceptions(kit: Kit) -> bytes:
    """Raise exceptions whose text raises, is no text, is huge, whose class has an evil name."""
    return kit.code(
        """
        class Raising(Exception):
            def __str__(self): raise SystemExit(0)
            __repr__ = __str__
        class NoText(Exception):
            def __str__(self): return 5
        class Meta(type):
            __name__ = property(lambda cls: os._exit(0))
            __mro__ = property(lambda cls: os._exit(0))
            def mro(cls): return [cls, *type.mro(cls)[1:]]
        class Veiled(Exception, metaclass=Meta):
            __traceback__ = property(lambda self: os._exit(0))
            __class__ = property(lambda self: NotImplementedError)
        Named = type("<script>alert(1)</script>\\n=HYPERLINK" + "x" * 10**6, (Exception,), {})
        """,
        others="""
        if len(args) == 2:
            raise Raising(Raising()) if len(args[1]) == 1 else Veiled("veiled")
        raise NoText() if type(args[-1]) is float else Named()
        """,
    )


@attack(shows="")
def huge_exceptions(kit: Kit) -> bytes:
    """Raise exceptions with 100 MB of text, addresses and escapes, and with a cyclic context."""
    return kit.code(
        """
        def cyclic():
            first, second = ValueError("first"), ValueError("second")
            first.__context__, second.__context__ = second, first
            raise first
        def nested():
            error = ValueError("x")
            for _ in range(50_000):
                error = ExceptionGroup("x", [error])
            raise error
        def deep(levels=20_000):
            sys.setrecursionlimit(30_000)
            error = ValueError("deep")
            for _ in range(levels):
                error.__cause__, error = None, ValueError(error)
            raise error
        """,
        "raise ValueError(' at 0x1' * 100_000)",
        """
        if len(args) == 2:
            nested() if len(args[1]) == 1 else cyclic()
        if type(args[-1]) is float:
            deep()
        raise ValueError("\\x1b[31m<b>" * 10**7)
        """,
    )


@attack(shows="SystemExit|KeyboardInterrupt|GeneratorExit")
def exits(kit: Kit) -> bytes:
    """Raise what ends programs: SystemExit, KeyboardInterrupt, GeneratorExit, StopIteration."""
    return kit.code(
        "",
        "sys.exit(0)",
        """
        raise {2: KeyboardInterrupt, 3: StopAsyncIteration}.get(len(args), GeneratorExit)
        """,
    )


@attack(shows="it raises SystemExit")
def exit_in_the_cell(kit: Kit) -> bytes:
    """Leave the interpreter while the answer cell runs."""
    return kit.code("raise SystemExit(0)")


@attack(shows=DEATHS)
def sudden_ends(kit: Kit) -> bytes:
    """End the process: os._exit, abort, a wild pointer, a stack without bottom."""
    ends = {
        "softmax": "import os; os._exit(0)",
        "layer_norm": "import ctypes; ctypes.string_at(0)",
        "box_iou": "import os; os.abort()",
        "attention": "import sys; sys.setrecursionlimit(10**9); f = lambda: f(); f()",
    }
    return kit.submission(**{name: function(name, end) for name, end in ends.items()})


@attack(honest=15.0, shows=DEATHS)
def exit_in_the_answer_cell(kit: Kit) -> bytes:
    """End the process while an answer cell runs."""
    return kit.one("tell()", "os._exit(0)")


@attack(shows="")
def stack_overflow_in_c(kit: Kit) -> bytes:
    """Overflow the C stack: nested repr, nested pickles, a deep comparison."""
    return kit.code(
        """
        def deep(levels=10**6):
            value = []
            for _ in range(levels):
                value = [value]
            return value
        sys.setrecursionlimit(10**8)
        threading.stack_size(1 << 16)
        """,
        "repr(deep())",
        """
        if len(args) == 2:
            return deep() == deep()
        value = deep()
        import pickle
        return pickle.dumps(value) if args[-1] is False else str(value)
        """,
    )


@attack(honest=20.0, shows="")
def threads_that_outlive_their_cell(kit: Kit) -> bytes:
    """Right answers, and threads that later change globals, so as to differ between passes."""
    answers = dict(kit.right)
    answers["attention"] += """

import threading, time, gc, sys

def later():
    while True:
        globals()["nothing"] = gc.collect
        time.sleep(0.001)

threading.Thread(target=later, daemon=True).start()
gc.disable()
sys.setswitchinterval(0.5)
"""
    return kit.submission(**answers)


@attack(shows=f"TRIED|{DEATHS}")
def tracing(kit: Kit) -> bytes:
    """Trace and profile every call, with functions that fail and loop a little."""
    return kit.code(
        """
        def trace(frame, event, arg):
            if "coursekit" in frame.f_code.co_filename:
                frame.f_locals["reply"] = {"ok": True}
            return trace
        threading.settrace(trace)
        threading.setprofile(trace)
        sys.setprofile(trace)
        sys.settrace(trace)
        gc.set_threshold(1)
        """
    )


@attack()
def false_clocks(kit: Kit) -> bytes:
    """Stop every clock, set alarms and timers, and change what sleeping means."""
    return kit.code(
        """
        for name in ("time", "monotonic", "perf_counter", "process_time"):
            setattr(time, name, lambda: 0.0)
        time.sleep = lambda seconds: None
        signal.signal(signal.SIGALRM, lambda number, frame: DENIED.append("alarm"))
        attempt("alarm", lambda: signal.setitimer(signal.ITIMER_REAL, 0.01, 0.01) and 0 or 1 / 0)
        """
    )


@attack(shows="")
def one_thousand_calls_a_second(kit: Kit) -> bytes:
    """Write warnings, log records and garbage as fast as possible, then raise."""
    return kit.code(
        """
        import logging, warnings
        logging.disable(0)
        def noise():
            for number in range(20_000):
                warnings.warn(f"noise {number}", stacklevel=1)
                logging.error("noise %s", number)
        """,
        call="noise()\ntell()",
    )
