"""Adjustment: plugins propose changes to the config, the engine applies them and records who owns what.

Changes are applied to a copy of the config's JSON data. Two plugins that set overlapping properties, or
append elements of one identity (a mount's destination, a device's path, the name of an environment variable),
are refused: nobody overwrites silently what somebody else wants.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from orlop_hookspecs.errors import CompositionError, PluginError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from orlop_hookspecs.hooks.capability import Adjustment

CONFIG = "config.json"
"""Owner of what the config says itself."""

Owners = dict[str, str]
"""JSON pointer to the plugin that set it."""


def _member(name: str) -> Callable[[Any], str | None]:
    def identity(element: Any) -> str | None:  # noqa: ANN401 - JSON data
        value = element.get(name) if isinstance(element, Mapping) else None
        return value if isinstance(value, str) else None

    return identity


def _destination(element: Any) -> str | None:  # noqa: ANN401 - JSON data
    """Return a mount's destination without superfluous slashes and dots; no file system is consulted."""
    value = _member("destination")(element)
    if value is None:
        return None
    parts: list[str] = []
    for part in value.split("/"):
        if part == "..":
            del parts[-1:]
        elif part not in {"", "."}:
            parts.append(part)
    return "/" + "/".join(parts)


def _variable(element: Any) -> str | None:  # noqa: ANN401 - JSON data
    return element.partition("=")[0] if isinstance(element, str) else None


def _itself(element: Any) -> str | None:  # noqa: ANN401 - JSON data
    return element if isinstance(element, str) else None


IDENTITIES: Mapping[str, tuple[Callable[[Any], str | None], bool]] = {
    "/mounts": (_destination, False),
    "/linux/devices": (_member("path"), True),
    "/process/env": (_variable, True),
    "/process/rlimits": (_member("type"), True),
    "/linux/namespaces": (_member("type"), True),
    "/linux/maskedPaths": (_itself, False),
    "/linux/readonlyPaths": (_itself, False),
    "/linux/resources/hugepageLimits": (_member("pageSize"), True),
}
"""Array to what identifies its elements, and whether an element may not repeat one of the config's own."""


def apply(
    data: Mapping[str, Any], adjustments: Iterable[tuple[str, Adjustment]]
) -> tuple[dict[str, Any], Owners]:
    """Return a changed copy of *data* and the owners of everything that was changed.

    Raises:
        CompositionError: Two plugins want the same; the error names both.
        PluginError: A pointer cannot be followed.
    """
    proposals = list(adjustments)
    _refuse_overlaps(proposals)
    changed: dict[str, Any] = _copy(data)
    owners: Owners = {}
    for plugin, adjustment in proposals:
        for pointer, value in adjustment.set.items():
            parent, key = _parent(changed, pointer, plugin)
            if isinstance(parent, list):
                parent[_index(parent, key, pointer, plugin)] = _copy(value)
            else:
                parent[key] = _copy(value)
            owners[pointer] = plugin
    for plugin, adjustment in proposals:
        for pointer, elements in adjustment.append.items():
            _append(changed, owners, pointer, elements, plugin)
    return changed, owners


def owner_of(owners: Owners, pointer: str) -> str:
    """Return the plugin that set *pointer* or something around or below it; empty when the config did."""
    for place, plugin in owners.items():
        if _overlap(place, pointer):
            return plugin
    return ""


def _overlap(one: str, other: str) -> bool:
    return one == other or one.startswith(f"{other}/") or other.startswith(f"{one}/")


def _refuse_overlaps(proposals: Sequence[tuple[str, Adjustment]]) -> None:
    places: list[tuple[str, str]] = []
    for plugin, adjustment in proposals:
        changes: tuple[object, ...] = (adjustment.set, adjustment.append)
        if not all(isinstance(change, Mapping) for change in changes):
            raise PluginError("an adjustment's set and append are mappings", plugin=plugin)
        for pointer in adjustment.set:
            for place, other in places:
                if other != plugin and _overlap(place, pointer):
                    raise _conflict(plugin, other, pointer)
            places.append((pointer, plugin))
    for plugin, adjustment in proposals:
        for pointer in adjustment.append:
            for place, other in places:
                if other != plugin and _overlap(place, pointer):
                    raise _conflict(plugin, other, pointer)


