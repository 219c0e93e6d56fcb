"""The composition of everything that is installed, kept from one command to the next in the launcher's packs.

Finding it out takes a fifth of a cold ``check``: code of ``.pth`` files is run, distributions are searched
for, plugins are verified and put in order. All that decided it is noted beside it, and it counts for
as long as nothing of that has changed: directories on the path, entry points, ``.pth`` files, and the sources
of all modules that were loaded. A pack lies beside the bytecode caches: who may write there may change the
code as well.
"""

from __future__ import annotations

import os
import sys
import time

from orlop import entrypoints
from orlop.plugins.settled import restore, settle
from orlop_hookspecs.errors import OrlopError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from orlop.entrypoints import Stamp
    from orlop.plugins.composition import Composition
    from orlop.plugins.settled import Settled, SettledComposition


def find(again: Callable[[], Composition]) -> SettledComposition | None:
    """Return the composition that the pack holds, if it still counts; *again* composes it anew.

    Raises:
        OrlopError: A plugin says so when it is asked for its platform; it would say so anyway.
    """
    settled: Settled | None = entrypoints.settled
    if settled is None:
        return None
    try:
        made = restore(settled, again)
    except OrlopError:
        raise
    except Exception:  # noqa: BLE001 - whatever is wrong with it, composing anew tells it better
        made = None
    if made is None:
        return None
    finders: list[Any] = sys.meta_path
    finders.append(Late())
    return made


def note(composition: Composition) -> None:
    """Keep *composition* for the pack that is written at the end, if it was composed by the launcher."""
    options = sys._xoptions  # noqa: SLF001 - documented; the name is CPython's
    if sys.dont_write_bytecode or "orlop_site" not in options:
        return
    looked = _looked()
    if looked is not None:
        try:
            _ = composition.features  # contradictions are told each time
        except OrlopError:
            return
        entrypoints.settled = settle(composition, looked)


def _looked() -> tuple[tuple[str, Stamp], ...] | None:
    """Return everything that decided the composition of this very moment, as it is now; ``None``: in motion.

    A command may live for hours: what is looked at only when it ends may not be what it has loaded.
    """
    answer = entrypoints.known.get(("orlop", "", tuple(sys.path)))
    if answer is None:
        return None
    looked = dict(answer[0])
    programs = os.path.dirname(sys.executable)
    for place in (programs, os.path.dirname(programs)):
        looked[f"{place}/pyvenv.cfg"] = entrypoints.stamp(f"{place}/pyvenv.cfg")
    for place in sys.path:
        try:
            found = os.listdir(place)
        except OSError:
            continue
        for name in found:
            if name.endswith(".pth"):
                looked[f"{place}/{name}"] = entrypoints.stamp(f"{place}/{name}")
    for name, module in list(sys.modules.items()):
        origin = getattr(getattr(module, "__spec__", None), "origin", None)
        if origin and origin[0] == "/" and name.partition(".")[0] not in sys.stdlib_module_names:
            looked[origin] = entrypoints.stamp(origin)
    newest = max((stamp[0] for stamp in looked.values() if stamp), default=0)
    return tuple(looked.items()) if newest < time.time_ns() - entrypoints.SETTLING else None


class Late:
    """The last finder: what no other has found may be where only the whole path leads."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> Any:  # noqa: ANN401 - a spec, of a private type
        """Complete the path, once, and return the spec that the other finders have then."""
        finders: list[Any] = sys.meta_path
        if self not in finders:
            return None
        finders.remove(self)
        from orlop.cli.paths import complete

        complete()
        for finder in list(finders):
            spec = finder.find_spec(name, path, target)
            if spec is not None:
                return spec
        return None
