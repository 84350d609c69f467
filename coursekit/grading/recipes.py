"""What a check may ask of a class, a module, a generator or a training run, as plain descriptions.

A learner's object cannot cross into another process, so a check names what it wants of it:

    check.make(Highway, 8, state=weights)             an instance, called on each case
    check.make(Stack).method("push")                  one of its methods, called on each case
    check.make(Highway, 8).attribute("hidden_size")   a plain attribute of it
    check.make(Highway, 8).state_dict()               its parameters and buffers by name
    check.make(Highway, 8, state=weights).gradients() the slope of its output by each parameter
    check.take(batches, 3)                            what a generator yields first
    check.through(Highway, train_and_predict)         what an author's function makes of it

Each is given to a check in the place of a function, and works on the author's own objects too, so
that a reference reads the same. An instance is built anew, after seeding, for every case. In a
learner's own kernel a recipe is called as it stands; for a learner's process `described` turns it
into plain data, from which `restored` builds the same recipe there.
"""

from __future__ import annotations

import ast
import inspect
import linecache
import textwrap
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from types import FunctionType
from typing import Any

import torch

from coursekit.grading.backend import floating_tensors, parameters_of
from coursekit.grading.gradients import weights_for
from coursekit.grading.values import copied, plain
from coursekit.grading.values import described as shown


@dataclass(frozen=True, eq=False)
class Recipe:
    """What to do with an object for each case.

    Args:
        of: the object, or the recipe that builds it.
    """

    of: Any

    def build(self) -> Any:
        """Return the object that the recipe stands for; one that is made is made anew."""
        raise TypeError(f"{type(self).__name__} stands for a result: nothing can be made of it")

    def __call__(self, *case: Any) -> Any:
        """Return the result for one case."""
        return self.build()(*case)

    def text(self, root: str, open: bool = True) -> str:
        """Name the recipe in a message.

        Args:
            root: the name of the learner's object.
            open: whether the message may show arguments.
        """
        raise NotImplementedError


@dataclass(frozen=True, eq=False)
class Made(Recipe):
    """An instance of a class; called on a case, it calls the instance."""

    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] | None = None
    state: Mapping[str, Any] | None = None
    wide: bool = False

    def method(self, name: str) -> Method:
        """Call one of its methods on each case; a dotted name reaches into its parts."""
        return Method(self, _dotted(name))

    def attribute(self, name: str) -> Attribute:
        """Read an attribute, after calling the instance on the case unless that is ()."""
        return Attribute(self, _dotted(name))

    def state_dict(self) -> State:
        """Read its state by name, after calling the instance on the case unless that is ()."""
        return State(self)

    def gradients(self) -> Gradients:
        """Differentiate the weighted sum of its output on the case by each parameter.

        The weights are those of `check.gradient`. A parameter that needs no gradient, or that
        none reaches, has None.
        """
        return Gradients(self)

    def double(self) -> Made:
        """Make the instance in float64, as finite differences need it."""
        return replace(self, wide=True)

    def build(self) -> Any:
        """Return a new instance."""
        made = _built(self.of)(*copied(self.args), **copied(self.kwargs or {}))
        if self.wide:
            made = made.double()
        if self.state is not None:
            made.load_state_dict(copied(self.state))
        return made

    def text(self, root: str, open: bool = True) -> str:
        """Name the instance as its author wrote it, the state aside."""
        given = [_short(value) for value in self.args]
        given += [f"{key}={_short(value)}" for key, value in (self.kwargs or {}).items()]
        hidden = "…" if given else ""
        return f"{_text(self.of, root, open)}({', '.join(given) if open else hidden})"


@dataclass(frozen=True, eq=False)
class Method(Recipe):
    """A method of an instance."""

    name: str

    def build(self) -> Any:
        """Return the method, bound to a new instance."""
        return _reached(_built(self.of), self.name)

    def text(self, root: str, open: bool = True) -> str:
        """Name the method."""
        return f"{_text(self.of, root, open)}.{self.name}"


@dataclass(frozen=True, eq=False)
class Attribute(Recipe):
    """An attribute of an instance."""

    name: str

    def __call__(self, *case: Any) -> Any:
        """Return the attribute of a new instance that has been called on the case, if any."""
        return _reached(_used(self.of, case), self.name)

    def text(self, root: str, open: bool = True) -> str:
        """Name the attribute."""
        return f"{_text(self.of, root, open)}.{self.name}"


