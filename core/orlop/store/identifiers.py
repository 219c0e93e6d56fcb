"""Container identifiers: what may name a container, and therefore a directory."""

from __future__ import annotations

from orlop_hookspecs.errors import InvalidIdError

LENGTH_LIMIT = 1024
"""Longest identifier; a store on disk is limited further by NAME_MAX of its file system (255)."""

_ALLOWED = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_+.-")


def is_identifier(name: str) -> bool:
    """Tell whether *name* can name a container: ASCII letters, digits and ``_+.-``, no leading hyphen."""
    return (
        type(name) is str
        and 0 < len(name) <= LENGTH_LIMIT
        and _ALLOWED.issuperset(name)
        and name not in {".", ".."}
        and name[0] != "-"
    )


def check_identifier(name: str) -> str:
    """Return *name* when it can name a container.

    Raises:
        InvalidIdError: It cannot.
    """
    if not is_identifier(name):
        raise InvalidIdError(
            "invalid container id format",
            value=name,
            hint="letters, digits and _+.- are allowed, but not '.', '..' or a leading hyphen",
        )
    return name
