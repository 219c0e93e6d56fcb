"""What importing costs, what the package offers, and the reference page of the hooks."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import orlop
from orlop import Container
from orlop.plugins import reference
from orlop.plugins.specs import SPECS
from orlop_hookspecs import errors

REPOSITORY = Path(__file__).parents[3]


THIN = [
    "orlop",
    "orlop.entrypoints",
    "orlop.live",
    "orlop.store",
    "orlop.store.directory",
    "orlop.store.identifiers",
    "orlop.store.journal",
    "orlop.store.jsontext",
    "orlop.store.root",
    "orlop.lifecycle.states",
    "orlop.lifecycle.site",
    "orlop.lifecycle.signals",
    "orlop.lifecycle.state",
    "orlop.lifecycle.start",
    "orlop.lifecycle.kill",
    "orlop.lifecycle.delete",
    "orlop_hookspecs",
    "orlop_hookspecs.errors",
    "orlop_hookspecs.record",
]


ALLOWED = {"__future__", "_json", "_signal", "errno", "fcntl", "time", "stat", "os", "sys", "_stat"}


_LOADED = "import os, sys; before = set(sys.modules); import {}; print(*sorted(set(sys.modules) - before))"


def loaded(statement: str) -> set[str]:
    """Return the modules that an interpreter without site packages' start-up code loads for *statement*."""
    paths = os.pathsep.join(str(REPOSITORY / place) for place in ("core", "hookspecs"))
    paths += os.pathsep + os.pathsep.join(path for path in sys.path if path.endswith("site-packages"))
    environment = {"PYTHONPATH": paths, "PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [sys.executable, "-S", "-c", _LOADED.format(statement)],
        capture_output=True,
        text=True,
        check=True,
        env=environment,
    )
    return set(done.stdout.split())


@pytest.mark.parametrize("module", THIN)
def test_thin_modules_load_nothing_that_costs(module: str) -> None:
    found = {name for name in loaded(module) if not name.startswith(("orlop.", "orlop_hookspecs."))}
    assert found - {"orlop", "orlop_hookspecs"} <= ALLOWED
    assert {name for name in loaded(module) if name.startswith(("orlop.", "orlop_hookspecs."))} <= set(
        THIN
    ) | {"orlop.lifecycle"}


def test_importing_orlop_loads_nothing_else() -> None:
    assert loaded("orlop") == {"__future__", "orlop"}


def test_the_runtime_loads_no_costly_module_that_it_does_not_need() -> None:
    found = loaded("orlop.runtime")
    costly = {
        "asyncio",
        "subprocess",
        "argparse",
        "importlib.metadata",
        "ctypes",
        "socket",
        "logging",
        "difflib",
        "json",
    }
    assert found & costly == set()
    assert "orlop.runtime" in found


def test_the_package_offers_what_it_says() -> None:
    assert set(orlop.__all__) <= set(dir(orlop))
    for name in orlop.__all__:
        assert getattr(orlop, name) is not None
    for name, value in vars(errors).items():
        if isinstance(value, type) and issubclass(value, errors.OrlopError):
            assert getattr(orlop, name) is value
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        orlop.nonsense  # noqa: B018 - the access is what fails
    assert orlop.Container is Container


def test_the_reference_of_the_hooks_is_current() -> None:
    page = (REPOSITORY / "docs" / "reference" / "hooks.md").read_text(encoding="utf-8")
    assert page == reference.hooks_page(), "run: python -m orlop.plugins.reference > docs/reference/hooks.md"


@pytest.mark.parametrize("hook", SPECS)
def test_each_hook_has_its_heading_and_answers_every_question(hook: str) -> None:
    spec = SPECS[hook]
    page = reference.hooks_page()
    assert page.count(f"\n### `{reference.signature(spec)}`\n") == 1
    summary, _, answers = reference.answers(spec)
    assert summary[0].isupper()
    assert tuple(answers) == reference.QUESTIONS
    assert "return" in spec.function.__annotations__
    assert set(spec.parameters) | {"return"} == set(spec.function.__annotations__)
    assert spec.function.__defaults__ is None


def test_a_docstring_that_leaves_a_question_open_is_refused() -> None:
    def orlop_vague() -> None:
        """Do something.

        When: sometimes.
        """

    with pytest.raises(ValueError, match="orlop_vague"):
        reference.answers(SPECS["orlop_plan"].evolve(name="orlop_vague", function=orlop_vague))
