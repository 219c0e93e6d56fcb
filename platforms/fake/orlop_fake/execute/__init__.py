"""How each step of a plan is executed on the fake kernel, one module per phase.

A handler takes the :class:`~orlop_fake.execute.context.Context` of its container and the step. It refuses by
raising ``OSError`` with the errno that Linux gives; the caller makes a ``StepError`` of it.
"""

from __future__ import annotations

from orlop_fake.execute import (
    birth,
    confined,
    finish,
    host,
    images,
    mounting,
    network,
    rootfs,
    scope,
    security,
    traits,
)
from orlop_fake.execute.context import Context, Handler, run_step

HANDLERS: dict[str, Handler] = {
    **birth.HANDLERS,
    **host.HANDLERS,
    **network.HANDLERS,
    **scope.HANDLERS,
    **rootfs.HANDLERS,
    **mounting.HANDLERS,
    **confined.HANDLERS,
    **traits.HANDLERS,
    **security.HANDLERS,
    **finish.HANDLERS,
    **images.HANDLERS,
}
"""The handler of every step class, by its name."""

__all__ = ["HANDLERS", "Context", "run_step"]
