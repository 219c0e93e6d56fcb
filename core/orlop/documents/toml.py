"""Read a TOML file that a person wrote: settings, a manifest."""

from __future__ import annotations

from typing import Any

from orlop.documents.reader import read_file
from orlop_hookspecs.errors import DocumentError, UsageError

SIZE_LIMIT = 1 << 20
"""Bytes of such a file."""


def read_toml(path: str, what: str) -> dict[str, Any]:
    """Return the content of the regular file *path*.

    Args:
        path: The file.
        what: What it holds, for errors.

    Raises:
        UsageError: It cannot be read, is too large, or is no TOML.
    """
    import tomllib

    try:
        source = read_file(path)
    except DocumentError as error:
        raise UsageError(f"cannot read the {what}: {error.message}", path=path) from None
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise UsageError(f"cannot read the {what}: {reason}", path=path, errno=error.errno) from None
    if len(source) > SIZE_LIMIT:
        raise UsageError(
            f"cannot read the {what}: the file is too large", path=path, hint=f"at most {SIZE_LIMIT} bytes"
        )
    try:
        return tomllib.loads(source.decode())
    except ValueError as error:
        raise UsageError(f"malformed {what}: {error}", path=path) from None
    except RecursionError:
        raise UsageError(f"malformed {what}: nested too deeply", path=path) from None
