"""A refused mount is explained: what was tried, which part of it was refused, what can be done."""

from __future__ import annotations

import errno
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orlop_hookspecs.errors import StepError
from orlop_hookspecs.plan import PlannedStep
from orlop_hookspecs.steps import (
    CreateDevice,
    MountBind,
    MountCgroup,
    MountFilesystem,
    MountProc,
    MountSysfs,
    PrepareRoot,
    Step,
)
from orlop_linux.init import failure
from orlop_linux.kernel.mountfailures import explain, refine, unopened

TMPFS = MountFilesystem(because="/mounts/2", destination="/tmp", type="tmpfs", data=("size=1m", "odd=\n1"))
BIND = MountBind(because="/mounts/3", destination="/data", source="/volume")
STEPS: tuple[Step, ...] = (
    PrepareRoot(because="/root/path", path="/image"),
    TMPFS,
    BIND,
    MountProc(because="/mounts/0", destination="/proc"),
    MountSysfs(because="/mounts/1", destination="/sys"),
    MountCgroup(because="/mounts/4", destination="/sys/fs/cgroup"),
    CreateDevice(because="/linux/devices", path="/dev/null", type="c", major=1, minor=3),
)
DETAILS = (
    failure.DETAIL_NONE,
    failure.DETAIL_TARGET,
    failure.DETAIL_ATTRIBUTES,
    failure.DETAIL_IDMAP,
    failure.DETAIL_COPY,
    failure.DETAIL_SOURCE,
    failure.DETAIL_OPTION,
    failure.DETAIL_OPTION + 1,
)


@pytest.mark.parametrize(
    ("step", "number", "detail", "words"),
    [
        (
            TMPFS,
            errno.EINVAL,
            failure.DETAIL_OPTION,
            ["tmpfs at /tmp", "option 'size=1m'", "invalid argument"],
        ),
        (TMPFS, errno.EINVAL, failure.DETAIL_OPTION + 1, ["option 'odd=\\n1'"]),
        (TMPFS, errno.EINVAL, failure.DETAIL_OPTION + 2, ["tmpfs at /tmp: invalid argument"]),
        (TMPFS, errno.ENODEV, failure.DETAIL_NONE, ["no such device", "/proc/filesystems"]),
        (TMPFS, errno.E2BIG, failure.DETAIL_NONE, ["4095 bytes"]),
        (TMPFS, errno.ENOSPC, failure.DETAIL_COPY, ["tmpcopyup: no space left on device", "does not fit"]),
        (TMPFS, errno.EINVAL, failure.DETAIL_IDMAP, ["it cannot be id-mapped", "not every file system"]),
        (BIND, errno.EPERM, failure.DETAIL_ATTRIBUTES, ["/volume at /data", "attributes", "locked"]),
        (BIND, errno.EROFS, failure.DETAIL_TARGET, ["/volume at /data: read-only file system", "missing"]),
        (BIND, errno.EBUSY, failure.DETAIL_TARGET, ["the container's root"]),
        (STEPS[3], errno.ELOOP, failure.DETAIL_TARGET, ["proc at /proc", "symbolic link"]),
        (BIND, errno.ELOOP, failure.DETAIL_TARGET, ["lead in a circle"]),
        (STEPS[4], errno.EPERM, failure.DETAIL_NONE, ["sysfs at /sys", "does not own it"]),
        (
            STEPS[5],
            errno.ENOTDIR,
            failure.DETAIL_TARGET,
            ["cgroup at /sys/fs/cgroup", "only mounted on a directory"],
        ),
    ],
)
def test_explanations(step: Step, number: int, detail: int, words: list[str]) -> None:
    error = explain(step, number, detail)
    assert (error.errno, error.pointer) == (number, step.because)
    for word in words:
        assert word in str(error)
    assert "\n" not in str(error)


@pytest.mark.parametrize(
    ("step", "pointer", "word"),
    [
        (STEPS[0], "/root/path", "root file system /image"),
        (BIND, "/mounts/3/source", "mount source /volume"),
        (STEPS[4], "/mounts/1/source", "mount source /sys"),
        (STEPS[6], "/linux/devices", "device /dev/null"),
    ],
)
def test_what_cannot_be_opened_on_the_host(step: Step, pointer: str, word: str) -> None:
    error = unopened(step, errno.ENOENT)
    assert error.pointer == pointer
    assert f"cannot open the {word}: no such file or directory" in str(error)
    assert "magic link" in str(unopened(step, errno.ELOOP))


PLANNED = [PlannedStep(one, one.phase, one.slot, "mounts") for one in STEPS]


@given(
    st.sampled_from((failure.PHASE_CONTAINER, failure.PHASE_CONFINED, failure.PHASE_SPAWN)),
    st.integers(-1, len(STEPS)),
    st.integers(0, 200),
    st.one_of(st.sampled_from(DETAILS), st.integers(-(1 << 63), (1 << 63) - 1)),
)
def test_any_failure_stays_an_error_of_its_errno(phase: int, index: int, number: int, detail: int) -> None:
    error = StepError("plain", errno=number, container="box", plugin="mounts", pointer="/somewhere")
    better = refine(error, failure.pack_failure(phase, index, number, detail), PLANNED)
    assert better.errno == number
    assert (better.container, better.plugin) == ("box", "mounts")
    assert str(better).isprintable()
    inside = phase == failure.PHASE_CONTAINER and 0 <= index < len(STEPS)
    if not inside or (
        isinstance(STEPS[index], CreateDevice | PrepareRoot) and detail != failure.DETAIL_SOURCE
    ):
        assert better is error
    else:
        assert better.pointer.startswith(STEPS[index].because)


@given(st.binary(max_size=200))
def test_a_payload_that_makes_no_sense_changes_nothing(payload: bytes) -> None:
    error = StepError("plain", errno=None)
    assert refine(error, payload, PLANNED) is error
    other: Any = ValueError("no error of ours")
    assert refine(other, payload, PLANNED) is other
