"""Plugins apparmor, selinux and keyring, and the label that mounts get."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.plugins.support import call, config, objections, pointers, steps

from orlop_hookspecs.errors import DocumentError
from orlop_hookspecs.steps import (
    MountFilesystem,
    NewKeyring,
    RequireSecurityModule,
    SetApparmorProfile,
    SetSelinuxLabel,
)

LABEL = "system_u:system_r:svirt_lxc_net_t:s0:c124,c675"
PROFILE = "/process/apparmorProfile"
PROCESS = "/process/selinuxLabel"
MOUNT = "/linux/mountLabel"


def test_a_profile() -> None:
    assert steps("apparmor", config(process={"apparmorProfile": "acme secure"})) == [
        RequireSecurityModule(because=PROFILE, module="apparmor"),
        SetApparmorProfile(because=PROFILE, profile="acme secure"),
    ]


@pytest.mark.parametrize("changes", [{"process": None}, {}, {"process": {"apparmorProfile": ""}}])
def test_no_profile(changes: dict[str, Any]) -> None:
    assert steps("apparmor", config(**changes)) == []


@pytest.mark.parametrize("name", ["unconfined", "a//b", ":ns:name", "/usr/bin/x", "x" * 4000, "\u00e9"])
def test_names_of_profiles(name: str) -> None:
    assert pointers("apparmor", config(process={"apparmorProfile": name})) == []


@pytest.mark.parametrize("name", [" a", "a ", "a\n", "a\tb", "&a", " ", "x" * 4001, "\u00e9" * 2001, "a\x7f"])
def test_what_is_no_name_of_a_profile(name: str) -> None:
    (problem,) = objections("apparmor", config(process={"apparmorProfile": name}))
    assert (problem.pointer, problem.value) == (PROFILE, name)


@pytest.mark.parametrize("value", [7, None, True, ["a"], "a\0b"])
@pytest.mark.parametrize("name", ["apparmorProfile", "selinuxLabel"])
def test_wrong_types(name: str, value: Any) -> None:
    if value is None:
        return
    with pytest.raises(DocumentError) as caught:
        config(process={name: value})
    assert caught.value.pointer == f"/process/{name}"


def test_labels() -> None:
    assert steps("selinux", config(process={"selinuxLabel": LABEL}, linux={"mountLabel": LABEL})) == [
        RequireSecurityModule(because=PROCESS, module="selinux"),
        RequireSecurityModule(because=MOUNT, module="selinux"),
        SetSelinuxLabel(because=PROCESS, label=LABEL),
    ]
    assert steps("selinux", config(linux={"mountLabel": LABEL})) == [
        RequireSecurityModule(because=MOUNT, module="selinux")
    ]


@pytest.mark.parametrize(
    "changes",
    [{"process": None, "linux": None}, {"process": {"selinuxLabel": ""}, "linux": {"mountLabel": ""}}],
)
def test_no_labels(changes: dict[str, Any]) -> None:
    assert steps("selinux", config(**changes)) == []


@pytest.mark.parametrize("label", ["a:b:c", "a:b:c:s0", LABEL, "a:b:c:s0-s0:c0.c1023"])
def test_what_a_label_may_be(label: str) -> None:
    wanted = config(process={"selinuxLabel": label}, linux={"mountLabel": label})
    assert pointers("selinux", wanted) == []


@pytest.mark.parametrize(
    "label", ["a", "a:b", "a::c", ":b:c", "a:b:", "a:b:c d", 'a:b:c"', "a:b:c\n", "a:b:" + "c" * 4000]
)
def test_what_no_label_is(label: str) -> None:
    wanted = config(process={"selinuxLabel": label}, linux={"mountLabel": label})
    assert pointers("selinux", wanted) == [PROCESS, MOUNT]


def labelled(*mounts: dict[str, Any], label: str = LABEL) -> list[Any]:
    made = [{"source": "none"} | mount for mount in mounts]
    return steps("mounts", config(linux={"mountLabel": label}, mounts=made))


def test_new_file_systems_get_the_label_as_their_context() -> None:
    (step,) = labelled({"destination": "/tmp", "type": "tmpfs", "options": ["size=1m"]})
    assert isinstance(step, MountFilesystem)
    assert step.data == ("size=1m", f"context={LABEL}")
    assert labelled({"destination": "/tmp", "type": "tmpfs"}, label="")[0].data == ()


@pytest.mark.parametrize(
    "option", ["context=x:y:z", "rootcontext=x:y:z", "fscontext=x:y:z", "defcontext=x:y:z"]
)
def test_a_mount_keeps_a_context_of_its_own(option: str) -> None:
    (step,) = labelled({"destination": "/tmp", "type": "tmpfs", "options": [option]})
    assert step.data == (option,)


def test_the_kernels_own_file_systems_and_what_exists_keep_their_labels() -> None:
    planned = labelled(
        {"destination": "/proc", "type": "proc"},
        {"destination": "/sys", "type": "sysfs"},
        {"destination": "/sys/fs/cgroup", "type": "cgroup"},
        {"destination": "/mnt", "type": "bind", "source": "/srv", "options": ["bind"]},
    )
    assert LABEL not in repr(planned)


def test_a_keyring_is_named_after_the_container() -> None:
    assert steps("keyring", config()) == [NewKeyring(because="/process", name="_ses.box")]
    assert steps("keyring", config(process={"selinuxLabel": LABEL})) == [
        NewKeyring(because=PROCESS, name="_ses.box", label=LABEL)
    ]


def test_no_keyring() -> None:
    assert steps("keyring", config(), no_new_keyring=True) == []
    assert steps("keyring", config(process=None)) == []


def test_features() -> None:
    assert call("apparmor", "orlop_features") == {"linux.apparmor.enabled": True}
    assert call("selinux", "orlop_features") == {"linux.selinux.enabled": True}
