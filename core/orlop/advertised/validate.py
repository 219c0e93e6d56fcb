"""Judge a features document strictly: types, versions, unknown and misspelt names, contradictions, silence.

The published JSON schema lets every misspelt property pass, knows no versions and misses some properties;
what features.md and features-linux.md demand in prose is examined here.
"""

from __future__ import annotations

import re
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from orlop.advertised import since
from orlop.advertised.peers import known_defects, runtime_of
from orlop.advertised.report import Remark, Report
from orlop.documents.faults import InvalidDocumentError, pointer
from orlop.documents.reader import parse
from orlop.documents.structure import properties_of, text_fault
from orlop.documents.versions import MAXIMUM
from orlop.documents.versions import parse as parse_version
from orlop.severity import ERROR, NOTE, SEVERITIES, WARNING
from orlop_hookspecs.documents import kinds, vocabulary
from orlop_hookspecs.documents.features import Features
from orlop_hookspecs.errors import DocumentError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from orlop_hookspecs.documents.base import Document

    Place = tuple[str | int, ...]

LIMIT = 500
"""Remarks that are kept: nobody reads more of a hostile document."""

_WORDS: Mapping[str, tuple[str, ...]] = {
    "hooks": vocabulary.HOOK_NAMES,
    "mountOptions": vocabulary.MOUNT_OPTIONS,
}
"""Lists of free strings whose usual words the specification names."""

_MIN, _MAX = "ociVersionMin", "ociVersionMax"


def validate_features(source: bytes | Mapping[str, Any]) -> Report:
    """Return everything that is wrong with, or worth knowing of, the features document *source*.

    Args:
        source: The text of the document, or its JSON data.
    """
    if isinstance(source, bytes):
        try:
            data = parse(source)
        except InvalidDocumentError as error:
            return _finish({}, [Remark(ERROR, "json", f.pointer, f.message, f.value) for f in error.faults])
        except DocumentError as error:
            return _finish({}, [Remark(ERROR, "json", error.pointer, error.message)])
    else:
        data = dict(source)
    newest = since.release_of(data.get(_MAX))
    found = list(_versions(data))
    found += _walk(kinds.Ref("features", "Features"), data, (), newest)
    if newest is not None and newest < since.FIRST_WITH_FEATURES:
        found.append(_too_old(data))
    for contradiction in _CONTRADICTIONS:
        found += contradiction(data)
    found += _silence(data, newest)
    found += known_defects(data)
    return _finish(data, found)


def _finish(data: Mapping[str, Any], found: list[Remark]) -> Report:
    ordered = sorted(found, key=lambda one: SEVERITIES.index(one.severity))
    return Report(runtime_of(data).label, data, tuple(ordered[:LIMIT]))


# -- versions


def _versions(data: Mapping[str, Any]) -> Iterator[Remark]:
    """Examine the two versions (features.md, Specification version)."""
    parsed = {}
    for name in (_MIN, _MAX):
        value = data.get(name)
        if isinstance(value, str):
            parsed[name] = parse_version(value)
            if parsed[name] is None:
                yield Remark(
                    ERROR,
                    "version-format",
                    f"/{name}",
                    "expected a version such as 1.3.0 (SemVer 2.0.0)",
                    value,
                )
    least, most = parsed.get(_MIN), parsed.get(_MAX)
    if least and most and most.precedence < least.precedence:
        message = f"the value must not be less than that of {_MIN}, {least}"
        yield Remark(ERROR, "version-order", f"/{_MAX}", message, str(most))
    if most and (most.prerelease or most.build):
        yield Remark(
            WARNING,
            "version-release",
            f"/{_MAX}",
            "this is no released version, so what it stands for can change from build to build",
            str(most),
        )


def _too_old(data: Mapping[str, Any]) -> Remark:
    names = ", ".join(name for name in data if name not in {_MIN, _MAX}) or "none"
    first = since.spell(since.FIRST_WITH_FEATURES)
    return Remark(
        ERROR,
        "version-gate",
        f"/{_MAX}",
        f"this version does not define the document's properties: features documents begin with {first}",
        data.get(_MAX),
        f"properties: {names}",
    )


# -- types, names and words


