"""The agent in the guest: runs one command after the other for whoever holds the other end of a serial port.

A frame is its length in four bytes, one letter, and that many bytes. From the host come ``R`` (a request in
JSON), ``I`` (input for the command; an empty one closes it) and ``K`` (kill it). From the guest come ``o``,
``e`` and ``r`` (what the command wrote to its output, to its errors and to the descriptor that
``ORLOP_RESULTS_FD`` names) and at the end ``x`` (how it ended, in JSON).

Only the standard library: the guest runs this file by itself, and the host imports it for the frames.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import select
import struct
import subprocess
import time
from collections.abc import Iterator
from typing import Any

PORT = "/dev/virtio-ports/orlop"
RESULTS_FD = "ORLOP_RESULTS_FD"
GROUPS = "/sys/fs/cgroup"
UNIFIED = f"{GROUPS}/unified"  # where systemd mounts it when version 1 has the controllers
_HEAD = struct.Struct(">I c")
_CHUNK = 1 << 16
_OPEN_FILES = 1024
_PERF_EVENT_OPEN = 298  # x86_64, as the emulated machine
_PERF_FLAG_FD_CLOEXEC = 8
_PAUSE = 0.02
# systemd hands over the controllers that it knows; these it leaves to others.
_NOT_SYSTEMDS = ("hugetlb", "rdma", "misc")


def frame(kind: bytes, data: bytes) -> bytes:
    """Return one frame."""
    return _HEAD.pack(len(data), kind) + data


class Reader:
    """Takes bytes as they come, and gives whole frames."""

    def __init__(self) -> None:
        """Start with nothing."""
        self._held = bytearray()

    def feed(self, data: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Add *data*, and yield the frames that are now whole."""
        self._held += data
        while len(self._held) >= _HEAD.size:
            length, kind = _HEAD.unpack_from(self._held)
            end = _HEAD.size + length
            if len(self._held) < end:
                return
            data = bytes(self._held[_HEAD.size : end])
            # First, as the caller may never come back for the next one.
            del self._held[:end]
            yield kind, data


class Command:
    """One command in a control group of its own, and the pipes to it."""

    def __init__(self, request: dict[str, Any], group: str) -> None:
        """Start it."""
        self.group = group
        os.makedirs(group, exist_ok=True)
        results, theirs = os.pipe()
        environment = {**request["env"], RESULTS_FD: str(theirs)}
        try:
            self.process = subprocess.Popen(
                request["argv"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                cwd=request["cwd"],
                env=environment,
                pass_fds=(theirs,),
                start_new_session=True,
                preexec_fn=self._prepare,  # noqa: PLW1509 - the agent has one thread
            )
        except BaseException:
            os.close(results)
            raise
        finally:
            os.close(theirs)
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        self.stdin = self.process.stdin.fileno()
        self.outputs = {
            self.process.stdout.fileno(): b"o",
            self.process.stderr.fileno(): b"e",
            results: b"r",
        }
        self._results = results
        self.pending = bytearray()
        self.input_ends = False
        self.deadline = time.monotonic() + request["timeout"]
        self.timed_out = False
        self.pidfd = os.pidfd_open(self.process.pid)

    def _prepare(self) -> None:
        with open(f"{self.group}/cgroup.procs", "w") as file:
            file.write("0")
        with open("/proc/self/oom_score_adj", "w") as file:
            file.write("0")
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (_OPEN_FILES, hard))

    def kill(self) -> None:
        """Kill it and all that it started and that stayed in its control group."""
        with open(f"{self.group}/cgroup.kill", "w") as file:
            file.write("1")

    def write_input(self) -> None:
        """Pass on some of the input that has come."""
        try:
            count = os.write(self.stdin, self.pending[:_CHUNK])
        except BrokenPipeError:
            count = len(self.pending)
        del self.pending[:count]

    def close_input(self) -> None:
        """Let the command see the end of its input."""
        assert self.process.stdin is not None
        if not self.process.stdin.closed:
            self.process.stdin.close()

    def close(self) -> None:
        """Close all descriptors; the process has been waited for."""
        self.close_input()
        for stream in (self.process.stdout, self.process.stderr):
            assert stream is not None
            stream.close()
        os.close(self._results)
        os.close(self.pidfd)


