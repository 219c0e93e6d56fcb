"""``orlop delete``: remove a container."""

from __future__ import annotations

from orlop.lifecycle.delete import delete

TYPE_CHECKING = False
if TYPE_CHECKING:
    from orlop.cli.context import Context


def run(context: Context) -> int:
    """Delete the container, with ``--force`` whatever it does at the moment."""
    site, force = context.site(), context.line.on("force")
    if context.line.on("regex"):
        from orlop.cli.matching import each

        each(context, site, lambda container: delete(site, container, force=force))
    else:
        delete(site, context.id, force=force)
    return 0
