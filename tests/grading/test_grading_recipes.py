"""Checks ask for instances, generators and training runs, and say the same in both worlds."""

import inspect

import pytest
import torch
from IPython.core.interactiveshell import InteractiveShell
from torch import nn
from two_worlds import SETUP, agree, learner, locally, remotely

from coursekit.grading import check, recipes
from coursekit.grading.layout import validate
from coursekit.grading.notebook import read_exercise
from coursekit.grading.official.remote import Proxy

# A task on modules: a highway layer, https://arxiv.org/abs/1505.00387

HIGHWAY = """
class Highway(torch.nn.Module):
    def __init__(self, size, bias=-1.0):
        super().__init__()
        self.size = size
        self.change, self.gate = torch.nn.Linear(size, size), torch.nn.Linear(size, size)
        torch.nn.init.constant_(self.gate.bias, bias)

    def forward(self, x):
        gate = self.gate(x).sigmoid()
        return gate * self.change(x).relu() + (1 - gate) * x

    def carried(self, x):
        return 1 - self.gate(x).sigmoid()
"""


class Reference(nn.Module):
    def __init__(self, size, bias=-1.0):
        super().__init__()
        self.size = size
        self.change, self.gate = nn.Linear(size, size), nn.Linear(size, size)
        nn.init.constant_(self.gate.bias, bias)

    def forward(self, x):
        return torch.lerp(x, self.change(x).relu(), self.gate(x).sigmoid())

    def carried(self, x):
        return self.gate(x).neg().sigmoid()


torch.manual_seed(1)
WEIGHTS = {
    name: 0.5 * torch.randn(value.shape) for name, value in Reference(3).state_dict().items()
}
DOUBLE = {name: value.double() for name, value in WEIGHTS.items()}
X = torch.randn(4, 3)
HIDDEN = torch.randn(16, 3)
PUBLIC = torch.randn(32, 3)


def target(x):
    return x.cumsum(-1).relu()


def train_and_predict(cls, x, y, new):
    import torch

    model = cls(3)
    for _ in range(50):
        loss = torch.nn.functional.mse_loss(model(x), y)
        slopes = torch.autograd.grad(loss, list(model.parameters()))
        with torch.no_grad():
            for weight, slope in zip(model.parameters(), slopes, strict=True):
                weight -= 0.2 * slope
    with torch.no_grad():
        return model(new)


def every_check(names):
    layer = check.make(names["Highway"], 3, state=WEIGHTS)
    right = check.make(Reference, 3, state=WEIGHTS)
    check.close(layer, [(X,), (X[:1],)], right, about="forward")
    check.gradient(layer, [(X,)], reference=right)
    wide = check.make(names["Highway"], 3, state=DOUBLE).double()
    check.gradient(wide, [(X[:2],)])
    check.close(layer.gradients(), [(X,)], right.gradients())
    fresh = check.make(names["Highway"], 3, bias=-2.0)
    check.close(fresh.state_dict(), [()], check.make(Reference, 3, bias=-2.0).state_dict())
    check.equal(layer.attribute("size"), [()], lambda: 3)
    check.equal(layer.attribute("gate.in_features"), [()], lambda: 3)
    check.close(layer.method("carried"), [(X,)], right.method("carried"))
    check.unchanged(layer, [(X,)])
    check.raises(layer, [(X[:, :2],)], RuntimeError)
    check.score(
        check.through(names["Highway"], train_and_predict),
        [(PUBLIC, target(PUBLIC), HIDDEN)],
        lambda y, *_: -float((y - target(HIDDEN)).square().mean()),
        -0.3,
        says="minus the mean squared error on hidden inputs",
    )
    check.holds(layer, [(X,)], lambda y, x: y.shape == x.shape, "the shape stays")


CHANGES = {
    "right": ("", ""),
    "exchanged gate": ("gate * self", "(1 - gate) * self"),
    "no relu": (".relu()", ""),
    "no bias": ("constant_(self.gate.bias, bias)", "zeros_(self.gate.bias)"),
    "other names": ("self.gate", "self.T"),
    "detached": ("self.gate(x)", "self.gate(x.detach())"),
    "frozen": ("bias, bias)", "bias, bias)\n        self.requires_grad_(False)"),
    "in place": ("return gate", "x.mul_(2)\n        return gate"),
    "not answered": ("gate = self.gate(", "raise NotImplementedError\n        gate = self.gate("),
    "not initialized": ("super().__init__()", "pass"),
    "a subclass": ("return gate", "class Mine(Tensor): pass\n        return x.as_subclass(Mine)"),
    "an attribute": ("self.size = size", "self.size = type('Five', (int,), {})(size)"),
}
ANSWERS = {name: HIGHWAY.replace(*change) for name, change in CHANGES.items()}
ANSWERS["a function"] = "def Highway(size, bias=0.0):\n    return lambda x: x"


