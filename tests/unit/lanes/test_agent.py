"""The agent of the virtual machine, served here by a thread over a pair of sockets."""

from __future__ import annotations

import json
import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.vm.guest import agent

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs pidfds, as on Linux")

Answer = dict[str, Any]
Ask = Callable[..., tuple[dict[str, bytes], Answer]]
RESULTS = f"import os; os.write(int(os.environ['{agent.RESULTS_FD}']), b'line')"


class Ended(Exception):  # noqa: N818 - it is no error
    """Ends the agent's endless loop."""


class Served(agent.Agent):
    """An agent that ends when the other side has closed, and whose commands keep their limits."""

    def receive(self) -> list[tuple[bytes, bytes]]:
        data = os.read(self.port, 1 << 16)
        if not data:
            raise Ended
        return list(self.reader.feed(data))


@pytest.fixture
def ask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ask]:
    """Return a function that has the agent run a command."""
    clocks: list[float] = []
    monkeypatch.setattr(time, "clock_settime", lambda _clock, now: clocks.append(now))
    monkeypatch.setattr(agent.Command, "_prepare", lambda _self: None)
    ours, theirs = socket.socketpair()

    def serve() -> None:
        try:
            Served(theirs.fileno(), str(tmp_path)).serve()
        except Ended:
            theirs.close()

    thread = threading.Thread(target=serve)
    thread.start()
    reader = agent.Reader()

    def run(*argv: str, data: bytes = b"", timeout: float = 60) -> tuple[dict[str, bytes], Answer]:
        request = {"argv": argv, "cwd": "/", "env": dict(os.environ), "timeout": timeout, "now": 1.0}
        ours.sendall(agent.frame(b"R", json.dumps(request).encode()))
        sender = threading.Thread(
            target=ours.sendall, args=((agent.frame(b"I", data) if data else b"") + agent.frame(b"I", b""),)
        )
        sender.start()
        outputs = {"o": b"", "e": b"", "r": b""}
        try:
            while True:
                for kind, content in reader.feed(ours.recv(1 << 16)):
                    if kind == b"x":
                        assert clocks.pop() == 1.0
                        return outputs, json.loads(content)
                    outputs[kind.decode()] += content
        finally:
            sender.join()

    yield run
    ours.close()
    thread.join()


def test_frames_are_whole_however_they_come() -> None:
    sent = [(b"a", b""), (b"b", b"x" * 70000), (b"c", b"\0\xff")]
    stream = b"".join(agent.frame(kind, data) for kind, data in sent)
    for size in (1, 3, 4096, len(stream)):
        reader = agent.Reader()
        got = [
            found
            for start in range(0, len(stream), size)
            for found in reader.feed(stream[start : start + size])
        ]
        assert got == sent


def test_a_frame_is_not_seen_twice_by_one_who_leaves_in_between() -> None:
    reader = agent.Reader()
    assert next(reader.feed(agent.frame(b"x", b"1"))) == (b"x", b"1")
    assert list(reader.feed(agent.frame(b"x", b"2"))) == [(b"x", b"2")]


def test_outputs_and_status_come_back_apart(ask: Ask) -> None:
    outputs, answer = ask("sh", "-c", "echo out; echo err >&2; exit 3")
    assert outputs == {"o": b"out\n", "e": b"err\n", "r": b""}
    assert answer == {"status": 3, "timed_out": False}


def test_results_have_a_descriptor_of_their_own(ask: Ask) -> None:
    outputs, answer = ask(sys.executable, "-c", RESULTS)
    assert (outputs["r"], answer["status"]) == (b"line", 0)


def test_input_is_passed_on_whole_and_ended(ask: Ask) -> None:
    data = bytes(range(256)) * 2000
    outputs, answer = ask("cat", data=data)
    assert outputs["o"] == data
    assert answer["status"] == 0


def test_input_that_nobody_reads_is_no_failure(ask: Ask) -> None:
    assert ask("true", data=b"x" * 300000)[1]["status"] == 0
    assert ask("sh", "-c", "echo next")[0]["o"] == b"next\n"


def test_a_program_that_is_not_there_is_reported(ask: Ask) -> None:
    _, answer = ask("/nonexistent")
    assert answer["status"] == 127
    assert "No such file" in answer["error"]


def test_a_signal_shows_in_the_status(ask: Ask) -> None:
    assert ask("sh", "-c", "kill -9 $$")[1]["status"] == -9


def test_the_deadline_kills_the_whole_group(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    killed = []

    def kill(command: agent.Command) -> None:
        killed.append(command.group)
        command.process.kill()

    monkeypatch.setattr(agent.Command, "kill", kill)
    _, answer = ask("sleep", "1000", timeout=0)
    assert answer == {"status": -9, "timed_out": True}
    assert [os.path.basename(group) for group in killed] == ["command-1"]


def test_what_a_command_leaves_behind_is_not_waited_for(ask: Ask) -> None:
    outputs, answer = ask("sh", "-c", "sleep 1000 & echo $!")
    os.kill(int(outputs["o"]), 9)
    assert answer["status"] == 0
