"""What libseccomp knows: architectures, and the numbers of system calls on each of them.

libseccomp is called through its own C interface (seccomp_syscall_resolve_name_arch(3) and others): the Python
package for it runs ldconfig twice when it is imported, which takes longer than a whole ``create``.
"""

from __future__ import annotations

import ctypes

from orlop_linux.kernel.refusal import lacking

UNKNOWN = -1  # __NR_SCMP_ERROR
X32_TOKEN = 0x4000003E
"""libseccomp's own name for x32, which shares the kernel's number of x86_64 (seccomp(2))."""
X86_64 = 0xC000003E  # AUDIT_ARCH_X86_64
FLAGS = {
    "SECCOMP_FILTER_FLAG_TSYNC": 1 << 0,
    "SECCOMP_FILTER_FLAG_LOG": 1 << 1,
    "SECCOMP_FILTER_FLAG_SPEC_ALLOW": 1 << 2,
    "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV": 1 << 5,
}
"""Flags of a filter and their bits (seccomp(2))."""
LITTLE_ENDIAN = 0x40000000  # __AUDIT_ARCH_LE

# Multiplexers and what selects the call in their first argument, as socketcall(2) and ipc(2) take it: an int,
# and for ipc the upper half is a version.
_MULTIPLEXERS = (("socketcall", 100, 0xFFFFFFFF), ("ipc", 200, 0xFFFF))
_PSEUDO = range(-299, -99)
"""libseccomp's numbers for calls that an architecture has only, or also, behind a multiplexer."""
_DIRECT = 600
"""Numbers among which an architecture may have such calls under their own numbers, too."""

_library: ctypes.CDLL | None = None
_tables: dict[int, Table] = {}


def library() -> ctypes.CDLL:
    """Return libseccomp with its functions declared.

    Raises:
        PlatformError: It is not installed.
    """
    global _library  # noqa: PLW0603 - one library in one process
    if _library is None:
        try:
            lib = ctypes.CDLL("libseccomp.so.2")
        except OSError as error:
            raise lacking(
                "libseccomp is not installed", hint="install libseccomp 2.5 or newer (libseccomp.so.2)"
            ) from error
        number, text = ctypes.c_uint32, ctypes.c_char_p
        for name, result, arguments in (
            ("seccomp_arch_native", number, ()),
            ("seccomp_arch_resolve_name", number, (text,)),
            ("seccomp_syscall_resolve_name_arch", ctypes.c_int, (number, text)),
            ("seccomp_syscall_resolve_num_arch", ctypes.c_void_p, (number, ctypes.c_int)),
        ):
            function = getattr(lib, name)
            function.restype = result
            function.argtypes = arguments
        _library = lib
    return _library


def native() -> int:
    """Return the token of the machine's own architecture."""
    return int(library().seccomp_arch_native())


def architecture(name: str) -> int:
    """Return the token of the architecture *name* (``SCMP_ARCH_...``); 0: libseccomp does not have it."""
    return int(library().seccomp_arch_resolve_name(name.removeprefix("SCMP_ARCH_").lower().encode()))


class Table:
    """The system calls of one architecture."""

    __slots__ = ("_direct", "_numbers", "token")

    def __init__(self, token: int) -> None:
        """Begin with nothing looked up."""
        self.token = token
        self._numbers: dict[str, int] = {}
        self._direct: dict[str, int] | None = None

    def number(self, name: str) -> int:
        """Return the number of *name*; negative when the architecture does not have it under one of its own.

        :data:`UNKNOWN` stands for a name that no architecture has.
        """
        found = self._numbers.get(name)
        if found is None:
            text = name.encode("utf-8", "surrogateescape")
            found = int(library().seccomp_syscall_resolve_name_arch(self.token, text))
            if found != UNKNOWN:  # names that exist are few, those that a config may invent are not
                self._numbers[name] = found
        return found

    def direct(self, name: str) -> int:
        """Return the number of its own that a call behind a multiplexer also has; negative: none.

        libseccomp answers with the multiplexed one, so the names of all numbers are asked for.
        """
        if self._direct is None:
            base = max(self.number("socketcall"), 102) - 102  # mips counts from 4000
            self._direct = {}
            for number in range(base, base + _DIRECT):
                found = _name(self.token, number)
                if found is not None:
                    self._direct.setdefault(found, number)
        return self._direct.get(name, UNKNOWN)

    def multiplexed(self, number: int) -> tuple[str, int, int] | None:
        """Return multiplexer, selecting value and its mask for *number*, which :meth:`number` gave."""
        if number in _PSEUDO:
            for name, offset, mask in _MULTIPLEXERS:
                if 0 <= -number - offset < 100:
                    return name, -number - offset, mask
        return None

    @property
    def kernel_token(self) -> int:
        """The architecture as the kernel names it in struct seccomp_data."""
        return X86_64 if self.token == X32_TOKEN else self.token


def table(token: int) -> Table:
    """Return the table of the architecture *token*."""
    found = _tables.get(token)
    if found is None:
        found = _tables[token] = Table(token)
    return found


def _name(token: int, number: int) -> str | None:
    pointer = library().seccomp_syscall_resolve_num_arch(token, number)
    if not pointer:
        return None
    try:
        return ctypes.string_at(pointer).decode()
    finally:
        _free(pointer)


_free = ctypes.CDLL(None).free
_free.restype = None
_free.argtypes = (ctypes.c_void_p,)
