"""Network devices come back when a creation does not succeed, whenever the runtime is killed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.linux.child.support import until
from tests.linux.faults import points
from tests.linux.faults.points import named, run
from tests.linux.faults.rig import NAMESPACES, Rig
from tests.linux.network.stage import Host, Space
from tests.linux.network.support import create, creation, devices, full, good

import orlop
from orlop_linux.kernel import links, netdev
from orlop_linux.live import netdev as live_netdev

_ACTS: tuple[tuple[Any, tuple[str, ...]], ...] = (
    (links.Links, ("move", "bring_up", "add_address", "add_route")),
    (netdev.Move, ("run", "_pin")),
    (netdev, ("give_back", "both")),
    (live_netdev, ("unpin",)),
)


@pytest.fixture(autouse=True)
def _removed(rig: Rig, host: Host) -> Iterator[None]:
    yield
    run(rig, "delete", "--force", "box", arm=host.enter_all)


@pytest.fixture
def _watched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(points, "_WRAPPED", (*points._WRAPPED, *_ACTS))


@pytest.mark.usefixtures("_watched")
def test_create_killed_at_any_point_loses_no_device(rig: Rig, host: Host) -> None:
    before = full(host)
    rig.write(devices(rig, test0={"name": "eth0"}, test1={}))
    found = points.trace(rig, *creation(rig), arm=host.enter_all)
    seen = set()
    first = next(number for number, point in enumerate(found) if point.name.startswith("Links."))
    assert "netdev" not in {point.name for point in found[: first - 3]}
    after = found[first - 3 :]
    assert len(after) > 30
    after = after[::2]
    completed = True
    for point in after:
        with named(point):
            if completed:
                good(rig, host, "delete", "--force", "box")
                _gone(host)
                before = full(host)
            outcome = points.run_to(rig, point, points.die, *creation(rig), arm=host.enter_all)
            assert outcome.status in {-9, 0}, outcome
            state = run(rig, "state", "box", arm=host.enter_all)
            status = state.state["status"] if state.status == 0 else ""
            seen.add(status)
            completed = status == "created" and not (rig.root / "box" / live_netdev.PIN).exists()
            if not completed:
                good(rig, host, "delete", "--force", "box")
                assert rig.left() + host.left() == []
                assert host.snapshot() == before
    assert {"stopped", "created"} <= seen


def _gone(host: Host) -> None:
    """Wait until the kernel has destroyed what was in the network namespace of a container that is gone."""
    until(lambda: set(host.snapshot()["links"]) == {"lo"}, "the devices stay")


@pytest.mark.usefixtures("_watched")
def test_delete_killed_at_any_point_while_it_gives_devices_back(rig: Rig, host: Host) -> None:
    before = full(host)
    rig.write(devices(rig, test0={"name": "eth0"}, test1={}))
    died = points.Point(0, "after", "Move.run")
    points.run_to(rig, died, points.die, *creation(rig), arm=host.enter_all)
    assert set(host.snapshot()["links"]) == {"lo", "peer0", "peer1"}
    found = points.trace(rig, "delete", "--force", "box", arm=host.enter_all)
    assert host.snapshot() == before
    for point in found[::2]:
        with named(point):
            points.run_to(rig, died, points.die, *creation(rig), arm=host.enter_all)
            assert set(host.snapshot()["links"]) == {"lo", "peer0", "peer1"}
            points.run_to(rig, point, points.die, "delete", "--force", "box", arm=host.enter_all)
            good(rig, host, "delete", "--force", "box")
            assert host.snapshot() == before
            assert rig.left() + host.left() == []


@pytest.mark.usefixtures("_watched")
def test_what_else_is_in_the_namespace_is_not_taken(rig: Rig, host: Host) -> None:
    """A device that somebody else has put into a joined namespace, even with the index of one of ours."""
    there = Space.new()
    try:
        full(host)
        others = [{"type": kind} for kind in NAMESPACES if kind != "network"]
        space = {"type": "network", "path": f"/proc/{os.getpid()}/fd/{there.fd}"}
        rig.write(
            rig.config(linux={"namespaces": [*others, space], "netDevices": {"test0": {}, "test1": {}}})
        )
        died = points.Point(0, "after", "Move.run")
        points.run_to(rig, died, points.die, *creation(rig), arm=host.enter_all)
        moved = there.snapshot()["links"]["test0"]

        def exchange(api: Any) -> None:
            api.link("del", index=moved["index"])
            api.link("add", ifname="test0", kind="veth", peer="strange", index=moved["index"])

        there.call(exchange)
        assert there.snapshot()["links"]["test0"]["index"] == moved["index"]
        good(rig, host, "delete", "--force", "box")
        assert set(there.snapshot()["links"]) == {"lo", "test0", "strange"}
        assert set(host.snapshot()["links"]) == {"lo", "test1", "peer1"}
    finally:
        there.close()


@pytest.mark.usefixtures("_watched")
def test_devices_are_not_given_back_to_another_namespace(rig: Rig, host: Host) -> None:
    before = full(host)
    rig.write(devices(rig, test0={}))
    died = points.Point(0, "after", "Move.run")
    points.run_to(rig, died, points.die, *creation(rig), arm=host.enter_all)
    elsewhere = Space.new()

    def enter() -> None:
        host.enter_all()
        elsewhere.enter()

    try:
        outcome = run(rig, "delete", "--force", "box", arm=enter)
        assert outcome.status == 1, outcome
        assert "in the network namespace that they came from" in outcome.err
    finally:
        elsewhere.close()
    good(rig, host, "delete", "--force", "box")
    assert host.snapshot() == before


@pytest.mark.usefixtures("_watched")
def test_a_pin_in_another_mount_namespace_is_not_lost(rig: Rig, host: Host) -> None:
    before = full(host)
    rig.write(devices(rig, test0={}))
    died = points.Point(0, "after", "Move.run")
    points.run_to(rig, died, points.die, *creation(rig), arm=host.enter_all)
    outcome = run(rig, "delete", "--force", "box", arm=host.enter)
    assert outcome.status == 1, outcome
    assert "the network device test0 is in a network namespace that is not to be seen here" in outcome.err
    good(rig, host, "delete", "--force", "box")
    assert host.snapshot() == before


@pytest.mark.usefixtures("_watched")
def test_a_name_that_is_taken_meanwhile_keeps_the_device_until_it_is_free(rig: Rig, host: Host) -> None:
    before = full(host)
    rig.write(devices(rig, test0={"name": "eth0"}, test1={}))
    died = points.Point(0, "after", "Move.run")
    points.run_to(rig, died, points.die, *creation(rig), arm=host.enter_all)
    host.call(lambda api: api.link("add", ifname="test0", kind="bridge"))
    outcome = run(rig, "delete", "--force", "box", arm=host.enter_all)
    assert outcome.status == 1, outcome
    assert "cannot give the network device test0 back: file exists" in outcome.err
    host.call(lambda api: api.link("del", index=api.link_lookup(ifname="test0")[0]))
    good(rig, host, "delete", "--force", "box")
    assert host.snapshot() == before


def test_a_creation_that_fails_later_gives_the_devices_back(rig: Rig, host: Host) -> None:
    before = full(host)
    config = devices(rig, test0={"name": "eth0"}, test1={})
    config["hooks"] = {"createContainer": [{"path": "/bin/absent"}]}
    rig.write(config)
    outcome = create(rig, host)
    assert outcome.status == 1, outcome
    assert "createContainer" in outcome.err
    assert host.snapshot() == before
    assert rig.left() + host.left() == []


@pytest.mark.parametrize(
    "entry",
    [
        {},
        {"namespace": [1, 2], "home": [1], "joined": True, "devices": []},
        {"namespace": [1, 2], "home": [1, 2], "joined": 1, "devices": []},
        {"namespace": [1, "2"], "home": [1, 2], "joined": True, "devices": []},
        {"namespace": [1, 2], "home": [1, 2], "joined": True, "devices": {}},
    ],
)
def test_a_journal_entry_that_makes_no_sense_is_refused(tmp_path: Path, entry: dict[str, Any]) -> None:
    from orlop_hookspecs.record import Record

    record = Record(id="box", directory=str(tmp_path))
    with pytest.raises(orlop.StoreError, match="malformed"):
        live_netdev.undo(record, entry)