def _conflict(plugin: str, other: str, pointer: str, what: str = "") -> CompositionError:
    both = " and ".join(sorted((plugin, other)))
    subject = f"{what} of this property" if what else "this property"
    return CompositionError(
        f"plugins {both} both want to set {subject}",
        pointer=pointer,
        plugin=plugin,
        hint="leave one of them out of the composition",
    )


def _append(
    changed: dict[str, Any], owners: Owners, pointer: str, elements: Sequence[Any], plugin: str
) -> None:
    if not isinstance(elements, list | tuple):
        raise PluginError("expected a sequence of elements to append", plugin=plugin, pointer=pointer)
    parent, key = _parent(changed, pointer, plugin)
    array = parent.get(key) if isinstance(parent, dict) else parent[_index(parent, key, pointer, plugin)]
    if array is None and isinstance(parent, dict):
        array = parent[key] = []
    if not isinstance(array, list):
        raise PluginError("expected an array to append to", plugin=plugin, pointer=pointer)
    identity, unique = IDENTITIES.get(pointer, (None, False))
    for element in elements:
        if identity is not None:
            name = identity(element)
            _refuse_taken(array, owners, pointer, (identity, unique), name, plugin)
        owners[f"{pointer}/{len(array)}"] = plugin
        array.append(_copy(element))


def _refuse_taken(  # noqa: PLR0913, PLR0917 - what is compared, and who is to be named
    array: Sequence[Any],
    owners: Owners,
    pointer: str,
    rule: tuple[Callable[[Any], str | None], bool],
    name: str | None,
    plugin: str,
) -> None:
    identity, unique = rule
    if name is None:
        return
    for index, existing in enumerate(array):
        if identity(existing) != name:
            continue
        other = owners.get(f"{pointer}/{index}")
        if other is not None and other != plugin:
            raise _conflict(plugin, other, pointer, f"element {name}")
        if other is None and unique:
            raise CompositionError(
                f"plugin {plugin} appends element {name}, which {CONFIG} has already",
                pointer=pointer,
                plugin=plugin,
                hint="a plugin that means to replace it sets it",
            )


def _parts(pointer: str, plugin: str) -> list[str]:
    if not str(pointer).startswith("/"):
        raise PluginError("an adjustment needs a JSON pointer", plugin=plugin, value=pointer)
    return [part.replace("~1", "/").replace("~0", "~") for part in pointer[1:].split("/")]


def _parent(data: dict[str, Any], pointer: str, plugin: str) -> tuple[Any, str]:
    """Return the object or array that holds *pointer*, and the last key; missing objects are made."""
    *parents, key = _parts(pointer, plugin)
    target: Any = data
    for part in parents:
        if isinstance(target, list):
            target = target[_index(target, part, pointer, plugin)]
            continue
        inner = target.get(part)
        if inner is None:
            inner = target[part] = {}
        if not isinstance(inner, dict | list):
            raise PluginError(
                "the pointer of an adjustment leads through a value", plugin=plugin, pointer=pointer
            )
        target = inner
    if not isinstance(target, dict | list):
        raise PluginError(
            "the pointer of an adjustment leads through a value", plugin=plugin, pointer=pointer
        )
    return target, key


def _index(array: Sequence[Any], key: str, pointer: str, plugin: str) -> int:
    if not (key.isascii() and key.isdigit()) or int(key) >= len(array):
        raise PluginError("the pointer of an adjustment names no element", plugin=plugin, pointer=pointer)
    return int(key)


def _copy(value: Any) -> Any:  # noqa: ANN401 - JSON data
    if isinstance(value, Mapping):
        return {key: _copy(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_copy(item) for item in value]
    return value
