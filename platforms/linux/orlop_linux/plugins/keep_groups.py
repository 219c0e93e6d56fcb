"""Plugin ``keep-groups``: a process that keeps the supplementary groups of who started the runtime.

Engines without privileges ask for it by an annotation (crun(1), ``run.oci.keep_original_groups``): a
directory that a user may enter as member of a group is of use in the container then. It is in a composition
only when somebody asks for it, because who writes an annotation gets what the config does not grant.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orlop_hookspecs.hooks import hookimpl
from orlop_hookspecs.hooks.capability import Problem
from orlop_linux.plugins.shared import annotated, annotation, plugin_info, switch_problems, token

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from orlop_hookspecs.documents import Config
    from orlop_hookspecs.hooks.identity import PluginInfo
    from orlop_hookspecs.steps.base import Step

ANNOTATION = "run.oci.keep_original_groups"
POINTER = f"/annotations/{token(ANNOTATION)}"


@hookimpl
def orlop_plugin() -> PluginInfo:
    """Return the plugin's identity."""
    return plugin_info(
        "keep-groups", "supplementary groups of the caller by annotation", requires=("process",)
    )


@hookimpl
def orlop_features() -> Mapping[str, Any]:
    """Name the annotation."""
    return annotation(
        ANNOTATION, "the process keeps the supplementary groups that the runtime was started with"
    )


@hookimpl
def orlop_validate(config: Config) -> Sequence[Problem]:
    """Refuse groups of the config beside those of the caller: setgroups(2) sets all or none."""
    return tuple(_problems(config))


def _problems(config: Config) -> Iterator[Problem]:
    yield from switch_problems(config, ANNOTATION)
    user = config.process and config.process.user
    if annotated(config, ANNOTATION) and user and user.additional_gids:
        yield Problem(
            POINTER,
            "the caller's groups cannot be kept and others added (/process/user/additionalGids)",
            hint="leave out one of the two",
        )


@hookimpl
def orlop_plan(config: Config) -> Sequence[Step]:
    """Plan that the groups stay."""
    if not annotated(config, ANNOTATION) or config.process is None:
        return ()
    from orlop_hookspecs.steps.process import KeepGroups

    return (KeepGroups(because=POINTER),)
