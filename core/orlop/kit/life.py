"""Rules of life: containers that are made with a plugin, on a machine of a platform."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from orlop.kit.bench import FaultyBench
from orlop.kit.rules import NotApplicableError, rule
from orlop.plugins.facade import Hooks
from orlop.runtime import Runtime
from orlop_hookspecs.documents.linux_resources import Resources
from orlop_hookspecs.errors import OrlopError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from orlop.container import Container
    from orlop.kit.subject import Machine, Subject

_PATIENCE = 60.0
_NAME = "kit"


def _create(machine: Machine, runtime: Runtime | None = None) -> Container:
    return (runtime or machine.runtime).create(_NAME, machine.config, **machine.bench.launch())


def _end(container: Container) -> None:
    """Kill a running container, see its end, and delete it."""
    container.kill("SIGKILL")
    container.wait(_PATIENCE)
    container.delete()


@rule("life")
def leaves_nothing(subject: Subject) -> Iterator[str]:
    """A container of each sample is created, started, killed and deleted, and nothing is left of it."""
    for name, machine in subject.each():
        container = _create(machine)
        if container.status != "created":
            yield f"{name}: after create the status is {container.status}"
        container.start()
        if container.status != "running":
            yield f"{name}: after start the status is {container.status}"
        _end(container)
        yield from (f"{name}: left behind: {line}" for line in machine.bench.left())


@rule("life")
def leaves_nothing_of_a_container_that_never_started(subject: Subject) -> Iterator[str]:
    """A container that is deleted before its start leaves nothing either."""
    for name, machine in subject.each():
        _create(machine).delete(force=True)
        yield from (f"{name}: left behind: {line}" for line in machine.bench.left())


@rule("life")
def warns_of_nothing(subject: Subject) -> Iterator[str]:
    """Being told of a container's life, the plugin raises nothing; the engine would warn and go on."""
    for name, machine in subject.each():
        container = _create(machine)
        container.start()
        _end(container)
        mine = [line for line in machine.warnings if f"plugin {subject.name}" in line]
        yield from (f"{name}: {line}" for line in mine)


@rule("life")
def keeps_nothing_in_memory(subject: Subject) -> Iterator[str]:
    """Another runtime, with a plugin that has not seen the create, finishes the container's life."""
    for name, machine in subject.each():
        _create(machine)
        other = subject.runtime(machine.bench, machine.warnings)
        try:
            container = other.get(_NAME)
            container.start()
            _end(container)
        finally:
            other.close()
        yield from (f"{name}: left behind: {line}" for line in machine.bench.left())


@rule("life")
def reports_statistics_as_data(subject: Subject) -> Iterator[str]:
    """Statistics are JSON data under keys of the plugin's own, and asking for them twice is no error."""
    subject.need("orlop_stats")
    for name, machine in subject.each():
        container = _create(machine)
        container.start()
        container.stats()
        try:
            json.dumps(container.stats(), allow_nan=False)
        except (TypeError, ValueError) as error:
            yield f"{name}: orlop_stats: no JSON data: {error}"


@rule("life")
def takes_part_in_pausing(subject: Subject) -> Iterator[str]:
    """A running container can be paused and resumed, twice."""
    subject.need("orlop_pause", "orlop_resume")
    for name, machine in subject.each():
        container = _create(machine)
        container.start()
        for _ in range(2):
            container.pause()
            if container.status != "paused":
                yield f"{name}: after pause the status is {container.status}"
            container.resume()
            if container.status != "running":
                yield f"{name}: after resume the status is {container.status}"


@rule("life")
def plans_updates(subject: Subject) -> Iterator[str]:
    """An update that changes nothing is answered with steps, and nothing is changed by asking."""
    subject.need("orlop_update")
    for name, machine in subject.each():
        record = _create(machine).record()
        before = record.to_data()
        Hooks([subject.verified]).update(Resources(), record)
        if record.to_data() != before:
            yield f"{name}: orlop_update changed the record in place"


@rule("life")
def lets_signals_through(subject: Subject) -> Iterator[str]:
    """Whatever the plugin does with signals, SIGKILL stays SIGKILL: a container can always be ended."""
    subject.need("orlop_signal")
    for name, machine in subject.each():
        record = _create(machine).record()
        for number in range(1, 65):
            sent = Hooks([subject.verified]).signal(record, number)
            if number == 9 and sent != number:
                yield f"{name}: orlop_signal turns SIGKILL into {sent}"


@rule("life", patience=10.0)
def undoes_everything_at_every_fault(subject: Subject) -> Iterator[str]:
    """With each step failing and the runtime dying at each point, nothing is left and a retry works."""
    tried = False
    for name, machine in subject.each():
        bench = machine.bench
        if not isinstance(bench, FaultyBench):
            continue
        tried = True
        config = machine.config

        def live(runtime: Runtime, config: dict[str, Any] = config) -> None:
            container = runtime.create(_NAME, config)
            container.start()
            container.kill("SIGKILL")
            container.delete(force=True)

        def made(platform: Any) -> Runtime:  # noqa: ANN401 - the machine's own
            return Runtime(subject.composition, platform, warn=lambda _: None)

        try:
            bench.every_fault(live, made)
        except AssertionError as broken:
            yield f"{name}: {broken}"
    if not tried:
        raise NotApplicableError("this machine cannot be made to fail")


@rule("life")
def adds_commands_that_work(subject: Subject) -> Iterator[str]:
    """Commands of the plugin have names of their own, and their arguments can be described."""
    import argparse

    from orlop.cli.table import find

    subject.need("orlop_commands")
    warnings: list[str] = []
    for _, command in Hooks([subject.verified]).commands(warnings.append):
        if find(command.name) is not None:
            yield f"the command {command.name} is one of orlop's own"
        try:
            command.configure(argparse.ArgumentParser(prog=command.name))
        except (OrlopError, argparse.ArgumentError, TypeError, ValueError) as error:
            yield f"the arguments of the command {command.name}: {error}"
    yield from warnings
