"""Turns the packages' tree into the guest: its Python environment, its agent, its user, its disk."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.vm import initrd, recipe
from tests.vm.rootfs import again, failed

USER = "tester"
ENVIRONMENT = Path("/opt/venv")
DISK_SIZE = "4G"
PLACE = Path("/usr/local/lib/orlop-vm")
POLICY_VERSION = "33"
# What would wake up in the middle of a test, or wait for a network that there is not.
MASKED = (
    "apt-daily-upgrade.timer",
    "apt-daily.timer",
    "containerd.service",
    "docker.service",
    "docker.socket",
    "dpkg-db-backup.timer",
    "e2scrub_all.timer",
    "fstrim.timer",
    "getty@tty1.service",
    "podman-auto-update.timer",
    "podman-restart.service",
    "proc-sys-fs-binfmt_misc.automount",
    "serial-getty@ttyS0.service",
    "systemd-networkd-wait-online.service",
    "systemd-tmpfiles-clean.timer",
    "systemd-timesyncd.service",
)


def python_version(tree: Path) -> str:
    """Return the minor version of the guest's Python."""
    return os.readlink(tree / "usr/bin/python3").removeprefix("python")


def site_packages(version: str) -> Path:
    """Return where the guest's environment keeps its packages."""
    return ENVIRONMENT / f"lib/python{version}/site-packages"


def _run(command: list[str]) -> None:
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode:
        raise failed(command[0], done.stderr or done.stdout)


def _below(tree: Path, path: Path | str) -> Path:
    return tree / str(path).removeprefix("/")


def fetch_packages(version: str) -> Path:
    """Return a directory with the Python packages, which the host's pip fetches for the guest's Python."""
    made = recipe.cache_directory() / f"packages-{recipe.packages_key(version)}"
    if not made.exists():
        working = made.with_suffix(".part")
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        where = ["--no-compile", "--target", str(working), "--python-version", version]
        command = [*pip, *where, "--implementation", "cp", "--only-binary=:all:", *recipe.wheels()]

        def fetch() -> None:
            shutil.rmtree(working, ignore_errors=True)
            _run(command)

        again(fetch)
        working.rename(made)
    made.touch()
    return made


def _python(tree: Path) -> None:
    """Make the environment."""
    version = python_version(tree)
    _run(["chroot", str(tree), "/usr/bin/python3", "-m", "venv", "--without-pip", str(ENVIRONMENT)])
    packages = site_packages(version)
    _run(["cp", "-r", f"{fetch_packages(version)}/.", str(_below(tree, packages))])
    _run(["chroot", str(tree), "/usr/bin/python3", "-m", "compileall", "-q", "-j", "0", str(packages)])


def _files(tree: Path) -> None:
    library = _below(tree, PLACE)
    library.mkdir(parents=True)
    for name in ("agent.py", "policy.cil", "warm"):
        shutil.copy(recipe.GUEST / name, library / name)
    (library / "warm").chmod(0o755)
    if recipe.NEWER.exists():
        shutil.copytree(recipe.NEWER, library / "newer", symlinks=True)
    shutil.copy(recipe.GUEST / "fstab", tree / "etc/fstab")
    shutil.copy(recipe.GUEST / "orlop-agent.service", tree / "etc/systemd/system")
    drop_in = tree / "etc/systemd/system/user@.service.d"
    drop_in.mkdir(parents=True)
    shutil.copy(recipe.GUEST / "delegate.conf", drop_in)
    (tree / "etc/hostname").write_text("orlop-vm\n")
    (tree / "etc/hosts").write_text("127.0.0.1 localhost orlop-vm\n")
    # An empty one would make each start the first, with all that systemd does then.
    (tree / "etc/machine-id").write_text("6f726c6f7000000000000000766d0001\n")


def _units(tree: Path) -> None:
    system = tree / "etc/systemd/system"
    for unit in MASKED:
        link = system / unit
        link.unlink(missing_ok=True)
        link.symlink_to("/dev/null")
    wants = system / "multi-user.target.wants"
    wants.mkdir(exist_ok=True)
    (wants / "orlop-agent.service").symlink_to("/etc/systemd/system/orlop-agent.service")


def _security(tree: Path) -> None:
    """Make the policy for SELinux, and take the packages' profiles for AppArmor away.

    To parse a hundred takes long, and some are for our peers.
    """
    made = [str(PLACE / "policy"), "--filecontext", "/dev/null", str(PLACE / "policy.cil")]
    _run(["chroot", str(tree), "secilc", "--policyvers", POLICY_VERSION, "--output", *made])
    directory = tree / "etc/apparmor.d"
    for file in directory.iterdir():
        if file.is_file():
            file.unlink()


def _user(tree: Path) -> None:
    """Add a user without rights whose systemd runs without a login."""
    _run(["chroot", str(tree), "useradd", "--create-home", "--shell", "/bin/bash", "--uid", "1000", USER])
    for name in ("subuid", "subgid"):
        (tree / "etc" / name).write_text(f"root:1000000:65536\n{USER}:100000:65536\n")
    linger = tree / "var/lib/systemd/linger"
    linger.mkdir(parents=True, exist_ok=True)
    (linger / USER).touch()


def copy(source: Path, target: Path) -> None:
    """Copy a disk, without the holes in it."""
    _run(["cp", "--reflink=auto", "--sparse=always", str(source), str(target)])


def release(tree: Path) -> str:
    """Return the version of the guest's kernel."""
    (only,) = os.listdir(tree / "lib/modules")
    return only


def finish(rootfs: Path, target: Path) -> None:
    """Make ``disk``, ``kernel``, ``initrd`` and ``python`` (its version) in *target* from *rootfs*."""
    tree = target / "tree"
    _run(["cp", "-a", "--reflink=auto", str(rootfs), str(tree)])
    try:
        _files(tree)
        _units(tree)
        _security(tree)
        _user(tree)
        _python(tree)
        version = release(tree)
        shutil.copy(tree / f"boot/vmlinuz-{version}", target / "kernel")
        (target / "initrd").write_bytes(initrd.make(tree, version))
        (target / "python").write_text(python_version(tree))
        for file in (tree / "boot").iterdir():
            file.unlink()
        disk = str(target / "disk")
        _run(["mke2fs", "-q", "-t", "ext4", "-O", "^has_journal", "-d", str(tree), disk, DISK_SIZE])
    finally:
        _run(["rm", "-rf", str(tree)])
