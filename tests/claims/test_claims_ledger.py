"""Claims: stated once, measured in the page, recorded on fresh seeds."""

import json
import math
from pathlib import Path

import pytest

from coursekit.claims import ClaimError, ClaimFailed, claim, ledger, stale_claims
from coursekit.claims.records import append_run, read_runs, record_path, run_seed, shown_runs
from coursekit.claims.stated import Stated, current_code, listed_claims, read_claim
from coursekit.claims.tables import figure, published, spread

CHAPTER = """---
jupytext:
  text_representation: {{format_name: myst}}
kernelspec: {{name: python3}}
---
# Small against large

```{{code-cell}}
from coursekit.claims import claim
import math
SCALE = {scale}
```

```{{code-cell}}
def experiment(seed):
    {comment}
    return {{"small": 1.0 * SCALE, "large": 2.0 * SCALE + seed}}
```

```{{code-cell}}
unrelated = {unrelated}
```

```{{code-cell}}
claim(
    "part/page",
    experiment,
    paper={{"small": 1.5, "large": "not given"}},
    source="Author2015",
    holds=lambda figures: figures["small"] < {bar} * figures["large"],
    contenders=("small", "large"),
    unit="%",
    setting="two numbers",{more}
)
```
"""


def write(root: Path, **changes: object) -> Path:
    values: dict[str, object] = {
        "scale": 1, "comment": "# none", "unrelated": 0, "bar": 1, "more": "",
    }  # fmt: skip
    path = root / "book" / "part" / "page.md"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(CHAPTER.format(**values | changes))
    (root / "book" / "_toc.yml").write_text("root: index\nchapters:\n- file: part/page\n")
    return root


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSEKIT_ROOT", str(tmp_path))
    monkeypatch.delenv("COURSEKIT_CLAIM_SEEDS", raising=False)
    return write(tmp_path)


def state(holds=lambda f: f["small"] < f["large"], experiment=None, **changes):
    return claim(
        "part/page",
        experiment or (lambda seed: {"small": 1.0, "large": 2.0 + seed}),
        **{
            "paper": {"small": 1.5},
            "source": "Author2015",
            "holds": holds,
            "contenders": ("small", "large"),
            **changes,
        },
    )


def record(root: Path, seeds: int, code: str | None = None, small: float = 1.0) -> None:
    for seed in range(seeds):
        run = run_seed(lambda seed: {"small": small, "large": 2.0 + seed}, seed, "")
        run["code"] = current_code(root, "part/page") if code is None else code
        append_run(record_path(root, "part/page"), "part/page", run)


def test_a_claim_shows_the_paper_this_run_and_the_record(root):
    record(root, 5)
    shown = repr(state())
    assert "paper (Author2015)" in shown
    assert "5 seeds" in shown
    assert "2.00 – 4.00 – 6.00" in shown
    assert "holds on 5 of 5 recorded seeds (" in shown
    assert "to be re-measured" not in shown
    assert "2.00 – 4.00 – 6.00" in state()._repr_html_()


def test_a_claim_that_does_not_hold_stops_the_page_and_names_the_figures(root):
    with pytest.raises(ClaimFailed, match=r"does not hold: small = 3.00, large = 2.00"):
        state(experiment=lambda seed: {"small": 3.0, "large": 2.0})


def test_a_claim_called_not_reproduced_must_not_hold(root):
    with pytest.raises(ClaimFailed, match="holds, although"):
        state(reproduced=False, reason="too small")
    shown = repr(state(holds=lambda f: f["small"] > 5, reproduced=False, reason="Too small."))
    assert "Not reproduced: Too small." in shown


def test_a_condition_that_is_true_with_the_contenders_exchanged_is_refused(root):
    with pytest.raises(ClaimError, match="does not test the claim"):
        state(holds=lambda f: f["small"] > 0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"contenders": ("small", "small")}, "two different names"),
        ({"contenders": ("small", "other")}, "'other'"),
        ({"paper": {}}, "paper must name"),
        ({"source": ""}, "citation key"),
        ({"reproduced": False}, "reason must say why"),
        ({"experiment": lambda seed: 3.0}, "dict of figures, got float"),
    ],
)
def test_a_claim_that_is_not_well_stated_says_what_is_wrong(changes, message, root):
    with pytest.raises(ClaimError, match=message):
        state(**changes)


def test_seeds_are_recorded_one_by_one_and_appended(root, monkeypatch, capsys):
    monkeypatch.setenv("COURSEKIT_CLAIM_SEEDS", "12,99")
    state()
    monkeypatch.setenv("COURSEKIT_CLAIM_SEEDS", "7")
    state()
    runs = read_runs(root, "part/page")
    assert [run["seed"] for run in runs] == [12, 99, 7]
    assert runs[1]["figures"] == {"small": 1.0, "large": 101.0}
    assert runs[0]["code"] == current_code(root, "part/page")
    assert {"python", "torch", "coursekit"} <= set(runs[0]["versions"])
    assert "seed 99" in capsys.readouterr().out


def test_an_interrupted_measurement_keeps_the_seeds_that_were_finished(root, monkeypatch):
    def stops(seed):
        if seed == 2:
            raise KeyboardInterrupt
        return {"small": 1.0, "large": 2.0}

    monkeypatch.setenv("COURSEKIT_CLAIM_SEEDS", "1,2,3")
    with pytest.raises(KeyboardInterrupt):
        state(experiment=stops)
    assert [run["seed"] for run in read_runs(root, "part/page")] == [1]


