"""Versions of the interface, and what each brought: a document may use only what its version has.

SPEC.md, "Released versions".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

VERSIONS = ("0.3.0", "0.4.0", "0.5.0", "0.6.0", "0.7.0", "0.8.0", "1.0.0", "1.1.0")
"""The released ones, in their order."""

EARLIEST = "0.3.0"
"""The first that has a text; what nothing else demands."""

CURRENT = VERSIONS[-1]


def normalized(version: str) -> str:
    """Return *version* without the ``v`` that some write before it."""
    return version.removeprefix("v")


def minimum_version(document: Mapping[str, Any]) -> tuple[str, str]:
    """Return the lowest version that has all that *document* uses, and what demands it."""
    return max(_demands(document), key=lambda demand: VERSIONS.index(demand[0]))


def _demands(document: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield EARLIEST, ""
    if document.get("annotations"):
        yield "0.6.0", "annotations"
    if "." in str(document.get("kind", "")).partition("/")[2]:
        yield "0.6.0", "a dot in the class of the kind"
    edits = [document.get("containerEdits") or {}]
    for device in document.get("devices") or ():
        edits.append(device.get("containerEdits") or {})
        if device.get("annotations"):
            yield "0.6.0", "annotations of a device"
        if str(device.get("name", ""))[:1].isdigit():
            yield "0.5.0", "a device whose name begins with a digit"
    for one in edits:
        yield from _of_edits(one)


def _of_edits(edits: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    if any(mount.get("type") for mount in edits.get("mounts") or ()):
        yield "0.4.0", "type of a mount"
    if any(node.get("hostPath") for node in edits.get("deviceNodes") or ()):
        yield "0.5.0", "hostPath of a device node"
    if edits.get("additionalGids"):
        yield "0.7.0", "additionalGids"
    rdt = edits.get("intelRdt")
    if rdt is not None:
        yield "0.7.0", "intelRdt"
        if "schemata" in rdt:
            yield "1.1.0", "schemata of intelRdt"
        if rdt.get("enableMonitoring"):
            yield "1.1.0", "enableMonitoring of intelRdt"
    if edits.get("netDevices"):
        yield "1.1.0", "netDevices"