def _walk(
    kind: kinds.Kind[Any], value: object, place: Place, newest: since.Release | None
) -> Iterator[Remark]:
    """Yield what is wrong with *value*, which stands at *place* and should be of *kind*."""
    if not isinstance(value, _TYPES.get(type(kind), str)):
        expected = kind.expected if type(kind) in _TYPES else "a string"
        yield Remark(ERROR, "type", pointer(place), f"expected {expected}", value)
    elif isinstance(kind, kinds.Ref) and isinstance(value, dict):
        yield from _object(kind.resolve(), value, place, newest)
    elif isinstance(kind, kinds.ListOf) and isinstance(value, list):
        yield from _list(kind.item, value, place)
    elif isinstance(kind, kinds.MapOf) and isinstance(value, dict):
        yield from _map(kind, value, place)
    elif isinstance(value, str) and text_fault(value):
        yield Remark(ERROR, "type", pointer(place), text_fault(value), value)


_TYPES: Mapping[type[kinds.Kind[Any]], type] = {
    kinds.Boolean: bool,
    kinds.ListOf: list,
    kinds.MapOf: dict,
    kinds.Ref: dict,
}
"""What JSON data of each kind is; all others are strings."""


def _map(kind: kinds.MapOf[Any], value: Mapping[str, Any], place: Place) -> Iterator[Remark]:
    for key, item in value.items():
        if not key:
            yield Remark(ERROR, "annotation-key", pointer((*place, key)), "the key is empty")
        yield from _walk(kind.item, item, (*place, key), None)


def _object(
    cls: type[Document], value: Mapping[str, Any], place: Place, newest: since.Release | None
) -> Iterator[Remark]:
    known = properties_of(cls)
    required = cls.required_fields()
    for name, (field, _) in known.items():
        if field in required and value.get(name) is None:
            what = "must not be null" if name in value else "is required"
            yield Remark(ERROR, "required", pointer((*place, name)), f"the property {what}")
    for name, item in value.items():
        here = (*place, name)
        path = ".".join(map(str, here))
        if name not in known:
            yield _unknown(name, known, here, newest)
            continue
        release = since.introduced(path, since.FEATURES, since.FIRST_WITH_FEATURES)
        if newest is not None and since.FIRST_WITH_FEATURES <= newest < release and path in since.FEATURES:
            yield Remark(
                ERROR,
                "version-gate",
                pointer(here),
                f"the property is defined since {since.spell(release)}, "
                f"and the document says that it follows {since.spell(newest)}",
                hint=f"{_MAX} must be {since.spell(release)} or newer, or the property absent",
            )
        if item is not None:
            yield from _walk(known[name][1], item, here, newest)


def _unknown(name: str, known: Mapping[str, object], place: Place, newest: since.Release | None) -> Remark:
    if newest is not None and newest > _newest_known():
        message = f"the property is unknown up to {MAXIMUM}; a newer version may define it"
        return Remark(NOTE, "unknown-property", pointer(place), message)
    close = get_close_matches(name[:64], list(known), 1)
    hint = f"did you mean {close[0]}?" if close else ""
    message = "no version of the specification defines this property"
    return Remark(ERROR, "unknown-property", pointer(place), message, hint=hint)


def _newest_known() -> since.Release:
    found = since.release_of(MAXIMUM)
    assert found is not None  # noqa: S101 - a constant
    return found


def _list(item: kinds.Kind[Any], values: list[Any], place: Place) -> Iterator[Remark]:
    path = ".".join(map(str, place))
    words = item.values if isinstance(item, kinds.Choice) else _WORDS.get(path)
    seen: set[str] = set()
    for index, value in enumerate(values):
        here = (*place, index)
        faults = list(_walk(item, value, here, None))
        yield from faults
        if faults or not isinstance(value, str):
            continue
        if value in seen:
            yield Remark(WARNING, "duplicate", pointer(here), "the value is listed before", value)
        seen.add(value)
        if words is not None and value not in words:
            yield _unusual(path, words, value, here)
        elif (
            isinstance(item, kinds.Text) and item.pattern and not re.fullmatch(item.pattern, value, re.ASCII)
        ):
            yield Remark(WARNING, "unknown-value", pointer(here), f"expected {item.shape}", value)


def _unusual(path: str, words: tuple[str, ...], value: str, place: Place) -> Remark:
    if path == "mountOptions":
        message = "config.md does not have this option: only this runtime says what it means"
        if value.partition("=")[0] in vocabulary.FILESYSTEM_OPTIONS:
            message = "an option of single file systems should not be listed (features.md, Mount Options)"
            return Remark(WARNING, "filesystem-option", pointer(place), message, value)
        return Remark(NOTE, "custom-option", pointer(place), message, value)
    close = get_close_matches(value[:64], words, 1)
    hint = f"did you mean {close[0]}?" if close else ""
    return Remark(
        WARNING, "unknown-value", pointer(place), "the specification has no such value", value, hint
    )


