"""Plugin ``memory-policy``: ``linux.memoryPolicy`` (config-linux.md, Memory policy; set_mempolicy(2))."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orlop_hookspecs.hooks import hookimpl
from orlop_hookspecs.hooks.capability import Handle, Problem
from orlop_linux.plugins.shared import containers, plugin_info

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from orlop_hookspecs.documents import Config, MemoryPolicy
    from orlop_hookspecs.hooks.identity import PluginInfo
    from orlop_hookspecs.steps.base import Step

POLICY = "/linux/memoryPolicy"
FEATURES = "linux.memoryPolicy"

# Modes by what set_mempolicy(2) says of their nodes; without any the preferred one is the local node.
WITHOUT_NODES = ("MPOL_DEFAULT", "MPOL_LOCAL")
WITH_NODES = ("MPOL_BIND", "MPOL_INTERLEAVE", "MPOL_WEIGHTED_INTERLEAVE", "MPOL_PREFERRED_MANY")
PREFERRED = "MPOL_PREFERRED"
MODES = frozenset({*WITHOUT_NODES, *WITH_NODES, PREFERRED})

BALANCING, RELATIVE, STATIC = "MPOL_F_NUMA_BALANCING", "MPOL_F_RELATIVE_NODES", "MPOL_F_STATIC_NODES"
FLAGS = frozenset({BALANCING, RELATIVE, STATIC})
BALANCED = ("MPOL_BIND", "MPOL_PREFERRED_MANY")
"""Modes with which memory may be balanced (linux/mempolicy.h; the second one since Linux 6.10)."""

NODE_MAX = 1024
"""More memory nodes than any kernel has (CONFIG_NODES_SHIFT)."""


@hookimpl
def orlop_plugin() -> PluginInfo:
    """Return the plugin's identity."""
    return plugin_info("memory-policy", "NUMA memory policy of the process", after=("process",))


@hookimpl
def orlop_handles() -> Sequence[Handle]:
    """Return the policy; modes and flags are features as well."""
    return (
        *containers("linux.memoryPolicy", "linux.memoryPolicy.flags"),
        Handle("linux.memoryPolicy.mode", values=MODES, feature=f"{FEATURES}.modes"),
        Handle("linux.memoryPolicy.flags[]", values=FLAGS, feature=f"{FEATURES}.flags"),
        Handle("linux.memoryPolicy.nodes"),
    )


@hookimpl
def orlop_validate(config: Config) -> Sequence[Problem]:
    """Refuse what set_mempolicy(2) refuses on every host, and flags that it would ignore."""
    wanted = config.linux and config.linux.memory_policy
    return tuple(_problems(wanted)) if wanted else ()


def _problems(wanted: MemoryPolicy) -> Iterator[Problem]:
    from orlop_linux.plugins.number_lists import fault, ranges

    mode, nodes = wanted.mode, wanted.nodes or ""
    if mode is None:
        yield Problem(f"{POLICY}/mode", "the property is required")
        return
    why = fault(nodes, NODE_MAX) if nodes.strip() else ""
    if why:
        yield Problem(f"{POLICY}/nodes", why, nodes)
    elif nodes.strip() and mode in WITHOUT_NODES:
        yield Problem(f"{POLICY}/nodes", f"{mode} has no nodes", nodes, "leave them out")
    elif not nodes.strip() and mode in WITH_NODES:
        yield Problem(f"{POLICY}/nodes", f"{mode} needs at least one node", wanted.nodes)
    elif (
        nodes.strip()
        and mode == PREFERRED
        and len({end for pair in ranges(nodes, NODE_MAX) for end in pair}) > 1
    ):
        yield Problem(f"{POLICY}/nodes", f"{mode} takes one node, and would ignore the others", nodes)
    yield from _flags(wanted.flags or (), mode, bool(nodes.strip()))


def _flags(flags: tuple[str, ...], mode: str, nodes: bool) -> Iterator[Problem]:  # noqa: FBT001 - a fact of the config
    for index, flag in enumerate(flags):
        here = f"{POLICY}/flags/{index}"
        if flag in flags[:index]:
            yield Problem(here, "the flag stands there twice", flag)
        elif flag == BALANCING and mode not in BALANCED:
            yield Problem(here, f"only {' and '.join(BALANCED)} can have the flag", flag)
        elif flag != BALANCING and not nodes:
            yield Problem(here, "the flag is about nodes, and there are none", flag)
        elif flag in {RELATIVE, STATIC} and {RELATIVE, STATIC}.issubset(flags[: index + 1]):
            yield Problem(here, f"{RELATIVE} and {STATIC} exclude each other", flag)


@hookimpl
def orlop_plan(config: Config) -> Sequence[Step]:
    """Plan the policy."""
    wanted = config.linux and config.linux.memory_policy
    if not wanted:
        return ()
    from orlop_hookspecs.steps.traits import SetMemoryPolicy
    from orlop_linux.plugins.number_lists import ranges

    nodes = wanted.nodes or ""
    return (
        SetMemoryPolicy(
            because=POLICY,
            mode=wanted.mode or "",
            nodes=ranges(nodes, NODE_MAX) if nodes.strip() else (),
            flags=wanted.flags or (),
        ),
    )
