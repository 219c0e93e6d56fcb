"""Rules of distributions: what the package that holds a plugin says of itself."""

from __future__ import annotations

import re
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from orlop.kit.rules import rule

if TYPE_CHECKING:
    from collections.abc import Iterator

    from orlop.kit.subject import Subject


def _distribution(subject: Subject) -> metadata.Distribution | None:
    if subject.point is None or not subject.point.distribution:
        return None
    return metadata.distribution(subject.point.distribution.rpartition("-")[0])


@rule("distribution")
def requires_orlop(subject: Subject) -> Iterator[str]:
    """The distribution says that it needs orlop, so that an installer brings one that fits."""
    found = _distribution(subject)
    if found is None or found.name == "orlop":
        return
    names = [re.split(r"[^A-Za-z0-9._-]", text, maxsplit=1)[0] for text in found.requires or ()]
    if "orlop" not in names:
        yield f"distribution {found.name} does not require orlop"


@rule("distribution")
def is_typed(subject: Subject) -> Iterator[str]:
    """The package says that it is typed (py.typed), so that its users' type checkers read it."""
    if subject.point is None:
        return
    package = subject.point.value.partition(":")[0].partition(".")[0].strip()
    spec = find_spec(package)
    places = list(spec.submodule_search_locations or ()) if spec is not None else []
    if places and not any(Path(place, "py.typed").is_file() for place in places):
        yield f"package {package} has no file py.typed"


@rule("distribution")
def has_the_version_of_its_distribution(subject: Subject) -> Iterator[str]:
    """The plugin states the version of the distribution that it comes with."""
    found = _distribution(subject)
    if found is not None and found.version != subject.verified.info.version:
        yield f"the plugin states version {subject.verified.info.version}, its distribution {found.version}"
