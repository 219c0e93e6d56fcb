"""One connection to a message bus, or directly to systemd (D-Bus Specification; sd-bus(3)).

Messages are made and read by jeepney; the socket is ours, so that each wait has an end and the peer may tell
who we are by the socket alone, whatever user namespace we are in.
"""

from __future__ import annotations

import errno
import os
import socket
import time
from collections import deque
from typing import TYPE_CHECKING, Any

from jeepney.low_level import HeaderFields, MessageFlag, MessageType, Parser
from jeepney.wrappers import DBusAddress, new_method_call

from orlop_hookspecs.errors import PlatformError, StepError, shorten

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from jeepney.low_level import Message

PATIENCE = 30.0
"""Seconds until an answer is given up: systemd may be busy while a machine boots."""

_LINE = 8192
_MESSAGE = 1 << 24
_BUS = DBusAddress("/org/freedesktop/DBus", "org.freedesktop.DBus", "org.freedesktop.DBus")


class CallError(StepError):
    """A call that was answered with an error; ``name`` is that of D-Bus."""

    def __init__(self, name: str, message: str, *, act: str = "") -> None:
        """Keep the error's name."""
        super().__init__(message, act=act, errno=errno.EIO)
        self.name = name


def socket_path(address: str) -> str:
    """Return the socket of a bus address such as ``unix:path=/run/bus,guid=1``; empty if it has none.

    An abstract socket begins with NUL. Source: D-Bus Specification, Server Addresses.
    """
    from urllib.parse import unquote

    for one in address.split(";"):
        kind, _, rest = one.partition(":")
        for pair in rest.split(",") if kind == "unix" else ():
            key, _, value = pair.partition("=")
            if key == "path" and value.startswith("/"):
                return unquote(value)
            if key == "abstract" and value:
                return f"\0{unquote(value)}"
    return ""


class Bus:
    """A connection; not for use from several threads.

    Args:
        path: The socket; an abstract one begins with NUL.
        direct: The peer is systemd itself and not a message bus: nobody is greeted, and nothing is routed.
    """

    def __init__(self, path: str, *, direct: bool = False) -> None:
        """Connect and authenticate.

        Raises:
            OSError: Nobody listens, or does not answer as a bus does.
        """
        self.direct = direct
        self._serial = 0
        self._parser = Parser()
        self._signals: deque[Message] = deque(maxlen=1024)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        try:
            self._socket.settimeout(PATIENCE)
            self._socket.connect(path)
            self._authenticate()
            if not direct:
                self.call(_BUS, "Hello")
        except BaseException:
            self._socket.close()
            raise

    def close(self) -> None:
        """Close the connection. Idempotent."""
        self._socket.close()

    def subscribe(self, interface: str, member: str) -> None:
        """Ask the bus for the signals *member* of *interface*; a direct peer sends them anyway."""
        if not self.direct:
            self.call(_BUS, "AddMatch", "s", (f"type='signal',interface='{interface}',member='{member}'",))

    def call(
        self,
        address: DBusAddress,
        method: str,
        signature: str | None = None,
        body: Sequence[Any] = (),
    ) -> tuple[Any, ...]:
        """Call a method and return the values of its answer.

        Raises:
            CallError: The answer is an error.
            OSError: There was none in time, or the connection broke.
        """
        message = new_method_call(address, method, signature, tuple(body))
        if self.direct:
            message.header.fields.pop(HeaderFields.destination, None)
        # A unit is made for a program, never by asking a person for a password.
        message.header.flags = MessageFlag(0)
        self._serial += 1
        serial = self._serial
        self._socket.sendall(message.serialise(serial=serial))
        deadline = time.monotonic() + PATIENCE
        while True:
            answer = self._receive(deadline)
            fields = answer.header.fields
            kind = answer.header.message_type
            if kind is MessageType.signal:
                self._signals.append(answer)
            elif fields.get(HeaderFields.reply_serial) == serial:
                if kind is MessageType.error:
                    text = answer.body[0] if answer.body and isinstance(answer.body[0], str) else ""
                    name = str(fields.get(HeaderFields.error_name, ""))
                    raise CallError(name, f"systemd refused {method}: {text or name}")
                return tuple(answer.body)

    def wait_signal(
        self, member: str, wanted: Callable[[tuple[Any, ...]], bool], timeout: float
    ) -> tuple[Any, ...] | None:
        """Return the values of the first signal *member* that is *wanted*; ``None``: none came in time."""
        deadline = time.monotonic() + timeout
        while True:
            while self._signals:
                one = self._signals.popleft()
                if one.header.fields.get(HeaderFields.member) == member and wanted(tuple(one.body)):
                    return tuple(one.body)
            try:
                message = self._receive(deadline)
            except TimeoutError:
                return None
            if message.header.message_type is MessageType.signal:
                self._signals.append(message)

    # --- the wire

    def _authenticate(self) -> None:
        """Log in as whoever the kernel says that we are: the name that we give ourselves is empty.

        A uid would be the one of our user namespace, which the peer may not be in.
        """
        self._socket.sendall(b"\0AUTH EXTERNAL\r\nDATA\r\n")
        rest = b""
        for expected in (b"DATA", b"OK "):
            line, rest = self._line(rest)
            if not line.startswith(expected):
                raise PermissionError(
                    errno.EACCES, f"the bus does not let us in: {line.decode('ascii', 'replace')}"
                )
        self._socket.sendall(b"BEGIN\r\n")

    def _line(self, rest: bytes) -> tuple[bytes, bytes]:
        while b"\r\n" not in rest:
            part = self._socket.recv(1024)
            if not part or len(rest) > _LINE:
                raise ConnectionResetError(errno.ECONNRESET, os.strerror(errno.ECONNRESET))
            rest += part
        line, _, rest = rest.partition(b"\r\n")
        return line, rest

    def _receive(self, deadline: float) -> Message:
        while True:
            try:
                message = self._parser.get_next_message()
            except (ValueError, KeyError, IndexError, UnicodeDecodeError) as error:
                raise _broken(str(error)) from error
            if message is not None:
                return message
            if (self._parser.next_msg_size or 0) > _MESSAGE:
                raise _broken(f"a message of {self._parser.next_msg_size} bytes")
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError(errno.ETIMEDOUT, "systemd does not answer")
            self._socket.settimeout(left)
            data = self._socket.recv(65536)
            if not data:
                raise ConnectionResetError(errno.ECONNRESET, "systemd closed the connection")
            self._parser.add_data(data)


def _broken(why: str) -> PlatformError:
    return PlatformError(f"the bus sent what cannot be read: {shorten(why)}", errno=errno.EPROTO)
