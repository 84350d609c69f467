"""Claims are measured on fresh seeds, only where needed, and appended."""

import pytest

pytest.importorskip("myst_nb")

from coursekit.claims import stale_claims
from coursekit.claims.records import read_runs
from coursekit.errors import UserError
from coursekit.publishing.execute import BookFailed
from coursekit.publishing.measure import draw_seeds, measure

CELLS = (
    "raise RuntimeError('a cell that the claim does not need')",
    "from coursekit.claims import claim\nfrom coursekit.toy import value",
    "def experiment(seed):\n    return {'a': 1.0, 'b': float(value())}",
    """claim("part/one", experiment, paper={"a": 1}, source="K",
          holds=lambda f: f["a"] < f["b"], contenders=("a", "b"))""",
)


def seeds(course) -> list[int]:
    return [run["seed"] for run in read_runs(course.root, "part/one")]


def test_seeds_are_fresh_and_fit_every_generator():
    drawn = draw_seeds(100)
    assert len(set(drawn)) == 100
    assert all(0 < seed < 2**31 for seed in drawn)


def test_a_page_without_a_claim_is_named(course):
    course.page("part/one", "1")
    with pytest.raises(UserError, match=r"part/one\.md states no claim"):
        measure(course.root, "part/one")


@pytest.mark.slow
def test_only_what_the_claim_needs_is_run_and_runs_are_appended(course, capsys):
    course.page("part/one", *CELLS)
    assert measure(course.root, seeds=3) == ["part/one"]
    first = seeds(course)
    assert len(set(first)) == 3
    assert "part/one seed" in capsys.readouterr().out
    assert measure(course.root, seeds=3) == []
    assert stale_claims(course.root) == ["part/one"]  # three are fewer than five
    assert measure(course.root) == ["part/one"]
    assert seeds(course)[:3] == first
    assert len(seeds(course)) == 5
    assert stale_claims(course.root) == []
    assert measure(course.root, "part/one", seeds=1) == ["part/one"]
    toy = course.root / "coursekit" / "toy.py"
    toy.write_text(toy.read_text().replace("41", "42"))
    assert stale_claims(course.root) == ["part/one"]


@pytest.mark.slow
def test_seeds_that_were_finished_before_a_failure_are_kept(course):
    failing = CELLS[2].replace(
        "return", "import pathlib\n    mark = pathlib.Path('mark')\n    "
        "assert not mark.exists(), 'stop'\n    mark.touch()\n    return"
    )  # fmt: skip
    course.page("part/one", *CELLS[:2], failing, CELLS[3])
    with pytest.raises(BookFailed, match=r"(?s)part/one\.md: .*AssertionError: stop"):
        measure(course.root)
    assert len(seeds(course)) == 1
