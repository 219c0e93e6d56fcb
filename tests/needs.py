"""What a host may lack that a test needs, and how one finds out: the words of the marker ``needs``.

``@pytest.mark.needs("cgroup-v2", "systemd")`` skips a test, with the reason, where one of them is lacking.
Some take a name: ``capability:CAP_SYS_TIME``, ``controller:misc``, ``program:criu``; ``kernel:6.12`` is for
that version or a newer one, ``newer:containerd`` for an engine newer than the distribution's. What the
host lacks the virtual machine may have: tests/vm runs such tests there.
"""

from __future__ import annotations

import functools
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from orlop_linux.init.identity import NUMBER

PLAIN = 61234
"""Number of a user and a group that nobody is."""

CGROUPS = Path("/sys/fs/cgroup")

_ROOT = Path(__file__).resolve().parent.parent
NEWER = ("build/newer", "/usr/local/lib/orlop-vm/newer")
"""Where engines newer than the distribution's are: in the work tree, or in the virtual machine."""


def _v2() -> str:
    return "" if (CGROUPS / "cgroup.controllers").exists() else "the host has no unified cgroups alone"


def _v1() -> str:
    return "" if (CGROUPS / "memory").is_dir() else "the host has no memory cgroups of version 1"


def _controller(name: str) -> str:
    """Return why a controller cannot be used: by either version, under the name that version 1 has for it."""
    unified = CGROUPS / "cgroup.controllers"
    hybrid = CGROUPS / "unified/cgroup.controllers"
    words = {"blkio": "io", "cpuacct": "cpu"}
    for file in (unified, hybrid):
        if file.exists() and words.get(name, name) in file.read_text().split():
            return ""
    return "" if (CGROUPS / name).is_dir() else f"the host has no cgroup controller {name}"


def _io_weight() -> str:
    """Return why block devices have no weights: only the scheduler bfq, or the cost model of v2, has them."""
    for file in Path("/sys/block").glob("*/queue/scheduler"):
        if "[bfq]" in file.read_text():
            return ""
    return "no block device of the host has the scheduler bfq"


def _disk() -> str:
    names = os.listdir("/sys/block") if os.path.isdir("/sys/block") else []
    if any(not name.startswith(("loop", "ram", "zram", "dm-")) for name in names):
        return _controller("blkio")
    return "the host has no disk"


def _real_time_group() -> str:
    file = CGROUPS / "cpu/cpu.rt_runtime_us"
    return "" if file.exists() else "the host has no groups for real-time scheduling"


def _systemd() -> str:
    return "" if os.path.isdir("/run/systemd/system") else "systemd is not the host's init"


def _apparmor() -> str:
    file = Path("/sys/module/apparmor/parameters/enabled")
    return "" if file.exists() and file.read_text().strip() == "Y" else "the host has no AppArmor"


def _selinux() -> str:
    return "" if Path("/sys/fs/selinux/enforce").exists() else "the host has no SELinux"


def _rdma() -> str:
    devices = Path("/sys/class/infiniband")
    if devices.is_dir() and any(devices.iterdir()):
        return _controller("rdma")
    return "the host has no RDMA device"


def _resctrl() -> str:
    mounted = Path("/sys/fs/resctrl/schemata").exists()
    return "" if mounted else "no resctrl is mounted: it takes a processor with RDT or QoS"


def _numa() -> str:
    nodes = list(Path("/sys/devices/system/node").glob("node[0-9]*"))
    return "" if len(nodes) > 1 else "the host has one NUMA node only"


def _capability(name: str) -> str:
    status = Path("/proc/self/status").read_text()
    effective = int(status.split("CapEff:")[1].split()[0], 16)
    return "" if effective >> NUMBER[name] & 1 else f"we do not have {name}"


def _program(name: str) -> str:
    return "" if shutil.which(name) else f"the host has no program {name}"


def newer_programs() -> Path | None:
    """Return the directory of the newer engines' programs, which ``tools/setup`` has unpacked."""
    return next((place for name in NEWER if (place := _ROOT / name / "bin").is_dir()), None)


