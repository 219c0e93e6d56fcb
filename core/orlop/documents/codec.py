"""The codec of the documents: JSON data to frozen objects and back, strictly and without loss.

``decode_*`` accept the raw bytes of a file or data that was parsed already. All faults of a document are
collected (up to a limit) and raised as one :class:`~orlop.documents.faults.InvalidDocumentError`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar, cast

from orlop.documents import versions
from orlop.documents.faults import InvalidDocumentError, Mismatch
from orlop.documents.properties import null_properties, unknown_properties
from orlop.documents.reader import parse
from orlop.documents.structure import document_decoder
from orlop_hookspecs.documents.base import Document
from orlop_hookspecs.errors import DocumentError

if TYPE_CHECKING:
    import cattrs

    from orlop_hookspecs.documents import Config, Features, State

D = TypeVar("D", bound=Document)


def decode(source: bytes | dict[str, Any], cls: type[D], *, path: str = "") -> D:
    """Decode *source* as a document of class *cls*; *path* names the file in errors.

    Raises:
        DocumentError: The source is no JSON object, or not one of this kind.
    """
    data: Any = parse(source, path=path) if isinstance(source, bytes) else source
    try:
        return cast("D", document_decoder(cls)(data))
    except Mismatch as mismatch:
        raise InvalidDocumentError(mismatch.faults, path=path) from None


def decode_config(
    source: bytes | dict[str, Any], *, path: str = "", report: list[str] | None = None
) -> Config:
    """Decode a config.json, of specification version 1.0.0 or newer within the same major version.

    A document of a version newer than the newest known one is accepted only if every property that it sets is
    known.

    Args:
        source: The bytes of the file, or parsed data.
        path: Name of the file, for errors.
        report: List that receives the JSON pointers of the unknown properties, which are otherwise ignored.

    Raises:
        DocumentError: The source cannot be read as a config, or is of another version.
    """
    from orlop_hookspecs.documents.config import Config

    data: Any = parse(source, path=path) if isinstance(source, bytes) else source
    version = data.get("ociVersion") if isinstance(data, dict) else None
    # Another major version explains every other fault of the document: it is told first.
    newer = isinstance(version, str) and versions.check_config_version(version, path=path)
    config = decode(data, Config, path=path)
    if newer or report is not None:
        unknown = unknown_properties(data, Config)
        if newer and unknown:
            message = f"unknown property in a document of version {version}, newer than {versions.MAXIMUM}"
            raise DocumentError(message, pointer=unknown[0], path=path)
        if report is not None:
            report.extend(unknown)
    return config


def decode_state(source: bytes | dict[str, Any], *, path: str = "") -> State:
    """Decode the state of a container; its ``ociVersion`` is not restricted.

    Raises:
        DocumentError: The source cannot be read as a state.
    """
    from orlop_hookspecs.documents.state import State

    return decode(source, State, path=path)


def decode_features(source: bytes | dict[str, Any], *, path: str = "") -> Features:
    """Decode a features document; which properties are ``null`` is kept in ``explicit_nulls``.

    Raises:
        DocumentError: The source cannot be read as a features document.
    """
    from orlop_hookspecs.documents.features import Features

    data: Any = parse(source, path=path) if isinstance(source, bytes) else source
    features = decode(data, Features, path=path)
    nulls = null_properties(data, Features)
    return features.evolve(explicit_nulls=tuple(sorted(nulls))) if nulls else features


def encode(document: Document) -> dict[str, Any]:
    """Return *document* as JSON-ready data: property names of the specification, nothing that is not set."""
    data = _encode(document)
    for place in getattr(document, "explicit_nulls", ()):
        _restore_null(data, place)
    return data


def _encode(document: Document) -> dict[str, Any]:
    data: dict[str, Any] = {}
    for name, value in document.properties():
        data[name] = _encode_value(value)
    return data


def _encode_value(value: object) -> object:
    if isinstance(value, Document):
        return _encode(value)
    if isinstance(value, (tuple, list)):
        return [_encode_value(item) for item in value]
    if isinstance(value, dict):
        return {key: _encode_value(item) for key, item in value.items()}
    return value


def _restore_null(data: dict[str, Any], place: str) -> None:
    """Set the property at the JSON pointer *place* to null, unless it has a value or its object is gone."""
    *parents, name = (part.replace("~1", "/").replace("~0", "~") for part in place.split("/")[1:])
    target: Any = data
    for part in parents:
        target = target.get(part) if isinstance(target, dict) else None
    if isinstance(target, dict):
        target.setdefault(name, None)


def encode_json(document: Document, *, indent: int | None = None) -> str:
    """Return *document* as JSON text, ASCII only: on one line, or with *indent* spaces per level."""
    import json

    separators = (",", ":") if indent is None else (",", ": ")
    return json.dumps(encode(document), indent=indent, separators=separators, allow_nan=False)


def converter() -> cattrs.Converter:
    """Return a new cattrs converter that reads and writes documents, alone or inside other attrs classes.

    It raises what the functions of this module raise. They do without it because a cold ``create`` cannot
    afford the import of cattrs; both ways run the same hooks.
    """
    import cattrs

    def is_document(cls: object) -> bool:
        return isinstance(cls, type) and issubclass(cls, Document)

    made = cattrs.Converter()
    made.register_structure_hook_func(is_document, decode)
    made.register_unstructure_hook_func(is_document, encode)
    return made
