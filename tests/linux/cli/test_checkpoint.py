"""Checkpoint and restore of real containers, by CRIU."""

from __future__ import annotations

import copy
import json
import os
import select
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.linux.child.support import until
from tests.linux.cli.conftest import Bundle, Runtime, await_end

pytestmark = pytest.mark.needs("criu")

COUNT = "i=0; echo up; while read word; do i=$((i+1)); echo $word $i $(cat /tmp/kept); done"
"""Answers each line with how many there were so far: what it counts is in its memory only."""

DEADLINE = 120.0
"""Much longer than anything takes, also in an emulated machine."""

ENV = {"PATH": os.environ["PATH"]}


class Talk:
    """Two pipes to a container's program."""

    def __init__(self) -> None:
        self.stdin, self._to = os.pipe()
        self._from, self.stdout = os.pipe()

    def given(self) -> None:
        """Close what the container has by now."""
        for fd in (self.stdin, self.stdout):
            os.close(fd)
        self.stdin = self.stdout = -1

    def say(self, word: str) -> str:
        """Send a line and return the answer."""
        os.write(self._to, f"{word}\n".encode())
        return self.hear()

    def hear(self) -> str:
        """Return the next line."""
        found = b""
        while not found.endswith(b"\n"):
            assert select.select([self._from], [], [], DEADLINE)[0], "the program does not answer"
            data = os.read(self._from, 1)
            assert data, "the program has ended"
            found += data
        return found.decode().strip()

    def close(self) -> None:
        for fd in (self.stdin, self.stdout, self._to, self._from):
            if fd >= 0:
                os.close(fd)


@contextmanager
def talking() -> Iterator[Talk]:
    talk = Talk()
    try:
        yield talk
    finally:
        talk.close()


def call(run: Runtime, *arguments: str, talk: Talk | None = None) -> tuple[int, str]:
    """Run a command whose container talks by *talk*; return its status and what it says on standard error."""
    error = run.root.parent / "error"
    streams: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL}
    if talk is not None:
        streams = {"stdin": talk.stdin, "stdout": talk.stdout}
    with error.open("w") as file:
        done = subprocess.run(
            run.arguments(*arguments), env=ENV, stderr=file, check=False, timeout=DEADLINE, **streams
        )
    if talk is not None:
        talk.given()
    return done.returncode, error.read_text()


def prepare(bundle: Bundle, change: dict[str, Any] | None = None, **process: Any) -> dict[str, Any]:
    """Write the config of a program that counts; it has a file of its own in a tmpfs."""
    made = bundle.configure(change, args=["/bin/sh", "-c", COUNT], **process)
    made["root"]["readonly"] = False
    made["mounts"].append({"destination": "/tmp", "type": "tmpfs", "source": "tmpfs"})
    made["process"]["args"][2] = f"echo content >/tmp/kept; {COUNT}"
    # Where a program writes its errors need not be there when it comes back.
    made["process"]["args"][2] = f"exec 2>/dev/null; {made['process']['args'][2]}"
    bundle.write(json.dumps(made))
    return made


def start(run: Runtime, bundle: Bundle, talk: Talk, name: str = "one") -> None:
    assert call(run, "run", "--detach", "-b", str(bundle), name, talk=talk) == (0, "")
    assert talk.hear() == "up"
    assert talk.say("first") == "first 1 content"


def restore(
    run: Runtime, bundle: Bundle, image: Path, talk: Talk | None, *more: str, name: str = "two"
) -> tuple[int, str]:
    return call(
        run, "restore", "--detach", "--image-path", str(image), "-b", str(bundle), *more, name, talk=talk
    )


def cgroup_of(pid: int) -> str:
    return Path(f"/proc/{pid}/cgroup").read_text()


