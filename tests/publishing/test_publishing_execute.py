"""Chapters run when something they depend on changed, and never silently badly."""

import dataclasses
import json

import pytest

pytest.importorskip("myst_nb")
pytest.importorskip("jupyter_cache")

from coursekit.dependencies import code_cells
from coursekit.publishing.execute import (
    BookFailed,
    build_folder,
    chapter_key,
    execute_book,
    kernel_environment,
    read_chapters,
    read_page,
)

CLAIM = """from coursekit.claims import claim
claim("part/one", lambda seed: {"a": 1.0, "b": 2.0 + seed}, paper={"a": 1}, source="K",
      holds=lambda f: f["a"] < f["b"], contenders=("a", "b"))"""
LEDGER = "from coursekit.claims import ledger\nledger()"


def keys(course) -> dict[str, str]:
    chapters = read_chapters(course.root)
    return {page: chapter_key(course.root, page, nb) for page, nb in chapters.items()}


def key(course, *cells: str, prose: str = "Text.") -> str:
    course.page("part/one", *cells, prose=prose)
    return keys(course)["part/one"]


# Keys


def test_prose_is_not_part_of_the_key(course):
    assert key(course, "1 + 1") == key(course, "1 + 1", prose="Other *words*.")


def test_cells_and_their_order_are_part_of_the_key(course):
    assert len({key(course, *cells) for cells in [("1", "2"), ("2", "1"), ("1", "2", "3")]}) == 3


def test_the_key_follows_the_imported_modules_but_not_their_comments(course):
    toy = course.root / "coursekit" / "toy.py"
    before = key(course, "from coursekit.toy import value")
    toy.write_text('"""Doc."""\n# Comment.\n' + toy.read_text())
    assert key(course, "from coursekit.toy import value") == before
    toy.write_text(toy.read_text().replace("41", "42"))
    assert key(course, "from coursekit.toy import value") != before


def test_a_page_that_prints_source_code_follows_comments_as_well(course):
    cell = "import inspect\nfrom coursekit.toy import value\nprint(inspect.getsource(value))"
    before = key(course, cell)
    toy = course.root / "coursekit" / "toy.py"
    toy.write_text(toy.read_text() + "# Comment.\n")
    assert key(course, cell) != before


def test_modules_that_are_not_imported_are_not_part_of_the_key(course):
    before = key(course, "1 + 1")
    (course.root / "coursekit" / "toy.py").write_text("def value():\n    return 0\n")
    assert key(course, "1 + 1") == before


def test_the_checksums_of_loaded_data_are_part_of_the_key(course, monkeypatch):
    from coursekit.data import catalog

    cell = 'from coursekit.data import load\nload("digits")'
    before = key(course, cell)
    changed = {**catalog.CATALOG}
    changed["digits"] = dataclasses.replace(changed["digits"], files={"digits.npz": "other"})
    monkeypatch.setattr(catalog, "CATALOG", changed)
    assert key(course, cell) != before


def test_the_recorded_claim_and_the_pinned_versions_are_part_of_the_key(course):
    before = key(course, CLAIM)
    record = course.book / "claims" / "part" / "one.json"
    record.parent.mkdir(parents=True)
    record.write_text('{"chapter": "part/one", "runs": []}')
    recorded = key(course, CLAIM)
    (course.root / "constraints.txt").write_text("torch==3\n")
    assert len({before, recorded, key(course, CLAIM)}) == 3


def test_the_page_of_the_ledger_follows_every_claim(course):
    course.page("ledger", LEDGER)
    course.page("part/one", CLAIM)
    before = keys(course)["ledger"]
    course.page("part/one", CLAIM.replace('{"a": 1}', '{"a": 2}'))
    assert keys(course)["ledger"] != before


# Pages whose cells would not run


@pytest.mark.parametrize(
    ("head", "lacks"),
    [
        ("---\nkernelspec: {name: python3}\n---\n", "jupytext"),
        ("---\njupytext:\n  text_representation: {format_name: myst}\n---\n", "kernelspec"),
        ("", "jupytext.*kernelspec"),
    ],
)
def test_cells_under_an_incomplete_header_fail_loudly(course, head, lacks):
    course.page("part/one", "1 + 1", header=head)
    with pytest.raises(BookFailed, match=f"part/one.md: lacks .*{lacks}.*silently do not run"):
        execute_book(course.root)


def test_a_notebook_without_cells_fails(course):
    course.page("part/one")
    with pytest.raises(BookFailed, match="ran no code cell"):
        execute_book(course.root)


def test_pages_of_prose_that_show_how_a_cell_is_written_are_left_alone(course):
    course.page("part/one", header="", prose="````markdown\n```{code-cell}\n1\n```\n````\n")
    assert execute_book(course.root) == []


def test_a_page_that_does_not_exist_is_named(course):
    course.page("part/one", "1").unlink()
    with pytest.raises(BookFailed, match=r"part/one\.md: the page does not exist"):
        execute_book(course.root)


