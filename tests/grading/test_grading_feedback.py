"""Tests of the page that a learner gets back."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import pytest
from conftest import NAME
from sample_grades import HOSTILE, MARKUP, failed, full, hostile, perfect, refused, task

from coursekit.grading.notebook import read_exercise, solution_paths
from coursekit.grading.official.feedback import (
    chapter_link,
    counting,
    exercise_text,
    feedback,
    hidden_words,
    why,
)
from coursekit.grading.official.results import CellGrade, Said

ROOT = Path(__file__).parents[2]


class Page(HTMLParser):
    """The words, tags and addresses of a page."""

    VOID = ("meta", "br", "hr", "img", "link", "input")

    def __init__(self, text: str):
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.words = ""
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if not {"style", "title"} & set(self.open):
            self.words += data

    def of(self, *names: str) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.tags if tag in names]

    @property
    def flat(self) -> str:
        return " ".join(self.words.split())


@pytest.fixture
def texts(course):
    return {NAME: exercise_text(read_exercise(course.solution))}


@pytest.fixture
def written(texts):
    """Write the page of some grades and take it apart."""

    def write(*grades, **options) -> Page:
        return Page(feedback(grades, texts, **options))

    return write


def test_a_task_shows_points_messages_and_the_explanation(written):
    flat = written(full()).flat
    assert "Feedback for anna" in flat
    assert "3 of 20 points in all" in flat
    assert "Task 1 · The average Partly right: 3 of 5 points" in flat
    assert "Passed: average agrees with the reference on 1 case" in flat
    assert "Failed: spread: the values differ" in flat
    assert "expected 1.63299 got 2.66667" in flat
    assert "Why: Take the root." in flat


def test_hidden_checks_are_counted_in_honest_words(written):
    flat = written(full()).flat
    assert "Hidden checks: 1 of 3 points 1 of 3 passed." in flat
    assert "They try other inputs, and what they try is not shown." in flat
    assert "The checks that you see passed, so look at what the text asks" in flat


@pytest.mark.parametrize(
    ("said", "earned", "words"),
    [
        ([], 0.0, "They did not run."),
        ([], 3.0, ""),
        (["passed"], 3.0, "The only one passed, on inputs that the notebook does not show."),
        (["passed"] * 2, 3.0, "All 2 passed, on inputs that the notebook does not show."),
        (["failed"] * 2, 0.0, "0 of 2 passed. They try other inputs, and what they try is not"),
    ],
)
def test_words_about_hidden_checks(said, earned, words):
    hidden = [Said(status, "hidden check", "close") for status in said]
    found = hidden_words(task("average", 0.0, earned, hidden_said=hidden))
    assert found.startswith(words)
    assert bool(found) == bool(words)


def test_every_zero_has_its_reason(written):
    flat = written(full()).flat
    reasons = re.findall(r"Why 0 points: (.*?) What was asked", flat)
    assert reasons == [
        "spread: the values differ",
        "not answered, the answer cell is as it was released",
        "the answer cell: it raises SyntaxError",
    ]


def test_an_exception_is_part_of_the_reason():
    said = [Said("failed", "f: an exception was raised", "close", [("got", "KeyError: 'x'")])]
    assert why(task("f", 0, 0, "failed", said=said)) == "f: an exception was raised: KeyError: 'x'"
    assert why(task("f", 0, 0, "failed")) == "no check was passed"
    assert why(task("f", 2, 3, "passed")) == ""


def test_a_refused_submission_says_why(written):
    flat = written(refused("anna")).flat
    assert "This could not be graded, so it has 0 points: no notebook was handed in" in flat


def test_a_failure_of_the_grader_is_not_blamed_on_the_learner(written):
    flat = written(failed("anna")).flat
    assert "The grader itself failed, which is no fault of yours" in flat


def test_the_answer_is_shown_as_it_was_graded(written):
    assert "def average(x): return x.mean()" in written(full()).flat


def test_the_text_of_a_task_is_shown_without_hints_and_solutions(course, written):
    flat = written(full()).flat
    exercise = read_exercise(course.solution)
    assert "What was asked" in flat
    for at in exercise.tasks:
        hints = re.findall(r"<details>.*?</details>", exercise.source(at.text), re.S)
        assert hints
        for hint in hints:
            inner = re.sub(r"<.*?>", "", hint.split("</summary>")[1]).strip()
            assert inner not in flat
    for secret in ("total_of_all", "skewed = np", "Divide by n, not n"):
        assert secret not in flat


def test_an_unclosed_hint_is_left_out_to_the_end(course):
    course.edit(course.solution, unclose)
    shown = "".join(exercise_text(read_exercise(course.solution)).tasks.values())
    assert "Hint" not in shown
    assert "secret" not in shown


def unclose(cells):
    for cell in cells:
        if cell.cell_type == "markdown" and "## Task 1" in cell.source:
            cell.source += "\n<DETAILS ><summary>Hint 3</summary>\n\nsecret words"


def test_chapters_are_linked_only_if_the_book_has_an_address(written):
    page = written(full(), book="https://example.org/course/")
    hrefs = [a["href"] for a in page.of("a")]
    assert hrefs == [f"https://example.org/course/{NAME}.html"]
    assert "Read: Numbers" in page.flat
    assert written(full()).of("a") == []
    assert "Read: Numbers, in the book." in written(full()).flat


@pytest.mark.parametrize("book", ["https://x.org", "http://x.org/", "file:///b", "../book", "b"])
def test_a_book_has_an_address_or_a_path(book):
    assert chapter_link(book, NAME) == f"{book.rstrip('/')}/{NAME}.html"


@pytest.mark.parametrize("book", ["javascript:alert(1)//", "data:text/html,", " javascript:x"])
def test_a_book_of_another_scheme_is_refused(book):
    with pytest.raises(ValueError, match="book must be an http"):
        chapter_link(book, NAME)


def test_nothing_of_a_hostile_learner_becomes_markup(written):
    page, plain = written(hostile()), written(full())
    assert {tag for tag, _ in page.tags} <= {tag for tag, _ in plain.tags}
    assert not page.of("script", "img", "iframe", "object", "form", "link", "base", "svg")
    assert not [name for _, found in page.tags for name in found if name.startswith("on")]
    assert MARKUP in page.words


def test_a_page_of_a_hostile_learner_is_bounded(texts):
    text = feedback([hostile()], texts)
    assert len(text) < 400_000
    assert not set(text) & set("\x00\x1b\u202e\u2066\ud800")
    assert text.encode("utf-8")


def test_a_page_needs_no_other_host_and_no_script(texts):
    text = feedback([full(), refused("anna", "")], texts)
    page = Page(text)
    assert "default-src 'none'" in text
    assert not re.search(r"url\(|@import|https?://(?!www\.w3\.org/1998/Math)", text)
    assert not [found for _, found in page.tags if {"src", "srcset", "action"} & set(found)]


def test_headings_do_not_skip_and_landmarks_are_there(written):
    page = written(full(), refused("anna", ""))
    levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch(r"h[1-6]", tag)]
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    for landmark in ("header", "main", "footer", "nav"):
        assert len(page.of(landmark)) == 1
    assert page.of("html")[0]["lang"] == "en"
    assert page.open == []


def test_what_points_to_a_place_finds_it(written):
    page = written(full(), refused("anna", ""))
    ids = [found["id"] for _, found in page.tags if "id" in found]
    assert len(ids) == len(set(ids))
    wanted = [found["aria-labelledby"] for _, found in page.tags if "aria-labelledby" in found]
    wanted += [a["href"][1:] for a in page.of("a") if a["href"].startswith("#")]
    assert wanted
    assert set(wanted) <= set(ids)


def test_the_same_grades_give_the_same_page(texts):
    assert feedback([full()], texts) == feedback([full(seconds=99.0)], texts)


def test_a_task_with_all_points_folds_its_text(written):
    assert not [box for box in written(perfect("anna")).of("details") if "open" in box]


def test_grades_of_several_learners_are_refused(texts):
    with pytest.raises(ValueError, match="grades must be of one learner, got 2 learners"):
        feedback([full("anna"), full("bert")], texts)


def test_of_several_submissions_the_best_counts():
    low, high = full("anna"), perfect("anna")
    assert counting([failed("anna"), low, high, refused("anna")]) == [high]
    assert counting([failed("anna"), refused("anna")]) == [refused("anna")]


def test_an_exercise_that_nobody_knows_has_a_page(written):
    flat = written(refused("anna", "", file="a/b.ipynb", reason="it names no exercise")).flat
    assert "a/b.ipynb" in flat
    assert "it names no exercise" in flat


@pytest.mark.parametrize("path", solution_paths(ROOT), ids=lambda path: path.stem)
def test_each_formula_of_the_course_becomes_mathml(path):
    exercise = read_exercise(path)
    text = exercise_text(exercise)
    assert set(text.tasks) == {at.id for at in exercise.tasks}
    for shown in text.tasks.values():
        assert 'class="tex"' not in shown
        assert "$" not in re.sub(r"<code>.*?</code>", "", shown, flags=re.S)
        Page(str(shown))


def formula(course, tex: str) -> str:
    def write(cells):
        cells[[c.cell_type for c in cells].index("markdown", 1)].source += f"\n\n${tex}$\n"

    course.edit(course.solution, write)
    return "".join(exercise_text(read_exercise(course.solution)).tasks.values())


@pytest.mark.parametrize(
    ("tex", "part"),
    [
        (r"\frac12 x", "<mfrac><mn>1</mn><mn>2</mn></mfrac>"),
        (r"x^12", "<msup><mi>x</mi><mn>1</mn></msup><mn>2</mn>"),
        (r"\tilde\theta_1", "</mover><mn>1</mn></msub>"),
        (r"a < b", "<mo>&lt;</mo>"),
    ],
)
def test_formulas_mean_what_tex_means(course, tex, part):
    assert part in formula(course, tex)


def test_a_distance_between_lines_is_no_part_of_a_formula(course):
    shown = formula(course, r"\begin{cases} a & b \\[2ex] c & d \end{cases}")
    assert shown.count("<mtr>") == 2
    assert "ex]" not in shown


def test_a_formula_that_cannot_be_read_stands_as_it_is(course):
    assert '<code class="tex">\\unknown{&lt;b&gt;}</code>' in formula(course, r"\unknown{<b>}")


def test_pictures_and_odd_links_of_a_text_fetch_nothing(course):
    odd = "![a plot](https://example.org/x.png) [here](javascript:alert(1)) <b onclick=x>b</b>"

    def write(cells):
        cells[[c.cell_type for c in cells].index("markdown", 1)].source += f"\n\n{odd}"

    course.edit(course.solution, write)
    shown = "".join(exercise_text(read_exercise(course.solution)).tasks.values())
    assert "<em>a plot</em>" in shown
    assert "javascript" not in shown
    assert "<b onclick" not in shown


def test_a_cell_without_messages_says_that_nothing_ran(written):
    grade = full()
    grade.tasks[0].public = CellGrade(2.0)
    assert "Checks that you see: 0 of 2 points They did not run." in written(grade).flat
    assert HOSTILE not in written(grade).flat
