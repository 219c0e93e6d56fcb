"""Rules about the repository itself that no linter knows."""

from __future__ import annotations

import ast
import fnmatch
import os
import re
import subprocess
import sys
import tomllib
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCES = {
    "orlop": ROOT / "core",
    "orlop_hookspecs": ROOT / "hookspecs",
    "orlop_linux": ROOT / "platforms" / "linux",
    "orlop_fake": ROOT / "platforms" / "fake",
}
PROGRAMS = ("tests", "examples", "tools", "benchmarks", "docs")
MADE_BY_TOOLS = {"build", "dist", "__pycache__"}
LONGEST_FILE = 500

# What the commands `state`, `start`, `kill` and `delete` import: a few milliseconds is all that they have.
THIN = (
    "orlop",
    "orlop.entrypoints",
    "orlop.live",
    "orlop.cli",
    "orlop.cli.main",
    "orlop.cli.commands",
    "orlop.cli.commands.state",
    "orlop.cli.commands.start",
    "orlop.cli.commands.kill",
    "orlop.cli.commands.delete",
    "orlop.cli.flags",
    "orlop.cli.output",
    "orlop.cli.parse",
    "orlop.cli.report",
    "orlop.cli.table",
    "orlop.cli.table_images",
    "orlop.cli.table_own",
    "orlop.lifecycle",
    "orlop.lifecycle.states",
    "orlop.lifecycle.site",
    "orlop.lifecycle.state",
    "orlop.lifecycle.start",
    "orlop.lifecycle.kill",
    "orlop.lifecycle.signals",
    "orlop.lifecycle.delete",
    "orlop.store",
    "orlop.store.*",
    "orlop_hookspecs",
    "orlop_hookspecs.critical",
    "orlop_hookspecs.errors",
    "orlop_hookspecs.record",
    "orlop_linux",
    "orlop_linux.init",
    "orlop_linux.init.failure",
    "orlop_linux.init.handover",
    "orlop_linux.live",
    "orlop_linux.live.*",
)
CHEAP = ("__future__", "os", "errno", "sys", "time", "stat", "_signal", "fcntl", "select", "_socket", "_json")

# What a package may import beside the standard library; the longest matching prefix rules.
MAY_IMPORT = {
    "orlop_hookspecs": {"orlop_hookspecs", "attrs", "pluggy"},
    "orlop": {"orlop", "orlop_hookspecs", "attrs", "cattrs", "pluggy"},
    "orlop_linux": {"orlop_linux", "orlop_hookspecs", "attrs", "jeepney", "pluggy", "pyroute2", "pyseccomp"},
    "orlop_linux.plugins": {"orlop_linux.plugins", "orlop_hookspecs", "attrs", "pluggy"},
    "orlop_linux.init": {"orlop_linux.init"},
    "orlop_fake": {"orlop_fake", "orlop_hookspecs", "attrs", "pluggy"},
    # The fixtures are for tests and are imported by pytest alone.
    "orlop_fake.stateful": {"orlop_fake", "orlop_hookspecs", "hypothesis"},
    "orlop_fake.pytest_plugin": {"orlop_fake", "orlop_hookspecs", "attrs", "pluggy", "pytest"},
}
PURE = {"orlop_linux.plugins"}
KERNEL_MODULES = {
    "ctypes",
    "_ctypes",
    "_socket",
    "socket",
    "fcntl",
    "_signal",
    "subprocess",
    "_posixsubprocess",
}


@cache
def modules() -> dict[str, Path]:
    """Return every module of the four packages by its dotted name."""
    found = {}
    for package, base in SOURCES.items():
        for file in sorted((base / package).rglob("*.py")):
            parts = file.relative_to(base).with_suffix("").parts
            name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
            found[name] = file
    return found


@cache
def files() -> tuple[Path, ...]:
    """Return every file of the repository that a person wrote."""
    found = []
    for directory, names, leaves in os.walk(ROOT):
        names[:] = [n for n in names if n == ".ci" or not (n.startswith(".") or n in MADE_BY_TOOLS)]
        found += [Path(directory, leaf) for leaf in leaves if not leaf.endswith((".pyc", ".png"))]
    return tuple(found)


def python_files() -> list[Path]:
    return [file for file in files() if file.suffix == ".py"]


