"""The server that the kernels of an environment share: one, never stale, gone when idle."""

import json
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest
from helping import HERE, ROOT, environment, needs_fork, servers, wait_until

from coursekit.kernels import forkserver, places, shared
from coursekit.kernels.forkserver import ForkServer, NoForkServer

pytestmark = [needs_fork, pytest.mark.slow]
SECONDS = 30


@pytest.fixture
def light(runtime, monkeypatch):
    """Let shared servers import next to nothing; give the folder that they listen in."""
    monkeypatch.setattr(forkserver, "WARM", ("forked_targets",))
    return runtime


def ask(target="echo", argument=None, **changes):
    """Run a target in a process of the shared server and return its answer."""
    reader, writer = os.pipe()
    server = ForkServer.shared(environment(**changes))
    forked = server.fork(f"forked_targets:{target}", argument, fds=(writer,))
    os.close(writer)
    with open(reader) as answer:
        text = answer.read()
    forked.wait(SECONDS)
    forked.close()
    return json.loads(text)


def test_the_server_goes_on_after_a_request(light):
    ask()
    (first,) = servers(light)
    ask()

    assert servers(light) == [first]


def test_it_is_nobodys_child(light):
    ask()

    assert servers(light)[0].ppid() != os.getpid()
    assert not psutil.Process().children()


def test_clients_that_come_at_once_start_one(light):
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda number: ask(argument=number), range(6)))

    assert answers == list(range(6))
    assert len(servers(light)) == 1


CLIENT = """
import os, signal
from coursekit.kernels import forkserver
forkserver.WARM = ("forked_targets",)
forkserver.ForkServer.shared().fork("forked_targets:number", 0).wait()
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_it_outlives_its_clients(light):
    ended = subprocess.run([sys.executable, "-c", CLIENT], env=environment(), timeout=SECONDS)
    (server,) = servers(light)

    assert ended.returncode == -signal.SIGKILL
    assert ask(argument="alive") == "alive"
    assert servers(light) == [server]


def test_it_ends_when_idle_and_leaves_nothing(light):
    ask(COURSEKIT_KERNEL_SERVER_IDLE="0.2")

    assert wait_until(lambda: not servers(light))
    assert os.listdir(light / "coursekit") == ["lock"]


def test_it_does_not_end_while_a_process_runs(light):
    env = environment(COURSEKIT_KERNEL_SERVER_IDLE="0.2")
    reader, writer = os.pipe()
    forked = ForkServer.shared(env).fork("forked_targets:sleep", 1.0, fds=(writer,))
    os.read(reader, 20)
    (server,) = servers(light)

    assert forked.wait(SECONDS)
    assert server.is_running()  # it still has to say how the process ended
    assert forked.exit_code() == 0
    assert wait_until(lambda: not servers(light))
    forked.close()
    os.close(reader)
    os.close(writer)


def test_the_server_not_used_for_longest_makes_room(light):
    seeds = ("1", "2", "3", "1", "4")  # a seed of hashes selects the server
    for seed in seeds:
        ask(PYTHONHASHSEED=seed)

    assert wait_until(lambda: len(servers(light)) == 3)
    assert {one.environ()["PYTHONHASHSEED"] for one in servers(light)} == {"1", "3", "4"}


def test_nobody_need_have_a_server(light):
    with pytest.raises(NoForkServer, match="COURSEKIT_KERNEL_SERVER_IDLE is 0"):
        ask(COURSEKIT_KERNEL_SERVER_IDLE="0")


def test_an_idle_time_that_is_none_is_named(light):
    with pytest.raises(NoForkServer, match="COURSEKIT_KERNEL_SERVER_IDLE is 'soon'"):
        ask(COURSEKIT_KERNEL_SERVER_IDLE="soon")


def test_a_killed_server_is_replaced(light):
    ask()
    (first,) = servers(light)
    first.kill()
    psutil.wait_procs([first], timeout=SECONDS)

    assert ask(argument="again") == "again"
    (second,) = servers(light)
    assert second.pid != first.pid


def test_what_a_killed_server_left_is_removed(light):
    ask()
    (first,) = servers(light)
    first.kill()
    psutil.wait_procs([first], timeout=SECONDS)
    ask(PYTHONHASHSEED="5")  # another server

    folders = [path for path in (light / "coursekit").iterdir() if path.is_dir()]
    assert len(folders) == 1


def test_changed_code_is_never_served(light, tmp_path, monkeypatch):
    monkeypatch.setattr(forkserver, "WARM", ("forked_targets", "changing"))
    path = os.pathsep.join([str(ROOT), str(HERE), str(tmp_path)])
    values = []
    for value in ("old", "newer"):
        (tmp_path / "changing.py").write_text(f"VALUE = {value!r}\n")
        values.append(ask("constant", PYTHONPATH=path, PYTHONDONTWRITEBYTECODE="1"))

    assert values == ["old", "newer"]
    assert wait_until(lambda: len(servers(light)) == 1)


def test_code_of_the_course_is_part_of_the_key(light, monkeypatch):
    before = shared.key({}, (), ())
    monkeypatch.setattr(shared, "newest_files", lambda: [("coursekit", 1)])

    assert shared.key({}, (), ()) != before


@pytest.mark.parametrize(
    "name",
    ["PYTHONHASHSEED", "PYTHONPATH", "LD_LIBRARY_PATH", "MPLCONFIGDIR", "HOME", "TORCH_LOGS"],
)
def test_what_is_read_on_import_selects_the_server(name, runtime):
    one, other = (ForkServer.shared({name: value}) for value in ("a", "b"))

    assert one.address != other.address


@pytest.mark.parametrize("name", ["OMP_NUM_THREADS", "MPLBACKEND", "JPY_PARENT_PID", "API_TOKEN"])
def test_what_is_read_later_does_not(name, runtime):
    one, other = (ForkServer.shared({name: value}) for value in ("1", "2"))

    assert one.address == other.address


def test_the_server_holds_no_other_variables(light):
    ask(API_TOKEN="secret")

    assert "API_TOKEN" not in servers(light)[0].environ()


RECORD = """
import importlib, json, os, sys
read = set()
class Recorded(type(os.environ)):
    def get(self, name, default=None):
        read.add(name)
        return super().get(name, default)
    def __contains__(self, name):
        read.add(name)
        return super().__contains__(name)
    def __getitem__(self, name):
        if sys._getframe(1).f_code.co_name not in ("__iter__", "_mapping_items", "items"):
            read.add(name)
        return super().__getitem__(name)
