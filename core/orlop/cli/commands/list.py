"""``orlop list``: the containers of a state root."""

from __future__ import annotations

import os

from orlop.cli.output import table, to_json, write
from orlop.lifecycle.state import list_states
from orlop_hookspecs.errors import StoreError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from orlop.cli.context import Context

_COLUMNS = ("id", "pid", "status", "bundle", "created", "owner")


def run(context: Context) -> int:
    """Print all containers; one whose state cannot be loaded is a warning."""
    line = context.line
    if line.option("root") and not os.path.lexists(context.root):
        raise StoreError("the state root does not exist: no such file or directory", path=context.root)
    site = context.site()
    if line.on("quiet"):
        write("".join(f"{container}\n" for container in site.store.list()))
        return 0
    states = list_states(site)
    for state in states:
        state["owner"] = _name(state["owner"])
    if line.text("format") == "json":
        # null and not []: what engines have always been given for "none"
        write((to_json(states) if states else "null") + "\n")
    else:
        rows = [[str(state[name]) for name in _COLUMNS] for state in states]
        write(table([name.upper() for name in _COLUMNS], rows))
    return 0


def _name(owner: int) -> str:
    import pwd

    try:
        return pwd.getpwuid(owner).pw_name
    except (KeyError, OverflowError):
        return f"#{owner}"
