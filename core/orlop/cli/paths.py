"""Where modules come from in an interpreter that was started without the site module, as the command is.

The launcher adds the directories that ``.pth`` files name. Code in ``.pth`` files, system directories behind
a virtual environment and the like take milliseconds; they are caught up with before plugins are looked for,
and not for a command that loads none.
"""

from __future__ import annotations

import sys

from orlop import entrypoints


def complete() -> None:
    """Make everything importable that an ordinary start would, but for the user's own directory.

    The launcher isolates the interpreter (``-I``), and an isolated interpreter has no user directory.
    """
    if not sys.flags.no_site or "site" in sys.modules or entrypoints.frozen is not None:
        return
    import site

    site.addsitepackages(site.venv(site.removeduppaths()) or set())
