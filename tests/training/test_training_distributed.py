"""Several processes train as one would, and none waits for a dead one."""

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from coursekit.training.distributed import World, join_world

SCRIPT = Path(__file__).parent / "distributed_run.py"
TORCHRUN = [sys.executable, "-m", "torch.distributed.run"]


def start(world, *arguments, dtype="float64", **options):
    """Start the script in one process, or in several under torchrun."""
    many = [*TORCHRUN, "--nproc-per-node", str(world), "--master-port", str(free_port())]
    command = [*(many if world > 1 else [sys.executable]), str(SCRIPT), *map(str, arguments)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "RUN_DTYPE": dtype}
    return subprocess.run(
        command, capture_output=True, text=True, timeout=300, env=environment, **options
    )


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@pytest.mark.slow
@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-12), ("float32", 1e-6)])
def test_two_processes_end_where_one_does(dtype, tolerance, tmp_path):
    ends = []
    for world in (1, 2):
        result = start(world, tmp_path / f"{world}.pt", 50, dtype=dtype)
        assert result.returncode == 0, result.stderr
        rows = json.loads((tmp_path / f"{world}.json").read_text())
        ends.append((torch.load(tmp_path / f"{world}.pt"), rows))
    (alone, rows), (together, shared) = ends
    for name, tensor in alone.items():
        torch.testing.assert_close(together[name], tensor, rtol=0, atol=tolerance)
    assert [row["validation_examples"] for row in shared] == [203, 203]
    for row, other in zip(rows, shared, strict=True):
        assert row.keys() == other.keys()
        assert all(abs(row[name] - other[name]) < tolerance for name in row)


@pytest.mark.slow
def test_torchrun_ends_all_when_one_is_killed(tmp_path):
    started = time.monotonic()
    result = start(2, tmp_path / "out.pt", 5000, 1)
    assert result.returncode != 0
    assert time.monotonic() - started < 60
    assert "SIGKILL" in result.stderr
    assert not (tmp_path / "out.pt").exists()


@pytest.mark.slow
def test_a_process_whose_peer_is_killed_ends_with_a_message(tmp_path):
    """Without torchrun nobody ends the one that is left, which must notice by itself."""
    port = str(free_port())
    processes = []
    for rank in (0, 1):
        environment = os.environ | {
            "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2",
            "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "OMP_NUM_THREADS": "1",
        }  # fmt: skip
        command = [sys.executable, str(SCRIPT), str(tmp_path / "out.pt"), "5000", "1"]
        processes.append(
            subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
        )
    assert processes[1].wait(timeout=120) == -9
    started = time.monotonic()
    _, message = processes[0].communicate(timeout=120)
    assert time.monotonic() - started < 60
    assert processes[0].returncode == 1
    assert "rank 0 of 2 lost another process" in message
    assert 'resume="auto"' in message


def test_alone_there_is_nothing_to_join(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    assert join_world() == World(0, 1, 0)
    assert join_world().leads
    with pytest.raises(ValueError, match="timeout must be above 0 seconds, got 0"):
        join_world(timeout=0)


def test_shares_of_a_batch_are_disjoint_and_weighted_by_their_size():
    rows = torch.arange(10, 17)
    shares = [World(rank, 3).share(rows) for rank in range(3)]
    assert torch.equal(torch.cat([share for share, _ in shares]).sort().values, rows)
    assert [weight for _, weight in shares] == pytest.approx([9 / 7, 6 / 7, 6 / 7])


def test_a_process_without_an_example_takes_part_with_weight_zero():
    own, weight = World(2, 3).share(torch.tensor([4, 5]))
    assert own.tolist() == [4]
    assert weight == 0
