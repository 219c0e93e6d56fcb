"""What is known of the documents of single runtimes beyond what can be seen in them.

Each entry was seen: the program was run, or its documentation says so; a test repeats what an installed
program can show. Entries are about what a caller would do wrong by believing the document.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from orlop.advertised.report import Remark
from orlop.severity import NOTE, WARNING
from orlop_hookspecs.frozen import Frozen, frozen

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

_NAMES = (
    ("orlop", "io.orlop.version"),
    # crun also has an annotation of runc's, so it is asked for first.
    ("crun", "run.oci.crun.version"),
    ("runc", "org.opencontainers.runc.version"),
)
"""Runtimes and the annotations by which their documents tell who made them."""

_VERSION = re.compile(r"[0-9]+(\.[0-9]+)*", re.ASCII)
_LONGEST = 64


@frozen
class Maker(Frozen):
    """Who made a document."""

    name: str
    version: str

    @property
    def label(self) -> str:
        """Name and version; empty when the document does not say."""
        return f"{self.name} {self.version}".strip()

    @property
    def numbers(self) -> tuple[int, ...]:
        """The numbers of the version, for comparisons."""
        found = _VERSION.match(self.version)
        return tuple(int(part) for part in found[0].split(".")) if found else ()


def runtime_of(data: Mapping[str, Any]) -> Maker:
    """Return who made the document *data*, by its annotations."""
    annotations = data.get("annotations")
    if isinstance(annotations, dict):
        for name, key in _NAMES:
            version = annotations.get(key)
            if isinstance(version, str):
                return Maker(name, version[:_LONGEST])
    return Maker("", "")


def known_defects(data: Mapping[str, Any]) -> Iterator[Remark]:
    """Yield what is known to be wrong with the documents of this runtime."""
    maker = runtime_of(data)
    for name, defect in _DEFECTS:
        if name == maker.name:
            yield from defect(data, maker)


def version_tells_nothing(data: Mapping[str, Any]) -> bool:
    """Tell whether ``ociVersionMax`` does not say what the runtime implements.

    The version of crun is a fixed text. That of runc 1.1 is the version of the package of the specification
    that it was built with: Debian's runc 1.1.15 says 1.2.0 and knows nothing that is newer than 1.0.2.
    """
    maker = runtime_of(data)
    if maker.name == "crun":
        return "+" in str(data.get("ociVersionMax"))
    return maker.name == "runc" and (1, 1) <= maker.numbers < (1, 2) and data.get("ociVersionMax") == "1.2.0"


def _linux(data: Mapping[str, Any]) -> Mapping[str, Any]:
    linux = data.get("linux")
    return linux if isinstance(linux, dict) else {}


def _runc_rdt(data: Mapping[str, Any], _: Maker) -> Iterator[Remark]:
    if "intelRdt" not in _linux(data):
        yield Remark(
            WARNING,
            "understated",
            "/linux/intelRdt",
            "runc applies schemata of linux.intelRdt, or fails where there is no resctrl; it does not say so",
        )


def _runc_rdma(data: Mapping[str, Any], maker: Maker) -> Iterator[Remark]:
    cgroup = _linux(data).get("cgroup")
    if maker.numbers >= (1, 1) and not (isinstance(cgroup, dict) and "rdma" in cgroup):
        yield Remark(
            WARNING,
            "understated",
            "/linux/cgroup/rdma",
            "runc applies linux.resources.rdma, or fails where there is no such controller; "
            "it does not say so",
        )


def _runc_annotations(data: Mapping[str, Any], maker: Maker) -> Iterator[Remark]:
    if "potentiallyUnsafeConfigAnnotations" not in data and maker.numbers >= (1, 0):
        yield Remark(
            WARNING,
            "understated",
            "/potentiallyUnsafeConfigAnnotations",
            "runc hands annotations with the prefix org.systemd.property. to systemd, "
            "but the document does not list them",
        )


def _runc_version(data: Mapping[str, Any], _: Maker) -> Iterator[Remark]:
    if version_tells_nothing(data):
        yield Remark(
            WARNING,
            "constant",
            "/ociVersionMax",
            "this is the version of a package that runc 1.1 was built with; "
            "it implements no property that is newer than 1.0.2",
            data["ociVersionMax"],
        )


def _runc_checkpoint(data: Mapping[str, Any], _: Maker) -> Iterator[Remark]:
    key = "org.opencontainers.runc.checkpoint.enabled"
    if key in data.get("annotations", {}):
        yield Remark(
            NOTE,
            "constant",
            f"/annotations/{key}",
            "runc writes this text in every build; whether CRIU is there is another question",
        )


def _crun_versions(data: Mapping[str, Any], _: Maker) -> Iterator[Remark]:
    if version_tells_nothing(data):
        yield Remark(
            WARNING,
            "constant",
            "/ociVersionMax",
            "crun writes this text whatever it implements: it does not tell which versions are accepted",
            data["ociVersionMax"],
        )


def _crun_time(data: Mapping[str, Any], _: Maker) -> Iterator[Remark]:
    listed = _linux(data).get("namespaces")
    if isinstance(listed, list) and "time" not in listed:
        yield Remark(
            WARNING,
            "understated",
            "/linux/namespaces",
            "crun makes time namespaces and applies linux.timeOffsets, but does not list them",
            "time",
        )


_DEFECTS: tuple[tuple[str, Callable[[Mapping[str, Any], Maker], Iterator[Remark]]], ...] = (
    ("runc", _runc_rdt),
    ("runc", _runc_rdma),
    ("runc", _runc_annotations),
    ("runc", _runc_version),
    ("runc", _runc_checkpoint),
    ("crun", _crun_versions),
    ("crun", _crun_time),
)
