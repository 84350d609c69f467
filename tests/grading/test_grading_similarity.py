"""Tests of the report on answers that resemble each other."""

from __future__ import annotations

import random
import re
import time
from array import array
from pathlib import Path

import pytest

from coursekit.grading.notebook import read_exercise, solution_paths
from coursekit.grading.official import similarity
from coursekit.grading.official.similarity import (
    SHOWN,
    K,
    Pair,
    W,
    fingerprints,
    hashes,
    page_of,
    released_texts,
    report,
    words,
)
from coursekit.grading.release import released_source

ROOT = Path(__file__).parents[2]
SOLUTIONS = solution_paths(ROOT)
NAME = "9-sample/01-numbers"

STUB = 'def spread(x):\n    """Return the spread."""\n    raise NotImplementedError("…")\n'
ORIGINAL = '''
def centered(values):
    """Subtract the mean."""
    middle = sum(values) / len(values)
    return [value - middle for value in values]


def spread(x):
    # the square root of the mean square
    total = 0.0
    for value in centered(x):
        total += value * value
    if len(x) < 2 or total == 0:
        return 0.0
    return math.sqrt(total / (len(x) - 1))
'''
RENAMED = '''
def minus_mean(data):
    m = sum(data) / len(data)
    return [d - m for d in data]


def spread(x):
    """My own words."""
    acc = 0.0   # an accumulator
    for item in minus_mean(x):
        acc += item * \\
            item
    if len(x) < 7 or acc == 1: return 0.5
    return math.sqrt(acc / (len(x) - 2))
'''
INDEPENDENT = """
def spread(x):
    array = np.asarray(x, dtype=np.float64)
    if array.size < 2:
        return 0.0
    deviation = array - array.mean()
    return float(np.sqrt(np.dot(deviation, deviation) / (array.size - 1)))
"""


def pair_of(first: str, second: str, **options) -> list[Pair]:
    answers = {("anna", NAME): {"spread": first}, ("bert", NAME): {"spread": second}}
    return report(answers, {NAME: [STUB]}, **options)


def reordered(source: str) -> str:
    """Exchange the functions of an answer."""
    first, second = re.split(r"\n\n\n", source.strip())
    return f"{second}\n\n\n{first}\n"


@pytest.mark.parametrize(
    "copy",
    [
        ORIGINAL,
        RENAMED,
        reordered(ORIGINAL),
        reordered(RENAMED),
        ORIGINAL.replace("# the square root of the mean square", "# 1\n\n    # 2"),
        ORIGINAL.replace('"""Subtract the mean."""', '"""Anything else, at length."""'),
    ],
    ids=["equal", "renamed", "reordered", "both", "comments", "docstring"],
)
def test_a_disguised_copy_is_found(copy):
    (pair,) = pair_of(ORIGINAL, copy)
    assert pair.score >= 0.8
    assert (pair.exercise, pair.first, pair.second, pair.task) == (NAME, "anna", "bert", "spread")


def test_a_copy_that_only_changes_names_is_found_whole():
    (pair,) = pair_of(ORIGINAL, RENAMED)
    assert pair.first_share == pair.second_share == 1.0


def test_a_copy_with_much_around_it_is_found_by_the_larger_share():
    (pair,) = pair_of(ORIGINAL, ORIGINAL + INDEPENDENT.replace("spread", "other"))
    assert pair.first_share == 1.0
    assert pair.second_share < 0.8


def test_independent_answers_are_not_found():
    assert pair_of(ORIGINAL, INDEPENDENT) == []


def test_what_was_released_does_not_count():
    answers = {("anna", NAME): {"spread": ORIGINAL}, ("bert", NAME): {"spread": ORIGINAL}}
    assert report(answers, {NAME: [STUB, ORIGINAL]}) == []
    assert pair_of(STUB, STUB) == []


def test_what_many_have_does_not_count():
    twelve = {(f"learner{i:02}", NAME): {"spread": ORIGINAL} for i in range(12)}
    assert report(twelve, {}) == []
    ten = dict(list(twelve.items())[:10])
    assert len(report(ten, {})) == 45


def test_learners_are_compared_within_an_exercise():
    answers = {("anna", NAME): {"spread": ORIGINAL}, ("bert", "9-sample/02"): {"spread": ORIGINAL}}
    assert report(answers, {}) == []


def test_the_task_in_which_they_share_most_is_named():
    answers = {
        ("anna", NAME): {"a": INDEPENDENT, "spread": ORIGINAL},
        ("bert", NAME): {"a": "pass", "spread": RENAMED},
    }
    (pair,) = report(answers, {})
    assert pair.task == "spread"
    assert pair.task_common == pair.common > 10


