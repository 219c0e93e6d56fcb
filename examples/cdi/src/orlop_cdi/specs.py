"""Documents of the interface: read strictly, verified whole, refused with the place of each fault.

SPEC.md, "CDI JSON Specification"; a file is JSON or YAML. Unknown fields are refused, because a runtime that
leaves out an edit gives a container less than its vendor said it needs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from orlop_cdi.names import device_fault, kind_fault
from orlop_cdi.reading import parse
from orlop_cdi.versions import VERSIONS, minimum_version, normalized
from orlop_hookspecs.frozen import Frozen, frozen

HOOKS = ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")
_REMOVED = {"enableCMT": "1.1.0", "enableMBM": "1.1.0"}
"""Fields of intelRdt that a version took away."""

_ID_MAX = (1 << 32) - 1
_CLOS_MAX = 4096


class CdiError(ValueError):
    """A document that cannot be used; the message names the file, the place and the reason."""


@frozen
class Device(Frozen):
    """One device of a document."""

    kind: str
    name: str
    edits: Mapping[str, Any]

    @property
    def qualified(self) -> str:
        """The name by which it is asked for."""
        return f"{self.kind}={self.name}"


@frozen
class Spec(Frozen):
    """One document."""

    path: str
    version: str
    kind: str
    edits: Mapping[str, Any]
    """What is done when any of its devices is asked for."""
    devices: tuple[Device, ...]


def read_spec(content: bytes, path: str = "") -> Spec:
    """Return the document in *content*, the file at *path*.

    Raises:
        CdiError: It is not one.
    """
    try:
        data = parse(content, path)
    except ValueError as error:
        raise CdiError(f"{path}: {error}") from None
    for place, message in _document(data):
        raise CdiError(f"{path}: {place or '/'}: {message}")
    kind = data["kind"]
    return Spec(
        path,
        normalized(data["cdiVersion"]),
        kind,
        data.get("containerEdits") or {},
        tuple(Device(kind, one["name"], one["containerEdits"]) for one in data["devices"]),
    )


_Fault = tuple[str, str]
_Check = Callable[[Any, str], Iterator[_Fault]]


def _text(value: object, place: str) -> Iterator[_Fault]:
    if not isinstance(value, str) or not value or "\0" in value:
        yield place, "a string that is not empty is expected"


def _path(value: object, place: str) -> Iterator[_Fault]:
    if not isinstance(value, str) or not value.startswith("/") or "\0" in value:
        yield place, "an absolute path is expected"


def _any_text(value: object, place: str) -> Iterator[_Fault]:
    if not isinstance(value, str) or "\0" in value:
        yield place, "a string is expected"


def _flag(value: object, place: str) -> Iterator[_Fault]:
    if not isinstance(value, bool):
        yield place, "true or false is expected"


def _number(least: int, most: int) -> _Check:
    def check(value: object, place: str) -> Iterator[_Fault]:
        if type(value) is not int or not least <= value <= most:
            yield place, f"an integer from {least} to {most} is expected"

    return check


def _list_of(check: _Check) -> _Check:
    def check_list(value: object, place: str) -> Iterator[_Fault]:
        if not isinstance(value, list):
            yield place, "an array is expected"
            return
        for index, item in enumerate(value):
            yield from check(item, f"{place}/{index}")

    return check_list


def _object(fields: Mapping[str, _Check], required: tuple[str, ...] = ()) -> _Check:
    def check(value: object, place: str) -> Iterator[_Fault]:
        if not isinstance(value, dict):
            yield place, "an object is expected"
            return
        for name, item in value.items():
            if name not in fields:
                since = f"; version {_REMOVED[name]} took it away" if name in _REMOVED else ""
                yield f"{place}/{name}", f"there is no such field{since}"
            elif item is not None or name in required:
                yield from fields[name](item, f"{place}/{name}")
        for name in required:
            if name not in value:
                yield place, f"{name} is missing"

    return check


def _variable(value: object, place: str) -> Iterator[_Fault]:
    if not isinstance(value, str) or not value.partition("=")[0] or "=" not in value or "\0" in value:
        yield place, "a variable is written as NAME=VALUE"


def _node_type(value: object, place: str) -> Iterator[_Fault]:
    if value not in {"", "b", "c", "u", "p"}:
        yield place, "the type of a device node is b, c, u or p"


def _permissions(value: object, place: str) -> Iterator[_Fault]:
    if not isinstance(value, str) or (value != "none" and not set(value) <= set("rwm")):
        yield place, "permissions are made of r, w and m, or none"


def _hook_name(value: object, place: str) -> Iterator[_Fault]:
    if value not in HOOKS:
        yield place, f"the name of a hook is one of {', '.join(HOOKS)}"


def _clos(value: object, place: str) -> Iterator[_Fault]:
    if not isinstance(value, str) or value in {".", ".."} or set("/\n\0") & set(value):
        yield place, "a class of service has the name of a directory"
    elif len(value) >= _CLOS_MAX:
        yield place, "the name is too long"


def _annotations(value: object, place: str) -> Iterator[_Fault]:
    if not isinstance(value, dict):
        yield place, "an object is expected"
        return
    for key, text in value.items():
        if not key or not isinstance(text, str):
            yield f"{place}/{key}", "annotations are strings under keys that are not empty"


_id = _number(0, _ID_MAX)
_int64 = _number(-(1 << 63), (1 << 63) - 1)

_NODE = _object(
    {
        "path": _path,
        "hostPath": _path,
        "type": _node_type,
        "major": _int64,
        "minor": _int64,
        "fileMode": _number(0, 0o7777),
        "permissions": _permissions,
        "uid": _id,
        "gid": _id,
    },
    ("path",),
)
_MOUNT = _object(
    {"hostPath": _text, "containerPath": _path, "type": _any_text, "options": _list_of(_text)},
    ("hostPath", "containerPath"),
)
_HOOK = _object(
    {
        "hookName": _hook_name,
        "path": _path,
        "args": _list_of(_any_text),
        "env": _list_of(_variable),
        "timeout": _number(1, _ID_MAX),
    },
    ("hookName", "path"),
)
_RDT = _object(
    {
        "closID": _clos,
        "l3CacheSchema": _any_text,
        "memBwSchema": _any_text,
        "schemata": _list_of(_text),
        "enableMonitoring": _flag,
    }
)
_INTERFACE = _object({"hostInterfaceName": _text, "name": _text}, ("hostInterfaceName", "name"))
EDITS: Mapping[str, _Check] = {
    "env": _list_of(_variable),
    "deviceNodes": _list_of(_NODE),
    "netDevices": _list_of(_INTERFACE),
    "hooks": _list_of(_HOOK),
    "mounts": _list_of(_MOUNT),
    "intelRdt": _RDT,
    "additionalGids": _list_of(_id),
}
"""The kinds of edits, and how each is verified."""

_DEVICE = _object(
    {"name": _text, "annotations": _annotations, "containerEdits": _object(EDITS)}, ("name", "containerEdits")
)
_SPEC = _object(
    {
        "cdiVersion": _text,
        "kind": _text,
        "annotations": _annotations,
        "devices": _list_of(_DEVICE),
        "containerEdits": _object(EDITS),
    },
    ("cdiVersion", "kind", "devices"),
)


def _document(data: Any) -> Iterator[_Fault]:  # noqa: ANN401 - JSON data
    """Yield what is wrong with a document: its shape, then its names, then its version."""
    shape = list(_SPEC(data, ""))
    if shape:
        yield from shape
        return
    if not data["devices"]:
        yield "/devices", "there is no device in it"
    fault = kind_fault(data["kind"])
    if fault:
        yield "/kind", fault
    seen: set[str] = set()
    for index, device in enumerate(data["devices"]):
        name = device["name"]
        fault = device_fault(name)
        if fault:
            yield f"/devices/{index}/name", fault
        if name in seen:
            yield f"/devices/{index}/name", f"a second device {name}"
        seen.add(name)
        if not any(device["containerEdits"].values()):
            yield f"/devices/{index}/containerEdits", "the device has no edits"
    yield from _version(data)


def _version(data: Mapping[str, Any]) -> Iterator[_Fault]:
    version = normalized(data["cdiVersion"])
    if version not in VERSIONS:
        yield "/cdiVersion", f"version {data['cdiVersion']} is unknown; known: {', '.join(VERSIONS)}"
        return
    least, why = minimum_version(data)
    if VERSIONS.index(version) < VERSIONS.index(least):
        yield "/cdiVersion", f"{why} needs version {least}, the document says {version}"
