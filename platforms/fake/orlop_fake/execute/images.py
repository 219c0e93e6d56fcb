"""Checkpoint and restore: processes that are taken out of the machine and put back (criu(8)).

A program is a Python generator, of which there can be no copy: it goes into the image as it stands, and comes
out of it once. So the image of a container that was left running has no programs in it, and one that has been
restored is empty; both are refused.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Any

from orlop_fake.execute.security import require_module
from orlop_fake.processes import RUNNING
from orlop_fake.refusals import refusal
from orlop_fake.vfs import Directory, File

if TYPE_CHECKING:
    from collections.abc import Iterator

    from orlop_fake.execute.context import Context, Handler
    from orlop_fake.machine import Machine
    from orlop_fake.mounts import Mount
    from orlop_fake.processes import Process
    from orlop_hookspecs.steps import ConfigureCriu, DumpProcesses, RestoreProcesses

_KEPT = (
    "args", "caught", "comm", "credentials", "cwd", "env", "filters", "ignored", "memory", "no_new_privs",
    "oom_score_adj", "pending", "rlimits", "stopped", "traits", "umask",
)  # fmt: skip
"""What a process has that is neither a name of the machine's nor the program."""

_LABELS = {"apparmor": "profile", "selinux": "label"}
"""Where a process has what confines it, by the security module."""

_UNCONFINED = "unconfined"

_OWN_CONTENT = frozenset({"tmpfs", "ramfs"})


class Saved:
    """One process in an image: what it was, where it stood, and its children."""

    __slots__ = ("children", "generator", "number", "request", "rest", "task", "values", "waits_for", "woken")

    def __init__(self, kernel: Machine, process: Process, *, take: bool) -> None:
        """Take *process* and its children; with *take* false, all but the programs."""
        self.values = {name: getattr(process, name) for name in _KEPT}
        self.values["credentials"] = process.credentials.copy()
        for name in ("caught", "ignored", "pending"):
            self.values[name] = getattr(process, name).copy()
        self.number = process.own_pid
        self.waits_for = 0
        self.generator = self.request = self.task = None
        self.woken: list[Any] = []
        self.rest: int | None = None
        """Nanoseconds that it had still to wait."""
        self.children = [
            Saved(kernel, child, take=take)
            for child in process.children
            if not child.ended and child.namespaces.pid is process.namespaces.pid
        ]
        if not take:
            return
        self.generator, process.generator = process.generator, None
        self.request, self.task = process.request, process.task
        self.woken = kernel.scheduler.take_held(process)
        request = process.request
        if request is not None:
            if request.child is not None:
                self.waits_for = request.child.own_pid
            if request.timer is not None and request.timer.callback is not None:
                self.rest = request.timer.due - kernel.clock.nanoseconds
                request.timer.cancel()

    def all(self) -> Iterator[Saved]:
        """Yield this one and all below."""
        yield self
        for child in self.children:
            yield from child.all()


class Image:
    """What a checkpoint has written into a directory."""

    __slots__ = ("contents", "first")

    def __init__(self, first: Saved, contents: dict[str, Directory]) -> None:
        """Keep the processes, and the content of the container's own file systems by mount point."""
        self.first: Saved | None = first
        self.contents = contents


def _require_root(kernel: Machine) -> None:
    if kernel.uid:
        raise refusal(errno.EPERM, message="checkpoint and restore need the privileges of the host's root")


def configure(context: Context, step: ConfigureCriu) -> None:
    """Look at the file with options for CRIU, of which the machine knows none.

    ENOENT where there is none, EPERM for one that is no regular file of root's, or that others can write.
    """
    if not step.path:
        return
    node = context.kernel.host_find(step.path).node
    if not isinstance(node, File) or node.uid or node.mode & 0o022:
        raise refusal(errno.EPERM, step.path, "the file with options for criu is not root's alone")


def dump(context: Context, step: DumpProcesses) -> None:
    """Write the container to an image; unless it is left running, its processes end.

    EPERM for a caller who is not root, EINVAL for a container with a process that is not its first one's,
    EBUSY for a filter with a listener.
    """
    kernel, options, process = context.kernel, step.options, context.process
    _require_root(kernel)
    family = {process, *process.descendants()}
    for one in process.namespaces.pid.processes.values() if process.is_init else family:
        if one not in family and not one.ended:
            raise refusal(errno.EINVAL, message="a process of the container is not its first one's")
        if any(made.listener for made in one.filters):
            raise refusal(errno.EBUSY, message="a filter with an agent cannot be kept")
    if options["pre_dump"]:
        return
    take = not options["leave_running"]
    contents = {
        mount.path: mount.root
        for mount in process.namespaces.mount.tree.mounts
        if mount.type in _OWN_CONTENT and isinstance(mount.root, Directory)
    }
    kernel.images[options["image"]] = Image(Saved(kernel, process, take=take), contents if take else {})
    if take:
        kernel.scheduler.exit(process, 128 + 9)


