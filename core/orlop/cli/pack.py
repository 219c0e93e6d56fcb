"""Bytecode in one file: the modules that a command imports, found without searching for each.

The import system takes a quarter of a millisecond to find and open one cached module, and a command imports
dozens. A pack holds their bytecode side by side. It lies beside the interpreter's own caches, in
``__pycache__``, and is trusted and treated like them: made by whoever may write there, never needed, and each
module in it counts only as long as its source has the size and the time of change that it had. There are
several: what one command loads need not be read together with what another one loads.

:mod:`orlop.cli.boot` reads packs; this module writes them.
"""

from __future__ import annotations

import os
import sys
from _frozen_importlib_external import ExtensionFileLoader, SourceFileLoader
from marshal import dumps, loads

from orlop.cli.boot import LAUNCH, NOTHING, OF_MANY, SMALL

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import CodeType
    from typing import Any

    from orlop.entrypoints import Points
    from orlop.plugins.settled import Settled

    Entry = tuple[str, tuple[int, int], str | None, list[str] | None, bytes]
    """Path of the source, its time of change and size; where its bytecode is cached otherwise; where a
    package has its modules; the marshalled code. An extension module has a library's path and no code.
    """
    Modules = dict[str, Entry]
    Header = tuple[int, str, tuple[str, ...]]
    Order = tuple[tuple[str, ...], tuple[str, ...]]
    """The modules that are loaded at once, and those that are as soon as the platform prepares something."""
    Kit = tuple[str, str, Header, Modules, Order, Points, Settled | None, frozenset[str]]
    """What :mod:`orlop.cli.boot` hands over: the kind of a pack and its name, what must be as it was for it
    to count, its modules and their order, what is known of entry points and of the composition, and the names
    of the modules that the interpreter had imported before.
    """

_OURS = frozenset(("orlop", "orlop_hookspecs", "orlop_linux", "orlop_fake"))

_KEEPERS = frozenset(("orlop.cli.pack", "orlop.cli.boot", "orlop.cli.erase"))
"""Modules that are loaded to write packs, and otherwise not."""

_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def keep(kit: Kit) -> None:
    """Write the pack anew, with the imported modules that it does not hold or that have changed.

    Where it cannot be written, nothing happens: it is only a cache.
    """
    kind, name, header, packed, order, _, settled, before = kit
    place = f"{os.path.dirname(__file__)}/__pycache__"
    if not os.access(place, os.W_OK):
        return
    from orlop import entrypoints

    made, loaded = _imported(packed, before)
    if any(name in packed and made[name] != packed[name] for name in loaded):
        order = NOTHING  # another version: what is loaded at once is decided anew
    composed = entrypoints.settled is not settled
    if composed:
        order = NOTHING  # the next command will not compose, and not load what that needs
    if not packed:
        # All was loaded from sources, with what only type checkers read. What of the standard library nothing
        # imports any more at once is not wanted; the next command will tell what else is.
        wanted = set(_ordered(made, [one for one in made if one.partition(".")[0] in _OURS]))
        made = {one: entry for one, entry in made.items() if one in wanted or not entry[4]}
    elif order == NOTHING and kind not in OF_MANY and not composed:
        # What other commands load beside this, for a terminal, say, they will add.
        made = {one: made[one] for one in loaded if one in made}
        order = _halves(kind, made)
    _compile_boot()
    try:
        _write(f"{place}/{name}", dumps((header, made, order, entrypoints.known, entrypoints.settled)))
    except OSError:
        pass


def _imported(packed: Modules, before: frozenset[str]) -> tuple[Modules, list[str]]:
    """Return *packed* with all modules that have been imported, and the names of these."""
    made = dict(packed)
    loaded: list[str] = []
    for known, module in list(sys.modules.items()):
        spec = getattr(module, "__spec__", None)
        if known in before or spec is None or spec.name != known or not str(spec.origin).startswith("/"):
            continue
        if known not in _KEEPERS:
            loaded.append(known)
        fresh = type(spec.loader) is SourceFileLoader
        if fresh or (type(spec.loader) is ExtensionFileLoader and known not in packed):
            entry = _entry(known, spec)
            if entry is not None:
                made[known] = entry
    return made, loaded


_FIRST = ("orlop.cli.main", "orlop.cli.context", "orlop.live")
"""Modules that every command needs, beside its own."""


def _halves(kind: str, modules: Modules) -> Order:
    """Return what is loaded at once of *modules*, and what when the platform has begun with its part."""
    every = _ordered(modules)
    if kind in SMALL:
        return every, ()
    commands = sorted(LAUNCH) if kind == "launch" else (kind,)
    first = _ordered(modules, (*_FIRST, *(f"orlop.cli.commands.{name}" for name in commands)))
    return first, tuple(one for one in every if one not in first)


def _ordered(modules: Modules, roots: Iterable[str] | None = None) -> tuple[str, ...]:
    """Return the names of *modules*, each after those that it imports at once, as far as that goes.

    Args:
        modules: The modules.
        roots: Start with these, and return nothing that they do not need; ``None``: return all.
    """
    done: dict[str, None] = {}
    begun: set[str] = set()

    def visit(name: str) -> None:
        if name in begun or name not in modules:
            return
        begun.add(name)
        visit(name.rpartition(".")[0])
        code = modules[name][4]
        if code:
            # What a module imports is among the names that its code knows, modules of packages in two parts.
            words = loads(code).co_names  # noqa: S302 - written by this program, just now or earlier
            for word in words:
                visit(word)
                for other in words if word in modules else ():
                    visit(f"{word}.{other}")
            done[name] = None

    for name in modules if roots is None else roots:
        visit(name)
    return tuple(done)


def _compile_boot() -> None:
    """See to it that the program that reads packs is cached as well; a program is not by itself."""
    path = f"{os.path.dirname(__file__)}/boot.py"
    try:
        SourceFileLoader("orlop.cli.boot", path).get_code("orlop.cli.boot")
    except (OSError, ImportError, SyntaxError, ValueError):
        pass


def _entry(name: str, spec: Any) -> Entry | None:  # noqa: ANN401 - a module's spec
    stamp = _stamp(spec.origin)
    if stamp is None:
        return None
    if type(spec.loader) is ExtensionFileLoader:
        return spec.origin, stamp, None, None, b""
    try:
        code = dumps(_code(name, spec.loader, spec.origin))
    except (OSError, ImportError, SyntaxError, ValueError):
        return None
    # A source that was changed meanwhile is taken by the next command.
    if _stamp(spec.origin) != stamp:
        return None
    places = spec.submodule_search_locations
    return spec.origin, stamp, spec.cached, None if places is None else list(places), code


def _code(name: str, loader: SourceFileLoader, path: str) -> CodeType | None:
    """Return the bytecode of a module; of ours, without what only type checkers read."""
    if name.partition(".")[0] not in _OURS:
        return loader.get_code(name)
    from orlop.cli.erase import compile_erased

    return compile_erased(loader.get_data(path), path)


def _stamp(path: str) -> tuple[int, int] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size


def _write(path: str, data: bytes) -> None:
    """Replace the file at *path* atomically, readable by all and writable by the caller only."""
    temporary = f"{path}.{os.getpid()}"
    descriptor = os.open(temporary, _NEW, 0o644)
    try:
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(descriptor, view) :]
        finally:
            os.close(descriptor)
        os.replace(temporary, path)
    except OSError:
        os.unlink(temporary)
        raise
