"""Where attackers and honest learners hand in side by side, and what is found afterwards."""

from __future__ import annotations

import csv
import hashlib
import importlib.util
import json
import os
import re
import secrets
import selectors
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import unicodedata
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import hostile_channel  # noqa: F401  (they fill the catalog)
import hostile_ends  # noqa: F401
import hostile_escapes  # noqa: F401
import hostile_files  # noqa: F401
import hostile_floods  # noqa: F401
import hostile_knowledge  # noqa: F401
import hostile_notebooks  # noqa: F401
import hostile_sizes  # noqa: F401
import hostile_values  # noqa: F401
from catalog import ATTACKS, MARKER, TASKS, Attack, Kit, function, written

from coursekit.grading.notebook import read_notebook
from coursekit.grading.official.store import Store
from coursekit.grading.official.submissions import shown

HERE = Path(__file__).parent
CHECKOUT = HERE.parents[1]
LIMIT = 400  # seconds for one batch, on a slow machine
SECONDS, JOBS = 3, 2
NOBODY = 65534
HIDDEN_INPUT = "0.4182736455"
SHARED_KEY = str(0x5EED)


@dataclass
class Result:
    """What a batch with attackers left behind; plain data, so that JSON can hold it.

    Attributes:
        grades: All rows.
        calm: The rows of the honest neighbors, graded without attackers.
        report: What `launch.py` says: exit code, seconds, processes left.
        output: What the command printed.
        words: What attackers left in the open folder, by file.
        heard: What the listener was told.
        leaks: Where something was found that had to stay secret.
        changed: Files outside that are not as they were.
        remains: Files left in the folder for temporary files.
        unsafe: Cells of tables that are formulas, and markup that was not escaped.
        neighbors: The word in each honest learner's answers.
    """

    grades: list[dict[str, Any]] = field(default_factory=list)
    calm: list[dict[str, Any]] = field(default_factory=list)
    report: dict[str, Any] = field(default_factory=dict)
    output: str = ""
    words: dict[str, str] = field(default_factory=dict)
    heard: list[str] = field(default_factory=list)
    leaks: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    remains: list[str] = field(default_factory=list)
    unsafe: list[str] = field(default_factory=list)
    neighbors: dict[str, str] = field(default_factory=dict)


class Listener:
    """Sockets of several kinds that note every word; a context manager."""

    def __init__(self, path: str):
        self.heard: list[str] = []
        self.abstract = f"\0coursekit-attacks-{secrets.token_hex(6)}"
        self.sockets = [socket.create_server(("127.0.0.1", 0))]
        self.port = self.sockets[0].getsockname()[1]
        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        udp.bind(("127.0.0.1", self.port))
        self.sockets.append(udp)
        for name in (path, self.abstract):
            unix = socket.socket(socket.AF_UNIX)
            unix.bind(name)
            unix.listen()
            self.sockets.append(unix)
        os.chmod(path, 0o777)
        self.wake, self.end = socket.socketpair()
        self.thread = threading.Thread(target=self.listen)

    def __enter__(self) -> Listener:
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.end.close()
        self.thread.join()
        for one in (*self.sockets, self.wake):
            one.close()

    def listen(self) -> None:
        """Note what comes until `end` is closed."""
        with selectors.DefaultSelector() as selector:
            for one in (*self.sockets, self.wake):
                selector.register(one, selectors.EVENT_READ)
            while True:
                ready = [key for key, _ in selector.select()]
                for key in sorted(ready, key=lambda key: key.fileobj is self.wake):
                    if key.fileobj is self.wake:
                        return
                    self.heard.append(self.hear(key.fileobj))  # type: ignore[arg-type]

    def hear(self, listener: socket.socket) -> str:
        """Return what somebody says."""
        if listener.type == socket.SOCK_DGRAM:
            return listener.recv(200).decode(errors="replace")
        connection, _ = listener.accept()
        with connection:
            connection.settimeout(1)
            try:
                return connection.recv(200).decode(errors="replace")
            except OSError:
                return "a connection without a word"


