"""From the bytes of a document to JSON data: JSON and YAML, by the name of the file (CDI SPEC.md; its tools).

Of YAML only what JSON can say is read, by a loader that makes plain data and nothing else: no tags, no dates,
no keys that are not strings. Numbers are read as by the reference implementation: ``0660`` is octal.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import yaml

EXTENSIONS = (".json", ".yaml")
"""Of files that are documents; the reference implementation looks at no others."""

_MOST = 1 << 17
"""Values in a YAML document, each counted where it stands; an alias repeats what it refers to."""

_DEEPEST = 50
"""Levels of a YAML document, of which a CDI document needs seven."""


def parse(content: bytes, path: str) -> Any:  # noqa: ANN401 - JSON data
    """Return what stands in *content*, the file at *path*, as JSON data.

    Raises:
        ValueError: It is neither; the message says what it should be, and where it is not.
    """
    if path.endswith(".yaml"):
        return _from_yaml(content)
    try:
        return json.loads(content.decode("utf-8"), object_pairs_hook=_once, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"not a JSON document: {error}") from None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise ValueError("a key stands twice in one object")
    return made


def _no_constant(word: str) -> Any:  # noqa: ANN401 - it returns nothing
    raise ValueError(f"{word} is no JSON number")


def _from_yaml(content: bytes) -> Any:  # noqa: ANN401 - JSON data
    import yaml  # only who has such a document needs it

    try:
        loader = _loader()(content.decode("utf-8"))
        try:
            data = loader.get_single_data()
        finally:
            loader.dispose()
        return _Plain().of(data, "")
    except yaml.YAMLError as error:
        raise ValueError(f"not a YAML document: {_in_one_line(error)}") from None
    except (ValueError, RecursionError) as error:
        raise ValueError(f"not a YAML document: {error}") from None


def _in_one_line(error: yaml.YAMLError) -> str:
    problem = getattr(error, "problem", None) or str(error)
    mark = getattr(error, "problem_mark", None)
    where = f", line {mark.line + 1}, column {mark.column + 1}" if mark is not None else ""
    return " ".join(str(problem).split()) + where


class _Plain:
    """Copies data into JSON data, as long as there is not too much of it."""

    def __init__(self) -> None:
        self._left = _MOST

    def of(self, value: object, place: str) -> Any:  # noqa: ANN401 - JSON data
        """Return *value*, which stands at *place*, if JSON can say it."""
        self._left -= 1
        if self._left < 0:
            raise ValueError("its aliases make too much of it")
        if isinstance(value, dict):
            return {self._key(key, place): self.of(item, f"{place}/{key}") for key, item in value.items()}
        if isinstance(value, list):
            return [self.of(item, f"{place}/{index}") for index, item in enumerate(value)]
        if isinstance(value, float) and not abs(value) < float("inf"):
            raise ValueError(f"{place or '/'}: {value} is no JSON number")
        return value

    @staticmethod
    def _key(key: object, place: str) -> str:
        if not isinstance(key, str):
            raise ValueError(f"{place or '/'}: key {key!r} is not a string; write it in quotes")  # noqa: TRY004 - of the document
        return key


_NUMBER = re.compile(r"[-+]?(?:0o?[0-7]+|0x[0-9a-fA-F]+|0|[1-9][0-9]*)\Z")
_SCALARS = (
    ("null", re.compile(r"(?:~|null|Null|NULL|)\Z"), ["~", "n", "N", ""]),
    ("bool", re.compile(r"(?:true|True|TRUE|false|False|FALSE)\Z"), list("tTfF")),
    ("int", _NUMBER, list("-+0123456789")),
    (
        "float",
        re.compile(r"[-+]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)?\Z"),
        list("-+.0123456789"),
    ),
    ("merge", re.compile(r"<<\Z"), ["<"]),
)
"""What a word without quotes is; all others are strings (YAML 1.2.2, 10.3)."""


def _loader() -> type[yaml.SafeLoader]:
    """Return the loader; it is made when it is first needed, as PyYAML is imported then."""
    import yaml

    class Loader(yaml.SafeLoader):
        """Makes data that JSON has, and refuses a key that stands twice."""

        yaml_implicit_resolvers = {}  # noqa: RUF012 - PyYAML's own way of saying it
        yaml_constructors = {  # noqa: RUF012 - as above
            tag: made
            for tag, made in yaml.SafeLoader.yaml_constructors.items()
            if tag is None or tag.rpartition(":")[2] in {"null", "bool", "float", "str", "seq", "map"}
        }

        depth = 0

        def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
            if self.depth >= _DEEPEST:
                raise yaml.MarkedYAMLError(None, None, "it is nested too deeply")
            self.depth += 1
            node = super().compose_node(parent, index)
            self.depth -= 1
            return node

        def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:  # noqa: ANN401 - as PyYAML calls it
            node = super().compose_mapping_node(anchor)
            seen: set[str] = set()
            for key, _ in node.value:
                if key.value in seen if isinstance(key, yaml.ScalarNode) else False:
                    raise yaml.MarkedYAMLError(None, None, "a key stands twice in one object", key.start_mark)
                seen.add(str(key.value))
            return node

    for name, pattern, first in _SCALARS:
        Loader.add_implicit_resolver(f"tag:yaml.org,2002:{name}", pattern, first)
    Loader.add_constructor("tag:yaml.org,2002:int", lambda _, node: _integer(node.value))
    return Loader


def _integer(text: str) -> int:
    sign, digits = (-1, text[1:]) if text[0] == "-" else (1, text.removeprefix("+"))
    if digits.startswith("0") and digits.strip("0") and not digits.startswith("0x"):
        return sign * int(digits.removeprefix("0o"), 8)
    return sign * int(digits, 0)
