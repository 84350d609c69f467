"""Forked kernels behave as kernels that were started."""

import json
import logging
import os
import subprocess
import sys

import nbformat
import psutil
import pytest
from helping import FORKED, ROOT, STARTED, Kernel, environment, needs_fork, servers, wait_until
from jupyter_client.kernelspec import NoSuchKernel
from jupyter_client.provisioning import KernelProvisionerFactory
from nbclient import NotebookClient

from coursekit.kernels import forkserver, provisioner
from coursekit.kernels.managers import AsyncForkedKernelManager, ForkedKernelManager
from coursekit.kernels.places import NoForkServer
from coursekit.kernels.provisioner import Unfit, fork_kernel, read_command

SECONDS = 60
COMMAND = [sys.executable, "-m", "ipykernel_launcher", "-f", "connection.json"]

STATE = """
import ctypes, gc, json, locale, logging, multiprocessing, os, signal, sys, time, warnings
import matplotlib, matplotlib.pyplot, numpy as np, torch
getenv = ctypes.CDLL(None).getenv
getenv.restype = ctypes.c_char_p
print(json.dumps({
    "result": torch.linspace(0, 1, 5).sin().tolist(),
    "draw after a seed": [torch.manual_seed(3).initial_seed(), torch.rand(2).tolist()],
    "hash": hash("text"),
    "torch threads": [torch.get_num_threads(), torch.get_num_interop_threads()],
    "instructions": torch.backends.cpu.get_cpu_capability(),
    "backend": matplotlib.rcParams._get("backend"),
    "style": {k: str(v) for k, v in matplotlib.rcParams.items() if k != "backend"},
    "warnings": sorted(map(str, warnings.filters)),
    "numpy": [np.geterr(), str(np.get_printoptions())],
    "path": sys.path,
    "flags": str(sys.flags),
    "arguments": [a for a in sys.argv + sys.orig_argv if not a.endswith(".json")],
    "environment": dict(os.environ),
    "seen by C": str(getenv(b"MPLBACKEND")) + str(getenv(b"OMP_NUM_THREADS")),
    "umask": os.umask(0o22),
    "signals": {s.name: str(signal.getsignal(s)).split(" at ")[0] for s in signal.Signals},
    "collector": [gc.isenabled(), gc.get_threshold()],
    "locale": [locale.setlocale(locale.LC_ALL), time.tzname],
    "logging": [str(logging.root.handlers), logging.root.level],
    "folder": [os.getcwd(), multiprocessing.process.ORIGINAL_DIR],
    "session": [os.getsid(0) == os.getpid(), os.getpgrp() == os.getpid()],
    "finders": [str(type(f)) for f in sys.meta_path],
    "streams": [type(sys.stdout).__name__, sys.__stdout__.encoding, sys.__stderr__.errors],
    "processors": sorted(os.sched_getaffinity(0)),
    "names": sorted(n for n in globals() if not n.startswith("_")),
    "input": sys.stdin.read() if sys.stdin else None,
}))
"""


@needs_fork
@pytest.mark.slow
@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize(
    "env", [{}, {"OMP_NUM_THREADS": "2", "MPLBACKEND": "Agg", "ATEN_CPU_CAPABILITY": "default"}]
)
def test_a_forked_kernel_is_in_the_state_of_a_started_one(kernel, tmp_path, env):
    env = {"PYTHONHASHSEED": "0", **env}
    states = [
        json.loads(kernel(name, env, cwd=str(tmp_path)).run(STATE)) for name in (STARTED, FORKED)
    ]

    for part, value in states[0].items():
        assert states[1][part] == value, part


@pytest.fixture
def forked(kernel):
    return kernel(FORKED)


