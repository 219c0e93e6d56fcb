"""The first program of ours that the installed command runs: it makes everything importable, quickly.

The launcher (``scripts/orlop``) starts it in an interpreter that knows nothing but the standard library, as a
program and not as a module. What it does is done for every command, so it imports nothing but :mod:`os` and
what the import system itself is made of. Even the annotations are quoted one by one: the module that
postpones their evaluation would have to be searched for.
"""

import sys

before = frozenset(sys.modules)

import gc  # noqa: E402 - what was there before is to be known
import os  # noqa: E402 - as above
from _frozen_importlib import ModuleSpec  # noqa: E402 - as above
from _frozen_importlib_external import (  # noqa: E402 - as above
    ExtensionFileLoader,
    SourceFileLoader,
)
from marshal import loads  # noqa: E402 - as above

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import CodeType
    from typing import Any

    from orlop.cli.pack import Kit, Modules

FORMAT = 4
"""Version of the layout of packs."""

SMALL = frozenset(("state", "start", "kill", "delete"))
"""Commands that have a pack each, because engines call them again and again: it is loaded at once."""

EXEC = "exec"
"""The command that makes a process in a container, with a pack of its own."""

NOTHING: "tuple[tuple[str, ...], tuple[str, ...]]" = ((), ())
"""The order of a pack of which nothing is loaded at once, or of which that is not known yet."""

LAUNCH = frozenset(("create", "run"))
"""Commands that make a container."""

LARGE = frozenset(
    (
        *("features", "plugins", "plugin", "check", "explain", "doctor", "seccomp", "trace", "schema"),
        *("update", "checkpoint", "restore"),
    )
)
"""Other commands that load plugins."""


OF_MANY = ("small", "large")
"""Packs that many commands share: nothing in them is loaded at once."""


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


def kind_of(arguments: "list[str]") -> str:
    """Return which pack a command line wants. A wrong guess costs time and nothing else."""
    for word in arguments:
        if word in SMALL or word == EXEC:
            return word
        if word in LAUNCH:
            return "launch"
        if word in LARGE:
            return "large"
    return "small"


def open_pack(arguments: "list[str]") -> "Kit":
    """Return the pack for a command line; it is empty where none fits. See :mod:`orlop.cli.pack`."""
    kind = kind_of(arguments)
    name = f"{kind}.{sys.implementation.cache_tag}.pack"
    # Which file a module's name stands for is decided by the path.
    header = (FORMAT, sys.version, tuple(sys.path))
    for place in reversed(sys.path):
        try:
            with open(f"{place}/orlop/cli/__pycache__/{name}", "rb", buffering=0) as file:
                if not _is_safe(file.fileno(), place):
                    continue
                found, modules, order, points, settled = loads(file.read())  # noqa: S302 - as a .pyc file
        except (OSError, ValueError, EOFError, TypeError):
            continue
        if found == header:
            return kind, name, header, modules, order, points, settled, before
    return kind, name, header, {}, NOTHING, {}, None, before


def _is_safe(descriptor: int, place: str) -> bool:
    """Tell whether nobody can have written the pack but who could change the packages in *place* as well."""
    status = os.fstat(descriptor)
    return not status.st_mode & 0o022 and (
        status.st_uid in {0, os.geteuid()} or status.st_uid == os.stat(f"{place}/orlop/cli").st_uid
    )


def load_at_once(modules: "Modules", order: "Iterable[str]") -> None:
    """Load the modules named in *order*, each after those that it needs, without asking the import system.

    One that is stale is left to it, when somebody imports it, with all that it contains.
    """
    known = sys.modules
    new = type(sys)
    for name in order:
        spec = spec_of(name, modules)
        if spec is None or name in known or type(spec.loader) is not Loader:
            continue
        parent, _, child = name.rpartition(".")
        if parent and parent not in known:
            continue
        module: Any = new(name)
        module.__spec__ = spec
        module.__loader__ = spec.loader
        module.__file__ = spec.origin
        module.__cached__ = spec.cached
        module.__package__ = spec.parent
        if spec.submodule_search_locations is not None:
            module.__path__ = spec.submodule_search_locations
        known[name] = module
        try:
            exec(spec.loader.get_code(name), module.__dict__)  # noqa: S102 - as the import system does
        except BaseException:
            del known[name]
            raise
        if parent:
            setattr(known[parent], child, module)


def spec_of(name: str, modules: "Modules") -> "Any":  # noqa: ANN401 - a spec, of a private type
    """Return the spec of module *name* out of a pack; ``None`` if it is not there, or not any more."""
    entry = modules.get(name)
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


class Finder:
    """Finds modules in a pack, as long as their sources are what they were (:data:`sys.meta_path`)."""

    def __init__(self, modules: "Modules") -> None:
        """Keep the modules."""
        self._modules = modules

    def find_spec(
        self,
        name: str,
        path: object = None,  # noqa: ARG002 - the finder's interface
        target: object = None,  # noqa: ARG002 - the finder's interface
    ) -> "Any":  # noqa: ANN401 - a spec, of a private type
        """Return the spec of module *name*, or ``None``."""
        return spec_of(name, self._modules)


class Loader(SourceFileLoader):
    """The usual loader of a source file, but for where the code comes from."""

    def __init__(self, name: str, path: str, code: bytes) -> None:
        """Keep the marshalled code."""
        super().__init__(name, path)
        self._code = code

    def get_code(self, fullname: str) -> "CodeType":  # noqa: ARG002 - the loader's interface
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
    kit = open_pack(sys.argv[1:])
    _, _, _, modules, (first, rest), points, settled, _ = kit
    finders: list[Any] = sys.meta_path
    finders.insert(0, Finder(modules))
    if first:
        # What so short a life leaves behind is not worth looking for.
        gc.disable()
        load_at_once(modules, first)
    from orlop import entrypoints
    from orlop.cli import main

    entrypoints.known.update(points)
    entrypoints.settled = settled
    if rest:
        main.load_rest = lambda: load_at_once(modules, rest)

    main.entry(kit)


if __name__ == "__main__":
    boot()
