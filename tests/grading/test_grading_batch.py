"""A batch gives one row to each submission, whatever breaks, and goes on where it stopped."""

import csv
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from conftest import NAME
from counting_grader import Workshop

from coursekit import cli
from coursekit.errors import UserError
from coursekit.grading.official import batch, grader
from coursekit.grading.official.batch import Interrupted, grade_all
from coursekit.grading.official.pools import LocalPool
from coursekit.grading.official.results import Job
from coursekit.grading.official.sandbox import Protection
from coursekit.grading.official.store import Store

HERE = Path(__file__).parent


@pytest.fixture(autouse=True)
def quiet(monkeypatch):
    monkeypatch.setenv("COURSEKIT_PROGRESS", "0")


@pytest.fixture
def handed_in(tmp_path):
    """A folder of five submissions to the course's one exercise."""
    for number in range(5):
        put(tmp_path / f"in/learner-{number}/{NAME}.ipynb", f"notebook {number}")
    return tmp_path / "in"


def put(path: Path, text: str = "notebook") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def run(course, handed_in, shop=None, **given):
    """Grade with a workshop of the tests; returns it and the summary."""
    shop = shop or Workshop()
    given = {"jobs": 2, "solutions": course.root / "solutions", **given}
    return shop, grade_all(handed_in, handed_in.parent / "out", workshop=shop, **given)


def table(handed_in) -> list[dict[str, str]]:
    with open(handed_in.parent / "out/grades.csv", newline="") as file:
        return list(csv.DictReader(file))


def grading_threads() -> list[str]:
    return [t.name for t in threading.enumerate() if t.name.startswith("grading-")]


# One row each


def test_every_submission_has_its_row(course, handed_in):
    (handed_in / "silent").mkdir()
    shop, summary = run(course, handed_in)
    assert sorted(shop.graded) == [f"learner-{n}" for n in range(5)]
    assert (summary.learners, summary.submissions, summary.fresh) == (6, 6, 6)
    assert summary.counts == {"graded": 5, "refused": 1}
    assert summary.exit_code == 0
    rows = table(handed_in)
    assert [row["learner"] for row in rows] == [*(f"learner-{n}" for n in range(5)), "silent"]
    assert rows[5]["reason"] == "no notebook was handed in: the folder is empty"
    shares = [float(row["score"]) / 20 for row in rows[:5]]
    assert summary.mean == pytest.approx(sum(shares) / 5)
    assert all(path.is_file() for path in summary.written)


def test_a_refused_submission_is_worth_the_exercise(course, tmp_path):
    put(tmp_path / f"in/ada/{NAME}.ipynb")
    place = tmp_path / f"in/bob/{NAME}.ipynb"
    place.parent.mkdir(parents=True)
    os.mkfifo(place)
    run(course, tmp_path / "in")
    (_, bob) = table(tmp_path / "in")
    assert (bob["score"], bob["max_score"], bob["status"]) == ("0", "20", "refused")


def test_each_job_has_a_thread_and_a_grader_of_its_own(course, handed_in):
    shop, _ = run(course, handed_in, Workshop(hold=3), jobs=3)
    assert (shop.most, shop.made, shop.open, shop.closed) == (3, 3, 0, True)
    assert grading_threads() == []


def test_few_jobs_are_taken_at_a_time(tmp_path):
    taken, most = [0], [0]

    def jobs():
        for number in range(200):
            taken[0] += 1
            yield Job(f"learner-{number}", NAME, f"{number}", content=b"x", sha256=f"{number}")

    with LocalPool(Workshop(), 3) as pool:
        done = set()
        for grade in pool.grades(jobs()):
            most[0] = max(most[0], taken[0] - len(done))
            done.add(grade.learner)
    assert len(done) == 200
    assert most[0] <= 6 + 1


# What breaks


