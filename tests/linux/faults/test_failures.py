"""What fails on the way: hooks, the disk, descriptors, and others who do the same at the same time."""

from __future__ import annotations

import ctypes
import json
import os
import resource
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.linux.faults.points import run
from tests.linux.faults.rig import Rig

import orlop.cli.main

_CLONE_NEWNS = 0x20000
_MS_RDONLY, _MS_REMOUNT, _MS_REC, _MS_PRIVATE = 1, 32, 0x4000, 1 << 18
_PAGE = 4096
_PAGES = 16


def _hook(script: str) -> dict[str, Any]:
    """Return a hook that runs *script* with the shell that host and image have at the same place."""
    return {"path": "/bin/busybox", "args": ["sh", "-c", script]}


def _hooked(rig: Rig, kind: str) -> Path:
    """Let the hook of *kind* fail, note poststop hooks in a file, and return its path."""
    noted = rig.place / "noted"
    hooks = {"poststop": [_hook(f"echo poststop >>{noted}")]}
    hooks[kind] = [_hook("echo of no use >&2; exit 3"), *hooks.get(kind, [])]
    rig.write(rig.config(hooks=hooks))
    return noted


@pytest.mark.parametrize("kind", ["prestart", "createRuntime", "createContainer"])
def test_a_failing_hook_of_create_undoes_it_and_poststop_hooks_run(rig: Rig, kind: str) -> None:
    noted = _hooked(rig, kind)
    outcome = rig.bad("create", "--bundle", str(rig.bundle), "box")
    assert f"{kind} hook 0" in outcome.err
    assert "exit status 3" in outcome.err
    assert noted.read_text() == "poststop\n"
    assert rig.left() == []


@pytest.mark.parametrize("kind", ["startContainer", "poststart"])
def test_a_failing_hook_of_start_destroys_the_container_and_poststop_hooks_run(rig: Rig, kind: str) -> None:
    noted = _hooked(rig, kind)
    rig.create()
    outcome = rig.bad("start", "box")
    assert f"{kind} hook 0" in outcome.err
    assert "exit status 3" in outcome.err
    assert noted.read_text() == "poststop\n"
    assert "container does not exist" in rig.status()
    assert rig.left() == []


def test_a_failing_poststop_hook_is_a_warning_and_the_next_one_runs(rig: Rig) -> None:
    noted = _hooked(rig, "poststop")
    rig.create()
    outcome = rig.good("delete", "--force", "box")
    assert "level=warning" in outcome.err
    assert "poststop hook 0" in outcome.err
    assert outcome.err.count("\n") == 1
    assert noted.read_text() == "poststop\n"
    assert rig.left() == []


def test_a_hook_that_cannot_be_run_is_named(rig: Rig) -> None:
    rig.write(rig.config(hooks={"createRuntime": [{"path": str(rig.place / "absent")}]}))
    outcome = rig.bad("create", "--bundle", str(rig.bundle), "box")
    assert "createRuntime hook 0" in outcome.err
    assert "no such file" in outcome.err
    assert rig.left() == []


def _mounted(rig: Rig, *, free: int = _PAGES, readonly: bool = False) -> Callable[[], None]:
    """Return what mounts a tmpfs of 64 KiB with *free* pages on the state root, for the caller alone."""

    def arm() -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        assert libc.unshare(_CLONE_NEWNS) == 0
        assert libc.mount(b"none", b"/", None, _MS_REC | _MS_PRIVATE, None) == 0
        root = os.fsencode(rig.root)
        assert libc.mount(b"tmpfs", root, b"tmpfs", 0, b"size=64k,mode=700") == 0
        if free < _PAGES:
            (rig.root / ".fill").write_bytes(b"x" * (_PAGES - free) * _PAGE)
        if readonly:
            assert libc.mount(b"tmpfs", root, b"tmpfs", _MS_REMOUNT | _MS_RDONLY, None) == 0

    return arm


def _creation(rig: Rig) -> tuple[str, ...]:
    return ("create", "--bundle", str(rig.bundle), "box")


def test_a_state_root_that_cannot_be_written_to_is_an_error(rig: Rig) -> None:
    outcome = run(rig, *_creation(rig), arm=_mounted(rig, readonly=True))
    assert outcome.status == 1, outcome
    assert outcome.err.count("\n") == 1
    assert "read-only file system" in outcome.err
    assert rig.left() == []


def _watched(rig: Rig, after: Path) -> Callable[[], None]:
    """Return what notes in *after* what is there, how its deletion ended, and what is there then."""

    def end() -> None:
        there = sorted(set(os.listdir(rig.root)) - {".fill"})
        deleted = orlop.cli.main.main(["--root", str(rig.root), "delete", "--force", "box"])
        after.write_text(json.dumps([there, deleted, sorted(set(os.listdir(rig.root)) - {".fill"})]))

    return end


