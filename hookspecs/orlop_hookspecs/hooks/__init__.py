"""The hooks, one module per concern, in the order in which a container lives.

:mod:`.identity` and :mod:`.platform` are asked once, when plugins are loaded; :mod:`.capability` on every
create; :mod:`.live` on a container that exists; :mod:`.lifecycle` tells what has happened; :mod:`.commands`
extends the command line.
"""

from orlop_hookspecs.hooks.markers import hookimpl, hookspec

__all__ = ["hookimpl", "hookspec"]
