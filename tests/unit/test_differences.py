"""The page on differences from other runtimes says what is listed; tests/engines finds out what there is."""

from __future__ import annotations

from tests.engines.cases import CASES
from tests.engines.comparison import PAGE, PEERS, listed, page


def test_the_page_is_current() -> None:
    assert PAGE.read_text() == page(), "run `make pages`"


def test_each_row_is_about_a_command_and_a_peer_and_has_a_reason() -> None:
    names = [case.name for case in CASES]
    assert len(set(names)) == len(names)
    for row, why in listed().items():
        assert row.case in names
        assert row.peer in PEERS
        assert row.ours != row.theirs
        assert why.endswith(".")
