r"""The text of the bAbI tasks.

A file holds stories; each line begins with its number in the story, from 1. A line without a tab
is a statement. A question carries its answer and the numbers of the statements that support it::

    1 Mary moved to the bathroom.
    2 John went to the hallway.
    3 Where is Mary? \tbathroom\t1

Source: J. Weston, A. Bordes, S. Chopra, T. Mikolov, A. Rush, "Towards AI-Complete Question
Answering: A Set of Prerequisite Toy Tasks" (2015), https://arxiv.org/abs/1502.05698; the format
is described in the README of tasks_1-20_v1-2.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

from coursekit.data.readers.files import ReadError, shown, text_lines

MAX_LINE = 10_000
MAX_STORY = 1_000
_WORD = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")
_NUMBER = re.compile(r"[1-9][0-9]{0,5}")


@dataclass(frozen=True)
class Question:
    """A question about a story.

    Attributes:
        story: The statements that stand before it, oldest first, each in lower-case words.
        question: Its words, in lower case, without the question mark.
        answer: The answers; several where the file separates them by commas.
        supporting: Indices into `story`, from 0, of the statements that give the answer, in the
            order of the file.
    """

    story: tuple[tuple[str, ...], ...]
    question: tuple[str, ...]
    answer: tuple[str, ...]
    supporting: tuple[int, ...]


def read_babi(path: str | os.PathLike[str]) -> list[Question]:
    """Read a file of bAbI stories.

    Args:
        path: A file such as ``qa1_single-supporting-fact_train.txt``. Every line ends in a
            newline, has at most 10,000 bytes, and a story has at most 1,000 lines.

    Returns:
        The questions in the order of the file. Earlier questions are no part of a story.

    Raises:
        ReadError: The file is not in this format; the message names the line.
    """
    questions: list[Question] = []
    story: tuple[tuple[str, ...], ...] = ()
    statements: dict[int, int] = {}  # number of the line in the story -> index of the statement
    previous = 0
    for row, line in text_lines(path, MAX_LINE):
        place = f"line {row}"
        number = _story_line(path, place, line, previous)
        if number == 1:
            story, statements = (), {}
        previous = number
        columns = line.split(" ", 1)[1].split("\t")
        words = _words(path, place, columns[0])
        if len(columns) == 1:
            statements[number] = len(story)
            story = (*story, words)
            continue
        if len(columns) != 3:
            problem = f"{len(columns)} columns, expected question, answer and supporting lines"
            raise ReadError(path, place, problem)
        answer = tuple(" ".join(_words(path, place, part)) for part in columns[1].split(","))
        questions.append(
            Question(story, words, answer, _supporting(path, place, columns[2], statements))
        )
    if not questions:
        raise ReadError(path, f"line {row}", "the file ends without a question")
    return questions


def _story_line(path: str | os.PathLike[str], place: str, line: str, previous: int) -> int:
    """Read the number of a line, which is 1 or follows the one before."""
    number, space, _ = line.partition(" ")
    if not space or not _NUMBER.fullmatch(number):
        raise ReadError(path, place, f"{shown(line)}, expected a number and a sentence")
    if int(number) not in (1, previous + 1):
        expected = f"1 or {previous + 1}" if previous else "1"
        raise ReadError(path, place, f"number {number} in the story, expected {expected}")
    if int(number) > MAX_STORY:
        raise ReadError(path, place, f"a story of over {MAX_STORY:,} lines")
    return int(number)


def _words(path: str | os.PathLike[str], place: str, text: str) -> tuple[str, ...]:
    """Split a sentence into its words in lower case."""
    if not text.replace("\t", "").isprintable():
        raise ReadError(path, place, f"a control character in {shown(text)}, expected plain text")
    words = tuple(_WORD.findall(text.lower()))
    if not words:
        raise ReadError(path, place, f"{shown(text)} holds no word")
    return words


def _supporting(
    path: str | os.PathLike[str], place: str, text: str, statements: dict[int, int]
) -> tuple[int, ...]:
    """Turn numbers of lines into indices of statements."""
    indices = []
    for number in text.split():
        if not _NUMBER.fullmatch(number) or int(number) not in statements:
            problem = f"supporting line {shown(number)}, expected an earlier statement of the story"
            raise ReadError(path, place, problem)
        indices.append(statements[int(number)])
    return tuple(indices)
