"""Find what was handed in: walk a folder of submissions and name a learner and an exercise each.

What SUBMISSIONS may be:

* one notebook. Its learner is the folder that it lies in, less ``PART`` and ``exercises``; below a
  folder ``submitted``, as nbgrader keeps one, the folder there; the file's stem when its name is no
  exercise's and other notebooks lie beside it, as in ``downloads/ada.ipynb``;
* a folder ``LEARNER/…/NAME.ipynb`` of any depth, nbgrader's ``submitted/`` among them;
* a folder of checkouts, ``LEARNER/exercises/PART/NAME.ipynb``; no git command is ever run there;
* a folder of notebooks ``LEARNER.ipynb`` or ``LEARNER_NAME.ipynb``;
* the folder of one learner or checkout, which holds ``PART/NAME.ipynb`` or
  ``exercises/PART/NAME.ipynb`` itself.

A notebook's exercise is ``PART/NAME`` from the end of its path, or a file name that one exercise
alone has; of any other notebook the exercise is left open, and grading asks the notebook.

Folders are opened one below the other without following a link, files only when they are regular;
what cannot be taken becomes a job with a reason, so that there is a row for it.

How learners are named says `coursekit.grading.official.names`.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from coursekit.errors import UserError
from coursekit.grading.official.names import Owner, names_of, shown
from coursekit.grading.official.results import Job

SIZE_LIMIT = 20 * 2**20
MOST_NOTEBOOKS = 500
MOST_ENTRIES = 100_000
DEEPEST = 30
ENDING = ".ipynb"
IGNORED = frozenset({"solutions", "build", "node_modules", "venv", "__pycache__"})
ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst", ".7z", ".rar")
KINDS = ((stat.S_ISFIFO, "pipe"), (stat.S_ISSOCK, "socket"), (stat.S_ISDIR, "folder"))


@dataclass(frozen=True)
class Survey:
    """What a folder of submissions holds.

    Attributes:
        jobs: One for each notebook to grade and for each thing that cannot be graded, sorted by
            learner, exercise and file.
        passed_over: For (learner, exercise), the copies that another notebook was preferred to.
    """

    jobs: list[Job]
    passed_over: dict[tuple[str, str], list[str]]


@dataclass
class _Found:
    """A file that matters; `parts` is its path below SUBMISSIONS, `below` below the learner's."""

    owner: Owner
    parts: tuple[str, ...]
    below: tuple[str, ...]
    path: str = ""
    sha256: str = ""
    reason: str = ""
    exercise: str = ""

    @property
    def file(self) -> str:
        return "/".join(shown(part) for part in self.parts)


@dataclass
class _Folder:
    """All that was found below one learner's folder."""

    owner: Owner
    prefix: tuple[str, ...]
    found: list[_Found] = field(default_factory=list)
    others: list[str] = field(default_factory=list)
    entries: int = 0
    notebooks: int = 0

    def add(
        self, below: tuple[str, ...], path: str = "", sha256: str = "", reason: str = ""
    ) -> None:
        self.found.append(_Found(self.owner, self.prefix + below, below, path, sha256, reason))


class _TooMuch(Exception):
    """A learner's folder holds more than is looked at."""


def collect(folder: Path | str, exercises: Collection[str]) -> list[Job]:
    """Return a job for each thing that was handed in, sorted by learner, exercise and file.

    Args:
        folder: SUBMISSIONS, in one of the forms that the module describes.
        exercises: The exercises of the course, "part/name".

    Raises:
        UserError: When there is nothing to grade, or it is not clear who is a learner.
    """
    return survey(folder, exercises).jobs


def survey(folder: Path | str, exercises: Collection[str]) -> Survey:
    """Return what `collect` returns, with the copies that were passed over."""
    given = Path(folder)
    try:
        root = given.resolve(strict=True)
        mode = root.stat().st_mode
    except (OSError, RuntimeError) as error:
        what = "does not exist" if isinstance(error, FileNotFoundError) else "cannot be read"
        raise UserError(
            f"{shown(str(given))} {what}: give the folder of submissions, or one notebook"
        ) from error
    if stat.S_ISDIR(mode):
        found, empty = _in_folder(root, exercises)
    else:
        found, empty = [_single(root, mode, exercises)], {}
    if not found and not empty:
        raise UserError(
            f"{shown(str(given))} holds no submission: it should hold LEARNER/…/NAME.ipynb"
        )
    return _sorted_out(found, empty, exercises)