class Agent:
    """Serves the port."""

    def __init__(self, port: int, group: str) -> None:
        """Serve the open *port*; commands run in groups below *group*."""
        self.port = port
        self.reader = Reader()
        self.group = group
        self.count = 0

    def send(self, kind: bytes, data: bytes) -> None:
        """Write one frame, all of it."""
        left = memoryview(frame(kind, data))
        while left:
            try:
                left = left[os.write(self.port, left) :]
            except BlockingIOError:
                select.select([], [self.port], [], 1)

    def receive(self) -> list[tuple[bytes, bytes]]:
        """Return the frames that have come; a port that nobody holds is at its end for the time being."""
        data = os.read(self.port, _CHUNK)
        if not data:
            select.select([], [], [], _PAUSE)
        return list(self.reader.feed(data))

    def serve(self) -> None:
        """Run what is asked for, for ever."""
        while True:
            select.select([self.port], [], [])
            frames = self.receive()
            for number, (kind, data) in enumerate(frames):
                if kind == b"R":
                    self.run(json.loads(data), frames[number + 1 :])
                    break

    def run(self, request: dict[str, Any], frames: list[tuple[bytes, bytes]]) -> None:
        """Run one command; *frames* came together with the request."""
        # A restored machine's clock stands where it was saved.
        time.clock_settime(time.CLOCK_REALTIME, request["now"])
        self.count += 1
        try:
            command = Command(request, f"{self.group}/command-{self.count}")
        except (OSError, subprocess.SubprocessError) as error:
            self.send(b"x", json.dumps({"status": 127, "error": str(error)}).encode())
            return
        try:
            self.take(command, frames)
            self.attend(command)
            answer = {"status": command.process.wait(), "timed_out": command.timed_out}
        finally:
            command.close()
        self.send(b"x", json.dumps(answer).encode())

    def take(self, command: Command, frames: list[tuple[bytes, bytes]]) -> None:
        """Do what the host says about the running command."""
        for kind, data in frames:
            if kind == b"I" and data:
                command.pending += data
            elif kind == b"I":
                command.input_ends = True
            elif kind == b"K":
                command.kill()

    def attend(self, command: Command) -> None:
        """Carry bytes in both directions until the command has ended and its output is at its end.

        A process that it leaves behind may keep the output open; what that writes later is nobody's.
        """
        ended = False
        outputs = dict(command.outputs)
        while not ended or outputs:
            if not command.pending and command.input_ends:
                command.close_input()
            wait = 0.0 if ended else max(0.0, command.deadline - time.monotonic())
            readers = [self.port, *outputs] + ([] if ended else [command.pidfd])
            readable, writable, _ = select.select(
                readers, [command.stdin] if command.pending else [], [], wait
            )
            if self.port in readable:
                self.take(command, self.receive())
            if writable:
                command.write_input()
            for descriptor in outputs.keys() & set(readable):
                data = os.read(descriptor, _CHUNK)
                if data:
                    self.send(outputs[descriptor], data)
                else:
                    del outputs[descriptor]
            if ended and not outputs.keys() & set(readable):
                return
            ended = ended or command.pidfd in readable
            if not ended and time.monotonic() > command.deadline:
                command.timed_out = True
                command.kill()
                command.deadline = time.monotonic() + 5


def own_group() -> str:
    """Return the group that systemd has delegated to this service."""
    with open("/proc/self/cgroup") as file:
        path = next(line for line in file.read().splitlines() if line.startswith("0::"))[3:]
    return (UNIFIED if os.path.isdir(UNIFIED) else GROUPS) + os.path.dirname(path)


def enable_controllers(group: str) -> None:
    """Let groups below the root, and those below *group*, have all controllers, where version 2 has them."""
    if os.path.isdir(UNIFIED):
        return
    parts = group.removeprefix(GROUPS).split("/")
    for depth in range(len(parts)):
        place = GROUPS + "/".join(parts[: depth + 1])
        with open(f"{place}/cgroup.controllers") as file:
            available = file.read().split()
        for controller in available:
            # In the groups between only what systemd leaves to others: of its own it takes back the rest.
            if controller in _NOT_SYSTEMDS or place == group:
                with open(f"{place}/cgroup.subtree_control", "w") as file:
                    file.write(f"+{controller}")


def watch_ourselves() -> None:
    """Have one event of perf_event_open(2) attached to a task for as long as the machine runs.

    With the first such event, and after the last, the kernel patches its scheduler. criu sets hardware
    breakpoints, which are such events, and the emulator, whose processors run at the same time, can execute
    what is half patched: the machine dies of "Oops: int3" in __schedule.
    """
    dummy, exclude_kernel = 9, 1 << 5  # PERF_COUNT_SW_DUMMY, and a bit of perf_event_attr
    attributes = struct.pack("=IIQQQQQIIQ", 1, 64, dummy, 0, 0, 0, exclude_kernel, 0, 0, 0)
    call = ctypes.CDLL(None, use_errno=True).syscall
    if call(_PERF_EVENT_OPEN, attributes, 0, -1, -1, ctypes.c_ulong(_PERF_FLAG_FD_CLOEXEC)) < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def main() -> None:
    """Open the port and serve it."""
    watch_ourselves()
    group = own_group()
    enable_controllers(group)
    port = os.open(PORT, os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK)
    Agent(port, group).serve()


if __name__ == "__main__":
    main()
