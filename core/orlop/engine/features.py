"""The features document: what the plugins declare, merged, with who said what.

It is made from the same handles as the coverage check, so that what is advertised is what is accepted.
Nothing in it depends on the host.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from orlop.documents.versions import MAXIMUM, MINIMUM
from orlop_hookspecs.errors import CompositionError, DocumentError
from orlop_hookspecs.frozen import Frozen, frozen

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from orlop_hookspecs.documents import Features
    from orlop_hookspecs.hooks.capability import Handle

CORE = "orlop"
"""Source of what the engine itself contributes."""

Provenance = dict[str, Any]
"""Dotted path to the plugins that gave the field or, for a list, to a mapping from value to plugins."""


@frozen
class Merged(Frozen):
    """The features of a composition."""

    data: dict[str, Any]
    """The document as JSON data."""
    provenance: Provenance
    """Who gave what; see :data:`Provenance`."""

    def document(self) -> Features:
        """Return the document as an object."""
        from orlop.documents.codec import decode_features

        return decode_features(self.data)


def merge(
    handles: Iterable[tuple[str, Sequence[Handle]]], fragments: Iterable[tuple[str, Mapping[str, Any]]]
) -> Merged:
    """Return the features document of *handles* and *fragments*.

    Raises:
        CompositionError: Two plugins contradict each other, or one says what the document has no place for.
    """
    merger = _Merger()
    merger.put("ociVersionMin", MINIMUM, CORE)
    merger.put("ociVersionMax", MAXIMUM, CORE)
    for plugin, declared in handles:
        for handle in declared:
            if handle.feature:
                if handle.values is None:
                    raise CompositionError(
                        f"the handle of {handle.path} names feature {handle.feature}, but no values",
                        plugin=plugin,
                    )
                merger.put(handle.feature, sorted(handle.values), plugin)
    for plugin, fragment in fragments:
        for path, value in fragment.items():
            merger.put(path, value, plugin)
    _verify(merger)
    return Merged(merger.data, merger.provenance)


class _Merger:
    def __init__(self) -> None:
        self.data: dict[str, Any] = {}
        self.provenance: Provenance = {}

    def put(self, path: str, value: Any, plugin: str) -> None:  # noqa: ANN401 - JSON data
        """Merge *value* at *path*: lists are united, maps are merged, everything else must agree."""
        if not path or not all(path.split(".")):
            raise CompositionError(f"malformed path of a feature: {path!r}", plugin=plugin)
        target = self.data
        *parents, name = path.split(".")
        for parent in parents:
            inner = target.setdefault(parent, {})
            if not isinstance(inner, dict):
                raise self._contradiction(path, value, plugin)
            target = inner
        self._put_into(target, name, path, value, plugin)

    def _put_into(self, target: dict[str, Any], name: str, path: str, value: Any, plugin: str) -> None:  # noqa: ANN401 - JSON data
        if isinstance(value, Mapping):
            inner = target.setdefault(name, {})
            if not isinstance(inner, dict):
                raise self._contradiction(path, value, plugin)
            for key, item in value.items():
                self._put_into(inner, key, f"{path}.{key}", item, plugin)
            return
        if isinstance(value, list | tuple | set | frozenset):
            self._unite(target, name, path, value, plugin)
            return
        if not isinstance(value, str | bool | int):
            raise CompositionError(f"feature {path} is no JSON data", plugin=plugin, value=value)
        if name in target and (type(target[name]) is not type(value) or target[name] != value):
            raise self._contradiction(path, value, plugin)
        target[name] = value
        owners = self.provenance.setdefault(path, [])
        if plugin not in owners:
            owners.append(plugin)

    def _unite(self, target: dict[str, Any], name: str, path: str, value: Iterable[Any], plugin: str) -> None:
        items = sorted(value) if isinstance(value, set | frozenset) else list(value)
        united = target.setdefault(name, [])
        if not isinstance(united, list):
            raise self._contradiction(path, items, plugin)
        owners = self.provenance.setdefault(path, {})
        for item in items:
            if not isinstance(item, str):
                raise CompositionError(f"feature {path} is no list of strings", plugin=plugin, value=item)
            if item not in owners:
                united.append(item)
            who = owners.setdefault(item, [])
            if plugin not in who:
                who.append(plugin)

    def _contradiction(self, path: str, value: object, plugin: str) -> CompositionError:
        others = self.owners(path) or ["another plugin"]
        return CompositionError(
            f"feature {path}: plugin {plugin} contradicts {' and '.join(others)}", plugin=plugin, value=value
        )

    def owners(self, path: str) -> list[str]:
        """Return who gave the field at *path*, or something below it."""
        found: dict[str, None] = {}
        for known, who in self.provenance.items():
            if known == path or known.startswith(f"{path}."):
                lists = who.values() if isinstance(who, dict) else [who]
                for names in lists:
                    found.update(dict.fromkeys(names))
        return list(found)


def _verify(merger: _Merger) -> None:
    """Refuse what the features document has no place or no such type for."""
    from orlop.documents.codec import decode_features
    from orlop.documents.properties import unknown_properties
    from orlop_hookspecs.documents.features import Features as FeaturesClass

    try:
        decode_features(merger.data)
    except DocumentError as error:
        place, _, index = error.pointer.strip("/").replace("/", ".").rpartition(".")
        path = place if index.isdigit() else f"{place}.{index}".lstrip(".")
        raise CompositionError(
            f"feature {path}: {error.message}", value=error.value, plugin=" and ".join(merger.owners(path))
        ) from None
    for pointer in unknown_properties(merger.data, FeaturesClass):
        path = pointer.strip("/").replace("/", ".")
        raise CompositionError(
            f"feature {path} is unknown to the specification", plugin=" and ".join(merger.owners(path))
        )
