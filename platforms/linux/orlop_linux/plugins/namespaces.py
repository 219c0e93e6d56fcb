"""Plugin ``namespaces``: ``linux.namespaces`` and ``linux.timeOffsets`` (config-linux.md, Namespaces).

A namespace of each type is made new, or joined by its path; types that are not listed are shared with the
runtime.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from orlop_hookspecs.hooks import hookimpl
from orlop_hookspecs.hooks.capability import Handle, Problem
from orlop_hookspecs.steps.namespaces import JoinNamespace, NewNamespace, SetTimeOffset
from orlop_hookspecs.steps.session import BringUpLoopback
from orlop_linux.plugins.shared import containers, has_new, is_absolute, path_fault, plugin_info, token

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from orlop_hookspecs.documents import Config
    from orlop_hookspecs.hooks.identity import PluginInfo
    from orlop_hookspecs.steps.base import Step

TYPES = frozenset({"cgroup", "ipc", "mount", "network", "pid", "time", "user", "uts"})
CLOCKS = ("monotonic", "boottime")
NANOSECONDS = 1_000_000_000


@hookimpl
def orlop_plugin() -> PluginInfo:
    """Return the plugin's identity."""
    return plugin_info("namespaces", "new and joined namespaces of all eight types, clock offsets, loopback")


@hookimpl
def orlop_handles() -> Sequence[Handle]:
    """Return the namespaces and the clocks."""
    return (
        *containers("linux.namespaces", "linux.namespaces[]"),
        Handle("linux.namespaces[].type", values=TYPES, feature="linux.namespaces"),
        Handle("linux.namespaces[].path"),
        Handle("linux.timeOffsets"),
    )


@hookimpl
def orlop_validate(config: Config) -> Sequence[Problem]:
    """Refuse doubled types, paths that are not absolute, and clocks without a new time namespace."""
    return tuple(_problems(config))


def _problems(config: Config) -> Iterator[Problem]:
    linux = config.linux
    if linux is None:
        return
    seen: dict[str, int] = {}
    for index, entry in enumerate(linux.namespaces or ()):
        here = f"/linux/namespaces/{index}"
        if entry.type in seen:
            yield Problem(
                f"{here}/type", f"the type stands already in namespaces/{seen[entry.type]}", entry.type
            )
        seen.setdefault(entry.type, index)
        if entry.path is not None:
            if not is_absolute(entry.path):
                yield Problem(f"{here}/path", "the path of a namespace must be absolute", entry.path)
            elif path_fault(entry.path):
                yield Problem(f"{here}/path", path_fault(entry.path), entry.path)
    yield from _clocks(config)


def _clocks(config: Config) -> Iterator[Problem]:
    offsets = (config.linux and config.linux.time_offsets) or {}
    if offsets and not has_new(config, "time"):
        yield Problem(
            "/linux/timeOffsets",
            "clock offsets can only be set in a new time namespace",
            hint="add a time namespace without a path to linux.namespaces",
        )
    for clock, offset in offsets.items():
        here = f"/linux/timeOffsets/{token(clock)}"
        if clock not in CLOCKS:
            yield Problem(here, f"only the clocks {' and '.join(CLOCKS)} have offsets", clock)
        if offset.nanosecs is not None and offset.nanosecs >= NANOSECONDS:
            yield Problem(f"{here}/nanosecs", "nanoseconds must be less than one second", offset.nanosecs)


@hookimpl
def orlop_plan(config: Config) -> Sequence[Step]:
    """Plan which namespaces are joined, made and set up."""
    linux = config.linux
    if linux is None:
        return ()
    steps: list[Step] = []
    for index, entry in enumerate(linux.namespaces or ()):
        because = f"/linux/namespaces/{index}"
        if entry.path is not None:
            steps.append(JoinNamespace(because=because, type=entry.type, path=entry.path))
            continue
        steps.append(NewNamespace(because=because, type=entry.type))
        if entry.type == "network":
            steps.append(BringUpLoopback(because=because))
    steps.extend(
        SetTimeOffset(
            because=f"/linux/timeOffsets/{clock}",
            clock=clock,
            secs=linux.time_offsets[clock].secs or 0,
            nanosecs=linux.time_offsets[clock].nanosecs or 0,
        )
        for clock in CLOCKS
        if linux.time_offsets and clock in linux.time_offsets
    )
    return steps
