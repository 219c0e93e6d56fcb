"""Scopes: the conversation with systemd, what it is told, and what is left when it goes wrong."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.unit.linux_kernel.systemd_bus import FakeSystemd

from orlop_hookspecs.errors import PlatformError, StepError, StoreError
from orlop_hookspecs.steps import CreateScope, SetDeviceRules, WriteCgroup
from orlop_linux.kernel import update
from orlop_linux.kernel.systemd import bus, manager, scope
from orlop_linux.kernel.systemd.bus import socket_path
from orlop_linux.kernel.systemd.properties import INFINITY, device_properties, unit_properties
from orlop_linux.live import systemd as live
from orlop_linux.live.process import Ends
from orlop_linux.live.undo import undo

if TYPE_CHECKING:
    from tests.unit.linux_kernel.conftest import Entries

    from orlop_hookspecs.record import Record

STEP = CreateScope(
    because="/linux/cgroupsPath",
    unit="orlop-web.scope",
    slice="machine.slice",
    description="orlop container web",
    properties=(("KillSignal", "i", 37), ("After", "as", ("a.service",))),
)


@pytest.fixture
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the directory in which systemd's sockets are looked for."""
    monkeypatch.setattr(manager, "RUNTIME", str(tmp_path))
    (tmp_path / "systemd/system").mkdir(parents=True)
    for name in ("DBUS_SYSTEM_BUS_ADDRESS", "DBUS_SESSION_BUS_ADDRESS", "XDG_RUNTIME_DIR"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


@pytest.fixture
def systemd(runtime: Path) -> Iterator[FakeSystemd]:
    made = FakeSystemd(runtime / "dbus/system_bus_socket")
    yield made
    made.close()


def start(record: Record, journal: Entries, *, user: bool = False, steps: tuple[Any, ...] = ()) -> str:
    told = scope.scope_properties(STEP, 4242, steps, user=user, unified=True)
    return scope.start(STEP, "cgroups", record, journal, told, user=user)


def test_a_scope_is_started_and_stopped(systemd: FakeSystemd, record: Record, journal: Entries) -> None:
    assert start(record, journal) == "/machine.slice/orlop-web.scope"
    unit = systemd.units["orlop-web.scope"]
    assert unit["PIDs"] == [4242]
    assert (unit["Delegate"], unit["DefaultDependencies"]) == (True, False)
    assert (unit["KillSignal"], unit["After"]) == (37, ["a.service"])
    assert unit["CollectMode"] == "inactive-or-failed"
    assert systemd.signatures["StartTransientUnit"] == "ssa(sv)a(sa(sv))"
    assert journal == [("systemd", {"unit": "orlop-web.scope", "user": False})]
    assert record.kernel["systemd"]["invocation"] == unit["InvocationID"].hex()
    undo(record, *journal[0], Ends())
    assert systemd.units == {}
    assert systemd.calls[-2:] == ["StopUnit", "ResetFailedUnit"]
    undo(record, *journal[0], Ends())


def test_a_further_process_is_moved_by_systemd(
    systemd: FakeSystemd, record: Record, journal: Entries, tmp_path: Path
) -> None:
    path = start(record, journal)
    group = {"mount": f"{tmp_path}/unified", "path": path, "version": 2, "controllers": []}
    record.kernel["cgroups"] = [group]
    for below in ("", "/below"):
        place = Path(f"{tmp_path}/unified{path}{below}")
        place.mkdir(parents=True)
        (place / "cgroup.procs").write_text("77\n78\n")
        descriptor = os.open(place, os.O_RDONLY)
        try:
            scope.join(record, descriptor, 78)
            assert systemd.units["orlop-web.scope"]["attached"].pop() == (below, [78])
            with pytest.raises(StepError, match="did not move the process"):
                scope.join(record, descriptor, 7)
        finally:
            os.close(descriptor)
    assert systemd.signatures["AttachProcessesToUnit"] == "ssau"


def test_slices_have_defaults() -> None:
    step = CreateScope(because="", unit="a.scope")
    for user, expected in ((False, "system.slice"), (True, "user.slice")):
        told = dict(scope.scope_properties(step, 1, (), user=user, unified=True))
        assert told["Slice"] == ("s", expected)


def test_limits_become_properties() -> None:
    steps = (
        WriteCgroup(because="", controller="memory", v2=(("memory.max", "4096"),)),
        WriteCgroup(because="", controller="pids", v2=(("pids.max", "5"),)),
        WriteCgroup(because="", controller="cpu", v1=(("cpu.shares", "5"),)),
        SetDeviceRules(because="", rules=((False, "a", None, None, "rwm"), (True, "c", 1, 3, "rw"))),
    )
    told = dict(scope.scope_properties(STEP, 1, steps, user=False, unified=True))
    assert told["MemoryMax"] == ("t", 4096)
    assert told["DeviceAllow"] == ("a(ss)", [("/dev/char/1:3", "rw")])
    # The runtime's own processes are in the scope as well until the container is made.
    assert "TasksMax" not in told
    assert "DeviceAllow" not in dict(scope.scope_properties(STEP, 1, steps, user=True, unified=True))
    assert "MemoryMax" not in dict(scope.scope_properties(STEP, 1, steps, user=False, unified=False))


def test_the_private_socket_is_the_second_choice(runtime: Path, record: Record, journal: Entries) -> None:
    systemd = FakeSystemd(runtime / "systemd/private", direct=True)
    try:
        start(record, journal)
        undo(record, *journal[0], Ends())
        assert "Hello" not in systemd.calls
        assert "AddMatch" not in systemd.calls
    finally:
        systemd.close()


@pytest.mark.parametrize("how", ["address", "abstract", "runtime", "home", "private"])
def test_the_users_manager_is_found(
    runtime: Path, record: Record, journal: Entries, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    monkeypatch.setattr(manager, "host_uid", lambda: 1234)
    path = {
        "address": runtime / "a b",
        "abstract": runtime / "a",
        "runtime": runtime / "own/bus",
        "home": runtime / "user/1234/bus",
        "private": runtime / "own/systemd/private",
    }[how]
    if how == "address":
        address = f"unix:path={runtime}/a%20b,guid=00"
        monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", address)
    elif how in {"runtime", "private"}:
        monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime / "own"))
    elif how == "abstract":
        assert socket_path("tcp:host=x;unix:abstract=/tmp/dbus-1,guid=1") == "\0/tmp/dbus-1"
        assert socket_path("unix:tmpdir=/tmp") == ""
        return
    systemd = FakeSystemd(path, direct=how == "private")
    try:
        assert start(record, journal, user=True) == "/machine.slice/orlop-web.scope"
        assert record.kernel["systemd"]["user"] is True
    finally:
        systemd.close()


