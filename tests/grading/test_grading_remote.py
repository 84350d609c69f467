"""Checks say the same about code here and in another process, whatever that process does."""

import os
import pickle
import time

import numpy as np
import pytest
import torch
from two_worlds import agree, child, learner, remotely

from coursekit.grading import check
from coursekit.grading.backend import Failure, Outcome
from coursekit.grading.official.remote import Proxy, RemoteBackend, proxy_name
from coursekit.grading.official.wire import Channel

ROWS = torch.tensor([[1.0, 2.0, 4.0], [3.0, 3.5, 4.0]])
SQUARE = torch.tensor([[1.0, 2.0], [3.0, 4.0]])


# Both worlds agree

SOFTMAX = {
    "right": "return x.softmax(-1)",
    "wrong axis": "return x.softmax(0)",
    "NumPy": "e = np.exp(x.numpy())\n    return e / e.sum(-1, keepdims=True)",
    "float64": "return x.double().softmax(-1)",
    "list": "return x.softmax(-1).tolist()",
    "scalar": "return np.float32(3)",
    "sparse": "return x.softmax(-1).to_sparse()",
    "half": "return x.softmax(-1).half()",
    "narrow": "return x.softmax(-1).bfloat16()",
    "wide": "return np.longdouble(1) / 3",
    "None": "pass",
    "NaN": "return x / 0 * 0",
    "shape": "return x.sum(-1)",
    "dict": "return {'a': x, 1: [x, (x, None)]}",
    "tuple of torch": "return x.sort()",
    "whole": "return x.long()",
    "large int": "return 2**100",
    "int beyond floats": "return [1, 10**400]",
    "key beyond floats": "return {10**400: 1}",
    "half complex": "return torch.ones(2, dtype=torch.complex32)",
    "text": "return 'a\\x1bb\\ud800'",
    "generator": "yield x",
    "function": "return len",
    "subclass": "class Mine(torch.Tensor): pass\n    return x.as_subclass(Mine)",
    "subclass within": "class Five(int): pass\n    return {'a': [1, Five(5)]}",
    "endless list": "y = []\n    y.append(y)\n    return y",
    "raises": "raise ValueError(f'bad {x.shape} \\x1b[31m')",
    "raises in torch": "return x @ x @ x @ x",
    "raises silently": "raise type('Mine', (KeyError,), {'__str__': None})",
    "leaves": "raise SystemExit(3)",
    "ends as a generator": "raise GeneratorExit",
    "recursion": "return softmax(x)",
    "not answered": "raise NotImplementedError",
    "quantized": "return torch.quantize_per_tensor(x, 0.1, 0, torch.qint8)",
    "meta": "return [x.to('meta')]",
    "nested": "return torch.nested.nested_tensor([x, x])",
    "narrowest": "return x.to(torch.float8_e5m2)",
    "times": "return np.array(['2020-01-01'], dtype='datetime64[D]')",
    "texts": "return np.array(['a', 'b'])",
    "objects": "return np.array([x, None], dtype=object)",
    "in place": "return x.exp_().div_(x.sum(-1, keepdim=True))",
    "detached": "return x.detach().softmax(-1)",
    "random": "return torch.rand(2, 3) + np.random.rand()",
    "no view": "return x.T.view(-1)",
}


def every_check(names):
    softmax = names["softmax"]

    def reference(x):
        return x.softmax(-1)

    def sums(y, x):
        return torch.allclose(y.sum(-1), torch.ones(len(x)))

    cases = [(ROWS,), (ROWS[:1],), (SQUARE.T,)]
    check.close(softmax, cases, reference, about="rows")
    check.equal(softmax, [(ROWS,)], reference)
    check.holds(softmax, cases, sums, "rows sum to 1")
    check.gradient(softmax, [(ROWS,)])
    check.gradient(softmax, [(ROWS,)], reference=reference)
    check.raises(softmax, [(ROWS,)], ValueError)
    check.raises(softmax, [(torch.ones(()),)], (IndexError, TypeError))
    check.unchanged(softmax, cases)
    check.score(softmax, [(ROWS,)], lambda y, x: float(y.max()), 0.5, says="the largest")
    check.value(names["rate"], 0.25, about="the rate")
    check.value(names["later"], 0.25)
    check.value(names["rows"], [1, 2])


