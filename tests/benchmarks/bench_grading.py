"""Seconds a submission: ``coursekit grade``, nbgrader, otter and plain nbval, in one run.

Everybody grades submissions of the torch exercise of ``tests/grading/torch_exercise.py``: four
tasks, eight check cells, answers that are right, wrong in known ways, raising, or missing. Timed is
the whole command, from its start to its end, on one thread of each process:

- ``coursekit grade --jobs 2`` with the sandbox on, 100 submissions, before the others and again
  after them; the slower run counts;
- ``nbgrader autograde``, the first submissions of the same folder, one command;
- ``otter run``, the same, one command a submission, as it is made; also two commands at once;
- ``pytest --nbval-lax``, the same, in one process and with ``-n 2 --dist loadfile``.

Each grades one submission first, which is not counted, so that nobody compiles or reads libraries
from the disk for the first time. How the exercise reaches each of them says ``grading_peers.py``.

Then 1,000 submissions go through coursekit, while the memory of all its processes is read four
times a second: the sum of their proportional set sizes, in which a page that several share counts
once.

The program ends with code 1 unless coursekit is 25 times as fast as nbgrader and 50 times as fast
as otter in its faster way, scores are those that the answers are worth, the time for a submission
does not grow with their number, and memory stays below 1.5 GB.

Usage: ``python tests/benchmarks/bench_grading.py [--peers build/peers/bin] [--submissions 100]
[--peer-submissions 6] [--many 1000]``; about ten minutes. nbgrader and otter, the extra "peers",
live in an environment of their own that finds torch in the running one (otter needs an older wrapt
than the course, so the course's constraints are left out)::

    python -m venv build/peers
    python -c 'import sysconfig; print(sysconfig.get_path("purelib"))' > below.pth
    mv below.pth build/peers/lib/python3.*/site-packages/
    build/peers/bin/pip install nbgrader==0.9.6 otter-grader==7.0.0
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS / "grading"), str(TESTS.parent)]

from grading_peers import (  # noqa: E402
    PEERS,
    Bench,
    Contender,
    Cost,
    Scores,
    coursekit,
    coursekit_command,
    coursekit_scores,
)
from layered import environment  # noqa: E402
from torch_exercise import submissions, write_course  # noqa: E402

SEED = 26  # the first six have right, wrong, raising, broken and empty answers
NEEDED = {"nbgrader-0.9.6": 25.0, "otter-grader-7.0.0": 50.0}
MOST_MEMORY = 1.5e9
GROWTH = 1.15  # of the time a submission between the small and the large batch
PERIOD = 0.25


@dataclass
class Result:
    """What one contender did.

    Attributes:
        label: What was run.
        version: Of the package.
        count: How many submissions it graded.
        cost: Of the whole command.
        wrong: Scores that are not what the answers are worth; None where it gives no scores.
    """

    label: str
    version: str
    count: int
    cost: Cost
    wrong: list[str] | None

    @property
    def each(self) -> float:
        """Wall seconds a submission."""
        return self.cost.wall / self.count


def wrong_scores(scores: Scores, honest: Scores) -> list[str]:
    """Return one phrase for each learner whose score is not the honest one."""
    return [
        f"{learner}: {scores.get(learner)} instead of {points}"
        for learner, points in honest.items()
        if scores.get(learner) != points
    ]


def version_of(package: str, peers: Path) -> str:
    """Return the version of a package, "coursekit" or one of the peers."""
    code = f"from importlib.metadata import version; print(version({package!r}))"
    program = peers / "python" if package in ("nbgrader", "otter-grader") else sys.executable
    ran = subprocess.run([str(program), "-c", code], capture_output=True, text=True, check=True)
    return ran.stdout.strip()


class Memory(threading.Thread):
    """Watches the memory of a process and all that come from it."""

    def __init__(self, root: int):
        super().__init__(daemon=True)
        self.root, self.peak, self.most = root, 0, 0
        self.known: dict[int, str] = {}
        self.stopping = threading.Event()

    def run(self) -> None:
        """Read until told to stop."""
        while not self.stopping.wait(PERIOD):
            sizes = [proportional(pid) for pid in self.family()]
            if sum(sizes) > self.peak:
                self.peak, self.most = sum(sizes), sum(size > 0 for size in sizes)

    def family(self) -> set[int]:
        """Return the processes that live; one whose parent has ended stays known."""
        parents, starts = {}, {}
        for entry in os.listdir("/proc"):
            if entry.isdigit():
                try:
                    rest = Path("/proc", entry, "stat").read_text().rpartition(")")[2].split()
                except (FileNotFoundError, ProcessLookupError):
                    continue  # it has just ended
                parents[int(entry)], starts[int(entry)] = int(rest[1]), rest[19]
        found = {pid for pid, start in self.known.items() if starts.get(pid) == start}
        found |= {self.root} & set(parents)
        while more := {pid for pid, parent in parents.items() if parent in found} - found:
            found |= more
        self.known = {pid: starts[pid] for pid in found}
        return found


def proportional(pid: int) -> int:
    """Return the proportional set size of a process in bytes; 0 when it has just ended."""
    try:
        lines = Path("/proc", str(pid), "smaps_rollup").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return next((1024 * int(x.split()[1]) for x in lines if x.startswith("Pss:")), 0)


@dataclass
class Many:
    """What the large batch showed."""

    count: int
    seconds: float
    peak: int
    processes: int
    wrong: list[str] = field(default_factory=list)


def grade_many(bench: Bench, count: int) -> Many:
    """Grade a large batch by coursekit and watch its memory."""
    folder, out = bench.folder("many"), bench.folder("coursekit")
    honest = submissions(folder, count, SEED + 1, bench.root)
    log = bench.scratch / "many.log"
    start = time.perf_counter()
    with open(log, "wb") as file:
        process = subprocess.Popen(
            coursekit_command(folder, out), cwd=bench.root, stdin=subprocess.DEVNULL,
            stdout=file, stderr=file, env=environment(bench.peers, bench.scratch / "home"),
        )  # fmt: skip
        memory = Memory(process.pid)
        memory.start()
        code = process.wait()
    seconds = time.perf_counter() - start
    memory.stopping.set()
    memory.join()
    if code:
        raise RuntimeError(f"coursekit grade ended with code {code}:\n{log.read_text()[-3000:]}")
    wrong = wrong_scores(coursekit_scores(out), honest)
    return Many(count, seconds, memory.peak, memory.most, wrong)


def compare(bench: Bench, count: int, few: int) -> list[Result]:
    """Run every contender; coursekit's slower run is the first of the results."""
    folder, sample = bench.folder("submissions"), bench.folder("sample")
    honest = submissions(folder, count, SEED, bench.root)
    for learner in list(honest)[:few]:
        shutil.copytree(folder / learner, sample / learner)
    own = Contender("coursekit grade --jobs 2", "coursekit", coursekit)
    plan = [(own, folder), *((peer, sample) for peer in PEERS), (own, folder)]
    results: list[Result] = []
    for contender, where in plan:
        one = bench.folder("one")
        shutil.copytree(folder / "learner-0000", one / "learner-0000")
        contender.grade(bench, one)
        cost, scores = contender.grade(bench, where)
        graded = count if contender is own else few
        mine = dict(list(honest.items())[:graded])
        wrong = wrong_scores(scores, mine) if contender.package != "nbval" else None
        version = version_of(contender.package, bench.peers)
        results.append(Result(contender.label, version, graded, cost, wrong))
        print(f"{contender.label}: {cost.wall:.1f} s", file=sys.stderr, flush=True)
    first, *peers, second = results
    return [max(first, second, key=lambda result: result.each), *peers]


