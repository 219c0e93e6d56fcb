"""Moving network devices into a container, and giving them back when its creation fails.

config-linux.md, Network Devices; the other half is :mod:`orlop_linux.live.netdev`.
"""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from orlop_hookspecs.errors import StepError
from orlop_linux.init import syscalls
from orlop_linux.kernel.links import IFF_LOOPBACK, IFF_UP, Device, both, kind_of, mark_of, require_library
from orlop_linux.kernel.refusal import refuse, refuse_os
from orlop_linux.live.netdev import PIN, identity, own_namespace
from orlop_linux.live.process import is_alive, reason

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from orlop_hookspecs.kernel import Journal
    from orlop_hookspecs.plan import PlannedStep
    from orlop_hookspecs.record import Record
    from orlop_linux.kernel.links import Links

_GLOBAL = 0  # RT_SCOPE_UNIVERSE
_PRIVILEGE = "moving network devices needs CAP_NET_ADMIN in both network namespaces, and CAP_SYS_ADMIN"


class Move:
    """The devices of one container on their way in."""

    def __init__(self, planned: PlannedStep, record: Record, journal: Journal, *, joined: bool) -> None:
        """Begin; nothing is touched."""
        self._step: Any = planned.step
        self._plugin = planned.plugin
        self._record = record
        self._journal = journal
        self._joined = joined

    def run(self, pid: int, started: int) -> None:
        """Examine all devices, write down how they are, pin the namespace, and move them one after another.

        Raises:
            StepError: A device cannot be moved; what was moved is given back by the journal's undo.
        """
        require_library()
        space = -1
        try:
            space = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
            # The file is of one process for ever; whose it is is asked after it was opened.
            if not is_alive(pid, started):
                raise ProcessLookupError(errno.ESRCH, os.strerror(errno.ESRCH))
            both(space, lambda host, inside: self._move(space, host, inside))
        except StepError:
            raise
        except OSError as error:
            raise self._os("cannot move network devices", error) from error
        finally:
            if space >= 0:
                os.close(space)

    def _move(self, space: int, host: Links, inside: Links) -> None:
        home = self._home(host)
        if home == identity(space):
            # A path to it has been refused before; a hook cannot have brought this about.
            raise self._refuse("", "the container's network namespace is the runtime's own", errno.EINVAL)
        devices = [self._examine(host, inside, name, new) for name, new in self._step.devices]
        self._number(devices, host.indexes(), inside.indexes())
        self._journal.intend(
            "netdev",
            namespace=identity(space),
            home=home,
            joined=self._joined,
            devices=[device.to_data() for device in devices],
        )
        self._pin(space)
        for device in devices:
            self._take(device, space, host, inside)

    def _home(self, host: Links) -> list[int]:
        del host  # the thread has left that namespace; the process itself is still in it
        fd = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            return identity(fd)
        finally:
            os.close(fd)

    def _examine(self, host: Links, inside: Links, name: str, new: str) -> Device:
        """Return the device *name*, of which all is known that speaks against its move."""
        link = host.find(name)
        if link is None:
            raise self._refuse(name, "there is no such network device on the host", errno.ENODEV)
        known = link.get_attr("IFLA_IFNAME")
        if known != name:
            raise self._refuse(name, f"this is another name of the network device {known}", errno.EINVAL)
        if link["flags"] & IFF_LOOPBACK or link.get_attr("IFLA_NETNS_IMMUTABLE"):
            raise self._refuse(name, "this network device cannot leave its network namespace", errno.EINVAL)
        if link.get_attr("IFLA_MASTER"):
            above = host.find(index=link.get_attr("IFLA_MASTER"))
            what = above.get_attr("IFLA_IFNAME") if above is not None else "another device"
            raise self._refuse(
                name, f"the network device is a port of {what} and would be lost to it", errno.EBUSY
            )
        if "%" not in new and inside.find(new) is not None:
            raise self._refuse(
                name, f"the container's network namespace has a device {new} already", errno.EEXIST
            )
        index = link["index"]
        addresses = host.addresses(index)
        for address in addresses:
            address["device"] = name
        return Device(
            {
                "name": name,
                "inside": new,
                "index": index,
                "there": index,
                "mark": mark_of(link),
                "kind": kind_of(link),
                "up": bool(link["flags"] & IFF_UP),
                "addresses": addresses,
                "routes": host.routes(index),
            }
        )

    @staticmethod
    def _number(devices: list[Device], host: set[int], inside: set[int]) -> None:
        """Choose the index of each device inside: its own, or one that nothing has in either namespace."""
        last = max(host | inside)
        for device in devices:
            if device.there in inside:
                last += 1
                device.there = last

    def _pin(self, space: int) -> None:
        """Keep the namespace alive, whatever becomes of the container process and of the runtime."""
        place = os.open(
            f"{self._record.directory}/{PIN}", os.O_RDONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600
        )
        tree = -1
        try:
            tree = syscalls.open_tree(space, b"", syscalls.OPEN_TREE_CLONE | syscalls.AT_EMPTY_PATH)
            syscalls.move_mount(tree, place)
        except OSError as error:
            raise self._os("cannot keep the network namespace for the move", error) from error
        finally:
            os.close(place)
            if tree >= 0:
                os.close(tree)

    def _take(self, device: Device, space: int, host: Links, inside: Links) -> None:
        """Move one device, give it its addresses, and bring it up."""
        try:
            host.move(device.index, space, device.inside, device.there)
        except OSError as error:
            raise self._os("cannot move the network device", error, device.name) from error
        link = inside.find(index=device.there)
        if link is None or not device.is_link(link, exactly=True):
            raise self._refuse(
                device.name, "the network device has been changed while it was moved", errno.EBUSY
            )
        name = link.get_attr("IFLA_IFNAME")
        for address in device.addresses:
            if address["scope"] != _GLOBAL:
                continue
            shown = f"{address.get('IFA_LOCAL') or address.get('IFA_ADDRESS')}/{address['prefixlen']}"
            try:
                inside.add_address(device.there, address, name)
            except OSError as error:
                raise self._os(
                    f"cannot keep the address {shown} of the network device", error, device.name
                ) from error
        try:
            inside.bring_up(device.there)
        except OSError as error:
            raise self._os("cannot bring up the network device", error, device.name) from error

    def _pointer(self, name: str) -> str:
        token = name.replace("~", "~0").replace("/", "~1")
        return f"{self._step.because}/{token}" if name else str(self._step.because)

    def _refuse(self, name: str, message: str, number: int) -> StepError:
        error = refuse(self._step, self._plugin, f"{name}: {message}" if name else message, number=number)
        error.pointer = self._pointer(name)
        return error

    def _os(self, act: str, problem: OSError, name: str = "") -> StepError:
        hint = _PRIVILEGE if problem.errno in {errno.EPERM, errno.EACCES} else ""
        error = refuse_os(self._step, self._plugin, f"{act} {name}".rstrip(), problem, hint=hint)
        error.pointer = self._pointer(name)
        return error


