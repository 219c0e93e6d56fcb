"""All documents of a machine: which device a name stands for.

Documents are looked for in directories; a device of a later directory takes the place of one of the same name
in an earlier one. Two in one directory are in conflict, and neither is meant (SPEC.md, "Overview"; the
directories are those of the reference implementation).
"""

from __future__ import annotations

import errno
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from orlop_cdi.reading import EXTENSIONS
from orlop_cdi.specs import CdiError, Device, Spec, read_spec

if TYPE_CHECKING:
    from orlop_hookspecs.host import HostView

DIRECTORIES = ("/etc/cdi", "/var/run/cdi")
"""Where documents are: those of an installation, and those that are made while the machine runs."""

_NEARLY = (".yml", ".JSON", ".YAML", ".YML")
"""Extensions of files that somebody may take for documents."""


class Registry:
    """The documents in *directories*, as *view* shows them."""

    def __init__(self, view: HostView, directories: Sequence[str] = DIRECTORIES) -> None:
        """Read and verify all documents; one that cannot be used is in :attr:`faults`."""
        self.faults: dict[str, str] = {}
        """Path of a document to why it cannot be used."""
        self.conflicts: dict[str, tuple[str, ...]] = {}
        """Qualified name to the paths of the documents that all describe it."""
        self._devices: dict[str, tuple[Device, Spec]] = {}
        for directory in directories:
            self._read_directory(view, directory)

    def _read_directory(self, view: HostView, directory: str) -> None:
        here: dict[str, list[tuple[Device, Spec]]] = {}
        for name in view.names(directory):
            spec = self._read(view, f"{directory}/{name}")
            if spec is None:
                continue
            for device in spec.devices:
                here.setdefault(device.qualified, []).append((device, spec))
        for name, found in here.items():
            if len(found) > 1:
                self.conflicts[name] = tuple(spec.path for _, spec in found)
                self._devices.pop(name, None)
            else:
                self.conflicts.pop(name, None)
                self._devices[name] = found[0]

    def _read(self, view: HostView, path: str) -> Spec | None:
        """Return the document at *path*; ``None``, and a fault, when it cannot be used."""
        if path.endswith(_NEARLY):
            self.faults[path] = f"{path}: the names of documents end in {' or '.join(EXTENSIONS)}"
        elif path.endswith(EXTENSIONS):
            try:
                return read_spec(view.read(path), path)
            except CdiError as error:
                self.faults[path] = str(error)
            except OSError as error:
                if error.errno != errno.ENOENT:  # it was taken away just now
                    self.faults[path] = f"{path}: {error.strerror or error}"
        return None

    @property
    def names(self) -> list[str]:
        """The qualified names of all devices, sorted."""
        return sorted(self._devices)

    def find(self, name: str) -> tuple[Device, Spec]:
        """Return the device that *name* stands for, and its document.

        Raises:
            LookupError: There is none; the message says why, and what may be the reason.
        """
        if name in self.conflicts:
            raise LookupError(f"{name} is described by {' and by '.join(self.conflicts[name])}")
        found = self._devices.get(name)
        if found is not None:
            return found
        kind = name.partition("=")[0]
        of_kind = [known for known in self.names if known.startswith(f"{kind}=")]
        if of_kind:
            raise LookupError(f"there is no {name}; known: {', '.join(of_kind)}")
        reasons = "; ".join(self.faults.values())
        raise LookupError(f"no document describes devices of kind {kind}{f'; {reasons}' if reasons else ''}")

    def edits(self, names: Iterable[str]) -> list[tuple[str, Device | Spec]]:
        """Return whose edits are made for *names*, in order: of each document once, before its first device.

        Raises:
            LookupError: As for :meth:`find`.
        """
        made: list[tuple[str, Device | Spec]] = []
        seen: set[str] = set()
        for name in dict.fromkeys(names):
            device, spec = self.find(name)
            if spec.path not in seen:
                seen.add(spec.path)
                made.append((spec.path, spec))
            made.append((name, device))
        return made
