"""``orlop compose``: make a runtime of chosen plugins in one file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orlop.cli.output import to_json, write
from orlop.cli.paths import complete
from orlop.store.root import absolute
from orlop_hookspecs.errors import UsageError

if TYPE_CHECKING:
    from orlop.cli.context import Context

_INDENT = "    "


def run(context: Context) -> int:
    """Compose the runtime that the manifest describes, and say what is inside."""
    complete()
    from orlop.composing.image import MARK, build
    from orlop.composing.manifest import read_manifest
    from orlop.composing.output import check
    from orlop.composing.output import write as write_image
    from orlop.composing.parts import gather
    from orlop.composing.source import as_report

    line = context.line
    manifest = read_manifest(line.arguments[0])
    output = _output(line.text("output") or manifest.name)
    check(output, MARK)
    parts = gather(manifest)
    content = build(manifest, parts)
    write_image(output, content)
    import hashlib

    report = {
        "output": output,
        "size": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
        **as_report(manifest, parts),
    }
    write(to_json(report, _INDENT) + "\n" if line.text("format") == "json" else _text(report))
    return 0


def _output(path: str) -> str:
    """Return the absolute path of the file to write; one that ends in a slash names none."""
    if path.endswith("/"):
        raise UsageError("cannot write the runtime: expected the path of a file", path=path)
    return absolute(path)


def _text(report: dict[str, Any]) -> str:
    lines = [f"{report['output']}: {report['size']} bytes, sha256 {report['sha256']}", "plugins:"]
    lines += [f"    {name} {version}" for name, version in report["plugins"].items()]
    lines += [
        "distributions:",
        *(f"    {name} {version}" for name, version in report["distributions"].items()),
    ]
    lines += ["features:", to_json(report["features"], _INDENT)]
    return "".join(f"{line}\n" for line in lines)
