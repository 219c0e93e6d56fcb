"""Plugin ``terminal``: ``process.terminal``, ``process.consoleSize``, session (config.md, Process)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orlop_hookspecs.hooks import hookimpl
from orlop_hookspecs.hooks.capability import Handle, Problem
from orlop_hookspecs.steps.session import NewSession, OpenTerminal
from orlop_linux.plugins.shared import NO_MOUNT_NAMESPACE, NO_MOUNT_NAMESPACE_HINT, can_mount, plugin_info

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from orlop_hookspecs.documents import Config
    from orlop_hookspecs.hooks.identity import PluginInfo
    from orlop_hookspecs.launch import PlanContext
    from orlop_hookspecs.steps.base import Step

SIZE_MAX = (1 << 16) - 1
"""Largest number of rows or columns (ioctl_tty(2), struct winsize)."""


@hookimpl
def orlop_plugin() -> PluginInfo:
    """Return the plugin's identity."""
    return plugin_info("terminal", "terminal and session", after=("process",))


@hookimpl
def orlop_handles() -> Sequence[Handle]:
    """Return the terminal and its size."""
    return (Handle("process.terminal"), Handle("process.consoleSize"))


def _wants_terminal(config: Config) -> bool:
    return config.process is not None and bool(config.process.terminal)


@hookimpl
def orlop_validate(config: Config, context: PlanContext) -> Sequence[Problem]:
    """Refuse a terminal that nobody would hold, and a console socket that nothing would be sent to."""
    return tuple(_problems(config, context))


def _problems(config: Config, context: PlanContext) -> Iterator[Problem]:
    options = context.options
    pointer = "/process/terminal"
    if not _wants_terminal(config):
        if options.console_socket:
            yield Problem(
                pointer,
                "a console socket was given, but the process has no terminal",
                hint="set process.terminal, or leave out the console socket",
            )
        return
    if options.foreground and options.console_socket:
        yield Problem(pointer, "a console socket cannot be used in the foreground", hint="run with --detach")
    elif not options.foreground and not options.console_socket:
        yield Problem(
            pointer,
            "nobody would hold the terminal: no console socket was given",
            hint="give --console-socket, or set process.terminal to false",
        )
    if not can_mount(config):
        yield Problem(pointer, NO_MOUNT_NAMESPACE, hint=NO_MOUNT_NAMESPACE_HINT)
    size = config.process and config.process.console_size
    if size:
        for name, number in (("height", size.height), ("width", size.width)):
            if number > SIZE_MAX:
                yield Problem(f"/process/consoleSize/{name}", f"a terminal has at most {SIZE_MAX}", number)


@hookimpl
def orlop_plan(config: Config) -> Sequence[Step]:
    """Plan a terminal, or else a session without one."""
    process = config.process
    if process is None:
        return ()
    if not process.terminal:
        return (NewSession(because="/process/terminal"),)
    size = process.console_size
    return (
        OpenTerminal(
            because="/process/terminal",
            height=size.height if size else 0,
            width=size.width if size else 0,
            uid=(process.user and process.user.uid) or 0,
        ),
    )
