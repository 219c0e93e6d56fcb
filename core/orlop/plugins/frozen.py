"""The composition of a composed runtime: everything about its plugins that could be settled has been.

``orlop compose`` generates the modules that this reads; see :mod:`orlop.composing.source`. A test proves that
the result behaves as the live composition of the same plugins.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orlop import entrypoints
from orlop.engine.features import Merged
from orlop.plugins.facade import Hooks
from orlop.plugins.settled import SettledComposition

if TYPE_CHECKING:
    from orlop.engine.coverage import Finding
    from orlop.plugins.composition import Composition

PACKAGE = "orlop_composed"


def _generated(name: str) -> Any:  # noqa: ANN401 - a generated module
    return __import__(f"{PACKAGE}.{name}", fromlist=("_",))


class FrozenComposition(SettledComposition):
    """The plugins inside a composed runtime."""

    def __init__(self) -> None:
        """Take over the generated calls."""
        calls = _generated("calls")
        super().__init__(calls.PLATFORM, calls.NAMES, Hooks.of_calls(calls.CALLS), self._compose)
        self.live = list(calls.LIVE)

    def _compose(self) -> Composition:
        from orlop.plugins.compose import compose

        return compose(self.platform_name, self.names)

    @property
    def features(self) -> Merged:
        """The features document, as it was when the runtime was composed."""
        generated = _generated("features")
        return Merged(generated.DATA, generated.PROVENANCE)


def missing_for(finding: Finding) -> str:
    """Return which plugin that was left out would handle *finding*, and the manifest's line that adds it."""
    from orlop.engine.coverage import Coverage
    from orlop_hookspecs.hooks.capability import Handle

    for name, version, rows in _generated("facts").MISSING:
        handles = [
            Handle(path, None if values is None else frozenset(values), exact=exact)
            for path, values, exact in rows
        ]
        if Coverage([(name, handles)]).accepts(finding):
            return f"plugin {name} would handle it, and {_without(name, version)}"
    return ""


def left_out(plugin: str) -> str:
    """Return how the manifest gets *plugin* in, if it is one that was left out; else nothing."""
    for name, version, _ in _generated("facts").MISSING:
        if name == plugin:
            return _without(name, version)
    return ""


def _without(name: str, version: str) -> str:
    facts = _generated("facts")
    return (
        f'{facts.NAME} was composed without it; write in [plugins] of {facts.MANIFEST}: {name} = "{version}"'
    )


def frozen() -> FrozenComposition | None:
    """Return the composition of this composed runtime; ``None`` in an installed one."""
    return None if entrypoints.frozen is None else FrozenComposition()