@needs_fork
@pytest.mark.slow
class TestForked:
    """Kernels of one server."""

    def test_two_share_no_state(self, kernel, forked):
        other = kernel(FORKED)
        forked.run("import torch; shared = 1; torch.shared = 1")

        assert other.run("import torch; 'shared' in globals(), hasattr(torch, 'shared')") == (
            "(False, False)"
        )

    def test_draws_differ(self, kernel, forked):
        cell = (
            "import random, uuid, numpy as np, torch\n"
            "random.random(), np.random.rand(), torch.rand(1).item(), uuid.uuid4().hex"
        )
        first, second = (one.run(cell).strip("()").split(", ") for one in (forked, kernel(FORKED)))

        assert set(first).isdisjoint(second)

    def test_threads_work(self, kernel):
        cell = (
            "import os, threading, torch\n"
            "x = torch.ones(400, 400)\n"
            "found = []\n"
            "thread = threading.Thread(target=lambda: found.append((x @ x).sum().item()))\n"
            "thread.start(); thread.join()\n"
            "torch.get_num_threads(), found, (x @ x).sum().item(), x.exp().sum().item() > 0"
        )

        assert kernel(FORKED, {"OMP_NUM_THREADS": "2"}).run(cell) == (
            "(2, [64000000.0], 64000000.0, True)"
        )

    def test_an_interrupt_ends_a_loop(self, forked):
        # A kernel drops the cells that arrive just after an error, unless that one says not to.
        loop = "print('running', flush=True)\nwhile True: pass"
        message = forked.client.execute(loop, stop_on_error=False)
        while forked.client.get_iopub_msg(timeout=SECONDS)["msg_type"] != "stream":
            pass
        forked.manager.interrupt_kernel()
        reply = forked.client.get_shell_msg(timeout=SECONDS)

        assert reply["parent_header"]["msg_id"] == message
        assert reply["content"]["ename"] == "KeyboardInterrupt"
        assert forked.run("1 + 1").endswith("2")

    def test_questions_are_answered(self, forked):
        cell = "print(input('name? '))"

        assert forked.run(cell, stdin_hook=lambda _: forked.client.input("Ada")) == "Ada\n"

    def test_figures_come_out(self, forked):
        cell = "import matplotlib.pyplot as plt; plt.plot([1, 2]); plt.show()"

        assert forked.run(cell).startswith("iVBORw0KGgo")

    def test_workers_of_a_loader_work(self, forked):
        cell = (
            "import torch\n"
            "from torch.utils.data import DataLoader\n"
            "loader = DataLoader(torch.arange(6), batch_size=2, num_workers=2)\n"
            "[batch.tolist() for batch in loader]"
        )

        assert forked.run(cell) == "[[0, 1], [2, 3], [4, 5]]"

    def test_processes_can_be_started(self, forked):
        cell = "import subprocess; subprocess.run(['echo', 'hi'], capture_output=True).stdout"

        assert forked.run(cell) == "b'hi\\n'"

    def test_output_of_libraries_comes_out(self, forked):
        forked.client.execute(
            "import os, sys; n = os.write(1, b'from C\\n'); sys.stdout._should_watch"
        )
        texts = set()
        while texts != {"from C\n", "True"}:  # in either order: a thread passes the first one on
            content = forked.client.get_iopub_msg(timeout=SECONDS)["content"]
            texts |= {content.get("text"), content.get("data", {}).get("text/plain")} - {None}

    def test_breakpoints_can_be_set(self, forked):
        forked.client.control_channel.send(
            forked.client.session.msg(
                "debug_request",
                {
                    "type": "request",
                    "seq": 1,
                    "command": "initialize",
                    "arguments": {"clientID": "test", "adapterID": "python"},
                },
            )
        )
        reply = forked.client.get_control_msg(timeout=SECONDS)

        assert reply["content"]["success"]

    def test_a_restart_gives_a_fresh_kernel(self, forked):
        forked.run("x = 1")
        before = forked.pid
        forked.manager.restart_kernel(now=True)
        forked.client.wait_for_ready(timeout=SECONDS)

        assert forked.pid != before
        assert forked.run("'x' in globals()") == "False"

    def test_a_polite_shutdown_ends_it(self, forked):
        process = psutil.Process(forked.pid)
        forked.manager.shutdown_kernel()

        assert not forked.manager.has_kernel
        assert not process.is_running()

    def test_its_end_is_noticed_with_the_exit_code(self, forked):
        process = forked.manager.provisioner.process
        forked.client.execute("import os; os._exit(5)")

        assert wait_until(lambda: not forked.manager.is_alive())
        assert process.poll() == 5

    def test_the_server_stays(self, kernel):
        first = kernel(FORKED)
        server = psutil.Process(first.pid).parent()
        first.close()
        second = kernel(FORKED)

        assert psutil.Process(second.pid).parent() == server
        second.close()
        assert wait_until(lambda: not server.children())  # and nobody is left behind

    @pytest.mark.parametrize("path", ["", str(ROOT)])
    def test_modules_are_the_ones_on_the_path(self, kernel, tmp_path, path):
        (tmp_path / "coursekit").mkdir()
        (tmp_path / "coursekit" / "__init__.py").write_text("HERE = True\n")
        (tmp_path / "jaxtyping.py").write_text("HERE = True\n")
        (tmp_path / "json.py").write_text("HERE = True\n")
        cell = (
            "import coursekit, jaxtyping, json\n"
            "[hasattr(module, 'HERE') for module in (coursekit, json, jaxtyping)]"
        )
        env = {"PYTHONPATH": path}
        answers = [kernel(name, env, cwd=str(tmp_path)).run(cell) for name in (STARTED, FORKED)]

        assert answers == [f"[{not path}, False, True]"] * 2

    def test_streams_can_be_had_as_pipes(self, kernel):
        one = kernel(FORKED, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        stream = one.manager.provisioner.process.stdout
        one.run("import sys; sys.stderr._original_stdstream_copy")
        one.client.execute("import os, sys; os.write(sys.stdout._original_stdstream_copy, b'raw')")

        assert stream.read(3) == b"raw"


CLIENT = """
import os, sys, time
from jupyter_client.manager import KernelManager
manager = KernelManager(kernel_name="python3")
manager.start_kernel()
client = manager.blocking_client()
client.start_channels()
client.wait_for_ready(timeout=60)
print(manager.provisioner.pid, type(manager.provisioner).__name__, flush=True)
time.sleep(100)
"""


@needs_fork
@pytest.mark.slow
def test_a_kernel_ends_with_its_client(kernel_runtime):
    env = environment(
        XDG_RUNTIME_DIR=str(kernel_runtime),
        TMPDIR=str(kernel_runtime),
        JUPYTER_DEFAULT_PROVISIONER_NAME=FORKED,
    )
    client = subprocess.Popen([sys.executable, "-c", CLIENT], env=env, stdout=subprocess.PIPE)
    pid, kind = client.stdout.readline().decode().split()
    process = psutil.Process(int(pid))
    client.kill()
    client.wait()
    client.stdout.close()

    assert kind == "ForkedProvisioner"
    assert wait_until(lambda: not process.is_running())


@needs_fork
@pytest.mark.slow
def test_a_kernel_outlives_its_server(runtime):
    one = Kernel(FORKED, env=environment(XDG_RUNTIME_DIR=str(runtime)))
    for server in servers(runtime):
        server.kill()

    assert one.run("1 + 1") == "2"
    one.close()
    assert one.manager.provisioner.process is None


def notebook(*cells):
    made = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    made.metadata.kernelspec = {"name": "python3", "display_name": "Python 3", "language": "python"}
    return made


@needs_fork
@pytest.mark.slow
def test_nbclient_executes_a_notebook(kernel_runtime, monkeypatch):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(kernel_runtime))
    KernelProvisionerFactory.instance().default_provisioner_name = FORKED
    made = notebook("import torch\nx = torch.ones(2)", "x.sum().item()")
    NotebookClient(made, timeout=SECONDS).execute(env=environment())

    assert made.cells[1].outputs[0].data["text/plain"] == "2.0"


