"""``orlop features`` with its questions, on the fake platform."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.unit.features.test_validate import PEERS

import orlop

if TYPE_CHECKING:
    from tests.unit.cli.conftest import CommandLine

RUNC = str(PEERS / "runc-1.1.5.json")


def test_the_key_is_that_of_the_printed_document(orlop_command: CommandLine) -> None:
    key = orlop.features_key(orlop_command.json("features"))
    assert orlop_command("features", "--key") == (0, f"{key}\n", "")
    assert orlop_command.json("features", "--key", "--format", "json") == {"key": key}
    assert orlop_command("--plugins=-rdma", "features", "--key")[1] != f"{key}\n"


def test_diff(orlop_command: CommandLine, tmp_path: Path) -> None:
    status, out, err = orlop_command("features", "--diff", RUNC)
    assert (status, err) == (1, "")
    lines = out.splitlines()
    assert lines[0].split() == ["FEATURE", "VALUE", "ORLOP", RUNC.upper()]
    assert ["linux.namespaces", "time", "yes", "no"] in [line.split() for line in lines]
    status, out, _ = orlop_command("features", "--diff", RUNC, "--format", "json")
    data = json.loads(out)
    assert (status, data["equal"], data["one"], data["other"]) == (1, False, "orlop", RUNC)
    assert {"path": "linux.cgroup.rdma", "one": True, "other": None} in data["differences"]
    same = tmp_path / "same.json"
    same.write_text(orlop_command("features")[1])
    assert orlop_command("features", "--diff", str(same)) == (0, "no differences\n", "")
    assert orlop_command.json("features", "--diff", str(same), "-f", "json")["equal"] is True


def test_validate(orlop_command: CommandLine, tmp_path: Path) -> None:
    status, out, err = orlop_command("features", "--validate", RUNC)
    assert (status, err) == (1, "")
    assert out.startswith("invalid: features document of runc 1.1.5")
    assert "error   /ociVersionMax: this version does not define the document's properties" in out
    status, out, _ = orlop_command("features", "--validate", RUNC, "--format", "json")
    data = json.loads(out)
    assert (status, data["valid"]) == (1, False)
    assert {one["rule"] for one in data["remarks"] if one["severity"] == "error"} == {"version-gate"}
    own = tmp_path / "own.json"
    own.write_text(orlop_command("features")[1])
    assert orlop_command("features", "--validate", str(own)) == (
        0,
        f"valid: features document of orlop {orlop.__version__}\n",
        "",
    )
    assert orlop_command.composed[-1:] == [(None, [])]  # validating another's document needs no plugin


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--diff", "/nonexistent/x"], "cannot read the features document: no such file or directory"),
        (["--validate", "/nonexistent/x"], "cannot read the features document: no such file or directory"),
        (["--diff", "/dev/null"], "expected a regular file"),
        (["--diff", "no-such-runtime"], "it is no program in PATH either"),
        (["--diff", "/etc/passwd"], "not a JSON document"),
        (["--diff", "x", "--key"], "--key and --diff cannot be used together"),
        (["--provenance", "--validate", "x"], "--provenance and --validate cannot be used together"),
    ],
)
def test_bad_input_is_one_line(orlop_command: CommandLine, arguments: list[str], words: str) -> None:
    status, out, err = orlop_command("features", *arguments)
    assert (status, out) == (1, "")
    assert words in err
    assert err.count("\n") == 1