os.environ.__class__ = Recorded
from coursekit.kernels.forkserver import WARM
known = set(os.environ)
for name in WARM:
    importlib.import_module(name)
print(json.dumps(sorted(name for name in read if isinstance(name, str))))
"""
READ_WITHOUT_HARM = {
    "DISPLAY",  # pydevd asks for it on Linux only to guess at a window system
    "JPY_INTERRUPT_EVENT",  # Windows
    "JPY_PARENT_PID",  # the kernel is told again
    "MPLBACKEND",  # applied to the child
    "PATHEXT",
}


@pytest.mark.slow
def test_every_variable_read_on_import_is_known():
    env = environment()
    for name in list(env):
        if not shared.read_on_import(name):
            del env[name]  # tqdm looks at all there are
    command = [sys.executable, "-c", RECORD]
    out = subprocess.run(command, env=env, capture_output=True, text=True, timeout=120, check=True)
    read = set(json.loads(out.stdout))

    assert {"MPLCONFIGDIR", "PYTORCH_JIT"} <= read  # the recorder sees what is read
    unknown = {name for name in read if not shared.read_on_import(name)}
    assert unknown - READ_WITHOUT_HARM - set(shared.THREADS) == set()


@pytest.mark.parametrize("fault", ["mode", "link", "file"])
def test_a_folder_that_others_could_own_is_refused(fault, tmp_path, monkeypatch):
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    monkeypatch.setattr(places.tempfile, "gettempdir", lambda: str(tmp_path))
    folder = tmp_path / f"coursekit-{os.getuid()}"
    if fault == "mode":
        folder.mkdir()
        folder.chmod(0o755)
    elif fault == "link":
        (tmp_path / "elsewhere").mkdir(mode=0o700)
        folder.symlink_to(tmp_path / "elsewhere")
    else:
        folder.write_text("")

    with pytest.raises(NoForkServer, match=f"coursekit-{os.getuid()}"):
        ForkServer.shared({})


def test_a_foreign_folder_is_refused(tmp_path, monkeypatch):
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    monkeypatch.setattr(places.tempfile, "gettempdir", lambda: str(tmp_path))
    monkeypatch.setattr(os, "getuid", lambda: 4242)  # whose folder would it be?

    with pytest.raises(NoForkServer, match="coursekit-4242 is not a folder of this user alone"):
        ForkServer.shared({})


def test_a_long_path_is_no_obstacle(tmp_path, monkeypatch, light):
    deep = light / ("long" * 30)
    deep.mkdir(mode=0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(deep))

    assert ask(argument=1) == 1


def test_a_server_that_cannot_start_says_why(light, tmp_path, monkeypatch):
    (tmp_path / "broken.py").write_text("raise RuntimeError('broken on purpose')\n")
    monkeypatch.setattr(forkserver, "WARM", ("broken",))

    with pytest.raises(NoForkServer, match="RuntimeError: broken on purpose"):
        ask(PYTHONPATH=os.pathsep.join([str(HERE), str(tmp_path)]))
    assert wait_until(lambda: not servers(light))


def test_the_log_stays_small(light):
    ask()
    (log,) = (light / "coursekit").glob("*/log")
    with open(log, "a") as file:
        file.write("x" * (300 << 10))
    with pytest.raises(NoForkServer, match="the request lacks"):
        ForkServer.shared(environment())._ask({}, ())

    assert log.stat().st_size < 1000
