"""A batch that is killed at any moment, or loses a worker, ends with the same grades."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import sys
from collections import Counter
from pathlib import Path

import pytest
from grading_run import Batch, end, follow, kill_group, wait_for

from coursekit.grading.official.batch import grade_all
from coursekit.grading.official.store import Store

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="official grading needs Linux"),
]
COUNT = 100
SAME = ("grades.csv", "tasks.csv", "nbgrader.csv", "canvas.csv", "similarity.csv")


class Handed:
    """A course, a hundred submissions and the results of a batch that nobody disturbed."""

    def __init__(self, folder: Path):
        import torch_exercise

        self.folder, self.course, self.submissions = folder, folder / "course", folder / "in"
        torch_exercise.write_course(self.course)
        self.scores = torch_exercise.submissions(self.submissions, COUNT, 11, self.course)
        batch = self.batch("undisturbed")
        assert batch.run() == 0
        batch.close()
        self.results = self.read("undisturbed")

    def batch(self, name: str) -> Batch:
        return Batch(self.course, self.submissions, self.folder / name)

    def read(self, name: str) -> dict[str, bytes]:
        return {file: (self.folder / name / file).read_bytes() for file in SAME}


@pytest.fixture(scope="module")
def handed(tmp_path_factory):
    """The hundred submissions, graded once."""
    return Handed(tmp_path_factory.mktemp("grading"))


def test_a_batch_killed_at_twenty_random_moments_ends_with_the_same_grades(handed):
    batch, chance = handed.batch("killed"), random.Random(5)
    moments = sorted(chance.sample(range(1, COUNT), 14))
    plan = [("start", chance.uniform(0, 4)) for _ in range(3)]
    plan += [("graded", moment) for moment in moments]
    plan += [("exports", chance.uniform(0, 1)) for _ in range(3)]
    seen = []
    for kind, moment in plan:
        with batch.start() as process:
            if kind == "start":
                wait_for(lambda: False, moment)
            elif kind == "graded":
                seen.append(follow(process, moment))
            else:
                (batch.out / "grades.csv").unlink(missing_ok=True)
                assert wait_for((batch.out / "grades.csv").exists, 300)
                wait_for(lambda: False, moment)
            kill_group(process)
    assert seen == sorted(seen), "grades were lost"
    assert len(set(seen)) > 10, "the kills did not fall at many moments"
    assert batch.run() == 0
    assert handed.read("killed") == handed.results
    with sqlite3.connect(batch.out / "grades.db") as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        rows = database.execute("SELECT learner, status FROM grades").fetchall()
    database.close()
    assert sorted(rows) == [(learner, "graded") for learner in sorted(handed.scores)]
    assert wait_for(lambda: not batch.leftovers()), f"processes are left: {batch.leftovers()}"
    assert wait_for(lambda: not os.listdir(batch.scratch.name))
    batch.close()


def test_ctrl_c_ends_all_processes_and_the_same_command_goes_on(handed):
    batch = handed.batch("interrupted")
    with batch.start() as process:
        graded = follow(process, 10)
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does
        said = process.stderr.read()
        assert process.wait(60) == 130
    assert said.splitlines()[-1].endswith(b"go on with the same command")
    assert b"Traceback" not in said
    assert wait_for(lambda: not batch.leftovers(), 10), f"processes are left: {batch.leftovers()}"
    assert not (batch.out / "grades.csv").exists()
    with batch.start() as process:
        assert follow(process, 1) >= graded
        assert end(process) == 0
    assert handed.read("interrupted") == handed.results
    batch.close()


def test_the_death_of_the_main_process_alone_ends_the_others(handed):
    batch = handed.batch("orphaned")
    with batch.start() as process:
        follow(process, 5)
        assert len(batch.leftovers()) > 3
        process.kill()
        process.wait()
    assert wait_for(lambda: not batch.leftovers(), 30), f"processes are left: {batch.leftovers()}"
    batch.close()


def test_an_examiner_that_dies_costs_no_submission(handed):
    """Everything but the main process is killed midway; new graders take over."""
    batch = handed.batch("broken")
    with batch.start() as process:
        for moment in (10, 40, 70):
            follow(process, moment)
            for number in set(batch.leftovers()) - {process.pid}:
                try:
                    os.kill(number, signal.SIGKILL)
                except ProcessLookupError:
                    continue
        assert end(process) == 0
    assert handed.read("broken") == handed.results
    assert wait_for(lambda: not batch.leftovers(), 30)
    batch.close()


def test_a_dask_worker_that_is_killed_has_its_submissions_graded_elsewhere(handed, monkeypatch):
    distributed = pytest.importorskip("distributed")
    monkeypatch.setenv("COURSEKIT_PROGRESS", "0")
    saved: Counter[str] = Counter()
    save = Store.save
    with distributed.LocalCluster(
        n_workers=2,
        threads_per_worker=1,
        processes=True,
        dashboard_address=None,
        silence_logs=50,
        local_directory=str(handed.folder / "workers"),
    ) as cluster:
        first = cluster.workers[0].pid

        def saving(store, grade, key=""):
            save(store, grade, key)
            saved[grade.learner] += 1
            if saved.total() == 30:
                os.kill(first, signal.SIGKILL)

        monkeypatch.setattr(Store, "save", saving)
        summary = grade_all(
            handed.submissions,
            handed.folder / "dask",
            solutions=handed.course / "solutions",
            scheduler=cluster.scheduler_address,
            unsafe=True,
        )
        assert cluster.workers[0].pid != first
    assert summary.counts == {"graded": COUNT}
    assert saved == dict.fromkeys(handed.scores, 1)
    assert handed.read("dask") == handed.results
