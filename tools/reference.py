"""Makes reference pages from the code (errors, steps, features, annotations): ``python tools/reference.py``.

With ``--check`` nothing is written; the exit status is 1 when a page is not what the code says.
"""

from __future__ import annotations

import ast
import inspect
import re
import sys
from pathlib import Path

import orlop
from orlop.plugins.sources import installed, on_request
from orlop_hookspecs import errors
from orlop_hookspecs.plan import PHASES
from orlop_hookspecs.steps import STEP_TYPES, Step
from orlop_linux.plugins.annotations import NEVER
from orlop_linux.plugins.shared import DESCRIBED

PAGES = Path(__file__).resolve().parents[1] / "docs" / "reference"
NOTE = "<!-- Made by `python tools/reference.py`; a test compares it with the code. -->\n"


def markdown(text: str) -> str:
    """Return reStructuredText, as far as docstrings use it, as Markdown."""
    return re.sub(r":[a-z]+:`~?\.?([^`]+)`", r"`\1`", text.replace("``", "`"))


def cell(text: str) -> str:
    """Return *text* as one cell of a table."""
    return " ".join(markdown(text).split()).replace("|", "\\|")


def summary(thing: object) -> str:
    """Return the first paragraph of the docstring."""
    return (inspect.getdoc(thing) or "").split("\n\n")[0]


def fields(cls: type) -> list[tuple[str, str, str, str]]:
    """Return name, type, default and description of the fields that the body of *cls* declares."""
    body = ast.parse(inspect.getsource(cls)).body[0]
    assert isinstance(body, ast.ClassDef)
    found = []
    for node, following in zip(body.body, [*body.body[1:], ast.Pass()], strict=True):
        if not isinstance(node, ast.AnnAssign) or ast.unparse(node.annotation).startswith("ClassVar"):
            continue
        described = isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant)
        text = str(following.value.value) if described else ""  # type: ignore[attr-defined]
        default = ast.unparse(node.value) if node.value else ""
        found.append((ast.unparse(node.target), ast.unparse(node.annotation), default, text))
    return found


def error_page() -> str:
    """Return the page on errors."""
    classes = [
        one
        for one in vars(errors).values()
        if isinstance(one, type) and issubclass(one, errors.OrlopError) and one is not errors.OrlopError
    ]
    lines = [
        "# Errors",
        "",
        (
            "Every error of orlop derives from `OrlopError` and from the built-in exception that is "
            "nearest to it, and can be imported from `orlop` and from `orlop_hookspecs.errors`. "
            "Its `code` is stable."
        ),
        "",
        "| Class | Code | Is also | Meaning |",
        "|---|---|---|---|",
    ]
    for one in classes:
        nearest = next(base.__name__ for base in one.__mro__[1:] if base.__module__ == "builtins")
        lines.append(f"| `{one.__name__}` | `{one.code}` | `{nearest}` | {cell(summary(one))} |")
    lines += ["", "## The parts of an error", "", "| Attribute | Content |", "|---|---|"]
    documented = (inspect.getdoc(errors.OrlopError) or "").partition("Args:")[2]
    for name, text in re.findall(r"^ +([a-z]+): (.*(?:\n {8,}.*)*)", documented, re.MULTILINE):
        lines.append(f"| `{name}` | {cell(text)} |")
    lines += [
        "",
        (
            "`str(error)` puts them together in one printable line; `error.as_dict()` returns them as "
            "data that is ready for JSON."
        ),
    ]
    return "\n".join(lines) + "\n"


def step_section(cls: type[Step]) -> list[str]:
    """Return the section on one step."""
    lines = [f"### {cls.__name__}", "", markdown(inspect.getdoc(cls) or ""), ""]
    if cls.PHASE:
        lines += [f"Phase `{cls.PHASE}`, slot `{cls.SLOT}`.", ""]
    if cls.UNDO:
        lines += [f"Undo: {cls.UNDO}.", ""]
    own = [field for field in fields(cls) if field[0] != "because"]
    if own:
        lines += ["| Field | Type | Default | |", "|---|---|---|---|"]
        for name, kind, default, text in own:
            shown = f"`{default}`" if default else ""
            lines.append(f"| `{name}` | `{cell(kind)}` | {shown} | {cell(text)} |")
        lines.append("")
    return lines


