"""From the edits of documents to one adjustment of a config (SPEC.md, "OCI Edits").

Edits are made in the order in which devices were asked for, those of a document before those of its first
device. A variable, device or mount that the config has already is replaced. Mounts come to stand behind
those that they lie below.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from orlop_hookspecs.documents.base import Document
from orlop_hookspecs.errors import ConfigError
from orlop_hookspecs.hooks.capability import Adjustment

if TYPE_CHECKING:
    from orlop_cdi.registry import Registry
    from orlop_hookspecs.documents import Config
    from orlop_hookspecs.host import HostDevice, HostView

_PROCESS = ("env", "additionalGids")


class Edits:
    """All edits for one container; *config* is what they are made to."""

    def __init__(self, config: Config, view: HostView) -> None:
        """Begin with nothing."""
        self._config = config
        self._view = view
        self._set: dict[str, Any] = {}
        self._env: dict[str, str] = {}
        self._nodes: dict[str, dict[str, Any]] = {}
        self._rules: list[dict[str, Any]] = []
        self._mounts: dict[str, dict[str, Any]] = {}
        self._hooks: dict[str, list[dict[str, Any]]] = {}
        self._groups: list[int] = []
        self._rdt: tuple[str, Mapping[str, Any]] | None = None
        self._interfaces: dict[str, str] = {}

    def add(self, owner: str, edits: Mapping[str, Any]) -> None:
        """Add the *edits* of a document or device, called *owner* in errors.

        Raises:
            ConfigError: They cannot be made.
        """
        if self._config.process is None and any(edits.get(name) for name in _PROCESS):
            raise ConfigError(f"{owner} edits the process, and the config has none", pointer="/process")
        for text in edits.get("env") or ():
            self._env[text.partition("=")[0]] = text
        for node in edits.get("deviceNodes") or ():
            self._add_node(owner, node)
        for mount in edits.get("mounts") or ():
            self._mounts[mount["containerPath"]] = _mount(mount)
        for hook in edits.get("hooks") or ():
            self._hooks.setdefault(hook["hookName"], []).append(_hook(hook))
        for group in edits.get("additionalGids") or ():
            if group and group not in self._groups:
                self._groups.append(group)
        for one in edits.get("netDevices") or ():
            self._add_interface(owner, one)
        self._add_rdt(owner, edits.get("intelRdt"))

    def _add_interface(self, owner: str, one: Mapping[str, str]) -> None:
        host, name = one["hostInterfaceName"], one["name"]
        if self._interfaces.setdefault(host, name) != name:
            raise ConfigError(
                f"{owner} calls network device {host} {name}, another device {self._interfaces[host]}",
                pointer="/linux/netDevices",
            )

    def _add_rdt(self, owner: str, rdt: Mapping[str, Any] | None) -> None:
        if rdt is None:
            return
        if self._rdt is not None and dict(self._rdt[1]) != dict(rdt):
            raise ConfigError(
                f"{self._rdt[0]} and {owner} both want to set the container's class of service",
                pointer="/linux/intelRdt",
                hint="a container has one: ask for one of them",
            )
        self._rdt = (owner, rdt)

    def _add_node(self, owner: str, node: Mapping[str, Any]) -> None:
        path = node["path"]
        made: dict[str, Any] = {"path": path, "type": node.get("type") or ""}
        for name in ("major", "minor", "fileMode", "uid", "gid"):
            if node.get(name) is not None:
                made[name] = node[name]
        lacks = not made["type"] or (made["type"] != "p" and ("major" not in made or "minor" not in made))
        if lacks:
            found = self._look(owner, node.get("hostPath") or path)
            kinds = {"c": "cu", "b": "b", "p": "p"}[found.type]
            if made["type"] and made["type"] not in kinds:
                raise ConfigError(
                    f"{owner}: {path} is a device of type {found.type} here, not {made['type']}",
                    pointer="/linux/devices",
                )
            made["type"] = made["type"] or found.type
            if found.type != "p":
                made.setdefault("major", found.major)
                made.setdefault("minor", found.minor)
            made.setdefault("fileMode", found.mode)
        user = self._config.process.user if self._config.process is not None else None
        if user is not None:  # a program that is not root can use what was given to it
            for name, number in (("uid", user.uid), ("gid", user.gid)):
                if number:
                    made.setdefault(name, number)
        self._nodes[path] = made
        access = node.get("permissions") or "rwm"
        if made["type"] != "p" and access != "none":
            kind = "b" if made["type"] == "b" else "c"
            rule = {"allow": True, "type": kind, "access": access}
            self._rules.append(rule | {"major": made["major"], "minor": made["minor"]})

    def _look(self, owner: str, path: str) -> HostDevice:
        try:
            return self._view.device(path)
        except OSError as error:
            raise ConfigError(
                f"{owner} needs device {path}: {(error.strerror or str(error)).lower()}",
                pointer="/linux/devices",
                hint="the vendor's driver makes it",
            ) from error

    def adjustment(self) -> Adjustment:
        """Return all that has been added, as one proposal."""
        append: dict[str, list[Any]] = {}
        process, linux = self._config.process, self._config.linux
        env = [text.partition("=")[0] for text in (process and process.env) or ()]
        self._place("/process/env", env, self._env, append)
        devices = [device.path for device in (linux and linux.devices) or ()]
        self._place("/linux/devices", devices, self._nodes, append)
        self._place_mounts(append)
        if self._rules:
            append["/linux/resources/devices"] = self._rules
        for name, hooks in self._hooks.items():
            append[f"/hooks/{name}"] = hooks
        known = set((process and process.user and process.user.additional_gids) or ())
        groups = [group for group in self._groups if group not in known]
        if groups:
            append["/process/user/additionalGids"] = groups
        if self._rdt is not None:
            self._set["/linux/intelRdt"] = {k: v for k, v in self._rdt[1].items() if v not in (None, "", [])}
        for host, name in self._interfaces.items():
            place = host.replace("~", "~0").replace("/", "~1")
            self._set[f"/linux/netDevices/{place}"] = {"name": name}
        return Adjustment(set=self._set, append=append)

    def _place(
        self, pointer: str, known: list[str], wanted: Mapping[str, Any], append: dict[str, list[Any]]
    ) -> None:
        """Replace what *known* has already, and append the rest of *wanted*."""
        for name, value in wanted.items():
            if name in known:
                self._set[f"{pointer}/{known.index(name)}"] = value
            else:
                append.setdefault(pointer, []).append(value)

    def _place_mounts(self, append: dict[str, list[Any]]) -> None:
        mounts = [_clean(mount.destination) for mount in self._config.mounts or ()]
        wanted = {_clean(path): mount for path, mount in self._mounts.items()}
        ordered = dict(sorted(wanted.items(), key=lambda item: _depth(item[0])))
        if any(path not in mounts and _is_above(path, mounts) for path in ordered):
            # One that is appended would hide mounts of the config below it: all find their place anew.
            kept = [_data(one) for one in self._config.mounts or () if _clean(one.destination) not in ordered]
            every = [*kept, *ordered.values()]
            self._set["/mounts"] = sorted(every, key=lambda one: _depth(_clean(one["destination"])))
            return
        self._place("/mounts", mounts, ordered, append)


def _mount(mount: Mapping[str, Any]) -> dict[str, Any]:
    made = {"destination": mount["containerPath"], "source": mount["hostPath"]}
    if mount.get("type"):
        made["type"] = mount["type"]
    if mount.get("options"):
        made["options"] = list(mount["options"])
    return made


def _hook(hook: Mapping[str, Any]) -> dict[str, Any]:
    return {name: hook[name] for name in ("path", "args", "env", "timeout") if hook.get(name)}


def _clean(path: str) -> str:
    return "/" + "/".join(part for part in path.split("/") if part not in {"", "."})


def _data(value: Any) -> Any:  # noqa: ANN401 - a part of a document, or of JSON data
    """Return a part of a config as JSON data."""
    if isinstance(value, Document):
        return {name: _data(item) for name, item in value.properties()}
    return [_data(item) for item in value] if isinstance(value, tuple) else value


def _depth(path: str) -> int:
    return 0 if path == "/" else path.count("/")


def _is_above(path: str, others: Iterable[str]) -> bool:
    below = path.rstrip("/") + "/"
    return any(other.startswith(below) for other in others)


def adjust(config: Config, names: Iterable[str], registry: Registry, view: HostView) -> Adjustment:
    """Return what the devices *names* change of *config*.

    Raises:
        LookupError: There is no such device.
        ConfigError: An edit cannot be made.
    """
    edits = Edits(config, view)
    for owner, source in registry.edits(names):
        edits.add(owner, source.edits)
    return edits.adjustment()