def test_a_grader_that_breaks_is_replaced(course, handed_in):
    shop, summary = run(course, handed_in, Workshop(broken={"learner-3": 2}), jobs=1)
    assert shop.graded.count("learner-3") == 3
    assert (shop.made, shop.open) == (3, 0)
    assert summary.counts == {"graded": 5}


def test_after_three_failures_the_batch_goes_on_and_a_later_run_tries_again(course, handed_in):
    shop, summary = run(course, handed_in, Workshop(broken={"learner-1": 3}))
    assert summary.counts == {"graded": 4, "failed": 1}
    assert summary.exit_code == 1
    (row,) = [row for row in table(handed_in) if row["status"] == "failed"]
    assert row["learner"] == "learner-1"
    assert "the grader failed 3 times: RuntimeError: the examiner ended" in row["reason"]
    shop, summary = run(course, handed_in)
    assert shop.graded == ["learner-1"]
    assert summary.counts == {"graded": 5}


def test_a_grade_that_says_failed_counts_as_a_failure(course, handed_in):
    tries = []

    def answer(job):
        tries.append(job.learner)
        failed = job.learner == "learner-0" and tries.count("learner-0") < 3
        return {"status": "failed", "reason": "no reply"} if failed else {}

    _, summary = run(course, handed_in, Workshop(answer=answer))
    assert tries.count("learner-0") == 3
    assert summary.counts == {"graded": 5}


def test_a_grader_that_cannot_be_started_ends_the_batch(course, handed_in):
    _, summary = run(course, handed_in, Workshop(unstartable=2), jobs=1)
    assert summary.counts == {"graded": 5}
    put(handed_in / f"late/{NAME}.ipynb")
    with pytest.raises(UserError, match="no grader can be started: no processes are left"):
        run(course, handed_in, Workshop(unstartable=3), jobs=1)
    assert grading_threads() == []


def test_a_notebook_that_changes_while_the_batch_runs_has_failed(course, handed_in):
    def answer(job):
        put(handed_in / f"learner-4/{NAME}.ipynb", "another text")
        return {}

    _, summary = run(course, handed_in, Workshop(answer=answer), jobs=1)
    assert summary.counts == {"graded": 4, "failed": 1}
    assert "it was changed" in table(handed_in)[4]["reason"]


@pytest.mark.usefixtures("interruptible")
def test_ctrl_c_keeps_what_is_graded_and_the_same_command_goes_on(course, handed_in):
    def answer(job):
        if job.learner == "learner-2":
            signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
            with shop.turn:
                shop.turn.wait_for(lambda: shop.closed, timeout=60)
        return {}

    shop = Workshop(answer=answer)
    with pytest.raises(Interrupted, match="go on with the same command") as caught:
        run(course, handed_in, shop, jobs=1)
    assert "\n" not in str(caught.value)
    assert (shop.open, shop.closed, grading_threads()) == (0, True, [])
    with Store(handed_in.parent / "out") as store:
        kept = {grade.learner for grade in store.grades()}
    shop, summary = run(course, handed_in)
    assert set(shop.graded) == {f"learner-{n}" for n in range(5)} - kept
    assert summary.counts == {"graded": 5}


# Going on


def test_what_is_graded_is_not_graded_again(course, handed_in):
    run(course, handed_in)
    before = (handed_in.parent / "out/grades.csv").read_bytes()
    shop, summary = run(course, handed_in)
    assert (shop.made, summary.fresh, summary.submissions) == (0, 0, 5)
    assert (handed_in.parent / "out/grades.csv").read_bytes() == before


def test_a_changed_notebook_is_graded_anew(course, handed_in):
    run(course, handed_in)
    put(handed_in / f"learner-2/{NAME}.ipynb", "better")
    shop, _ = run(course, handed_in)
    assert shop.graded == ["learner-2"]


