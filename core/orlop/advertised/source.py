"""Where a features document comes from: a file, standard input, or a runtime that is asked for it."""

from __future__ import annotations

import os
import selectors
import shutil
import signal
import subprocess
import time
from typing import TYPE_CHECKING, Any

from orlop.documents.reader import SIZE_LIMIT, parse, read_file
from orlop_hookspecs.errors import DocumentError, PlatformError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

PATIENCE = 60.0
"""Seconds that a runtime may take to print its features."""

STANDARD_INPUT = "-"

_LINE = 200


def read_features(place: str) -> dict[str, Any]:
    """Return the features document at *place* as JSON data, which need not be a valid one.

    Args:
        place: ``-`` for standard input; the path of a file; or a runtime: the path of an executable file, or
            a name without a slash that is found in ``PATH``. A runtime is run with the argument ``features``.

    Raises:
        UsageError: There is neither such a file nor such a program.
        DocumentError: What was read is no JSON object.
        PlatformError: The runtime could not be run, or printed no document.
    """
    text, name = read_text(place)
    return parse(text, path=name)


def read_text(place: str) -> tuple[bytes, str]:
    """Return the text of the document at *place*, and its name for errors; see :func:`read_features`."""
    if place == STANDARD_INPUT:
        return _standard_input(), "standard input"
    program = runtime_at(place)
    if program:
        return _ask(program, place), f"{place} features"
    try:
        return read_file(place), place
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise UsageError(
            f"cannot read the features document: {why}",
            path=place,
            errno=error.errno,
            hint="" if "/" in place else "it is no program in PATH either",
        ) from None


def runtime_at(place: str) -> str:
    """Return the program that *place* names; empty when it names a file to be read."""
    if not place:
        raise UsageError("the name of a features document is empty", value=place)
    if "/" not in place:
        return shutil.which(place) or ""
    return place if os.path.isfile(place) and os.access(place, os.X_OK) else ""


def _standard_input() -> bytes:
    text = bytearray()
    while block := os.read(0, 1 << 16):
        text += block
        if len(text) > SIZE_LIMIT:
            raise DocumentError(f"document has more than {SIZE_LIMIT} bytes", path="standard input")
    return bytes(text)


def _ask(program: str, name: str) -> bytes:
    """Return what *program* prints when it is asked for its features."""
    command: Sequence[str] = (program, "features")
    try:
        # A session of its own, so that whatever it starts can be ended with it.
        running = subprocess.Popen(  # noqa: S603 - the caller named the program, and there is no shell
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise PlatformError(f"cannot run {name}: {why}", path=program, errno=error.errno) from error
    try:
        output, complaint = _listen(running, name)
    finally:
        if running.poll() is None:
            os.killpg(running.pid, signal.SIGKILL)
        running.communicate()
    if running.returncode:
        line = complaint.decode("utf-8", "replace").strip().partition("\n")[0][:_LINE]
        why = f": {line}" if line else ""
        raise PlatformError(
            f"{name} prints no features document, its status is {running.returncode}{why}",
            path=program,
            hint="a runtime that has no features command can only be judged by trying it",
        )
    return output


def _listen(running: subprocess.Popen[bytes], name: str) -> tuple[bytes, bytes]:
    """Return what *running* writes to its output and to its error output until it closes both and ends.

    Raises:
        PlatformError: It takes too long, or writes more than any document has.
    """
    deadline = time.monotonic() + PATIENCE
    late = PlatformError(f"{name} features has not ended after {PATIENCE:.0f} seconds", path=name)
    output, complaint = bytearray(), bytearray()
    with selectors.DefaultSelector() as pipes:
        for pipe, text in ((running.stdout, output), (running.stderr, complaint)):
            assert pipe is not None  # noqa: S101 - both were asked for
            pipes.register(pipe, selectors.EVENT_READ, text)
        while pipes.get_map():
            ready = pipes.select(max(0.0, deadline - time.monotonic()))
            if not ready and time.monotonic() >= deadline:
                raise late
            for key, _ in ready:
                block = os.read(key.fd, 1 << 16)
                if not block:
                    pipes.unregister(key.fileobj)
                key.data.extend(block)
                if len(key.data) > SIZE_LIMIT:
                    raise PlatformError(f"{name} features prints more than {SIZE_LIMIT} bytes", path=name)
    try:
        running.wait(max(0.0, deadline - time.monotonic()))
    except subprocess.TimeoutExpired:
        raise late from None
    return bytes(output), bytes(complaint)
