"""What every operation needs to know: where containers are kept, who their kernel is and who listens."""

from __future__ import annotations

from orlop.live import find_kernel
from orlop.store import jsontext
from orlop_hookspecs.errors import ContainerNotFoundError, OrlopError, StoreError
from orlop_hookspecs.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from orlop.plugins.facade import Hooks
    from orlop_hookspecs.kernel import LiveKernel, Slot, Store

RECORD = "record.json"
"""Name of the record in a slot."""

CONFIG = "config.json"
"""Name of the effective config in a slot."""

NO_PROCESS = "no-process"
"""Name of the file that marks a container without a process to start (runtime.md, Start)."""

CALLERS_KEYRING = "callers-keyring"
"""Name of the file that marks a container whose processes keep the session keyring of their caller."""

READINESS = "NOTIFY_SOCKET=/run/notify/notify.sock"
"""What the environment of the container process has when somebody waits for it to be ready (sd_notify(3))."""

_KNOWN_LIMIT = 10_000

OWNERS = "owners.json"
"""Name of the file that says which plugin changed what in the effective config; absent when none did."""


class Site:
    """A store of containers with what is needed to operate on them.

    Args:
        store: Where the containers are kept.
        kernel_for: Returns the live kernel of a platform by its name.
        hooks_for: Returns the hooks of the plugins that created a container; called only for containers whose
            record says that some plugin listens. Without it, those plugins are composed anew.
        warn: Receives each warning: a message without a line end.
    """

    __slots__ = ("_hooks_for", "_kernel_for", "_kernels", "known", "store", "warn")

    def __init__(
        self,
        store: Store,
        kernel_for: Callable[[str], LiveKernel] = find_kernel,
        hooks_for: Callable[[Record], Hooks] | None = None,
        warn: Callable[[str], None] | None = None,
    ) -> None:
        """Keep the parts."""
        self.store = store
        self._kernel_for = kernel_for
        self._kernels: dict[str, LiveKernel] = {}
        self._hooks_for = hooks_for
        self.known: dict[str, tuple[bytes, Record]] | None = None
        """Records by identifier, with their bytes; a program that stays sets it to a dictionary."""
        self.warn: Callable[[str], None] = warn or _ignore

    def kernel(self, platform: str) -> LiveKernel:
        """Return the live kernel of *platform*; the same one each time.

        Raises:
            PlatformError: There is none.
        """
        kernel = self._kernels.get(platform)
        if kernel is None:
            kernel = self._kernels[platform] = self._kernel_for(platform)
        return kernel

    def watch(self, store: Callable[[Store], Store], kernel: Callable[[LiveKernel], LiveKernel]) -> None:
        """Replace the store and each kernel by what these return for it."""
        self.store = store(self.store)
        find = self._kernel_for
        self._kernel_for = lambda platform: kernel(find(platform))

    def hooks(self, record: Record, hook: str) -> Hooks | None:
        """Return the hooks of the plugins that created the container; ``None`` when none implements *hook*.

        Raises:
            CompositionError: Those plugins are not there any more, or do not fit together.
        """
        if hook not in record.live:
            return None
        if self._hooks_for is not None:
            return self._hooks_for(record)
        from orlop.plugins.compose import compose_for_record

        return compose_for_record(record).hooks

    def notify(self, record: Record, hook: str, document: dict[str, Any]) -> None:
        """Tell the plugins what has happened; whatever goes wrong is a warning."""
        if hook not in record.live:
            return
        try:
            hooks = self.hooks(record, hook)
            if hooks is not None:
                hooks.notify(hook, document, self.warn)
        except OrlopError as error:
            self.warn(str(error))


def _ignore(_: str) -> None:
    """Drop a warning that nobody asked for."""


def load(slot: Slot, container: str, known: dict[str, tuple[bytes, Record]] | None = None) -> Record | None:
    """Return the record in *slot*, of a creation finished or under way; ``None`` when nothing was made yet.

    Raises:
        StoreError: There is one, but it cannot be trusted.
    """
    content = slot.read(RECORD)
    if content is None:
        from orlop.store.journal import record_of

        return record_of(slot, container)
    if known is not None:
        before = known.get(container)
        if before is not None and before[0] == content and before[1].directory == slot.path:
            return before[1]
    try:
        data = jsontext.loads(content)
    except ValueError:
        raise StoreError(
            "the stored state is not usable: it cannot be read", container=container, path=slot.path
        ) from None
    record = Record.from_data(data, expected_id=container, directory=slot.path)
    if known is not None:
        remember(known, content, record)
    return record


def remember(known: dict[str, tuple[bytes, Record]], content: bytes, record: Record) -> None:
    """Keep *record*, so that the next operation need not read *content* again."""
    if len(known) >= _KNOWN_LIMIT:
        known.clear()
    known[record.id] = (content, record)


def require(slot: Slot, container: str, site: Site) -> Record:
    """Return the record in *slot*.

    Raises:
        ContainerNotFoundError: There is none: the container is not there yet, or not any more.
        StoreError: There is one, but it cannot be trusted.
    """
    record = load(slot, container, site.known)
    if record is None:
        raise ContainerNotFoundError("container does not exist", container=container, value=container)
    return record


def save(site: Site, slot: Slot, record: Record) -> None:
    """Store *record*, atomically."""
    content = jsontext.dumps(record.to_data()).encode()
    slot.write(RECORD, content)
    if site.known is not None:
        remember(site.known, content, record)


def find(site: Site, container: str) -> tuple[Record, LiveKernel]:
    """Return the record of *container* and its kernel, without waiting for operations that hold it.

    Raises:
        ContainerNotFoundError: There is no such container.
    """
    slot = site.store.open(container, wait=False)
    try:
        record = require(slot, container, site)
    finally:
        slot.close()
    return record, site.kernel(record.platform)
