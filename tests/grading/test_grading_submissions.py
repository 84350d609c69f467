"""What was handed in is found in folders of every kind, and nothing in them does harm."""

import hashlib
import json
import os
import socket
import stat
import subprocess
import sys
import unicodedata
from pathlib import Path

import pytest

from coursekit.errors import UserError
from coursekit.grading.official import submissions
from coursekit.grading.official.submissions import collect, read_content, survey

NEURON, DECAY = "1-basics/01-neuron", "1-basics/02-decay"
EXERCISES = [NEURON, DECAY, "2-more/02-decay", "2-more/05-noise"]


def put(path: Path, text: str = '{"cells": []}') -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def rows(folder: Path) -> list[tuple[str, str, str]]:
    return [(job.learner, job.exercise, job.file) for job in collect(folder, EXERCISES)]


def only(folder: Path):
    (job,) = collect(folder, EXERCISES)
    return job


# The forms of a folder


def test_a_folder_of_learners_of_any_depth(tmp_path):
    put(tmp_path / "bob/week 3/drafts/01-neuron.ipynb")
    put(tmp_path / "ada/1-basics/01-neuron.ipynb")
    put(tmp_path / "ada/2-more/05-noise.ipynb")
    assert rows(tmp_path) == [
        ("ada", NEURON, "ada/1-basics/01-neuron.ipynb"),
        ("ada", "2-more/05-noise", "ada/2-more/05-noise.ipynb"),
        ("bob", NEURON, "bob/week 3/drafts/01-neuron.ipynb"),
    ]


def test_the_folder_that_nbgrader_collects_into(tmp_path):
    put(tmp_path / "submitted/ada/homework 1/01-neuron.ipynb")
    put(tmp_path / "submitted/ada/homework 1/timestamp.txt", "2026-11-22")
    assert rows(tmp_path / "submitted") == [
        ("ada", NEURON, "ada/homework 1/01-neuron.ipynb"),
    ]
    (tmp_path / "source").mkdir()
    with pytest.raises(UserError, match="give its folder submitted"):
        collect(tmp_path, EXERCISES)


def test_checkouts_are_read_without_git_solutions_and_caches(tmp_path):
    fork = tmp_path / "ada"
    put(fork / "exercises/1-basics/01-neuron.ipynb")
    for place in (".git", ".ipynb_checkpoints", "exercises/1-basics/.ipynb_checkpoints", ".venv",
                  "solutions/1-basics", "build/x", "node_modules/y", ".hidden"):  # fmt: skip
        put(fork / place / "01-neuron.ipynb", "other")
    put(fork / ".git/config", '[core]\n\tfsmonitor = "touch /tmp/executed"\n')
    assert rows(tmp_path) == [("ada", NEURON, "ada/exercises/1-basics/01-neuron.ipynb")]


def test_one_learners_own_folder_or_checkout(tmp_path):
    put(tmp_path / "ada/exercises/1-basics/01-neuron.ipynb")
    put(tmp_path / "ada/notes/mine.ipynb")
    put(tmp_path / "bob/1-basics/01-neuron.ipynb")
    assert rows(tmp_path / "ada") == [
        ("ada", "", "notes/mine.ipynb"),
        ("ada", NEURON, "exercises/1-basics/01-neuron.ipynb"),
    ]
    assert rows(tmp_path / "bob") == [("bob", NEURON, "1-basics/01-neuron.ipynb")]


def test_a_mixture_of_a_checkout_and_learners_is_refused(tmp_path):
    put(tmp_path / "exercises/1-basics/01-neuron.ipynb")
    put(tmp_path / "ada/exercises/1-basics/01-neuron.ipynb")
    with pytest.raises(UserError, match="one folder a learner"):
        collect(tmp_path, EXERCISES)


def test_notebooks_side_by_side_are_named_after_learners(tmp_path):
    put(tmp_path / "ada.ipynb")
    put(tmp_path / "bob_01-neuron.ipynb")
    put(tmp_path / "bob_05-noise.ipynb")
    put(tmp_path / "cy-02-decay.ipynb")
    put(tmp_path / "list.csv")
    assert rows(tmp_path) == [
        ("ada", "", "ada.ipynb"),
        ("bob", NEURON, "bob_01-neuron.ipynb"),
        ("bob", "2-more/05-noise", "bob_05-noise.ipynb"),
        ("cy", "", "cy-02-decay.ipynb"),
    ]


