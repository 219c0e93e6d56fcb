"""The end of a container that somebody traces, as CRIU does: the tracer is told first (ptrace(2))."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from threading import Thread

from tests.linux.child.support import PATIENCE, Box

TRACER = """
import ctypes, sys
call = ctypes.CDLL(None, use_errno=True).ptrace
assert call(0x4206, int(sys.argv[1]), None, None) == 0, ctypes.get_errno()
print("seized", flush=True)
sys.stdin.read()
"""
"""Seizes a process (PTRACE_SEIZE), and lets it go with its own end."""


def test_its_status_is_known(box: Box) -> None:
    made = box.start()
    ended = os.pidfd_open(made.pid)
    found: list[int | None] = []
    pipe = subprocess.PIPE
    command = [sys.executable, "-IS", "-c", TRACER, str(made.pid)]
    try:
        with subprocess.Popen(command, stdin=pipe, stdout=pipe) as tracer:
            assert tracer.stdout is not None
            assert tracer.stdout.readline() == b"seized\n"
            signal.pidfd_send_signal(ended, signal.SIGKILL)
            assert select.select([ended], [], [], PATIENCE)[0]
            waiter = Thread(target=lambda: found.append(made.wait(PATIENCE)))
            waiter.start()
            tracer.communicate(b"")
        waiter.join(PATIENCE)
    finally:
        os.close(ended)
    assert found == [137]
