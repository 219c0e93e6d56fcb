"""What the tests of the fake platform share."""

from __future__ import annotations

import importlib
import sys

import pytest


def pytest_configure(config: pytest.Config) -> None:
    """Load the fixtures, unless the installed distribution has registered them already."""
    name = "orlop_fake.pytest_plugin"
    if not any(getattr(plugin, "__name__", "") == name for plugin in config.pluginmanager.get_plugins()):
        config.pluginmanager.register(sys.modules.get(name) or importlib.import_module(name), name)
