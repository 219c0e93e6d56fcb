"""Each property alone, and many at once, in a real container: the effect is read back, and nothing stays."""

from __future__ import annotations

import contextlib
import os
import random
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.leftovers import remove_cgroup
from tests.linux.child.support import Box, children_of, fds_of, until
from tests.properties.case import Case, Config, Seen, load, merge, placed, pointers

pytestmark = pytest.mark.every_lane

CASES = load()
SEEDS = range(12)
END = "---- end"
RESCTRL = "/sys/fs/resctrl"


@pytest.fixture(scope="module")
def _warm(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Run one container: what a process keeps once made, such as the interpreter's copy, is then there."""
    made = Box(tmp_path_factory.mktemp("warm"))
    made.run(made.config("/bin/true"))
    made.close()


@pytest.fixture
def box(_warm: None, tmp_path: Path) -> Iterator[Box]:
    """Provide a bundle and a runtime; afterwards the host is as it was."""
    before = _host()
    made = Box(tmp_path)
    try:
        yield made
        assert made.left() == []
    finally:
        made.close()
    assert _host() == before


def _host() -> dict[str, object]:
    """Return what a container could change on its host."""
    return {
        "links": sorted(os.listdir("/sys/class/net")),
        "descriptors": fds_of("self"),
        "children": children_of("self"),
        "resctrl": sorted(os.listdir(RESCTRL)) if os.path.isdir(RESCTRL) else [],
        "hostname": os.uname().nodename,
        "sysctl": Path("/proc/sys/net/ipv4/ip_forward").read_text(),
    }


def base(box: Box, script: str) -> Config:
    """Return a config that has what cases count on, with a script as its program."""
    made = box.config("/bin/busybox", "sh", "-c", script, "zero", "one", "two words")
    made["linux"]["namespaces"].append({"type": "network"})
    made["linux"]["cgroupsPath"] = f"{box.cgroup}/properties"
    made["mounts"].append({"destination": "/tmp", "type": "tmpfs", "source": "tmpfs"})
    return made


def run(box: Box, cases: list[Case]) -> None:
    """Run a container with the properties of *cases*, and look at it from inside and from the host."""
    try:
        _run(box, cases)
    finally:
        for one in cases:
            if one.last is not None:
                one.last()


def _run(box: Box, cases: list[Case]) -> None:
    script = "".join(f"echo '---- {number}'; ( {one.probe or ':'} )\n" for number, one in enumerate(cases))
    config = base(box, f"{script}echo '{END}'; exec busybox sleep 100000")
    for one in cases:
        if one.prepare is not None:
            one.prepare(box.bundle)
        merge(config, placed(one.config, box.bundle))
    made = box.start(config, "properties")
    try:
        until(lambda: END in box.output() or made.status == "stopped", "the probes never ended")
        parts = re.split(r"(?m)^---- .*\n", box.output())
        assert len(parts) == len(cases) + 2, box.output()
        for one, shown in zip(cases, parts[1:], strict=False):
            _compare(one, shown.removesuffix("\n"))
        seen = Seen(made.pid, box.bundle / config["root"]["path"], made.state())
        for one in cases:
            if one.host is not None:
                one.host(seen)
    finally:
        made.delete(force=True)
    for one in cases:
        if one.after is not None:
            one.after(seen)


def _compare(one: Case, shown: str) -> None:
    if isinstance(one.shows, str):
        assert shown == one.shows, one.name
    else:
        assert one.shows.fullmatch(shown), f"{one.name}: {shown!r} is not {one.shows.pattern}"


@contextlib.contextmanager
def hierarchy(place: Path, controllers: str) -> Iterator[None]:
    """Mount a hierarchy of cgroup version 1 with *controllers*, if there are any, for some time."""
    if not controllers:
        yield
        return
    place.mkdir()
    subprocess.run(["mount", "-t", "cgroup", "-o", controllers, "cgroup", place], check=True)
    try:
        yield
    finally:
        for group in place.glob("orlop*"):
            remove_cgroup(group)
        # Whoever else runs containers meanwhile may have processes in there.
        subprocess.run(["umount", "--lazy", place], check=True)


def _marks(one: Case) -> list[pytest.MarkDecorator]:
    """Return what a case needs; those about control groups run under each version of them."""
    marks = [pytest.mark.needs(*one.needs)]
    if any(path.startswith(("linux.resources.", "linux.cgroupsPath")) for path in one.covers):
        marks.append(pytest.mark.every_lane)
    return marks


@pytest.mark.parametrize("name", [pytest.param(name, marks=_marks(one)) for name, one in CASES.items()])
def test_a_property_has_its_effect(box: Box, tmp_path: Path, name: str) -> None:
    with hierarchy(tmp_path / "hierarchy", CASES[name].hierarchy):
        run(box, [CASES[name]])


@pytest.mark.parametrize("seed", SEEDS)
def test_properties_have_their_effects_together(box: Box, seed: int) -> None:
    chosen: list[Case] = []
    taken: set[str] = set()
    candidates = [one for one in CASES.values() if not one.alone and not one.needs]
    for one in random.Random(seed).sample(candidates, len(candidates)):  # noqa: S311 - the same choice each time
        wanted = set(pointers(one.config(box.bundle) if callable(one.config) else one.config))
        if len(chosen) < 15 and taken.isdisjoint(wanted):
            chosen.append(one)
            taken |= wanted
    assert len(chosen) > 8
    run(box, chosen)
