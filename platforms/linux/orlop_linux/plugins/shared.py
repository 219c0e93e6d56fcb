"""What more than one planner needs: identity, paths, namespaces of a config, id ranges, strings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orlop_hookspecs import CONTRACT_VERSION
from orlop_hookspecs.hooks.capability import Handle, Problem
from orlop_hookspecs.hooks.identity import PluginInfo

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from orlop_hookspecs.documents import Config, IDMapping, Namespace, Resources

VERSION = "0.1.0"
"""Version of the built-in plugins: the distribution's."""

PLATFORMS = ("linux", "fake")
"""Platforms whose kernels execute the steps of these planners."""

PATH_MAX = 4095
"""Longest path without its final NUL (limits.h, PATH_MAX)."""

NAME_MAX = 255
"""Longest component of a path (limits.h)."""

ID_MAX = (1 << 32) - 2
"""Largest user or group id: (uid_t)-1 means "leave unchanged" to chown(2) and setresuid(2)."""

MAPPINGS_MAX = 340
"""Most lines of a uid_map or gid_map (user_namespaces(7), since Linux 4.15)."""

ARGUMENT_MAX = 131071
"""Longest argument or environment string without its NUL (execve(2), MAX_ARG_STRLEN)."""


def plugin_info(
    name: str,
    summary: str,
    *,
    requires: tuple[str, ...] = (),
    after: tuple[str, ...] = (),
    before: tuple[str, ...] = (),
) -> PluginInfo:
    """Return the identity of the built-in plugin *name*."""
    return PluginInfo(
        name=name,
        version=VERSION,
        contract=CONTRACT_VERSION,
        summary=summary,
        requires=requires,
        after=after,
        before=before,
        platforms=PLATFORMS,
    )


def containers(*paths: str) -> Iterator[Handle]:
    """Yield a handle for each object or array of *paths*; what is inside is declared on its own."""
    return (Handle(path, exact=True) for path in paths)


def token(text: str) -> str:
    """Return *text* as one reference token of a JSON pointer (RFC 6901)."""
    return text.replace("~", "~0").replace("/", "~1")


DESCRIBED = "io.orlop.annotation."
"""Annotations of the features document that begin so say what an annotation of a config does."""


def annotation(key: str, meaning: str) -> dict[str, object]:
    """Return the features of a plugin that acts on the annotation *key* of a config.

    One that ends in a dot stands for all that begin with it (features.md, Unsafe annotations in config.json).
    """
    return {
        "annotations": {f"{DESCRIBED}{key.rstrip('.')}": meaning},
        "potentiallyUnsafeConfigAnnotations": (key,),
    }


def annotated(config: Config, key: str) -> str | None:
    """Return the value of an annotation of *config*, ``None`` when it has none."""
    return (config.annotations or {}).get(key)


def switch_problems(config: Config, key: str) -> Iterator[Problem]:
    """Yield the value of an annotation that is a switch, if it is not one of those that switch it on.

    Peers look only whether it is there; whoever writes ``0`` or ``false`` does not mean that.
    """
    value = annotated(config, key)
    if value not in {None, "1", "true"}:
        yield Problem(
            f"/annotations/{token(key)}",
            "the value must be 1 or true",
            value,
            "leave the annotation out to switch it off",
        )


def is_absolute(path: str) -> bool:
    """Tell whether *path* starts at the root."""
    return path[:1] == "/"


def clean_path(path: str) -> str:
    """Return *path* as an absolute path without empty, ``.`` and ``..`` components.

    A relative path is taken as relative to ``/``. The cleaning is lexical, as peers do it; whatever symbolic
    links the image has, the kernel's executor resolves the result inside the root only.
    """
    parts: list[str] = []
    for part in path.split("/"):
        if part == "..":
            if parts:
                parts.pop()
        elif part and part != ".":
            parts.append(part)
    return "/" + "/".join(parts)


def path_fault(path: str) -> str:
    """Return why the kernel could never resolve *path*, or an empty string."""
    if not path:
        return "the path is empty"
    if "\0" in path:
        return "the path contains NUL"
    if len(path) > PATH_MAX // 4 and len(path.encode(errors="surrogateescape")) > PATH_MAX:
        return f"the path is longer than {PATH_MAX} bytes"
    for part in path.split("/"):
        if len(part) > NAME_MAX // 4 and len(part.encode(errors="surrogateescape")) > NAME_MAX:
            return f"a component of the path is longer than {NAME_MAX} bytes"
    return ""


def container_path_fault(path: str) -> str:
    """Return why *path* cannot name something below the container's root, or an empty string."""
    fault = path_fault(path)
    if fault:
        return fault
    return "the path is the root itself" if clean_path(path) == "/" else ""


def is_below(path: str, parent: str) -> bool:
    """Tell whether the clean *path* is below the clean *parent*, and not *parent* itself."""
    return path.startswith(parent + "/")


