"""Stories with questions in the format of the bAbI tasks, generated without end.

Weston, Bordes, Chopra, Rush, van Merriënboer, Joulin and Mikolov, "Towards AI-Complete Question
Answering: A Set of Prerequisite Toy Tasks" (2015), describe twenty tasks; these are worlds of our
own in their words, forms of question and file format. `coursekit.data.readers.read_babi` reads
the published files, `write_babi` writes the same format.

Stricter than the published files: strike out one supporting statement and the answer is another
or unknown; strike out any other and it stays. So a question has one set of supporting
statements, and some that the published files ask are not asked here: for example whether John is
in a room that nobody spoke of.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from coursekit.data.stories import facts, worlds
from coursekit.data.stories.solver import solve
from coursekit.data.stories.story import Asked, Chance, Stories, Story, split_of, words, write_babi

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = [
    "TASKS",
    "Asked",
    "Stories",
    "Story",
    "draw",
    "solve",
    "split_of",
    "stories",
    "words",
    "write_babi",
]

TASKS: dict[int, tuple[str, Callable[[Chance], Story]]] = {
    1: ("single supporting fact", worlds.one_fact),
    2: ("two supporting facts", worlds.two_facts),
    3: ("three supporting facts", worlds.three_facts),
    4: ("two-argument relations", facts.two_arguments),
    5: ("three-argument relations", worlds.gifts),
    6: ("yes/no questions", worlds.yes_no),
    7: ("counting", worlds.counting),
    8: ("lists", worlds.listing),
    9: ("simple negation", worlds.negation),
    10: ("indefinite knowledge", worlds.indefinite),
    11: ("basic coreference", worlds.coreference),
    12: ("conjunction", worlds.conjunction),
    13: ("compound coreference", worlds.compound_coreference),
    14: ("time reasoning", worlds.times),
    15: ("basic deduction", facts.deduction),
    16: ("basic induction", facts.induction),
    17: ("positional reasoning", facts.positions),
    18: ("size reasoning", facts.sizes),
    19: ("path finding", facts.paths),
    20: ("agent's motivations", facts.motives),
}
"""Number of each task -> its name in the paper and the function that tells one story."""


def stories(task: int, examples: int = 1000, *, seed: int, split: str | None = None) -> Stories:
    """Tell stories with questions.

    Args:
        task: Number of the task, a key of `TASKS`.
        examples: Number of questions; the published files hold 1,000 or 10,000. The last story
            ends where the number is reached.
        seed: The same seed gives the same stories.
        split: "train", "validation" or "test" for stories of that split alone: no two splits
            share a story, nor the statements before its first question, whatever the seeds.
            They take 70, 10 and 20 % of all stories. None for any story.

    Returns:
        The stories; small worlds, such as that of task 4, tell the same story several times.

    Raises:
        ValueError: There is no such task or split, or `examples` is below 1.

    >>> told = stories(1, 5, seed=0)
    >>> told
    Stories(task 1, 5 questions, 1 stories)
    """
    if task not in TASKS:
        raise ValueError(f"task must be one of {', '.join(map(str, TASKS))}, got {task!r}")
    if examples < 1:
        raise ValueError(f"examples must be at least 1, got {examples}")
    if split not in ("train", "validation", "test", None):
        raise ValueError(f"split must be one of train, validation, test or None, got {split!r}")
    chance = Chance(np.random.default_rng(seed))
    tell = TASKS[task][1]
    told: list[Story] = []
    missing = examples
    while missing:
        story = tell(chance)
        if split is not None and split_of(story) != split:
            continue
        ends = [k for k, line in enumerate(story, 1) if isinstance(line, Asked)]
        told.append(story[: ends[min(missing, len(ends)) - 1]])
        missing -= min(missing, len(ends))
    return Stories(task, tuple(told))


def draw(name: str) -> Figure:
    """Draw the first lines of a story of some tasks, as they stand in a file.

    Args:
        name: "stories".

    Returns:
        The figure.
    """
    from coursekit.data.drawing import text_sheet

    rows = []
    for task in (1, 2, 3, 11, 15, 16, 17, 19):
        short = min((stories(task, 1, seed=seed) for seed in range(20)), key=_statements)
        places: list[int] = []
        for number, line in enumerate(short.stories[0], 1):
            label = f"{task} {TASKS[task][0]}" if number == 1 else ""
            if isinstance(line, Asked):
                support = " ".join(str(places[index]) for index in line.supporting)
                rows.append([label, str(number), line.text, ",".join(line.answer), support])
            else:
                places.append(number)
                rows.append([label, str(number), line, "", ""])
        rows.append([""] * 5)
    header = ["task", "line", "statement or question", "answer", "support"]
    return text_sheet(header, rows[:-1], f"{name}: eight of the 20 bAbI tasks")


def _statements(told: Stories) -> int:
    return sum(map(len, told.stories))