def require(context: Context, step: RestoreProcesses) -> Image:
    """Return the image; EPERM for a caller who is not root, ENOENT where there is none.

    EOPNOTSUPP for one that has no programs in it.
    """
    _require_root(context.kernel)
    path = step.options["image"]
    image: Image | None = context.kernel.images.get(path)
    if image is None:
        raise refusal(errno.ENOENT, path, "there is no checkpoint")
    if image.first is None or image.first.generator is None:
        raise refusal(
            errno.EOPNOTSUPP, path, "the fake machine cannot copy a running program: it is in no other image"
        )
    return image


def restore(context: Context, step: RestoreProcesses) -> None:
    """Put the processes of an image into the container; EPERM for what the config does not allow them."""
    image = require(context, step)
    assert image.first is not None  # noqa: S101 - required above
    if step.label is not None:
        require_module(context, step.label[0])
    _verify(image.first, step)
    kernel, process = context.kernel, context.process
    if process.own_pid != image.first.number and process.is_init:
        raise refusal(errno.EEXIST, message=f"process id {image.first.number} is taken")
    for mount in process.namespaces.mount.tree.mounts:
        _fill(mount, image.contents)
    first, image.first = image.first, None
    if step.label is not None:
        module, label, _ = step.label
        for one in first.all():
            one.values["traits"] = one.values["traits"]._replace(**{_LABELS[module]: label})
    numbers: dict[int, Process] = {}
    _revive(kernel, process, first, numbers)
    for one in first.all():
        if one.request is not None and one.waits_for:
            one.request.child = numbers.get(one.waits_for)


def _fill(mount: Mount, contents: dict[str, Directory]) -> None:
    if mount.type in _OWN_CONTENT and mount.path in contents:
        # The mounts below are made anew, on directories of their own: those are kept as they are.
        was, now = contents[mount.path], mount.root
        if isinstance(now, Directory):
            for name, node in was.entries.items():
                if name not in now.entries:
                    now.put(name, node)


def _verify(first: Saved, step: RestoreProcesses) -> None:
    for saved in first.all():
        who = "the process" if saved is first else "a process"
        why = _laxer(saved.values, step)
        if why:
            raise refusal(errno.EPERM, message=f"the images are refused: {who} {why}")
        if step.filtered and not saved.values["filters"]:
            raise refusal(errno.EPERM, message="the images are refused: no system calls are filtered")


def _laxer(values: dict[str, Any], step: RestoreProcesses) -> str:
    """Return in what a process may more than the config allows."""
    credentials = values["credentials"]
    if step.user is not None:
        uid, gid, groups = step.user
        if credentials.uid != uid:
            return "is another user"
        if not {credentials.gid, *credentials.groups} <= {gid, *groups}:
            return "is in more groups"
    if step.bounding is not None and (credentials.bounding | credentials.permitted) - set(step.bounding):
        return "has more capabilities"
    if step.no_new_privileges and not values["no_new_privs"]:
        return "may gain privileges"
    module, label, _ = step.label or ("", "", "")
    # Where no profile was there is none in the image that criu could put another one in the place of.
    if module == "apparmor" and _UNCONFINED == values["traits"].profile != label:
        return "has another AppArmor profile"
    return ""


def _revive(kernel: Machine, process: Process, saved: Saved, numbers: dict[int, Process]) -> None:
    """Make *process* the one that was saved, and its children anew, with the numbers that they had."""
    for name, value in saved.values.items():
        setattr(process, name, value)
    process.stage = RUNNING
    process.context = None
    process.exec_steps = ()
    numbers[saved.number] = process
    process.generator, process.request, process.task = saved.generator, saved.request, saved.task
    if process.task is not None:
        process.task.process = process
    if saved.request is not None and saved.rest is not None:
        kernel.scheduler.sleep(process, saved.request, saved.rest / 1_000_000_000)
    for value in saved.woken:
        kernel.scheduler.resume(process, value)
    space = process.namespaces.pid
    for one in saved.children:
        if space.parent is not None:
            space.skip_to(one.number)
        child = kernel.scheduler.fork(process)
        _revive(kernel, child, one, numbers)


HANDLERS: dict[str, Handler] = {
    "ConfigureCriu": configure,
    "DumpProcesses": dump,
    "RestoreProcesses": restore,
}
