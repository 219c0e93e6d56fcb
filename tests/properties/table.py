"""The table of properties and requirements: who handles each, what advertises and what proves it."""

from __future__ import annotations

import ast
import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from tests.needs import lane
from tests.properties.case import load
from tests.properties.catalogue import Must, Property, contract, musts, properties
from tests.properties.elsewhere import TESTS
from tests.rules.load import RULES as ALL_RULES
from tests.rules.world import NEEDS as RULE_NEEDS

import orlop
from orlop.plugins.sources import installed

ROOT = Path(__file__).resolve().parents[2]
EFFECTS = "tests/linux/properties/test_effects.py::test_a_property_has_its_effect"
RULES = ("tests/unit/fake/test_rules.py::test_rule", "tests/linux/test_rules.py::test_rule")

FEATURES: tuple[tuple[str, str], ...] = (
    ("hooks", "hooks"),
    ("annotations", "potentiallyUnsafeConfigAnnotations"),
    ("ociVersion", "ociVersionMin, ociVersionMax"),
    ("mounts[].options", "mountOptions"),
    ("mounts[].uidMappings", "linux.mountExtensions.idmap.enabled"),
    ("mounts[].gidMappings", "linux.mountExtensions.idmap.enabled"),
    ("process.capabilities", "linux.capabilities"),
    ("process.apparmorProfile", "linux.apparmor.enabled"),
    ("process.selinuxLabel", "linux.selinux.enabled"),
    ("linux.mountLabel", "linux.selinux.enabled"),
    ("linux.namespaces", "linux.namespaces"),
    ("linux.uidMappings", "linux.namespaces"),
    ("linux.gidMappings", "linux.namespaces"),
    ("linux.timeOffsets", "linux.namespaces"),
    ("linux.netDevices", "linux.netDevices.enabled"),
    ("linux.memoryPolicy", "linux.memoryPolicy.modes, linux.memoryPolicy.flags"),
    ("linux.resources.rdma", "linux.cgroup.rdma"),
    ("linux.resources", "linux.cgroup.v1, linux.cgroup.v2"),
    ("linux.cgroupsPath", "linux.cgroup.v1, linux.cgroup.v2, linux.cgroup.systemd, linux.cgroup.systemdUser"),
    ("linux.intelRdt.schemata", "linux.intelRdt.schemata"),
    ("linux.intelRdt.enableMonitoring", "linux.intelRdt.monitoring"),
    ("linux.intelRdt", "linux.intelRdt.enabled"),
    ("linux.seccomp", "linux.seccomp.enabled"),
)
"""The beginning of a property's path, and the fields of the features document that speak of it."""

REFUSED = "tests/unit/properties/test_refused.py::test_what_nobody_handles_is_refused"
"""The proof of a property that no plugin handles."""

NO_FIELD = "the document has none"


class Row(NamedTuple):
    """A row of one of the tables."""

    subject: str
    gist: str
    plugins: tuple[str, ...]
    features: str
    tests: tuple[str, ...]
    """Identifiers of tests, as pytest has them."""
    lanes: tuple[str, ...]


@functools.cache
def runtime() -> orlop.Runtime:
    """Return a composition of what is built in."""
    built_in = [name for name, point in installed().items() if point.value.startswith("orlop_linux.")]
    return orlop.Runtime.compose(platform="linux", plugins=built_in)


def property_rows() -> list[Row]:
    """Return a row for each property."""
    return [_property(one) for one in properties().values()]


def _property(one: Property) -> Row:
    plugins = runtime().composition.coverage.handlers(one.handle)
    names = [f"effect:{case.name}" for case in load().values() if one.path in case.covers]
    names += TESTS.get(one.path, ())
    if one.path == "ociVersion":
        plugins = ("core",)
    if not plugins:
        plugins = ("nobody: refused",)
        names = [REFUSED]
    tests = tuple(test for name in names for test in resolve(name))
    return Row(one.path, "", plugins, _features(one), tests, _lanes(tests))


def _features(one: Property) -> str:
    for _, handles in runtime().composition.handles:
        for handle in handles:
            if handle.path == one.handle and handle.feature:
                return handle.feature
    return next((fields for path, fields in FEATURES if one.path.startswith(path)), NO_FIELD)


def must_rows() -> list[Row]:
    """Return a row for each requirement."""
    return _rows(musts())


def contract_rows() -> list[Row]:
    """Return a row for each demand of engines."""
    return _rows(contract())


def _rows(demands: Mapping[str, Must]) -> list[Row]:
    rows = []
    for one in demands.values():
        tests = tuple(test for name in one.tests for test in resolve(name))
        rows.append(Row(one.name, f"{one.gist} ({one.where})", one.by, "", tests, _lanes(tests)))
    return rows