def namespace(config: Config, kind: str) -> Namespace | None:
    """Return the entry of *config* for namespaces of type *kind*, the first one if it stands there twice."""
    if config.linux is None:
        return None
    for entry in config.linux.namespaces or ():
        if entry.type == kind:
            return entry
    return None


def has_new(config: Config, kind: str) -> bool:
    """Tell whether the container gets a new namespace of type *kind*."""
    entry = namespace(config, kind)
    return entry is not None and entry.path is None


HOST_NAMESPACES = ("/proc/1/", "/proc/self/", "/proc/thread-self/")
"""Beginnings of paths below which the host's own namespaces are."""


def resources_of(config: Config) -> Resources | None:
    """Return ``linux.resources`` of *config*."""
    return None if config.linux is None else config.linux.resources


NO_MOUNT_NAMESPACE = "there is no mount namespace to do this in"
NO_MOUNT_NAMESPACE_HINT = "add a mount namespace without a path to linux.namespaces"


def owns_mounts(config: Config) -> bool:
    """Tell whether the container has a mount namespace of its own."""
    return has_new(config, "mount")


def can_mount(config: Config) -> bool:
    """Tell whether the container's mounts can be made.

    A mount namespace that it inherits or joins (config-linux.md, Namespaces) is used as well: the mounts are
    below the root only. From within a user namespace the kernel allows no change of somebody else's mounts
    (mount_namespaces(7)).
    """
    return owns_mounts(config) or namespace(config, "user") is None


def mounts_below_root(config: Config) -> bool:
    """Tell whether the root becomes a mount, with others below or with options of its own."""
    if owns_mounts(config):
        return True
    linux, process = config.linux, config.process
    return can_mount(config) and bool(
        config.mounts
        or (config.root and config.root.readonly)
        or (linux and (linux.masked_paths or linux.readonly_paths or linux.devices))
        or (process and process.terminal)
    )


def mapping_problems(mappings: Sequence[IDMapping], pointer: str) -> Iterator[Problem]:
    """Yield what the kernel would refuse about id *mappings* (user_namespaces(7))."""
    if len(mappings) > MAPPINGS_MAX:
        yield Problem(pointer, f"more than {MAPPINGS_MAX} mappings", len(mappings))
        return
    sane = True
    for index, entry in enumerate(mappings):
        here = f"{pointer}/{index}"
        if entry.size < 1:
            sane = False
            yield Problem(f"{here}/size", "a mapping must have at least one id", entry.size)
            continue
        for name, first in (("containerID", entry.container_id), ("hostID", entry.host_id)):
            if first + entry.size - 1 > ID_MAX:
                sane = False
                yield Problem(f"{here}/{name}", f"the mapping reaches beyond the largest id, {ID_MAX}", first)
    if sane:
        for name, firsts in (
            ("containerID", [(e.container_id, e.size, i) for i, e in enumerate(mappings)]),
            ("hostID", [(e.host_id, e.size, i) for i, e in enumerate(mappings)]),
        ):
            firsts.sort()
            for (first, size, one), (second, _, other) in zip(firsts, firsts[1:], strict=False):  # noqa: RUF007 - an import
                if first + size > second:
                    later, earlier = max(one, other), min(one, other)
                    yield Problem(
                        f"{pointer}/{later}/{name}", f"the mapping overlaps mapping {earlier}", second
                    )


def mapping_triples(mappings: Iterable[IDMapping] | None) -> tuple[tuple[int, int, int], ...]:
    """Return id *mappings* as (container id, host id, size)."""
    return tuple((entry.container_id, entry.host_id, entry.size) for entry in mappings or ())


def is_mapped(number: int, mappings: Iterable[IDMapping]) -> bool:
    """Tell whether the container's id *number* is in one of *mappings*."""
    return any(entry.container_id <= number < entry.container_id + entry.size for entry in mappings)


def string_fault(text: str) -> str:
    """Return why execve(2) could not pass *text*, or an empty string."""
    if "\0" in text:
        return "the string contains NUL"
    if len(text) > ARGUMENT_MAX // 4 and len(text.encode(errors="surrogateescape")) > ARGUMENT_MAX:
        return f"the string is longer than {ARGUMENT_MAX} bytes"
    return ""


def environment_problems(entries: Iterable[str], pointer: str) -> Iterator[Problem]:
    """Yield the *entries* that are not of the form name=value (environ(7))."""
    for index, entry in enumerate(entries):
        here = f"{pointer}/{index}"
        fault = string_fault(entry)
        if fault:
            yield Problem(here, fault, entry)
        elif "=" not in entry:
            yield Problem(here, "an environment entry must be name=value", entry)
        elif entry[0] == "=":
            yield Problem(here, "an environment entry must have a name", entry)


def argument_problems(arguments: Iterable[str], pointer: str) -> Iterator[Problem]:
    """Yield the *arguments* that execve(2) could not pass."""
    for index, argument in enumerate(arguments):
        fault = string_fault(argument)
        if fault:
            yield Problem(f"{pointer}/{index}", fault, argument)
