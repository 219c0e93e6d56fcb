"""Programs that cannot be executed: found out when the container is created, or told by its start."""

from __future__ import annotations

import errno
import os
from typing import Any

import pytest
from tests.linux.child.support import PATIENCE, Box, is_gone

import orlop


def put(box: Box, path: str, content: bytes, mode: int = 0o755) -> None:
    place = box.rootfs / path.lstrip("/")
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(content)
    place.chmod(mode)


AT_CREATE: dict[str, tuple[str, str, int]] = {
    "missing in PATH": ("missing", 'exec: "missing": executable file not found in $PATH', errno.ENOENT),
    "missing path": ("/no/such", 'exec: "/no/such": stat /no/such: no such file or directory', errno.ENOENT),
    "missing relative path": ("no/such", 'exec: "no/such": stat no/such: no such file', errno.ENOENT),
    "directory": ("/etc", 'exec: "/etc": is a directory: permission denied', errno.EISDIR),
    "directory in PATH": ("below", 'exec: "below": executable file not found in $PATH', errno.ENOENT),
    "not executable": ("/etc/plain", 'exec: "/etc/plain": permission denied', errno.EACCES),
    "not executable in PATH": ("plain", 'exec: "plain": permission denied', errno.EACCES),
    "loop of links": ("/etc/loop", 'exec: "/etc/loop": too many levels of symbolic links', errno.ELOOP),
    "below a file": ("/bin/busybox/x", 'exec: "/bin/busybox/x": not a directory', errno.ENOTDIR),
    "device": ("/dev/null", 'exec: "/dev/null": permission denied', errno.EACCES),
    "longer than a name": ("x" * 300, "executable file not found in $PATH", errno.ENOENT),
}


@pytest.mark.parametrize("case", AT_CREATE)
def test_found_out_at_create(box: Box, case: str) -> None:
    put(box, "/etc/plain", b"#!/bin/sh\n", 0o644)
    (box.rootfs / "etc/loop").symlink_to("loop")
    (box.rootfs / "bin/below").mkdir()
    program, text, number = AT_CREATE[case]
    process = {"env": ["PATH=/nowhere:/bin:/etc"]}
    with pytest.raises(orlop.StepError) as caught:
        box.create(box.config(program, process=process))
    assert text in str(caught.value)
    assert caught.value.errno == number
    assert caught.value.pointer == "/process/args"
    assert caught.value.plugin == "process"
    assert box.left() == []


AT_START: dict[str, tuple[str, bytes, int]] = {
    "broken ELF": ("/bin/broken", b"\x7fELF" + b"\0" * 60, errno.ENOEXEC),
    "no format at all": ("/bin/text", b"echo no first line\n", errno.ENOEXEC),
    "empty file": ("/bin/empty", b"", errno.ENOEXEC),
    "missing interpreter": ("/bin/script", b"#!/no/such/interpreter\n", errno.ENOENT),
    "interpreter that is a directory": ("/bin/script", b"#!/etc\n", errno.EACCES),
}


@pytest.mark.parametrize("case", AT_START)
def test_told_by_start(box: Box, case: str) -> None:
    program, content, number = AT_START[case]
    put(box, program, content)
    made = box.create(box.config(program))
    pid = made.pid
    assert made.status == "created"
    with pytest.raises(orlop.StepError, match=f'exec: "{program}"') as caught:
        made.start()
    assert caught.value.errno == number
    assert caught.value.pointer == "/process/args"
    made.wait(PATIENCE)
    assert made.status == "stopped"
    assert is_gone(pid)
    made.delete()
    assert box.left() == []


def test_executable_only_for_others(box: Box) -> None:
    put(box, "/bin/script", b"#!/bin/sh\n", 0o700)
    made = box.create(box.config("/bin/script", process={"user": {"uid": 5, "gid": 5}}))
    with pytest.raises(orlop.StepError, match="permission denied"):
        made.start()


def test_disappears_between_create_and_start(box: Box) -> None:
    put(box, "/bin/script", b"#!/bin/sh\n")
    made = box.create(box.config("script"))
    os.unlink(box.rootfs / "bin/script")
    with pytest.raises(orlop.StepError, match="executable file not found"):
        made.start()


def test_a_second_start_is_refused(box: Box) -> None:
    made = box.start()
    with pytest.raises(orlop.StateError, match="cannot start an already running container"):
        made.start()
    assert made.status == "running"


def test_killed_before_its_start(box: Box) -> None:
    made = box.create()
    made.kill("KILL")
    assert made.wait(PATIENCE) == 137
    with pytest.raises(orlop.StateError, match="cannot start a container that has stopped"):
        made.start()


RELATIVE: dict[str, tuple[str, dict[str, Any]]] = {
    "by PATH": ("tool", {"env": ["PATH=/nowhere:/opt"]}),
    "by its path": ("/opt/tool", {}),
    "relative to the working directory": ("./tool", {"cwd": "/opt"}),
    "empty entry of PATH": ("tool", {"env": ["PATH=/nowhere:"], "cwd": "/opt"}),
    "relative entry of PATH": ("tool", {"env": ["PATH=opt"]}),
    "the last PATH counts": ("tool", {"env": ["PATH=/nowhere", "PATH=/opt"]}),
    "no PATH": ("tool2", {"env": []}),
}


@pytest.mark.parametrize("case", RELATIVE)
def test_found(box: Box, case: str) -> None:
    put(box, "/opt/tool", b"#!/bin/sh\necho found $0\n")
    put(box, "/usr/bin/tool2", b"#!/bin/sh\necho found $0\n")
    program, process = RELATIVE[case]
    ended = box.run(box.config(program, process=process))
    assert ended.status == 0
    assert ended.output.startswith("found ")


def test_arguments_are_exact(box: Box) -> None:
    args = ["", "a b", "ü", "\n", "$HOME", "-c"]
    pid = box.start(box.config("/bin/busybox", "sh", "-c", "/bin/busybox sleep 1000; :", *args)).pid
    with open(f"/proc/{pid}/cmdline", "rb") as file:
        found = file.read().split(b"\0")[:-1]
    assert [one.decode() for one in found[4:]] == args


def test_very_long_arguments_and_environment(box: Box) -> None:
    env = [f"V{number}={'x' * 1000}" for number in range(500)]
    config = box.config("/bin/sh", "-c", "echo ${#1} ${#V499}", "sh", "y" * 100_000, process={"env": env})
    assert box.run(config).output == "100000 1000\n"


def test_longer_than_the_kernel_takes(box: Box) -> None:
    made = box.create(box.config("/bin/true", *["x" * 100_000] * 40))
    with pytest.raises(orlop.StepError, match="argument list too long"):
        made.start()