@pytest.mark.parametrize("hidden", [False, True], ids=["public", "hidden"])
@pytest.mark.parametrize("body", SOFTMAX.values(), ids=list(SOFTMAX))
def test_every_check_says_the_same_in_both_worlds(body, hidden):
    source = f"rate, later, rows = 0.25, ..., (1, 2)\n\n\ndef softmax(x):\n    {body}\n"
    shown = agree(source, every_check, hidden)
    assert len(shown.messages) == 12
    if body == SOFTMAX["right"]:
        assert shown.earned == 9.0


def test_arguments_of_every_kind_reach_both_worlds_alike():
    source = """
def told(*args):
    return [f"{type(a).__name__} {getattr(a, 'dtype', '')} {getattr(a, 'requires_grad', '')}"
            f" {a.stride() if isinstance(a, Tensor) else ''} {a}" for a in args]
"""
    arguments = (
        *(None, True, 3, 2**70, 2.5, float("nan"), "text", [1, (2, {"a": 3})]),
        *(ROWS.T, ROWS[:, ::2], ROWS.clone().requires_grad_(), ROWS.bfloat16(), torch.tensor(True)),
        *(np.arange(6).reshape(2, 3).T, np.float32(3), np.array(2), ROWS.shape),
    )

    def run(names):
        check.equal(names["told"], [arguments], lambda *_: "")

    assert "got" in agree(source, run).messages[0]


def test_changed_arguments_are_named_alike():
    source = """
def spoil(rows, numbers, table):
    numbers.append(3)
    table["f"] = len
    return rows
def grow(rows, numbers, table):
    rows.mul_(2)
"""

    def run(names):
        for name in ("spoil", "grow"):
            check.unchanged(names[name], [(ROWS, [1, 2], {"a": 1})])

    assert agree(source, run).earned == 0


def test_known_mistakes_are_named_alike():
    mistake = check.encode(ROWS.softmax(0))
    known = {"mistakes": [{"id": "a", "explanation": "wrong axis", "public": [[mistake]]}]}

    def run(names):
        check.session.known = {"tasks": {"sample": known}}
        check.close(names["softmax"], [(ROWS,)], lambda x: x.softmax(-1))

    assert agree("def softmax(x):\n    return x.softmax(0)", run).explanations == ["wrong axis"]


# Proxies

USES = {
    "call": lambda p: p(1),
    "attribute": lambda p: p.weight,
    "private attribute": lambda p: p._name,
    "assignment": lambda p: setattr(p, "a", 1),
    "item": lambda p: p[0],
    "length": len,
    "iteration": iter,
    "truth": bool,
    "equality": lambda p: p == 1,
    "order": lambda p: p < 1,
    "sum": lambda p: 1 + p,
    "text": str,
    "format": lambda p: f"{p}",
    "number": float,
    "hash": hash,
    "context": lambda p: p.__enter__(),
    "array": np.asarray,
    "pickle": pickle.dumps,
    "class": lambda p: type("Sub", (p,), {}),
}


@pytest.mark.parametrize("use", USES.values(), ids=list(USES))
def test_every_use_of_a_proxy_is_refused_with_what_to_do(use):
    with pytest.raises(TypeError, match=r"iou is the learner's .*give it to check"):
        use(Proxy("iou"))


def test_a_proxy_can_be_named_and_recognized():
    assert proxy_name(Proxy("iou")) == "iou"
    assert repr(Proxy("iou")) == "<the learner's iou>"
    assert not isinstance(Proxy("iou"), torch.Tensor)


