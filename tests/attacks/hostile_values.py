"""Results that lie: objects, subclasses, patched libraries, values that are too large or change."""

from __future__ import annotations

from catalog import Kit, attack, function

WRONG = "torch.zeros(7)"
DEATHS = "ended its process"


@attack(shows="Yes")
def always_equal(kit: Kit) -> bytes:
    """Return an object whose every comparison and attribute says yes."""
    return kit.lies(
        """
        class Yes:
            def __eq__(self, other): return True
            def __ne__(self, other): return False
            __lt__ = __le__ = __gt__ = __ge__ = __contains__ = __eq__
            def __bool__(self): return True
            def __float__(self): return 1.0
            def __getattr__(self, name): return self
            def __call__(self, *args, **kwargs): return self
            def __getitem__(self, index): return self
            def __hash__(self): return 0
        """,
        "Yes()",
    )


@attack(shows="a subclass of Tensor")
def tensor_subclass(kit: Kit) -> bytes:
    """Return a tensor subclass whose __torch_function__ answers every question with True."""
    return kit.lies(
        """
        class Agreeable(torch.Tensor):
            @classmethod
            def __torch_function__(cls, function, types, args=(), kwargs=None):
                return torch.tensor(True)
        """,
        "torch.zeros(1, 1).as_subclass(Agreeable)",
    )


@attack(shows="a subclass of ndarray")
def array_subclass(kit: Kit) -> bytes:
    """Return an array subclass that answers ufuncs and comparisons itself."""
    return kit.lies(
        """
        class Agreeable(np.ndarray):
            def __array_ufunc__(self, *args, **kwargs): return np.array(True)
            def __array_function__(self, *args, **kwargs): return True
            def __eq__(self, other): return np.array(True)
        """,
        "np.zeros((1, 1)).view(Agreeable)",
    )


@attack(shows="a subclass of float")
def number_subclasses(kit: Kit) -> bytes:
    """Return numbers, lists and texts of subclasses that are equal to everything."""
    return kit.lies(
        """
        def agreeable(kind):
            same = {"__eq__": lambda self, other: True, "__sub__": lambda self, other: 0.0}
            return type("Agreeable", (kind,), {**same, "__hash__": kind.__hash__})
        KINDS = [agreeable(kind) for kind in (float, int, str, list, tuple, dict)]
        """,
        "KINDS[0](1.0) if len(args) == 2 else [kind() for kind in KINDS]",
    )


@attack(shows="Pretender")
def lying_shape_and_dtype(kit: Kit) -> bytes:
    """Return an object with the attributes and array protocols of a tensor."""
    return kit.lies(
        """
        class Pretender:
            shape, dtype, ndim, device = torch.Size([1, 1]), torch.float32, 2, torch.device("cpu")
            layout, is_quantized, is_nested, requires_grad = torch.strided, False, False, False
            __array_interface__ = {"shape": (1, 1), "typestr": "<f4", "data": (8, False),
                                   "version": 3}
            def __array__(self, *args, **kwargs): raise SystemExit
            def __dlpack__(self, *args, **kwargs): raise SystemExit
            def detach(self): return self
        """,
        "Pretender()",
    )


@attack(shows="Impostor")
def lying_class(kit: Kit) -> bytes:
    """Return an object whose __class__ and metaclass say that it is a tensor."""
    return kit.lies(
        """
        class Meta(type):
            def __instancecheck__(cls, instance): return True
            def __subclasscheck__(cls, other): return True
            def __eq__(cls, other): return True
            def __hash__(cls): return hash(torch.Tensor)
            __name__ = __qualname__ = property(lambda cls: "Tensor")
        class Impostor(metaclass=Meta):
            __class__ = property(lambda self: torch.Tensor)
        """,
        "Impostor()",
    )


@attack(shows="Endless|too (long|many|large)|a subclass of list")
def lying_length(kit: Kit) -> bytes:
    """Return lists whose length and iterator lie, and never end."""
    return kit.lies(
        """
        class Endless(list):
            def __len__(self): return 1
            def __iter__(self):
                while True:
                    yield 1.0
        """,
        "Endless([1.0])",
    )


@attack(shows="generator|not plain|NotPlain")
def endless_generator(kit: Kit) -> bytes:
    """Return a generator without end."""
    return kit.lies("import itertools", "(x for x in itertools.count())")


