"""``orlop doctor`` on the fake platform."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.unit.cli.conftest import CommandLine


def test_a_machine_that_lacks_nothing_basic_is_healthy(orlop_command: CommandLine) -> None:
    status, out, err = orlop_command("doctor")
    assert (status, err) == (0, "")
    rows = [line.split(maxsplit=4) for line in out.splitlines()]
    assert rows[0] == ["CAPABILITY", "IMPLEMENTED", "AVAILABLE", "ALLOWED", "REASON"]
    assert ["namespace.pid", "yes", "yes", "yes"] in rows
    assert [
        "selinux",
        "yes",
        "no",
        "-",
        "the machine has no SELinux; make the machine with Host(selinux=True)",
    ] in rows


def test_what_is_asked_for_by_name_has_to_be_usable(orlop_command: CommandLine) -> None:
    assert orlop_command("doctor", "selinux")[0] == 1
    assert orlop_command("doctor", "namespace", "controller.memory")[0] == 0
    assert orlop_command("--plugins=-rdma", "doctor", "controller.rdma")[0] == 1


def test_checkpoints_are_asked_for_by_the_annotation_that_engines_read(orlop_command: CommandLine) -> None:
    assert orlop_command("doctor", "checkpoint")[0] == 0
    status, out, _ = orlop_command("--plugins=-checkpoint", "doctor", "checkpoint", "--format", "json")
    assert status == 1
    assert [one["name"] for one in json.loads(out)["capabilities"] if not one["implemented"]] == [
        "checkpoint",
        "checkpoint.preDump",
        "checkpoint.lazyPages",
    ]


def test_json(orlop_command: CommandLine) -> None:
    status, out, _ = orlop_command("doctor", "--format", "json", "selinux", "seccomp")
    data = json.loads(out)
    assert (status, data["platform"], data["healthy"], data["missing"]) == (1, "fake", False, ["selinux"])
    assert {
        "name": "selinux",
        "usable": False,
        "implemented": True,
        "available": False,
        "allowed": None,
        "plugins": ["selinux"],
        "reason": "the machine has no SELinux",
        "remedy": "make the machine with Host(selinux=True)",
    } in data["capabilities"]


def test_a_bundle(orlop_command: CommandLine) -> None:
    run = orlop_command
    assert run("doctor", "--bundle", str(run.bundle))[0] == 0
    run.configure(selinuxLabel="a:b:c:s0")
    status, out, _ = run("doctor", "--bundle", str(run.bundle), "--missing")
    assert status == 1
    assert [line.split()[0] for line in out.splitlines()] == ["CAPABILITY", "selinux"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["dreams"], "there is no capability of this name"),
        (["--bundle", "/nonexistent/bundle"], "no such"),
        (["--format", "xml"], "invalid format"),
    ],
)
def test_bad_input_is_one_line(orlop_command: CommandLine, arguments: list[str], words: str) -> None:
    status, out, err = orlop_command("doctor", *arguments)
    assert (status, out) == (1, "")
    assert words in err
    assert err.count("\n") == 1


def test_a_malformed_config_is_told_of_as_by_create(orlop_command: CommandLine) -> None:
    (orlop_command.bundle / "config.json").write_text('{"ociVersion": "1.3.0", "process": 5}')
    status, out, err = orlop_command("doctor", "--bundle", str(orlop_command.bundle))
    assert (status, out) == (1, "")
    assert "/process: expected an object" in err
