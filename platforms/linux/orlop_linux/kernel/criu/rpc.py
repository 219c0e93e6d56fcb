"""The messages of CRIU's service, as the kernel's side of a checkpoint speaks them (criu, images/rpc.proto).

Of the encoding of protocol buffers the service uses three kinds of fields: numbers, texts and messages inside
messages. That much is written here; the numbers of the fields are CRIU's and never change.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

DUMP, RESTORE, PRE_DUMP, NOTIFY, FEATURE_CHECK, VERSION = 1, 2, 4, 6, 9, 10
"""Types of requests and of what answers them (criu_req_type)."""

CGROUP_MODES = {"ignore": 0, "none": 1, "props": 2, "soft": 3, "full": 4, "strict": 5}
"""What CRIU does about cgroups (criu_cg_mode)."""

NEW_NETWORK = 0x40000000
"""CLONE_NEWNET of clone(2): a network namespace whose content is not CRIU's."""

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_WIDTHS = {_FIXED64: 8, _FIXED32: 4}
_MESSAGE_LIMIT = 1 << 16

_EXTERNAL_MOUNT = {"key": (1, None), "val": (2, None)}
_INHERITED = {"key": (1, None), "fd": (2, None)}
_CGROUP_ROOT = {"ctrl": (1, None), "path": (2, None)}
_JOINED = {"ns": (1, None), "ns_file": (2, None)}
_PAGE_SERVER = {"address": (1, None), "port": (2, None)}
_FEATURES = {"mem_track": (1, None), "lazy_pages": (2, None)}

_OPTIONS = {
    "images_dir_fd": (1, None),
    "pid": (2, None),
    "leave_running": (3, None),
    "ext_unix_sk": (4, None),
    "tcp_established": (5, None),
    "evasive_devices": (6, None),
    "shell_job": (7, None),
    "file_locks": (8, None),
    "log_level": (9, None),
    "log_file": (10, None),
    "ps": (11, _PAGE_SERVER),
    "notify_scripts": (12, None),
    "root": (13, None),
    "parent_img": (14, None),
    "track_mem": (15, None),
    "auto_dedup": (16, None),
    "work_dir_fd": (17, None),
    "link_remap": (18, None),
    "ext_mnt": (23, _EXTERNAL_MOUNT),
    "manage_cgroups": (24, None),
    "cg_root": (25, _CGROUP_ROOT),
    "rst_sibling": (26, None),
    "inherit_fd": (27, _INHERITED),
    "ext_sharing": (29, None),
    "ext_masters": (30, None),
    "manage_cgroups_mode": (34, None),
    "external": (37, None),
    "empty_ns": (38, None),
    "join_ns": (39, _JOINED),
    "freeze_cgroup": (44, None),
    "tcp_skip_in_flight": (46, None),
    "lazy_pages": (48, None),
    "orphan_pts_master": (50, None),
    "config_file": (51, None),
    "tcp_close": (52, None),
    "lsm_profile": (53, None),
    "lsm_mount_context": (63, None),
}
"""Fields of criu_opts: number, and the fields of what is inside."""

_REQUEST = {
    "type": (1, None),
    "opts": (2, _OPTIONS),
    "notify_success": (3, None),
    "keep_open": (4, None),
    "features": (5, _FEATURES),
}
_RESPONSE = {
    "type": (1, None),
    "success": (2, None),
    "restore": (4, {"pid": (1, None)}),
    "notify": (5, {"script": (1, None), "pid": (2, None)}),
    "cr_errno": (7, None),
    "features": (8, _FEATURES),
    "cr_errmsg": (9, None),
    "version": (10, {"major_number": (1, None), "minor_number": (2, None), "sublevel": (4, None)}),
}


_INVENTORY = {"lsmtype": (6, None)}
_MODULES = {1: "selinux", 2: "apparmor"}


class MalformedError(ValueError):
    """Bytes that are no message."""


def request(kind: int, **fields: Any) -> bytes:  # noqa: ANN401 - numbers, texts and mappings of them
    """Return a criu_req of type *kind*; a list stands for a repeated field, ``None`` for one left out."""
    return _encode({"type": kind, **fields}, _REQUEST)


def response(data: bytes) -> dict[str, Any]:
    """Return the known fields of a criu_resp; texts are bytes made printable.

    Raises:
        MalformedError: It is none.
    """
    found = _decode(data, _RESPONSE)
    if "type" not in found or "success" not in found:
        raise MalformedError("not an answer of criu's service")
    return found


def security_module(inventory: bytes) -> str:
    """Return the security module whose labels are in images, from their inventory_entry; empty for none.

    Raises:
        MalformedError: It is no such message.
    """
    return _MODULES.get(_decode(inventory, _INVENTORY).get("lsmtype", 0), "")


def _encode(values: Mapping[str, Any], table: Mapping[str, Any]) -> bytes:
    parts = []
    for name, value in values.items():
        number, inner = table[name]
        for one in value if isinstance(value, list | tuple) else (value,):
            if one is None:
                continue
            if isinstance(one, int):  # bool is one
                parts.append(_varint(number << 3 | _VARINT) + _varint(one & 0xFFFFFFFFFFFFFFFF))
                continue
            raw = _encode(one, inner) if inner is not None else one.encode(errors="surrogateescape")
            parts.append(_varint(number << 3 | _BYTES) + _varint(len(raw)) + raw)
    return b"".join(parts)


def _varint(value: int) -> bytes:
    made = bytearray()
    while value > 0x7F:
        made.append(value & 0x7F | 0x80)
        value >>= 7
    made.append(value)
    return bytes(made)


def _decode(data: bytes, table: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields in *data* that *table* has; numbers are those of int32, true and false 1 and 0."""
    names = {number: (name, inner) for name, (number, inner) in table.items()}
    found: dict[str, Any] = {}
    for number, value in _fields(data):
        name, inner = names.get(number, ("", None))
        if not name:
            continue
        if isinstance(value, int):
            found[name] = (value & 0xFFFFFFFF) - ((value & 0x80000000) << 1)
        elif inner is not None:
            found[name] = _decode(value, inner)
        else:
            found[name] = value.decode(errors="replace")
    return found


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    if len(data) > _MESSAGE_LIMIT:
        raise MalformedError("a message is too long")
    place = 0
    while place < len(data):
        key, place = _read_varint(data, place)
        kind = key & 7
        if kind == _VARINT:
            value, place = _read_varint(data, place)
            yield key >> 3, value
            continue
        if kind == _BYTES:
            width, place = _read_varint(data, place)
        else:
            width = _WIDTHS.get(kind, -1)
        if width < 0 or place + width > len(data):
            raise MalformedError("a field of a message is cut off")
        if kind == _BYTES:
            yield key >> 3, data[place : place + width]
        place += width


def _read_varint(data: bytes, place: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if place >= len(data):
            break
        byte = data[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, place
    raise MalformedError("a number of a message is cut off")
