"""Stories with questions, and the file format of the bAbI tasks."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np

from coursekit.data.readers.babi import Question

T = TypeVar("T")
# Of ten stories seven are for training, one for validation, two for the test.
SPLIT_OF_TENTH = ("train",) * 7 + ("validation",) + ("test",) * 2


@dataclass(frozen=True)
class Asked:
    """A question inside a story.

    Attributes:
        text: As written, "Where is Mary?".
        answer: One word, or several.
        supporting: The statements that give the answer, counted from 0 without questions.
    """

    text: str
    answer: tuple[str, ...]
    supporting: tuple[int, ...]


Story = tuple[str | Asked, ...]


@dataclass(frozen=True)
class Stories:
    """Generated stories of one task.

    Attributes:
        task: Number of the task.
        stories: Each a row of statements and questions, in the order in which they are told.
    """

    task: int
    stories: tuple[Story, ...]

    @property
    def questions(self) -> list[Question]:
        """The questions, each with the statements before it, as `read_babi` returns them."""
        return [question for story in self.stories for question in _questions(story)]

    def __len__(self) -> int:
        return sum(isinstance(line, Asked) for story in self.stories for line in story)

    def __repr__(self) -> str:
        return f"Stories(task {self.task}, {len(self):,} questions, {len(self.stories):,} stories)"


class Chance:
    """Draws from lists; numbers come in blocks, as single draws of numpy are slow.

    Args:
        rng: Source of all chance.
    """

    def __init__(self, rng: np.random.Generator):
        self._rng = rng
        self._numbers: list[float] = []

    def number(self) -> float:
        """Draw a number from [0, 1)."""
        if not self._numbers:
            self._numbers = self._rng.random(4096).tolist()
        return self._numbers.pop()

    def below(self, bound: int) -> int:
        """Draw a whole number from 0 to bound - 1."""
        return int(self.number() * bound)

    def pick(self, choices: Sequence[T]) -> T:
        """Choose one of a list."""
        return choices[int(self.number() * len(choices))]

    def shuffle(self, items: Iterable[T]) -> list[T]:
        """Give the items in random order."""
        mixed = list(items)
        for last in range(len(mixed) - 1, 0, -1):
            other = self.below(last + 1)
            mixed[last], mixed[other] = mixed[other], mixed[last]
        return mixed


class Teller:
    """Collects the lines of a story and numbers its statements.

    Args:
        chance: Source of all chance.
    """

    def __init__(self, chance: Chance):
        self.chance = chance
        self.pick, self.shuffle = chance.pick, chance.shuffle
        self.lines: list[str | Asked] = []
        self.count = 0

    def coin(self, probability: float = 0.5) -> bool:
        """Throw a coin."""
        return self.chance.number() < probability

    def say(self, sentence: str) -> int:
        """Add a statement; gives its number, from 0."""
        self.lines.append(sentence[0].upper() + sentence[1:] + ".")
        self.count += 1
        return self.count - 1

    def ask(self, text: str, answer: Iterable[str], supporting: Iterable[int]) -> None:
        """Add a question."""
        self.lines.append(Asked(text + "?", tuple(answer), tuple(supporting)))

    def fresh(self, candidates: Sequence[Asked]) -> list[Asked]:
        """Leave out questions that were asked before and have the same answer and support."""
        asked = {(line.text, line.supporting) for line in self.lines if isinstance(line, Asked)}
        return [c for c in candidates if (c.text + "?", c.supporting) not in asked]

    def ask_evenly(self, candidates: Sequence[Asked]) -> None:
        """Ask one of several questions: choose among the answers first, then among questions."""
        answer = self.pick(sorted({candidate.answer for candidate in candidates}))
        chosen = self.pick([candidate for candidate in candidates if candidate.answer == answer])
        self.ask(chosen.text, chosen.answer, chosen.supporting)

    def story(self) -> Story:
        """Give the lines."""
        return tuple(self.lines)


def words(sentence: str) -> tuple[str, ...]:
    """Split a sentence into lower-case words without punctuation.

    Args:
        sentence: A statement or a question.

    Returns:
        Its words.

    >>> words("Where is Mary?")
    ('where', 'is', 'mary')
    """
    return tuple(re.findall(r"[a-z]+", sentence.lower()))


def _questions(story: Story) -> list[Question]:
    told: tuple[tuple[str, ...], ...] = ()
    questions = []
    for line in story:
        if isinstance(line, Asked):
            questions.append(Question(told, words(line.text), line.answer, line.supporting))
        else:
            told = (*told, words(line))
    return questions


def split_of(story: Story) -> str:
    """Say to which split a story belongs, by its statements before the first question alone.

    Args:
        story: A story.

    Returns:
        "train", "validation" or "test".
    """
    opening = []
    for line in story:
        if isinstance(line, Asked):
            break
        opening.append(line)
    digest = hashlib.sha256("\n".join(opening).encode()).digest()
    return SPLIT_OF_TENTH[int.from_bytes(digest[:8], "big") % 10]


def write_babi(
    stories: Stories | Sequence[Story] | Sequence[Question], path: str | os.PathLike[str]
) -> None:
    """Write the text format of the bAbI tasks.

    Each line is numbered from 1 within its story, questions too; a question carries its answers
    and the numbers of the lines that support it, between tabs.

    Args:
        stories: Stories, or questions as `read_babi` returns them. Of questions, one that
            continues the story of the one before stands in the same story, and sentences begin
            with a capital letter, whatever names they hold.
        path: The file to write; `read_babi` reads it back.

    Raises:
        ValueError: There is no question, a line holds a tab or a line break, or a supporting
            statement does not stand before its question.
    """
    told: list[Story] = []
    for item in stories.stories if isinstance(stories, Stories) else stories:
        if isinstance(item, Question):
            _join(told, item)
        else:
            told.append(item)
    lines = []
    asked = False
    for story in told:
        places: list[int] = []
        for number, line in enumerate(story, 1):
            if isinstance(line, Asked):
                asked = True
                lines.append(f"{number} {_question_line(line, places)}")
            else:
                places.append(number)
                lines.append(f"{number} {_clean(str(line))}")
    if not asked:
        raise ValueError("stories must hold at least one question, got none")
    Path(path).write_text("\n".join(lines) + "\n", encoding="utf-8", newline="\n")


def _question_line(asked: Asked, places: list[int]) -> str:
    wrong = [index for index in asked.supporting if not 0 <= index < len(places)]
    if wrong:
        raise ValueError(
            f"supporting must name statements before the question {asked.text!r}, "
            f"0 to {len(places) - 1}, got {wrong[0]}"
        )
    supporting = " ".join(str(places[index]) for index in asked.supporting)
    return f"{_clean(asked.text)} \t{_clean(','.join(asked.answer))}\t{supporting}"


def _clean(text: str) -> str:
    if not text.strip() or not text.isprintable():
        raise ValueError(f"a line must be text without tabs and line breaks, got {text!r}")
    return text


def _join(told: list[Story], question: Question) -> None:
    """Add a question to the last story if it continues that one, else as a story of its own."""
    former = tuple(words(line) for line in told[-1] if isinstance(line, str)) if told else ()
    if not former or question.story[: len(former)] != former:
        told.append(())
        former = ()
    new = (" ".join(sentence) for sentence in question.story[len(former) :])
    statements = tuple(sentence[:1].upper() + sentence[1:] + "." for sentence in new)
    text = " ".join(question.question)
    asked = Asked(text[:1].upper() + text[1:] + "?", question.answer, question.supporting)
    told[-1] = (*told[-1], *statements, asked)
