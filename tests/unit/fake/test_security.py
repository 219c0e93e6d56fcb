"""Security modules and keyrings on the fake kernel: effects and refusals."""

from __future__ import annotations

import errno

import pytest
from tests.unit.fake.planned import Container, base, machine, made

from orlop_fake import FakeKernel, Host, Task
from orlop_hookspecs import steps
from orlop_hookspecs.errors import StepError
from orlop_hookspecs.steps import Step

LABEL = "u:r:t:s0"


def refused(kernel: FakeKernel, step: Step) -> StepError:
    one = Container(kernel, base(step))
    with pytest.raises(StepError) as caught:
        one.create()
    one.delete()
    assert kernel.leaks() == []
    return caught.value


@pytest.mark.parametrize(
    ("module", "name"), [("apparmor", "AppArmor"), ("selinux", "SELinux"), ("tomoyo", "tomoyo")]
)
def test_a_machine_without_the_module(module: str, name: str) -> None:
    error = refused(machine(), made(steps.RequireSecurityModule, module=module))
    assert error.errno == errno.EOPNOTSUPP
    assert f"this host has no {name}" in str(error)


@pytest.mark.parametrize(
    "step",
    [
        made(steps.SetApparmorProfile, profile="box"),
        made(steps.SetSelinuxLabel, label=LABEL),
        made(steps.NewKeyring, name="_ses", label=LABEL),
        made(steps.MountFilesystem, destination="/tmp", type="tmpfs", data=(f"context={LABEL}",)),
    ],
    ids=lambda one: str(one)[:40],
)
def test_what_needs_a_module_is_refused_without(step: Step) -> None:
    assert refused(machine(), step).errno == errno.EINVAL


def test_a_profile_that_is_not_loaded() -> None:
    kernel = machine(host=Host(apparmor=("box",)))
    error = refused(kernel, made(steps.SetApparmorProfile, profile="bo"))
    assert error.errno == errno.ENOENT
    assert 'no profile "bo"' in str(error)


@pytest.mark.parametrize("label", ["u", "u:r", "u::t"])
def test_a_label_that_no_policy_has(label: str) -> None:
    assert (
        refused(machine(host=Host(selinux=True)), made(steps.SetSelinuxLabel, label=label)).errno
        == errno.EINVAL
    )


def test_profile_and_label_are_those_of_the_program_from_its_first_instruction_on() -> None:
    seen: list[str] = []

    def program(p: Task) -> int:
        seen.append(p.read("/proc/self/attr/current").decode())
        seen.append(p.read("/proc/self/attr/apparmor/current").decode())
        return 0

    kernel = machine(programs={"/bin/sleep": program}, host=Host(apparmor=("box",), selinux=True))
    one = Container(
        kernel,
        base(
            made(steps.MountProc, destination="/proc"),
            made(steps.SetApparmorProfile, profile="box"),
            made(steps.SetSelinuxLabel, label=LABEL),
        ),
    ).create()
    assert (one.process.traits.profile, one.process.traits.label) == ("unconfined", "")
    one.start()
    assert seen == [LABEL, "box (enforce)\n"]


def test_without_selinux_the_attribute_is_apparmors() -> None:
    seen: list[bytes] = []
    kernel = machine(
        programs={"/bin/sleep": lambda p: seen.append(p.read("/proc/self/attr/current"))},
        host=Host(apparmor=()),
    )
    Container(kernel, base(made(steps.MountProc, destination="/proc"))).create().start()
    assert seen == [b"unconfined\n"]


def test_a_keyring_and_a_mount_with_a_label() -> None:
    kernel = machine(host=Host(selinux=True))
    one = Container(
        kernel,
        base(
            made(steps.NewKeyring, name="_ses.one", label=LABEL),
            made(steps.MountFilesystem, destination="/tmp", type="tmpfs", data=(f"context={LABEL}",)),
        ),
    ).create()
    assert (one.process.keyring, one.process.traits.keyring_label) == ("_ses.one", LABEL)
    mounts = one.process.namespaces.mount.tree.mounts
    assert [mount.data for mount in mounts if mount.type == "tmpfs"] == [(f"context={LABEL}",)]
