"""The messages of CRIU's service: what is written is what CRIU reads, and what cannot be read is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orlop_hookspecs.errors import PlatformError
from orlop_linux.kernel.criu import rpc, service
from orlop_linux.kernel.criu.service import failure


def test_a_request_has_the_bytes_of_the_wire_format() -> None:
    # Field number and kind, then the value: the encoding of protocol buffers, by hand.
    assert rpc.request(rpc.VERSION) == b"\x08\x0a"
    assert rpc.request(rpc.NOTIFY, notify_success=True) == b"\x08\x06\x18\x01"
    made = rpc.request(
        rpc.DUMP, opts={"images_dir_fd": 5, "pid": 300, "log_file": "a", "leave_running": True}
    )
    assert made == b"\x08\x01\x12\x0a\x08\x05\x10\xac\x02\x52\x01a\x18\x01"
    # A number of a field above 15 takes two bytes; what is inside a message is counted.
    made = rpc.request(rpc.RESTORE, opts={"ext_mnt": [{"key": "/a", "val": "/b"}], "cg_root": []})
    assert made == b"\x08\x02\x12\x0b\xba\x01\x08\x0a\x02/a\x12\x02/b"
    assert rpc.request(rpc.DUMP, opts={"work_dir_fd": -1})[2:5] == b"\x12\x0c\x88"


def test_a_response_is_read() -> None:
    assert rpc.response(b"\x08\x0a\x10\x01\x52\x06\x08\x04\x10\x01\x1a\x00") == {
        "type": rpc.VERSION,
        "success": 1,
        "version": {"major_number": 4, "minor_number": 1},
    }
    notified = rpc.response(b"\x08\x06\x10\x01\x2a\x08\x0a\x04post\x10\x07")
    assert notified["notify"] == {"script": "post", "pid": 7}
    # A negative number, and fields that nobody knows, of every kind.
    unknown = b"\xf8\x07\x01" + b"\xfa\x07\x02ab" + b"\xf9\x07" + bytes(8) + b"\xfd\x07" + bytes(4)
    answer = rpc.response(b"\x08\x01\x10\x00\x38" + b"\xff" * 9 + b"\x01" + unknown)
    assert answer == {"type": 1, "success": 0, "cr_errno": -1}


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x08",
        b"\x08\x01",
        b"\x10\x01",
        b"\x08\x01\x10\x01\x4a\x05ab",
        b"\x08" + b"\xff" * 11,
        b"\x0b",
        bytes(70000),
    ],
)
def test_what_is_no_response_is_refused(data: bytes) -> None:
    with pytest.raises(rpc.MalformedError):
        rpc.response(data)


@given(st.binary(max_size=200))
def test_no_bytes_do_harm(data: bytes) -> None:
    try:
        found = rpc.response(data)
    except rpc.MalformedError:
        return
    assert set(found) <= {
        "type",
        "success",
        "restore",
        "notify",
        "cr_errno",
        "features",
        "cr_errmsg",
        "version",
    }


@given(st.integers(0, 2**31 - 1), st.text(max_size=40), st.booleans())
def test_what_is_written_can_be_read(number: int, text: str, flag: bool) -> None:
    fields: dict[str, Any] = {"cr_errno": number, "cr_errmsg": text}
    made = rpc._encode({"type": 1, "success": flag, **fields}, rpc._RESPONSE)
    assert rpc.response(made) == {"type": 1, "success": int(flag), **fields}


def test_criu_is_looked_for_on_the_path_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "_PLACES", "/nothing/here")
    monkeypatch.setenv("PATH", f"relative:{tmp_path}/a:{tmp_path}/b")
    with pytest.raises(PlatformError) as caught:
        service.find()
    assert str(caught.value) == "criu is not installed; install criu 3.15 or later, or put it on PATH"
    for name, mode in (("a", 0o644), ("b", 0o755)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "criu").touch(mode)
    assert service.find() == f"{tmp_path}/b/criu"


LOG = b"""(00.01) Error (criu/util.c:1): rlimit: Can't setup RLIMIT_NOFILE for self
(00.02) mnt: Inspecting
(00.03)      1: Error (criu/mount.c:753): mnt: 87:./proc/x doesn't have a proper root mount
(00.04) Error (criu/cr-dump.c:2111): Dumping FAILED.
"""


def test_a_failure_is_one_line_with_the_reason() -> None:
    assert failure("DUMP", {"cr_errno": 0}, LOG) == (
        "criu failed: type DUMP errno 0: mnt: 87:./proc/x doesn't have a proper root mount"
    )
    assert failure("RESTORE", {"cr_errno": 17, "cr_errmsg": "first\nsecond"}, b"") == (
        "criu failed: type RESTORE errno 17: first second"
    )
    assert failure("DUMP", {}, b"") == "criu failed: type DUMP errno 0"