@dataclass(frozen=True, eq=False)
class State(Recipe):
    """The state of a module."""

    def __call__(self, *case: Any) -> Any:
        """Return the state of a new instance that has been called on the case, if any."""
        state = _used(self.of, case).state_dict()
        return dict(state) if type(state) is OrderedDict else state

    def text(self, root: str, open: bool = True) -> str:
        """Name the state."""
        return f"{_text(self.of, root, open)}.state_dict()"


@dataclass(frozen=True, eq=False)
class Gradients(Recipe):
    """The gradients of a module's parameters."""

    def __call__(self, *case: Any) -> dict[str, Any]:
        """Return the gradient by each parameter of a new instance, None where none arrives."""
        module = _built(self.of)
        with torch.enable_grad():
            output = module(*case)
            pairs = zip(floating_tensors(output), weights_for(plain(output)), strict=True)
            terms = [(part * weight.to(part.device)).sum() for part, weight in pairs]
            total = sum(terms, torch.zeros(()))
            slopes: dict[str, Any] = dict.fromkeys(name for name, _ in module.named_parameters())
            wanted = {n: p for n, p in module.named_parameters() if p.requires_grad}
            if total.requires_grad and wanted:
                found = torch.autograd.grad(total, list(wanted.values()), allow_unused=True)
                slopes.update(zip(wanted, found, strict=True))
        return slopes

    def text(self, root: str, open: bool = True) -> str:
        """Name the gradients."""
        return f"{_text(self.of, root, open)}.gradients()"


@dataclass(frozen=True, eq=False)
class Taken(Recipe):
    """The first items that a generator yields."""

    count: int

    def __call__(self, *case: Any) -> list[Any]:
        """Return the items, fewer if there are fewer, each as it was when it was yielded."""
        return [_kept(item) for item in islice(_built(self.of)(*case), self.count)]

    def text(self, root: str, open: bool = True) -> str:
        """Name the items."""
        number = f" {self.count}" if open and self.count > 1 else ""
        items = "item" if self.count == 1 else "items"
        return f"the first{number} {items} of {_text(self.of, root, open)}"


@dataclass(frozen=True, eq=False)
class Through(Recipe):
    """What an author's function makes of a learner's object."""

    driver: Callable[..., Any]

    def __call__(self, *case: Any) -> Any:
        """Return driver(object, *case)."""
        return self.driver(_built(self.of), *case)

    def inputs(self) -> list[str]:
        """Return the names that the driver gives a case."""
        return parameters_of(self.driver)[1:]

    def text(self, root: str, open: bool = True) -> str:
        """Name the call."""
        return f"{self.driver.__name__}({_text(self.of, root, open)})"


_KINDS: dict[type, str] = {
    Made: "make",
    Method: "method",
    Attribute: "attribute",
    State: "state_dict",
    Gradients: "gradients",
    Taken: "take",
    Through: "through",
}


def make(of: Any, /, *args: Any, state: Mapping[str, Any] | None = None, **kwargs: Any) -> Made:
    """Make an instance of a learner's class, anew for every case and after seeding.

    Args:
        of: the class.
        args: plain data for its constructor.
        state: what its `load_state_dict` is given, for example a reference's `state_dict()`.
        kwargs: plain data for its constructor.

    Returns:
        A recipe that calls the instance on each case; its methods ask for something else.

    Raises:
        TypeError: if an argument or something in the state is not plain data.
    """
    copied(args), copied(kwargs)
    state = None if state is None else copied(dict(state), "the state")
    return Made(of, args, kwargs, state)


def take(of: Any, /, count: int) -> Taken:
    """Take the first items of what a learner's function yields for each case.

    Args:
        of: the generator function, or a method of an instance.
        count: how many items.

    Raises:
        ValueError: if `count` is not a positive whole number.
    """
    if type(count) is not int or count < 1:
        raise ValueError(f"count must be a positive int, got {count!r}")
    return Taken(of, count)


def through(of: Any, /, driver: Callable[..., Any]) -> Through:
    """Let a function of the author's work with a learner's object, called as driver(object, *case).

    In official grading its text is sent to the learner's process and runs among the names of the
    setup cell, so it uses those, Python's own and what it imports itself, and holds no secret.

    Args:
        of: the object, for example a class or a function.
        driver: written with `def`, takes the object and the case, returns plain data.

    Raises:
        ValueError: if `driver` is no such function.
    """
    if type(driver) is not FunctionType or driver.__name__ == "<lambda>":
        raise ValueError("driver must be a function that is written with def")
    if driver.__closure__ is not None:
        names = ", ".join(driver.__code__.co_freevars)
        raise ValueError(f"driver must not use names of a function around it: {names}")
    return Through(of, driver)


