"""Prove that an exercise grades as it should: right answers pass, wrong ones are caught and named.

For every solution the proof runs the exercise as learners get it, then the solution, once each, and
in copies of the process, forked above each answer, every known mistake and alternative, against
public and hidden checks. What an exercise must satisfy stands in :class:`Proof`; whatever it does
not is a finding, one line each.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from coursekit.grading.notebook import LayoutError, read_exercise, solution_paths
from coursekit.grading.workers import WorkerFailed, cores, end_workers, in_worker, sharing

EXERCISE_SECONDS = 1800


@dataclass
class Proof:
    """What was shown about one exercise.

    Attributes:
        name: The exercise.
        solution: Percent of all points that the solution earns; 100 is right.
        untouched: Percent that the exercise earns as learners get it; 0 is right.
        mistakes: Known mistakes.
        named: Those that lose points and are named by their own explanation and no other.
        hidden_only: Those that pass the public checks and are caught by hidden tests alone.
        alternatives: Alternative right answers.
        accepted: Those that earn all points, in their task and in every later one.
        leaks: Places where learners could read secret code.
        findings: Everything that must be mended, leaks included.
        notes: What may be right but deserves a look.
        seconds: How long the proof took.
    """

    name: str
    solution: float = 0.0
    untouched: float = 0.0
    mistakes: int = 0
    named: int = 0
    hidden_only: int = 0
    alternatives: int = 0
    accepted: int = 0
    leaks: list[str] = field(default_factory=list)
    findings: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def holds(self) -> bool:
        """Whether nothing is left to mend."""
        return not self.findings

    def __str__(self) -> str:
        leak = f"{len(self.leaks)} leaks" if self.leaks else "no leak"
        head = (
            f"{self.name}: solution {self.solution:.4g} %, untouched {self.untouched:.4g} %, "
            f"{self.named} of {self.mistakes} mistakes named, {self.hidden_only} caught by hidden "
            f"tests alone, {self.accepted} of {self.alternatives} alternatives at 100 %, {leak} "
            f"({self.seconds:.0f} s)"
        )
        lines = [head, *(f"  to mend: {x}" for x in self.findings)]
        return "\n".join([*lines, *(f"  note: {x}" for x in self.notes)])


def verify(
    root: Path,
    names: list[str] | None = None,
    on_progress: Callable[[Proof], None] | None = None,
) -> list[Proof]:
    """Prove the exercises of a course.

    Args:
        root: The folder of the course.
        names: Exercises such as "1-basics/01-logistic-neuron"; all by default.
        on_progress: Called with each proof as soon as it is done.

    Returns:
        One proof for each exercise, sorted by name.

    Raises:
        UserError: When a name has no solution.
    """
    paths = solution_paths(Path(root), names)
    # The longest first, so that no processor waits for it at the end; it does not wait for the
    # interpreter that the others are forked from.
    paths.sort(key=lambda path: -path.stat().st_size)
    proofs = []
    with sharing(), ThreadPoolExecutor(max(1, min(len(paths), cores()))) as pool:
        try:
            asked = [pool.submit(_prove_apart, path, path is paths[0]) for path in paths]
            for done in as_completed(asked):
                proofs.append(done.result())
                if on_progress:
                    on_progress(proofs[-1])
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            end_workers()
            raise
    return sorted(proofs, key=lambda proof: proof.name)


def _prove_apart(path: Path, fresh: bool) -> Proof:
    path = path.resolve()
    try:
        return Proof(**in_worker(prove, str(path), path.parent, EXERCISE_SECONDS, fresh))
    except WorkerFailed as error:
        name = f"{path.parent.name}/{path.stem}"
        return Proof(name, findings=[f"{name}: the proof could not be completed: {error}"])


def prove(path: str) -> dict[str, Any]:
    """Prove one solution in this process; called in a worker."""
    from coursekit.grading.examination import Examination  # with torch, which the caller can spare

    start = time.monotonic()
    try:
        exercise = read_exercise(path)
    except LayoutError as error:
        name = f"{Path(path).parent.name}/{Path(path).stem}"
        return asdict(Proof(name, findings=error.findings))
    examination = Examination(exercise)
    examination.run()
    examination.proof.seconds = time.monotonic() - start
    return asdict(examination.proof)
