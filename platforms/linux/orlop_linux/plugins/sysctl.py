"""Plugin ``sysctl``: ``linux.sysctl`` (config-linux.md, Sysctl).

Only parameters of namespaces are accepted, and only when the container has the namespace: every other one is
the host's. That a namespace joined by its path is not the runtime's own is verified by the executor.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from orlop_hookspecs.hooks import hookimpl
from orlop_hookspecs.hooks.capability import Handle, Problem
from orlop_hookspecs.steps.session import SetSysctl
from orlop_linux.plugins.shared import HOST_NAMESPACES, namespace, plugin_info, token

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from orlop_hookspecs.documents import Config
    from orlop_hookspecs.hooks.identity import PluginInfo
    from orlop_hookspecs.steps.base import Step

NAMESPACES = {
    "kernel.domainname": "uts",
    "kernel.hostname": "uts",
    "kernel.msgmax": "ipc",
    "kernel.msgmnb": "ipc",
    "kernel.msgmni": "ipc",
    "kernel.sem": "ipc",
    "kernel.shm_rmid_forced": "ipc",
    "kernel.shmall": "ipc",
    "kernel.shmmax": "ipc",
    "kernel.shmmni": "ipc",
}
"""Parameters that a namespace has of its own, and its type."""

PREFIXES = (("fs.mqueue.", "ipc"), ("net.", "network"), ("user.", "user"))
"""Beginnings of parameters that a namespace has of its own, and its type."""

PROPERTIES = {"kernel.hostname": "hostname", "kernel.domainname": "domainname"}
"""Parameters that a property of the config sets as well."""

LETTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.:@")
"""What the name of a file below /proc/sys may consist of here; a dot only as part of an interface's name."""

VALUE_MAX = 4095


@hookimpl
def orlop_plugin() -> PluginInfo:
    """Return the plugin's identity."""
    return plugin_info("sysctl", "kernel parameters of the container's own namespaces", after=("names",))


@hookimpl
def orlop_handles() -> Sequence[Handle]:
    """Return the parameters."""
    return (Handle("linux.sysctl"),)


def components(key: str) -> tuple[str, ...]:
    """Return the file names below /proc/sys that *key* stands for; empty if it cannot stand for any.

    As sysctl(8) has it: whichever of dot and slash comes first separates the components, and the other one
    stands for a dot inside a component, as in ``net.ipv4.conf.eth0/100.forwarding``.
    """
    dot, slash = key.find("."), key.find("/")
    if slash >= 0 and (dot < 0 or slash < dot):
        parts = key.split("/")
    else:
        parts = [part.replace("/", ".") for part in key.split(".")]
    for part in parts:
        if not part or part in {".", ".."} or not LETTERS.issuperset(part):
            return ()
    return tuple(parts)


def dotted(parts: Sequence[str]) -> str:
    """Return the dotted form of the parameter with the file names *parts*."""
    return ".".join(part.replace(".", "/") for part in parts)


def owner(key: str) -> str:
    """Return the type of the namespaces that have the parameter *key* (dotted form) each; empty if none."""
    kind = NAMESPACES.get(key, "")
    if not kind:
        for prefix, its_kind in PREFIXES:
            if key.startswith(prefix):
                return its_kind
    return kind


@hookimpl
def orlop_validate(config: Config) -> Sequence[Problem]:
    """Refuse parameters of the host, malformed names and values, and two values for one parameter."""
    return tuple(_problems(config))


def _problems(config: Config) -> Iterator[Problem]:
    seen: dict[str, str] = {}
    for key, value in ((config.linux and config.linux.sysctl) or {}).items():
        here = f"/linux/sysctl/{token(key)}"
        parts = components(key)
        if len(parts) < 2:
            yield Problem(here, "this is not the name of a kernel parameter", key)
            continue
        name = dotted(parts)
        if name in seen:
            yield Problem(here, f"this is the same parameter as {seen[name]}", key)
        seen.setdefault(name, key)
        yield from _place(config, name, here)
        if any(not c.isprintable() and c != "\t" for c in value):
            yield Problem(here, "the value contains control characters", value)
        elif len(value.encode(errors="surrogateescape")) > VALUE_MAX:
            yield Problem(here, f"the value is longer than {VALUE_MAX} bytes", value)


def _place(config: Config, name: str, here: str) -> Iterator[Problem]:
    """Yield why the parameter *name* would not be the container's alone."""
    kind = owner(name)
    if not kind:
        yield Problem(here, "the parameter belongs to the host, not to a namespace", name)
        return
    entry = namespace(config, kind)
    if entry is None:
        yield Problem(
            here,
            f"without a {kind} namespace the parameter is the host's",
            name,
            f"add a {kind} namespace to linux.namespaces",
        )
    elif entry.path is not None and entry.path.startswith(HOST_NAMESPACES):
        yield Problem(here, f"the {kind} namespace that is joined is the host's", name)
    taken = PROPERTIES.get(name)
    if taken and getattr(config, taken):
        yield Problem(here, f"the property {taken} sets it already", name)


@hookimpl
def orlop_plan(config: Config) -> Sequence[Step]:
    """Plan the parameters in the order of the config."""
    return tuple(
        SetSysctl(
            because=f"/linux/sysctl/{token(key)}",
            key=(name := dotted(components(key))),
            value=value,
            namespace=owner(name),
        )
        for key, value in ((config.linux and config.linux.sysctl) or {}).items()
    )
