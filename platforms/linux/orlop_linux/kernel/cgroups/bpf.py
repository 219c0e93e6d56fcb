"""The few operations of bpf(2) that device rules need on cgroup v2."""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from typing import TYPE_CHECKING

from orlop_hookspecs.errors import PlatformError

if TYPE_CHECKING:
    from collections.abc import Mapping

_SYSCALL: Mapping[str, int] = {
    "x86_64": 321,
    "i686": 357,
    "aarch64": 280,
    "riscv64": 280,
    "loongarch64": 280,
    "armv7l": 386,
    "ppc64le": 361,
    "s390x": 351,
}
_PROG_LOAD, _PROG_ATTACH, _PROG_DETACH, _PROG_GET_FD_BY_ID, _PROG_QUERY = 5, 8, 9, 13, 16
_TYPE_CGROUP_DEVICE, _ATTACH_CGROUP_DEVICE = 15, 6
_ALLOW_MULTI, _REPLACE = 2, 4
# union bpf_attr grows with the kernel, and some kernels write beyond the size that they are told.
_ATTR_SIZE = 128
_ROOM = 512
_MOST = 64  # programs on one cgroup: the kernel's own limit


def attach_device_program(directory: int, instructions: bytes) -> None:
    """Load *instructions* and attach them to the cgroup *directory*, replacing its device programs.

    Raises:
        OSError: The verifier or the kernel refused.
        PlatformError: The number of bpf(2) is not known for this machine.
    """
    old = _attached(directory)
    new = _load(instructions)
    try:
        if len(old) == 1:
            fd = _bpf(_PROG_GET_FD_BY_ID, struct.pack("=I", old[0]))
            try:
                _attach(directory, new, _ALLOW_MULTI | _REPLACE, fd)
            finally:
                os.close(fd)
            return
        _attach(directory, new, _ALLOW_MULTI, 0)
        for program in old:
            fd = _bpf(_PROG_GET_FD_BY_ID, struct.pack("=I", program))
            try:
                _bpf(_PROG_DETACH, struct.pack("=III", directory, fd, _ATTACH_CGROUP_DEVICE))
            finally:
                os.close(fd)
    finally:
        os.close(new)


def _load(instructions: bytes) -> int:
    code = ctypes.create_string_buffer(instructions, len(instructions))
    licence = ctypes.create_string_buffer(b"Apache-2.0")
    attr = struct.pack(
        "=IIQQ",
        _TYPE_CGROUP_DEVICE,
        len(instructions) // 8,
        ctypes.addressof(code),
        ctypes.addressof(licence),
    )
    return _bpf(_PROG_LOAD, attr)


def _attach(directory: int, program: int, flags: int, replaced: int) -> None:
    _bpf(_PROG_ATTACH, struct.pack("=IIIII", directory, program, _ATTACH_CGROUP_DEVICE, flags, replaced))


def _attached(directory: int) -> list[int]:
    """Return the identifiers of the device programs that are attached to the cgroup itself."""
    ids = (ctypes.c_uint32 * (_MOST + 64))()
    buffer = ctypes.create_string_buffer(_ROOM)
    attr = struct.pack("=IIIIQI", directory, _ATTACH_CGROUP_DEVICE, 0, 0, ctypes.addressof(ids), _MOST)
    ctypes.memmove(buffer, attr, len(attr))
    _call(_PROG_QUERY, buffer)
    (count,) = struct.unpack_from("=I", buffer, 24)
    return list(ids[: min(count, _MOST)])


def _bpf(command: int, attr: bytes) -> int:
    buffer = ctypes.create_string_buffer(_ROOM)
    ctypes.memmove(buffer, attr, len(attr))
    return _call(command, buffer)


def _call(command: int, buffer: ctypes.Array[ctypes.c_char]) -> int:
    machine = os.uname().machine
    number = _SYSCALL.get(machine)
    if number is None:
        raise PlatformError(f"bpf(2) is not known for machine {machine}", errno=errno.ENOSYS)
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    libc.syscall.argtypes = (ctypes.c_long, ctypes.c_int, ctypes.c_void_p, ctypes.c_uint)
    result = int(libc.syscall(number, command, ctypes.addressof(buffer), _ATTR_SIZE))
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result
