"""How the engine comes to call each hook of the contract, and what an error must say and leave."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from tests.kit import bad

import orlop
from orlop.plugins.specs import SPECS
from orlop_fake import FakeKernel, FakePlatform
from orlop_hookspecs.errors import CompositionError, OrlopError, PluginError

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


def compose(kernel: FakeKernel, *plugins: object, **options: Any) -> orlop.Runtime:
    return orlop.Runtime.compose(FakePlatform(kernel), [*BUILT_IN, *plugins], **options)


PLANNING = ("orlop_adjust", "orlop_validate", "orlop_plan")
NOTIFIED = ("orlop_created", "orlop_started", "orlop_deleted")
IDENTITY = "orlop_plugin"
"""Asked when a plugin is loaded, whose faults are in one report with those of others."""

ASKED = tuple(hook for hook in SPECS if hook not in {IDENTITY, *NOTIFIED})
"""Hooks that somebody asks on the way of a container's life: all others of the contract."""


def commands(runtime: orlop.Runtime) -> None:
    warnings: list[str] = []
    runtime.composition.hooks.commands(warnings.append)
    if warnings:
        raise PluginError(warnings[0], plugin=bad.NAME)


def started(runtime: orlop.Runtime) -> orlop.Container:
    box = runtime.create("box", CONFIG)
    box.start()
    return box


def restored(runtime: orlop.Runtime) -> None:
    started(runtime).checkpoint("/images")
    runtime.restore("box", CONFIG, "/images")


REACHES: dict[str, Callable[[orlop.Runtime], object]] = {
    "orlop_platform": lambda _: None,  # asked when a runtime is composed, as the next two are
    "orlop_handles": lambda _: None,
    "orlop_features": lambda _: None,
    "orlop_adjust": lambda runtime: runtime.create("box", CONFIG),
    "orlop_validate": lambda runtime: runtime.create("box", CONFIG),
    "orlop_remark": lambda runtime: runtime.check(CONFIG),
    "orlop_plan": lambda runtime: runtime.create("box", CONFIG),
    "orlop_update": lambda runtime: started(runtime).update({"pids": {"limit": 7}}),
    "orlop_stats": lambda runtime: started(runtime).stats(),
    "orlop_pause": lambda runtime: started(runtime).pause(),
    "orlop_resume": lambda runtime: [act() for box in [started(runtime)] for act in (box.pause, box.resume)],
    "orlop_signal": lambda runtime: started(runtime).kill("TERM"),
    "orlop_ps": lambda runtime: started(runtime).processes(),
    "orlop_checkpoint": lambda runtime: started(runtime).checkpoint("/images"),
    "orlop_restore": restored,
    "orlop_commands": commands,
}
"""What lets the engine come to call each hook. A hook that is new to the contract needs a line here."""


def reach_with(plugin: object, hook: str, kernel: FakeKernel, options: dict[str, Any]) -> None:
    if hook == "orlop_platform":  # nobody is asked for a platform that is handed over
        orlop.Runtime.compose("fake", [*BUILT_IN, plugin], **options)
    REACHES[hook](compose(kernel, plugin, **options))


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
