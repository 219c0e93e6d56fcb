"""Makes the reference page on properties from the tests: ``python -m tools.properties``."""

from __future__ import annotations

from pathlib import Path

from tests.properties.table import page


def main() -> None:
    """Write the page."""
    place = Path(__file__).resolve().parents[1] / "docs" / "reference" / "properties.md"
    place.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