def test_without_systemd_nothing_is_touched(runtime: Path, record: Record, journal: Entries) -> None:
    with pytest.raises(PlatformError, match="cannot reach the system's systemd") as caught:
        start(record, journal)
    assert f"{runtime}/systemd/private: no such file or directory" in str(caught.value)
    with pytest.raises(PlatformError, match="cannot reach the user's systemd") as caught:
        start(record, journal, user=True)
    assert "XDG_RUNTIME_DIR" in caught.value.hint
    (runtime / "systemd/system").rmdir()
    with pytest.raises(PlatformError, match="the host is not run by systemd") as caught:
        start(record, journal)
    assert caught.value.pointer == "/linux/cgroupsPath"
    assert journal == []


def test_a_unit_that_is_there_is_refused_before_the_journal_knows(
    systemd: FakeSystemd, record: Record, journal: Entries
) -> None:
    for state in ("active", "failed"):
        systemd.units["orlop-web.scope"] = {"ActiveState": state}
        with pytest.raises(
            StepError, match=rf"there is a unit orlop-web\.scope already: it is {state}"
        ) as caught:
            start(record, journal)
        assert caught.value.pointer == "/linux/cgroupsPath"
    assert journal == []
    systemd.units["orlop-web.scope"] = {"ActiveState": "inactive"}
    # Between our look and the start somebody else may be faster.
    with pytest.raises(StepError, match="it has just been made"):
        start(record, journal)
    undo(record, *journal[0], Ends())
    assert "orlop-web.scope" in systemd.units


def test_properties_that_systemd_is_too_old_for_are_left_to_the_kernel(
    systemd: FakeSystemd, record: Record, journal: Entries
) -> None:
    systemd.unknown = {"CollectMode", "AllowedCPUs"}
    step = WriteCgroup(because="", controller="cpuset", v2=(("cpuset.cpus", "0-1"),))
    start(record, journal, steps=(step,))
    assert not systemd.unknown & set(systemd.units["orlop-web.scope"])
    systemd.units.clear()
    systemd.unknown = {"Delegate"}
    with pytest.raises(StepError, match="systemd refused StartTransientUnit: Cannot set property Delegate"):
        start(record, journal)


