"""What goes into a composed runtime: its plugins, in the pinned versions, and the modules that they need."""

from __future__ import annotations

import ast
import os
import sys
from importlib import metadata
from importlib.util import find_spec
from itertools import takewhile
from typing import TYPE_CHECKING

from orlop.composing.manifest import normalized
from orlop.entrypoints import entry_points
from orlop.live import GROUP as LIVE
from orlop.plugins.compose import compose
from orlop.plugins.faults import RefusedPluginsError
from orlop.plugins.sources import GROUP, installed, on_request
from orlop.plugins.verify import verify
from orlop_hookspecs.errors import UsageError
from orlop_hookspecs.frozen import Frozen, frozen_keywords

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from orlop.composing.manifest import Manifest
    from orlop.entrypoints import EntryPoint
    from orlop.plugins.composition import Composition

OWN = ("orlop", "orlop_hookspecs", "orlop_linux", "orlop_fake")
"""Packages of this distribution: what only type checkers read is taken out of them."""

_WHOLE = ("orlop", "orlop_hookspecs")
MAKERS = ("compose", "plugin")
"""Commands that make and check what a runtime is made of: a composed one is made, and does not have them."""

_LEFT_OUT = (
    *(f"orlop.cli.commands.{command}" for command in MAKERS),
    "orlop.aio",
    "orlop.cli.boot",
    "orlop.cli.erase",
    "orlop.cli.pack",
    "orlop.cli.reference",
    "orlop.composing",
    "orlop.kit",
    "orlop.plugins.reference",
    "orlop.scaffold",
)
"""Modules that make runtimes and pages, and nothing that a composed runtime does."""

_FOR_OTHERS = frozenset(("attr", "attrs", "cattrs", "pluggy"))
"""What the engine imports only for programs that embed it, not for any command."""


@frozen_keywords
class Module(Frozen):
    """One module that goes into the file."""

    name: str
    source: bytes
    package: bool
    own: bool
    """Whether it is one of ours."""


@frozen_keywords
class Parts(Frozen):
    """All that a composed runtime is made of."""

    composition: Composition
    modules: tuple[Module, ...]
    """Sorted by name."""
    points: tuple[tuple[str, str, str, str], ...]
    """Entry points: group, name, value and distribution."""
    closed: dict[str, str]
    """Modules of the platform that are not inside, and the plugin that each serves."""
    helper: str
    """Module with the program of the platform's helper; empty if it has none."""
    versions: dict[str, str]
    """Distributions that code was taken from, by normalized name."""


def gather(manifest: Manifest) -> Parts:
    """Return what *manifest* asks for.

    Raises:
        CompositionError: The plugins do not fit together, or one is not installed.
        UsageError: A version is not the pinned one, is not pinned, or a module cannot be put into a file.
    """
    available = {**on_request(), **installed()}
    composition = _compose(manifest, available)
    chosen = {plugin.info.name: plugin.info.version for plugin in composition.plugins}
    _check_plugins(manifest, chosen)
    points = _points(manifest, composition, available)
    live = [point for point in entry_points(LIVE) if point.name == manifest.platform]
    absent = {point.value.partition(":")[0] for name, point in available.items() if name not in chosen}
    used = {point.value.partition(":")[0] for point in points.values()}
    rooms, helper = _rooms(points.get(manifest.platform))
    closed = {room: plugins[0] for room, plugins in rooms.items() if chosen.keys().isdisjoint(plugins)}
    found = _Gatherer((*sorted(absent - used), *closed))
    found.take_packages(_WHOLE)
    for point in (*points.values(), *live):
        found.take(point.value.partition(":")[0])
    for name in manifest.modules:
        found.take_named(name, manifest.path)
    if helper:
        found.take(helper)
    versions = _versions(found.modules)
    _check_distributions(manifest, versions)
    rows = [(GROUP, name, point.value, point.distribution) for name, point in points.items()]
    rows += [(LIVE, point.name, point.value, point.distribution) for point in live]
    return Parts(
        composition=composition,
        modules=tuple(found.modules[name] for name in sorted(found.modules)),
        points=tuple(sorted(rows)),
        closed=closed,
        helper=helper,
        versions=versions,
    )


