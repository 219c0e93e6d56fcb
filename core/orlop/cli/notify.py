"""Readiness of a container, told to the service manager that waits for it (sd_notify(3)).

A manager gives the command a socket in ``NOTIFY_SOCKET``. The container gets another one, in a directory of
its own that it cannot write; what comes there is from the container, so only that it is ready is told on,
with the number that its process has for the host.
"""

from __future__ import annotations

import _socket
import os
import select
import sys
import time

from orlop.lifecycle import create as create_verb
from orlop.lifecycle.bundle import CONFIG, locate, read_config
from orlop.lifecycle.site import READINESS, find
from orlop.lifecycle.start import start
from orlop_hookspecs.errors import ConfigError, DocumentError, PlatformError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Self

    from orlop.lifecycle.site import Site
    from orlop.runtime import Runtime
    from orlop_hookspecs.kernel import Slot
    from orlop_hookspecs.launch import LaunchOptions

VARIABLE = "NOTIFY_SOCKET"
PLACE, _, _SOCKET = READINESS.partition("=")[2].rpartition("/")
"""Where the container has the directory of its socket, and the socket's name in it."""

_DIRECTORY = "notify"
_MODE = 0o755
_ANYBODY = 0o777
_OPTIONS = ["bind", "ro", "nosuid", "nodev", "noexec"]
_LONGEST = 107  # sun_path of unix(7), without the byte at its end
_MESSAGE = 4096
_READY = b"READY=1"
_PATIENCE = 30.0
_AT_ONCE = 64


def caller() -> bytes:
    """Return the address of the caller's socket; empty where nobody waits.

    Raises:
        UsageError: It is no address of a unix socket.
    """
    text = os.environ.get(VARIABLE, "")
    if not text:
        return b""
    if text[0] not in "/@" or not 1 < len(os.fsencode(text)) <= _LONGEST:
        raise UsageError(
            f"{VARIABLE} is no address of a unix socket",
            value=text,
            hint=f"an absolute path, or @ and a name, of at most {_LONGEST} bytes",
        )
    address = os.fsencode(text)
    return b"\0" + address[1:] if text[0] == "@" else address


class Notify:
    """The two sockets of one container; as a context manager it closes the container's at the end."""

    def __init__(self, address: bytes, warn: Callable[[str], None]) -> None:
        """Keep the address of the caller's socket, and whom to tell when it cannot be reached."""
        self._address = address
        self._warn = warn
        self._socket: _socket.socket | None = None
        self._directory = -1
        self._pid = 0

    # -- creating

    @staticmethod
    def create(
        runtime: Runtime, container: str, bundle: str, options: LaunchOptions, source: bytes | None
    ) -> None:
        """Create *container* with the directory of its socket mounted.

        Args:
            runtime: Who creates.
            container: Its identifier.
            bundle: Path of its bundle.
            options: The caller's launch flags.
            source: Text of its config; ``None``: the bundle's own.

        Raises:
            OrlopError: As :meth:`orlop.runtime.Runtime.create`.
        """
        site = runtime.site
        root = getattr(site.store, "root", None)
        own = source is None
        text = read_config(locate(bundle)) if source is None else source
        changed = None if root is None else _with_socket(text, f"{root}/{container}/{_DIRECTORY}")
        try:
            create_verb.create(
                runtime.composition,
                site,
                runtime.kernel,
                container,
                bundle,
                source=changed or text,
                options=options,
                furnish=_make_directory if changed else None,
            )
        except (DocumentError, ConfigError) as error:
            if own and not error.path:
                error.path = os.path.join(bundle, CONFIG)
            raise

    # -- starting

    def start(self, site: Site, container: str) -> None:
        """Start *container*, with its socket in place before its program runs.

        Raises:
            OrlopError: As :func:`orlop.lifecycle.start.start`.
        """
        start(site, container, self._listen)
        self._pid = find(site, container)[0].pid

    def _listen(self, slot: Slot) -> None:
        """Bind the socket, if the container was created with a directory for it; its lock is held."""
        try:
            try:
                self._directory = os.open(
                    f"{slot.path}/{_DIRECTORY}", os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
                )
            except FileNotFoundError:
                return
            self._unlink()  # a start that was killed has left it: this container has not been started
            self._socket = _socket.socket(
                _socket.AF_UNIX, _socket.SOCK_DGRAM | getattr(_socket, "SOCK_CLOEXEC", 0)
            )
            self._socket.setblocking(False)  # noqa: FBT003 - the method's only form
            # By the descriptor: a state root may be deeper than the address of a socket is long.
            self._socket.bind(f"/proc/self/fd/{self._directory}/{_SOCKET}")
            os.chmod(_SOCKET, _ANYBODY, dir_fd=self._directory)
        except OSError as error:
            self.close()
            why = (error.strerror or str(error)).lower()
            raise PlatformError(
                f"cannot make the socket on which the container says that it is ready: {why}",
                path=f"{slot.path}/{_DIRECTORY}/{_SOCKET}",
                errno=error.errno,
            ) from error

    # -- waiting

    @property
    def descriptor(self) -> int:
        """Readable when the container has sent something; -1 when nothing more is expected."""
        return -1 if self._socket is None else self._socket.fileno()

    def wait(self, site: Site, container: str) -> None:
        """Return when the container has said that it is ready and the caller knows, or when it has ended."""
        if self._socket is None:
            return
        record, kernel = find(site, container)
        pidfd = getattr(kernel, "pidfd", None)
        process: int | None = pidfd(record) if pidfd is not None else None
        try:
            poll = select.poll()
            poll.register(self._socket, select.POLLIN)
            if process is not None:
                poll.register(process, select.POLLIN)
            while not self.receive(stay=False):
                ready = poll.poll() if process is not None else []
                if not any(descriptor != process for descriptor, _ in ready):
                    # It has ended; what it may have said just before that is in the socket.
                    self.receive(stay=False)
                    return
        finally:
            if process is not None:
                os.close(process)

    def receive(self, *, stay: bool) -> bool:
        """Read what has come, without waiting; return whether the container is ready.

        The caller is told then; who does not *stay* waits until it has understood, because a manager looks
        up who has written to it.
        """
        for _ in range(_AT_ONCE):  # a container that writes all the time keeps nobody from anything else
            if self._socket is None:
                break
            try:
                message = self._socket.recv(_MESSAGE)
            except BlockingIOError:
                break
            # Descriptors that came along are closed by the kernel: there is no place for them.
            if _READY in message.split(b"\n"):
                self.close()
                self._tell(stay=stay)
                return True
        return False

    def _tell(self, *, stay: bool) -> None:
        with _Caller(self._address, self._warn) as to:
            to.send(_READY)
            to.send(b"MAINPID=%d" % self._pid)
            if not stay:
                to.await_understanding()

    def close(self) -> None:
        """Close the container's socket. Idempotent."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
            self._unlink()
        if self._directory >= 0:
            os.close(self._directory)
            self._directory = -1

    def _unlink(self) -> None:
        try:
            os.unlink(_SOCKET, dir_fd=self._directory)
        except OSError:  # it is not there; or the container has been deleted
            pass

    def __enter__(self) -> Self:
        """Return the sockets."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the container's."""
        self.close()


