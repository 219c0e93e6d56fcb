"""Messages as engines read them: layouts, places, warnings, and hostile text in them."""

from __future__ import annotations

import datetime as dt
import errno
import json
import os
import re
from pathlib import Path

import pytest

from orlop.cli.main import entry, main
from orlop.cli.report import Reporter, describe
from orlop_hookspecs.errors import OrlopError, StepError, UsageError

NASTY = 'a\nb\x1b[31m"\\\u202e%s%n{0.__class__}\udc80'


def reporter(path: str = "", layout: str = "text", level: str = "warning") -> Reporter:
    made = Reporter()
    made.configure(path=path, layout=layout, level=level)
    return made


def test_text_on_standard_error(capfd: pytest.CaptureFixture[str]) -> None:
    reporter().error('went "wrong"')
    out, err = capfd.readouterr()
    assert out == ""
    assert re.fullmatch(r'time="\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ" level=error msg="went \\"wrong\\""\n', err)


def test_json_on_standard_error(capfd: pytest.CaptureFixture[str]) -> None:
    reporter(layout="json").error("went wrong", {"code": "usage"})
    entry = json.loads(capfd.readouterr().err)
    assert (entry["level"], entry["msg"], entry["error"]) == ("error", "went wrong", {"code": "usage"})
    assert dt.datetime.fromisoformat(entry["time"]).tzinfo is not None


def test_with_a_file_the_error_is_bare_on_standard_error(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "log"
    reporter(str(log), "json").error("went wrong")
    assert json.loads(log.read_text())["msg"] == "went wrong"
    assert capfd.readouterr().err == "went wrong\n"
    assert log.stat().st_mode & 0o777 == 0o644


def test_the_file_is_appended_to(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("before\n")
    reporter(str(log)).error("one")
    reporter(str(log)).error("two")
    lines = log.read_text().splitlines()
    assert lines[0] == "before"
    assert [line.rpartition("msg=")[2] for line in lines[1:]] == ['"one"', '"two"']


def test_a_failed_command_writes_one_object(tmp_path: Path) -> None:
    """Podman reads the whole file as one object."""
    log = tmp_path / "log"
    made = reporter(str(log), "json")
    made.warning("first")
    made.warning("second")
    made.error("went wrong")
    made.finish()
    entry = json.loads(log.read_text())
    assert entry["warnings"] == ["first", "second"]


def test_warnings_of_success_go_to_the_file_only(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    log = tmp_path / "log"
    made = reporter(str(log), "json")
    made.warning("first")
    assert log.read_text() == ""
    made.finish()
    assert json.loads(log.read_text())["level"] == "warning"
    assert capfd.readouterr() == ("", "")


def test_levels(capfd: pytest.CaptureFixture[str]) -> None:
    quiet = reporter(level="error")
    quiet.warning("unseen")
    quiet.debug("unseen")
    quiet.finish()
    assert capfd.readouterr().err == ""
    loud = reporter(level="debug")
    loud.debug("seen", command="state")
    assert 'level=debug msg="seen" command="state"' in capfd.readouterr().err


@pytest.mark.parametrize("layout", ["text", "json"])
def test_hostile_text_stays_one_line(layout: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    log = tmp_path / "log"
    made = reporter(str(log), layout)
    made.warning(NASTY)
    made.error(NASTY + "x" * 1_000_000)
    for text in (log.read_text(), capfd.readouterr().err):
        assert "\x1b" not in text
        assert "\u202e" not in text
        assert len(text) < 30_000
    lines = log.read_text().splitlines()
    assert len(lines) == (1 if layout == "json" else 2)
    if layout == "json":
        assert json.loads(lines[0])["msg"].startswith("a\\nb\\x1b[31m")


def test_log_places_that_are_refused(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (tmp_path / "link").symlink_to(victim)
    os.mkfifo(tmp_path / "fifo")
    for name, words in (
        ("link", "it is a symbolic link"),
        ("fifo", "no such device or address"),
        (".", "is a directory"),
        ("missing/log", "no such file or directory"),
        ("n" * 256, "file name too long"),
    ):
        assert main(["--log", f"{tmp_path}/{name}", "state", "x"]) == 1
        assert words in capfd.readouterr().err
    assert victim.read_text() == "precious"


def test_full_device_and_standard_error_as_log(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["--log", "/dev/full", "--root", "/nonexistent", "state", "x"]) == 1
    assert "container does not exist" in capfd.readouterr().err
    assert main(["--log", "/dev/null", "--root", "/nonexistent", "state", "x"]) == 1
    assert capfd.readouterr().err.startswith("container does not exist")


def test_log_is_out_of_the_way_of_passed_descriptors(tmp_path: Path) -> None:
    made = reporter(str(tmp_path / "log"))
    opened = [int(fd) for fd in os.listdir("/proc/self/fd")]
    places = [
        fd
        for fd in opened
        if os.path.exists(f"/proc/self/fd/{fd}")
        and os.readlink(f"/proc/self/fd/{fd}") == str(tmp_path / "log")
    ]
    made.close()
    assert len(places) == 1
    assert places[0] >= 128


def test_descriptions() -> None:
    assert describe(UsageError("no"))[1]["code"] == "usage"
    assert (
        describe(FileNotFoundError(errno.ENOENT, "No such file or directory", "/x"))[0]
        == "/x: no such file or directory"
    )
    assert describe(TypeError("oops"))[0] == "internal error: TypeError: oops"
    message, parts = describe(StepError("refused", errno=errno.EPERM, cleanup=OrlopError("also this")))
    assert "also this" in message
    assert parts["errno"] == errno.EPERM


def test_a_missing_null_device_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def refuse(path: str, flags: int) -> int:
        raise FileNotFoundError(errno.ENOENT, "No such file or directory", path)

    def leave(status: int) -> None:
        raise SystemExit(status)

    with monkeypatch.context() as patched:
        patched.setattr(os, "open", refuse)
        patched.setattr(os, "_exit", leave)
        with pytest.raises(SystemExit) as left:
            entry()
    assert left.value.code == 1
    assert capfd.readouterr().err.endswith('level=error msg="/dev/null: no such file or directory"\n')
