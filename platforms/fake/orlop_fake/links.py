"""Network devices: what one is, how it moves, what becomes of it when its namespace ends (netdevice(7))."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, NamedTuple

from orlop_fake.refusals import refusal

if TYPE_CHECKING:
    from orlop_fake.machine import Machine
    from orlop_fake.namespaces import NetworkNamespace

_NAME_MAX = 15


class Address(NamedTuple):
    """One address of a device."""

    text: str
    """Address and length of its prefix, as ``192.0.2.1/24``."""
    scope: str = "global"
    """``global``, ``link`` or ``host``, as ip-address(8) calls them."""
    permanent: bool = True


class Link:
    """A network device."""

    __slots__ = ("addresses", "hardware", "index", "kind", "master", "name", "up")

    def __init__(self, name: str, index: int, kind: str = "", *, up: bool = False) -> None:
        """Make a device; without a *kind* it is a physical one, which outlives its namespace."""
        self.name = name
        self.index = index
        self.kind = kind
        self.up = up
        self.master = ""
        """Name of the bridge that it is a port of."""
        self.addresses: list[Address] = []
        self.hardware = f"02:00:00:00:{index >> 8 & 0xFF:02x}:{index & 0xFF:02x}"

    def describe(self) -> str:
        """Return the device as one line."""
        shown = [self.name, "up" if self.up else "down", *(one.text for one in self.addresses)]
        return " ".join(shown)


def check_name(name: str) -> None:
    """Refuse what cannot be the name of a device: EINVAL."""
    if (
        not name
        or name in {".", ".."}
        or len(name.encode()) > _NAME_MAX
        or any(c in "/:" or c.isspace() for c in name)
        or ("%" in name and (name.count("%") > 1 or "%d" not in name))
    ):
        raise refusal(errno.EINVAL, name)


def _name_in(space: NetworkNamespace, name: str) -> str:
    """Return the name that a device gets in *space*: a pattern is filled in; EEXIST when it is taken."""
    check_name(name)
    if "%d" in name:
        number = 0
        while (made := name.replace("%d", str(number))) in space.links:
            number += 1
        return made
    if name in space.links:
        raise refusal(errno.EEXIST, name)
    return name


def move(link: Link, source: NetworkNamespace, target: NetworkNamespace, name: str) -> None:
    """Move a device: it goes down, and its addresses are lost (dev_change_net_namespace of the kernel)."""
    if link.kind in {"loopback", "bridge"}:
        raise refusal(errno.EINVAL, link.name)
    new = _name_in(target, name)
    used = {other.index for other in target.links.values()}
    del source.links[link.name]
    if link.index in used:
        link.index = max(used) + 1
    link.name = new
    link.up = False
    link.master = ""
    link.addresses = []
    target.links[new] = link


def add_address(link: Link, address: Address, space: NetworkNamespace) -> None:
    """Add an address; EACCES for one of IPv6 where that is switched off; nothing when it is there."""
    if ":" in address.text and any(
        space.sysctls.get(f"net.ipv6.conf.{which}.disable_ipv6") == "1" for which in ("all", "default")
    ):
        raise refusal(errno.EACCES, link.name)
    if address not in link.addresses:
        link.addresses.append(address)


def release(kernel: Machine, space: NetworkNamespace) -> None:
    """End a network namespace that nobody uses any more (network_namespaces(7)).

    Physical devices go back to the initial one under their names, or as ``dev%d`` when those are taken.
    Virtual ones are destroyed.
    """
    home = kernel.init.namespaces.network
    # First what is quick to know: every end of a process asks.
    if len(space.links) < 2 or space is home or space.kept or space in kernel.pins.values():
        return
    if any(one.namespaces.network is space and not one.ended for one in kernel.all_processes()):
        return
    for link in list(space.links.values()):
        if not link.kind:
            move(link, space, home, link.name if link.name not in home.links else "dev%d")
    space.links = {"lo": space.links["lo"]}
