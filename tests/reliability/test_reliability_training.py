"""Training that is killed at any moment goes on as if it had not been."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent / "training_run.py"


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="the test forks processes")
def test_a_run_killed_at_twenty_random_moments_ends_bit_for_bit_the_same(tmp_path):
    command = [sys.executable, str(SCRIPT), str(tmp_path), "20"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert result.returncode == 0, result.stderr
    runs = json.loads(result.stdout)["runs"]
    assert [run["same"] for run in runs] == [True] * 20
    assert len({tuple(run["from"]) for run in runs}) > 5, "the kills did not fall at many moments"
