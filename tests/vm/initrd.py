"""A small initial file system: a shell, the modules for the disk, and nothing else."""

from __future__ import annotations

import gzip
import lzma
from collections.abc import Iterable, Iterator
from pathlib import Path

# ext4 asks for its checksum by name, which no dependency shows.
MODULES = ("virtio_pci", "virtio_blk", "crc32c_generic", "ext4")
_SCRIPT = """#!/bin/busybox sh
/bin/busybox mount -t devtmpfs none /dev
for module in {modules}; do /bin/busybox insmod /modules/$module || echo "cannot load $module"; done
tries=0
until /bin/busybox mount -t ext4 -o noatime /dev/vdb /root; do
    tries=$((tries + 1))
    [ $tries -lt 50 ] || break
    /bin/busybox usleep 100000
done
/bin/busybox mount -o move /dev /root/dev
exec /bin/busybox switch_root /root /sbin/init
"""


def _dependencies(modules: Path) -> dict[str, tuple[Path, list[Path]]]:
    """Return, by name, each module's file and the files that it needs, in the order of modules.dep."""
    found = {}
    for line in (modules / "modules.dep").read_text().splitlines():
        file, _, needs = line.partition(":")
        name = Path(file).name.partition(".")[0].replace("-", "_")
        found[name] = (modules / file, [modules / need for need in needs.split()])
    return found


def _in_order(modules: Path, names: Iterable[str]) -> Iterator[Path]:
    """Yield the files to load, each after those that it needs."""
    known = _dependencies(modules)
    seen = set()
    for name in names:
        if name not in known:
            continue  # it is built in
        file, needs = known[name]
        # The list has the direct need first and what everything rests on last.
        for one in (*reversed(needs), file):
            if one not in seen:
                seen.add(one)
                yield one


def _plain(file: Path) -> bytes:
    data = file.read_bytes()
    if file.suffix == ".xz":
        return lzma.decompress(data)
    if file.suffix == ".gz":
        return gzip.decompress(data)
    return data


class _Archive:
    """A cpio archive in the form that the kernel takes."""

    def __init__(self) -> None:
        self.data = bytearray()
        self._count = 0

    def add(self, name: str, mode: int, content: bytes = b"") -> None:
        self._count += 1
        encoded = name.encode() + b"\0"
        fields = (self._count, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(encoded), 0)
        self.data += b"070701" + b"".join(b"%08X" % field for field in fields) + encoded
        self._pad()
        self.data += content
        self._pad()

    def _pad(self) -> None:
        self.data += b"\0" * (-len(self.data) % 4)


def make(rootfs: Path, release: str) -> bytes:
    """Return the archive for the kernel *release* of *rootfs*."""
    files = list(_in_order(rootfs / "lib/modules" / release, MODULES))
    archive = _Archive()
    for name in ("bin", "dev", "modules", "root"):
        archive.add(name, 0o040755)
    archive.add("bin/busybox", 0o100755, (rootfs / "bin/busybox").read_bytes())
    names = []
    for file in files:
        names.append(file.name.partition(".")[0] + ".ko")
        archive.add(f"modules/{names[-1]}", 0o100644, _plain(file))
    archive.add("init", 0o100755, _SCRIPT.format(modules=" ".join(names)).encode())
    archive.add("TRAILER!!!", 0)
    return bytes(archive.data)
