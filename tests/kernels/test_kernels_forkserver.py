"""A server of one's own and the processes that it forks."""

import json
import os
import signal
import subprocess
import sys

import psutil
import pytest
from helping import environment, needs_fork, wait_until

from coursekit.kernels import frames
from coursekit.kernels.forkserver import ForkServer, NoForkServer

pytestmark = needs_fork
SECONDS = 30


@pytest.fixture(scope="module")
def server():
    one = ForkServer.private(warm=("numpy", "forked_targets"), env=environment())
    yield one
    one.close()


def ask(server, target, argument=None, **options):
    """Run a target and return its answer."""
    reader, writer = os.pipe()
    forked = server.fork(f"forked_targets:{target}", argument, fds=(writer,), **options)
    os.close(writer)
    with open(reader) as answer:
        text = answer.read()
    forked.wait(SECONDS)
    forked.close()
    return json.loads(text)


def finish(server, target, argument=None):
    """Run a target and return its exit code."""
    forked = server.fork(f"forked_targets:{target}", argument)
    forked.wait(SECONDS)
    code = forked.exit_code()
    forked.close()
    return code


def test_an_argument_reaches_the_process(server):
    argument = {"text": "grün", "numbers": [1, 2.5, None, True]}

    assert ask(server, "echo", argument) == argument


def test_a_long_argument_reaches_the_process(server):
    assert ask(server, "echo", "x" * 30_000) == "x" * 30_000


@pytest.mark.parametrize(
    ("target", "argument", "code"),
    [
        ("number", None, 0),
        ("number", 7, 7),
        ("leave", 3, 3),
        ("leave", None, 0),
        ("leave", "words", 1),
        ("fail", "on purpose", 1),
    ],
)
def test_the_exit_code_is_the_functions(server, target, argument, code):
    assert finish(server, target, argument) == code


def test_an_exception_is_in_the_log(server):
    finish(server, "fail", "a reason to be found")

    with open(server.log) as log:
        assert "ValueError: a reason to be found" in log.read()


def test_a_process_is_its_own(server):
    seen = ask(server, "describe")

    assert seen["leads"]
    assert seen["threads"] == 1
    assert seen["stdio"] == [os.devnull] * 3
    assert len(seen["files"]) == 4  # three and the one that it was given
    assert seen["interrupt"]
    assert seen["terminate"]
    assert seen["cwd"] == "/"


def test_environment_folder_and_mask_are_as_asked(server, tmp_path):
    env = {"GREETING": "hello", "PATH": os.environ["PATH"]}

    seen = ask(server, "describe", env=env, cwd=str(tmp_path), umask=0o27)

    assert seen["environ"] == env
    assert seen["seen by C"] == "hello"
    assert seen["cwd"] == str(tmp_path)
    assert seen["umask"] == 0o27


def test_the_environment_is_the_servers_by_default(server):
    assert ask(server, "describe")["environ"]["OMP_NUM_THREADS"] == "1"


def test_standard_streams_are_as_asked(server, tmp_path):
    with open(os.devnull) as null, open(tmp_path / "out", "w") as out:
        stdio = (null.fileno(), out.fileno(), out.fileno())
        seen = ask(server, "describe", stdio=stdio)

    assert seen["stdio"] == [os.devnull, str(tmp_path / "out"), str(tmp_path / "out")]


def test_draws_differ_between_processes(server):
    first, second = ask(server, "draws"), ask(server, "draws")

    assert set(first).isdisjoint(second)


def test_threads_run_in_a_process(server):
    assert ask(server, "in_thread") == "from a thread"


def test_kill_ends_what_a_process_started(server):
    reader, writer = os.pipe()
    forked = server.fork("forked_targets:start_sleeper", 100, fds=(writer,))
    os.close(writer)
    with open(reader) as answer:
        started = json.loads(answer.readline() or answer.read())

    assert forked.alive()
    forked.kill()

    assert forked.wait(SECONDS)
    assert not forked.alive()
    assert forked.exit_code() == -signal.SIGKILL
    assert wait_until(lambda: not runs(started))
    forked.close()


