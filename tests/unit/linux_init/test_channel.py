"""The engine's end of the handshake takes whatever comes out of a container process."""

from __future__ import annotations

import errno
import os
import resource
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orlop_hookspecs.errors import OrlopError, PlatformError, StepError
from orlop_hookspecs.launch import LaunchOptions
from orlop_hookspecs.plan import PlannedStep
from orlop_hookspecs.record import Record
from orlop_hookspecs.steps import Execute, JoinNamespace, NewNamespace, PrepareRoot, RunHook

if sys.platform != "linux":
    pytest.skip("needs Linux", allow_module_level=True)

from orlop_linux.init import failure, protocol
from orlop_linux.init.context import Context
from orlop_linux.kernel.channel import Channel, SilentEndError, pid_of
from orlop_linux.kernel.spawn import Launch
from orlop_linux.live.failures import Outline, error_of

KINDS = (protocol.STAGE, protocol.PID, protocol.MAP, protocol.READY, protocol.FAILED, b"?", b"\0")


def open_fds() -> list[str]:
    return sorted(os.listdir("/proc/self/fd"))


@pytest.fixture
def channel() -> Iterator[Channel]:
    made = Channel("box")
    yield made
    made.close()


def test_message_with_descriptors(channel: Channel) -> None:
    protocol.send(channel.theirs, protocol.PID, b"12", (0, 1))
    kind, payload, fds = channel.receive(1)
    assert (kind, payload, len(fds)) == (protocol.PID, b"12", 2)
    assert not any(map(os.get_inheritable, fds))
    for fd in fds:
        os.close(fd)


def test_nothing_comes(channel: Channel) -> None:
    with pytest.raises(StepError, match="does not answer"):
        channel.receive(0)


def test_end_without_a_word(channel: Channel) -> None:
    channel.theirs.close()
    with pytest.raises(SilentEndError):
        channel.receive(1)


def test_end_after_a_word(channel: Channel) -> None:
    protocol.send(channel.theirs, protocol.MAP)
    channel.receive(1)
    channel.theirs.close()
    with pytest.raises(StepError, match="ended while it was being made"):
        channel.receive(1)


def test_too_long(channel: Channel) -> None:
    channel.theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
    protocol.send(channel.theirs, protocol.FAILED, b"x" * (protocol.MESSAGE_LIMIT + 1))
    with pytest.raises((StepError, SilentEndError)):
        channel.receive(1)


def test_too_many_descriptors_are_closed(channel: Channel) -> None:
    before = open_fds()
    protocol.send(channel.theirs, protocol.PID, b"1", [0] * (protocol.FDS_PER_MESSAGE + 20))
    with pytest.raises((StepError, SilentEndError)):
        channel.receive(1)
    assert open_fds() == before


@pytest.mark.parametrize("payload", [b"", b"x", b"-1", b"0", b"9" * 5000, b" 1", "\u0661".encode(), b"1\0"])
def test_pid_that_is_none(channel: Channel, payload: bytes) -> None:
    before = open_fds()
    with pytest.raises(StepError, match="makes no sense"):
        channel.process(payload, [os.pidfd_open(os.getpid())])
    assert open_fds() == before


def test_pidfd_of_another_process_or_of_none(channel: Channel) -> None:
    before = open_fds()
    mine = str(os.getpid()).encode()
    with pytest.raises(StepError):
        channel.process(b"1", [os.pidfd_open(os.getpid())])
    for wrong in (os.open("/dev/null", os.O_RDONLY), os.open("/", os.O_PATH), os.pidfd_open(os.getppid())):
        with pytest.raises(StepError):
            channel.process(mine, [wrong])
    with pytest.raises(StepError):
        channel.process(mine, [])
    with pytest.raises(StepError):
        channel.process(mine, [os.pidfd_open(os.getpid()), os.pidfd_open(os.getpid())])
    assert open_fds() == before


def test_pid_of_a_process_that_is_gone() -> None:
    child = subprocess.Popen(["/bin/true"])
    pidfd = os.pidfd_open(child.pid)
    assert pid_of(pidfd) == child.pid
    child.wait()
    assert pid_of(pidfd) == 0
    os.close(pidfd)


class Puppet:
    """In place of a zygote: it sends what a test wants and hangs up."""

    def __init__(self, messages: list[tuple[bytes, bytes, int]]) -> None:
        self.messages = messages

    def request(self, _request: dict[str, Any], fds: list[int]) -> None:
        with socket.socket(fileno=os.dup(fds[0])) as sock:
            for kind, payload, count in self.messages:
                protocol.send(sock, kind, payload, [0] * count)


def launch(messages: list[tuple[bytes, bytes, int]]) -> Launch:
    zygote: Any = Puppet(messages)
    return Launch(zygote, Record(id="box"), LaunchOptions())


CLONE = (
    PlannedStep(NewNamespace(because="/linux/namespaces/0", type="user"), "clone", "namespaces", "test"),
)


