"""Write resources to the hierarchy that has the controller, precisely or not at all."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from orlop_hookspecs.errors import shorten
from orlop_linux.kernel.refusal import refuse, refuse_os
from orlop_linux.live.cgroups import read_file, write_file

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orlop_hookspecs.errors import StepError
    from orlop_hookspecs.steps import WriteCgroup

_CORE = frozenset({"", "cgroup"})  # files of cgroup v2 itself


class Target:
    """One of the container's cgroups, open, as far as writing to it needs to know."""

    __slots__ = ("controllers", "directory", "fd", "version")

    def __init__(self, fd: int, directory: str, version: int, controllers: Sequence[str]) -> None:
        """Borrow *fd*."""
        self.fd = fd
        self.directory = directory
        self.version = version
        self.controllers = tuple(controllers)


def write(targets: Sequence[Target], step: WriteCgroup, plugin: str) -> None:
    """Execute *step* on the cgroup that has its controller.

    Raises:
        StepError: No hierarchy has the controller, the property does not exist on its version, or the kernel
        refused.
    """
    target, pairs = _choose(targets, step, plugin)
    if step.alternatives:
        pairs = _first_that_exists(target, pairs)
    postponed: list[tuple[str, str]] = []
    for name, text in pairs:
        try:
            _write_one(target, name, text, step, plugin)
        except OSError as error:
            # memory <= memory+swap must hold after every write (kernel doc, cgroup-v1/memory.rst): which one
            # goes first depends on the values that are there.
            if (
                error.errno not in {errno.EINVAL, errno.EBUSY}
                or target.version != 1
                or not name.endswith("limit_in_bytes")
            ):
                raise
            if len(pairs) == 1:
                raise
            postponed.append((name, text))
    for name, text in postponed:
        _write_one(target, name, text, step, plugin)


def _choose(
    targets: Sequence[Target], step: WriteCgroup, plugin: str
) -> tuple[Target, Sequence[tuple[str, str]]]:
    name = step.v1_controller or step.controller
    unified = None
    for target in targets:
        if target.version == 2:
            unified = target
        elif name in target.controllers:
            if step.v1 is None:
                raise refuse(
                    step,
                    plugin,
                    f"this needs cgroup v2, and the host has controller {name} on cgroup v1",
                    number=errno.EOPNOTSUPP,
                )
            return target, step.v1
    if unified is not None and (
        step.controller in _CORE or step.controller in read_file(unified.fd, "cgroup.controllers").split()
    ):
        if step.v2 is None:
            raise refuse(step, plugin, "this property does not exist on cgroup v2", number=errno.EOPNOTSUPP)
        return unified, step.v2
    if not targets:
        raise refuse(
            step,
            plugin,
            "the container has no cgroup of its own to limit",
            number=errno.EOPNOTSUPP,
            hint="cgroups are disabled, or the caller may not make any",
        )
    raise refuse(
        step,
        plugin,
        f"the host has no cgroup controller {step.controller or 'of cgroup v2'}",
        number=errno.EOPNOTSUPP,
        hint=f"it has {', '.join(_available(targets)) or 'none'}",
    )


def _available(targets: Sequence[Target]) -> list[str]:
    names: set[str] = set()
    for target in targets:
        if target.version == 2:
            names.update(read_file(target.fd, "cgroup.controllers").split())
        else:
            names.update(name for name in target.controllers if not name.startswith("name="))
    return sorted(names)


def _first_that_exists(target: Target, pairs: Sequence[tuple[str, str]]) -> Sequence[tuple[str, str]]:
    """Return the first pair whose file exists, or the first of all, which then says what is missing."""
    for pair in pairs:
        try:
            os.stat(pair[0], dir_fd=target.fd, follow_symlinks=False)
        except FileNotFoundError:
            continue
        return (pair,)
    return pairs[:1]


def _write_one(target: Target, name: str, text: str, step: WriteCgroup, plugin: str) -> None:
    if "/" in name or name in {"", ".", "..", "cgroup.procs", "cgroup.threads", "tasks", "release_agent"}:
        raise refuse(step, plugin, f"{shorten(name)} is not a file that sets a resource")
    try:
        write_file(target.fd, name, text)
    except OSError as error:
        raise _refused(target, name, text, error, step, plugin) from error


def _refused(  # noqa: PLR0913, PLR0917 - what an error needs
    target: Target, name: str, text: str, error: OSError, step: WriteCgroup, plugin: str
) -> StepError:
    hint = ""
    if error.errno in {errno.EACCES, errno.EPERM}:
        hint = "the caller may not, or the parent cgroup does not allow it"
    return refuse_os(
        step, plugin, f"cannot write {shorten(text)} to {name}", error, path=target.directory, hint=hint
    )
