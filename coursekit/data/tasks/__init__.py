"""Generated tasks with exact answers: algorithmic sequences, geometry, formal languages.

Each function draws examples from a seed alone: the same seed gives the same bytes. Nothing is
stored, so there are as many examples as a chapter wants, and of any length.
"""

from coursekit.data.tasks.geometry import (
    END,
    Pointers,
    area_coverage,
    convex_hull,
    delaunay,
    is_simple,
    polygon_area,
    sorting,
    tour_length,
    tsp,
)
from coursekit.data.tasks.languages import LANGUAGES, Strings, is_member, strings
from coursekit.data.tasks.pictures import draw
from coursekit.data.tasks.sequences import (
    IGNORE,
    Sequences,
    adding,
    addition,
    associative_recall,
    copy,
    memorization,
    parity,
    priority_sort,
    repeat_copy,
)

__all__ = [
    "END",
    "IGNORE",
    "LANGUAGES",
    "Pointers",
    "Sequences",
    "Strings",
    "adding",
    "addition",
    "area_coverage",
    "associative_recall",
    "convex_hull",
    "copy",
    "delaunay",
    "draw",
    "is_member",
    "is_simple",
    "memorization",
    "parity",
    "polygon_area",
    "priority_sort",
    "repeat_copy",
    "sorting",
    "strings",
    "tour_length",
    "tsp",
]