@pytest.mark.parametrize(
    ("path", "beside", "learner", "exercise"),
    [
        ("ada/01-neuron.ipynb", None, "ada", NEURON),
        ("ada/1-basics/02-decay.ipynb", None, "ada", DECAY),
        ("ada/exercises/1-basics/01-neuron.ipynb", None, "ada", NEURON),
        ("submitted/ada/week1/02-decay.ipynb", None, "ada", ""),
        ("downloads/ada.ipynb", "downloads/bob.ipynb", "ada", ""),
        ("ada/answer.ipynb", None, "ada", ""),
        ("ada/01-neuron.ipynb", "ada/05-noise.ipynb", "ada", NEURON),
    ],
)
def test_one_notebook(tmp_path, path, beside, learner, exercise):
    if beside:
        put(tmp_path / beside)
    job = only(put(tmp_path / path))
    assert (job.learner, job.exercise) == (learner, exercise)
    assert job.sha256 == hashlib.sha256(b'{"cells": []}').hexdigest()
    assert read_content(job) == b'{"cells": []}'


# What is no notebook to grade has a row with a reason


def test_a_folder_without_a_notebook_says_what_is_there(tmp_path):
    (tmp_path / "ada").mkdir()
    put(tmp_path / "bob/essay.docx")
    reasons = {job.learner: job.reason for job in collect(tmp_path, EXERCISES)}
    assert reasons == {
        "ada": "no notebook was handed in: the folder is empty",
        "bob": "no notebook was handed in, only essay.docx",
    }


def test_symbolic_links_are_not_followed(tmp_path):
    secret = put(tmp_path / "elsewhere/1-basics/01-neuron.ipynb", "secret")
    folder = tmp_path / "in"
    (folder / "ada/1-basics").mkdir(parents=True)
    (folder / "ada/1-basics/01-neuron.ipynb").symlink_to(secret)
    (folder / "bob").mkdir()
    (folder / "bob/2-more").symlink_to(secret.parent)
    (folder / "cy").symlink_to(secret.parents[1])
    (folder / "dan.ipynb").symlink_to(secret)
    (folder / "eve").mkdir()
    (folder / "eve/loop").symlink_to(folder / "eve")
    jobs = collect(folder, EXERCISES)
    assert [job.learner for job in jobs] == ["ada", "bob", "cy", "dan", "eve"]
    for job in jobs:
        assert job.reason == "it is a symbolic link, which is not followed: hand in the file itself"
        assert (job.path, job.sha256) == ("", "")


