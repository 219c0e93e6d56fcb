"""What the handlers of one container share, and how a refusal becomes an error that names the step."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from orlop_fake.faults import STEP
from orlop_fake.refusals import text_of
from orlop_hookspecs.errors import OrlopError, StepError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orlop_fake.cgroups import Cgroup
    from orlop_fake.machine import Machine
    from orlop_fake.mounts import Location
    from orlop_fake.processes import Credentials, Process
    from orlop_hookspecs.kernel import Journal
    from orlop_hookspecs.launch import LaunchOptions
    from orlop_hookspecs.plan import PlannedStep
    from orlop_hookspecs.record import Record


Handler = Callable[["Context", Any], None]
"""What executes the steps of one class."""


class Context:
    """One container while steps are executed for it."""

    __slots__ = (
        "before",
        "cgroups",
        "clos_was_there",
        "container",
        "joins",
        "journal",
        "keep_groups",
        "kernel",
        "late_readonly",
        "made_root",
        "new",
        "options",
        "own_mounts",
        "places",
        "process",
        "record",
        "start_state",
        "state",
        "updates",
        "warnings",
    )  # fmt: skip

    def __init__(self, kernel: Machine, record: Record, journal: Journal, options: LaunchOptions) -> None:
        """Begin with nothing made."""
        self.kernel = kernel
        self.record = record
        self.container = record.id
        self.journal = journal
        self.options = options
        self.warnings: list[str] = []
        self.process: Process = kernel.runtime
        """The container process, once there is one."""
        self.state = b"{}"
        self.start_state = b"{}"
        """The state document that the start came with, for seccomp agents."""
        self.cgroups: dict[str, Cgroup] = {}
        self.clos_was_there = False
        self.joins = False
        """Whether the process joins a container: what is about the container is done."""
        self.keep_groups = False
        """Whether the supplementary groups stay those of the runtime."""
        self.before: Credentials | None = None
        """Who the process was before it became its user: root of the container enters directories for it."""
        self.updates = False
        """Whether the container exists: what is written changes what was there."""
        self.new: set[str] = set()
        """Kinds of namespaces that are the container's own."""
        self.own_mounts = False
        self.made_root: Location | None = None
        self.late_readonly: list[Any] = []
        """Mounts that become read-only when everything under them has been made."""
        self.places: dict[str, Location] = {}
        """Directories of the root that were resolved; valid until the next mount."""

    @property
    def root(self) -> Location:
        """The container's root: the prepared one before the switch, the process's own after it."""
        return self.made_root or self.process.root


def refused_step(context: Context, planned: PlannedStep, error: OSError) -> StepError:
    """Return the error for a step that the kernel refused with *error*."""
    return StepError(
        f"cannot {planned.step.words()}: {error.strerror or text_of(error.errno or 0)}",
        path=error.filename or "",
        pointer=planned.step.because,
        plugin=planned.plugin,
        container=context.container,
        step=planned.step.describe(),
        errno=error.errno,
    )


def run_step(handlers: Mapping[str, Handler], context: Context, planned: PlannedStep) -> None:
    """Execute one step.

    Raises:
        StepError: The kernel refused it.
    """
    step = planned.step
    name = type(step).__name__
    faults = context.kernel.faults
    try:
        if faults.armed:
            faults.before(STEP, name, step.describe)
        handlers[name](context, step)
    except OrlopError as error:
        if not error.step:
            error.step = step.describe()
        error.plugin = error.plugin or planned.plugin
        error.container = error.container or context.container
        raise
    except OSError as error:
        raise refused_step(context, planned, error) from error
    if faults.armed:
        faults.after(STEP, name, step.describe)
