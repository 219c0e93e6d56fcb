"""CRIU as a child of ours: found, started, asked and ended."""

from __future__ import annotations

import errno
import json
import os
import select
from typing import TYPE_CHECKING

from orlop_hookspecs.critical import critical
from orlop_hookspecs.errors import PlatformError
from orlop_linux.kernel.criu import rpc
from orlop_linux.kernel.criu.worker import FIRST
from orlop_linux.live import prewarm
from orlop_linux.live.process import SIGKILL, has_ended, open_pid, read_stat, send

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any, Self

    Notified = Callable[[str, int, int], None]

OLDEST = (3, 15)
"""Older versions know neither external pid namespaces nor how to freeze a cgroup of version 2."""

_PACKAGES = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
_PROGRAM = (
    f"import sys; sys.path.append({_PACKAGES!a}); from orlop_linux.kernel.criu.worker import main; main()"
)
_PLACES = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_MESSAGE = 1 << 16
_PATIENCE = 10.0
_TOLD = 2


def find() -> str:
    """Return the path of CRIU: of ``criu`` on the caller's PATH, then where administrators keep programs.

    Raises:
        PlatformError: There is none.
    """
    for place in f"{os.environ.get('PATH', '')}:{_PLACES}".split(":"):
        path = f"{place}/criu"
        if place.startswith("/") and os.path.isfile(path) and os.access(path, os.X_OK):
            return path
    raise PlatformError(
        "criu is not installed", errno=errno.ENOENT, hint="install criu 3.15 or later, or put it on PATH"
    )