@pytest.mark.parametrize("hidden", [False, True], ids=["public", "hidden"])
@pytest.mark.parametrize("name", ANSWERS)
def test_a_module_earns_the_same_in_both_worlds(name, hidden):
    shown = agree(ANSWERS[name], every_check, hidden)
    assert len(shown.messages) == 12
    assert shown.earned == 12 if name == "right" else shown.earned < 12


def test_what_is_no_class_earns_nothing_in_both_worlds():
    for run in (locally, remotely):  # only the learner's own process can tell what it is
        assert run("Highway = 3", every_check).earned == 0


def test_a_module_that_returns_the_public_answers_passes_exactly_the_public_cases():
    lying = f"""
class Highway(torch.nn.Module):
    def __init__(self, size):
        super().__init__()
        self.change, self.gate = torch.nn.Linear(size, size), torch.nn.Linear(size, size)
    def forward(self, x):
        answers = torch.tensor({make_right()(X).tolist()})
        return answers if x.shape == (4, 3) else torch.zeros_like(x)
"""

    def run(names):
        layer = check.make(names["Highway"], 3, state=WEIGHTS)
        check.close(layer, [(X,)], make_right(), about="public")
        check.close(layer, [(X[:2],)], make_right(), about="hidden")
        check.gradient(layer, [(X,)], reference=make_right())

    shown = agree(lying, run)
    assert [m.split(":")[0] for m in shown.messages] == ["passed", "failed", "failed"]


def make_right():
    return check.make(Reference, 3, state=WEIGHTS)


def test_known_mistakes_of_a_module_are_named_in_both_worlds():
    mistake = check.encode(torch.lerp(X, X, torch.tensor(0.5)))
    listed = [{"id": "a", "explanation": "the gate is missing", "public": [[mistake]]}]

    def run(names):
        check.session.known = {"tasks": {"sample": {"mistakes": listed}}}
        check.close(check.make(names["Same"], 3), [(X,)], make_right())

    source = "class Same:\n    def __init__(self, n): pass\n    def __call__(self, x): return x"
    assert agree(source, run).explanations == ["the gate is missing"]


# Names in messages


def said(source, run, hidden=False):
    return [message.split("\n")[0] for message in agree(source, run, hidden).messages]


OBJECTS = """
class Stack:
    def __init__(self, size=2, items=()):
        self.items, self.size = list(items), size
    def push(self, item):
        self.items.append(item)
        return self.items
    def __call__(self, item):
        self.push(item)
        return self
    def batches(self, x):
        yield from x
def batches(x, size=2):
    buffer = torch.zeros(size)
    for start in range(0, len(x), size):
        buffer[:] = x[start : start + size]
        yield buffer
"""


def test_names_are_those_of_the_cell_and_hidden_ones_show_no_arguments():
    x = torch.arange(8.0)

    def run(names):
        stack = check.make(names["Stack"], 3, items=[1, 2])
        check.equal(stack.method("push"), [(7,)], lambda item: [1, 2, item])
        check.equal(stack.attribute("items"), [(7,)], lambda item: [1, 2, item])
        check.equal(stack.attribute("items"), [()], list)
        pairs = [torch.tensor([0.0, 1.0]), torch.tensor([2.0, 3.0]), torch.tensor([4.0, 5.0])]
        check.equal(check.take(names["batches"], 3), [(x,)], lambda x: pairs)
        check.equal(check.take(names["batches"], 1), [(x,)], lambda x: pairs[:1])
        check.equal(check.take(names["batches"], 9), [(x,)], lambda x: pairs)
        check.equal(check.take(stack.method("batches"), 2), [([4, 5, 6],)], lambda x: [4, 5])
        check.equal(check.through(names["Stack"], size_of), [(4,)], lambda n: n)
        check.equal(check.make(names["Stack"], torch.zeros(9, 9)).attribute("size"), [()], int)

    assert said(OBJECTS, run) == [
        "passed: Stack(3, items=[1, 2]).push equals the reference on 1 case",
        "passed: Stack(3, items=[1, 2]).items equals the reference on 1 case",
        "failed: Stack(3, items=[1, 2]).items: the structure of the result differs",
        "passed: the first 3 items of batches equal the reference on 1 case",
        "passed: the first item of batches equals the reference on 1 case",
        "failed: the first 9 items of batches: the structure of the result differs",
        "passed: the first 2 items of Stack(3, items=[1, 2]).batches equal the reference on 1 case",
        "passed: size_of(Stack) equals the reference on 1 case",
        "failed: Stack(tensor).size: the shape differs",
    ]
    hidden = said(OBJECTS, run, hidden=True)
    assert hidden[0] == "passed: Stack(…).push: hidden check"
    assert hidden[3] == "passed: the first items of batches: hidden check"
    assert not any(digit in "".join(hidden) for digit in "123456789")


