"""Every claim of the book must be able to fail: with the contenders exchanged it does not hold."""

import statistics
from pathlib import Path

import pytest

from coursekit.claims.page import swap
from coursekit.claims.records import read_runs, shown_runs
from coursekit.claims.stated import Stated, listed_claims

ROOT = Path(__file__).parents[2]
CLAIMS = listed_claims(ROOT)


def recorded_medians(stated: Stated) -> dict[str, float]:
    runs, _ = shown_runs(read_runs(ROOT, stated.chapter), stated.code)
    if not runs:
        pytest.skip(f"{stated.chapter} has no recorded runs yet")
    return {
        name: statistics.median(run["figures"][name] for run in runs)
        for name in runs[-1]["figures"]
    }


@pytest.mark.parametrize("stated", CLAIMS, ids=lambda stated: stated.chapter)
def test_the_recorded_figures_say_what_the_chapter_says(stated):
    assert stated.holds(recorded_medians(stated)) is stated.reproduced


@pytest.mark.parametrize("stated", CLAIMS, ids=lambda stated: stated.chapter)
def test_the_claim_is_false_with_the_contenders_exchanged(stated):
    if not stated.reproduced:
        pytest.skip("a claim that is not reproduced may well be true the other way round")
    assert not stated.holds(swap(recorded_medians(stated), *stated.contenders))
