"""How the learning rates of the contest in the chapter on spatial transformers were chosen.

Runs the chapter's own code with other rates, on validation digits and the seeds 1 and 2, which no
recorded claim uses. Every contender is tried at the same three rates; the two with a transformer
also at three rates of the localization network, relative to the rate of the rest.

Usage: ``python tests/benchmarks/bench_spatial_transformer.py`` (about three minutes on one core).
"""

import os
from pathlib import Path
from typing import Any

from coursekit.claims.stated import read_claim

ROOT = Path(__file__).resolve().parents[2]
SEEDS = (1, 2)
RATES = (2e-3, 4e-3, 8e-3)
LOCALIZATION = (0.1, 0.3, 1.0)


def chapter() -> dict[str, Any]:
    """Run the statements that the chapter's claim needs, without the claim."""
    stated = read_claim(ROOT, "6-special/01-spatial-transformer")
    assert stated is not None
    # One thread, as in the book; read when torch is imported, which the chapter does.
    os.environ |= {"COURSEKIT_PROGRESS": "0", "OMP_NUM_THREADS": "1"}
    names: dict[str, Any] = {}
    exec("\n".join(stated.program[:-1]), names)
    return names


def measured(names: dict[str, Any], contender: str, rate: float, localization: float) -> str:
    """Return mean CPU seconds, mean error in percent on validation digits, and each error."""
    names["RATE"] = rate
    runs = [names["run"](contender, seed, localization) for seed in SEEDS]
    errors, seconds = [curve[-1] for _, curve, _ in runs], [used for _, _, used in runs]
    each = ", ".join(f"{e:.1f}" for e in errors)
    return f"{sum(seconds) / len(runs):5.1f}  {sum(errors) / len(runs):5.1f}  ({each})"


def main() -> None:
    """Print one line for each setting."""
    names = chapter()
    print("contender  rate   localization  CPU s  error on validation digits, % (each seed)")
    for contender in names["CONTENDERS"]:
        settings = [(rate, 0.3) for rate in RATES]
        if contender.startswith("ST"):
            settings += [(4e-3, share) for share in LOCALIZATION if share != 0.3]
        for rate, share in settings:
            relative = f"{share:12.1f}" if contender.startswith("ST") else " " * 12
            print(
                f"{contender:9}  {rate:.3f}  {relative}  {measured(names, contender, rate, share)}"
            )


if __name__ == "__main__":
    main()
