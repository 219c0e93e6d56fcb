"""What can be asked of a container that exists."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from orlop_hookspecs.hooks.markers import hookspec

if TYPE_CHECKING:
    from orlop_hookspecs.checkpoint import CheckpointOptions, RestoreOptions
    from orlop_hookspecs.documents import Config, IntelRdt, Resources
    from orlop_hookspecs.kernel import LiveKernel
    from orlop_hookspecs.plan import Plan
    from orlop_hookspecs.record import Record
    from orlop_hookspecs.steps.base import Step


@hookspec
def orlop_update(  # type: ignore[empty-body]
    resources: Resources, record: Record, intel_rdt: IntelRdt | None
) -> Sequence[Step]:
    """Turn new resource limits of a live container into steps.

    *intel_rdt* holds the schemata that a change of the container's class of service asks for, if any.

    When: on update of a created, running or paused container, after coverage has been checked.
    Process: the caller, with its privileges and namespaces; pure.
    May change: nothing.
    None: the same as an empty sequence.
    Raising: the update is refused, naming the plugin; nothing has been touched.
    Order: as for ``orlop_plan``.
    Since: 1.0.
    """


@hookspec
def orlop_stats(record: Record, kernel: LiveKernel) -> Mapping[str, Any]:  # type: ignore[empty-body]
    """Report what the plugin accounts for a live container, under keys of its own.

    When: when statistics are asked for.
    Process: the caller, with its privileges and namespaces; may read through *kernel* only.
    May change: nothing.
    None: nothing to report.
    Raising: the statistics fail, naming the plugin; the container is not affected.
    Order: plugin order; two plugins with one key are an error.
    Since: 1.0.
    """


@hookspec
def orlop_pause(record: Record, kernel: LiveKernel) -> None:
    """Take part in pausing, before the processes are frozen.

    When: on pause of a created or running container.
    Process: the caller, with its privileges and namespaces.
    May change: what the plugin itself has made for this container.
    None: always returned.
    Raising: the container is not paused; plugins that were asked before are told to resume.
    Order: plugin order.
    Since: 1.0.
    """


@hookspec
def orlop_resume(record: Record, kernel: LiveKernel) -> None:
    """Take part in resuming, after the processes have been thawed.

    When: on resume of a paused container, or when a pause failed half way.
    Process: the caller, with its privileges and namespaces.
    May change: what the plugin itself has made for this container.
    None: always returned.
    Raising: reported; the container stays resumed.
    Order: reverse plugin order.
    Since: 1.0.
    """


@hookspec(firstresult=True)
def orlop_signal(record: Record, number: int) -> int | None:
    """Say which signal is sent instead of *number*.

    When: before a signal is sent to a container.
    Process: the caller, with its privileges and namespaces; pure.
    May change: nothing.
    None: this plugin has no opinion; the first number that is returned is sent.
    Raising: the signal is not sent; the error names the plugin.
    Order: plugin order, until one answers.
    Since: 1.0.
    """


@hookspec(firstresult=True)
def orlop_ps(record: Record, kernel: LiveKernel) -> Sequence[int] | None:
    """List the processes of a container, for a plugin that knows better than the kernel's cgroups.

    When: when the processes are asked for.
    Process: the caller, with its privileges and namespaces; may read through *kernel* only.
    May change: nothing.
    None: this plugin does not know.
    Raising: the listing fails, naming the plugin.
    Order: plugin order, until one answers; without an answer the kernel is asked.
    Since: 1.0.
    """


@hookspec
def orlop_checkpoint(  # type: ignore[empty-body]
    plan: Plan, checkpoint: CheckpointOptions, record: Record
) -> Sequence[Step]:
    """Say what a checkpoint of a live container takes; *plan* is what the container was made by.

    When: on checkpoint of a running or paused container.
    Process: the caller, with its privileges and namespaces; pure.
    May change: nothing.
    None: the same as an empty sequence; without any step the operation is refused.
    Raising: the checkpoint is refused, naming the plugin; the container goes on.
    Order: as for ``orlop_plan``; steps of the phase ``checkpoint`` only.
    Since: 1.0.
    """


@hookspec
def orlop_restore(  # type: ignore[empty-body]
    plan: Plan, restore: RestoreOptions, config: Config
) -> Sequence[Step]:
    """Say what it takes to bring a container back from images; *plan* is what its *config* would make.

    The phases ``clone`` to ``exec`` of *plan* are not executed: what they would make comes out of the images,
    and has to be what the config says.

    When: on restore, when no plugin objected to the config; nothing has been touched.
    Process: the caller, with its privileges and namespaces; pure.
    May change: nothing.
    None: the same as an empty sequence; without any step the operation is refused.
    Raising: the restore is refused, naming the plugin; nothing has been touched.
    Order: as for ``orlop_plan``; steps of the phase ``restore`` only.
    Since: 1.0.
    """
