"""The streams of a command in a container, as ``kubectl exec`` and ``kubectl attach`` have them.

    python -m tests.engines.stream URL

A server of the Container Runtime Interface names the URL. What comes on standard input goes to the command,
what it writes goes to standard output and standard error, and the exit status is the command's. On a terminal
each key is sent at once, and so is the terminal's size whenever it changes. See RFC 6455, "The WebSocket
Protocol", and the subprotocol of Kubernetes, where the first byte of each message is a channel, and which
cannot tell the end of input.
"""

from __future__ import annotations

import base64
import json
import os
import secrets
import select
import signal
import socket
import struct
import sys
import tty
from pathlib import Path
from urllib.parse import urlsplit

from tests.engines.daemon import Daemon

_ROOT = Path(__file__).resolve().parent.parent.parent
_STDIN, _STDOUT, _STDERR, _RESULT, _SIZE = range(5)
_BINARY, _CLOSE, _PING, _PONG = 2, 8, 9, 10
_SUBPROTOCOL = "v4.channel.k8s.io"


def client(daemon: Daemon, url: str) -> list[str]:
    """Return the command line of a client, in the network of the daemon that has named *url*."""
    return [
        *("nsenter", f"--target={daemon.pid}", "--net", "--", "env", f"--chdir={_ROOT}"),
        *(sys.executable, "-m", "tests.engines.stream", url),
    ]


class Connection:
    """Messages to and from a server.

    Args:
        url: What the server has named.
    """

    def __init__(self, url: str) -> None:
        """Connect, and turn the connection into one of messages."""
        parts = urlsplit(url)
        assert parts.hostname
        assert parts.port
        self._socket = socket.create_connection((parts.hostname, parts.port))
        self._file = self._socket.makefile("rb", buffering=0)
        key = base64.b64encode(secrets.token_bytes(16)).decode()
        lines = (
            f"GET {parts.path} HTTP/1.1",
            f"Host: {parts.netloc}",
            f"Origin: http://{parts.netloc}",
            "Connection: Upgrade",
            "Upgrade: websocket",
            f"Sec-WebSocket-Key: {key}",
            "Sec-WebSocket-Version: 13",
            f"Sec-WebSocket-Protocol: {_SUBPROTOCOL}",
        )
        self._socket.sendall("".join(f"{line}\r\n" for line in (*lines, "")).encode())
        status = self._file.readline().decode()
        while self._file.readline().strip():
            pass
        if " 101 " not in status:
            sys.exit(f"the server has no stream there: {status}")

    def fileno(self) -> int:
        """Return the descriptor on which messages arrive."""
        return self._socket.fileno()

    def receive(self) -> tuple[int, bytes] | None:
        """Return the channel of a message and what it carries, or None at the end."""
        while True:
            head = self._exactly(2)
            if not head or head[0] & 15 == _CLOSE:
                return None
            size = head[1]
            if size == 126:  # the length follows
                size = struct.unpack(">H", self._exactly(2))[0]
            elif size == 127:
                size = struct.unpack(">Q", self._exactly(8))[0]
            body = self._exactly(size)
            if head[0] & 15 == _PING:
                self._send(_PONG, body)
            elif body:
                return body[0], body[1:]

    def _exactly(self, size: int) -> bytes:
        found = b""
        while len(found) < size:
            piece = self._file.read(size - len(found))
            if not piece:
                return b""
            found += piece
        return found

    def send(self, channel: int, data: bytes) -> None:
        """Send a message of less than 64 KiB on a channel."""
        self._send(_BINARY, bytes([channel]) + data)

    def _send(self, kind: int, body: bytes) -> None:
        # What a client sends is masked; a mask of zeros is one.
        size = bytes([128 | len(body)]) if len(body) < 126 else bytes([254]) + struct.pack(">H", len(body))
        self._socket.sendall(bytes([128 | kind]) + size + bytes(4) + body)

    def tell_size(self) -> None:
        """Send the size of the terminal."""
        size = os.get_terminal_size(0)
        self.send(_SIZE, json.dumps({"Width": size.columns, "Height": size.lines}).encode())


def status_of(result: bytes) -> int:
    """Return the exit status that a server's last message tells; any other failure ends the program."""
    told = json.loads(result)
    if told["status"] == "Success":
        return 0
    for cause in told.get("details", {}).get("causes", []):
        if cause["reason"] == "ExitCode":
            return int(cause["message"])
    sys.exit(told["message"])


def main(url: str) -> int:
    """Carry the streams until the command has ended, and return its exit status."""
    connection = Connection(url)
    resized, told = os.pipe()
    os.set_blocking(told, False)
    watched: list[int] = [connection.fileno(), 0]
    if os.isatty(0):
        signal.set_wakeup_fd(told)
        signal.signal(signal.SIGWINCH, lambda *_: None)
        tty.setraw(0)
        connection.tell_size()
        watched.append(resized)
    while True:
        ready, _, _ = select.select(watched, [], [])
        if resized in ready:
            os.read(resized, 64)
            connection.tell_size()
        if 0 in ready:
            if data := os.read(0, 4096):
                connection.send(_STDIN, data)
            else:
                watched.remove(0)
        if connection.fileno() in ready:
            message = connection.receive()
            if message is None:
                sys.exit("the stream has ended before the command")
            channel, data = message
            if channel == _RESULT:
                return status_of(data)
            if channel in (_STDOUT, _STDERR):
                os.write(channel, data)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
