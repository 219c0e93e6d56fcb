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


# -- check --features


def test_check_against_another_runtime(orlop_command: CommandLine, tmp_path: Path) -> None:
    run, bundle = orlop_command, str(orlop_command.bundle)
    assert run("check", bundle, "--features", RUNC)[0] == 0
    run.configure(scheduler={"policy": "SCHED_BATCH"})
    status, out, err = run("check", bundle, "--features", RUNC)
    assert (status, err) == (1, "")
    lines = out.splitlines()
    assert lines[0] == "accepted, and not all of it is applied"
    assert lines[1].startswith("  warning ignored  /process/scheduler: the property is defined since 1.1.0")
    status, out, _ = run("check", bundle, "--features", RUNC, "--format", "json")
    data = json.loads(out)
    assert (status, data["accepted"], data["honoured"]) == (1, True, False)
    assert {
        "pointer": "/process/scheduler",
        "outcome": "ignored",
        "severity": "warning",
        "message": "the property is defined since 1.1.0, the runtime follows 1.0.2-dev "
        "and ignores what it does not know",
        "feature": "ociVersionMax",
    } in data["properties"]
    own = tmp_path / "own.json"
    own.write_text(run("features")[1])
    assert run("check", bundle, "--features", str(own))[0] == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--features", "/nonexistent/x"], "cannot read the features document: no such file or directory"),
        (["--features", "{bundle}/config.json"], "this is no features document"),
        (["/nonexistent/bundle", "--features", RUNC], "no such"),
        (
            ["--config", "missing.json", "--features", RUNC],
            "cannot read the config: no such file or directory",
        ),
    ],
)
def test_bad_input_of_check_is_one_line(orlop_command: CommandLine, arguments: list[str], words: str) -> None:
    bundle = str(orlop_command.bundle)
    given = [one.format(bundle=bundle) for one in arguments]
    if given[0].startswith("--"):
        given.insert(0, bundle)
    status, out, err = orlop_command("check", *given)
    assert (status, out) == (1, "")
    assert words in err
    assert err.count("\n") == 1


def test_each_judgement_of_our_own_has_its_weight(orlop_command: CommandLine) -> None:
    orlop_command.configure(rlimits=[{"type": "RLIMIT_DREAMS", "soft": 1, "hard": 1}])
    data = json.loads(orlop_command("check", str(orlop_command.bundle), "--format", "json")[1])
    weights = {one["outcome"]: one.get("severity") for one in data["properties"]}
    assert weights == {"refused": "error", "applied": None}
