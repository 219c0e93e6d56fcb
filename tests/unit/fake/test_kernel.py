"""The kernel as a whole: its store, its reports, threads, determinism, and what importing it costs."""

from __future__ import annotations

import errno
import subprocess
import sys
import threading
from typing import Any

import pytest
from tests.unit.fake.planned import Container, base, machine

import orlop
from orlop_fake import DeadlockError, FakeKernel, FakePlatform, Host, Task
from orlop_fake.platform import orlop_platform, orlop_plugin
from orlop_fake.pytest_plugin import config_of
from orlop_hookspecs import CONTRACT_VERSION
from orlop_hookspecs.errors import ContainerExistsError, ContainerNotFoundError, StepError, StoreError

pytest_plugins = ["pytester"]


def test_the_store_keeps_and_locks() -> None:
    kernel = FakeKernel()
    store = kernel.store()
    slot = store.create("b")
    assert slot.path == ""
    slot.write("record", b"1")
    slot.write("record", b"2")
    slot.append("journal", b"a")
    slot.append("journal", b"b")
    assert (slot.read("record"), slot.read("journal"), slot.read("absent")) == (b"2", b"ab", None)
    with pytest.raises(ContainerExistsError):
        store.create("b")
    with pytest.raises(DeadlockError, match="locked by the caller itself"):
        store.open("b")
    assert store.open("b", wait=False).read("record") == b"2"
    assert kernel.leaks() == ["store entry b", "lock on store entry b"]
    slot.close()
    slot.close()
    store.create("a").close()
    assert store.list() == ["a", "b"]
    for name in ("a", "b"):
        again = store.open(name)
        again.remove()
        again.remove()
        again.close()
    with pytest.raises(ContainerNotFoundError):
        store.open("b")
    assert kernel.leaks() == []


def test_another_thread_waits_for_the_lock() -> None:
    kernel = FakeKernel()
    slot = kernel.store().create("a")
    seen: list[bytes | None] = []

    def other() -> None:
        opened = kernel.store().open("a")
        seen.append(opened.read("x"))
        opened.close()

    thread = threading.Thread(target=other)
    thread.start()
    slot.write("x", b"written before the other had the lock")
    slot.close()
    thread.join(60)
    assert seen == [b"written before the other had the lock"]


def test_another_thread_may_end_what_is_waited_for() -> None:
    kernel = machine()
    engine = orlop.Runtime.compose(platform=FakePlatform(kernel))
    container = engine.create("one", config_of("/bin/sleep", "inf") | {"root": {"path": "/image"}})
    container.start()
    statuses: list[int | None] = []
    thread = threading.Thread(target=lambda: statuses.append(container.wait()))
    thread.start()
    container.kill("KILL")
    thread.join(60)
    assert statuses == [137]
    container.delete()


def test_asyncio_waits_while_others_act() -> None:
    import asyncio

    import orlop.aio

    kernel = machine()

    async def story() -> int | None:
        engine = await orlop.aio.Runtime.compose(platform=FakePlatform(kernel))
        config = config_of("/bin/sleep", "inf") | {"root": {"path": "/image"}}
        container = await engine.create("one", config)
        await container.start()
        waiting = asyncio.create_task(container.wait())
        await container.kill("KILL")
        status: int | None = await asyncio.wait_for(waiting, 10)
        await container.delete()
        return status

    assert asyncio.run(story()) == 137
    assert kernel.leaks() == []


