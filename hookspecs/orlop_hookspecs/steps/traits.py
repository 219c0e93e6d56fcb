"""Steps that give the container process what only it can give itself, and what execve(2) does not take away.

They come last in their phase: what the process still does after them, it does as the program will.
"""

from __future__ import annotations

from orlop_hookspecs.steps.base import Step, step


@step
class SetPersonality(Step):
    """Set the execution domain, with no flags (personality(2)): ``LINUX`` or ``LINUX32``."""

    ACT = "set the personality {domain}"
    PHASE = "confined"
    SLOT = "traits"
    JOINS = True

    because: str
    domain: str


@step
class SetMemoryPolicy(Step):
    """Set the NUMA memory policy (set_mempolicy(2)).

    Nodes that the kernel would leave out make the step fail, unless a flag says that they may change.
    """

    ACT = "set the memory policy {mode}"
    PHASE = "confined"
    SLOT = "traits"
    JOINS = True

    because: str
    mode: str
    nodes: tuple[tuple[int, int], ...] = ()
    """Ranges of node numbers, first and last."""
    flags: tuple[str, ...] = ()
