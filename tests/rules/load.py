"""Loads all rules, with pytest's explanations of failed assertions."""

from __future__ import annotations

import importlib

import pytest

MODULES = tuple(
    f"tests.rules.{name}"
    for name in (
        "lifecycle",
        "hooks",
        "process",
        "joining",
        "traits",
        "filesystem",
        "mounts",
        "resources",
        "resctrl",
        "scopes",
        "network",
        "refusals",
        "images",
        "host",
    )
)

pytest.register_assert_rewrite(*MODULES)
for module in MODULES:
    importlib.import_module(module)

from tests.rules.world import RULES  # noqa: E402 - the modules above fill it

__all__ = ["RULES"]
