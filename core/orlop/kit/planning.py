"""Rules of planning: what a plugin makes of configs, before anything is touched."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orlop.documents.codec import decode_config, encode
from orlop.engine.host import LateView
from orlop.engine.plan import make_plan
from orlop.kit.rules import NotApplicableError, differences, rule
from orlop.kit.watch import Unwatched, Watch
from orlop.plugins.facade import Hooks
from orlop_hookspecs.errors import ConfigError, OrlopError
from orlop_hookspecs.host import NO_HOST
from orlop_hookspecs.launch import PlanContext
from orlop_hookspecs.steps.base import decode_step, encode_step

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from orlop.kit.subject import Machine, Subject
    from orlop_hookspecs.documents import Config

_HOOKS = ("orlop_adjust", "orlop_validate", "orlop_remark", "orlop_plan")

ODD: tuple[dict[str, Any], ...] = (
    {"ociVersion": "1.0.0"},
    {"ociVersion": "1.3.0", "linux": {}},
    {"ociVersion": "1.3.0", "root": {"path": "/"}, "process": {"cwd": "/"}},
    {"ociVersion": "1.3.0", "process": {"cwd": "/", "user": {"uid": 0, "gid": 0}}, "annotations": {}},
    {"ociVersion": "1.3.0", "linux": {"resources": {}, "devices": [], "namespaces": []}, "mounts": []},
    {"ociVersion": "1.3.0", "annotations": {"com.example": "", "x": "\u2028", "y": "a" * 10_000}},
)
"""Configs that the documents allow and that planners like to forget about."""


def _asked(hooks: Hooks, config: Config, seeing: PlanContext) -> dict[str, Callable[[], Any]]:
    """Return the pure hooks by name, as calls that ask the plugin about *config*."""
    context = seeing.evolve(host=NO_HOST)
    return {
        "orlop_adjust": lambda: hooks.adjust(config, seeing),
        "orlop_validate": lambda: hooks.validate(config, context),
        "orlop_remark": lambda: hooks.remark(config, context),
        "orlop_plan": lambda: hooks.plan(config, context),
    }


def _effective(machine: Machine) -> tuple[Config, PlanContext]:
    """Return the config of a sample as all plugins have adjusted it, with the context of planners."""
    prepared = machine.runtime.explain(machine.config, container="kit").prepared
    host = Unwatched(LateView(lambda: machine.runtime.kernel))
    return prepared.config, prepared.context.evolve(host=host)


def _each(subject: Subject) -> Iterator[tuple[str, Machine]]:
    """Yield every sample as :meth:`Subject.each` does, of a plugin that plans at all."""
    subject.need(*_HOOKS)
    yield from subject.each()


@rule("planning")
def accepts_its_samples(subject: Subject) -> Iterator[str]:
    """What the plugin's samples ask for is accepted in a composition with the built-in plugins."""
    for name, machine in _each(subject):
        verdict = machine.runtime.check(machine.config)
        for one in verdict.refused:
            yield f"{name}: {one.pointer}: {one.message} [{', '.join(one.plugins) or 'nobody'}]"


@rule("planning")
def refuses_what_it_says(subject: Subject) -> Iterator[str]:
    """A sample that is to be refused is refused by this plugin, at its pointer, in one lower-case line."""
    subject.need("orlop_validate", "orlop_plan", "orlop_adjust")
    refused = [sample for sample in subject.samples if sample.refused]
    if not refused:
        raise NotApplicableError("no sample is to be refused")
    for sample in refused:
        with subject.machine(sample) as machine:
            try:
                found = machine.runtime.check(machine.config).refused
            except OrlopError as error:
                if error.pointer != sample.refused or error.plugin != subject.name:
                    yield f"{sample.name}: not refused at {sample.refused}, but: {error}"
                continue
            mine = [one for one in found if subject.name in one.plugins and one.pointer == sample.refused]
            if not mine:
                yield f"{sample.name}: {subject.name} does not refuse {sample.refused}"
            for one in mine:
                if one.message[:1].isupper() or one.message.endswith(".") or not one.message.isprintable():
                    yield f"{sample.name}: the message is not one lower-case line: {one.message!r}"