def test_the_backend_takes_proxies_and_plain_data_only():
    with learner("def f(x):\n    return x") as backend:
        with pytest.raises(TypeError, match="name of the learner's"):
            backend.call(len, ([1],))
        with pytest.raises(TypeError, match="plain data, got a function"):
            backend.call(Proxy("f"), (test_a_proxy_can_be_named_and_recognized,))
        assert backend.call(Proxy("f"), (3,)) == Outcome(3)
        assert backend.dead == ""
    with pytest.raises(ValueError, match="seconds must be positive"):
        RemoteBackend(None, seconds=0)


def test_a_name_that_no_cell_defines_is_a_failure():
    with learner() as backend:
        for outcome in (backend.call(Proxy("iou"), ()), backend.data(Proxy("iou"))):
            assert outcome.error.type == "NameError"
            assert outcome.error.message == "name 'iou' is not defined"


# A process that fails


def closing(names):
    check.close(names["f"], [(ROWS,)], lambda x: x)
    check.close(names["g"], [(ROWS,)], lambda x: x)
    check.raises(names["g"], [(ROWS,)], Exception)


@pytest.mark.parametrize(
    ("body", "seconds", "dead"),
    [
        ("while True: pass", 0.3, "TimeLimit"),
        ("import time; time.sleep(60)", 0.3, "TimeLimit"),
        ("import os; os._exit(0)", 20, "Died"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", 20, "Died"),
        ("import ctypes; ctypes.string_at(0)", 20, "Died"),
    ],
)
def test_a_process_that_is_late_or_gone_is_not_asked_again(body, seconds, dead):
    with learner(f"def f(x):\n    {body}\ndef g(x):\n    return x", seconds) as backend:
        started = time.monotonic()
        first = backend.call(Proxy("f"), (ROWS,))
        assert first.error.type == backend.dead == dead
        assert first.error.bases == (dead,)
        second = backend.call(Proxy("g"), (ROWS,))
        assert second.error == first.error
        assert backend.run_cell("more", "x = 1") == first.error
        assert backend.data(Proxy("g")).error == first.error
        assert backend.gradient(Proxy("g"), (ROWS,), (0,), [ROWS]).error == first.error
        assert time.monotonic() - started < 10


def test_checks_after_a_death_fail_and_an_expected_exception_is_none():
    source = "import os\ndef f(x):\n    os._exit(1)\ndef g(x):\n    return x"
    shown = remotely(source, closing)
    assert shown.earned == 0
    assert all("Died: its process ended" in message for message in shown.messages)


def test_a_cell_has_a_time_limit_of_its_own():
    with learner(seconds=20) as backend:
        assert backend.run_cell("a", "while True: pass", seconds=0.2).type == "TimeLimit"
        assert backend.dead == "TimeLimit"


def test_a_result_beyond_the_limits_is_a_failure_and_no_end():
    source = """
def large(x):
    return [torch.zeros(17 << 20)] * 2
def many(x):
    return list(range(200_001))
def long(x):
    return 1 << 14_000
def f(x):
    return x
"""
    with learner(source) as backend:
        for name, says in (
            ("large", "136 MB, more than 128 MB"),
            ("many", "items"),
            ("long", "bits"),
        ):
            error = backend.call(Proxy(name), (1,)).error
            assert error.type == "TooLarge"
            assert says in error.message
        assert backend.call(Proxy("f"), (1,)) == Outcome(1)


# A process that lies


def answering(*frames):
    """Return what a process does that answers requests with given bytes or frames."""

    def run(sock):
        for frame in frames:
            Channel(sock).receive()
            if isinstance(frame, bytes):
                sock.sendall(frame)
            else:
                Channel(sock).send(*frame)
        Channel(sock).receive()

    return run


FAILURE = {"type": "A", "bases": [], "message": "", "function": "", "line": 0, "source": ""}
LIES = {
    "noise": b"\xff" * 64,
    "pickle": pickle.dumps(os.getcwd),
    "empty": ({},),
    "two replies": ({"ok": True, "empty": True},),
    "true": ({"ok": 1},),
    "two values": ({"ok": True}, [1, 2]),
    "value with failure": ({"failure": FAILURE}, [1]),
    "no failure": ({"failure": {}},),
    "failure of numbers": ({"failure": {**FAILURE, "type": 3}},),
    "failure with more": ({"failure": {**FAILURE, "more": 3}},),
    "line of text": ({"failure": {**FAILURE, "line": "3"}},),
    "line below": ({"failure": {**FAILURE, "line": -1}},),
    "line beyond": ({"failure": {**FAILURE, "line": 10**30}},),
    "bases of numbers": ({"failure": {**FAILURE, "bases": [3]}},),
    "refused number": ({"refused": 3},),
}


@pytest.mark.parametrize("lie", LIES.values(), ids=list(LIES))
def test_a_reply_that_is_none_ends_the_conversation(lie):
    with child(answering(lie)) as (sock, _):
        backend = RemoteBackend(Channel(sock), 20)
        error = backend.call(Proxy("f"), (1,)).error
        assert error.type == backend.dead == "Died"
        assert error.message.startswith("it sent what cannot be read")


@pytest.mark.parametrize("value", [3, [1], [1, 2, 3], (1, 2), None], ids=repr)
def test_arguments_and_gradients_of_the_wrong_number_end_the_conversation(value):
    asked = (
        lambda b: b.call(Proxy("f"), (1, 2), after=True),
        lambda b: b.gradient(Proxy("f"), (ROWS, ROWS), (0, 1), [ROWS]),
    )
    for ask in asked:
        with child(answering(({"ok": True}, [value]))) as (sock, _):
            backend = RemoteBackend(Channel(sock), 20)
            assert ask(backend).error.type == backend.dead == "Died"


def test_gradients_are_tensors_or_nothing():
    with child(answering(({"ok": True}, [[None, ROWS]]), ({"ok": True}, [["a", ROWS]]))) as (
        sock,
        _,
    ):
        backend = RemoteBackend(Channel(sock), 20)
        assert backend.gradient(Proxy("f"), (ROWS, ROWS), (0, 1), [ROWS]).value[0] is None
        assert backend.gradient(Proxy("f"), (ROWS, ROWS), (0, 1), [ROWS]).error.type == "Died"


def test_texts_are_cut_and_made_printable():
    said = {
        "type": "T\x00" * 1000,
        "bases": ["B\n" * 1000] * 1000,
        "message": "\x1b[31m" + "m" * 10_000,
        "function": "f\ud800" * 1000,
        "line": 3,
        "source": "s\t" * 1000,
    }
    with child(answering(({"failure": said},), ({"refused": "\x07" * 1000},))) as (sock, _):
        backend = RemoteBackend(Channel(sock), 20)
        error = backend.call(Proxy("f"), ()).error
        assert isinstance(error, Failure)
        texts = [error.type, *error.bases, error.message, error.function, error.source]
        assert all(text.isprintable() for text in texts)
        assert [len(error.type), len(error.bases), len(error.message)] == [80, 100, 300]
        assert [len(error.function), len(error.source)] == [80, 200]
        assert backend.call(Proxy("f"), ()).refused == "?" * 299 + "…"
        assert backend.dead == ""


def test_a_reply_in_advance_costs_its_sender_alone():
    reply = ({"ok": True}, [1])

    def eager(sock):
        Channel(sock).send(*reply)
        answering(reply, reply)(sock)

    with child(eager) as (sock, _):
        backend = RemoteBackend(Channel(sock), 20)
        assert backend.call(Proxy("f"), ()) == Outcome(1)
        assert backend.run_cell("a", "") is None


def test_a_value_of_the_wrong_kind_is_judged_like_any_other():
    with child(answering(({"empty": True},))) as (sock, _):
        check.reset()
        check.session.backend = RemoteBackend(Channel(sock), 20)
        check.session.show = lambda message: None
        check.task("sample", points=1)
        check.close(Proxy("f"), [(1,)], lambda x: x)
        check.points()
        assert "not plain data" in check.session.results[0].messages[0]
        check.reset()
