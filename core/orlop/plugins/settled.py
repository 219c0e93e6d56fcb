"""Compositions that were settled before: the plugins, their order and every call are known.

A composed runtime is one (:mod:`orlop.plugins.frozen`). The installed command keeps in its packs what it has
found out, with the stamps of everything that decided it, and takes it from there while these are the same
(:mod:`orlop.cli.settle`). What plugins say of properties, features and configs is asked each time.
"""

from __future__ import annotations

from orlop import entrypoints
from orlop.plugins.composition import Composition, Inactive
from orlop.plugins.facade import Hooks, resolved
from orlop_hookspecs.errors import CompositionError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from orlop.entrypoints import Stamp
    from orlop.plugins.verify import Implementation, Verified
    from orlop_hookspecs.kernel import Platform

    Call = tuple[str, str, str, str, tuple[str, ...], tuple[str, ...]]
    """Hook, plugin, where the plugin is, its attribute, the parameters that it takes, and all of the hook."""
    Settled = tuple[tuple[tuple[str, Stamp], ...], str, tuple[str, ...], tuple[str, ...], tuple[Call, ...]]
    """What was looked at, the platform, the plugins, the hooks of live containers, and the calls."""

SOURCE = "entry point "
"""Before the place of a plugin that is an entry point, in what says where it comes from."""


class SettledComposition(Composition):
    """A composition of which everything is known but what only those ask for who list plugins."""

    def __init__(
        self, platform_name: str, names: Sequence[str], hooks: Hooks, again: Callable[[], Composition]
    ) -> None:
        """Take over what is known; *again* composes the same plugins anew."""
        super().__init__(platform_name, None, (), (), hooks)
        self.names = list(names)
        self._again = again
        self.supplied = self.platform = self._find_platform()

    def _find_platform(self) -> Platform:
        for _, platform in self.hooks.platforms():
            if platform.name == self.platform_name:
                return platform
        raise CompositionError(
            f"platform {self.platform_name} is not there on this operating system", act="load plugins"
        )

    @property
    def plugins(self) -> tuple[Verified, ...]:
        """The plugins as the live composition has them, for those who list them."""
        return self.live_twin.plugins

    @plugins.setter
    def plugins(self, _: tuple[Verified, ...]) -> None:
        """Leave it to the live composition."""

    @property
    def inactive(self) -> tuple[Inactive, ...]:
        """Those that are known and not active, as the live composition has them."""
        return self.live_twin.inactive

    @inactive.setter
    def inactive(self, _: tuple[Inactive, ...]) -> None:
        """Leave it to the live composition."""

    @property
    def live_twin(self) -> Composition:
        """The live composition of the same plugins."""
        found: Composition | None = self.__dict__.get("_twin")
        if found is None:
            found = self.__dict__["_twin"] = self._again()
        return found


def attribute_of(plugin: object, implementation: Implementation) -> str:
    """Return the name under which *plugin* has the function of *implementation*; empty if under none."""
    for name in dir(plugin):
        if not name.startswith("__") and getattr(plugin, name, None) == implementation.function:
            return name
    return ""


def settle(composition: Composition, looked: Sequence[tuple[str, Stamp]]) -> Settled | None:
    """Return what is known of *composition* while all in *looked* is as it was; ``None``: not enough."""
    calls: list[Call] = []
    for verified in composition.plugins:
        place = verified.source.removeprefix(SOURCE)
        if place == verified.source:
            return None
        for hook, implementation in verified.implementations.items():
            attribute = attribute_of(verified.plugin, implementation)
            if not attribute:
                return None
            every = implementation.spec.parameters
            calls.append((hook, verified.info.name, place, attribute, implementation.parameters, every))
    names = tuple(composition.names)
    return tuple(looked), composition.platform_name, names, tuple(composition.live), tuple(calls)


def restore(settled: Settled, again: Callable[[], Composition]) -> SettledComposition | None:
    """Return the composition that was settled; ``None`` when something that decided it has changed."""
    looked, platform, names, live, calls = settled
    if any(entrypoints.stamp(path) != stamp for path, stamp in looked):
        return None
    found: dict[str, list[tuple[str, Any]]] = {}
    plugins: dict[str, object] = {}
    for hook, name, place, attribute, wanted, every in calls:
        plugin = plugins.get(name)
        if plugin is None:
            plugin = plugins[name] = entrypoints.EntryPoint(name, place, "").load()
        call = resolved(getattr(plugin, attribute), wanted, every)
        found.setdefault(hook, []).append((name, call))
    made = SettledComposition(platform, names, Hooks.of_calls(found), again)
    made.live = list(live)
    return made
