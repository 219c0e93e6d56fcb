"""The child's side of AppArmor and SELinux, on files that stand for a procfs, and the host's on others."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

if sys.platform != "linux":
    pytest.skip("needs Linux", allow_module_level=True)

from orlop_hookspecs.errors import StepError
from orlop_hookspecs.plan import PlannedStep
from orlop_hookspecs.steps import (
    NewKeyring,
    RequireSecurityModule,
    SetApparmorProfile,
    SetMemoryPolicy,
    SetSelinuxLabel,
    Step,
)
from orlop_linux.init import failure, security
from orlop_linux.init.context import Context
from orlop_linux.init.failure import Failure
from orlop_linux.kernel.security import require
from orlop_linux.live.failures import Outline, error_of

LABEL = "system_u:system_r:svirt_lxc_net_t:s0:c1,c2"


@pytest.fixture
def attributes(tmp_path: Path) -> Path:
    """Return the attributes of the calling thread in a directory that stands for a procfs."""
    made = tmp_path / "12/task/13/attr"
    (made / "apparmor").mkdir(parents=True)
    for name in ("exec", "keycreate", "apparmor/exec"):
        (made / name).touch()
    (tmp_path / "thread-self").symlink_to("12/task/13")
    return made


@pytest.fixture
def context(attributes: Path) -> Iterator[Context]:
    fd = os.open(attributes.parents[3], os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    yield Context(proc_fd=fd)
    os.close(fd)


def test_a_label_is_written_in_one_piece(context: Context, attributes: Path) -> None:
    security.set_selinux_label(context, {"label": LABEL}, 0)
    assert (attributes / "exec").read_text() == LABEL


def test_the_label_of_keys_is_set_and_taken_back(context: Context, attributes: Path) -> None:
    security.label_keys(context, LABEL)
    assert (attributes / "keycreate").read_text() == LABEL
    (attributes / "keycreate").write_text("")
    security.label_keys(context, "")
    assert (attributes / "keycreate").read_text() == "\n"


def test_a_profile_that_the_kernel_shows_under_another_name_is_a_failure(
    context: Context, attributes: Path
) -> None:
    """A plain file gives back the command, which is no profile."""
    with pytest.raises(Failure) as caught:
        security.set_apparmor_profile(context, {"profile": "box"}, 0)
    assert (caught.value.errno, caught.value.detail) == (errno.ENOENT, failure.DETAIL_PROFILE)
    assert (attributes / "apparmor/exec").read_text() == "exec box"
    assert (attributes / "exec").read_text() == ""


def test_kernels_without_files_of_apparmors_own(context: Context, attributes: Path) -> None:
    (attributes / "apparmor/exec").unlink()
    with pytest.raises(Failure):
        security.set_apparmor_profile(context, {"profile": "box"}, 0)
    assert (attributes / "exec").read_text() == "exec box"


@pytest.mark.parametrize("link", ["/etc", "12", "../12/task/13", "12/task/13/..", "12/fd/13", "a/task/13"])
def test_a_link_that_does_not_name_a_thread_is_not_followed(
    context: Context, attributes: Path, link: str
) -> None:
    place = attributes.parents[3] / "thread-self"
    place.unlink()
    place.symlink_to(link)
    with pytest.raises(OSError) as caught:  # noqa: PT011 - the errno is asserted
        security.set_selinux_label(context, {"label": LABEL}, 0)
    assert caught.value.errno == errno.EXDEV


def test_an_attribute_that_is_a_link_is_not_followed(context: Context, attributes: Path) -> None:
    (attributes / "target").touch()
    (attributes / "exec").unlink()
    (attributes / "exec").symlink_to("target")
    with pytest.raises(OSError) as caught:  # noqa: PT011 - the errno is asserted
        security.set_selinux_label(context, {"label": LABEL}, 0)
    assert caught.value.errno == errno.ELOOP
    assert (attributes / "target").read_text() == ""


def test_more_than_a_page_is_not_cut(context: Context, attributes: Path) -> None:
    with pytest.raises(OSError) as caught:  # noqa: PT011 - the errno is asserted
        security.set_selinux_label(context, {"label": "x" * 4097}, 0)
    assert caught.value.errno == errno.E2BIG
    assert (attributes / "exec").read_text() == ""


@pytest.mark.parametrize(
    ("shown", "wanted", "same"),
    [
        (b"box (enforce)", b"box", True),
        (b"box (complain)", b"box", True),
        (b"box (unconfined)", b"box", True),
        (b"unconfined", b"unconfined", True),
        (b"unconfined", b"unconfined_box", False),
        (b"unconfined_box (enforce)", b"unconfined", False),
        (b"box", b"bo", False),
        (b"box//null-/bin/sh (complain)", b"box", False),
        (b"my (box) (enforce)", b"my (box)", True),
        (b"my (box)", b"my", True),
        (b":ns://box (enforce)", b":ns:box", True),
        (b":ns://box (enforce)", b":ns://box", True),
        (b":other://box (enforce)", b":ns:box", False),
        (b"", b"box", False),
    ],
)
def test_a_profile_is_compared_exactly(shown: bytes, wanted: bytes, same: bool) -> None:
    assert security._is_profile(shown, wanted) is same


def refused(module: str, root: Path) -> str:
    step = RequireSecurityModule(because="/process/apparmorProfile", module=module)
    with pytest.raises(StepError) as caught:
        require(step, module, sysfs=str(root), procfs=str(root))
    assert caught.value.errno == errno.EOPNOTSUPP
    assert caught.value.pointer == "/process/apparmorProfile"
    assert caught.value.hint == "leave out apparmorProfile on this host"
    return str(caught.value.message)


def test_hosts_without_apparmor(tmp_path: Path) -> None:
    assert refused("apparmor", tmp_path) == "this host has no AppArmor"
    parameter = tmp_path / "module/apparmor/parameters/enabled"
    parameter.parent.mkdir(parents=True)
    parameter.write_text("N\n")
    assert refused("apparmor", tmp_path) == "AppArmor is not enabled on this host"
    parameter.write_text("Y\n")
    require(RequireSecurityModule(because="", module="apparmor"), "apparmor", sysfs=str(tmp_path))


def test_hosts_without_selinux(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert refused("selinux", tmp_path) == "this host has no SELinux"
    (tmp_path / "fs/selinux").mkdir(parents=True)
    assert refused("selinux", tmp_path) == "this host has no SELinux: its file system is not mounted"
    monkeypatch.setattr("orlop_linux.kernel.security.statfs_type", lambda _: 0xF97CFF8C)
    assert refused("selinux", tmp_path) == "SELinux has no policy on this host"
    current = tmp_path / "thread-self/attr/current"
    current.parent.mkdir(parents=True)
    current.write_bytes(b"kernel\0")
    assert refused("selinux", tmp_path) == "SELinux has no policy on this host"
    current.write_bytes(b"unconfined_u:unconfined_r:unconfined_t:s0\0")
    step = RequireSecurityModule(because="", module="selinux")
    require(step, "selinux", sysfs=str(tmp_path), procfs=str(tmp_path))


@pytest.mark.parametrize(
    ("step", "number", "detail", "told"),
    [
        (
            SetApparmorProfile(because="/process/apparmorProfile", profile="box"),
            errno.ENOENT,
            failure.DETAIL_NONE,
            'AppArmor has no profile "box" loaded',
        ),
        (
            SetApparmorProfile(because="/process/apparmorProfile", profile="box"),
            errno.EACCES,
            failure.DETAIL_NONE,
            'cannot set the AppArmor profile "box": permission denied',
        ),
        (
            SetSelinuxLabel(because="/process/selinuxLabel", label=LABEL),
            errno.EINVAL,
            failure.DETAIL_NONE,
            f'cannot set the SELinux label "{LABEL}": invalid argument',
        ),
        (
            NewKeyring(because="/process/selinuxLabel", name="_ses.box", label=LABEL),
            errno.EINVAL,
            failure.DETAIL_NONE,
            f'cannot set the SELinux label "{LABEL}": invalid argument',
        ),
        (
            NewKeyring(because="/process", name="_ses.box"),
            errno.EDQUOT,
            failure.DETAIL_NONE,
            "cannot join a new session keyring: disk quota exceeded",
        ),
        (
            SetMemoryPolicy(because="/linux/memoryPolicy", mode="MPOL_BIND", nodes=((0, 7),)),
            errno.EINVAL,
            failure.DETAIL_NODES,
            "cannot set the memory policy MPOL_BIND: this host or the cpuset lacks one of the nodes",
        ),
    ],
)
def test_what_a_refusal_says(step: Step, number: int, detail: int, told: str) -> None:
    outline = Outline.of(PlannedStep(step, step.phase, step.slot, "test"))
    packed = failure.pack_failure(failure.PHASE_CONFINED, 0, number, detail)
    error = error_of(packed, {"confined": [outline]}, "box")
    assert (error.message, error.pointer, error.errno) == (told, step.because, number)
