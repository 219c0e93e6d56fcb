"""``orlop update`` on the fake platform."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from orlop.cli.commands.update import INTEGERS, SIZES, UNCHANGED_BY_ZERO, WORDS, integer, size

if TYPE_CHECKING:
    from tests.unit.cli.conftest import CommandLine

MIB = 1 << 20


@pytest.fixture
def web(orlop_command: CommandLine) -> CommandLine:
    """Return a command line with a running container."""
    run = orlop_command
    assert run("create", "--bundle", str(run.bundle), "web")[0] == 0
    assert run("start", "web")[0] == 0
    return run


def stats(run: CommandLine) -> Any:
    return run.json("events", "--stats", "web")["data"]


@pytest.mark.parametrize(
    ("flags", "family", "key", "value"),
    [
        (["--pids-limit", "17"], "pids", "limit", 17),
        (["--memory=64m"], "memory", "max", 64 * MIB),
        (["--memory", "1.5g"], "memory", "max", 1536 * MIB),
    ],
)
def test_flags(web: CommandLine, flags: list[str], family: str, key: str, value: int) -> None:
    assert web("update", *flags, "web") == (0, "", "")
    assert value in _numbers(stats(web)[family]), stats(web)


def _numbers(data: object) -> list[object]:
    if isinstance(data, dict):
        return [one for value in data.values() for one in _numbers(value)]
    return [data]


def test_each_flag_has_a_property_and_each_limit_a_flag(web: CommandLine) -> None:
    for name, (family, key) in {**INTEGERS, **WORDS, **SIZES}.items():
        value = "1" if name == "cpu-idle" else "0" if name.startswith("cpuset") else "100000"
        flags = [f"--{name}", value]
        if name == "memory-swap":
            flags += ["--memory", "100000"]
        if name == "cpu-burst":
            flags += ["--cpu-quota", "200000"]
        status, _, err = web("update", *flags, "web")
        assert status == 0 or f"/{family}/{key}" in err, (name, err)


def test_no_limit_for_memory_is_none_for_swap(web: CommandLine) -> None:
    assert web("update", "--memory", "64m", "--memory-swap", "64m", "web")[0] == 0
    assert web("update", "--memory", "-1", "web") == (0, "", "")
    assert 64 * MIB not in _numbers(stats(web)["memory"])


def test_a_file_counts_alone(web: CommandLine, tmp_path: Path) -> None:
    file = tmp_path / "resources.json"
    file.write_text(json.dumps({"pids": {"limit": 23}}))
    assert web("update", "--resources", str(file), "--pids-limit", "99", "web") == (0, "", "")
    assert 23 in _numbers(stats(web)["pids"])


def test_a_zero_leaves_a_limit_as_it_is(web: CommandLine, tmp_path: Path) -> None:
    """Docker sends a zero for every limit that it has no wish about."""
    assert web("update", "--memory", "64m", "--cpu-share", "300", "web")[0] == 0
    before = stats(web)
    file = tmp_path / "resources.json"
    zeros: dict[str, dict[str, Any]] = {
        family: dict.fromkeys(keys, 0) for family, keys in UNCHANGED_BY_ZERO.items()
    }
    zeros["cpu"] |= {"cpus": "", "mems": ""}
    file.write_text(json.dumps(zeros))
    assert web("update", "--resources", str(file), "web") == (0, "", "")
    assert web("update", "--memory", "0", "--blkio-weight=0", "web") == (0, "", "")
    assert stats(web) == before
    zeros["memory"]["limit"] = 96 * MIB
    file.write_text(json.dumps(zeros))
    assert web("update", "--resources", str(file), "web") == (0, "", "")
    assert 96 * MIB in _numbers(stats(web)["memory"])
    file.write_text(json.dumps({"memory": {"limit": False}}))
    assert web("update", "--resources", str(file), "web")[0] == 1


def test_standard_input(web: CommandLine) -> None:
    reading, writing = os.pipe()
    os.write(writing, json.dumps({"pids": {"limit": 29}}).encode())
    os.close(writing)
    saved = os.dup(0)
    os.dup2(reading, 0)
    try:
        assert web("update", "-r", "-", "web") == (0, "", "")
    finally:
        os.dup2(saved, 0)
        os.close(saved)
        os.close(reading)
    assert 29 in _numbers(stats(web)["pids"])


def test_nothing_to_do(web: CommandLine) -> None:
    assert web("update", "web") == (0, "", "")


def test_obsolete_limits_are_a_warning(web: CommandLine) -> None:
    status, out, err = web("update", "--kernel-memory", "5m", "--pids-limit", "31", "web")
    assert (status, out) == (0, "")
    assert "--kernel-memory is ignored" in err
    assert 31 in _numbers(stats(web)["pids"])


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--pids-limit", "many"], "--pids-limit: expected a number"),
        (["--pids-limit", "\N{ARABIC-INDIC DIGIT FIVE}"], "--pids-limit: expected a number"),
        (["--memory", "5q"], "--memory: expected a number of bytes"),
        (["--memory", "-5"], "--memory: expected a number of bytes"),
        (["--memory", ".5g"], "--memory: expected a number of bytes"),
        (["--cpu-share", "-7"], "/cpu/shares"),
        (["--cpuset-cpus", "everything"], "/cpu/cpus"),
        (["--resources", "no-such-file"], "no-such-file: cannot read the resources: no such file"),
        (["--no-such-flag"], "flag provided but not defined"),
    ],
)
def test_what_is_no_limit_is_one_line_and_changes_nothing(
    web: CommandLine, flags: list[str], words: str
) -> None:
    before = stats(web)
    status, _, err = web("update", *flags, "web")
    assert status == 1
    assert words in err
    assert len(err.splitlines()) == 1
    assert stats(web) == before


def test_a_file_that_is_no_resources(web: CommandLine, tmp_path: Path) -> None:
    file = tmp_path / "resources.json"
    for text, words in (
        ("{", "resources.json"),
        ("[]", "resources.json"),
        ('{"pids": {"limit": "5"}}', "/pids/limit"),
        ('{"pids": {"limit": 5}, "pids": {}}', "twice"),
    ):
        file.write_text(text)
        status, _, err = web("update", "-r", str(file), "web")
        assert status == 1, text
        assert words in err or "duplicate" in err, err
        assert len(err.splitlines()) == 1


def test_only_a_live_container_has_limits(orlop_command: CommandLine, web: CommandLine) -> None:
    assert "does not exist" in web("update", "--pids-limit", "5", "nobody")[2]
    web("kill", "web", "KILL")
    status, _, err = web("update", "--pids-limit", "5", "web")
    assert status == 1
    assert "container not running" in err


def test_numbers() -> None:
    assert [integer(text) for text in ("0", "-1", "+7", "18446744073709551615")] == [0, -1, 7, (1 << 64) - 1]
    sizes = {
        "0": 0,
        "7": 7,
        "7b": 7,
        "7k": 7 << 10,
        "7KB": 7 << 10,
        "7KiB": 7 << 10,
        "2.5m": 5 << 19,
        "1p": 1 << 50,
    }
    assert {text: size(text) for text in sizes} == sizes