@given(
    st.lists(
        st.tuples(st.sampled_from(KINDS), st.binary(max_size=50), st.integers(0, 3)),
        max_size=4,
    )
)
def test_any_birth_ends_in_an_error(messages: list[tuple[bytes, bytes, int]]) -> None:
    before = open_fds()
    made = launch(messages)
    with pytest.raises((StepError, PlatformError)) as caught:
        made.clone(CLONE, namespaces={}, cgroup_fd=None, task_fds=[])
    assert str(caught.value)
    made.abort()
    made.close()
    assert open_fds() == before


@pytest.mark.parametrize("order", ["pid first", "failure first"])
def test_a_process_that_fails_at_its_birth_is_reaped(order: str) -> None:
    before = open_fds()
    child = subprocess.Popen(["/bin/sleep", "100"])
    made = launch([])
    told = (protocol.FAILED, failure.pack_failure(0, 0, 28, 0), ())
    pidfd = os.pidfd_open(child.pid)
    pid = (protocol.PID, str(child.pid).encode(), (pidfd,))

    def request(_request: dict[str, Any], fds: list[int]) -> None:
        with socket.socket(fileno=os.dup(fds[0])) as sock:
            for kind, payload, more in (pid, told) if order == "pid first" else (told, pid):
                protocol.send(sock, kind, payload, more)

    made._zygote.request = request  # type: ignore[method-assign, assignment]
    with pytest.raises(StepError, match="no space left"):
        made.clone(CLONE, namespaces={}, cgroup_fd=None, task_fds=[])
    os.close(pidfd)
    made.abort()
    with pytest.raises(ChildProcessError):
        os.waitpid(child.pid, os.WNOHANG)
    child.returncode = 0  # reaped already
    assert open_fds() == before


def test_the_stage_may_be_told_of_after_its_child() -> None:
    """Zygote and stage send on their own: whoever is off the processor for long comes last."""
    before = open_fds()
    child, stage = subprocess.Popen(["/bin/sleep", "100"]), subprocess.Popen(["/bin/true"])
    made = launch([])
    pidfds = [os.pidfd_open(one.pid) for one in (child, stage)]

    def request(_request: dict[str, Any], fds: list[int]) -> None:
        with socket.socket(fileno=os.dup(fds[0])) as sock:
            protocol.send(sock, protocol.PID, str(child.pid).encode(), pidfds[:1])
            protocol.send(sock, protocol.STAGE, str(stage.pid).encode(), pidfds[1:])

    made._zygote.request = request  # type: ignore[method-assign, assignment]
    join = JoinNamespace(because="/linux/namespaces/0", type="network", path="/proc/self/ns/net")
    try:
        opened = {("network", join.path): os.open(join.path, os.O_RDONLY | os.O_CLOEXEC)}
        try:
            steps = (PlannedStep(join, "clone", "join", "test"),)
            made.clone(steps, namespaces=opened, cgroup_fd=None, task_fds=[])
        finally:
            os.close(opened.popitem()[1])
        assert made.pid == child.pid
        with pytest.raises(ChildProcessError):
            os.waitpid(stage.pid, os.WNOHANG)
    finally:
        for fd in pidfds:
            os.close(fd)
        made.abort()
        child.returncode = stage.returncode = 0  # reaped already
    assert open_fds() == before


def born(messages: list[tuple[bytes, bytes, int]]) -> tuple[Launch, subprocess.Popen[bytes]]:
    """Return a launch with a process that is no container, whose answers to BUILD are *messages*."""
    made = launch([])
    child = subprocess.Popen(["/bin/sleep", "100"])
    channel = made._channel = Channel("box")
    made.pid, made.pidfd = child.pid, os.pidfd_open(child.pid)
    channel._heard = True
    with closing(channel.theirs) as sock:
        for kind, payload, count in messages:
            protocol.send(sock, kind, payload, [0] * count)
        made._kept = socket.fromfd(sock.fileno(), socket.AF_UNIX, socket.SOCK_SEQPACKET)  # type: ignore[attr-defined] # it reads nothing
    return made, child


ANSWERS: dict[str, tuple[bytes, bytes, int]] = {
    "unknown": (b"?", b"", 0),
    "ready with descriptors": (protocol.READY, b"", 2),
    "failure without parts": (protocol.FAILED, b"", 0),
    "failure that is too short": (protocol.FAILED, b"x" * 31, 0),
    "failure that is too long": (protocol.FAILED, b"x" * 10_000, 0),
    "failure of a phase that there is not": (protocol.FAILED, failure.pack_failure(99, 0, 2, 0), 0),
    "failure of a step that there is not": (protocol.FAILED, failure.pack_failure(1, 1 << 40, 2, 0), 0),
    "errno that there is not": (protocol.FAILED, failure.pack_failure(1, 0, 1 << 60, 0), 0),
    "negative numbers": (protocol.FAILED, failure.pack_failure(-1, -1, -1, -1), 0),
    "again a pid": (protocol.PID, b"1", 1),
    "more than there is": (protocol.MORE, b"", 0),
    "more, with words": (protocol.MORE, b"x", 0),
    "more, with descriptors": (protocol.MORE, b"", 1),
}