@attack(shows=f"TRIED|{DEATHS}")
def patched_torch(kit: Kit) -> bytes:
    """Replace what torch compares and converts with."""
    return kit.lies(
        """
        def yes(*args, **kwargs): return True
        for name in ("allclose", "equal", "isclose", "eq", "all", "is_tensor"):
            setattr(torch, name, yes)
        for name in ("__eq__", "allclose", "equal", "isclose", "all", "detach", "cpu", "numpy",
                     "contiguous", "clone", "tobytes", "untyped_storage"):
            attempt_patch = lambda self, *args, **kwargs: self
            setattr(torch.Tensor, name, attempt_patch)
        torch.Tensor.shape = property(lambda self: (1, 1))
        torch.testing.assert_close = yes
        """,
        WRONG,
    )


@attack(shows=f"TRIED|{DEATHS}")
def patched_numpy(kit: Kit) -> bytes:
    """Replace what NumPy compares and converts with."""
    return kit.lies(
        """
        for name in ("allclose", "array_equal", "isclose", "equal", "all", "abs", "isnan",
                     "array", "asarray", "ascontiguousarray", "frombuffer"):
            setattr(np, name, lambda *args, **kwargs: True)
        """,
        WRONG,
    )


@attack(shows="")
def patched_builtins(kit: Kit) -> bytes:
    """Replace the built-in functions that a comparison needs."""
    return kit.lies(
        """
        import builtins
        real = type
        for name, lie in {"all": lambda *a: True, "abs": lambda *a: 0.0, "len": lambda x: 1,
                          "isinstance": lambda *a: True, "max": lambda *a, **k: 0,
                          "sum": lambda *a: 0, "zip": lambda *a, **k: iter(()),
                          "type": lambda *a: torch.Tensor, "repr": lambda x: "ok"}.items():
            setattr(builtins, name, lie)
        """,
        WRONG,
    )


@attack(shows="")
def patched_wire(kit: Kit) -> bytes:
    """Replace json, struct, socket and the course's own encoder in the learner's process."""
    return kit.lies(
        """
        import json
        from coursekit.grading.official import learner, wire
        def forged(*args, **kwargs): return '{"ok": true, "earned": 1000.0, "points": 1000.0}'
        json.dumps = forged
        json.JSONEncoder.encode = forged
        for module in (wire, learner):
            for name in list(vars(module)):
                if name in ("encode", "failure", "plain", "printable", "difference"):
                    setattr(module, name, forged)
        """,
        WRONG,
    )


@attack(shows="")
def patched_grading(kit: Kit) -> bytes:
    """Replace the modules of coursekit.grading, the session's points and its backend."""
    return kit.lies(
        """
        import types
        from coursekit.grading import check
        check.points = lambda: 1000.0
        check.session.points = lambda: 1000.0
        check.close = check.equal = check.holds = lambda *args, **kwargs: None
        check.session.run = lambda *args, **kwargs: None
        for name in [name for name in sys.modules if name.startswith("coursekit.grading")]:
            forged = types.ModuleType(name)
            forged.__getattr__ = lambda name: (lambda *args, **kwargs: 1000.0)
            sys.modules[name] = forged
        """,
        WRONG,
    )


@attack()
def patched_inspection(kit: Kit) -> bytes:
    """Replace ast, inspect, linecache and traceback, which messages are made with."""
    return kit.code(
        """
        import ast, inspect, linecache, traceback
        def forged(*args, **kwargs): return "check.points = 1000"
        for module in (ast, inspect, linecache, traceback):
            for name in list(vars(module)):
                if callable(getattr(module, name)) and not name.startswith("__"):
                    setattr(module, name, forged)
        """
    )


@attack(shows="of 20|Session|not plain|NotPlain|a subclass|an? [A-Z]")
def results_of_the_grader(kit: Kit) -> bytes:
    """Return the grader's own records: an Outcome, a Failure, a Verdict, a Proxy."""
    return kit.lies(
        """
        from coursekit.grading.backend import Failure, Outcome
        from coursekit.grading.session import TaskResult
        ALL = [Outcome(1.0, (), None), Failure("NotImplementedError"),
               TaskResult("softmax", False, 1000.0, 1000.0)]
        """,
        "ALL if len(args) == 2 else ALL[0]",
    )


@attack(shows="")
def special_values(kit: Kit) -> bytes:
    """Return Ellipsis, NotImplemented, types, modules and code."""
    return kit.lies(
        "ODD = [..., NotImplemented, int, os, tell, tell.__code__, object(), b'1', {1}, 1j]",
        "ODD[len(TAKEN) + len(args)]",
    )


