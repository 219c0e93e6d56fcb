"""Which modules of the executor serve one plugin only: a composed runtime without the plugin leaves them out.

Nothing imports them before a step of the plugin is executed; modules that only these import are left out with
them.
"""

from __future__ import annotations

HELPER = "orlop_linux.init.zygote"
"""The program of the helper: a composed runtime holds it and all that it imports in one piece."""

ROOMS: dict[str, tuple[str, ...]] = {
    "orlop_linux.kernel.netdev": ("net-devices",),
    "orlop_linux.kernel.resctrl": ("intel-rdt",),
    "orlop_linux.kernel.resctrl_stats": ("intel-rdt",),
    "orlop_linux.kernel.scheduling": ("scheduling",),
    "orlop_linux.kernel.seccomp": ("seccomp",),
    "orlop_linux.kernel.seccomp_calls": ("seccomp",),
    "orlop_linux.kernel.systemd": ("cgroups",),
    "orlop_linux.live.listener": ("seccomp",),
    "orlop_linux.live.netdev": ("net-devices",),
    "orlop_linux.live.resctrl": ("intel-rdt",),
}
"""Module, or package with all that is in it, to the plugins that it serves; one of them is enough."""
