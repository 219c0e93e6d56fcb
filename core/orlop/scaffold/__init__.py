"""Beginning a plugin: a distribution that works, with its samples and its tests, made from a template.

What is in ``template/`` becomes a file of the distribution, with ``@NAME@``, ``@PACKAGE@`` and ``@VARIABLE@``
replaced and the ending ``.in`` taken off.
"""

from __future__ import annotations

import os
import re
import shutil
from typing import TYPE_CHECKING

from orlop.plugins.sources import installed
from orlop_hookspecs import CONTRACT_VERSION
from orlop_hookspecs.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_TEMPLATE = os.path.join(os.path.dirname(__file__), "template")
_SUFFIX = ".in"
_PACKAGE = "package"
"""Stands for the name of the package in paths."""


def scaffold(name: str, directory: str = "") -> list[str]:
    """Write a distribution with the plugin *name* to *directory* and return the paths of its files.

    Args:
        name: Name of the plugin and of the distribution: lower-case letters, digits and hyphens.
        directory: Where it is written; by default a directory of its name. It is new or empty.

    Raises:
        UsageError: The name cannot be used, or the directory is not empty or has no room; nothing of what was
            written is left.
    """
    if not _NAME.fullmatch(name):
        raise UsageError(
            "a plugin has a name of lower-case letters, digits and hyphens that begins with a letter",
            value=name,
        )
    point = installed().get(name)
    if point is not None:
        raise UsageError(f"a plugin of this name is installed already, by {point.distribution}", value=name)
    place = directory or name
    try:
        if os.listdir(place):
            raise UsageError("the directory is not empty", path=place)
    except FileNotFoundError:
        pass
    except NotADirectoryError:
        raise UsageError("it is not a directory", path=place) from None
    package = name.replace("-", "_")
    words = {
        "@NAME@": name,
        "@PACKAGE@": package,
        "@VARIABLE@": package.upper(),
        "@CONTRACT@": CONTRACT_VERSION,
    }
    made = not os.path.isdir(place)
    written: list[str] = []
    try:
        for path in sorted(_files(_TEMPLATE)):
            with open(path, encoding="utf-8") as file:
                text = file.read()
            for word, value in words.items():
                text = text.replace(word, value)
            relative = os.path.relpath(path, _TEMPLATE).removesuffix(_SUFFIX)
            parts = [package if part == _PACKAGE else part for part in relative.split(os.sep)]
            written.append(os.path.join(place, *parts))
            _write(written[-1], text)
    except OSError as error:
        _remove(place, made=made)
        why = (error.strerror or str(error)).lower()
        raise UsageError(f"cannot write the plugin: {why}", path=place, errno=error.errno) from error
    return written


def _write(target: str, text: str) -> None:
    os.makedirs(os.path.dirname(target), exist_ok=True)
    with open(target, "x", encoding="utf-8") as file:
        file.write(text)


def _remove(place: str, *, made: bool) -> None:
    """Remove what was written to a directory that was empty, and the directory if it was *made* for that."""
    for name in os.listdir(place) if os.path.isdir(place) else ():
        path = os.path.join(place, name)
        if os.path.isdir(path):
            shutil.rmtree(path)
        else:
            os.unlink(path)
    if made and os.path.isdir(place):
        os.rmdir(place)


def _files(directory: str) -> Iterator[str]:
    for place, _, names in os.walk(directory):
        yield from (os.path.join(place, name) for name in names if name.endswith(_SUFFIX))
