"""The command line as it is used by a user of the host who is nobody special."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.linux.faults.rig import PATIENCE, Outcome, Rig, changed

_ENTRY = """
import sys
sys.path[:0] = {path!r}
sys.argv[0] = "orlop"
from orlop.cli.main import entry
entry()
"""
_FIRST = 48_211


def unused_id() -> int:
    """Return a user id that nobody has."""
    number = _FIRST
    while True:
        try:
            pwd.getpwuid(number)
        except KeyError:
            return number
        number += 1


UID = unused_id()
GID = UID + 1000
"""Not the same as the user id: what is mixed up shows."""


SUB = 700_000
"""First of a thousand further ids that the user may map, once the files of ``write_names`` hold."""
NAMES = ("passwd", "group", "subuid", "subgid")


def write_names(etc: Path, home: str) -> str:
    """Name the user and its range of ids in files at *etc*; return the commands that put them over /etc's."""
    for name in ("passwd", "group"):
        shutil.copy(f"/etc/{name}", etc / name)
    with (etc / "passwd").open("a") as file:
        file.write(f"orlop-plain:x:{UID}:{GID}::{home}:/bin/sh\n")
    with (etc / "group").open("a") as file:
        file.write(f"orlop-plain:x:{GID}:\n")
    for name in ("subuid", "subgid"):
        (etc / name).write_text(f"orlop-plain:{SUB}:1000\n")
    return " && ".join(f"mount --bind {etc}/{name} /etc/{name}" for name in NAMES)


class Plain(Rig):
    """A rig of such a user: bundle, state root and commands are that user's."""

    def __init__(self, place: Path) -> None:
        super().__init__(place)
        self.prefix: list[str] = []
        """What runs the commands, as root, in another environment."""
        self.path = "/usr/sbin:/usr/bin:/sbin:/bin"
        self.give()

    def give(self) -> None:
        """Give everything here to the user."""
        os.chown(self.place, UID, GID)
        for base, directories, files in os.walk(self.place):
            for name in (*directories, *files):
                os.chown(os.path.join(base, name), UID, GID, follow_symlinks=False)

    def left(self) -> list[str]:
        """Return what is left of containers; such a user mounts nothing where others could see it."""
        place = str(self.place)
        return [line for line in super().left() if not line.startswith("mount ") or place in line]

    def config(self, *args: str, **changes: Any) -> dict[str, Any]:
        """Return a config for such a user; *changes* as in :class:`Rig`."""
        made = super().config(*args)
        del made["linux"]["cgroupsPath"], made["linux"]["resources"]
        made["linux"]["namespaces"] = [{"type": kind} for kind in ("pid", "mount", "ipc", "uts", "user")]
        made["linux"]["uidMappings"] = [{"containerID": 0, "hostID": UID, "size": 1}]
        made["linux"]["gidMappings"] = [{"containerID": 0, "hostID": GID, "size": 1}]
        return changed(made, changes)

    def write(self, config: dict[str, Any]) -> None:
        """Write the bundle's config."""
        super().write(config)
        os.chown(self.bundle / "config.json", UID, GID)

    def script(self, *lines: str, **changes: Any) -> dict[str, Any]:
        """Return a config whose program is a shell script."""
        return self.config("/bin/sh", "-c", "\n".join(lines), **changes)

    def run(self, *command: str) -> Outcome:
        """Run ``orlop`` as the user, with the rig's state root and nothing in the environment."""
        return self.run_plain("--root", str(self.root), *command)

    def run_plain(self, *command: str, **environment: str) -> Outcome:
        """Run ``orlop`` as the user, with *environment* beside the path."""
        script = _ENTRY.format(path=[one for one in sys.path if one])
        words = [sys.executable, "-I", "-c", script, *command]
        out, err = self.output()
        identity: dict[str, Any] = {"user": UID, "group": GID, "extra_groups": ()}
        if self.prefix:
            words, identity = [*self.prefix, *words], {}
        with out.open("wb") as stdout, err.open("wb") as stderr:
            done = subprocess.run(
                words,
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                cwd="/",
                env={"PATH": self.path, **environment},
                timeout=PATIENCE,
                check=False,
                **identity,
            )
        return Outcome(done.returncode, out, err)

    def output_of(self, config: dict[str, Any]) -> list[str]:
        """Run a container to its end and return the lines that it has written."""
        self.write(config)
        outcome = self.good("run", "--bundle", str(self.bundle), "box")
        assert outcome.err == "", outcome
        return outcome.out.splitlines()

    def refuses(self, config: dict[str, Any], *parts: str) -> Outcome:
        """Try to create a container of *config*: it fails, the error has *parts*, and nothing is left."""
        self.write(config)
        outcome = self.bad("create", "--bundle", str(self.bundle), "box")
        for part in parts:
            assert part in outcome.err, outcome
        assert self.left() == []
        return outcome


def state_of(outcome: Outcome) -> dict[str, Any]:
    """Return what ``state`` has printed."""
    found: dict[str, Any] = json.loads(outcome.out)
    return found
