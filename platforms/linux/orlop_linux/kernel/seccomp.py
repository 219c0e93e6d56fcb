"""Compile the config's system call filter to BPF with libseccomp; the container process only loads the bytes.

libseccomp is called through its own C interface (seccomp_init(3) and the following): the Python package for
it runs ldconfig twice when it is imported, which takes longer than a whole ``create``.
"""

from __future__ import annotations

import ctypes
import errno
import os
from _thread import allocate_lock
from typing import TYPE_CHECKING, Any

from orlop_hookspecs.errors import shorten
from orlop_linux.kernel.refusal import lacking, refuse, refuse_os

if TYPE_CHECKING:
    from collections.abc import Iterator

    from orlop_hookspecs.steps import LoadSeccomp

_ACTIONS = {
    "SCMP_ACT_KILL": 0x00000000,
    "SCMP_ACT_KILL_THREAD": 0x00000000,
    "SCMP_ACT_KILL_PROCESS": 0x80000000,
    "SCMP_ACT_TRAP": 0x00030000,
    "SCMP_ACT_ERRNO": 0x00050000,
    "SCMP_ACT_TRACE": 0x7FF00000,
    "SCMP_ACT_LOG": 0x7FFC0000,
    "SCMP_ACT_ALLOW": 0x7FFF0000,
}
_WITH_VALUE = frozenset({"SCMP_ACT_ERRNO", "SCMP_ACT_TRACE"})
_FLAGS = {
    "SECCOMP_FILTER_FLAG_TSYNC": 1 << 0,
    "SECCOMP_FILTER_FLAG_LOG": 1 << 1,
    "SECCOMP_FILTER_FLAG_SPEC_ALLOW": 1 << 2,
    "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV": 1 << 5,
}
_OPERATORS = {
    "SCMP_CMP_NE": 1,
    "SCMP_CMP_LT": 2,
    "SCMP_CMP_LE": 3,
    "SCMP_CMP_EQ": 4,
    "SCMP_CMP_GE": 5,
    "SCMP_CMP_GT": 6,
    "SCMP_CMP_MASKED_EQ": 7,
}
_ATTR_NNP = 3
_UNKNOWN = -1  # __NR_SCMP_ERROR
_MOST = 4096  # BPF_MAXINSNS: the kernel takes no longer program
_KEPT = 16
_SHOWN = 20


class Compiled:
    """A filter that is ready to load."""

    __slots__ = ("flags", "program", "warnings")

    def __init__(self, program: bytes, flags: int, warnings: tuple[str, ...]) -> None:
        """Keep the parts.

        Args:
            program: Array of struct sock_filter, eight bytes each.
            flags: SECCOMP_FILTER_FLAG_* bits for seccomp(2).
            warnings: What was left out.
        """
        self.program = program
        self.flags = flags
        self.warnings = warnings


class _Comparison(ctypes.Structure):
    """struct scmp_arg_cmp."""

    _fields_ = (
        ("arg", ctypes.c_uint),
        ("op", ctypes.c_int),
        ("datum_a", ctypes.c_uint64),
        ("datum_b", ctypes.c_uint64),
    )


_lock = allocate_lock()
_library: ctypes.CDLL | None = None
_numbers: dict[str, int] = {}
_cache: dict[str, Compiled] = {}


def compile_filter(step: LoadSeccomp, plugin: str) -> Compiled:
    """Return the filter that *step* asks for; equal filters are compiled once in a process.

    Names that libseccomp does not know on any architecture are left out with a warning: profiles name calls
    that are newer than the host. Several conditions on one argument become one rule each, of which any one
    suffices, as libseccomp takes only one condition for an argument in a rule; conditions on different
    arguments must all hold.

    Raises:
        PlatformError: libseccomp is not installed.
        StepError: libseccomp refused, or the program is too long for the kernel.
    """
    key = repr((step.default_action, step.default_errno, step.architectures, step.flags, step.syscalls))
    with _lock:
        found = _cache.pop(key, None)
        if found is None:
            found = _compile(step, plugin)
        _cache[key] = found  # at the end: the first one is the one that was not used for longest
        while len(_cache) > _KEPT:
            del _cache[next(iter(_cache))]
    return found


def _compile(step: LoadSeccomp, plugin: str) -> Compiled:
    flags = 0
    for name in step.flags:
        if name not in _FLAGS:
            raise refuse(step, plugin, f"unknown seccomp flag {shorten(name)}")
        flags |= _FLAGS[name]
    lib = _load()
    default = _action(step, plugin, step.default_action, step.default_errno)
    context = lib.seccomp_init(default)
    if not context:
        raise refuse(step, plugin, f"libseccomp does not take {step.default_action} as default action")
    try:
        # no_new_privs is the process's own property and set, or not, by its own step.
        _check(step, plugin, "cannot set up the filter", lib.seccomp_attr_set(context, _ATTR_NNP, 0))
        for name in step.architectures:
            token = lib.seccomp_arch_resolve_name(name.removeprefix("SCMP_ARCH_").lower().encode())
            if not token:
                hint = "the installed libseccomp does not have it"
                raise refuse(step, plugin, f"unknown architecture {shorten(name)}", hint=hint)
            added = lib.seccomp_arch_add(context, token)
            if added == -errno.EDOM:
                hint = "a filter has architectures of one byte order, that of the machine"
                raise refuse(step, plugin, f"cannot add {name}: its byte order is another one", hint=hint)
            _check(step, plugin, f"cannot add {name}", added, errno.EEXIST)
        unknown = _add_rules(lib, context, step, plugin, default)
        program = _export(lib, context, step, plugin)
    finally:
        lib.seccomp_release(context)
    warnings: tuple[str, ...] = ()
    if unknown:
        more = f" and {len(unknown) - _SHOWN} more" if len(unknown) > _SHOWN else ""
        names = ", ".join(shorten(name).strip("'") for name in unknown[:_SHOWN])
        warnings = (f"seccomp: system calls that libseccomp does not know are left out: {names}{more}",)
    return Compiled(program, flags, warnings)


