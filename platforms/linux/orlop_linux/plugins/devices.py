"""Plugin ``devices``: default and configured nodes, links below /dev (config-linux.md, Devices).

Which devices may be opened is a matter of the cgroup, see ``linux.resources.devices``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from orlop_hookspecs.hooks import hookimpl
from orlop_hookspecs.hooks.capability import Handle, Problem
from orlop_hookspecs.steps.rootfs import CreateDevice, CreateSymlink
from orlop_linux.plugins.shared import (
    ID_MAX,
    NO_MOUNT_NAMESPACE,
    NO_MOUNT_NAMESPACE_HINT,
    can_mount,
    clean_path,
    container_path_fault,
    containers,
    is_absolute,
    is_below,
    mounts_below_root,
    plugin_info,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from orlop_hookspecs.documents import Config, Device
    from orlop_hookspecs.hooks.identity import PluginInfo
    from orlop_hookspecs.steps.base import Step

TYPES = frozenset({"b", "c", "p", "u"})
MODE = 0o666
MODE_MAX = 0o7777
FILE_TYPES = {"b": 0o060000, "c": 0o020000, "u": 0o020000, "p": 0o010000}
"""The type bits of a mode (inode(7)); engines write them with the permissions."""

MAJOR_MAX = (1 << 12) - 1
MINOR_MAX = (1 << 20) - 1

DEFAULTS = (
    ("/dev/null", 1, 3),
    ("/dev/zero", 1, 5),
    ("/dev/full", 1, 7),
    ("/dev/random", 1, 8),
    ("/dev/urandom", 1, 9),
    ("/dev/tty", 5, 0),
)
"""Path, major and minor of the character devices that every container has."""

LINKS = (
    ("/dev/fd", "/proc/self/fd"),
    ("/dev/stdin", "/proc/self/fd/0"),
    ("/dev/stdout", "/proc/self/fd/1"),
    ("/dev/stderr", "/proc/self/fd/2"),
)
"""Links that the Linux ABI's users expect. ``/dev/core`` is none of them: it leads to the host's memory."""

PTMX = "/dev/ptmx"
DEVICES = "/linux/devices"


@hookimpl
def orlop_plugin() -> PluginInfo:
    """Return the plugin's identity."""
    return plugin_info("devices", "default and configured device nodes, links below /dev", after=("mounts",))


@hookimpl
def orlop_handles() -> Sequence[Handle]:
    """Return the configured devices."""
    return (
        *containers("linux.devices", "linux.devices[]"),
        Handle("linux.devices[].type", values=TYPES),
        *(Handle(f"linux.devices[].{name}") for name in ("path", "major", "minor", "fileMode", "uid", "gid")),
    )


@hookimpl
def orlop_validate(config: Config) -> Sequence[Problem]:
    """Refuse devices without numbers, two devices at one path, and devices without a mount namespace."""
    return tuple(_problems(config))


def _problems(config: Config) -> Iterator[Problem]:
    devices = (config.linux and config.linux.devices) or ()
    if devices and not can_mount(config):
        yield Problem(DEVICES, NO_MOUNT_NAMESPACE, hint=NO_MOUNT_NAMESPACE_HINT)
    seen: dict[str, int] = {}
    for index, device in enumerate(devices):
        here = f"{DEVICES}/{index}"
        if not is_absolute(device.path):
            yield Problem(f"{here}/path", "the path of a device must be absolute", device.path)
        elif container_path_fault(device.path):
            yield Problem(f"{here}/path", container_path_fault(device.path), device.path)
        else:
            path = clean_path(device.path)
            first = seen.setdefault(path, index)
            if _node(device) != _node(devices[first]):
                yield Problem(
                    f"{here}/path", f"devices/{first} is another device at the same path", device.path
                )
        yield from _numbers(device, here)


def _numbers(device: Device, here: str) -> Iterator[Problem]:
    for name, number, highest in (("major", device.major, MAJOR_MAX), ("minor", device.minor, MINOR_MAX)):
        if number is None:
            if device.type != "p":
                yield Problem(f"{here}/{name}", f"a device of type {device.type} must have one")
        elif not 0 <= number <= highest:
            yield Problem(f"{here}/{name}", f"the number must be from 0 to {highest}", number)
    mode = device.file_mode
    if mode is not None and mode & ~MODE_MAX not in {0, FILE_TYPES[device.type]}:
        yield Problem(
            f"{here}/fileMode",
            f"the mode must be at most {MODE_MAX}, octal 7777, or of the type of the device",
            mode,
        )
    for name, number in (("uid", device.uid), ("gid", device.gid)):
        if number is not None and number > ID_MAX:
            yield Problem(f"{here}/{name}", f"the largest id is {ID_MAX}", number)


def _node(device: Device) -> tuple[str, int, int, int, int, int]:
    """Return what makes the node: type, major, minor, mode, uid, gid."""
    fifo = device.type == "p"
    return (
        "c" if device.type == "u" else device.type,
        0 if fifo else device.major or 0,
        0 if fifo else device.minor or 0,
        MODE if device.file_mode is None else device.file_mode & MODE_MAX,
        device.uid or 0,
        device.gid or 0,
    )


def _said(device: Device) -> tuple[str, ...]:
    """Return what the config says of the node beside its numbers."""
    said = {"mode": device.file_mode, "uid": device.uid, "gid": device.gid}
    return tuple(name for name, value in said.items() if value is not None)


def _dev_is_bound(config: Config) -> bool:
    """Tell whether a bind mount supplies /dev: what is in there is its owner's, and nothing is made in it."""
    bound = False
    for mount in config.mounts or ():
        if clean_path(mount.destination) == "/dev":
            options = mount.options or ()
            bound = mount.type == "bind" or "bind" in options or "rbind" in options
    return bound


@hookimpl
def orlop_plan(config: Config) -> Sequence[Step]:
    """Plan the nodes and links.

    A configured device takes the place of the default one at its path. ``/dev/ptmx`` is always the link into
    the container's own devpts, also when an engine lists the host's devices.
    """
    if not mounts_below_root(config):
        return ()
    skipped = _dev_is_bound(config)
    steps: list[Step] = []
    made: set[str] = {PTMX}
    for index, device in enumerate((config.linux and config.linux.devices) or ()):
        path = clean_path(device.path)
        if path in made or (skipped and is_below(path, "/dev")):
            continue
        made.add(path)
        kind, major, minor, mode, uid, gid = _node(device)
        steps.append(
            CreateDevice(
                because=f"{DEVICES}/{index}",
                path=path,
                type=kind,
                major=major,
                minor=minor,
                mode=mode,
                uid=uid,
                gid=gid,
                exact=_said(device),
            )
        )
    if skipped:
        return steps
    return [
        *(step for step in _DEFAULT_DEVICES if step.path not in made),
        *steps,
        *(step for step in _DEFAULT_LINKS if step.path not in made),
        _PTMX_LINK,
    ]


# Steps are frozen, and these are the same for every container.
_DEFAULT_DEVICES = tuple(
    CreateDevice(because=DEVICES, path=path, type="c", major=major, minor=minor, mode=MODE)
    for path, major, minor in DEFAULTS
)
_DEFAULT_LINKS = tuple(CreateSymlink(because=DEVICES, path=path, target=target) for path, target in LINKS)
_PTMX_LINK = CreateSymlink(because=DEVICES, path=PTMX, target="pts/ptmx", replace=True)
