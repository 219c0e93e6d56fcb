"""The ``freebsd`` section of config.json (config-freebsd.md)."""

from __future__ import annotations

from orlop_hookspecs.documents import vocabulary
from orlop_hookspecs.documents.base import Document, document, field
from orlop_hookspecs.documents.kinds import BOOL, FILE_MODE, STRING, STRINGS, UINT8, Choice, ListOf, Ref

_SHARING = Choice(vocabulary.FREEBSD_SHARING_MODES)
_SHARING_NO_DISABLE = Choice(vocabulary.FREEBSD_SHARING_MODES_NO_DISABLE)


@document
class FreeBSDDevice(Document):
    """A device that is visible in the container (config-freebsd.md, Devices).

    ``path`` is relative to ``/dev`` and required by the prose, but not by the schema.
    """

    path: str | None = field(STRING, default=None)
    mode: int | None = field(FILE_MODE, default=None)


@document
class FreeBSDJailAllow(Document):
    """What the jail allows beyond its defaults (config-freebsd.md, Jail)."""

    set_hostname: bool | None = field(BOOL, default=None)
    raw_sockets: bool | None = field(BOOL, default=None)
    chflags: bool | None = field(BOOL, default=None)
    mount: tuple[str, ...] | None = field(STRINGS, default=None)
    quotas: bool | None = field(BOOL, default=None)
    socket_af: bool | None = field(BOOL, default=None)
    mlock: bool | None = field(BOOL, default=None)
    reserved_ports: bool | None = field(BOOL, default=None)
    suser: bool | None = field(BOOL, default=None)


@document
class FreeBSDJail(Document):
    """The jail of the container (config-freebsd.md, Jail)."""

    parent: str | None = field(STRING, default=None)
    host: str | None = field(_SHARING_NO_DISABLE, default=None)
    ip4: str | None = field(_SHARING, default=None)
    ip4_addr: tuple[str, ...] | None = field(STRINGS, default=None)
    ip6: str | None = field(_SHARING, default=None)
    ip6_addr: tuple[str, ...] | None = field(STRINGS, default=None)
    vnet: str | None = field(_SHARING_NO_DISABLE, default=None)
    interface: str | None = field(STRING, default=None)
    vnet_interfaces: tuple[str, ...] | None = field(STRINGS, default=None)
    sysvmsg: str | None = field(_SHARING, default=None)
    sysvsem: str | None = field(_SHARING, default=None)
    sysvshm: str | None = field(_SHARING, default=None)
    enforce_statfs: int | None = field(UINT8, default=None)
    allow: FreeBSDJailAllow | None = field(Ref("freebsd", "FreeBSDJailAllow"), default=None)


@document
class FreeBSD(Document):
    """The FreeBSD-specific configuration (config-freebsd.md)."""

    devices: tuple[FreeBSDDevice, ...] | None = field(
        ListOf(Ref("freebsd", "FreeBSDDevice")),
        default=None,
    )
    jail: FreeBSDJail | None = field(Ref("freebsd", "FreeBSDJail"), default=None)