def table(results: list[Result]) -> str:
    """Write one line a contender; the ratio is of its wall seconds each to coursekit's."""
    lines = [
        "| grader | version | submissions | command, s | s each | CPU s each | ratio | scores |",
        "|---|---|---:|---:|---:|---:|---:|---|",
    ]
    own = results[0]
    for result in results:
        scores = "none" if result.wrong is None else f"{len(result.wrong)} wrong"
        cells = (
            result.label,
            result.version,
            str(result.count),
            f"{result.cost.wall:.1f}",
            f"{result.each:.3f}",
            f"{result.cost.processor / result.count:.3f}",
            f"{result.each / own.each:.0f}",
            "all right" if result.wrong == [] else scores,
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def shortfalls(results: list[Result], many: Many) -> list[str]:
    """Return what coursekit does not reach."""
    own = results[0]
    found = []
    for name, times in NEEDED.items():
        package, version = name.rsplit("-", 1)
        rows = [r for r in results if r.label.split()[0] == package.split("-")[0]]
        if any(row.version != version for row in rows):
            found.append(f"{package} is {rows[0].version}, wanted {version}")
        ratio = min(row.each for row in rows) / own.each
        if ratio < times:
            found.append(f"{ratio:.1f} times as fast as {package}, wanted {times:g}")
    found += [f"{own.label}: {text}" for text in (own.wrong or []) + many.wrong]
    growth = many.seconds / many.count / own.each
    if growth > GROWTH:
        found.append(f"a submission takes {growth:.2f} times as long among {many.count}")
    if many.peak > MOST_MEMORY:
        found.append(f"{many.peak / 1e9:.2f} GB of memory, at most {MOST_MEMORY / 1e9:g} wanted")
    return found


def main() -> int:
    """Print the table and what is not reached; return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--peers", type=Path, default=TESTS.parent / "build" / "peers" / "bin")
    parser.add_argument("--submissions", type=int, default=100)
    parser.add_argument("--peer-submissions", type=int, default=6)
    parser.add_argument("--many", type=int, default=1000)
    given = parser.parse_args()
    if not (given.peers / "nbgrader").is_file():
        print(f"{given.peers} holds no nbgrader: see the top of this file", file=sys.stderr)
        return 2
    print(f"Python {platform.python_version()}, torch {version_of('torch', given.peers)}, "
          f"{len(os.sched_getaffinity(0))} processors, one thread a process.")  # fmt: skip
    print(f"Load of the machine before the runs: {os.getloadavg()[0]:.1f}.")
    with tempfile.TemporaryDirectory() as scratch:
        bench = Bench(Path(scratch, "course"), Path(scratch), given.peers.absolute())
        write_course(bench.root)
        results = compare(bench, given.submissions, given.peer_submissions)
        print(f"Load after them: {os.getloadavg()[0]:.1f}.\n\n{table(results)}\n", flush=True)
        many = grade_many(bench, given.many)
    print(f"{many.count} submissions through coursekit: {many.seconds:.1f} s, "
          f"{many.seconds / many.count:.3f} s each; at most {many.peak / 1e9:.2f} GB in "
          f"{many.processes} processes at once; {len(many.wrong)} wrong scores.")  # fmt: skip
    missed = shortfalls(results, many)
    print("\n".join(f"Not reached: {line}" for line in missed) or "All of it is reached.")
    return int(bool(missed))


if __name__ == "__main__":
    raise SystemExit(main())
