"""Cases of ``mounts``, ``root`` and the paths that are hidden (config.md, Root, Mounts; config-linux.md)."""

from __future__ import annotations

import os
import re
from pathlib import Path

from tests.properties.case import BUNDLE, Config, Seen, case, merge

OPTIONS = "busybox awk '$5 == \"{0}\" {{ print $6 }}' /proc/self/mountinfo"
"""A probe that prints the options of the mount at a place."""


def _tmpfs(destination: str, *options: str) -> Config:
    return {
        "mounts": [{"destination": destination, "type": "tmpfs", "source": "tmpfs", "options": list(options)}]
    }


# Were they mounted in another order, the first one would be hidden or have no place.
case(
    config=merge(_tmpfs("/order", "nodev"), merge(_tmpfs("/order/inner"), _tmpfs("/order/inner", "noexec"))),
    probe=OPTIONS.format("/order/inner"),
    shows="rw,relatime\nrw,noexec,relatime",
    alone=True,
    name="mounts in their order",
)


def _data(bundle: Path) -> None:
    """Make a directory with a file beside the image."""
    place = bundle / "data"
    place.mkdir(exist_ok=True)
    (place / "file").write_text("from the host\n")
    os.chown(place / "file", 5, 5)


case(
    "mounts[].destination",
    config=_tmpfs("/new/deep/place"),
    probe=OPTIONS.format("/new/deep/place"),
    shows=re.compile("rw,.*"),
)
case(
    "mounts[].type",
    config=_tmpfs("/typed"),
    probe="busybox stat -f -c %T /typed",
    shows="tmpfs",
)
case(
    "mounts[].source",
    config={"mounts": [{"destination": "/bound", "source": f"{BUNDLE}/data", "options": ["bind", "ro"]}]},
    prepare=_data,
    probe="cat /bound/file; echo no 2>/dev/null >/bound/file; echo $?",
    shows="from the host\n1",
    alone=True,
)
case(
    "mounts[].options[]",
    config=_tmpfs("/opted", "nosuid", "nodev", "noexec", "ro", "noatime", "size=64k", "mode=750"),
    probe=f"{OPTIONS.format('/opted')}; busybox stat -c %a /opted",
    shows="ro,nosuid,nodev,noexec,noatime\n750",
)


MAPPED: Config = {
    "destination": "/mapped",
    "source": f"{BUNDLE}/data",
    "options": ["bind", "idmap"],
    "uidMappings": [{"containerID": 0, "hostID": 700, "size": 100}],
    "gidMappings": [{"containerID": 0, "hostID": 800, "size": 100}],
}
case(
    *(
        f"mounts[].{kind}Mappings[].{part}"
        for kind in ("uid", "gid")
        for part in ("containerID", "hostID", "size")
    ),
    config={"mounts": [MAPPED]},
    prepare=_data,
    probe="busybox stat -c %u:%g /mapped/file",
    shows="705:805",
    alone=True,
    name="mounts[].uidMappings[]",
)


def _other_root(bundle: Path) -> None:
    """Make another image of hard links."""
    other = bundle / "another"
    for name in ("bin", "proc", "dev", "tmp"):
        (other / name).mkdir(parents=True)
    for file in (bundle / "rootfs/bin").iterdir():
        if file.is_symlink():
            (other / "bin" / file.name).symlink_to(os.readlink(file))
        else:
            os.link(file, other / "bin" / file.name)
    (other / "mark").write_text("the other root\n")


case(
    "root.path",
    config={"root": {"path": "another"}},
    prepare=_other_root,
    probe="cat /mark",
    shows="the other root",
    alone=True,
)
case(
    "root.readonly",
    config={"root": {"readonly": True}},
    probe="echo no 2>/dev/null >/file; echo $?; " + OPTIONS.format("/"),
    shows=re.compile(r"1\nro\b.*"),
    alone=True,
)


def _shared(seen: Seen) -> None:
    line = next(line for line in seen.proc("mountinfo").splitlines() if line.split()[4] == "/")
    assert " shared:" in line


case("linux.rootfsPropagation", config={"linux": {"rootfsPropagation": "shared"}}, host=_shared, alone=True)
case(
    "linux.maskedPaths[]",
    config={"linux": {"maskedPaths": ["/proc/version", "/proc/irq", "/no/such/place"]}},
    probe="busybox wc -c </proc/version; busybox ls /proc/irq",
    shows="0",
)
case(
    "linux.readonlyPaths[]",
    config={"linux": {"readonlyPaths": ["/proc/bus", "/proc/sys", "/no/such/place"]}},
    probe=OPTIONS.format("/proc/sys"),
    shows=re.compile(r"ro\b.*"),
)