def test_many_threads_at_once() -> None:
    kernel = machine()
    engine = orlop.Runtime.compose(platform=FakePlatform(kernel))
    config = config_of("/bin/sleep", "inf") | {"root": {"path": "/image"}}
    failed: list[BaseException] = []

    def live(number: int) -> None:
        try:
            for turn in range(10):
                container = engine.create(f"c{number}-{turn}", config)
                container.start()
                container.kill("KILL")
                assert container.wait() == 137
                container.delete()
        except BaseException as error:  # noqa: BLE001 - it is shown below
            failed.append(error)

    threads = [threading.Thread(target=live, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failed == []
    assert kernel.leaks() == []


def test_snapshots_are_compared_and_read() -> None:
    kernel = machine()
    before = kernel.snapshot()
    one = Container(kernel, base()).create().start()
    after = kernel.snapshot()
    assert before != after
    difference = before.diff(after)
    assert "+  unified:/orlop/one pids" in difference
    assert "running one /bin/sleep 5" in str(after)
    one.delete()
    assert kernel.snapshot() == before
    assert before.diff(kernel.snapshot()) == ""
    assert hash(before) == hash(kernel.snapshot())


def test_leaks_name_everything() -> None:
    kernel = machine()
    one = Container(kernel, base())
    assert kernel.leaks() == ["sandbox of container one that was not closed"]
    one.create().start()
    kernel.signal(one.record, 9)
    assert kernel.leaks() == [
        f"process {one.record.pid} (zombie) of container one",
        "cgroup /orlop in hierarchy unified, made for container one",
        "cgroup /orlop/one in hierarchy unified, made for container one",
    ]
    assert kernel.wait(one.record) == 137
    one.delete()
    assert kernel.leaks() == []


def test_two_machines_do_the_same() -> None:
    def story() -> tuple[str, str, int]:
        kernel = machine(cgroups="hybrid", host=Host(interfaces={"b", "a", "lo"}))

        def busy(p: Task) -> Any:
            for number in range(3):
                p.fork(lambda q: q.write(f"{q.pid} "))
                yield p.sleep(number)

        kernel.programs["/bin/true"] = busy
        one = Container(kernel, base(args=("/bin/true",))).create().start()
        kernel.wait(one.record)
        return str(kernel.snapshot()), kernel.output("one"), kernel.clock.nanoseconds

    assert story() == story()


def test_namespaces_can_be_kept_and_joined() -> None:
    from orlop_fake.namespaces import NetworkNamespace
    from orlop_hookspecs.steps import BringUpLoopback, JoinNamespace

    kernel = machine()
    kept = kernel.add_namespace("network", "/run/netns/blue")
    assert isinstance(kept, NetworkNamespace)
    steps = [one for one in base() if getattr(one, "type", "") != "network"]
    steps += [JoinNamespace(because="", type="network", path="/run/netns/blue"), BringUpLoopback(because="")]
    one = Container(kernel, steps).create()
    assert one.process.namespaces.network is kept
    assert [link.describe() for link in kept.links.values()] == ["lo up"]
    one.delete()


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("uts", "SetHostname"),
        ("uts", "SetDomainname"),
        ("ipc", "SetSysctl"),
        ("network", "MoveNetDevices"),
    ],
)
def test_nothing_of_the_runtimes_own_namespaces_is_changed(kind: str, change: str) -> None:
    from orlop_fake.vfs import NamespaceFile
    from orlop_hookspecs import steps as all_steps
    from orlop_hookspecs.steps import JoinNamespace

    fields: dict[str, dict[str, Any]] = {
        "SetHostname": {"name": "taken"},
        "SetDomainname": {"name": "taken"},
        "SetSysctl": {"key": "kernel.msgmax", "value": "1", "namespace": "ipc"},
        "MoveNetDevices": {"devices": (("eth0", "x"),)},
    }
    kernel = machine()
    kernel.add_files({"/run/own": NamespaceFile(kernel.init.namespaces.get(kind))})
    steps = [one for one in base() if getattr(one, "type", "") != kind]
    steps += [JoinNamespace(because="", type=kind, path="/run/own")]
    steps += [getattr(all_steps, change)(because="/there", **fields[change])]
    before = kernel.snapshot()
    with pytest.raises(StepError, match="the runtime's own") as caught:
        Container(kernel, steps).create()
    assert caught.value.pointer == "/there"
    assert caught.value.errno == errno.EPERM
    assert kernel.snapshot() == before


def test_machines_share_a_description_and_nothing_else() -> None:
    host = Host(cpus=1)
    one, two = machine(host=host), machine(host=host)
    box = Container(one, base()).create().start()
    one.freeze(box.record, frozen=True)
    assert (one.host.frozen, two.host.frozen, host.frozen) == (1, 0, 0)
    one.freeze(box.record, frozen=False)
    assert one.wait(box.record) == 0


