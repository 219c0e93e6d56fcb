"""Plugin ``hooks-d``: hooks that an administrator and packages configure in files (oci-hooks(5), 1.0.0).

It is in a composition only when somebody asks for it: an engine that reads these directories itself would run
each hook twice. Files are looked for in two directories, the administrator's own before those of packages; a
file of one name takes the place of another. They are taken in the order of their names in lower case.

Every pattern of every file is looked at, whatever the container: one that is refused is refused at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orlop_hookspecs.errors import UNSET, ConfigError
from orlop_hookspecs.hooks import hookimpl
from orlop_hookspecs.hooks.capability import Adjustment
from orlop_linux.plugins.shared import plugin_info

if TYPE_CHECKING:
    import re
    from collections.abc import Callable, Mapping, Sequence

    from orlop_hookspecs.documents import Config
    from orlop_hookspecs.hooks.identity import PluginInfo
    from orlop_hookspecs.host import HostView
    from orlop_hookspecs.launch import PlanContext

DIRECTORIES = ("/etc/containers/oci/hooks.d", "/usr/share/containers/oci/hooks.d")
"""In the order of precedence."""

VERSION = "1.0.0"
STAGES = ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")
_FIELDS = {"version", "hook", "when", "stages"}
_HOOK = {"path": str, "args": list, "env": list, "timeout": int}
_WHEN = {"always": bool, "annotations": dict, "commands": list, "hasBindMounts": bool}
_LONGEST = 4096
"""Characters of an annotation that a pattern is tried with: what users write is not to keep a create busy."""


@hookimpl
def orlop_plugin() -> PluginInfo:
    """Return the plugin's identity."""
    return plugin_info("hooks-d", "hooks that files in hooks.d configure", requires=("hooks",))


@hookimpl
def orlop_adjust(config: Config, context: PlanContext) -> Adjustment | None:
    """Append the hooks whose conditions the config meets."""
    append: dict[str, list[dict[str, Any]]] = {}
    for path in _files(context.host):
        definition = _read(context.host, path)
        if _matches(definition["when"], config, path):
            for stage in dict.fromkeys(definition["stages"]):
                append.setdefault(f"/hooks/{stage}", []).append(definition["hook"])
    return Adjustment(append=append) if append else None


def _files(view: HostView) -> list[str]:
    """Return the paths of the definitions that count, in their order."""
    found: dict[str, str] = {}
    for directory in DIRECTORIES:
        for name in view.names(directory):
            if name.endswith(".json"):
                found.setdefault(name, f"{directory}/{name}")
    return [found[name] for name in sorted(found, key=lambda name: (name.lower(), name))]


def _read(view: HostView, path: str) -> dict[str, Any]:
    """Return the definition in the file at *path*.

    Raises:
        ConfigError: It is none. Containers that may need the hook are refused, rather than run without it.
    """
    import json

    try:
        data = json.loads(view.read(path))
    except (OSError, ValueError, RecursionError) as error:
        raise _refuse(path, f"cannot be read: {error}") from None
    if not isinstance(data, dict) or data.get("version") != VERSION:
        version = data.get("version") if isinstance(data, dict) else None
        raise _refuse(path, f"expected version {VERSION}", version)
    for name in data.keys() - _FIELDS:
        raise _refuse(path, f"unknown property {name}")
    for name, known in (("hook", _HOOK), ("when", _WHEN)):
        _check_object(path, name, data.get(name), known)
    if not data["hook"].get("path", "").startswith("/"):
        raise _refuse(path, "hook.path is not an absolute path", data["hook"].get("path"))
    stages = data.get("stages")
    if not isinstance(stages, list) or not stages or not set(map(str, stages)) <= set(STAGES):
        raise _refuse(path, f"stages is not an array of {', '.join(STAGES)}", stages)
    if not data["when"]:
        raise _refuse(path, "when has no condition")
    pairs = data["when"].get("annotations", {})
    for pattern in (*data["when"].get("commands", ()), *pairs, *pairs.values()):
        _compiled(pattern, path)
    return data


def _check_object(path: str, name: str, value: object, known: Mapping[str, type]) -> None:
    if not isinstance(value, dict):
        raise _refuse(path, f"{name} is not an object", value)
    for key, item in value.items():
        kind = known.get(key)
        if kind is None:
            raise _refuse(path, f"unknown property {name}.{key}")
        words = list(item) + list(item.values()) if isinstance(item, dict) else item
        strings = not isinstance(words, list) or all(isinstance(word, str) for word in words)
        if type(item) is not kind or not strings:
            raise _refuse(path, f"{name}.{key} is of a wrong type", item)
    if isinstance(value.get("timeout"), int) and value["timeout"] <= 0:
        raise _refuse(path, f"{name}.timeout is not a positive number", value["timeout"])


def _matches(when: Mapping[str, Any], config: Config, path: str) -> bool:
    """Tell whether *config* meets every condition in *when*; one of false asks for nothing and is not met."""
    process = config.process
    conditions: dict[str, Callable[[], bool]] = {
        "always": lambda: True,
        "hasBindMounts": lambda: _has_bind_mounts(config),
        "annotations": lambda: _annotated(when["annotations"], config.annotations or {}, path),
        "commands": lambda: _one_matches(when["commands"], ((process and process.args) or ("",))[0], path),
    }
    return all(when[name] is not False and conditions[name]() for name in when)


def _has_bind_mounts(config: Config) -> bool:
    return any(
        mount.type == "bind" or not {"bind", "rbind"}.isdisjoint(mount.options or ())
        for mount in config.mounts or ()
    )


def _annotated(patterns: Mapping[str, str], annotations: Mapping[str, str], path: str) -> bool:
    """Tell whether each pair of patterns is matched by some annotation."""
    return all(
        any(
            _one_matches((key,), name, path) and _one_matches((value,), text, path)
            for name, text in annotations.items()
        )
        for key, value in patterns.items()
    )


def _one_matches(patterns: Sequence[str], text: str, path: str) -> bool:
    """Tell whether a pattern is found in *text*; patterns are POSIX extended regular expressions."""
    for pattern in patterns:
        if len(text) > _LONGEST:
            raise _refuse(
                path, f"a text of more than {_LONGEST} characters is not tried with a pattern", pattern
            )
        if _compiled(pattern, path).search(text):
            return True
    return False


def _compiled(pattern: str, path: str) -> re.Pattern[str]:
    from orlop_linux.plugins.posix_patterns import PatternError, translate

    try:
        return translate(pattern)
    except PatternError as error:
        raise _refuse(path, f"not a POSIX extended regular expression: {error}", pattern) from None


def _refuse(path: str, message: str, value: object = None) -> ConfigError:
    return ConfigError(
        f"{path}: {message}",
        pointer="/hooks",
        value=UNSET if value is None else value,
        hint="correct or remove the file, or leave out plugin hooks-d",
    )