def shown(file: Path) -> str:
    return str(file.relative_to(ROOT))


def thin_modules() -> list[str]:
    return [name for name in modules() if any(fnmatch.fnmatchcase(name, pattern) for pattern in THIN)]


def test_every_thin_module_is_there() -> None:
    missing = [pattern for pattern in THIN if not fnmatch.filter(modules(), pattern)]
    assert missing == []


# Without site: only the standard library can be imported, and nothing has been imported yet.
IMPORT_THIN = f"""
import sys
sys.path[:0] = {[str(base) for base in SOURCES.values()]}
import {", ".join(CHEAP)}
known = set(sys.modules)
__import__(sys.argv[1])
print(*sorted(set(sys.modules) - known))
"""


@pytest.mark.parametrize("name", thin_modules())
def test_thin_modules_import_nothing_dear(name: str) -> None:
    command = [sys.executable, "-I", "-S", "-W", "error", "-c", IMPORT_THIN, name]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert set(done.stdout.split()) - set(thin_modules()) == set()


def test_no_module_loads_pyroute2_before_a_device_is_moved() -> None:
    names = [name for name in modules() if within(name, {"orlop_linux", "orlop_hookspecs"})]
    program = "import sys; [__import__(name) for name in sys.argv[1:]]; print('pyroute2' in sys.modules)"
    command = [sys.executable, "-W", "error", "-c", program, *names]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd="/")
    assert done.stdout == "False\n"


# What only some configs need, and no creation of another one may load.
NOT_FOR_ALL = (
    "jeepney*", "pyroute2*", "pyseccomp*", "orlop_linux.kernel.links", "orlop_linux.kernel.netdev",
    "orlop_linux.kernel.resctrl*", "orlop_linux.kernel.scheduling", "orlop_linux.kernel.seccomp*",
    "orlop_linux.kernel.security", "orlop_linux.kernel.systemd*", "orlop_linux.live.netdev",
    "orlop_linux.live.resctrl", "orlop_linux.live.listener", "orlop_linux.plugins.number_lists",
    "orlop_linux.plugins.scheduling_rules", "orlop_linux.plugins.scopes", "orlop_linux.plugins.syscall_names",
)  # fmt: skip


def test_what_only_some_configs_need_is_not_loaded_for_all() -> None:
    needed = ["kernel.kernel", "kernel.spawn", "kernel.cgroups.session", "kernel.cgroups.create"]
    planners = sorted(path.stem for path in (SOURCES["orlop_linux"] / "orlop_linux/plugins").glob("*.py"))
    optional = {"number_lists", "scheduling_rules", "scopes", "syscall_names"}
    names = [*needed, *(f"plugins.{name}" for name in planners if name not in {"__init__", *optional})]
    program = "import sys; [__import__(f'orlop_linux.{name}') for name in sys.argv[1:]]; print(*sys.modules)"
    command = [sys.executable, "-W", "error", "-c", program, *names]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd="/")
    loaded = done.stdout.split()
    assert "orlop_linux.kernel.sandbox" in loaded
    assert [name for name in loaded if any(fnmatch.fnmatchcase(name, one) for one in NOT_FOR_ALL)] == []


