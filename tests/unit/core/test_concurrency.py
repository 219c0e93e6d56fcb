"""Several threads, and hooks that call back: operations on one container never mix."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

import pytest
from tests.unit.core.stub import Host, StubKernel, config, gone, hooks

from orlop import Runtime
from orlop_hookspecs.errors import (
    ContainerExistsError,
    ContainerNotFoundError,
    StateError,
)


def test_many_threads_create_one_identifier(runtime: Runtime, host: Host) -> None:
    outcomes: list[str] = []
    barrier = threading.Barrier(6)

    def work() -> None:
        barrier.wait()
        try:
            runtime.create("box", config())
            outcomes.append("made")
        except ContainerExistsError:
            outcomes.append("taken")

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["made", *["taken"] * 5]
    assert len(host.processes) == 1


def test_many_threads_start_and_delete_one_container(runtime: Runtime, host: Host) -> None:
    container = runtime.create("box", config())
    started: list[bool] = []
    barrier = threading.Barrier(8)

    def work(number: int) -> None:
        barrier.wait()
        try:
            if number % 2:
                container.delete(force=True)
            else:
                container.start()
                started.append(True)
        except (StateError, ContainerNotFoundError):
            pass

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(started) <= 1
    assert host.calls.count("undo:cgroup") == 1
    gone(host, runtime)


def test_a_hook_may_ask_for_the_state_and_kill_while_start_waits(
    runtime: Runtime, host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []

    def run_hook(_: StubKernel, hook: Mapping[str, Any], state: bytes) -> None:
        seen.append(runtime.get("box").status)
        runtime.get("box").kill(9)
        seen.append(runtime.get("box").status)

    monkeypatch.setattr(StubKernel, "run_hook", run_hook)
    runtime.create("box", hooks(poststart="/x")).start()
    assert seen == ["running", "stopped"]


def test_a_hook_of_create_may_ask_for_the_state(runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.unit.core.stub import StubSandbox

    seen: list[Mapping[str, Any]] = []
    monkeypatch.setattr(
        StubSandbox, "host_with_pid", lambda *_: seen.append(runtime.get("box").extended_state())
    )
    runtime.create("box", config())
    assert seen[0]["status"] == "creating"
