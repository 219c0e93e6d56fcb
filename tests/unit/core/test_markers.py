"""The markers put on functions what pluggy's own would, without importing it."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pluggy
import pytest

from orlop_hookspecs.hooks import markers


def marked() -> Any:
    def function() -> None:
        """Do nothing."""

    return function


def options_of(function: Any) -> Any:
    return {name: value for name, value in vars(function).items() if name.startswith("orlop_")}


@pytest.mark.parametrize("options", [{}, {"firstresult": True}, {"firstresult": False}, {"historic": True}])
def test_a_signature_is_marked_as_by_pluggy(options: dict[str, Any]) -> None:
    ours, theirs = marked(), marked()
    assert markers.hookspec(**options)(ours) is ours
    pluggy.HookspecMarker("orlop")(**options)(theirs)
    assert options_of(ours) == options_of(theirs) != {}


def test_a_bare_signature_is_marked_as_by_pluggy() -> None:
    assert options_of(markers.hookspec(marked())) == options_of(pluggy.HookspecMarker("orlop")(marked()))


@pytest.mark.parametrize("options", [{}, {"specname": "orlop_plan"}, {"tryfirst": True}, {"wrapper": True}])
def test_an_implementation_is_marked_as_by_pluggy(options: dict[str, Any]) -> None:
    ours, theirs = marked(), marked()
    assert markers.hookimpl(**options)(ours) is ours
    pluggy.HookimplMarker("orlop")(**options)(theirs)
    assert options_of(ours) == options_of(theirs) != {}


def test_a_bare_implementation_is_marked_as_by_pluggy() -> None:
    assert options_of(markers.hookimpl(marked())) == options_of(pluggy.HookimplMarker("orlop")(marked()))


def test_two_functions_do_not_share_their_options() -> None:
    one, other = markers.hookimpl(marked()), markers.hookimpl(marked())
    one.orlop_impl["specname"] = "changed"
    assert other.orlop_impl["specname"] is None


@pytest.mark.parametrize("wrong", [{"first_result": True}, {"firstresult": True, "historic": True}])
def test_wrong_options_are_refused_as_by_pluggy(wrong: dict[str, Any]) -> None:
    with pytest.raises(Exception) as theirs:  # noqa: PT011 - whatever pluggy raises
        pluggy.HookspecMarker("orlop")(**wrong)(marked())
    with pytest.raises(theirs.type):
        markers.hookspec(**wrong)(marked())


def test_the_contract_and_its_classes_need_neither_attrs_nor_pluggy() -> None:
    program = (
        "import sys, orlop_hookspecs.hooks.capability as c, orlop_hookspecs.documents.config\n"
        "c.Problem('/a', 'b').evolve(hint='c')\n"
        "print([name for name in ('attr', 'attrs', 'pluggy') if name in sys.modules])\n"
        "import attrs\n"
        "print(attrs.asdict(c.Adjustment(set={'/a': 1})))\n"
        "print(attrs.evolve(c.Problem('/a', 'b'), hint='c').hint)\n"
        "try: c.Problem('/a', 'b').hint = 'd'\n"
        "except attrs.exceptions.FrozenInstanceError: print('frozen')\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, check=False
    )
    assert done.stderr == ""
    assert done.stdout.splitlines() == ["[]", "{'set': {'/a': 1}, 'append': {}}", "c", "frozen"]
