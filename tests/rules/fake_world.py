"""The rules' world on the fake platform."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.rules.programs import PROGRAMS
from tests.rules.world import ADDRESS, DIRECTORIES, PLUGINS, Config, World

import orlop
from orlop_fake import Directory, FakeKernel, FakePlatform, File, HookCall, Resctrl, Symlink
from orlop_hookspecs.launch import ExecOptions, LaunchOptions


@functools.cache
def _composition() -> Any:
    """Return every installed plugin, composed once for all worlds."""
    return orlop.Runtime.compose(platform="fake", plugins=PLUGINS).composition


class MarkingKernel(FakeKernel):
    """A fake kernel with a place where programs and hooks note that they ran."""

    def __init__(self, **options: Any) -> None:
        super().__init__(
            programs={f"/bin/{name}": program for name, (_, program) in PROGRAMS.items()}, **options
        )
        self.marks: list[str] = []


class FakeWorld(World):
    """Containers of a fake kernel; the bundles are real directories."""

    platform = "fake"

    def __init__(self, place: Path, cgroups: str = "hybrid") -> None:
        self.kernel = MarkingKernel(cgroups=cgroups, resctrl=Resctrl(closids=6))
        self.kernel.show_disk(str(place))
        warnings: list[str] = []
        runtime = orlop.Runtime(_composition(), FakePlatform(self.kernel), warn=warnings.append)
        super().__init__(runtime, place, warnings)
        self._states: dict[str, Config] = {}

    def _make_image(self, root: Path) -> None:
        # Only what rules touch on the disk is there; the rest is laid over it in memory.
        (root / "etc").mkdir(parents=True)
        (root / "proc").mkdir()
        (root / "etc/os-release").write_text("ID=rules\n")
        (root / "etc/plain").write_text("not executable\n")
        self.kernel.show_disk(str(root))
        overlay: dict[str, Any] = {name: {} for name in DIRECTORIES if name not in {"etc", "proc"}}
        overlay |= {f"bin/{name}": File(mode=0o755) for name in ("busybox", *PROGRAMS)}
        overlay |= {"tmp": Directory(0o1777), "bin/sh": Symlink("busybox")}
        self.kernel.add_files({f"{root}/{name}": value for name, value in overlay.items()})

    @contextmanager
    def caller_groups(self, *groups: int) -> Iterator[None]:
        before, self.kernel.groups = self.kernel.groups, groups
        try:
            yield
        finally:
            self.kernel.groups = before

    def put_file(self, bundle: Path, name: str, text: str = "") -> None:
        self.kernel.add_files({f"{bundle}/rootfs/{name}": text})

    def _create(self, container: str, bundle: Path) -> orlop.Container:
        return self.runtime.create(container, bundle, LaunchOptions(systemd_cgroup=self.systemd))

    def _restore(self, container: str, bundle: Path, image: Path) -> orlop.Container:
        return self.runtime.restore(container, bundle, image)

    @contextmanager
    def _exec_options(self, container: str) -> Iterator[ExecOptions]:
        yield ExecOptions()

    def output(self, container: str) -> str:
        return self.kernel.output(container)

    def until_output(self, container: str, text: str) -> None:
        assert text in self.output(container)

    def hook(self, bundle: Path, kind: str, name: str = "", *, status: int = 0, sleep: int = 0) -> Config:
        name = name or kind
        path = f"/hooks/{name}" if kind == "startContainer" else str(bundle / "rootfs/hooks" / name)
        self.kernel.hooks[path] = self._note(name, status, sleep)
        return {"path": path}

    @contextmanager
    def agent(self, number: int) -> Iterator[tuple[str, Callable[[], Config]]]:
        path = "/run/agent.sock"
        self.kernel.agents[path] = lambda _: number
        yield path, lambda: self.kernel.agent_states[0]
        del self.kernel.agents[path]

    def _note(self, name: str, status: int, sleep: int) -> Callable[[HookCall], int]:
        def run(call: HookCall) -> int:
            self._states[name] = call.state
            self.kernel.marks.append(name)
            if sleep:
                call.sleep(sleep)
            return status

        return run

    def events(self, bundle: Path) -> list[str]:
        del bundle
        return list(self.kernel.marks)

    def hook_states(self, bundle: Path) -> dict[str, Config]:
        del bundle
        return dict(self._states)

    def cgroup_value(self, container: str, controller: str, v1: str, v2: str) -> str:
        group = self.kernel.cgroup(container, controller)
        return group.read(v1 if group.hierarchy.version == 1 else v2)

    def rdma_device(self) -> str:
        return min(self.kernel.host.rdma_devices)

    def cgroup_owners(self, container: str, *files: str) -> list[int] | None:
        if self.kernel.cgroup_mode != "v2":
            return None
        group = self.kernel.cgroup(container, "pids")
        return [group.uid, *(group.owner_of(name) for name in files)]

    def by_systemd(self) -> None:
        self.systemd = True

    def unit(self, name: str) -> str:
        assert self.kernel.units is not None
        unit = self.kernel.units.get(name)
        return unit.properties["Description"] if unit is not None else ""

    def device_rule(self, container: str, major: int, minor: int) -> str:
        process = next(one for one in self.kernel.all_processes() if one.owner == container)
        return "".join(
            access for access in "rw" if self.kernel.device_allowed(process, "c", major, minor, access)
        )

    def schemata(self, clos: str) -> str:
        group = self._resctrl.find(clos)
        assert group is not None
        return group.text()

    def resctrl_groups(self) -> list[str]:
        return [
            *self._resctrl.groups,
            *(
                f"{clos.name}/mon_groups/{name}".lstrip("/")
                for clos in self._resctrl.all_classes()
                for name in clos.monitors
            ),
        ]

    def resctrl_tasks(self, group: str) -> list[int]:
        clos, _, monitor = f"/{group}".partition("/mon_groups/")
        found = self._resctrl.find(clos.lstrip("/") or "/")
        assert found is not None
        one = found.monitors[monitor] if monitor else found
        return [process.pid for process in one.processes]

    def make_class(self, clos: str, *lines: str) -> None:
        made = self._resctrl.make(clos)
        self._resctrl.change(made, lines)

    def remove_class(self, clos: str) -> None:
        self._resctrl.remove(clos)

    @property
    def _resctrl(self) -> Resctrl:
        assert self.kernel.resctrl is not None
        return self.kernel.resctrl

    def alive(self, pid: int) -> bool:
        return any(process.pid == pid and not process.ended for process in self.kernel.all_processes())

    def hostname(self) -> str:
        return self.kernel.init.namespaces.uts.hostname

    def add_device(self, name: str) -> None:
        self.kernel.add_link(name, ADDRESS, kind="veth", up=False)

    def devices(self) -> dict[str, list[str]]:
        links = self.kernel.init.namespaces.network.links
        return {name: [one.text for one in link.addresses] for name, link in links.items() if name != "eth0"}

    def left(self) -> list[str]:
        return self.kernel.leaks()

    def close(self) -> None:
        super().close()
        assert self.kernel.leaks() == []
        assert self.kernel.program_errors == []
