"""The mount options of config.md, "Linux mount options": one table for features, validation and plan.

An option that is not in the table belongs to the file system and is passed on as its data.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

ATTRIBUTES = {
    "ro": ("ro", True),
    "rw": ("ro", False),
    "nosuid": ("nosuid", True),
    "suid": ("nosuid", False),
    "nodev": ("nodev", True),
    "dev": ("nodev", False),
    "noexec": ("noexec", True),
    "exec": ("noexec", False),
    "nodiratime": ("nodiratime", True),
    "diratime": ("nodiratime", False),
    "nosymfollow": ("nosymfollow", True),
    "symfollow": ("nosymfollow", False),
    "noatime": ("noatime", True),
    "atime": ("noatime", False),
    "relatime": ("relatime", True),
    "norelatime": ("relatime", False),
    "strictatime": ("strictatime", True),
    "nostrictatime": ("strictatime", False),
}
"""Options of one mount (mount_setattr(2)): the attribute, and whether it is set or cleared."""

RECURSIVE = {f"r{option}": meaning for option, meaning in ATTRIBUTES.items()}
"""The same options for a mount and all below it (mount_setattr(2), AT_RECURSIVE)."""

ACCESS_TIMES = frozenset({"noatime", "relatime", "strictatime"})
"""Attributes of which a mount has exactly one (mount_setattr(2), MOUNT_ATTR__ATIME)."""

SUPERBLOCK = {
    "sync": ("sync", True),
    "async": ("sync", False),
    "dirsync": ("dirsync", True),
    "lazytime": ("lazytime", True),
    "nolazytime": ("lazytime", False),
    "mand": ("mand", True),
    "nomand": ("mand", False),
    "iversion": ("iversion", True),
    "noiversion": ("iversion", False),
    "silent": ("silent", True),
    "loud": ("silent", False),
}
"""Options of the file system itself (mount(2)): the flag, and whether it is set or cleared."""

PROPAGATIONS = frozenset(
    {"private", "rprivate", "shared", "rshared", "slave", "rslave", "unbindable", "runbindable"}
)
BINDS = frozenset({"bind", "rbind"})
IDMAPS = frozenset({"idmap", "ridmap"})
OTHERS = frozenset({"defaults", "remount", "tmpcopyup"})

KNOWN = frozenset((*ATTRIBUTES, *RECURSIVE, *SUPERBLOCK, *PROPAGATIONS, *BINDS, *IDMAPS, *OTHERS))
"""Every option that is not the file system's own: what the features document lists."""


class MountOptions:
    """What a list of options means; of contradicting ones the last counts, as for mount(8)."""

    __slots__ = (
        "_attributes",
        "_recursive",
        "_superblock",
        "bind",
        "data",
        "idmap",
        "propagation",
        "remount",
        "tmpcopyup",
    )

    def __init__(self) -> None:
        """Begin with the meaning of no options at all."""
        self.bind = ""
        """``bind``, ``rbind`` or empty."""
        self.idmap = ""
        """``idmap``, ``ridmap`` or empty."""
        self.remount = False
        self.tmpcopyup = False
        self.propagation: list[str] = []
        self.data: list[tuple[str, str]] = []
        """JSON pointer and text of each option for the file system."""
        self._attributes: dict[str, bool] = {}
        self._recursive: dict[str, bool] = {}
        self._superblock: dict[str, bool] = {}

    def add(self, options: Iterable[str], pointer: str = "") -> None:
        """Take in *options*, in order; they stand at *pointer* in the config.

        An empty one says nothing, as for mount(8) between two commas; buildah writes one for each volume.
        """
        for index, option in enumerate(options):
            if option and not (self._switches(option) or self._is_known(option)):
                self.data.append((f"{pointer}/{index}", option))

    def _switches(self, option: str) -> bool:
        """Take in an *option* that sets or clears something; tell whether it is one."""
        for table, state in (
            (ATTRIBUTES, self._attributes),
            (RECURSIVE, self._recursive),
            (SUPERBLOCK, self._superblock),
        ):
            if option in table:
                _switch(state, *table[option])
                return True
        return False

    def _is_known(self, option: str) -> bool:
        """Take in any other *option* of the specification; tell whether it is one."""
        if option in PROPAGATIONS:
            self.propagation.append(option)
        elif option in BINDS:
            self.bind = "rbind" if "rbind" in {option, self.bind} else "bind"
        elif option in IDMAPS:
            self.idmap = "ridmap" if "ridmap" in {option, self.idmap} else "idmap"
        elif option == "tmpcopyup":
            self.tmpcopyup = True
        elif option == "remount":
            self.remount = True
        return option in KNOWN

    @property
    def attributes(self) -> tuple[str, ...]:
        """Attributes to set on the mount."""
        return tuple(name for name, value in self._attributes.items() if value)

    @property
    def cleared(self) -> tuple[str, ...]:
        """Attributes to clear on the mount."""
        return tuple(name for name, value in self._attributes.items() if not value)

    @property
    def superblock(self) -> tuple[str, ...]:
        """Flags of the file system."""
        return tuple(name for name, value in self._superblock.items() if value)

    @property
    def recursive(self) -> tuple[tuple[str, bool], ...]:
        """Attributes to set or clear on the mount and all below it."""
        return tuple(self._recursive.items())


def _switch(attributes: dict[str, bool], name: str, value: bool) -> None:  # noqa: FBT001 - half of a pair
    """Set or clear *name*; setting one way to keep access times ends the others."""
    if value and name in ACCESS_TIMES:
        for other in ACCESS_TIMES:
            attributes.pop(other, None)
    attributes.pop(name, None)
    attributes[name] = value
