"""The file of a composed runtime is written whole or not at all, and takes no other file's place."""

from __future__ import annotations

import os
import resource
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from tests.composing.conftest import MINIMAL, orlop, pins

from orlop.composing.image import MARK
from orlop.composing.output import check, write
from orlop_hookspecs.errors import UsageError

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux: files without a name, /proc")

CONTENT = b"#!/usr/bin/python3 " + MARK + b"\n" + bytes(range(256)) * 4096

KILLED = """
import os, signal, sys
from orlop.composing import output

real = os.write
def dying(descriptor, data):
    real(descriptor, data[:1000])
    os.kill(os.getpid(), signal.SIGKILL)
os.write = dying
output.write(sys.argv[1], bytes(100_000))
"""


def names(directory: Path) -> list[str]:
    return sorted(os.listdir(directory))


def test_a_new_file(tmp_path: Path) -> None:
    path = tmp_path / "made"
    mask = os.umask(0o027)
    try:
        write(str(path), CONTENT)
    finally:
        os.umask(mask)
    assert path.read_bytes() == CONTENT
    assert path.stat().st_mode & 0o7777 == 0o750
    assert names(tmp_path) == ["made"]


@pytest.mark.parametrize("unnamed", [True, False])
def test_one_that_runs_is_replaced_and_not_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, unnamed: bool
) -> None:
    """Without files that have no name (an old kernel, NFS) the same comes about with one more name."""
    if not unnamed:
        monkeypatch.delattr(os, "O_TMPFILE")
    path = tmp_path / "made"
    write(str(path), CONTENT)
    with path.open("rb") as running:
        write(str(path), CONTENT + b"more")
        assert running.read() == CONTENT
    assert path.read_bytes() == CONTENT + b"more"
    assert names(tmp_path) == ["made"]


def test_whoever_is_killed_leaves_what_was_there(tmp_path: Path) -> None:
    for before in ([], ["made"]):
        done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path / "made")], check=False)
        assert done.returncode == -signal.SIGKILL
        assert names(tmp_path) == before
        (tmp_path / "made").write_bytes(CONTENT)
    assert (tmp_path / "made").read_bytes() == CONTENT


@pytest.mark.parametrize("unnamed", [True, False])
def test_no_space(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, unnamed: bool) -> None:
    if not unnamed:
        monkeypatch.delattr(os, "O_TMPFILE")
    path = tmp_path / "made"
    path.write_bytes(CONTENT)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(CONTENT) // 2, limits[1]))
    try:
        with pytest.raises(UsageError, match="cannot write the runtime: file too large"):
            write(str(path), CONTENT + b"more")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == CONTENT
    assert names(tmp_path) == ["made"]


def test_two_at_once(tmp_path: Path) -> None:
    path = str(tmp_path / "made")
    contents = [CONTENT + bytes([index]) * 1000 for index in range(8)]
    threads = [threading.Thread(target=write, args=(path, content)) for content in contents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert Path(path).read_bytes() in contents
    assert names(tmp_path) == ["made"]


def test_what_would_be_lost_is_not_replaced(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_bytes(CONTENT)
    (tmp_path / "link").symlink_to(target)
    (tmp_path / "dangling").symlink_to(tmp_path / "nothing")
    (tmp_path / "directory").mkdir()
    (tmp_path / "text").write_text('profile = "minimal"\n')
    os.mkfifo(tmp_path / "fifo")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "socket"))
        for name, why in {
            "link": "there is a symbolic link; name the file that it points to, or remove it",
            "dangling": "there is a symbolic link",
            "directory": "is a directory",
            "text": "there is a file that was not composed; remove it, or name another place",
            "fifo": "there is something that is no file",
            "socket": "there is something that is no file",
            "text/below": "not a directory",
            "x" * 300: "file name too long",
        }.items():
            with pytest.raises(UsageError, match=f"cannot write the runtime: {why}"):
                check(str(tmp_path / name), MARK)
    with pytest.raises(UsageError, match="there is something that is no file"):
        check("/dev/null", MARK)
    check(str(target), MARK)
    check(str(tmp_path / "new"), MARK)
    (tmp_path / "empty").touch()
    check(str(tmp_path / "empty"), MARK)


def test_a_manifest_is_not_overwritten_by_what_is_made_of_it(tmp_path: Path) -> None:
    """Without a name in it and without ``.toml`` behind its own, a manifest has the name of its runtime."""
    manifest = tmp_path / "tiny"
    text = f'profile = "minimal"\n[distributions]\n{pins("orlop", "jeepney")}'
    manifest.write_text(text)
    done = orlop("compose", "tiny", cwd=tmp_path)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert f"{manifest}: cannot write the runtime: there is a file that was not composed" in line
    done = orlop("compose", "tiny", "-o", "elsewhere/", cwd=tmp_path)
    assert "elsewhere/: cannot write the runtime: expected the path of a file" in done.stderr
    assert names(tmp_path) == ["tiny"]
    assert manifest.read_text() == text


def test_what_was_composed_is_composed_anew(tmp_path: Path) -> None:
    manifest = tmp_path / "manifest.toml"
    manifest.write_text(MINIMAL.format(pins=pins("orlop", "jeepney")))
    for _ in range(2):
        done = orlop("compose", str(manifest), cwd=tmp_path)
        assert (done.returncode, done.stderr) == (0, "")
    assert names(tmp_path) == ["manifest.toml", "tiny"]


def test_a_directory_that_cannot_be_written() -> None:
    with pytest.raises(
        UsageError, match=r"cannot write the runtime: (permission denied|read-only file system)"
    ):
        write("/sys/made", CONTENT)
