"""systemd's manager, of the system or of a user: org.freedesktop.systemd1(5)."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, Any

from jeepney.wrappers import DBusAddress

from orlop_hookspecs.errors import PlatformError, StepError
from orlop_linux.kernel.systemd.bus import Bus, CallError, socket_path
from orlop_linux.live.process import reason

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from orlop_linux.kernel.systemd.properties import Property

NAME = "org.freedesktop.systemd1"
MANAGER = DBusAddress("/org/freedesktop/systemd1", NAME, f"{NAME}.Manager")
_PROPERTIES = "org.freedesktop.DBus.Properties"
_NO_SUCH_UNIT = f"{NAME}.NoSuchUnit"
_EXISTS = f"{NAME}.UnitExists"
_GONE = frozenset({_NO_SUCH_UNIT, "org.freedesktop.DBus.Error.UnknownObject"})
_KILL = 9

RUNTIME = "/run"
"""Where systemd keeps its sockets; a parameter of tests."""

START_SECONDS = 30.0
"""How long a unit may take to start: a scope has nothing to do."""

STOP_SECONDS = 100.0
"""How long a unit may take to stop: a little more than the default of TimeoutStopSec."""


def host_uid() -> int:
    """Return the caller's user id in the initial user namespace, as its id map says (user_namespaces(7))."""
    uid = os.geteuid()
    try:
        with open("/proc/self/uid_map", encoding="ascii") as file:
            rows = [[int(word) for word in line.split()] for line in file]
    except FileNotFoundError:
        return uid
    for inside, outside, count in rows:
        if inside <= uid < inside + count:
            return outside + uid - inside
    return uid


def _sockets(*, user: bool, environment: Mapping[str, str]) -> Iterator[tuple[str, bool]]:
    """Yield the sockets to try in turn, and whether systemd itself listens there."""
    if user:
        runtime = environment.get("XDG_RUNTIME_DIR", "") or f"{RUNTIME}/user/{host_uid()}"
        yield socket_path(environment.get("DBUS_SESSION_BUS_ADDRESS", "")) or f"{runtime}/bus", False
        yield f"{runtime}/systemd/private", True
    else:
        address = environment.get("DBUS_SYSTEM_BUS_ADDRESS", "")
        yield socket_path(address) or f"{RUNTIME}/dbus/system_bus_socket", False
        yield f"{RUNTIME}/systemd/private", True


class Manager:
    """A connection to the manager.

    Args:
        user: The caller's own manager, not the system's.
    """

    def __init__(self, *, user: bool) -> None:
        """Connect.

        Raises:
            PlatformError: systemd does not run, or cannot be reached.
        """
        self.user = user
        self._bus = _connect(user=user)

    def close(self) -> None:
        """Close the connection. Idempotent."""
        self._bus.close()

    def start_scope(self, unit: str, properties: Sequence[Property]) -> None:
        """Start the transient scope *unit* and wait until it runs.

        Raises:
            FileExistsError: There is such a unit already.
            StepError: systemd refused, or the start failed.
        """
        try:
            body: tuple[Any, ...] = (unit, "fail", list(properties), [])
            self._job("StartTransientUnit", "ssa(sv)a(sa(sv))", body, START_SECONDS)
        except CallError as error:
            if error.name == _EXISTS:
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), unit) from error
            raise

    def get(self, unit: str, interface: str, name: str) -> Any:  # noqa: ANN401 - a property's value
        """Return a property of a unit; ``None`` when there is no such unit."""
        try:
            (path,) = self._bus.call(MANAGER, "GetUnit", "s", (unit,))
            address = DBusAddress(path, NAME, _PROPERTIES)
            ((_, value),) = self._bus.call(address, "Get", "ss", (f"{NAME}.{interface}", name))
        except CallError as error:
            if error.name in _GONE:
                return None
            raise
        return value

    def set_properties(self, unit: str, properties: Sequence[Property]) -> None:
        """Change properties of a unit until the next boot."""
        self._bus.call(MANAGER, "SetUnitProperties", "sba(sv)", (unit, True, list(properties)))

    def attach(self, unit: str, below: str, pid: int) -> None:
        """Move a process into the cgroup of a unit, or into the one at the path *below* it."""
        self._bus.call(MANAGER, "AttachProcessesToUnit", "ssau", (unit, below, [pid]))

    def stop(self, unit: str) -> None:
        """Kill what is in a unit, stop it, and forget that it failed. Idempotent."""
        try:
            self._bus.call(MANAGER, "KillUnit", "ssi", (unit, "all", _KILL))
        except CallError:
            pass  # nothing is left in it, or it is gone
        try:
            self._job("StopUnit", "ss", (unit, "replace"), STOP_SECONDS)
        except CallError as error:
            if error.name not in _GONE:
                raise
        try:
            self._bus.call(MANAGER, "ResetFailedUnit", "s", (unit,))
        except CallError:
            pass  # it did not fail, and is gone

    def _job(self, method: str, signature: str, body: Sequence[Any], timeout: float) -> None:
        """Call a method that queues a job, and wait for the end of that job."""
        self._bus.subscribe(MANAGER.interface, "JobRemoved")
        self._bus.call(MANAGER, "Subscribe")
        (job,) = self._bus.call(MANAGER, method, signature, body)
        ended = self._bus.wait_signal("JobRemoved", lambda values: values[1:2] == (job,), timeout)
        result = ended[3] if ended is not None and len(ended) == 4 else "no answer in time"
        if result not in {"done", "skipped"}:
            raise StepError(f"systemd did not {_ACTS[method]} {body[0]}: {result}", errno=errno.EIO)


_ACTS = {"StartTransientUnit": "start", "StopUnit": "stop"}


def _connect(*, user: bool) -> Bus:
    kind = "user's" if user else "system's"
    if not os.path.isdir(f"{RUNTIME}/systemd/system"):
        raise PlatformError(
            "the host is not run by systemd",
            path=f"{RUNTIME}/systemd/system",
            errno=errno.EOPNOTSUPP,
            hint="do without --systemd-cgroup, and give a cgroupsPath that is a path",
        )
    failures = []
    for path, direct in _sockets(user=user, environment=os.environ):
        try:
            return Bus(path, direct=direct)
        except (OSError, ValueError) as error:
            why = reason(error) if isinstance(error, OSError) else str(error)
            failures.append(f"{path.replace(chr(0), '@')}: {why}")
    raise PlatformError(
        f"cannot reach the {kind} systemd: {'; '.join(failures)}",
        errno=errno.ECONNREFUSED,
        hint="a session needs XDG_RUNTIME_DIR, and a user without one needs loginctl enable-linger"
        if user
        else "",
    )
