"""Grades are on the disk when they are saved, and nothing but a store of grades is touched."""

import os
import sqlite3
import subprocess
import sys
from dataclasses import replace

import pytest

from coursekit.errors import UserError
from coursekit.grading.official import store as module
from coursekit.grading.official.results import CellGrade, Grade, Job, Said, TaskGrade
from coursekit.grading.official.store import Grades, Store, key_of

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def grade_of(learner="ada", file="ada/a.ipynb", **given) -> Grade:
    said = Said("failed", "it differs", "close", [("expected", "1\n2"), ("got", "\u202e\ud800")])
    task = TaskGrade("iou", "IoU", "partly", CellGrade(2, 1.5, [said]), CellGrade(3, 0.0))
    usual = {"exercise": "1-a/b", "status": "graded", "score": 1.5, "max_score": 5.0}
    usual |= {"tasks": [task], "answers": {"iou": "def iou(): ..."}, "sha256": "ab"}
    return Grade(learner=learner, file=file, **{**usual, **given})


JOB = Job("ada", "1-a/b", "ada/a.ipynb", sha256="ab")


def test_a_grade_comes_back_as_it_was_saved(tmp_path):
    with Store(tmp_path / "new/out") as store:
        store.save(grade_of(), "key")
    with Store(tmp_path / "new/out") as store:
        assert store.grades() == [grade_of()]
        assert store.grade("ada", "ada/a.ipynb").tasks[0].public.said[0].facts[0][1] == "1\n2"
        with pytest.raises(KeyError):
            store.grade("ada", "ada/other.ipynb")


def test_grades_are_sorted_by_learner_exercise_and_file(tmp_path):
    places = [("bob", "1-a/b", "y"), ("ada", "2-a/a", "a"), ("ada", "1-a/b", "z"), ("Ada", "", "x")]
    with Store(tmp_path) as store:
        for learner, exercise, file in places:
            store.save(grade_of(learner, file, exercise=exercise))
        assert store.places() == sorted(places)
        assert [(g.learner, g.exercise, g.file) for g in store.grades()] == sorted(places)


@pytest.mark.parametrize(
    ("saved", "job", "key", "done"),
    [
        (grade_of(), JOB, "key", True),
        (grade_of(status="refused"), JOB, "key", True),
        (grade_of(status="failed"), JOB, "key", False),
        (grade_of(), replace(JOB, sha256="cd"), "key", False),
        (grade_of(), replace(JOB, file="ada/other.ipynb"), "key", False),
        (grade_of(), JOB, "another solution", False),
    ],
    ids=["graded", "refused", "failed", "changed notebook", "other file", "changed solution"],
)
def test_done_means_graded_as_it_is_now(tmp_path, saved, job, key, done):
    with Store(tmp_path) as store:
        store.save(saved, "key")
        assert store.done(job, key) is done


def test_a_later_grade_replaces_the_earlier_one(tmp_path):
    with Store(tmp_path) as store:
        store.save(grade_of(status="failed"), "old")
        store.save(grade_of(score=4.0), "new")
        assert [grade.score for grade in store.grades()] == [4.0]
        assert store.done(JOB, "new")


def test_a_grade_that_cannot_be_written_down_leaves_the_earlier_one(tmp_path):
    with Store(tmp_path) as store:
        store.save(grade_of())
        with pytest.raises(ValueError, match="not JSON compliant"):
            store.save(grade_of(score=float("nan")))
        assert store.grades() == [grade_of()]


def test_every_grade_is_on_the_disk_before_save_returns(tmp_path):
    with Store(tmp_path) as store:
        pragmas = [
            store._connection.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("journal_mode", "synchronous")
        ]
        assert pragmas == ["wal", 2]  # 2: FULL, an fsync of the log in each transaction


