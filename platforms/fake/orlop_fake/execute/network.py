"""The step that moves network devices into the container, and its undo."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Any

from orlop_fake.links import Address, add_address, check_name, move, release
from orlop_fake.refusals import refusal, text_of
from orlop_hookspecs.errors import StepError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orlop_fake.execute.context import Context, Handler
    from orlop_fake.links import Link
    from orlop_fake.machine import Machine
    from orlop_fake.namespaces import NetworkNamespace
    from orlop_hookspecs.record import Record
    from orlop_hookspecs.steps import MoveNetDevices


def move_net_devices(context: Context, step: MoveNetDevices) -> None:
    """Examine all devices, pin the namespace, and move one after another."""
    kernel = context.kernel
    host = kernel.runtime.namespaces.network
    inside = context.process.namespaces.network
    if kernel.uid:
        raise refusal(errno.EPERM, message="cannot move network devices: operation not permitted")
    if inside is host:
        raise refusal(errno.EINVAL, message="the container's network namespace is the runtime's own")
    links = [_examined(host, inside, name, new, step.because) for name, new in step.devices]
    context.journal.intend("netdev", devices=[_data(link) for link in links])
    kernel.pins[context.container] = inside
    for link, (_, new) in zip(links, step.devices, strict=True):
        addresses = link.addresses
        move(link, host, inside, new)
        for address in addresses:
            if address.permanent and address.scope == "global":
                add_address(link, address, inside)
        link.up = True


def _examined(host: NetworkNamespace, inside: NetworkNamespace, name: str, new: str, because: str) -> Link:
    """Return the device *name*, or say which one of the config's speaks against its move."""
    try:
        return _examine(host, inside, name, new)
    except OSError as error:
        pointer = f"{because}/{name.replace('~', '~0').replace('/', '~1')}"
        message = error.strerror or text_of(error.errno or 0)
        raise StepError(message, pointer=pointer, path=error.filename or "", errno=error.errno) from error


def _examine(host: NetworkNamespace, inside: NetworkNamespace, name: str, new: str) -> Link:
    link = host.links.get(name)
    if link is None:
        raise refusal(errno.ENODEV, name, "there is no such network device on the host")
    if link.kind == "loopback":
        raise refusal(errno.EINVAL, name, "this network device cannot leave its network namespace")
    if link.master:
        raise refusal(errno.EBUSY, name, f"the network device is a port of {link.master}")
    check_name(new)
    if new in inside.links:
        raise refusal(errno.EEXIST, new, f"the container's network namespace has a device {new} already")
    return link


def _data(link: Link) -> dict[str, Any]:
    return {
        "name": link.name,
        "hardware": link.hardware,
        "up": link.up,
        "addresses": [list(one) for one in link.addresses],
    }


def give_back(kernel: Machine, record: Record, data: Mapping[str, Any]) -> None:
    """Undo the move of a creation that was not completed: only then the namespace is still pinned."""
    inside = kernel.pins.get(record.id)
    if inside is None:
        return
    host = kernel.runtime.namespaces.network
    for one in reversed(data["devices"]):
        for link in list(inside.links.values()):
            if link.hardware == one["hardware"] and link.kind != "loopback":
                move(link, inside, host, one["name"])
        found = host.links.get(one["name"])
        if found is not None and found.hardware == one["hardware"]:
            for text, scope, permanent in one["addresses"]:
                add_address(found, Address(text, scope, permanent), host)
            found.up = one["up"]
    del kernel.pins[record.id]
    release(kernel, inside)


HANDLERS: dict[str, Handler] = {"MoveNetDevices": move_net_devices}