def runs(pid):
    """Say whether a process runs; one that nobody has waited for does not."""
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def test_wait_gives_up_in_time(server):
    with open(os.devnull, "w") as null:
        forked = server.fork("forked_targets:sleep", 100, fds=(null.fileno(),))

    assert not forked.wait(0.01)
    assert forked.exit_code() is None
    forked.kill()
    assert forked.wait(SECONDS)
    forked.close()


def test_signals_to_an_ended_process_are_no_error(server):
    forked = server.fork("forked_targets:number", None)
    forked.wait(SECONDS)

    forked.send_signal(signal.SIGTERM)
    forked.kill()

    assert forked.exit_code() == 0
    forked.close()


def test_no_zombie_is_left(server):
    for _ in range(5):
        finish(server, "number")
    process = psutil.Process(server._process.pid)

    assert wait_until(lambda: not process.children())


def test_a_request_that_is_no_request_is_refused_and_survived(server):
    with pytest.raises(NoForkServer, match="refused: ValueError: the request lacks arg"):
        server._ask({}, ())

    assert ask(server, "echo", 1) == 1


@pytest.mark.parametrize("target", ["json", "json:dumps:x"])
def test_a_target_of_another_form_is_named(server, target):
    with pytest.raises(ValueError, match="target: expected 'module:function'"):
        server.fork(target, None)


def test_two_streams_are_too_few(server):
    with pytest.raises(ValueError, match="stdio: expected three descriptors or none, got 2"):
        server.fork("json:dumps", None, stdio=(1, 2))


def test_another_process_may_connect(server):
    other = ForkServer.connect(server.address)

    assert ask(other, "echo", "hello") == "hello"
    other.close()
    assert ask(server, "echo", "hello") == "hello"


def test_closing_ends_the_processes(tmp_path):
    one = ForkServer.private(warm=("forked_targets",), env=environment())
    forked = one.fork("forked_targets:sleep", 100, fds=(os.open(os.devnull, os.O_WRONLY),))

    one.close()

    assert forked.wait(SECONDS)
    assert not os.path.exists(os.path.dirname(one.address))
    with pytest.raises(NoForkServer, match="does not answer"):
        one.fork("forked_targets:number", None)
    forked.close()


OWNER = """
import os, sys, time
from coursekit.kernels.forkserver import ForkServer
server = ForkServer.private(warm=("forked_targets",))
forked = server.fork("forked_targets:sleep", 100, fds=(1,))
time.sleep(100)
"""


@pytest.mark.parametrize("killed", ["owner", "server"])
def test_processes_end_with_owner_and_server(killed, tmp_path):
    env = environment(TMPDIR=str(tmp_path))
    owner = subprocess.Popen([sys.executable, "-c", OWNER], env=env, stdout=subprocess.PIPE)
    child = psutil.Process(int(os.read(owner.stdout.fileno(), 20)))
    server = child.parent()
    assert server.ppid() == owner.pid

    os.kill(owner.pid if killed == "owner" else server.pid, signal.SIGKILL)

    assert wait_until(lambda: not runs(child.pid))
    assert wait_until(lambda: not runs(server.pid))
    owner.kill()
    owner.wait()
    owner.stdout.close()


def test_a_module_that_starts_a_thread_is_not_warm(tmp_path):
    (tmp_path / "restless.py").write_text(
        "import threading\nthreading.Thread(target=threading.Event().wait, daemon=True).start()\n"
    )
    env = environment(PYTHONPATH=str(tmp_path))
    one = ForkServer.private(warm=("restless",), env=env)

    with pytest.raises(NoForkServer, match="importing restless started a thread"):
        one.fork("json:dumps", 1)
    one.close()


def test_too_long_a_message_is_refused(server):
    with pytest.raises(ValueError, match="at most 16777216 bytes"):
        server.fork("json:dumps", "x" * (frames.MOST_BYTES + 1))
