"""A recording kernel and a few small plugins, for tests of the engine alone."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from orlop import Runtime
from orlop_hookspecs.checkpoint import CheckpointOptions, RestoreOptions
from orlop_hookspecs.documents import Config
from orlop_hookspecs.errors import HookError, StateError, StepError, WaitTimeoutError
from orlop_hookspecs.hooks import hookimpl
from orlop_hookspecs.hooks.capability import Adjustment, Handle, Problem
from orlop_hookspecs.hooks.identity import PluginInfo
from orlop_hookspecs.kernel import Journal
from orlop_hookspecs.launch import ExecOptions, LaunchOptions, PlanContext
from orlop_hookspecs.plan import Plan, PlannedStep
from orlop_hookspecs.record import Record
from orlop_hookspecs.steps import (
    CreateCgroup,
    DumpProcesses,
    Execute,
    JoinCgroup,
    NewNamespace,
    RestoreProcesses,
    RunHook,
    SetHostname,
    Step,
    WriteCgroup,
)


class Crash(BaseException):
    """The runtime has been killed: nothing of it runs any more."""


class Host:
    """What outlives a runtime: processes, and things that steps made."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.processes: dict[int, str] = {}
        self.things: set[str] = set()
        self.hooks: list[tuple[str, bytes]] = []
        self.next_pid = 100
        self.crash_at: int | None = None
        self.ticks = 0
        self.fail: dict[str, Exception] = {}
        self.lock = threading.Lock()
        self.runtime_alive = True

    def tick(self, what: str) -> None:
        self.ticks += 1
        if self.crash_at is not None and self.ticks == self.crash_at:
            raise Crash(what)

    def act(self, what: str) -> None:
        """Record a call; crash or fail when told to."""
        self.tick(what)
        self.calls.append(what)
        error = self.fail.get(what)
        if error is not None:
            raise error


class StubSandbox:
    def __init__(self, host: Host, record: Record, journal: Journal) -> None:
        self.host_state = host
        self.record = record
        self.journal = journal
        self.pid = 0
        self.start_time = 0
        self.warnings: list[str] = []
        self.committed = False

    def host(self, planned: PlannedStep) -> None:
        name = type(planned.step).__name__
        self.host_state.act(f"host:{name}")
        if isinstance(planned.step, CreateCgroup):
            self.journal.intend("cgroup", path=planned.step.path)
            self.host_state.tick("before cgroup")
            self.host_state.things.add(f"cgroup:{planned.step.path}")
            self.host_state.tick("after cgroup")

    def clone(self, steps: Sequence[PlannedStep]) -> None:
        self.host_state.act("clone")
        with self.host_state.lock:
            self.host_state.next_pid += 1
            pid = self.host_state.next_pid
        self.host_state.processes[pid] = "created"
        self.pid = pid
        self.start_time = 7
        self.host_state.tick("after clone")

    def host_with_pid(self, planned: PlannedStep, state: bytes) -> None:
        self.host_state.act(f"host-with-pid:{type(planned.step).__name__}")
        if isinstance(planned.step, RunHook):
            self.host_state.hooks.append((planned.step.kind, state))
            if planned.step.path == "/fail":
                raise HookError("hook failed: exit status 1")

    def build(
        self,
        container: Sequence[PlannedStep],
        confined: Sequence[PlannedStep],
        execute: Sequence[PlannedStep],
        state: bytes,
    ) -> None:
        self.host_state.act("build")
        for planned in container:
            if isinstance(planned.step, RunHook):
                self.host_state.hooks.append((planned.step.kind, state))
                if planned.step.path == "/fail":
                    raise HookError("hook failed: exit status 1")

    def restore(self, steps: Sequence[PlannedStep], born: Callable[[], None]) -> None:
        self.host_state.act("restore " + " ".join(type(planned.step).__name__ for planned in steps))
        self.clone(())
        self.host_state.processes[self.pid] = "running"
        born()
        self.host_state.act("restored")

    def commit(self) -> None:
        self.host_state.act("commit")
        self.committed = True
        self.host_state.tick("after commit")

    def abort(self) -> None:
        self.host_state.calls.append("abort")
        self.host_state.processes.pop(self.pid, None)

    def close(self) -> None:
        if (
            not self.committed
        ):  # the end of the runtime's socket ends a container process that is not committed
            self.host_state.processes.pop(self.pid, None)


