"""Rules of cgroups that systemd makes (systemd.scope(5))."""

from __future__ import annotations

from typing import Any

import pytest
from tests.rules.world import World, needs, rule

from orlop_hookspecs.errors import ConfigError, OrlopError


def _unit(w: World, name: str, **resources: Any) -> dict[str, Any]:
    """Return a change that puts a container into the scope ``rules-NAME.scope``."""
    linux: dict[str, Any] = {"cgroupsPath": f"system.slice:{w.name}:{name}"}
    return {"linux": linux | ({"resources": resources} if resources else {})}


@rule
@needs("systemd")
def systemd_makes_a_scope_and_forgets_it(w: World) -> None:
    w.by_systemd()
    c = w.create("c", change=_unit(w, "c", pids={"limit": 17}))
    assert w.unit(f"{w.name}-c.scope") == "orlop container c"
    assert w.cgroup_value("c", "pids", "pids.max", "pids.max") == "17"
    assert list(c.processes()) == [c.state()["pid"]]
    c.delete(force=True)
    assert w.unit(f"{w.name}-c.scope") == ""
    assert w.left() == []


@rule
@needs("systemd")
def a_scope_that_is_there_is_refused(w: World) -> None:
    w.by_systemd()
    first = w.start("first", change=_unit(w, "c"))
    with pytest.raises(OrlopError, match="there is a unit"):
        w.create("second", change=_unit(w, "c"))
    assert w.unit(f"{w.name}-c.scope") == "orlop container first"
    assert first.state()["status"] == "running"


@rule
@needs("systemd")
def a_failed_creation_leaves_no_scope(w: World) -> None:
    w.by_systemd()
    with pytest.raises(OrlopError):
        w.create("c", change=_unit(w, "c", cpu={"cpus": "4000-4001"}))
    assert w.unit(f"{w.name}-c.scope") == ""
    assert w.left() == []


@rule
@needs("systemd")
def a_container_of_systemd_is_changed_and_paused_as_any_other(w: World) -> None:
    w.by_systemd()
    c = w.start("c", change=_unit(w, "c", pids={"limit": 17}))
    c.update({"pids": {"limit": 23}})
    assert w.cgroup_value("c", "pids", "pids.max", "pids.max") == "23"
    c.pause()
    assert c.state()["status"] == "paused"
    c.resume()
    assert c.state()["status"] == "running"


@rule
@needs("systemd")
def with_systemd_the_path_is_slice_prefix_and_name(w: World) -> None:
    w.by_systemd()
    with pytest.raises(ConfigError, match="slice:prefix:name") as caught:
        w.create("c", change={"linux": {"cgroupsPath": "/a/path"}})
    assert caught.value.pointer == "/linux/cgroupsPath"
    assert w.left() == []