def test_a_function_moved_to_another_task_is_found():
    helper, function = ORIGINAL.strip().split("\n\n\n")
    answers = {
        ("anna", NAME): {"a": helper, "spread": function},
        ("bert", NAME): {"a": "pass", "spread": RENAMED},
    }
    assert len(report(answers, {})) == 1


def test_the_order_of_learners_does_not_matter():
    answers = {
        (name, NAME): {"spread": text}
        for name, text in (("anna", ORIGINAL), ("bert", RENAMED), ("carl", INDEPENDENT))
    }
    assert report(answers, {}) == report(dict(reversed(answers.items())), {})


# ------------------------------------------------------------------------------ the algorithm


def test_names_literals_comments_and_docstrings_do_not_count():
    shown = words('def f(a, b=1):\n    """Doc."""\n    # why\n    return a.sum(dim=-2) + g(b)\n')
    assert " ".join(shown) == (
        "def name ( name , b = number ) : return name . sum ( dim = - number ) + name ( name )"
    )


def test_modules_builtins_and_attributes_keep_their_names():
    shown = words("import scipy.special as sp\ny = np.exp(len(x)) + sp.expit(self.weight)\n")
    assert " ".join(shown) == (
        "import scipy . special as sp name = np . exp ( len ( name ) ) + sp . expit ( name . name )"
    )


def test_a_formatted_string_is_one_literal_in_every_python():
    assert words("x = f'{a!r} {b + 1:>{width}}' + 'y'") == ["name", "=", "string", "+", "string"]


def test_layout_does_not_count():
    assert words("x = (1,\n     2)") == words("x=( 1, 2 )")


@pytest.mark.parametrize(
    "source",
    ["", "   ", "def f(", "x = '''open", "\x00", "\ud800 = 1", "  a\n b\n", "1_ = 0777", "$?!`",
     "%matplotlib inline\n!ls", "(" * 5000, "'" * 999, "f'{" * 300, "\\", "é = ０", "\t" * 9999],
    ids=range(16),
)  # fmt: skip
def test_code_that_python_cannot_read_breaks_nothing(source):
    assert fingerprints(hashes(words(source))) is not None
    answers = {("anna", NAME): {"spread": source}, ("bert", NAME): {"spread": ORIGINAL}}
    assert report(answers, {NAME: [source]}) == []


def test_a_broken_copy_is_still_found():
    (pair,) = pair_of(ORIGINAL, ORIGINAL.replace("return 0.0", "return (0.0"))
    assert pair.score > 0.6


def test_a_run_of_enough_tokens_is_always_found():
    chosen = random.Random(1)
    alphabet = [f"t{i}" for i in range(30)]
    for _ in range(50):
        shared = chosen.choices(alphabet, k=K + W - 1)
        first, second = (
            fingerprints(hashes([*chosen.choices(alphabet, k=40), *shared,
                                 *chosen.choices(alphabet, k=40)]))
            for _ in range(2)
        )  # fmt: skip
        assert first & second


def test_hashes_are_of_runs_wherever_they_stand():
    tokens = [f"t{i}" for i in range(40)]
    assert hashes(tokens[5:30]) == hashes(tokens)[5 : 30 - K + 1]
    assert hashes(tokens[: K - 1]) == []


def test_a_fingerprint_is_the_smallest_of_its_window():
    assert fingerprints([5, 3, 9, 7, 8, 6, 1]) == {3, 7 if W == 3 else 6, 1} - {7} | {3}
    assert fingerprints([5, 3]) == {3}
    assert fingerprints([]) == set()


# ------------------------------------------------------------------------------ the course


def learners_of(exercise) -> dict[tuple[str, str], dict[str, str]]:
    """Make learners of the independent right answers: the solution and each row of alternatives."""
    rows = [{at.id: exercise.source(at.answer) for at in exercise.tasks}]
    for number in range(max(len(at.alternatives) for at in exercise.tasks)):
        rows.append({
            at.id: at.alternatives[number].source
            for at in exercise.tasks
            if number < len(at.alternatives)
        })  # fmt: skip
    return {(f"learner{i}", exercise.name): row for i, row in enumerate(rows)}


@pytest.mark.parametrize("path", SOLUTIONS, ids=lambda path: path.stem)
def test_independent_right_answers_of_the_course_are_not_listed(path):
    exercise = read_exercise(path)
    stubs = [released_source(c) for c in exercise.notebook.cells if c.cell_type == "code"]
    answers = learners_of(exercise)
    assert report(answers, {exercise.name: stubs}) == []
    everything = report(answers, {exercise.name: stubs}, score=0.0, least=1)
    assert everything, "there was nothing to compare"


