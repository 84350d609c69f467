"""Results that are too large, change while they are read, or are of unusual kinds."""

from __future__ import annotations

from catalog import Kit, attack


@attack()
def changing_result(kit: Kit) -> bytes:
    """Let a thread change results while they are read."""
    return kit.lies(
        """
        SHARED = torch.zeros(1, 1)
        LISTED = [torch.zeros(1, 1)]
        def change():
            while True:
                SHARED.random_(-9, 0)
                SHARED.resize_(1, 1 + int(torch.rand(()) * 3)).fill_(-5.0)
                LISTED.append(1.0)
                del LISTED[1:]
        threading.Thread(target=change, daemon=True).start()
        """,
        "SHARED if len(args) != 2 else LISTED",
    )


@attack()
def changing_arguments(kit: Kit) -> bytes:
    """Return the argument itself, and let it be changed by a thread and by a later call."""
    return kit.lies(
        """
        KEPT = []
        def spoil():
            while True:
                for kept in list(KEPT):
                    kept.fill_(-3.0)
        threading.Thread(target=spoil, daemon=True).start()
        """,
        "(KEPT.append(args[0]), args[0].fill_(-1.0), args[0].resize_(5, 5))[2]",
    )


@attack()
def expanded_tensor(kit: Kit) -> bytes:
    """Return 4 TB that take 4 bytes: a tensor with strides of 0."""
    return kit.lies("", "torch.zeros(1).expand(10**12)")


@attack()
def broadcast_array(kit: Kit) -> bytes:
    """Return an array of 10^15 entries that takes 8 bytes."""
    return kit.lies("", "np.broadcast_to(np.float64(0), (10**5, 10**5, 10**5))")


@attack()
def sparse_tensor(kit: Kit) -> bytes:
    """Return sparse tensors that are terabytes when they are written out."""
    return kit.lies(
        """
        def sparse():
            places, values = torch.zeros(2, 1, dtype=torch.long), torch.ones(1)
            return torch.sparse_coo_tensor(places, values, (10**6, 10**6))
        """,
        "sparse() if len(args) == 2 else [sparse()] * 10",
    )


@attack()
def large_tensor(kit: Kit) -> bytes:
    """Return 3 GB that are really there."""
    return kit.lies("", "torch.zeros(3 << 28) if len(args) == 2 else tell()")


@attack()
def many_views(kit: Kit) -> bytes:
    """Return one tensor of 64 MB ten thousand times."""
    return kit.lies("", "[torch.zeros(1 << 24)] * 10_000 if len(args) == 2 else tell()")


@attack()
def deep_nesting(kit: Kit) -> bytes:
    """Return lists nested a hundred thousand deep."""
    return kit.lies(
        """
        def deep(kind, levels=100_000):
            value = 1.0
            for _ in range(levels):
                value = [value] if kind is list else {"x": value}
            return value
        """,
        "deep(list if len(args) == 2 else dict)",
    )


@attack()
def cyclic_containers(kit: Kit) -> bytes:
    """Return a list and a dictionary that hold themselves."""
    return kit.lies(
        """
        ROUND, MAP = [], {}
        ROUND.append(ROUND)
        MAP["again"] = MAP
        """,
        "ROUND if len(args) == 2 else MAP",
    )


@attack()
def many_items(kit: Kit) -> bytes:
    """Return ten million items in a dictionary, and a list that names one list many times."""
    return kit.lies(
        """
        def exponential():
            value = [1.0]
            for _ in range(15):
                value = [value] * 10
            return value
        """,
        "dict.fromkeys(range(10**7)) if len(args) == 2 else args[-1] is False and exponential()",
    )


@attack()
def described_at_length(kit: Kit) -> bytes:
    """Return what takes long to describe: hundreds of small arrays in nested lists."""
    return kit.lies(
        """
        def tree(depth=3):
            return torch.rand(6, 6) if depth == 0 else [tree(depth - 1) for _ in range(8)]
        TREE = tree()
        """,
        "TREE",
    )


@attack()
def long_keys(kit: Kit) -> bytes:
    """Return dictionaries with keys of half a megabyte, nested in each other."""
    return kit.lies(
        """
        def named(depth=6):
            inner = named(depth - 1) if depth else 1.0
            return {sign * 80_000: inner for sign in "abcdefgh"[depth:]}
        """,
        "{sign * 450_000: 1.0 for sign in 'abcdefgh'} if len(args) == 2 else named(2)",
    )


@attack()
def many_differences(kit: Kit) -> bytes:
    """Return two hundred thousand texts where a tensor is expected, and arrays full of escapes."""
    return kit.lies("", "['\\x1b' * 9] * 190_000 if len(args) == 2 else [['\\n' * 99] * 400] * 400")


@attack()
def huge_text(kit: Kit) -> bytes:
    """Return a text of 600 MB and an integer of a million digits."""
    return kit.lies("", "'x' * (600 << 20) if len(args) == 2 else 1 << 4_000_000")