class StubEntry:
    def __init__(self, host: Host, record: Record, plan: Plan) -> None:
        self.host = host
        self.steps = [type(planned.step).__name__ for planned in plan]
        with host.lock:
            host.next_pid += 1
            self.pid = host.next_pid
        self.start_time = 8
        self.warnings: list[str] = ["a capability is left out"]
        host.processes[self.pid] = "running"

    def run(self, state: bytes) -> None:
        self.host.act("run " + " ".join(self.steps))
        assert json.loads(state)["status"] == "running"

    def abort(self) -> None:
        self.host.calls.append("abort")
        self.host.processes.pop(self.pid, None)

    def close(self) -> None:
        self.host.calls.append("close")


class StubKernel:
    name = "stub"

    def __init__(self, host: Host) -> None:
        self.host = host
        self.closed = False

    def store(self) -> None:
        return None

    def sandbox(self, plan: Plan, record: Record, journal: Journal, options: LaunchOptions) -> StubSandbox:
        self.host.act("sandbox")
        return StubSandbox(self.host, record, journal)

    def close(self) -> None:
        self.closed = True

    def identity(self) -> tuple[int, int]:
        return 50, 1

    def now(self) -> str:
        return "2025-01-02T03:04:05.000000006Z"

    def status(self, record: Record) -> str:
        if record.phase == "creating":
            return "creating" if self.host.runtime_alive else "stopped"
        return self.host.processes.get(record.pid, "stopped")

    def start(self, record: Record, state: bytes) -> None:
        self.host.act("start")
        assert json.loads(state)["status"] == "created"
        self.host.processes[record.pid] = "running"
        self.host.tick("after start")

    def enter(self, record: Record, plan: Plan, options: ExecOptions) -> StubEntry:
        self.host.act("enter")
        return StubEntry(self.host, record, plan)

    def signal(self, record: Record, number: int, *, everything: bool = False) -> None:
        self.host.act(f"signal:{number}{':all' if everything else ''}")
        if record.pid not in self.host.processes:
            raise StateError("container not running")
        if number:
            del self.host.processes[record.pid]

    def wait(self, record: Record, timeout: float | None = None) -> int | None:
        if record.pid in self.host.processes:
            raise WaitTimeoutError("container still runs")
        return 143

    def terminate(self, record: Record) -> None:
        self.host.act("terminate")
        self.host.processes.pop(record.pid, None)
        self.host.tick("after terminate")

    def processes(self, record: Record) -> Sequence[int]:
        return [record.pid]

    def undo(self, record: Record, undo: str, data: Mapping[str, Any]) -> None:
        self.host.act(f"undo:{undo}")
        self.host.things.discard(f"{undo}:{data['path']}")
        self.host.tick("after undo")

    def run_hook(self, hook: Mapping[str, Any], state: bytes) -> None:
        self.host.act(f"hook:{hook['kind']}")
        self.host.hooks.append((hook["kind"], state))
        if hook["path"] == "/fail":
            raise HookError("hook failed: exit status 1")

    def apply(self, record: Record, steps: Iterable[Any]) -> None:
        self.host.act("apply " + " ".join(type(step).__name__ for step in steps))

    def freeze(self, record: Record, *, frozen: bool) -> None:
        self.host.act(f"freeze:{frozen}")
        self.host.processes[record.pid] = "paused" if frozen else "running"

    def checkpoint(self, record: Record, steps: Sequence[PlannedStep], journal: Journal) -> None:
        journal.intend("helper", path="criu")
        self.host.act("checkpoint " + " ".join(type(planned.step).__name__ for planned in steps))

    def stats(self, record: Record) -> Mapping[str, Any]:
        return {"pids": {"current": 1}}


class StubPlatform:
    name = "stub"

    def __init__(self, host: Host | None = None) -> None:
        self.state = Host() if host is None else host

    def kernel(self, **options: Any) -> StubKernel:
        return StubKernel(self.state)


def info(name: str, **keywords: Any) -> PluginInfo:
    return PluginInfo(name=name, version="1", contract="1.0", summary=f"test plugin {name}", **keywords)


class Basics:
    """Handles most of what the test configs set."""

    @hookimpl
    def orlop_plugin(self) -> PluginInfo:
        return info("basics")

    @hookimpl
    def orlop_handles(self) -> Sequence[Handle]:
        return [
            Handle("root"),
            Handle("process"),
            Handle("hostname"),
            Handle("mounts"),
            Handle("annotations"),
            Handle("linux.namespaces"),
            Handle("linux.namespaces[].type", values=frozenset({"pid", "mount"}), feature="linux.namespaces"),
        ]

    @hookimpl
    def orlop_plan(self, config: Config, context: PlanContext) -> Sequence[Step]:
        steps: list[Step] = []
        namespaces = config.linux.namespaces if config.linux is not None else None
        steps.extend(
            NewNamespace(because=f"/linux/namespaces/{i}", type=namespace.type)
            for i, namespace in enumerate(namespaces or ())
        )
        if config.hostname:
            steps.append(SetHostname(because="/hostname", name=config.hostname))
        if config.process is not None and config.process.args:
            steps.append(Execute(because="/process", args=config.process.args))
        return steps


