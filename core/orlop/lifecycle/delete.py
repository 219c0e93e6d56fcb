"""Delete a container (runtime.md, Delete; steps 11 to 13 of the lifecycle).

The order survives being killed anywhere: processes end, the journal is undone (each entry is marked),
poststop hooks run, and only then the container's place is removed. What was interrupted is therefore found
and repeated by the next delete.
"""

from __future__ import annotations

import errno

from orlop.lifecycle.site import load
from orlop.lifecycle.state import document
from orlop.lifecycle.states import check
from orlop.store import journal, jsontext
from orlop_hookspecs.errors import ContainerNotFoundError, OrlopError, StoreError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from orlop.lifecycle.site import Site
    from orlop_hookspecs.kernel import LiveKernel, Slot
    from orlop_hookspecs.record import Record


def delete(site: Site, container: str, *, force: bool = False, only: Record | None = None) -> None:
    """Remove *container* and everything that was made for it.

    Args:
        site: Where the container is.
        container: Its identifier.
        force: Kill it first when it is not stopped; a container that does not exist is no error.
        only: The container that is meant: another one that has its identifier by now is left alone.

    Raises:
        ContainerNotFoundError: There is no such container, or only the empty leftover of one, which is
            removed.
        StateError: It is not stopped, and *force* was not given.
        OrlopError: Something could not be undone; the container stays, so that the deletion can be repeated.
    """
    try:
        slot = site.store.open(container)
    except ContainerNotFoundError:
        if force:
            return
        raise
    try:
        record = load(slot, container, site.known)
        if only is not None and (record is None or not record.is_same(only)):
            return
        if record is None:
            slot.remove()  # its creator was killed before it had made anything
            if force:
                return
            raise ContainerNotFoundError("container does not exist", container=container, value=container)
        kernel = site.kernel(record.platform)
        status = kernel.status(record)
        if not force:
            check("delete", status, container)
        try:
            if status != "stopped":
                # Nobody is killed in a state root that is read-only: nothing could be noted, or removed.
                _written(slot.append, journal.FILE, b"")
                kernel.terminate(record)
            destroy(site, slot, record, kernel)
        except OrlopError as error:
            error.act = error.act or "delete"
            error.container = error.container or container
            raise
    finally:
        slot.close()


def destroy(site: Site, slot: Slot, record: Record, kernel: LiveKernel, *, hooks: bool = True) -> None:
    """Undo what create did (step 12), run the poststop hooks (step 13) and free the identifier.

    The container's processes have ended already. With *hooks* false the poststop hooks are left out, because
    no hook of the container has ever run.

    Raises:
        OrlopError: Something could not be undone; the rest was, and the slot stays.
    """
    undo(slot, record, kernel)
    if hooks:
        run_poststop(site, record, kernel)
    slot.remove()
    if site.known is not None:
        site.known.pop(record.id, None)
    if record.live:
        site.notify(record, "orlop_deleted", document(record, "stopped"))


def undo(slot: Slot, record: Record, kernel: LiveKernel) -> None:
    """Undo the journal, newest entry first; one failure does not keep the others from being undone.

    Raises:
        OrlopError: The first failure.
    """
    first: OrlopError | None = None
    entries = journal.due(slot, record.id)
    # On a full disk nothing can be marked. All is undone nevertheless, which ends in freeing room. No mark
    # may stand behind one that was torn off.
    marking = bool(entries) and _written(journal.repair, slot)
    for entry in entries:
        try:
            kernel.undo(record, entry.undo, entry.data)
        except OrlopError as error:
            first = first or error
        else:
            marking = marking and _written(journal.mark_undone, slot, entry)
    if first is not None:
        raise first


def _written(write: Callable[..., None], *arguments: object) -> bool:
    """Return whether there was room for what *write* writes; it fails for any other reason as ever."""
    try:
        write(*arguments)
    except StoreError as error:
        if error.errno not in {errno.ENOSPC, errno.EDQUOT}:
            raise
        return False
    return True


def run_poststop(site: Site, record: Record, kernel: LiveKernel) -> None:
    """Run the poststop hooks; one that fails is a warning, and the next ones run all the same (step 13)."""
    hooks = record.hooks.get("poststop")
    if hooks:
        state = jsontext.dumps(document(record, "stopped")).encode()
        for hook in hooks:
            try:
                kernel.run_hook(hook, state)
            except OrlopError as error:
                site.warn(f"poststop hook of container {record.id} failed: {error}")
