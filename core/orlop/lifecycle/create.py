"""Create a container (runtime.md, Create; steps 1 to 5 of the lifecycle).

Everything that can refuse a config is over before anything is touched. From then on each act is announced
before it is done: the journal, with the record in its header, before the act, the container process as soon
as it exists, and the finished record before the container process may outlive the runtime. A runtime that is
killed anywhere leaves what ``delete --force`` removes; an error undoes everything at once.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from orlop.engine.prepare import prepare
from orlop.lifecycle import bundle as bundles
from orlop.lifecycle.delete import run_poststop, undo
from orlop.lifecycle.site import CALLERS_KEYRING, CONFIG, NO_PROCESS, OWNERS, save
from orlop.lifecycle.state import document
from orlop.store import jsontext
from orlop.store.identifiers import check_identifier
from orlop.store.journal import Journal
from orlop.store.root import label_of
from orlop_hookspecs.critical import critical
from orlop_hookspecs.errors import HookError, OrlopError, StepError
from orlop_hookspecs.launch import LaunchOptions, PlanContext
from orlop_hookspecs.record import Record
from orlop_hookspecs.steps.hooks import RunHook

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from orlop.engine.prepare import Prepared
    from orlop.lifecycle.site import Site
    from orlop.plugins.composition import Composition
    from orlop_hookspecs.documents import Config
    from orlop_hookspecs.kernel import Kernel, Sandbox, Slot
    from orlop_hookspecs.plan import Plan, PlannedStep

_DEFAULT_OPTIONS = LaunchOptions()


def create(  # noqa: PLR0913 - the parts of one creation
    composition: Composition,
    site: Site,
    kernel: Kernel,
    container: str,
    bundle: str | os.PathLike[str],
    *,
    source: bytes | dict[str, Any] | Config | None = None,
    options: LaunchOptions | None = None,
    furnish: Callable[[Slot], None] | None = None,
) -> Record:
    """Create *container* from *bundle* and return its record.

    Args:
        composition: The plugins.
        site: Where the container is kept.
        kernel: What executes the plan.
        container: Its identifier.
        bundle: Path of the bundle.
        source: The config, when it is not to be read from the bundle.
        options: The caller's launch flags.
        furnish: Puts into the container's directory what mounts of the config need there.

    Raises:
        InvalidIdError, BundleError, DocumentError, ConfigError, CompositionError, PluginError: Nothing has
            been touched.
        ContainerExistsError: The identifier is taken.
        StepError, HookError, StoreError, PlatformError: The host refused; everything has been undone, or
            ``cleanup`` says what could not be.
    """
    try:
        check_identifier(container)
        prepared = prepare_bundle(
            composition,
            container,
            bundle,
            source=source,
            options=options or _DEFAULT_OPTIONS,
            root=getattr(site.store, "root", None),
            kernel=lambda: kernel,
        )
        return Creation(composition, site, kernel, prepared, furnish).run()
    except OrlopError as error:
        error.act = error.act or "create"
        error.container = error.container or container
        raise


def prepare_bundle(  # noqa: PLR0913 - the parts of one creation
    composition: Composition,
    container: str,
    bundle: str | os.PathLike[str],
    *,
    source: bytes | dict[str, Any] | Config | None = None,
    options: LaunchOptions = _DEFAULT_OPTIONS,
    root: str | None = None,
    kernel: Callable[[], Kernel] | None = None,
) -> Prepared:
    """Read and plan the config of *bundle*, or the one given as *source*; nothing is touched.

    Args:
        composition: The plugins.
        container: The identifier.
        bundle: Path of the bundle.
        source: The config, when it is not to be read from the bundle.
        options: The caller's launch flags.
        root: The state root, when it is not the caller's default.
        kernel: Returns the kernel, through which plugins that adjust look at the host.
    """
    from orlop.documents.codec import decode_config
    from orlop_hookspecs.documents.config import Config as ConfigClass

    path = bundles.locate(bundle)
    name = ""
    from_disk = source is None
    if source is None:
        name = f"{path}/{bundles.CONFIG}"
        source = bundles.read_config(path)
    known = composition.known
    key = known.key(source)
    config = known.get(key)
    covered = config is not None
    if config is None:
        config = source if isinstance(source, ConfigClass) else decode_config(source, path=name)
    rootfs = bundles.rootfs_of(config, path)
    context = PlanContext(container, path, rootfs, options, label_of(root))
    host = None
    if kernel is not None and composition.hooks.implementers("orlop_adjust"):
        from orlop.engine.host import LateView

        host = LateView(kernel)
    prepared = prepare(composition, config, context, source=source, path=name, covered=covered, host=host)
    if not (covered or prepared.owners):
        known.put(key, config)
    if from_disk:
        bundles.require_rootfs(rootfs)
    return prepared


class Creation:
    """One creation, from the taken slot to the committed container."""

    act = "create"

    def __init__(
        self,
        composition: Composition,
        site: Site,
        kernel: Kernel,
        prepared: Prepared,
        furnish: Callable[[Slot], None] | None = None,
    ) -> None:
        """Keep the parts; nothing is touched."""
        context = prepared.context
        self._furnish_slot = furnish
        self._site = site
        self._kernel = kernel
        self._prepared = prepared
        self._sandbox: Sandbox | None = None
        self._journal: Journal | None = None
        self._hooks_begun = False
        self._live = composition.live
        self._composition = composition
        self._record = Record(
            id=context.container,
            bundle=context.bundle,
            rootfs=context.rootfs,
            annotations=dict(prepared.config.annotations or {}),
            platform=composition.platform_name,
            phase="creating",
            owner=os.geteuid(),
            hooks=prepared.late,
            live=composition.live,
            plugins=composition.names,
        )

    def run(self) -> Record:
        """Make the container; what fails is undone."""
        slot: Slot | None = None
        try:
            with critical:
                slot = self._site.store.create(self._record.id)
            self._make(slot)
        # A process that is told to end cleans up as well; one that is killed cannot, and neither does a
        # simulated crash.
        except (Exception, KeyboardInterrupt, SystemExit) as error:
            failure = self._roll_back(slot)
            if isinstance(error, OrlopError):
                self._name(error, failure)
                raise
            if isinstance(error, OSError):
                made = StepError(
                    f"the kernel refused: {(error.strerror or str(error)).lower()}", errno=error.errno
                )
                self._name(made, failure)
                raise made from error
            if failure is not None:
                self._site.warn(f"clean-up of container {self._record.id} failed: {failure}")
            raise
        finally:
            with critical:
                if self._sandbox is not None:
                    self._sandbox.close()
                if slot is not None:
                    slot.close()
        return self._record

    def _make(self, slot: Slot) -> None:
        prepared, record, kernel = self._prepared, self._record, self._kernel
        record.directory = slot.path
        if self._furnish_slot is not None:
            self._furnish_slot(slot)
        record.creator = list(kernel.identity())
        record.created = kernel.now()
        journal = self._journal = Journal(slot, record)
        plan = prepared.plan
        sandbox = self._sandbox = kernel.sandbox(plan, record, journal, prepared.context.options)
        for planned in plan.steps("host"):
            self._execute(planned, sandbox.host, planned)
        self._furnish(plan, sandbox, journal)
        _keep(slot, prepared)
        record.phase = "created"
        save(self._site, slot, record)
        sandbox.commit()
        for warning in sandbox.warnings:
            self._site.warn(f"container {record.id}: {warning}")
        if record.live:
            self._site.notify(record, "orlop_created", document(record, "created"))

    def _furnish(self, plan: Plan, sandbox: Sandbox, journal: Journal) -> None:
        """Make the container process and let it make its container."""
        sandbox.clone(plan.steps("clone"))
        record = self._record
        state = self._born(sandbox, journal)
        for planned in plan.steps("host-with-pid"):
            self._beside(planned, sandbox, state)
        inside = plan.steps("container")
        if not self._hooks_begun and any(isinstance(planned.step, RunHook) for planned in inside):
            self._hooks_begun = True
        sandbox.build(
            inside,
            plan.steps("confined"),
            plan.steps("exec"),
            jsontext.dumps(document(record, "creating")).encode(),
        )
        for planned in plan.steps("built"):
            self._execute(planned, sandbox.host_with_pid, planned, state)

    def _born(self, sandbox: Sandbox, journal: Journal) -> bytes:
        """Note that there is a container process; return the state that its hooks are told."""
        record = self._record
        record.pid = sandbox.pid
        record.start_time = sandbox.start_time
        journal.process()
        return jsontext.dumps(document(record, "creating", pid=record.pid)).encode()

    def _beside(self, planned: PlannedStep, sandbox: Sandbox, state: bytes) -> None:
        """Execute a step on the host, beside the container process."""
        if not self._hooks_begun and isinstance(planned.step, RunHook):
            self._hooks_begun = True
        self._execute(planned, sandbox.host_with_pid, planned, state)

    def _execute(self, planned: PlannedStep, act: Callable[..., None], *arguments: object) -> None:
        try:
            act(*arguments)
        except OSError as error:
            if not isinstance(error, OrlopError):
                reason = (error.strerror or str(error)).lower()
                made = StepError(
                    f"cannot {planned.step.words()}: {reason}",
                    errno=error.errno,
                    pointer=planned.step.because,
                )
                _blame(made, planned)
                raise made from error
            _blame(error, planned)
            raise
        except OrlopError as error:
            _blame(error, planned)
            raise

    def _name(self, error: OrlopError, failure: OrlopError | None) -> None:
        error.act = error.act or self.act
        error.container = error.container or self._record.id
        if failure is not None:
            error.cleanup = failure

    def _roll_back(self, slot: Slot | None) -> OrlopError | None:
        """Undo everything; return what could not be, and then keep the slot, so that delete can try again."""
        if slot is None:
            return None
        record, kernel = self._record, self._kernel
        made = self._journal is not None and self._journal.used
        try:
            if self._sandbox is not None:
                self._sandbox.abort()
            if made:
                undo(slot, record, kernel)
            if self._hooks_begun:
                run_poststop(self._site, record, kernel)
            slot.remove()
        except OrlopError as failure:
            return failure
        except OSError as error:
            why = (error.strerror or str(error)).lower()
            return StepError(f"the clean-up was refused: {why}", errno=error.errno, path=record.directory)
        if made and record.live:
            self._site.notify(record, "orlop_deleted", document(record, "stopped"))
        return None


def _keep(slot: Slot, prepared: Prepared) -> None:
    """Keep what later commands have to know of the config and of the flags."""
    # Nobody reads these before the record is there: they need not be replaced atomically.
    slot.append(CONFIG, _config_text(prepared))
    execute = prepared.plan.steps("exec")
    if not execute or execute[-1].slot != "execute":
        slot.append(NO_PROCESS, b"\n")
    if prepared.context.options.no_new_keyring:
        slot.append(CALLERS_KEYRING, b"\n")
    if prepared.owners:
        slot.append(OWNERS, jsontext.dumps(prepared.owners).encode())


def _blame(error: OrlopError, planned: PlannedStep) -> None:
    """Complete *error* with the step that failed and the plugin that asked for it."""
    if not error.step and not isinstance(error, HookError):
        error.step = planned.step.describe()
    error.plugin = error.plugin or planned.plugin


def _config_text(prepared: Prepared) -> bytes:
    """Return the effective config as it is kept with the container."""
    source = prepared.source
    if isinstance(source, bytes):
        return source
    return jsontext.dumps(source if isinstance(source, dict) else prepared.data()).encode()
