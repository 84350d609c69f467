"""Downloads: interrupted, killed, damaged, refused."""

import hashlib
import random
import subprocess
import sys
import threading
import time

import pytest
from loopback import FileServer

from coursekit.data.download import DownloadError, fetch

CONTENT = random.Random(0).randbytes(1_000_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    """Let these tests reach their own server, and print no bar of progress."""
    monkeypatch.setenv("COURSEKIT_PROGRESS", "0")
    monkeypatch.setenv("no_proxy", "127.0.0.1")


def names(folder):
    return sorted(path.name for path in folder.iterdir() if path.suffix != ".lock")


def test_a_file_is_fetched_once(tmp_path):
    with FileServer({"a.bin": CONTENT}) as server:
        for _ in range(2):
            path = fetch(server.url + "a.bin", tmp_path / "deep" / "a.bin", sha256=SHA256)
            assert path.read_bytes() == CONTENT
    assert server.asked == [("a.bin", 0)]
    assert names(tmp_path / "deep") == ["a.bin"]


def test_a_download_that_is_killed_twice_goes_on_where_it_stopped(tmp_path):
    path, part = tmp_path / "a.bin", tmp_path / "a.bin.part"
    script = (
        "import sys; from pathlib import Path; from coursekit.data.download import fetch; "
        f"fetch(sys.argv[1], Path({str(path)!r}), sha256={SHA256!r})"
    )
    with FileServer({"a.bin": CONTENT}, stall=(400_000, 300_000)) as server:
        command = [sys.executable, "-c", script, server.url + "a.bin"]
        kept = []
        for least in (200_000, 500_000):
            child = subprocess.Popen(command)
            deadline = time.monotonic() + 60
            while not part.is_file() or part.stat().st_size < least:
                assert time.monotonic() < deadline, "the download did not come that far"
                assert child.poll() is None
                time.sleep(0.01)
            child.kill()
            child.wait()
            assert not path.exists()
            kept.append(part.stat().st_size)
        assert subprocess.run(command).returncode == 0
    assert path.read_bytes() == CONTENT
    assert server.asked == [("a.bin", 0), ("a.bin", kept[0]), ("a.bin", kept[1])]
    assert 0 < kept[0] < kept[1] < len(CONTENT)
    assert names(tmp_path) == ["a.bin"]


def test_a_connection_that_breaks_is_taken_up_again(tmp_path):
    with FileServer({"a.bin": CONTENT}, cut=(300_000, 300_000)) as server:
        path = fetch(server.url + "a.bin", tmp_path / "a.bin", sha256=SHA256)
    assert path.read_bytes() == CONTENT
    assert [start for _, start in server.asked] == [0, 300_000, 600_000]


def test_a_connection_that_never_brings_a_byte_is_given_up(tmp_path):
    with (
        FileServer({"a.bin": CONTENT}, cut=(0,) * 9) as server,
        pytest.raises(DownloadError, match=r"a\.bin could not be fetched"),
    ):
        fetch(server.url + "a.bin", tmp_path / "a.bin", sha256=SHA256)
    assert len(server.asked) == 3
    assert names(tmp_path) == []


def test_a_half_downloaded_file_is_detected_and_fetched_anew(tmp_path):
    path = tmp_path / "a.bin"
    path.write_bytes(CONTENT[:500_000])
    with FileServer({"a.bin": CONTENT}) as server:
        assert fetch(server.url + "a.bin", path, sha256=SHA256).read_bytes() == CONTENT
    assert server.asked == [("a.bin", 0)]


def test_a_damaged_remainder_is_thrown_away(tmp_path):
    (tmp_path / "a.bin.part").write_bytes(b"x" * 500_000)
    with FileServer({"a.bin": CONTENT}) as server:
        path = fetch(server.url + "a.bin", tmp_path / "a.bin", sha256=SHA256)
    assert path.read_bytes() == CONTENT
    assert server.asked == [("a.bin", 500_000), ("a.bin", 0)]


@pytest.mark.parametrize("extra", [b"", b"x"])
def test_a_remainder_of_full_length_is_checked_and_not_trusted(tmp_path, extra):
    (tmp_path / "a.bin.part").write_bytes(CONTENT + extra)
    with FileServer({"a.bin": CONTENT}) as server:
        path = fetch(server.url + "a.bin", tmp_path / "a.bin", sha256=SHA256)
    assert path.read_bytes() == CONTENT
    assert len(server.asked) == 1 + len(extra)


def test_a_server_that_cannot_continue_sends_it_all(tmp_path):
    (tmp_path / "a.bin.part").write_bytes(CONTENT[:500_000])
    with FileServer({"a.bin": CONTENT}, ranges=False) as server:
        path = fetch(server.url + "a.bin", tmp_path / "a.bin", sha256=SHA256)
    assert path.read_bytes() == CONTENT


def test_another_file_in_its_place_is_refused_and_not_kept(tmp_path):
    with (
        FileServer({"a.bin": CONTENT[::-1]}) as server,
        pytest.raises(DownloadError, match=f"has not the published sha256 {SHA256}"),
    ):
        fetch(server.url + "a.bin", tmp_path / "a.bin", sha256=SHA256)
    assert names(tmp_path) == []


def test_md5_serves_publishers_that_give_no_other(tmp_path):
    md5 = hashlib.md5(CONTENT).hexdigest()
    with FileServer({"a.bin": CONTENT}) as server:
        path = fetch(server.url + "a.bin", tmp_path / "a.bin", md5=md5)
    assert path.read_bytes() == CONTENT


def test_a_missing_file_says_what_the_server_answered(tmp_path):
    with (
        FileServer({}) as server,
        pytest.raises(DownloadError, match=r"a\.bin could not be fetched.*404 Not Found"),
    ):
        fetch(server.url + "a.bin", tmp_path / "a.bin", sha256=SHA256)


def test_what_was_kept_is_said(tmp_path):
    with (
        FileServer({"a.bin": CONTENT}, cut=(600_000, 0, 0, 0, 0)) as server,
        pytest.raises(DownloadError, match=r"600,000 bytes are kept in .*a\.bin\.part"),
    ):
        fetch(server.url + "a.bin", tmp_path / "a.bin", sha256=SHA256)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit of a file's size")
def test_a_full_disk_is_told_from_a_bad_network(tmp_path):
    import resource

    script = (
        "import sys; from pathlib import Path; from coursekit.data.download import fetch; "
        f"fetch(sys.argv[1], Path({str(tmp_path / 'a.bin')!r}), sha256={SHA256!r})"
    )

    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))

    with FileServer({"a.bin": CONTENT}) as server:
        command = [sys.executable, "-c", script, server.url + "a.bin"]
        result = subprocess.run(command, preexec_fn=limit, capture_output=True, text=True)
    assert "File too large" in result.stderr
    assert "the same command goes on from there" in result.stderr
    assert len(server.asked) == 1


def test_no_server_is_one_line(tmp_path):
    with FileServer({}) as server:
        url = server.url
    with pytest.raises(DownloadError, match="refused") as error:
        fetch(url + "a.bin", tmp_path / "a.bin", sha256=SHA256)
    assert "\n" not in str(error.value)


def test_two_that_ask_at_once_fetch_it_once(tmp_path):
    with FileServer({"a.bin": CONTENT}) as server:
        arguments = (server.url + "a.bin", tmp_path / "a.bin")
        threads = [
            threading.Thread(target=fetch, args=arguments, kwargs={"sha256": SHA256})
            for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert (tmp_path / "a.bin").read_bytes() == CONTENT
    assert server.asked == [("a.bin", 0)]


@pytest.mark.parametrize("url", ["ftp://127.0.0.1/a", "file:///etc/hostname", ""])
def test_other_schemes_are_refused(url, tmp_path):
    with pytest.raises(ValueError, match="url must begin with http"):
        fetch(url, tmp_path / "a", sha256=SHA256)


def test_a_checksum_is_required(tmp_path):
    with pytest.raises(ValueError, match="needs sha256 or md5"):
        fetch("http://127.0.0.1/a", tmp_path / "a")