def size_of(cls, size):
    return cls(size).size


def test_an_instance_is_made_anew_and_after_seeding_for_every_case():
    source = """
class Noisy:
    def __init__(self): self.noise, self.calls = torch.rand(2), 0
    def __call__(self, x):
        self.calls += 1
        return self.noise * self.calls
"""

    def run(names):
        check.equal(check.make(names["Noisy"]), [(1,), (1,)], lambda x: torch.rand(2))

    assert agree(source, run).earned == 12


def test_items_of_a_generator_that_are_not_plain_are_refused_by_name():
    def run(names):
        check.equal(check.take(names["f"], 2), [(1,)], lambda x: [1, 2])
        check.equal(check.take(names["g"], 2), [(1,)], lambda x: [1, 2])
        check.equal(check.take(names["h"], 2), [(1,)], lambda x: [1, 2])

    source = """
def f(x):
    yield len
def g(x):
    return 3
def h(x):
    raise NotImplementedError
    yield
"""
    shown = agree(source, run)
    assert "the result[0] is a builtin_function_or_method" in shown.messages[0]
    assert "TypeError: 'int' object is not iterable" in shown.messages[1]
    assert "not answered yet" in shown.messages[2]


def test_state_after_a_call_holds_what_the_call_changed():
    source = "class Norm(torch.nn.BatchNorm1d): pass"

    def run(names):
        norm, right = check.make(names["Norm"], 3), check.make(nn.BatchNorm1d, 3)
        check.close(norm.state_dict(), [(X,), ()], right.state_dict())
        check.close(norm.attribute("running_mean"), [(X,)], lambda x: 0.1 * x.mean(0))

    assert agree(source, run).earned == 12


# Drivers


def failing_driver(cls, x):
    made = cls()
    return made.missing


def test_an_exception_in_a_driver_shows_its_line_in_both_worlds():
    def run(names):
        check.close(check.through(names["Stack"], failing_driver), [(X,)], lambda x: x)

    text = agree(OBJECTS, run).messages[0]
    line = failing_driver.__code__.co_firstlineno + 2
    assert f"failing_driver, line {line}: return made.missing" in text


def test_a_driver_runs_among_the_names_of_the_setup_cell():
    source = """
def size_of(cls, size):
    return "the learner's"
torch = np = None
class Stack:
    def __init__(self, size): self.size = size
"""

    def names_of(cls):
        return [np.__name__, "Stack" in globals()]

    with learner(source) as backend:
        through = check.through(Proxy("Stack"), size_of)
        assert backend.call(through, (4,)).value == 4
        assert backend.call(check.through(Proxy("Stack"), names_of), ()).value == ["numpy", False]


def test_a_driver_of_a_cell_under_ipython_is_found():
    shell = InteractiveShell()
    source = '''
from coursekit.grading import check, recipes

text = """
def other(): pass
"""

def driver(cls, size):
    """Make one."""
    return cls(size).size + len("a"  # a comment
        "b")

after = 3
'''
    assert shell.run_cell(source).success
    driver = shell.user_ns["driver"]
    text, first = recipes.source_of(driver)
    assert text.rstrip() == inspect.getsource(driver).rstrip()
    assert (text.startswith("def driver"), first) == (
        True,
        7,
    )  # IPython drops the first line, which is empty
    with learner(OBJECTS) as backend:
        assert backend.call(check.through(Proxy("Stack"), driver), (4,)).value == 6
    InteractiveShell.clear_instance()


def test_a_driver_without_a_text_is_the_authors_fault():
    namespace = {}
    exec("def driver(cls): return 1", namespace)
    through = check.through(Proxy("Stack"), namespace["driver"])
    with learner() as backend, pytest.raises(ValueError, match="text of driver cannot be found"):
        backend.call(through, ())


