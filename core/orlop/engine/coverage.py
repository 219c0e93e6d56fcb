"""Coverage: each property that is set is handled by an active plugin that accepts its value, or refused.

What counts as set? A property that is absent, ``null``, an empty string, an empty array or an empty object
asks for nothing, and neither does a boolean whose ``false`` is what its absence means. Exceptions, where
emptiness is a request, stand in :data:`ASKS_WHEN_EMPTY`. Elements of arrays and entries of maps are always
requests.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orlop_hookspecs.documents.base import Document
from orlop_hookspecs.documents.names import json_name
from orlop_hookspecs.errors import UNSET
from orlop_hookspecs.frozen import Frozen, frozen

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from orlop_hookspecs.documents import Config
    from orlop_hookspecs.hooks.capability import Handle

CORE = "orlop"
"""Owner of the properties that the engine itself applies."""

OWN = ("ociVersion",)
"""Properties that the engine itself applies: the version decides how the document is read."""

ASKS_WHEN_EMPTY = frozenset(
    (
        # "If intelRdt is set": the group is named after the container then (config-linux.md, IntelRdt).
        "linux.intelRdt",
        # Empty sets take every capability away (config.md, Linux Process).
        "process.capabilities",
        "process.capabilities.bounding",
        "process.capabilities.effective",
        "process.capabilities.inheritable",
        "process.capabilities.permitted",
        "process.capabilities.ambient",
        # Its presence asks for Hyper-V isolation (config-windows.md, HyperV).
        "windows.hyperv",
    )
)
"""Properties whose mere presence asks for something."""

FALSE_MEANS_ABSENT = frozenset(
    (
        "root.readonly",
        "process.terminal",
        "process.noNewPrivileges",
        "linux.resources.memory.disableOOMKiller",
        "linux.resources.memory.checkBeforeUpdate",
        "linux.intelRdt.enableMonitoring",
        "linux.intelRdt.enableCMT",
        "linux.intelRdt.enableMBM",
        "windows.servicing",
        "windows.ignoreFlushesDuringBoot",
    )
)
"""Booleans that the specification defaults to ``false``."""

ITEM = "[]"
"""Path segment of an array's elements."""

ENTRY = "{}"
"""Path segment of a map's entries."""


@frozen
class Finding(Frozen):
    """What becomes of one property of a config."""

    pointer: str
    plugins: tuple[str, ...]
    """Who applies it; empty when it is refused."""
    message: str = ""
    """Why it is refused."""
    value: Any = UNSET
    path: str = ""
    """The property path with ``[]`` and ``{}``."""

    @property
    def refused(self) -> bool:
        """Whether nobody applies it."""
        return not self.plugins


_Row = tuple[str, str, str, "_Node | None", bool]
"""Attribute, property name and path of a property, its node, and whether it is handled whatever it holds."""


class _Node:
    """The handles at one property path and below it."""

    __slots__ = ("below", "children", "exact", "path", "restricts", "tables", "values")

    def __init__(self, path: str) -> None:
        self.path = path
        self.tables: dict[type[Document], tuple[_Row, ...]] = {}
        """For each document class that stands here: its properties, with what is known of them."""
        self.children: dict[str, _Node] = {}
        self.below: list[str] = []
        """Plugins that handle the property and everything under it."""
        self.exact: list[str] = []
        """Plugins that handle the property alone."""
        self.values: dict[str, list[str]] | None = None
        """Accepted strings and who accepts them."""
        self.restricts = False
        """Whether some node further down restricts values."""


def segments(path: str) -> list[str]:
    """Return the segments of a property path: ``mounts[].options[]`` is mounts, [], options, []."""
    parts: list[str] = []
    for word in path.split("."):
        marks: list[str] = []
        while word.endswith((ITEM, ENTRY)):
            marks.append(word[-2:])
            word = word[:-2]  # noqa: PLW2901 - peeled from the end
        if word:
            parts.append(word)
        parts.extend(reversed(marks))
    return parts


