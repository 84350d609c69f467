"""Recorded runs of a claim: ``book/claims/<part>/<name>.json``."""

from __future__ import annotations

import datetime
import json
import math
import os
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import coursekit
from coursekit.claims.stated import ClaimError, Stated, listed_claims

SEEDS = 5


def run_seed(
    experiment: Callable[[int], Mapping[str, float]], seed: int, code: str
) -> dict[str, Any]:
    """Run an experiment once.

    Args:
        experiment: Takes a seed and returns named figures.
        seed: Its seed.
        code: Hash of the code that it depends on.

    Returns:
        The run as it is recorded.
    """
    start = time.perf_counter()
    measured = experiment(seed)
    seconds = time.perf_counter() - start
    if not isinstance(measured, Mapping) or not measured:
        raise ClaimError(f"experiment must return a dict of figures, got {type(measured).__name__}")
    return {
        "seed": seed,
        "figures": {str(name): float(value) for name, value in measured.items()},
        "seconds": round(seconds, 2),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "code": code,
        "versions": versions(),
    }


def versions() -> dict[str, str]:
    """Name the versions that a run depends on."""
    found = {"python": platform.python_version(), "coursekit": coursekit.__version__}
    return found | {name: metadata.version(name) for name in ("torch", "numpy")}


def record_path(root: Path, chapter: str) -> Path:
    """Say where the runs of a chapter's claim are recorded."""
    return root / "book" / "claims" / f"{chapter}.json"


def read_runs(root: Path, chapter: str) -> list[dict[str, Any]]:
    """Read all recorded runs of a claim, oldest first.

    Args:
        root: Folder of the course.
        chapter: Name of the page.

    Returns:
        The runs; a figure that was not a number is nan.
    """
    path = record_path(root, chapter)
    if not path.is_file():
        return []
    runs: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))["runs"]
    for run in runs:
        run["figures"] = {k: math.nan if v is None else v for k, v in run["figures"].items()}
    return runs


def append_run(path: Path, chapter: str, run: Mapping[str, Any]) -> None:
    """Add a run to a record; no run is ever dropped.

    Args:
        path: The record; it appears complete or not at all.
        chapter: Name of the page.
        run: What `run_seed` returned.
    """
    record: dict[str, Any] = {"chapter": chapter, "runs": []}
    if path.is_file():
        record = json.loads(path.read_text(encoding="utf-8"))
    # Six digits say enough and keep the record readable; JSON has no word for nan.
    figures = {
        k: float(f"{v:.6g}") if math.isfinite(v) else None for k, v in run["figures"].items()
    }
    record["runs"] = [*record["runs"], {**run, "figures": figures}]
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".json.tmp")
    partial.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    os.replace(partial, path)


def shown_runs(runs: Sequence[dict[str, Any]], code: str) -> tuple[list[dict[str, Any]], bool]:
    """Choose the runs that a table shows.

    Args:
        runs: All recorded runs.
        code: Hash of today's code.

    Returns:
        The runs of today's code and True; if there are none, those of the latest code and False.
    """
    fresh = [run for run in runs if run["code"] == code]
    if fresh or not runs:
        return fresh, True
    return [run for run in runs if run["code"] == runs[-1]["code"]], False


def stale_claims(root: Path) -> list[str]:
    """List the chapters whose claim has fewer than five runs of today's code.

    Args:
        root: Folder of the course.

    Returns:
        Names of pages, in the order of the book.
    """
    return [s.chapter for s in listed_claims(root) if missing_seeds(root, s) > 0]


def missing_seeds(root: Path, stated: Stated, wanted: int = SEEDS) -> int:
    """Count the runs of today's code that a record still lacks.

    Args:
        root: Folder of the course.
        stated: The claim.
        wanted: How many it should have.

    Returns:
        The number, 0 or more.
    """
    runs = read_runs(root, stated.chapter)
    return max(0, wanted - sum(run["code"] == stated.code for run in runs))
