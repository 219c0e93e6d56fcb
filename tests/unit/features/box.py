"""Fake machines on which a config is tried, and what must hold when it is refused."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.features.usage import AGENT, HOOK, ROOTFS, SOURCE

import orlop
from orlop_fake import FakeKernel, FakePlatform, Host, Resctrl
from orlop_hookspecs.errors import ConfigError, DocumentError, OrlopError
from orlop_hookspecs.launch import LaunchOptions


class Box:
    """One composition on one fake machine that has everything."""

    def __init__(self, cgroups: str = "v2", block: tuple[str, ...] = ()) -> None:
        self.kernel = FakeKernel(
            cgroups=cgroups, resctrl=Resctrl(), host=Host(apparmor=("box",), selinux=True)
        )
        self.kernel.add_rootfs(ROOTFS, None)
        self.kernel.add_files({SOURCE: {"file": "content"}, HOOK: b""})
        self.kernel.hooks[HOOK] = lambda _: 0
        self.kernel.agents[AGENT] = lambda _: None
        self.warnings: list[str] = []
        self.runtime = orlop.Runtime.compose(
            platform=FakePlatform(self.kernel), block=block, warn=self.warnings.append
        )
        self.features: dict[str, Any] = self.runtime.composition.features.data

    def accepts(self, config: dict[str, Any], options: LaunchOptions | None = None) -> None:
        """Create a container of *config* and delete it: neither is refused, and nothing is left.

        Each container has a root file system of its own: what one leaves in it must not meet the next.
        """
        self.kernel.add_rootfs(ROOTFS, None)
        self.runtime.create("box", config, options).delete(force=True)
        assert self.kernel.leaks() == []

    def refuses(
        self, config: dict[str, Any], options: LaunchOptions | None = None, match: str | None = None
    ) -> OrlopError:
        """Try to create a container of *config*: it is refused before anything is touched."""
        # Not one call reaches the kernel: not even the slot, which comes first, is taken.
        before = self.kernel.snapshot()
        points = self.kernel.faults.record()
        try:
            with pytest.raises((ConfigError, DocumentError), match=match) as raised:
                self.runtime.create("box", config, options)
        finally:
            self.kernel.faults.clear()
        assert points == []
        assert before.diff(self.kernel.snapshot()) == ""
        assert "\n" not in str(raised.value)
        return raised.value
