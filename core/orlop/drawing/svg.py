"""A little SVG 1.1: rectangles, lines and texts, whatever the texts hold."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orlop_hookspecs.errors import printable

if TYPE_CHECKING:
    from collections.abc import Iterable

_FONT = "font-family: ui-sans-serif, system-ui, sans-serif; font-size: 12px"
_PER_CHARACTER = 7.0
"""Width of an average character of this font at 12 pixels; a little more than most have."""

_ESCAPES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;"})


def escape(text: str) -> str:
    """Return *text* as it may stand in XML, between tags and in attributes, as one printable line."""
    return printable(text, 2000).translate(_ESCAPES)


def fit(text: str, width: float) -> str:
    """Return as much of *text* as fits into *width* pixels; nothing for less than three characters."""
    room = int(width / _PER_CHARACTER)
    line = printable(text, 2000)
    if len(line) <= room:
        return line
    return f"{line[: room - 1]}\u2026" if room > 3 else ""


class Picture:
    """An SVG document that grows; its height is that of the lowest thing in it."""

    def __init__(self, width: int, title: str) -> None:
        """Begin with a white sheet."""
        self.width = width
        self.height = 0.0
        self._title = title
        self._parts: list[str] = []
        self._colours: dict[str, str] = {}

    def colour(self, name: str) -> str:
        """Return a light colour for *name*, the same one each time, far from those of the names before it."""
        # Steps of the golden angle never come back to where they have been.
        hue = len(self._colours) * 137.508 % 360
        return self._colours.setdefault(name, f"hsl({hue:.0f}, 58%, 82%)")

    def box(  # noqa: PLR0913 - a place, a size and how it looks
        self,
        x: float,
        y: float,
        width: float,
        height: float,
        *,
        fill: str,
        title: str = "",
        dashed: bool = False,
    ) -> None:
        """Draw a rectangle; *title* is shown to who points at it."""
        shown = f"<title>{escape(title)}</title>" if title else ""
        line = ' stroke-dasharray="4 3"' if dashed else ""
        self._parts.append(
            f'<rect x="{x:.2f}" y="{y:.2f}" width="{max(width, 0.5):.2f}" height="{height:.2f}" rx="3" '
            f'fill="{fill}" stroke="#666" stroke-width="0.6"{line}>{shown}</rect>'
        )
        self._reach(y + height)

    def text(self, x: float, y: float, text: str, *, bold: bool = False, colour: str = "#111") -> None:
        """Write a line whose base line is at *y*."""
        weight = ' font-weight="bold"' if bold else ""
        # A click goes to the box below, so that its title is shown.
        self._parts.append(
            f'<text x="{x:.2f}" y="{y:.2f}" fill="{colour}"{weight} pointer-events="none">'
            f"{escape(text)}</text>"
        )
        self._reach(y + 4)

    def line(self, x: float, y: float, to_x: float, to_y: float, *, arrow: bool = False) -> None:
        """Draw a line."""
        end = ' marker-end="url(#arrow)"' if arrow else ""
        self._parts.append(
            f'<line x1="{x:.2f}" y1="{y:.2f}" x2="{to_x:.2f}" y2="{to_y:.2f}" stroke="#999"{end}/>'
        )
        self._reach(max(y, to_y))

    def legend(self, y: float, names: Iterable[str]) -> float:
        """Explain the colours of *names* in lines from *y* on; return where they end."""
        x = 20.0
        for name in names:
            width = 26 + len(name) * _PER_CHARACTER + 14
            if x + width > self.width - 20 and x > 20:
                x, y = 20.0, y + 20
            self.box(x, y, 14, 12, fill=self.colour(name))
            self.text(x + 20, y + 10, name)
            x += width
        return y + 24

    def _reach(self, y: float) -> None:
        self.height = max(self.height, y)

    def __str__(self) -> str:
        """Return the document."""
        height = int(self.height) + 20
        head = (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{self.width}" height="{height}" '
            f'viewBox="0 0 {self.width} {height}" style="{_FONT}">\n'
            f"<title>{escape(self._title)}</title>\n"
            '<defs><marker id="arrow" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" '
            'orient="auto"><path d="M0,0 L8,4 L0,8 z" fill="#999"/></marker></defs>\n'
            f'<rect width="{self.width}" height="{height}" fill="#fff"/>\n'
        )
        return head + "\n".join(self._parts) + "\n</svg>\n"