class Groups:
    """Makes a cgroup for every container."""

    @hookimpl
    def orlop_plugin(self) -> PluginInfo:
        return info("groups")

    @hookimpl
    def orlop_handles(self) -> Sequence[Handle]:
        return [Handle("linux.cgroupsPath"), Handle("linux.resources.memory")]

    @hookimpl
    def orlop_features(self) -> Mapping[str, Any]:
        return {"linux.cgroup": {"v1": True, "v2": True}}

    @hookimpl
    def orlop_validate(self, config: Config) -> Sequence[Problem]:
        path = config.linux.cgroups_path if config.linux is not None else None
        if path is not None and ".." in path.split("/"):
            return [Problem("/linux/cgroupsPath", "leaves its hierarchy", path)]
        return []

    @hookimpl
    def orlop_plan(self, context: PlanContext) -> Sequence[Step]:
        return [
            JoinCgroup(because="/linux/cgroupsPath"),
            CreateCgroup(because="/linux/cgroupsPath", path=f"/{context.container}"),
        ]

    @hookimpl
    def orlop_checkpoint(self, checkpoint: CheckpointOptions) -> Sequence[Step]:
        return [DumpProcesses(because="", options=dict(vars(checkpoint)))]

    @hookimpl
    def orlop_restore(self, restore: RestoreOptions) -> Sequence[Step]:
        return [RestoreProcesses(because="", options=dict(vars(restore)))]

    @hookimpl
    def orlop_update(self, resources: Any) -> Sequence[Step]:
        if resources.memory is None or resources.memory.limit is None:
            return []
        limit = (("memory.limit_in_bytes", str(resources.memory.limit)),)
        return [WriteCgroup(because="/linux/resources/memory/limit", controller="memory", v1=limit)]


class HookRunner:
    """Plans the config's hooks."""

    @hookimpl
    def orlop_plugin(self) -> PluginInfo:
        return info("hooks")

    @hookimpl
    def orlop_handles(self) -> Sequence[Handle]:
        return [Handle("hooks")]

    @hookimpl
    def orlop_features(self) -> Mapping[str, Any]:
        return {"hooks": ["prestart", "poststop"]}

    @hookimpl
    def orlop_plan(self, config: Config) -> Sequence[Step]:
        if config.hooks is None:
            return []
        return [
            RunHook(because=f"/hooks/{kind}/{index}", kind=kind, index=index, path=hook.path)
            for kind, hooks in config.hooks.properties()
            for index, hook in enumerate(hooks)
        ]


def adjuster(name: str, adjustment: Adjustment | None, **keywords: Any) -> object:
    """Return a plugin that proposes *adjustment*."""

    class Adjuster:
        @hookimpl
        def orlop_plugin(self) -> PluginInfo:
            return info(name, **keywords)

        @hookimpl
        def orlop_adjust(self) -> Adjustment | None:
            return adjustment

    return Adjuster()


def config(**changes: Any) -> dict[str, Any]:
    """Return a small config; *changes* replace its top-level properties."""
    data: dict[str, Any] = {
        "ociVersion": "1.3.0",
        "root": {"path": "/rootfs"},
        "process": {"cwd": "/", "args": ["sh"], "user": {"uid": 0, "gid": 0}},
        "hostname": "stub",
        "linux": {"namespaces": [{"type": "pid"}, {"type": "mount"}]},
    }
    data.update(changes)
    return {key: value for key, value in data.items() if value is not None}


def hooks(**kinds: str) -> dict[str, Any]:
    """Return a config with one hook of each kind, at the given path."""
    return config(hooks={kind: [{"path": path}] for kind, path in kinds.items()})


def gone(host: Host, runtime: Runtime) -> None:
    """Assert that nothing is left of any container."""
    assert host.processes == {}
    assert host.things == set()
    assert runtime.site.store.list() == []


def plugins() -> list[object]:
    return [Basics(), Groups(), HookRunner()]


__all__ = [
    "Crash",
    "Host",
    "StepError",
    "StubKernel",
    "StubPlatform",
    "adjuster",
    "config",
    "gone",
    "hooks",
    "info",
    "plugins",
]
