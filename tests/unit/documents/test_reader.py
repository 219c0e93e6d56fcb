"""Strict JSON: what is refused, where the fault is said to be, and that nothing hangs or recurses."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.documents.strategies import JSON_VALUES, KEYS

from orlop.documents.reader import DEPTH_LIMIT, SIZE_LIMIT, parse, read_file
from orlop_hookspecs.errors import DocumentError

REFUSED = {
    "empty": (b"", "", "not a JSON document: expecting value: line 1 column 1"),
    "only-space": (b" \n\t", "", "not a JSON document"),
    "byte-order-mark": (b"\xef\xbb\xbf{}", "", "byte order mark"),
    "utf-16": ("{}".encode("utf-16"), "", "expected UTF-8, found another byte at offset 0"),
    "utf-16-no-mark": ("{}".encode("utf-16-le"), "", "not a JSON document"),
    "latin-1": (b'{"a": "\xe9"}', "", "offset 7"),
    "overlong": (b'{"a": "\xc0\x80"}', "", "offset 7"),
    "surrogate-bytes": (b'{"a": "\xed\xa0\x80"}', "", "offset 7"),
    "array": (b"[]", "", "expected an object"),
    "null": (b"null", "", "expected an object"),
    "string": (b'"x"', "", "expected an object"),
    "trailing-value": (b"{}\n {}", "", "extra data: line 2 column 2"),
    "trailing-nul": (b"{}\0", "", "extra data"),
    "trailing-comma": (b'{"a": 1,}', "", "not a JSON document"),
    "single-quotes": (b"{'a': 1}", "", "not a JSON document"),
    "comment": (b"{} // x", "", "extra data"),
    "unterminated": (b'{"a": [1, 2', "", "not a JSON document"),
    "raw-newline": (b'{"a": "\n"}', "", "not a JSON document"),
    "raw-nul": (b'{"a": "\0"}', "", "not a JSON document"),
    "leading-zero": (b'{"a": 01}', "", "not a JSON document"),
    "plus": (b'{"a": +1}', "", "not a JSON document"),
    "hex": (b'{"a": 0x10}', "", "not a JSON document"),
    "underscore": (b'{"a": 1_0}', "", "not a JSON document"),
    "other-digits": ('{"a": ٣}'.encode(), "", "not a JSON document"),
    "no-break-space": ('{"a":\u00a01}'.encode(), "", "not a JSON document"),
    "duplicate": (b'{"process": {}, "process": {}}', "/process", "duplicate key"),
    "duplicate-escaped": (b'{"a": {"b": 1, "\\u0062": 2}}', "/a/b", "duplicate key"),
    "duplicate-deep": (b'{"a": [0, {"x/y~z": 1, "x/y~z": 1}]}', "/a/1/x~1y~0z", "duplicate key"),
    "nan": (b'{"a": NaN}', "/a", "number that JSON knows"),
    "infinity": (b'{"a": [Infinity]}', "/a/0", "number that JSON knows"),
    "minus-infinity": (b'{"a": -Infinity}', "/a", "number that JSON knows"),
    "1e999": (b'{"a": {"b": 1e999}}', "/a/b", "number that fits"),
    "-1e999": (b'{"a": -1e999}', "/a", "number that fits"),
    "huge-integer": (b'{"a": 1' + b"0" * 5000 + b"}", "/a", "at most 40 digits"),
    "long-integer": (b'{"a": -' + b"1" * 40 + b"}", "/a", "at most 40 digits"),
    "escaped-nul": (b'{"a": ["\\u0000"]}', "/a/0", "without NUL"),
    "escaped-nul-in-key": (b'{"a\\u0000": 1}', "/a\0", "without NUL"),
    "escaped-nul-unknown": (b'{"a": {"b": {"c": "x\\u0000"}}}', "/a/b/c", "without NUL"),
    "lone-surrogate": (b'{"a": "\\ud800"}', "/a", "lone surrogates"),
    "low-surrogate": (b'{"a": "\\uDC80"}', "/a", "lone surrogates"),
    "swapped-surrogates": (b'{"a": "\\uDE00\\uD83D"}', "/a", "lone surrogates"),
    "too-deep-arrays": (b'{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "", "more than 64 levels"),
    "too-deep-objects": (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, "", "more than 64 levels"),
    "too-deep-unclosed": (b"[" * 100_000, "", "more than 64 levels"),
    "too-big": (b'{"a": "' + b"x" * SIZE_LIMIT + b'"}', "", "more than 16777216 bytes"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str) -> None:
    text, pointer, message = REFUSED[name]
    with pytest.raises(DocumentError) as caught:
        parse(text, path="config.json")
    assert caught.value.pointer == pointer
    assert message in caught.value.message
    line = str(caught.value)
    assert line.startswith("config.json: ")
    assert line.isprintable()
    assert len(line) < 5000


ACCEPTED = {
    "whitespace": (b' \r\n\t{"a" : 1 } \n', {"a": 1}),
    "last-depth": (b'{"a": ' + b"[" * (DEPTH_LIMIT - 1) + b"]" * (DEPTH_LIMIT - 1) + b"}", None),
    "escaped-pair": (b'{"a": "\\ud83d\\ude00"}', {"a": "\U0001f600"}),
    "escaped-backslash": (b'{"a": "\\\\u0000 \\\\ud800"}', {"a": "\\u0000 \\ud800"}),
    "brackets-in-strings": (b'{"a": "' + b'[{\\"' * 100 + b'"}', {"a": '[{"' * 100}),
    "backslashes-before-quotes": (b'{"a\\\\": "\\\\\\"[", "b": "\\n"}', {"a\\": '\\"[', "b": "\n"}),
    "10-mib-string": (b'{"a": "' + b"x" * (10 << 20) + b'"}', {"a": "x" * (10 << 20)}),
    "40-digits": (b'{"a": ' + b"1" * 40 + b"}", {"a": int("1" * 40)}),
    "same-key-elsewhere": (b'{"a": {"b": 1}, "c": {"b": 1}}', {"a": {"b": 1}, "c": {"b": 1}}),
    "another-case": (b'{"process": 1, "Process": 2}', {"process": 1, "Process": 2}),
}


@pytest.mark.parametrize("name", ACCEPTED)
def test_accepted(name: str) -> None:
    text, expected = ACCEPTED[name]
    data = parse(text)
    if expected is not None:
        assert data == expected


def test_all_faults_are_collected_in_order() -> None:
    with pytest.raises(DocumentError) as caught:
        parse(b'{"a": NaN, "b": {"c": 1, "c": 1e999}, "d": "\\u0000"}')
    pointers = [fault.pointer for fault in caught.value.faults]  # type: ignore[attr-defined]
    assert pointers == ["/a", "/b/c", "/b/c", "/d"]
    assert caught.value.message.endswith("and 3 more: /b/c, /b/c, /d")


def test_a_flood_of_faults_is_cut() -> None:
    with pytest.raises(DocumentError) as caught:
        parse(b'{"a": [' + b"NaN, " * 100_000 + b"NaN]}")
    assert len(caught.value.faults) == 20  # type: ignore[attr-defined]
    assert len(str(caught.value)) < 200


@given(st.dictionaries(KEYS, JSON_VALUES, max_size=4), st.booleans())
def test_reads_what_json_writes(data: dict[str, Any], ascii_only: bool) -> None:
    text = json.dumps(data, ensure_ascii=ascii_only, allow_nan=False)
    assert parse(text.encode()) == json.loads(text)


@given(st.integers(1, 2 * DEPTH_LIMIT), st.text(st.sampled_from('[]{}"\\n'), max_size=6))
def test_the_depth_is_counted_outside_strings_only(depth: int, noise: str) -> None:
    data: Any = noise
    for level in range(depth):
        data = {noise + "k": data} if level % 2 == depth % 2 else [noise, data]
    data = {"top": data}
    text = json.dumps(data).encode()
    if depth + 1 <= DEPTH_LIMIT:
        assert parse(text) == data
    else:
        with pytest.raises(DocumentError, match="levels"):
            parse(text)


def test_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_bytes(b"{}")
    assert read_file(str(tmp_path / "config.json")) == b"{}"
    (tmp_path / "link.json").symlink_to("config.json")
    assert read_file(str(tmp_path / "link.json")) == b"{}"
    fd = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        assert read_file("config.json", dir_fd=fd) == b"{}"
    finally:
        os.close(fd)


def test_what_is_no_regular_file_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "directory").mkdir()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket"))
        for path in (tmp_path / "fifo", tmp_path / "directory", tmp_path / "socket", Path("/dev/zero")):
            with pytest.raises(DocumentError, match="regular file") as caught:
                read_file(str(path))
            assert caught.value.path == str(path)


def test_a_missing_file_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_file(str(tmp_path / "config.json"))


def test_reading_is_bounded(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.touch()
    os.truncate(path, SIZE_LIMIT)
    assert len(read_file(str(path))) == SIZE_LIMIT
    os.truncate(path, 4 << 30)
    with pytest.raises(DocumentError, match="more than 16777216 bytes"):
        read_file(str(path))


def test_no_descriptor_is_left(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "config.json").write_bytes(b"{}")
    before = os.listdir("/proc/self/fd")
    read_file(str(tmp_path / "config.json"))
    with pytest.raises(DocumentError):
        read_file(str(tmp_path / "fifo"))
    assert os.listdir("/proc/self/fd") == before
