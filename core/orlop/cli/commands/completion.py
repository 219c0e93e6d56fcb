"""``orlop completion``: complete command lines in a shell."""

from __future__ import annotations

import os

from orlop.cli.completion import SCRIPTS, offer
from orlop.cli.output import write
from orlop_hookspecs.errors import OrlopError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from orlop.cli.context import Context

_WORDS = "words"


def run(context: Context) -> int:
    """Print the script of a shell; or, for such a script, what may stand next.

    The first line of the latter is what else may stand there; each further one is a word, a tab, its meaning.
    """
    what, *words = context.line.arguments
    if what == _WORDS:
        from orlop.cli.extension import topics

        found = offer(
            words,
            lambda root: _containers(context, root),
            lambda: topics(context.report, context.parts),
        )
        write("".join(f"{line}\n" for line in (found.more, *map("\t".join, found.candidates))))
        return 0
    if what not in SCRIPTS:
        raise UsageError(
            "there is no completion for this shell", value=what, hint=f"one of {', '.join(SCRIPTS)}"
        )
    if words:
        raise UsageError("a shell's script takes no further arguments", value=words[0])
    write(SCRIPTS[what])
    return 0


def _containers(context: Context, root: str) -> list[str]:
    """Return the containers of *root*; who may not read it is offered none."""
    if root:
        context.line.options = {**context.line.options, "root": os.path.expanduser(root)}
    try:
        return list(context.site().store.list())
    except (OrlopError, OSError):
        return []
