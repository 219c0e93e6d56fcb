"""Which devices a container may use: rules for the v1 controller, a BPF program for cgroup v2.

Both say the same: for each of read, write and mknod, the *last* rule that names the device and that access
decides.
"""

from __future__ import annotations

import errno
import sys
from typing import TYPE_CHECKING

from orlop_linux.kernel.refusal import refuse, refuse_os
from orlop_linux.live.cgroups import read_file, write_file

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orlop_hookspecs.steps import DeviceRule, SetDeviceRules

_BITS = {"m": 1, "r": 2, "w": 4}  # BPF_DEVCG_ACC_*
_ALL = 7
_OPEN = 6
"""What one open(2) asks for together; mknod is asked for alone."""
_TYPES = {"b": 1, "c": 2}  # BPF_DEVCG_DEV_*
_Place = tuple[str, int | None, int | None]


def apply_v1(directory: int, where: str, step: SetDeviceRules, plugin: str, *, live: bool = False) -> None:
    """Write the rules to an open v1 cgroup (kernel doc, cgroup-v1/devices.rst).

    With *live* only what differs is written: a program that runs keeps the devices that it may keep.
    """
    try:
        lines = normalize(step.rules)
    except ValueError as error:
        raise refuse(
            step,
            plugin,
            str(error),
            number=errno.EOPNOTSUPP,
            hint="cgroup v1 keeps a set of exceptions, not an ordered list",
        ) from None
    if live:
        lines = changes(read_file(directory, "devices.list"), lines)
    for allow, text in lines:
        name = "devices.allow" if allow else "devices.deny"
        try:
            write_file(directory, name, text)
        except OSError as error:
            hint = "the parent cgroup does not allow the device" if error.errno == errno.EPERM else ""
            raise refuse_os(
                step, plugin, f"cannot write {text!r} to {name}", error, path=where, hint=hint
            ) from error


def changes(present: str, wanted: Sequence[tuple[bool, str]]) -> list[tuple[bool, str]]:
    """Return what turns *present*, the content of devices.list, into *wanted*.

    Where everything is allowed, or shall be, there is no list to compare with, and all is written.
    """
    there = dict(line.rpartition(" ")[::2] for line in present.splitlines())
    if "a *:*" in there or not wanted or wanted[0] != (False, "a"):
        return list(wanted)
    lines = [(text.rpartition(" ")[0], text.rpartition(" ")[2]) for _, text in wanted[1:]]
    kept = dict(lines)
    found = []
    for place, access in there.items():
        surplus = "".join(letter for letter in access if letter not in kept.get(place, ""))
        if surplus:
            found.append((False, f"{place} {surplus}"))
    for place, access in lines:
        missing = "".join(letter for letter in access if letter not in there.get(place, ""))
        if missing:
            found.append((True, f"{place} {missing}"))
    return found


def normalize(rules: Sequence[DeviceRule]) -> list[tuple[bool, str]]:
    """Return what to write to a v1 cgroup, as (allow, line), so that the last rule wins there, too.

    The controller keeps a default and a set of exceptions; taking back a part of an exception is ignored
    without a word. So the set is computed here and written once.

    Raises:
        ValueError: A rule takes back a part of an earlier, wider one: no set of exceptions says that.
    """
    default: bool | None = None
    lines: list[tuple[bool, str]] = []
    exceptions: dict[_Place, int] = {}
    for allow, kind, major, minor, access in rules:
        bits = _bits(access)
        if kind == "a" and major is None and minor is None and bits == _ALL:
            default = allow
            lines = [(allow, "a")]
            exceptions.clear()
            continue
        for one in ("b", "c") if kind == "a" else (kind,):
            place = (one, major, minor)
            if default is None:
                # The default is the parent's and unknown here.
                lines.append((allow, _line(place, bits)))
            elif allow == default:
                _take_back(exceptions, place, bits)
            else:
                _add(exceptions, place, bits)
    return lines + [(not default, _line(place, bits)) for place, bits in exceptions.items() if bits]


def _bits(access: str) -> int:
    bits = 0
    for letter in access:
        bits |= _BITS[letter]
    return bits


def _add(exceptions: dict[_Place, int], place: _Place, bits: int) -> None:
    bits |= exceptions.get(place, 0)
    for other, known in exceptions.items():
        # The kernel lets one exception answer for all accesses of an open: a narrower one that says how the
        # device may be opened needs the wider one's, too.
        if _covers(other, place) and bits & _OPEN:
            bits |= known & _OPEN
        elif _covers(place, other) and known & _OPEN:
            exceptions[other] |= bits & _OPEN
    exceptions[place] = bits


