"""Plugin ``net-devices``: ``linux.netDevices`` (config-linux.md, Network Devices)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orlop_hookspecs.hooks import hookimpl
from orlop_hookspecs.hooks.capability import Handle, Problem
from orlop_hookspecs.steps.network import MoveNetDevices
from orlop_linux.plugins.shared import HOST_NAMESPACES, namespace, plugin_info, token

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from orlop_hookspecs.documents import Config, NetDevice
    from orlop_hookspecs.hooks.identity import PluginInfo
    from orlop_hookspecs.steps.base import Step

POINTER = "/linux/netDevices"
NAME_MAX = 15
"""Longest name of a network device (linux/if.h, IFNAMSIZ less its NUL)."""

PATTERN = "%d"
LOOPBACK = "lo"


@hookimpl
def orlop_plugin() -> PluginInfo:
    """Return the plugin's identity."""
    return plugin_info("net-devices", "network devices moved into the container", after=("namespaces",))


@hookimpl
def orlop_handles() -> Sequence[Handle]:
    """Return the devices."""
    return (Handle("linux.netDevices"),)


@hookimpl
def orlop_features() -> Mapping[str, Any]:
    """Say that network devices can be moved."""
    return {"linux.netDevices.enabled": True}


def name_fault(name: str) -> str:
    """Return why no network device can have this name (dev_valid_name of the kernel), or an empty string."""
    if not name:
        return "the name is empty"
    if name in {".", ".."}:
        return "no network device has this name"
    if len(name.encode(errors="surrogateescape")) > NAME_MAX:
        return f"the name is longer than {NAME_MAX} bytes"
    if any(c in "/:" or c.isspace() or not c.isprintable() for c in name):
        return "the name contains a slash, a colon, white space or a control character"
    return ""


def pattern_fault(name: str) -> str:
    """Return why *name* cannot be a name inside, which may be a pattern, or an empty string."""
    if "%" in name and (name.count("%") > 1 or not name.endswith(PATTERN)):
        return f"of % only {PATTERN} at the end has a meaning"
    return name_fault(name)


def inside(name: str, device: NetDevice) -> str:
    """Return the name inside of the device that the host calls *name*."""
    return name if device.name is None else device.name


@hookimpl
def orlop_validate(config: Config) -> Sequence[Problem]:
    """Refuse names that no device can have, two devices of one name, and devices without a place to go."""
    devices = config.linux and config.linux.net_devices
    if not devices:
        return ()
    return (*_place(config), *_names(devices))


def _place(config: Config) -> Iterator[Problem]:
    entry = namespace(config, "network")
    if entry is None:
        yield Problem(
            POINTER,
            "without a network namespace of the container there is nowhere to move devices to",
            hint="add a network namespace to linux.namespaces",
        )
    elif entry.path is not None and entry.path.startswith(HOST_NAMESPACES):
        yield Problem(POINTER, "the network namespace that is joined is the host's", entry.path)


def _names(devices: Mapping[str, NetDevice]) -> Iterator[Problem]:
    taken: dict[str, str] = {}
    for name, device in devices.items():
        here = f"{POINTER}/{token(name)}"
        new = inside(name, device)
        fault = name_fault(name)
        if not fault and "%" in name:
            fault = "no network device has a % in its name"
        if not fault and name == LOOPBACK:
            fault = "the loopback of a network namespace cannot be moved"
        if fault:
            yield Problem(here, fault, name)
        if device.name is not None:
            here += "/name"
            fault = pattern_fault(new)
            if not fault and new == LOOPBACK:
                fault = "every network namespace has a loopback of this name"
            if fault:
                yield Problem(here, fault, new)
        if new in taken and PATTERN not in new:
            yield Problem(here, f"the device {taken[new]} gets the same name", new)
        taken.setdefault(new, name)


@hookimpl
def orlop_plan(config: Config) -> Sequence[Step]:
    """Plan the move of all devices."""
    devices = config.linux and config.linux.net_devices
    if not devices:
        return ()
    pairs = tuple((name, inside(name, device)) for name, device in devices.items())
    return (MoveNetDevices(because=POINTER, devices=pairs),)