def imports(file: Path) -> set[str]:
    """Return the dotted names that *file* imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(file.read_bytes())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            # `from package import name`: the name may be a module.
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def within(name: str, packages: set[str]) -> bool:
    return any(name == package or name.startswith(f"{package}.") for package in packages)


def test_packages_import_only_what_the_house_rules_allow() -> None:
    foreign = []
    for name, file in modules().items():
        rule = max((prefix for prefix in MAY_IMPORT if within(name, {prefix})), key=len)
        for imported in imports(file):
            own = imported.partition(".")[0] in sys.stdlib_module_names
            if not own and not within(imported, MAY_IMPORT[rule]):
                foreign.append(f"{name} imports {imported}")
    assert foreign == []


def test_planners_cannot_touch_a_kernel() -> None:
    touching = [
        f"{name} imports {imported}"
        for name, file in modules().items()
        if within(name, PURE)
        for imported in imports(file)
        if within(imported, KERNEL_MODULES)
    ]
    assert touching == []


def test_no_file_is_too_long_to_read_at_once() -> None:
    lengths = {shown(file): len(file.read_text().splitlines()) for file in python_files()}
    assert {file: length for file, length in lengths.items() if length > LONGEST_FILE} == {}


@pytest.mark.parametrize("package", SOURCES)
def test_packages_say_that_they_are_typed(package: str) -> None:
    assert (SOURCES[package] / package / "py.typed").is_file()


def test_every_exception_from_a_lint_rule_has_a_reason() -> None:
    bare = []
    for file in python_files():
        for number, line in enumerate(file.read_text().splitlines(), 1):
            if re.search(r"#\s*noqa\b(?!: [A-Z]+[0-9]+(, ?[A-Z]+[0-9]+)* - \S)", line) and "re." not in line:
                bare.append(f"{shown(file)}:{number}")
    for number, line in enumerate((ROOT / "pyproject.toml").read_text().splitlines(), 1):
        if re.fullmatch(r'\s+"[A-Z]+[0-9]*",', line):
            bare.append(f"pyproject.toml:{number}")
    assert bare == []


@cache
def times_in_tests() -> tuple[list[str], list[str]]:
    """Return where tests sleep, and where they wait with a deadline that is neither short nor long."""
    sleepers: list[str] = []
    short: list[str] = []
    positional = {"join", "settimeout", "wait"}
    named = {*positional, "call", "check_output", "communicate", "result", "run"}
    for file in python_files():
        calls = ast.walk(ast.parse(file.read_bytes())) if file.is_relative_to(ROOT / "tests") else ()
        for node in calls:
            if not isinstance(node, ast.Call):
                continue
            function = ast.unparse(node.func)
            name = function.rpartition(".")[2]
            if function in {"time.sleep", "sleep", "asyncio.sleep"}:
                if ast.unparse(node) != "asyncio.sleep(0)":  # lets others run, does not wait
                    sleepers.append(f"{shown(file)}:{node.lineno}")
                continue
            given = [one.value for one in node.keywords if one.arg == "timeout" and name in named]
            given += node.args[:1] if name in positional else []
            values = [one.value for one in given if isinstance(one, ast.Constant)]
            if any(isinstance(value, int | float) and 2 < value < 60 for value in values):
                short.append(f"{shown(file)}:{node.lineno}")
    return sleepers, short


def test_tests_never_sleep() -> None:
    assert times_in_tests()[0] == []


def test_deadlines_are_for_hangs() -> None:
    """What only says how long a failure takes is a minute or more: a machine may have many times its load.

    A time that is meant to pass is at most two seconds.
    """
    assert times_in_tests()[1] == []


def test_changelog_fragments_are_named_for_their_readers() -> None:
    config = tomllib.loads((ROOT / "pyproject.toml").read_text())
    audiences = [kind["directory"] for kind in config["tool"]["towncrier"]["type"]]
    assert audiences == ["user", "plugin-author", "developer"]
    pattern = re.compile(rf"\+[a-z0-9-]+\.({'|'.join(audiences)})\.md")
    fragments = [file for file in (ROOT / "changelog.d").iterdir() if file.name != "README.md"]
    assert [file.name for file in fragments if not pattern.fullmatch(file.name)] == []
    assert [file.name for file in fragments if not file.read_text().strip().endswith(".")] == []


def test_nothing_names_the_machine_it_was_written_on() -> None:
    private = [r"/(home|Users)/[A-Za-z0-9_.]+/"]
    if len(ROOT.parts) > 2:  # /src, where a clone may be, is a path that any text may name
        private.append(rf"{re.escape(str(ROOT))}(?![\w.-])")
    pattern = re.compile("|".join(private).encode())
    assert [shown(file) for file in files() if pattern.search(file.read_bytes())] == []


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "changelog.d/README.md"])
def test_pages_outside_the_site_point_to_what_exists(page: str) -> None:
    text = (ROOT / page).read_text()
    links = re.findall(r"\]\((?!https?://|#)([^)#]+)(?:#[^)]*)?\)", text)
    assert [link for link in links if not (ROOT / page).parent.joinpath(link).exists()] == []
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"`make ([a-z-]+)", text)) - targets == set()


def test_the_reference_pages_say_what_the_code_says() -> None:
    command = [sys.executable, str(ROOT / "tools" / "reference.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, ""), f"run `make pages`: {done.stderr}"
