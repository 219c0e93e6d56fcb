"""The configuration of a container: the top level of config.json (config.md)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orlop_hookspecs.documents.base import Document, document, field
from orlop_hookspecs.documents.common import ID_MAPPINGS
from orlop_hookspecs.documents.kinds import BOOL, STRING, STRING_MAP, STRINGS, Integer, ListOf, Ref

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orlop_hookspecs.documents.common import IDMapping
    from orlop_hookspecs.documents.freebsd import FreeBSD
    from orlop_hookspecs.documents.linux import Linux
    from orlop_hookspecs.documents.process import Process
    from orlop_hookspecs.documents.solaris import Solaris
    from orlop_hookspecs.documents.vm import VM
    from orlop_hookspecs.documents.windows import Windows
    from orlop_hookspecs.documents.zos import ZOS


@document
class Root(Document):
    """The container's root filesystem (config.md, Root)."""

    path: str = field(STRING)
    readonly: bool | None = field(BOOL, default=None)


@document
class Mount(Document):
    """A mount beyond the root filesystem, in the listed order (config.md, Mounts)."""

    destination: str = field(STRING)
    type: str | None = field(STRING, default=None)
    source: str | None = field(STRING, default=None)
    options: tuple[str, ...] | None = field(STRINGS, default=None)
    uid_mappings: tuple[IDMapping, ...] | None = field(ID_MAPPINGS, default=None)
    gid_mappings: tuple[IDMapping, ...] | None = field(ID_MAPPINGS, default=None)


@document
class Hook(Document):
    """A program run at a point of the lifecycle; ``timeout`` in seconds (config.md, POSIX-platform Hooks)."""

    path: str = field(STRING)
    args: tuple[str, ...] | None = field(STRINGS, default=None)
    env: tuple[str, ...] | None = field(STRINGS, default=None)
    timeout: int | None = field(Integer(1, (1 << 63) - 1), default=None)


_HOOKS = ListOf(Ref("config", "Hook"))


@document
class Hooks(Document):
    """The hooks of each kind, in the order of the lifecycle (config.md, POSIX-platform Hooks)."""

    prestart: tuple[Hook, ...] | None = field(_HOOKS, default=None)
    create_runtime: tuple[Hook, ...] | None = field(_HOOKS, default=None)
    create_container: tuple[Hook, ...] | None = field(_HOOKS, default=None)
    start_container: tuple[Hook, ...] | None = field(_HOOKS, default=None)
    poststart: tuple[Hook, ...] | None = field(_HOOKS, default=None)
    poststop: tuple[Hook, ...] | None = field(_HOOKS, default=None)


@document
class Config(Document):
    """The whole of config.json (config.md).

    All platforms' sections are parsed; which of them may be set is decided by the composition's plugins.
    """

    oci_version: str = field(STRING)
    root: Root | None = field(Ref("config", "Root"), default=None)
    mounts: tuple[Mount, ...] | None = field(ListOf(Ref("config", "Mount")), default=None)
    process: Process | None = field(Ref("process", "Process"), default=None)
    hostname: str | None = field(STRING, default=None)
    domainname: str | None = field(STRING, default=None)
    hooks: Hooks | None = field(Ref("config", "Hooks"), default=None)
    annotations: Mapping[str, str] | None = field(STRING_MAP, default=None)
    linux: Linux | None = field(Ref("linux", "Linux"), default=None)
    solaris: Solaris | None = field(Ref("solaris", "Solaris"), default=None)
    windows: Windows | None = field(Ref("windows", "Windows"), default=None)
    vm: VM | None = field(Ref("vm", "VM"), default=None)
    zos: ZOS | None = field(Ref("zos", "ZOS"), default=None)
    freebsd: FreeBSD | None = field(Ref("freebsd", "FreeBSD"), default=None)