@rule("planning")
def plans_without_looking(subject: Subject) -> Iterator[str]:
    """The hooks of planning are pure: no system calls, and no files but through `context.host`."""
    for name, machine in _each(subject):
        config, context = _effective(machine)
        for hook, ask in _asked(Hooks([subject.verified]), config, context).items():
            ask()  # the first call may import
            with Watch() as watch:
                ask()
            yield from (f"{name}: {hook}: {event}" for event in watch.seen)


@rule("planning")
def plans_the_same_again(subject: Subject) -> Iterator[str]:
    """Asked twice about one config, the plugin gives the same answers: no clock, no chance, no memory."""
    for name, machine in _each(subject):
        config, context = _effective(machine)
        hooks = Hooks([subject.verified])
        for hook, ask in _asked(hooks, config, context).items():
            for difference in differences(hook, ask(), ask()):
                yield f"{name}: {difference}"


@rule("planning")
def leaves_the_config_alone(subject: Subject) -> Iterator[str]:
    """No hook changes the config that it is shown; changes are proposed with an `Adjustment`."""
    for name, machine in _each(subject):
        config, context = _effective(machine)
        before = encode(config)
        for hook, ask in _asked(Hooks([subject.verified]), config, context).items():
            ask()
            if encode(config) != before:
                yield f"{name}: {hook} changed the config in place"
                break


@rule("planning")
def plans_steps_of_the_contract(subject: Subject) -> Iterator[str]:
    """Steps are classes of the contract, hold plain data, and point to the property that asks for them."""
    subject.need("orlop_plan")
    for name, machine in _each(subject):
        config, context = _effective(machine)
        answers = Hooks([subject.verified]).plan(config, context)
        make_plan(answers)
        for _, steps in answers:
            for step in steps:
                if not step.because.startswith("/"):
                    yield f"{name}: {step.describe()} has no JSON pointer in because: {step.because!r}"
                try:
                    again = decode_step(*encode_step(step))
                except ValueError as error:
                    yield f"{name}: {step.describe()} cannot cross a process boundary: {error}"
                    continue
                if again != step:
                    yield f"{name}: {step.describe()} is not the same behind a process boundary"


@rule("planning")
def survives_every_config(subject: Subject) -> Iterator[str]:
    """Configs that lack what the plugin looks for, or have it empty, are no reason to raise."""
    subject.need(*_HOOKS)
    hooks = Hooks([subject.verified])
    for data in ODD:
        config = decode_config(data)
        context = PlanContext("kit", "/kit", config.root.path if config.root is not None else "")
        for ask in _asked(hooks, config, context).values():
            try:
                ask()
            except ConfigError:
                continue  # it refuses the config, and says so
            except OrlopError as error:
                yield f"{error} (config: {data!r:.80})"


@rule("planning")
def owns_what_it_changes(subject: Subject) -> Iterator[str]:
    """What the plugin changes of a config can be applied, and is covered by the composition."""
    subject.need("orlop_adjust")
    changed = False
    for name, machine in _each(subject):
        prepared = machine.runtime.explain(machine.config, container="kit").prepared
        mine = [pointer for pointer, owner in prepared.owners.items() if owner == subject.name]
        changed = changed or bool(mine)
        data = prepared.data()
        for pointer in mine:
            if not _exists(data, pointer):
                yield f"{name}: {pointer} is not in the effective config"
    if not changed:
        raise NotApplicableError("no sample makes the plugin change anything")


def _exists(data: Any, pointer: str) -> bool:  # noqa: ANN401 - JSON data
    for part in pointer[1:].split("/"):
        key = part.replace("~1", "/").replace("~0", "~")
        if isinstance(data, list) and key.isdigit() and int(key) < len(data):
            data = data[int(key)]
        elif isinstance(data, dict) and key in data:
            data = data[key]
        else:
            return False
    return True