def require_home(data: Mapping[str, Any], record: Record) -> None:
    """Make sure that no device is away, in a namespace that cannot be seen from here.

    Raises:
        StepError: One is.
    """
    require_library()
    devices = [Device(one if isinstance(one, dict) else {}) for one in data["devices"]]
    home = own_namespace()

    def work(host: Links, _inside: Links) -> None:
        for device in devices:
            link = host.find(device.name)
            if link is None or not device.is_link(link, exactly=True):
                raise StepError(
                    f"the network device {device.name} is in a network namespace that is not to be seen here",
                    container=record.id,
                    act="delete",
                    errno=errno.EXDEV,
                    hint="run the command in the mount namespace in which the container was created",
                )

    try:
        both(home, work)
    finally:
        os.close(home)


def give_back(pin: int, data: Mapping[str, Any], record: Record) -> None:
    """Move the devices of a creation that failed out of the pinned namespace, and make them as they were.

    A device is ours if it has the index that was chosen for it and is of the same kind; in a namespace that
    others have as well, it also has the same hardware address. Whatever else is in there stays.

    Raises:
        StepError: A device could not be given back; the undo can be repeated.
    """
    require_library()
    devices = [Device(one if isinstance(one, dict) else {}) for one in data["devices"]]
    home = own_namespace()
    try:
        if identity(home) != data["home"]:
            raise StepError(
                "network devices can only be given back in the network namespace that they came from",
                container=record.id,
                act="delete",
                errno=errno.EXDEV,
                hint="run the command in the network namespace in which the container was created",
            )

        def work(host: Links, inside: Links) -> None:
            for device in reversed(devices):
                _restore(device, home, host, inside, exactly=data["joined"])

        both(pin, work)
    finally:
        os.close(home)


def _send_home(device: Device, home: int, host: Links, inside: Links) -> None:
    if host.find(device.name) is not None:
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
    try:
        inside.move(device.there, home, device.name, device.index)
    except OSError as error:
        if error.errno != errno.EBUSY:
            raise
        # Something else has its index by now.
        inside.move(device.there, home, device.name, 0)


def _at_home(device: Device, host: Links) -> Any:  # noqa: ANN401 - a message of pyroute2
    """Return the device on the host, under its old name; ``None`` if it is not there."""
    link = host.find(device.name)
    if link is not None and device.is_link(link, exactly=True):
        return link
    link = host.find(index=device.index)
    if link is None or not device.is_link(link, exactly=True):
        return None
    # A name that was taken just then: the kernel had moved it already when it refused the name.
    host.rename(device.index, device.name)
    return host.find(device.name)


def _restore(device: Device, home: int, host: Links, inside: Links, *, exactly: bool) -> None:
    try:
        link = inside.find(index=device.there)
        if link is not None and device.is_link(link, exactly=exactly):
            _send_home(device, home, host, inside)
        link = _at_home(device, host)
        if link is None:
            return  # it is gone; who made it knows why
        index = link["index"]
        for address in device.addresses:
            host.add_address(index, address, device.name)
        if device.up:
            host.bring_up(index)
        for route in device.routes:
            try:
                host.add_route(route, index)
            except OSError:
                continue  # what it leads over may have changed meanwhile
    except OSError as error:
        raise StepError(
            f"cannot give the network device {device.name} back: {reason(error)}",
            errno=error.errno,
            act="delete",
            value=device.name,
        ) from error
