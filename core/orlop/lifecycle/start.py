"""Start a created container (runtime.md, Start; steps 6 to 9 of the lifecycle)."""

from __future__ import annotations

from orlop.lifecycle.delete import destroy
from orlop.lifecycle.site import NO_PROCESS, require
from orlop.lifecycle.state import document
from orlop.lifecycle.states import check
from orlop.store import jsontext
from orlop_hookspecs.errors import ConfigError, HookError, OrlopError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from orlop.lifecycle.site import Site
    from orlop_hookspecs.kernel import LiveKernel, Slot
    from orlop_hookspecs.record import Record


def start(site: Site, container: str, before: Callable[[Slot], None] | None = None) -> None:
    """Run the user-specified program of *container*.

    Args:
        site: Where it is kept.
        container: Its identifier.
        before: Called when nothing but the kernel can refuse any more, with the container's locked slot.

    Raises:
        ContainerNotFoundError: There is no such container.
        ConfigError: Its config has no process; nothing has happened.
        StateError: It is not in status ``created``; nothing has happened.
        StepError: The program could not be run; the container has stopped. Or nothing has happened, because
            the seccomp agent is not there.
        HookError: A startContainer or poststart hook failed; the container is stopped and destroyed (steps 7
            and 9).
    """
    slot = site.store.open(container)
    try:
        record = require(slot, container, site)
        kernel = site.kernel(record.platform)
        check("start", kernel.status(record), container)
        if slot.read(NO_PROCESS) is not None:
            raise ConfigError(
                "cannot start a container whose config has no process",
                act="start",
                pointer="/process",
                container=container,
            )
        if before is not None:
            before(slot)
        try:
            kernel.start(record, jsontext.dumps(document(record, "created")).encode())
        except HookError as error:
            _give_up(site, slot, record, kernel, error)
            raise
        except OrlopError as error:
            _name(error, container)
            raise
        hooks = record.hooks.get("poststart")
        if hooks:
            state = jsontext.dumps(document(record, "running")).encode()
            try:
                for hook in hooks:
                    kernel.run_hook(hook, state)
            except OrlopError as error:
                _give_up(site, slot, record, kernel, error)
                raise
        if record.live:
            site.notify(record, "orlop_started", document(record, "running"))
    finally:
        slot.close()


def _name(error: OrlopError, container: str) -> None:
    error.act = error.act or "start"
    error.container = error.container or container


def _give_up(site: Site, slot: Slot, record: Record, kernel: LiveKernel, error: OrlopError) -> None:
    """Stop the container and continue at step 12; what fails there is kept beside *error*."""
    _name(error, record.id)
    try:
        kernel.terminate(record)
        destroy(site, slot, record, kernel)
    except OrlopError as failure:
        error.cleanup = failure
