"""Plugin ``user-mappings``: ``linux.uidMappings`` and ``linux.gidMappings`` (config-linux.md)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orlop_hookspecs.hooks import hookimpl
from orlop_hookspecs.hooks.capability import Handle, Problem
from orlop_hookspecs.steps.namespaces import SetIdMappings
from orlop_linux.plugins.shared import is_mapped, mapping_problems, mapping_triples, namespace, plugin_info

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from orlop_hookspecs.documents import Config, IDMapping
    from orlop_hookspecs.hooks.identity import PluginInfo
    from orlop_hookspecs.steps.base import Step


@hookimpl
def orlop_plugin() -> PluginInfo:
    """Return the plugin's identity."""
    return plugin_info(
        "user-mappings", "user and group id mappings of a new user namespace", after=("namespaces",)
    )


@hookimpl
def orlop_handles() -> Sequence[Handle]:
    """Return both mappings."""
    return (Handle("linux.uidMappings"), Handle("linux.gidMappings"))


@hookimpl
def orlop_validate(config: Config) -> Sequence[Problem]:
    """Refuse mappings without a user namespace, a new one without mappings, and wrong mappings.

    Engines that share the user namespace of a container repeat its mappings beside the path; whether the
    namespace has them is found out when it is joined.
    """
    return tuple(_problems(config))


def _problems(config: Config) -> Iterator[Problem]:
    linux = config.linux
    if linux is None:
        return
    user = namespace(config, "user")
    for pointer, mappings in (
        ("/linux/uidMappings", linux.uid_mappings),
        ("/linux/gidMappings", linux.gid_mappings),
    ):
        if mappings and user is None:
            yield Problem(
                pointer,
                "mappings need a user namespace",
                hint="add a user namespace without a path to linux.namespaces",
            )
        elif not mappings and user is not None and user.path is None:
            yield Problem(pointer, "a new user namespace needs mappings")
        yield from mapping_problems(mappings or (), pointer)
    if user is not None and linux.uid_mappings and linux.gid_mappings:
        yield from _unmapped(config, linux.uid_mappings, linux.gid_mappings)


def _unmapped(config: Config, uids: Sequence[IDMapping], gids: Sequence[IDMapping]) -> Iterator[Problem]:
    """Yield the ids of the process that no mapping reaches: setuid(2) and setgroups(2) would refuse them."""
    if config.process is None:
        return
    user = config.process.user
    wanted: list[tuple[str, int, Sequence[IDMapping]]] = [
        ("/process/user/uid", (user and user.uid) or 0, uids),
        ("/process/user/gid", (user and user.gid) or 0, gids),
    ]
    if user is not None:
        wanted += [
            (f"/process/user/additionalGids/{index}", gid, gids)
            for index, gid in enumerate(user.additional_gids or ())
        ]
    for pointer, number, mappings in wanted:
        if not is_mapped(number, mappings):
            yield Problem(pointer, "the id is not mapped into the container's user namespace", number)


@hookimpl
def orlop_plan(config: Config) -> Sequence[Step]:
    """Plan the mappings."""
    linux = config.linux
    if linux is None or not (linux.uid_mappings or linux.gid_mappings):
        return ()
    return (
        SetIdMappings(
            because="/linux/uidMappings" if linux.uid_mappings else "/linux/gidMappings",
            uid=mapping_triples(linux.uid_mappings),
            gid=mapping_triples(linux.gid_mappings),
        ),
    )
