"""What CRIU writes and brings back only when a flag says so, each shown on a container that has it."""

from __future__ import annotations

import json
import os
import select
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.linux.cli.conftest import Bundle, Runtime
from tests.linux.cli.test_checkpoint import DEADLINE, ENV, Talk, call, restore, talking

pytestmark = pytest.mark.needs("criu")

PROGRAM = """
import fcntl, os, socket, sys
print('up', flush=True)
for line in sys.stdin:
    try:
        print(repr(eval(line)), flush=True)
    except OSError as error:
        print('errno', error.errno, flush=True)
"""
"""Answers each line, a Python expression, with its value."""

SIZE = 3_000_000
"""Bytes of memory whose content is looked at."""


@pytest.fixture
def talk(run: Runtime, bundle: Bundle) -> Iterator[Talk]:
    """Start container ``one``, a Python that does what it is told, with the host's interpreter in it."""
    made = bundle.configure(args=["/usr/bin/python3", "-IESs", "-c", PROGRAM])
    made["root"]["readonly"] = False
    made["mounts"] += [
        {"destination": f"/{name}", "type": "bind", "source": f"/{name}", "options": ["rbind", "ro"]}
        for name in ("usr", "lib", "lib64")
    ]
    made["mounts"].append({"destination": "/tmp", "type": "tmpfs", "source": "tmpfs"})
    bundle.write(json.dumps(made))
    with talking() as found:
        assert call(run, "run", "--detach", "-b", str(bundle), "one", talk=found) == (0, "")
        assert found.hear() == "up"
        yield found


@contextmanager
def restored(run: Runtime, bundle: Bundle, image: Path, *flags: str) -> Iterator[Talk]:
    """Restore the images as container ``two``, to which the value talks; delete it afterwards."""
    with talking() as found:
        assert restore(run, bundle, image, found, *flags) == (0, "")
        yield found
        run("delete", "--force", "two")


def heard(ready: int) -> None:
    """Wait for criu's word that it listens, and close the descriptor."""
    try:
        assert select.select([ready], [], [], DEADLINE)[0], "criu does not listen"
        assert os.read(ready, 1) == b"\0"
    finally:
        os.close(ready)


def until(done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE
    poller = select.poll()
    while not done():
        assert time.monotonic() < deadline
        poller.poll(10)


def evaluate(talk: Talk, *words: str) -> None:
    for one in words:
        assert not talk.say(one).startswith("errno"), one


def refused(run: Runtime, image: Path, *flags: str) -> str:
    """Try to write container ``one``; it is refused in one line, which is returned, and runs on."""
    status, error = call(run, "checkpoint", "--image-path", str(image), *flags, "one")
    assert (status, error.count("\n")) == (1, 1), error
    assert run.state("one")["status"] == "running"
    return error


def written(run: Runtime, image: Path, *flags: str) -> None:
    assert call(run, "checkpoint", "--image-path", str(image), *flags, "one") == (0, "")
    assert (image / "inventory.img").exists()
    assert run.names() == []


def test_connections(run: Runtime, bundle: Bundle, talk: Talk, tmp_path: Path) -> None:
    """An established one inside the container's own network; and one that nobody has accepted yet."""
    image = tmp_path / "images"
    evaluate(
        talk,
        "(server := socket.create_server(('127.0.0.1', 7000)))",
        "(client := socket.create_connection(('127.0.0.1', 7000)))",
        "(peer := server.accept()[0])",
        "client.send(b'before')",
    )
    assert "tcp-established" in refused(run, image)
    evaluate(talk, "(waiting := socket.create_connection(('127.0.0.1', 7000)))")
    assert "n-flight" in refused(run, image, "--tcp-established")
    written(run, image, "--tcp-established", "--tcp-skip-in-flight")
    with restored(run, bundle, image, "--tcp-established") as again:
        assert again.say("peer.recv(100)") == "b'before'"
        assert again.say("peer.send(b'after')") == "5"
        assert again.say("client.recv(100)") == "b'after'"
        assert again.say("open('/usr/new', 'w')") == "errno 30"
        assert again.say("open('/lib/new', 'w')") == "errno 30"


def test_locks_and_files_without_a_name(run: Runtime, bundle: Bundle, talk: Talk, tmp_path: Path) -> None:
    image = tmp_path / "images"
    evaluate(
        talk,
        "(lock := open('/tmp/lock', 'w'))",
        "fcntl.flock(lock, fcntl.LOCK_EX)",
        "(file := open('/kept', 'w+'))",
        "file.write('content')",
        "file.flush()",
        "os.link('/kept', '/other')",
        "os.unlink('/kept')",
    )
    assert "link-remap" in refused(run, image, "--file-locks")
    assert "file-locks" in refused(run, image, "--link-remap")
    written(run, image, "--file-locks", "--link-remap")
    with restored(run, bundle, image, "--file-locks") as again:
        assert again.say("fcntl.flock(open('/tmp/lock'), fcntl.LOCK_EX | fcntl.LOCK_NB)") == "errno 11"
        assert again.say("file.seek(0), file.read()") == "(0, 'content')"
        assert again.say("os.path.samestat(os.fstat(file.fileno()), os.stat('/other'))") == "True"


def test_a_page_server(run: Runtime, bundle: Bundle, talk: Talk, tmp_path: Path) -> None:
    """The memory is written by another criu, elsewhere; whoever restores brings it together."""
    image, pages = tmp_path / "images", tmp_path / "pages"
    pages.mkdir()
    evaluate(talk, f"(kept := b'x' * {SIZE}) and 0")
    ready, tell = os.pipe()
    command = ["criu", "page-server", "--images-dir", str(pages), "--port", "9000", "--status-fd", str(tell)]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, pass_fds=[tell]) as server:
        os.close(tell)
        heard(ready)
        written(run, image, "--page-server", "127.0.0.1:9000")
        assert server.wait(DEADLINE) == 0
    assert not list(image.glob("pages-*"))
    for file in pages.glob("page*"):
        file.rename(image / file.name)
    with restored(run, bundle, image) as again:
        assert again.say("len(kept), set(kept)") == f"({SIZE}, {{120}})"


def test_lazy_pages(run: Runtime, bundle: Bundle, talk: Talk, tmp_path: Path) -> None:
    """The memory stays where it was until it is asked for; the container has moved when all of it has."""
    image, work = tmp_path / "images", tmp_path / "work"
    work.mkdir()
    evaluate(talk, f"(kept := b'x' * {SIZE}) and 0")
    ready, tell = os.pipe()
    command = run.arguments(
        *("checkpoint", "--image-path", str(image), "--lazy-pages", "--page-server", "127.0.0.1:9001"),
        *("--status-fd", str(tell), "one"),
    )
    nothing = subprocess.DEVNULL
    with subprocess.Popen(command, env=ENV, stdin=nothing, pass_fds=[tell]) as serving:
        os.close(tell)
        heard(ready)
        command = ["criu", "lazy-pages", "--images-dir", str(image), "--work-dir", str(work)]
        command += ["--page-server", "--address", "127.0.0.1", "--port", "9001"]
        with subprocess.Popen(command, stdin=nothing) as fetching:
            until((work / "lazy-pages.socket").exists)
            with restored(run, bundle, image, "--lazy-pages", "--work-path", str(work)) as again:
                assert again.say("len(kept), set(kept)") == f"({SIZE}, {{120}})"
                assert (fetching.wait(DEADLINE), serving.wait(DEADLINE)) == (0, 0)
                assert run.names() == ["two"]
