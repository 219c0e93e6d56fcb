"""Flags of the host's mounts that a container with a user namespace of its own cannot take off.

The kernel locks them when a mount namespace is copied for a less privileged owner (mount_namespaces(7)).
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.linux.child.support import Box

_ROOT = [{"containerID": 0, "hostID": 0, "size": 65536}]
_ALL = {"bounding", "effective", "permitted"}


@pytest.fixture
def readonly(box: Box) -> Iterator[Path]:
    """Yield a directory that the host has mounted read-only, with another such mount below it."""
    place = box.place / "read only"
    (place / "below").mkdir(parents=True)
    made: list[Path] = []
    try:
        for path in (place, place / "below"):
            subprocess.run(["mount", "--bind", path, path], check=True)
            made.append(path)
            subprocess.run(["mount", "-o", "remount,bind,ro", path], check=True)
        yield place
    finally:
        for path in reversed(made):
            subprocess.run(["umount", path], check=True)


def _attempts(box: Box, source: Path, *options: str, maps: bool = True) -> dict[str, str]:
    """Return what becomes of attempts to write to a bind mount of *source*, in a container that may mount."""
    script = (
        'try() { if busybox sh -c "$2" 2>/dev/null; then echo "$1 done"; else echo "$1 refused"; fi; }; '
        "try remount 'busybox mount -o remount,bind,rw /data'; "
        "try write 'echo x >/data/new'; "
        "try uncover 'busybox umount /data/below'; "
        "try below 'echo x >/data/below/new'"
    )
    kinds = ("pid", "mount", *(("user",) if maps else ()))
    linux: dict[str, Any] = {"namespaces": [{"type": kind} for kind in kinds]}
    if maps:
        linux |= {"uidMappings": _ROOT, "gidMappings": _ROOT}
    capabilities = {name: ["CAP_SYS_ADMIN", "CAP_DAC_OVERRIDE"] for name in _ALL}
    config = box.script(script, linux=linux, process={"capabilities": capabilities})
    config["mounts"].append(
        {"destination": "/data", "type": "bind", "source": str(source), "options": list(options)}
    )
    lines = box.run(config).output.splitlines()
    return dict(line.split() for line in lines)


def test_read_only_mounts_of_the_host_stay_read_only(box: Box, readonly: Path) -> None:
    found = _attempts(box, readonly, "rbind")
    assert found == dict.fromkeys(("remount", "write", "uncover", "below"), "refused")
    assert sorted(readonly.rglob("*")) == [readonly / "below"]


def test_what_the_config_makes_writable_is_writable(box: Box, readonly: Path) -> None:
    assert _attempts(box, readonly, "rbind", "rw")["write"] == "done"
    assert (readonly / "new").exists()


def test_one_mount_without_those_below_can_still_be_bound(box: Box, readonly: Path) -> None:
    # The kernel does not uncover what is below locked mounts: this copy is the engine's, without locks.
    found = _attempts(box, readonly, "bind")
    assert found["uncover"] == "refused"
    subprocess.run(["umount", readonly / "below"], check=True)
    try:
        assert _attempts(box, readonly, "bind")["remount"] == "refused"
    finally:
        subprocess.run(["mount", "--bind", readonly / "below", readonly / "below"], check=True)


def test_whoever_owns_the_hosts_mounts_may_change_their_copies(box: Box, readonly: Path) -> None:
    assert _attempts(box, readonly, "rbind", maps=False)["remount"] == "done"
    assert "ro" in _options(readonly)


def _options(place: Path) -> list[str]:
    escaped = str(place).replace(" ", "\\040")
    (line,) = [one for one in Path("/proc/self/mountinfo").read_text().splitlines() if f" {escaped} " in one]
    return line.split()[5].split(",")
