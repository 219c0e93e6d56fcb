"""Images that every engine can load from a file: busybox and a few users. No registry is asked."""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
from pathlib import Path

NAME = "docker.io/library/box:1"
PAUSE = "docker.io/library/pause:1"
"""The same with a program that does nothing for long: what holds the namespaces of a pod."""
BUSYBOX = Path("/bin/busybox")
APPLETS = (
    *("awk", "cat", "chmod", "dd", "echo", "env", "false", "grep", "head", "hostname", "id", "kill", "ls"),
    *("mkdir", "mount", "nc", "ps", "rm", "sed", "sh", "sleep", "stat", "stty", "test", "touch", "true"),
    *("tty", "umount", "uname", "wc"),
)
PLAIN = 1000
"""Number of the user ``plain`` of the image."""

_USERS = f"root:x:0:0:root:/root:/bin/sh\nplain:x:{PLAIN}:{PLAIN}:plain:/home/plain:/bin/sh\n"
_DIRECTORIES = {"tmp": 0o1777, "home/plain": 0o755}
_MACHINES = {"x86_64": "amd64", "aarch64": "arm64"}


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    member.mode = 0o644
    tar.addfile(member, io.BytesIO(data))


def _layer() -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name in ("bin", "dev", "etc", "home", "home/plain", "proc", "root", "sys", "tmp"):
            member = tarfile.TarInfo(name)
            member.type = tarfile.DIRTYPE
            member.mode = _DIRECTORIES.get(name, 0o755)
            if name == "home/plain":
                member.uid = member.gid = PLAIN
            tar.addfile(member)
        program = tarfile.TarInfo("bin/busybox")
        program.size = BUSYBOX.stat().st_size
        program.mode = 0o755
        with BUSYBOX.open("rb") as file:
            tar.addfile(program, file)
        for applet in APPLETS:
            link = tarfile.TarInfo(f"bin/{applet}")
            link.type = tarfile.SYMTYPE
            link.linkname = "busybox"
            tar.addfile(link)
        _add(tar, "etc/passwd", _USERS.encode())
        _add(tar, "etc/group", f"root:x:0:\nplain:x:{PLAIN}:\n".encode())
        _add(tar, "etc/plain", b"data that nobody may execute\n")
    return out.getvalue()


def write(path: Path) -> Path:
    """Write the images to *path*, as ``docker save`` would, and return it."""
    layer = _layer()
    digest = hashlib.sha256(layer).hexdigest()
    manifest = []
    with tarfile.open(path, "w") as tar:
        _add(tar, f"{digest}/layer.tar", layer)
        for tag, command in ((NAME, ["sh"]), (PAUSE, ["sleep", "1000000"])):
            config = {
                "architecture": _MACHINES[os.uname().machine],
                "os": "linux",
                "config": {"Cmd": command, "Env": ["PATH=/bin"]},
                "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
                "history": [{"created": "2020-01-01T00:00:00Z", "created_by": "orlop's tests"}],
            }
            text = json.dumps(config).encode()
            name = f"{hashlib.sha256(text).hexdigest()}.json"
            _add(tar, name, text)
            manifest.append({"Config": name, "RepoTags": [tag], "Layers": [f"{digest}/layer.tar"]})
        _add(tar, "manifest.json", json.dumps(manifest).encode())
    return path
