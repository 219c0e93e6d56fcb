"""Compose a runtime: choose plugins, verify all of them, order them, and ask them what they can do.

Composing touches nothing on the host, and it is atomic: either every plugin fits, or one error reports
everything that is wrong.
"""

from __future__ import annotations

from orlop.plugins import order, sources
from orlop.plugins.composition import LEFT_OUT, NOT_CHOSEN, Composition, Inactive
from orlop.plugins.facade import Hooks
from orlop.plugins.faults import PluginFault, RefusedPluginsError
from orlop.plugins.verify import Verified, verify
from orlop_hookspecs.errors import CompositionError, PluginError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any

    from orlop.plugins.sources import Candidate
    from orlop_hookspecs.kernel import Platform
    from orlop_hookspecs.record import Record


def compose(
    platform: str | object = "linux",
    plugins: Iterable[object] | None = None,
    block: Sequence[str] = (),
    *,
    check_features: bool = True,
    deadline: float | None = None,
) -> Composition:
    """Return the composition of *plugins* for *platform*.

    Args:
        platform: Name of a platform, a platform object, or a plugin that supplies one.
        plugins: Names, modules and objects; ``None`` for everything that is installed.
        block: Names of plugins that stay out although they are installed; a name of none is refused.
        check_features: Merge the features at once; without it, contradictions are told when they are first
            asked for.
        deadline: Seconds that one call of a plugin may take; ``None``: for ever.

    Raises:
        CompositionError: A plugin does not keep the contract, or they do not fit together; the error reports
            every fault.
    """
    own, name, wanted = _platform_argument(platform, plugins, deadline)
    executes = None if own is None else tuple(getattr(own, "executes", ()))
    composition = _assemble(name, wanted, tuple(block), deadline, executes)
    if own is None:
        own = _find_platform(composition, name)
    composition = Composition(name, own, composition.plugins, composition.inactive, composition.hooks)
    # Both are promises about the whole composition, so they are verified now and not at the first create.
    _refuse_plugin_errors(lambda: composition.coverage)
    if check_features:
        _refuse_plugin_errors(lambda: composition.features)
    return composition


def compose_for_record(record: Record) -> Composition:
    """Return the plugins that created the container of *record*, without a platform: its kernel is known.

    Raises:
        CompositionError: They are not installed any more, or do not fit together any more.
    """
    return _assemble(record.platform, record.plugins, ())


def _platform_argument(
    platform: object, plugins: Iterable[object] | None, deadline: float | None
) -> tuple[Platform | None, str, list[object] | None]:
    wanted = None if plugins is None else list(plugins)
    if isinstance(platform, str):
        return None, platform, wanted
    name = getattr(platform, "name", None)
    if isinstance(name, str) and callable(getattr(platform, "kernel", None)):
        made: Any = platform
        return made, name, wanted
    faults: list[PluginFault] = []
    source = f"platform {type(platform).__name__}"
    verified = verify(platform, source, faults, deadline)
    if verified is None:
        raise CompositionError(
            "the platform is neither a name, nor an object with a name and a kernel, nor a plugin",
            value=platform,
            hint="; ".join(map(str, faults)),
        )
    for _, supplied in _refuse_plugin_errors(Hooks([verified], deadline).platforms):
        return supplied, supplied.name, wanted
    raise CompositionError(
        "the plugin supplies no platform on this operating system", plugin=verified.info.name
    )


def _refuse_plugin_errors(call: Any) -> Any:  # noqa: ANN401 - passes on what is given
    try:
        return call()
    except PluginError as error:
        raise CompositionError(
            error.message, act="load plugins", plugin=error.plugin, value=error.value
        ) from error


def _find_platform(composition: Composition, name: str) -> Platform:
    found: list[tuple[str, Platform]] = [
        (plugin, platform)
        for plugin, platform in _refuse_plugin_errors(composition.hooks.platforms)
        if platform.name == name
    ]
    if len(found) > 1:
        both = " and ".join(plugin for plugin, _ in found)
        raise CompositionError(f"plugins {both} both supply platform {name}", act="load plugins")
    if not found:
        reason = next(
            (f": plugin {i.name} is {i.reason}" for i in composition.inactive if i.name == name), ""
        )
        raise CompositionError(f"no plugin supplies platform {name}{reason}", act="load plugins", value=name)
    return found[0][1]


