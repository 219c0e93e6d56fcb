"""Checkpoints: whether there is a CRIU that works with the running kernel, and for this caller.

CRIU knows best: ``criu check`` (criu(8)) tries what it needs, in processes of its own that end with it. What
it has found out about the kernel it keeps in a file of its own below ``/run``, as on each of its runs.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from orlop_hookspecs.availability import Answer
from orlop_hookspecs.errors import PlatformError
from orlop_linux.kernel.criu.dump import require_privileges
from orlop_linux.kernel.criu.service import OLDEST, find

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orlop_linux.kernel.kernel import LinuxKernel

_PREFIX = "checkpoint"
_FEATURES = {
    "checkpoint.preDump": (
        "mem_dirty_track",
        "the kernel cannot track which memory changes (CONFIG_MEM_SOFT_DIRTY)",
    ),
    "checkpoint.lazyPages": (
        "uffd-noncoop",
        "the kernel cannot serve memory when it is needed (CONFIG_USERFAULTFD)",
    ),
}
"""What CRIU calls what a kernel may lack (``criu check --feature``), and what that means."""

_SECONDS = 30.0
_VERSION = re.compile(r"Version: ([0-9]+)\.([0-9]+)", re.ASCII)


def answers(_: LinuxKernel, names: Sequence[str]) -> dict[str, Answer]:
    """Answer about checkpoints."""
    wanted = [name for name in names if name.partition(".")[0] == _PREFIX]
    if not wanted:
        return {}
    try:
        program = find()
    except PlatformError as error:
        return dict.fromkeys(wanted, Answer(available=False, reason=error.message, remedy=error.hint))
    old = _too_old(program)
    if old is not None:
        return dict.fromkeys(wanted, old)
    try:
        require_privileges()
    except PlatformError as error:
        # Whether it works it can only find out with them.
        refused = Answer(available=True, allowed=False, reason=error.message, remedy="run as the host's root")
        return dict.fromkeys(wanted, refused)
    whole = _check(program)
    found = {}
    for name in wanted:
        feature, why = _FEATURES.get(name, ("", ""))
        answer = whole
        if feature and whole.available and not _check(program, "--feature", feature).available:
            answer = Answer(available=False, reason=why, remedy="use a kernel that was built with it")
        found[name] = answer
    return found


def _too_old(program: str) -> Answer | None:
    status, said = _run(program, "--version")
    found = _VERSION.search(said)
    if found is None:
        why = f"{program} does not say its version: status {status}"
    elif (int(found[1]), int(found[2])) < OLDEST:
        why = f"criu {found[1]}.{found[2]} is too old"
    else:
        return None
    return Answer(
        available=False,
        reason=why,
        remedy=f"install criu {OLDEST[0]}.{OLDEST[1]} or later, or put it on PATH",
    )


def _check(program: str, *more: str) -> Answer:
    """Return what ``criu check`` finds; of its errors the first one says why."""
    status, said = _run(program, "check", *more)
    if status == 0:
        return Answer(available=True)
    lines = [line.partition("): ")[2].strip() for line in said.splitlines() if "Error (" in line]
    reason = next(filter(None, lines), f"status {status}")
    return Answer(
        available=False,
        reason=f"criu check fails on this kernel: {reason}",
        remedy="use a criu that knows this kernel, or a kernel with what it asks for",
    )


def _run(*command: str) -> tuple[int, str]:
    import subprocess

    try:
        done = subprocess.run(  # noqa: S603 - the program that a checkpoint would run
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            cwd="/",
            timeout=_SECONDS,
        )
    except subprocess.TimeoutExpired:
        return -1, f"Error (): no answer within {_SECONDS:.0f} seconds"
    except OSError as error:
        return -1, f"Error (): {error.strerror}"
    return done.returncode, (done.stdout + done.stderr).decode(errors="replace")
