"""``orlop explain``: what create would do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orlop.cli.composition import runtime
from orlop.cli.launch import ConfigNamed, bundle_and_config
from orlop.cli.output import to_json, write
from orlop.store.identifiers import check_identifier
from orlop_hookspecs.launch import LaunchOptions

if TYPE_CHECKING:
    from orlop.cli.context import Context

_INDENT = "    "


def run(context: Context) -> int:
    """Print the plan with who asked for each step, and why."""
    composed = runtime(context)
    bundle, source = bundle_and_config(context.line)
    # Whether somebody holds a terminal that the config asks for is not what is asked here.
    options = LaunchOptions(foreground=True)
    container = check_identifier(context.line.text("id"))
    with ConfigNamed(context.line, bundle):
        explanation = composed.explain(
            bundle if source is None else source, container=container, options=options
        )
    layout = context.line.text("format")
    if layout == "json":
        write(to_json(explanation.as_data(), _INDENT) + "\n")
    elif layout == "svg":
        write(explanation.as_svg())
    elif layout == "mermaid":
        write(explanation.as_mermaid())
    else:
        write(explanation.as_text() + "\n")
    return 0