def resolve(name: str) -> tuple[str, ...]:
    """Return the identifiers of the tests that *name* stands for.

    Raises:
        LookupError: There is no such test.
    """
    kind, _, rest = name.partition(":")
    if kind == "effect":
        if rest not in load():
            raise LookupError(name)
        return (f"{EFFECTS}[{rest}]",)
    if kind == "rule":
        if rest not in ALL_RULES:
            raise LookupError(name)
        return tuple(f"{test}[{rest}]" for test in RULES)
    file, _, function = name.partition("::")
    if function.partition("[")[0] not in _functions(file):
        raise LookupError(name)
    return (name,)


@functools.cache
def _functions(file: str) -> dict[str, tuple[str, ...]]:
    """Return the tests of a file, each with what it says that a host may lack."""
    path = ROOT / file
    if not path.is_file():
        return {}
    module = ast.parse(path.read_text(encoding="utf-8"))
    of_all: tuple[str, ...] = ()
    for node in module.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "pytestmark":
            of_all = _needs(node.value.elts if isinstance(node.value, ast.List) else [node.value])
    return {
        node.name: of_all + _needs(node.decorator_list)
        for node in ast.walk(module)
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    }


def _needs(markers: Sequence[ast.expr]) -> tuple[str, ...]:
    return tuple(
        str(argument.value)
        for marker in markers
        if isinstance(marker, ast.Call) and ast.unparse(marker.func) == "pytest.mark.needs"
        for argument in marker.args
        if isinstance(argument, ast.Constant)
    )


def _lanes(tests: list[str] | tuple[str, ...]) -> tuple[str, ...]:
    return tuple(sorted({one for test in tests for one in _lanes_of(test)}))


def _lanes_of(test: str) -> tuple[str, ...]:
    """Return the lanes on which a test runs."""
    file, _, function = test.partition("::")
    if file.startswith("tests/unit/"):
        return ("unit",)
    name, _, parameter = function.partition("[")
    if test.startswith(f"{EFFECTS}["):
        needs = load()[parameter.removesuffix("]")].needs
    elif name == "test_rule":
        needs = RULE_NEEDS.get(parameter.removesuffix("]"), ())
    else:
        needs = _functions(file)[name]
    lanes = {lane(need) for need in needs} or {"host"}
    return tuple(one for one in lanes if one)


ABOUT = """\
# Properties

Every property of a config that means something on Linux: the plugin that handles it, the fields of the features document
that speak of it, and the test that proves its effect. After it, what the specification demands of a runtime, by name. A test
fails when a property or a demand has no row, or its row no test.

*Lanes*: **host** runs real containers on the machine at hand, **VM** in the virtual machine with what a host may lack, **unit**
on the fake platform or on a model of the kernel's files. What runs on the host runs in the VM as well, unless it needs cgroup
version 1. Every test of a row has to pass on its lane; only rules of resctrl, for which there is neither a machine nor an emulator,
are shown by the fake platform alone, and by real trees where a machine has one.
"""  # noqa: E501 - lines of the page


ENGINES = """\
# What engines count on

podman, buildah, Docker, containerd, CRI-O and what monitors containers for them write command lines, parse what is printed and look
for words in messages. What they count on there, by name: in which part, who relies on it, and the tests that show it. A test
fails when a row names one that there is not, and every test has to pass on its lane (see [properties](properties.md)). What orlop says or
does otherwise than runc and crun is in [a list of its own](differences.md).

Flags and habits of crun that no engine makes use of are left out: abbreviated flags (`--cons`), a value that
follows a short flag at once (`-fv`), short flags in one (`-dt`; for runc `-root` is a long one), `--usage`, `mounts`, and the logs `journald:` and `syslog:`.
"""  # noqa: E501 - lines of the page


def engines_page() -> str:
    """Return the page of the reference about engines."""
    heads = ("Name", "Demand", "Who relies on it", "Proof", "Lane")
    return f"{ENGINES}\n{_table(heads, contract_rows())}"


def page() -> str:
    """Return the page of the reference."""
    parts = [ABOUT, "## Properties of the config\n"]
    parts.append(_table(("Property", "Plugin", "Features", "Proof", "Lane"), property_rows()))
    parts.append("\n## What the specification demands\n")
    parts.append(_table(("Name", "Demand", "By", "Proof", "Lane"), must_rows()))
    return "\n".join(parts)


def _table(heads: tuple[str, ...], rows: list[Row]) -> str:
    lines = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    for row in rows:
        plugins = ", ".join(row.plugins)
        middle = f"{row.gist} | {plugins}" if row.gist else f"{plugins} | {row.features}"
        lines.append(f"| `{row.subject}` | {middle} | {_shown(row.tests)} | {', '.join(row.lanes)} |")
    return "\n".join(lines) + "\n"


def _shown(tests: tuple[str, ...]) -> str:
    """Return tests in short: the file below tests/, with the function or the case."""
    found = []
    for test in tests:
        file, _, function = test.removeprefix("tests/").partition("::")
        name, _, parameter = function.partition("[")
        words = parameter.removesuffix("]") or name.removeprefix("test_")
        found.append(f"{words.replace('_', ' ')} (`{file}`)".replace("|", "\\|"))
    return "; ".join(dict.fromkeys(found))
