"""The table of properties and requirements is complete, true and current."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.properties.case import load
from tests.properties.catalogue import contract, musts, properties
from tests.properties.elsewhere import TESTS
from tests.properties.table import (
    NO_FIELD,
    Row,
    contract_rows,
    engines_page,
    must_rows,
    page,
    property_rows,
    runtime,
)

PAGE = Path(__file__).resolve().parents[3] / "docs/reference/properties.md"
TODO = "add a case to tests/properties, or name its test in tests/properties/elsewhere.py"
ROWS = {row.subject: row for row in (*property_rows(), *must_rows(), *contract_rows())}


@pytest.mark.parametrize("subject", ROWS)
def test_no_cell_is_empty(subject: str) -> None:
    row = ROWS[subject]
    assert row.tests, f"{subject} has no test: {TODO}"
    assert all((row.subject, *row.plugins, *row.lanes)), row
    assert row.plugins
    assert row.lanes
    assert row.features or row.gist


def test_each_property_has_a_row() -> None:
    assert [row.subject for row in property_rows()] == list(properties())
    assert len(properties()) > 160


def test_each_requirement_has_a_row() -> None:
    assert [row.subject for row in must_rows()] == list(musts())
    assert [row.subject for row in contract_rows()] == list(contract())
    assert not set(contract()) & set(musts())


def test_cases_and_names_are_of_properties_that_there_are() -> None:
    known = set(properties())
    assert {path for case in load().values() for path in case.covers} <= known
    assert set(TESTS) <= known


def test_those_who_fulfil_a_requirement_are_there() -> None:
    known = {one.info.name for one in runtime().plugins} | {"core"}
    for one in musts().values():
        assert known.issuperset(one.by), one.name


def test_the_fields_of_the_features_document_are_there() -> None:
    known = set(runtime().features_provenance()) | {"hooks"}
    for row in property_rows():
        _features_exist(row, known)


def _features_exist(row: Row, known: set[str]) -> None:
    if row.features != NO_FIELD and not row.plugins[0].startswith("nobody"):
        for field in row.features.split(", "):
            assert any(one == field or one.startswith(f"{field}.") for one in known), (row.subject, field)


def test_the_page_is_current() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run make pages"
    assert PAGE.with_name("engines.md").read_text(encoding="utf-8") == engines_page(), "run make pages"
