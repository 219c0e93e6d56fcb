"""What a container's terminal gives to standard output: never more than it takes at once."""

from __future__ import annotations

import os
import select

import pytest

from orlop.cli import terminal
from orlop.cli.terminal import Output

DATA = bytes(range(256)) * 1000


def refuse(*_: object) -> int:
    raise PermissionError(13, "permission denied")


@pytest.mark.parametrize("opens", [True, False])
def test_output_never_waits(monkeypatch: pytest.MonkeyPatch, opens: bool) -> None:
    """A pipe of somebody else's cannot be opened once more: it then gets little at a time."""
    reader, writer = os.pipe()
    monkeypatch.setattr(terminal, "_STDOUT", writer)
    with monkeypatch.context() as patch:
        if not opens:
            patch.setattr(os, "open", refuse)
        output = Output()
    assert (output.descriptor != writer) is opens
    try:
        output.pending = DATA
        while select.select([], [output.descriptor], [], 0)[1]:
            output.flush()
        assert 0 < len(output.pending) < len(DATA)
        assert os.get_blocking(writer)
        found = bytearray()
        while len(found) < len(DATA):
            found += os.read(reader, 4096)
            if select.select([], [output.descriptor], [], 0)[1]:
                output.flush()
        assert (bytes(found), output.pending, output.failure) == (DATA, b"", None)
        os.close(reader)
        reader = -1
        output.pending = DATA
        output.flush()
        assert isinstance(output.failure, BrokenPipeError)
        assert output.pending == b""
    finally:
        output.close()
        for descriptor in (reader, writer):
            if descriptor >= 0:
                os.close(descriptor)
