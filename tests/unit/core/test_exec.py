"""Further processes in a container: what plugins and kernel are asked for, and what an error undoes."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from tests.unit.core.conftest import Compose
from tests.unit.core.stub import Host, StubEntry, StubKernel, StubPlatform, config, info, plugins

from orlop import Runtime, aio
from orlop.engine.joining import INHERITED, complete
from orlop.lifecycle.executed import Changes
from orlop_hookspecs.documents.process import Capabilities, Process, User
from orlop_hookspecs.errors import ConfigError, StateError, StepError, StoreError, UsageError
from orlop_hookspecs.hooks import hookimpl
from orlop_hookspecs.hooks.identity import PluginInfo
from orlop_hookspecs.launch import ExecOptions, LaunchOptions, PlanContext
from orlop_hookspecs.steps import STEP_TYPES, SetHostname, SetRlimits, Step


def test_only_steps_about_one_process_are_executed(runtime: Runtime, host: Host) -> None:
    container = runtime.create("box", config())
    host.calls.clear()
    process = container.exec(["ls", "-l"])
    assert host.calls == ["enter", "run JoinCgroup Execute", "close"]
    assert process.pid in host.processes
    assert (process.container, process.pid > container.pid) == ("box", True)
    assert repr(process) == f"<Process {process.pid} in box>"


def test_steps_that_make_a_container_do_not_join() -> None:
    joining = {name for name, one in STEP_TYPES.items() if one.JOINS}
    assert joining == {
        "CheckExecutable", "Execute", "JoinCgroup", "JoinResctrlGroup", "KeepGroups", "LoadSeccomp",
        "NewKeyring", "NewSession", "OpenTerminal", "RequireSecurityModule", "SetApparmorProfile",
        "SetCapabilities",
        "SetCpuAffinity", "SetIoPriority", "SetMemoryPolicy", "SetNoNewPrivileges", "SetOomScore",
        "SetPersonality", "SetRlimits", "SetScheduler", "SetSelinuxLabel", "SetUmask", "SetUser",
    }  # fmt: skip


class Vendor:
    """Plans for every process, and remembers what it was told of it."""

    def __init__(self) -> None:
        self.contexts: list[PlanContext] = []

    @hookimpl
    def orlop_plugin(self) -> PluginInfo:
        return info("vendor")

    @hookimpl
    def orlop_plan(self, context: PlanContext) -> list[Step]:
        self.contexts.append(context)
        limits = (("RLIMIT_MEMLOCK", 1, 1),)
        return [SetRlimits(because="/process", limits=limits), SetHostname(because="/hostname", name="x")]


def test_a_vendors_steps_take_part(compose: Compose, host: Host) -> None:
    vendor = Vendor()
    container = compose(vendor).create("box", config(), LaunchOptions(no_new_keyring=True))
    container.exec(["ls"], ExecOptions(preserve_fds=2, foreground=True))
    assert host.calls[-2] == "run JoinCgroup SetRlimits Execute"
    created, joined = vendor.contexts
    assert (created.joins, joined.joins) == (False, True)
    assert (joined.options.preserve_fds, joined.options.foreground) == (2, True)
    # The container was created without a keyring of its own, so its processes have none either.
    assert joined.options.no_new_keyring
    assert (joined.container, joined.rootfs) == ("box", created.rootfs)


@pytest.mark.parametrize("place", ["enter", "run JoinCgroup Execute"])
def test_nothing_is_left_of_a_process_that_could_not_be_started(
    runtime: Runtime, host: Host, place: str
) -> None:
    container = runtime.create("box", config())
    before = dict(host.processes)
    host.fail[place] = StepError("refused", errno=1)
    with pytest.raises(StepError, match="refused") as caught:
        container.exec(["ls"])
    assert (caught.value.act, caught.value.container) == ("exec", "box")
    assert host.processes == before


def test_the_end_of_the_container_is_the_reason(
    runtime: Runtime, host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    container = runtime.create("box", config())

    def run(entry: StubEntry, state: bytes) -> None:
        host.processes.clear()
        raise StepError("it has ended")

    monkeypatch.setattr(StubEntry, "run", run)
    with pytest.raises(StateError, match="cannot exec in a stopped container"):
        container.exec(["ls"])


def test_a_paused_container_is_joined_when_asked(runtime: Runtime, host: Host) -> None:
    container = runtime.create("box", config())
    container.pause()
    with pytest.raises(StateError, match="--ignore-paused"):
        container.exec(["ls"])
    container.exec(["ls"], ignore_paused=True)
    assert host.calls[-3:] == ["enter", "run JoinCgroup Execute", "close"]


def test_a_stored_config_that_is_gone(runtime: Runtime, root: str) -> None:
    container = runtime.create("box", config())
    (Path(root) / "box/config.json").unlink()
    with pytest.raises(StoreError, match="the stored config is missing"):
        container.exec(["ls"])


def test_warnings_are_told_only_of_other_capabilities(runtime: Runtime, warnings: list[str]) -> None:
    container = runtime.create("box", config())
    container.exec(["ls"])
    assert warnings == []
    container.exec(["ls"], capabilities=["CAP_CHOWN"])
    assert warnings == ["process in container box: a capability is left out"]


@pytest.mark.parametrize(
    ("process", "fields"),
    [
        (["ls"], {"bogus": 1}),
        ({"cwd": "/", "args": ["ls"]}, {"cwd": "/tmp"}),
        (["ls"], {"options": ExecOptions(), "preserve_fds": 1}),
    ],
)
def test_arguments_that_cannot_be_meant(runtime: Runtime, process: Any, fields: dict[str, Any]) -> None:
    container = runtime.create("box", config())
    with pytest.raises(UsageError):
        container.exec(process, **fields)


def test_a_config_without_a_process_is_no_base(runtime: Runtime) -> None:
    container = runtime.create("box", config(process=None))
    with pytest.raises(ConfigError, match="no process"):
        container.exec(["ls"])
    container.exec({"cwd": "/", "args": ["ls"]})


def test_processes_are_waited_for_and_signalled(runtime: Runtime, host: Host) -> None:
    process = runtime.create("box", config()).exec(["ls"])
    process.kill("USR1")
    assert host.calls[-1] == "signal:10"
    assert process.wait(0) == 143
    with pytest.raises(StateError, match="the process has ended"):
        process.kill()


def test_in_asyncio(host: Host, root: str) -> None:
    async def main() -> None:
        async with await aio.Runtime.compose(StubPlatform(host), plugins(), root=root) as runtime:
            container = await runtime.create("box", config())
            process = await container.exec(["ls"])
            assert process.pid in host.processes
            await process.kill("KILL")
            assert await process.wait() == 143

    asyncio.run(main())


def test_a_start_that_is_cancelled_is_undone(host: Host, root: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async with await aio.Runtime.compose(StubPlatform(host), plugins(), root=root) as runtime:
            container = await runtime.create("box", config())
            before = dict(host.processes)
            entered = asyncio.Event()
            loop = asyncio.get_running_loop()
            enter = StubKernel.enter

            def slow(*arguments: Any) -> StubEntry:
                loop.call_soon_threadsafe(entered.set)
                return enter(*arguments)

            monkeypatch.setattr(StubKernel, "enter", slow)
            task = asyncio.ensure_future(container.exec(["ls"]))
            await entered.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert host.processes == before

    asyncio.run(main())


BASE = Process(
    cwd="/base",
    args=("base",),
    env=("A=1",),
    user=User(uid=1, gid=2, umask=0o27, additional_gids=(3,)),
    capabilities=Capabilities(bounding=("CAP_KILL",), effective=(), inheritable=("CAP_KILL",)),
    no_new_privileges=True,
    oom_score_adj=5,
    apparmor_profile="box",
)


def test_a_document_leaves_its_confinement_to_the_container() -> None:
    made = complete(Process(cwd="/", args=("ls",)), BASE)
    assert all(getattr(made, name) == getattr(BASE, name) for name in INHERITED)
    assert (made.cwd, made.args, made.env) == ("/", ("ls",), None)
    assert made.user == User(uid=0, gid=0, umask=0o27)
    assert complete(made, None) == made


def test_what_a_document_says_counts() -> None:
    wanted = Process(
        cwd="/",
        args=("ls",),
        capabilities=Capabilities(),
        no_new_privileges=False,
        oom_score_adj=0,
        apparmor_profile="",
        user=User(uid=7, gid=7, umask=0),
    )
    made = complete(wanted, BASE)
    assert (made.capabilities, made.no_new_privileges, made.oom_score_adj) == (Capabilities(), False, 0)
    assert (made.apparmor_profile, made.user) == ("", User(uid=7, gid=7, umask=0))


def test_changes_are_made_to_the_containers_own_process(runtime: Runtime) -> None:
    from orlop.documents.codec import decode_config

    whole = decode_config(config()).evolve(process=BASE)
    made = Changes(args=("ls",), env=("B=2",), uid=9, groups=(4,), capabilities=("CAP_CHOWN", "CAP_KILL"))(
        whole
    )
    assert (made.cwd, made.args, made.env, made.terminal) == ("/base", ("ls",), ("A=1", "B=2"), False)
    assert made.user == User(uid=9, gid=2, umask=0o27, additional_gids=(3, 4))
    both = ("CAP_KILL", "CAP_CHOWN")
    assert made.capabilities is not None
    assert (made.capabilities.bounding, made.capabilities.permitted) == (both, ("CAP_CHOWN", "CAP_KILL"))
    assert made.capabilities.inheritable == ("CAP_KILL",)
    assert made.capabilities.ambient == ("CAP_CHOWN", "CAP_KILL")
    assert Changes(args=("ls",))(whole).capabilities == BASE.capabilities
