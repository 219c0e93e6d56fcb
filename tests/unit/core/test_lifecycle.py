"""Create, start, kill and delete: what happens in which order, and what when something fails."""

from __future__ import annotations

import errno
import json
import os
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from tests.unit.core.conftest import Compose
from tests.unit.core.stub import Host, StubKernel, adjuster, config, info

from orlop import Runtime
from orlop_hookspecs.errors import (
    BundleError,
    ConfigError,
    ContainerExistsError,
    ContainerNotFoundError,
    DocumentError,
    HookError,
    InvalidIdError,
    OrlopError,
    PluginError,
    StateError,
    StepError,
    StoreError,
    UsageError,
)
from orlop_hookspecs.hooks import hookimpl
from orlop_hookspecs.hooks.capability import Adjustment
from orlop_hookspecs.hooks.identity import PluginInfo
from orlop_hookspecs.kernel import LiveKernel
from orlop_hookspecs.record import Record


def hooks(**kinds: str) -> dict[str, Any]:
    """Return a config with one hook of each kind, at the given path."""
    return config(hooks={kind: [{"path": path}] for kind, path in kinds.items()})


def _fifo(path: Path) -> int:
    os.mkfifo(path)
    return 0


def gone(host: Host, runtime: Runtime) -> None:
    assert host.processes == {}
    assert host.things == set()
    assert runtime.site.store.list() == []


def test_a_whole_life(runtime: Runtime, host: Host) -> None:
    container = runtime.create("box", config(annotations={"a": "b"}))
    assert host.calls == [
        "sandbox",
        "host:CreateCgroup",
        "clone",
        "host-with-pid:JoinCgroup",
        "build",
        "commit",
    ]
    state = container.state()
    assert state == {
        "ociVersion": "1.3.0",
        "id": "box",
        "status": "created",
        "pid": 101,
        "bundle": os.getcwd(),
        "annotations": {"a": "b"},
    }
    container.start()
    assert container.status == "running"
    assert container.pid == 101
    assert container.processes() == [101]
    assert [one.id for one in runtime.list()] == ["box"]
    container.kill()
    assert host.calls[-1] == "signal:15"
    assert container.status == "stopped"
    assert "pid" not in container.state()
    assert container.pid == 0
    assert container.processes() == []
    assert container.wait() == 143
    container.delete()
    gone(host, runtime)
    assert host.calls[-1] == "undo:cgroup"
    for act in (container.state, container.start, container.kill, container.delete, container.wait):
        with pytest.raises(ContainerNotFoundError, match="container does not exist"):
            act()
    container.delete(force=True)


def test_the_state_with_what_engines_expect(runtime: Runtime) -> None:
    container = runtime.create("box", config())
    assert container.extended_state() == {
        "ociVersion": "1.3.0",
        "id": "box",
        "pid": 101,
        "status": "created",
        "bundle": os.getcwd(),
        "rootfs": "/rootfs",
        "created": "2025-01-02T03:04:05.000000006Z",
        "owner": os.geteuid(),
    }
    container.kill(9)
    assert container.extended_state()["pid"] == 0


def test_the_state_is_of_the_state_documents_version(runtime: Runtime) -> None:
    assert runtime.create("box", config(ociVersion="1.0.2")).state()["ociVersion"] == "1.3.0"


def test_the_effective_config_and_its_owners_are_kept(compose: Compose) -> None:
    runtime = compose(adjuster("vendor", Adjustment(set={"/hostname": "theirs"})))
    directory = Path(runtime.create("box", config()).record().directory)
    assert json.loads((directory / "config.json").read_bytes())["hostname"] == "theirs"
    assert json.loads((directory / "owners.json").read_bytes()) == {"/hostname": "vendor"}
    directory = Path(compose().create("plain", config()).record().directory)
    assert json.loads((directory / "config.json").read_bytes()) == config()
    assert not (directory / "owners.json").exists()


