"""The reference page of the hooks, made from the contract: ``python -m orlop.plugins.reference``.

A test compares the page with what the contract says today. A hook whose docstring does not answer every
question of :data:`QUESTIONS` is refused.
"""

from __future__ import annotations

import ast
import inspect
import sys
from typing import TYPE_CHECKING

from orlop.plugins.specs import MODULES, SPECS, HookSpec
from orlop_hookspecs import CONTRACT_VERSION

if TYPE_CHECKING:
    import types
    from collections.abc import Iterable, Iterator

QUESTIONS = ("When", "Process", "May change", "None", "Raising", "Order", "Since")
"""What the docstring of every hook answers, one line or paragraph each, in this order."""

_NOTE = "<!-- Made by `python -m orlop.plugins.reference`; a test compares it with the contract. -->\n"


_HEAD = """\
Contract {version}. A plugin is a module or an object whose functions are marked with `@hookimpl`
(`from orlop_hookspecs.hooks import hookimpl`). A function may leave out parameters that it does not need, but
may not rename them, give them defaults or make them keyword-only; it is neither async nor a generator, and
its return type is annotated. Hooks are called in the order that the plugins declare, by name where nothing
is declared; `orlop plugins --order` shows it.

Everything here is imported from `orlop_hookspecs`; a plugin imports nothing else of orlop."""


def signature(spec: HookSpec) -> str:
    """Return the exact signature of a hook, as it is declared."""
    annotations = spec.function.__annotations__
    parameters = ", ".join(f"{name}: {annotations[name]}" for name in spec.parameters)
    return f"{spec.name}({parameters}) -> {annotations['return']}"


def answers(spec: HookSpec) -> tuple[str, str, dict[str, str]]:
    """Return the summary of a hook, what else is said of it, and its answers by question.

    Raises:
        ValueError: The docstring does not have the shape.
    """
    text = inspect.getdoc(spec.function) or ""
    summary, _, rest = text.partition("\n\n")
    found: dict[str, str] = {}
    notes: list[str] = []
    question = ""
    for line in rest.splitlines():
        word, colon, answer = line.partition(": ")
        if colon and word in QUESTIONS and not line.startswith(" "):
            question = word
            found[question] = answer
        elif question and line.strip():
            found[question] += " " + line.strip()
        else:
            notes.append(line)
    if tuple(found) != QUESTIONS or not all(found.values()) or "\n" in summary or not summary.endswith("."):
        message = f"{spec.name}: the docstring is not a summary and the answers to {', '.join(QUESTIONS)}"
        raise ValueError(message)
    return summary, "\n".join(notes).strip(), found


def _markdown(text: str) -> str:
    """Return a docstring as Markdown: double backquotes and roles become single backquotes."""
    out = text.replace("``", "`")
    for role in ("class", "func", "mod", "data", "attr", "meth"):
        out = out.replace(f":{role}:`~", "`").replace(f":{role}:`", "`")
    return " ".join(out.split())


def _described(module: types.ModuleType) -> Iterator[tuple[str, str, list[tuple[str, str, str, str]]]]:
    """Yield name, summary and fields (name, type, default, meaning) of each class in *module*."""
    for node in ast.parse(inspect.getsource(module)).body:
        if not isinstance(node, ast.ClassDef):
            continue
        fields: list[tuple[str, str, str, str]] = []
        for statement, following in zip(node.body, [*node.body[1:], None], strict=True):
            if not isinstance(statement, ast.AnnAssign) or not isinstance(statement.target, ast.Name):
                continue
            if statement.target.id.isupper():
                continue
            meaning = ""
            if isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant):
                meaning = str(following.value.value)
            default = "" if statement.value is None else ast.unparse(statement.value)
            fields.append(
                (statement.target.id, ast.unparse(statement.annotation), default, _markdown(meaning))
            )
        yield node.name, ast.get_docstring(node) or "", fields


def _table(fields: Iterable[tuple[str, str, str, str]]) -> Iterator[str]:
    yield "| Field | Type | Default | Meaning |"
    yield "|---|---|---|---|"
    for name, kind, default, meaning in fields:
        shown = kind.replace("|", "\\|")
        yield f"| `{name}` | `{shown}` | {f'`{default}`' if default else 'required'} | {meaning} |"


def hooks_page() -> str:
    """Return the page of all hooks."""
    lines = [
        _NOTE,
        "# Hooks",
        "",
        _HEAD.format(version=CONTRACT_VERSION),
    ]
    for module in MODULES:
        first = (inspect.getdoc(module) or "").partition("\n\n")[0]
        lines += ["", f"## `{module.__name__}`", "", _markdown(first)]
        for name, summary, fields in _described(module):
            lines += ["", f"### class `{name}`", "", _markdown(summary), "", *_table(fields)]
        for spec in SPECS.values():
            if spec.module is not module:
                continue
            summary, notes, found = answers(spec)
            lines += ["", f"### `{signature(spec)}`", "", _markdown(summary), ""]
            if notes:
                lines += [_markdown(notes), ""]
            lines += [f"- **{question}**: {_markdown(answer)}" for question, answer in found.items()]
            if spec.firstresult:
                lines.append("- **Answers**: the first plugin that does not return `None` decides.")
    return "\n".join(lines) + "\n"


def main() -> int:
    """Write the page to standard output."""
    sys.stdout.write(hooks_page())
    return 0


if __name__ == "__main__":
    sys.exit(main())
