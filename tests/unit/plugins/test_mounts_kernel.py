"""Plugin mounts: what no kernel would do is refused at planning, and what is added for safety."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.plugins.support import config, objections, pointers, steps

from orlop_hookspecs.steps import MountBind
from orlop_linux.plugins.mounts import NEVER_MAPPED

IDS = [{"containerID": 0, "hostID": 5, "size": 1}]
USER = {"uidMappings": IDS, "gidMappings": IDS}


def _spaces(*kinds: str, **paths: str) -> dict[str, Any]:
    return {
        "namespaces": [
            {"type": "mount"},
            *({"type": kind} for kind in kinds),
            *({"type": kind, "path": path} for kind, path in paths.items()),
        ],
        **(USER if "user" in kinds else {}),
    }


@pytest.mark.parametrize("kind", sorted(NEVER_MAPPED))
def test_what_shows_the_kernels_objects_cannot_be_mapped(kind: str) -> None:
    destination = "/proc" if kind == "proc" else "/x"
    mount = {"destination": destination, "type": kind, "options": ["idmap"], **USER}
    wanted = config(mounts=[mount], linux=_spaces("cgroup", "pid"))
    assert pointers("mounts", wanted) == ["/mounts/0/type"]
    bound = {**mount, "source": f"/{kind}", "options": ["bind", "idmap"]}
    assert pointers("mounts", config(mounts=[bound])) == []


@pytest.mark.parametrize("kind", ["tmpfs", "ramfs", "overlay", "ext4", "fuse"])
def test_whether_others_can_be_mapped_is_for_the_kernel_to_say(kind: str) -> None:
    mount = {"destination": "/x", "type": kind, "source": "/s", "options": ["idmap"], **USER}
    assert pointers("mounts", config(mounts=[mount])) == []


@pytest.mark.parametrize(("kind", "owner"), [("proc", "pid"), ("mqueue", "ipc")])
def test_a_new_user_namespace_mounts_what_it_owns(kind: str, owner: str) -> None:
    mount = {"destination": "/proc" if kind == "proc" else "/x", "type": kind}
    for linux in (_spaces("user"), _spaces("user", **{owner: "/run/ns"})):
        (problem,) = objections("mounts", config(mounts=[mount], linux=linux))
        assert problem.pointer == "/mounts/0/type"
        assert owner in problem.message
        assert owner in problem.hint
    for linux in (_spaces("user", owner), _spaces(owner), _spaces(), _spaces(user="/run/ns")):
        assert pointers("mounts", config(mounts=[mount], linux=linux)) == []


@pytest.mark.parametrize(
    ("options", "refused"),
    [
        ([f"lowerdir={'x' * 255}", f"upperdir={'y' * 3821}"], False),
        ([f"lowerdir={'x' * 255}", f"upperdir={'y' * 3822}"], True),
        ([f"lowerdir={'é' * 2100}"], True),
        ([f"o{n}={'x' * 250}" for n in range(100)], False),
        ([*(f"o{n}={'x' * 250}" for n in range(100)), "iversion"], True),
    ],
)
def test_more_options_than_the_kernel_would_read_are_refused(options: list[str], refused: bool) -> None:
    mount = {"destination": "/x", "type": "overlay", "options": options}
    assert pointers("mounts", config(mounts=[mount])) == ["/mounts/0/options"] * refused


@pytest.mark.parametrize("options", [["iversion"], [f"lowerdir={'x' * 256}"]])
def test_what_needs_a_private_place_needs_a_mount_namespace(options: list[str]) -> None:
    mount = {"destination": "/x", "type": "overlay", "options": options}
    for namespaces in ([], [{"type": "mount", "path": "/run/ns"}]):
        wanted = config(mounts=[mount], linux={"namespaces": namespaces})
        assert pointers("mounts", wanted) == ["/mounts/0/options"]
    assert pointers("mounts", config(mounts=[mount])) == []


@pytest.mark.parametrize(
    ("source", "options", "recursive"),
    [
        ("/sys", ["rbind", "ro"], (("ro", True),)),
        ("//sys/./", ["rbind", "ro", "nosuid"], (("ro", True),)),
        ("/sys/fs/cgroup", ["rbind", "ro"], (("ro", True),)),
        ("/sys", ["rbind", "ro", "rrw"], (("ro", False),)),
        ("/sys", ["rbind", "ro", "rnoexec"], (("ro", True), ("noexec", True))),
        ("/sys", ["rbind"], ()),
        ("/sys", ["rbind", "ro", "rw"], ()),
        ("/sys/class", ["rbind", "ro"], ()),
        ("sys", ["rbind", "ro"], ()),
        ("/system", ["rbind", "ro"], ()),
    ],
)
def test_a_read_only_sysfs_is_so_with_all_that_is_below(
    source: str, options: list[str], recursive: tuple[tuple[str, bool], ...]
) -> None:
    mount = {"destination": "/sys", "source": source, "options": options}
    (step,) = steps("mounts", config(mounts=[mount]))
    assert isinstance(step, MountBind)
    assert step.recursive == recursive
