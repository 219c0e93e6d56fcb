"""What is read from the kernel before restored processes run, read here from processes that were created."""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from tests.linux.child.support import FOREVER, Box, children_of, until

from orlop.lifecycle.create import prepare_bundle
from orlop_hookspecs.checkpoint import RestoreOptions
from orlop_hookspecs.errors import StepError
from orlop_hookspecs.plan import PlannedStep
from orlop_hookspecs.record import Record
from orlop_hookspecs.steps import RestoreProcesses
from orlop_linux.init.identity import NUMBER
from orlop_linux.kernel.criu.inside import protect
from orlop_linux.kernel.criu.shown import Demand, demands
from orlop_linux.kernel.criu.verify import verify
from orlop_linux.kernel.mountinfo import Mount
from orlop_linux.plugins.checkpoint import orlop_restore

RECORD = Record(id="box", bundle="", rootfs="")
FEW = {kind: ["CAP_KILL"] for kind in ("bounding", "effective", "permitted")}


def confined(box: Box) -> dict[str, Any]:
    """Return the config of a container of whose view of the host something is hidden or read-only."""
    for name in ("data", "hidden", "kept"):
        (box.rootfs / name).mkdir()
        (box.place / name).mkdir()
    (box.rootfs / "secret").write_text("secret")
    made = box.config(
        process={
            "capabilities": FEW,
            "noNewPrivileges": True,
            "user": {"uid": 1000, "gid": 1000, "additionalGids": [1001]},
        },
        linux={"maskedPaths": ["/secret", "/hidden", "/none"], "readonlyPaths": ["/proc/sys", "/kept"]},
    )
    made["mounts"] += [
        {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["ro", "nosuid"]},
        {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": ["ro"]},
        {
            "destination": "/data",
            "type": "bind",
            "source": str(box.place / "data"),
            "options": ["rbind", "ro"],
        },
    ]
    return made


def wanted(box: Box, config: dict[str, Any]) -> RestoreProcesses:
    """Return what a restore with *config* demands."""
    prepared = prepare_bundle(box.runtime.composition, "box", box.bundle, source=config)
    (step,) = orlop_restore(prepared.plan, RestoreOptions(image="/images"))
    assert isinstance(step, RestoreProcesses)
    return step


def examine(pid: int, step: RestoreProcesses) -> None:
    verify(RECORD, PlannedStep(step, "restore", "processes", "checkpoint"), {}, pid)


@pytest.mark.every_lane
def test_a_container_is_what_its_config_demands(box: Box) -> None:
    config = confined(box)
    made = box.start(config)
    step = wanted(box, box.placed(config, "box"))
    examine(made.pid, step)
    shown = demands(made.pid, step)
    protect(made.pid, shown)
    places = {"/data", "/sys", "/sys/fs/cgroup", "/proc/sys", "/kept", "/secret"}
    assert places <= {one.mount.point for one in shown if "ro" in one.attributes}


def drop(config: dict[str, Any], destination: str) -> None:
    config["mounts"] = [one for one in config["mounts"] if one["destination"] != destination]


LAXER: dict[str, Callable[[dict[str, Any]], None]] = {
    "a path is not masked, in /linux/maskedPaths/0": lambda c: c["linux"].update(maskedPaths=["/hidden"]),
    "a path is not masked, in /linux/maskedPaths/1": lambda c: c["linux"].update(maskedPaths=["/secret"]),
    "a path can be written to, in /linux/readonlyPaths/1": lambda c: c["linux"].update(
        readonlyPaths=["/proc/sys"]
    ),
    "a mount is not ro, in /mounts/3": lambda c: c["mounts"][3].update(options=["rw"]),
    "a mount is not nosuid, in /mounts/2": lambda c: c["mounts"][2].update(options=["ro"]),
    "a mount of the config is not there, in /mounts/4": lambda c: drop(c, "/data"),
    "there is a mount of type sysfs more, in /mounts": lambda c: c["mounts"].append(
        {"destination": "/tmp", "type": "sysfs", "source": "sysfs"}
    ),
    "the container process has more capabilities": lambda c: c["process"].update(
        capabilities={kind: ["CAP_KILL", "CAP_CHOWN"] for kind in FEW}
    ),
    "the container process is another user": lambda c: c["process"]["user"].update(uid=0),
    "the container process is in another group": lambda c: c["process"]["user"].update(gid=0),
    "the container process is in more groups": lambda c: c["process"]["user"].update(additionalGids=[1002]),
    "the container process may gain privileges": lambda c: c["process"].update(noNewPrivileges=False),
}
"""How a container that is laxer than the config is refused, and what makes it so."""


@pytest.mark.parametrize("words", LAXER)
def test_what_is_laxer_is_refused(box: Box, words: str) -> None:
    config = confined(box)
    step = wanted(box, config)
    LAXER[words](config)
    made = box.start(config)
    with pytest.raises(StepError, match="the images are refused: ") as caught:
        examine(made.pid, step)
    assert f"{caught.value.message}, in {caught.value.pointer}".endswith(words) or words in str(caught.value)
    assert caught.value.errno == errno.EPERM


def test_mounts_are_made_what_the_config_says_where_they_can_be(box: Box) -> None:
    """A restore makes mounts of the host anew, without what they had been made with."""
    config = confined(box)
    step = wanted(box, config)
    for one in config["mounts"][2:]:
        one["options"] = [name for name in one["options"] if name == "rbind"]
    made = box.start(config)
    with pytest.raises(StepError, match="a mount is not"):
        examine(made.pid, step)
    protect(made.pid, demands(made.pid, step))
    examine(made.pid, step)


def test_the_mount_that_the_kernel_does_not_change_is_named(box: Box) -> None:
    made = box.start(box.config())
    place = Mount(b"1 2 0:1 / /proc/sys rw - proc proc rw")  # it is no mount
    with pytest.raises(StepError, match="cannot make a mount nodev, ro: invalid argument") as caught:
        protect(made.pid, [Demand(place, frozenset({"ro", "nodev"}), "/mounts/7")])
    assert (caught.value.pointer, caught.value.value) == ("/mounts/7", "/proc/sys")


ALL = tuple(NUMBER)
SLEEP = " ".join(FOREVER)


@contextmanager
def couple(box: Box, child: str, parent: str) -> Iterator[int]:
    """Provide a sleeping process with a sleeping child, each started by a command of its own."""
    script = f"{child} {box.busybox} sleep 100000 & exec {parent} {box.busybox} sleep 100000"
    with subprocess.Popen(["sh", "-c", script], stdin=subprocess.DEVNULL, start_new_session=True) as process:
        family = {process.pid}

        def sleeping() -> bool:
            family.update(children_of(process.pid))
            commands = [Path(f"/proc/{one}/cmdline").read_bytes() for one in family]
            return len(family) > 1 and all(one.startswith(box.busybox.encode()) for one in commands)

        try:
            until(sleeping, "the programs do not run")
            yield process.pid
        finally:
            for one in family:
                with suppress(ProcessLookupError):
                    os.kill(one, 9)
            process.wait()


WITHOUT_KILL = "setpriv --bounding-set=-kill"
WITHOUT_ADMIN = "setpriv --bounding-set=-sys_admin"


@pytest.mark.parametrize(
    ("child", "parent", "demanded", "words"),
    [
        ("", WITHOUT_KILL, {"bounding": ("CAP_KILL",)}, "a process has more capabilities (CapBnd)"),
        ("", "setpriv --no-new-privs", {"no_new_privileges": True}, "a process may gain privileges"),
        ("", "unshare --uts", {"own": ("uts",)}, "a process is in the host's uts namespace"),
        (
            f"unshare --uts {WITHOUT_ADMIN}",
            WITHOUT_ADMIN,
            {"bounding": ("CAP_SYS_ADMIN",)},
            "a process has another uts namespace",
        ),
    ],
    ids=["capabilities", "privileges", "of the host", "another"],
)
@pytest.mark.needs("program:setpriv")
def test_each_process_is_looked_at(
    box: Box, child: str, parent: str, demanded: dict[str, Any], words: str
) -> None:
    if "bounding" in demanded:
        demanded = {"bounding": tuple(name for name in ALL if name not in demanded["bounding"])}
    step = RestoreProcesses(because="", options={}, **demanded)
    with couple(box, child, parent) as pid:
        with pytest.raises(StepError) as caught:
            examine(pid, step)
        assert words in str(caught.value)
    with couple(box, parent, parent) as pid:
        if "another" not in words:
            examine(pid, step)


THREADS = """
import ctypes, sys, threading
prctl, ready, end = ctypes.CDLL(None).prctl, threading.Event(), threading.Event()
thread = threading.Thread(target=lambda: (ready.set(), end.wait()))
thread.start()
ready.wait()
prctl(38, 1, 0, 0, 0)
print("ready", flush=True)
sys.stdin.read()
end.set()
"""
"""The first thread can gain no privileges (PR_SET_NO_NEW_PRIVS), a second one can."""


def test_each_thread_is_looked_at() -> None:
    step = RestoreProcesses(because="", options={}, no_new_privileges=True)
    pipe = subprocess.PIPE
    with subprocess.Popen(["python3", "-IS", "-c", THREADS], stdin=pipe, stdout=pipe) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        with pytest.raises(StepError, match="the container process may gain privileges"):
            examine(process.pid, step)
        process.communicate(b"")
