"""Nodes where the container process may make none: with mode and owner of the config, or not at all."""

from __future__ import annotations

import os
from typing import Any

import pytest
from tests.linux.child.support import Box, command_line, fds_of
from tests.linux.child.test_scheduling import USERS
from tests.linux.faults.rig import mounts

import orlop

ZERO: dict[str, Any] = {"path": "/dev/zero", "type": "c", "major": 1, "minor": 5}
FULL: dict[str, Any] = {"path": "/dev/own full", "type": "c", "major": 1, "minor": 7}
NO_MKNOD = "import ctypes; ctypes.CDLL(None).prctl(24, 27, 0, 0, 0)\n"
"""A caller without CAP_MKNOD."""


def look(box: Box, *devices: dict[str, Any], **linux: Any) -> dict[str, Any]:
    """Return the config of a program that tells of devices, and reads one byte of each."""
    show = "busybox stat -c '%a %u %g %t:%T' '{0}'; busybox head -c1 '{0}' | busybox wc -c; "
    script = "".join(show.format(one["path"]) for one in devices)
    return box.script(script, linux={"devices": list(devices), **linux})


@pytest.mark.every_lane
def test_a_node_in_a_user_namespace_has_mode_and_owner_of_the_config(box: Box) -> None:
    box.run(box.config("/bin/true"))  # what stays open for later containers is there now
    before, fds, host = mounts(), fds_of("self"), os.stat("/dev/zero")
    said = {"fileMode": 0o644, "uid": 5, "gid": 7}
    config = look(box, ZERO | said, FULL | said | {"fileMode": 0o4604}, **USERS)
    assert box.run(config).output.splitlines() == ["644 5 7 1:5", "1", "4604 5 7 1:7", "1"]
    assert os.stat("/dev/zero")[:6] == host[:6]
    assert fds_of("self") == fds
    assert mounts() == before


def test_what_the_config_does_not_say_is_the_hosts(box: Box) -> None:
    host = os.stat("/dev/zero")
    assert host.st_uid == 0
    config = look(box, ZERO | {"gid": 7}, **USERS)
    # The host's root is nobody in there.
    assert box.run(config).output.splitlines()[0] == f"{host.st_mode & 0o7777:o} 65534 7 1:5"
    plain = look(box, ZERO, **USERS)
    assert box.run(plain).output.splitlines()[0] == f"{host.st_mode & 0o7777:o} 65534 65534 1:5"


@pytest.mark.parametrize("name", ["uid", "gid"])
def test_an_owner_that_the_user_namespace_does_not_have(box: Box, name: str) -> None:
    with pytest.raises(orlop.StepError, match="the id is not mapped") as caught:
        box.create(look(box, ZERO | {name: 4_000_000}, **USERS))
    assert (caught.value.pointer, caught.value.value) == (f"/linux/devices/0/{name}", 4_000_000)
    assert box.left() == []


def test_a_caller_who_may_make_no_node_binds_the_hosts_only_where_it_is_the_same(box: Box) -> None:
    host = os.stat("/dev/zero")
    same = ZERO | {"fileMode": host.st_mode & 0o7777, "uid": host.st_uid, "gid": host.st_gid}
    done = command_line(box, "run", "box", before=NO_MKNOD, config=look(box, same))
    assert done.returncode == 0
    other = ZERO | {"fileMode": 0o600}
    log = box.place / "log"
    done = command_line(box, "--log", str(log), "run", "box", before=NO_MKNOD, config=look(box, other))
    assert done.returncode != 0
    assert "/linux/devices/0/fileMode" in log.read_text()
    assert "has another fileMode" in log.read_text()
    assert box.left() == []