def step_page() -> str:
    """Return the page on steps."""
    lines = [
        "# Steps",
        "",
        (
            "What plans are made of. Plugins return steps from `orlop_plan`, a platform's kernel executes "
            "them. Every step has the field `because`, the JSON pointer of the property that asks for it. "
            "A step whose class names no phase says itself where it belongs."
        ),
        "",
    ]
    for phase in [*PHASES, ""]:
        classes = [one for one in STEP_TYPES.values() if phase == one.PHASE]
        if classes:
            lines += [f"## Phase {phase}" if phase else "## Phase by content", ""]
            for one in sorted(classes, key=lambda each: each.__name__):
                lines += step_section(one)
    return "\n".join(lines)


def feature_page() -> str:
    """Return the page on the features document of everything that is built in."""
    built_in = [name for name, point in installed().items() if point.value.startswith("orlop_linux.")]
    runtime = orlop.Runtime.compose(platform="linux", plugins=built_in)
    lines = [
        "# Features",
        "",
        (
            "The features document of a runtime with all built-in plugins: who supplies each field. "
            "`orlop features` prints the document itself, `orlop features --provenance` this list for the "
            "plugins that are installed."
        ),
        "",
        "| Field | Plugins |",
        "|---|---|",
    ]
    for path, source in sorted(runtime.features_provenance().items()):
        owners = {who for each in source.values() for who in each} if isinstance(source, dict) else source
        lines.append(f"| `{path}` | {', '.join(sorted(owners)) or 'nobody'} |")
    return "\n".join(lines) + "\n"


def annotation_page() -> str:
    """Return the page on annotations of configs."""
    built_in = [name for name, point in installed().items() if point.value.startswith("orlop_linux.")]
    by_default = set(_acted_on(built_in))
    optional = [name for name, point in on_request().items() if point.value.startswith("orlop_linux.")]
    lines = [
        "# Annotations",
        "",
        (
            "What becomes of the annotations of a config on which this or another runtime acts. All others "
            "are carried along: they are in the state that hooks and `orlop state` see, and change nothing."
        ),
        "",
        (
            "A composition lists in `potentiallyUnsafeConfigAnnotations` of its features document exactly "
            "those that it acts on, and describes each of them in `annotations`. Those of a plugin that is "
            "off by default are neither listed nor acted on until `--plugins=+NAME` switches it on "
            "([why](../decisions/0029-annotations-of-other-runtimes.md)). `orlop check` tells of an "
            "annotation of a config that nobody acts on."
        ),
        "",
        "## Acted on",
        "",
        "| Annotation | What it does | Plugin | |",
        "|---|---|---|---|",
    ]
    for key, (plugin, meaning) in sorted(_acted_on([*built_in, *optional]).items()):
        shown = f"{key}*" if key.endswith(".") else key
        switched = "by default" if key in by_default else "on request"
        lines.append(f"| `{shown}` | {cell(meaning)} | {plugin} | {switched} |")
    lines += ["", "## Not acted on", "", "| Annotation | Why not, and what to use |", "|---|---|"]
    lines += [f"| `{key}` | {cell(why)} |" for key, why in sorted(NEVER.items())]
    return "\n".join(lines) + "\n"


def _acted_on(plugins: list[str]) -> dict[str, tuple[str, str]]:
    """Return plugin and meaning of each annotation that a composition of *plugins* acts on."""
    runtime = orlop.Runtime.compose(platform="linux", plugins=plugins)
    said = runtime.composition.features.data["annotations"]
    owners = runtime.features_provenance()["potentiallyUnsafeConfigAnnotations"]
    return {key: (who, said[f"{DESCRIBED}{key.rstrip('.')}"]) for key, (who,) in owners.items()}


def main(arguments: list[str]) -> int:
    """Write the pages, or only compare them."""
    stale = []
    for name, make in (
        ("errors", error_page),
        ("steps", step_page),
        ("features", feature_page),
        ("annotations", annotation_page),
    ):
        page = PAGES / f"{name}.md"
        text = NOTE + "\n" + make().rstrip("\n") + "\n"
        if not page.exists() or page.read_text() != text:
            stale.append(page.name)
            if "--check" not in arguments:
                page.write_text(text)
    if stale:
        print(f"{'stale' if '--check' in arguments else 'written'}: {', '.join(stale)}")
    return int(bool(stale) and "--check" in arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
