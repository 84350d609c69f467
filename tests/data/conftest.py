"""Every test of this folder runs with the network blocked."""

import os
import socket
from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    """Block the network, but not the local sockets by which workers hand over tensors."""
    connect = socket.socket.connect

    def refuse(*args, **kwargs):
        raise OSError("the network is blocked in this test")

    def refuse_unless_local(self, address):
        if self.family != getattr(socket, "AF_UNIX", None):
            refuse()
        return connect(self, address)

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse_unless_local)


@pytest.fixture
def source_folder():
    """Find the unpacked source package of an extract, or skip with the reason."""

    def find(relative: str) -> Path:
        base = os.environ.get("COURSEKIT_SOURCES")
        if not base:
            pytest.skip(f"set COURSEKIT_SOURCES to a folder that holds {relative} to rebuild it")
        folder = Path(base) / relative
        if not folder.is_dir():
            pytest.skip(f"COURSEKIT_SOURCES has no folder {relative}")
        return folder

    return find
