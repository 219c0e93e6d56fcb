"""What CRIU writes and brings back only when a flag says so, each shown on a container that has it."""

from __future__ import annotations

import json
import os
import select
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.engines.terminal import Session
from tests.leftovers import remove_cgroup
from tests.linux.child.support import until
from tests.linux.cli.conftest import Bundle, Runtime
from tests.linux.cli.test_checkpoint import DEADLINE, ENV, Talk, call, restore, talking

pytestmark = pytest.mark.needs("criu")

PROGRAM = """
import fcntl, os, socket, sys, threading
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


def configure(bundle: Bundle) -> dict[str, Any]:
    """Return the config of a Python that does what it is told, with the host's interpreter in it."""
    made = bundle.configure(args=["/usr/bin/python3", "-IESs", "-c", PROGRAM])
    made["root"]["readonly"] = False
    made["mounts"] += [
        {"destination": f"/{name}", "type": "bind", "source": f"/{name}", "options": ["rbind", "ro"]}
        for name in ("usr", "lib", "lib64")
    ]
    made["mounts"].append({"destination": "/tmp", "type": "tmpfs", "source": "tmpfs"})
    return made


@contextmanager
def running(run: Runtime, bundle: Bundle, config: dict[str, Any]) -> Iterator[Talk]:
    """Start container ``one`` with *config*; the value talks to it."""
    bundle.write(json.dumps(config))
    with talking() as found:
        assert call(run, "run", "--detach", "-b", str(bundle), "one", talk=found) == (0, "")
        assert found.hear() == "up"
        yield found


@pytest.fixture
def talk(run: Runtime, bundle: Bundle) -> Iterator[Talk]:
    with running(run, bundle, configure(bundle)) as found:
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


CONNECTED = (
    "(server := socket.create_server(('127.0.0.1', 7000)))",
    "(client := socket.create_connection(('127.0.0.1', 7000)))",
    "(peer := server.accept()[0])",
    "client.send(b'before')",
)


def test_connections(run: Runtime, bundle: Bundle, talk: Talk, tmp_path: Path) -> None:
    """An established one inside the container's own network; and one that nobody has accepted yet.

    What else is in that network is made by who made the network: a device in it does not come back.
    """
    image = tmp_path / "images"
    device = ["ip", "link", "add", "extra", "type", "dummy"]
    subprocess.run(["nsenter", "-t", str(run.state("one")["pid"]), "-n", *device], check=True)
    assert talk.say("[name for _, name in socket.if_nameindex()]") == "['lo', 'extra']"
    evaluate(talk, *CONNECTED)
    assert "tcp-established" in refused(run, image)
    evaluate(talk, "(waiting := socket.create_connection(('127.0.0.1', 7000)))")
    assert "n-flight" in refused(run, image, "--tcp-established")
    empty = ("--empty-ns", "network")
    written(run, image, "--tcp-established", "--tcp-skip-in-flight", *empty)
    with restored(run, bundle, image, "--tcp-established", *empty) as again:
        assert again.say("peer.recv(100)") == "b'before'"
        assert again.say("peer.send(b'after')") == "5"
        assert again.say("client.recv(100)") == "b'after'"
        assert again.say("[name for _, name in socket.if_nameindex()]") == "['lo']"
        assert again.say("open('/usr/new', 'w')") == "errno 30"
        assert again.say("open('/lib/new', 'w')") == "errno 30"
    with restored(run, bundle, image, "--tcp-close") as again:
        # Closed at both ends, with what was on its way; the server can be reached as before.
        assert again.say("peer.recv(100)") == "b''"
        assert again.say("client.send(b'more')").startswith("errno")
        evaluate(
            again, *(word.replace("server :=", "other :=").replace("7000", "7001") for word in CONNECTED[:1])
        )
        assert again.say("server.getsockname()") == "('127.0.0.1', 7000)"


def test_options_from_a_file_and_a_unix_socket_with_a_peer_outside(
    run: Runtime, bundle: Bundle, tmp_path: Path
) -> None:
    """The file is that of who made the container, whatever plugins the command is composed of.

    CRIU connects the socket anew by the name that its peer has: it has to be the same one inside.
    """
    options, place, image = tmp_path / "options", tmp_path / "outside", tmp_path / "images"
    options.write_text("tcp-established\n")
    place.mkdir()
    made = configure(bundle)
    made["annotations"] = {"org.criu.config": str(options)}
    made["linux"]["namespaces"] = [one for one in made["linux"]["namespaces"] if one["type"] != "network"]
    made["mounts"].append(
        {"destination": str(place), "type": "bind", "source": str(place), "options": ["bind"]}
    )
    allowing = Runtime(run.name, (*run.command, "--plugins=+criu-config"), run.root)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(place / "socket"))
        listener.settimeout(DEADLINE)
        with running(allowing, bundle, made) as talk:
            evaluate(
                talk,
                *CONNECTED,
                "(unix := socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) and 0",
                f"unix.connect({str(place / 'socket')!r})",
                "unix.send(b'before')",
            )
            assert listener.recv(100) == b"before"
            options.chmod(0o666)
            assert "has to be a regular file of root's" in refused(run, image)
            options.chmod(0o644)
            assert "ext-unix-sk" in refused(run, image)
            written(run, image, "--ext-unix-sk")
        with restored(allowing, bundle, image, "--ext-unix-sk") as again:
            assert again.say("unix.send(b'after')") == "5"
            assert listener.recv(100) == b"after"
            assert again.say("peer.recv(100)") == "b'before'"


