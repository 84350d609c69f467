"""An environment of its own for a tool, layered over the one that runs: torch is not fetched twice.

It lies in build/, so that a second run finds it. A ``.pth`` file puts the packages of the running
environment behind its own.
"""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

from filelock import FileLock

ROOT = Path(__file__).resolve().parents[2]
NO_INDEX = ("from versions: none", "Failed to establish a new connection", "Max retries exceeded")


class NoIndex(Exception):
    """pip can reach no index that has the tool; the text is pip's last line."""


def layered(name: str, *requirements: str, own: tuple[str, ...] = ()) -> Path:
    """Return the folder of programs of an environment that holds a tool, made when it is missing.

    Args:
        name: Of the environment's folder, in build/.
        requirements: What pip installs into it, under the constraints of the course.
        own: What it installs even if it lies below, since the tool calls its program.

    Raises:
        NoIndex: When pip can reach no index.
        RuntimeError: When pip fails for another reason.
    """
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    folder = ROOT / "build" / "environments" / f"{name}-python{version}"
    done, programs = folder / "complete", folder / "bin"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{folder}.lock"):
        if done.is_file() and done.read_text(encoding="utf-8") == _below():
            return programs
        venv.create(folder, clear=True, with_pip=True)
        packages = folder / "lib" / f"python{version}" / "site-packages"
        (packages / "below.pth").write_text(_below(), encoding="utf-8")
        _install(programs / "python", requirements)
        if own:
            _install(programs / "python", ("--ignore-installed", "--no-deps", *own))
        done.write_text(_below(), encoding="utf-8")
    return programs


def _below() -> str:
    places = dict.fromkeys(sysconfig.get_path(key) for key in ("purelib", "platlib"))
    return "".join(f"{place}\n" for place in places)


def _install(python: Path, requirements: tuple[str, ...]) -> None:
    options = ["--quiet", "--disable-pip-version-check", "--retries=1", "--timeout=20"]
    constraints = ["-c", str(ROOT / "constraints.txt")]
    command = [str(python), "-m", "pip", "install", *options, *constraints, *requirements]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=900)
    if ran.returncode:
        last = (ran.stderr.strip().splitlines() or ["no message"])[-1]
        if any(sign in ran.stderr for sign in NO_INDEX):
            raise NoIndex(last)
        raise RuntimeError(f"pip failed: {ran.stderr}")


def environment(programs: Path, home: Path) -> dict[str, str]:
    """Return the variables under which a tool runs: its programs first, this checkout's package.

    Args:
        programs: What :func:`layered` returned.
        home: Where the tool may leave what it keeps in a home.
    """
    kept = {key: value for key, value in os.environ.items() if not key.startswith("JUPYTER")}
    return kept | {
        "COURSEKIT_PROGRESS": "0",
        "HOME": str(home),
        "IPYTHONDIR": str(home / "ipython"),
        "OMP_NUM_THREADS": "1",
        "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
    }
