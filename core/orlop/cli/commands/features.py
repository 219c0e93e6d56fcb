"""``orlop features``: what this composition can do, what others can, and whether they say it rightly."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orlop.cli.composition import runtime, settled
from orlop.cli.output import table, to_json, write
from orlop_hookspecs.errors import UsageError

if TYPE_CHECKING:
    from typing import Any

    from orlop.cli.context import Context

_INDENT = "    "
_FOUND = 1
"""Exit status when documents differ, or one is not valid."""
_NAME = "orlop"


def run(context: Context) -> int:
    """Print the features document, or what was asked about it or about another one."""
    line = context.line
    questions = {
        "provenance": line.on("provenance"),
        "key": line.on("key"),
        "diff": bool(line.text("diff")),
        "validate": bool(line.text("validate")),
    }
    asked = [name for name, on in questions.items() if on]
    if len(asked) > 1:
        raise UsageError(
            f"--{asked[0]} and --{asked[1]} cannot be used together", hint="ask one after the other"
        )
    as_json = line.text("format") == "json"
    if asked == ["validate"]:
        if context.parts is None:
            from orlop.cli.paths import complete

            complete()
        return _validate(line.text("validate"), as_json=as_json)
    if not {"provenance", "diff"}.intersection(asked) and settled(context):
        # A composed runtime has had its document written when it was made: no plugin is asked, or loaded.
        made = __import__("orlop_composed.features", fromlist=("_",))
        write(_key(made.KEY, as_json=as_json) if asked else made.TEXT)
        return 0
    composed = runtime(context)
    if asked == ["provenance"]:
        provenance = composed.features_provenance()
        write(to_json(provenance, _INDENT) + "\n" if as_json else _text(provenance))
        return 0
    from orlop.documents.codec import encode

    document = encode(composed.features())
    if asked == ["diff"]:
        return _diff(document, line.text("diff"), as_json=as_json)
    if asked == ["key"]:
        from orlop.advertised.key import features_key

        write(_key(features_key(document), as_json=as_json))
        return 0
    write(to_json(document, _INDENT) + "\n")
    return 0


def _key(key: str, *, as_json: bool) -> str:
    return (to_json({"key": key}, _INDENT) if as_json else key) + "\n"


def _validate(place: str, *, as_json: bool) -> int:
    from orlop.advertised.source import read_text
    from orlop.advertised.validate import validate_features

    report = validate_features(read_text(place)[0])
    write((to_json(report.as_data(), _INDENT) if as_json else report.as_text()) + "\n")
    return 0 if report.valid else _FOUND


def _diff(document: dict[str, Any], place: str, *, as_json: bool) -> int:
    from orlop.advertised.diff import diff_features
    from orlop.advertised.source import read_features

    found = diff_features(document, read_features(place), (_NAME, place))
    if as_json:
        write(to_json(found.as_data(), _INDENT) + "\n")
    elif found.equal:
        write("no differences\n")
    else:
        write(table(*found.rows()))
    return 0 if found.equal else _FOUND


def _text(provenance: dict[str, Any]) -> str:
    """Return one line per field, and one per value of a list."""
    lines = []
    for path, owners in provenance.items():
        if isinstance(owners, dict):
            lines.append(f"{path}:")
            lines += [f"    {value}: {', '.join(who)}" for value, who in owners.items()]
        else:
            lines.append(f"{path}: {', '.join(owners)}")
    return "".join(f"{line}\n" for line in lines)
