"""Seeds, devices and the look at the machine."""

import ctypes
import json
import random
import subprocess
import sys
from collections import namedtuple
from types import SimpleNamespace

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
        "driver",
        "precision",
        "memory",
        "disk",
        "kernels",
    ]
    assert all(set(row) == {"what", "found", "ok", "fix"} for row in rows)
    assert all(row["ok"] is (row["fix"] == "") for row in rows)
    assert {row["what"]: row["found"] for row in rows}["torch"] == torch.__version__.split("+")[0]


def test_diagnose_says_how_to_mend_what_is_missing(monkeypatch):
    monkeypatch.setattr(device_module.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(device_module, "DISK_NEEDED", float("inf"))
    monkeypatch.setattr(device_module, "PYTHON_VERSIONS", ((2, 6), (2, 7)))
    rows = {row["what"]: row for row in diagnose()}
    for what in ("python", "torch", "device", "precision", "disk", "kernels"):
        assert not rows[what]["ok"], what
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


def row(what):
    return {row["what"]: row for row in diagnose()}[what]


def test_a_torch_that_does_not_load_is_told_with_its_reason(monkeypatch):
    monkeypatch.setattr(
        device_module, "_load_torch", lambda: (None, "libtorch_cpu.so: cannot open shared object")
    )
    assert "which does not load: libtorch_cpu.so" in row("torch")["found"]
    assert "pip install" in row("torch")["fix"]
    assert row("device")["found"] == row("precision")["found"] == "unknown"


def test_little_disk_asks_for_room(monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(device_module.shutil, "disk_usage", lambda _: usage(9, 9, 2**29))
    assert row("disk") == {
        "what": "disk", "found": "0.5 GiB free", "ok": False, "fix": "free 2 GiB on this disk",
    }  # fmt: skip


def with_driver(monkeypatch, version, supported, built="13.0"):
    monkeypatch.setattr(device_module, "_driver_version", lambda: version)
    monkeypatch.setattr(device_module, "_driver_cuda", lambda: supported)
    monkeypatch.setattr(torch.version, "cuda", built)


def on_a_cpu(monkeypatch):
    monkeypatch.setattr(device_module, "best_device", lambda: torch.device("cpu"))


def test_an_old_driver_is_told_apart_from_one_of_the_same_major_version(monkeypatch):
    on_a_cpu(monkeypatch)
    with_driver(monkeypatch, "535.183.01", (12, 2))
    old = row("driver")
    assert old["found"] == "535.183.01, for CUDA up to 12.2; torch is built for CUDA 13.0"
    assert not old["ok"]
    assert "update the driver to one for CUDA 13 or later" in old["fix"]
    assert row("device")["ok"]  # one problem, one row
    with_driver(monkeypatch, "535.183.01", (12, 2), built="12.8")
    assert row("driver") == {
        "what": "driver", "found": "535.183.01, for CUDA up to 12.2", "ok": True, "fix": "",
    }  # fmt: skip


def test_a_gpu_that_torch_does_not_use_is_told_with_the_reason(monkeypatch):
    on_a_cpu(monkeypatch)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    with_driver(monkeypatch, "580.1", (13, 0), built=None)
    assert "a torch that is built for CUDA" in row("device")["fix"]
    with_driver(monkeypatch, "580.1", (13, 0))
    assert "restart the machine" in row("device")["fix"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert row("device")["fix"] == "unset CUDA_VISIBLE_DEVICES, which is ''"
    assert "the GPU is not used" in row("device")["found"]


def test_a_driver_that_does_not_answer_is_a_problem_and_none_is_not(monkeypatch):
    with_driver(monkeypatch, "", (13, 0))
    assert "restart the machine" in row("driver")["fix"]
    with_driver(monkeypatch, None, None)
    assert row("driver")["ok"]


def test_the_driver_is_asked_by_nvidia_smi_and_its_library(monkeypatch, tmp_path):
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\necho 580.65.06\necho 580.65.06\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    assert device_module._driver_version() == "580.65.06"
    program.write_text("#!/bin/sh\necho failed; exit 9\n")
    assert device_module._driver_version() == ""
    program.unlink()
    monkeypatch.setenv("PATH", str(tmp_path))
    assert device_module._driver_version() is None

    def give(number):
        number._obj.value = 12060
        return 0

    library = SimpleNamespace(cuDriverGetVersion=give)
    monkeypatch.setattr(ctypes, "CDLL", lambda name: library)
    assert device_module._driver_cuda() == (12, 6)


def test_the_gpu_is_told_with_its_name_and_memory(monkeypatch):
    monkeypatch.setattr(device_module, "best_device", lambda: torch.device("cuda"))
    monkeypatch.setattr(device_module, "_precision", lambda: ("", ""))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    card = SimpleNamespace(name="NVIDIA H200", total_memory=139.75 * 2**30)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda number: card)
    assert row("device")["found"] == ", ".join(["cuda: NVIDIA H200 (139.8 GiB)"] * 2)


def test_precisions_are_tried_and_emulation_is_told(monkeypatch):
    on_a_cpu(monkeypatch)
    chip = {"architecture": "x86_64", "avx512_bf16": False, "amx_bf16": True}
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: chip)
    assert row("precision")["found"] == "cpu: fp32, bf16, fp16 (emulated)"
    works = device_module._multiplies
    monkeypatch.setattr(
        device_module,
        "_multiplies",
        lambda d, dtype: dtype is not torch.float16 and works(d, dtype),
    )
    assert row("precision")["found"] == "cpu: fp32, bf16"
    assert not works("cpu", torch.uint16)  # no kernel multiplies such matrices


@pytest.fixture
def kernel(tmp_path, monkeypatch):
    """Install a kernel in a folder that Jupyter reads first."""
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path))

    def install(name, program):
        folder = tmp_path / "kernels" / name
        folder.mkdir(parents=True, exist_ok=True)
        spec = {"argv": [str(program), "-m", "ipykernel_launcher"], "display_name": name}
        (folder / "kernel.json").write_text(json.dumps(spec))

    return install


def test_a_kernel_that_points_nowhere_is_told_with_its_cure(kernel, tmp_path):
    kernel("python3", tmp_path / "gone" / "python")
    kernel("old-course", "no-such-python")
    kernels = row("kernels")
    assert f"python3 points to {tmp_path / 'gone' / 'python'}, which does not" in kernels["found"]
    assert "old-course points to no-such-python, which does not exist" in kernels["found"]
    assert "jupyter kernelspec remove python3" in kernels["fix"]
    assert "jupyter kernelspec remove old-course" in kernels["fix"]


def test_a_kernel_of_another_environment_is_told_and_other_languages_are_left(kernel, tmp_path):
    other = tmp_path / "bin" / "python"
    other.parent.mkdir()
    other.symlink_to(sys.executable)  # as in every virtual environment
    kernel("python3", other)
    kernel("shell", "/bin/sh")
    kernels = row("kernels")
    assert f"python3 points to {other}, of another environment" in kernels["found"]
    assert "shell (/bin/sh)" in kernels["found"]
    assert kernels["fix"] == "jupyter kernelspec remove python3"
    for program in (sys.executable, "python", "python3"):
        kernel("python3", program)
        assert row("kernels")["ok"], program


def test_the_room_names_what_it_does_not_have():
    import coursekit.training

    with pytest.raises(AttributeError, match="no attribute 'Trainor'"):
        _ = coursekit.training.Trainor