def _assemble(
    platform: str,
    wanted: Sequence[object] | None,
    block: tuple[str, ...],
    deadline: float | None = None,
    executes: tuple[str, ...] | None = None,
) -> Composition:
    """Return the composition; *executes* is what the platform says so, or it is asked for by its plugin."""
    faults: list[PluginFault] = []
    inactive: list[Inactive] = []
    found, rest = sources.candidates(wanted, platform, faults)
    inactive.extend(Inactive(name, NOT_CHOSEN, f"entry point {p.value}", p.load) for name, p in rest.items())

    good: list[tuple[Verified, Candidate]] = []
    for candidate in found:
        if candidate.name in block:
            inactive.append(
                Inactive(candidate.name, _left_out(candidate.name), candidate.source, candidate.load)
            )
            continue
        plugin = sources.load(candidate, faults)
        verified = None if plugin is None else verify(plugin, candidate.source, faults, deadline)
        if verified is not None:
            good.append((verified, candidate))
    for_these = {platform, *(_executed(platform, good, deadline) if executes is None else executes)}
    loaded: dict[str, tuple[Verified, Candidate]] = {}
    for verified, candidate in good:
        name = verified.info.name
        if name in block:
            inactive.append(Inactive(name, _left_out(name), candidate.source, candidate.load))
        elif verified.info.platforms and for_these.isdisjoint(verified.info.platforms):
            wants = ", ".join(verified.info.platforms)
            inactive.append(
                Inactive(name, f"for another platform: {wants}", candidate.source, candidate.load)
            )
        elif name in loaded:
            message = f"two plugins have this name: {loaded[name][1].source} and {candidate.source}"
            faults.append(PluginFault(name, message, "duplicate-name"))
        else:
            loaded[name] = (verified, candidate)

    known = {*loaded, *rest, *(one.name for one in inactive), *(candidate.name for candidate in found)}
    # A misspelt name would leave in what was to stay out.
    faults += [sources.not_installed(name, known) for name in dict.fromkeys(block) if name not in known]
    _resolve(loaded, inactive, faults)
    ordered = order.sort({name: verified.info for name, (verified, _) in loaded.items()}, faults)
    if faults:
        raise RefusedPluginsError(faults)
    active = tuple(loaded[name][0] for name in ordered)
    inactive.sort(key=lambda one: one.name)
    return Composition(platform, None, active, tuple(inactive), Hooks(active, deadline))


def _left_out(name: str) -> str:
    """Return why a plugin is inactive that somebody did not want."""
    return f"{LEFT_OUT} (--plugins=-{name}, or block)"


def _executed(
    platform: str, found: Sequence[tuple[Verified, Candidate]], deadline: float | None
) -> tuple[str, ...]:
    """Return the platforms whose plans *platform* executes as well, as its own plugin says."""
    if platform in _ITSELF:
        return ()
    for verified, _ in found:
        if verified.info.name == platform and "orlop_platform" in verified.implementations:
            for _, supplied in _refuse_plugin_errors(Hooks([verified], deadline).platforms):
                return tuple(getattr(supplied, "executes", ()))
    return ()


_ITSELF = frozenset(("linux", "fake"))
"""Platforms that are planned for by their own name; they need not be asked on the way of each command."""


def _resolve(
    loaded: dict[str, tuple[Verified, Candidate]], inactive: list[Inactive], faults: list[PluginFault]
) -> None:
    """Take out plugins whose requirements were taken out, and report what cannot be resolved.

    A plugin that merely is installed follows what it needs into inactivity; one that was chosen is refused.
    """
    out = {one.name: one.reason for one in inactive if one.reason != NOT_CHOSEN}
    changed = True
    while changed:
        changed = False
        for name, (verified, candidate) in list(loaded.items()):
            for needed in verified.info.requires:
                if needed not in loaded and needed in out and not candidate.chosen:
                    reason = f"unmet: it requires {needed}, which is inactive ({out[needed]})"
                    inactive.append(Inactive(name, reason, candidate.source, candidate.load))
                    out[name] = reason
                    del loaded[name]
                    changed = True
                    break
    reasons = {one.name: one.reason for one in inactive}
    for name, (verified, _) in sorted(loaded.items()):
        for needed in verified.info.requires:
            if needed not in loaded:
                why = f" ({reasons[needed]})" if needed in reasons else " (not installed)"
                faults.append(
                    PluginFault(
                        name,
                        f"it requires plugin {needed}, which is not in the composition{why}",
                        "requirement",
                        needed,
                    )
                )
        faults.extend(
            PluginFault(name, f"it conflicts with plugin {other}", "conflict")
            for other in verified.info.conflicts
            if other in loaded and other != name
        )
