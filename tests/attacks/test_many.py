"""Very many mounts (R23, R24), with few descriptors: the kernel's limits count, not ours."""

from __future__ import annotations

import resource
from pathlib import Path
from typing import Any

import pytest
from tests.attacks.target import Target
from tests.attacks.test_paths import PROC, bind, tmpfs
from tests.linux.faults.points import run

DESCRIPTORS = 128


def few_descriptors() -> None:
    """Leave the command few descriptors, of which more can be had."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (DESCRIPTORS, hard))


def many(target: Target, count: int) -> list[dict[str, Any]]:
    """Return mounts of three kinds, a third each, with options that need several calls."""
    kinds = (
        lambda number: tmpfs(f"/data/{number}") | {"options": ["ro", "size=64k"]},
        lambda number: bind(target.place / "source", f"/data/{number}", "ro", "rprivate"),
        lambda number: bind(target.place / "source/file", f"/data/{number}", "rro"),
    )
    (target.place / "source").mkdir()
    (target.place / "source/file").write_text("x\n")
    target.image("data").mkdir()
    return [kinds[number % 3](number) for number in range(count)]


@pytest.mark.parametrize("count", [201, 10_000])
def test_r23_many_mounts_need_few_descriptors(target: Target, count: int) -> None:
    script = """
        grep -c ' /data/' /proc/self/mountinfo
        grep ' /data/' /proc/self/mountinfo | grep -vc ' ro,'
        ulimit -n
        ls /proc/self/fd | wc -l
    """
    target.write(target.shell(script, mounts=[PROC, *many(target, count)]))
    created = run(target, "create", "--bundle", str(target.bundle), "box", arm=few_descriptors)
    assert created.status == 0, created
    pid = int(run(target, "state", "box").state["pid"])
    # What waits for its start holds nothing of them any more.
    assert len(list(Path(f"/proc/{pid}/fd").iterdir())) < 20
    assert run(target, "start", "box").status == 0
    target.settle()
    assert run(target, "delete", "--force", "box").status == 0
    assert created.text().split() == [str(count), "0", str(DESCRIPTORS), "4"]


@pytest.mark.parametrize("last", ["source", "option", "type"])
def test_r24_the_last_of_many_mounts_fails(target: Target, last: str) -> None:
    mount = {
        "source": bind(target.place / "absent", "/last"),
        "option": tmpfs("/last") | {"options": ["nosuchoption"]},
        "type": tmpfs("/last") | {"type": "nosuchtype"},
    }[last]
    target.write(target.config("/bin/true", mounts=[PROC, *many(target, 3000), mount]))
    outcome = run(target, "create", "--bundle", str(target.bundle), "box", arm=few_descriptors)
    assert outcome.status == 1, outcome
    assert "/mounts/3001" in outcome.err
    # A source is looked for before anything is made, also in the image.
    assert (last == "source") == (list(target.image("data").iterdir()) == [])
    target.verify()