def _newer(engine: str) -> str:
    """Return why there is no version of an engine from ``_FROM`` on that runs here."""
    directory = newer_programs()
    if directory is None:
        return "none could be fetched when this was set up"
    try:
        said = subprocess.run([directory / engine, "--version"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        return f"the one that was fetched does not run: {error}"
    version = re.search(r"\b(\d+)\.\d+\.\d+", said.stdout)
    fits = version is not None and int(version[1]) >= _FROM[engine]
    return "" if fits else f"the one that was fetched is too old: {said.stdout.strip()}"


# What Debian 13 has is older.
_FROM = {"containerd": 2, "dockerd": 28}


def _criu() -> str:
    program = shutil.which("criu")
    if program is None:
        return "the host has no program criu"
    done = subprocess.run([program, "check"], capture_output=True, check=False)
    return "" if done.returncode == 0 else "criu does not work on the host's kernel, or not for us"


def _kernel(version: str) -> str:
    def numbers(text: str) -> list[int]:
        return [int(part) for part in text.split("-", maxsplit=1)[0].split(".")[:2]]

    release = os.uname().release
    return "" if numbers(release) >= numbers(version) else f"the host's kernel is {release}"


def _user_systemd() -> str:
    found = any(Path("/run/user").glob("[1-9]*/systemd/private"))
    return "" if found else "no user's systemd runs on the host"


def _plain_user() -> str:
    """Return why a user without rights cannot be played: who we are, what it cannot read, what it may not."""
    if os.geteuid() != 0:
        return "only root can become somebody else"
    script = (
        f"import sys; sys.path[:0] = {[one for one in sys.path if one]!r}; import orlop, orlop_linux, attrs"
    )
    if _fails([sys.executable, "-I", "-c", script]):
        return "other users cannot read the checkout or its environment"
    if _fails(["unshare", "--user", "true"]):
        return "the host denies user namespaces to plain users"
    return ""


def _fails(command: list[str]) -> bool:
    try:
        done = subprocess.run(
            command, capture_output=True, check=False, cwd="/", user=PLAIN, group=PLAIN, extra_groups=()
        )
    except OSError:  # the interpreter itself is out of their reach
        return True
    return done.returncode != 0


NEEDS: dict[str, Callable[[], str]] = {
    "apparmor": _apparmor,
    "cgroup-v1": _v1,
    "cgroup-v2": _v2,
    "disk": _disk,
    "hugetlb": functools.partial(_controller, "hugetlb"),
    "io-weight": _io_weight,
    "numa": _numa,
    "plain-user": _plain_user,
    "criu": _criu,
    "rdma": _rdma,
    "resctrl": _resctrl,
    "rt-group": _real_time_group,
    "selinux": _selinux,
    "systemd": _systemd,
    "user-systemd": _user_systemd,
}
"""Each word, with a function that returns why the host lacks it; an empty string: it does not."""

NAMED: dict[str, Callable[[str], str]] = {
    "capability": _capability,
    "controller": _controller,
    "kernel": _kernel,
    "newer": _newer,
    "program": _program,
}
"""Each word that takes a name after a colon."""


@functools.cache
def lacks(need: str) -> str:
    """Return why the host does not have *need*; empty when it has.

    Raises:
        KeyError: There is no such word.
    """
    kind, _, name = need.partition(":")
    return NAMED[kind](name) if name else NEEDS[need]()


HOST = frozenset({"cgroup-v1", "disk", "hugetlb", "plain-user", "rt-group"})
"""What a development machine usually has; the virtual machine has all the rest, but for hardware."""

HARDWARE = frozenset({"resctrl"})
"""What only few processors have, and no emulation: see tests/nowhere.toml."""


def lane(need: str) -> str:
    """Return where a test with that need runs at the latest: ``host`` or ``VM``, or nowhere that we know."""
    if need in HARDWARE:
        return ""
    return "host" if need in HOST else "VM"