@pytest.mark.parametrize("result", ["failed", ""])
def test_a_start_that_fails_is_undone(
    systemd: FakeSystemd, record: Record, journal: Entries, monkeypatch: pytest.MonkeyPatch, result: str
) -> None:
    monkeypatch.setattr(manager, "START_SECONDS", 0.1)
    systemd.result = result
    with pytest.raises(
        StepError, match=rf"systemd did not start orlop-web\.scope: {result or 'no answer in time'}"
    ):
        start(record, journal)
    assert "systemd" not in record.kernel
    systemd.result = "done"
    undo(record, *journal[0], Ends())
    assert systemd.units == {}


@pytest.mark.parametrize("path", ["", "/", "/a/../b", None])
def test_a_scope_without_a_cgroup_is_an_error(
    systemd: FakeSystemd, record: Record, journal: Entries, monkeypatch: pytest.MonkeyPatch, path: str | None
) -> None:
    get = manager.Manager.get

    def lie(self: manager.Manager, unit: str, interface: str, name: str) -> Any:
        return path if name == "ControlGroup" else get(self, unit, interface, name)

    monkeypatch.setattr(manager.Manager, "get", lie)
    with pytest.raises(StepError, match=r"systemd gave orlop-web\.scope no cgroup"):
        start(record, journal)


@pytest.mark.parametrize(
    ("greeting", "rude"),
    [(b"REJECTED EXTERNAL\r\n", b""), (b"OK 1\r\n", b"\0" * 64), (b"OK 1\r\n", b"l\2\0\1" + b"\xff" * 60)],
)
def test_a_peer_that_is_no_bus_is_an_error(
    systemd: FakeSystemd, record: Record, journal: Entries, greeting: bytes, rude: bytes
) -> None:
    systemd.greeting, systemd.rude = greeting, rude
    with pytest.raises(PlatformError, match="cannot reach the system's systemd"):
        start(record, journal)


def test_a_peer_that_is_silent_is_given_up(
    systemd: FakeSystemd, record: Record, journal: Entries, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bus, "PATIENCE", 0.1)
    systemd.deaf = True
    with pytest.raises(PlatformError, match="cannot reach the system's systemd"):
        start(record, journal)


def test_a_later_unit_of_the_same_name_is_not_ours(
    systemd: FakeSystemd, record: Record, journal: Entries
) -> None:
    start(record, journal)
    systemd.units["orlop-web.scope"]["InvocationID"] = b"another one"
    undo(record, *journal[0], Ends())
    assert "orlop-web.scope" in systemd.units
    # Nor is one that another creation made, when ours never came to know its own.
    record.kernel.pop("systemd")
    systemd.units["orlop-web.scope"]["Description"] = "orlop container other"
    undo(record, *journal[0], Ends())
    assert "orlop-web.scope" in systemd.units
    systemd.units["orlop-web.scope"]["Description"] = "orlop container web"
    undo(record, *journal[0], Ends())
    assert systemd.units == {}


def test_a_scope_that_went_by_itself_needs_no_systemd(tmp_path: Path, record: Record) -> None:
    record.kernel["systemd"] = {"unit": "orlop-web.scope", "user": False, "invocation": "00"}
    record.kernel["cgroups"] = [{"mount": str(tmp_path), "path": "/gone", "version": 2, "controllers": []}]
    live.undo(record, {"unit": "orlop-web.scope", "user": False})


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"unit": "init.service", "user": False},
        {"unit": "-o.scope", "user": False},
        {"unit": "a\nb.scope", "user": False},
        {"unit": "a/b.scope", "user": False},
        {"unit": "x" * 250 + ".scope", "user": False},
        {"unit": "a.scope", "user": 1},
        {"unit": ["a.scope"], "user": False},
        {"unit": "a.scope", "user": False, "invocation": 7},
    ],
)
def test_malformed_entries_are_refused(record: Record, data: dict[str, Any]) -> None:
    with pytest.raises(StoreError, match="unit is malformed"):
        undo(record, "systemd", data, Ends())
    record.kernel["systemd"] = data
    with pytest.raises(StoreError, match="unit is malformed"):
        live.unit_of(record)


