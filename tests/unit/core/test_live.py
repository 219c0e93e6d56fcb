"""What is done to a container that exists: signals, pauses, updates, and plugins that take part."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from tests.unit.core.conftest import Compose
from tests.unit.core.stub import Host, config, gone, info

from orlop import Runtime
from orlop_hookspecs.errors import (
    ConfigError,
    DocumentError,
    PluginError,
    StateError,
    StepError,
    UsageError,
)
from orlop_hookspecs.hooks import hookimpl
from orlop_hookspecs.hooks.identity import PluginInfo
from orlop_hookspecs.kernel import LiveKernel
from orlop_hookspecs.record import Record


def test_signals(runtime: Runtime, host: Host) -> None:
    container = runtime.create("box", config())
    container.kill(0)
    container.kill("RTMIN+3", everything=True)
    assert host.calls[-2:] == ["signal:0", "signal:37:all"]
    with pytest.raises(StateError, match="container not running"):
        container.kill(9)
    container.kill(9, everything=True)
    for bad in ("NOPE", "SIG", "", "99", -1, 65, "SIG_DFL", "RTMIN+99", "TERM+1", "9 ", "1" * 400):
        with pytest.raises(UsageError, match="unknown signal"):
            container.kill(bad)


def test_signal_names() -> None:
    from orlop.lifecycle.signals import parse_signal

    for text, number in (
        ("9", 9),
        ("KILL", 9),
        ("SIGKILL", 9),
        ("sigterm", 15),
        ("0", 0),
        ("RTMAX-1", 63),
        (64, 64),
    ):
        assert parse_signal(text) == number


def test_pause_and_resume(runtime: Runtime, host: Host) -> None:
    container = runtime.create("box", config())
    container.start()
    container.pause()
    assert container.status == "paused"
    assert container.pid == 101
    container.resume()
    assert container.status == "running"
    assert host.calls[-2:] == ["freeze:True", "freeze:False"]


def test_update_plans_and_applies(runtime: Runtime, host: Host) -> None:
    container = runtime.create("box", config())
    container.update({"memory": {"limit": 1 << 20}})
    assert host.calls[-1] == "apply WriteCgroup"
    container.update({})
    with pytest.raises(ConfigError, match="no active plugin handles") as caught:
        container.update({"memory": {"limit": 1}, "cpu": {"shares": 2}})
    assert caught.value.pointer == "/linux/resources/cpu"
    with pytest.raises(ConfigError, match="no active plugin can change"):
        container.update({"memory": {"swap": 1}})
    with pytest.raises(DocumentError):
        container.update(b'{"memory": {"limit": "1"}}')


class Live:
    """Takes part in everything that happens to a container that exists."""

    def __init__(self, name: str, log: list[str], *, fail: str = "") -> None:
        self._name = name
        self._log = log
        self._fail = fail

    def _note(self, what: str) -> None:
        self._log.append(f"{self._name}:{what}")
        if what == self._fail:
            raise ValueError(what)

    @hookimpl
    def orlop_plugin(self) -> PluginInfo:
        return info(self._name)

    @hookimpl
    def orlop_pause(self, record: Record) -> None:
        self._note("pause")

    @hookimpl
    def orlop_resume(self, kernel: LiveKernel) -> None:
        self._note("resume")

    @hookimpl
    def orlop_signal(self, number: int) -> int | None:
        self._note("signal")
        return 10 if number == 15 and self._name == "b" else None

    @hookimpl
    def orlop_ps(self, record: Record) -> list[int] | None:
        return [9, 3] if self._name == "b" else None

    @hookimpl
    def orlop_stats(self, record: Record) -> Mapping[str, Any]:
        return {self._name: 1}

    @hookimpl
    def orlop_created(self, state: Mapping[str, Any]) -> None:
        self._note(f"created {state['status']}")

    @hookimpl
    def orlop_started(self, state: Mapping[str, Any]) -> None:
        self._note(f"started {state['status']}")

    @hookimpl
    def orlop_deleted(self, state: Mapping[str, Any]) -> None:
        self._note(f"deleted {state['status']}")


def test_plugins_take_part_in_a_living_container(compose: Compose, host: Host) -> None:
    log: list[str] = []
    runtime = compose(Live("b", log), Live("a", log))
    container = runtime.create("box", config())
    assert "orlop_signal" in container.record().live
    container.start()
    container.pause()
    container.resume()
    assert container.processes() == [3, 9]
    assert container.stats() == {"pids": {"current": 1}, "a": 1, "b": 1}
    container.kill()
    assert host.calls[-1] == "signal:10"
    container.delete()
    assert log == [
        *("a:created created", "b:created created", "a:started running", "b:started running"),
        *("a:pause", "b:pause", "b:resume", "a:resume", "a:signal", "b:signal"),
        *("a:deleted stopped", "b:deleted stopped"),
    ]


def test_no_plugin_is_asked_when_none_listens(runtime: Runtime) -> None:
    container = runtime.create("box", config())
    assert container.record().live == ["orlop_update", "orlop_checkpoint", "orlop_restore"]


def test_a_plugin_that_objects_to_a_pause(compose: Compose, host: Host) -> None:
    log: list[str] = []
    container = compose(Live("a", log), Live("b", log, fail="pause"), Live("c", log)).create("box", config())
    log.clear()
    with pytest.raises(PluginError, match="orlop_pause raised ValueError"):
        container.pause()
    assert log == ["a:pause", "b:pause", "a:resume"]
    assert "freeze:True" not in host.calls


def test_a_kernel_that_cannot_pause_lets_the_plugins_resume(compose: Compose, host: Host) -> None:
    log: list[str] = []
    container = compose(Live("a", log)).create("box", config())
    host.fail["freeze:True"] = StepError("no")
    with pytest.raises(StepError):
        container.pause()
    assert log[-2:] == ["a:pause", "a:resume"]


def test_a_plugin_that_fails_while_resuming_is_reported_and_the_container_runs(compose: Compose) -> None:
    log: list[str] = []
    container = compose(Live("a", log), Live("b", log, fail="resume")).create("box", config())
    container.start()
    container.pause()
    with pytest.raises(PluginError):
        container.resume()
    assert log[-2:] == ["b:resume", "a:resume"]
    assert container.status == "running"


def test_a_plugin_that_fails_over_a_signal_keeps_it_from_being_sent(compose: Compose, host: Host) -> None:
    container = compose(Live("a", [], fail="signal")).create("box", config())
    with pytest.raises(PluginError):
        container.kill()
    assert not any(call.startswith("signal") for call in host.calls)


def test_notifications_that_fail_are_warnings(compose: Compose, warnings: list[str], host: Host) -> None:
    runtime = compose(Live("a", [], fail="created created"), Live("b", [], fail="deleted stopped"))
    runtime.create("box", config()).delete(force=True)
    assert [warning.split(" ")[0] for warning in warnings] == ["orlop_created", "orlop_deleted"]
    gone(host, runtime)


def test_a_failed_creation_is_told_as_deleted(compose: Compose, host: Host) -> None:
    log: list[str] = []
    host.fail["build"] = StepError("no")
    with pytest.raises(StepError):
        compose(Live("a", log)).create("box", config())
    assert log == ["a:deleted stopped"]


def test_two_plugins_with_one_statistic(compose: Compose) -> None:
    class Twin(Live):
        @hookimpl
        def orlop_stats(self, record: Record) -> Mapping[str, Any]:
            return {"a": 2}

    container = compose(Live("a", []), Twin("b", [])).create("box", config())
    with pytest.raises(PluginError, match="plugin a reports a as well"):
        container.stats()
