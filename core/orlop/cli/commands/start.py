"""``orlop start``: run the program of a created container."""

from __future__ import annotations

import os

from orlop.lifecycle.start import start

TYPE_CHECKING = False
if TYPE_CHECKING:
    from orlop.cli.context import Context


def run(context: Context) -> int:
    """Start the container; for a service manager that waits, return when the container says it is ready."""
    if not os.environ.get("NOTIFY_SOCKET"):
        start(context.site(), context.id)
        return 0
    from orlop.cli.notify import Notify, caller

    site = context.site()
    with Notify(caller(), context.report.warning) as notify:
        notify.start(site, context.id)
        notify.wait(site, context.id)
    return 0