def test_grades_survive_a_process_that_is_killed(tmp_path):
    code = (
        "import os, sys; from pathlib import Path;"
        "from coursekit.grading.official.results import Grade;"
        "from coursekit.grading.official.store import Store;"
        "store = Store(Path(sys.argv[1]));"
        "[store.save(Grade(f'learner {n}', '1-a/b', 'graded', file='f')) for n in range(7)];"
        "os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], cwd=ROOT, check=False)
    with Store(tmp_path) as store:
        assert [grade.learner for grade in store.grades()] == [f"learner {n}" for n in range(7)]


def test_one_process_at_a_time(tmp_path):
    with Store(tmp_path):
        with pytest.raises(UserError, match="another coursekit grade writes to") as caught:
            Store(tmp_path)
        assert "\n" not in str(caught.value)
    Store(tmp_path).close()


def foreign(path):
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE mine (x)")
    connection.close()


def newer(path):
    module.create(path)
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()


def damaged(path):
    module.create(path)
    with path.open("r+b") as file:
        file.seek(100)
        file.write(b"\xff" * 600)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (foreign, "is no store of coursekit's grades"),
        (lambda path: path.write_text("learner,score\n" * 50), "is no store of coursekit's grades"),
        (lambda path: path.write_bytes(b""), "is no store of coursekit's grades"),
        (lambda path: path.mkdir(), "cannot be opened"),
        (newer, "written by another version of coursekit"),
        (damaged, "is damaged"),
    ],
    ids=["another database", "text", "empty", "folder", "newer", "damaged"],
)
def test_other_files_are_refused_and_left_as_they_are(tmp_path, make, says):
    path = tmp_path / "grades.db"
    make(path)
    before = path.read_bytes() if path.is_file() else None
    for _ in range(2):  # the lock is given back
        with pytest.raises(UserError, match=says) as caught:
            Store(tmp_path)
        assert "\n" not in str(caught.value)
    assert (path.read_bytes() if path.is_file() else None) == before


def test_a_store_that_was_half_made_is_made_again(tmp_path):
    (tmp_path / ".grades.db.new").write_bytes(b"SQLite format 3\0 and then the power failed")
    with Store(tmp_path) as store:
        assert store.grades() == []
    assert not (tmp_path / ".grades.db.new").exists()


def test_a_file_in_the_folders_place_is_one_clear_line(tmp_path):
    (tmp_path / "out").write_text("")
    with pytest.raises(UserError, match="cannot be written"):
        Store(tmp_path / "out")
    with pytest.raises(UserError, match="cannot be written"):
        Store(tmp_path / "out/inside")


def test_a_full_disk_is_one_clear_line_and_keeps_what_is_there(tmp_path):
    with Store(tmp_path) as store:
        store.save(grade_of())
        pages = store._connection.execute("PRAGMA page_count").fetchone()[0]
        store._connection.execute(f"PRAGMA max_page_count = {pages}")
        with pytest.raises(UserError, match="disk is full") as caught:
            store.save(grade_of("bob", "bob/b", answers={"iou": "x" * 50_000}))
        assert "run the same command again" in str(caught.value)
        assert store.grades() == [grade_of()]


def test_grades_are_read_when_asked_for(tmp_path):
    with Store(tmp_path) as store:
        for number in range(5):
            store.save(grade_of(f"learner {number}", "f", score=float(number)))
        places = [(learner, file) for learner, _, file in store.places()]
        grades = Grades(store, places, lambda grade: replace(grade, reason="changed"))
        assert len(grades) == 5
        assert [grade.score for grade in grades] == [0, 1, 2, 3, 4]
        assert grades[-1].learner == "learner 4"
        assert [grade.score for grade in grades[1:3]] == [1, 2]
        assert grades[0].reason == "changed"


def test_the_key_tells_solutions_limits_and_software_apart(monkeypatch):
    usual = key_of([b"a"], 60, False)
    assert usual == key_of([b"a"], 60.0, False)
    assert key_of([b"a", b"b"], 60, False) == key_of([b"b", b"a"], 60, False)
    others = {key_of([b"b"], 60, False), key_of([b"a"], 30, False), key_of([b"a"], 60, True)}
    monkeypatch.setattr(module, "software", lambda: {"coursekit": "later"})
    others.add(key_of([b"a"], 60, False))
    assert len(others | {usual}) == 5
