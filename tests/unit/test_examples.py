"""What the documentation shows works: the README's library example, and the programs in examples/."""

from __future__ import annotations

import re
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from examples import plugin, unit_test
from examples.demo import bundle as demo_bundle

import orlop
from orlop_fake import FakeKernel, FakePlatform

ROOT = Path(__file__).resolve().parents[2]

CONFIG: dict[str, Any] = {
    "ociVersion": "1.3.0",
    "root": {"path": "/image"},
    "process": {"cwd": "/", "args": ["/bin/true"], "user": {"uid": 0, "gid": 0}},
    "linux": {"namespaces": [{"type": "mount"}]},
}


def test_the_readme_example_runs() -> None:
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert len(blocks) == 1
    exec(compile(blocks[0], "README.md", "exec"), {})  # noqa: S102 - the README is ours


def test_the_unit_test_that_the_how_to_shows_passes() -> None:
    unit_test.test_jobs_report_their_status_and_leave_nothing()


def test_a_composition_without_a_plugin_refuses_what_the_plugin_handles() -> None:
    runpy.run_path(str(ROOT / "examples" / "compose.py"))


@pytest.fixture
def runtime() -> orlop.Runtime:
    kernel = FakeKernel()
    kernel.add_rootfs("/image")
    names = [one.info.name for one in orlop.Runtime.compose(platform="fake").plugins]
    return orlop.Runtime.compose(platform=FakePlatform(kernel), plugins=[*names, plugin])


def test_the_example_plugin_adds_its_mount(runtime: orlop.Runtime) -> None:
    config = CONFIG | {"annotations": {plugin.ANNOTATION: "64m"}}
    assert "/scratch" in str(runtime.explain(config).as_data())
    runtime.create("scratch", config).delete(force=True)


def test_the_example_plugin_refuses_what_is_no_size(runtime: orlop.Runtime) -> None:
    refused = runtime.check(CONFIG | {"annotations": {plugin.ANNOTATION: "plenty"}}).refused
    objections = [(one.pointer, one.plugins) for one in refused]
    assert objections == [(f"/annotations/{plugin.ANNOTATION}", ("example-scratch",))]


@pytest.mark.skipif(sys.platform != "linux", reason="needs the shell and the loader of a Linux host")
def test_the_demo_finds_every_library_of_the_hosts_shell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo_bundle, "BUSYBOX", tmp_path / "none")
    demo_bundle.fill_root(tmp_path / "root")
    listing = subprocess.run(["ldd", "/bin/sh"], capture_output=True, text=True, check=True).stdout
    wanted = {path.rpartition("/")[2] for path in re.findall(r"/\S+", listing)}
    assert wanted - {file.name for file in (tmp_path / "root").rglob("*")} == set()
