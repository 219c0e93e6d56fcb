"""Network devices over rtnetlink(7), spoken by pyroute2: what one is, how it moves and how it comes back.

pyroute2 is imported here only, and only when a device is moved: that takes longer than a whole creation.
"""

from __future__ import annotations

import errno
import os
import socket
from typing import TYPE_CHECKING

from orlop_hookspecs.errors import PlatformError, StoreError

if TYPE_CHECKING:
    from collections.abc import Callable
    from threading import Thread
    from typing import Any

IFF_UP = 0x1
IFF_LOOPBACK = 0x8
_LABEL_MAX = 15
_FOR_EVER = 0xFFFFFFFF
_PERMANENT = 0x80
_KEPT_ADDRESS_FLAGS = 0x02 | 0x10 | 0x100 | 0x200 | 0x400
"""What whoever adds an address says: IFA_F_NODAD, _HOMEADDRESS, _MANAGETEMPADDR, _NOPREFIXROUTE, _MCAUTOJOIN
(linux/if_addr.h); the others are the kernel's."""
_KEPT_ROUTE_FLAGS = 0x2 | 0x4  # RTNH_F_PERVASIVE, RTNH_F_ONLINK
_CLONED = 0x200
_LEARNED = frozenset({1, 2, 9})  # RTPROT_REDIRECT, RTPROT_KERNEL, RTPROT_RA: these come back by themselves
_ADDRESS_ATTRIBUTES = (
    "IFA_ADDRESS",
    "IFA_LOCAL",
    "IFA_BROADCAST",
    "IFA_LABEL",
    "IFA_RT_PRIORITY",
    "IFA_PROTO",
)
_ROUTE_ATTRIBUTES = frozenset(
    {"RTA_TABLE", "RTA_DST", "RTA_SRC", "RTA_GATEWAY", "RTA_PREFSRC", "RTA_PRIORITY", "RTA_OIF", "RTA_PREF"}
)
_IGNORED_ROUTE_ATTRIBUTES = frozenset({"RTA_CACHEINFO"})
_ROUTE_FIELDS = ("family", "dst_len", "src_len", "tos", "table", "proto", "scope", "type", "flags")


_ADDRESS_FIELDS = ("family", "prefixlen", "scope", "flags", "preferred")


def _is_sound(entry: Any, fields: tuple[str, ...]) -> bool:  # noqa: ANN401 - it may come from a file
    """Tell whether *entry* is an address or a route as they are kept: numbers in *fields*, plain values."""
    return (
        isinstance(entry, dict)
        and all(type(entry.get(field)) is int for field in fields)
        and all(isinstance(value, int | str) for value in entry.values())
        and isinstance(entry.get("IFA_LABEL", ""), str)
        and isinstance(entry.get("device", ""), str)
        and ("IFA_LABEL" not in entry or "device" in entry)
    )


class Device:
    """A network device of the host as it was, and where it goes; kept in the journal as plain data."""

    __slots__ = ("addresses", "index", "inside", "kind", "mark", "name", "routes", "there", "up")

    def __init__(self, data: dict[str, Any]) -> None:
        """Take *data* apart, which may come from a file.

        Raises:
            StoreError: It is not what :meth:`to_data` gave.
        """
        if set(data) != set(self.__slots__) or not all(
            isinstance(data[name], kind)
            for name, kind in (
                ("name", str),
                ("inside", str),
                ("mark", str),
                ("kind", str),
                ("up", bool),
                ("index", int),
                ("there", int),
                ("addresses", list),
                ("routes", list),
            )
        ):
            raise StoreError("the journal is not usable: a network device is malformed", value=data)
        for entry, fields in (
            *((one, _ADDRESS_FIELDS) for one in data["addresses"]),
            *((one, _ROUTE_FIELDS) for one in data["routes"]),
        ):
            if not _is_sound(entry, fields):
                raise StoreError("the journal is not usable: a network device is malformed", value=entry)
        self.name: str = data["name"]
        """What the host calls it."""
        self.inside: str = data["inside"]
        """What it shall be called inside; may be a pattern."""
        self.index: int = data["index"]
        self.there: int = data["there"]
        """Its index inside."""
        self.mark: str = data["mark"]
        """The hardware address: the permanent one, if it has any."""
        self.kind: str = data["kind"]
        self.up: bool = data["up"]
        self.addresses: list[dict[str, Any]] = data["addresses"]
        self.routes: list[dict[str, Any]] = data["routes"]

    def to_data(self) -> dict[str, Any]:
        """Return the device as JSON-ready data."""
        return {name: getattr(self, name) for name in self.__slots__}

    def is_link(self, link: Any, *, exactly: bool) -> bool:  # noqa: ANN401 - a message of pyroute2
        """Tell whether *link* is this device; *exactly*: it could be somebody else's of the same index."""
        return kind_of(link) == self.kind and (not exactly or mark_of(link) == self.mark)