def _compose(manifest: Manifest, available: Mapping[str, EntryPoint]) -> Composition:
    """Return the composition; what it lacks is told with the lines that would add it."""
    try:
        return compose(manifest.platform, list(manifest.chosen))
    except RefusedPluginsError as error:
        lines = [
            f'{name} = "{verified.info.version}"'
            for name in dict.fromkeys(fault.needs for fault in error.faults if fault.needs)
            if name in available
            and (verified := verify(available[name].load(), available[name].value, [])) is not None
        ]
        if not lines:
            raise
        raise UsageError(
            "; ".join(map(str, error.faults)),
            path=manifest.path,
            hint=f"write in [plugins]: {', '.join(lines)}",
        ) from None


def _points(
    manifest: Manifest, composition: Composition, available: Mapping[str, EntryPoint]
) -> dict[str, EntryPoint]:
    """Return the entry point of each plugin of *composition*, by the plugin's name.

    Raises:
        UsageError: A plugin has none, or goes by another name there, and could not be named in a manifest.
    """
    found: dict[str, EntryPoint] = {}
    for plugin in composition.plugins:
        name = plugin.info.name
        point = available.get(name)
        if point is None or plugin.source != f"entry point {point.value}":
            raise UsageError(
                f"plugin {name} is not the entry point of that name",
                path=manifest.path,
                value=plugin.source,
                hint="the entry point of a plugin has the plugin's own name",
            )
        found[name] = point
    return found


def _check_plugins(manifest: Manifest, chosen: Mapping[str, str]) -> None:
    for name, version in manifest.plugins.items():
        there = chosen.get(name)
        if there is None:
            raise UsageError(
                f"plugin {name} is not active for platform {manifest.platform}",
                path=manifest.path,
                value=name,
            )
        if there != version:
            raise UsageError(
                f"plugin {name} is pinned to {version}, and {there} is installed",
                path=manifest.path,
                value=version,
                hint=f'install the pinned version, or write {name} = "{there}" in [plugins]',
            )


def _check_distributions(manifest: Manifest, versions: Mapping[str, str]) -> None:
    missing = [name for name in sorted(versions) if name not in manifest.distributions]
    if missing:
        lines = ", ".join(f'{name} = "{versions[name]}"' for name in missing)
        raise UsageError(
            f"the versions of {', '.join(missing)} are not pinned, and their code would be inside",
            path=manifest.path,
            hint=f"write in [distributions]: {lines}",
        )
    for name, version in manifest.distributions.items():
        there = versions.get(name)
        if there is None:
            raise UsageError(
                f"distribution {name} is pinned, and nothing of it would be inside",
                path=manifest.path,
                value=version,
                hint=f"take {name} out of [distributions]",
            )
        if there != version:
            raise UsageError(
                f"distribution {name} is pinned to {version}, and {there} is installed",
                path=manifest.path,
                value=version,
                hint=f'install the pinned version, or write {name} = "{there}" in [distributions]',
            )


def _rooms(platform: EntryPoint | None) -> tuple[Mapping[str, tuple[str, ...]], str]:
    """Return which modules of the *platform* serve which plugins only, and its helper; it may say neither."""
    place = "" if platform is None else f"{platform.value.partition(':')[0].partition('.')[0]}.rooms"
    if not place or find_spec(place) is None:
        return {}, ""
    __import__(place)
    said = sys.modules[place]
    return getattr(said, "ROOMS", {}), getattr(said, "HELPER", "")


