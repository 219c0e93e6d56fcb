"""Checkpoint and restore as core sees them: what is asked, in which order, and what is left of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from tests.unit.core.stub import Basics, Crash, Groups, Host, config, hooks

from orlop import Container, Runtime
from orlop.aio import Runtime as AsyncRuntime
from orlop.lifecycle.delete import delete
from orlop_hookspecs.checkpoint import CheckpointOptions
from orlop_hookspecs.errors import (
    CompositionError,
    ConfigError,
    ContainerExistsError,
    ContainerNotFoundError,
    HookError,
    PluginError,
    StepError,
    UsageError,
)
from orlop_hookspecs.hooks import hookimpl
from orlop_hookspecs.steps import SetHostname, Step


def started(runtime: Runtime, host: Host, **changes: Any) -> Container:
    container = runtime.create("box", config(**changes))
    container.start()
    host.calls.clear()
    return container


def test_a_checkpoint_ends_and_deletes_the_container(runtime: Runtime, host: Host) -> None:
    container = started(runtime, host)
    container.checkpoint("/images")
    assert host.calls[0] == "checkpoint DumpProcesses"
    assert host.processes == {}
    assert host.things == set()
    with pytest.raises(ContainerNotFoundError):
        runtime.get("box")


@pytest.mark.parametrize("flag", ["leave_running", "pre_dump"])
def test_a_container_that_is_left_running_goes_on(runtime: Runtime, host: Host, flag: str) -> None:
    container = started(runtime, host)
    container.checkpoint("/images", **{flag: True})
    assert container.status == "running"
    container.delete(force=True)
    assert host.things == set()


def test_poststop_hooks_run_after_a_checkpoint(runtime: Runtime, host: Host) -> None:
    container = started(runtime, host, **hooks(poststop="/bin/stop"))
    container.checkpoint("/images")
    assert [kind for kind, _ in host.hooks] == ["poststop"]


def test_a_checkpoint_that_fails_leaves_the_container(runtime: Runtime, host: Host) -> None:
    container = started(runtime, host)
    host.fail["checkpoint DumpProcesses"] = StepError("criu failed")
    with pytest.raises(StepError) as caught:
        container.checkpoint("/images")
    assert (caught.value.act, caught.value.container) == ("checkpoint", "box")
    assert container.status == "running"
    assert host.things


def test_without_a_plugin_nothing_can_be_written(compose: Callable[..., Runtime], host: Host) -> None:
    class Few(Groups):
        orlop_checkpoint = None  # type: ignore[assignment]
        orlop_restore = None  # type: ignore[assignment]

    runtime = compose(plugins=[Basics(), Few()])
    container = started(runtime, host)
    with pytest.raises(CompositionError, match="no active plugin can checkpoint a container"):
        container.checkpoint("/images")
    assert container.status == "running"
    with pytest.raises(CompositionError, match="no active plugin can restore a container"):
        runtime.restore("other", config(), "/images")
    assert [one.id for one in runtime.list()] == ["box"]


def test_a_plugin_with_a_step_of_another_phase_is_named(compose: Callable[..., Runtime], host: Host) -> None:
    class Wrong(Groups):
        @hookimpl
        def orlop_checkpoint(self, checkpoint: CheckpointOptions) -> list[Step]:
            del checkpoint
            return [SetHostname(because="", name="x")]

    container = started(compose(plugins=[Basics(), Wrong()]), host)
    with pytest.raises(PluginError, match="SetHostname is no step of phase checkpoint") as caught:
        container.checkpoint("/images")
    assert caught.value.plugin == "groups"


BAD: dict[str, dict[str, Any]] = {
    "unknown option": {"wrong": 1},
    "the parent path is not relative to the image path": {"parent": "/before"},
    "lazy pages need a page server": {"lazy_pages": True},
    "a pre-dump writes the memory that lazy pages leave out": {
        "lazy_pages": True,
        "page_server": "127.0.0.1:9",
        "pre_dump": True,
    },
    "a status descriptor is told of lazy pages only": {"status_fd": 1},
    "a page server is ADDRESS:PORT": {"page_server": "127.0.0.1:99999"},
    "invalid manage-cgroups-mode; one of ignore, full, strict, soft is expected": {"manage_cgroups": "hard"},
    "a namespace of this type cannot be left empty; network can": {"empty_ns": ("ipc",)},
}


@pytest.mark.parametrize("words", BAD)
def test_options_that_cannot_be_meant(runtime: Runtime, host: Host, words: str) -> None:
    container = started(runtime, host)
    with pytest.raises(UsageError) as caught:
        container.checkpoint("/images", **BAD[words])
    assert words in str(caught.value)
    assert host.calls == []


def test_a_restore_makes_a_container_like_any_other(runtime: Runtime, host: Host) -> None:
    container = runtime.restore("box", config(), "/images", work="logs")
    assert container.status == "running"
    assert container.record().phase == "created"
    assert host.calls == [
        "sandbox",
        "host:CreateCgroup",
        "restore RestoreProcesses",
        "clone",
        "restored",
        "host-with-pid:JoinCgroup",
        "commit",
    ]
    container.kill("KILL")
    container.delete(force=True)
    assert host.things == set()


def test_the_runtimes_hooks_run_before_the_processes_do(runtime: Runtime, host: Host) -> None:
    every = hooks(
        prestart="/a", createRuntime="/b", createContainer="/c", startContainer="/d", poststart="/e"
    )
    runtime.restore("box", config(**every), "/images")
    assert [kind for kind, _ in host.hooks] == ["prestart", "createRuntime"]
    begun = [call for call in host.calls if call.startswith("host-with-pid:RunHook") or call == "restored"]
    assert begun == ["host-with-pid:RunHook", "host-with-pid:RunHook", "restored"]


def test_a_hook_that_fails_ends_the_restore(runtime: Runtime, host: Host) -> None:
    with pytest.raises(HookError):
        runtime.restore("box", config(**hooks(createRuntime="/fail", poststop="/stop")), "/images")
    assert host.processes == {}
    assert host.things == set()
    assert [kind for kind, _ in host.hooks] == ["createRuntime", "poststop"]
    assert runtime.list() == []


def test_what_cannot_be_restored_leaves_nothing(runtime: Runtime, host: Host) -> None:
    host.fail["restored"] = StepError("criu failed")
    with pytest.raises(StepError) as caught:
        runtime.restore("box", config(), "/images")
    assert (caught.value.act, caught.value.container) == ("restore", "box")
    assert host.processes == {}
    assert host.things == set()
    with pytest.raises(ConfigError, match="a config without a process"):
        runtime.restore("box", config(process=None), "/images")
    runtime.create("box", config())
    with pytest.raises(ContainerExistsError):
        runtime.restore("box", config(), "/images")


def test_a_restore_that_is_killed_anywhere_leaves_what_a_forced_delete_removes(
    compose: Callable[..., Runtime], host: Host
) -> None:
    runtime = compose()
    runtime.restore("box", config(), "/images").delete(force=True)
    ticks, crashes = host.ticks, 0
    for number in range(1, ticks + 1):
        host.ticks, host.crash_at = 0, number
        runtime = compose()
        try:
            runtime.restore("box", config(), "/images")
        except Crash:
            crashes += 1
        host.crash_at = None
        delete(compose().site, "box", force=True)
        assert host.processes == {}, number
        assert host.things == set(), number
    assert crashes


def test_asyncio(compose: Callable[..., Runtime]) -> None:
    async def live() -> list[str]:
        runtime = AsyncRuntime(compose())
        container = await runtime.restore("box", config(), "/images")
        await container.checkpoint("/images", leave_running=True)
        before = [one.id for one in await runtime.list()]
        await container.checkpoint("/images")
        return before + [one.id for one in await runtime.list()]

    assert asyncio.run(live()) == ["box"]