@pytest.mark.parametrize("change", ["solution", "seconds", "unsafe"])
def test_other_solutions_and_limits_grade_anew(course, handed_in, change):
    run(course, handed_in)
    if change == "solution":
        course.change(course.solution, "average", "total_of_all", "total")
    given = {"seconds": {"seconds": 5.0}, "unsafe": {"unsafe": True}}.get(change, {})
    shop, _ = run(course, handed_in, **given)
    assert len(shop.graded) == 5


def test_what_was_taken_back_leaves_the_results(course, handed_in):
    run(course, handed_in)
    (handed_in / f"learner-2/{NAME}.ipynb").unlink()
    _, summary = run(course, handed_in)
    assert summary.counts == {"graded": 4, "refused": 1}
    assert table(handed_in)[2]["reason"].startswith("no notebook was handed in")


# Exercises that only the notebook tells


def test_copies_under_other_names_are_settled_after_grading(course, tmp_path):
    folder = tmp_path / "in"
    put(folder / f"ada/{NAME}.ipynb", "at its place")
    put(folder / "ada/copy.ipynb", "a copy")
    put(folder / "bob/one.ipynb", "same")
    put(folder / "bob/two.ipynb", "same")
    put(folder / "cy/one.ipynb", "first")
    put(folder / "cy/two.ipynb", "second")
    put(folder / "dan/one.ipynb", "only")
    run(course, folder, Workshop(answer=lambda job: {"exercise": NAME}))
    rows = {row["learner"]: row for row in table(folder)}
    assert len(rows) == len(table(folder)) == 4
    assert rows["ada"]["file"] == f"ada/{NAME}.ipynb"
    assert rows["bob"]["file"] == "bob/one.ipynb"
    assert rows["cy"]["status"] == "refused"
    assert "they differ (cy/one.ipynb, cy/two.ipynb)" in rows["cy"]["reason"]
    assert rows["dan"]["status"] == "graded"
    (told,) = tmp_path.glob("out/learners/ada/results.json")
    assert "Not graded, because" in told.read_text()


def test_one_exercise_gives_every_learner_a_row(course, tmp_path):
    solution = course.solution
    other = solution.with_name("02-more.ipynb")
    other.write_bytes(solution.read_bytes())
    more = f"{NAME.split('/')[0]}/02-more"
    folder = tmp_path / "in"
    put(folder / f"ada/{NAME}.ipynb")
    put(folder / f"ada/{more}.ipynb")
    put(folder / f"bob/{NAME}.ipynb")
    shop, summary = run(course, folder, exercises=[more])
    assert shop.graded == ["ada"]
    assert [(r["learner"], r["exercise"], r["status"]) for r in table(folder)] == [
        ("ada", more, "graded"),
        ("bob", more, "refused"),
    ]
    assert table(folder)[1]["reason"] == "no notebook of this exercise was handed in"
    shop, summary = run(course, folder)
    assert sorted(shop.graded) == ["ada", "bob"]
    assert summary.submissions == 3


# The command


def command(monkeypatch, capsys, *arguments) -> tuple[int, str, str]:
    monkeypatch.setattr(sys, "argv", ["coursekit", "grade", *map(str, arguments)])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    captured = capsys.readouterr()
    return int(caught.value.code or 0), captured.out, captured.err


@pytest.fixture
def counting(monkeypatch):
    """Let the command use the graders of the tests; gives the workshop."""
    shop = Workshop()
    monkeypatch.setattr(batch, "Graders", lambda *_: shop)
    monkeypatch.setattr(grader, "lacking", lambda unsafe: [])
    monkeypatch.setattr(batch, "lacking", lambda unsafe: [])
    return shop


def test_the_command_ends_with_a_table_and_the_files(
    course, handed_in, counting, monkeypatch, capsys, tmp_path
):
    monkeypatch.chdir(tmp_path)
    code, out, err = command(
        monkeypatch, capsys, "in", "--out", "out", "--solutions", course.root / "solutions"
    )
    assert (code, err) == (0, "")
    (
        head,
        *_,
    ) = [line.split() for line in out.splitlines() if line.strip()]
    assert head == ["learners", "submissions", "graded", "refused", "failed", "mean"]
    assert "out/grades.csv" in out.split("\n")
    assert "out/learners (25 files)" in out