def trial_exercise() -> Any:
    """Return the module of the trial exercise, which lies beside the other tests of grading."""
    folder = HERE.parent / "grading"
    for name in ("building", "torch_exercise"):
        if name not in sys.modules:
            spec = importlib.util.spec_from_file_location(name, folder / f"{name}.py")
            assert spec is not None
            assert spec.loader is not None
            sys.modules[name] = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(sys.modules[name])
    return sys.modules["torch_exercise"]


def marker(kind: str) -> str:
    """Return a new word that must not be found where it does not belong."""
    return f"{kind}-{secrets.token_hex(6)}"


class Arena:
    """Folders for one batch: a course, submissions, results, and what is planted around them."""

    def __init__(self, root: Path):
        self.root = root
        self.course, self.out = root / "course", root / "out"
        self.submissions, self.calm = root / "submissions", root / "calm"
        self.tmp, self.home, self.drop = root / "tmp", root / "home", root / "drop"
        for folder in (self.submissions, self.calm, self.tmp, self.home, self.drop):
            folder.mkdir()
        self.trial = trial_exercise()
        self.name: str = self.trial.write_course(self.course)
        self.solution = self.course / "solutions" / f"{self.name}.ipynb"
        self.plant()

    def plant(self) -> None:
        """Write words into every hidden cell, and a file beside the course."""
        notebook = read_notebook(self.solution)
        for cell in notebook.cells:
            head, end = "### BEGIN HIDDEN TESTS\n", f"note = '{marker('HIDDEN')}'\n"
            cell.source = cell.source.replace(head, head + end).replace(
                "-0.4]", f"-{HIDDEN_INPUT}]"
            )
            begin = "    ### BEGIN SOLUTION\n"
            cell.source = cell.source.replace(begin, f"{begin}    # {marker('HIDDEN')}\n")
            if cell.cell_type == "raw":
                cell.source += f"\n# {marker('HIDDEN')}"
        self.solution.write_bytes(written(notebook))
        assert HIDDEN_INPUT in self.solution.read_text("utf-8")
        self.secret = self.root / "secret.txt"
        self.secret.write_text(f"keys of the teacher: {marker('PLANTED')}\n")
        (self.home / "diary.txt").write_text(marker("PLANTED"))
        try:
            os.setxattr(self.secret, "user.planted", b"1")
        except OSError:  # a file system without attributes
            return

    def neighbors(self, folder: Path) -> None:
        """Hand in for three honest learners: right, half right, untouched."""
        right = {task["id"]: self.trial.answers(task)["right"][0] for task in self.trial.TASKS}
        half = {**right, TASKS[0]: function(TASKS[0], "raise ValueError('half')"),
                TASKS[3]: function(TASKS[3], "return args[0] / 0")}  # fmt: skip
        kit = Kit(self.course / "exercises" / f"{self.name}.ipynb", right)
        for learner, answers in (("~right", right), ("~half", half), ("~untouched", {})):
            notebook = kit.notebook(**answers)
            if answers:
                for cell in notebook.cells:
                    cell.source = cell.source.replace("def ", f"# {NEIGHBORS[learner]}\ndef ", 1)
            self.notebook_of(folder, learner).write_bytes(written(notebook))

    def notebook_of(self, folder: Path, learner: str) -> Path:
        """Return where a learner's notebook belongs; its folder is there then."""
        path = folder / learner / f"{self.name}.ipynb"
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def hand_in(self, listener: Listener, listening: str) -> None:
        """Put every attack into the folder of submissions."""
        self.neighbors(self.submissions)
        self.neighbors(self.calm)
        right = {task["id"]: self.trial.answers(task)["right"][0] for task in self.trial.TASKS}
        lines = self.solution.read_text("utf-8").splitlines()
        places = {
            "course": str(self.course),
            "solution": str(self.solution),
            "line": next(n for n, line in enumerate(lines, 1) if "HIDDEN-" in line),
            "submissions": str(self.submissions),
            "neighbor": str(self.notebook_of(self.submissions, "~right")),
            "out": str(self.out),
            "home": str(self.home),
            "tmp": str(self.tmp),
            "drop": str(self.drop),
            "secret": str(self.secret),
            "port": listener.port,
            "listener": listening,
            "abstract": listener.abstract,
        }
        kit = Kit(self.course / "exercises" / f"{self.name}.ipynb", right, places)
        for attack in ATTACKS:
            kit.attack = attack.name
            path = self.notebook_of(self.submissions, os.fsdecode(attack.learner))
            handed = attack.build(kit)
            if isinstance(handed, bytes):
                path.write_bytes(handed)
            else:
                handed(path)

    def give_to(self, user: int) -> None:
        """Make everything the user's, and let everybody write into the open folder."""
        for folder, names, files in os.walk(self.root):
            for name in (*names, *files):
                os.lchown(os.path.join(folder, name), user, user)
        os.chown(self.root, user, user)

    def grade(self, submissions: Path, out: Path, user: int) -> tuple[dict[str, Any], str]:
        """Run `coursekit grade` and return the launcher's report and the output."""
        report = self.root / f"report-{out.name}.json"
        program = "import sys; from coursekit.cli import main; main()"
        command = [sys.executable, "-c", program, "grade", str(submissions), "--out", str(out),
                   "--jobs", str(JOBS), "--seconds", str(SECONDS)]  # fmt: skip
        environment = {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": str(self.home),
            "TMPDIR": str(self.tmp),
            "PYTHONPATH": str(CHECKOUT),
            "PYTHONDONTWRITEBYTECODE": "1",
            "OMP_NUM_THREADS": "1",
            "COURSEKIT_PROGRESS": "0",
            "COURSE_TOKEN": marker("ENVIRON"),
        }
        ran = subprocess.run(
            [sys.executable, str(HERE / "launch.py"), str(report), str(user), *command],
            env=environment,
            cwd=self.course,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=LIMIT,
            check=False,
            start_new_session=True,
        )
        output = ran.stdout.decode(errors="replace")
        assert report.is_file(), output
        return json.loads(report.read_text()), output


