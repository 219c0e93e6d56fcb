"""A dry run says what Linux would do, in its order, and does nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import orlop
from orlop.kit import check_distribution, check_plugin
from orlop.live import find_kernel
from orlop_dry_run import DryRun
from orlop_dry_run.kernel import DryKernel
from orlop_hookspecs.errors import CompositionError, StateError, WaitTimeoutError
from orlop_hookspecs.kernel import Kernel, Platform

CONFIG: dict[str, Any] = {
    "ociVersion": "1.3.0",
    "root": {"path": "/"},
    "hostname": "dry",
    "process": {"cwd": "/", "args": ["/bin/true"], "user": {"uid": 0, "gid": 0}},
    "hooks": {kind: [{"path": f"/hooks/{kind}"}] for kind in ("createRuntime", "poststart", "poststop")},
    "linux": {
        "namespaces": [{"type": "pid"}, {"type": "mount"}, {"type": "uts"}],
        "cgroupsPath": "/dry",
        "resources": {"pids": {"limit": 5}},
    },
}

_platform: Platform = DryRun()
_kernel: Kernel = DryKernel()
"""Both have every method of the contract, and a type checker says so."""


@pytest.fixture
def platform() -> DryRun:
    return DryRun()


@pytest.fixture
def runtime(platform: DryRun, tmp_path: Path) -> orlop.Runtime:
    return orlop.Runtime.compose(platform, root=tmp_path / "state")


def test_the_platform_keeps_every_rule_for_platforms() -> None:
    (report,) = check_distribution("orlop-dry-run")
    report.require()
    passed = {one.rule for one in report.results if one.outcome == "passed"}
    assert passed >= {"states-follow-the-lifecycle", "kernels-have-every-method", "undo-is-idempotent"}


def test_plugins_for_linux_are_active_and_can_be_checked_on_it() -> None:
    from orlop_linux.plugins import cgroups, mounts

    assert "cgroups" in orlop.Runtime.compose("dry-run").composition.names
    for plugin in (cgroups, mounts):
        check_plugin(plugin, platform="dry-run").require()


def test_what_would_be_done_is_what_the_plan_says(platform: DryRun, runtime: orlop.Runtime) -> None:
    plan = runtime.explain(CONFIG, container="box").prepared.plan
    box = runtime.create("box", CONFIG)
    box.start()
    words = [line.split(": ", 2) for line in platform.lines]
    done = [(phase if phase != "start" else "exec", text) for _, phase, text in words if phase != "poststart"]
    wanted = [
        (planned.phase, f"{planned.step.describe()} [{planned.plugin}] ({planned.step.because})")
        for planned in plan
    ]
    assert [text for _, text in done] == [text for _, text in wanted]
    assert [phase for phase, _ in done] == [phase for phase, _ in wanted]
    assert "hook: poststart: /hooks/poststart" in platform.lines
    before = len(platform.lines)
    box.delete(force=True)
    assert platform.lines[before] == "box: every process is killed"
    assert any(line.startswith("box: undo: ") for line in platform.lines[before:])
    assert platform.lines[-1] == "hook: poststop: /hooks/poststop"


def test_a_life(platform: DryRun, runtime: orlop.Runtime, tmp_path: Path) -> None:
    box = runtime.create("box", CONFIG)
    assert box.status == "created"
    box.start()
    box.pause()
    assert box.status == "paused"
    box.resume()
    box.update({"pids": {"limit": 7}})
    box.kill("HUP")
    with pytest.raises(WaitTimeoutError, match="nothing ends by itself"):
        box.wait()
    other = orlop.Runtime.compose(platform, root=tmp_path / "state").get("box")
    assert other.status == "running"
    other.kill("TERM")
    assert box.status == "stopped"
    assert box.wait() is None
    with pytest.raises(StateError):
        box.kill("TERM")
    box.delete()
    said = "\n".join(platform.lines)
    for words in (
        "all processes are suspended",
        "all processes go on",
        "update: WriteCgroup",
        "signal 1 is sent",
    ):
        assert words in said


def test_two_configs_are_compared_line_by_line(platform: DryRun, runtime: orlop.Runtime) -> None:
    first = _lines(platform, runtime, CONFIG)
    second = _lines(platform, runtime, CONFIG | {"hostname": "other"})
    assert [pair for pair in zip(first, second, strict=True) if pair[0] != pair[1]] == [
        (
            "box: confined: SetHostname(name='dry') [names] (/hostname)",
            "box: confined: SetHostname(name='other') [names] (/hostname)",
        )
    ]


def _lines(platform: DryRun, runtime: orlop.Runtime, config: dict[str, Any]) -> list[str]:
    platform.lines.clear()
    runtime.create("box", config).delete(force=True)
    return list(platform.lines)


def test_the_lines_go_to_a_file_as_well(tmp_path: Path) -> None:
    platform = DryRun(log=str(tmp_path / "log"))
    runtime = orlop.Runtime.compose(platform, root=tmp_path / "state")
    runtime.create("box", CONFIG).delete(force=True)
    assert (tmp_path / "log").read_text().splitlines() == platform.lines
    with pytest.raises(CompositionError, match="has one option, log"):
        platform.kernel(speed=2)


def test_small_commands_find_its_live_kernel() -> None:
    assert find_kernel("dry-run").name == "dry-run"
