"""What CRIU writes only when a flag of ``checkpoint`` says so, each shown on a container that has it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.linux.cli.conftest import Bundle, Runtime
from tests.linux.cli.test_checkpoint import Talk, call, talking

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


def test_connections(run: Runtime, talk: Talk, tmp_path: Path) -> None:
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


def test_locks_and_files_without_a_name(run: Runtime, talk: Talk, tmp_path: Path) -> None:
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