class _Caller:
    """The caller's socket; the container runs, whatever goes wrong here: it is a warning."""

    def __init__(self, address: bytes, warn: Callable[[str], None]) -> None:
        self._address = address
        self._warn = warn
        self._socket = _socket.socket(
            _socket.AF_UNIX, _socket.SOCK_DGRAM | getattr(_socket, "SOCK_CLOEXEC", 0)
        )

    def __enter__(self) -> Self:
        try:
            self._socket.settimeout(_PATIENCE)
            self._socket.connect(self._address)
        except OSError as error:
            self._failed(error)
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def _failed(self, error: OSError) -> None:
        if self._address:
            why = (error.strerror or str(error)).lower()
            self._warn(f"the container is ready, and {VARIABLE} cannot be told: {why}")
            self._address = b""

    def send(self, message: bytes, descriptor: int = -1) -> None:
        """Send one message, unless an earlier one has failed."""
        rights: list[Any] = []
        if descriptor >= 0:
            number = descriptor.to_bytes(4, sys.byteorder)
            rights = [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, number)]
        if self._address:
            try:
                self._socket.sendmsg([message], rights)
            except OSError as error:
                self._failed(error)

    def await_understanding(self) -> None:
        """Wait until all that was sent has been read (sd_notify_barrier(3))."""
        reader, writer = os.pipe2(os.O_CLOEXEC)
        try:
            self.send(b"BARRIER=1", writer)
            os.close(writer)
            writer = -1
            poll = select.poll()
            poll.register(reader, select.POLLHUP)
            deadline = time.monotonic() + _PATIENCE
            while (left := deadline - time.monotonic()) > 0 and not poll.poll(left * 1000):
                pass
        finally:
            os.close(reader)
            if writer >= 0:
                os.close(writer)


def _make_directory(slot: Slot) -> None:
    path = f"{slot.path}/{_DIRECTORY}"
    os.mkdir(path)
    os.chmod(path, _MODE)


def _with_socket(text: bytes, directory: str) -> dict[str, Any] | None:
    """Return the config *text* with the mount and the variable; ``None`` where they have no place.

    A config that is malformed is left as it is: whoever reads it next says what is wrong.
    """
    from orlop.documents.reader import parse

    try:
        config = parse(text)
    except DocumentError:
        return None
    process = config.get("process")
    if not isinstance(process, dict):
        return None
    environment, mounts = process.get("env", []), config.get("mounts", [])
    if not isinstance(environment, list) or not isinstance(mounts, list):
        return None
    others = [one for one in environment if not (isinstance(one, str) and one.startswith(f"{VARIABLE}="))]
    process["env"] = [*others, READINESS]
    mount = {"destination": PLACE, "type": "bind", "source": directory, "options": _OPTIONS}
    config["mounts"] = [*mounts, mount]
    return config