@attack(shows="NaN|nan")
def nan_everywhere(kit: Kit) -> bytes:
    """Return NaN in the right shape, of which comparisons are neither true nor false."""
    nan = "return ({}) * float('nan')"
    answers = {name: function(name, "raise ValueError") for name in ("softmax", "box_iou")}
    answers["layer_norm"] = function("layer_norm", nan.format("args[0]"))
    answers["attention"] = function("attention", nan.format("args[0][:, :1] + args[2][:1]"))
    return kit.submission(**answers)


@attack(shows="inf")
def infinity_everywhere(kit: Kit) -> bytes:
    """Return infinities of both signs, and gradients of them."""
    large = "return ({}) * float('inf')"
    answers = {name: function(name, "raise ValueError") for name in ("softmax", "box_iou")}
    answers["layer_norm"] = function("layer_norm", large.format("args[0]"))
    answers["attention"] = function("attention", large.format("args[0][:, :1] + args[2][:1]"))
    return kit.submission(**answers)


@attack(shows="sort|namedtuple|a subclass of tuple")
def forged_return_type(kit: Kit) -> bytes:
    """Return a namedtuple that calls itself a return type of torch."""
    return kit.lies(
        """
        from collections import namedtuple
        sort = namedtuple("sort", "values indices")
        sort.__module__ = "torch.return_types"
        torch.return_types.sort = sort
        class Size(tuple):
            pass
        torch.Size = Size
        """,
        "sort(1.0, 2.0) if len(args) == 2 else torch.Size([1])",
    )


@attack()
def hooks_on_gradients(kit: Kit) -> bytes:
    """Give back results with hooks, custom functions and attributes that would run elsewhere."""
    return kit.lies(
        """
        class Evil(torch.autograd.Function):
            @staticmethod
            def forward(ctx, x): return x * 0 - 1
            @staticmethod
            def backward(ctx, grad): return torch.full_like(grad, float("nan"))
        def hooked(x):
            result = Evil.apply(x.clone().requires_grad_())
            result.register_hook(lambda grad: os._exit)
            result.__dict__["detach"] = lambda: torch.ones(1, 1)
            result.evil = Evil
            return result
        """,
        "hooked(args[0].float())",
    )


@attack()
def gradients_by_patching(kit: Kit) -> bytes:
    """Replace torch.autograd.grad by a function that hands out ones."""
    return kit.lies(
        """
        torch.autograd.grad = lambda outputs, inputs, **kwargs: [torch.ones_like(x) for x in inputs]
        torch.Tensor.backward = lambda self, *args, **kwargs: None
        """,
        "args[0] * 0 - 1",
    )


@attack(shows="")
def reduce_and_pickles(kit: Kit) -> bytes:
    """Return objects that run code when they are unpickled or deep-copied; leave such files."""
    return kit.lies(
        """
        class Loaded:
            def __reduce__(self): return (os.system, ("touch " + @@drop@@ + "/unpickled",))
            def __deepcopy__(self, memo): return os._exit(3)
            __getstate__ = __copy__ = __deepcopy__
        import pickle
        for name in ("result.pt", "grade.pkl", "x.npy", "sitecustomize.py", "torch.py"):
            with open(name, "wb") as file:
                file.write(pickle.dumps(Loaded()))
        """,
        "Loaded() if len(args) == 2 else np.array([Loaded()], dtype=object)",
    )


@attack(honest=20.0, shows="")
def names_of_the_trusted_side(kit: Kit) -> bytes:
    """Right answers that also redefine check, the data of the setup cell and built-ins."""
    redefined = """
        class check:
            points = close = holds = task = staticmethod(lambda *args, **kwargs: 1000.0)
        ROWS = WIDE = large = double = narrow = scale = shift = fused = many = None
        def Proxy(name): return name
        """
    answers = {**kit.right, "attention": f"{kit.right['attention']}\n\n{kit.filled(redefined)}"}
    return kit.submission(**answers)


@attack(honest=2.0, shows="box_iou: 2 of 2")
def hard_coded_public_answers(kit: Kit) -> bytes:
    """Return exactly what one task's public checks ask for, which is worth just these."""
    answers = {name: function(name, "raise ValueError") for name in kit.right}
    answers["box_iou"] = """
        def box_iou(a, b):
            return torch.tensor([[1 / 7, 1 / 2]]) if len(b) == 2 else torch.ones(1, 1)
        """
    return kit.submission(**answers)
