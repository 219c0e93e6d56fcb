"""What is attacked: a directory on the host, the host's own files, its mounts."""

from __future__ import annotations

import os
import select
import stat
from pathlib import Path
from typing import Any

from tests.linux.faults.points import run
from tests.linux.faults.rig import PATIENCE, Rig

from orlop_linux.live.process import open_pid

_WATCHED = ("/proc/sys/kernel/core_pattern", "/proc/sys/kernel/hostname", "/proc/sys/kernel/modprobe")
_DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/tty", "/dev/ptmx", "/dev/console")
LINKS = ("absolute", "relative", "inside", "dangling", "chained", "upwards", "itself", "magic")


class Target(Rig):
    """A rig whose containers are hostile."""

    def __init__(self, place: Path) -> None:
        super().__init__(place)
        self.sentinel = place / "sentinel"
        (self.sentinel / "directory/below").mkdir(parents=True)
        for name in ("secret", "ptmx", "directory/file", "null", "console"):
            file = self.sentinel / name
            file.write_text(f"{name}\n")
            file.chmod(0o640)
            os.chown(file, 12, 34)
            os.utime(file, (1_000_000_000, 1_000_000_000))
        self._before = self._all()

    def _all(self) -> dict[str, Any]:
        found: dict[str, Any] = {path: Path(path).read_bytes() for path in _WATCHED if os.path.exists(path)}
        for path in _DEVICES:
            if os.path.lexists(path):
                status = os.lstat(path)
                found[path] = (status.st_mode, status.st_uid, status.st_gid, status.st_rdev)
        for at, directories, files in os.walk(self.sentinel):
            for name in (".", *directories, *files):
                path = os.path.join(at, name)
                status = os.lstat(path)
                found[path] = (
                    status.st_mode,
                    status.st_uid,
                    status.st_gid,
                    status.st_nlink,
                    status.st_ino,
                    status.st_mtime_ns,
                    status.st_ctime_ns,
                    Path(path).read_bytes() if stat.S_ISREG(status.st_mode) else None,
                )
        return found

    def verify(self) -> None:
        """Fail unless the host is as it was and nothing is left of any container."""
        after = self._all()
        changed = {
            path: (self._before.get(path), after.get(path))
            for path in self._before.keys() | after.keys()
            if self._before.get(path) != after.get(path)
        }
        assert changed == {}
        assert self.left() == []

    def attack(self, config: dict[str, Any], *flags: str) -> tuple[bool, str]:
        """Try to run a container; return whether it could be created, and its output or the error.

        The host is the same afterwards, whether or not it could.
        """
        self.write(config)
        created = run(self, "create", "--bundle", str(self.bundle), *flags, "box")
        assert "Traceback" not in created.err, created
        if created.status:
            assert created.status == 1, created
            assert created.err.count("\n") == 1, created
            assert "internal error" not in created.err, created
            self.verify()
            return False, created.err
        started = run(self, "start", "box")
        if started.status == 0:
            self.settle()
        deleted = run(self, "delete", "--force", "box")
        assert deleted.status == 0, deleted
        self.verify()
        return True, created.text() + started.err

    def settle(self) -> None:
        """Return when the container process has ended, or has shown that it does not."""
        outcome = run(self, "state", "box")
        pid = outcome.state.get("pid") if outcome.status == 0 else None
        if pid:
            fd = open_pid(pid)
            if fd is None:
                return
            poller = select.poll()
            poller.register(fd, select.POLLIN)
            poller.poll(PATIENCE * 1000)
            os.close(fd)

    def shell(self, script: str, **changes: Any) -> dict[str, Any]:
        """Return the config of a container that runs *script*."""
        return self.config("/bin/busybox", "sh", "-c", script, **changes)

    def link(self, name: str, to: str | Path) -> None:
        """Put a symbolic link into the image, in place of what is there."""
        path = self.rootfs / name
        self.clear(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(to)

    def goal(self, kind: str, name: str) -> str:
        """Return where a hostile link at *name* of a kind of ``LINKS`` points to."""
        if kind == "chained":
            self.link("first", "second")
            self.link("second", self.sentinel)
        return {
            "absolute": str(self.sentinel),
            "relative": os.path.relpath(self.sentinel, self.image(name).parent),
            "inside": "/tmp",
            "dangling": str(self.sentinel / "absent"),
            "chained": "/first",
            "upwards": "../" * 30 + str(self.sentinel).lstrip("/"),
            "itself": name.rpartition("/")[2],
            "magic": "/proc/self/root" + str(self.sentinel),
        }[kind]

    def clear(self, name: str) -> None:
        """Remove a file, a link or a directory from the image; never through a link."""
        path = self.rootfs / name
        if path.is_symlink() or not path.is_dir():
            path.unlink(missing_ok=True)
        else:
            for one in path.iterdir():
                self.clear(f"{name}/{one.name}")
            path.rmdir()

    def image(self, name: str) -> Path:
        """Return a path in the image."""
        return self.rootfs / name
