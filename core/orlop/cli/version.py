"""What ``orlop --version`` prints."""

from __future__ import annotations

from orlop import __version__
from orlop.documents.versions import MAXIMUM


def version() -> str:
    """Return the lines that engines parse: the program's, then the specification's, each with one number."""
    # dockerd takes every line with the word "version" for a program of its own: only the first may have it.
    return f"orlop version {__version__}\nspec: {MAXIMUM}\n"
