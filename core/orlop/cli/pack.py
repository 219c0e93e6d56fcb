"""Bytecode in one file: the modules that a command imports, found without searching for each.

The import system takes a quarter of a millisecond to find and open one cached module, and a command imports dozens. A pack
holds their bytecode side by side. It lies beside the interpreter's own caches, in ``__pycache__``, and is trusted and
treated like them: made by whoever may write there, never needed, and each module in it counts only as long as its
source has the size and the time of change that it had. There are two: what small commands load need not be read together
with what a create loads.
"""

from __future__ import annotations

import os
import sys
from _frozen_importlib_external import (  # type: ignore[import-not-found]  # what importlib itself is made of
    MAGIC_NUMBER,
    SourceFileLoader,
    spec_from_file_location,
)
from marshal import dumps, loads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from importlib.machinery import ModuleSpec
    from types import CodeType, ModuleType
    from typing import Any

    Entry = tuple[str, int, int, bool, bytes]
    """Path, time of change and size of the source; whether it is a package; the marshalled code."""

_FORMAT = 1
_SIZE_LIMIT = 64 << 20
_LARGE = frozenset(("create", "run", "features", "plugins", "check", "explain", "schema"))
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class _Loader(SourceFileLoader):  # type: ignore[misc]  # it has no types
    """The usual loader of a source file, but for where the code comes from."""

    def __init__(self, name: str, path: str, code: bytes) -> None:
        super().__init__(name, path)
        self._code = code

    def get_code(self, fullname: str) -> CodeType:  # noqa: ARG002 - the loader's interface
        code: CodeType = loads(self._code)
        return code


class Pack:
    """One pack, as a finder of modules (:data:`sys.meta_path`)."""

    def __init__(self, path: str) -> None:
        """Read the pack at *path*; one that is missing, damaged or of another installation is empty."""
        self._path = path
        # What decides which file a module's name stands for.
        self._header = (_FORMAT, MAGIC_NUMBER, tuple(sys.path))
        self._entries: dict[str, Entry] = {}
        try:
            header, entries = loads(_read(path))
        except (OSError, ValueError, EOFError, TypeError):
            return
        if header == self._header and isinstance(entries, dict):
            self._entries = entries

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:  # noqa: ARG002
        """Return the spec of module *name*, or ``None`` when it is not in the pack or has changed since."""
        entry = self._entries.get(name)
        if entry is None:
            return None
        source, changed, size, package, code = entry
        if _stamp(source) != (changed, size):
            del self._entries[name]
            return None
        places = [source.rpartition("/")[0]] if package else None
        found: ModuleSpec | None = spec_from_file_location(
            name, source, loader=_Loader(name, source, code), submodule_search_locations=places
        )
        return found

    def keep(self) -> None:
        """Write the pack anew when modules were imported that it does not hold; where that cannot be done, do nothing."""
        missing = [
            (name, module)
            for name, module in list(sys.modules.items())
            if name not in self._entries and _packable(name, module)
        ]
        if not missing:
            return
        entries = dict(self._entries)
        for name, module in missing:
            entry = _entry(name, module)
            if entry is not None:
                entries[name] = entry
        try:
            _write(self._path, dumps((self._header, entries)))
        except OSError:
            pass


def use() -> Pack:
    """Find modules in the pack for this command line first, and return it."""
    large = not _LARGE.isdisjoint(sys.argv)
    name = f"{'large' if large else 'small'}.{sys.implementation.cache_tag}.pack"
    pack = Pack(f"{os.path.dirname(__file__)}/__pycache__/{name}")
    finders: list[Any] = sys.meta_path
    finders.insert(0, pack)
    return pack


def _packable(name: str, module: ModuleType) -> bool:
    spec = getattr(module, "__spec__", None)
    return (
        spec is not None
        and spec.name == name
        and type(spec.loader) is SourceFileLoader
        and isinstance(spec.origin, str)
        and spec.origin.startswith("/")
    )


def _entry(name: str, module: ModuleType) -> Entry | None:
    spec: Any = module.__spec__
    stamp = _stamp(spec.origin)
    if stamp is None:
        return None
    try:
        code = dumps(spec.loader.get_code(name))
    except (OSError, ImportError, SyntaxError, ValueError):
        return None
    # A source that was changed meanwhile is taken by the next command.
    if _stamp(spec.origin) != stamp:
        return None
    return spec.origin, *stamp, spec.submodule_search_locations is not None, code


def _stamp(path: str) -> tuple[int, int] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size


def _read(path: str) -> bytes:
    descriptor = os.open(path, _READ)
    try:
        size = os.fstat(descriptor).st_size
        return os.read(descriptor, min(size, _SIZE_LIMIT))
    finally:
        os.close(descriptor)


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
