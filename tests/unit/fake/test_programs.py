"""Programs as processes: time, signals, children, files, memory, seccomp."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import Any

import pytest
from tests.unit.fake.planned import IMAGE, Container, base, machine, made

from orlop_fake import DeadlockError, FakeKernel, File, ProgramExit, Task
from orlop_hookspecs import steps
from orlop_hookspecs.errors import PlatformError, StateError, StepError, WaitTimeoutError
from orlop_hookspecs.steps import Step

Program = Callable[[Task], Any]
PROC = made(steps.MountProc, destination="/proc")


def run(program: Program, *more: Step, **options: Any) -> tuple[FakeKernel, int | None, str]:
    """Run *program* to its end in a container; return the kernel, its status and its output."""
    kernel = machine(**options)
    kernel.add_files({f"{IMAGE}/bin/program": program})
    one = Container(kernel, base(*more, args=("/bin/program", "arg"))).create().start()
    status = kernel.wait(one.record)
    text = kernel.output("one") + kernel.output("one", 2)
    one.delete()
    assert kernel.leaks() == []
    return kernel, status, text


def test_a_function_runs_at_once_and_returns_its_status() -> None:
    assert run(lambda _: 3)[1] == 3
    assert run(lambda _: None)[1] == 0
    assert run(lambda _: 256 + 7)[1] == 7


def test_time_passes_only_while_somebody_waits() -> None:
    def program(p: Task) -> Any:
        before = p.time
        yield p.sleep(3600)
        p.write(f"{p.time - before:.0f}")

    kernel, status, text = run(program)
    assert (status, text) == (0, "3600")
    assert kernel.clock.seconds == 3601


def test_a_program_may_end_anywhere() -> None:
    def program(p: Task) -> None:
        p.exit(5)

    assert run(program)[1] == 5


def test_an_exception_ends_the_program_and_is_kept_for_the_test() -> None:
    def program(_: Task) -> None:
        raise ValueError("broken")

    kernel, status, text = run(program)
    assert (status, text) == (1, "ValueError: broken\n")
    assert [str(error) for error in kernel.program_errors] == ["broken"]


def test_a_refused_call_ends_the_program_but_is_no_bug() -> None:
    kernel, status, text = run(lambda p: p.read("/absent"))
    assert (status, kernel.program_errors) == (1, [])
    assert "no such file or directory" in text


def test_a_wait_that_is_not_yielded_is_a_bug() -> None:
    kernel, status, _ = run(lambda p: p.sleep(1))
    assert status == 1
    assert "yielded" in str(kernel.program_errors[0])

    def odd(_: Task) -> Any:
        yield 7

    kernel, status, _ = run(odd)
    assert status == 1
    assert "yielded 7" in str(kernel.program_errors[0])


def test_children_are_waited_for() -> None:
    def child(p: Task, status: int) -> Any:
        yield p.sleep(status)
        return status

    def program(p: Task) -> Any:
        pids = [p.fork(child, 3), p.fork(child, 2)]
        p.write(f"{pids}")
        first = yield p.wait_child()
        second = yield p.wait_child(pids[0])
        p.write(f" {first} {second}")
        try:
            p.wait_child()
        except ChildProcessError:
            p.write(" none left")

    assert run(program)[2] == "[2, 3] (3, 2) (2, 3) none left"


def test_spawn_and_execute() -> None:
    def program(p: Task) -> Any:
        pid = p.spawn("/bin/echo", "from", "a child")
        yield p.wait_child(pid)
        try:
            p.spawn("/bin/absent")
        except FileNotFoundError:
            p.write("absent\n")
        yield p.execute("echo", "replaced", env={"PATH": "/bin"})
        p.write("never")

    assert run(program)[1:] == (0, "from a child\nabsent\nreplaced\n")


def test_the_shell_of_the_image() -> None:
    def program(p: Task) -> Any:
        yield p.execute("/bin/sh", "-c", "echo one; false && echo no; cat /etc/hostname; exit 4")

    assert run(program)[1:] == (4, "one\nimage\n")


def test_signals_are_caught_ignored_and_kept() -> None:
    def program(p: Task) -> Any:
        p.catch(10, handler=lambda number: p.write(f"handler {number}\n"))
        p.catch(12)
        p.ignore(1)
        for number in (10, 12, 12, 1):
            p.kill(1, number)
        number = yield p.wait_signal(12)
        p.write(f"kept {number}\n")
        number = yield p.wait_signal(12, timeout=2)
        p.write(f"then {number}\n")

    assert run(program)[1:] == (0, "handler 10\nkept 12\nthen None\n")


def test_a_handler_may_end_the_program() -> None:
    def program(p: Task) -> Any:
        p.catch(15, handler=lambda _: p.exit(6))
        p.kill(p.pid, 15)
        yield p.forever()

    assert run(program)[1] == 6


def test_children_die_of_signals() -> None:
    def child(p: Task) -> Any:
        yield p.forever()

    def program(p: Task) -> Any:
        for number in (15, 9, 6):
            pid = p.fork(child)
            p.kill(pid, 0)
            p.kill(pid, 20)  # stopped
            p.kill(pid, number)
            _, status = yield p.wait_child(pid)
            p.write(f"{status} ")
        try:
            p.kill(99, 15)
        except ProcessLookupError:
            p.write("none")
        try:
            p.catch(9)
        except OSError as error:
            p.write(f" {error.errno}")

    assert run(program)[2] == f"143 137 134 none {errno.EINVAL}"


def test_a_stopped_process_goes_on_when_it_is_told_to() -> None:
    def child(p: Task) -> Any:
        yield p.sleep(1)
        p.write("child ")

    def program(p: Task) -> Any:
        pid = p.fork(child)
        p.kill(pid, 19)
        yield p.sleep(10)
        p.write("parent ")
        p.kill(pid, 18)
        yield p.wait_child(pid)

    assert run(program)[2] == "parent child "


def test_init_cannot_be_killed_from_inside() -> None:
    def program(p: Task) -> Any:
        def child(q: Task) -> None:
            q.kill(1, 9)
            q.kill(1, 15)
            q.write("still ")

        yield p.wait_child(p.fork(child))
        p.write("here")

    assert run(program)[2] == "still here"


def test_files_of_the_image() -> None:
    def program(p: Task) -> None:
        p.mkdir("/made")
        p.write_file("/made/file", "text")
        p.write(p.read("/made/file").decode())
        p.remove("/made/file")
        p.write(f" {p.listdir('/made')} {p.exists('/made')} {p.exists('/absent')}")
        p.write(f" {oct(p.stat('/made').mode)}")
        for act, number in (
            (lambda: p.mkdir("/made"), errno.EEXIST),
            (lambda: p.read("/made"), errno.EISDIR),
            (lambda: p.listdir("/etc/passwd"), errno.ENOTDIR),
            (lambda: p.remove("/etc"), errno.ENOTEMPTY),
            (lambda: p.remove("/absent"), errno.ENOENT),
            (lambda: p.readlink("/etc"), errno.EINVAL),
            (lambda: p.write_file("/etc", ""), errno.EISDIR),
            (lambda: p.mkdir("/etc/passwd/x"), errno.ENOTDIR),
        ):
            with pytest.raises(OSError, match=r"\w") as caught:
                act()
            assert caught.value.errno == number

    kernel, status, text = run(program, made(steps.SetUmask, umask=0o27))
    assert kernel.program_errors == []
    assert (status, text) == (0, "text [] True False 0o750")


def test_permissions_hold_for_others_than_root() -> None:
    def program(p: Task) -> None:
        for act in (
            lambda: p.read("/secret"),
            lambda: p.write_file("/etc/passwd", "me"),
            lambda: p.mkdir("/made"),
            lambda: p.listdir("/root"),
        ):
            with pytest.raises(PermissionError):
                act()
        p.write_file("/tmp/mine", "mine")
        assert p.stat("/tmp/mine").uid == 7

    kernel = machine()
    kernel.add_files({f"{IMAGE}/bin/program": program, f"{IMAGE}/secret": File("x", 0o600)})
    user = (made(steps.SetUser, uid=7, gid=7), made(steps.SetCapabilities))
    one = Container(kernel, base(*user, args=("/bin/program",))).create().start()
    assert kernel.wait(one.record) == 0, kernel.program_errors


def test_devices_obey_the_rules_of_the_cgroup() -> None:
    def program(p: Task) -> None:
        p.write_file("/dev/null", "gone")
        with pytest.raises(PermissionError):
            p.write_file("/dev/zero", "x")
        with pytest.raises(PermissionError):
            p.mknod("/dev/sda", "b", 8, 0)
        p.mknod("/dev/mine", "c", 1, 3)

    kernel, status, _ = run(
        program,
        made(steps.CreateDevice, path="/dev/null", type="c", major=1, minor=3),
        made(steps.CreateDevice, path="/dev/zero", type="c", major=1, minor=5),
        made(
            steps.SetDeviceRules,
            rules=((False, "a", None, None, "rwm"), (True, "c", 1, 3, "rwm")),
        ),
    )
    assert (status, kernel.program_errors) == (0, [])


def test_proc_shows_the_process_to_itself() -> None:
    def program(p: Task) -> None:
        p.write(p.read("/proc/self/cmdline").replace(b"\0", b" ").decode())
        p.write(p.readlink("/proc/self"))
        p.write_file("/proc/sys/kernel/hostname", "renamed")
        p.write(f" {p.hostname} {p.read('/proc/sys/kernel/hostname').decode().strip()}")
        assert p.read("/proc/self/cgroup") == b"0::/orlop/one\n"
        assert "self" in p.listdir("/proc")
        with pytest.raises(FileNotFoundError):
            p.mkdir("/proc/made")
        with pytest.raises(PermissionError):
            p.write_file("/proc/self/cmdline", "x")

    kernel, status, text = run(program, PROC)
    assert (status, kernel.program_errors) == (0, [])
    assert text == "/bin/program arg 1 renamed renamed"


def memory(limit: int) -> Step:
    pair = str(limit)
    return made(
        steps.WriteCgroup,
        controller="memory",
        v1=(("memory.limit_in_bytes", pair),),
        v2=(("memory.max", pair),),
    )


@pytest.mark.parametrize("cgroups", ["v1", "v2"])
def test_memory_over_the_limit_kills_the_largest(cgroups: str) -> None:
    def child(p: Task) -> Any:
        p.allocate(600_000)
        yield p.forever()

    def program(p: Task) -> Any:
        pid = p.fork(child)
        p.allocate(300_000)
        yield p.sleep(1)
        p.allocate(300_000)
        yield p.wait_child(pid)
        p.free(600_000)
        p.allocate(900_000)
        p.write("alive")
        p.allocate(900_000)
        p.write("never")

    kernel = machine(cgroups=cgroups)
    kernel.add_files({f"{IMAGE}/bin/program": program})
    one = Container(kernel, base(memory(1 << 20), args=("/bin/program",))).create().start()
    assert kernel.wait(one.record) == 137
    assert kernel.output("one") == "alive"
    assert kernel.cgroup("one", "memory").events == {"max": 2, "oom": 2, "oom_kill": 2}
    assert kernel.cgroup("one", "memory").memory == 0


@pytest.mark.parametrize("cgroups", ["v1", "v2"])
def test_pids_max_refuses_forks(cgroups: str) -> None:
    def child(p: Task) -> Any:
        yield p.forever()

    def program(p: Task) -> Any:
        made_ = 0
        try:
            while True:
                p.fork(child)
                made_ += 1
        except BlockingIOError as error:
            p.write(f"{made_} {error.errno == errno.EAGAIN}")
        yield p.sleep(1)

    limit = made(steps.WriteCgroup, controller="pids", v1=(("pids.max", "4"),), v2=(("pids.max", "4"),))
    assert run(program, limit, cgroups=cgroups)[2] == "3 True"


@pytest.mark.parametrize("cgroups", ["v1", "v2", "hybrid"])
def test_a_frozen_container_does_nothing(cgroups: str) -> None:
    def program(p: Task) -> Any:
        while True:
            yield p.sleep(1)
            p.write(".")

    kernel = machine(cgroups=cgroups)
    kernel.add_files({f"{IMAGE}/bin/program": program})
    one = Container(kernel, base(args=("/bin/program",))).create().start()
    kernel.advance(2.5)
    kernel.freeze(one.record, frozen=True)
    assert kernel.status(one.record) == "paused"
    kernel.advance(100)
    assert kernel.output("one") == ".."
    kernel.freeze(one.record, frozen=False)
    kernel.advance(1)
    assert kernel.output("one") == "...."
    kernel.freeze(one.record, frozen=True)
    kernel.signal(one.record, 9)
    assert kernel.status(one.record) == "stopped"
    one.delete()
    assert kernel.leaks() == []
    assert kernel.host.frozen == 0


def test_without_a_cgroup_nothing_can_be_frozen() -> None:
    kernel = machine(cgroups="none")
    plain = [one for one in base() if type(one).__name__ not in {"CreateCgroup", "JoinCgroup"}]
    one = Container(kernel, plain).create().start()
    for act in (lambda: kernel.freeze(one.record, frozen=True), lambda: kernel.stats(one.record)):
        with pytest.raises(PlatformError):
            act()
    assert list(kernel.processes(one.record)) == [one.record.pid]


SECCOMP = ("SCMP_ACT_ERRNO", "SCMP_ACT_TRACE", "SCMP_ACT_KILL_PROCESS", "SCMP_ACT_TRAP", "SCMP_ACT_LOG")


@pytest.mark.parametrize("action", SECCOMP)
def test_seccomp_judges_what_programs_do(action: str) -> None:
    def program(p: Task) -> int:
        try:
            p.mkdir("/made")
        except OSError as error:
            return error.errno or 255
        return 0

    rule = {"names": ["mkdirat"], "action": action, "errno": 5, "args": []}
    loaded = made(steps.LoadSeccomp, default_action="SCMP_ACT_ALLOW", syscalls=(rule,))
    expected = dict(zip(SECCOMP, (5, errno.ENOSYS, 128 + 31, 128 + 31, 0), strict=True))
    assert run(program, loaded)[1] == expected[action]


def test_orphans_go_to_init_and_end_with_it() -> None:
    def grandchild(p: Task) -> Any:
        yield p.sleep(1)
        p.write(f"{p.ppid} ")
        yield p.forever()

    def child(p: Task) -> None:
        p.fork(grandchild)

    def program(p: Task) -> Any:
        yield p.wait_child(p.fork(child))
        yield p.sleep(2)

    kernel, status, text = run(program)
    assert (status, text) == (0, "1 ")
    assert [process.comm for process in kernel.all_processes()] == ["init", "orlop"]


def test_waiting_for_what_cannot_happen() -> None:
    kernel = machine()
    one = Container(kernel, base(args=("/bin/sleep", "inf"))).create()
    with pytest.raises(DeadlockError, match="every process waits"):
        kernel.wait(one.record)
    one.start()
    with pytest.raises(WaitTimeoutError):
        kernel.wait(one.record, 5)
    with pytest.raises(StateError, match="stopped"):
        one.start()
    with pytest.raises(StepError, match="no such signal"):
        kernel.signal(one.record, 65)
    one.delete()
    with pytest.raises(StateError, match="container not running"):
        kernel.signal(one.record, 15)


def test_waiting_for_a_program_that_never_ends() -> None:
    def program(p: Task) -> Any:
        while True:
            yield p.sleep(1)

    kernel = machine()
    kernel.add_files({f"{IMAGE}/bin/program": program})
    one = Container(kernel, base(args=("/bin/program",))).create().start()
    with pytest.raises(DeadlockError, match="wake-ups"):
        kernel.wait(one.record)


def test_program_exit_is_public() -> None:
    def program(_: Task) -> None:
        raise ProgramExit(9)

    assert run(program)[1] == 9
