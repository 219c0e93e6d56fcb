"""JSON and tables without the json module."""

from __future__ import annotations

import json
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orlop.cli.output import table, to_json, write

DATA = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(DATA)
def test_same_as_json(data: object) -> None:
    assert to_json(data) == json.dumps(data, separators=(",", ":"))
    assert to_json(data, "  ") == json.dumps(data, indent=2)
    assert to_json(data, "\t") == json.dumps(data, indent="\t")


def test_undecodable_bytes_and_tuples() -> None:
    assert to_json({"path": os.fsdecode(b"/\xff"), "list": (1, 2)}) == '{"path":"/\\udcff","list":[1,2]}'


def test_what_json_does_not_have() -> None:
    with pytest.raises(TypeError):
        to_json({1, 2})


def test_table_escapes_what_is_not_printable() -> None:
    text = table(("ID", "BUNDLE"), [("a", "/x\n\x1b[2J"), ("b" * 20, "/y")])
    assert text.splitlines() == [
        "ID                     BUNDLE",
        "a                      /x\\n\\x1b[2J",
        f"{'b' * 20}   /y",
    ]


def test_write_reports_a_full_device() -> None:
    descriptor = os.open("/dev/full", os.O_WRONLY)
    try:
        with pytest.raises(OSError, match="No space"):
            write("x", descriptor)
    finally:
        os.close(descriptor)
