"""A small systemd on a socket: enough of the bus, the manager and its units to talk to.

It speaks D-Bus as a bus does (``Hello``, ``AddMatch``, then calls), or as systemd does by itself on its
private socket. What goes wrong is set from outside.
"""

from __future__ import annotations

import os
import socket
import threading
from pathlib import Path
from typing import Any

from jeepney.low_level import HeaderFields, Message, MessageType, Parser
from jeepney.wrappers import DBusAddress, new_error, new_method_return, new_signal

NAME = "org.freedesktop.systemd1"
_OBJECT = DBusAddress("/org/freedesktop/systemd1", NAME, f"{NAME}.Manager")
NOT_THERE = f"{NAME}.NoSuchUnit"
INVALID = "org.freedesktop.DBus.Error.PropertyReadOnly"


def _snake(name: str) -> str:
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name).lstrip("_")


class CallFailedError(Exception):
    """A call that is answered with an error."""

    def __init__(self, name: str, text: str) -> None:
        super().__init__(text)
        self.name = name


class FakeSystemd:
    """Serves one connection after another, each in the server's thread."""

    def __init__(self, path: Path, *, direct: bool = False) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self.direct = direct
        self.units: dict[str, dict[str, Any]] = {}
        self.calls: list[str] = []
        self.signatures: dict[str, str] = {}
        self.result = "done"
        """How jobs end; empty: they never do."""
        self.unknown: set[str] = set()
        """Properties that this systemd is too old for."""
        self.greeting = b"OK 0123456789abcdef\r\n"
        self.rude = b""
        """Sent in place of the first answer."""
        self.deaf = False
        self._jobs = 0
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(str(path))
        self._listener.listen(8)
        self._open: list[socket.socket] = []
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for one in self._open:
            one.close()
        self._thread.join(timeout=60)
        assert not self._thread.is_alive()

    def _serve(self) -> None:
        while True:
            try:
                peer, _ = self._listener.accept()
            except OSError:
                return
            self._open.append(peer)
            try:
                with peer:
                    self._converse(peer)
            except OSError:
                continue

    def _converse(self, peer: socket.socket) -> None:
        peer.settimeout(60)
        said = b""
        while said.count(b"\r\n") < 2:
            said += self._more(peer)
        assert said == b"\0AUTH EXTERNAL\r\nDATA\r\n", said
        peer.sendall(b"DATA\r\n" + self.greeting)
        said = b""
        while not said.startswith(b"BEGIN\r\n"):
            said += self._more(peer)
        parser = Parser()
        parser.add_data(said.removeprefix(b"BEGIN\r\n"))
        serial = 0
        while True:
            message = parser.get_next_message()
            if message is None:
                parser.add_data(self._more(peer))
                continue
            for answer in self._answers(message):
                serial += 1
                peer.sendall(self.rude or answer.serialise(serial=serial))

    @staticmethod
    def _more(peer: socket.socket) -> bytes:
        data = peer.recv(65536)
        if not data:
            raise ConnectionResetError
        return data

    def _answers(self, message: Message) -> list[Message]:
        fields = message.header.fields
        member = fields[HeaderFields.member]
        assert message.header.message_type is MessageType.method_call
        assert (HeaderFields.destination in fields) is not self.direct
        self.calls.append(member)
        self.signatures[member] = fields.get(HeaderFields.signature, "")
        if self.deaf:
            return []
        try:
            signature, body, later = getattr(self, f"do_{_snake(member)}")(*message.body)
        except CallFailedError as failed:
            return [new_error(message, failed.name, "s", (str(failed),))]
        return [new_method_return(message, signature, body), *later]

    def _job(self, unit: str) -> tuple[str, tuple[Any, ...], list[Message]]:
        self._jobs += 1
        path = f"/org/freedesktop/systemd1/job/{self._jobs}"
        other = new_signal(_OBJECT, "JobRemoved", "uoss", (0, "/job/other", "other.service", "failed"))
        ended = new_signal(_OBJECT, "JobRemoved", "uoss", (self._jobs, path, unit, self.result))
        return "o", (path,), [other, ended] if self.result else [other]

    def do_hello(self) -> tuple[str, tuple[Any, ...], list[Message]]:
        return "s", (":1.7",), []

    def do_add_match(self, rule: str) -> tuple[str | None, tuple[Any, ...], list[Message]]:
        assert rule == f"type='signal',interface='{NAME}.Manager',member='JobRemoved'"
        return None, (), []

    def do_subscribe(self) -> tuple[str | None, tuple[Any, ...], list[Message]]:
        return None, (), []

    def do_start_transient_unit(
        self, unit: str, mode: str, properties: list[tuple[str, tuple[str, Any]]], more: list[Any]
    ) -> tuple[str, tuple[Any, ...], list[Message]]:
        assert (mode, more) == ("fail", [])
        for name, _ in properties:
            if name in self.unknown:
                raise CallFailedError(INVALID, f"Cannot set property {name}, or unknown property.")
        if unit in self.units:
            raise CallFailedError(f"{NAME}.UnitExists", f"Unit {unit} already exists.")
        known = {name: value for name, (_, value) in properties}
        self.units[unit] = known | {
            "ActiveState": "active",
            "ControlGroup": f"/{known['Slice']}/{unit}",
            "InvocationID": os.urandom(16),
        }
        return self._job(unit)

    def do_get_unit(self, unit: str) -> tuple[str, tuple[Any, ...], list[Message]]:
        if unit not in self.units:
            raise CallFailedError(NOT_THERE, f"Unit {unit} not loaded.")
        self._asked = unit
        return "o", ("/org/freedesktop/systemd1/unit/one",), []

    def do_get(self, interface: str, name: str) -> tuple[str, tuple[Any, ...], list[Message]]:
        assert interface in {f"{NAME}.Unit", f"{NAME}.Scope"}
        value = self.units[self._asked][name]
        kind = "ay" if isinstance(value, bytes) else "s"
        return "v", ((kind, value),), []

    def do_set_unit_properties(
        self, unit: str, runtime: bool, properties: list[tuple[str, tuple[str, Any]]]
    ) -> tuple[str | None, tuple[Any, ...], list[Message]]:
        assert runtime is True
        if unit not in self.units:
            raise CallFailedError(NOT_THERE, f"Unit {unit} not loaded.")
        for name, (_, value) in properties:
            if name in self.unknown:
                raise CallFailedError(INVALID, f"Cannot set property {name}, or unknown property.")
            self.units[unit][name] = value
        return None, (), []

    def do_attach_processes_to_unit(
        self, unit: str, below: str, pids: list[int]
    ) -> tuple[str | None, tuple[Any, ...], list[Message]]:
        if unit not in self.units:
            raise CallFailedError(NOT_THERE, f"Unit {unit} not loaded.")
        self.units[unit].setdefault("attached", []).append((below, pids))
        return None, (), []

    def do_kill_unit(
        self, unit: str, whom: str, number: int
    ) -> tuple[str | None, tuple[Any, ...], list[Message]]:
        assert (whom, number) == ("all", 9)
        if unit not in self.units:
            raise CallFailedError(NOT_THERE, f"Unit {unit} not loaded.")
        return None, (), []

    def do_stop_unit(self, unit: str, mode: str) -> tuple[str, tuple[Any, ...], list[Message]]:
        assert mode == "replace"
        if self.units.pop(unit, None) is None:
            raise CallFailedError(NOT_THERE, f"Unit {unit} not loaded.")
        return self._job(unit)

    def do_reset_failed_unit(self, unit: str) -> tuple[str | None, tuple[Any, ...], list[Message]]:
        if unit not in self.units:
            raise CallFailedError(NOT_THERE, f"Unit {unit} not loaded.")
        return None, (), []