def test_seeds_that_fail_are_recorded_as_well(root, monkeypatch):
    monkeypatch.setenv("COURSEKIT_CLAIM_SEEDS", "1")
    result = state(experiment=lambda seed: {"small": math.nan, "large": 1.0})
    assert result.held == 0
    text = record_path(root, "part/page").read_text()
    assert json.loads(text)["runs"][0]["figures"]["small"] is None
    assert math.isnan(read_runs(root, "part/page")[0]["figures"]["small"])


def test_the_claim_is_read_from_the_text_of_the_chapter(root):
    (stated,) = listed_claims(root)
    assert stated.title == "Small against large"
    assert stated.paper == {"small": 1.5, "large": "not given"}
    assert stated.holds({"small": 1.0, "large": 2.0})
    assert not stated.holds({"small": 2.0, "large": 1.0})
    assert not any("unrelated" in source for source in stated.program)


@pytest.mark.parametrize(
    "change", [{"comment": '"""Say what."""'}, {"unrelated": 5}, {"bar": 0.9}, {"more": "\n#"}]
)
def test_text_that_the_experiment_does_not_depend_on_keeps_the_hash(root, change):
    before = current_code(root, "part/page")
    assert current_code(write(root, **change), "part/page") == before


@pytest.mark.parametrize("change", [{"scale": 2}, {"comment": "seed += 1"}])
def test_code_that_the_experiment_depends_on_changes_the_hash(root, change):
    before = current_code(root, "part/page")
    assert current_code(write(root, **change), "part/page") != before


def test_a_change_in_a_module_that_the_experiment_imports_changes_the_hash(root):
    package = root / "coursekit"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "model.py").write_text("SIZE = 1  # one\n")
    write(root, scale="model.SIZE", unrelated="1\nfrom coursekit import model")
    before = current_code(root, "part/page")
    (package / "model.py").write_text('"""Model."""\nSIZE = 1\n')
    assert current_code(root, "part/page") == before
    (package / "model.py").write_text("SIZE = 2\n")
    assert current_code(root, "part/page") != before


def test_a_record_of_other_code_is_to_be_measured_again(root):
    record(root, 5)
    assert stale_claims(root) == []
    write(root, scale=3)
    assert stale_claims(root) == ["part/page"]
    assert "to be re-measured" in repr(state())
    assert "to be re-measured" in repr(ledger(root))


def test_a_record_with_fewer_than_five_seeds_is_stale(root):
    record(root, 4)
    assert stale_claims(root) == ["part/page"]


def test_only_runs_of_the_same_code_are_summed_up_together(root):
    record(root, 2, code="old", small=9.0)
    record(root, 3)
    runs, current = shown_runs(read_runs(root, "part/page"), current_code(root, "part/page"))
    assert (len(runs), current) == (3, True)
    assert len(read_runs(root, "part/page")) == 5
    assert spread(runs, "small") == "1.00 – 1.00 – 1.00"


def test_the_ledger_lists_claims_with_their_records_and_reasons(root):
    shown = repr(ledger(root))
    assert "Not yet measured" in shown
    write(root, bar=-1, more='\n    reproduced=False,\n    reason="one <core> only",')
    record(root, 5)
    shown = repr(ledger(root))
    assert "Not reproduced: one <core> only" in shown
    assert "0 of 5" in shown
    assert "2.00 – 4.00 – 6.00" in shown
    page = ledger(root)._repr_html_()
    assert "one &lt;core&gt; only" in page
    assert 'href="part/page.html"' in page


def test_a_claim_whose_figures_are_not_written_out_is_refused(root):
    path = root / "book" / "part" / "page.md"
    path.write_text(path.read_text().replace('"not given"', "unrelated"))
    with pytest.raises(ClaimError, match="paper must be written out"):
        read_claim(root, "part/page")


def test_a_claim_under_another_chapters_name_is_refused(root):
    path = root / "book" / "part" / "page.md"
    path.write_text(path.read_text().replace('"part/page"', '"part/other"'))
    with pytest.raises(ClaimError, match="chapter must be 'part/page'"):
        read_claim(root, "part/page")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.5, "0.500"), (12.345, "12.3"), (99.96, "100"), (5.0, "5.00"), (1352969.0, "1,350,000"),
        (0.0021, "0.00210"), (2.1e-6, "2.10e-06"), (-0.25, "-0.250"), (0.0, "0"),
        (math.nan, "nan"), ("FAIL", "FAIL"), (225, "225"), (7, "7.00"), (9.1, "9.10"),
    ],
)  # fmt: skip
def test_figures_have_three_significant_digits(value, text):
    assert figure(value) == text


@pytest.mark.parametrize(
    ("value", "text"), [(0.8, "0.8"), (1352969, "1,352,969"), (5, "5"), ("FAIL", "FAIL")]
)
def test_published_figures_stay_as_they_were_published(value, text):
    assert published(value) == text


def test_stated_claims_compare_by_their_content():
    one = Stated("a/b", {"x": 1}, ("K",), ("x", "y"))
    assert one == Stated("a/b", {"x": 1}, ("K",), ("x", "y"))
