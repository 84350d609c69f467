"""The command answers fast, and tells a user with a problem what to do."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def coursekit(*arguments, cwd=ROOT, code=None):
    command = [sys.executable, "-c", code] if code else [sys.executable, "-m", "coursekit.cli"]
    environment = {**os.environ, "COLUMNS": "120"}
    return subprocess.run(
        [*command, *map(str, arguments)],
        cwd=cwd, capture_output=True, text=True, env=environment, check=False, timeout=120,
    )  # fmt: skip


def assert_one_clear_line(result, *words):
    assert result.returncode == 2, result.stderr
    assert "Traceback" not in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1, result.stderr
    for word in words:
        assert word in result.stderr


def test_help_lists_the_commands_within_half_a_second():
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        result = coursekit("--help")
        seconds.append(time.perf_counter() - start)
    for name in [
        "book",
        "lab",
        "test",
        "claims",
        "release",
        "check",
        "grade",
        "progress",
        "verify",
        "data",
        "doctor",
    ]:
        assert name in result.stdout
    assert min(seconds) < 0.5


def test_the_command_line_imports_no_torch():
    result = coursekit(
        code="import sys, coursekit.cli; print('torch' in sys.modules, 'numpy' in sys.modules)"
    )
    assert result.stdout.split() == ["False", "False"]


def test_outside_a_checkout_the_command_says_where_to_go(tmp_path):
    for command in ("book", "progress", "release", "verify", "claims", "test", "lab"):
        assert_one_clear_line(coursekit(command, cwd=tmp_path), "change to the folder")


def test_a_missing_notebook_is_one_clear_line(tmp_path):
    assert_one_clear_line(coursekit("check", tmp_path / "none.ipynb"), "none.ipynb")


def test_json_that_is_no_notebook_is_one_clear_line(tmp_path):
    path = tmp_path / "broken.ipynb"
    path.write_text('{"cells": 3}')
    assert_one_clear_line(coursekit("check", path), "broken.ipynb")


def test_a_notebook_that_may_not_be_read_is_one_clear_line(tmp_path):
    path = tmp_path / "closed.ipynb"
    path.write_text("{}")
    path.chmod(0)
    if os.access(path, os.R_OK):
        pytest.skip("this user may read every file")
    assert_one_clear_line(coursekit("check", path), "closed.ipynb")


def test_a_folder_in_place_of_a_notebook_is_one_clear_line(tmp_path):
    assert_one_clear_line(coursekit("check", tmp_path), tmp_path.name)


def test_an_unknown_chapter_is_one_clear_line():
    for command in ("release", "verify", "claims"):
        assert_one_clear_line(coursekit(command, "9-none/01-nothing"), "9-none/01-nothing")


def test_an_unknown_data_set_is_one_clear_line(tmp_path):
    assert_one_clear_line(coursekit("data", "show", "nothing", cwd=tmp_path), "digits")


def without_torch(*arguments, cwd=ROOT):
    hide = "import sys; sys.modules['torch'] = None; from coursekit.cli import main; main()"
    return coursekit(*arguments, code=hide, cwd=cwd)


def test_without_torch_a_command_that_needs_it_says_how_to_install_it(tmp_path):
    result = without_torch("data", "show", "digits", cwd=tmp_path)
    assert_one_clear_line(result, "torch", "make setup")


def test_without_torch_doctor_finds_it_missing_and_names_the_cure():
    result = without_torch("doctor")
    assert result.returncode == 1
    assert "Traceback" not in result.stderr
    assert "constraints.txt" in result.stdout


def only_json(result):
    return json.loads(result.stdout)  # fails on anything before or after the document


def test_doctor_prints_one_json_document_and_nothing_else():
    result = coursekit("doctor", "--json")
    document = only_json(result)
    names = [check["what"] for check in document["checks"]]
    assert {"python", "torch", "device", "driver", "precision", "disk", "kernels"} <= set(names)
    assert document["ok"] is all(check["ok"] for check in document["checks"])
    assert result.returncode == (0 if document["ok"] else 1)


def test_doctors_json_names_missing_torch_and_a_kernel_that_points_nowhere(tmp_path, monkeypatch):
    folder = tmp_path / "kernels" / "python3"
    folder.mkdir(parents=True)
    (folder / "kernel.json").write_text('{"argv": ["/gone/python"], "display_name": "gone"}')
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path))
    result = without_torch("doctor", "--json")
    document = only_json(result)
    fixes = {check["what"]: check["fix"] for check in document["checks"]}
    assert result.returncode == 1
    assert document["ok"] is False
    assert "constraints.txt" in fixes["torch"]
    assert fixes["kernels"] == "jupyter kernelspec remove python3"


def test_data_lists_what_is_here():
    result = coursekit("data")
    assert result.returncode == 0
    assert "digits" in result.stdout
    assert "speech-en" in result.stdout
