"""The thirteen steps of the specification's lifecycle (runtime.md, Lifecycle), to be cited by number."""

from __future__ import annotations

from orlop_hookspecs.frozen import Frozen, frozen


@frozen
class LifecycleStep(Frozen):
    """One step: who takes it, where it is implemented, and where the lifecycle goes on when it fails."""

    number: int
    summary: str
    where: str
    on_failure: str


_TO_TWELVE = "generate an error, stop the container, continue at step 12"

LIFECYCLE: tuple[LifecycleStep, ...] = (
    LifecycleStep(
        1, "create is called with a bundle and an identifier", "orlop.lifecycle.create", "generate an error"
    ),
    LifecycleStep(
        2,
        "the environment is made as the config says; later changes of the config have no effect",
        "orlop.lifecycle.create; phases host, clone, host-with-pid, container, confined",
        "generate an error; everything is undone",
    ),
    LifecycleStep(3, "prestart hooks run", "phase host-with-pid, slot hooks", _TO_TWELVE),
    LifecycleStep(4, "createRuntime hooks run", "phase host-with-pid, slot hooks", _TO_TWELVE),
    LifecycleStep(5, "createContainer hooks run", "phase container, slot hooks", _TO_TWELVE),
    LifecycleStep(6, "start is called with the identifier", "orlop.lifecycle.start", "generate an error"),
    LifecycleStep(7, "startContainer hooks run", "phase exec, slot hooks", _TO_TWELVE),
    LifecycleStep(
        8,
        "the user-specified program runs",
        "phase exec, slot execute",
        "generate an error; the container has stopped",
    ),
    LifecycleStep(9, "poststart hooks run", "orlop.lifecycle.start", _TO_TWELVE),
    LifecycleStep(10, "the container process exits", "the program, or orlop.lifecycle.kill", ""),
    LifecycleStep(11, "delete is called with the identifier", "orlop.lifecycle.delete", "generate an error"),
    LifecycleStep(
        12,
        "the container is destroyed by undoing what step 2 did",
        "orlop.lifecycle.delete.undo",
        "generate an error; the container stays, so that delete can be repeated",
    ),
    LifecycleStep(
        13,
        "poststop hooks run",
        "orlop.lifecycle.delete.run_poststop",
        "log a warning and go on with the next hook",
    ),
)
"""All steps; ``LIFECYCLE[n - 1]`` is step *n*."""
