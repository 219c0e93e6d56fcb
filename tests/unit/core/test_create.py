"""Create: bundles, refusals, failures and what is undone."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any

import pytest
from tests.unit.core.conftest import Compose
from tests.unit.core.stub import Host, adjuster, config, gone, hooks

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
    StepError,
    UsageError,
)
from orlop_hookspecs.hooks.capability import Adjustment


def _fifo(path: Path) -> int:
    os.mkfifo(path)
    return 0


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
def test_bad_bundles_change_nothing(  # noqa: PLR0913, PLR0917 - a table of cases
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