def read_content(job: Job) -> bytes:
    """Return the notebook of a job as it was collected.

    Raises:
        OSError: When it cannot be read, has become something else than a file, or has changed.
    """
    if job.content is not None:
        return job.content
    handle = os.open(job.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(handle, "rb") as file:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise OSError("it is a file no more")
        content = file.read(SIZE_LIMIT + 1)
    if hashlib.sha256(content).hexdigest() != job.sha256:
        raise OSError("it was changed")
    return content


def _is_notebook(name: str) -> bool:
    return name.lower().endswith(ENDING)


def _is_archive(name: str) -> bool:
    return name.lower().endswith(ARCHIVES)


def _exercise(parts: tuple[str, ...], exercises: Collection[str]) -> str:
    """Return the exercise that a path stands for, or an empty string."""
    stem = parts[-1][: -len(ENDING)] if _is_notebook(parts[-1]) else parts[-1]
    full = "/".join((*parts[-2:-1], stem))
    if full in exercises:
        return full
    same = [name for name in exercises if name.rpartition("/")[2] == stem]
    return same[0] if len(same) == 1 else ""


def _single(path: Path, mode: int, exercises: Collection[str]) -> _Found:
    """Return one notebook that was named itself."""
    if _is_archive(path.name):
        raise UserError(f"{shown(str(path))} is an archive: unpack it and give its folder")
    if not _is_notebook(path.name) or not stat.S_ISREG(mode):
        raise UserError(f"{shown(str(path))} is no notebook: give a folder or a file {ENDING}")
    folders = list(path.parent.parts[1:])
    if "submitted" in folders[:-1]:
        last = len(folders) - 1 - folders[-2::-1].index("submitted") - 1
        owner = folders[last + 1]
    else:
        exercise = _exercise((*folders[-1:], path.stem), exercises)
        beside = sum(_is_notebook(name) for name in os.listdir(path.parent))
        if exercise and folders[-1:] == exercise.split("/")[:1]:
            del folders[-1]
            if folders[-1:] == ["exercises"]:
                del folders[-1]
        owner = path.stem if beside > 1 and not exercise else (folders or [path.stem])[-1]
    digest, reason = _digest(str(path))
    found = _Found(("folder", owner), (path.name,), (path.name,), str(path), digest, reason)
    found.exercise = _exercise((path.parent.name, path.name), exercises)
    return found


def _in_folder(root: Path, exercises: Collection[str]) -> tuple[list[_Found], dict[Owner, str]]:
    """Return what lies in a folder, and for learners without any notebook what is there instead."""
    if (root / "submitted").is_dir() and (root / "source").is_dir():
        raise UserError(f"{shown(str(root))} is a course of nbgrader: give its folder submitted")
    own = ("folder", root.name or "/")
    if _holds_exercises(root, exercises):
        _refuse_mixture(root, exercises)
        folders = [_walked(str(root), own, ())]
        loose: list[_Found] = []
    else:
        folders, loose = _learners(root, own, exercises)
    found = [*loose, *(one for folder in folders for one in folder.found)]
    for one in found:
        one.exercise = one.exercise or _exercise(one.parts, exercises)
    return found, {f.owner: _instead(f.others) for f in folders if not f.found}


def _learners(
    root: Path, own: Owner, exercises: Collection[str]
) -> tuple[list[_Folder], list[_Found]]:
    """Look into the folder of each learner, and at the files beside these folders."""
    folders, loose = [], []
    try:
        with os.scandir(root) as entries:
            listed = sorted(entries, key=lambda entry: os.fsencode(entry.name))
    except OSError as error:
        raise UserError(f"{shown(str(root))} cannot be read ({error.strerror})") from error
    for entry in listed:
        if entry.name.startswith(".") and not entry.name.startswith(".."):
            continue  # such as .git; dots alone may be a learner
        if entry.is_dir(follow_symlinks=False):
            folders.append(_walked(entry.path, ("folder", entry.name), (entry.name,)))
        elif (one := _loose(entry, own, exercises)) is not None:
            loose.append(one)
    return folders, loose


def _loose(entry: os.DirEntry[str], own: Owner, exercises: Collection[str]) -> _Found | None:
    """Return a file that lies beside the learners' folders, if it matters."""
    reason, digest, name = _obstacle(entry), "", entry.name
    if not reason and not _is_notebook(name):
        return None
    if not reason:
        digest, reason = _digest(entry.path)
    stem = name[: -len(ENDING)] if _is_notebook(name) else name.split(".")[0] or name
    exercise = _exercise((name,), exercises)
    owner = own if exercise else ("file", stem)
    for full in sorted(exercises):
        end = full.rpartition("/")[2]
        before = stem.removesuffix(end).rstrip("_- .")
        if not exercise and stem.endswith(end) and stem[-len(end) - 1 : -len(end)] in "_- .":
            same = [x for x in exercises if x.rpartition("/")[2] == end]
            owner = ("file", before) if before else own
            exercise = full if len(same) == 1 else ""
    return _Found(owner, (name,), (name,), entry.path, digest, reason, exercise)


def _holds_exercises(folder: Path, exercises: Collection[str]) -> bool:
    return any(
        os.path.lexists(folder / place / f"{name}{ENDING}")
        for name in exercises
        for place in ("", "exercises")
    )


def _refuse_mixture(root: Path, exercises: Collection[str]) -> None:
    """Refuse a folder that holds exercises itself and in folders of learners."""
    parts = {name.split("/")[0] for name in exercises}
    for place in sorted(root.iterdir()):
        skip = place.name in IGNORED | parts | {"exercises"} or place.name.startswith(".")
        folder = not skip and not place.is_symlink() and place.is_dir()
        if folder and _holds_exercises(place, exercises):
            raise UserError(
                f"{shown(str(root))} holds exercises itself, and so does its folder "
                f"{shown(place.name)}: give a folder that holds one folder a learner"
            )


def _walked(path: str, owner: Owner, prefix: tuple[str, ...]) -> _Folder:
    """Look through the folder of one learner."""
    folder = _Folder(owner, prefix)
    try:
        for step in _walk(folder, path, None, ()):
            folder.entries += 1
            folder.notebooks += step
            if folder.entries > MOST_ENTRIES:
                raise _TooMuch(f"more than {MOST_ENTRIES:,} files")
            if folder.notebooks > MOST_NOTEBOOKS:
                raise _TooMuch(f"more than {MOST_NOTEBOOKS} notebooks")
    except _TooMuch as error:
        folder.found.clear()
        folder.add((), reason=f"the folder holds {error}: hand in the exercises alone")
    return folder


def _walk(folder: _Folder, path: str, above: int | None, below: tuple[str, ...]) -> Iterator[bool]:
    """Go through a folder, opened relative to the one above; yield once for each thing in it."""
    name = path if above is None else below[-1]
    try:
        here = os.open(
            name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=above
        )
    except OSError as error:
        folder.add(below, reason=f"the folder cannot be opened ({error.strerror})")
        return
    try:
        names = []
        with os.scandir(here) as entries:
            for entry in entries:
                names.append(entry)
                if folder.entries + len(names) > MOST_ENTRIES:
                    raise _TooMuch(f"more than {MOST_ENTRIES:,} files")
        for entry in sorted(names, key=lambda one: os.fsencode(one.name)):
            yield _is_notebook(entry.name)
            if entry.name.startswith(".") or entry.name in IGNORED:
                continue
            inside = (*below, entry.name)
            if not entry.is_dir(follow_symlinks=False):
                _take(folder, entry, here, inside, f"{path}/{entry.name}")
            elif len(inside) > DEEPEST:
                folder.add(inside, reason=f"its folders are nested more than {DEEPEST} deep")
            else:
                yield from _walk(folder, f"{path}/{entry.name}", here, inside)
    finally:
        os.close(here)


def _take(
    folder: _Folder, entry: os.DirEntry[str], here: int, below: tuple[str, ...], path: str
) -> None:
    """Note a file if it matters."""
    reason = _obstacle(entry)
    if not reason and not _is_notebook(entry.name):
        folder.others.append(shown(entry.name))
        return
    digest = ""
    if not reason:
        digest, reason = _digest(entry.name, here)
    folder.add(below, path, digest, reason)


def _obstacle(entry: os.DirEntry[str]) -> str:
    """Return why a thing that is no folder is not to be opened, or nothing."""
    name = entry.name
    if entry.is_symlink():
        counts = _is_notebook(name) or "." not in name
        return "it is a symbolic link, which is not followed: hand in the file itself" * counts
    if not entry.is_file(follow_symlinks=False):
        try:
            return _special(entry.stat(follow_symlinks=False).st_mode)
        except OSError as error:
            return f"it cannot be read ({error.strerror})"
    return "it is an archive: unpack it" if _is_archive(name) else ""


def _special(mode: int) -> str:
    kind = next((word for is_kind, word in KINDS if is_kind(mode)), "device")
    return f"it is a {kind} and no file: hand in the notebook's file"


def _digest(name: str, folder: int | None = None) -> tuple[str, str]:
    """Return the SHA-256 of a file, or an empty string and why there is none."""
    digest, size = hashlib.sha256(), 0
    try:
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        with os.fdopen(os.open(name, flags, dir_fd=folder), "rb") as file:
            about = os.fstat(file.fileno())
            if not stat.S_ISREG(about.st_mode):
                return "", _special(about.st_mode)
            size = about.st_size
            while size <= SIZE_LIMIT and (block := file.read(2**20)):
                digest.update(block)
                size = max(size, file.tell())
    except OSError as error:
        return "", f"it cannot be read ({error.strerror})"
    if size > SIZE_LIMIT:
        return "", (
            f"it has {size / 2**20:.0f} MB, more than the 20 MB that are read: clear its outputs "
            "and hand it in again"
        )
    return digest.hexdigest(), ""


def _instead(others: list[str]) -> str:
    if not others:
        return "no notebook was handed in: the folder is empty"
    listed = ", ".join(others[:3]) + (f" and {len(others) - 3} more" if len(others) > 3 else "")
    return f"no notebook was handed in, only {listed}"


def _sorted_out(found: list[_Found], empty: dict[Owner, str], exercises: Collection[str]) -> Survey:
    """Name the learners, settle copies of one exercise, and put everything in order."""
    names = names_of({*(one.owner for one in found), *empty})
    jobs = [
        Job(names[owner], "", shown(owner[1]), reason=reason) for owner, reason in empty.items()
    ]
    groups: dict[tuple[str, str], list[_Found]] = defaultdict(list)
    for one in found:
        if one.exercise:
            groups[names[one.owner], one.exercise].append(one)
        else:
            jobs.append(_job(names[one.owner], one))
    passed_over = {}
    for (learner, exercise), copies in groups.items():
        kept, others = _settle(copies)
        jobs.append(_job(learner, kept))
        if others:
            passed_over[learner, exercise] = sorted(one.file for one in others)
    return Survey(sorted(jobs, key=lambda job: (job.learner, job.exercise, job.file)), passed_over)


def _job(learner: str, one: _Found) -> Job:
    path = "" if one.reason else one.path
    return Job(learner, one.exercise, one.file, path, None, one.sha256, one.reason)


def _settle(copies: list[_Found]) -> tuple[_Found, list[_Found]]:
    """Choose among notebooks of one exercise by one learner, or make one that says it cannot be."""
    readable = [one for one in copies if not one.reason] or copies
    ranked = sorted(readable, key=lambda one: (_rank(one), one.parts))
    best = ranked[0]
    alike = {one.sha256 for one in ranked} == {best.sha256} and best.sha256 != ""
    canonical = _rank(best) < 4 and [_rank(one) for one in ranked].count(_rank(best)) == 1
    if len(ranked) > 1 and not alike and not canonical:
        reason = doubled(one.file for one in ranked)
        return _Found(best.owner, best.parts, best.below, reason=reason, exercise=best.exercise), []
    return best, [one for one in copies if one is not best]


def doubled(files: Iterable[str]) -> str:
    """Return the reason for 0 points when several notebooks of one exercise were handed in."""
    listed = sorted(files)
    more = f" and {len(listed) - 3} more" if len(listed) > 3 else ""
    return (
        f"{len(listed)} notebooks of this exercise were handed in, and they differ "
        f"({', '.join(listed[:3])}{more}): keep one of them"
    )


def _rank(one: _Found) -> int:
    """Return how near a path is to exercises/PART/NAME.ipynb in the learner's folder."""
    part, name = one.exercise.split("/")
    short, full = (part, name + ENDING), ("exercises", part, name + ENDING)
    forms = (one.below == full, one.below == short, one.below[-3:] == full, one.below[-2:] == short)
    return forms.index(True) if True in forms else 4
