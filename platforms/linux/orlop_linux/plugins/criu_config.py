"""Plugin ``criu-config``: a file with options for CRIU by annotation (crun(1), ``org.criu.config``).

It is in a composition only when somebody asks for it: such a file may name programs that root then runs.
Without the plugin the administrator's own file counts, and the annotation does nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orlop_hookspecs.hooks import hookimpl
from orlop_hookspecs.hooks.capability import Problem
from orlop_linux.plugins.shared import annotated, annotation, path_fault, plugin_info, token

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from orlop_hookspecs.documents import Config
    from orlop_hookspecs.hooks.identity import PluginInfo
    from orlop_hookspecs.record import Record
    from orlop_hookspecs.steps.base import Step

ANNOTATION = "org.criu.config"
POINTER = f"/annotations/{token(ANNOTATION)}"


@hookimpl
def orlop_plugin() -> PluginInfo:
    """Return the plugin's identity."""
    return plugin_info("criu-config", "a file with options for CRIU by annotation", requires=("checkpoint",))


@hookimpl
def orlop_features() -> Mapping[str, Any]:
    """Name the annotation."""
    return annotation(
        ANNOTATION, "a file with further options for CRIU; an empty text: none, the host's neither"
    )


@hookimpl
def orlop_validate(config: Config) -> Sequence[Problem]:
    """Refuse what names no file; an empty text is one of the values."""
    path = annotated(config, ANNOTATION)
    if not path:
        return ()
    fault = path_fault(path) or ("" if path.startswith("/") else "the path is not absolute")
    return (Problem(POINTER, fault, path),) if fault else ()


@hookimpl
def orlop_checkpoint(record: Record) -> Sequence[Step]:
    """Name the file for a checkpoint: the annotations are those that the container was created with."""
    return _steps("checkpoint", record.annotations.get(ANNOTATION))


@hookimpl
def orlop_restore(config: Config) -> Sequence[Step]:
    """Name the file for a restore."""
    return _steps("restore", annotated(config, ANNOTATION))


def _steps(act: str, path: str | None) -> Sequence[Step]:
    if path is None:
        return ()
    from orlop_hookspecs.steps.checkpoint import ConfigureCriu

    return (ConfigureCriu(because=POINTER, act=act, path=path),)
