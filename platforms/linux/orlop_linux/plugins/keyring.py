"""Plugin ``keyring``: a session keyring of the container's own (session-keyring(7)).

No property of the config asks for it; callers can do without by a launch option. Its context is that of the
process, because the process could not use a keyring of the caller's (config.md, selinuxLabel).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from orlop_hookspecs.hooks import hookimpl
from orlop_hookspecs.steps.session import NewKeyring
from orlop_linux.plugins.shared import plugin_info

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orlop_hookspecs.documents import Config
    from orlop_hookspecs.hooks.identity import PluginInfo
    from orlop_hookspecs.launch import PlanContext
    from orlop_hookspecs.steps.base import Step


@hookimpl
def orlop_plugin() -> PluginInfo:
    """Return the plugin's identity."""
    return plugin_info("keyring", "session keyring of the container", after=("process", "terminal"))


@hookimpl
def orlop_plan(config: Config, context: PlanContext) -> Sequence[Step]:
    """Plan a keyring that is named after the container."""
    if config.process is None or context.options.no_new_keyring:
        return ()
    label = config.process.selinux_label or ""
    because = "/process/selinuxLabel" if label else "/process"
    return (NewKeyring(because=because, name=f"_ses.{context.container}", label=label),)