def kind_of(link: Any) -> str:  # noqa: ANN401 - a message of pyroute2
    """Return the kind of a virtual device; empty for a physical one."""
    info = link.get_attr("IFLA_LINKINFO")
    return str(info.get_attr("IFLA_INFO_KIND") or "") if info is not None else ""


def mark_of(link: Any) -> str:  # noqa: ANN401 - a message of pyroute2
    """Return the hardware address of a device: the permanent one, if it has any."""
    return str(link.get_attr("IFLA_PERM_ADDRESS") or link.get_attr("IFLA_ADDRESS") or "")


class Links:
    """The network devices of one network namespace: the one that the thread was in when this was made."""

    def __init__(self) -> None:
        """Open the socket."""
        from pyroute2.iproute.linux import IPRoute

        self._api: Any = IPRoute(strict_check=True)

    def close(self) -> None:
        """Close the socket."""
        self._api.close()

    def _call(self, method: str, *arguments: Any, **options: Any) -> list[Any]:  # noqa: ANN401 - pyroute2's
        from pyroute2.netlink.exceptions import NetlinkError

        try:
            return list(getattr(self._api, method)(*arguments, **options) or ())
        except NetlinkError as error:
            number = error.code if 0 < error.code < 4096 else errno.EIO
            raise OSError(number, os.strerror(number)) from error
        except OSError:
            raise
        except Exception as error:
            # What the library did not expect must not keep the journal from being undone.
            raise OSError(errno.EPROTO, os.strerror(errno.EPROTO)) from error

    def find(self, name: str = "", index: int = 0) -> Any:  # noqa: ANN401 - a message of pyroute2
        """Return the device of that name or index; ``None``: there is none."""
        wanted = {"ifname": name} if name else {"index": index}
        try:
            found = self._call("link", "get", **wanted)
        except OSError as error:
            if error.errno != errno.ENODEV:
                raise
            return None
        return found[0] if found else None

    def indexes(self) -> set[int]:
        """Return the indexes of all devices."""
        return {link["index"] for link in self._call("get_links")}

    def addresses(self, index: int) -> list[dict[str, Any]]:
        """Return the permanent addresses of a device, the primary ones of IPv4 first."""
        return [
            _address(message)
            for message in self._call("get_addr", index=index)
            if message["index"] == index and _flags(message) & _PERMANENT
        ]

    def routes(self, index: int) -> list[dict[str, Any]]:
        """Return the routes over a device that somebody has set, nearest scope first."""
        found = [
            _route(message)
            for message in self._call("get_routes", family=socket.AF_UNSPEC, oif=index)
            if message.get_attr("RTA_OIF") == index and _is_set(message)
        ]
        return sorted(found, key=lambda route: -int(route["scope"]))

    def move(self, index: int, namespace: int, name: str, new_index: int) -> None:
        """Move a device into the network namespace behind a descriptor, with a name there.

        With *new_index* 0 it keeps its index if that is free, and gets another one if not.
        """
        wanted = {"new_ifindex": new_index} if new_index else {}
        self._call("link", "set", index=index, net_ns_fd=namespace, ifname=name, **wanted)

    def rename(self, index: int, name: str) -> None:
        """Give a device that is down another name."""
        self._call("link", "set", index=index, ifname=name)

    def bring_up(self, index: int) -> None:
        """Set a device up."""
        self._call("link", "set", index=index, state="up")

    def add_address(self, index: int, address: dict[str, Any], name: str) -> None:
        """Add an address that :meth:`addresses` gave, to a device that is called *name* here."""
        wanted = {key: address[key] for key in ("family", "prefixlen", "scope", "flags")}
        wanted |= {_key(one): address[one] for one in _ADDRESS_ATTRIBUTES if address.get(one) is not None}
        label = address.get("IFA_LABEL")
        if label is not None:
            # A label begins with the device's name, ip-address(8).
            renamed = name + label[len(address["device"]) :] if label.startswith(address["device"]) else name
            wanted["label"] = renamed[:_LABEL_MAX]
        if address["preferred"] != _FOR_EVER:
            wanted["preferred_lft"] = address["preferred"]
        self._create("addr", index=index, **wanted)

    def add_route(self, route: dict[str, Any], index: int) -> None:
        """Add a route that :meth:`routes` gave."""
        wanted = {key: route[key] for key in _ROUTE_FIELDS}
        wanted |= {_key(one): route[one] for one in _ROUTE_ATTRIBUTES if route.get(one) is not None}
        if "dst" in wanted:
            wanted["dst"] = f"{wanted['dst']}/{wanted['dst_len']}"
        self._create("route", **(wanted | {"oif": index}))

    def _create(self, what: str, **wanted: Any) -> None:  # noqa: ANN401 - pyroute2's
        try:
            self._call(what, "add", **wanted)
        except FileExistsError:
            return  # the kernel has made it itself, or an earlier attempt has


