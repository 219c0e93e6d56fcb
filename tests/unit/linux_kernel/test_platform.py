"""The plugin that supplies the platform, and what its modules cost at import."""

from __future__ import annotations

import subprocess
import sys

import pytest

from orlop_hookspecs.errors import CompositionError
from orlop_linux import platform
from orlop_linux.kernel.kernel import LinuxKernel
from orlop_linux.live.kernel import LinuxLive

THIN = (
    "orlop_linux.live.kernel",
    "orlop_linux.live.process",
    "orlop_linux.live.cgroups",
    "orlop_linux.live.freezer",
    "orlop_linux.live.killing",
    "orlop_linux.live.removal",
    "orlop_linux.live.resctrl",
    "orlop_linux.live.runhook",
    "orlop_linux.live.undo",
)
DEAR = {
    "ctypes",
    "dataclasses",
    "enum",
    "json",
    "pathlib",
    "re",
    "signal",
    "socket",
    "subprocess",
    "typing",
    "attr",
}


def test_the_platform_exists_on_linux_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    supplied = platform.orlop_platform()
    assert supplied is not None
    assert supplied.name == platform.orlop_plugin().name == "linux"
    monkeypatch.setattr(sys, "platform", "darwin")
    assert platform.orlop_platform() is None


def test_options_are_verified() -> None:
    made = platform.LinuxPlatform().kernel(resctrl_root="/tmp/resctrl", cgroup_root="/tmp/cgroup")
    assert isinstance(made, LinuxKernel)
    assert (made.resctrl_root, made.cgroup_root) == ("/tmp/resctrl", "/tmp/cgroup")
    assert isinstance(made, LinuxLive)
    assert made.store() is None
    made.close()
    with pytest.raises(CompositionError, match="no option colour; it has cgroup_root, resctrl_root"):
        platform.LinuxPlatform().kernel(colour="red")
    with pytest.raises(CompositionError, match="not an absolute path"):
        platform.LinuxPlatform().kernel(cgroup_root="cgroup")
    with pytest.raises(CompositionError, match="not an absolute path"):
        platform.LinuxPlatform().kernel(resctrl_root=5)


@pytest.mark.parametrize("module", THIN)
def test_small_commands_import_nothing_dear(module: str) -> None:
    script = f"import sys; sys.path[:0] = {sys.path!r}; import {module}; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", script], capture_output=True, text=True, check=True
    )
    assert module in done.stdout.split()
    assert not DEAR & set(done.stdout.split())
