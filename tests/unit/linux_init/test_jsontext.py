"""JSON between the engine and the zygote: the same with and without the C half of module json."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orlop_linux.init import jsontext

Pair = tuple[Callable[[str], Any], Callable[[Any], str]]
PAIRS = [jsontext._with_c(), jsontext._with_package()]

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.characters(exclude_categories=())),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(VALUES)
def test_what_is_written_is_read(value: Any) -> None:
    written = {dump(value) for _, dump in PAIRS}
    assert len(written) == 1
    (text,) = written
    assert text.isascii()
    assert json.loads(text) == value
    assert all(load(text) == value for load, _ in PAIRS)
    assert jsontext.loads(jsontext.dumps(value).encode()) == value


@pytest.mark.parametrize("pair", PAIRS)
@pytest.mark.parametrize("bad", ["", "{", "nonsense", "1 2", "[1,]", '"open'])
def test_anything_else_is_a_value_error(pair: Pair, bad: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - json's own message differs with the version
        pair[0](bad)


@pytest.mark.parametrize("pair", PAIRS)
@pytest.mark.parametrize("bad", [b"bytes", object(), {"a": float("nan")}, [float("inf")]])
def test_what_json_cannot_say_is_refused(pair: Pair, bad: object) -> None:
    with pytest.raises((TypeError, ValueError)):
        pair[1](bad)
