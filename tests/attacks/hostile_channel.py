"""Attacks on the socket between the learner's process and the marker, and on every descriptor."""

from __future__ import annotations

from collections.abc import Sequence

from catalog import PRELUDE, TASKS, Kit, attack, function

FRAMES = """
    import json

    def frame(header, nodes=(), body=b"", total=None, head=None):
        text = json.dumps([header, list(nodes)]).encode() if header is not None else b""
        total = len(text) + len(body) if total is None else total
        return struct.pack(">QI", total, len(text) if head is None else head) + text + body

    def write_everywhere(data, first=3, last=64):
        for fd in range(first, last):
            try:
                os.write(fd, data)
            except OSError as error:
                DENIED.append(f"{fd}: {error.strerror}") if fd < 6 else None

    ONE = ["T", "float32", [1], [0], False]
    BODY = struct.pack("<f", -1.0)
"""
GARBAGE = "cannot be read|ended its process|Died|it fails|no check passed"


def frames(code: str) -> str:
    """Return the helpers for frames, followed by an attack's code with the same indentation."""
    return f"{FRAMES}\n{code}"


@attack(shows=GARBAGE)
def forged_points(kit: Kit) -> bytes:
    """Write messages that hand out 1000 points to every descriptor from 3 up."""
    return kit.code(
        frames(
            """
    for header in ({"ok": True, "earned": 1000.0, "points": 1000.0, "score": 1000},
                   {"status": "graded", "score": 1000.0, "max_score": 20.0},
                   {"needs": "9-trial/01-layers"}, {"ended": True}, {"ready": True}):
        write_everywhere(frame(header))
        write_everywhere(json.dumps(header).encode() + b"\\n")
        write_everywhere(struct.pack("!Q", len(json.dumps(header))) + json.dumps(header).encode())
            """
        )
    )


@attack(shows=GARBAGE)
def answers_ahead_of_the_question(kit: Kit) -> bytes:
    """Write well-formed answers, hundreds of them, before anything is asked."""
    return kit.code(
        frames(
            """
    write_everywhere(frame({"ok": True}) + frame({"ok": True}, [ONE], BODY) * 500, last=4)
            """
        )
    )


@attack(shows="it raises ValueError")
def unchanged_ahead_of_the_question(kit: Kit) -> bytes:
    """Answer ahead that arguments are unchanged and that the expected exception was raised."""
    return kit.code(
        frames(
            """
    failed = {"failure": {"type": "ValueError", "bases": ["ValueError", "Exception"], "message": "",
                          "function": "", "line": 0, "source": ""}}
    write_everywhere((frame(failed) + frame({"ok": True}, [["l", ONE]], BODY)) * 200, last=4)
            """
        )
    )


@attack(shows=GARBAGE)
def endless_length(kit: Kit) -> bytes:
    """Announce a frame of 16 exabytes."""
    return kit.code(frames("    write_everywhere(b'\\xff' * 12 + b'x' * 4000)"))


@attack(shows=GARBAGE)
def empty_frames(kit: Kit) -> bytes:
    """Write frames of no bytes, and frames whose header is longer than the frame."""
    return kit.code(
        frames("    write_everywhere(frame(None) * 500 + frame(None, total=5, head=9) * 500)")
    )


MUTATIONS = (
    ["T", "object", [1], [0], False],
    ["T", "float32", [-1], [0], False],
    ["T", "float32", [1 << 62, 4], [0, 1], False],
    ["T", "float32", [1 << 39, 0], [0, 1], False],
    ["T", "float32", [1] * 33, list(range(33)), False],
    ["T", "float32", [1], [7], False],
    ["T", "float32", [1, 1], [0, 0], False],
    ["T", "int64", [1], [0], True],
    ["T", "bool", [4], [0], False],
    ["T", ["float32"], [1], [0], False],
    ["T", "float32", "1", [0], False],
    ["T", "float32", [True], [0], False],
    ["A", "V8", [1]],
    ["A", "O", [1]],
    ["S", "float64", [3]],
    ["A", "longdouble", [1 << 39]],
    ["i", "-"],
    ["i", "f" * 4000],
    ["d", ["l"], 1],
    ["d", 1, 2, 1, 3],
    ["pickle", "gASV"],
    [["l"]],
    {"T": 1},
)


BOMBS = (
    """b"[" * 3_000_000""",
    """b"[" + b"9" * 3_000_000 + b"]\"""",
    """b'[{"ok":true,"ok":1e999},[NaN]]'""",
    """b'[{"a":' * 500_000""",
    """b'[{"ok":true},[' + b'["l"],' * 400_000 + b'1]]'""",
    """b'[{"ok":true},[' + b'[],' * 900_000 + b'1]]'""",
    """b'[{"ok":true},["\\\\ud800"]]'""",
    """b"\\xff\\xfe[\\x00\"""",
)


def replies(kit: Kit, payloads: Sequence[str]) -> bytes:
    """Return a notebook whose functions send bytes of their own in place of an answer."""
    head = f"{kit.filled(PRELUDE)}\n\n\n{kit.filled(FRAMES)}\n\n\n"
    send = "with socket.socket(fileno=os.dup(3)) as channel:\n    channel.sendall({})"
    answers = {
        task: head + function(task, send.format(payload))
        for task, payload in zip(TASKS, payloads, strict=False)
    }
    return kit.submission(**answers)


def _enter(kind: str, tries: str, payloads: Sequence[str]) -> None:
    for first in range(0, len(payloads), len(TASKS)):
        four = payloads[first : first + len(TASKS)]

        def build(kit: Kit, four: Sequence[str] = four) -> bytes:
            return replies(kit, four)

        build.__name__ = f"{kind}_{first // len(TASKS) + 1}"
        build.__doc__ = tries
        attack(shows=GARBAGE)(build)


