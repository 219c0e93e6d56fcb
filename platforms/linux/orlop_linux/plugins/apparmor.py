"""Plugin ``apparmor``: ``process.apparmorProfile`` (config.md, Linux Process; apparmor(7))."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orlop_hookspecs.hooks import hookimpl
from orlop_hookspecs.hooks.capability import Handle, Problem
from orlop_linux.plugins.shared import plugin_info

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from orlop_hookspecs.documents import Config
    from orlop_hookspecs.hooks.identity import PluginInfo
    from orlop_hookspecs.steps.base import Step

PROFILE = "/process/apparmorProfile"
NAME_MAX = 4000
"""Bytes of a name: a write to /proc/PID/attr is cut after a page, and has a command before the name."""


@hookimpl
def orlop_plugin() -> PluginInfo:
    """Return the plugin's identity."""
    return plugin_info("apparmor", "AppArmor profile of the process", after=("process",))


@hookimpl
def orlop_handles() -> Sequence[Handle]:
    """Return the profile."""
    return (Handle("process.apparmorProfile"),)


@hookimpl
def orlop_features() -> Mapping[str, Any]:
    """Say that profiles are applied."""
    return {"linux.apparmor.enabled": True}


def _name(config: Config) -> str:
    """Return the profile; engines write an empty one when they ask for none."""
    return (config.process and config.process.apparmor_profile) or ""


@hookimpl
def orlop_validate(config: Config) -> Sequence[Problem]:
    """Refuse what the kernel would read as another name, or as no name."""
    name = _name(config)
    if not name:
        return ()
    why = ""
    if name != name.strip():
        why = "the name begins or ends with a space, which the kernel would leave out"
    elif not name.isprintable():
        why = "the name contains control characters"
    elif name[0] == "&":
        why = "this stacks a profile and is not the name of one"
    elif len(name.encode(errors="surrogateescape")) > NAME_MAX:
        why = f"the name is longer than {NAME_MAX} bytes"
    return (Problem(PROFILE, why, name),) if why else ()


@hookimpl
def orlop_plan(config: Config) -> Sequence[Step]:
    """Plan the profile, and the question whether the host has AppArmor."""
    name = _name(config)
    if not name:
        return ()
    from orlop_hookspecs.steps.security import RequireSecurityModule, SetApparmorProfile

    return (
        RequireSecurityModule(because=PROFILE, module="apparmor"),
        SetApparmorProfile(because=PROFILE, profile=name),
    )
