"""A runtime that is killed at any instruction leaves what a forced delete removes, and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from tests.unit.core.stub import Crash, Host, StubPlatform, config, plugins

from orlop import Runtime
from orlop.lifecycle.delete import delete
from orlop.store.directory import DirectorySlot, DirectoryStore
from orlop_hookspecs.errors import ContainerNotFoundError, OrlopError


class CrashingSlot:
    """A slot that may end the runtime before and after each change."""

    def __init__(self, slot: DirectorySlot, host: Host) -> None:
        self._slot = slot
        self._host = host

    @property
    def path(self) -> str:
        return self._slot.path

    def read(self, name: str) -> bytes | None:
        return self._slot.read(name)

    def write(self, name: str, data: bytes) -> None:
        self._host.tick(f"before write {name}")
        self._slot.write(name, data)
        self._host.tick(f"after write {name}")

    def append(self, name: str, data: bytes) -> None:
        self._host.tick(f"before append {name}")
        try:
            self._host.tick(f"amid append {name}")
        except Crash:
            self._slot.append(name, data[: len(data) // 2])
            raise
        self._slot.append(name, data)
        self._host.tick(f"after append {name}")

    def remove(self) -> None:
        self._host.tick("before remove")
        self._slot.remove()
        self._host.tick("after remove")

    def close(self) -> None:
        self._slot.close()


class CrashingStore:
    def __init__(self, root: str, host: Host) -> None:
        self._store = DirectoryStore(root)
        self._host = host

    def create(self, container: str) -> CrashingSlot:
        self._host.tick("before create")
        slot = self._store.create(container)
        try:
            self._host.tick("after create")
        except Crash:
            slot.close()
            raise
        return CrashingSlot(slot, self._host)

    def open(self, container: str, *, wait: bool = True) -> CrashingSlot:
        return CrashingSlot(self._store.open(container, wait=wait), self._host)

    def list(self) -> Sequence[str]:
        return self._store.list()


def compose(host: Host, root: str) -> Runtime:
    """Return the next runtime on the same host and root."""
    runtime = Runtime.compose(StubPlatform(host), plugins(), root=root)
    runtime.site.store = CrashingStore(root, host)
    return runtime


CONFIG = config(
    hooks={kind: [{"path": "/ok"}] for kind in ("prestart", "createContainer", "poststart", "poststop")}
)


def life(runtime: Runtime) -> None:
    container = runtime.create("box", CONFIG)
    container.start()
    container.kill(9)
    container.delete()


def forced(runtime: Runtime) -> None:
    container = runtime.create("box", CONFIG)
    container.start()
    container.delete(force=True)


def failing_create(runtime: Runtime) -> None:
    bad = config(hooks={"prestart": [{"path": "/fail"}], "poststop": [{"path": "/ok"}]})
    with pytest.raises(OrlopError):
        runtime.create("box", bad)


def failing_start(runtime: Runtime) -> None:
    bad = config(hooks={"poststart": [{"path": "/fail"}], "poststop": [{"path": "/ok"}]})
    container = runtime.create("box", bad)
    with pytest.raises(OrlopError):
        container.start()


OPERATIONS = [life, forced, failing_create, failing_start]


def crash_points(operation: Callable[[Runtime], None], root: str) -> int:
    host = Host()
    operation(compose(host, root))
    return host.ticks


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("creator_lives", [False, True], ids=["dead", "alive"])
def test_every_crash_is_cleaned_up_by_a_forced_delete(
    operation: Callable[[Runtime], None], creator_lives: bool, tmp_path: Any
) -> None:
    total = crash_points(operation, str(tmp_path / "dry"))
    assert total > 20
    for point in range(1, total + 1):
        host = Host()
        root = str(tmp_path / f"{point}")
        host.crash_at = point
        with pytest.raises(Crash) as caught:
            operation(compose(host, root))
        where = f"at {point}: {caught.value}"
        host.crash_at = None
        # A pid may be that of a living process again, or a library's program goes on after a simulated crash.
        host.runtime_alive = creator_lives
        runtime = compose(host, root)
        delete(runtime.site, "box", force=True)
        assert host.processes == {}, where
        assert host.things == set(), where
        assert runtime.site.store.list() == [], where
        assert runtime.list() == [], where
        life(runtime)  # the identifier can be used again
        assert host.things == set(), where


@pytest.mark.parametrize("operation", OPERATIONS)
def test_every_crash_of_the_clean_up_is_cleaned_up_as_well(
    operation: Callable[[Runtime], None], tmp_path: Any
) -> None:
    """Crash, delete by force and crash again, delete by force."""
    total = crash_points(operation, str(tmp_path / "dry"))
    for point in range(1, total + 1, 5):
        second = 1
        while True:
            host = Host()
            root = str(tmp_path / f"{point}-{second}")
            host.crash_at = point
            with pytest.raises(Crash):
                operation(compose(host, root))
            host.runtime_alive = False
            host.ticks = 0
            host.crash_at = second
            try:
                delete(compose(host, root).site, "box", force=True)
                crashed = False
            except Crash:
                crashed = True
            host.crash_at = None
            delete(compose(host, root).site, "box", force=True)
            assert host.processes == {}
            assert host.things == set()
            assert compose(host, root).site.store.list() == []
            if not crashed:
                break
            second += 1


def test_after_a_crash_the_state_can_be_asked_and_a_plain_delete_never_harms(tmp_path: Any) -> None:
    total = crash_points(life, str(tmp_path / "dry"))
    for point in range(1, total + 1):
        host = Host()
        root = str(tmp_path / f"{point}")
        host.crash_at = point
        with pytest.raises(Crash):
            life(compose(host, root))
        host.crash_at = None
        host.runtime_alive = False
        runtime = compose(host, root)
        try:
            status = runtime.get("box").status
            assert status in {"created", "running", "stopped"}
            if status != "stopped":
                runtime.get("box").kill(9)
            runtime.get("box").delete()
        except ContainerNotFoundError:
            try:
                delete(runtime.site, "box")
            except ContainerNotFoundError:
                pass
        assert host.processes == {}
        assert host.things == set()
        assert runtime.site.store.list() == []


def test_nothing_is_undone_twice_when_somebody_else_took_its_place(tmp_path: Any) -> None:
    """After the cgroup is undone and the runtime killed, another container may make the same cgroup."""
    host = Host()
    root = str(tmp_path / "state")
    runtime = compose(host, root)
    runtime.create("box", config())
    host.calls.clear()
    ticks = host.ticks
    delete_ticks = _ticks_until(runtime, host, "before remove")
    host.crash_at = ticks + delete_ticks
    with pytest.raises(Crash):
        runtime.get("box").delete(force=True)
    host.crash_at = None
    host.things.add("cgroup:/box")
    compose(host, root).get("box").delete()
    assert host.things == {"cgroup:/box"}


def _ticks_until(runtime: Runtime, host: Host, place: str) -> int:
    """Return how many ticks a delete takes until *place*, measured on a twin of the container."""
    other = Host()
    root = f"{runtime.site.store._store.root}-measure"  # type: ignore[attr-defined]
    twin = compose(other, root)
    twin.create("box", config())
    start = other.ticks
    names: list[str] = []
    plain = other.tick

    def tick(what: str) -> None:
        names.append(what)
        plain(what)

    other.tick = tick  # type: ignore[method-assign]
    twin.get("box").delete(force=True)
    assert start == host.ticks
    return names.index(place) + 1