class Service:
    """One ``criu swrk``: a child that serves one connection, and ends with it.

    Args:
        fds: What it is to have, as descriptors from :data:`~.worker.FIRST` on.
        directories: How many of these are directories that a request names.
        terminal: The last of these is its standard input, the terminal that it has processes inherit.
        cgroups: Open files of cgroups that it enters by writing 0.
        root: Descriptor and path of the root file system that it mounts over itself for a restore.
        started: Told its process id before it does anything.
    """

    def __init__(  # noqa: PLR0913 - all that a process may be given
        self,
        *,
        fds: Sequence[int] = (),
        directories: int = 0,
        terminal: bool = False,
        cgroups: Sequence[int] = (),
        root: tuple[int, str] | None = None,
        started: Callable[[int, int], None] | None = None,
    ) -> None:
        """Keep the parts."""
        self._fds = fds
        self._directories = directories
        self._terminal = terminal
        self._cgroups = cgroups
        self._root = root
        self._started = started
        self._control: Any = None
        self._service: Any = None
        self._pid = 0
        self._pidfd = -1

    def __enter__(self) -> Self:
        """Start it.

        Raises:
            PlatformError: It cannot be found or does not start.
        """
        import socket

        program = find()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
        self._control = ours
        try:
            with critical:
                self._pid = prewarm.launch(theirs.fileno(), _PROGRAM)
                self._pidfd = open_pid(self._pid) or -1
            theirs.close()
            stat = read_stat(self._pid)
            if self._started is not None and stat is not None:
                self._started(self._pid, stat[1])
            path = os.environ.get("PATH", "")
            message = {
                "program": program,
                "environment": {"PATH": f"{path}:{_PLACES}" if path else _PLACES},
                "cgroups": len(self._cgroups),
                "directories": self._directories,
                "terminal": self._terminal,
                "root": self._root[1] if self._root else "",
            }
            fds = [*self._cgroups, *([self._root[0]] if self._root else ()), *self._fds]
            socket.send_fds(ours, [json.dumps(message).encode()], fds)
            self._service = self._follow()
        except BaseException:
            theirs.close()
            self.__exit__()
            raise
        return self

    def number(self, index: int) -> int:
        """Return as which descriptor it has ``fds[index]``."""
        return FIRST + index

    def version(self) -> tuple[int, int]:
        """Return its version, major and minor.

        Raises:
            PlatformError: It is too old.
        """
        answer = self.ask(rpc.request(rpc.VERSION, keep_open=True)).get("version", {})
        version = answer.get("major_number", 0), answer.get("minor_number", 0)
        if version < OLDEST:
            raise PlatformError(
                f"criu {version[0]}.{version[1]} is too old",
                path=find(),
                hint=f"orlop works with criu {OLDEST[0]}.{OLDEST[1]} or later",
            )
        return version

    def require(self, feature: str, why: str) -> None:
        """Refuse when kernel and CRIU do not have *feature*, a field of criu_features.

        Raises:
            PlatformError: They have not.
        """
        request = rpc.request(rpc.FEATURE_CHECK, keep_open=True, features={feature: True})
        if not self.ask(request).get("features", {}).get(feature):
            raise PlatformError(why, errno=errno.EOPNOTSUPP)

    def ask(self, request: bytes, notified: Notified | None = None) -> dict[str, Any]:
        """Send a request and return its answer; meanwhile *notified* hears what CRIU has come to.

        It is called with the name of an action script (criu(8), Action scripts), the process id that comes
        with it and a descriptor, or -1 for none, which it takes over. When it raises, CRIU is told that the
        script failed, undoes what it has done, and the error is raised in the end.
        """
        told = _Told(notified)
        try:
            return self._serve(request, told)
        except PlatformError as error:
            # CRIU may not outlive what it was told, or who it has made.
            raise told.failure or error from None
        finally:
            told.close()

    def _serve(self, request: bytes, told: _Told) -> dict[str, Any]:
        self._send(request)
        while True:
            data, fd = self._receive(self._service)
            if not data:
                raise self._ended()
            try:
                answer = rpc.response(data)
            except ValueError as error:
                raise PlatformError(f"criu gave an answer that cannot be read: {error}") from error
            if answer["type"] != rpc.NOTIFY:
                if told.failure is not None:
                    raise told.failure
                return answer
            told(answer.get("notify", {}), fd)
            self._send(rpc.request(rpc.NOTIFY, notify_success=told.failure is None))

    def _send(self, message: bytes) -> None:
        try:
            self._service.send(message)
        except OSError as error:
            raise self._ended() from error

    def _receive(self, source: Any) -> tuple[bytes, int]:  # noqa: ANN401 - a socket, of a module not loaded yet
        """Return the next message from *source* and its descriptor; an empty one at the end."""
        import socket

        poller = select.poll()
        poller.register(source, select.POLLIN)
        while not poller.poll(1000):
            pass  # a signal is looked at once a second at the latest
        try:
            data, fds, _, _ = socket.recv_fds(source, _MESSAGE, 1, socket.MSG_CMSG_CLOEXEC)
        except OSError as error:
            raise self._ended() from error
        return data, fds[0] if fds else -1

    def _follow(self) -> Any:  # noqa: ANN401 - a socket
        """Return the connection to CRIU, once the worker has become it.

        Raises:
            PlatformError: It could not.
        """
        import socket

        service = None
        while True:
            data, fd = self._receive(self._control)
            if fd >= 0:
                service = socket.socket(fileno=fd)
            elif data[:1] == b"!":
                number = int(data[1:])
                if service is not None:
                    service.close()
                raise PlatformError(
                    f"criu cannot be started: {os.strerror(number).lower()}", path=find(), errno=number
                )
            elif service is None:
                raise self._ended()
            else:
                return service

    def _ended(self) -> PlatformError:
        return PlatformError("criu has ended before it answered", path=find())

    def __exit__(self, *_: object) -> None:
        """Close the connection and wait for its end; what does not end is killed."""
        for one in (self._control, self._service):
            if one is not None:
                one.close()
        if not self._pid:
            return
        with critical:
            pid, self._pid = self._pid, 0
            if self._pidfd >= 0:
                if not has_ended(self._pidfd, _PATIENCE):
                    send(self._pidfd, SIGKILL)
                os.close(self._pidfd)
                self._pidfd = -1
            try:
                os.waitpid(pid, 0)
            except ChildProcessError:
                pass  # the program that embeds us reaps all its children


class _Told:
    """Passes on what CRIU has come to, until somebody fails there."""

    def __init__(self, notified: Notified | None) -> None:
        self._notified = notified
        self.failure: Exception | None = None

    def __call__(self, notify: Mapping[str, Any], fd: int) -> None:
        try:
            if self._notified is not None and self.failure is None:
                self._notified(notify.get("script", ""), notify.get("pid", 0), fd)
            elif fd >= 0:
                os.close(fd)
        except Exception as error:  # noqa: BLE001 - whatever it is, CRIU undoes first
            self.failure = error

    def close(self) -> None:
        """Break the circle of an exception that is kept with its own frames."""
        self.failure = None


_HARMLESS = ("rlimit: ", "tun: ", " FAILED.")
"""What CRIU calls an error although it goes on, or when it has said already why it does not."""


def failure(act: str, answer: Mapping[str, Any], log: bytes) -> str:
    """Return in one line why CRIU failed: its number, and what its log calls an error, first things first."""
    number = answer.get("cr_errno", 0)
    text = f"criu failed: type {act} errno {number}"
    lines = [line for line in log.decode(errors="replace").splitlines() if "Error (" in line]
    telling = [line for line in lines if not any(word in line for word in _HARMLESS)]
    reasons = [line[line.index("Error (") :].partition("): ")[2].strip() for line in telling[:_TOLD]]
    if not reasons:
        reasons = [" ".join((answer.get("cr_errmsg") or "").split())]
    return ": ".join((text, *filter(None, reasons)))
