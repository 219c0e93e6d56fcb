"""Commands that a plugin adds to the command line."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from orlop_hookspecs.frozen import Frozen, frozen_keywords
from orlop_hookspecs.hooks.markers import hookspec

if TYPE_CHECKING:
    import argparse


@frozen_keywords
class Command(Frozen):
    """A command: its name, one line of help, its arguments and what it does."""

    name: str
    """Lower-case letters, digits and hyphens; a name of the core is refused."""
    summary: str
    """One line for ``orlop help``."""
    configure: Callable[[argparse.ArgumentParser], None]
    """Adds the command's own arguments."""
    run: Callable[[Any, argparse.Namespace], int]
    """Called with the ``orlop.Runtime`` and the parsed arguments; returns the exit status."""


@hookspec
def orlop_commands() -> Sequence[Command]:  # type: ignore[empty-body]
    """Add commands to the command line.

    When: when a command is called that the core does not know, and for the list of commands.
    Process: the caller; no privileges, no namespaces.
    May change: nothing.
    None: the same as an empty sequence.
    Raising: the command line reports the plugin and goes on without its commands.
    Order: plugin order; two commands of one name are refused.
    Since: 1.0.
    """
