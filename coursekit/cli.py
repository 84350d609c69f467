"""The ``coursekit`` command: a thin roof over the rooms of the package.

Every command imports what it needs when it runs, so that ``coursekit --help`` answers at once and
loads no torch. A :class:`coursekit.errors.UserError` becomes one line on standard error and exit
code 2.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from coursekit import __version__
from coursekit.errors import UserError

app = typer.Typer(
    name="coursekit",
    help="Read, complete and grade the course.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

Names = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[CHAPTER]...", help="Chapters such as 1-basics/01-logistic-neuron; all by default."
    ),
]


def course_root() -> Path:
    """Return the folder of the course that holds the working directory.

    Raises:
        UserError: When no folder above the working directory is a checkout of the course.
    """
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / "book" / "_toc.yml").is_file() and (folder / "pyproject.toml").is_file():
            return folder
    raise UserError(
        f"{here} is not inside a checkout of the course: change to the folder that holds book/ and "
        "exercises/ and run the command again"
    )


def chapter_names(names: list[str] | None) -> list[str] | None:
    """Normalize chapter arguments: a path or a name, with or without its ending and folder."""
    if not names:
        return None
    cleaned = []
    for name in names:
        path = Path(name).with_suffix("") if name.endswith((".ipynb", ".md")) else Path(name)
        cleaned.append("/".join(path.parts[-2:]))
    return cleaned


@app.callback(invoke_without_command=True)
def version_option(
    version: Annotated[bool, typer.Option("--version", help="Print the version and stop.")] = False,
) -> None:
    """Read, complete and grade the course."""
    if version:
        typer.echo(f"coursekit {__version__}")
        raise typer.Exit


@app.command()
def book(
    jobs: Annotated[
        int | None, typer.Option(min=1, help="Chapters executed at once; one a core by default.")
    ] = None,
) -> None:
    """Execute the chapters that are not current, build the book, print the file to open."""
    root = course_root()
    from coursekit.publishing.build import build_book

    page = build_book(root, jobs=jobs)
    typer.echo(f"Open {page}")


@app.command()
def lab(
    forked: Annotated[
        bool, typer.Option("--forked", help="Fork kernels from a warm server: faster starts.")
    ] = False,
) -> None:
    """Open JupyterLab in exercises/."""
    folder = course_root() / "exercises"
    chosen = {"JUPYTER_DEFAULT_PROVISIONER_NAME": "coursekit-forked"} if forked else {}
    command = [sys.executable, "-m", "jupyterlab", str(folder)]
    raise typer.Exit(subprocess.call(command, env=os.environ | chosen))


@app.command("test")
def run_checks_of_the_course(
    quick: Annotated[bool, typer.Option(help="Only the tests that need no book.")] = False,
) -> None:
    """Run every check of the course: style, types, tests, notebooks, book, browser."""
    root = course_root()
    from coursekit.ci import run_checks

    raise typer.Exit(run_checks(root, quick=quick))


@app.command()
def claims(
    chapters: Names = None,
    seeds: Annotated[int, typer.Option(min=1, help="Fresh seeds to draw for each claim.")] = 5,
    force: Annotated[bool, typer.Option(help="Measure claims that are current as well.")] = False,
    check_only: Annotated[
        bool, typer.Option("--check", help="Measure nothing; fail when a record is stale.")
    ] = False,
) -> None:
    """Measure the claims of the chapters on fresh seeds and record the figures."""
    root = course_root()
    from coursekit.claims import stale_claims
    from coursekit.publishing.measure import measure

    if check_only:
        stale = stale_claims(root)
        for name in stale:
            typer.echo(f"{name}: measured with other code; run `coursekit claims {name}`")
        raise typer.Exit(int(bool(stale)))
    recorded = []
    for chapter in [*(chapter_names(chapters) or ()), *([] if chapters else [None])]:
        recorded += measure(root, chapter=chapter, seeds=seeds, force=force)
    typer.echo(
        f"{len(recorded)} claims measured" if recorded else "Every claim's record is current."
    )


@app.command()
def release(
    chapters: Names = None,
    force: Annotated[
        bool, typer.Option(help="Overwrite exercises whose answers were edited.")
    ] = False,
    store_outputs: Annotated[
        bool, typer.Option(help="First run the solutions and store their outputs.")
    ] = False,
    form: Annotated[
        tuple[str, Path] | None,
        typer.Option(
            "--format",
            metavar="nbgrader DIR",
            help="Write a course folder for nbgrader instead; it holds the solutions.",
        ),
    ] = None,
) -> None:
    """Derive exercises/ and the known mistakes from solutions/."""
    root, names = course_root(), chapter_names(chapters)
    from coursekit.grading import release as releasing

    if store_outputs:
        releasing.store_outputs(root, names)
    if form is None:
        changed = releasing.release(root, names, force=force)
    elif form[0] == "nbgrader":
        from coursekit.grading.nbgrader import export

        changed = export(root, form[1], names, force=force)
    else:
        raise UserError(f"--format knows nbgrader only, got {form[0]}: write --format nbgrader DIR")
    for path in changed:
        typer.echo(path.relative_to(root) if path.is_relative_to(root) else path)


@app.command()
def check(
    notebook: Annotated[Path, typer.Argument(readable=False, help="Your notebook of an exercise.")],
    timeout: Annotated[float, typer.Option(min=1, help="Seconds that one cell may take.")] = 60,
) -> None:
    """Run your notebook and show, task by task, what passed and what went wrong."""
    from coursekit.grading.progress import remember
    from coursekit.grading.run import check_notebook

    report = check_notebook(notebook, timeout=timeout)
    remember(notebook, report)
    show_report(report)
    raise typer.Exit(report.exit_code)


@app.command()
def progress() -> None:
    """Show how far you are, exercise by exercise."""
    root = course_root()
    from coursekit.grading.progress import progress as rows_of

    show_table([row.as_dict() for row in rows_of(root)], "Nothing in exercises/ yet.")


@app.command()
def verify(chapters: Names = None) -> None:
    """Prove every exercise: the solution scores 100 %, mistakes are caught, nothing leaks."""
    root = course_root()
    from coursekit.grading.verify import verify as prove

    proofs = prove(root, chapter_names(chapters), on_progress=lambda p: typer.echo(str(p)))
    raise typer.Exit(0 if proofs and all(proof.holds for proof in proofs) else 1)


@app.command()
def grade(
    submissions: Annotated[
        Path, typer.Argument(help="A notebook, or a folder LEARNER/…/NAME.ipynb of any depth.")
    ],
    out: Annotated[Path, typer.Option(help="The folder for grades; not inside SUBMISSIONS.")],
    jobs: Annotated[
        int | None, typer.Option(help="Submissions graded at once; one a core by default.")
    ] = None,
    exercise: Annotated[
        list[str] | None, typer.Option(metavar="PART/NAME", help="Only this one; may be repeated.")
    ] = None,
    scheduler: Annotated[
        str, typer.Option(metavar="tcp://HOST:PORT", help="Grade on the workers of a Dask cluster.")
    ] = "",
    seconds: Annotated[float, typer.Option(help="Time limit of a learner's cell or call.")] = 60,
    solutions: Annotated[
        Path | None, typer.Option(help="The instructor's notebooks; the course's by default.")
    ] = None,
    book: Annotated[
        str, typer.Option(metavar="URL", help="Address of the book, for links in the feedback.")
    ] = "",
    unsafe: Annotated[
        bool, typer.Option("--unsafe", help="Grade although a protection is missing.")
    ] = False,
) -> None:
    """Grade what learners handed in, in a sandbox; the same command goes on where it stopped."""
    from coursekit.grading.official import batch, grader

    if not scheduler:
        for missing in grader.lacking(unsafe):
            typer.echo(f"Without protection by {missing.name}: {missing.detail}", err=True)
    try:
        summary = batch.grade_all(
            submissions,
            out,
            solutions=solutions or course_root() / "solutions",
            jobs=jobs,
            exercises=chapter_names(exercise) or (),
            scheduler=scheduler,
            seconds=seconds,
            unsafe=unsafe,
            book=book,
        )
    except (batch.Interrupted, KeyboardInterrupt) as error:
        typer.echo(f"coursekit: {error or 'stopped: go on with the same command'}", err=True)
        raise typer.Exit(130) from error
    show_table([summary.as_dict()], "")
    for path in summary.places(out):
        typer.echo(path)
    raise typer.Exit(summary.exit_code)


data_app = typer.Typer(
    help="List, look at and fetch the data that the course learns from.",
    invoke_without_command=True,
    rich_markup_mode=None,
)
app.add_typer(data_app, name="data")


@data_app.callback()
def data(context: typer.Context) -> None:
    """List, look at and fetch the data that the course learns from."""
    if context.invoked_subcommand is None:
        from coursekit.data import catalog, generated

        show_table(catalog.table(), "No data.")
        show_table(generated.table(), "No generators.")


@data_app.command("show")
def data_show(
    name: str,
    samples: Annotated[
        Path | None, typer.Option(help="Where to draw samples; NAME.png here by default.")
    ] = None,
) -> None:
    """Print the card of a data set or a generator and draw samples into a PNG."""
    from coursekit.data.samples import card, draw

    path = samples or Path(f"{name}.png")
    if path.suffix.lower() != ".png":
        raise UserError(f"--samples must name a .png file, got {path}")
    if not path.parent.is_dir():
        raise UserError(f"{path.parent} is not a folder: make it first, or name another --samples")
    try:
        typer.echo(card(name))
        draw(name).savefig(path, dpi=110)
    except ValueError as error:
        raise UserError(str(error)) from error
    typer.echo(f"Samples: {path}")


@data_app.command("get")
def data_get(
    name: str,
    full: Annotated[bool, typer.Option("--full", help="Fetch the full set.")] = False,
) -> None:
    """Check the files of a data set, or fetch its full set by the usual loader."""
    from coursekit.data import catalog, load

    try:
        found = load(name, full=full)
    except ValueError as error:
        raise UserError(str(error)) from error
    entry = catalog.find(name)
    place = catalog.cache_folder() if full else entry.folder
    typer.echo(f"{name}: {found}, checked, in {place}")


@app.command()
def doctor(
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON document and nothing else.")
    ] = False,
) -> None:
    """Look at Python, torch, GPU, memory, disk and kernels, and say how to mend what is wrong."""
    from coursekit.training.device import diagnose

    findings = diagnose()
    well = all(finding["ok"] for finding in findings)
    if as_json:
        typer.echo(json.dumps({"ok": well, "checks": findings}, indent=2))
    else:
        show_table(findings, "Nothing to report.")
    raise typer.Exit(0 if well else 1)


def show_table(rows: list[dict], empty: str) -> None:
    """Print rows that share their keys as a table; wide values are folded, never cut."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    if not rows:
        typer.echo(empty)
        return
    grid = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column, key in enumerate(rows[0]):
        grid.add_column(key.replace("_", " "), overflow="fold", no_wrap=column == 0)
    for row in rows:
        grid.add_row(
            *("yes" if v is True else "no" if v is False else f"{v}" for v in row.values())
        )
    Console(highlight=False, markup=False).print(grid)


def show_report(report) -> None:
    """Print the result of ``coursekit check``: the table of tasks, then what to look at."""
    show_table([row.as_dict() for row in report.rows], "This notebook holds no task.")
    for line in report.lines():
        typer.echo(line)


def main() -> None:
    """Run the command; a problem that the user can solve is one line and exit code 2."""
    os.environ.setdefault("PYDEVD_DISABLE_FILE_VALIDATION", "1")
    try:
        app()
    except UserError as error:
        typer.echo(f"coursekit: {error}", err=True)
        raise SystemExit(2) from error
    except ModuleNotFoundError as error:
        typer.echo(
            f"coursekit: the package {error.name} is not installed: run `make setup`, or "
            '`pip install -c constraints.txt -e ".[book,data,dev]"` in the course\'s environment',
            err=True,
        )
        raise SystemExit(2) from error
    except PermissionError as error:
        typer.echo(
            f"coursekit: no permission for {error.filename}: make it readable and writable, or "
            "copy the course to a folder of yours",
            err=True,
        )
        raise SystemExit(2) from error


if __name__ == "__main__":
    main()
