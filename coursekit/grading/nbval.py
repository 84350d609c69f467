"""A plugin for pytest: grade notebooks of exercises in a learner's own continuous integration.

    pytest --coursekit-exercise exercises exercises

collects each notebook as one test a check cell. Collection and cells are those of nbval, extended
in `coursekit.grading.collection`, which is imported when the option is given; without it this
module costs no import beyond pytest's own. nbval needs to be installed, not switched on: it works
with ``-p no:nbval``, without ``--nbval``, and with it (each notebook is then collected once).

The learner's code and the checks share one process, so that a result is feedback and not the
official grade. Whoever runs notebooks of others adds ``--noconftest``, because a ``conftest.py``
beside a notebook is code of theirs, and leaves hidden tests at home, because a notebook's code can
read the cells that run beside it.
"""

from __future__ import annotations

import pytest

# What nbval's classes read of the options where nbval itself is switched off.
_NBVAL = {"nbval": False, "nbval_lax": False, "nbdime": False}


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options."""
    group = parser.getgroup("coursekit", "exercises of the course")
    group.addoption(
        "--coursekit-exercise",
        metavar="SOLUTION",
        help="Grade notebooks against SOLUTION: an instructor's notebook or a released exercise, "
        "the name of an exercise (part/name), or a folder in which each notebook finds its own "
        "as part/name.ipynb. A notebook that is itself in that folder is graded against what the "
        "installed course recorded of its exercise.",
    )
    group.addoption(
        "--coursekit-summary",
        metavar="FILE",
        help="Append a table in Markdown to FILE, for example to $GITHUB_STEP_SUMMARY.",
    )
    group.addoption(
        "--coursekit-worked-on",
        action="store_true",
        help="Skip notebooks in which no task was answered.",
    )
    group.addoption(
        "--coursekit-timeout",
        metavar="SECONDS",
        type=float,
        default=60.0,
        help="How long one cell may take (60).",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Begin grading when the option is given."""
    options = config.option
    if options.coursekit_exercise is None:
        if options.coursekit_summary or options.coursekit_worked_on:
            raise pytest.UsageError("give --coursekit-exercise SOLUTION as well")
        return
    if not options.coursekit_timeout > 0:
        raise pytest.UsageError("--coursekit-timeout must be a number of seconds above 0")
    for name, value in _NBVAL.items():
        if name == "nbdime":
            options.__dict__.setdefault(name, value)
        else:
            setattr(options, name, value)
    try:
        from coursekit.grading.collection import Grading
    except ModuleNotFoundError as error:
        raise pytest.UsageError(
            f"the package {error.name} is not installed: pip install -c constraints.txt nbval"
        ) from error
    config.pluginmanager.register(Grading(config), "coursekit-grading")
