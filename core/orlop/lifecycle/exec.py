"""Start one more process in a container; an operation beyond the specification, as engines expect it.

The container is not locked meanwhile: the process joins what is there, and nothing of it is kept. Whatever
ends the container ends the process as well, because it is in the container's cgroup.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from orlop.documents.codec import decode, decode_config
from orlop.engine.joining import complete, plan_of
from orlop.lifecycle.site import CALLERS_KEYRING, CONFIG, require
from orlop.lifecycle.state import document
from orlop.lifecycle.states import check
from orlop.store import jsontext
from orlop.store.root import label_of
from orlop_hookspecs.documents.process import Process
from orlop_hookspecs.errors import OrlopError, StoreError
from orlop_hookspecs.launch import ExecOptions, LaunchOptions, PlanContext

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from orlop.lifecycle.site import Site
    from orlop.plugins.composition import Composition
    from orlop_hookspecs.documents import Config
    from orlop_hookspecs.kernel import Entry, LiveKernel
    from orlop_hookspecs.plan import Plan
    from orlop_hookspecs.record import Record

    Wanted = bytes | dict[str, Any] | Process | Callable[[Config], Process]
    """A ``process`` document, or a function that makes one from the container's config."""

_DEFAULT_OPTIONS = ExecOptions()


class Execution:
    """One more process in a container, from its document to its running program."""

    def __init__(  # noqa: PLR0913 - the parts of one process
        self,
        site: Site,
        container: str,
        wanted: Wanted,
        *,
        options: ExecOptions | None = None,
        path: str = "",
        composed: Callable[[Record], Composition],
    ) -> None:
        """Plan the process; nothing is touched.

        Args:
            site: Where the container is kept.
            container: Its identifier.
            wanted: The process.
            options: The caller's flags.
            path: Name of the file that holds the document, for errors.
            composed: Returns the plugins that take part.

        Raises:
            ContainerNotFoundError: There is no such container.
            StateError: It has stopped, is still being created, or is paused and ``ignore_paused`` is not on.
            DocumentError, ConfigError, CompositionError, PluginError: The process is refused.
        """
        self._site = site
        self._container = container
        self._options = options or _DEFAULT_OPTIONS
        self._entry: Entry | None = None
        try:
            self._read()
            self._kernel: LiveKernel = site.kernel(self._record.platform)
            self._require_state()
            self._plan = self._make_plan(wanted, path, composed(self._record))
        except OrlopError as error:
            raise self._named(error) from None

    def _read(self) -> None:
        """Read what is stored of the container."""
        slot = self._site.store.open(self._container, wait=False)
        try:
            self._record: Record = require(slot, self._container, self._site)
            content = slot.read(CONFIG)
            self._callers_keyring = slot.read(CALLERS_KEYRING) is not None
        finally:
            slot.close()
        if content is None:
            check("exec", self._record.phase, self._container)
            raise StoreError("the stored config is missing", container=self._container)
        self._config: Config = decode_config(content)

    def _require_state(self, *, paused: bool = False) -> None:
        status = self._kernel.status(self._record)
        if not (status == "paused" and (paused or self._options.ignore_paused)):
            check("exec", status, self._container)

    def _make_plan(self, wanted: Wanted, path: str, composition: Composition) -> Plan:
        record, options = self._record, self._options
        if isinstance(wanted, Process):
            process = wanted
        elif callable(wanted):
            process = wanted(self._config)
        else:
            process = decode(wanted, Process, path=path)
        context = PlanContext(
            self._container,
            record.bundle,
            record.rootfs,
            LaunchOptions(
                console_socket=options.console_socket,
                pidfd_socket=options.pidfd_socket,
                preserve_fds=options.preserve_fds,
                stdio=options.stdio,
                foreground=options.foreground,
                no_new_keyring=self._callers_keyring,
            ),
            label_of(getattr(self._site.store, "root", None)),
            joins=True,
        )
        base = self._config.process
        completed = complete(process, base)
        self.terminal = bool(completed.terminal)
        """Whether the process has a terminal."""
        # What the container's own sets lack was told when it was created.
        self._warns = base is None or completed.capabilities != base.capabilities
        return plan_of(composition, self._config, completed, context, path=path)

    def start(self) -> None:
        """Start the process; return when its program runs.

        Raises:
            StateError: The container has stopped meanwhile.
            StepError, PlatformError: The host refused, or the program cannot be executed; nothing is left.
        """
        self.enter()
        self.run()

    def enter(self) -> None:
        """Make the process, and all that it has, its terminal as well; it then waits for :meth:`run`.

        Raises:
            StateError, StepError, PlatformError: As :meth:`start`.
        """
        with _Undone(self):
            self._entry = self._kernel.enter(self._record, self._plan, self._options)

    def run(self) -> None:
        """Let the process that has been made run its program; return when it does.

        Raises:
            StateError, StepError: As :meth:`start`.
        """
        assert self._entry is not None  # noqa: S101 - it has been made
        with _Undone(self):
            self._entry.run(jsontext.dumps(document(self._record, "running")).encode())
        for warning in self._entry.warnings if self._warns else ():
            self._site.warn(f"process in container {self._container}: {warning}")

    def failed(self, error: BaseException) -> None:
        """Undo what was begun, and say of an error what it is about.

        Raises:
            StateError: The container has stopped meanwhile: whatever a process says that ended with it, that
                is the reason.
        """
        self.abort()
        if isinstance(error, OrlopError):
            try:
                if error.errno is None:
                    # It has ended without a word. Whoever ends the container kills one process after the
                    # other, and holds the container meanwhile.
                    self._site.store.open(self._container).close()
                self._require_state(paused=True)
            except OrlopError as reason:
                raise self._named(reason) from None
            self._named(error)

    def record(self) -> Record:
        """Return the record by which the kernel finds the process."""
        assert self._entry is not None  # noqa: S101 - it has been started
        return self._record.of_process(self._entry.pid, self._entry.start_time)

    @property
    def kernel(self) -> LiveKernel:
        """The container's kernel."""
        return self._kernel

    def abort(self) -> None:
        """Kill the process, if there is one. Idempotent."""
        if self._entry is not None:
            self._entry.abort()
            self._entry.close()
            self._entry = None

    def close(self) -> None:
        """Let the process be; what is held for it is released. Idempotent."""
        if self._entry is not None:
            self._entry.close()

    def _named(self, error: OrlopError) -> OrlopError:
        error.act = error.act or "exec"
        error.container = error.container or self._container
        return error


class _Undone:
    """A stretch after which nothing is left of the process if an error ends it."""

    __slots__ = ("_execution",)

    def __init__(self, execution: Execution) -> None:
        self._execution = execution

    def __enter__(self) -> None:
        """Begin."""

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        """Undo."""
        if error is not None:
            self._execution.failed(error)
