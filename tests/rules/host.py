"""Rules of what plugins see of the host's files while they adjust a config (orlop_hookspecs.host)."""

from __future__ import annotations

import errno
from collections.abc import Callable

import pytest
from tests.rules.world import World, rule

from orlop_hookspecs.host import READ_LIMIT


def refused(number: int, look: Callable[[str], object], path: str) -> None:
    with pytest.raises(OSError, match=r".") as caught:
        look(path)
    assert caught.value.errno == number


@rule
def the_view_lists_names_in_their_order(w: World) -> None:
    bundle = w.bundle()
    for name in ("b", "a", "c"):
        w.put_file(bundle, f"data/{name}", name)
    view = w.runtime.kernel.host_view()
    assert list(view.names(f"{bundle}/rootfs/data")) == ["a", "b", "c"]
    assert list(view.names(f"{bundle}/rootfs/nothing")) == []
    refused(errno.ENOTDIR, view.names, f"{bundle}/rootfs/data/a")


@rule
def the_view_reads_regular_files(w: World) -> None:
    bundle = w.bundle()
    w.put_file(bundle, "data/a", "text")
    view = w.runtime.kernel.host_view()
    assert view.read(f"{bundle}/rootfs/data/a") == b"text"
    refused(errno.ENOENT, view.read, f"{bundle}/rootfs/data/b")
    refused(errno.EINVAL, view.read, f"{bundle}/rootfs/data")
    refused(errno.EINVAL, view.read, "/dev/null")
    refused(errno.ENOTDIR, view.read, f"{bundle}/rootfs/data/a/b")


@rule
def the_view_reads_no_more_than_a_mebibyte(w: World) -> None:
    bundle = w.bundle()
    w.put_file(bundle, "data/most", "x" * READ_LIMIT)
    w.put_file(bundle, "data/more", "x" * (READ_LIMIT + 1))
    view = w.runtime.kernel.host_view()
    assert len(view.read(f"{bundle}/rootfs/data/most")) == READ_LIMIT
    refused(errno.EFBIG, view.read, f"{bundle}/rootfs/data/more")


@rule
def the_view_knows_devices(w: World) -> None:
    view = w.runtime.kernel.host_view()
    found = view.device("/dev/null")
    assert (found.type, found.major, found.minor) == ("c", 1, 3)
    bundle = w.bundle()
    w.put_file(bundle, "data/a", "text")
    refused(errno.ENODEV, view.device, f"{bundle}/rootfs/data/a")
    refused(errno.ENOENT, view.device, f"{bundle}/rootfs/data/b")


@rule
def the_view_takes_absolute_paths(w: World) -> None:
    view = w.runtime.kernel.host_view()
    refused(errno.ENOENT, view.read, "dev/null")
    refused(errno.ENOENT, view.device, "dev/null")
    assert list(view.names("dev")) == []
