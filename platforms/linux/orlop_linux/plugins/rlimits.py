"""Plugin ``rlimits``: ``process.rlimits`` (config.md, POSIX process; getrlimit(2))."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orlop_hookspecs.hooks import hookimpl
from orlop_hookspecs.hooks.capability import Handle, Problem
from orlop_hookspecs.steps.exec import SetRlimits
from orlop_linux.plugins.shared import containers, plugin_info

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from orlop_hookspecs.documents import Config
    from orlop_hookspecs.hooks.identity import PluginInfo
    from orlop_hookspecs.steps.base import Step

NAMES = frozenset(
    {
        "RLIMIT_AS",
        "RLIMIT_CORE",
        "RLIMIT_CPU",
        "RLIMIT_DATA",
        "RLIMIT_FSIZE",
        "RLIMIT_LOCKS",
        "RLIMIT_MEMLOCK",
        "RLIMIT_MSGQUEUE",
        "RLIMIT_NICE",
        "RLIMIT_NOFILE",
        "RLIMIT_NPROC",
        "RLIMIT_RSS",
        "RLIMIT_RTPRIO",
        "RLIMIT_RTTIME",
        "RLIMIT_SIGPENDING",
        "RLIMIT_STACK",
    }
)


@hookimpl
def orlop_plugin() -> PluginInfo:
    """Return the plugin's identity."""
    return plugin_info("rlimits", "resource limits of the process", after=("process",))


@hookimpl
def orlop_handles() -> Sequence[Handle]:
    """Return the limits."""
    return (
        *containers("process.rlimits", "process.rlimits[]"),
        Handle("process.rlimits[].type", values=NAMES),
        Handle("process.rlimits[].soft"),
        Handle("process.rlimits[].hard"),
    )


@hookimpl
def orlop_validate(config: Config) -> Sequence[Problem]:
    """Refuse limits that stand there twice, and soft limits above their hard ones."""
    return tuple(_problems(config))


def _problems(config: Config) -> Iterator[Problem]:
    seen: dict[str, int] = {}
    for index, limit in enumerate((config.process and config.process.rlimits) or ()):
        here = f"/process/rlimits/{index}"
        if limit.type in seen:
            yield Problem(
                f"{here}/type", f"the limit stands already in rlimits/{seen[limit.type]}", limit.type
            )
        seen.setdefault(limit.type, index)
        if limit.soft > limit.hard:
            yield Problem(f"{here}/soft", f"the soft limit is above the hard limit, {limit.hard}", limit.soft)


@hookimpl
def orlop_plan(config: Config) -> Sequence[Step]:
    """Plan all limits as one step."""
    limits = (config.process and config.process.rlimits) or ()
    if not limits:
        return ()
    return (
        SetRlimits(
            because="/process/rlimits", limits=tuple((limit.type, limit.soft, limit.hard) for limit in limits)
        ),
    )