def test_there_and_back(run: Runtime, bundle: Bundle, tmp_path: Path) -> None:
    prepare(bundle)
    image, work = tmp_path / "images", tmp_path / "work"
    with talking() as talk:
        start(run, bundle, talk)
        assert call(run, "checkpoint", "--image-path", str(image), "--work-path", str(work), "one") == (0, "")
    status, error = call(run, "delete", "one")
    assert (status, "does not exist" in error) == (1, True)
    assert run.names() == []
    assert {"inventory.img", "descriptors.json"} <= set(os.listdir(image))
    assert {"dump.log", "stats-dump"} <= set(os.listdir(work))
    pid_file = tmp_path / "pid"
    with talking() as talk:
        assert restore(run, bundle, image, talk, "--pid-file", str(pid_file), "--work-path", str(work)) == (
            0,
            "",
        )
        assert talk.say("second") == "second 2 content"
        state = run.state("two")
        assert state["status"] == "running"
        assert state["pid"] == int(pid_file.read_text())
        assert {"restore.log", "stats-restore"} <= set(os.listdir(work))
        assert "/two" in cgroup_of(state["pid"])
        assert str(tmp_path) not in Path("/proc/self/mountinfo").read_text()
        # It is a container like any other.
        assert run("pause", "two").returncode == 0
        assert run.state("two")["status"] == "paused"
        assert run("resume", "two").returncode == 0
        assert run("update", "--pids-limit", "50", "two").returncode == 0
        assert run("exec", "two", "/bin/cat", "/tmp/kept").stdout == "content\n"
        # The loopback device is up, as on create: it has its address.
        assert "127.0.0.1" in run("exec", "two", "/bin/cat", "/proc/net/fib_trie").stdout
        assert talk.say("third") == "third 3 content"
        # And can be written again.
        again = tmp_path / "again"
        assert call(run, "checkpoint", "--image-path", str(again), "two") == (0, "")
    with talking() as talk:
        assert restore(run, bundle, again, talk, name="one") == (0, "")
        assert talk.say("fourth") == "fourth 4 content"
        process = os.pidfd_open(run.state("one")["pid"])
        assert run("kill", "one", "KILL").returncode == 0
        await_end(process)
    assert run("delete", "one").returncode == 0


def test_left_running_and_paused(run: Runtime, bundle: Bundle, tmp_path: Path) -> None:
    prepare(bundle)
    with talking() as talk:
        start(run, bundle, talk)
        assert call(run, "checkpoint", "--leave-running", "--image-path", str(tmp_path / "a"), "one") == (
            0,
            "",
        )
        assert talk.say("second") == "second 2 content"
        assert run("pause", "one").returncode == 0
        assert call(run, "checkpoint", "--leave-running", "--image-path", str(tmp_path / "b"), "one") == (
            0,
            "",
        )
        assert run.state("one")["status"] == "paused"
        assert call(run, "checkpoint", "--image-path", str(tmp_path / "c"), "one") == (0, "")
    for name, answer in (("a", "again 2 content"), ("c", "again 3 content")):
        with talking() as talk:
            assert restore(run, bundle, tmp_path / name, talk) == (0, "")
            assert talk.say("again") == answer
            assert run("delete", "--force", "two").returncode == 0


def test_what_comes_from_the_host(run: Runtime, bundle: Bundle, tmp_path: Path) -> None:
    """Binds, one at the end of a link of the image, and masks: found again by the config, in a fresh root."""
    for name in ("data", "file", "other"):
        (tmp_path / name).write_text(name) if name == "file" else (tmp_path / name).mkdir()
    (tmp_path / "data/here").write_text("data")
    (bundle.path / "rootfs/run").mkdir()
    (bundle.path / "rootfs/var").mkdir()
    (bundle.path / "rootfs/var/run").symlink_to("/run")
    made = prepare(bundle)
    made["mounts"] += [
        {"destination": "/srv", "type": "bind", "source": str(tmp_path / "data"), "options": ["rbind", "ro"]},
        {
            "destination": "/var/run/x:y",
            "type": "bind",
            "source": str(tmp_path / "other"),
            "options": ["bind"],
        },
        {"destination": "/etc/file", "type": "bind", "source": str(tmp_path / "file"), "options": ["bind"]},
    ]
    bundle.write(json.dumps(made))
    image = tmp_path / "images"
    with talking() as talk:
        start(run, bundle, talk)
        assert call(run, "checkpoint", "--image-path", str(image), "one") == (0, "")
    for place in ("srv", "run/x:y"):
        (bundle.path / "rootfs" / place).rmdir()
    (bundle.path / "rootfs/etc/file").unlink()
    with talking() as talk:
        assert restore(run, bundle, image, talk) == (0, "")
        assert talk.say("second") == "second 2 content"
        shown = run("exec", "two", "/bin/sh", "-c", "cat /srv/here /etc/file; : >/run/x:y/made; : >/srv/no")
        assert shown.stdout == "datafile"
        assert "Read-only" in shown.stderr
        assert (tmp_path / "other/made").exists()
        assert run("exec", "two", "/bin/sh", "-c", "wc -c </proc/keys").stdout.strip() == "0"
        assert run("delete", "--force", "two").returncode == 0


