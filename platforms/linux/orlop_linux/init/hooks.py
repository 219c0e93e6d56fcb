"""Hooks that run in the container's namespaces: createContainer and startContainer (config.md)."""

from __future__ import annotations

import _signal as signal  # type: ignore[import-not-found]  # typeshed has only signal
import errno
import os
import select
import time

from orlop_linux.init import failure, jsontext, syscalls
from orlop_linux.init.failure import Failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

    from orlop_linux.init.context import Context

_STATUS = {"createContainer": "creating", "startContainer": "created"}
_PIPE = 65536  # what a pipe holds, pipe(7)
_DRAINS = 4
_ERRNO_SIZE = 4


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _state_file(context: Context, kind: str) -> int:
    """Return a descriptor to read the state from; a file cannot block a hook that reads nothing."""
    state = dict(jsontext.loads(context.state), status=_STATUS[kind], pid=os.getpid())
    fd = syscalls.memory_file("state")
    os.write(fd, jsontext.dumps(state).encode())
    os.lseek(fd, 0, os.SEEK_SET)
    return fd


def _become(context: Context, fields: dict[str, Any], state: int, output: int, report: int) -> NoReturn:
    """Be the hook: its own session, exactly its environment, nothing inherited."""
    try:
        os.setsid()
        os.umask(context.umask)
        for fd, number in ((state, 0), (output, 1), (output, 2)):
            os.dup2(fd, number)
        syscalls.close_range(3, 0xFFFFFFFF, cloexec=True)
        for number in (signal.SIGPIPE, signal.SIGXFSZ):
            signal.signal(number, signal.SIG_DFL)
        if fields["kind"] == "createContainer":
            os.fchdir(context.root_fd)
        else:
            os.chdir("/")
        args = [_bytes(arg) for arg in fields["args"]] or [_bytes(fields["path"])]
        env = [_bytes(entry) for entry in fields["env"]]
        syscalls.prepare_execve(_bytes(fields["path"]), args, env)()
    except OSError as error:
        os.write(report, (error.errno or errno.EIO).to_bytes(_ERRNO_SIZE, "little"))
    finally:
        os._exit(127)


class _Tail:
    """The last bytes of what a hook writes."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.data = b""

    def read(self) -> bool:
        """Take what is there; return whether there may be more."""
        chunk = os.read(self.fd, _PIPE)
        self.data = (self.data + chunk)[-failure.OUTPUT_LIMIT :]
        return bool(chunk)

    def drain(self) -> None:
        """Take what the hook had written when it ended; who it left behind may write on for ever."""
        for _ in range(_DRAINS):
            try:
                if not self.read():
                    return
            except BlockingIOError:
                return


def _watch(pidfd: int, tail: _Tail, engine: int, timeout: int | None) -> bool:
    """Read the hook's output until it ends.

    Returns:
        Whether it ended in time, and while the other side of *engine* was there.
    """
    deadline = None if timeout is None else time.monotonic() + timeout
    poller = select.poll()
    poller.register(pidfd, select.POLLIN)
    poller.register(tail.fd, select.POLLIN)
    if engine >= 0:
        poller.register(engine, 0)  # only its end is reported
    while True:
        left = None if deadline is None else deadline - time.monotonic()
        # The time is over even if the output never stops.
        ready = dict(poller.poll(None if left is None else max(0.0, left) * 1000))
        if pidfd in ready:
            return True
        if not ready or engine in ready or (left is not None and left <= 0):
            return False
        if tail.fd in ready and not tail.read():
            poller.unregister(tail.fd)


def _kill(pid: int, pidfd: int) -> None:
    """Kill a hook with its session; the number is the hook's until it is reaped."""
    try:
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass  # it has no session of its own yet
    signal.pidfd_send_signal(pidfd, signal.SIGKILL)


def _spawn(context: Context, fields: dict[str, Any]) -> tuple[int, int, int]:
    """Fork the hook; return its process id, and from where its output and a refused execve(2) are read."""
    state = _state_file(context, fields["kind"])
    report_read, report_write = os.pipe2(os.O_CLOEXEC)
    output_read, output_write = os.pipe2(os.O_CLOEXEC)
    os.set_blocking(output_read, False)
    pid = os.fork()
    if pid == 0:
        _become(context, fields, state, output_write, report_write)
    for fd in (state, report_write, output_write):
        os.close(fd)
    return pid, output_read, report_read


def run_hook(context: Context, fields: dict[str, Any], _index: int) -> None:
    """Execute RunHook for a hook of the container's namespaces.

    While the container is being made, the hook ends with the engine. Once it is there, nobody has to wait for
    it.
    """
    pid, output, report = _spawn(context, fields)
    pidfd = os.pidfd_open(pid)
    tail = _Tail(output)
    try:
        engine = context.status_fd if fields["kind"] == "createContainer" else -1
        in_time = _watch(pidfd, tail, engine, fields["timeout"])
        if not in_time:
            _kill(pid, pidfd)
        _, status = os.waitpid(pid, 0)
        refused = os.read(report, _ERRNO_SIZE)
        tail.drain()
    finally:
        for fd in (pidfd, report, output):
            os.close(fd)
    if refused:
        raise Failure(int.from_bytes(refused, "little"), failure.DETAIL_HOOK_EXEC)
    if not in_time:
        raise Failure(errno.ETIMEDOUT, failure.DETAIL_HOOK_TIMEOUT, tail.data)
    if os.WIFSIGNALED(status):
        raise Failure(os.WTERMSIG(status), failure.DETAIL_HOOK_SIGNAL, tail.data)
    if os.WEXITSTATUS(status):
        raise Failure(os.WEXITSTATUS(status), failure.DETAIL_HOOK_EXIT, tail.data)


OPS = {"RunHook": run_hook}