COUNT = "i=0; while read w; do i=$((i+1)); echo $w-$i; done"


@pytest.mark.parametrize("terminal", [False, True], ids=["of the host", "its own"])
def test_a_terminal(run: Runtime, bundle: Bundle, tmp_path: Path, terminal: bool) -> None:
    """In the foreground, on the caller's terminal: without a proxy, or by one of the container's own."""
    bundle.configure(terminal=terminal, args=["/bin/sh", "-c", COUNT])
    image = tmp_path / "images"
    with Session(run.arguments("run", "-b", str(bundle), "one")) as session:
        session.type(b"first\n")
        session.until(b"first-1")
        assert call(run, "checkpoint", "--image-path", str(image), "one") == (0, "")
        assert session.end() == 137
    words = ("--image-path", str(image), "-b", str(bundle))
    if not terminal:
        status, error = call(run, "restore", *words, "two")
        assert (status, "was a terminal of the host, and there is none" in error) == (1, True)
    with Session(run.arguments("restore", *words, "two")) as session:
        session.type(b"second\n")
        session.until(b"second-2")
        run("kill", "two", "KILL")
        assert session.end() == 137


def test_another_descriptor_on_a_terminal(run: Runtime, bundle: Bundle, tmp_path: Path) -> None:
    """CRIU puts the terminal of its caller in the place of one that is not among the first three."""
    bundle.configure(args=["/bin/sh", "-c", COUNT.replace("read w", "read w <&3").replace("$i;", "$i >&3;")])
    image = tmp_path / "images"
    words = ("--image-path", str(image))
    third = ["sh", "-c", 'exec "$@" 3<&0 </dev/null >/dev/null 2>&1', "sh"]
    with Session([*third, *run.arguments("run", "--preserve-fds", "1", "-b", str(bundle), "one")]) as session:
        session.type(b"first\n")
        session.until(b"first-1")
        assert call(run, "checkpoint", *words, "--shell-job", "one") == (0, "")
        assert session.end() == 137
    with Session(run.arguments("restore", *words, "-b", str(bundle), "--shell-job", "two")) as session:
        session.type(b"second\n")
        session.until(b"second-2")
        run("kill", "two", "KILL")
        assert session.end() == 137