REFUSED: dict[str, Callable[[dict[str, Any]], None]] = {
    "more capabilities": lambda c: c["process"]["capabilities"].update(
        {kind: ["CAP_KILL"] for kind in c["process"]["capabilities"]}
    ),
    "may gain privileges": lambda c: c["process"].update(noNewPrivileges=True),
    "no system calls are filtered": lambda c: c["linux"].update(seccomp={"defaultAction": "SCMP_ACT_ALLOW"}),
    "a mount of the config is not there": lambda c: c["mounts"].append(
        {"destination": "/more", "type": "bind", "source": "/etc", "options": ["bind"]}
    ),
    "no cgroup namespace of their own": lambda c: c["linux"]["namespaces"].append({"type": "cgroup"}),
}


def test_the_config_decides(run: Runtime, bundle: Bundle, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    made = prepare(bundle)
    made["process"]["noNewPrivileges"] = False
    made["linux"].pop("seccomp", None)
    made["mounts"] = [one for one in made["mounts"] if one["type"] != "cgroup"]
    made["linux"]["namespaces"] = [one for one in made["linux"]["namespaces"] if one["type"] != "cgroup"]
    source = str(tmp_path / "data")
    made["mounts"].append({"destination": "/data", "type": "bind", "source": source, "options": ["bind"]})
    bundle.write(json.dumps(made))
    image = tmp_path / "images"
    with talking() as talk:
        start(run, bundle, talk)
        assert call(run, "checkpoint", "--image-path", str(image), "one") == (0, "")
    for words, change in REFUSED.items():
        changed = copy.deepcopy(made)
        change(changed)
        bundle.write(json.dumps(changed))
        with talking() as talk:
            status, error = restore(run, bundle, image, talk)
        assert (status, error.count("\n")) == (1, 1), words
        assert words in error
        assert run.names() == []
    # What can be made as the config says is made so: the mount was writable.
    made["mounts"][-1]["options"].append("ro")
    bundle.write(json.dumps(made))
    with talking() as talk:
        assert restore(run, bundle, image, talk) == (0, "")
        assert talk.say("second") == "second 2 content"
        lines = Path(f"/proc/{run.state('two')['pid']}/mountinfo").read_text().splitlines()
        assert [line.split()[5].split(",")[0] for line in lines if line.split()[4] == "/data"] == ["ro"]
        run("delete", "--force", "two")


def test_links_among_the_images_are_refused(run: Runtime, bundle: Bundle, tmp_path: Path) -> None:
    prepare(bundle)
    image, secret, name = tmp_path / "images", tmp_path / "secret", "dump.log"
    secret.write_text("kept")
    image.mkdir()
    with talking() as talk:
        start(run, bundle, talk)
        (image / name).symlink_to(secret)
        status, error = call(run, "checkpoint", "--image-path", str(image), "one")
        assert (status, "not a regular file" in error) == (1, True)
        (image / name).unlink()
        assert talk.say("second") == "second 2 content"
        assert call(run, "checkpoint", "--image-path", str(image), "one") == (0, "")
    kept = (image / name).rename(tmp_path / "moved") if (image / name).exists() else secret
    (image / name).symlink_to(kept)
    status, error = restore(run, bundle, image, None)
    assert (status, "not a regular file" in error) == (1, True)
    assert secret.read_text() == "kept"
    assert run.names() == []


def test_a_mount_point_that_could_be_another_is_refused(run: Runtime, bundle: Bundle, tmp_path: Path) -> None:
    name = "a]:"
    (tmp_path / "data").mkdir()
    (bundle.path / "rootfs" / name).mkdir()
    (bundle.path / "rootfs/plain").symlink_to(f"/{name}")
    made = prepare(bundle)
    bind = {"destination": "/plain", "type": "bind", "source": str(tmp_path / "data"), "options": ["bind"]}
    made["mounts"].append(bind)
    bundle.write(json.dumps(made))
    with talking() as talk:
        start(run, bundle, talk)
        status, error = call(run, "checkpoint", "--image-path", str(tmp_path / "images"), "one")
        assert status == 1
        assert "cannot tell this mount point from others" in error
        assert error.count("\n") == 1
        assert talk.say("second") == "second 2 content"


def test_a_checkpoint_that_fails_leaves_the_container_as_it_was(
    run: Runtime, bundle: Bundle, tmp_path: Path
) -> None:
    """The disk is full; and a program that was run beside the container's own would end unsaid."""
    prepare(bundle)
    full = tmp_path / "full"
    full.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=700,size=64k", "tmpfs", str(full)], check=True)
    with talking() as talk:
        start(run, bundle, talk)
        try:
            status, error = call(
                run, "checkpoint", "--image-path", str(full), "--work-path", str(tmp_path), "one"
            )
            assert (status, error.count("\n"), "criu failed: type DUMP" in error) == (1, 1, True)
        finally:
            subprocess.run(["umount", str(full)], check=True)
        assert run.state("one")["status"] == "running"
        assert call(run, "exec", "--detach", "one", "/bin/sleep", "1000")[0] == 0
        status, error = call(run, "checkpoint", "--image-path", str(tmp_path / "images"), "one")
        assert status == 1
        assert "does not descend from the container process" in error
        assert error.count("\n") == 1
        assert run.state("one")["status"] == "running"
        assert talk.say("second") == "second 2 content"


def test_the_exit_status_of_a_foreground_restore(run: Runtime, bundle: Bundle, tmp_path: Path) -> None:
    prepare(bundle)
    image = tmp_path / "images"
    with talking() as talk:
        start(run, bundle, talk)
        assert call(run, "checkpoint", "--image-path", str(image), "one") == (0, "")
    with talking() as talk:
        command = run.arguments("restore", "--image-path", str(image), "-b", str(bundle), "two")
        nothing = subprocess.DEVNULL
        with subprocess.Popen(
            command, env=ENV, stdin=talk.stdin, stdout=talk.stdout, stderr=nothing
        ) as process:
            talk.given()
            assert talk.say("second") == "second 2 content"
            process.send_signal(signal.SIGKILL + 1)  # SIGUSR1 is passed on, and ends nobody who is an init
            assert talk.say("third") == "third 3 content"
            run("kill", "two", "KILL")
            assert process.wait(DEADLINE) == 137
    assert run.names() == []


def test_a_terminal_comes_back(run: Runtime, bundle: Bundle, tmp_path: Path) -> None:
    bundle.configure(
        terminal=True, args=["/bin/sh", "-c", "i=0; while read w; do i=$((i+1)); echo $w $i; done"]
    )
    image = tmp_path / "images"
    master = _with_terminal(run, tmp_path, "run", "-d", "-b", str(bundle), "one")
    os.write(master, b"a\n")
    _expect(master, b"a 1")
    assert call(run, "checkpoint", "--image-path", str(image), "one") == (0, "")
    os.close(master)
    words = ["restore", "-d", "--image-path", str(image), "-b", str(bundle), "two"]
    master = _with_terminal(run, tmp_path, *words)
    os.write(master, b"b\n")
    _expect(master, b"b 2")
    os.close(master)
    assert run("delete", "--force", "two").returncode == 0


def _with_terminal(run: Runtime, tmp_path: Path, command: str, *words: str) -> int:
    path = tmp_path / "console"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen(1)
        listener.settimeout(DEADLINE)
        outcome = call(run, command, "--console-socket", str(path), *words)
        assert outcome == (0, ""), outcome[1]
        connection, _ = listener.accept()
        with connection:
            _, fds, _, _ = socket.recv_fds(connection, 4096, 1)
    path.unlink()
    return fds[0]


def _expect(master: int, text: bytes) -> None:
    found = b""
    while text not in found:
        assert select.select([master], [], [], DEADLINE)[0], found
        found += os.read(master, 4096)


def test_namespaces_of_others(run: Runtime, bundle: Bundle, tmp_path: Path) -> None:
    made = prepare(bundle)
    held = []
    try:
        command = ["unshare", "--net", "--ipc", "sleep", "1000"]
        held += [subprocess.Popen(command), subprocess.Popen(command)]
        until(lambda: all(_apart(process.pid) for process in held), "the namespaces are not there")
        image = tmp_path / "images"
        for index, process in enumerate(held):
            for one in made["linux"]["namespaces"]:
                if one["type"] in {"network", "ipc"}:
                    one["path"] = f"/proc/{process.pid}/ns/{'net' if one['type'] == 'network' else 'ipc'}"
            bundle.write(json.dumps(made))
            with talking() as talk:
                if not index:
                    start(run, bundle, talk)
                    assert call(run, "checkpoint", "--image-path", str(image), "one") == (0, "")
                    continue
                assert restore(run, bundle, image, talk) == (0, "")
                assert talk.say("second") == "second 2 content"
                pid = run.state("two")["pid"]
                for name in ("net", "ipc"):
                    assert os.readlink(f"/proc/{pid}/ns/{name}") == os.readlink(
                        f"/proc/{process.pid}/ns/{name}"
                    )
                assert run("delete", "--force", "two").returncode == 0
    finally:
        for process in held:
            process.kill()
            process.wait()


def _apart(pid: int) -> bool:
    names = [
        (os.readlink(f"/proc/{one}/ns/net"), os.readlink(f"/proc/{one}/ns/ipc")) for one in (pid, "self")
    ]
    return names[0][0] != names[1][0] and names[0][1] != names[1][1]


def test_killed_while_it_restores(run: Runtime, bundle: Bundle, tmp_path: Path) -> None:
    """The hook that hangs is where the namespaces are there, and nothing runs yet."""
    made = prepare(bundle)
    image, fifo = tmp_path / "images", tmp_path / "fifo"
    with talking() as talk:
        start(run, bundle, talk)
        assert call(run, "checkpoint", "--image-path", str(image), "one") == (0, "")
    os.mkfifo(fifo)
    hook = {"path": "/bin/sh", "args": ["sh", "-c", f"echo in >{fifo}; exec sleep 1000"]}
    made["hooks"] = {"createRuntime": [hook]}
    bundle.write(json.dumps(made))
    before = _criu_processes()
    nothing = subprocess.DEVNULL
    command = run.arguments("restore", "--image-path", str(image), "-b", str(bundle), "two")
    with subprocess.Popen(command, env=ENV, stdin=nothing, stdout=nothing, stderr=nothing) as process:
        with fifo.open() as file:
            assert file.read() == "in\n"
        process.kill()
        process.wait(DEADLINE)
    assert run("delete", "--force", "two").returncode == 0
    assert run.names() == []
    until(lambda: _criu_processes() <= before, "criu runs on")
    assert str(tmp_path) not in Path("/proc/self/mountinfo").read_text()


def _criu_processes() -> set[int]:
    found = set()
    for name in filter(str.isdecimal, os.listdir("/proc")):
        try:
            words = Path(f"/proc/{name}/cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if b"swrk" in words:
            found.add(int(name))
    return found


def test_memory_that_has_not_changed_is_written_once(run: Runtime, bundle: Bundle, tmp_path: Path) -> None:
    prepare(bundle)
    before, image = tmp_path / "before", tmp_path / "images"
    with talking() as talk:
        start(run, bundle, talk)
        status, error = call(run, "checkpoint", "--pre-dump", "--image-path", str(before), "one")
        assert talk.say("second") == "second 2 content"
        if status:  # not every kernel tracks which memory changes
            assert "the kernel cannot track which memory changes" in error
            assert error.count("\n") == 1
            return
        words = ["--image-path", str(image), "--parent-path", "../before"]
        assert call(run, "checkpoint", *words, "one") == (0, "")
    assert os.readlink(image / "parent") == "../before"
    with talking() as talk:
        assert restore(run, bundle, image, talk) == (0, "")
        assert talk.say("third") == "third 3 content"
        assert run("delete", "--force", "two").returncode == 0
