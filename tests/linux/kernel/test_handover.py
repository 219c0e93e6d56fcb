"""What comes from a container process while a listener is handed over is input: nothing is believed."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.linux.child.agents import PATIENCE, Agent

from orlop_hookspecs.errors import StepError
from orlop_hookspecs.record import Record
from orlop_linux.init import failure, handover
from orlop_linux.live.listener import Handover
from orlop_linux.live.process import start_time

STATE = b'{"ociVersion": "1.3.0", "id": "box", "status": "created", "bundle": "/b"}'


class Child:
    """The other side: a process that only sleeps stands for the container process, and one for its helper."""

    def __init__(self) -> None:
        self.ours, self.theirs = socket.socketpair()
        self.process = self._sleep()
        self.helper = self._sleep()
        self.pidfd = os.pidfd_open(self.helper.pid)
        self.page = os.memfd_create("handover")
        os.ftruncate(self.page, handover.SIZE)

    @staticmethod
    def _sleep() -> subprocess.Popen[bytes]:
        return subprocess.Popen(["sleep", "1000"], stdin=subprocess.DEVNULL)

    def say(self, kind: bytes, *fds: int) -> None:
        socket.send_fds(self.theirs, [kind], fds)

    def close(self) -> None:
        for process in (self.process, self.helper):
            process.kill()
            process.wait()
        for sock in (self.ours, self.theirs):
            sock.close()
        os.close(self.pidfd)
        os.close(self.page)


@pytest.fixture
def child() -> Iterator[Child]:
    made = Child()
    yield made
    made.close()


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Agent]:
    with Agent(tmp_path / "agent.sock") as made:
        yield made


@pytest.fixture
def record(agent: Agent, child: Child) -> Record:
    pid = child.process.pid
    stored = {"listener": [str(agent.path), None]}
    return Record(id="box", pid=pid, start_time=start_time(pid), kernel=stored)


def page_is_no_memory(child: Child) -> None:
    with open("/dev/null", "rb") as file:
        child.say(handover.ANNOUNCED, file.fileno(), child.pidfd)


def helper_is_no_process(child: Child) -> None:
    child.say(handover.ANNOUNCED, child.page, child.page)


def more_than_is_due(child: Child) -> None:
    child.say(handover.ANNOUNCED, child.page, child.pidfd, child.page)


def listener_without_announcement(child: Child) -> None:
    child.say(handover.LISTENER, child.page)


def listener_is_none(child: Child) -> None:
    child.say(handover.ANNOUNCED, child.page, child.pidfd)
    child.say(handover.LISTENER, child.page)


def announced_twice(child: Child) -> None:
    child.say(handover.ANNOUNCED, child.page, child.pidfd)
    child.say(handover.ANNOUNCED, child.page, child.pidfd)


@pytest.mark.parametrize(
    "say",
    [
        page_is_no_memory,
        helper_is_no_process,
        more_than_is_due,
        listener_without_announcement,
        listener_is_none,
        announced_twice,
    ],
)
def test_nonsense_is_refused_and_its_descriptors_are_closed(
    record: Record, child: Child, agent: Agent, say: Callable[[Child], None]
) -> None:
    before = sorted(os.listdir("/proc/self/fd"))
    say(child)
    with pytest.raises(StepError, match="makes no sense"):
        Handover(record, STATE).attend(child.ours.fileno())
    assert sorted(os.listdir("/proc/self/fd")) == before
    assert child.process.wait(PATIENCE) == -9
    assert agent.states == []


def test_a_process_that_ends_without_a_word_has_not_started(record: Record, child: Child) -> None:
    child.theirs.shutdown(socket.SHUT_RDWR)
    with pytest.raises(StepError, match="ended before its start"):
        Handover(record, STATE).attend(child.ours.fileno())


def test_a_failure_before_the_filter_is_loaded_is_told(record: Record, child: Child) -> None:
    packed = failure.pack_failure(failure.PHASE_EXEC, 2, 22, failure.DETAIL_NONE)
    child.say(handover.ANNOUNCED, child.page, child.pidfd)
    child.helper.kill()  # it has nothing to do then
    child.theirs.sendall(packed)
    child.theirs.shutdown(socket.SHUT_RDWR)
    assert Handover(record, STATE).attend(child.ours.fileno()) == packed


def test_a_helper_that_is_killed_is_noticed(record: Record, child: Child) -> None:
    child.say(handover.ANNOUNCED, child.page, child.pidfd)
    child.helper.kill()
    with pytest.raises(StepError, match="does not send the listener"):
        Handover(record, STATE).attend(child.ours.fileno())
    assert child.process.wait(PATIENCE) == -9


@pytest.mark.parametrize(
    "stored", [None, [], ["relative", None], ["/a", 7], ["/a"], "/a", ["/a", None, None]]
)
def test_a_damaged_record_is_refused(record: Record, stored: object) -> None:
    record.kernel["listener"] = stored
    with pytest.raises(StepError, match="damaged"):
        Handover(record, STATE)