def test_a_state_root_that_runs_full_at_any_size_leaves_nothing(rig: Rig) -> None:
    statuses = set()
    after = rig.place / "after"

    for free in range(6):
        outcome = run(rig, *_creation(rig), arm=_mounted(rig, free=free), end=_watched(rig, after))
        there, deleted, left = json.loads(after.read_text())
        assert outcome.status in {0, 1}, outcome
        assert there == ([] if outcome.status else ["box"]), (free, outcome)
        if outcome.status:
            assert "no space left on device" in outcome.err, outcome
            assert outcome.err.count("\n") == 1
        assert (deleted, left) == (0, []), (free, outcome)
        assert rig.left() == [], free
        statuses.add(outcome.status)
    assert statuses == {0, 1}


def _padded(rig: Rig, length: int) -> None:
    """Write a config whose annotation makes the header of the journal longer by *length*."""
    rig.write(rig.config(annotations={"padding": "x" * length}))


def test_a_journal_that_is_torn_by_a_full_disk_is_undone_all_the_same(rig: Rig) -> None:
    _padded(rig, 0)
    rig.create()
    lines = (rig.root / "box/journal").read_bytes().splitlines(keepends=True)
    assert rig.good("delete", "--force", "box").err == ""
    after = rig.place / "after"
    # The header and the first undo are whole; unified cgroups have but one, and then the process follows.
    ends = [sum(map(len, lines[:number])) for number in range(2, len(lines))]
    for end in {ends[0], ends[len(ends) // 2], ends[-1]}:
        # The page ends within the line that begins here, and there is no other page: not for a mark either.
        _padded(rig, _PAGE - end - 7)
        outcome = run(rig, *_creation(rig), arm=_mounted(rig, free=1), end=_watched(rig, after))
        assert outcome.status == 1, (end, outcome)
        assert "journal: cannot write: no space left on device" in outcome.err, (end, outcome)
        assert "clean-up" not in outcome.err, (end, outcome)
        assert json.loads(after.read_text()) == [[], 0, []], (end, outcome)
        assert rig.left() == [], end


@pytest.mark.every_lane
def test_too_few_descriptors_are_an_error_that_leaves_nothing(rig: Rig) -> None:
    statuses = []

    def limited(limit: int) -> Callable[[], None]:
        def arm() -> None:
            os.closerange(3, 4096)
            resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))

        return arm

    limits = (3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 16, 18, 20, 24, 32, 64)
    for limit in limits:
        outcome = run(rig, *_creation(rig), arm=limited(limit))
        statuses.append(outcome.status)
        assert outcome.status in {0, 1}, (limit, outcome)
        assert "Traceback" not in outcome.err, (limit, outcome)
        if outcome.status == 0:
            assert run(rig, "delete", "--force", "box").status == 0
        else:
            assert outcome.err.count("\n") == 1, (limit, outcome)
        assert rig.left() == [], (limit, outcome)
    assert statuses[0] == 1
    assert statuses[-1] == 0


def test_of_two_creations_with_one_identifier_one_wins(rig: Rig) -> None:
    for _ in range(4):
        outcomes = [one.end() for one in [rig.begin(*_creation(rig)) for _ in range(2)]]
        assert sorted(one.status for one in outcomes) == [0, 1], outcomes
        loser = next(one for one in outcomes if one.status)
        assert "container with given ID already exists" in loser.err
        assert rig.status() == "created"
        rig.good("start", "box")
        rig.destroy()


def test_create_against_delete_leaves_all_or_nothing(rig: Rig) -> None:
    for _ in range(6):
        creation, deletion = rig.begin(*_creation(rig)), rig.begin("delete", "--force", "box")
        created, deleted = creation.end(), deletion.end()
        assert deleted.status == 0, deleted
        assert created.status in {0, 1}, created
        assert "Traceback" not in created.err + deleted.err, (created, deleted)
        rig.destroy()


def test_twenty_at_once(rig: Rig) -> None:
    names = [f"box{number}" for number in range(20)]
    bundles = {}
    for name in names:
        bundles[name] = rig.place / name
        bundles[name].mkdir()
        config = rig.config(linux={"cgroupsPath": f"/{rig.name}/{name}"})
        config["root"]["path"] = str(rig.rootfs)
        (bundles[name] / "config.json").write_text(json.dumps(config))
    running = [rig.begin("create", "--bundle", str(bundles[name]), name) for name in names]
    assert [one.end(60) for one in running if one.end(60).status] == []
    assert run(rig, "list", "--quiet").out.split() == sorted(names)
    pids = {run(rig, "state", name).state["pid"] for name in names}
    assert len(pids) == len(names)
    for name in names:
        assert run(rig, "start", name).status == 0
    for name in names:
        assert run(rig, "delete", "--force", name).status == 0
    assert rig.left() == []
    shutil.rmtree(bundles["box0"])
