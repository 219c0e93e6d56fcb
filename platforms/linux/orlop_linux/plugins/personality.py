"""Plugin ``personality``: ``linux.personality`` (config-linux.md, Personality; personality(2))."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orlop_hookspecs.hooks import hookimpl
from orlop_hookspecs.hooks.capability import Handle, Problem
from orlop_linux.plugins.shared import plugin_info

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orlop_hookspecs.documents import Config
    from orlop_hookspecs.hooks.identity import PluginInfo
    from orlop_hookspecs.steps.base import Step

PERSONALITY = "/linux/personality"


@hookimpl
def orlop_plugin() -> PluginInfo:
    """Return the plugin's identity."""
    return plugin_info("personality", "execution domain of the process", after=("process",))


@hookimpl
def orlop_handles() -> Sequence[Handle]:
    """Return the property."""
    return (Handle("linux.personality"),)


@hookimpl
def orlop_validate(config: Config) -> Sequence[Problem]:
    """Refuse a domain that is missing, and every flag: the specification has none."""
    wanted = config.linux and config.linux.personality
    if not wanted:
        return ()
    problems = [
        Problem(f"{PERSONALITY}/flags/{index}", "no flags are supported", flag)
        for index, flag in enumerate(wanted.flags or ())
    ]
    if wanted.domain is None:
        problems.append(Problem(f"{PERSONALITY}/domain", "the property is required"))
    return problems


@hookimpl
def orlop_plan(config: Config) -> Sequence[Step]:
    """Plan the domain."""
    wanted = config.linux and config.linux.personality
    if not wanted:
        return ()
    from orlop_hookspecs.steps.traits import SetPersonality

    return (SetPersonality(because=PERSONALITY, domain=wanted.domain or ""),)
