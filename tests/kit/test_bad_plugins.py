"""Bad plugins are refused when they are loaded, or contained when they are called; the error names them."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable
from typing import Any

import pytest
from tests.kit import bad
from tests.kit.reach import (
    ASKED,
    CONFIG,
    IDENTITY,
    NOTIFIED,
    PLANNING,
    REACHES,
    compose,
    named,
    provoke,
    reach_with,
    unharmed,
)

import orlop
from orlop.kit import BROKEN, check_rule
from orlop.plugins.faults import RefusedPluginsError
from orlop.plugins.specs import LIVE, SPECS
from orlop_fake import FakeKernel
from orlop_hookspecs.errors import CompositionError, OrlopError, PluginError
from orlop_hookspecs.frozen import Frozen
from orlop_hookspecs.hooks.capability import Handle
from orlop_hookspecs.hooks.commands import Command
from orlop_hookspecs.record import Record
from orlop_hookspecs.steps import STEP_TYPES, SetHostname, Step, step


@pytest.mark.parametrize("kind", bad.AT_LOAD)
def test_refused_when_loaded(kind: str, kernel: FakeKernel) -> None:
    make, rule, words = bad.AT_LOAD[kind]
    with pytest.raises(RefusedPluginsError) as caught:
        compose(kernel, *make())
    (fault,) = caught.value.faults[:1]
    assert fault.rule == rule
    assert words in fault.message
    text = str(caught.value)
    assert text.isprintable()
    assert fault.plugin in text
    assert kernel.leaks() == []


ALONE = [
    kind for kind, (make, _, _) in bad.AT_LOAD.items() if len(make()) == 1 and not isinstance(make()[0], str)
]
"""Kinds of which one plugin is enough."""


@pytest.mark.parametrize("kind", ALONE)
def test_the_kit_names_the_rule_that_is_broken_at_load(kind: str) -> None:
    make, rule, words = bad.AT_LOAD[kind]
    (plugin,) = make()
    name = "keeps-the-contract"
    if rule == "requirement":
        name = "fits-together-with-the-built-in-plugins"
    result = check_rule(name, plugin)
    assert result.outcome == BROKEN
    assert any(words in message for message in result.messages)


def test_every_hook_of_the_contract_is_tried() -> None:
    assert set(REACHES) == set(ASKED)
    assert {IDENTITY, *NOTIFIED, *ASKED} == set(SPECS)
    assert {*PLANNING, *NOTIFIED, *LIVE} <= set(SPECS)


@pytest.mark.parametrize("hook", ASKED)
def test_every_hook_is_reached(hook: str, kernel: FakeKernel) -> None:
    called: list[str] = []
    plugin = bad.plugin(bad.hook(hook, lambda *_: called.append(hook)))
    with contextlib.suppress(OrlopError):  # nothing is no answer to some of them
        reach_with(plugin, hook, kernel, {})
    assert called


@pytest.mark.parametrize("hook", ASKED)
def test_raising_in_a_hook(hook: str, kernel: FakeKernel) -> None:
    error = provoke(kernel, hook, bad.raises)
    named(error, hook)
    assert "raised ZeroDivisionError: oops" in str(error)
    unharmed(kernel)


@pytest.mark.parametrize("hook", ASKED)
def test_ending_the_program_in_a_hook(hook: str, kernel: FakeKernel) -> None:
    error = provoke(kernel, hook, bad.exits)
    named(error, hook)
    assert "raised SystemExit: enough" in str(error)
    unharmed(kernel)


@pytest.mark.parametrize("act", [bad.garbage, bad.more_garbage], ids=["a dict", "a list"])
@pytest.mark.parametrize("hook", ASKED)
def test_returning_garbage(hook: str, act: Callable[..., Any], kernel: FakeKernel) -> None:
    error = provoke(kernel, hook, act)
    named(error, hook)
    assert "expected" in str(error)
    unharmed(kernel)


@pytest.mark.parametrize("hook", NOTIFIED)
@pytest.mark.parametrize("act", [bad.raises, bad.exits, bad.garbage, bad.more_garbage])
def test_notifications_that_go_wrong_are_warnings(
    hook: str, act: Callable[..., Any], kernel: FakeKernel
) -> None:
    warnings: list[str] = []
    box = compose(kernel, bad.plugin(bad.hook(hook, act)), warn=warnings.append).create("box", CONFIG)
    box.start()
    box.delete(force=True)
    (warning,) = warnings
    assert hook in warning
    assert f"[plugin {bad.NAME}]" in warning
    assert kernel.leaks() == []


def change(value: Any) -> None:
    """Change everything in *value* that can be changed."""
    if isinstance(value, dict):
        for inner in value.values():
            change(inner)
        value["/evil"] = "evil"
    elif isinstance(value, list):
        for inner in value:
            change(inner)
        value.append("evil")
    elif isinstance(value, Record):
        for name in value.to_data():
            change(getattr(value, name, None))
        value.pid = 1
        value.id = value.rootfs = "evil"


@pytest.mark.parametrize("hook", PLANNING)
@pytest.mark.parametrize(
    "what",
    [
        lambda config, _: change(config.annotations),
        lambda config, _: change(config.linux.sysctl),
        lambda config, _: setattr(config, "hostname", "evil"),
        lambda _, context: setattr(context, "rootfs", "/evil"),
        lambda config, _: config.annotations.update(evil="1"),
        lambda config, _: config.annotations.clear(),
    ],
)
def test_changing_the_config_in_place_is_refused(
    hook: str, what: Callable[..., Any], kernel: FakeKernel
) -> None:
    before = copy.deepcopy(CONFIG)
    error = provoke(kernel, hook, what)
    named(error, hook)
    assert before == CONFIG
    unharmed(kernel)


@pytest.mark.parametrize("hook", LIVE)
def test_changing_what_a_hook_is_told_changes_nothing(hook: str, kernel: FakeKernel) -> None:
    changed: list[str] = []

    def act(*arguments: object) -> None:
        for argument in arguments:
            if isinstance(argument, dict | Record):
                change(argument)
                changed.append(hook)
            elif isinstance(argument, Frozen):
                for name in ("steps", "image", "evil"):
                    with pytest.raises(AttributeError):
                        setattr(argument, name, ())
                changed.append(hook)

    runtime = compose(kernel, bad.plugin(bad.hook(hook, act)))
    box = runtime.create("box", CONFIG)
    pid = box.pid
    box.start()
    box.pause()
    box.resume()
    box.stats()
    box.processes()
    box.update({"pids": {"limit": 7}})
    box.checkpoint("/before", pre_dump=True)
    state = box.state()
    assert (state["id"], state["pid"], state["annotations"]) == ("box", pid, CONFIG["annotations"])
    box.checkpoint("/images")
    box = runtime.restore("box", CONFIG, "/images")
    assert (box.id, box.state()["annotations"]) == ("box", CONFIG["annotations"])
    box.kill("KILL")
    box.wait()
    box.delete()
    assert changed
    assert kernel.leaks() == []


def command(name: str) -> Command:
    return Command(name=name, summary="", configure=lambda _: None, run=lambda *_: 0)


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (bad.handles(Handle("linux.namespaces", feature="linux.namespaces")), "names feature"),
        (bad.features({"linux.cgroup.v1": False}), "contradicts"),
        (bad.features({"linux.nonsense": True}), "unknown to the specification"),
        (bad.features({"linux..v1": True}), "malformed path"),
        (bad.features({"hooks": True}), "contradicts"),
        (bad.features({"annotations": {"com.example": object()}}), "no JSON data"),
    ],
)
def test_declarations_that_cannot_be_true_are_refused(
    function: Callable[..., Any], words: str, kernel: FakeKernel
) -> None:
    with pytest.raises(CompositionError, match=words) as caught:
        compose(kernel, bad.plugin(function))
    assert bad.NAME in str(caught.value)


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (bad.adjusts("hostname", "x"), "needs a JSON pointer"),
        (bad.adjusts("/hostname", 7), "cannot be read"),
        (bad.adjusts("/annotations/com.example/x", 7), "leads through a value"),
        (bad.hook("orlop_plan", lambda *_: [bad.Foreign(because="/x", name="x")]), "no step of the contract"),
        (
            bad.hook("orlop_plan", lambda *_: [SetHostname(because="/x", name="x"), 7]),
            "only Step in the sequence",
        ),
    ],
)
def test_answers_that_make_no_sense_are_the_plugins_fault(
    function: Callable[..., Any], words: str, kernel: FakeKernel
) -> None:
    with pytest.raises(PluginError, match=words) as caught:
        compose(kernel, bad.plugin(function)).create("box", CONFIG)
    assert caught.value.plugin == bad.NAME
    assert kernel.leaks() == []


def test_a_step_of_the_plugins_own_is_the_kernels_to_refuse(kernel: FakeKernel) -> None:
    class OwnStep(Step):
        PHASE = "host"
        SLOT = "require"

    step(OwnStep)
    plugin = bad.plugin(bad.hook("orlop_plan", lambda *_: [OwnStep(because="/x")]))
    try:
        with pytest.raises(OrlopError) as caught:
            compose(kernel, plugin).create("box", CONFIG)
    finally:
        del STEP_TYPES["OwnStep"]
    assert caught.value.plugin == bad.NAME
    assert "OwnStep" in str(caught.value)
    assert kernel.leaks() == []


@pytest.mark.parametrize(
    ("first", "second", "act", "words"),
    [
        (
            bad.adjusts("/hostname", "a"),
            bad.adjusts("/hostname", "b"),
            lambda runtime: runtime.create("box", CONFIG),
            "bad and other both want to set",
        ),
        (
            bad.hook("orlop_stats", lambda *_: {"x": 1}),
            bad.hook("orlop_stats", lambda *_: {"x": 2}),
            lambda runtime: runtime.create("box", CONFIG).stats(),
            "plugin bad reports x as well",
        ),
        (
            bad.hook("orlop_commands", lambda *_: [command("x")]),
            bad.hook("orlop_commands", lambda *_: [command("x")]),
            lambda runtime: runtime.composition.hooks.commands(lambda _: None),
            "plugin bad adds a command x as well",
        ),
    ],
)
def test_two_owners_of_one_thing_are_an_error_that_names_both(
    first: Any, second: Any, act: Callable[[orlop.Runtime], Any], words: str, kernel: FakeKernel
) -> None:
    other = bad.plugin(second, info=bad.identity(name="other"))
    with pytest.raises(OrlopError, match=words) as caught:
        act(compose(kernel, bad.plugin(first), other))
    assert "other" in str(caught.value)


def test_there_are_more_than_twenty_kinds() -> None:
    assert len(bad.AT_LOAD) >= 20
