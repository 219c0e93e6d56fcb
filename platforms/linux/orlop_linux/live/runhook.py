"""Run one hook of the config in the runtime's namespaces (config.md, "POSIX-platform Hooks").

A hook gets exactly its own environment, the bundle as its working directory (``/`` where that is gone), a
session of its own, the state on standard input and no other descriptor. It may ignore its input, flood its
output, ignore signals or leave processes behind: none of that blocks the runtime. Whoever it leaves behind
loses the output when the hook itself has ended.
"""

from __future__ import annotations

import errno
import os
import select
import time

from orlop_hookspecs.critical import critical
from orlop_linux.live.hookerrors import cannot_run, exited, hook_error, killed, out_of_time
from orlop_linux.live.process import SIGKILL, has_ended, reason, send

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

TAIL = 16384
"""How many bytes of a failed hook's output are kept, as a note of the error: the last ones."""

_PATIENCE = 5.0
_PIPE = 65536  # what a pipe holds, pipe(7)
_MFD_NOEXEC_SEAL = 8  # memfd_create(2), Linux 6.3; vm.memfd_noexec=2 refuses descriptors without it


def run_hook(hook: Mapping[str, Any], state: bytes) -> None:
    """Run *hook*, the fields of a RunHook step, with *state* on its standard input.

    Raises:
        HookError: It could not be run, exited with another status than 0, was killed, or ran out of time.
    """
    path = hook["path"]
    if not path.startswith("/") or "\0" in path:
        raise hook_error(hook, "its path is not absolute")
    timeout = hook.get("timeout")
    deadline = None if timeout is None else time.monotonic() + timeout
    stdin = _state_file(state)
    reader, writer = os.pipe2(os.O_CLOEXEC)
    child = None
    try:
        try:
            with critical:
                child = _Child(_spawn(hook, _directory(state), stdin, writer))
        except OSError as error:
            raise hook_error(hook, cannot_run(reason(error)), number=error.errno) from error
        finally:
            os.close(writer)
        _supervise(hook, child, reader, deadline)
    finally:
        if child is not None:
            # Also when the caller is interrupted.
            child.finish()
        os.close(stdin)
        os.close(reader)


def _state_file(state: bytes) -> int:
    """Return a descriptor that reads *state*: a file, so that a hook that reads nothing blocks nobody."""
    try:
        fd = os.memfd_create("state", os.MFD_CLOEXEC | _MFD_NOEXEC_SEAL)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        fd = os.memfd_create("state", os.MFD_CLOEXEC)
    view = memoryview(state)
    while view:
        view = view[os.write(fd, view) :]
    os.lseek(fd, 0, os.SEEK_SET)
    return fd


def _directory(state: bytes) -> bytes:
    """Return the bundle's path, if it can be entered: hooks of other runtimes start there, too."""
    from orlop_linux.init import jsontext

    try:
        document = jsontext.loads(state)
    except ValueError:
        document = None
    bundle = document.get("bundle") if isinstance(document, dict) else None
    if isinstance(bundle, str) and bundle.startswith("/") and "\0" not in bundle:
        place = os.fsencode(bundle)
        if os.path.isdir(place) and os.access(place, os.X_OK, effective_ids=True):
            return place
    return b"/"


def _spawn(hook: Mapping[str, Any], directory: bytes, stdin: int, output: int) -> int:
    """Start the hook's program in *directory* and return its pid.

    posix_spawn(3) of the standard library can change neither the directory nor close what is inherited, and
    fork(2) is not for a threaded caller: this is the C function under ``subprocess``, which does all of it
    between vfork(2) and execve(2). Being private, it may change; then ``subprocess`` itself does the same for
    ten milliseconds of import.
    """
    path = os.fsencode(hook["path"])
    argv = [os.fsencode(arg) for arg in hook.get("args") or (hook["path"],)]
    env = [os.fsencode(entry) for entry in hook.get("env") or ()]
    if any(b"\0" in entry for entry in (*argv, *env)):
        raise OSError(errno.EINVAL, "NUL in an argument")
    try:
        import _posixsubprocess

        fork_exec: Any = _posixsubprocess.fork_exec
        report, problem = os.pipe2(os.O_CLOEXEC)
        try:
            # After the program: descriptors to keep, directory, environment, ends of three pipes and of the
            # one for faults; signals to their defaults, setsid, process group, group, groups, user, umask,
            # preexec_fn, vfork.
            close_others, defaults, session, vfork = True, True, True, True
            streams = (stdin, -1, -1, output, -1, output, report, problem)
            try:
                pid: int = fork_exec(
                    argv, (path,), close_others, (problem,), directory, env, *streams,
                    defaults, session, -1, None, None, None, -1, None, vfork,
                )  # fmt: skip
            finally:
                os.close(problem)
            fault = os.read(report, 1024)
        finally:
            os.close(report)
    except (ImportError, TypeError):
        return _spawn_publicly(path, argv, env, directory, (stdin, output))
    if fault:
        # "OSError:2:" and where; the number is hexadecimal.
        try:
            os.waitid(os.P_PID, pid, os.WEXITED)
        except ChildProcessError:
            pass
        number = int(fault.split(b":")[1] or b"0", 16)
        raise OSError(number or errno.EIO, os.strerror(number or errno.EIO))
    return pid


