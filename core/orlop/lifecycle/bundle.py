"""The bundle: a directory with config.json and, usually, the root file system (bundle.md)."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from orlop.documents.reader import read_file
from orlop.store.root import absolute
from orlop_hookspecs.errors import BundleError

if TYPE_CHECKING:
    from orlop_hookspecs.documents import Config

CONFIG = "config.json"
"""Name of the config in a bundle; bundle.md fixes it."""


def locate(bundle: str | os.PathLike[str]) -> str:
    """Return the absolute path of *bundle*.

    Raises:
        BundleError: It is empty or holds NUL.
    """
    path = os.fspath(bundle)
    if not path or "\0" in path:
        raise BundleError("expected the path of a bundle", value=path)
    return absolute(path)


def read_config(bundle: str) -> bytes:
    """Return the content of config.json in the directory *bundle*.

    Raises:
        BundleError: There is no such directory, or no such file in it.
        DocumentError: It is no regular file, or too large.
    """
    path = f"{bundle}/{CONFIG}"
    try:
        return read_file(path)
    except FileNotFoundError as error:
        if not os.path.isdir(bundle):
            raise BundleError(
                "bundle does not exist: no such directory", path=bundle, errno=error.errno
            ) from None
        raise BundleError(
            f"JSON specification file {CONFIG} not found", path=bundle, errno=error.errno
        ) from None
    except NotADirectoryError as error:
        raise BundleError("bundle is not a directory", path=bundle, errno=error.errno) from None
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise BundleError(f"cannot read the config: {reason}", path=path, errno=error.errno) from None


def rootfs_of(config: Config, bundle: str) -> str:
    """Return the absolute path of the root file system that *config* names; empty when it names none."""
    if config.root is None:
        return ""
    return os.path.normpath(os.path.join(bundle, config.root.path))


def require_rootfs(rootfs: str) -> None:
    """Refuse a root file system that is no directory.

    Raises:
        BundleError: It is none. The path may still be swapped later; what opens it verifies again.
    """
    if not rootfs:
        return
    try:
        mode = os.stat(rootfs).st_mode
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise BundleError(
            f"root filesystem cannot be used: {reason}", path=rootfs, pointer="/root/path", errno=error.errno
        ) from None
    if not stat.S_ISDIR(mode):
        raise BundleError("root filesystem is not a directory", path=rootfs, pointer="/root/path")