def join(parts: Iterable[str]) -> str:
    """Return the property path of *parts*; the inverse of :func:`segments`."""
    path = ""
    for part in parts:
        path += part if part in {ITEM, ENTRY} or not path else f".{part}"
    return path


_fields: dict[type[Document], tuple[tuple[str, str], ...]] = {}


def _fields_of(cls: type[Document]) -> tuple[tuple[str, str], ...]:
    """Return attribute name and property name of each property of *cls*."""
    known = _fields.get(cls)
    if known is None:
        known = _fields[cls] = tuple((name, json_name(name)) for name, _ in cls.kinds())
    return known


def _escape(key: str) -> str:
    return key.replace("~", "~0").replace("/", "~1")


class Coverage:
    """All handles of a composition, compiled into a tree of property paths."""

    def __init__(self, handles: Iterable[tuple[str, Sequence[Handle]]]) -> None:
        """Compile the handles of each plugin."""
        self._root = _Node("")
        for path in OWN:
            self._node(path).below.append(CORE)
        for plugin, declared in handles:
            for handle in declared:
                self._add(plugin, handle)
        _mark(self._root)

    def _node(self, path: str) -> _Node:
        node = self._root
        so_far: list[str] = []
        for part in segments(path):
            so_far.append(part)
            child = node.children.get(part)
            if child is None:
                child = node.children[part] = _Node(join(so_far))
            node = child
        return node

    def _add(self, plugin: str, handle: Handle) -> None:
        node = self._node(handle.path)
        owners = node.exact if handle.exact else node.below
        if plugin not in owners:
            owners.append(plugin)
        if handle.values is not None:
            if node.values is None:
                node.values = {}
            for value in sorted(handle.values):
                node.values.setdefault(value, []).append(plugin)

    def handlers(self, path: str) -> tuple[str, ...]:
        """Return the plugins that handle the property *path*, whatever its value."""
        node: _Node | None = self._root
        owners: list[str] = []
        parts = segments(path)
        for index, part in enumerate(parts):
            assert node is not None  # noqa: S101 - checked below
            node = node.children.get(part)
            if node is None:
                break
            owners.extend(node.below)
            if index == len(parts) - 1:
                owners.extend(node.exact)
        return tuple(dict.fromkeys(owners))

    def accepts(self, finding: Finding) -> tuple[str, ...]:
        """Return the plugins that would apply the property of *finding*, with its value."""
        handlers = self.handlers(finding.path)
        node: _Node | None = self._root
        for part in segments(finding.path):
            node = None if node is None else node.children.get(part)
        if node is None or node.values is None or not isinstance(finding.value, str):
            return handlers
        return tuple(node.values.get(finding.value, ()))

    def refusals(self, config: Document) -> list[Finding]:
        """Return what is refused in *config*; empty when everything is covered."""
        found: list[Finding] = []
        _walk(config, self._root, (), "", found, report=False)
        return found

    def findings(self, config: Config) -> list[Finding]:
        """Return what becomes of each property of *config*, at the level at which plugins handle it."""
        found: list[Finding] = []
        _walk(config, self._root, (), "", found, report=True)
        return found

    def refusals_at(self, document: Document, path: str, pointer: str = "") -> list[Finding]:
        """Return what is refused in *document*, which stands at property *path* of a config."""
        node: _Node | None = self._root
        owners: list[str] = []
        for part in segments(path):
            node = None if node is None else node.children.get(part)
            if node is not None:
                owners.extend(node.below)
        found: list[Finding] = []
        _walk(document, node or _Node(path), tuple(owners), pointer, found, report=False)
        return found


def _mark(node: _Node) -> bool:
    """Note which nodes have restrictions below them."""
    for child in node.children.values():
        if _mark(child):
            node.restricts = True
    return node.restricts or node.values is not None


def asks(value: object, path: str) -> bool:
    """Tell whether a property with *value* at *path* asks for anything."""
    if value is False:
        return path not in FALSE_MEANS_ABSENT
    if value == "" or (isinstance(value, tuple | dict) and not value):
        return path in ASKS_WHEN_EMPTY
    return True


