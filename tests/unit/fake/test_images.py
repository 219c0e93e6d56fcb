"""Checkpoint and restore on the fake machine: programs go on where they stood."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import orlop
from orlop.lifecycle.delete import delete
from orlop_fake import FakeKernel, FakePlatform, File, Host, RuntimeCrash, Task
from orlop_hookspecs.errors import ContainerNotFoundError, OrlopError, StepError, UsageError, WaitTimeoutError
from orlop_hookspecs.launch import LaunchOptions

CONFIG: dict[str, Any] = {
    "ociVersion": "1.3.0",
    "root": {"path": "/image"},
    "process": {"cwd": "/", "args": ["/bin/counter"], "user": {"uid": 0, "gid": 0}},
    "mounts": [{"destination": "/tmp", "type": "tmpfs", "source": "tmpfs"}],
    "linux": {"namespaces": [{"type": kind} for kind in ("pid", "mount", "network")]},
}
IMAGES = "/images"


def counter(p: Task) -> Iterator[Any]:
    """Count every five seconds in a file, and USR1 with a child; say who one is."""

    def child(q: Task) -> Iterator[Any]:
        yield q.sleep(1000)

    number = p.fork(child)
    p.write_file("/tmp/kept", "content")
    seen = 0
    while True:
        got: int | None = yield p.wait_signal(10, timeout=5)
        seen += 1
        why, kept = "signal" if got else "time", p.read("/tmp/kept").decode()
        p.write(f"{seen} {why} pid={p.pid} child={number} {kept}\n")


@pytest.fixture
def kernel() -> FakeKernel:
    made = FakeKernel(programs={"/bin/counter": counter})
    made.add_rootfs("/image")
    made.add_files({"/image/bin/counter": File(mode=0o755)})
    return made


def runtime_of(kernel: FakeKernel) -> orlop.Runtime:
    return orlop.Runtime.compose(platform=FakePlatform(kernel))


@pytest.fixture
def runtime(kernel: FakeKernel) -> orlop.Runtime:
    return runtime_of(kernel)


def change(**changes: Any) -> dict[str, Any]:
    return CONFIG | changes


def passes(container: orlop.Container, seconds: float) -> None:
    """Let time pass while *container* runs."""
    with pytest.raises(WaitTimeoutError):
        container.wait(seconds)


def running(runtime: orlop.Runtime, seconds: float = 12) -> orlop.Container:
    container = runtime.create("one", CONFIG)
    container.start()
    passes(container, seconds)
    return container


def test_a_program_goes_on_where_it_stood(runtime: orlop.Runtime, kernel: FakeKernel) -> None:
    container = running(runtime)
    container.checkpoint(IMAGES)
    with pytest.raises(ContainerNotFoundError):
        runtime.get("one")
    assert kernel.leaks() == []
    back = runtime.restore("two", CONFIG, IMAGES)
    assert back.status == "running"
    assert len(back.processes()) == 2
    passes(back, 2.5)  # three seconds were left of five
    assert kernel.output("two") == ""
    passes(back, 1)
    assert kernel.output("two") == "3 time pid=1 child=2 content\n"
    back.kill("USR1")
    assert kernel.output("two").endswith("4 signal pid=1 child=2 content\n")
    back.kill("KILL")
    back.delete()
    assert kernel.leaks() == []


def test_a_paused_container_comes_back_running(runtime: orlop.Runtime, kernel: FakeKernel) -> None:
    container = running(runtime)
    container.pause()
    container.checkpoint(IMAGES)
    back = runtime.restore("two", CONFIG, IMAGES)
    passes(back, 5)
    assert kernel.output("two").startswith("3 time")
    back.delete(force=True)


def test_a_restored_container_can_be_written_again(runtime: orlop.Runtime, kernel: FakeKernel) -> None:
    running(runtime).checkpoint(IMAGES)
    runtime.restore("two", CONFIG, IMAGES).checkpoint("/more")
    back = runtime.restore("three", CONFIG, "/more")
    passes(back, 5)
    assert kernel.output("three").startswith("3 time")
    back.delete(force=True)
    assert kernel.leaks() == []


@pytest.mark.parametrize("flag", ["leave_running", "pre_dump"])
def test_a_container_that_is_left_running(runtime: orlop.Runtime, kernel: FakeKernel, flag: str) -> None:
    container = running(runtime)
    container.checkpoint(IMAGES, **{flag: True})
    passes(container, 5)
    assert kernel.output("one").count("\n") == 3
    with pytest.raises(StepError) as caught:
        runtime.restore("two", CONFIG, IMAGES)
    assert caught.value.errno == (errno.EOPNOTSUPP if flag == "leave_running" else errno.ENOENT)
    container.delete(force=True)
    assert kernel.leaks() == []


def test_images_can_be_taken_out_once(runtime: orlop.Runtime, kernel: FakeKernel) -> None:
    running(runtime).checkpoint(IMAGES)
    back = runtime.restore("two", CONFIG, IMAGES)
    with pytest.raises(StepError, match="it is in no other image"):
        runtime.restore("three", CONFIG, IMAGES)
    back.delete(force=True)
    assert kernel.leaks() == []


REFUSED = {
    "the process may gain privileges": {
        "process": CONFIG["process"] | {"noNewPrivileges": True, "capabilities": {"bounding": ["CAP_KILL"]}},
    },
    "the process has more capabilities": {
        "process": CONFIG["process"] | {"capabilities": {"bounding": []}},
    },
    "the process is another user": {
        "process": CONFIG["process"] | {"user": {"uid": 1000, "gid": 0}, "noNewPrivileges": True},
    },
    "no system calls are filtered": {
        "linux": CONFIG["linux"] | {"seccomp": {"defaultAction": "SCMP_ACT_ALLOW"}},
    },
}


@pytest.mark.parametrize("words", REFUSED)
def test_the_config_decides(runtime: orlop.Runtime, kernel: FakeKernel, words: str) -> None:
    wide = CONFIG["process"] | {"capabilities": {"bounding": ["CAP_KILL"]}}
    container = runtime.create("one", change(process=wide))
    container.start()
    container.checkpoint(IMAGES)
    with pytest.raises(StepError, match=words) as caught:
        runtime.restore("two", change(process=wide) | REFUSED[words], IMAGES)
    assert caught.value.errno == errno.EPERM
    assert kernel.leaks() == []
    runtime.restore("two", change(process=wide), IMAGES).delete(force=True)


def test_without_images_nothing_is_made(runtime: orlop.Runtime, kernel: FakeKernel) -> None:
    with pytest.raises(StepError, match="there is no checkpoint"):
        runtime.restore("two", CONFIG, "/nowhere")
    assert kernel.leaks() == []


def test_hooks_inside_have_run_before(runtime: orlop.Runtime, kernel: FakeKernel) -> None:
    running(runtime).checkpoint(IMAGES)
    ran: list[str] = []
    kernel.hooks |= {"/a": lambda _: ran.append("outside"), "/b": lambda _: ran.append("inside")}
    hooks = {"createRuntime": [{"path": "/a"}], "createContainer": [{"path": "/b"}]}
    runtime.restore("two", change(hooks=hooks), IMAGES).delete(force=True)
    assert ran == ["outside"]


def points(kernel: FakeKernel, act: Callable[[orlop.Runtime], object]) -> list[str]:
    recorded = kernel.faults.record()
    act(runtime_of(kernel))
    names = [point.name for point in recorded]
    kernel.faults.clear()
    return names


def fresh() -> FakeKernel:
    made = FakeKernel(programs={"/bin/counter": counter})
    made.add_rootfs("/image")
    made.add_files({"/image/bin/counter": File(mode=0o755)})
    running(runtime_of(made))
    return made


def dump(runtime: orlop.Runtime) -> None:
    runtime.get("one").checkpoint(IMAGES)


def bring_back(runtime: orlop.Runtime) -> None:
    runtime.restore("two", CONFIG, IMAGES)


@pytest.mark.parametrize("act", [dump, bring_back])
def test_a_runtime_that_dies_anywhere_leaves_what_a_forced_delete_removes(
    act: Callable[[orlop.Runtime], None],
) -> None:
    kernel = fresh()
    if act is bring_back:
        dump(runtime_of(kernel))
    count = len(points(kernel, act))
    assert count > 5
    for number in range(1, count + 1):
        kernel = fresh()
        if act is bring_back:
            dump(runtime_of(kernel))
        kernel.faults.crash_before("*", number)
        with pytest.raises(RuntimeCrash):
            act(runtime_of(kernel))
        kernel.faults.clear()
        for name in ("one", "two"):
            delete(runtime_of(kernel).site, name, force=True)
        assert kernel.leaks() == [], number


@pytest.mark.parametrize("step", ["CreateCgroup", "NewNamespace", "MountFilesystem", "RestoreProcesses"])
def test_a_restore_that_fails_leaves_nothing(step: str) -> None:
    kernel = fresh()
    dump(runtime_of(kernel))
    before = kernel.snapshot()
    kernel.faults.fail(step, errno.EIO)
    with pytest.raises(OrlopError):
        bring_back(runtime_of(kernel))
    kernel.faults.clear()
    assert kernel.snapshot() == before, before.diff(kernel.snapshot())
    bring_back(runtime_of(kernel))


def test_a_checkpoint_that_fails_leaves_the_container() -> None:
    kernel = fresh()
    kernel.faults.fail("DumpProcesses", errno.EIO)
    with pytest.raises(StepError):
        dump(runtime_of(kernel))
    kernel.faults.clear()
    container = runtime_of(kernel).get("one")
    assert container.status == "running"
    dump(runtime_of(kernel))


def test_only_root_may_and_is_told_so_before() -> None:
    kernel = FakeKernel(programs={"/bin/counter": counter}, uid=1000)
    kernel.add_rootfs("/image")
    kernel.add_files({"/image/bin/counter": File(mode=0o755)})
    runtime = runtime_of(kernel)
    kinds = ("user", "pid", "mount", "network")
    mapped = [{"containerID": 0, "hostID": 1000, "size": 1}]
    config = change(
        linux={
            "namespaces": [{"type": kind} for kind in kinds],
            "uidMappings": mapped,
            "gidMappings": mapped,
        }
    )
    without = LaunchOptions(manage_cgroups=False)
    container = runtime.create("one", config, without)
    container.start()
    with pytest.raises(StepError, match="need the privileges of the host's root") as caught:
        container.checkpoint(IMAGES)
    assert caught.value.errno == errno.EPERM
    assert container.status == "running"
    assert [one.allowed for one in runtime.examine(["checkpoint"]).diagnoses] == [False] * 3
    container.delete(force=True)
    kernel.images[IMAGES] = object()
    with pytest.raises(StepError, match="need the privileges"):
        runtime.restore("one", config, IMAGES, without)
    assert kernel.leaks() == []


def labels(kernel: FakeKernel, container: orlop.Container) -> list[tuple[str, str]]:
    """Return profile and context of each process of a container."""
    (first,) = [one for one in kernel.init.namespaces.pid.processes.values() if one.pid == container.pid]
    return [(one.traits.profile, one.traits.label) for one in (first, *first.descendants())]


@pytest.mark.parametrize(
    ("module", "field", "names"),
    [
        ("apparmor", "apparmorProfile", ("one", "other", "third")),
        ("selinux", "selinuxLabel", ("u:r:one", "u:r:other", "u:r:third")),
    ],
)
def test_the_label_is_the_configs_or_the_callers(
    module: str, field: str, names: tuple[str, str, str]
) -> None:
    host = Host(apparmor=names) if module == "apparmor" else Host(selinux=True)
    kernel = FakeKernel(programs={"/bin/counter": counter}, host=host)
    kernel.add_rootfs("/image")
    kernel.add_files({"/image/bin/counter": File(mode=0o755)})
    runtime = runtime_of(kernel)
    configs = {name: change(process=CONFIG["process"] | {field: name}) for name in names}
    container = runtime.create("one", configs[names[0]])
    container.start()
    found = []
    for name, label in ((names[1], ""), (names[1], f"{module}:{names[2]}")):
        container.checkpoint(IMAGES)
        container = runtime.restore("one", configs[name], IMAGES, lsm_profile=label)
        found.append(labels(kernel, container))
    index = 0 if module == "apparmor" else 1
    assert [{one[index] for one in each} for each in found] == [{names[1]}, {names[2]}]
    assert len(found[0]) == 2
    container.delete(force=True)
    assert kernel.leaks() == []


def test_what_had_no_profile_gets_none() -> None:
    kernel = FakeKernel(programs={"/bin/counter": counter}, host=Host(apparmor=("box",)))
    kernel.add_rootfs("/image")
    kernel.add_files({"/image/bin/counter": File(mode=0o755)})
    runtime = runtime_of(kernel)
    running(runtime).checkpoint(IMAGES)
    confined = change(process=CONFIG["process"] | {"apparmorProfile": "box"})
    with pytest.raises(StepError, match="the images are refused: the process has another AppArmor profile"):
        runtime.restore("two", confined, IMAGES)
    assert kernel.leaks() == []


@pytest.mark.parametrize("wrong", ["box", "apparmor:", ":box", "yama:box"])
def test_a_label_that_is_none_is_refused_before_anything_is_touched(wrong: str) -> None:
    kernel = fresh()
    before = kernel.snapshot()
    with pytest.raises(
        UsageError, match="a security label is TYPE:NAME, and its type one of apparmor, selinux"
    ) as caught:
        runtime_of(kernel).restore("two", CONFIG, IMAGES, lsm_profile=wrong)
    assert caught.value.value == wrong
    assert kernel.snapshot() == before
