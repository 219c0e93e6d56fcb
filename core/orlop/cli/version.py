"""What ``orlop --version`` prints."""

from __future__ import annotations

from orlop import __version__, entrypoints
from orlop.documents.versions import MAXIMUM


def version() -> str:
    """Return the lines that engines parse: the program's, then the specification's, each with one number."""
    # dockerd takes every line with the word "version" for a program of its own: only the first may have it.
    if entrypoints.frozen is not None:
        name = __import__("orlop_composed.facts", fromlist=("NAME",)).NAME
        return f"orlop version {__version__}\nspec: {MAXIMUM}\ncomposed as: {name}\n"
    return f"orlop version {__version__}\nspec: {MAXIMUM}\n"
