"""A command line on the fake platform: one kernel and one store, however many commands are called."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import pytest

import orlop
from orlop.cli.main import main
from orlop.cli.template import config
from orlop.lifecycle.site import Site
from orlop_fake import FakeKernel
from orlop_fake.platform import FakePlatform


@attrs.define
class CommandLine:
    """Commands on a fake kernel; also the parts that :func:`main` is given."""

    kernel: FakeKernel
    capture: pytest.CaptureFixture[str]
    bundle: Path
    composed: list[tuple[list[str] | None, list[str]]] = attrs.field(factory=list)
    extra: list[object] = attrs.field(factory=list)

    def site(self, warn: Callable[[str], None]) -> Site:
        """Return the fake kernel's containers."""
        store = self.kernel.store()
        assert store is not None
        return Site(store, lambda _: self.kernel, warn=warn)

    def runtime(
        self, plugins: list[str] | None, block: list[str], warn: Callable[[str], None]
    ) -> orlop.Runtime:
        """Return the composition on the fake kernel."""
        self.composed.append((plugins, block))
        chosen: list[object] | None = (
            None if plugins is None and not self.extra else [*(plugins or ()), *self.extra]
        )
        return orlop.Runtime.compose(FakePlatform(self.kernel), chosen, block=block, warn=warn)

    def __call__(self, *arguments: str) -> tuple[int, str, str]:
        """Run a command line and return its status, standard output and standard error."""
        self.capture.readouterr()
        status = main(arguments, self)
        return status, *self.capture.readouterr()

    def json(self, *arguments: str) -> Any:
        """Run a command line that succeeds and return its output as data."""
        status, out, err = self(*arguments)
        assert (status, err) == (0, "")
        return json.loads(out)

    def configure(self, **process: Any) -> None:
        """Write the bundle's config: that of ``spec``, without a terminal, with changes of the process."""
        made = config()
        made["process"].update({"terminal": False, "args": ["/bin/sleep", "1000"]}, **process)
        (self.bundle / "config.json").write_text(json.dumps(made))


@pytest.fixture
def orlop_command(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> CommandLine:
    """Return a command line with a bundle that can be run."""
    bundle = tmp_path / "bundle"
    bundle.mkdir()
    (bundle / "rootfs").mkdir()
    kernel = FakeKernel()
    kernel.add_rootfs(f"{bundle}/rootfs")
    made = CommandLine(kernel, capfd, bundle)
    made.configure()
    return made