@pytest.mark.parametrize("path", SOLUTIONS, ids=lambda path: path.stem)
def test_renamed_copies_of_alternatives_are_listed(path):
    exercise = read_exercise(path)
    first = {at.id: at.alternatives[0].source for at in exercise.tasks}
    copy = {task: disguised(source) for task, source in first.items()}
    answers = {
        **{k: v for k, v in learners_of(exercise).items() if k[0] != "learner1"},
        ("anna", exercise.name): first,
        ("bert", exercise.name): copy,
    }
    (pair,) = report(answers, {exercise.name: released_texts(exercise)})
    assert (pair.first, pair.second) == ("anna", "bert")
    assert pair.score > 0.9


def disguised(source: str) -> str:
    """Rename what an answer assigns, and put comments between its lines."""
    chosen = set(re.findall(r"^\s+([a-z]\w*) = |for (\w+) in", source, re.M))
    for name in sorted({name for found in chosen for name in found if name}):
        source = re.sub(rf"(?<![\w.]){name}\b(?!\s*=[^=].*\))", f"my_{name}", source)
    return re.sub(r"\n", "\n# mine\n", source)


# ------------------------------------------------------------------------------ many learners


def program(chosen: random.Random) -> str:
    """Write about 15 lines of code that nobody else writes."""
    lines = ["def f(x, y):"]
    for number in range(15):
        term = "x"
        for _ in range(chosen.randint(1, 4)):
            call = chosen.choice(["np.exp", "np.log", "abs", "max", "len", "sorted", "torch.where"])
            operator = chosen.choice(["+", "-", "*", "@", "/", "**", "//", "%"])
            term = chosen.choice([f"{call}({term})", f"{term} {operator} 2", f"({term}, v)[1:]"])
        lines.append(chosen.choice([f"    v{number} = {term}", f"    if v: return {term}"]))
    return "\n".join(lines)


def test_copies_among_many_learners_are_found():
    chosen = random.Random(2)
    answers = {(f"learner{i:03}", NAME): {"f": program(chosen)} for i in range(150)}
    for i in range(0, 20, 2):
        answers[f"learner{i + 1:03}", NAME] = answers[f"learner{i:03}", NAME]
    found = {(pair.first, pair.second) for pair in report(answers, {})}
    assert found == {(f"learner{i:03}", f"learner{i + 1:03}") for i in range(0, 20, 2)}


def test_a_fingerprint_makes_pairs_of_its_few_holders_only():
    marks = array("Q", [7, 7, 7, 8, 8, 9, 5, 5, 5, 5])
    owners = array("L", [2, 0, 1, 0, 2, 1, 0, 1, 2, 3])
    totals, shared, common = similarity._holders(marks, owners, 3)
    assert totals == [2, 2, 2, 0]
    assert sorted(shared) == [(0, 1, 1), (0, 2, 2), (1, 2, 1)]
    assert common == {5}


def test_more_than_fifty_with_the_same_answer_make_no_pair():
    """Without that bound the work would grow with the square of the learners."""
    answers = {(f"learner{i:04}", NAME): {"f": RENAMED} for i in range(51)}
    answers |= {(f"other{i:04}", NAME): {"f": f"x{i} = 1"} for i in range(1500)}
    assert report(answers, {}) == []
    del answers["learner0000", NAME]
    assert len(report(answers, {})) == 50 * 49 / 2


@pytest.mark.slow
def test_a_thousand_learners_take_seconds():
    chosen = random.Random(3)
    answers = {
        (f"learner{i:04}", NAME): {f"task{j}": program(chosen) for j in range(6)}
        for i in range(1000)
    }
    begin = time.process_time()
    report(answers, {})
    assert time.process_time() - begin < 30


# ------------------------------------------------------------------------------ the page


def test_the_page_is_a_list_and_no_verdict():
    answers = {("anna", NAME): {"spread": ORIGINAL}, ("bert", NAME): {"spread": RENAMED}}
    text = page_of(report(answers, {}), answers, 2)
    assert "This is a list to look at, not a verdict." in text
    assert "How many of these pairs one would expect by chance is unknown." in " ".join(
        text.split()
    )
    assert "def minus_mean(data):" in text
    assert "100 %" in text


def test_the_page_escapes_names_and_code():
    source = ORIGINAL + "\nx = '<script>alert(1)</script>\u202e'"
    answers = {("<b>", NAME): {"spread": source}, ("b", NAME): {"spread": source}}
    text = page_of(report(answers, {}), answers, 2)
    assert "<script" not in text
    assert "<b>" not in text
    assert "\u202e" not in text


def test_the_page_is_bounded():
    pairs = [Pair(NAME, f"a{i}", f"b{i}", 1.0, 1.0, 9, "f", 9) for i in range(3000)]
    text = page_of(pairs, {}, 6000)
    assert "3000 pairs, the first 1000" in text
    assert text.count("<details>") == SHOWN