def test_the_command_says_by_its_code_that_something_failed(
    course, handed_in, counting, monkeypatch, capsys
):
    counting.broken["learner-1"] = 3
    given = [handed_in, "--out", handed_in.parent / "out", "--jobs", 1]
    given += ["--solutions", course.root / "solutions"]
    assert command(monkeypatch, capsys, *given)[0] == 1
    assert command(monkeypatch, capsys, *given)[0] == 0


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (["missing"], "missing does not exist"),
        (["empty"], "empty holds no submission"),
        (["in", "--out", "in/out"], "--out in/out lies inside in"),
        (["in", "--out", "in"], "--out in lies inside in"),
        (["in", "--out", "file"], "file cannot be written"),
        (["in", "--exercise", "9-no/such"], "no exercise is called 9-no/such: choose from"),
        (["in", "--jobs", "0"], "--jobs must be at least 1, got 0"),
        (["in", "--seconds", "-1"], "--seconds must be a positive number, got -1"),
        (["in", "--seconds", "nan"], "--seconds must be a positive number, got nan"),
        (["in", "--solutions", "empty"], "empty holds no solution"),
        (["in", "--scheduler", "somewhere"], "--scheduler must look like tcp://HOST:PORT"),
        (["in", "--book", "javascript:x"], "--book must be an http(s) or file address"),
        (["course/solutions"], None),
    ],
)  # fmt: skip
def test_bad_input_is_one_clear_line(
    course, handed_in, counting, monkeypatch, capsys, tmp_path, given, says
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    put(tmp_path / "file")
    usual = {"--out": "out", "--solutions": "course/solutions"}
    extra = [x for pair in usual.items() if pair[0] not in given for x in pair]
    code, _, err = command(monkeypatch, capsys, *given, *extra)
    if says is None:  # an instructor's own solutions are a submission like any other
        assert (code, err) == (0, "")
        return
    assert code == 2
    assert err.startswith(f"coursekit: {says}")
    assert len(err.splitlines()) == 1


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_not_be_written_is_one_clear_line(course, handed_in):
    out = handed_in.parent / "out"
    out.mkdir(mode=0o500)
    with pytest.raises(UserError, match="cannot be written"):
        run(course, handed_in)


def test_two_batches_into_one_folder_are_refused(course, handed_in):
    with Store(handed_in.parent / "out"), pytest.raises(UserError, match="another coursekit grade"):
        run(course, handed_in)


def test_without_protections_the_command_refuses_unless_told_otherwise(
    course, handed_in, counting, monkeypatch, capsys
):
    def demand(unsafe):
        if not unsafe:
            raise UserError("seccomp is missing: grade on Linux, or give --unsafe")
        return [Protection("seccomp", False, "the kernel has none")]

    monkeypatch.setattr(grader, "lacking", demand)
    given = [handed_in, "--out", handed_in.parent / "out"]
    given += ["--solutions", course.root / "solutions"]
    code, _, err = command(monkeypatch, capsys, *given)
    assert (code, err) == (2, "coursekit: seccomp is missing: grade on Linux, or give --unsafe\n")
    code, _, err = command(monkeypatch, capsys, *given, "--unsafe")
    assert (code, err) == (0, "Without protection by seccomp: the kernel has none\n")


def test_progress_is_shown_on_standard_error_unless_switched_off(
    course, handed_in, monkeypatch, capsys
):
    run(course, handed_in)
    assert capsys.readouterr() == ("", "")
    monkeypatch.delenv("COURSEKIT_PROGRESS")
    run(course, handed_in, seconds=5)
    out, err = capsys.readouterr()
    assert out == ""
    assert "0/5" in err


def test_the_main_process_loads_no_torch(course, handed_in):
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from counting_grader import Workshop\n"
        "from coursekit.grading.official.batch import grade_all\n"
        "summary = grade_all(*sys.argv[2:4], solutions=sys.argv[4], workshop=Workshop())\n"
        "print(summary.submissions, sorted({'torch', 'distributed'} & set(sys.modules)))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, HERE, handed_in, handed_in.parent / "out",
         course.root / "solutions"],
        capture_output=True, text=True, check=True, cwd=HERE.parents[1],
    )  # fmt: skip
    assert result.stdout.split() == ["5", "[]"]


