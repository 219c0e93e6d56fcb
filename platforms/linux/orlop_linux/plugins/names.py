"""Plugin ``names``: ``hostname`` and ``domainname`` (config.md, Hostname, Domainname)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orlop_hookspecs.hooks import hookimpl
from orlop_hookspecs.hooks.capability import Handle, Problem
from orlop_hookspecs.steps.session import SetDomainname, SetHostname
from orlop_linux.plugins.shared import HOST_NAMESPACES, namespace, plugin_info

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from orlop_hookspecs.documents import Config
    from orlop_hookspecs.hooks.identity import PluginInfo
    from orlop_hookspecs.steps.base import Step

LONGEST = 64
"""Bytes of a host or domain name (uname(2), __NEW_UTS_LEN)."""


@hookimpl
def orlop_plugin() -> PluginInfo:
    """Return the plugin's identity."""
    return plugin_info("names", "host name and domain name", after=("namespaces",))


@hookimpl
def orlop_handles() -> Sequence[Handle]:
    """Return both names."""
    return (Handle("hostname"), Handle("domainname"))


@hookimpl
def orlop_validate(config: Config) -> Sequence[Problem]:
    """Refuse names that are too long, and names that would change the runtime's own UTS namespace."""
    return tuple(_problems(config))


def _problems(config: Config) -> Iterator[Problem]:
    for pointer, name in (("/hostname", config.hostname), ("/domainname", config.domainname)):
        if not name:
            continue
        entry = namespace(config, "uts")
        if entry is not None and entry.path is not None and entry.path.startswith(HOST_NAMESPACES):
            yield Problem(pointer, "the uts namespace that is joined is the host's", name)
        if entry is None:
            yield Problem(
                pointer,
                "without a uts namespace the name would be the host's",
                name,
                "add a uts namespace to linux.namespaces",
            )
        if len(name.encode(errors="surrogateescape")) > LONGEST:
            yield Problem(pointer, f"the name is longer than {LONGEST} bytes", name)


@hookimpl
def orlop_plan(config: Config) -> Sequence[Step]:
    """Plan the names; an empty one is no name."""
    steps: list[Step] = []
    if config.hostname:
        steps.append(SetHostname(because="/hostname", name=config.hostname))
    if config.domainname:
        steps.append(SetDomainname(because="/domainname", name=config.domainname))
    return steps