def test_an_update_is_told_to_systemd_and_taken_back(
    systemd: FakeSystemd, record: Record, journal: Entries, tmp_path: Path
) -> None:
    start(record, journal)
    place = tmp_path / "group"
    place.mkdir()
    for name, text in (
        ("cgroup.procs", ""),
        ("cgroup.controllers", "memory pids"),
        ("memory.max", "max"),
        ("pids.max", "7\n"),
    ):
        (place / name).write_text(text)
    record.kernel["cgroups"] = [{"mount": str(tmp_path), "path": "/group", "version": 2, "controllers": []}]
    unit = systemd.units["orlop-web.scope"]
    pids = WriteCgroup(because="", controller="pids", v2=(("pids.max", "9"),))
    update.apply(record, [pids])
    assert unit["TasksMax"] == 9
    memory = WriteCgroup(because="", controller="memory", v2=(("memory.max", "4096"),))
    with pytest.raises(StepError, match=r"memory\.nothing"):
        update.apply(
            record,
            [memory, WriteCgroup(because="", controller="memory", v2=(("memory.nothing", "1"),))],
        )
    assert unit["MemoryMax"] == INFINITY
    systemd.unknown = {"MemoryMax"}
    with pytest.raises(StepError, match="systemd refused SetUnitProperties"):
        update.apply(record, [memory])
    assert (place / "memory.max").read_text().startswith("max")


@pytest.mark.parametrize(
    ("pairs", "expected"),
    [
        ([("memory.max", "max")], {"MemoryMax": ("t", INFINITY)}),
        ([("memory.high", "100M")], {"MemoryHigh": ("t", 100 << 20)}),
        ([("memory.max", "0")], {}),
        ([("memory.max", "-1")], {}),
        ([("memory.max", "")], {}),
        ([("memory.max", "1"), ("memory.max", "2")], {"MemoryMax": ("t", 2)}),
        ([("pids.max", "0")], {}),
        ([("cpu.weight", "59")], {"CPUWeight": ("t", 59)}),
        ([("io.weight", "default 77")], {"IOWeight": ("t", 77)}),
        ([("io.weight", "8:0 77")], {}),
        (
            [("cpu.max", "50000 200000")],
            {"CPUQuotaPerSecUSec": ("t", 250_000), "CPUQuotaPeriodUSec": ("t", 200_000)},
        ),
        (
            [("cpu.max", "33333 100000")],
            {"CPUQuotaPerSecUSec": ("t", 333_400), "CPUQuotaPeriodUSec": ("t", 100_000)},
        ),
        (
            [("cpu.max", "max 50000")],
            {"CPUQuotaPerSecUSec": ("t", INFINITY), "CPUQuotaPeriodUSec": ("t", 50_000)},
        ),
        ([("cpu.max", "much")], {}),
        ([("cpuset.cpus", "0-1,4")], {"AllowedCPUs": ("ay", b"\x13")}),
        ([("cpuset.cpus", "9")], {"AllowedCPUs": ("ay", b"\0\2")}),
        ([("cpuset.mems", "0")], {"AllowedMemoryNodes": ("ay", b"\1")}),
        ([("cpuset.cpus", "")], {"AllowedCPUs": ("ay", b"")}),
        ([("cpuset.cpus", "0-4294967295")], {}),
        ([("rdma.max", "a hca_handle=1")], {}),
    ],
)
def test_properties_of_files(pairs: list[tuple[str, str]], expected: dict[str, Any]) -> None:
    assert dict(unit_properties(pairs)) == expected


DENY = (False, "a", None, None, "rwm")


@pytest.mark.parametrize(
    ("rules", "policy", "allowed"),
    [
        ([DENY], "strict", []),
        ([DENY, (True, "c", 136, None, "rwm")], "strict", [("char-136", "rwm")]),
        ([DENY, (True, "b", None, None, "m")], "strict", [("block-*", "m")]),
        ([DENY, (True, "b", 8, 0, "r")], "strict", [("/dev/block/8:0", "r")]),
        ([DENY, (True, "c", None, 5, "r")], "auto", []),
        ([(True, "a", None, None, "rwm")], "auto", []),
        ([(True, "a", None, None, "rwm"), (False, "c", 1, 3, "r")], "auto", []),
        ([DENY, (True, "c", 1, None, "r"), (False, "c", 1, 3, "r")], "auto", []),
    ],
)
def test_properties_of_device_rules(rules: list[Any], policy: str, allowed: list[tuple[str, str]]) -> None:
    assert device_properties(rules) == [
        ("DevicePolicy", ("s", policy)),
        ("DeviceAllow", ("a(ss)", allowed)),
    ]


def test_the_id_of_a_user_is_the_hosts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 0)
    real = open

    def opened(path: Any, *rest: Any, **more: Any) -> Any:
        return real(tmp_path / "map" if path == "/proc/self/uid_map" else path, *rest, **more)

    monkeypatch.setattr("builtins.open", opened)
    (tmp_path / "map").write_text("         0       1000          1\n         1     100000      65536\n")
    assert manager.host_uid() == 1000
    (tmp_path / "map").write_text("5 6 1\n")
    assert manager.host_uid() == 0
