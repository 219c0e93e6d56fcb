"""Hooks in the container's namespaces: what they get, how they fail, and that none is awaited for ever."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from tests.linux.child.support import PATIENCE, Box, is_gone, until

import orlop

KINDS = ("createContainer", "startContainer")


def hook_of(box: Box, kind: str, script: str, *args: str, **more: Any) -> dict[str, Any]:
    """Return ``hooks`` with one hook, a shell script, found from where hooks of *kind* are executed."""
    busybox = box.busybox if kind == "createContainer" else "/bin/busybox"
    return {kind: [{"path": busybox, "args": ["sh", "-c", script, *args], **more}]}


def failure_of(box: Box, kind: str, hooks: dict[str, Any]) -> orlop.HookError:
    """Return the error of the hook; afterwards the container is gone."""
    with pytest.raises(orlop.HookError) as caught:
        box.start(box.config(hooks=hooks))
    assert caught.value.plugin == "hooks"
    assert caught.value.pointer == f"/hooks/{kind}/0"
    assert f"{kind} hook 0: " in str(caught.value)
    assert box.left() == []
    return caught.value


def report_of(box: Box, kind: str) -> Path:
    """Return where the report of a hook is: inside, or on the host."""
    return box.rootfs / "tmp/report" if kind == "startContainer" else box.place / "report"


def reporting(box: Box, kind: str, commands: str) -> str:
    inside = "/tmp/report" if kind == "startContainer" else str(box.place / "report")
    return f"{{ {commands}; }} >{inside} 2>&1"


@pytest.mark.parametrize("kind", KINDS)
def test_environment_arguments_and_directory(box: Box, kind: str) -> None:
    tool = box.busybox if kind == "createContainer" else "/bin/busybox"
    commands = (
        f"{tool} tr '\\0' '\\n' </proc/self/environ; echo \"args=$0 $*\"; {tool} pwd; {tool} ls /proc/self/fd"
    )
    hooks = hook_of(
        box, kind, reporting(box, kind, commands), "zero", "one two", env=["B=2", "A=1", "EMPTY="]
    )
    box.start(box.config(hooks=hooks, process={"env": ["PATH=/bin", "SECRET=process"]}))
    lines = report_of(box, kind).read_text().splitlines()
    assert lines[:5] == ["B=2", "A=1", "EMPTY=", "args=zero one two", "/"]
    assert lines[5:] == ["0", "1", "2", "3"]  # the last one is the listing's own


@pytest.mark.parametrize("kind", KINDS)
def test_the_directory_is_the_containers_root(box: Box, kind: str) -> None:
    (box.rootfs / "mark").touch()
    tool = box.busybox if kind == "createContainer" else "/bin/busybox"
    box.start(box.config(hooks=hook_of(box, kind, reporting(box, kind, f"{tool} ls -d mark"))))
    assert report_of(box, kind).read_text() == "mark\n"


@pytest.mark.parametrize("kind", KINDS)
def test_no_environment(box: Box, kind: str) -> None:
    tool = box.busybox if kind == "createContainer" else "/bin/busybox"
    commands = f"{tool} cat </proc/self/environ; echo end"
    box.start(box.config(hooks=hook_of(box, kind, reporting(box, kind, commands))))
    assert report_of(box, kind).read_text() == "end\n"


@pytest.mark.parametrize(("kind", "status"), [("createContainer", "creating"), ("startContainer", "created")])
def test_state(box: Box, kind: str, status: str) -> None:
    tool = box.busybox if kind == "createContainer" else "/bin/busybox"
    config = box.config(hooks=hook_of(box, kind, reporting(box, kind, f"{tool} cat")), annotations={"a": "ü"})
    box.start(config)
    state = json.loads(report_of(box, kind).read_text())
    assert state["id"] == "box"
    assert state["status"] == status
    assert state["pid"] == 1  # as the container's own namespace sees it
    assert state["bundle"] == str(box.bundle)
    assert state["annotations"] == {"a": "ü"}


def test_namespaces_and_root_of_each_kind(box: Box) -> None:
    hooks = {
        **hook_of(
            box, "createContainer", f"test -e {box.bundle} && {box.busybox} hostname >{box.place}/report"
        ),
        **hook_of(box, "startContainer", f"test ! -e {box.bundle} && /bin/busybox hostname >/tmp/report"),
    }
    box.start(box.config(hooks=hooks, hostname="inside"))
    assert (box.rootfs / "tmp/report").read_text() == "inside\n"
    assert (box.place / "report").exists()


@pytest.mark.parametrize("kind", KINDS)
def test_exit_status_and_output_are_told(box: Box, kind: str) -> None:
    error = failure_of(box, kind, hook_of(box, kind, "echo no luck; echo at all >&2; exit 7"))
    assert "exit status 7" in str(error)
    assert "no luck" in str(error)
    assert "at all" in str(error)


@pytest.mark.parametrize("kind", KINDS)
def test_ended_by_a_signal(box: Box, kind: str) -> None:
    assert "killed by signal 9" in str(failure_of(box, kind, hook_of(box, kind, "kill -9 $$")))


@pytest.mark.parametrize("kind", KINDS)
def test_timeout_ends_the_hook_and_its_children(box: Box, kind: str) -> None:
    tool = box.busybox if kind == "createContainer" else "/bin/busybox"
    began = time.monotonic()
    hooks = hook_of(box, kind, f"{tool} sleep 777 & {tool} sleep 778", timeout=1)
    assert "it ran out of time after 1 s and was killed" in str(failure_of(box, kind, hooks))
    assert 1.0 <= time.monotonic() - began < PATIENCE


@pytest.mark.parametrize("kind", KINDS)
def test_flood_of_output(box: Box, kind: str) -> None:
    tool = box.busybox if kind == "createContainer" else "/bin/busybox"
    error = failure_of(
        box, kind, hook_of(box, kind, f"{tool} yes flood | {tool} head -c 30000000; echo end; exit 3")
    )
    assert "exit status 3" in str(error)
    assert "flood\\nend'" in str(error)
    assert len(str(error)) < 10_000


@pytest.mark.parametrize("kind", KINDS)
def test_flood_without_an_end_runs_into_the_timeout(box: Box, kind: str) -> None:
    tool = box.busybox if kind == "createContainer" else "/bin/busybox"
    error = failure_of(box, kind, hook_of(box, kind, f"{tool} yes", timeout=1))
    assert "it ran out of time after 1 s and was killed" in str(error)


@pytest.mark.parametrize("kind", KINDS)
def test_a_hook_that_does_not_read_its_state(box: Box, kind: str) -> None:
    config = box.config(hooks=hook_of(box, kind, "exit 0"), annotations={"big": "x" * 200_000})
    assert box.start(config).status == "running"


@pytest.mark.parametrize("kind", KINDS)
def test_a_hook_that_leaves_a_child_with_its_output_open(box: Box, kind: str) -> None:
    tool = box.busybox if kind == "createContainer" else "/bin/busybox"
    assert box.start(box.config(hooks=hook_of(box, kind, f"{tool} sleep 1000 &"))).status == "running"


@pytest.mark.parametrize("kind", KINDS)
def test_a_hook_that_leaves_a_flooding_child(box: Box, kind: str) -> None:
    tool = box.busybox if kind == "createContainer" else "/bin/busybox"
    assert box.start(box.config(hooks=hook_of(box, kind, f"{tool} yes &"))).status == "running"


@pytest.mark.parametrize("kind", KINDS)
def test_a_hook_that_closes_its_output(box: Box, kind: str) -> None:
    tool = box.busybox if kind == "createContainer" else "/bin/busybox"
    error = failure_of(box, kind, hook_of(box, kind, f"exec >&- 2>&-; {tool} usleep 20000; exit 5"))
    assert "exit status 5" in str(error)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("path", "text"),
    [("/missing/hook", "no such file"), ("/etc", "permission denied"), ("/broken", "exec format error")],
)
def test_a_hook_that_cannot_be_executed(box: Box, kind: str, path: str, text: str) -> None:
    if path == "/broken":
        place = box.place if kind == "createContainer" else box.rootfs
        (place / "broken").write_bytes(b"\x7fELF")
        (place / "broken").chmod(0o755)
        path = f"{place}/broken" if kind == "createContainer" else path
    error = failure_of(box, kind, {kind: [{"path": path}]})
    assert text in str(error)
    assert path in str(error)


@pytest.mark.parametrize("kind", KINDS)
def test_the_second_of_three_fails(box: Box, kind: str) -> None:
    good = hook_of(box, kind, "exit 0")[kind][0]
    bad = hook_of(box, kind, "exit 1")[kind][0]
    with pytest.raises(orlop.HookError, match=f"{kind} hook 1: ") as caught:
        box.start(box.config(hooks={kind: [good, bad, good]}))
    assert caught.value.pointer == f"/hooks/{kind}/1"
    assert box.left() == []


@pytest.mark.parametrize("kind", KINDS)
def test_umask_and_signals_of_a_hook(box: Box, kind: str) -> None:
    tool = box.busybox if kind == "createContainer" else "/bin/busybox"
    commands = f"{tool} grep -E 'Umask|Sig(Ign|Blk|Cgt)' /proc/self/status"
    box.start(box.config(hooks=hook_of(box, kind, reporting(box, kind, commands))))
    found = dict(line.split() for line in report_of(box, kind).read_text().splitlines())
    assert found.pop("Umask:") == "0022"
    assert {int(value, 16) for value in found.values()} == {0}


def test_a_hook_without_a_pid_namespace_ends_with_its_session(box: Box) -> None:
    report = box.place / "pids"
    script = f"echo $$ >{report}; {box.busybox} sleep 779 & echo $! >>{report}; wait"
    pids: list[int] = []
    # A second may be too short for a machine to write both: until it is not.
    for seconds in (1, 4, 16, 64):
        hooks = hook_of(box, "createContainer", script, timeout=seconds)
        with pytest.raises(orlop.HookError, match=f"it ran out of time after {seconds} s and was killed"):
            box.start(box.config(hooks=hooks, linux={"namespaces": [{"type": "mount"}]}))
        pids = [int(pid) for pid in report.read_text().split()] if report.exists() else []
        if len(pids) == 2:
            break
    assert len(pids) == 2
    until(lambda: all(map(is_gone, pids)), "a process of the hook is left")
    assert box.left() == []
