"""Drives the fake kernel with plans that are made by hand, as core does with those of plugins."""

from __future__ import annotations

import json
from typing import Any

from orlop_fake import FakeKernel
from orlop_fake.processes import Process
from orlop_hookspecs.launch import LaunchOptions
from orlop_hookspecs.plan import PHASES, Plan, PlannedStep
from orlop_hookspecs.record import Record
from orlop_hookspecs.steps import (
    CreateCgroup,
    Execute,
    JoinCgroup,
    NewNamespace,
    PrepareRoot,
    Step,
    SwitchRoot,
)

IMAGE = "/image"


class Notes:
    """A journal in a list."""

    def __init__(self) -> None:
        self.entries: list[tuple[str, dict[str, Any]]] = []

    def intend(self, undo: str, **data: Any) -> None:
        self.entries.append((undo, data))


def made(cls: type[Step], **fields: Any) -> Step:
    return cls(because="", **fields)


def base(*more: Step, args: tuple[str, ...] = ("/bin/sleep", "5")) -> list[Step]:
    """Return the steps of a small container and *more*."""
    steps = [
        made(CreateCgroup, path="/orlop/one"),
        made(JoinCgroup),
        *(made(NewNamespace, type=kind) for kind in ("pid", "mount", "uts", "ipc", "network")),
        made(PrepareRoot, path=IMAGE),
        made(SwitchRoot),
        made(Execute, args=args, env=("PATH=/bin",)),
        *more,
    ]
    replaced = {type(one) for one in more} & {PrepareRoot, SwitchRoot, Execute, CreateCgroup}
    return [one for one in steps if type(one) not in replaced or one in more]


class Container:
    """One container of a plan."""

    def __init__(self, kernel: FakeKernel, steps: list[Step], name: str = "one", **options: Any) -> None:
        phases: dict[str, list[PlannedStep]] = {}
        for one in steps:
            phases.setdefault(one.phase, []).append(PlannedStep(one, one.phase, one.slot, "test"))
        for phase, planned in phases.items():
            planned.sort(key=lambda one: PHASES[phase].index(one.slot))
        self.kernel = kernel
        self.plan = Plan({phase: tuple(planned) for phase, planned in phases.items()})
        self.notes = Notes()
        self.record = Record(
            id=name, platform="fake", phase="creating", creator=list(kernel.identity()), rootfs=IMAGE
        )
        self.options = LaunchOptions(**options)
        self.sandbox = kernel.sandbox(self.plan, self.record, self.notes, self.options)

    def create(self) -> Container:
        box, plan, record = self.sandbox, self.plan, self.record
        try:
            for planned in plan.steps("host"):
                box.host(planned)
            box.clone(plan.steps("clone"))
            record.pid, record.start_time = box.pid, box.start_time
            for planned in plan.steps("host-with-pid"):
                box.host_with_pid(planned, b"{}")
            box.build(plan.steps("container"), plan.steps("confined"), plan.steps("exec"), b"{}")
            for planned in plan.steps("built"):
                box.host_with_pid(planned, b"{}")
            record.phase = "created"
            box.commit()
        finally:
            box.close()
        return self

    def start(self) -> Container:
        state = {"ociVersion": "1.3.0", "id": self.record.id, "status": "created", "pid": self.record.pid}
        self.kernel.start(self.record, json.dumps(state).encode())
        return self

    @property
    def process(self) -> Process:
        found = self.kernel.container_process(self.record.id)
        assert found.pid == self.record.pid
        return found

    def delete(self) -> None:
        self.kernel.terminate(self.record)
        for undo, data in reversed(self.notes.entries):
            self.kernel.undo(self.record, undo, data)


def machine(**options: Any) -> FakeKernel:
    kernel = FakeKernel(**options)
    kernel.add_rootfs(IMAGE)
    return kernel
