"""Generated stories against the rule-based solver, which reads their words alone."""

import ast
import functools
import itertools
import re
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from coursekit.data.readers.babi import Question, read_babi
from coursekit.data.stories import (
    TASKS,
    Asked,
    Stories,
    solve,
    solver,
    split_of,
    stories,
    words,
    write_babi,
)

every = pytest.mark.parametrize("task", TASKS)
ROOMS = {"bathroom", "bedroom", "garden", "hallway", "kitchen", "office"}
ROOMS |= {"cinema", "park", "school"}
# Share of the most frequent answer among 1,000 questions, at most; and how many answers there are.
MAJORITY = {
    1: (0.21, 6), 2: (0.21, 6), 3: (0.21, 6), 4: (0.21, 6), 5: (0.25, 7), 6: (0.55, 2),
    7: (0.58, 4), 8: (0.27, 14), 9: (0.60, 2), 10: (0.43, 3), 11: (0.21, 6), 12: (0.21, 6),
    13: (0.21, 6), 14: (0.21, 6), 15: (0.30, 4), 16: (0.29, 4), 17: (0.51, 2), 18: (0.56, 2),
    19: (0.12, 12), 20: (0.18, 7),
}  # fmt: skip
STATEMENTS = {1: 6, 2: 17, 3: 25, 4: 2, 15: 8, 16: 9, 17: 2, 18: 4, 19: 5}  # before a question
SUPPORTING = {1: {1}, 2: {2}, 3: {3}, 4: {1}, 5: {1}, 6: {1}, 7: {1, 2, 3}, 8: {1, 2, 3}, 9: {1}}
SUPPORTING |= {10: {1}, 11: {2}, 12: {1}, 13: {2}, 14: {2}, 15: {2}, 16: {3}, 17: {1, 2}}
SUPPORTING |= {18: {2, 3, 4}, 19: {2}, 20: {1}}


@functools.cache
def told(task):
    return stories(task, 1000, seed=0)


@functools.cache
def asked(task):
    return told(task).questions


def tell(*sentences):
    return [words(sentence) for sentence in sentences]


def without(question, index):
    return question.story[:index] + question.story[index + 1 :]


def check_support(question):
    """Strike out each statement in turn; all supporting ones and only those change the answer."""
    only = [question.story[index] for index in sorted(question.supporting)]
    assert solve(only, question.question) == question.answer
    for index in range(len(question.story)):
        answer = solve(without(question, index), question.question)
        assert (answer != question.answer) == (index in question.supporting), (question, index)


@every
def test_solver_answers_every_question(task):
    for question in asked(task)[:500]:
        assert solve(question.story, question.question) == question.answer


@every
def test_supporting_statements_suffice_and_each_is_needed_and_no_other(task):
    for question in asked(task)[500:570]:
        check_support(question)


@pytest.mark.slow
@every
def test_ten_thousand_questions_are_solved_with_exact_support(task):
    questions = stories(task, 10_000, seed=3).questions
    assert len(questions) == 10_000
    for question in questions:
        assert solve(question.story, question.question) == question.answer
        if len(question.story) <= 60:  # the solver takes long over longer ones
            check_support(question)


@every
def test_number_of_supporting_statements_is_that_of_the_task(task):
    counts = {len(question.supporting) for question in asked(task)}
    assert counts == SUPPORTING[task]


@every
def test_answers_are_not_degenerate(task):
    counts = Counter(",".join(question.answer) for question in asked(task))
    share, kinds = MAJORITY[task]
    assert len(counts) == kinds
    assert max(counts.values()) / 1000 <= share
    assert max(counts.values()) / 1000 > 0.6 * share


@pytest.mark.parametrize("task", [1, 2, 3, 11, 12, 13, 14])
def test_the_last_room_named_is_no_shortcut(task):
    questions = asked(task)
    last = [[w for sentence in q.story for w in sentence if w in ROOMS][-1] for q in questions]
    hits = [room == q.answer[0] for room, q in zip(last, questions, strict=True)]
    assert np.mean(hits) < 0.65


@pytest.mark.parametrize("task", STATEMENTS)
def test_statements_before_a_question_are_as_many_as_stated(task):
    questions = asked(task)
    assert np.mean([len(q.story) for q in questions]) == pytest.approx(STATEMENTS[task], rel=0.06)


@every
def test_same_seed_same_stories_and_another_seed_others(task):
    assert stories(task, 50, seed=5) == stories(task, 50, seed=5)
    assert stories(task, 50, seed=5) != stories(task, 50, seed=6)


@every
@pytest.mark.parametrize("examples", [1, 7, 64])
def test_there_are_exactly_as_many_questions_as_asked_for(task, examples):
    some = stories(task, examples, seed=0)
    assert len(some) == len(some.questions) == examples
    assert all(isinstance(story[-1], Asked) for story in some.stories)


