"""System calls by name and number, for those who explain a profile instead of loading it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orlop_hookspecs.calls import CallTable
from orlop_hookspecs.documents.vocabulary import SECCOMP_ARCHITECTURES
from orlop_linux.kernel.seccomp import last_number
from orlop_linux.kernel.seccomp_tables import architecture, native, table

if TYPE_CHECKING:
    from collections.abc import Sequence


def call_table(name: str, names: Sequence[str]) -> CallTable | None:
    """Return what libseccomp knows of *names* on architecture *name* (empty: the machine's own).

    Raises:
        PlatformError: libseccomp is not installed.
    """
    token = architecture(name) if name else native()
    if not token:
        return None
    found = table(token)
    numbers: dict[str, int] = {}
    hidden: dict[str, tuple[str, int, int]] = {}
    for one in names:
        number = found.number(one)
        where = found.multiplexed(number)
        if where is not None:
            hidden[one] = where
            numbers[where[0]] = found.number(where[0])
            number = found.direct(one)
        if number >= 0:
            numbers[one] = number
    return CallTable(name or _name(token), numbers, hidden, last_number(token))


def _name(token: int) -> str:
    return next(one for one in SECCOMP_ARCHITECTURES if architecture(one) == token)