def test_a_bundle_on_disk(runtime: Runtime, tmp_path: Path) -> None:
    bundle = tmp_path / "bundle"
    (bundle / "rootfs").mkdir(parents=True)
    (bundle / "config.json").write_text(json.dumps(config(root={"path": "rootfs"})))
    container = runtime.create("box", str(bundle) + "/../bundle/")
    assert container.state()["bundle"] == str(bundle)
    assert container.record().rootfs == str(bundle / "rootfs")
    (bundle / "config.json").write_text("{}")
    container.start()
    assert container.status == "running"


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda _: None, BundleError, "no such directory"),
        (lambda b: b.mkdir(), BundleError, "JSON specification file config.json not found"),
        (lambda b: b.write_text(""), BundleError, "not a directory"),
        (lambda b: (b.mkdir(), (b / "config.json").mkdir()), DocumentError, "regular file"),
        (lambda b: (b.mkdir(), _fifo(b / "config.json")), DocumentError, "regular file"),
        (lambda b: (b.mkdir(), (b / "config.json").write_text("{")), DocumentError, "not a JSON document"),
        (
            lambda b: (b.mkdir(), (b / "config.json").write_text(json.dumps(config(root={"path": "none"})))),
            BundleError,
            "root filesystem",
        ),
        (
            lambda b: (
                b.mkdir(),
                (b / "config.json").write_text(json.dumps(config(root={"path": "config.json"}))),
            ),
            BundleError,
            "root filesystem is not a directory",
        ),
        (
            lambda b: (b.mkdir(), (b / "config.json").write_text(json.dumps(config(ociVersion="2.0.0")))),
            DocumentError,
            "unsupported version",
        ),
    ],
)
def test_bad_bundles_change_nothing(  # noqa: PLR0913, PLR0917
    runtime: Runtime, host: Host, tmp_path: Path, root: str, make: Any, error: type[OrlopError], message: str
) -> None:
    bundle = tmp_path / "bundle"
    make(bundle)
    with pytest.raises(error, match=message) as caught:
        runtime.create("box", bundle)
    assert caught.value.act == "create"
    assert caught.value.container == "box"
    assert not os.path.exists(root)
    assert host.calls == []


def test_refused_configs_change_nothing(runtime: Runtime, host: Host, root: str) -> None:
    for bad, error in (
        (config(linux={"namespaces": [{"type": "user"}]}), ConfigError),
        (config(linux={"seccomp": {"defaultAction": "SCMP_ACT_ALLOW"}}), ConfigError),
        (config(linux={"cgroupsPath": "../x"}), ConfigError),
        (config(hostname=7), DocumentError),
    ):
        with pytest.raises(error):
            runtime.create("box", bad)
    with pytest.raises(InvalidIdError):
        runtime.create("../box", config())
    with pytest.raises(UsageError):
        runtime.create("box", config(), no_such_option=True)
    assert not os.path.exists(root)
    assert host.calls == []


def test_a_taken_identifier_leaves_the_owner_alone(runtime: Runtime, host: Host) -> None:
    first = runtime.create("box", config())
    calls = list(host.calls)
    with pytest.raises(ContainerExistsError, match="container with given ID already exists"):
        runtime.create("box", config())
    assert host.calls == calls
    assert first.status == "created"


@pytest.mark.parametrize(
    "where", ["sandbox", "host:CreateCgroup", "clone", "host-with-pid:JoinCgroup", "build", "commit"]
)
def test_a_failed_creation_is_undone(runtime: Runtime, host: Host, where: str) -> None:
    host.fail[where] = StepError("no", errno=errno.EPERM)
    with pytest.raises(StepError) as caught:
        runtime.create("box", hooks(poststop="/after"))
    assert caught.value.act == "create"
    assert caught.value.container == "box"
    assert caught.value.cleanup is None
    gone(host, runtime)
    assert host.hooks == []
    if ":" in where:
        assert caught.value.plugin == "groups"
        assert where.partition(":")[2] in caught.value.step
    host.fail.clear()
    assert runtime.create("box", config()).status == "created"


