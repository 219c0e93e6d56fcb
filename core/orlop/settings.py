"""The settings of a composition: a mapping, or a TOML file with the same names."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from orlop_hookspecs.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

_KNOWN = frozenset(("platform", "plugins", "block", "root", "kernel", "deadline"))


def read_settings(config: Mapping[str, Any] | str | os.PathLike[str] | None) -> Mapping[str, Any]:
    """Return the settings in *config*, verified.

    Raises:
        UsageError: They cannot be read, a name is unknown, or a value has the wrong type.
    """
    if config is None:
        return {}
    if isinstance(config, str | os.PathLike):
        import tomllib

        path = os.fspath(config)
        try:
            with open(path, "rb") as file:
                settings: Mapping[str, Any] = tomllib.load(file)
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise UsageError(f"cannot read the settings: {reason}", path=path, errno=error.errno) from None
        except ValueError as error:
            raise UsageError(f"malformed settings: {error}", path=path) from None
    else:
        path, settings = "", config
    for key, value in settings.items():
        if key not in _KNOWN:
            raise UsageError(f"unknown setting: {key}", path=path)
        if key in {"plugins", "block"} and not isinstance(value, list | tuple):
            raise UsageError(f"expected a list of names for {key}", path=path, value=value)
        if key == "deadline" and (
            not isinstance(value, int | float) or isinstance(value, bool) or value <= 0
        ):
            raise UsageError("expected seconds for deadline", path=path, value=value)
        if key == "kernel" and not all(isinstance(name, str) for name in _require_table(value, path)):
            raise UsageError("expected names as keys of kernel", path=path)
    return settings


def _require_table(value: object, path: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise UsageError("expected a table for kernel", path=path, value=value)
    return value
