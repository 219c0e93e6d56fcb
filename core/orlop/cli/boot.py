"""The first program of ours that the installed command runs: it makes everything importable, quickly.

The launcher (``scripts/orlop``) starts it in an interpreter that knows nothing but the standard library, as a
program and not as a module. What it does is done for every command, so it imports nothing but :mod:`os` and
what the import system itself is made of.
"""

from __future__ import annotations

import sys

before = frozenset(sys.modules)

import os  # noqa: E402 - what was there before is to be known
from _frozen_importlib import ModuleSpec  # noqa: E402 - as above
from _frozen_importlib_external import (  # noqa: E402 - as above
    ExtensionFileLoader,
    SourceFileLoader,
)
from marshal import loads  # noqa: E402 - as above

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import CodeType
    from typing import Any

    from orlop.cli.pack import Kit, Modules

FORMAT = 2
"""Version of the layout of packs."""

LARGE = frozenset(("create", "run", "features", "plugins", "check", "explain", "schema", "update"))
"""Commands that load plugins."""


def reach(site: str) -> None:
    """Append *site* and the directories that its .pth files name to :data:`sys.path`.

    Lines of these files that are code wait for :func:`orlop.cli.paths.complete`.
    """
    site = os.path.abspath(site)
    sys.path.append(site)
    for name in sorted(os.listdir(site)):
        if name.endswith(".pth") and name[0] != ".":
            with open(f"{site}/{name}", encoding="utf-8", errors="surrogateescape") as lines:
                for line in lines:
                    if line[0] == "#" or line.startswith(("import ", "import\t")):
                        continue
                    place = os.path.join(site, line.rstrip())
                    if place not in sys.path and os.path.isdir(place):
                        sys.path.append(place)


def open_pack(arguments: list[str]) -> Kit:
    """Return the pack for a command line; it is empty where none fits. See :mod:`orlop.cli.pack`."""
    size = "small" if LARGE.isdisjoint(arguments) else "large"
    name = f"{size}.{sys.implementation.cache_tag}.pack"
    # Which file a module's name stands for is decided by the path.
    header = (FORMAT, sys.version, tuple(sys.path))
    for place in sys.path:
        try:
            with open(f"{place}/orlop/cli/__pycache__/{name}", "rb", buffering=0) as file:
                found, modules = loads(file.read())  # noqa: S302 - as a .pyc file
        except (OSError, ValueError, EOFError, TypeError):
            continue
        if found == header:
            return name, header, modules, before
    return name, header, {}, before


class Finder:
    """Finds modules in a pack, as long as their sources are what they were (:data:`sys.meta_path`)."""

    def __init__(self, modules: Modules) -> None:
        """Keep the modules."""
        self._modules = modules

    def find_spec(
        self,
        name: str,
        path: object = None,  # noqa: ARG002 - the finder's interface
        target: object = None,  # noqa: ARG002 - the finder's interface
    ) -> Any:  # noqa: ANN401 - a spec, of a private type
        """Return the spec of module *name*, or ``None``."""
        entry = self._modules.get(name)
        if entry is None:
            return None
        source, stamp, cached, places, code = entry
        try:
            status = os.stat(source)
        except OSError:
            return None
        if (status.st_mtime_ns, status.st_size) != stamp:
            return None
        loader = Loader(name, source, code) if code else ExtensionFileLoader(name, source)
        spec = ModuleSpec(name, loader, origin=source)
        spec.has_location = True
        spec.cached = cached
        spec.submodule_search_locations = places
        return spec


class Loader(SourceFileLoader):
    """The usual loader of a source file, but for where the code comes from."""

    def __init__(self, name: str, path: str, code: bytes) -> None:
        """Keep the marshalled code."""
        super().__init__(name, path)
        self._code = code

    def get_code(self, fullname: str) -> CodeType:  # noqa: ARG002 - the loader's interface
        """Return the module's code."""
        code: CodeType = loads(self._code)  # noqa: S302 - as a .pyc file
        return code


def boot() -> None:
    """Run the command line of this process."""
    # Bytecode is written beside its sources, but only where no one else could then replace it.
    mask = os.umask(0o077)
    os.umask(mask)
    sys.dont_write_bytecode = mask & 0o022 != 0o022
    reach(sys._xoptions["orlop_site"])  # noqa: SLF001 - documented; the name is CPython's
    kit = open_pack(sys.argv)
    finders: list[Any] = sys.meta_path
    finders.insert(0, Finder(kit[2]))
    from orlop.cli.main import entry

    entry(kit)


if __name__ == "__main__":
    boot()
