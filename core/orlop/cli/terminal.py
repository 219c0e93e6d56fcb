"""The terminal of a container in the foreground: its master end, joined to the caller's own terminal."""

from __future__ import annotations

import _socket
import errno
import fcntl
import os
import sys
import termios

from orlop_hookspecs.errors import PlatformError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_WINSIZE = bytes(8)  # struct winsize of ioctl_tty(2)
_MESSAGE = 4096
_CHUNK = 65536
_STDIN, _STDOUT = 0, 1
_INPUT, _OUTPUT, _CONTROL, _LOCAL, _CHARACTERS = 0, 1, 2, 3, 6  # places in what tcgetattr returns


class ConsoleSocket:
    """A socket of our own that receives the master, as an engine's would.

    It lies in a directory that only the caller can enter, and is removed when it is closed.
    """

    def __init__(self) -> None:
        """Make the directory, bind and listen: a sender need not wait for us."""
        self._directory = f"{_private_place()}/orlop-{os.urandom(8).hex()}"
        os.mkdir(self._directory, 0o700)
        self.path = f"{self._directory}/console.sock"
        self._socket = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
        try:
            self._socket.bind(self.path)
            self._socket.listen(1)
            self._socket.setblocking(False)  # noqa: FBT003 - the method's only form
        except BaseException:
            self.close()
            raise

    def receive(self) -> int:
        """Return the master; the container has been created, so that it has been sent.

        The socket is not needed any longer and is removed: a command that is killed later leaves none.

        Raises:
            PlatformError: No descriptor came.
        """
        try:
            # What socket.accept() is made of; the module socket itself costs milliseconds.
            descriptor, _ = self._socket._accept()  # type: ignore[attr-defined]  # noqa: SLF001 - no public twin
        except BlockingIOError as error:
            raise PlatformError("the container's terminal was not set up") from error
        connection = _socket.socket(fileno=descriptor)
        try:
            _, ancillary, _, _ = connection.recvmsg(
                _MESSAGE, _socket.CMSG_SPACE(4), getattr(_socket, "MSG_CMSG_CLOEXEC", 0)
            )
        finally:
            connection.close()
            self.close()
        for level, kind, data in ancillary:
            if level == _socket.SOL_SOCKET and kind == _socket.SCM_RIGHTS and len(data) >= 4:
                return int.from_bytes(data[:4], sys.byteorder)
        raise PlatformError("the container's terminal was not set up: no descriptor was sent")

    def close(self) -> None:
        """Remove the socket and its directory. Idempotent."""
        self._socket.close()
        for remove, path in ((os.unlink, self.path), (os.rmdir, self._directory)):
            try:
                remove(path)
            except OSError:
                pass