NEIGHBORS = {name: marker("NEIGHBOR") for name in ("~right", "~half")}


def fingerprints(folders: list[Path]) -> dict[str, str]:
    """Describe every file below some folders: mode, owner, links, time, attributes, content."""
    found = {}
    for folder in folders:
        for path in [folder, *sorted(walk(folder))]:
            about = path.lstat()
            content = ""
            if stat.S_ISREG(about.st_mode):
                with open(path, "rb") as file:
                    content = hashlib.file_digest(file, "sha256").hexdigest()
                content += " ".join(os.listxattr(path))
            facts = (about.st_mode, about.st_uid, about.st_nlink, about.st_mtime_ns)
            found[str(path)] = f"{facts} {content}"
    return found


def walk(folder: Path) -> Iterator[Path]:
    """Yield all below a folder, links not followed."""
    for here, names, files in os.walk(folder):
        for name in (*names, *files):
            yield Path(here, name)


def grades_in(out: Path) -> list[dict[str, Any]]:
    """Return all rows of a store."""
    with Store(out) as store:
        return [asdict(grade) for grade in store.grades()]


def leaks_in(arena: Arena) -> list[str]:
    """Say where words were found that had to stay secret."""
    found = []
    pattern = re.compile(MARKER.encode())
    own = {word.encode(): name for name, word in NEIGHBORS.items()}
    for path in [*walk(arena.out), *walk(arena.tmp), *walk(arena.drop)]:
        if not stat.S_ISREG(path.lstat().st_mode):
            continue
        data = path.read_bytes()
        learners = arena.out / "learners"
        teachers = path.is_relative_to(arena.out) and not path.is_relative_to(learners)
        for word in set(pattern.findall(data)):
            if teachers and word in own:
                continue
            if word in own and own[word].lstrip("~") in path.parent.name:
                continue
            found.append(f"{path}: {word.decode()}")
        if not teachers and HIDDEN_INPUT[2:8].encode() in data:
            found.append(f"{path}: a hidden input")
    return found