@pytest.mark.parametrize("case", ANSWERS)
def test_any_answer_to_build(case: str) -> None:
    before = open_fds()
    made, child = born([ANSWERS[case]])
    try:
        with pytest.raises(OrlopError) as caught:
            made.build((), (), (), b"{}", filters={}, cgroup_mounts=(), start_listener=0)
        assert str(caught.value).isprintable()
    finally:
        made.abort()
        made._kept.close()  # type: ignore[attr-defined]
        child.wait()
    assert open_fds() == before


STEPS = (
    PrepareRoot(because="/root/path", path="/", own_namespace=True, propagation="rslave"),
    RunHook(because="/hooks/createContainer/0", kind="createContainer", index=0, path="/x", args=(), env=()),
    Execute(because="/process/args", args=("/x\n",), env=(), cwd="/"),
)
OUTLINES = {
    name: [Outline.of(PlannedStep(step, step.PHASE, step.SLOT, "test")) for step in STEPS]
    for name in ("clone", "container", "confined", "exec")
}


@given(st.binary(max_size=5000))
def test_any_payload_is_an_error_for_people(payload: bytes) -> None:
    error = error_of(payload, OUTLINES, "box")
    assert isinstance(error, OrlopError)
    assert str(error).isprintable()


@given(
    st.integers(-2, 5),
    st.integers(-2, 4),
    st.integers(-5, 5000),
    st.integers(-2, 12),
    st.binary(max_size=4096),
)
def test_any_failure_is_an_error_for_people(
    phase: int, index: int, number: int, detail: int, output: bytes
) -> None:
    error = error_of(failure.pack_failure(phase, index, number, detail, output), OUTLINES, "box")
    assert str(error).isprintable()
    assert error.container == "box"


@given(st.recursive(st.none() | st.text() | st.integers(), st.lists, max_leaves=8))
def test_any_stored_outline(data: Any) -> None:
    assert isinstance(Outline.from_data(data), Outline)


def test_failure_survives_packing() -> None:
    packed = failure.pack_failure(3, 7, 13, 2, b"x" * 10_000)
    assert failure.unpack_failure(packed) == (3, 7, 13, 2, b"x" * failure.OUTPUT_LIMIT)


def test_trees_are_sent_as_they_are_asked_for(channel: Channel) -> None:
    sent: list[int] = []

    def batches() -> Iterator[list[int]]:
        for count in (3, 2):
            sent.append(count)
            yield [0] * count

    with closing(channel.theirs) as sock:
        protocol.send(sock, protocol.MORE)
        protocol.send(sock, protocol.READY)
        assert channel.serve(batches()) == (protocol.READY, b"", [])
        assert sent == [3, 2]
        for count in sent:
            kind, _, fds = protocol.receive(sock)
            assert (kind, len(fds)) == (protocol.TREES, count)
            for fd in fds:
                os.close(fd)


def test_what_a_process_said_is_heard_although_it_left_trees_behind(channel: Channel) -> None:
    """The kernel reports the unread message first (unix(7), ECONNRESET), and only then what was sent."""
    channel.send(protocol.TREES, b"", [0])
    protocol.send(channel.theirs, protocol.FAILED, b"because")
    channel.theirs.close()
    assert channel.receive() == (protocol.FAILED, b"because", [])


def test_the_child_takes_trees_in_order_and_asks_for_more() -> None:
    fds = [os.open("/dev/null", os.O_RDONLY) for _ in range(5)]
    rest = [fds[:2], fds[2:4], fds[4:]]
    context = Context(pending=["root", "mount:1", "device:2", "mount:3", "mount:4"], more=lambda: rest.pop(0))
    assert context.has("mount:4")
    assert not context.has("mount:5")
    assert context.take("root") == fds[0]
    assert len(rest) == 2
    context.discard("device:2")
    assert len(rest) == 2
    assert context.take("mount:3") == fds[3]
    assert context.take("mount:1") == fds[1]
    with pytest.raises(OSError, match="9") as caught:
        context.take("mount:1")
    assert caught.value.errno == errno.EBADF
    assert context.has("mount:4")
    assert len(rest) == 1
    with pytest.raises(OSError, match="9"):
        os.fstat(fds[2])
    assert context.take("mount:4") == fds[4]
    for fd in (fds[0], fds[1], fds[3], fds[4]):
        os.close(fd)


def test_trees_that_never_come_are_an_error() -> None:
    context = Context(pending=["root"], more=list)
    with pytest.raises(OSError, match="9"):
        context.take("root")
    with pytest.raises(OSError, match="9"):
        Context(pending=["root"]).take("root")


def test_late_mounts_leave_the_soft_limit_as_it_is() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    context = Context()
    null = os.open("/dev/null", os.O_RDONLY)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (null + 64, hard))
        for _ in range(100):
            context.make_readonly_late(null)
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (null + 64, hard)
        assert len(context.late_readonly) == len(set(context.late_readonly)) == 100
        assert sum(fd >= null + 64 for fd in context.late_readonly) == 84
    finally:
        context.close()
        os.close(null)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
