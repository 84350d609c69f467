"""Runs of the command `coursekit grade` that tests kill: start, follow, look for leftovers."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "grading"))

ROOT = Path(__file__).parents[2]
DONE = re.compile(rb"(\d+)/(\d+) \[")
PATIENCE = 300.0


class Batch:
    """A command with a process group, an environment and a temporary folder of its own.

    Args:
        course: The course whose solutions grade.
        handed_in: The submissions.
        out: The folder of results.
    """

    def __init__(self, course: Path, handed_in: Path, out: Path):
        self.out = out
        self.scratch = tempfile.TemporaryDirectory(prefix="ck-")  # short: sockets lie in it
        self.mark = f"{self.scratch.name}/bin"
        self.command = [
            sys.executable, "-m", "coursekit.cli", "grade", str(handed_in), "--out", str(out),
            "--solutions", str(course / "solutions"), "--jobs", "2", "--unsafe",
        ]  # fmt: skip
        self.environment = {
            **os.environ,
            "COURSEKIT_PROGRESS": "1",
            "OMP_NUM_THREADS": "1",
            "PATH": f"{self.mark}:{os.environ['PATH']}",  # every process of the batch inherits it
            "PYTHONPATH": str(ROOT),
            "TMPDIR": self.scratch.name,
        }

    def start(self) -> subprocess.Popen[bytes]:
        """Start the command."""
        return subprocess.Popen(
            self.command, cwd=ROOT, env=self.environment, start_new_session=True, bufsize=0,
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        )  # fmt: skip

    def run(self) -> int:
        """Run the command to its end and return its exit code."""
        with self.start() as process:
            return end(process)

    def leftovers(self) -> list[int]:
        """Return the processes of this batch that are there."""
        found = []
        for place in Path("/proc").glob("[0-9]*"):
            try:
                alive = (place / "stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
                if alive and os.fsencode(self.mark) in (place / "environ").read_bytes():
                    found.append(int(place.name))
            except OSError:
                continue  # it has ended, or is another user's
        return found

    def close(self) -> None:
        """Remove the temporary folder."""
        self.scratch.cleanup()


def follow(process: subprocess.Popen[bytes], count: int) -> int:
    """Read the progress of a run until so many submissions are graded, or it ends.

    Returns:
        How many were graded when reading stopped.
    """
    assert process.stderr is not None
    tail, graded = b"", 0
    while piece := process.stderr.read(4096):
        tail = (tail + piece)[-8192:]
        if told := DONE.findall(tail):
            graded = int(told[-1][0])
            if graded >= count:
                break
    return graded


def end(process: subprocess.Popen[bytes]) -> int:
    """Read what a run still says, wait for its end and return its exit code."""
    follow(process, sys.maxsize)
    return process.wait(PATIENCE)


def kill_group(process: subprocess.Popen[bytes]) -> None:
    """Kill a run with all processes of its group."""
    os.killpg(process.pid, signal.SIGKILL)
    process.wait(PATIENCE)


def wait_for(condition, seconds: float = 60.0) -> bool:
    """Return whether a condition comes true in time."""
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.05)
    return bool(condition())
