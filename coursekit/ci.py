"""What ``make test`` runs, in one list: the same steps here, in CI and on a learner's machine."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import time
from dataclasses import dataclass, field
from pathlib import Path

NBVAL = [
    "-m", "pytest", "--nbval", "--nbval-current-env", "--nbval-cell-timeout", "120",
    "-n", "2", "--dist", "loadfile", "-q", "solutions",
]  # fmt: skip
FORKED = {"JUPYTER_DEFAULT_PROVISIONER_NAME": "coursekit-forked"}


@dataclass(frozen=True)
class Step:
    """One command of the test run; ``python`` steps are arguments of this interpreter."""

    name: str
    command: list[str]
    quick: bool = False
    environment: dict[str, str] = field(default_factory=dict)


def script(name: str) -> str:
    """Return the path of a command that pip installed beside this interpreter."""
    return str(Path(sysconfig.get_path("scripts")) / name)


def steps() -> list[Step]:
    """List the steps in the order in which they run: what fails soonest comes first."""
    python = sys.executable
    return [
        Step("style", [script("ruff"), "check", "."], quick=True),
        Step("format", [script("ruff"), "format", "--check", "."], quick=True),
        Step("floors", [script("lint-imports")], quick=True),
        Step("types", [script("mypy")], quick=True),
        Step("spelling", [script("codespell")], quick=True),
        Step(
            "workflow syntax",
            [
                *(script("check-jsonschema"), "--builtin-schema", "vendor.github-workflows"),
                *sorted(map(str, Path(".github/workflows").glob("*.yml"))),
            ],
            quick=True,
        ),
        Step(
            "workflow safety",
            [script("zizmor"), "--offline", "-q", ".github/workflows"],
            quick=True,
        ),
        Step(
            "examples in docstrings",
            [python, "-m", "pytest", "-q", "-n", "2", "--doctest-modules", "coursekit"],
            quick=True,
        ),
        Step(
            "quick tests",
            [python, "-m", "pytest", "-q", "-n", "2", "-m", "not slow and not browser", "tests"],
            quick=True,
        ),
        Step("slow tests", [python, "-m", "pytest", "-q", "-n", "2", "-m", "slow", "tests"]),
        Step("solutions reproduce", [python, *NBVAL], environment=FORKED),
        Step(
            "solutions reproduce on a plain processor",
            [python, *NBVAL],
            environment={**FORKED, "ATEN_CPU_CAPABILITY": "default"},
        ),
        Step("book", [script("coursekit"), "book"]),
        Step("browser", [python, "-m", "pytest", "-q", "-m", "browser", "tests/browser"]),
    ]


def run_checks(root: Path, quick: bool = False) -> int:
    """Run the steps from the course's folder and print each one's seconds.

    Args:
        root: The checkout.
        quick: Only the steps that need neither notebooks nor the book.

    Returns:
        0 when every step passed, 1 otherwise. A failed step does not keep the next from running.
    """
    os.chdir(root)
    settings = {"OMP_NUM_THREADS": "1", "COURSEKIT_PROGRESS": "0", "PYTHONHASHSEED": "0"}
    rows = []
    for step in steps():
        if quick and not step.quick:
            continue
        print(f"\n=== {step.name}", flush=True)
        start = time.monotonic()
        code = subprocess.call(step.command, env={**os.environ, **settings, **step.environment})
        rows.append((step.name, code, time.monotonic() - start))
    print("\n=== summary")
    for name, code, seconds in rows:
        print(f"{'passed' if code == 0 else f'FAILED ({code})':12} {seconds:7.1f} s  {name}")
    failed = sum(code != 0 for _, code, _ in rows)
    print(f"{len(rows) - failed} passed, {failed} failed", flush=True)
    return int(failed > 0)
