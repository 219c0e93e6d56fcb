"""Bad plugins are refused when they are loaded, or contained when they are called; the error names them."""

from __future__ import annotations

import copy
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from tests.kit import bad

import orlop
from orlop.kit import BROKEN, check_rule
from orlop.plugins import deadline
from orlop.plugins.faults import RefusedPluginsError
from orlop.plugins.specs import LIVE, SPECS
from orlop_fake import FakeKernel, FakePlatform
from orlop_hookspecs.errors import CompositionError, OrlopError, PluginError, UsageError
from orlop_hookspecs.hooks.capability import Handle
from orlop_hookspecs.hooks.commands import Command
from orlop_hookspecs.record import Record
from orlop_hookspecs.steps import STEP_TYPES, SetHostname, Step, step

CONFIG: dict[str, Any] = {
    "ociVersion": "1.3.0",
    "root": {"path": "/image"},
    "process": {"cwd": "/", "args": ["/bin/sleep", "60"], "user": {"uid": 0, "gid": 0}},
    "linux": {"namespaces": [{"type": "mount"}, {"type": "network"}], "sysctl": {"net.core.somaxconn": "1"}},
    "annotations": {"com.example": "1"},
}
BUILT_IN = orlop.Runtime.compose(platform="fake").composition.names
PATIENCE = 0.05
"""Seconds for a hook that never returns; in these tests they pass when it has begun to wait."""

LONGEST = 60.0
"""Seconds for a hook that does return, however busy the machine is."""


@pytest.fixture
def kernel() -> FakeKernel:
    made = FakeKernel()
    made.add_rootfs("/image")
    return made


@pytest.fixture
def released(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let the deadline pass when the bad hook waits, and no sooner; then let its thread end."""
    bad.STUCK.clear()
    bad.REACHED.clear()

    def wait(thread: threading.Thread, _: float) -> None:
        end = time.monotonic() + LONGEST
        while thread.is_alive() and not bad.REACHED.is_set() and time.monotonic() < end:
            thread.join(0.01)

    monkeypatch.setattr(deadline, "wait", wait)
    yield
    bad.STUCK.set()


def compose(kernel: FakeKernel, *plugins: object, **options: Any) -> orlop.Runtime:
    return orlop.Runtime.compose(FakePlatform(kernel), [*BUILT_IN, *plugins], **options)


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


PLANNING = ("orlop_adjust", "orlop_validate", "orlop_plan")
NOTIFIED = ("orlop_created", "orlop_started", "orlop_deleted")
ASKED = tuple(
    hook for hook in SPECS if hook not in {"orlop_plugin", "orlop_checkpoint", "orlop_restore", *NOTIFIED}
)
"""Hooks that somebody asks on the way of a container's life; commands that are still to come ask the rest."""


def reach(runtime: orlop.Runtime, hook: str) -> None:
    """Let the engine come to call *hook*."""
    if hook in PLANNING:
        runtime.create("box", CONFIG)
    elif hook == "orlop_remark":
        runtime.check(CONFIG)
    elif hook == "orlop_commands":
        warnings: list[str] = []
        runtime.composition.hooks.commands(warnings.append)
        if warnings:
            raise PluginError(warnings[0], plugin=bad.NAME)
    else:
        box = runtime.create("box", CONFIG)
        box.start()
        acts: dict[str, Callable[[], object]] = {
            "orlop_stats": box.stats,
            "orlop_pause": box.pause,
            "orlop_resume": lambda: [act() for act in (box.pause, box.resume)],
            "orlop_signal": lambda: box.kill("TERM"),
            "orlop_ps": box.processes,
            "orlop_update": lambda: box.update({"pids": {"limit": 7}}),
        }
        acts[hook]()


def reach_with(plugin: object, hook: str, kernel: FakeKernel, options: dict[str, Any]) -> None:
    if hook == "orlop_platform":  # nobody is asked for a platform that is handed over
        orlop.Runtime.compose("fake", [*BUILT_IN, plugin], **options)
    reach(compose(kernel, plugin, **options), hook)


def provoke(kernel: FakeKernel, hook: str, act: Callable[..., Any], **options: Any) -> OrlopError:
    """Return the error that comes of a plugin that does *act* in *hook*."""
    plugin = bad.plugin(bad.hook(hook, act))
    with pytest.raises(OrlopError) as caught:
        reach_with(plugin, hook, kernel, options)
    return caught.value


def unharmed(kernel: FakeKernel) -> None:
    """Assert that a runtime without the plugin finishes whatever container there is, and nothing is left."""
    runtime = compose(kernel)
    for container in runtime.list():
        assert container.status in {"created", "running", "paused"}
        record = container.record()
        record.live.clear()  # the plugin is gone; nobody is told
        container.delete(force=True)
    assert kernel.leaks() == []


def named(error: OrlopError, hook: str) -> None:
    assert isinstance(error, PluginError | CompositionError)
    assert error.plugin == bad.NAME
    assert hook in str(error) or hook == "orlop_platform"


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


@pytest.mark.parametrize("hook", ASKED)
@pytest.mark.usefixtures("released")
def test_blocking_for_ever_under_a_deadline(hook: str, kernel: FakeKernel) -> None:
    error = provoke(kernel, hook, bad.blocks, deadline=PATIENCE)
    named(error, hook)
    assert f"has not returned within {PATIENCE:g} s" in str(error)
    unharmed(kernel)


@pytest.mark.parametrize("hook", NOTIFIED)
@pytest.mark.parametrize("act", [bad.raises, bad.exits, bad.garbage])
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


@pytest.mark.parametrize("hook", [*NOTIFIED, *(hook for hook in LIVE if hook in ASKED)])
def test_changing_what_a_hook_is_told_changes_nothing(hook: str, kernel: FakeKernel) -> None:
    changed: list[str] = []

    def act(*arguments: object) -> None:
        for argument in arguments:
            if isinstance(argument, dict | Record):
                change(argument)
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
    state = box.state()
    assert (state["id"], state["pid"], state["annotations"]) == ("box", pid, CONFIG["annotations"])
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


@pytest.mark.parametrize("value", ["5", 0, -1, True, None])
def test_deadlines_that_are_none_are_refused(value: Any) -> None:
    with pytest.raises(UsageError, match="expected seconds for deadline"):
        orlop.Runtime.compose("fake", config={"deadline": value})


@pytest.mark.usefixtures("released")
def test_the_settings_set_a_deadline(kernel: FakeKernel) -> None:
    plugin = bad.plugin(bad.hook("orlop_plan", bad.blocks))
    with pytest.raises(PluginError, match=r"has not returned within 0\.05 s; it stands in"):
        compose(kernel, plugin, config={"deadline": PATIENCE}).create("box", CONFIG)


def test_there_are_more_than_twenty_kinds() -> None:
    assert len(bad.AT_LOAD) >= 20
