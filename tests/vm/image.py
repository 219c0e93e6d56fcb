"""The cache of machines: what is missing is made, and what nobody has used for long is removed."""

from __future__ import annotations

import fcntl
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from tests.vm import finish, recipe, rootfs
from tests.vm.machine import BOOT_SECONDS, Machine, Sinks

_DAYS = 7 * 86400.0
USED = "used"


class Image(NamedTuple):
    """A machine that can be started."""

    directory: Path

    @property
    def python(self) -> str:
        """The minor version of the guest's Python."""
        return (self.directory / "python").read_text()


# What runs a machine, and what makes one; with Debian's name for it.
_RUNS = {"qemu-system-x86_64": "qemu-system-x86", "setpriv": "util-linux"}
_MAKES = {"mmdebstrap": "mmdebstrap", "mke2fs": "e2fsprogs", "apt-get": "apt"}


def _missing(tools: dict[str, str]) -> Iterator[str]:
    for tool, package in tools.items():
        if shutil.which(tool) is None:
            yield f"{tool} (Debian package {package})"


def _reasons() -> Iterator[str]:
    if sys.platform != "linux" or os.uname().machine != "x86_64":
        yield "Linux on x86_64"
        return
    yield from _missing(_RUNS)
    if shutil.which("qemu-system-x86_64") and (directory() / USED).exists():
        return
    if os.geteuid() != 0:
        yield "root, to make its disk"
    yield from _missing(_MAKES)
    if shutil.which("apt-get"):
        try:
            rootfs.archive()
        except rootfs.BuildError as error:
            yield f"an archive to make its disk from: {error}"


def directory() -> Path:
    """Return where the machine for this recipe is, or will be."""
    return recipe.cache_directory() / recipe.image_key(rootfs.key())


def why_not() -> str:
    """Return what the machine needs and this host lacks; empty when it can run."""
    return ", ".join(_reasons())


def _say(text: str) -> None:
    sys.stderr.write(f"vm: {text}\n")
    sys.stderr.flush()


@contextmanager
def _locked(cache: Path) -> Iterator[None]:
    """Let one process at a time make something; the others then find it made."""
    with (cache / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _make_rootfs(cache: Path) -> Path:
    made = cache / f"rootfs-{rootfs.key()}"
    if not made.exists():
        _say(f"installing {len(recipe.PACKAGES)} packages and what they need from {recipe.SUITE}")
        started = time.monotonic()
        working = made.with_suffix(".part")

        def build() -> None:
            shutil.rmtree(working, ignore_errors=True)
            rootfs.build(working, cache / "mmdebstrap.log")

        rootfs.again(build)
        working.rename(made)
        _say(f"installed in {time.monotonic() - started:.0f} s")
    made.touch()
    return made


def _save_state(directory: Path, kind: str) -> None:
    """Start the machine once, let it load what tests need, and keep what it then is."""
    _say(f"starting the machine {kind} once, to save its state")
    started = time.monotonic()
    said = bytearray()
    finish.copy(directory / "disk", directory / f"disk-{kind}")
    with Machine(directory, kind, directory, first=True) as machine:
        warm = ["/usr/local/lib/orlop-vm/warm"]
        ended = machine.run(warm, timeout=BOOT_SECONDS, sinks=Sinks(said.extend, said.extend))
        if ended.status:
            text = said.decode(errors="replace")
            raise machine.failed(f"the machine's first start failed ({ended}):\n{text}")
        machine.save(directory / "state.part")
    (directory / "state.part").rename(directory / f"state-{kind}")
    _say(f"saved in {time.monotonic() - started:.0f} s")


def _make(cache: Path, target: Path) -> None:
    tree = _make_rootfs(cache)
    _say("making the disk")
    started = time.monotonic()
    working = Path(tempfile.mkdtemp(dir=cache, prefix="part-"))
    try:
        finish.finish(tree, working)
        _say(f"made in {time.monotonic() - started:.0f} s")
        (working / USED).touch()
        working.rename(target)
    except BaseException:
        shutil.rmtree(working, ignore_errors=True)
        raise


def _prune(cache: Path) -> None:
    for entry in cache.iterdir():
        stamp = entry / USED if (entry / USED).exists() else entry
        if entry.is_dir() and time.time() - stamp.stat().st_mtime > _DAYS:
            shutil.rmtree(entry, ignore_errors=True)


def get(kind: str, *, anew: bool = False) -> Image:
    """Return the image for this recipe; make it, and the state of a *kind* of machine, when there is none.

    Args:
        kind: One of ``KINDS``.
        anew: Make it again from nothing, with the archive's packages of today.

    Raises:
        BuildError: A tool has failed.
        MachineError: The machine does not start.
    """
    cache = recipe.cache_directory()
    cache.mkdir(parents=True, exist_ok=True, mode=0o700)
    target = directory()
    with _locked(cache):
        if anew:
            shutil.rmtree(target, ignore_errors=True)
            shutil.rmtree(cache / f"rootfs-{rootfs.key()}", ignore_errors=True)
        if not (target / USED).exists():
            shutil.rmtree(target, ignore_errors=True)
            _make(cache, target)
        if not (target / f"state-{kind}").exists():
            _save_state(target, kind)
        (target / USED).touch()
        _prune(cache)
    return Image(target)