def test_a_journalled_process_is_ended() -> None:
    kernel = machine()
    one = Container(kernel, base()).create()
    data = {"pid": one.record.pid, "start_time": one.record.start_time}
    for _ in range(2):
        kernel.undo(one.record, "process", data)
    assert kernel.status(one.record) == "stopped"
    with pytest.raises(StoreError, match="unknown kind 'dream'"):
        kernel.undo(one.record, "dream", {})
    one.delete()
    assert kernel.leaks() == []


def test_consoles_are_sent_to_their_socket() -> None:
    from orlop_hookspecs.steps import MountFilesystem, OpenTerminal

    kernel = machine()
    socket = kernel.listen("/run/console.sock")
    steps = base(
        MountFilesystem(because="", destination="/dev/pts", type="devpts"),
        OpenTerminal(because="", height=10, width=20),
        args=("/bin/echo", "hello"),
    )
    Container(kernel, steps, console_socket="/run/console.sock").create().start()
    assert [terminal.name for terminal in socket.received] == ["/dev/pts/0"]
    assert kernel.terminals["one"].output == b"hello\n"


def test_the_plugin_says_who_it_is() -> None:
    assert orlop_plugin().name == "fake"
    assert orlop_plugin().contract == CONTRACT_VERSION
    platform = orlop_platform()
    assert platform is not None
    assert platform.kernel() is not platform.kernel()
    assert isinstance(platform.kernel(cgroups="v1"), FakeKernel)
    kernel = FakeKernel()
    assert FakePlatform(kernel).kernel() is kernel
    with pytest.raises(ValueError, match="options"):
        FakePlatform(kernel).kernel(cgroups="v1")
    with pytest.raises(ValueError, match="cgroups must be"):
        FakeKernel(cgroups="v3")


def test_importing_it_is_cheap() -> None:
    script = (
        "import sys; import attrs, pluggy, orlop_hookspecs.plan, orlop_hookspecs.hooks.identity; "
        "before = set(sys.modules); import orlop_fake; print(*sorted(set(sys.modules) - before))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    new = {name for name in done.stdout.split() if not name.startswith(("orlop_fake", "orlop_hookspecs"))}
    dear = {"json", "re", "asyncio", "subprocess", "dataclasses", "logging", "socket", "ctypes", "difflib"}
    assert new & dear == set()


def test_every_public_name_is_there() -> None:
    import orlop_fake

    assert all(hasattr(orlop_fake, name) for name in orlop_fake.__all__)
    assert orlop_fake.__all__ == sorted(orlop_fake.__all__, key=lambda name: (not name.isupper(), name))


def test_the_fixtures_find_leaks(pytester: pytest.Pytester, request: pytest.FixtureRequest) -> None:
    pytester.makepyfile(
        """
        import pytest

        def test_clean(fake_container):
            box = fake_container("/bin/sleep", "5")
            box.start()
            assert box.wait() == 0

        def test_leak(fake_runtime):
            from orlop_fake.pytest_plugin import config_of
            fake_runtime.create("left", config_of())

        @pytest.mark.fake_leaks
        def test_on_purpose(fake_runtime):
            from orlop_fake.pytest_plugin import config_of
            fake_runtime.create("left", config_of())

        def test_bug(fake_kernel, fake_container):
            fake_kernel.add_files({"/image/bin/bug": lambda p: 1 / 0})
            fake_container("/bin/bug").start()
        """
    )
    installed = request.config.pluginmanager.has_plugin("orlop-fake")
    result = pytester.runpytest_inprocess(*(() if installed else ("-p", "orlop_fake.pytest_plugin")))
    result.assert_outcomes(passed=4, errors=2)
    result.stdout.fnmatch_lines(["*left on the fake kernel*", "*ZeroDivisionError*"])


def test_live_calls_cover_the_contract() -> None:
    from orlop_hookspecs import kernel as contract

    names = {
        name
        for protocol in (contract.LiveKernel, contract.Kernel)
        for name in vars(protocol)
        if not name.startswith("_")
    }
    missing: list[str] = [name for name in names if not callable(getattr(FakeKernel, name, None))]
    assert missing in ([], ["name"])
    typed: contract.Kernel = FakeKernel()
    assert typed.name == "fake"