# Dask


def test_without_dask_the_message_names_what_to_install(course, handed_in, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    monkeypatch.delitem(sys.modules, "coursekit.grading.official.cluster", raising=False)
    with pytest.raises(UserError, match=r'pip install "coursekit\[grade\]"'):
        run(course, handed_in, scheduler="tcp://127.0.0.1:8786")


@pytest.fixture
def cluster(tmp_path):
    """A scheduler with two workers in threads of this process."""
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=False, protocol="tcp", host="127.0.0.1",
        dashboard_address=None, silence_logs=50, local_directory=str(tmp_path / "workers"),
    ) as found:  # fmt: skip
        yield found


def test_a_cluster_grades_like_this_machine(course, handed_in, cluster):
    _, summary = run(course, handed_in)
    local = (handed_in.parent / "out/grades.csv").read_bytes()
    shop = Workshop(broken={"learner-1": 2, "learner-2": 3}, hold=2)
    _, summary = run(course, handed_in, shop, scheduler=cluster.scheduler_address, seconds=5)
    assert summary.counts == {"graded": 4, "failed": 1}
    assert (shop.open, shop.closed, shop.most) == (0, True, 2)
    shop, summary = run(
        course, handed_in, Workshop(), scheduler=cluster.scheduler_address, seconds=5
    )
    assert shop.graded == ["learner-2"]
    assert (handed_in.parent / "out/grades.csv").read_bytes() == local


def test_a_worker_with_other_software_is_refused(course, handed_in, cluster, monkeypatch):
    from coursekit.grading.official import cluster as module

    monkeypatch.setattr(module.Station, "setup", told_apart)
    with pytest.raises(UserError, match="another version of coursekit: install the same"):
        run(course, handed_in, Workshop(), scheduler=cluster.scheduler_address)


def told_apart(self, worker):
    raise UserError("worker has another version of coursekit: install the same everywhere")


def test_a_scheduler_that_does_not_answer_is_one_clear_line(course, handed_in, monkeypatch):
    cluster = pytest.importorskip("coursekit.grading.official.cluster")
    monkeypatch.setattr(cluster, "CONNECT_SECONDS", 1)
    with pytest.raises(
        UserError, match=r"no Dask scheduler answers at tcp://127.0.0.1:1 "
    ) as caught:
        run(course, handed_in, scheduler="tcp://127.0.0.1:1")
    assert "\n" not in str(caught.value)


# The official graders


@pytest.mark.slow
def test_the_official_graders_give_the_points_that_were_earned(tmp_path):
    import torch_exercise

    torch_exercise.write_course(tmp_path / "course")
    scores = torch_exercise.submissions(tmp_path / "in", 10, 3, tmp_path / "course")
    put(tmp_path / f"in/zoe/{torch_exercise.NAME}.ipynb", "{}")
    summary = grade_all(
        tmp_path / "in", tmp_path / "out", solutions=tmp_path / "course/solutions", unsafe=True
    )
    assert summary.counts == {"graded": 10, "refused": 1}
    rows = {row["learner"]: float(row["score"]) for row in table(tmp_path / "in")}
    assert rows == {**scores, "zoe": 0.0}
    (told,) = (tmp_path / "out/learners").glob("zoe/results.json")
    assert json.loads(told.read_text())