def _add_rules(lib: ctypes.CDLL, context: int, step: LoadSeccomp, plugin: str, default: int) -> list[str]:
    unknown: dict[str, None] = {}
    for rule in step.syscalls:
        action = _action(step, plugin, rule["action"], rule.get("errno"))
        if action == default:
            continue  # libseccomp refuses a rule that changes nothing (EACCES)
        conditions = list(_conditions(step, plugin, rule.get("args") or ()))
        for name in rule["names"]:
            number = _resolve(lib, name)
            if number == _UNKNOWN:
                unknown[name] = None
                continue
            for count, array in conditions:
                # EEXIST: the very rule is there already.
                result = lib.seccomp_rule_add_array(context, action, number, count, array)
                _check(step, plugin, f"cannot add the rule for {shorten(name)}", result, errno.EEXIST)
    return list(unknown)


def _conditions(
    step: LoadSeccomp,
    plugin: str,
    args: Any,  # noqa: ANN401 - as it stands in the step
) -> Iterator[tuple[int, Any]]:
    """Yield the argument arrays of the rules that one rule of the config becomes."""
    comparisons = []
    for arg in args:
        if arg["op"] not in _OPERATORS:
            raise refuse(step, plugin, f"unknown operator {shorten(arg['op'])}")
        comparisons.append(
            _Comparison(arg["index"], _OPERATORS[arg["op"]], arg["value"], arg.get("value_two") or 0)
        )
    if len({one.arg for one in comparisons}) < len(comparisons):
        for one in comparisons:
            yield 1, (_Comparison * 1)(one)
    else:
        yield len(comparisons), (_Comparison * len(comparisons))(*comparisons)


def _action(step: LoadSeccomp, plugin: str, name: str, value: int | None) -> int:
    if name not in _ACTIONS:
        raise refuse(step, plugin, f"unknown seccomp action {shorten(name)}")
    if name in _WITH_VALUE:
        return _ACTIONS[name] | ((errno.EPERM if value is None else value) & 0xFFFF)
    return _ACTIONS[name]


def _resolve(lib: ctypes.CDLL, name: str) -> int:
    number = _numbers.get(name)
    if number is None:
        number = int(lib.seccomp_syscall_resolve_name(name.encode("utf-8", "surrogateescape")))
        if number != _UNKNOWN:  # names that exist are few, those that a config may invent are not
            _numbers[name] = number
    return number


def _export(lib: ctypes.CDLL, context: int, step: LoadSeccomp, plugin: str) -> bytes:
    fd = os.memfd_create("filter", os.MFD_CLOEXEC)
    try:
        _check(step, plugin, "cannot compile the filter", lib.seccomp_export_bpf(context, fd))
        size = os.fstat(fd).st_size
        if size > _MOST * 8:
            raise refuse(
                step,
                plugin,
                f"the filter has {size // 8} instructions, the kernel takes {_MOST}",
                number=errno.E2BIG,
            )
        return os.pread(fd, size, 0)
    finally:
        os.close(fd)


def _check(step: LoadSeccomp, plugin: str, act: str, result: int, accepted: int = 0) -> None:
    if result < 0 and -result != accepted:
        raise refuse_os(step, plugin, act, OSError(-result, os.strerror(-result)), hint="libseccomp says so")


def _load() -> ctypes.CDLL:
    global _library  # noqa: PLW0603 - one library in one process
    if _library is None:
        try:
            lib = ctypes.CDLL("libseccomp.so.2")
        except OSError as error:
            raise lacking(
                "libseccomp is not installed", hint="install libseccomp 2.5 or newer (libseccomp.so.2)"
            ) from error
        context, number = ctypes.c_void_p, ctypes.c_uint32
        for name, result, arguments in (
            ("seccomp_init", context, (number,)),
            ("seccomp_release", None, (context,)),
            ("seccomp_attr_set", ctypes.c_int, (context, ctypes.c_int, number)),
            ("seccomp_arch_resolve_name", number, (ctypes.c_char_p,)),
            ("seccomp_arch_add", ctypes.c_int, (context, number)),
            ("seccomp_syscall_resolve_name", ctypes.c_int, (ctypes.c_char_p,)),
            (
                "seccomp_rule_add_array",
                ctypes.c_int,
                (context, number, ctypes.c_int, ctypes.c_uint, ctypes.c_void_p),
            ),
            ("seccomp_export_bpf", ctypes.c_int, (context, ctypes.c_int)),
        ):
            function = getattr(lib, name)
            function.restype = result
            function.argtypes = arguments
        _library = lib
    return _library
