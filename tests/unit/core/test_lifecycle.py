"""Start and delete: hooks, failures, leftovers and records that cannot be trusted."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from tests.unit.core.conftest import Compose
from tests.unit.core.stub import Host, config, gone, hooks

from orlop import Runtime
from orlop_hookspecs.errors import (
    ConfigError,
    ContainerExistsError,
    ContainerNotFoundError,
    HookError,
    StepError,
    StoreError,
)


def test_what_hooks_are_told(runtime: Runtime, host: Host) -> None:
    container = runtime.create(
        "box", hooks(createRuntime="/a", createContainer="/b", poststart="/c", poststop="/d")
    )
    container.start()
    container.kill(9)
    container.delete()
    told = {kind: json.loads(state) for kind, state in host.hooks}
    assert [kind for kind, _ in host.hooks] == ["createRuntime", "createContainer", "poststart", "poststop"]
    assert told["createRuntime"]["status"] == "creating"
    assert told["createRuntime"]["pid"] == 101
    assert told["createContainer"]["status"] == "creating"
    assert "pid" not in told["createContainer"]  # the process fills in what it is inside the container
    assert (told["poststart"]["status"], told["poststart"]["pid"]) == ("running", 101)
    assert told["poststop"]["status"] == "stopped"
    assert "pid" not in told["poststop"]
    assert all(state["ociVersion"] == "1.3.0" and state["id"] == "box" for state in told.values())


def test_a_failing_poststart_hook_stops_the_container_and_continues_at_step_12(
    runtime: Runtime, host: Host, warnings: list[str]
) -> None:
    container = runtime.create("box", hooks(poststart="/fail", poststop="/after"))
    with pytest.raises(HookError) as caught:
        container.start()
    assert caught.value.act == "start"
    assert caught.value.container == "box"
    assert host.calls[-4:] == ["hook:poststart", "terminate", "undo:cgroup", "hook:poststop"]
    gone(host, runtime)
    assert warnings == []


def test_a_failing_start_container_hook_continues_at_step_12(runtime: Runtime, host: Host) -> None:
    container = runtime.create("box", hooks(poststop="/after"))
    host.fail["start"] = HookError("startContainer hook failed")
    with pytest.raises(HookError):
        container.start()
    gone(host, runtime)
    assert [kind for kind, _ in host.hooks] == ["poststop"]


def test_a_program_that_cannot_be_run_leaves_a_stopped_container(runtime: Runtime, host: Host) -> None:
    container = runtime.create("box", config())
    host.fail["start"] = StepError("executable file not found in $PATH", errno=errno.ENOENT)
    with pytest.raises(StepError) as caught:
        container.start()
    assert caught.value.act == "start"
    host.processes.clear()
    assert container.status == "stopped"
    container.delete()
    gone(host, runtime)


def test_a_container_without_a_process_can_be_created_but_not_started(runtime: Runtime, host: Host) -> None:
    container = runtime.create("box", config(process=None))
    host.calls.clear()
    with pytest.raises(ConfigError, match="has no process") as caught:
        container.start()
    assert caught.value.pointer == "/process"
    assert host.calls == []
    assert container.status == "created"
    container.delete(force=True)
    gone(host, runtime)


def test_what_fails_while_a_failed_start_is_cleaned_up_is_kept(runtime: Runtime, host: Host) -> None:
    container = runtime.create("box", hooks(poststart="/fail"))
    host.fail["undo:cgroup"] = StepError("busy")
    with pytest.raises(HookError) as caught:
        container.start()
    assert "clean-up failed as well: busy" in str(caught.value)
    assert container.status == "stopped"
    host.fail.clear()
    container.delete()
    gone(host, runtime)


def test_failing_poststop_hooks_are_warnings_and_the_others_run(
    runtime: Runtime, host: Host, warnings: list[str]
) -> None:
    container = runtime.create("box", config(hooks={"poststop": [{"path": "/fail"}, {"path": "/after"}]}))
    container.delete(force=True)
    assert [kind for kind, _ in host.hooks] == ["poststop", "poststop"]
    assert warnings == ["poststop hook of container box failed: hook failed: exit status 1"]
    gone(host, runtime)


def test_deleting_a_created_container_by_force_ends_its_process(runtime: Runtime, host: Host) -> None:
    runtime.create("box", config()).delete(force=True)
    assert host.calls[-2:] == ["terminate", "undo:cgroup"]
    gone(host, runtime)


def test_one_failing_undo_does_not_keep_the_others_from_being_undone(runtime: Runtime, host: Host) -> None:
    container = runtime.create("box", config())
    slot = runtime.site.store.open("box")
    slot.append("journal", b'{"undo":"mount","data":{"path":"/m"}}\n')
    slot.close()
    host.fail["undo:mount"] = StepError("busy")
    with pytest.raises(StepError, match="busy"):
        container.delete(force=True)
    assert host.things == set()
    host.fail.clear()
    host.calls.clear()
    container.delete()
    assert host.calls == ["undo:mount"]  # what has been undone is not undone again
    gone(host, runtime)


def test_a_leftover_directory(runtime: Runtime, host: Host, root: str) -> None:
    os.makedirs(f"{root}/box", 0o700)
    with pytest.raises(ContainerNotFoundError, match="does not exist"):
        runtime.get("box")
    with pytest.raises(ContainerExistsError):
        runtime.create("box", config())
    from orlop.lifecycle.delete import delete

    with pytest.raises(ContainerNotFoundError, match="does not exist"):
        delete(runtime.site, "box")
    gone(host, runtime)
    os.makedirs(f"{root}/box", 0o700)
    delete(runtime.site, "box", force=True)
    gone(host, runtime)


def test_a_container_whose_record_was_lost_is_undone_by_its_journal(
    runtime: Runtime, compose: Compose, host: Host, root: str
) -> None:
    runtime.create("box", config())
    os.unlink(f"{root}/box/record.json")
    again = compose()
    assert again.get("box").record().pid == 101
    again.get("box").delete(force=True)
    gone(host, again)


FORGERIES: list[Mapping[str, Any]] = [
    {"record": 2},
    {"id": "other"},
    {"pid": 1},
    {"pid": -1},
    {"pid": 2**31},
    {"pid": True},
    {"pid": "7"},
    {"start_time": None},
    {"bundle": "relative"},
    {"bundle": "/a/../../b"},
    {"rootfs": "/a\0b"},
    {"phase": "running"},
    {"creator": [1]},
    {"creator": [1, "x"]},
    {"hooks": {"prestart": []}},
    {"hooks": {"poststop": "x"}},
    {"annotations": {"a": 1}},
    {"kernel": []},
    {"live": None},
]


@pytest.mark.parametrize("forgery", FORGERIES, ids=str)
def test_forged_records_are_refused_by_every_operation(
    runtime: Runtime, compose: Compose, host: Host, root: str, forgery: Mapping[str, Any]
) -> None:
    runtime.create("box", config())
    path = Path(root, "box", "record.json")
    path.write_text(json.dumps({**json.loads(path.read_text()), **forgery}))
    again = compose()
    host.calls.clear()
    from orlop import Container

    container = Container(again, "box")
    for act in (container.state, container.start, container.kill, container.delete):
        with pytest.raises(StoreError):
            act()
    assert host.calls == []
    assert path.exists()


def test_a_container_that_cannot_be_loaded_does_not_hide_the_others(
    runtime: Runtime, compose: Compose, root: str, warnings: list[str]
) -> None:
    runtime.create("a", config())
    runtime.create("b", config())
    Path(root, "a", "record.json").write_text("{")
    os.mkdir(f"{root}/c")
    assert [container.id for container in compose().list()] == ["b"]
    assert len(warnings) == 1
    assert warnings[0].startswith("load container a: ")