class _Gatherer:
    """Collects modules and what they import, however deep inside a function."""

    def __init__(self, left_out: tuple[str, ...]) -> None:
        self.modules: dict[str, Module] = {}
        self._left_out = (*_LEFT_OUT, *left_out)
        self._seen: set[str] = set()
        self._owners = metadata.packages_distributions()
        self._requirements: dict[str, set[str]] = {}

    def take_packages(self, names: Iterable[str]) -> None:
        """Take whole packages."""
        for package in names:
            for name in _below(package):
                self.take(name)

    def take_named(self, name: str, path: str) -> None:
        """Take module *name*, which the manifest at *path* asks for."""
        self.take(name)
        if name not in self.modules:
            raise UsageError("there is no such module", path=path, value=name)

    def take(self, name: str) -> None:
        """Take module *name*, its packages, and everything that they import."""
        pending = [name]
        while pending:
            one = pending.pop()
            if one in self._seen or any(one == out or one.startswith(f"{out}.") for out in self._left_out):
                continue
            self._seen.add(one)
            module = _read(one)
            if module is None:
                continue
            self.modules[one] = module
            parent = one.rpartition(".")[0]
            if parent:
                pending.append(parent)
            pending.extend(imported for imported in _imports(module) if self._wanted(module, imported))

    def _wanted(self, module: Module, imported: str) -> bool:
        """Tell whether what *module* imports comes along: modules of its distribution and of required ones.

        Others are imported only where they happen to be there, by tests and the like.
        """
        top = imported.partition(".")[0]
        if top in OWN:
            return module.own or top in _WHOLE
        if top in sys.stdlib_module_names or (module.own and top in _FOR_OTHERS):
            return False
        home = module.name.partition(".")[0]
        return top == home or top in self._required(home)

    def _required(self, home: str) -> set[str]:
        """Return the import packages of the distributions that the one of package *home* requires."""
        known = self._requirements.get(home)
        if known is None:
            wanted = {
                normalized(one)
                for name in self._owners.get(home, ["orlop"] if home in OWN else [])
                for one in _requirements(name)
            }
            known = self._requirements[home] = {
                top for top, names in self._owners.items() if not wanted.isdisjoint(map(normalized, names))
            }
        return known


def _requirements(distribution: str) -> Iterator[str]:
    """Yield the names of the distributions that *distribution* requires, whatever extras are chosen."""
    for line in metadata.requires(distribution) or ():
        requirement, _, marker = line.partition(";")
        if "extra" not in marker:
            yield "".join(takewhile(lambda letter: letter.isalnum() or letter in "-_.", requirement.strip()))


def _below(package: str) -> list[str]:
    """Return the names of *package* and of all modules in it; none if it is not installed."""
    spec = find_spec(package)
    if spec is None:
        return []
    found = [package]
    for place in spec.submodule_search_locations or ():
        for directory, directories, files in os.walk(place):
            directories[:] = sorted(one for one in directories if one.isidentifier() and one != "__pycache__")
            inside = os.path.relpath(directory, place)
            prefix = package if inside == "." else f"{package}.{inside.replace('/', '.')}"
            if inside != "." and "__init__.py" in files:
                found.append(prefix)
            for file in sorted(files):
                stem, dot, kind = file.partition(".")
                if dot and stem.isidentifier() and stem != "__init__" and kind.endswith(("py", "so")):
                    found.append(f"{prefix}.{stem}")
    return found


def _read(name: str) -> Module | None:
    """Return module *name*; ``None`` if there is none.

    Raises:
        UsageError: It is compiled.
    """
    try:
        spec = find_spec(name)
    except (ImportError, AttributeError, ValueError):
        return None
    if spec is None or spec.origin is None:
        return None
    own = name.partition(".")[0] in OWN
    if not spec.origin.endswith(".py"):
        raise UsageError(
            f"module {name} is no Python source, and a single file cannot hold it",
            path=spec.origin,
            hint="leave out the plugin that needs it, or use the installed runtime",
        )
    with open(spec.origin, "rb") as file:
        source = file.read()
    return Module(name=name, source=source, package=spec.submodule_search_locations is not None, own=own)


def _imports(module: Module) -> Iterator[str]:
    """Yield the names that *module* imports anywhere but for type checkers; each may be a module."""
    place = module.name if module.package else module.name.rpartition(".")[0]
    pending: list[ast.AST] = [ast.parse(module.source)]
    while pending:
        node = pending.pop()
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            pending.extend(node.orelse)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = place.split(".")
                base = ".".join(filter(None, (*parents[: len(parents) - node.level + 1], base)))
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)
        else:
            pending.extend(ast.iter_child_nodes(node))


def _versions(modules: Mapping[str, Module]) -> dict[str, str]:
    """Return the distributions that *modules* come from, with their versions."""
    owners = metadata.packages_distributions()
    found: dict[str, str] = {}
    for top in sorted({name.partition(".")[0] for name in modules}):
        names = ["orlop"] if top in OWN else owners.get(top, [])
        if not names:
            raise UsageError(
                f"no installed distribution supplies module {top}, so it cannot be pinned", value=top
            )
        for name in names:
            found[normalized(name)] = metadata.version(name)
    return found