class Proxy:
    """Bytes between the caller's terminal (or pipes) and the master, without ever blocking."""

    def __init__(self, master: int) -> None:
        """Take over *master*; the caller's terminal, if there is one, becomes raw until :meth:`close`."""
        self._master = master
        os.set_blocking(master, False)
        self._terminal = next((fd for fd in (0, 1, 2) if os.isatty(fd)), -1)
        self._saved: list[Any] | None = None
        self._to_master = b""
        self._last = b"\n"
        self._reading = True
        self.open = True
        if self._terminal >= 0:
            self._saved = termios.tcgetattr(self._terminal)
            self.resize()
            termios.tcsetattr(self._terminal, termios.TCSANOW, _raw(self._saved))
        _without_carriage_returns(master)

    def interest(self) -> list[tuple[int, int]]:
        """Return the descriptors to poll for, each with its events (poll(2))."""
        import select

        if not self.open:
            return []
        wanted = [(self._master, select.POLLIN | (select.POLLOUT if self._to_master else 0))]
        if self._reading and not self._to_master:
            wanted.append((_STDIN, select.POLLIN))
        return wanted

    def serve(self, ready: list[tuple[int, int]]) -> None:
        """Move what can be moved; *ready* is what poll returned."""
        for descriptor, _ in ready:
            if descriptor == _STDIN and self._reading:
                self._take()
            elif descriptor == self._master:
                self._give()
                self._show()

    def resize(self) -> None:
        """Give the container's terminal the size of the caller's."""
        if self._terminal >= 0:
            try:
                size = fcntl.ioctl(self._terminal, termios.TIOCGWINSZ, _WINSIZE)
                fcntl.ioctl(self._master, termios.TIOCSWINSZ, size)
            except OSError:
                pass

    def drain(self) -> None:
        """Show what the container has written and nobody has read yet."""
        while self.open and self._show():
            pass

    def close(self) -> None:
        """Give the caller's terminal back as it was. Idempotent."""
        if self._saved is not None:
            try:
                termios.tcsetattr(self._terminal, termios.TCSANOW, self._saved)
            except (OSError, termios.error):
                pass
            self._saved = None
        if self._master >= 0:
            os.close(self._master)
            self._master = -1
        self.open = False

    def _take(self) -> None:
        try:
            self._to_master = os.read(_STDIN, _CHUNK)
        except BlockingIOError:
            return
        except OSError:
            self._to_master = b""
        if self._to_master:
            self._last = self._to_master[-1:]
        else:
            self._reading = False
            self._to_master = self._end_of_file()
        self._give()

    def _end_of_file(self) -> bytes:
        """Return what tells the program that a pipe or file has come to its end, as the end of a pipe would.

        A terminal has no other way than a character that is typed, and only while it reads whole lines; after
        an unfinished line the first one ends that line (termios(3), VEOF).
        """
        if os.isatty(_STDIN):
            return b""
        try:
            mode = termios.tcgetattr(self._master)
        except termios.error:
            return b""
        if not mode[_LOCAL] & termios.ICANON:
            return b""
        character: bytes = mode[_CHARACTERS][termios.VEOF]
        return character if self._last == b"\n" else character * 2

    def _give(self) -> None:
        while self._to_master:
            try:
                self._to_master = self._to_master[os.write(self._master, self._to_master) :]
            except BlockingIOError:
                return
            except OSError:
                self._to_master = b""
                self._reading = False

    def _show(self) -> bool:
        """Copy one piece of output; false when there is none now."""
        try:
            data = os.read(self._master, _CHUNK)
        except BlockingIOError:
            return False
        except OSError as error:
            # EIO: no process has the terminal open any more (pty(7)).
            if error.errno != errno.EIO:
                raise
            data = b""
        if not data:
            self.open = False
            return False
        view = memoryview(data)
        while view:
            view = view[os.write(_STDOUT, view) :]
        return True


def _private_place() -> str:
    place = os.environ.get("XDG_RUNTIME_DIR", "")
    if place.startswith("/") and len(place) < _PLACE_LIMIT and os.access(place, os.W_OK | os.X_OK):
        return place
    return "/tmp"  # noqa: S108 - what is made in it has an unguessable name, and mkdir(2) is exclusive


def _raw(mode: list[Any]) -> list[Any]:
    """Return *mode* as cfmakeraw(3) makes it, but with output processing, which the container's lacks."""
    raw = list(mode)
    raw[_INPUT] &= ~(
        termios.IGNBRK
        | termios.BRKINT
        | termios.PARMRK
        | termios.ISTRIP
        | termios.INLCR
        | termios.IGNCR
        | termios.ICRNL
        | termios.IXON
    )
    raw[_LOCAL] &= ~(termios.ECHO | termios.ECHONL | termios.ICANON | termios.ISIG | termios.IEXTEN)
    raw[_CONTROL] = raw[_CONTROL] & ~(termios.CSIZE | termios.PARENB) | termios.CS8
    characters = list(raw[_CHARACTERS])
    characters[termios.VMIN] = 1
    characters[termios.VTIME] = 0
    raw[_CHARACTERS] = characters
    return raw


def _without_carriage_returns(master: int) -> None:
    """Keep line ends as they are: the caller's terminal makes CR LF of them, a file wants none."""
    try:
        mode = termios.tcgetattr(master)
        mode[_OUTPUT] &= ~termios.ONLCR
        termios.tcsetattr(master, termios.TCSANOW, mode)
    except termios.error:
        pass


_PLACE_LIMIT = 60  # leaves room for our names in the 108 bytes of a unix socket's address
