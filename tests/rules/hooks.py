"""Rules of the hooks (config.md, "POSIX-platform Hooks"; runtime.md, Lifecycle)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.rules.world import Config, World, rule

from orlop_hookspecs.errors import ContainerNotFoundError, HookError, OrlopError


def _config(bundle: Path) -> Config:
    found: Config = json.loads((bundle / "config.json").read_text())
    return found


KINDS = ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")


@rule
def hooks_run_in_the_order_of_the_lifecycle(w: World) -> None:
    bundle = w.hooked({kind: {} for kind in KINDS}, "/bin/mark-and-sleep")
    c = w.create("c", bundle=bundle)
    assert w.events(bundle) == ["prestart", "createRuntime", "createContainer"]
    c.start()
    assert w.events(bundle)[3] == "startContainer"
    w.until_output("c", "ready")
    c.kill("KILL")
    w.settle("c")
    assert sorted(w.events(bundle)[4:]) == ["poststart", "program"]
    assert "poststop" not in w.events(bundle)
    c.delete()
    assert w.events(bundle)[6:] == ["poststop"]


@rule
def hooks_of_one_kind_run_in_their_order(w: World) -> None:
    bundle = w.bundle()
    hooks = [w.hook(bundle, "createRuntime", name) for name in ("first", "second", "third")]
    config = {**_config(bundle), "hooks": {"createRuntime": hooks}}
    w.write_config(bundle, config)
    w.create("c", bundle=bundle)
    assert w.events(bundle) == ["first", "second", "third"]


@rule
def hooks_get_the_state(w: World) -> None:
    bundle = w.hooked({kind: {} for kind in KINDS}, change={"annotations": {"a": "b"}})
    c = w.create("c", bundle=bundle)
    pid = c.state()["pid"]
    c.start()
    c.delete(force=True)
    states = w.hook_states(bundle)
    assert set(states) == set(KINDS)
    for state in states.values():
        assert (state["id"], state["bundle"], state["annotations"]) == ("c", str(bundle), {"a": "b"})
        assert state["ociVersion"].startswith("1.")
    assert {kind: state["status"] for kind, state in states.items()} == {
        "prestart": "creating",
        "createRuntime": "creating",
        "createContainer": "creating",
        "startContainer": "created",
        "poststart": "running",
        "poststop": "stopped",
    }
    for kind in ("prestart", "createRuntime", "poststart"):
        assert states[kind]["pid"] == pid
    assert "pid" not in states["poststop"]


@rule
def hooks_in_the_container_see_its_own_pid(w: World) -> None:
    bundle = w.hooked({"startContainer": {}, "createContainer": {}})
    w.create("c", bundle=bundle).start()
    states = w.hook_states(bundle)
    assert states["startContainer"]["pid"] == 1
    assert states["createContainer"]["pid"] == 1


def _create_fails(w: World, kind: str) -> None:
    bundle = w.hooked({kind: {"status": 3}, "poststop": {}})
    with pytest.raises(HookError, match=f"{kind} hook 0: exit status 3"):
        w.create("c", bundle=bundle)
    assert w.events(bundle) == [kind, "poststop"]
    assert w.left() == []
    with pytest.raises(ContainerNotFoundError):
        w.runtime.get("c").state()


@rule
def a_failed_prestart_hook_fails_create(w: World) -> None:
    _create_fails(w, "prestart")


@rule
def a_failed_create_runtime_hook_fails_create(w: World) -> None:
    _create_fails(w, "createRuntime")


@rule
def a_failed_create_container_hook_fails_create(w: World) -> None:
    _create_fails(w, "createContainer")


def _start_fails(w: World, kind: str) -> None:
    bundle = w.hooked({kind: {"status": 3}, "poststop": {}})
    c = w.create("c", bundle=bundle)
    with pytest.raises(HookError, match=f"{kind} hook 0: exit status 3"):
        c.start()
    assert w.events(bundle) == [kind, "poststop"]
    assert w.left() == []


@rule
def a_failed_start_container_hook_ends_the_container(w: World) -> None:
    _start_fails(w, "startContainer")


@rule
def a_failed_poststart_hook_ends_the_container(w: World) -> None:
    _start_fails(w, "poststart")


@rule
def a_failed_poststop_hook_does_not_fail_delete(w: World) -> None:
    bundle = w.hooked({"poststop": {"status": 3}})
    c = w.create("c", bundle=bundle)
    c.delete(force=True)
    assert w.events(bundle) == ["poststop"]
    assert w.left() == []


@rule
def a_failed_hook_stops_those_after_it(w: World) -> None:
    bundle = w.bundle()
    hooks = [w.hook(bundle, "createRuntime", "first", status=1), w.hook(bundle, "createRuntime", "second")]
    w.write_config(bundle, {**_config(bundle), "hooks": {"createRuntime": hooks}})
    with pytest.raises(HookError):
        w.create("c", bundle=bundle)
    assert w.events(bundle) == ["first"]


@rule
def all_poststop_hooks_run_even_if_one_fails(w: World) -> None:
    bundle = w.bundle()
    hooks = [w.hook(bundle, "poststop", "first", status=1), w.hook(bundle, "poststop", "second")]
    w.write_config(bundle, {**_config(bundle), "hooks": {"poststop": hooks}})
    w.create("c", bundle=bundle).delete(force=True)
    assert w.events(bundle) == ["first", "second"]


@rule
def a_hook_of_the_container_that_takes_too_long_fails_in_the_same_words(w: World) -> None:
    bundle = w.hooked({"createContainer": {"sleep": 600, "timeout": 1}})
    with pytest.raises(HookError, match="createContainer hook 0: it ran out of time after 1 s"):
        w.create("c", bundle=bundle)
    assert w.left() == []


@rule
def a_hook_that_takes_too_long_fails(w: World) -> None:
    bundle = w.hooked({"createRuntime": {"sleep": 600, "timeout": 1}})
    with pytest.raises(HookError, match="createRuntime hook 0: it ran out of time after 1 s and was killed"):
        w.create("c", bundle=bundle)
    assert w.left() == []


@rule
def a_prestart_hook_that_takes_too_long_fails(w: World) -> None:
    bundle = w.hooked({"prestart": {"sleep": 600, "timeout": 1}})
    with pytest.raises(HookError, match="prestart hook 0: it ran out of time after 1 s and was killed"):
        w.create("c", bundle=bundle)
    assert w.left() == []


@rule
def a_start_container_hook_that_takes_too_long_fails(w: World) -> None:
    _start_takes_too_long(w, "startContainer")


@rule
def a_poststart_hook_that_takes_too_long_fails(w: World) -> None:
    _start_takes_too_long(w, "poststart")


def _start_takes_too_long(w: World, kind: str) -> None:
    c = w.create("c", bundle=w.hooked({kind: {"sleep": 600, "timeout": 1}}))
    with pytest.raises(HookError, match=f"{kind} hook 0: it ran out of time after 1 s and was killed"):
        c.start()
    assert w.left() == []


@rule
def a_poststop_hook_that_takes_too_long_is_ended(w: World) -> None:
    bundle = w.hooked({"poststop": {"sleep": 600, "timeout": 1}})
    w.create("c", bundle=bundle).delete(force=True)
    assert w.events(bundle) == ["poststop"]
    assert ["poststop hook 0: it ran out of time after 1 s and was killed" in one for one in w.warnings] == [
        True
    ]
    assert w.left() == []


@rule
def a_hook_within_its_timeout_succeeds(w: World) -> None:
    bundle = w.hooked({"createRuntime": {"timeout": 30}})
    assert w.create("c", bundle=bundle).state()["status"] == "created"


@rule
def a_missing_hook_fails(w: World) -> None:
    for kind in ("createRuntime", "createContainer"):
        with pytest.raises(HookError, match="no such file or directory"):
            w.create("c", change={"hooks": {kind: [{"path": "/nonexistent/hook"}]}})
        assert w.left() == []


@rule
def a_hook_that_is_not_executable_fails(w: World) -> None:
    bundle = w.bundle()
    path = bundle / "rootfs/etc/plain"
    w.write_config(bundle, {**_config(bundle), "hooks": {"prestart": [{"path": str(path)}]}})
    with pytest.raises(HookError, match="permission denied"):
        w.create("c", bundle=bundle)
    assert w.left() == []


@rule
def a_start_container_hook_is_looked_up_in_the_container(w: World) -> None:
    bundle = w.bundle()
    host_only = bundle / "host-hook"
    host_only.write_text("#!/bin/sh\n")
    host_only.chmod(0o755)
    w.write_config(bundle, {**_config(bundle), "hooks": {"startContainer": [{"path": str(host_only)}]}})
    c = w.create("c", bundle=bundle)
    with pytest.raises(HookError, match="no such file or directory"):
        c.start()
    assert w.left() == []


@rule
def a_relative_hook_path_is_refused(w: World) -> None:
    with pytest.raises(OrlopError):
        w.create("c", change={"hooks": {"prestart": [{"path": "bin/true"}]}})
    assert w.left() == []
