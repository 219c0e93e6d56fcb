"""Plugin ``annotations``: ``annotations``, which are carried along and change nothing (config.md).

Those that orlop acts on are other plugins'. Of what peers act on and nobody does here ``orlop check`` tells.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orlop_hookspecs.hooks import hookimpl
from orlop_hookspecs.hooks.capability import Handle, Remark
from orlop_linux.plugins.shared import VERSION, containers, plugin_info, token

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from orlop_hookspecs.documents import Config
    from orlop_hookspecs.hooks.identity import PluginInfo

ON_REQUEST: Mapping[str, str] = {
    "org.criu.config": "criu-config",
    "run.oci.keep_original_groups": "keep-groups",
    "run.oci.seccomp.receiver": "seccomp-receiver",
}
"""Annotations that a plugin acts on which is in a composition only when it is named."""

NEVER: Mapping[str, str] = {
    "run.oci.delegate-cgroup": (
        "a container with a cgroup namespace and a writable mount of cgroup2 is given its own cgroup "
        "(config-linux.md, Cgroup ownership)"
    ),
    "run.oci.handler": (
        "it has another program run the container, a virtual machine or an interpreter; such a program is "
        "a runtime of its own"
    ),
    "run.oci.hooks.stderr": "root would write to any file of the host; a hook can redirect its own output",
    "run.oci.hooks.stdout": "root would write to any file of the host; a hook can redirect its own output",
    "run.oci.mount_context_type": (
        "linux.mountLabel stands for the option context of mount(8); another one goes into the options of "
        "a mount"
    ),
    "run.oci.pidfd_receiver": "root would connect to any socket of the host; the caller has --pidfd-socket",
    "run.oci.seccomp.plugins": (
        "it loads code of others into the runtime; an agent at linux.seccomp.listenerPath answers in a "
        "process of its own"
    ),
    "run.oci.seccomp_bpf_data": (
        "a program of bytes in place of linux.seccomp can be neither checked nor shown"
    ),
    "run.oci.systemd.force_cgroup_v1": (
        "a hierarchy of version 1 that a container can write has a release agent, which the host runs"
    ),
    "run.oci.systemd.subgroup": "processes are in the scope itself; linux.cgroupsPath names it",
    "run.oci.timens_offset": "linux.timeOffsets is in the specification since 1.1.0",
}
"""Annotations that peers act on and orlop never does, with the reason (docs/decisions/0029)."""


@hookimpl
def orlop_plugin() -> PluginInfo:
    """Return the plugin's identity."""
    return plugin_info("annotations", "annotations of the container and of the runtime")


@hookimpl
def orlop_handles() -> Sequence[Handle]:
    """Return what says something about the document instead of the container."""
    return (*containers("linux"), Handle("annotations"))


@hookimpl
def orlop_features() -> Mapping[str, Any]:
    """Name the runtime; annotations that it acts on are named by the plugin that does."""
    return {"annotations": {"io.orlop.version": VERSION}}


@hookimpl
def orlop_remark(config: Config) -> Sequence[Remark]:
    """Tell of annotations that other runtimes act on; the core drops what another plugin acts on."""
    found = []
    for key, value in (config.annotations or {}).items():
        plugin, why = ON_REQUEST.get(key), NEVER.get(key)
        hint = f"plugin {plugin} does: --plugins=+{plugin}" if plugin else why
        if hint:
            found.append(
                Remark(
                    f"/annotations/{token(key)}", "other runtimes act on it, this one does not", value, hint
                )
            )
    return found
