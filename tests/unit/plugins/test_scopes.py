"""Cgroups that systemd makes: the form of the path, names of units, annotations."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.plugins.support import call, config, objections, pointers, steps

from orlop_hookspecs.launch import PlanContext
from orlop_hookspecs.steps import CreateCgroup, CreateScope, JoinCgroup
from orlop_linux.plugins import scopes

PATH = "/linux/cgroupsPath"


def scope(path: str | None, **sections: Any) -> CreateScope:
    """Return the first step of a config with *path*."""
    wanted = config(linux={"cgroupsPath": path} if path is not None else {}, **sections)
    assert objections("cgroups", wanted, systemd_cgroup=True) == []
    first, *_, last = steps("cgroups", wanted, systemd_cgroup=True)
    assert isinstance(first, CreateScope)
    assert isinstance(last, JoinCgroup)
    return first


@pytest.mark.parametrize(
    ("path", "slice_", "unit"),
    [
        ("machine.slice:libpod:1234", "machine.slice", "libpod-1234.scope"),
        (":docker:1234", "", "docker-1234.scope"),
        ("a-b.slice::web", "a-b.slice", "web.scope"),
        ("-.slice:p:web", "-.slice", "p-web.scope"),
        (None, "", "orlop-box.scope"),
        ("", "", "orlop-box.scope"),
        ("s.slice:p:a+b", "s.slice", "p-a\\x2bb.scope"),
        ("s.slice:p@1:é", "s.slice", "p\\x401-\\xc3\\xa9.scope"),
        ("s.slice:p:--x", "s.slice", None),
        ("s.slice:p:a;reboot", "s.slice", "p-a\\x3breboot.scope"),
        ("s.slice:p:$(x)", "s.slice", "p-\\x24\\x28x\\x29.scope"),
        ("s.slice:p:a b", "s.slice", "p-a\\x20b.scope"),
        ("s.slice:p:a\\x2f", "s.slice", "p-a\\x5cx2f.scope"),
    ],
)
def test_the_path_names_slice_and_unit(path: str | None, slice_: str, unit: str | None) -> None:
    if unit is None:
        assert pointers("cgroups", config(linux={"cgroupsPath": path}), systemd_cgroup=True) == [PATH]
        return
    made = scope(path)
    assert (made.slice, made.unit) == (slice_, unit)
    assert made.description == "orlop container box"


@pytest.mark.parametrize(
    "path",
    [
        "/a/b",
        "a",
        "a:b",
        "s.slice:p:a:b",
        "s.slice:p:",
        "::",
        "system:p:a",
        "s.service:p:a",
        "../s.slice:p:a",
        "a/b.slice:p:a",
        "-a.slice:p:a",
        "a-.slice:p:a",
        "a--b.slice:p:a",
        ".slice:p:a",
        "..slice:p:a",
        "s.slice:p:a/b",
        "s.slice:p:..",
        "s.slice:..:a",
        "s.slice:p:.",
        "s.slice:p:-o",
        "s.slice:--help:a",
        "s.slice::--help",
        "s.slice:p:x.service\nExecStart=",
        "s.slice:p:a\x1b[0m",
        "s.slice:p:pod.slice",
        "s.slice:p:" + "x" * 250,
        "s.slice:p:" + "é" * 40,
        "x" * 250 + ".slice:p:a",
    ],
)
def test_paths_that_are_no_unit(path: str) -> None:
    assert pointers("cgroups", config(linux={"cgroupsPath": path}), systemd_cgroup=True) == [PATH]


def test_without_the_flag_the_same_text_is_a_path() -> None:
    planned = steps("cgroups", config(linux={"cgroupsPath": "machine.slice:libpod:1234"}))
    assert planned[0] == CreateCgroup(because=PATH, path="machine.slice:libpod:1234")


def test_without_cgroups_systemd_is_not_asked() -> None:
    wanted = config(linux={"cgroupsPath": "/a/b"})
    assert steps("cgroups", wanted, systemd_cgroup=True, manage_cgroups=False) == []
    assert pointers("cgroups", wanted, systemd_cgroup=True, manage_cgroups=False) == []


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("TimeoutStopUSec", "uint64 5000000", ("TimeoutStopUSec", "t", 5_000_000)),
        ("TimeoutStopUSec", "5", ("TimeoutStopUSec", "t", 5)),
        ("TimeoutStopSec", "uint64 5", ("TimeoutStopUSec", "t", 5_000_000)),
        ("RuntimeMaxSec", "7", ("RuntimeMaxUSec", "t", 7_000_000)),
        ("KillSignal", "37", ("KillSignal", "i", 37)),
        ("KillSignal", "int32 15", ("KillSignal", "i", 15)),
        ("DefaultDependencies", "true", ("DefaultDependencies", "b", True)),
        ("CollectMode", "'inactive'", ("CollectMode", "s", "inactive")),
        ("After", "['a.service', \"b@1.service\"]", ("After", "as", ("a.service", "b@1.service"))),
        ("Before", "[]", ("Before", "as", ())),
    ],
)
def test_annotations_set_properties(name: str, text: str, expected: tuple[Any, ...]) -> None:
    made = scope("s.slice:p:a", annotations={f"org.systemd.property.{name}": text, "other": "1"})
    assert made.properties == (expected,)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("ExecStartPre", "[('/bin/true', ['/bin/true'], false)]"),
        ("ExecStop", "'/bin/true'"),
        ("SuccessAction", "'reboot'"),
        ("FailureAction", "'poweroff-force'"),
        ("Wants", "['evil.service']"),
        ("MemoryMax", "uint64 1"),
        ("Delegate", "false"),
        ("PIDs", "[uint32 1]"),
        ("Slice", "'x.slice'"),
        ("Description", "'x'"),
        ("Sec", "1"),
        ("", "1"),
        ("TimeoutStopUSec", "x" * 1_000_000),
        ("TimeoutStopUSec", "-1"),
        ("TimeoutStopUSec", "uint64"),
        ("TimeoutStopUSec", str(1 << 64)),
        ("TimeoutStopSec", str(1 << 60)),
        ("TimeoutStopUSec", "1_0"),
        ("TimeoutStopUSec", "٣"),
        ("TimeoutStopUSec", ""),
        ("KillSignal", "0"),
        ("KillSignal", "65"),
        ("CollectMode", "'always'"),
        ("CollectMode", "inactive"),
        ("CollectMode", "'a'b'"),
        ("CollectMode", "'a\\'"),
        ("CollectMode", "'"),
        ("DefaultDependencies", "1"),
        ("After", "'a.service'"),
        ("After", "['a']"),
        ("After", "['a/b.service']"),
        ("After", "['a.service\n']"),
        ("After", "[1]"),
    ],
)
def test_annotations_that_are_refused(name: str, text: str) -> None:
    key = f"org.systemd.property.{name}"
    wanted = config(linux={"cgroupsPath": "s.slice:p:a"}, annotations={key: text})
    assert pointers("cgroups", wanted, systemd_cgroup=True) == [f"/annotations/{key}"]
    # Without systemd nobody acts on them.
    plain = config(annotations={key: text})
    assert steps("cgroups", plain) == steps("cgroups", config())


def test_features() -> None:
    features = call("cgroups", "orlop_features")
    assert features["linux.cgroup.systemd"] is True
    assert features["linux.cgroup.systemdUser"] is True
    assert features["potentiallyUnsafeConfigAnnotations"] == (scopes.ANNOTATION,)


@pytest.mark.parametrize(("store", "prefix"), [("", "orlop"), ("a1b2", "orlop-a1b2")])
def test_containers_of_two_stores_have_units_of_two_names(store: str, prefix: str) -> None:
    context = PlanContext(container="box", bundle="/b", rootfs="/b/r", store=store)
    assert scopes.parts("", context) == ("", prefix, "box")
    assert scopes.parts("s.slice:p:n", context) == ("s.slice", "p", "n")
