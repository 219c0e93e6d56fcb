"""The two pluggy markers of the project; plugins import :data:`hookimpl`."""

from __future__ import annotations

import pluggy

hookspec = pluggy.HookspecMarker("orlop")
"""Marks a signature of the contract."""

hookimpl = pluggy.HookimplMarker("orlop")
"""Marks a plugin's implementation of a hook."""