@needs_fork
@pytest.mark.slow
def test_a_manager_forks_without_a_name(kernel_runtime, monkeypatch):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(kernel_runtime))
    made = notebook("import os; os.getppid()")
    client = NotebookClient(made, timeout=SECONDS, kernel_manager_class=AsyncForkedKernelManager)
    client.execute(env=environment())

    assert int(made.cells[0].outputs[0].data["text/plain"]) != os.getpid()
    blocking = ForkedKernelManager(kernel_name="python3")
    assert isinstance(blocking.provisioner, provisioner.ForkedProvisioner)


def test_a_manager_of_a_missing_kernel_complains_when_it_starts():
    manager = ForkedKernelManager(kernel_name="no-such-kernel")

    with pytest.raises(NoSuchKernel):
        manager.start_kernel()


@needs_fork
@pytest.mark.slow
def test_nbval_passes(kernel_runtime, tmp_path):
    made = notebook("import torch\ntorch.ones(2).sum().item()", "import os; 'HOME' in os.environ")
    for cell, text in zip(made.cells, ("2.0", "True"), strict=True):
        cell.execution_count = 1
        data = {"text/plain": text}
        cell.outputs = [nbformat.v4.new_output("execute_result", data, execution_count=1)]
    nbformat.write(made, tmp_path / "small.ipynb")
    env = environment(XDG_RUNTIME_DIR=str(kernel_runtime), JUPYTER_DEFAULT_PROVISIONER_NAME=FORKED)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--nbval"]
    ran = subprocess.run(
        [*command, "--nbval-current-env", "small.ipynb"],
        env=env,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
    )

    assert "2 passed" in ran.stdout
    assert "not forked" not in ran.stdout + ran.stderr