@every
def test_a_thousand_questions_are_told_in_less_than_half_a_second(task):
    took = []
    while len(took) < 5 and min(took, default=1.0) >= 0.5:  # neighbors slow a processor down
        start = time.process_time()
        stories(task, 1000, seed=0)
        took.append(time.process_time() - start)
    assert min(took) < 0.5


@every
def test_splits_share_no_opening_whatever_the_seeds(task):
    openings = {}
    for split, seed in (("train", 0), ("validation", 1), ("test", 1)):
        part = stories(task, 300, seed=seed, split=split).stories
        assert {split_of(story) for story in part} == {split}
        openings[split] = {opening(story) for story in part}
    assert not openings["train"] & openings["test"]
    assert not openings["train"] & openings["validation"]
    assert not openings["validation"] & openings["test"]


def opening(story):
    first = next(k for k, line in enumerate(story) if isinstance(line, Asked))
    return story[:first]


@pytest.mark.parametrize("task", [1, 2, 3, 15, 16])
def test_two_seeds_share_no_story_even_without_splits(task):
    first, second = told(task), stories(task, 1000, seed=1)
    assert not set(first.stories) & set(second.stories)


def test_splits_take_seven_one_and_two_tenths():
    counts = Counter(split_of(story) for story in stories(16, 5000, seed=0).stories)
    assert counts["train"] / 5000 == pytest.approx(0.7, abs=0.02)
    assert counts["validation"] / 5000 == pytest.approx(0.1, abs=0.02)
    assert counts["test"] / 5000 == pytest.approx(0.2, abs=0.02)


@every
def test_written_file_reads_back_as_the_same_questions(task, tmp_path):
    some = stories(task, 100, seed=0)
    write_babi(some, tmp_path / "a.txt")
    assert read_babi(tmp_path / "a.txt") == some.questions
    write_babi(some.questions, tmp_path / "b.txt")
    assert read_babi(tmp_path / "b.txt") == some.questions


def test_written_lines_have_the_published_form(tmp_path):
    path = tmp_path / "qa1.txt"
    write_babi(stories(1, 20, seed=0), path)
    text = path.read_bytes().decode()
    assert text.endswith("\n")
    assert "\r" not in text
    previous, starts, questions = 0, 0, 0
    for line in text.splitlines():
        number, rest = line.split(" ", 1)
        assert int(number) in (1, previous + 1)
        starts += number == "1"
        previous = int(number)
        if "\t" in rest:
            questions += 1
            assert re.fullmatch(r"Where is [A-Z][a-z]+\? \t[a-z]+\t\d+", rest)
        else:
            assert re.fullmatch(r"[A-Z][a-z]+ [a-z ]+ to the [a-z]+\.", rest)
    assert (starts, questions) == (4, 20)