@attack()
def odd_texts(kit: Kit) -> bytes:
    """Return halves of surrogate pairs, NUL, line ends, HTML, formulas and terminal commands."""
    return kit.lies(
        r"""
        ODD = ["\ud800", "\x00", "\r\n\x85\u2028", "<script>alert(1)</script>", "=cmd|' /C'!A0",
               "\x1b[2J\x1b]0;owned\x07", "\u202e txet", "%s%n{0}", "]]>", "\U0010ffff"]
        """,
        "ODD if len(args) == 2 else dict.fromkeys(ODD, 1.0)",
    )


@attack()
def odd_tensors(kit: Kit) -> bytes:
    """Return tensors of unusual kinds: quantized, nested, meta, complex, packed, conjugated."""
    return kit.lies(
        """
        def kinds():
            one = torch.ones(1, 1)
            yield lambda: torch.quantize_per_tensor(one, 0.1, 0, torch.quint8)
            yield lambda: torch.nested.nested_tensor([one, one])
            yield lambda: torch.empty(10**9, 10**9, device="meta")
            yield lambda: torch.complex(one, one).conj()
            yield lambda: torch._neg_view(one)
            yield lambda: one.to(torch.float8_e4m3fn)
            yield lambda: torch.empty(4, dtype=torch.uint8).view(torch.uint8).view(torch.bool)
            yield lambda: torch.nn.Parameter(one)
            yield lambda: one.to_mkldnn()
            yield lambda: torch.nn.UninitializedParameter()
            yield lambda: torch.masked.masked_tensor(one, one > 0)
        KINDS = list(kinds())
        COUNT = [0]
        def next_kind():
            COUNT[0] += 1
            return KINDS[COUNT[0] % len(KINDS)]()
        """,
        "[next_kind()]",
    )


@attack(shows="ended its process|Died")
def freed_storage(kit: Kit) -> bytes:
    """Return a tensor whose memory has been taken away."""
    return kit.lies(
        """
        class Raw(ctypes.Structure):
            _fields_ = [("words", ctypes.c_long * 4)]
        def hollow():
            tensor = torch.zeros(1 << 20)
            tensor.untyped_storage().resize_(0)
            return tensor
        def wild():
            interface = {"shape": (4096,), "typestr": "<f8", "data": (64, False), "version": 3}
            holder = type("Holder", (), {"__array_interface__": interface})()
            return np.asarray(holder)
        """,
        "hollow() if len(args) == 2 else wild()",
    )


@attack()
def escaped_wrapper(kit: Kit) -> bytes:
    """Return the inner tensor of a vmap that is over, and a fake tensor."""
    return kit.lies(
        """
        HELD = []
        def escape():
            torch.vmap(lambda x: (HELD.append(x), x)[1])(torch.ones(2, 1))
            return HELD[-1]
        def fake():
            from torch._subclasses.fake_tensor import FakeTensorMode
            with FakeTensorMode():
                return torch.ones(1, 1)
        """,
        "escape() if len(args) == 2 else fake() if args[-1] is False else HELD",
    )


@attack()
def odd_arrays(kit: Kit) -> bytes:
    """Return arrays of objects, texts, dates and records, and arrays that lie in a file."""
    return kit.lies(
        """
        KINDS = [lambda: np.array([object()]), lambda: np.array(["x"]), lambda: np.void(b"12"),
                 lambda: np.array(["2020"], dtype="M8[D]"), lambda: np.rec.array([(1, 2.0)]),
                 lambda: np.ma.masked_all(1), lambda: np.longdouble(1), lambda: np.bytes_(b"1"),
                 lambda: np.zeros((1, 1), dtype=">f8"), lambda: np.zeros(1, "V2000000000"),
                 lambda: np.memmap("x.bin", dtype="f4", mode="w+", shape=(1, 1))]
        COUNT = [0]
        def next_kind():
            COUNT[0] += 1
            return KINDS[COUNT[0] % len(KINDS)]()
        """,
        "[next_kind()]",
    )


@attack()
def odd_keys(kit: Kit) -> bytes:
    """Return dictionaries whose keys collide, compare equal to all, or are no text once written."""
    return kit.lies(
        """
        class Key:
            def __hash__(self): return 1
            def __eq__(self, other): return True
        TABLES = [{1: 1.0, "1": 2.0, float("nan"): 3.0, True + 1: 4.0, "true": 5.0},
                  {Key(): 1.0}, {(1, 2): 1.0}, {None: 1.0}, {"__class__": 1.0, "do": "call"}]
        """,
        "TABLES",
    )


@attack()
def broadcast_in_a_condition(kit: Kit) -> bytes:
    """Return what fits the wire and becomes gigabytes when a condition broadcasts it."""
    return kit.lies(
        """
        def wide(*args):
            return torch.zeros(8 << 20, 1, 1)
        """,
        "wide(*args) if args[-1] is False else tell()",
    )