# Kernels that are started all the same


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        (["/usr/bin/nobody", *COMMAND[1:]], "its interpreter is '/usr/bin/nobody'"),
        ([sys.executable, "kernel.py"], "not that of IPython's kernel"),
        ([sys.executable, "-m", "xeus"], "not that of IPython's kernel"),
        ([sys.executable, "-i", *COMMAND[1:]], "option '-i' is not known"),
        ([], "its interpreter is ''"),
    ],
)
def test_other_kernels_are_not_forked(command, reason):
    with pytest.raises(Unfit, match=reason):
        read_command(command)


def test_the_usual_command_is_understood():
    assert read_command([COMMAND[0], "-Xfrozen_modules=off", *COMMAND[1:], "--debug"]) == (
        ["-Xfrozen_modules=off"],
        ["-f", "connection.json", "--debug"],
    )


@needs_fork
def test_what_only_a_new_process_takes_is_named():
    with pytest.raises(Unfit, match="preexec_fn can only be given to a new process"):
        fork_kernel(COMMAND, {"preexec_fn": print})


@needs_fork
def test_a_folder_that_is_missing_is_named(tmp_path):
    with pytest.raises(Unfit, match="there is no folder"):
        fork_kernel(COMMAND, {"cwd": str(tmp_path / "missing")})


@needs_fork
def test_a_server_that_cannot_start_is_tried_once(runtime, tmp_path, monkeypatch):
    monkeypatch.setattr(forkserver, "WARM", ("numpy",))
    marks = tmp_path / "marks"
    (tmp_path / "numpy.py").write_text(
        f"open({str(marks)!r}, 'a').write('x')\nraise RuntimeError('broken on purpose')\n"
    )
    env = environment(PYTHONPATH=str(tmp_path))
    reasons = []
    for _ in range(2):
        with pytest.raises(NoForkServer, match="RuntimeError: broken on purpose") as caught:
            fork_kernel(COMMAND, {"env": env})
        reasons.append(str(caught.value))
    tried = marks.read_text()

    with pytest.raises(NoForkServer):
        fork_kernel(COMMAND, {"env": env})
    assert marks.read_text() == tried
    assert reasons[0] == reasons[1]


def test_another_system_starts_kernels(monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")

    with pytest.raises(Unfit, match="needs Linux, this is darwin"):
        fork_kernel(COMMAND, {})


@needs_fork
def test_whoever_wants_no_server_hears_nothing(monkeypatch, capsys):
    with pytest.raises(Unfit) as caught:
        fork_kernel(COMMAND, {"env": {"COURSEKIT_KERNEL_SERVER_IDLE": "0"}})
    provisioner.ForkedProvisioner()._say(str(caught.value))

    assert capsys.readouterr().err == ""


SAID = "this kernel is started, not forked: no forks on Tuesdays"


@pytest.mark.slow
def test_the_reason_is_said_once(kernel, monkeypatch, caplog, capsys):
    monkeypatch.setattr(provisioner, "available", lambda: "no forks on Tuesdays")
    monkeypatch.setattr(provisioner, "_said", set())
    answers = [kernel(FORKED).run("1 + 1") for _ in range(2)]

    assert answers == ["2", "2"]
    assert (caplog.text + capsys.readouterr().err).count(SAID) == 1


def test_where_nobody_logs_the_reason_goes_to_the_error_stream(monkeypatch, capsys):
    monkeypatch.setattr(provisioner, "_said", set())
    one = provisioner.ForkedProvisioner()
    one.log = logging.Logger("nobody's")
    one._say("no forks on Tuesdays")

    assert capsys.readouterr().err == f"coursekit: {SAID}\n"