def test_both_readers_of_pages_find_the_same_cells(course):
    path = course.page("part/one", ":tags: [a]\n\nx = 1", prose=":::{note}\n```python\ny\n```\n:::")
    cells = [cell.source for cell in read_page(path).cells if cell.cell_type == "code"]
    assert code_cells(path.read_text()) == cells


def test_kernels_run_on_one_thread_without_progress_bars(course, monkeypatch):
    monkeypatch.setenv("COURSEKIT_CLAIM_SEEDS", "1")
    environment = kernel_environment(course.root)
    assert environment["OMP_NUM_THREADS"] == "1"
    assert environment["COURSEKIT_PROGRESS"] == "0"
    assert environment["PYTHONHASHSEED"] == "0"
    assert "COURSEKIT_CLAIM_SEEDS" not in environment


# Kernels


@pytest.mark.slow
def test_a_chapter_runs_once_in_its_folder_and_again_when_its_module_changes(course):
    course.page("part/one", "import os; print(os.getcwd())", "from coursekit.toy import value")
    (first,) = execute_book(course.root)
    assert (first.ran, first.cells) == (True, 2)
    (second,) = execute_book(course.root)
    assert (second.ran, second.key) == (False, first.key)
    known = json.loads((course.root / "build" / "execution.json").read_text())
    assert known["part/one"]["seconds"] == first.seconds
    toy = course.root / "coursekit" / "toy.py"
    toy.write_text(toy.read_text().replace("41", "42"))
    assert execute_book(course.root)[0].ran
    assert course.ran() == ["part/one"] * 2


@pytest.mark.slow
def test_an_executed_page_is_found_by_sphinx_and_replaced_by_a_new_run(course):
    from jupyter_cache import get_cache

    def output() -> str:
        notebook = read_page(course.book / "part" / "one.md")
        _, merged = get_cache(build_folder(course.root) / "cache").merge_match_into_notebook(
            notebook
        )
        return "".join(o.text for c in merged.cells for o in c.get("outputs", []))

    course.page("part/one", "from coursekit.toy import value\nprint(value())")
    execute_book(course.root)
    assert output() == "41\n"
    doctree = build_folder(course.root) / "doctrees" / "part" / "one.doctree"
    doctree.parent.mkdir(parents=True)
    doctree.touch()
    toy = course.root / "coursekit" / "toy.py"
    toy.write_text(toy.read_text().replace("41", "42"))
    execute_book(course.root)
    assert output() == "42\n"
    assert not doctree.exists()


@pytest.mark.slow
def test_a_failing_cell_fails_on_every_run_and_names_itself(course):
    course.page("part/good", "1")
    course.page("part/one", "x = 0", "1 / x", "print('never')")
    for _ in range(2):
        with pytest.raises(BookFailed, match=r"one\.md, code cell 2: (?s:.*)ZeroDivisionError"):
            execute_book(course.root)
    assert course.ran().count("part/one") == 2
    assert course.ran().count("part/good") == 1
    course.page("part/one", "x = 1", "1 / x")
    assert [execution.ran for execution in execute_book(course.root)] == [False, True]


@pytest.mark.slow
def test_output_on_the_error_stream_fails_and_names_the_cell(course):
    course.page("part/one", "1", "import warnings\nwarnings.warn('careful')")
    with pytest.raises(BookFailed, match=r"code cell 2: wrote to the error stream:\n.*careful"):
        execute_book(course.root)


@pytest.mark.slow
def test_a_cell_that_never_ends_is_stopped(course, monkeypatch):
    monkeypatch.setattr("coursekit.publishing.execute.CELL_SECONDS", 3)
    course.page("part/one", "1", "import time\ntime.sleep(60)")
    with pytest.raises(BookFailed, match=r"code cell 2: .*timed out"):
        execute_book(course.root)


@pytest.mark.slow
def test_a_kernel_that_dies_fails_the_page(course):
    course.page("part/one", "1", "import os\nos._exit(1)")
    with pytest.raises(BookFailed, match=r"one\.md, code cell \d: .*died"):
        execute_book(course.root)


@pytest.mark.slow
def test_chapters_run_side_by_side_into_a_new_cache(course):
    # Each waits for the other, so that one after the other they would not end.
    for name, other in (("a", "b"), ("b", "a")):
        course.page(
            f"part/{name}",
            f"import pathlib, time\npathlib.Path('{name}.here').touch()\n"
            f"while not pathlib.Path('{other}.here').exists(): time.sleep(0.05)",
        )
    assert [execution.ran for execution in execute_book(course.root, jobs=2)] == [True, True]
    assert [execution.ran for execution in execute_book(course.root, jobs=2)] == [False, False]


@pytest.mark.slow
def test_an_unknown_kernel_is_named(course, header):
    course.page("part/one", "1", header=header.replace("python3", "nonesuch"))
    with pytest.raises(BookFailed, match="kernel 'nonesuch', which is not installed"):
        execute_book(course.root)
