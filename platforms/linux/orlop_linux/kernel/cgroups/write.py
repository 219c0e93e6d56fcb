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
    from orlop_linux.kernel.cgroups.hierarchies import Hierarchy

_CORE = frozenset({"", "cgroup"})  # files of cgroup v2 itself
_UNSUPPORTED = frozenset({errno.ENOENT, errno.EOPNOTSUPP})


class Target:
    """One of the container's cgroups, open, as far as writing to it needs to know."""

    __slots__ = ("controllers", "directory", "fd", "version")

    def __init__(self, fd: int, directory: str, version: int, controllers: Sequence[str]) -> None:
        """Borrow *fd*."""
        self.fd = fd
        self.directory = directory
        self.version = version
        self.controllers = tuple(controllers)

    def available(self) -> list[str]:
        """Return the controllers that count in this cgroup."""
        if self.version == 2:
            return read_file(self.fd, "cgroup.controllers").split()
        return [name for name in self.controllers if not name.startswith("name=")]


def check(hierarchies: Sequence[Hierarchy], step: WriteCgroup, plugin: str) -> None:
    """Raise what :func:`write` would raise on a host without the controller; nothing is touched."""
    roots: list[Target] = []
    try:
        for one in hierarchies:
            fd = os.open(one.mount, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC) if one.version == 2 else -1
            roots.append(Target(fd, one.mount, one.version, one.controllers))
        choose(roots, step, plugin)
    finally:
        for root in roots:
            if root.fd >= 0:
                os.close(root.fd)


def write(targets: Sequence[Target], step: WriteCgroup, plugin: str) -> None:
    """Execute *step* on the cgroup that has its controller.

    Raises:
        StepError: No hierarchy has the controller, the property does not exist on its version, or the kernel
        refused.
    """
    target, pairs = resolve(targets, step, plugin)
    if step.alternatives:
        _write_first(target, pairs, step, plugin)
        return
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


def choose(
    targets: Sequence[Target], step: WriteCgroup, plugin: str
) -> tuple[Target, Sequence[tuple[str, str]]]:
    """Return the cgroup that has the step's controller, and what is to be written there.

    Raises:
        StepError: There is none, or the property does not exist on its version.
    """
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
    if unified is not None and (step.controller in _CORE or step.controller in unified.available()):
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
    names = sorted({name for target in targets for name in target.available()})
    raise refuse(
        step,
        plugin,
        f"the host has no cgroup controller {step.controller or 'of cgroup v2'}",
        number=errno.EOPNOTSUPP,
        hint=f"it has {', '.join(names) or 'none'}",
    )


def resolve(
    targets: Sequence[Target], step: WriteCgroup, plugin: str
) -> tuple[Target, Sequence[tuple[str, str]]]:
    """Return the cgroup that has the step's controller, and exactly what will be written there.

    Raises:
        StepError: As for :func:`choose`, or the cgroup has more in use than the value allows.
    """
    target, pairs = choose(targets, step, plugin)
    return target, _converted(target, pairs, step, plugin) if target.version == 2 else pairs


def _converted(
    target: Target, pairs: Sequence[tuple[str, str]], step: WriteCgroup, plugin: str
) -> Sequence[tuple[str, str]]:
    """Return *pairs* after what cgroup v2 has to be asked for first."""
    if step.minus:
        pairs = [(name, _difference(target, text, step, plugin)) for name, text in pairs]
    if step.keep:
        pairs = [(name, _completed(target, name, text, step, plugin)) for name, text in pairs]
    if step.usage:
        used = _number(target, step.usage, step, plugin)
        for name, text in pairs:
            if text.isdigit() and int(text) < used:
                raise refuse(
                    step,
                    plugin,
                    f"cannot set {name} to {text}: {used} are in use",
                    number=errno.EBUSY,
                    path=target.directory,
                    hint="checkBeforeUpdate asks for the refusal; without it the OOM killer would make room",
                )
    return pairs


def _difference(target: Target, text: str, step: WriteCgroup, plugin: str) -> str:
    limit = _text(target, step.minus, step, plugin)
    if not limit.isdigit() or int(limit) > int(text):
        raise refuse(
            step,
            plugin,
            f"memory and swap together cannot be limited to {text}: the memory alone may be {limit}",
            path=target.directory,
            hint="give the limit of memory as well",
        )
    return str(int(text) - int(limit))


def _completed(target: Target, name: str, text: str, step: WriteCgroup, plugin: str) -> str:
    words = text.split()
    there = _text(target, name, step, plugin).split()
    return " ".join(old if new == "=" else new for new, old in zip(words, there, strict=False))


def _number(target: Target, name: str, step: WriteCgroup, plugin: str) -> int:
    text = _text(target, name, step, plugin)
    return int(text) if text.isdigit() else 0


def _text(target: Target, name: str, step: WriteCgroup, plugin: str) -> str:
    try:
        return read_file(target.fd, name).strip()
    except OSError as error:
        raise refuse_os(step, plugin, f"cannot read {name}", error, path=target.directory) from error


def _write_first(target: Target, pairs: Sequence[tuple[str, str]], step: WriteCgroup, plugin: str) -> None:
    """Write the first pair that the kernel has; none: the first error says what is missing."""
    first: OSError | None = None
    for name, text in pairs:
        try:
            _write_one(target, name, text, step, plugin)
        except OSError as error:
            if error.errno not in _UNSUPPORTED:
                raise
            first = first or error
        else:
            return
    if first is not None:
        raise first


def _write_one(target: Target, name: str, text: str, step: WriteCgroup, plugin: str) -> None:
    if "/" in name or name in {"", ".", "..", "cgroup.procs", "cgroup.threads", "tasks", "release_agent"}:
        raise refuse(step, plugin, f"{shorten(name)} is not a file that sets a resource")
    try:
        write_file(target.fd, name, text)
        there = read_file(target.fd, name).strip() if step.verify else text
    except OSError as error:
        raise _refused(target, name, text, error, step, plugin) from error
    if text.isdigit() and there.isdigit() and int(there) > int(text):
        raise refuse(
            step,
            plugin,
            f"the kernel ignores {shorten(text)} in {name}",
            number=errno.EOPNOTSUPP,
            path=target.directory,
            hint="the running kernel no longer has this limit",
        )


def _refused(  # noqa: PLR0913, PLR0917 - what an error needs
    target: Target, name: str, text: str, error: OSError, step: WriteCgroup, plugin: str
) -> StepError:
    hint = ""
    if error.errno in {errno.EACCES, errno.EPERM}:
        hint = "the caller may not, or the parent cgroup does not allow it"
    return refuse_os(
        step, plugin, f"cannot write {shorten(text)} to {name}", error, path=target.directory, hint=hint
    )
