"""The distributions in examples/: each can be installed, passes its tests, keeps the contract."""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path

import pytest
from tests.distributions.installed import Installed

from orlop.kit import RULES

ROOT = Path(__file__).resolve().parents[2] / "examples"
NAMES = sorted(path.parent.name for path in ROOT.glob("*/pyproject.toml"))
PLUGINS = {"accelerator": "orlop-accelerator", "cdi": "orlop-cdi", "dry-run": "orlop-dry-run"}
"""Directory of each distribution and its name."""

# What a plugin may import: the contract, the standard library, and what its distribution says that it needs;
# its tests may import what tests are for.
MAY_IMPORT = {"orlop_hookspecs"}
MODULES = {"pyyaml": {"yaml"}, "orlop": set[str]()}
"""What distributions that these depend on are called when they are imported."""


def needed(name: str) -> set[str]:
    """Return the modules of what the distribution in *name* depends on."""
    project = tomllib.loads((ROOT / name / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return set().union(*(MODULES[re.split(r"[^a-z]", text)[0]] for text in project["dependencies"]))


@pytest.fixture(scope="module", params=NAMES)
def installed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    name: str = request.param
    return Installed(ROOT / name, tmp_path_factory.mktemp(name))


def test_every_distribution_is_known() -> None:
    assert sorted(PLUGINS) == NAMES


def test_its_tests_pass(installed: Installed) -> None:
    last = installed.test()
    assert "passed" in last
    assert "skipped" not in last


def test_it_keeps_the_contract(installed: Installed) -> None:
    # Their own tests try every rule; these are the ones that are about being installed.
    rules = [name for name, one in RULES.items() if one.group in {"loading", "distribution"}]
    done = installed.orlop("plugin", "check", "--rules", ",".join(rules), PLUGINS[installed.source.name])
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert " 0 broken, 0 skipped" in done.stdout


@pytest.mark.parametrize("name", NAMES)
def test_it_imports_the_contract_and_nothing_else_of_orlop(name: str) -> None:
    import sys

    (package,) = (path for path in (ROOT / name / "src").iterdir() if path.is_dir() and path.name[0] != "_")
    foreign = []
    for file in package.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_bytes())):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [str(node.module)]
            tops = {one.partition(".")[0] for one in names}
            foreign += [
                f"{file.name} imports {top}"
                for top in tops - MAY_IMPORT - needed(name) - {package.name}
                if top not in sys.stdlib_module_names
            ]
    assert foreign == []
    assert (package / "py.typed").is_file()
    assert (ROOT / name / "README.md").is_file()
