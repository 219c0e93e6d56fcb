"""The rules' world on the real kernel, as root."""

from __future__ import annotations

import json
import os
import select
import shlex
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.linux.child.agents import Agent
from tests.linux.network.stage import Space
from tests.rules.world import ADDRESS, PATIENCE, PLUGINS, Config, World

import orlop
from orlop_hookspecs.launch import ExecOptions, LaunchOptions
from orlop_linux.live.process import open_pid

_BUSYBOX = "/bin/busybox"


class LinuxWorld(World):
    """Real containers; their output goes to a file each, and their cgroups are below one of ours."""

    platform = "linux"
    shell = _BUSYBOX

    def __init__(self, place: Path) -> None:
        warnings: list[str] = []
        runtime = orlop.Runtime.compose(
            platform="linux", plugins=PLUGINS, root=str(place / "state"), warn=warnings.append
        )
        super().__init__(runtime, place, warnings)
        self._outputs: dict[str, Path] = {}
        self._created = 0
        self._network: Space | None = None
        self._home: Space | None = None

    @contextmanager
    def caller_groups(self, *groups: int) -> Iterator[None]:
        before = os.getgroups()
        os.setgroups(groups)
        try:
            yield
        finally:
            os.setgroups(before)

    def _create(self, container: str, bundle: Path) -> orlop.Container:
        self._created += 1
        output = self.place / f"output-{self._created}"
        null = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
        written = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)
        try:
            made = self.runtime.create(container, bundle, self._options(null, written))
        finally:
            os.close(null)
            os.close(written)
        self._outputs[container] = output
        return made

    def _restore(self, container: str, bundle: Path, image: Path) -> orlop.Container:
        with self._outputs[container].open("ab") as written, open("/dev/null", "rb") as null:
            options = self._options(null.fileno(), written.fileno())
            return self.runtime.restore(container, bundle, image, options)

    def _options(self, null: int, written: int) -> LaunchOptions:
        return LaunchOptions(stdio=(null, written, written), systemd_cgroup=self.systemd)

    @contextmanager
    def _exec_options(self, container: str) -> Iterator[ExecOptions]:
        with self._outputs[container].open("ab") as written, open("/dev/null", "rb") as null:
            yield ExecOptions(stdio=(null.fileno(), written.fileno(), written.fileno()))

    def output(self, container: str) -> str:
        return self._outputs[container].read_text()

    def until_output(self, container: str, text: str) -> None:
        self._until(lambda: text in self.output(container), f"{container} never wrote {text!r}")

    @staticmethod
    def _until(done: Any, otherwise: str) -> None:
        deadline = time.monotonic() + PATIENCE
        poller = select.poll()
        while not done():
            assert time.monotonic() < deadline, otherwise
            poller.poll(2)

    @contextmanager
    def agent(self, number: int) -> Iterator[tuple[str, Callable[[], Config]]]:
        path = self.place / "agent.sock"
        with Agent(path, lambda _: number) as agent:
            yield str(path), agent.first_state

    def hook(self, bundle: Path, kind: str, name: str = "", *, status: int = 0, sleep: int = 0) -> Config:
        name = name or kind
        inside = kind == "startContainer"
        root = bundle / "rootfs"
        # createContainer and startContainer hooks run in the container's namespaces, where only the image is
        # sure to be there; the shell is the same file for both.
        events = "/events" if inside else str(root / "events")
        script = [
            f"#!{'/bin/busybox' if inside else _BUSYBOX} sh",
            f"busybox=/bin/busybox; $busybox cat >{shlex.quote(f'{events}/state-{name}')}",
            f"echo {shlex.quote(name)} >>{shlex.quote(f'{events}/log')}",
        ]
        if sleep:
            script.append(f"$busybox sleep {sleep}")
        script.append(f"exit {status}")
        file = root / "hooks" / name
        file.write_text("\n".join(script) + "\n")
        file.chmod(0o755)
        return {"path": f"/hooks/{name}" if inside else str(file)}

    def events(self, bundle: Path) -> list[str]:
        log = bundle / "rootfs/events/log"
        return log.read_text().split() if log.exists() else []

    def hook_states(self, bundle: Path) -> dict[str, Config]:
        found = {}
        for file in sorted((bundle / "rootfs/events").glob("state-*")):
            found[file.name.removeprefix("state-")] = json.loads(file.read_text())
        return found

    def cgroup_value(self, container: str, controller: str, v1: str, v2: str) -> str:
        pid = self.runtime.get(container).pid
        for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if controller in controllers.split(","):
                return Path(f"{_mount_of(controller)}{path}", v1).read_text().strip()
        unified = next(
            line for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines() if line.startswith("0::")
        )
        return Path(f"/sys/fs/cgroup{unified[3:]}", v2).read_text().strip()

    def rdma_device(self) -> str:
        return min(os.listdir("/sys/class/infiniband"))

    def cgroup_owners(self, container: str, *files: str) -> list[int] | None:
        lines = Path(f"/proc/{self.runtime.get(container).pid}/cgroup").read_text().splitlines()
        if len(lines) > 1:
            return None
        place = Path("/sys/fs/cgroup" + lines[0][3:])
        return [(place / name).stat().st_uid for name in ("", *files)]

    def by_systemd(self) -> None:
        self.systemd = True

    def unit(self, name: str) -> str:
        command = ["systemctl", "show", "--property=ActiveState,Description", "--", name]
        text = subprocess.run(command, capture_output=True, text=True, check=True, timeout=PATIENCE).stdout
        found = dict(line.split("=", 1) for line in text.splitlines())
        return found["Description"] if found["ActiveState"] == "active" else ""

    def device_rule(self, container: str, major: int, minor: int) -> str:
        try:
            lines = self.cgroup_value(container, "devices", "devices.list", "")
        except (IsADirectoryError, FileNotFoundError):
            return ""
        place = f"c {major}:{minor} "
        rule = next((line[len(place) :] for line in lines.splitlines() if line.startswith(place)), "none")
        return rule.replace("m", "")  # making any node is allowed

    def schemata(self, clos: str) -> str:
        return _resctrl(clos, "schemata").read_text()

    def resctrl_groups(self) -> list[str]:
        root = _resctrl()
        own = {"info", "mon_data", "mon_groups"}
        classes = [one for one in root.iterdir() if one.is_dir() and one.name not in own]
        monitors = [one for place in (root, *classes) for one in (place / "mon_groups").glob("*")]
        return [str(one.relative_to(root)) for one in (*classes, *monitors)]

    def resctrl_tasks(self, group: str) -> list[int]:
        return [int(word) for word in _resctrl(group, "tasks").read_text().split()]

    def make_class(self, clos: str, *lines: str) -> None:
        _resctrl(clos).mkdir()
        for line in lines:
            _resctrl(clos, "schemata").write_text(line + "\n")

    def remove_class(self, clos: str) -> None:
        if _resctrl(clos).exists():
            _resctrl(clos).rmdir()

    def alive(self, pid: int) -> bool:
        try:
            stat = Path(f"/proc/{pid}/stat").read_text()
        except (FileNotFoundError, ProcessLookupError):
            return False
        return stat.rpartition(")")[2].split()[0] not in "ZX"

    def ends(self, pid: int) -> bool:
        process = open_pid(pid)
        if process is None:
            return True
        try:
            return bool(select.select([process], [], [], PATIENCE)[0])
        finally:
            os.close(process)

    def hostname(self) -> str:
        return os.uname().nodename

    def add_device(self, name: str) -> None:
        """Add it to a network namespace of the test, in which this thread is from then on."""
        if self._network is None:
            self._home = Space.of(os.getpid())
            self._network = Space.new()
            self._network.enter()
        self._network.add_veth(name, "peer", ADDRESS, up=False)

    def devices(self) -> dict[str, list[str]]:
        assert self._network is not None
        links = self._network.snapshot()["links"]
        return {
            name: [f"{a[0]}/{a[5]}" for a in one["addresses"]]
            for name, one in links.items()
            if name != "peer"
        }

    def left(self) -> list[str]:
        lines = (
            [f"state {name}" for name in os.listdir(self.place / "state")]
            if (self.place / "state").exists()
            else []
        )
        lines += [
            line for line in Path("/proc/self/mountinfo").read_text().splitlines() if str(self.place) in line
        ]
        for base, directories, _ in os.walk("/sys/fs/cgroup"):
            lines += [f"{base}/{name}" for name in directories if name.startswith(self.name)]
            if base.count("/") > 4:
                directories.clear()
        return lines

    def close(self) -> None:
        try:
            super().close()
        finally:
            if self._home is not None and self._network is not None:
                self._home.enter()
                self._home.close()
                self._network.close()
        assert self.left() == []


def _resctrl(*parts: str) -> Path:
    """Return a path in the resctrl file system of this machine."""
    return Path("/sys/fs/resctrl").joinpath(*(part.lstrip("/") for part in parts))


def _mount_of(controller: str) -> str:
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        fields, _, rest = line.partition(" - ")
        kind, _, options = rest.split(" ", 2)
        if kind == "cgroup" and controller in options.split(","):
            return fields.split()[4]
    raise LookupError(controller)
