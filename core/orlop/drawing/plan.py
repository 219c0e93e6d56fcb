"""A plan as a picture: one band per phase, one box per step, one colour per plugin."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orlop.drawing.svg import Picture, fit
from orlop_hookspecs.errors import printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    Band = tuple[str, str, list[dict[str, Any]]]
    """Title, explanation and steps."""

_WIDTH = 1200
_MARGIN = 20
_COLUMNS = 4
_GAP = 10
_BOX = (_WIDTH - 2 * _MARGIN - (_COLUMNS + 1) * _GAP) / _COLUMNS
_HEIGHT = 50
_PLAIN = "hooks"


def as_svg(data: Mapping[str, Any], where: Mapping[str, str]) -> str:
    """Return the explanation *data* of a plan as SVG; *where* says of each phase when and where it runs."""
    bands = list(_bands(data, where))
    picture = Picture(_WIDTH, f"plan for {data['bundle']}")
    picture.text(_MARGIN, 26, f"What create and start would do for {data['bundle']}", bold=True)
    picture.text(_MARGIN, 44, "Row by row. A dashed box leaves something on the host, which delete undoes.")
    plugins = dict.fromkeys(step["plugin"] for _, _, steps in bands for step in steps)
    y = picture.legend(58, plugins) + 4
    for index, (title, text, steps) in enumerate(bands):
        if index:
            picture.line(_WIDTH / 2, y - 14, _WIDTH / 2, y - 2, arrow=True)
        y = _band(picture, y, title, text, steps) + 18
    return str(picture)


def _bands(
    data: Mapping[str, Any], where: Mapping[str, str]
) -> Iterator[tuple[str, str, list[dict[str, Any]]]]:
    """Yield what stands in each band."""
    for phase in data["phases"]:
        yield phase["phase"], where[phase["phase"]], phase["steps"]
    for kind, hooks in data["hooks"].items():
        when = "after the program has started" if kind == "poststart" else "after delete"
        steps = [
            {"describe": f"run {one['path']}", "plugin": _PLAIN, "because": one["because"]} for one in hooks
        ]
        yield kind, when, steps


def _band(picture: Picture, y: float, title: str, text: str, steps: list[dict[str, Any]]) -> float:
    rows = -(-len(steps) // _COLUMNS)
    height = 30 + rows * (_HEIGHT + _GAP)
    picture.box(_MARGIN, y, _WIDTH - 2 * _MARGIN, height, fill="#f7f7f5")
    picture.text(_MARGIN + _GAP, y + 20, title, bold=True)
    picture.text(_MARGIN + _GAP + 130, y + 20, text, colour="#555")
    for number, step in enumerate(steps):
        row, column = divmod(number, _COLUMNS)
        left = _MARGIN + _GAP + column * (_BOX + _GAP)
        top = y + 30 + row * (_HEIGHT + _GAP)
        _step(picture, left, top, step)
    return y + height


def _step(picture: Picture, x: float, y: float, step: Mapping[str, Any]) -> None:
    undo = step.get("undo", "")
    hint = f"{step['describe']} [{step['plugin']}]"
    if step["because"]:
        hint += f" because of {step['because']}"
    if undo:
        hint += f"; undo: {undo}"
    picture.box(x, y, _BOX, _HEIGHT, fill=picture.colour(step["plugin"]), title=hint, dashed=bool(undo))
    name, _, fields = step["describe"].partition("(")
    picture.text(x + 8, y + 16, fit(name, _BOX - 16), bold=True)
    picture.text(x + 8, y + 30, fit(fields.removesuffix(")") or step["plugin"], _BOX - 16))
    picture.text(x + 8, y + 44, fit(f"undo: {undo}" if undo else step["because"], _BOX - 16), colour="#555")


def as_mermaid(data: Mapping[str, Any], where: Mapping[str, str]) -> str:
    """Return the explanation *data* of a plan as a Mermaid flowchart."""
    lines = ["flowchart TB"]
    previous = ""
    for index, (title, text, steps) in enumerate(_bands(data, where)):
        name = f"phase{index}"
        lines.append(f'  subgraph {name}["{_label(f"{title}: {text}")}"]')
        for number, step in enumerate(steps):
            undo = f"<br/>undo: {_label(step['undo'])}" if step.get("undo") else ""
            label = f"{_label(step['describe'])}<br/><i>{_label(step['plugin'])}</i>{undo}"
            lines.append(f'    s{index}_{number}["{label}"]')
            if number:
                lines.append(f"    s{index}_{number - 1} --> s{index}_{number}")
        lines.append("  end")
        if previous:
            lines.append(f"  {previous} --> {name}")
        previous = name
    return "\n".join(lines) + "\n"


def _label(text: str) -> str:
    """Return *text* as it may stand in a quoted label: special characters as entities (#35;)."""
    return "".join(
        one if one.isalnum() or one in " /.:,-_=()" else f"#{ord(one)};" for one in printable(text, 160)
    )