# -- what cannot be true at once


def at(data: object, path: str) -> Any:  # noqa: ANN401 - JSON data
    """Return what *data* has at the dotted *path*; ``None`` when it is absent, or below what is no object."""
    for name in path.split("."):
        data = data.get(name) if isinstance(data, dict) else None
    return data


def _strings(data: Mapping[str, Any], path: str) -> list[str] | None:
    value = at(data, path)
    return [one for one in value if isinstance(one, str)] if isinstance(value, list) else None


def _flags(data: Mapping[str, Any]) -> Iterator[Remark]:
    """Require that supported flags are known ones (features-linux.md, Seccomp)."""
    known = _strings(data, "linux.seccomp.knownFlags")
    for flag in _strings(data, "linux.seccomp.supportedFlags") or ():
        if known is not None and flag not in known:
            yield Remark(
                ERROR,
                "contradiction",
                "/linux/seccomp/supportedFlags",
                "a supported flag is missing from knownFlags, of which this list is a part",
                flag,
            )


def _disabled(data: Mapping[str, Any]) -> Iterator[Remark]:
    """Doubt what is offered by something that is said not to be implemented."""
    for section in ("seccomp", "intelRdt"):
        whole = at(data, f"linux.{section}")
        if isinstance(whole, dict) and whole.get("enabled") is False:
            for name, value in whole.items():
                if name != "enabled" and value:
                    yield Remark(
                        WARNING,
                        "contradiction",
                        f"/linux/{section}/{name}",
                        "the section is not implemented, as enabled says, but this part of it is",
                    )


def _mapped_mounts(data: Mapping[str, Any]) -> Iterator[Remark]:
    """Compare id-mapped mounts with the options that ask for them (config.md, Linux mount options)."""
    enabled = at(data, "linux.mountExtensions.idmap.enabled")
    options = _strings(data, "mountOptions")
    if options is None:
        return
    for option in ("idmap", "ridmap"):
        if enabled is True and option not in options:
            message = "id-mapped mounts are implemented, but the option that asks for them is not listed"
            yield Remark(WARNING, "gap", "/mountOptions", message, option)
        if enabled is False and option in options:
            message = "id-mapped mounts are not implemented, but the option that asks for them is listed"
            yield Remark(WARNING, "contradiction", "/mountOptions", message, option)


def _required_options(data: Mapping[str, Any]) -> Iterator[Remark]:
    """Name options that every runtime must implement and that are not listed (config.md)."""
    options = _strings(data, "mountOptions")
    if options is not None and at(data, "linux") is not None:
        missing = [one for one in vocabulary.REQUIRED_MOUNT_OPTIONS if one not in options]
        if missing:
            yield Remark(
                WARNING,
                "gap",
                "/mountOptions",
                f"options are missing that runtimes must implement: {', '.join(missing)}",
            )


_CONTRADICTIONS: tuple[Callable[[Mapping[str, Any]], Iterator[Remark]], ...] = (
    _flags,
    _disabled,
    _mapped_mounts,
    _required_options,
)


def _silence(data: Mapping[str, Any], newest: since.Release | None) -> Iterator[Remark]:
    """Name the properties that the document could have and has not: callers have to guess them."""
    most = max(newest or since.FIRST_WITH_FEATURES, since.FIRST_WITH_FEATURES)
    silent = [path for path in _leaves(Features, "") if at(data, path) is None]
    told = [
        path
        for path in silent
        if since.introduced(path, since.FEATURES, since.FIRST_WITH_FEATURES) <= most and path != "annotations"
    ]
    if told:
        yield Remark(NOTE, "silence", "", f"callers cannot know: {', '.join(told)}")


def _leaves(cls: type[Document], path: str) -> Iterator[str]:
    """Yield the path of each optional property of the document that is no object of known properties."""
    required = cls.required_fields()
    for name, (field, kind) in properties_of(cls).items():
        here = f"{path}.{name}".lstrip(".")
        if isinstance(kind, kinds.Ref):
            yield from _leaves(kind.resolve(), here)
        elif field not in required:
            yield here