def test_written_numbers_count_questions_as_lines(tmp_path):
    story = (
        "Mary moved to the garden.",
        Asked("Where is Mary?", ("garden",), (0,)),
        "Mary went to the office.",
        "John went to the office.",
        Asked("Where is Mary?", ("office",), (1,)),
    )
    write_babi([story], tmp_path / "a.txt")
    assert (tmp_path / "a.txt").read_text() == (
        "1 Mary moved to the garden.\n"
        "2 Where is Mary? \tgarden\t1\n"
        "3 Mary went to the office.\n"
        "4 John went to the office.\n"
        "5 Where is Mary? \toffice\t3\n"
    )


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([], "stories must hold at least one question"),
        ([("Mary moved to the garden.",)], "at least one question"),
        ([("A\tb.", Asked("Where?", ("a",), (0,)))], "without tabs"),
        ([("A b.", Asked("Where?", ("a\nb",), (0,)))], "without tabs and line breaks"),
        ([("A b.", Asked("Where?", ("a",), (1,)))], "supporting must name statements .* got 1"),
        ([Question((("a",),), ("where",), ("a",), (-1,))], "supporting must name .* got -1"),
    ],
)
def test_what_the_format_cannot_hold_is_refused(lines, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        write_babi(lines, tmp_path / "a.txt")
    assert not (tmp_path / "a.txt").exists()


@pytest.mark.parametrize(
    ("sentences", "question", "answer"),
    [
        (["Mary went to the garden.", "Mary went back to the office."], "Where is Mary?", "office"),
        (["Mary went to the garden."], "Where is John?", None),
        (["John got the milk.", "John moved to the hallway."], "Where is the milk?", "hallway"),
        (
            ["John moved to the hallway.", "John got the milk.", "John left the milk there.",
             "John moved to the office."],
            "Where is the milk?",
            "hallway",
        ),
        (
            ["John got the milk.", "John moved to the hallway.", "John moved to the office.",
             "John put down the milk.", "John moved to the garden."],
            "Where was the milk before the office?",
            "hallway",
        ),
        (["The garden is north of the office."], "What is north of the office?", "garden"),
        (["The garden is north of the office."], "What is the garden north of?", "office"),
        (["The garden is north of the office."], "What is north of the garden?", None),
        (["Mary handed the milk to John."], "Who did Mary give the milk to?", "john"),
        (["Mary handed the milk to John."], "Who gave the milk?", "mary"),
        (["Mary went to the garden."], "Is Mary in the office?", "no"),
        (["Mary is either in the office or the park."], "Is Mary in the park?", "maybe"),
        (["Mary is no longer in the office."], "Is Mary in the office?", "no"),
        (["Mary is no longer in the office."], "Is Mary in the park?", None),
        (["Mary got the milk.", "Mary took the apple."], "What is Mary carrying?", "milk,apple"),
        (["Mary got the milk.", "Mary left the milk."], "What is Mary carrying?", "nothing"),
        (
            ["Mary got the milk.", "Mary handed the milk to John."],
            "How many objects is Mary carrying?",
            "none",
        ),
        (["Mary went to the park.", "Then she moved to the office."], "Where is Mary?", "office"),
        (["Mary went to the park.", "Then he moved to the office."], "Where is Mary?", "park"),
        (
            ["Mary and John went to the park.", "After that they moved to the office."],
            "Where is John?",
            "office",
        ),
        (
            ["This evening Mary went to the park.", "Mary moved to the school yesterday.",
             "This morning Mary moved to the cinema."],
            "Where was Mary before the park?",
            "cinema",
        ),
        (["Sheep are afraid of wolves.", "Emily is a sheep."], "What is emily afraid of?", "wolf"),
        (
            ["Lily is a swan.", "Greg is a swan.", "Lily is gray.", "Brian is green."],
            "What color is Greg?",
            "gray",
        ),
        (
            ["The triangle is above the pink rectangle.",
             "The blue square is to the left of the triangle."],
            "Is the pink rectangle to the right of the blue square?",
            "yes",
        ),
        (
            ["The red sphere is above the pink rectangle.",
             "The red sphere is to the right of the red square."],
            "Is the pink rectangle above the red square?",
            "no",
        ),
        (
            ["The box is bigger than the book.", "The box fits inside the chest."],
            "Does the book fit in the chest?",
            "yes",
        ),
        (["The box is bigger than the book."], "Is the book bigger than the box?", "no"),
        (
            ["The office is east of the hallway.", "The kitchen is north of the office.",
             "The garden is west of the bedroom.", "The office is west of the garden."],
            "How do you go from the kitchen to the garden?",
            "s,e",
        ),
        (["Jason is thirsty."], "Where will jason go?", "kitchen"),
        (["Jason is bored.", "Jason went to the garden."], "Why did jason go to the garden?",
         "bored"),
    ],
)  # fmt: skip
def test_solver_answers_examples_worked_out_by_hand(sentences, question, answer):
    expected = None if answer is None else tuple(answer.split(","))
    assert solve(tell(*sentences), words(question)) == expected


@every
def test_solver_knows_nothing_without_a_story(task):
    question = stories(task, 1, seed=0).questions[0]
    assert solve((), question.question) in (None, ("none",), ("nothing",))


def test_solver_refuses_a_question_of_another_form():
    with pytest.raises(ValueError, match=r"question must be of a form .*, got 'who is mary'"):
        solve((), words("Who is Mary?"))


def test_solver_shares_no_code_with_the_generator():
    tree = ast.parse(Path(solver.__file__).read_text(encoding="utf-8"))
    imported = {
        name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in ([node.module] if isinstance(node, ast.ImportFrom) else
                     [alias.name for alias in node.names])
    }  # fmt: skip
    assert imported == {"__future__", "collections", "collections.abc", "functools", "re"}


def test_shapes_of_a_story_lie_in_three_places():
    for question in asked(17):
        sentences = " ".join(word for sentence in question.story for word in sentence)
        shapes = set(re.findall(r"(?:red|blue|yellow|pink) \w+|triangle", sentences))
        assert len(shapes) == 3
        for first, second in itertools.combinations(sorted(shapes), 2):
            sides = ("above", "below", "to the left of", "to the right of")
            texts = [words(f"Is the {first} {side} the {second}?") for side in sides]
            assert ("yes",) in [solve(question.story, text) for text in texts]


def test_questions_hold_the_statements_before_them_only():
    story = ("A b.", Asked("Where?", ("a",), (0,)), "C d.", Asked("Where?", ("c",), (1,)))
    first, second = Stories(1, (story,)).questions
    assert first == Question((("a", "b"),), ("where",), ("a",), (0,))
    assert second.story == (("a", "b"), ("c", "d"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"task": 21}, "task must be one of 1, 2, 3, .*, got 21"),
        ({"task": 1, "examples": 0}, "examples must be at least 1, got 0"),
        ({"task": 1, "split": "dev"}, "split must be one of train, validation, test or None"),
    ],
)
def test_bad_arguments_are_refused_by_name(arguments, message):
    with pytest.raises(ValueError, match=message):
        stories(**arguments, seed=0)


def test_all_twenty_tasks_are_told():
    assert list(TASKS) == list(range(1, 21))
