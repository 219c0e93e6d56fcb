"""The first program of a composed runtime: it makes what is in the file importable, and calls the command.

It is compiled into the file and executed there with the file open as ``file`` and behind its own end; nothing
imports it. The file is described in :mod:`orlop.composing.image`.
"""

import sys

before = frozenset(sys.modules)

import gc  # noqa: E402 - what was there before is to be known
import os  # noqa: E402 - as above
from _frozen_importlib import ModuleSpec  # noqa: E402 - as above
from fcntl import F_DUPFD_CLOEXEC, fcntl  # noqa: E402 - as above
from marshal import loads  # noqa: E402 - as above

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from io import BufferedReader
    from types import CodeType
    from typing import Any

    Index = dict[str, tuple[int, int, bool]]
    """Module to the place and the size of its code, and whether it is a package."""

LOWEST = 240
"""Descriptors below it may be the caller's, who passes them on by their numbers."""


_IN_UTF_8 = "-Xutf8"


class Loader:
    """Loads modules out of the file."""

    def __init__(
        self, descriptor: int, base: int, path: str, index: "Index", helper: "tuple[int, int]"
    ) -> None:
        """Keep where everything is; all places are relative to *base*."""
        self._descriptor = descriptor
        self._base = base
        self._path = path
        self._index = index
        self._helper = helper
        self.thin = b""
        """What small commands need, read at once: the first bytes behind *base*."""
        self.closed: dict[str, str] = {}
        """Modules that are not inside, and the plugin that each serves."""

    def find_spec(
        self,
        name: str,
        path: object = None,  # noqa: ARG002 - the finder's interface
        target: object = None,  # noqa: ARG002 - the finder's interface
    ) -> "Any":  # noqa: ANN401 - a spec, of a private type
        """Return the spec of module *name*, or ``None``.

        Raises:
            PlatformError: It serves a plugin that is not inside.
        """
        entry = self._index.get(name)
        if entry is None:
            plugin = self.closed.get(name)
            if plugin is None:
                return None
            from orlop_hookspecs.errors import PlatformError

            raise PlatformError(
                f"plugin {plugin} would be needed, and this runtime was composed without it",
                hint="use a runtime that has it; the manifest is where a plugin is added",
            )
        spec = ModuleSpec(name, self, origin=f"{self._path}/{name.replace('.', '/')}.py", is_package=entry[2])  # type: ignore[arg-type]
        spec.has_location = True
        return spec

    def create_module(self, spec: "Any") -> None:  # noqa: ANN401 - as above
        """Leave it to the import system."""

    def exec_module(self, module: "Any") -> None:  # noqa: ANN401 - a module has any attribute
        """Run the module's code."""
        exec(self.get_code(module.__spec__.name), module.__dict__)  # noqa: S102 - as the import system does

    def get_code(self, name: str) -> "CodeType":
        """Return the code of module *name*."""
        place, size, _ = self._index[name]
        if place + size <= len(self.thin):
            code: CodeType = loads(self.thin[place : place + size])  # noqa: S302 - our own file
        else:
            code = loads(os.pread(self._descriptor, size, self._base + place))  # noqa: S302 - our own file
        return code

    def helper(self) -> "tuple[int, str]":
        """Return a descriptor of the file, and the program of the helper for which it is descriptor 4."""
        place, size = self._helper
        where = f"{size}, {self._base + place}"
        return self._descriptor, f"import marshal, os; exec(marshal.loads(os.pread(4, {where})))"

    def load_at_once(self, order: "Iterable[str]") -> None:
        """Load the modules named in *order*, each after those that it needs."""
        known = sys.modules
        new = type(sys)
        for name in order:
            if name in known:
                continue
            spec = self.find_spec(name)
            module: Any = new(name)
            parent, _, child = name.rpartition(".")
            module.__spec__ = spec
            module.__loader__ = self
            module.__file__ = spec.origin
            module.__package__ = spec.parent
            if spec.submodule_search_locations is not None:
                module.__path__ = spec.submodule_search_locations
            known[name] = module
            try:
                exec(self.get_code(name), module.__dict__)  # noqa: S102 - as the import system does
            except BaseException:
                del known[name]
                raise
            if parent:
                setattr(known[parent], child, module)


def _begin_again() -> None:
    """Start once more in UTF-8: the first line of a file has room for one option, and that one is taken."""
    given = sys.orig_argv
    if given[1] != _IN_UTF_8:
        words = [given[0], _IN_UTF_8, *given[1:]]
        os.execv(sys.executable, [os.fsencode(word) for word in words])  # noqa: S606 - this very program


def begin(file: "BufferedReader", size: int) -> None:
    """Run the command line of this process.

    Args:
        file: The runtime's file, at its index.
        size: Of the index.
    """
    if sys.getfilesystemencoding() != "utf-8":
        _begin_again()
    del sys.argv[0]  # what stood behind the interpreter's option
    index, thin, orders, points, absent, closed, helper = loads(file.read(size))  # noqa: S302 - our own file
    base = file.tell()
    try:
        descriptor = fcntl(file.fileno(), F_DUPFD_CLOEXEC, LOWEST)
    except OSError:  # so few descriptors are allowed that nobody can have passed that many
        descriptor = fcntl(file.fileno(), F_DUPFD_CLOEXEC, 10)
    loader = Loader(descriptor, base, os.path.abspath(sys.argv[0]), index, helper)
    loader.closed = closed
    file.close()
    finders: list[Any] = sys.meta_path
    finders.insert(0, loader)
    order = next((orders[word] for word in sys.argv[1:] if word in orders), None)
    if order:
        # What so short a life leaves behind is not worth looking for.
        gc.disable()
        loader.thin = os.pread(descriptor, thin, base)
        loader.load_at_once(order)
        loader.thin = b""
    from orlop import entrypoints
    from orlop.cli import table
    from orlop.cli.main import entry

    entrypoints.frozen = points
    table.COMMANDS = tuple(command for command in table.COMMANDS if command.name not in absent)
    entry()