def _table(node: _Node, cls: type[Document]) -> tuple[_Row, ...]:
    rows = node.tables.get(cls)
    if rows is None:
        made: list[_Row] = []
        for attribute, name in _fields_of(cls):
            child = node.children.get(name)
            path = f"{node.path}.{name}" if node.path else name
            free = child is not None and bool(child.below) and child.values is None and not child.restricts
            made.append((attribute, name, path, child, free))
        rows = node.tables[cls] = tuple(made)
    return rows


def _walk(  # noqa: PLR0913 - a recursion carries its place
    value: object, node: _Node, owners: tuple[str, ...], pointer: str, found: list[Finding], *, report: bool
) -> None:
    """Go through everything that *value* sets; *owners* handle the whole of it."""
    if isinstance(value, Document):
        for attribute, name, path, child, free in _table(node, type(value)):
            item = getattr(value, attribute)
            if item is None or (free and not report) or not asks(item, path):
                continue
            _judge(item, child, path, owners, f"{pointer}/{name}", found, report=report)
    elif isinstance(value, tuple):
        child, path = node.children.get(ITEM), node.path + ITEM
        for index, item in enumerate(value):
            _judge(item, child, path, owners, f"{pointer}/{index}", found, report=report)
    elif isinstance(value, dict):
        child, path = node.children.get(ENTRY), node.path + ENTRY
        for key, item in value.items():
            _judge(item, child, path, owners, f"{pointer}/{_escape(str(key))}", found, report=report)


def _judge(  # noqa: PLR0913, PLR0917 - a recursion carries its place
    item: object,
    node: _Node | None,
    path: str,
    owners: tuple[str, ...],
    pointer: str,
    found: list[Finding],
    *,
    report: bool,
) -> None:
    """Decide about one property, element or entry; *node* has the handles at its place."""
    if node is not None and node.values is not None and isinstance(item, str):
        accepting = tuple(node.values.get(item, ()))
        if not accepting:
            allowed = ", ".join(node.values) or "none"
            message = f"value is not supported by {_plugins(node)}; accepted: {allowed}"
            found.append(Finding(pointer, (), message, item, path))
        elif report:
            found.append(Finding(pointer, accepting, path=path))
        return
    if node is not None and node.below:
        owners = tuple(dict.fromkeys((*owners, *node.below)))
    if node is not None and _has_children(item) and (node.restricts or not owners):
        _walk(item, node, owners, pointer, found, report=report)
        return
    if node is not None and node.exact:
        owners = tuple(dict.fromkeys((*owners, *node.exact)))
    if not owners:
        _refuse(item, path, pointer, found)
    elif report:
        found.append(Finding(pointer, owners, path=path))


def _has_children(item: object) -> bool:
    """Tell whether there is anything in *item* to go on with."""
    if isinstance(item, Document):
        return any(getattr(item, attribute) is not None for attribute, _ in _fields_of(type(item)))
    return isinstance(item, tuple | dict) and bool(item)


def _plugins(node: _Node) -> str:
    names = list(dict.fromkeys((*node.below, *node.exact)))
    return f"plugin {' and '.join(names)}" if names else "any plugin"


def _refuse(item: object, path: str, pointer: str, found: list[Finding]) -> None:
    """Report that nobody handles *item*, once, at the highest place, if anything in it asks for something."""
    if not _requests(item, path):
        return
    value = UNSET if isinstance(item, Document | tuple | dict) else item
    found.append(Finding(pointer, (), "no active plugin handles this property", value, path))


def _requests(value: object, path: str) -> bool:
    """Tell whether anything in *value* asks for something."""
    if path in ASKS_WHEN_EMPTY or path.endswith((ITEM, ENTRY)):
        return True
    if not isinstance(value, Document):
        return True
    return any(
        asks(item, f"{path}.{name}") and _requests(item, f"{path}.{name}")
        for name, item in value.properties()
    )
