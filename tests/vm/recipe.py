"""What the guest is made of, and the names under which what was made is kept."""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import os
import subprocess
import tomllib
from pathlib import Path

from packaging.requirements import Requirement

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
GUEST = HERE / "guest"

SUITE = "trixie"
PACKAGES = (
    "apparmor",
    "buildah",
    "busybox-static",
    "containerd",
    "crun",
    "dbus",
    "dbus-user-session",  # the user's systemd needs a bus
    "docker-cli",
    "docker.io",
    "iproute2",
    "iptables",
    "kmod",
    "libcriu2",  # crun loads it when it runs
    "criu",
    "libpam-systemd",
    "libseccomp2",
    "linux-image-amd64",  # the one for clouds has no rdma_rxe
    "podman",
    "procps",
    "python3",
    "rdma-core",
    "runc",
    "secilc",  # compiles the policy for SELinux
    "strace",
    "systemd",
    "systemd-sysv",
    "udev",
    "uidmap",
)
NEWER = ROOT / "build/newer"
"""Programs of engines that are newer than the suite's; ``tools/setup`` has unpacked them, or could not."""
# What tests use beside what pyproject.toml names.
MORE_WHEELS = ("jeepney", "pyroute2")
# One worker is enough where a test takes seconds, and ours drive the one kernel.
_NOT_IN_GUEST = ("pytest-xdist",)


def cache_directory() -> Path:
    """Return the user's cache directory for virtual machines."""
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return Path(base) / "orlop-vm"


@functools.cache
def wheels() -> tuple[str, ...]:
    """Return the guest's requirements: those of this project, in the versions of the host's environment.

    What the host's environment has not is taken as it comes.
    """
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    wanted = [*project["dependencies"], *extras["test"], *extras["engines"], *MORE_WHEELS]
    found: dict[str, str] = {}
    while wanted:
        requirement = Requirement(wanted.pop())
        name = requirement.name.lower().replace("_", "-")
        if name in found or name in _NOT_IN_GUEST:
            continue
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        try:
            distribution = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = str(requirement).partition(";")[0]
            continue
        found[name] = f"{name}=={distribution.version}"
        wanted += distribution.requires or ()
    return tuple(sorted(found.values()))


def digest(*parts: str | bytes) -> str:
    """Return a name for what is made of *parts*."""
    whole = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        whole.update(len(data).to_bytes(8, "big") + data)
    return whole.hexdigest()[:16]


def packages_key(version: str) -> str:
    """Return the name of the Python packages for a version of Python."""
    return digest(version, *wheels())


@functools.cache
def qemu_version() -> str:
    """Return the first line that QEMU says about itself."""
    command = ["qemu-system-x86_64", "--version"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[0]


def image_key(tree: str) -> str:
    """Return the name of the finished disk and the saved state, which belong together.

    Args:
        tree: The name of the packages' tree.
    """
    scripts = [(HERE / name).read_bytes() for name in ("finish.py", "initrd.py", "machine.py")]
    files = [file.read_bytes() for file in sorted(GUEST.iterdir()) if file.is_file()]
    newer = NEWER / "packages"
    programs = newer.read_bytes() if newer.exists() else b""
    return digest(tree, *wheels(), *scripts, *files, programs, qemu_version())