_enter(
    "malformed_values",
    "Answer a call with a value whose format, shape, order of axes or length is a lie.",
    [f"""frame({{"ok": True}}, [{node!r}], b"\\x02" * 4)""" for node in MUTATIONS],
)
_enter(
    "json_bombs",
    "Answer a call with nested brackets, endless numbers, doubled keys, NaN, half a surrogate.",
    [f"(lambda t: struct.pack('>QI', len(t), len(t)) + t)({bomb})" for bomb in BOMBS],
)


@attack(honest=15.0, shows="too long")
def slow_drip(kit: Kit) -> bytes:
    """Send an answer byte by byte, so that each read succeeds and none ends."""
    return kit.one(
        """
        with socket.socket(fileno=os.dup(3)) as channel:
            channel.sendall(struct.pack(">QI", 1 << 20, 1 << 10))
            while True:
                channel.sendall(b"[")
                time.sleep(0.05)
        """
    )


@attack(honest=15.0, shows="")
def flood_of_frames(kit: Kit) -> bytes:
    """Send well-formed frames and plain bytes without end."""
    return kit.one(
        """
        with socket.socket(fileno=os.dup(3)) as channel:
            while True:
                channel.sendall(b"x" * (1 << 20))
        """
    )


@attack(shows="")
def closed_descriptors(kit: Kit) -> bytes:
    """Close every descriptor, the channel included, and open other things in their places."""
    return kit.code(
        """
        def close_all():
            os.closerange(0, 4096)
            for _ in range(8):
                os.open("/dev/null", os.O_RDWR)
        """,
        call="close_all()",
        others="close_all()",
    )


@attack()
def inherited_descriptors(kit: Kit) -> bytes:
    """Read, seek, accept and receive on every descriptor that was left open."""
    return kit.code(
        """
        import stat
        def look(fd):
            mode = os.fstat(fd).st_mode
            if stat.S_ISREG(mode):
                took(f"descriptor {fd} is a file that says {os.pread(fd, 99, 0)}")
            if stat.S_ISDIR(mode):
                took(f"descriptor {fd} is a folder that holds {os.listdir(fd)}")
            if stat.S_ISSOCK(mode) and fd != 3:
                took(f"descriptor {fd} is a socket")
            if stat.S_ISFIFO(mode):
                took(f"descriptor {fd} is a pipe")
        for fd in range(0, 4096):
            try:
                look(fd)
            except OSError as error:
                DENIED.append(error.strerror) if fd < 4 else None
        def accept():
            with socket.socket(fileno=os.dup(3)) as channel:
                return channel.accept()
        attempt("accept", accept)
        attempt("reopen", os.open, "/dev/fd/3", os.O_RDWR)
        """
    )


@attack(honest=15.0, shows="")
def stolen_questions(kit: Kit) -> bytes:
    """Read questions from the channel in a thread before the grader's own loop can."""
    return kit.one(
        "return torch.zeros(1, 1)",
        """
        def steal():
            with socket.socket(fileno=os.dup(3)) as channel:
                while True:
                    search("question", channel.recv(1 << 16))
        threading.Thread(target=steal, daemon=True).start()
        """,
    )


@attack(shows="")
def descriptors_passed_on(kit: Kit) -> bytes:
    """Pass descriptors to the marker by the thousand, and out-of-band bytes."""
    return kit.code(
        """
        def pass_on():
            with socket.socket(fileno=os.dup(3)) as channel:
                for _ in range(200):
                    socket.send_fds(channel, [b"x"], [0, 1, 2] * 20)
        attempt("pass", pass_on) and TAKEN.clear()
        TAKEN.clear()
        def urgent():
            with socket.socket(fileno=os.dup(3)) as channel:
                channel.send(b"!", socket.MSG_OOB)
        attempt("urgent", urgent)
        TAKEN.clear()
        """
    )


@attack()
def signals_through_descriptors(kit: Kit) -> bytes:
    """Have the kernel signal the parent when the channel becomes readable (F_SETOWN, O_ASYNC)."""
    return kit.code(
        """
        F_SETSIG, F_SETOWN_EX = 10, 15
        def own(target):
            fcntl.fcntl(3, F_SETSIG, signal.SIGKILL)
            fcntl.fcntl(3, fcntl.F_SETOWN, target)
            fcntl.fcntl(3, fcntl.F_SETFL, fcntl.fcntl(3, fcntl.F_GETFL) | os.O_ASYNC)
            return fcntl.fcntl(3, fcntl.F_GETOWN)
        for target in {os.getppid(), os.getsid(0)} - {os.getpid(), 0, 1}:
            attempt("owner", own, target)
            attempt("owning group", own, -target)
            attempt("FIOSETOWN", fcntl.ioctl, 3, 0x8901, struct.pack("i", target))
        attempt("F_SETOWN_EX", fcntl.fcntl, 3, F_SETOWN_EX, struct.pack("ii", 1, os.getppid()))
        attempt("lease", fcntl.fcntl, os.open("x", os.O_CREAT | os.O_RDWR), fcntl.F_SETLEASE, 0)
        attempt("F_NOTIFY", fcntl.fcntl, os.open(".", os.O_RDONLY), fcntl.F_NOTIFY, 0x8000003F)
        """
    )


@attack(honest=15.0, shows="")
def dead_channel_with_right_answers(kit: Kit) -> bytes:
    """Shut the channel down in the last task's function, the others being right."""
    return kit.one(
        """
        with socket.socket(fileno=os.dup(3)) as channel:
            channel.shutdown(socket.SHUT_RDWR)
        """
    )