def test_special_files_are_not_opened(tmp_path):
    folder = tmp_path / "ada"
    folder.mkdir()
    os.mkfifo(folder / "01-neuron.ipynb")  # opening it would wait for ever
    listener = socket.socket(socket.AF_UNIX)
    here = os.getcwd()
    os.chdir(folder)
    try:
        listener.bind("05-noise.ipynb")
    finally:
        os.chdir(here)
    with listener:
        reasons = [job.reason for job in collect(tmp_path, EXERCISES)]
    assert [reason.split(" and ")[0] for reason in reasons] == ["it is a pipe", "it is a socket"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes devices")
def test_devices_are_not_opened(tmp_path):
    folder = tmp_path / "ada"
    folder.mkdir()
    try:
        os.mknod(folder / "01-neuron.ipynb", stat.S_IFCHR | 0o600, os.makedev(1, 5))
    except PermissionError:
        pytest.skip("this container makes no devices")
    assert "it is a device" in only(tmp_path).reason


def test_a_notebook_that_is_too_large_is_not_read(tmp_path):
    path = put(tmp_path / "ada/01-neuron.ipynb")
    with path.open("r+b") as file:
        file.truncate(30 * 2**30)  # takes no room on the disk, and hours to read
    job = only(tmp_path)
    assert job.reason.startswith("it has 30720 MB, more than the 20 MB that are read")
    assert job.sha256 == ""


def test_archives_are_named(tmp_path):
    put(tmp_path / "ada/work.tar.gz")
    put(tmp_path / "bob.zip")
    jobs = collect(tmp_path, EXERCISES)
    assert [(job.learner, job.file) for job in jobs] == [("ada", "ada/work.tar.gz"),
                                                         ("bob", "bob.zip")]  # fmt: skip
    assert {job.reason for job in jobs} == {"it is an archive: unpack it"}


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_what_may_not_be_read_has_a_row(tmp_path):
    put(tmp_path / "ada/01-neuron.ipynb").chmod(0)
    put(tmp_path / "bob/01-neuron.ipynb")
    (tmp_path / "bob").chmod(0)
    try:
        reasons = [job.reason for job in collect(tmp_path, EXERCISES)]
    finally:
        (tmp_path / "bob").chmod(0o700)
    assert reasons == ["it cannot be read (Permission denied)",
                       "the folder cannot be opened (Permission denied)"]  # fmt: skip


def test_a_flood_of_files_is_one_row(tmp_path, monkeypatch):
    monkeypatch.setattr(submissions, "MOST_NOTEBOOKS", 5)
    monkeypatch.setattr(submissions, "MOST_ENTRIES", 20)
    for number in range(6):
        put(tmp_path / f"ada/{number}.ipynb")
    for number in range(21):
        put(tmp_path / f"bob/folder/{number}.txt")
    reasons = [job.reason for job in collect(tmp_path, EXERCISES)]
    assert reasons == [
        "the folder holds more than 5 notebooks: hand in the exercises alone",
        "the folder holds more than 20 files: hand in the exercises alone",
    ]


def test_nesting_is_limited(tmp_path):
    put(tmp_path / ("ada/" + "deeper/" * 35 + "01-neuron.ipynb"))
    assert only(tmp_path).reason == "its folders are nested more than 30 deep"


# Several notebooks of one exercise


def test_the_notebook_at_its_place_is_preferred_to_copies(tmp_path):
    put(tmp_path / "ada/exercises/1-basics/01-neuron.ipynb", "right place")
    put(tmp_path / "ada/1-basics/01-neuron.ipynb", "copy")
    put(tmp_path / "ada/backup/exercises/1-basics/01-neuron.ipynb", "backup")
    put(tmp_path / "ada/01-neuron.ipynb", "draft")
    found = survey(tmp_path, EXERCISES)
    (job,) = found.jobs
    assert (job.file, job.reason) == ("ada/exercises/1-basics/01-neuron.ipynb", "")
    assert found.passed_over == {
        ("ada", NEURON): [
            "ada/01-neuron.ipynb",
            "ada/1-basics/01-neuron.ipynb",
            "ada/backup/exercises/1-basics/01-neuron.ipynb",
        ]
    }


def test_two_different_notebooks_without_a_preferred_place_give_one_row(tmp_path):
    put(tmp_path / "ada/week 1/01-neuron.ipynb", "first")
    put(tmp_path / "ada/week 2/01-neuron.ipynb", "second")
    job = only(tmp_path)
    assert job.reason == (
        "2 notebooks of this exercise were handed in, and they differ (ada/week 1/01-neuron.ipynb, "
        "ada/week 2/01-neuron.ipynb): keep one of them"
    )


def test_equal_copies_are_one_notebook_and_unreadable_ones_do_not_count(tmp_path):
    put(tmp_path / "ada/week 1/01-neuron.ipynb", "same")
    put(tmp_path / "ada/week 2/01-neuron.ipynb", "same")
    put(tmp_path / "bob/week 1/01-neuron.ipynb", "good")
    (tmp_path / "bob/1-basics").mkdir()
    (tmp_path / "bob/1-basics/01-neuron.ipynb").symlink_to("/dev/zero")
    jobs = collect(tmp_path, EXERCISES)
    assert [(job.file, job.reason) for job in jobs] == [
        ("ada/week 1/01-neuron.ipynb", ""),
        ("bob/week 1/01-neuron.ipynb", ""),
    ]


def test_a_name_that_two_exercises_have_is_left_open(tmp_path):
    put(tmp_path / "ada/02-decay.ipynb")
    put(tmp_path / "ada/1-basics/02-decay.ipynb")
    assert [job.exercise for job in collect(tmp_path, EXERCISES)] == ["", DECAY]


# Names


def test_strange_names_neither_break_nor_merge_learners(tmp_path):
    composed = unicodedata.normalize("NFC", "José")
    names = [
        b"a\nb", b"a\x1b[31mb", "a\u202eb".encode(), "a\u200bb".encode(), b"a\xffb", b"a\\nb",
        b" a", b"a ", b"a", b"A", composed.encode(),
        unicodedata.normalize("NFD", composed).encode(), b"...", b"=1+1",
        "\u2126".encode(), "\u03a9".encode(), b"a\xc2\x85b", b"--out", b"a\tb",
    ]  # fmt: skip
    for name in names:
        folder = os.path.join(os.fsencode(tmp_path), name)
        os.mkdir(folder)
        with open(os.path.join(folder, b"01-neuron.ipynb"), "wb") as file:
            file.write(name)
    jobs = collect(tmp_path, EXERCISES)
    assert len({job.learner for job in jobs}) == len({job.file for job in jobs}) == len(names)
    told = {read_content(job): job.learner for job in jobs}
    assert told[b"a\nb"] == r"a\u000ab"
    assert told["a\u202eb".encode()] == r"a\u202eb"
    assert told[b"a\xffb"] == r"a\xffb"
    assert told[b"a\\nb"] == r"a\\nb"
    assert told[b" a"] == r"\u0020a"
    assert told[composed.encode()] == composed
    assert told[unicodedata.normalize("NFD", composed).encode()] == r"Jose\u0301"
    assert (told[b"a"], told[b"A"]) == ("a", "A")
    for job in jobs:
        assert job.learner.isprintable()
        assert job.file.isprintable()
        json.dumps(job.learner).encode()


def test_a_lone_decomposed_name_is_composed(tmp_path):
    put(tmp_path / unicodedata.normalize("NFD", "Zoë") / "01-neuron.ipynb")
    assert only(tmp_path).learner == unicodedata.normalize("NFC", "Zoë")


def test_a_folder_and_a_file_of_one_name_are_two_learners(tmp_path):
    put(tmp_path / "ada/01-neuron.ipynb", "in the folder")
    put(tmp_path / "ada_01-neuron.ipynb", "beside it")
    put(tmp_path / "ada (file)/01-neuron.ipynb", "sly")
    jobs = collect(tmp_path, EXERCISES)
    assert [job.learner for job in jobs] == ["ada", "ada (file)", "ada (file2)"]


def test_the_folder_may_be_given_by_dots(tmp_path, monkeypatch):
    put(tmp_path / "ada/exercises/1-basics/01-neuron.ipynb")
    monkeypatch.chdir(tmp_path / "ada/exercises")
    assert only(Path("..")).learner == "ada"


# Bad input and order


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda folder: folder / "missing", "does not exist"),
        (lambda folder: folder, "holds no submission"),
        (lambda folder: put(folder / "x.zip"), "is an archive: unpack it"),
        (lambda folder: put(folder / "x.txt"), "is no notebook"),
    ],
    ids=["missing", "empty", "archive", "text"],
)
def test_bad_input_is_one_clear_line(tmp_path, make, says):
    with pytest.raises(UserError, match=says) as caught:
        collect(make(tmp_path), EXERCISES)
    assert "\n" not in str(caught.value)


def test_the_order_does_not_depend_on_the_disk(tmp_path):
    for number in (7, 3, 11, 1):
        put(tmp_path / f"learner-{number:02d}/2-more/05-noise.ipynb")
        put(tmp_path / f"learner-{number:02d}/1-basics/01-neuron.ipynb")
    found = rows(tmp_path)
    assert found == sorted(found)
    assert len(found) == 8


def test_a_notebook_that_changes_before_it_is_graded_is_noticed(tmp_path):
    path = put(tmp_path / "ada/01-neuron.ipynb")
    job = only(tmp_path)
    put(path, "changed")
    with pytest.raises(OSError, match="it was changed"):
        read_content(job)
    path.unlink()
    path.symlink_to("/etc/passwd")
    with pytest.raises(OSError, match="symbolic links"):
        read_content(job)


def test_collecting_imports_nothing_heavy():
    code = (
        "import sys, coursekit.grading.official.submissions as s;"
        "print(sorted({'torch', 'numpy', 'nbformat'} & set(sys.modules)))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"
