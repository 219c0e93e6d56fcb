"""A network namespace that plays the host: its devices, seen and changed by name."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self, TypeVar

from pyroute2 import IPRoute

from orlop_linux.init import syscalls

_T = TypeVar("_T")

UP = 0x1
PERMANENT = 0x80
_CLONE_FS = 0x200
_PIN = "/state/box/netns "


class Space:
    """A network namespace by its descriptor; everything is done in threads that enter it."""

    def __init__(self, fd: int) -> None:
        self.fd = fd

    @classmethod
    def new(cls) -> Self:
        """Make one."""

        def work() -> int:
            syscalls.unshare(syscalls.CLONE_NEWNET)
            return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)

        return cls(in_thread(work))

    @classmethod
    def of(cls, pid: int) -> Space:
        """Return the one that a process is in."""
        return cls(os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC))

    def enter(self) -> None:
        """Let the calling thread enter."""
        syscalls.setns(self.fd, syscalls.CLONE_NEWNET)

    def call(self, act: Callable[[IPRoute], _T]) -> _T:
        """Return what *act* says in here."""

        def work() -> _T:
            self.enter()
            with IPRoute() as api:
                return act(api)

        return in_thread(work)

    def add_veth(self, name: str, peer: str, *addresses: str, up: bool = True) -> None:
        """Make a pair of devices of which one has addresses."""

        def act(api: IPRoute) -> None:
            api.link("add", ifname=name, kind="veth", peer=peer)
            index = api.link_lookup(ifname=name)[0]
            for address in addresses:
                at, _, length = address.partition("/")
                # No duplicate address detection: it would change the flags while the test looks at them.
                api.addr(
                    "add", index=index, address=at, prefixlen=int(length), flags=0x02 if ":" in at else 0
                )
            if up:
                api.link("set", index=index, state="up")
                api.link("set", index=api.link_lookup(ifname=peer)[0], state="up")

        self.call(act)

    def snapshot(self) -> dict[str, Any]:
        """Return what there is: devices with their attributes and permanent addresses, and routes."""

        def act(api: IPRoute) -> dict[str, Any]:
            links = {}
            for link in api.get_links():
                index = link["index"]
                links[link.get_attr("IFLA_IFNAME")] = {
                    "index": index,
                    "address": link.get_attr("IFLA_ADDRESS"),
                    "up": bool(link["flags"] & UP),
                    "mtu": link.get_attr("IFLA_MTU"),
                    "alias": link.get_attr("IFLA_IFALIAS"),
                    "queue": link.get_attr("IFLA_TXQLEN"),
                    "addresses": [_shown(a) for a in api.get_addr(index=index) if _is_kept(a)],
                }
            routes = [
                (r["table"], r.get_attr("RTA_DST"), r.get_attr("RTA_GATEWAY"), r.get_attr("RTA_PRIORITY"))
                for r in api.get_routes()
                if r["proto"] == 4
            ]
            return {"links": links, "routes": routes}

        return self.call(act)

    def close(self) -> None:
        """Let go of it."""
        os.close(self.fd)


class Host(Space):
    """A network namespace for commands, with a mount namespace: what is mounted there nobody else sees."""

    def __init__(self, fd: int) -> None:
        super().__init__(fd)

        def work() -> int:
            syscalls.unshare(syscalls.CLONE_NEWNS)
            syscalls.mount(b"none", b"/", None, syscalls.MS_REC | syscalls.MS_PRIVATE)
            return os.open("/proc/thread-self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)

        self._mounts = in_thread(work)

    def enter_all(self) -> None:
        """Let the calling process, which has one thread, enter both."""
        syscalls.setns(self._mounts, syscalls.CLONE_NEWNS)
        self.enter()

    def left(self) -> list[str]:
        """Return the network namespaces that are still pinned there."""

        def work() -> list[str]:
            syscalls.unshare(_CLONE_FS)
            syscalls.setns(self._mounts, syscalls.CLONE_NEWNS)
            lines = Path("/proc/thread-self/mountinfo").read_text().splitlines()
            return [line for line in lines if " - nsfs " in line and _PIN in line]

        return in_thread(work)

    def close(self) -> None:
        """Let go of both."""
        os.close(self._mounts)
        super().close()


def _flags(address: Any) -> int:
    return int(address.get_attr("IFA_FLAGS") or 0)


def _is_kept(address: Any) -> bool:
    return bool(_flags(address) & PERMANENT) and address["scope"] == 0


def _shown(address: Any) -> tuple[Any, ...]:
    times = address.get_attr("IFA_CACHEINFO")
    names = ("IFA_LOCAL", "IFA_ADDRESS", "IFA_BROADCAST", "IFA_LABEL", "IFA_RT_PRIORITY")
    return (
        *(address.get_attr(name) for name in names),
        address["prefixlen"],
        _flags(address) & ~0x40,
        times["ifa_preferred"],
    )


def in_thread(work: Callable[[], _T]) -> _T:
    """Return what *work* says in a thread that may change its namespaces."""
    done: list[_T] = []
    failed: list[BaseException] = []

    def run() -> None:
        try:
            done.append(work())
        except BaseException as error:  # noqa: BLE001 - it is raised in the caller's thread
            failed.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if failed:
        raise failed[0]
    return done[0]


__all__ = ["Host", "Space", "in_thread"]
