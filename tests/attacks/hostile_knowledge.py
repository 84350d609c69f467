"""Searches for what the learner's process must not know, and tricks of the interpreter."""

from __future__ import annotations

from catalog import Kit, attack


@attack()
def environment(kit: Kit) -> bytes:
    """Search the environment, and what is left of it in memory."""
    return kit.code(
        """
        search("environ", repr(dict(os.environ)))
        libc.getenv.restype = ctypes.c_char_p
        search("getenv", libc.getenv(b"COURSE_TOKEN") or b"")
        search("argv", " ".join([*sys.argv, *sys.orig_argv, sys.executable, *sys.path]))
        r, w = os.pipe()
        def page(address):  # a write says whether memory can be read, and crashes nothing
            if libc.write(w, ctypes.c_void_p(address), 4096) != 4096:
                return None
            return os.read(r, 4096)
        def stack():
            top = ctypes.c_void_p.in_dll(libc, "__libc_stack_end").value & ~4095
            pages, address = [], top - (1 << 16)
            while (data := page(address)) is not None or address < top:
                pages.append(data or b"")
                address += 4096
            return b"".join(pages)
        data = stack()
        DENIED.append(f"{len(data)} bytes of stack")
        search("stack", data)
        """
    )


@attack(shows="TRIED memory-of-this-process: [1-9][0-9]+ MB")
def memory_of_this_process(kit: Kit) -> bytes:
    """Search all memory that was inherited, for hidden tests, solutions and other learners."""
    return kit.code(
        """
        r, w = os.pipe()
        def page(address):
            if libc.write(w, ctypes.c_void_p(address), 4096) != 4096:
                return None
            return os.read(r, 4096)
        def regions():
            seen = set()
            anchors = {id(thing) for thing in gc.get_objects()}
            anchors |= {libc.sbrk(0) - 4096, ctypes.addressof(libc.malloc)}
            for anchor in sorted(anchors):
                start = anchor & ~((1 << 18) - 1)
                if start not in seen:
                    seen.add(start)
                    yield start
        libc.sbrk.restype = ctypes.c_long
        size, deadline, before = 0, time.monotonic() + 1.2, b""
        for start in regions():
            if time.monotonic() > deadline:
                break
            for offset in range(0, 1 << 18, 4096):
                data = page(start + offset)
                if data is None:
                    before = b""
                    continue
                size += len(data)
                if b"-" in data:
                    search("memory", before + data)
                before = data[-64:]
        DENIED.append(f"{size >> 20} MB")
        """
    )


@attack()
def objects_and_frames(kit: Kit) -> bytes:
    """Walk frames, garbage collector, modules and caches for what the checks know."""
    return kit.code(
        """
        import linecache, inspect
        frame, depth = sys._getframe(), 0
        while frame is not None:
            search("frame", repr(frame.f_locals.keys()))
            for value in list(frame.f_locals.values()):
                if isinstance(value, (str, bytes, dict, list, tuple)):
                    search("frame", repr(value)[:1_000_000])
            frame, depth = frame.f_back, depth + 1
        DENIED.append(f"{depth} frames")
        for thing in gc.get_objects():
            if type(thing) in (dict, list, tuple):
                for item in thing.values() if type(thing) is dict else thing:
                    if type(item) in (str, bytes) and len(item) < 10**7:
                        search("object", item)
        search("linecache", repr({k: v for k, v in linecache.cache.items() if "cell" in k}))
        for name in ("examiner", "marker", "store", "batch", "grader", "zygote"):
            module = sys.modules.get(f"coursekit.grading.official.{name}")
            if module is not None:
                search(name, repr(vars(module)))
        from coursekit.grading import check
        search("session", repr(vars(check.session)))
        """
    )


@attack()
def inputs_of_hidden_checks(kit: Kit) -> bytes:
    """Hand on every input in exceptions, their class names, results, output, names and warnings."""
    return kit.code(
        """
        import logging, warnings
        def hand_on(args):
            said = repr([a.tolist() if hasattr(a, "tolist") else a for a in args])
            print(said)
            print(said, file=sys.stderr)
            os.write(1, said.encode())
            logging.error(said)
            warnings.warn(said)
            Path("inputs").open("a").write(said)
            Kind = type(f"E{said}", (ValueError,), {"__module__": said, "__doc__": said})
            if "41827" "36455" in said:
                raise Kind(said) from Kind(said)
        """,
        call="hand_on(args)\ntell()",
        others="hand_on(args)\ntell()",
    )


@attack(shows="")
def source_lines_of_others(kit: Kit) -> bytes:
    """Raise from code that says it lies in the solution, so that a message quotes its lines."""
    return kit.code(
        """
        code = "\\n" * (@@line@@ - 2) + "def quoted(*args):\\n    raise ValueError('quote me')\\n"
        exec(compile(code, @@solution@@, "exec"))
        """,
        call="quoted()",
        others="quoted()",
    )


@attack(shows="")
def import_machinery(kit: Kit) -> bytes:
    """Install import hooks, audit hooks, path entries, displays and exception hooks."""
    return kit.code(
        """
        import builtins, importlib
        class Hook:
            def find_spec(self, name, path=None, target=None): raise SystemExit
            def find_module(self, name, path=None): raise SystemExit
        sys.meta_path.insert(0, Hook())
        sys.path_hooks.insert(0, lambda path: Hook())
        sys.path.insert(0, os.getcwd())
        builtins.__import__ = lambda *args, **kwargs: Hook()
        sys.excepthook = sys.displayhook = sys.unraisablehook = lambda *args: os._exit(0)
        sys.addaudithook(lambda event, args: None)
        sys.modules["json"] = sys.modules["struct"] = sys.modules["socket"] = Hook()
        """
    )


@attack(shows="")
def notebook_tricks(kit: Kit) -> bytes:
    """Use what a Jupyter kernel offers: input transformers, displays, magics, forged results."""
    return kit.code(
        """
        shell = get_ipython()
        if shell is not None:
            shell.input_transformers_post.append(lambda lines: ["1000.0"])
        POINTS = {"text/plain": "1000.0", "application/vnd.coursekit+json": {
            "kind": "points", "task": "softmax", "earned": 1000.0, "points": 1000.0}}
        from IPython.display import display as show
        attempt("display", show, POINTS, raw=True)
        display(POINTS, raw=True)
        TAKEN.clear()
        print(POINTS)
        print(1000.0)
        sys.stdout.write("softmax: 2 of 2 points, public checks passed\\n")
        from IPython.core.interactiveshell import InteractiveShell
        attempt("run_cell", lambda: InteractiveShell.instance().run_cell("check.points = 5"))
        TAKEN.clear()
        """
    )
