"""Fixtures of the engine's tests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.unit.core.stub import Host, StubPlatform, plugins

from orlop import Runtime

Compose = Callable[..., Runtime]


@pytest.fixture
def host() -> Host:
    return Host()


@pytest.fixture
def root(tmp_path: Path) -> str:
    return str(tmp_path / "state")


@pytest.fixture
def warnings() -> list[str]:
    return []


@pytest.fixture
def compose(host: Host, root: str, warnings: list[str]) -> Compose:
    """Return a function that composes a runtime of the stub platform on one host and one store."""

    def make(*more: object, **keywords: Any) -> Runtime:
        chosen = keywords.pop("plugins", None)
        return Runtime.compose(
            StubPlatform(host),
            [*(plugins() if chosen is None else chosen), *more],
            root=keywords.pop("root", root),
            warn=warnings.append,
            **keywords,
        )

    return make


@pytest.fixture
def runtime(compose: Compose) -> Runtime:
    return compose()
