"""The settings of a composition: a mapping, or a TOML file with the same names."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, Any

from orlop import entrypoints
from orlop_hookspecs.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

_KNOWN = frozenset(("platform", "profile", "plugins", "block", "root", "kernel", "deadline"))
_TEXTS = frozenset(("platform", "profile", "root"))


def read_system_settings(path: str) -> Mapping[str, Any]:
    """Return the settings at *path*; none if nothing is there.

    What they say decides which code runs, and with whose containers: nobody but the superuser and the caller
    may be able to change them.

    Raises:
        UsageError: As :func:`read_settings`, or others can change the file.
    """
    try:
        status = os.stat(path)
    except FileNotFoundError:
        return {}
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise UsageError(f"cannot read the settings: {reason}", path=path, errno=error.errno) from None
    if status.st_uid not in {0, os.geteuid()} or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise UsageError(
            "others can change the settings", path=path, hint="let only the superuser write to the file"
        )
    return read_settings(path)


def read_settings(config: Mapping[str, Any] | str | os.PathLike[str] | None) -> Mapping[str, Any]:
    """Return the settings in *config*, verified.

    Raises:
        UsageError: They cannot be read, a name is unknown, or a value has the wrong type.
    """
    if config is None:
        return {}
    if isinstance(config, str | os.PathLike):
        from orlop.documents.toml import read_toml

        path = os.fspath(config)
        if path == os.devnull:
            return {}
        settings = read_toml(path, "settings")
    else:
        path, settings = "", dict(config)
    for key, value in settings.items():
        _verify(key, value, path)
    return settings


def _verify(key: str, value: object, path: str) -> None:
    """Refuse a setting that is unknown or of a wrong type; with an empty *path* it is not from a file."""
    if key not in _KNOWN:
        raise UsageError(f"unknown setting: {key}", path=path)
    if key in _TEXTS and path and not isinstance(value, str):
        raise UsageError(f"expected a text for {key}", path=path, value=value)
    if key in {"plugins", "block"}:
        sound = isinstance(value, list | tuple) and (not path or all(isinstance(one, str) for one in value))
        if not sound:
            raise UsageError(f"expected a list of names for {key}", path=path, value=value)
    if key == "deadline" and (not isinstance(value, int | float) or isinstance(value, bool) or value <= 0):
        raise UsageError("expected seconds for deadline", path=path, value=value)
    if key == "kernel" and not all(isinstance(name, str) for name in _require_table(value, path)):
        raise UsageError("expected names as keys of kernel", path=path)


def _require_table(value: object, path: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise UsageError("expected a table for kernel", path=path, value=value)
    return value


def chosen(settings: Mapping[str, Any]) -> list[object] | None:
    """Return the plugins that *settings* choose, by a profile, by names, or by both; ``None``: all.

    Raises:
        UsageError: There is no such profile.
    """
    plugins = settings.get("plugins")
    if "profile" not in settings:
        return None if plugins is None else list(plugins)
    if entrypoints.frozen is not None:
        raise UsageError(
            "a composed runtime knows no profiles",
            value=settings["profile"],
            hint="name plugins of those inside, or compose it from that profile",
        )
    from orlop.composing.profiles import plugins_of

    return [*plugins_of(settings["profile"]), *(plugins or ())]
