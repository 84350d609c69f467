"""The pages that come out of grading, in Chromium: readable, accessible, without another host."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, Route

from coursekit.grading.notebook import read_exercise, solution_paths
from coursekit.grading.official.feedback import exercise_text, feedback
from coursekit.grading.official.results import (
    GRADED,
    REFUSED,
    CellGrade,
    Grade,
    Said,
    TaskGrade,
)
from coursekit.grading.official.similarity import Pair, page_of

pytestmark = pytest.mark.browser

ROOT = Path(__file__).parents[2]
HOSTILE = "<script>document.title = 'run'</script>\u202e" + "x" * 500
SIZES = {"desktop": (1280, 900), "telephone": (390, 844)}


def learner_page() -> str:
    """One learner with every exercise of the course, each kind of result, and hostile texts."""
    exercises = [read_exercise(path) for path in solution_paths(ROOT)]
    facts = [("expected", "tensor([1.0000, 2.0000])"), (HOSTILE, HOSTILE)]
    said = [Said("failed", HOSTILE, "close", facts), Said("passed", "it agrees", "close")]
    statuses = ["passed", "partly", "failed", "not answered", "error"]
    grades = []
    for exercise in exercises:
        tasks = []
        for number, task in enumerate(exercise.tasks):
            status = statuses[number % len(statuses)]
            earned = {"passed": 1.0, "partly": 0.5}.get(status, 0.0)
            public = CellGrade(2.0, 2 * earned, said, ["You forgot the bias."])
            hidden = CellGrade(3.0, 3 * earned, said)
            tasks.append(TaskGrade(task.id, task.title, status, public, hidden))
        answers = dict.fromkeys((task.id for task in exercise.tasks), HOSTILE)
        grades.append(
            Grade(HOSTILE, exercise.name, GRADED, 7.5, 30.0, tasks=tasks, answers=answers)
        )
    grades.append(Grade(HOSTILE, "", REFUSED, reason=HOSTILE, file=HOSTILE))
    texts = {exercise.name: exercise_text(exercise) for exercise in exercises}
    return feedback(grades, texts, book="https://example.org/book")


def similarity_page() -> str:
    """Pairs of learners, with code."""
    pairs = [Pair("1-basics/01-neuron", HOSTILE, f"bert{i}", 0.9, 0.8, 9, "f", 9) for i in range(9)]
    answers = {(HOSTILE, "1-basics/01-neuron"): {"f": HOSTILE}}
    return page_of(pairs, answers, 10)


PAGES = {"feedback": learner_page, "similarity": similarity_page}


@pytest.fixture
def shown(browser: Browser, tmp_path: Path):
    """Open a page from the disk; every request that leaves the disk is a failure."""
    contexts = []

    def open_page(make: Callable[[], str], size: str, scheme: str) -> Page:
        path = tmp_path / "page.html"
        path.write_text(make(), encoding="utf-8")
        width, height = SIZES[size]
        context = browser.new_context(
            viewport={"width": width, "height": height}, color_scheme=scheme
        )
        contexts.append(context)
        page = context.new_page()
        asked: list[str] = []

        def answer(route: Route) -> None:
            asked.append(route.request.url)
            if route.request.url.startswith("file:"):
                route.continue_()
            else:
                route.abort()

        page.route("**/*", answer)
        page.goto(path.as_uri())
        page.evaluate("document.querySelectorAll('details').forEach(box => box.open = true)")
        assert asked == [path.as_uri()]
        return page

    yield open_page
    for context in contexts:
        context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("make", PAGES.values(), ids=PAGES)
def test_a_page_is_accessible_and_fits(shown, make, size, scheme):
    page = shown(make, size, scheme)
    options = {"resultTypes": ["violations"], "rules": {"empty-table-header": {"enabled": False}}}
    found = Axe().run(page, options=options).response["violations"]
    assert [(one["id"], [node["html"][:120] for node in one["nodes"][:3]]) for one in found] == []
    # In the place of the rule turned off, which does not read the text of formulas:
    headers = page.locator("th").all_text_contents()
    assert all(text.strip() for text in headers)
    assert page.evaluate("document.documentElement.scrollWidth") <= SIZES[size][0]
    assert page.title() != "run"


def test_formulas_are_drawn(shown):
    page = shown(learner_page, "desktop", "light")
    heights = page.evaluate(
        "[...document.querySelectorAll('math')].map(m => m.getBoundingClientRect().height)"
    )
    assert len(heights) > 50
    assert min(heights) > 5
    assert page.locator("code.tex").count() == 0
    taller = (
        "boxes => boxes.filter(box => box.scrollHeight > box.clientHeight).map(b => b.textContent)"
    )
    assert page.locator(".display, .inline").evaluate_all(taller) == []


def test_a_printed_page_shows_what_is_folded(shown):
    page = shown(learner_page, "desktop", "dark")
    page.evaluate("document.querySelectorAll('details').forEach(box => box.open = false)")
    page.emulate_media(media="print", color_scheme="dark")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    height = page.locator("details pre").first.evaluate("e => e.getBoundingClientRect().height")
    assert height > 5
