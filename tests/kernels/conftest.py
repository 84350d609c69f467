"""Kernels and servers for the tests; the servers' folder is the tests' own and ends with them."""

import pytest
from helping import FORKED, Kernel, end, environment, servers


@pytest.fixture
def runtime(tmp_path, monkeypatch):
    """Give the tests' servers a folder; all that still run afterwards are ended."""
    folder = tmp_path / "runtime"
    folder.mkdir(mode=0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder))
    yield folder
    end(servers(folder))


@pytest.fixture(scope="session")
def kernel_runtime(tmp_path_factory):
    """Give the kernels of all tests one warm server."""
    folder = tmp_path_factory.mktemp("kernels")
    folder.chmod(0o700)
    yield folder
    end(servers(folder))


@pytest.fixture
def kernel(kernel_runtime, monkeypatch):
    """Start kernels; all end with the test."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(kernel_runtime))
    started = []

    def make(provisioner=FORKED, env=None, **options):
        changes = {"TMPDIR": str(kernel_runtime), **(env or {})}
        started.append(Kernel(provisioner, env=environment(**changes), **options))
        return started[-1]

    yield make
    for one in started:
        one.close()
