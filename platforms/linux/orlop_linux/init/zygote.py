"""The zygote: a single-threaded process, started once, from which every container child is cloned.

It runs as the caller, in the caller's namespaces, from a protected copy of the interpreter, and has
everything imported that a child may need. A clone therefore needs neither imports nor an exec, and inherits
nothing but memory.
"""

from __future__ import annotations

import _signal as signal  # type: ignore[import-not-found]  # typeshed has only signal
import _socket as socket
import gc
import os
import sys

from orlop_linux.init import child, failure, jsontext, protocol, syscalls
from orlop_linux.init.selfcheck import verify_self
from orlop_linux.init.stage import run_stage

CONTROL_FD = 3
"""The descriptor on which the zygote listens for requests."""


def seal() -> None:
    """Make sure that nothing can be imported any more.

    The finders would search paths, and in a container these belong to the container.
    """
    sys.meta_path[:] = []
    sys.path[:] = []
    sys.path_hooks[:] = []
    sys.path_importer_cache.clear()


def reset_signals() -> None:
    """Give every signal its default action; SIGPIPE stays ignored until the payload is executed."""
    for number in range(1, signal.NSIG):
        if number in (32, 33):
            syscalls.default_signal(number)
        elif number not in (signal.SIGKILL, signal.SIGSTOP, signal.SIGPIPE):
            signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def prepare() -> None:
    """Bring the process into the state that every child starts from."""
    syscalls.close_range(CONTROL_FD + 1, 0xFFFFFFFF, cloexec=False)
    syscalls.prctl(syscalls.PR_SET_DUMPABLE, 0)
    os.environ.clear()
    os.chdir("/")
    os.umask(0)
    reset_signals()
    # Used once now, so that nothing has to be looked up later.
    jsontext.loads(jsontext.dumps({"warm": ["up", 1, None, True, "\u00e9"]}))
    "\udcff".encode("utf-8", "surrogateescape")
    str(OSError(2, "x"))
    seal()
    gc.collect()
    gc.freeze()
    gc.disable()


def serve(control: socket.socket) -> None:
    """Clone a child for each request until the engine closes the channel."""
    while True:
        try:
            kind, payload, fds = protocol.receive(control)
        except (protocol.EndOfChannel, ConnectionError):
            return
        if kind == protocol.SPAWN and fds:
            spawn(control, jsontext.loads(payload), fds.pop(0), fds)
        for fd in fds:
            os.close(fd)


def _clone(birth: child.Birth, *, staged: bool) -> tuple[int, int]:
    """Clone the stage, which makes all the rest, or the child; return pid and pidfd, or (0, -1) in it."""
    if staged:
        return syscalls.clone3(syscalls.CLONE_PARENT)
    return syscalls.clone3(syscalls.CLONE_PARENT | birth.flags, birth.cgroup_fd)


def spawn(control: socket.socket, request: dict[str, object], channel_fd: int, fds: list[int]) -> None:
    """Clone the child, or the stage that will clone it; return only in the zygote, the channel closed."""
    channel = socket.socket(fileno=channel_fd)
    try:
        birth = child.Birth(request, fds)
        staged = birth.needs_stage()
        pid, pidfd = _clone(birth, staged=staged)
        if pid == 0:
            control.close()
            if staged:
                run_stage(channel, birth)
            child.run(channel, birth)
        try:
            kind = protocol.STAGE if staged else protocol.PID
            protocol.send(channel, kind, str(pid).encode(), (pidfd,))
        finally:
            os.close(pidfd)
    except OSError as error:
        _refuse(channel, error)
    finally:
        channel.close()


def _refuse(channel: socket.socket, error: OSError) -> None:
    packed = failure.pack_failure(failure.PHASE_SPAWN, 0, error.errno or 0, failure.DETAIL_NONE)
    try:
        protocol.send(channel, protocol.FAILED, packed)
    except OSError:
        pass  # the engine is gone; a child that is there learns it from the same channel


def main() -> None:
    """Run the zygote until the engine is gone; never return.

    An interpreter that a container could overwrite must not serve: the engine then finds the channel closed.
    """
    status = 1
    try:
        if verify_self():
            prepare()
            serve(socket.socket(fileno=CONTROL_FD))
            status = 0
    finally:
        os._exit(status)
