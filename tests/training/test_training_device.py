"""Seeds, devices and the look at the machine."""

import random
import subprocess
import sys

import numpy as np
import pytest
import torch

from coursekit.training import best_device, diagnose, seed_everything
from coursekit.training import device as device_module


@pytest.fixture(autouse=True)
def restore_flags():
    mode, benchmark = torch.get_deterministic_debug_mode(), torch.backends.cudnn.benchmark
    yield
    torch.set_deterministic_debug_mode(mode)
    torch.backends.cudnn.benchmark = benchmark


def draws():
    return random.random(), float(np.random.rand()), torch.rand(1).item()  # noqa: NPY002


def test_one_seed_gives_the_same_draws_everywhere_and_another_gives_others():
    seed_everything(5)
    first = draws()
    seed_everything(5)
    assert draws() == first
    seed_everything(6)
    assert all(a != b for a, b in zip(draws(), first, strict=True))


def test_deterministic_kernels_are_asked_for_and_released():
    seed_everything(0)
    assert torch.are_deterministic_algorithms_enabled()
    assert torch.is_deterministic_algorithms_warn_only_enabled()
    assert not torch.backends.cudnn.benchmark
    seed_everything(0, deterministic=False)
    assert not torch.are_deterministic_algorithms_enabled()


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_a_seed_out_of_range_is_named(seed):
    with pytest.raises(ValueError, match=rf"seed must be from 0 to 2\*\*32 - 1, got {seed}"):
        seed_everything(seed)


@pytest.mark.parametrize(
    ("cuda", "mps", "expected"),
    [(True, True, "cuda"), (False, True, "mps"), (False, False, "cpu")],
)
def test_best_device_prefers_cuda_then_mps(monkeypatch, cuda, mps, expected):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    assert best_device().type == expected


def test_diagnose_has_one_row_for_each_need_and_a_fix_where_it_is_not_met():
    rows = diagnose()
    assert [row["what"] for row in rows] == [
        "python",
        "torch",
        "device",
        "memory",
        "disk",
        "kernel",
    ]
    assert all(set(row) == {"what", "found", "ok", "fix"} for row in rows)
    assert all(row["ok"] is (row["fix"] == "") for row in rows)
    assert {row["what"]: row["found"] for row in rows}["torch"] == torch.__version__.split("+")[0]


def test_diagnose_says_how_to_mend_what_is_missing(monkeypatch):
    monkeypatch.setattr(device_module.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(device_module, "DISK_NEEDED", float("inf"))
    monkeypatch.setattr(device_module, "PYTHON_VERSIONS", ((2, 6), (2, 7)))
    rows = {row["what"]: row for row in diagnose()}
    assert not any(rows[what]["ok"] for what in ("python", "torch", "device", "disk", "kernel"))
    assert rows["torch"]["found"] == "missing"
    assert "pip install" in rows["torch"]["fix"]


def test_the_doctor_runs_without_torch():
    script = (
        "import sys; sys.modules['torch'] = None\n"
        "import coursekit.training.device as d\n"
        "d.importlib.util.find_spec = lambda name: None\n"
        "assert not all(row['ok'] for row in d.diagnose())"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_the_room_names_what_it_does_not_have():
    import coursekit.training

    with pytest.raises(AttributeError, match="no attribute 'Trainor'"):
        _ = coursekit.training.Trainor