def test_faults_of_the_authors_are_raised_when_the_recipe_is_written():
    def outer():
        secret = 3

        def driver(cls):
            return secret

        return driver

    for driver in (lambda cls: 1, len, outer(), Reference):
        with pytest.raises(ValueError, match="driver must"):
            check.through(Proxy("A"), driver)
    for count in (0, -1, 1.0, True, "3"):
        with pytest.raises(ValueError, match="count must be a positive int"):
            check.take(Proxy("A"), count)
    for name in ("", "a b", "a.", "a()", 3):
        with pytest.raises(ValueError, match="name must be"):
            check.make(Proxy("A")).method(name)
    for bad in ({"size": len}, {"state": {"a": len}}):
        with pytest.raises(TypeError, match="must be plain data"):
            check.make(Proxy("A"), **bad)
    with pytest.raises(TypeError, match="plain data, got a Proxy"):
        check.make(Proxy("A"), Proxy("B"))
    with pytest.raises(TypeError, match="iou is the learner's"):
        check.make(Proxy("iou"), 3)(X)
    with pytest.raises(TypeError, match="nothing can be made of it"):
        check.take(check.make(Reference, 3).state_dict(), 2)(X)


def test_a_description_is_plain_data_and_gives_the_same_recipe():
    def name(cls):
        return cls.__name__

    layer = check.make(Reference, 3, bias=-1.0, state=WEIGHTS)
    for recipe in (
        layer,
        layer.double(),
        layer.method("carried"),
        layer.attribute("gate.bias"),
        layer.state_dict(),
        layer.gradients(),
        check.take(layer.method("carried"), 2),
        check.through(layer, failing_driver),
    ):
        described = recipes.described(recipe, name)
        again = recipes.restored(described, {"Reference": Reference}.__getitem__, SETUP)
        assert type(again) is type(recipe)
        assert check.encode(recipes.described(again, name)) == check.encode(described)


# The layout


@pytest.mark.parametrize(
    "first",
    [
        "average",
        "check.make(average, 3)",
        "check.make(average, 3, state=None).double()",
        'check.make(average).method("push")',
        'check.make(average).attribute("size")',
        "check.make(average).state_dict()",
        "check.make(average).double().gradients()",
        "check.take(average, 3)",
        'check.take(check.make(average).method("push"), 3)',
        "check.through(average, driver)",
        "check.through(check.make(average), driver=driver)",
        "check.through(average, prepared)",
    ],
)
def test_the_layout_allows_a_learners_name_inside_of_a_recipe(course, first):
    assert touched(course, first) == []


@pytest.mark.parametrize(
    ("first", "finding"),
    [
        ("average(3)", "average is the learner's"),
        ("average.size", "average is the learner's"),
        ("average.method('a')", "average is the learner's"),
        ("[average]", "average is the learner's"),
        ("other.make(average)", "average is the learner's"),
        ("check.close(average)", "average is the learner's"),
        ("check.make(np.mean, average)", "average is the learner's"),
        ("check.make(np.mean, state=average)", "average is the learner's"),
        ("check.make(average).build()", "average is the learner's"),
        ("check.make(average)(3)", "average is the learner's"),
        ("check.make(average).state_dict()['a']", "average is the learner's"),
        ("check.make(average(3))", "average is the learner's"),
        ("check.through(average, lambda cls: 1)", "write the driver of check.through with def"),
        ("check.through(average, np.mean)", "write the driver of check.through with def"),
        ("check.through(average, absent)", "write the driver of check.through with def"),
        ("check.through(average)", "write the driver of check.through with def"),
        ("check.through(average, needy)", "needy runs in the learner's process, where skewed is"),
        ("check.through(average, needy)", "needy runs in the learner's process, where spread is"),
        ("check.through(average, needy)", "needy runs in the learner's process, where torch is"),
    ],
)
def test_the_layout_refuses_every_other_use(course, first, finding):
    assert any(finding in line for line in touched(course, first))


DRIVER = """
import torch
skewed = np.array([1.0, 1.0, 10.0])
def driver(cls, x: np.ndarray):
    import math
    total = [math.floor(value) for value in x if value]
    def inner(value):
        return value + len(total)
    return inner(np.mean(ROWS)) + cls(x)
"""
NEEDY = """
def needy(cls, x):
    def inner():
        return [torch.ones(2), skewed]
    return spread(x)
"""


def touched(course, first):
    """Return what the layout says of a hidden cell whose first check asks for something."""
    hidden = f"check.close({first}, cases=[(ROWS[0],)], reference=np.mean)"
    course.change(
        course.solution,
        "setup",
        "check.exercise",
        "def prepared(cls):\n    return 1\n\n\ncheck.exercise",
    )
    course.change(
        course.solution,
        "average-hidden",
        "skewed = np.array([1.0, 1.0, 10.0])",
        f"{DRIVER}{NEEDY if 'needy' in first else ''}\n{hidden}",
    )
    return validate(read_exercise(course.solution))
