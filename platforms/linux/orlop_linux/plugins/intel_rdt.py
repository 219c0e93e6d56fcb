"""Plugin ``intel-rdt``: ``linux.intelRdt`` (config-linux.md, IntelRdt; kernel doc resctrl.rst)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orlop_hookspecs.errors import ConfigError
from orlop_hookspecs.hooks import hookimpl
from orlop_hookspecs.hooks.capability import Handle, Problem
from orlop_hookspecs.steps.resctrl import CreateResctrlGroup, JoinResctrlGroup, WriteSchemata
from orlop_linux.plugins.shared import NAME_MAX, containers, plugin_info

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from orlop_hookspecs.documents import Config, IntelRdt
    from orlop_hookspecs.hooks.identity import PluginInfo
    from orlop_hookspecs.launch import PlanContext
    from orlop_hookspecs.steps.base import Step

ROOT = "/"
"""The closID of the default class, which is the root of the file system itself."""

OWN_DIRECTORIES = frozenset({"info", "mon_data", "mon_groups"})
"""Directories of the file system's root that are no classes."""

SELECTIVE_MONITORING = (1, 2)
"""Minor versions of the specification that have ``enableCMT`` and ``enableMBM``."""

UNIFIED_MONITORING = 3
"""The minor version that replaced them by ``enableMonitoring``, which asks for no event by name."""

OCCUPANCY = ("llc_occupancy",)
"""What cache monitoring counts (kernel doc resctrl.rst, ``mon_features``)."""

BANDWIDTH = ("mbm_total_bytes", "mbm_local_bytes")
"""What memory bandwidth monitoring counts."""

LINE_MAX = 4000
"""Longest line: what a write to a file of kernfs takes is one page."""

BECAUSE = "/linux/intelRdt"


@hookimpl
def orlop_plugin() -> PluginInfo:
    """Return the plugin's identity."""
    return plugin_info(
        "intel-rdt", "cache and memory bandwidth allocation and monitoring", after=("cgroups", "rdma")
    )


@hookimpl
def orlop_handles() -> Sequence[Handle]:
    """Return the class of service and its schemata."""
    return (
        *containers("linux.intelRdt"),
        *(
            Handle(f"linux.intelRdt.{name}")
            for name in (
                "closID",
                "schemata",
                "l3CacheSchema",
                "memBwSchema",
                "enableMonitoring",
                "enableCMT",
                "enableMBM",
            )
        ),
    )


@hookimpl
def orlop_features() -> Mapping[str, Any]:
    """Say that classes, schemata of all kinds and monitoring are implemented."""
    return {
        "linux.intelRdt.enabled": True,
        "linux.intelRdt.schemata": True,
        "linux.intelRdt.monitoring": True,
    }


def _name_fault(name: str) -> str:
    """Return why *name* cannot name a class of service, or an empty string."""
    if not name or name in {".", ".."}:
        return "this is not a name"
    if "/" in name or not name.isprintable():
        return "a class of service is one directory, without slashes and control characters"
    if len(name.encode(errors="surrogateescape")) > NAME_MAX:
        return f"the name is longer than {NAME_MAX} bytes"
    if name in OWN_DIRECTORIES:
        return "the name is a directory of the file system's own"
    return ""


def _minor(config: Config) -> int:
    """Return the minor version of the specification that *config* was written for; the major one is 1."""
    minor = config.oci_version.split(".")[1]
    return int(minor)


def _is_old(config: Config) -> bool:
    """Tell whether the rules before version 1.3.0 hold: ``l3CacheSchema`` may have several lines."""
    return _minor(config) < UNIFIED_MONITORING


def _lines(rdt: IntelRdt, *, old: bool) -> Iterator[tuple[str, str]]:
    """Yield pointer and text of each line of the schemata, in the order in which they must be written.

    Before version 1.3.0 the lines of ``l3CacheSchema`` that begin with ``MB:`` give way to ``memBwSchema``.
    """
    if rdt.l3_cache_schema is not None:
        text = rdt.l3_cache_schema
        for line in text.strip("\n").split("\n") if old else (text,):
            if not (old and rdt.mem_bw_schema is not None and line.startswith("MB:")):
                yield f"{BECAUSE}/l3CacheSchema", line
    if rdt.mem_bw_schema is not None:
        yield f"{BECAUSE}/memBwSchema", rdt.mem_bw_schema
    for index, line in enumerate(rdt.schemata or ()):
        yield f"{BECAUSE}/schemata/{index}", line


