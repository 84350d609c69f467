"""The exercises of the course are current, and each one is proven."""

from pathlib import Path

import pytest

from coursekit.grading.release import stale
from coursekit.grading.verify import verify

ROOT = Path(__file__).resolve().parents[1]
NAMES = sorted(
    path.relative_to(ROOT / "solutions").with_suffix("").as_posix()
    for path in ROOT.glob("solutions/*/*.ipynb")
)


def test_every_listed_chapter_has_its_exercise_and_every_exercise_its_chapter():
    chapters = {
        path.relative_to(ROOT / "book").with_suffix("").as_posix()
        for path in ROOT.glob("book/*/[0-9][0-9]-*.md")
    }
    assert chapters == set(NAMES)


@pytest.mark.slow
def test_exercises_and_known_mistakes_are_what_the_solutions_release():
    assert stale(ROOT) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_exercise_is_proven(name):
    (proof,) = verify(ROOT, [name])
    assert proof.findings == []
    assert proof.holds