def unsafe_in(out: Path) -> list[str]:
    """Say where tables hold formulas and pages markup of an attacker's."""
    found = []
    for path in walk(out):
        if path.suffix == ".csv":
            with open(path, newline="", encoding="utf-8") as file:
                cells = [cell for row in csv.reader(file) for cell in row]
            risky = re.compile(r"\s*[=+\-@\t\r](?!\d+(\.\d+)?$)")
            found += [f"{path.name}: {cell[:60]!r}" for cell in cells if risky.match(cell)]
        if path.suffix in (".html", ".xml", ".md"):
            text = path.read_text("utf-8")
            for evil in ("<script>alert", "<img src=x", "\x1b[", "\x00", "\u202e", "{{ 7"):
                if evil in text and evil != "{{ 7":
                    found.append(f"{path}: {evil!r}")
    return found


def fight(user: int) -> Result:
    """Grade attackers and neighbors, and gather what was left behind; all folders are removed."""
    root = Path(tempfile.mkdtemp(prefix="coursekit-attacks-", dir="/tmp")).resolve()
    os.chmod(root, 0o755)
    try:
        arena = Arena(root)
        listening = str(root / "listener")
        with Listener(listening) as listener:
            arena.hand_in(listener, listening)
            if user:
                arena.give_to(user)
            arena.drop.chmod(0o777)
            kept = [arena.course, arena.submissions, arena.secret, arena.home / "diary.txt"]
            before = fingerprints(kept)
            report, output = arena.grade(arena.submissions, arena.out, user)
            after = fingerprints(kept)
            calm_report, calm_output = arena.grade(arena.calm, root / "calm-out", user)
        assert calm_report["code"] == 0, calm_output
        return Result(
            grades=grades_in(arena.out),
            calm=grades_in(root / "calm-out"),
            report=report,
            output=output,
            words={p.name: p.read_text(errors="replace")[:300] for p in walk(arena.drop)},
            heard=listener.heard,
            leaks=leaks_in(arena),
            changed=sorted(p for p in before | after if before.get(p) != after.get(p)),
            remains=[str(path) for path in walk(arena.tmp)] + shared_memory(),
            unsafe=unsafe_in(arena.out),
            neighbors=NEIGHBORS,
        )
    finally:
        shutil.rmtree(root)


def shared_memory() -> list[str]:
    """Return what attackers left in the kernel: System V objects under their key."""
    lines = []
    for kind in ("shm", "msg", "sem"):
        path = Path("/proc/sysvipc") / kind
        if path.exists():
            lines += [f"{kind}: {line}" for line in path.read_text().splitlines()[1:]
                      if line.split()[0] == SHARED_KEY]  # fmt: skip
    return lines


def learner_of(attack: Attack) -> str:
    """Return the name under which an attack's row stands."""
    return shown(unicodedata.normalize("NFC", os.fsdecode(attack.learner)))


def words_of(grade: dict[str, Any]) -> str:
    """Return all that a grade says, answers left out."""
    parts = [grade["reason"], *grade["notes"]]
    for task in grade["tasks"]:
        parts.append(f"{task['task']}: {task['status']} {task['reason']}")
        for cell in (task["public"], task["hidden"]):
            parts += cell["explanations"]
            for said in cell["said"]:
                parts += [said["title"], *(f"{k}: {v}" for k, v in said["facts"])]
    return "\n".join(parts)
