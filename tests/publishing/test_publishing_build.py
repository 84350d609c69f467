"""The book as it is written: current, complete, and never with a warning."""

import pytest
from filelock import FileLock

pytest.importorskip("jupyter_book")
pytest.importorskip("mathjax")

from coursekit.errors import UserError
from coursekit.publishing import build
from coursekit.publishing.build import build_book
from coursekit.publishing.execute import BookFailed

CELL = "from coursekit.toy import value\nprint('value is', value())"


def test_missing_tools_are_named_with_the_command_that_installs_them(course, monkeypatch):
    monkeypatch.setattr(build, "NEEDS", ("jupyter_book", "no_such_tool"))
    with pytest.raises(UserError, match=r"needs no_such_tool: run pip install .*\[book\]"):
        build_book(course.root)


def test_a_second_build_of_the_same_folder_is_told_to_wait(course):
    folder = course.root / "build" / "book"
    folder.mkdir(parents=True)
    with (
        FileLock(folder / "lock"),
        pytest.raises(UserError, match=r"another build writes to .*build.book: wait"),
    ):
        build_book(course.root)


@pytest.mark.slow
def test_the_pages_follow_prose_and_code(course, capsys):
    course.page("part/one", CELL)
    page = build_book(course.root)
    assert page == course.root / "build" / "book" / "html" / "index.html"
    assert "value is 41" in course.html("part/one")
    assert "_static/mathjax/tex-svg-full.js" in course.html("index")
    assert (page.parent / "_static" / "mathjax" / "tex-svg-full.js").stat().st_size > 1e6
    assert sorted(p.name for p in course.book.iterdir()) == [
        "_config.yml", "_toc.yml", "index.md", "part",
    ]  # fmt: skip

    course.page("part/one", CELL, prose="Better words.")
    build_book(course.root)
    assert "Better words." in course.html("part/one")
    assert "value is 41" in course.html("part/one")
    assert course.ran() == ["part/one"]

    toy = course.root / "coursekit" / "toy.py"
    toy.write_text(toy.read_text().replace("41", "42"))
    build_book(course.root)
    assert "value is 42" in course.html("part/one")
    assert course.ran() == ["part/one"] * 2
    assert "1 chapters current, 0 to execute" in capsys.readouterr().out
    build_book(course.root)
    assert "nothing to write" in capsys.readouterr().out


@pytest.mark.slow
def test_a_book_with_a_failing_cell_fails_twice_and_writes_no_page(course):
    course.page("part/one", "1 / 0")
    for _ in range(2):
        with pytest.raises(BookFailed, match="ZeroDivisionError"):
            build_book(course.root)
        assert not (course.root / "build" / "book" / "html").exists()


@pytest.mark.slow
def test_a_warning_of_sphinx_fails_every_build_until_it_is_mended(course):
    course.page("part/one", header="", prose="[nowhere](nowhere.md)")
    for _ in range(2):
        with pytest.raises(BookFailed, match="nowhere"):
            build_book(course.root)
    course.page("part/one", header="", prose="[home](../index.md)")
    assert build_book(course.root).is_file()


@pytest.mark.slow
def test_a_page_taken_out_of_the_contents_is_taken_out_of_the_book(course):
    course.page("part/one", header="")
    course.page("part/two", header="")
    build_book(course.root)
    assert 'href="two.html"' in course.html("part/one")
    course.pages.remove("part/two")
    course.contents()
    page = build_book(course.root)
    assert "two.html" not in course.html("part/one")
    assert not (page.parent / "part" / "two.html").exists()
