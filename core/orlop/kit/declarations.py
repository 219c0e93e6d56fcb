"""Rules of declarations: what a plugin says once per composition."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orlop.documents.structure import properties_of
from orlop.engine.coverage import ENTRY, ITEM, segments
from orlop.kit.rules import differences, rule
from orlop.kit.watch import Watch
from orlop.plugins.facade import Hooks
from orlop.plugins.sources import installed
from orlop_hookspecs.documents import kinds

if TYPE_CHECKING:
    from collections.abc import Iterator

    from orlop.kit.subject import Subject
    from orlop_hookspecs.hooks.capability import Handle


def _handles(subject: Subject) -> list[Handle]:
    return [handle for _, declared in Hooks([subject.verified]).handles() for handle in declared]


@rule("declarations")
def handles_properties_that_exist(subject: Subject) -> Iterator[str]:
    """Every property path that the plugin handles is one of config.json; a misspelt one covers nothing."""
    subject.need("orlop_handles")
    for handle in _handles(subject):
        missing = _missing(handle.path)
        if missing:
            yield f"the handle of {handle.path}: config.json has no {missing}"


@rule("declarations")
def handles_each_property_once(subject: Subject) -> Iterator[str]:
    """No two handles of the plugin have one path, and none that lists values is hidden by a wider one."""
    subject.need("orlop_handles")
    handles = _handles(subject)
    paths = [handle.path for handle in handles]
    yield from (f"{path} is handled twice" for path in dict.fromkeys(paths) if paths.count(path) > 1)
    wide = [handle.path for handle in handles if not handle.exact and handle.values is None]
    for handle in handles:
        if handle.values is not None:
            for path in wide:
                if handle.path.startswith((f"{path}.", f"{path}[")):
                    yield f"the values of {handle.path} are hidden by the handle of all of {path}"


@rule("declarations")
def advertises_under_its_own_names(subject: Subject) -> Iterator[str]:
    """Annotations of the features document have keys of a domain, so that no two vendors have the same."""
    subject.need("orlop_features")
    for _, fragment in Hooks([subject.verified]).features():
        for key in dict(fragment.get("annotations") or {}):
            if "." not in str(key):
                yield f"the annotation {key} begins with no domain, such as com.example"


@rule("declarations")
def declares_the_same_again(subject: Subject) -> Iterator[str]:
    """Asked twice, the plugin declares the same."""
    first, second = Hooks([subject.verified]), Hooks([subject.verified])
    yield from differences("orlop_handles", first.handles(), second.handles())
    yield from differences("orlop_features", first.features(), second.features())
    identity = subject.verified.implementations["orlop_plugin"].function
    yield from differences("orlop_plugin", [identity()], [identity()])


@rule("declarations")
def declares_without_looking(subject: Subject) -> Iterator[str]:
    """Declarations do not depend on the host: no files, no system calls."""
    hooks = Hooks([subject.verified])
    for name in ("handles", "features"):
        ask = getattr(hooks, name)
        ask()  # the first call may import
        with Watch() as watch:
            ask()
        yield from (f"orlop_{name}: {event}" for event in watch.seen)


@rule("declarations")
def names_plugins_that_it_knows(subject: Subject) -> Iterator[str]:
    """What the plugin requires is installed, and it does not relate to itself."""
    info = subject.verified.info
    for name in info.requires:
        if name not in installed():
            yield f"it requires {name}, which is not installed"
    for field in ("requires", "conflicts", "after", "before"):
        if info.name in getattr(info, field):
            yield f"it names itself in {field}"


@rule("declarations")
def says_what_it_is(subject: Subject) -> Iterator[str]:
    """The version and the one-line summary are there: `orlop plugins` shows them."""
    info = subject.verified.info
    for field, value in (("version", info.version), ("summary", info.summary)):
        text: object = value
        if not isinstance(text, str) or not text.strip() or not text.isprintable():
            yield f"the {field} is not one line of text: {text!r}"


def _missing(path: str) -> str:
    """Return the first part of the property *path* that config.json does not have; empty when it is there."""
    kind: kinds.Kind[Any] = kinds.Ref("config", "Config")
    seen = ""
    for part in segments(path):
        seen = f"{seen}{'' if part in {ITEM, ENTRY} or not seen else '.'}{part}"
        if part == ITEM:
            if not isinstance(kind, kinds.ListOf | kinds.OneOrMany):
                return seen
            kind = kind.item
        elif part == ENTRY:
            if not isinstance(kind, kinds.MapOf):
                return seen
            kind = kind.item
        else:
            attribute = properties_of(kind.resolve()).get(part) if isinstance(kind, kinds.Ref) else None
            if attribute is None:
                return seen
            kind = attribute[1]
    return ""
