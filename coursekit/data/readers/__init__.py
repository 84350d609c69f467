"""Readers of public formats, for data that a reader of the course brings along.

Each ``read_*`` takes the path of a file and returns arrays or frozen dataclasses. A file that is
damaged, or made to do harm, ends in a `ReadError` that names the file and the place.
"""

from coursekit.data.readers.babi import Question, read_babi
from coursekit.data.readers.files import ReadError

__all__ = ["Question", "ReadError", "read_babi"]
