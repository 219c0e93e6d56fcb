"""Write a container to images; an operation beyond the specification, as engines expect it.

What the images need to know of the host is planned anew from the config that is kept with the container.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from orlop.documents.codec import decode_config
from orlop.engine.plan import make_plan
from orlop.lifecycle.delete import destroy
from orlop.lifecycle.site import CONFIG, require
from orlop.lifecycle.states import check
from orlop.store.journal import Journal
from orlop_hookspecs.checkpoint import CGROUP_MODES, EMPTY_NAMESPACES, LABEL_KINDS
from orlop_hookspecs.errors import CompositionError, OrlopError, PluginError, StoreError, UsageError
from orlop_hookspecs.launch import LaunchOptions, PlanContext

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orlop.lifecycle.site import Site
    from orlop.plugins.facade import Hooks
    from orlop_hookspecs.checkpoint import CheckpointOptions, RestoreOptions
    from orlop_hookspecs.kernel import Slot
    from orlop_hookspecs.plan import Plan, PlannedStep
    from orlop_hookspecs.record import Record
    from orlop_hookspecs.steps.base import Step


def checkpoint(site: Site, container: str, options: CheckpointOptions) -> None:
    """Write *container* to images; unless it is left running, it ends and is deleted.

    Args:
        site: Where the container is.
        container: Its identifier.
        options: How.

    Raises:
        ContainerNotFoundError: There is no such container.
        UsageError: The options contradict each other.
        StateError: It is neither running nor paused.
        CompositionError, PluginError, ConfigError: No plugin can write this container.
        StepError, PlatformError: It could not be written, and goes on as before.
    """
    try:
        verify(options)
        _verify_pages(options)
        slot = site.store.open(container)
        try:
            record = require(slot, container, site)
            kernel = site.kernel(record.platform)
            check("checkpoint", kernel.status(record), container)
            hooks = site.hooks(record, "orlop_checkpoint")
            answers = hooks.checkpoint(plan_again(hooks, slot, record), options, record) if hooks else []
            steps = phase(answers, "checkpoint", container)
            kernel.checkpoint(record, steps, Journal.resume(slot, record))
            if not (options.leave_running or options.pre_dump):
                kernel.terminate(record)
                destroy(site, slot, record, kernel)
        finally:
            slot.close()
    except OrlopError as error:
        error.act = error.act or "checkpoint"
        error.container = error.container or container
        raise


def plan_again(hooks: Hooks, slot: Slot, record: Record) -> Plan:
    """Return the plan of the config that is kept with a container.

    Raises:
        StoreError: There is none.
    """
    source = slot.read(CONFIG)
    if source is None:
        raise StoreError("the stored config is missing", container=record.id, path=slot.path)
    context = PlanContext(record.id, record.bundle, record.rootfs, LaunchOptions(foreground=True))
    return make_plan(hooks.plan(decode_config(source), context))[0]


def phase(answers: Sequence[tuple[str, Sequence[Step]]], name: str, container: str) -> Sequence[PlannedStep]:
    """Return the steps of the one phase that plugins may answer with.

    Raises:
        PluginError: There are steps of another phase.
        CompositionError: There is none at all.
    """
    for plugin, steps in answers:
        for step in steps:
            if step.phase != name:
                raise PluginError(
                    f"{type(step).__name__} is no step of phase {name}", plugin=plugin, container=container
                )
    found = make_plan(answers)[0].steps(name)
    if not found:
        raise CompositionError(
            f"no active plugin can {name} a container",
            container=container,
            hint="the built-in plugin for it is called checkpoint",
        )
    return found


def verify(options: CheckpointOptions | RestoreOptions) -> None:
    """Refuse words that are none.

    Raises:
        UsageError: One is.
    """
    if options.manage_cgroups not in CGROUP_MODES:
        raise UsageError(
            f"invalid manage-cgroups-mode; one of {', '.join(CGROUP_MODES)} is expected",
            value=options.manage_cgroups,
        )
    for name in options.empty_ns:
        if name not in EMPTY_NAMESPACES:
            raise UsageError(
                f"a namespace of this type cannot be left empty; {', '.join(EMPTY_NAMESPACES)} can",
                value=name,
            )
    label = getattr(options, "lsm_profile", "")
    kind, colon, name = label.partition(":")
    if label and (kind + colon not in LABEL_KINDS or not name):
        raise UsageError(
            f"a security label is TYPE:NAME, and its type one of {', '.join(k[:-1] for k in LABEL_KINDS)}",
            value=label,
        )
    for name in ("image", "work"):
        path = getattr(options, name)
        if (path or name == "image") and (not path.startswith("/") or "\0" in path):
            raise UsageError(f"the {name} directory is not an absolute path", value=path)


def _verify_pages(options: CheckpointOptions) -> None:
    if options.parent.startswith("/"):
        raise UsageError("the parent path is not relative to the image path", value=options.parent)
    if options.lazy_pages and not options.page_server:
        raise UsageError("lazy pages need a page server: the address at which they are served")
    if options.lazy_pages and options.pre_dump:
        raise UsageError("a pre-dump writes the memory that lazy pages leave out")
    if options.status_fd >= 0 and not options.lazy_pages:
        raise UsageError("a status descriptor is told of lazy pages only", value=options.status_fd)
    if options.page_server:
        address, _, port = options.page_server.rpartition(":")
        if not address or not (port.isascii() and port.isdigit() and 0 < int(port) < 1 << 16):
            raise UsageError("a page server is ADDRESS:PORT", value=options.page_server)