def test_a_plain_oserror_of_a_kernel_becomes_a_step_error(runtime: Runtime, host: Host) -> None:
    for where in ("host:CreateCgroup", "clone"):
        host.fail[where] = PermissionError(errno.EPERM, "Operation not permitted")
        with pytest.raises(StepError, match="operation not permitted") as caught:
            runtime.create("box", config())
        assert caught.value.errno == errno.EPERM
        gone(host, runtime)
        host.fail.clear()


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt, SystemExit, ZeroDivisionError])
def test_interrupts_and_bugs_are_cleaned_up_after(
    runtime: Runtime, host: Host, interrupt: type[BaseException]
) -> None:
    host.fail["build"] = interrupt()  # type: ignore[assignment]
    with pytest.raises(interrupt):
        runtime.create("box", config())
    gone(host, runtime)


def test_a_failed_clean_up_is_kept_beside_the_first_error_and_can_be_repeated(
    runtime: Runtime, host: Host
) -> None:
    host.fail["build"] = StepError("first")
    host.fail["undo:cgroup"] = StepError("second")
    with pytest.raises(StepError, match="first") as caught:
        runtime.create("box", config())
    assert isinstance(caught.value.cleanup, StepError)
    assert "clean-up failed as well: second" in str(caught.value)
    assert host.things == {"cgroup:/box"}
    with pytest.raises(ContainerExistsError):
        runtime.create("box", config())
    with pytest.raises(StepError, match="second") as caught:
        runtime.get("box").delete(force=True)
    assert caught.value.act == "delete"
    host.fail.clear()
    host.runtime_alive = False
    assert runtime.get("box").status == "stopped"
    runtime.get("box").delete()
    gone(host, runtime)


@pytest.mark.parametrize("kind", ["prestart", "createRuntime", "createContainer"])
def test_a_failing_hook_of_create_continues_at_step_12(
    runtime: Runtime, host: Host, warnings: list[str], kind: str
) -> None:
    with pytest.raises(HookError) as caught:
        runtime.create("box", hooks(**{kind: "/fail", "poststop": "/after"}))
    assert caught.value.act == "create"
    gone(host, runtime)
    assert [name for name, _ in host.hooks] == [kind, "poststop"]
    assert json.loads(host.hooks[-1][1])["status"] == "stopped"
    assert warnings == []


def test_poststop_hooks_run_when_a_later_step_fails_after_a_hook_has_run(
    runtime: Runtime, host: Host
) -> None:
    host.fail["build"] = StepError("no")
    with pytest.raises(StepError):
        runtime.create("box", hooks(createRuntime="/ok", poststop="/after"))
    assert [name for name, _ in host.hooks] == ["createRuntime", "poststop"]


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
    container.delete()
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
    container.delete()
    assert [kind for kind, _ in host.hooks] == ["poststop", "poststop"]
    assert warnings == ["poststop hook of container box failed: hook failed: exit status 1"]
    gone(host, runtime)


def test_deleting_a_created_container_ends_its_process(runtime: Runtime, host: Host) -> None:
    runtime.create("box", config()).delete()
    assert host.calls[-2:] == ["terminate", "undo:cgroup"]
    gone(host, runtime)


def test_one_failing_undo_does_not_keep_the_others_from_being_undone(runtime: Runtime, host: Host) -> None:
    container = runtime.create("box", config())
    slot = runtime.site.store.open("box")
    slot.append("journal", b'{"undo":"mount","data":{"path":"/m"}}\n')
    slot.close()
    host.fail["undo:mount"] = StepError("busy")
    with pytest.raises(StepError, match="busy"):
        container.delete()
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
    assert container.record().live == ["orlop_update"]


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
    runtime.create("box", config()).delete()
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
