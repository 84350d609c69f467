"""Cells run in a learner's process as they would in Jupyter, as far as a grade is concerned."""

import pytest
import torch
from two_worlds import learner

from coursekit.grading.backend import Outcome
from coursekit.grading.official.learner import compiled
from coursekit.grading.official.remote import Proxy


def failing(source):
    """Run a cell; return what went wrong."""
    with learner() as backend:
        failure = backend.run_cell("iou", source)
        assert backend.dead == ""
        return failure


def value(source, *args):
    """Call `f` of a cell."""
    with learner(source) as backend:
        outcome = backend.call(Proxy("f"), args)
        assert outcome.error is None, outcome.error
        return outcome.value


@pytest.mark.parametrize(
    "source",
    [
        "",
        "# nothing",
        "%matplotlib inline\nf = 1",
        "if True:\n    %matplotlib inline\nf = 1",
        "%load_ext autoreload\n%autoreload 2\nf = 1",
        "%%time\nf = 1",
        "f = 1\nf",
        "print('x' * 100_000)",
        "display(1, clear=True)",
        "assert get_ipython() is None",
        "import warnings; warnings.warn('careful')",
        "import matplotlib.pyplot as plt\nplt.plot([1, 2])\nplt.show()",
        "text = '''\n%matplotlib inline\n!ls\n'''\nassert '%' in text and '!' in text",
        "import sys; sys.stdin.read()",
    ],
)
def test_what_jupyter_takes_and_a_grade_needs_not_is_harmless(source, monkeypatch):
    monkeypatch.setenv("MPLBACKEND", "Agg")
    assert failing(source) is None


@pytest.mark.parametrize(
    ("source", "line"),
    [
        ("!pip install torch", 1),
        ("x = 1\n\n!ls", 3),
        ("if True:\n    !ls", 2),
        ("%run other.ipynb", 1),
        ("%%bash\nls", 1),
        ("%%writefile a.py\nx = 1", 1),
        ("% matplotlib inline\n%pip install torch", 2),
    ],
)
def test_shell_commands_and_magics_are_refused_with_what_to_do(source, line):
    failure = failing(source)
    assert failure.type == "SyntaxError"
    assert failure.message.endswith("not run in grading: remove this line")
    assert failure.line == line
    assert failure.source == source.split("\n")[line - 1].strip()


@pytest.mark.parametrize(
    ("source", "type", "function", "line", "text"),
    [
        ("x = 1\ndef f(:\n    pass", "SyntaxError", "<module>", 2, "def f(:"),
        ("def f():\nreturn 3", "IndentationError", "<module>", 2, "return 3"),
        ("x = y", "NameError", "<module>", 1, "x = y"),
        ("def f():\n    return 1 / 0\nf()", "ZeroDivisionError", "f", 2, "return 1 / 0"),
        ("torch.ones(2) @ torch.ones(3)", "RuntimeError", "<module>", 1, None),
        ("raise KeyboardInterrupt", "KeyboardInterrupt", "<module>", 1, None),
        ("raise SystemExit", "SystemExit", "<module>", 1, None),
        ("import sys; sys.exit(0)", "SystemExit", "<module>", 1, None),
        ("exit()", "SystemExit", "<module>", 1, None),
        ("raise GeneratorExit", "GeneratorExit", "<module>", 1, None),
        ("input('name?')", "EOFError", "<module>", 1, None),
        ("def f():\n    f()\nf()", "RecursionError", "f", 2, "f()"),
        ("raise NotImplementedError", "NotImplementedError", "<module>", 1, None),
        ("x = '\0'", "SyntaxError", None, None, None),
        ("(" * 5000, None, None, None, None),
        ("x = " + "-" * 100_000 + "1", None, None, None, None),
    ],
)
def test_what_a_cell_raises_is_described_and_ends_nothing(source, type, function, line, text):
    failure = failing(source)
    assert failure.type
    if type and "\0" not in source:
        assert (failure.type, failure.function, failure.line) == (type, function, line)
        assert failure.source == (source.split("\n")[line - 1] if text is None else text).strip()


def test_cells_share_their_names_and_a_later_one_wins():
    with learner("a = 1\ndef f():\n    return a") as backend:
        assert backend.call(Proxy("f"), ()) == Outcome(1)
        assert backend.run_cell("second", "a = 2\nraise ValueError").type == "ValueError"
        assert backend.call(Proxy("f"), ()) == Outcome(2)


def test_nothing_of_this_package_leaks_into_a_cell():
    names = set(value("import inspect\ndef f():\n    return sorted(globals())\n"))
    assert names <= {
        *("Tensor", "__builtins__", "__name__", "display", "f", "get_ipython", "input"),
        *("inspect", "np", "torch"),
    }
    assert value("def f():\n    return __name__") == "__main__"


def test_a_function_finds_its_source():
    source = "import inspect\ndef f():\n    return inspect.getsource(f)\n"
    assert value(source) == "def f():\n    return inspect.getsource(f)\n"


def test_libraries_that_a_cell_spoils_spoil_nothing_but_its_own():
    source = """
import linecache
def broken(*args, **kwargs):
    raise RuntimeError("spoiled")
torch.Tensor.detach = torch.Tensor.cpu = linecache.getline = broken
def f(x):
    return x
"""
    with learner(source) as backend:
        assert backend.call(Proxy("f"), (torch.ones(2),)).error is not None
        assert backend.call(Proxy("f"), (3,)) == Outcome(3)


def test_a_variable_is_fetched_as_data():
    with learner("rate, late, none, sub = 0.1, ..., None, type('Five', (int,), {})(5)") as backend:
        assert backend.data(Proxy("rate")) == Outcome(0.1)
        assert backend.data(Proxy("late")) == Outcome(Ellipsis)
        assert backend.data(Proxy("none")) == Outcome(None)
        assert backend.data(Proxy("sub")).refused == "the result is a Five, a subclass of int"


def test_a_call_is_seeded_and_its_arguments_are_copies():
    source = "def f(x):\n    x.add_(1)\n    return [x, torch.rand(1)]"
    with learner(source) as backend:
        x = torch.zeros(2)
        first, second = (backend.call(Proxy("f"), (x,)).value for _ in range(2))
        assert first[0].tolist() == second[0].tolist() == [1.0, 1.0]
        assert torch.equal(first[1], second[1])
        assert x.tolist() == [0.0, 0.0]


def test_compiling_leaves_the_names_of_the_future_to_the_cell():
    namespace = {}
    exec(compiled("def f(x: 1 + 1): pass", "<cell a>"), namespace)
    assert namespace["f"].__annotations__ == {"x": 2}