def _take_back(exceptions: dict[_Place, int], place: _Place, bits: int) -> None:
    for other, known in exceptions.items():
        if not known & bits:
            continue
        if _covers(place, other):
            exceptions[other] &= ~bits
        elif _meets(place, other):
            earlier = _line(other, known)
            msg = f"rule {_line(place, bits)!r} changes a part of the earlier rule {earlier!r}"
            raise ValueError(msg)


def _covers(wide: _Place, narrow: _Place) -> bool:
    return wide[0] == narrow[0] and all(
        w is None or w == n for w, n in zip(wide[1:], narrow[1:], strict=True)
    )


def _meets(one: _Place, other: _Place) -> bool:
    return one[0] == other[0] and all(
        a is None or b is None or a == b for a, b in zip(one[1:], other[1:], strict=True)
    )


def _line(place: _Place, bits: int) -> str:
    kind, major, minor = place
    access = "".join(letter for letter in "rwm" if bits & _BITS[letter])
    return f"{kind} {'*' if major is None else major}:{'*' if minor is None else minor} {access}"


# --- cgroup v2: BPF_PROG_TYPE_CGROUP_DEVICE
# ------------------------------------------------------------------------ Classes and operations of eBPF
# (kernel doc, bpf/standardization/instruction-set.rst).
_LDX_W = 0x61
_ALU_AND_K, _ALU_RSH_K, _ALU_MOV_X, _ALU_MOV_K = 0x54, 0x74, 0xBC, 0xB4
_JMP32_JNE_K, _JMP32_JEQ_K, _EXIT = 0x56, 0x16, 0x95
_R0, _CTX, _TYPE, _LEFT, _MAJOR, _MINOR = 0, 1, 2, 3, 4, 5
_U32 = 0xFFFFFFFF


def _insn(code: int, dst: int, src: int = 0, offset: int = 0, imm: int = 0) -> bytes:
    order = sys.byteorder
    registers = src << 4 | dst if order == "little" else dst << 4 | src
    return bytes((code, registers)) + (offset & 0xFFFF).to_bytes(2, order) + (imm & _U32).to_bytes(4, order)


def _leave(answer: int) -> list[bytes]:
    return [_insn(_ALU_MOV_K, _R0, imm=answer), _insn(_EXIT, 0)]


def compile_v2(rules: Sequence[DeviceRule]) -> bytes:
    """Return the BPF program that answers for *rules*.

    It reads struct bpf_cgroup_dev_ctx (type and access, major, minor) and goes through the rules from the
    last to the first. ``_LEFT`` holds the accesses that no rule has decided yet: a rule that denies one of
    them ends it, and so does a rule that allows the last of them. What no rule decides is allowed, as without
    a program.
    """
    code = [
        _insn(_LDX_W, _TYPE, _CTX, 0),
        _insn(_ALU_MOV_X, _LEFT, _TYPE),
        _insn(_ALU_AND_K, _TYPE, imm=0xFFFF),
        _insn(_ALU_RSH_K, _LEFT, imm=16),
        _insn(_LDX_W, _MAJOR, _CTX, 4),
        _insn(_LDX_W, _MINOR, _CTX, 8),
    ]
    for allow, kind, major, minor, access in reversed(rules):
        if any(number is not None and not 0 <= number <= _U32 for number in (major, minor)):
            continue  # no device has such a number
        bits = _bits(access)
        tests = [(_TYPE, _TYPES[kind])] if kind != "a" else []
        tests += [
            (register, number)
            for register, number in ((_MAJOR, major), (_MINOR, minor))
            if number is not None
        ]
        body = _decide(allow=allow, bits=bits)
        for place, (register, number) in enumerate(tests):
            code.append(_insn(_JMP32_JNE_K, register, offset=len(tests) - place - 1 + len(body), imm=number))
        code += body
        if not tests and bits == _ALL:
            return b"".join(code)  # the verifier refuses code that cannot be reached
    return b"".join(code + _leave(1))


def _decide(*, allow: bool, bits: int) -> list[bytes]:
    """Return the code for a rule that matches; it falls through when something is left to decide."""
    if bits == _ALL:
        return _leave(int(allow))
    if allow:
        return [_insn(_ALU_AND_K, _LEFT, imm=~bits), _insn(_JMP32_JNE_K, _LEFT, offset=2, imm=0), *_leave(1)]
    return [
        _insn(_ALU_MOV_X, _R0, _LEFT),
        _insn(_ALU_AND_K, _R0, imm=bits),
        _insn(_JMP32_JEQ_K, _R0, offset=2, imm=0),
        *_leave(0),
    ]


def apply_v2(directory: int, where: str, step: SetDeviceRules, plugin: str) -> None:
    """Attach the program for the rules to an open v2 cgroup, in place of those that are attached there."""
    from orlop_linux.kernel.cgroups.bpf import attach_device_program

    try:
        attach_device_program(directory, compile_v2(step.rules))
    except OSError as error:
        raise refuse_os(step, plugin, "cannot attach the device rules", error, path=where) from error
