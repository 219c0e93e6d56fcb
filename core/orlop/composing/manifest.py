"""The manifest of a composed runtime: what is to be inside, in which versions."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from orlop.composing.profiles import plugins_of
from orlop.documents.toml import read_toml
from orlop_hookspecs.errors import UsageError
from orlop_hookspecs.frozen import Frozen, frozen_keywords

if TYPE_CHECKING:
    from collections.abc import Mapping

_KINDS: dict[str, tuple[type, str]] = {
    "name": (str, "a name"),
    "platform": (str, "the name of a platform"),
    "profile": (str, "the name of a profile"),
    "interpreter": (str, "the path of a Python interpreter"),
    "modules": (list, "a list of modules"),
    "distributions": (dict, "a table of versions"),
    "plugins": (dict, "a table of versions"),
}
_NAME = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")


@frozen_keywords
class Manifest(Frozen):
    """A manifest, read and verified as far as it can be verified alone."""

    path: str
    """Where it was read."""
    name: str
    """Of the runtime."""
    platform: str
    profile: str
    """Empty when there is none."""
    interpreter: str
    """Absolute path of the interpreter that runs the runtime; empty for the one that composes it."""
    chosen: tuple[str, ...]
    """All plugins that are to be inside, sorted."""
    modules: tuple[str, ...]
    """Further modules: those that are imported by a name that is made when the program runs."""
    plugins: dict[str, str]
    """Pinned versions of plugins."""
    distributions: dict[str, str]
    """Pinned versions of distributions, by their normalized names."""


def normalized(name: str) -> str:
    """Return a distribution's name as names are compared (Python packaging, "Names and normalization")."""
    kept = "".join(letter if letter not in "-_." else " " for letter in name.lower())
    return "-".join(kept.split())


def read_manifest(path: str) -> Manifest:
    """Return the manifest at *path*.

    Raises:
        UsageError: It cannot be read, or something in it is unknown or of a wrong type.
    """
    data = read_toml(path, "manifest")
    for key, value in data.items():
        kind = _KINDS.get(key)
        if kind is None:
            raise UsageError(f"unknown key {key}", path=path, hint=f"known are: {', '.join(_KINDS)}")
        if type(value) is not kind[0]:
            raise UsageError(f"expected {kind[1]} for {key}", path=path, value=value)
    name = data.get("name") or os.path.basename(path).removesuffix(".toml")
    if not name or not _NAME.issuperset(name) or name[0] in "-.":
        raise UsageError("a runtime's name is made of letters, digits and ._-", path=path, value=name)
    interpreter = data.get("interpreter", "")
    if interpreter and not interpreter.startswith("/"):
        raise UsageError("expected an absolute path for interpreter", path=path, value=interpreter)
    plugins = _versions(data, "plugins", path)
    profile = data.get("profile", "")
    platform = data.get("platform", "linux")
    chosen = {*plugins, *(_profile(profile, path) if profile else ())} - {platform}
    if not chosen:
        raise UsageError("no plugin is chosen", path=path, hint="name a profile, or plugins in [plugins]")
    pins = _distributions(data, path)
    return Manifest(
        path=path,
        name=name,
        platform=platform,
        profile=profile,
        interpreter=interpreter,
        chosen=tuple(sorted(chosen)),
        modules=_modules(data, path),
        plugins=plugins,
        distributions=pins,
    )


def _profile(profile: str, path: str) -> list[str]:
    try:
        return plugins_of(profile)
    except UsageError as error:
        raise UsageError(error.message, path=path, value=error.value, hint=error.hint) from None


def _modules(data: Mapping[str, Any], path: str) -> tuple[str, ...]:
    found: list[object] = data.get("modules", [])
    for name in found:
        if type(name) is not str or not all(part.isidentifier() for part in name.split(".")):
            raise UsageError("expected dotted names in modules", path=path, value=name)
    return tuple(map(str, found))


def _distributions(data: Mapping[str, Any], path: str) -> dict[str, str]:
    """Return the pinned distributions by normalized name; two spellings of one name are one too many."""
    found: dict[str, str] = {}
    for name, version in _versions(data, "distributions", path).items():
        if normalized(name) in found:
            raise UsageError("two lines of [distributions] pin the same one", path=path, value=name)
        found[normalized(name)] = version
    return found


def _versions(data: Mapping[str, Any], table: str, path: str) -> dict[str, str]:
    found: dict[str, str] = data.get(table, {})
    for name, version in found.items():
        if type(version) is not str or not version or version != version.strip() or version[0] in "<>=~!*":
            raise UsageError(
                f"expected a version for {name} in [{table}]",
                path=path,
                value=version,
                hint=f'one exact version, such as {name} = "1.0"',
            )
    return dict(found)
