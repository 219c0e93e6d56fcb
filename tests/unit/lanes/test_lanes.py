"""Which tests a host can run, and what is kept of those that ran."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from tests import lanes, needs

pytest_plugins = ["pytester"]


@pytest.mark.parametrize("name", sorted(needs.NEEDS))
def test_a_need_is_met_or_has_a_reason(name: str) -> None:
    assert needs.lacks(name) == "" or len(needs.lacks(name)) > 10


def test_an_unknown_need_is_an_error() -> None:
    with pytest.raises(KeyError):
        needs.lacks("cgroups-v2")
    with pytest.raises(KeyError):
        needs.lacks("capability:CAP_NONSENSE")


@pytest.mark.parametrize(
    ("release", "wanted", "met"),
    [("6.12.1-x", "6.12", True), ("6.12", "6.9", True), ("6.9.3", "6.12", False), ("7.0-rc1", "6.12", True)],
)
def test_versions_are_numbers(
    monkeypatch: pytest.MonkeyPatch, release: str, wanted: str, *, met: bool
) -> None:
    host = os.uname_result(("Linux", "host", release, "", "x86_64"))
    monkeypatch.setattr(os, "uname", lambda: host)
    assert (needs._kernel(wanted) == "") is met


def test_a_program_is_looked_for() -> None:
    assert needs.lacks("program:sh") == ""
    assert needs.lacks("program:no-such-program") == "the host has no program no-such-program"


SUITE = """
import pytest

def test_good():
    pass

def test_bad():
    assert 1 == 2

@pytest.mark.skip(reason="needs a ship")
def test_skipped():
    pass

@pytest.fixture
def broken():
    yield
    raise RuntimeError("sunk")

def test_bad_end(broken):
    pass
"""


def test_outcomes_are_kept_and_told(
    pytester: pytest.Pytester, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lanes, "DIRECTORY", tmp_path / "lanes")
    lanes.write("deck", {"test_old.py::test": {"outcome": "passed", "text": "", "seconds": 1.0}})
    pytester.makepyfile(test_ship=SUITE)
    reading, writing = os.pipe()
    try:
        pytester.inline_run("-p", "no:randomly", plugins=[lanes.Recorder("deck", writing)])
        told = [json.loads(line) for line in os.read(reading, 1 << 20).splitlines()]
    finally:
        os.close(reading)
        os.close(writing)
    kept = lanes.read("deck")
    assert {test.partition("::")[2]: one["outcome"] for test, one in kept.items()} == {
        "test": "passed",
        "test_good": "passed",
        "test_bad": "failed",
        "test_skipped": "skipped",
        "test_bad_end": "failed",
    }
    assert kept["test_ship.py::test_skipped"]["text"] == "needs a ship"
    assert "assert 1 == 2" in kept["test_ship.py::test_bad"]["text"]
    assert "sunk" in kept["test_ship.py::test_bad_end"]["text"]
    assert told[0] == {"id": "test_ship.py::test_good"}
    assert told[1]["outcome"] == "passed"
    assert len(told) == 8


def test_what_no_lane_ran_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lanes, "DIRECTORY", tmp_path)

    def one(outcome: str, text: str = "") -> dict[str, object]:
        return {"outcome": outcome, "text": text, "seconds": 0.0}

    lanes.write(
        "host",
        {"a": one("skipped", "x"), "b": one("skipped", "y"), "c": one("passed"), "d": one("skipped", "z")},
    )
    lanes.write("vm", {"a": one("passed"), "b": one("skipped", "v")})
    assert lanes.run_nowhere() == {"b": {"host": "y", "vm": "v"}, "d": {"host": "z"}}


LISTED = """
[ship]
reason = "there is no ship"
tests = ["a", "b"]

[dock]
reason = "few have a dock"
sometimes = true
tests = ["c", "d"]
"""


@pytest.fixture
def listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Provide a list of tests that need not run, and no lanes."""
    monkeypatch.setattr(lanes, "DIRECTORY", tmp_path / "lanes")
    monkeypatch.setattr(lanes, "NOWHERE", tmp_path / "nowhere.toml")
    lanes.NOWHERE.write_text(LISTED)


def lane(name: str, **came: str) -> None:
    lanes.write(name, {test: {"outcome": one, "text": "why", "seconds": 0.0} for test, one in came.items()})


@pytest.mark.usefixtures("listed")
def test_what_ran_nowhere_has_to_be_listed() -> None:
    lane("host", a="skipped", b="skipped", c="skipped", d="skipped", e="skipped", f="skipped")
    lane("vm", a="skipped", f="failed")
    assert list(lanes.faults()) == [
        "no lane ran e (host: why), and nowhere.toml does not say why",
    ]


@pytest.mark.usefixtures("listed")
def test_an_entry_of_the_list_may_not_be_stale() -> None:
    lane("host", a="skipped", c="skipped", d="passed")
    lane("vm", a="passed")
    assert list(lanes.faults()) == [
        "nowhere.toml names a, which has run",
        "nowhere.toml names b, and no lane has such a test",
    ]


@pytest.mark.usefixtures("listed")
def test_what_is_judged_and_when(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.delenv("CI", raising=False)
    lane("host", a="skipped", b="skipped", c="skipped", d="skipped", e="skipped")
    # Without the machine nobody can show everything; nor can a run of some tests.
    assert lanes.main([]) == 0
    monkeypatch.setenv("CI", "true")
    assert lanes.main([]) == 1
    assert lanes.main(["--partial"]) == 0
    monkeypatch.delenv("CI")
    lane("vm", f="passed")
    assert lanes.main([]) == 1
    said = capsys.readouterr().out
    assert "e: host: why" in said
    assert "hostname is not proven" in said


def test_each_entry_of_the_list_has_a_reason() -> None:
    assert all(len(group.reason) > 20 and (group.tests or group.skipped) for group in lanes.excused())


def test_the_reason_of_a_skip_may_be_the_excuse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lanes, "DIRECTORY", tmp_path / "lanes")
    monkeypatch.setattr(lanes, "NOWHERE", tmp_path / "nowhere.toml")
    lanes.NOWHERE.write_text(
        '[ship]\nreason = "few have a ship"\nsometimes = true\nskipped = "needs ship:"\n'
    )
    skipped = {"outcome": "skipped", "seconds": 0.0}
    lanes.write("host", {"a": {**skipped, "text": "needs a dock"}, "b": {**skipped, "text": "needs a dock"}})
    lanes.write("vm", {"a": {**skipped, "text": "needs ship:large: there is none"}})
    assert list(lanes.faults()) == ["no lane ran b (host: needs a dock), and nowhere.toml does not say why"]


@pytest.mark.parametrize(
    ("says", "why"),
    [
        ("echo containerd v2 2.1.9+unknown", ""),
        ("echo containerd v1 1.7.24~ds1", "is too old: containerd v1 1.7.24~ds1"),
        ("echo nothing", "is too old: nothing"),
        ("exit 1", "does not run"),
    ],
)
def test_a_newer_engine_has_to_run_and_to_be_newer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, says: str, why: str
) -> None:
    monkeypatch.setattr(needs, "NEWER", (str(tmp_path / "none"), str(tmp_path)))
    assert needs._newer("containerd") == "none could be fetched when this was set up"
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin/containerd"
    program.write_text(f"#!/bin/sh\n{says}\n")
    program.chmod(0o755)
    assert why in needs._newer("containerd") if why else needs._newer("containerd") == ""