def test_locks_and_files_without_a_name(run: Runtime, bundle: Bundle, talk: Talk, tmp_path: Path) -> None:
    image = tmp_path / "images"
    evaluate(
        talk,
        "(end := threading.Event()) and 0",
        "threading.Thread(target=end.wait, daemon=True).start()",
        "(child := os.fork()) or sys.stdin.close() or end.wait()",
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
        assert again.say("threading.active_count(), os.kill(child, 0)") == "(2, None)"


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
            until((work / "lazy-pages.socket").exists, "criu does not serve the memory", DEADLINE)
            with restored(run, bundle, image, "--lazy-pages", "--work-path", str(work)) as again:
                assert again.say("len(kept), set(kept)") == f"({SIZE}, {{120}})"
                assert (fetching.wait(DEADLINE), serving.wait(DEADLINE)) == (0, 0)
                assert run.names() == ["two"]


def blocks(image: Path) -> int:
    """Return how much of the disk is taken by memory."""
    return sum(file.stat().st_blocks for file in image.glob("pages-*"))


def test_memory_that_is_needed_no_more(run: Runtime, bundle: Bundle, talk: Talk, tmp_path: Path) -> None:
    """What a later image has anew is taken out of the earlier one; what has been restored, out of that."""
    before, image = tmp_path / "before", tmp_path / "images"
    evaluate(talk, f"(kept := bytearray(b'x') * {SIZE}) and 0")
    assert call(run, "checkpoint", "--image-path", str(before), "--pre-dump", "one") == (0, "")
    whole = blocks(before)
    evaluate(talk, f"kept.__setitem__(slice(0, {SIZE}), b'y' * {SIZE})")
    written(run, image, "--parent-path", "../before", "--auto-dedup")
    changed = SIZE // 512
    assert whole - blocks(before) > changed * 0.9
    assert blocks(image) > changed * 0.9
    with restored(run, bundle, image, "--auto-dedup") as again:
        assert again.say("len(kept), set(kept)") == f"({SIZE}, {{121}})"
        assert blocks(image) < changed * 0.1


LEAF = (
    "(child := os.fork()) or sys.stdin.close() or threading.Event().wait()",
    "os.mkdir('/sys/fs/cgroup/leaf')",
    "open('/sys/fs/cgroup/leaf/cgroup.procs', 'w').write(str(child))",
    "open('/sys/fs/cgroup/leaf/cgroup.max.depth', 'w').write('3')",
    "open('/sys/fs/cgroup/cgroup.max.depth', 'w').write('5')",
)
"""A child in a cgroup below the container's; both cgroups with a setting that the config knows nothing of."""
MODES = {
    "ignore": ("", "errno 2", "max"),
    "soft": ("/leaf", "3", "max"),
    "full": ("/leaf", "3", "5"),
    "strict": ("/leaf", "3", "5"),
}
"""Where the child is, how deep its cgroup may be, and how deep the container's."""


@pytest.mark.needs("cgroup-v2")
@pytest.mark.parametrize("driver", ["files", pytest.param("systemd", marks=pytest.mark.needs("systemd"))])
def test_cgroups_below(run: Runtime, bundle: Bundle, tmp_path: Path, driver: str) -> None:
    made, image = configure(bundle), tmp_path / "images"
    for mount in made["mounts"]:
        if mount["type"] == "cgroup":
            mount["options"].remove("ro")
    made["linux"]["resources"]["pids"] = {"limit": 50}
    if driver == "systemd":
        run = Runtime(run.name, (*run.command, "--systemd-cgroup"), run.root)
        made["linux"]["cgroupsPath"] = f"system.slice:orlop:criu-{os.getpid()}"
    with running(run, bundle, made) as talk:
        evaluate(talk, *LEAF)
        written(run, image, "--manage-cgroups-mode", "full")
    made["linux"]["resources"]["pids"] = {"limit": 20}
    bundle.write(json.dumps(made))
    for mode in MODES if driver == "files" else ["full"]:
        with restored(run, bundle, image, "--manage-cgroups-mode", mode) as again:
            place, leaf, depth = MODES[mode]
            assert again.say("open(f'/proc/{child}/cgroup').read().split('/')[-1]") in (
                {repr(f"{place[1:]}\n")}
                if place
                else {repr("two\n"), repr(f"orlop-criu-{os.getpid()}.scope\n")}
            )
            assert again.say("open('/sys/fs/cgroup/leaf/cgroup.max.depth').read()").strip("'\\n") == leaf
            assert again.say("open('/sys/fs/cgroup/cgroup.max.depth').read()") == repr(f"{depth}\n")
            # The container's own limits are the config's in each mode.
            assert again.say("open('/sys/fs/cgroup/pids.max').read()") == repr("20\n")
    if driver == "files":
        name = f"orlop-criu-{os.getpid()}"
        made["linux"]["cgroupsPath"] = f"/{name}"
        bundle.write(json.dumps(made))
        other = Path("/sys/fs/cgroup") / name / "leaf"
        other.mkdir(parents=True)
        try:
            status, error = restore(run, bundle, image, None, "--manage-cgroups-mode", "strict")
            assert (status, error.count("\n"), run.names(), other.exists()) == (1, 1, [], True)
            assert "there is a cgroup below the container's already" in error
        finally:
            remove_cgroup(other.parent)


@pytest.mark.needs("cgroup-v1")
def test_limits_of_version_1_are_the_configs(run: Runtime, bundle: Bundle, tmp_path: Path) -> None:
    """In the mode in which CRIU writes into the container's cgroups what their images have.

    Some of the hierarchies that are shown have several controllers, and so commas in their mount points.
    """
    made, image = configure(bundle), tmp_path / "images"
    all_devices = {"allow": True, "access": "rwm"}
    made["linux"]["resources"] = {"cpu": {"shares": 512}, "pids": {"limit": 50}, "devices": [all_devices]}
    with running(run, bundle, made):
        written(run, image, "--manage-cgroups-mode", "full")
    made["linux"]["resources"] = {
        "cpu": {"shares": 256},
        "pids": {"limit": 20},
        "devices": [all_devices | {"allow": False}],
    }
    bundle.write(json.dumps(made))
    with restored(run, bundle, image, "--manage-cgroups-mode", "full") as again:
        shown = "open('/sys/fs/cgroup/{}').read()"
        assert again.say(shown.format("cpu,cpuacct/cpu.shares")) == repr("256\n")
        assert again.say(shown.format("pids/pids.max")) == repr("20\n")
        assert "a *:* rwm" not in again.say(shown.format("devices/devices.list"))
