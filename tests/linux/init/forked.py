"""Running a function in a forked process with mounts of its own, so that the host never sees what it does."""

from __future__ import annotations

import json
import os
import select
import signal
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from orlop_linux.init import procfs, root, syscalls
from orlop_linux.init.context import Context

_CLONE = syscalls.OPEN_TREE_CLONE | syscalls.AT_EMPTY_PATH | syscalls.AT_RECURSIVE
DEADLINE = 120


class RefusedError(AssertionError):
    """The function raised an OSError that it did not expect."""

    def __init__(self, errno: int, text: str) -> None:
        super().__init__(f"errno {errno}\n{text}")
        self.errno = errno


def _write_maps(pid: int) -> None:
    for name in ("uid_map", "gid_map"):
        Path(f"/proc/{pid}/{name}").write_text("0 0 65536\n", encoding="ascii")


def _answer(function: Callable[[], Any]) -> list[Any]:
    try:
        return ["ok", function()]
    except OSError as error:
        return ["refused", error.errno, traceback.format_exc()]
    except BaseException:  # noqa: BLE001 - whatever it is, the test shall show it
        return ["crashed", traceback.format_exc()]


def in_child(function: Callable[[], Any], *, namespaces: int = syscalls.CLONE_NEWNS) -> Any:
    """Return what *function* returns, which is JSON, in a process with new *namespaces*.

    With a new user namespace, ids 0 to 65535 are mapped to themselves.
    """
    down_read, down_write = os.pipe()
    up_read, up_write = os.pipe()
    pid = os.fork()
    if pid == 0:
        signal.alarm(DEADLINE)
        os.close(up_read)
        os.close(down_write)
        try:
            os.umask(0)
            if namespaces:
                syscalls.unshare(namespaces)
            if namespaces & syscalls.CLONE_NEWNS:
                # systemd leaves a host's mounts shared; nothing of a test may reach the host.
                top = os.open("/", os.O_PATH)
                syscalls.mount_setattr(top, propagation=syscalls.MS_PRIVATE, recursive=True)
                os.close(top)
            os.write(up_write, b"?")
            os.read(down_read, 1)
            os.close(down_read)
            data = json.dumps(_answer(function)).encode()
            while data:
                data = data[os.write(up_write, data) :]
        finally:
            os._exit(0)
    os.close(up_write)
    os.close(down_read)
    try:
        answer = _receive(pid, up_read, down_write, user=bool(namespaces & syscalls.CLONE_NEWUSER))
    finally:
        os.close(up_read)
        os.close(down_write)
        os.waitpid(pid, 0)
    if not answer:
        pytest.fail("the child ended without an answer")
    kind, *rest = json.loads(answer)
    if kind == "ok":
        return rest[0]
    if kind == "refused":
        raise RefusedError(*rest)
    pytest.fail(rest[0])


def _receive(pid: int, up_read: int, down_write: int, *, user: bool) -> bytes:
    poller = select.poll()
    poller.register(up_read, select.POLLIN)
    deadline = time.monotonic() + DEADLINE
    data = b""
    ready = False
    while True:
        if not poller.poll(max(0.0, deadline - time.monotonic()) * 1000):
            os.kill(pid, signal.SIGKILL)
            pytest.fail("the child did not answer in time")
        chunk = os.read(up_read, 65536)
        if not chunk:
            return data
        if not ready:
            ready = True
            if user:
                _write_maps(pid)
            os.write(down_write, b"!")
            chunk = chunk[1:]
        data += chunk


def clone(path: Path | str, *, propagation: int = syscalls.MS_SLAVE) -> int:
    """Return a detached tree of *path*, as the engine sends it."""
    fd = os.open(path, os.O_PATH)
    try:
        tree = syscalls.open_tree(fd, b"", _CLONE)
    finally:
        os.close(fd)
    if propagation:
        syscalls.mount_setattr(tree, propagation=propagation, recursive=True)
    return tree


def furnish(rootfs: Path, **facts: Any) -> Context:
    """Return a context whose root is *rootfs*, attached; call it in the child."""
    trees = {"root": clone(rootfs), **facts.pop("trees", {})}
    facts.setdefault("new_namespaces", frozenset(("mount",)))
    context = Context(proc_fd=procfs.open_private(new_pid_namespace=False), trees=trees, **facts)
    root.prepare_root(context, {"path": str(rootfs), "propagation": "rslave", "own_namespace": True}, 0)
    return context


def switch(context: Context, method: str = "pivot") -> None:
    """Enter the context's root."""
    root.switch_root(context, {"method": method}, 0)


def mount_table(context: Context) -> list[tuple[str, str, list[str], str]]:
    """Return mount point, root, options (with propagation) and type of each mount of the calling process."""
    fd = procfs.open_file(context.proc_fd, b"%d/mountinfo" % os.getpid(), os.O_RDONLY)
    with os.fdopen(fd) as file:
        table = []
        for line in file:
            words = line.split()
            dash = words.index("-")
            table.append((words[4], words[3], words[5].split(",") + words[6:dash], words[dash + 1]))
        return table


def open_fds() -> set[int]:
    """Return the numbers of the open descriptors, without a procfs."""
    return {fd for fd in range(1024) if not errno_of(os.fstat, fd)}


def snapshot(path: Path) -> list[tuple[str, int, int, int, int, int]]:
    """Return all that is below *path*: name, mode, owner, size, time of change."""
    found = []
    for directory, _, _ in os.walk(path):
        with os.scandir(directory) as entries:
            for entry in entries:
                info = entry.stat(follow_symlinks=False)
                found.append(
                    (entry.path, info.st_mode, info.st_uid, info.st_gid, info.st_size, info.st_mtime_ns)
                )
    return sorted(found)


def filesystem(destination: str, type_: str = "tmpfs", **fields: Any) -> dict[str, Any]:
    """Return the fields of a MountFilesystem step."""
    return {
        "destination": destination,
        "type": type_,
        "source": type_,
        "attributes": (),
        "cleared": (),
        "superblock": (),
        "data": (),
        "propagation": (),
        "tmpcopyup": False,
        "recursive": (),
        "idmap": None,
        **fields,
    }


def bind(destination: str, **fields: Any) -> dict[str, Any]:
    """Return the fields of a MountBind step."""
    return {
        "destination": destination,
        "source": "",
        "submounts": True,
        "attributes": (),
        "cleared": (),
        "superblock": (),
        "propagation": (),
        "recursive": (),
        "idmap": None,
        **fields,
    }


def errno_of(function: Callable[..., Any], *args: Any) -> int:
    """Return the errno with which *function* fails; 0 if it does not."""
    try:
        function(*args)
    except OSError as error:
        return error.errno or -1
    return 0


def names(table: Sequence[tuple[str, str, list[str], str]]) -> list[str]:
    """Return the mount points of a mount table."""
    return [line[0] for line in table]
