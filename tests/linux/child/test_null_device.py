"""Standard streams that are the host's null device, and what takes their place in the container."""

from __future__ import annotations

import os

from tests.linux.child.support import Box, until
from tests.linux.child.test_joining import join, start

WHERE = "busybox stat -L -c %d:%i:%t:%T /proc/self/fd/0 /dev/null"
"""Prints on which file system standard input and the container's null device are, and which devices."""
NOT_THE_DEVICE = "rm /dev/null; busybox mkfifo /dev/null; busybox sleep 1000"


def test_the_null_device_is_the_containers_own(box: Box) -> None:
    stream, own = box.run(box.script(WHERE)).output.split()
    assert stream == own
    # Opened as the caller's was: for reading.
    _, flags = box.run(box.config("busybox", "grep", "flags", "/proc/self/fdinfo/0")).output.split()
    assert int(flags, 8) & (os.O_ACCMODE | os.O_NONBLOCK) == os.O_RDONLY


def test_a_joining_process_gets_it_as_well(box: Box) -> None:
    start(box)
    stream, own = join(box, "/bin/sh", "-c", WHERE).output.split()
    assert stream == own


def test_what_is_no_null_device_does_not_take_its_place(box: Box) -> None:
    start(box, NOT_THE_DEVICE)
    place = f"/proc/{box.runtime.get('box').pid}/root/dev/null"
    until(lambda: os.path.exists(place) and not os.stat(place).st_rdev, "the null device is still there")
    stream, image = join(box, "/bin/sh", "-c", WHERE).output.split()
    assert stream.endswith(":1:3")
    assert image.endswith(":0:0")


def test_other_devices_stay_what_they_are(box: Box) -> None:
    zero = os.open("/dev/zero", os.O_RDONLY | os.O_CLOEXEC)
    out = os.open(box.place / "out", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        made = box.start(box.script(WHERE), stdio=(zero, out, out))
        made.wait(60)
    finally:
        os.close(zero)
        os.close(out)
    stream, _ = (box.place / "out").read_text().split()
    info = os.stat("/dev/zero")
    assert stream == f"{info.st_dev}:{info.st_ino}:1:5"


def test_a_container_without_devices_keeps_what_it_was_given(box: Box) -> None:
    mounts = [
        {"destination": "/proc", "type": "proc", "source": "proc"},
        {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nodev"]},
    ]
    result = box.run(box.script("busybox stat -L -c %t:%T /proc/self/fd/0", mounts=mounts))
    assert (result.status, result.output) == (0, "1:3\n")
