"""Plugin ``seccomp-receiver``: the agent's socket by annotation (crun(1), ``run.oci.seccomp.receiver``).

The annotation is older than ``linux.seccomp.listenerPath``, and takes its place. The plugin is in a
composition only when somebody asks for it: who writes an annotation has root connect to any socket of the
host.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orlop_hookspecs.hooks import hookimpl
from orlop_hookspecs.hooks.capability import Adjustment, Problem
from orlop_linux.plugins.shared import annotated, annotation, path_fault, plugin_info, token

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from orlop_hookspecs.documents import Config
    from orlop_hookspecs.hooks.identity import PluginInfo

ANNOTATION = "run.oci.seccomp.receiver"
POINTER = f"/annotations/{token(ANNOTATION)}"
LISTENER = "/linux/seccomp/listenerPath"


@hookimpl
def orlop_plugin() -> PluginInfo:
    """Return the plugin's identity."""
    return plugin_info("seccomp-receiver", "the seccomp agent's socket by annotation", requires=("seccomp",))


@hookimpl
def orlop_features() -> Mapping[str, Any]:
    """Name the annotation."""
    return annotation(ANNOTATION, "the socket of the seccomp agent, in place of linux.seccomp.listenerPath")


@hookimpl
def orlop_adjust(config: Config) -> Adjustment | None:
    """Set the path of the listener, unless :func:`orlop_validate` is going to refuse it."""
    path = annotated(config, ANNOTATION)
    seccomp = config.linux and config.linux.seccomp
    if not path or not seccomp or seccomp.listener_path is not None:
        return None
    return Adjustment(set={LISTENER: path})


@hookimpl
def orlop_validate(config: Config) -> Sequence[Problem]:
    """Refuse what is no absolute path, a config without a filter, and one that names another socket."""
    return tuple(_problems(config))


def _problems(config: Config) -> Iterator[Problem]:
    path = annotated(config, ANNOTATION)
    if path is None:
        return
    seccomp = config.linux and config.linux.seccomp
    fault = path_fault(path) or ("" if path.startswith("/") else "the path is not absolute")
    if fault:
        yield Problem(POINTER, fault, path)
    elif not seccomp:
        yield Problem(POINTER, "there is no filter whose agent this could be (/linux/seccomp)", path)
    elif seccomp.listener_path != path:
        yield Problem(
            POINTER, f"the config names another socket ({LISTENER})", path, "leave out one of the two"
        )
