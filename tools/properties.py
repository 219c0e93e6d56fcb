"""Makes the reference pages that are tables of proofs: ``python -m tools.properties``."""

from __future__ import annotations

from pathlib import Path

from tests.properties.table import engines_page, page


def main() -> None:
    """Write the pages."""
    reference = Path(__file__).resolve().parents[1] / "docs" / "reference"
    (reference / "properties.md").write_text(page(), encoding="utf-8")
    (reference / "engines.md").write_text(engines_page(), encoding="utf-8")


if __name__ == "__main__":
    main()
