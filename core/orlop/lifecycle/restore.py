"""Bring a container back from images; an operation beyond the specification, as engines expect it.

The config decides what the container is, as on create: it is read, verified and planned, cgroups are made,
and the hooks of the runtime run. The processes come out of the images instead of being started. A container
that has been restored is one like any other, and runs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from orlop.lifecycle.checkpoint import phase, verify
from orlop.lifecycle.create import Creation, prepare_bundle
from orlop.store.identifiers import check_identifier
from orlop_hookspecs.errors import ConfigError, OrlopError
from orlop_hookspecs.launch import LaunchOptions

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence
    from typing import Any

    from orlop.engine.prepare import Prepared
    from orlop.lifecycle.site import Site
    from orlop.plugins.composition import Composition
    from orlop.store.journal import Journal
    from orlop_hookspecs.checkpoint import RestoreOptions
    from orlop_hookspecs.documents import Config
    from orlop_hookspecs.kernel import Kernel, Sandbox
    from orlop_hookspecs.plan import Plan, PlannedStep
    from orlop_hookspecs.record import Record

_EARLY = frozenset(("resctrl", "netdev", "hooks"))
"""Slots of phase ``host-with-pid`` that come before the processes are made: who fills the namespaces."""
_LATE = frozenset(("cgroup",))
"""Slots that come after it: the limits are the container's, not those of its makers. The others are for a
process that has not run yet; what a restored one has made of itself is in its images."""


def restore(  # noqa: PLR0913 - the parts of one creation
    composition: Composition,
    site: Site,
    kernel: Kernel,
    container: str,
    bundle: str | os.PathLike[str],
    *,
    options: RestoreOptions,
    source: bytes | dict[str, Any] | Config | None = None,
    launch: LaunchOptions | None = None,
) -> Record:
    """Create *container* from *bundle* with the processes in the images, and return its record.

    Args:
        composition: The plugins.
        site: Where the container is kept.
        kernel: What executes the plan.
        container: Its identifier.
        bundle: Path of the bundle.
        options: Where the images are, and how they are restored.
        source: The config, when it is not to be read from the bundle.
        launch: The caller's launch flags.

    Raises:
        UsageError, InvalidIdError, BundleError, DocumentError, ConfigError, CompositionError, PluginError:
            Nothing has been touched.
        ContainerExistsError: The identifier is taken.
        StepError, HookError, StoreError, PlatformError: The host refused; everything has been undone, or
            ``cleanup`` says what could not be.
    """
    try:
        check_identifier(container)
        verify(options)
        prepared = prepare_bundle(
            composition,
            container,
            bundle,
            source=source,
            options=launch or LaunchOptions(),
            root=getattr(site.store, "root", None),
        )
        if not prepared.plan.steps("exec"):
            raise ConfigError("a config without a process cannot be restored", pointer="/process")
        answers = composition.hooks.restore(prepared.plan, options, prepared.config)
        steps = phase(answers, "restore", container)
        return _Restoration(composition, site, kernel, prepared, steps).run()
    except OrlopError as error:
        error.act = error.act or "restore"
        error.container = error.container or container
        raise


class _Restoration(Creation):
    """One restore: a creation whose processes come out of images."""

    act = "restore"

    def __init__(
        self,
        composition: Composition,
        site: Site,
        kernel: Kernel,
        prepared: Prepared,
        steps: Sequence[PlannedStep],
    ) -> None:
        super().__init__(composition, site, kernel, prepared)
        self._steps = steps

    def _furnish(self, plan: Plan, sandbox: Sandbox, journal: Journal) -> None:
        state = b""

        def born() -> None:
            nonlocal state
            state = self._born(sandbox, journal)
            for planned in plan.steps("host-with-pid"):
                if planned.slot in _EARLY:
                    self._beside(planned, sandbox, state)

        sandbox.restore(self._steps, born)
        for planned in plan.steps("host-with-pid"):
            if planned.slot in _LATE:
                self._beside(planned, sandbox, state)