def _spawn_publicly(
    path: bytes, argv: list[bytes], env: list[bytes], directory: bytes, streams: tuple[int, int]
) -> int:
    import subprocess

    stdin, output = streams
    environment = {}
    for entry in env:
        key, _, value = entry.partition(b"=")
        environment[key] = value
    child = subprocess.Popen(  # noqa: S603 - the config names the program
        argv,
        executable=path,
        stdin=stdin,
        stdout=output,
        stderr=output,
        cwd=directory,
        env=environment,
        start_new_session=True,
    )
    child.returncode = 0  # its end is waited for here, not there
    return child.pid


class _Child:
    """The hook's process, which does not outlive the call."""

    __slots__ = ("_end", "_pid", "pidfd")

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._end: Any = None
        try:
            self.pidfd = os.pidfd_open(pid)
        except ProcessLookupError:
            self.pidfd = -1  # it has ended, and the caller has the kernel reap its children

    def finish(self) -> Any:  # noqa: ANN401 - the result of waitid(2), or None
        """Kill the hook if it has not ended, and reap it; one that does not end is left to the system."""
        if self.pidfd >= 0:
            if not has_ended(self.pidfd):
                _kill(self._pid, self.pidfd)
            if has_ended(self.pidfd, _PATIENCE):
                try:
                    self._end = os.waitid(os.P_PIDFD, self.pidfd, os.WEXITED)
                except ChildProcessError:
                    pass
            os.close(self.pidfd)
            self.pidfd = -1
        return self._end


def _supervise(hook: Mapping[str, Any], child: _Child, reader: int, deadline: float | None) -> None:
    tail = bytearray()
    in_time = True
    if child.pidfd >= 0:
        in_time = _follow(child.pidfd, reader, tail, deadline)
    found = child.finish()
    if not in_time:
        raise hook_error(hook, out_of_time(hook["timeout"]), output=bytes(tail))
    if found is None:
        hint = "the calling program ignores SIGCHLD or reaps every child"
        raise hook_error(hook, "its exit status is unknown", output=bytes(tail), hint=hint)
    if found.si_code != os.CLD_EXITED:
        raise hook_error(hook, killed(found.si_status), output=bytes(tail))
    if found.si_status:
        raise hook_error(hook, exited(found.si_status), output=bytes(tail))


def _follow(pidfd: int, reader: int, tail: bytearray, deadline: float | None) -> bool:
    """Read the hook's output until the hook has ended; return False when the time is over first."""
    poller = select.poll()
    poller.register(pidfd, select.POLLIN)
    poller.register(reader, select.POLLIN)
    while True:
        left = None if deadline is None else deadline - time.monotonic()
        if left is not None and left <= 0:
            return False
        # Never longer than a day at once: poll(2) counts milliseconds in an int.
        events = dict(poller.poll(None if left is None else min(int(left * 1000) + 1, 86_400_000)))
        if pidfd in events:
            # What the hook wrote before its end; not more, a process that it left behind may go on writing.
            for _ in range(_PIPE // TAIL):
                if not (has_ended(reader) and _read(reader, tail)):
                    break
                del tail[:-TAIL]
            return True
        if reader in events:
            if not _read(reader, tail):
                poller.unregister(reader)
            del tail[:-TAIL]


def _read(reader: int, tail: bytearray) -> bool:
    part = os.read(reader, TAIL)
    tail += part
    return bool(part)


def _kill(pid: int, pidfd: int) -> None:
    """Kill the hook and its process group, whose number is the hook's as long as the hook is not reaped."""
    try:
        os.killpg(pid, SIGKILL)
    except (ProcessLookupError, PermissionError):
        pass
    send(pidfd, SIGKILL)