def _key(attribute: str) -> str:
    """Return pyroute2's argument for an attribute: ``IFA_RT_PRIORITY`` is ``rt_priority``."""
    return attribute.partition("_")[2].lower()


def _flags(message: Any) -> int:  # noqa: ANN401 - a message of pyroute2
    wide = message.get_attr("IFA_FLAGS")
    return int(message["flags"] if wide is None else wide)


def _address(message: Any) -> dict[str, Any]:  # noqa: ANN401 - a message of pyroute2
    times = message.get_attr("IFA_CACHEINFO")
    made: dict[str, Any] = {key: message[key] for key in ("family", "prefixlen", "scope")}
    made["flags"] = _flags(message) & _KEPT_ADDRESS_FLAGS
    made["preferred"] = _FOR_EVER if times is None else times["ifa_preferred"]
    for key in _ADDRESS_ATTRIBUTES:
        value = message.get_attr(key)
        if value is not None:
            made[key] = value
    return made


def _is_set(message: Any) -> bool:  # noqa: ANN401 - a message of pyroute2
    names = {name for name, _ in message["attrs"]}
    return (
        message["proto"] not in _LEARNED
        and not message["flags"] & _CLONED
        and names <= _ROUTE_ATTRIBUTES | _IGNORED_ROUTE_ATTRIBUTES
    )


def _route(message: Any) -> dict[str, Any]:  # noqa: ANN401 - a message of pyroute2
    made: dict[str, Any] = {key: message[key] for key in _ROUTE_FIELDS}
    made["flags"] &= _KEPT_ROUTE_FLAGS
    made.update((name, value) for name, value in message["attrs"] if name in _ROUTE_ATTRIBUTES)
    return made


def require_library() -> None:
    """Make sure that pyroute2 is there, before anything is touched.

    Raises:
        PlatformError: It is not installed.
    """
    try:
        import pyroute2.iproute.linux  # noqa: F401 - it is what takes the time
    except ImportError as error:
        raise PlatformError(
            "moving network devices needs the Python package pyroute2", errno=errno.EOPNOTSUPP
        ) from error


def _join(thread: Thread) -> None:
    """Wait for *thread*; an exception that a signal raises meanwhile waits as well.

    Devices that are on their way must not be given back at the same time.
    """
    interrupted: BaseException | None = None
    while thread.is_alive():
        try:
            thread.join()
        except BaseException as error:  # noqa: BLE001 - it is raised below
            interrupted = error
    if interrupted is not None:
        raise interrupted


def both(namespace: int, act: Callable[[Links, Links], None]) -> None:
    """Call *act* with the devices of the caller's network namespace and of the one behind *namespace*.

    It runs in a thread of its own: setns(2) changes the namespace of one thread, and pyroute2 needs an event
    loop, of which the caller's thread may be running another one.
    """
    import threading

    from orlop_hookspecs.critical import critical
    from orlop_linux.init import syscalls

    failed: list[BaseException] = []

    def work() -> None:
        made: list[Links] = []
        try:
            made.append(Links())
            made[0].find("lo")  # the socket is opened by its first use
            syscalls.setns(namespace, syscalls.CLONE_NEWNET)
            made.append(Links())
            made[1].find("lo")
            act(*made)
        except BaseException as error:  # noqa: BLE001 - it is raised in the caller's thread
            failed.append(error)
        finally:
            for links in made:
                links.close()

    with critical:
        thread = threading.Thread(target=work, name="orlop-netdev", daemon=True)
        thread.start()
        _join(thread)
    if failed:
        raise failed[0]
