"""A machine that has the work tree in it and takes commands."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.vm import image, share
from tests.vm.machine import RESTORE_SECONDS, WORK, Machine, Sinks


@contextmanager
def machine(kind: str, *, anew: bool = False, tree: bool = True) -> Iterator[Machine]:
    """Provide a restored machine, ended afterwards.

    Args:
        kind: Which one, of ``KINDS``.
        anew: Make its image again from nothing.
        tree: Put the work tree and the installation of orlop into it.
    """
    made = image.get(kind, anew=anew)
    with (
        tempfile.TemporaryDirectory(prefix="orlop-vm-") as place,
        Machine(made.directory, kind, Path(place)) as running,
    ):
        if tree:
            put_tree(running, made.python)
        yield running


def put_tree(running: Machine, python: str) -> None:
    """Unpack the work tree into the guest's memory, and compile what orlop itself would compile each time."""
    said = bytearray()
    sinks = Sinks(errors=said.extend)
    for command, data in (
        (["tar", "-x", "-C", "/", "-f", "-"], share.pack(python)),
        # The zygote writes no bytecode: without any it takes three times as long to start.
        (["python", "-m", "compileall", "-q", f"{WORK}/platforms/linux/orlop_linux/init"], b""),
    ):
        ended = running.run(command, timeout=RESTORE_SECONDS, data=data, sinks=sinks)
        if ended.status:
            said_there = said.decode(errors="replace")
            raise running.failed(f"the work tree cannot be put there: {command[0]}: {said_there}")
