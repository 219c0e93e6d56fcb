"""Names of the interface: vendors, classes, devices, and the annotations that ask for them.

SPEC.md, "Kind" and "CDI Devices"; the annotations are those that Kubernetes device plugins write.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from typing import Any

PREFIX = "cdi.k8s.io/"
"""Begins the keys of annotations that ask for devices; the rest of a key only tells them apart."""

_LABEL = r"[a-z0-9A-Z](?:[a-z0-9A-Z-]*[a-z0-9A-Z])?"
_VENDOR = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_CLASS = re.compile(r"[a-z0-9A-Z](?:[a-z0-9A-Z._-]{0,61}[a-z0-9A-Z])?")
_DEVICE = re.compile(r"[a-z0-9A-Z](?:[a-z0-9A-Z._:-]*[a-z0-9A-Z])?")
_VENDOR_MAX = 253


def kind_fault(kind: str) -> str:
    """Return what is wrong with *kind*, ``vendor/class``; empty when nothing is."""
    vendor, slash, name = kind.partition("/")
    if not slash:
        return "a kind is a vendor, a slash and a class"
    if not _VENDOR.fullmatch(vendor) or len(vendor) > _VENDOR_MAX:
        return "the vendor of a kind is a domain"
    if not _CLASS.fullmatch(name):
        return "the class of a kind is letters, digits, '-', '_' and '.', at most 63 of them"
    return ""


def device_fault(name: str) -> str:
    """Return what is wrong with *name*, that of a device of some kind; empty when nothing is."""
    if not _DEVICE.fullmatch(name):
        return "the name of a device is letters, digits, '-', '_', '.' and ':'"
    return ""


def qualified_fault(name: str) -> str:
    """Return what is wrong with *name*, ``vendor/class=device``; empty when nothing is."""
    kind, equals, device = name.partition("=")
    if not equals:
        return "a device is asked for as vendor.com/class=name"
    return kind_fault(kind) or device_fault(device)


def asked(annotations: Mapping[str, str] | None) -> list[tuple[str, str]]:
    """Return the devices that *annotations* ask for, each with the JSON pointer of the annotation."""
    found = []
    for key, value in (annotations or {}).items():
        if key.startswith(PREFIX):
            pointer = "/annotations/" + key.replace("~", "~0").replace("/", "~1")
            found += [(name.strip(), pointer) for name in value.split(",")]
    return found


def request(config: Mapping[str, Any], *devices: str, key: str = "orlop") -> dict[str, Any]:
    """Return a copy of *config* that asks for *devices*, as an engine's ``--device`` does.

    Raises:
        ValueError: A name is not that of a device, or *key* is in use.
    """
    for device in devices:
        fault = qualified_fault(device)
        if fault:
            raise ValueError(f"{fault}: {device!r}")
    made = copy.deepcopy(dict(config))
    annotations = made.setdefault("annotations", {})
    if PREFIX + key in annotations:
        raise ValueError(f"the config asks for devices under {PREFIX}{key} already")
    annotations[PREFIX + key] = ",".join(devices)
    return made
