"""``kill`` and ``delete`` of all containers whose identifiers match."""

from __future__ import annotations

import pytest
from tests.unit.cli.conftest import CommandLine
from tests.unit.cli.test_commands import create, status_of


def test_a_regular_expression_stands_for_all_that_match(orlop_command: CommandLine) -> None:
    run = orlop_command
    for name in ("web-1", "web-2", "my-web", "other"):
        create(run, name)
    run("start", "web-2")
    assert run("kill", "--regex", "^web-[0-9]", "KILL") == (0, "", "")
    assert [status_of(run, name) for name in ("web-1", "web-2", "my-web", "other")] == [
        *("stopped", "stopped", "created", "created")
    ]
    # Two cannot be deleted: the first is the error, the second a warning, and the rest is done.
    status, out, err = run("delete", "-r", "web|other")
    assert (status, out) == (1, "")
    warning, error = err.splitlines()
    assert "cannot delete container other that is not stopped: created" in warning
    assert "cannot delete container my-web that is not stopped: created" in error
    assert run("list", "-q")[1] == "my-web\nother\n"
    assert run("delete", "--force", "--regex", ".") == (0, "", "")
    assert run("delete", "--regex", "nothing") == (0, "", "")
    assert run("list", "-q")[1] == ""


@pytest.mark.parametrize("expression", ["[", "*", "(?P<", "[[:alpha:]]"])
def test_what_is_no_regular_expression(orlop_command: CommandLine, expression: str) -> None:
    create(orlop_command)
    for words in (["delete", "--force", "--regex", expression], ["kill", "--regex", expression, "KILL"]):
        status, out, err = orlop_command(*words)
        assert (status, out, err.count("\n")) == (1, "", 1)
        assert "--regex: no regular expression: " in err
    assert status_of(orlop_command) == "created"