def _events(config: Config, rdt: IntelRdt) -> tuple[str, ...]:
    """Return the events that ``enableCMT`` and ``enableMBM`` ask for, in the versions that have them.

    In every other version they are unknown properties, which a runtime ignores (config.md, Extensibility).
    """
    if _minor(config) not in SELECTIVE_MONITORING:
        return ()
    return (OCCUPANCY if rdt.enable_cmt else ()) + (BANDWIDTH if rdt.enable_mbm else ())


@hookimpl
def orlop_validate(config: Config, context: PlanContext) -> Sequence[Problem]:
    """Refuse names that are not one directory, and schemata that are not one line each."""
    rdt = config.linux and config.linux.intel_rdt
    return tuple(_problems(rdt, context.container, old=_is_old(config))) if rdt else ()


def _problems(rdt: IntelRdt, container: str, *, old: bool) -> Iterator[Problem]:
    if rdt.clos_id is None:
        if _name_fault(container):
            yield Problem(
                BECAUSE,
                f"the container's id cannot name its class: {_name_fault(container)}",
                container,
                "give a closID",
            )
    elif rdt.clos_id != ROOT and _name_fault(rdt.clos_id):
        yield Problem(f"{BECAUSE}/closID", _name_fault(rdt.clos_id), rdt.clos_id)
    yield from _line_problems(rdt, old=old)


def _line_problems(rdt: IntelRdt, *, old: bool) -> Iterator[Problem]:
    for pointer, line in _lines(rdt, old=old):
        if "\n" in line:
            yield Problem(pointer, "the schema must be one line", line)
        elif not line.strip():
            yield Problem(pointer, "the schema is empty", line)
        elif len(line) > LINE_MAX:
            yield Problem(pointer, f"the schema is longer than {LINE_MAX} characters", len(line))
    bandwidth = rdt.mem_bw_schema
    if bandwidth is not None and not bandwidth.startswith("MB:"):
        yield Problem(f"{BECAUSE}/memBwSchema", "the schema must start with MB:", bandwidth)


@hookimpl
def orlop_plan(config: Config, context: PlanContext) -> Sequence[Step]:
    """Plan the class, its schemata and the membership.

    Without a closID the class is named after the container and is its own: it may not exist yet, and delete
    removes it. A class that is named may be shared; without any schema it must exist.
    """
    rdt = config.linux and config.linux.intel_rdt
    if not rdt:
        return ()
    lines = tuple(line for _, line in _lines(rdt, old=_is_old(config)))
    name = context.container if rdt.clos_id is None else rdt.clos_id
    events = _events(config, rdt)
    monitoring = bool(rdt.enable_monitoring or events)
    steps: list[Step] = [
        CreateResctrlGroup(
            because=BECAUSE,
            clos_id=name,
            create=rdt.clos_id is None or (bool(lines) and name != ROOT),
            may_exist=rdt.clos_id is not None,
            monitoring=monitoring,
            events=events,
        )
    ]
    if lines:
        steps.append(WriteSchemata(because=BECAUSE, clos_id=name, lines=lines))
    steps.append(JoinResctrlGroup(because=BECAUSE, clos_id=name, monitoring=monitoring))
    return steps


@hookimpl
def orlop_update(intel_rdt: IntelRdt | None) -> Sequence[Step]:
    """Plan the change of the schemata of the container's class, which the kernel's side knows.

    Raises:
        ConfigError: A line is refused.
    """
    if intel_rdt is None:
        return ()
    for problem in _line_problems(intel_rdt, old=False):
        raise ConfigError(problem.message, pointer=problem.pointer, value=problem.value, hint=problem.hint)
    lines = tuple(line for _, line in _lines(intel_rdt, old=False))
    return (WriteSchemata(because=BECAUSE, clos_id="", lines=lines),) if lines else ()
