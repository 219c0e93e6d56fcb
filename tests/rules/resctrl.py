"""Rules of classes of service and monitoring groups (config-linux.md, IntelRdt)."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest
from tests.rules.world import World, needs, rule

from orlop_hookspecs.errors import OrlopError, StepError


def _rdt(**wanted: Any) -> dict[str, Any]:
    return {"ociVersion": "1.3.0", "linux": {"intelRdt": wanted}}


def _cache(w: World, *, bits: int = 0) -> str:
    """Return a line for the first L3 cache: the lowest *bits* of its mask, or all of them."""
    for line in w.schemata("/").splitlines():
        resource, _, domains = line.strip().partition(":")
        if resource == "L3":
            domain, _, mask = domains.split(";")[0].partition("=")
            return f"L3:{domain}={(1 << bits) - 1:x}" if bits else f"L3:{domain}={mask}"
    pytest.skip("needs allocation of the L3 cache")


@contextlib.contextmanager
def _named(w: World) -> Iterator[str]:
    """Yield the name of a class that is removed in the end, whoever makes it."""
    name = f"{w.name}-class"
    try:
        yield name
    finally:
        w.remove_class(name)


@rule
@needs("resctrl")
def without_a_closid_the_class_is_the_containers_own(w: World) -> None:
    before = w.resctrl_groups()
    c = w.create(w.name, change=_rdt(l3CacheSchema=_cache(w, bits=4)))
    assert c.id in w.resctrl_groups()
    assert _cache(w, bits=4).partition("=")[2] in w.schemata(c.id)
    assert w.resctrl_tasks(c.id) == [c.state()["pid"]]
    c.delete(force=True)
    assert w.resctrl_groups() == before


@rule
@needs("resctrl")
def an_own_class_may_not_be_there(w: World) -> None:
    w.schemata("/")
    w.make_class(w.name)
    try:
        with pytest.raises(StepError, match="exists already"):
            w.create(w.name, change=_rdt())
        assert w.name in w.resctrl_groups()
    finally:
        w.remove_class(w.name)
    assert w.left() == []


@rule
@needs("resctrl")
def a_class_that_was_asked_for_is_made_and_stays(w: World) -> None:
    with _named(w) as name:
        c = w.create("c", change=_rdt(closID=name, schemata=[_cache(w, bits=4)]))
        c.delete(force=True)
        assert name in w.resctrl_groups()
        second = w.create("d", change=_rdt(closID=name, schemata=[_cache(w, bits=4)]))
        assert w.resctrl_tasks(name) == [second.state()["pid"]]
        second.delete(force=True)


@rule
@needs("resctrl")
def a_class_with_other_schemata_is_refused_and_unchanged(w: World) -> None:
    with _named(w) as name:
        w.schemata("/")
        w.make_class(name, _cache(w, bits=4))
        before = w.schemata(name)
        with pytest.raises(StepError, match=r"schemata|another L3"):
            w.create("c", change=_rdt(closID=name, l3CacheSchema=_cache(w, bits=5)))
        assert w.schemata(name) == before
        assert w.left() == []


@rule
@needs("resctrl")
def without_a_schema_the_class_must_be_there(w: World) -> None:
    with _named(w) as name:
        w.schemata("/")
        with pytest.raises(StepError, match=r"does not exist|no class"):
            w.create("c", change=_rdt(closID=name))
        assert w.left() == []
        w.make_class(name)
        c = w.create("c", change=_rdt(closID=name))
        assert w.resctrl_tasks(name) == [c.state()["pid"]]
        c.delete(force=True)
        assert name in w.resctrl_groups()


@rule
@needs("resctrl")
def a_class_is_removed_when_its_creation_failed(w: World) -> None:
    with _named(w) as name:
        before = w.resctrl_groups()
        lines = [_cache(w, bits=4), "NONE:0=1"]
        with pytest.raises(OrlopError):
            w.create("c", change=_rdt(closID=name, schemata=lines))
        assert w.resctrl_groups() == before
        assert w.left() == []


@rule
@needs("resctrl")
def a_class_that_was_there_outlives_a_failed_start(w: World) -> None:
    with _named(w) as name:
        w.schemata("/")
        w.make_class(name)
        before = w.resctrl_groups()
        change = _rdt(closID=name, enableMonitoring=True)
        with pytest.raises(OrlopError):
            w.start("c", "/bin/missing", change=change)
        with contextlib.suppress(OrlopError):
            w.runtime.get("c").delete(force=True)
        assert w.resctrl_groups() == before


@rule
@needs("resctrl")
def the_default_class_has_a_name(w: World) -> None:
    before = w.schemata("/")
    c = w.create("c", change=_rdt(closID="/", schemata=[_cache(w)], enableMonitoring=True))
    assert c.state()["pid"] in w.resctrl_tasks("mon_groups/c")
    c.delete(force=True)
    assert "mon_groups/c" not in w.resctrl_groups()
    with pytest.raises(StepError):
        w.create("c", change=_rdt(closID="/", schemata=[_cache(w, bits=3)]))
    assert w.schemata("/") == before


@rule
@needs("resctrl")
def the_monitoring_group_goes_also_where_the_class_stays(w: World) -> None:
    with _named(w) as name:
        w.schemata("/")
        w.make_class(name)
        c = w.create("c", change=_rdt(closID=name, enableMonitoring=True))
        assert w.resctrl_tasks(f"{name}/mon_groups/c") == [c.state()["pid"]]
        assert c.stats()["resctrl"]["clos"] == name
        assert "L3" in c.stats()["resctrl"]["monitoring"]
        c.delete(force=True)
        assert name in w.resctrl_groups()
        assert f"{name}/mon_groups/c" not in w.resctrl_groups()


@rule
@needs("resctrl")
def the_program_runs_in_its_class(w: World) -> None:
    with _named(w) as name:
        w.schemata("/")
        w.make_class(name)
        c = w.start("c", change=_rdt(closID=name))
        assert w.resctrl_tasks(name) == list(c.processes())


@rule
@needs("resctrl")
def the_schemata_of_an_own_class_can_be_changed(w: World) -> None:
    c = w.create(w.name, change=_rdt(l3CacheSchema=_cache(w, bits=4)))
    c.update({}, {"l3CacheSchema": _cache(w, bits=5)})
    assert _cache(w, bits=5).partition("=")[2] in w.schemata(c.id)
    before = w.schemata(c.id)
    with pytest.raises(OrlopError):
        c.update({}, {"schemata": [_cache(w, bits=6), "NONE:0=1"]})
    assert w.schemata(c.id) == before
    c.delete(force=True)
    assert w.left() == []


@rule
@needs("resctrl")
def the_schemata_of_others_are_not_changed(w: World) -> None:
    with _named(w) as name:
        w.schemata("/")
        w.make_class(name)
        before = w.schemata(name)
        c = w.create("c", change=_rdt(closID=name))
        with pytest.raises(OrlopError, match="was there before"):
            c.update({}, {"schemata": [_cache(w, bits=5)]})
        assert w.schemata(name) == before


@rule
def a_container_without_a_class_gets_none_by_an_update(w: World) -> None:
    c = w.create("c")
    before = w.resctrl_groups() if w.platform == "fake" else []
    with pytest.raises(OrlopError, match="no class of service"):
        c.update({}, {"memBwSchema": "MB:0=50"})
    assert (w.resctrl_groups() if w.platform == "fake" else []) == before