def is_recipe(value: Any) -> bool:
    """Whether a value is a recipe, past whatever it may say about its class."""
    return type(value) in _KINDS


def root(value: Any) -> Any:
    """Return the object at the bottom of a recipe."""
    while is_recipe(value):
        value = value.of
    return value


def name_with(value: Any, name: Callable[[Any], str], open: bool = True) -> str:
    """Name a recipe or an object.

    Args:
        value: the recipe or object.
        name: returns the name of an object.
        open: whether arguments may be shown.
    """
    return _text(value, name(root(value)), open)


def described(value: Any, name: Callable[[Any], str]) -> tuple[Any, ...]:
    """Describe a recipe, or an object by itself, as plain data.

    Args:
        value: the recipe or object.
        name: returns the name of an object.

    Raises:
        ValueError: if the text of a driver cannot be found.
    """
    if not is_recipe(value):
        return ("name", name(value))
    head = (_KINDS[type(value)], described(value.of, name))
    if type(value) is Made:
        return (*head, value.args, dict(value.kwargs or {}), value.state, value.wide)
    if type(value) in (Method, Attribute):
        return (*head, value.name)
    if type(value) is Taken:
        return (*head, value.count)
    if type(value) is Through:
        return (*head, value.driver.__name__, *source_of(value.driver))
    return head


def restored(
    description: tuple[Any, ...], lookup: Callable[[str], Any], names: Mapping[str, Any]
) -> Any:
    """Build the recipe or find the object that `described` described.

    Args:
        description: the plain data.
        lookup: returns the object of a name.
        names: what a driver's text may use.
    """
    kind, of, *details = description
    if kind == "name":
        return lookup(of)
    target = restored(of, lookup, names)
    if kind == "through":
        name, source, first = details
        return Through(target, _compiled(name, source, first, names))
    recipe = next(cls for cls, word in _KINDS.items() if word == kind)
    return recipe(target, *details)


def source_of(function: Callable[..., Any]) -> tuple[str, int]:
    """Return the text of a function of the author's, and the number of its first line.

    Works for files, for cells that IPython runs, and for any text that stands in `linecache`.

    Raises:
        ValueError: if it cannot be found.
    """
    code = function.__code__
    lines = linecache.getlines(code.co_filename)[code.co_firstlineno - 1 :]
    if not lines:
        raise ValueError(f"the text of {function.__name__} cannot be found: write it in a cell")
    return textwrap.dedent("".join(inspect.getblock(lines))), code.co_firstlineno


def _compiled(name: str, source: str, first: int, names: Mapping[str, Any]) -> Callable[..., Any]:
    """Define a driver from its text, with the line numbers of the cell that it comes from."""
    file = f"<driver {name}>"
    lines = [f"{line}\n" for line in source.split("\n")]
    linecache.cache[file] = (len(source), None, ["\n"] * (first - 1) + lines, file)
    tree = ast.increment_lineno(ast.parse(source), first - 1)
    namespace = dict(names)
    exec(compile(tree, file, "exec", dont_inherit=True), namespace)
    function: Callable[..., Any] = namespace[name]
    return function


def _built(of: Any) -> Any:
    return of.build() if is_recipe(of) else of


def _text(of: Any, root: str, open: bool) -> str:
    return str(of.text(root, open)) if is_recipe(of) else root


def _used(of: Any, case: tuple[Any, ...]) -> Any:
    made = _built(of)
    if case:
        made(*case)
    return made


def _reached(value: Any, name: str) -> Any:
    for part in name.split("."):
        value = getattr(value, part)
    return value


def _kept(item: Any) -> Any:
    """Copy an item, since a generator may go on writing into it; what is not plain stays."""
    try:
        return copied(item)
    except TypeError:
        return item


def _dotted(name: str) -> str:
    if type(name) is not str or not all(part.isidentifier() for part in name.split(".")):
        raise ValueError(f"name must be a name of Python's, or several with dots, got {name!r}")
    return name


def _short(value: Any) -> str:
    text = shown(plain(value))
    return text if len(text) <= 40 and "\n" not in text else type(value).__name__.lower()
