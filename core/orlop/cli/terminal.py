"""The terminal of a container in the foreground: its master end, joined to the caller's own terminal."""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # typeshed has only signal
import _socket
import errno
import fcntl
import os
import stat
import sys
import termios

from orlop_hookspecs.errors import PlatformError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from orlop.cli.foreground import Forwarder

_WINSIZE = bytes(8)  # struct winsize of ioctl_tty(2)
_MESSAGE = 4096
_CHUNK = 65536
_LITTLE = 512  # POSIX: the least PIPE_BUF; for a terminal that poll(2) calls writable it is little, too
_ENDING = frozenset((_signal.SIGTERM, _signal.SIGINT, _signal.SIGHUP, _signal.SIGQUIT))
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
        self._raw = False
        self._to_master = b""
        self._last = b"\n"
        self._reading = True
        self._asleep = False
        self._output = Output()
        self.open = True
        if self._terminal >= 0:
            self._saved = termios.tcgetattr(self._terminal)
            self.resume()
        _without_carriage_returns(master)

    def interest(self) -> list[tuple[int, int]]:
        """Return the descriptors to poll for, each with its events (poll(2))."""
        import select

        wanted = []
        if self.open:
            events = select.POLLOUT if self._to_master else 0
            if self._output.pending:
                wanted.append((self._output.descriptor, select.POLLOUT))
            else:
                events |= select.POLLIN
            if events:
                wanted.append((self._master, events))
            if self._reading and not self._asleep and not self._to_master:
                wanted.append((_STDIN, select.POLLIN))
        return wanted

    def serve(self, ready: list[tuple[int, int]]) -> None:
        """Move what can be moved; *ready* is what poll returned."""
        for descriptor, _ in ready:
            if descriptor == self._output.descriptor:
                self._output.flush()
            elif descriptor == self._master:
                self._give()
                self._show()
            elif descriptor == _STDIN and self._reading:
                self._take()

    def resize(self) -> None:
        """Give the container's terminal the size of the caller's."""
        if self._terminal >= 0:
            try:
                size = fcntl.ioctl(self._terminal, termios.TIOCGWINSZ, _WINSIZE)
                fcntl.ioctl(self._master, termios.TIOCSWINSZ, size)
            except OSError:
                pass

    def resume(self) -> None:
        """Take the caller's terminal again, after a stop: what was changed meanwhile is made as it should be.

        A background job leaves it alone, as it belongs to another program then (credentials(7)).
        """
        self._asleep = False
        self._raw = False
        self.resize()
        self._make_raw()

    def finish(self, forwarder: Forwarder, warn: Callable[[str], None]) -> None:
        """Show what the program has written and nobody has read yet.

        Args:
            forwarder: Where signals come from. Whoever reads may take any time; a signal that would end a
                program ends the wait.
            warn: Is told what could not be shown, unless nobody wants it any more.
        """
        while self.open or self._output.pending:
            if not self._output.pending:
                if not self._show():
                    break
            elif self._output.is_awaited(forwarder.descriptor):
                self._output.flush()
            elif not _ENDING.isdisjoint(forwarder.received()):
                break
        error = self._output.failure
        if error is not None and not isinstance(error, BrokenPipeError):
            why = (error.strerror or str(error)).lower()
            warn(f"standard output: {why}; what the program wrote from then on is lost")

    def close(self) -> None:
        """Give the caller's terminal back as it was. Idempotent."""
        if self._saved is not None:
            try:
                _set_mode(self._terminal, self._saved)
            except (OSError, termios.error):
                pass
            self._saved = None
        if self._master >= 0:
            os.close(self._master)
            self._master = -1
        self._output.close()
        self.open = False

    def _make_raw(self) -> None:
        if self._saved is not None and not self._raw and _in_foreground(self._terminal):
            _set_mode(self._terminal, _raw(self._saved))
            self._raw = True

    def _take(self) -> None:
        if not _in_foreground(_STDIN):
            # Reading would stop us, and be tried again, in the middle of all, when we go on.
            self._asleep = True
            os.killpg(0, _signal.SIGTTIN)
            return
        self._make_raw()
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
        """Copy one piece of output; false when there is none now, or no room for it."""
        if self._output.pending:
            return False
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
        self._output.pending = data
        self._output.flush()
        return True


class Output:
    """Standard output, to which is written only what it takes at once.

    It is shared with the caller, who wants it to block, so that flag stays as it is. A pipe or a terminal is
    opened once more instead; a socket has a flag for each message. What can be neither, a terminal of
    somebody else's, is given as much as never has to wait.
    """

    def __init__(self) -> None:
        """Look at what it is."""
        self.descriptor = _STDOUT
        self.pending = b""
        """What it has not taken yet."""
        self.failure: OSError | None = None
        """Why it takes nothing any more: what comes is dropped, so that the container goes on."""
        self._own = False
        self._socket: _socket.socket | None = None
        self._most = _CHUNK
        mode = os.fstat(_STDOUT).st_mode
        if stat.S_ISSOCK(mode):
            self._socket = _socket.socket(fileno=os.dup(_STDOUT))
        elif stat.S_ISFIFO(mode) or stat.S_ISCHR(mode):
            try:
                flags = os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
                self.descriptor = os.open(f"/proc/self/fd/{_STDOUT}", flags)
                self._own = True
            except OSError:
                self._most = _LITTLE

    def is_awaited(self, other: int) -> bool:
        """Wait until it takes something, or the descriptor *other* can be read; tell whether it was this."""
        import select

        poll = select.poll()
        poll.register(self.descriptor, select.POLLOUT)
        if other >= 0:
            poll.register(other, select.POLLIN)
        return any(descriptor == self.descriptor for descriptor, _ in poll.poll())

    def flush(self) -> None:
        """Write what it takes of what is pending."""
        try:
            while self.pending and self.failure is None:
                if self._socket is not None:
                    flags = getattr(_socket, "MSG_DONTWAIT", 0)
                    written = self._socket.send(self.pending, flags)
                else:
                    written = os.write(self.descriptor, self.pending[: self._most])
                self.pending = self.pending[written:]
                if self._most == _LITTLE:
                    return  # whether there is room for more, poll(2) says
        except BlockingIOError:
            return
        except OSError as error:
            self.failure = error
        if self.failure is not None:
            self.pending = b""

    def close(self) -> None:
        """Close what was opened. Idempotent."""
        if self._own:
            os.close(self.descriptor)
        if self._socket is not None:
            self._socket.close()
        self.descriptor, self._own, self._socket = _STDOUT, False, None


def _in_foreground(terminal: int) -> bool:
    """Tell whether what we do with *terminal* does not stop us: it is no job's, or we are its foreground."""
    try:
        return os.tcgetpgrp(terminal) == os.getpgrp()
    except OSError:  # no terminal, or not the one that controls us
        return True


def _set_mode(terminal: int, mode: list[Any]) -> None:
    """Set the mode of a terminal, however often a signal comes between."""
    while True:
        try:
            termios.tcsetattr(terminal, termios.TCSANOW, mode)
        except termios.error as error:
            if error.args[0] != errno.EINTR:
                raise
        else:
            return


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
