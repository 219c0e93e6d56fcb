"""The conformance kit: does a plugin keep the contract, on a machine in memory or on a real one?

Every rule has a name and is tried and reported alone; none needs root or hardware unless a real platform is
asked for. In a test::

    from orlop.kit import check_plugin

    def test_the_plugin_keeps_the_contract() -> None:
        check_plugin(my_package.my_plugin).require()

On the command line: ``orlop plugin check my-distribution``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from orlop.kit import declarations, distributions, life, loading, planning, platforms
from orlop.kit.rules import BROKEN, DEADLINE, PASSED, RULES, SKIPPED, Report, Result, Rule, of_groups, run
from orlop.kit.subject import Sample, Subject
from orlop_hookspecs.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from orlop.entrypoints import EntryPoint
    from orlop.kit.bench import Bench

__all__ = [
    "BROKEN",
    "DEADLINE",
    "PASSED",
    "RULES",
    "SKIPPED",
    "Report",
    "Result",
    "Rule",
    "Sample",
    "check_declarations",
    "check_distribution",
    "check_life",
    "check_loading",
    "check_planning",
    "check_platform",
    "check_plugin",
    "check_rule",
    "find_plugins",
]

GROUPS = ("loading", "declarations", "planning", "life")
"""The groups of rules that are for every plugin."""

_MODULES = (loading, declarations, planning, life, platforms, distributions)
"""Importing them has filled :data:`RULES`."""


def check_plugin(  # noqa: PLR0913 - what a check can be told; all but the first are keywords
    plugin: object,
    *,
    samples: Iterable[object] = (),
    platform: str = "fake",
    together: Sequence[object] = (),
    bench: Callable[[], Bench] | None = None,
    deadline: float = DEADLINE,
) -> Report:
    """Try every rule for plugins with *plugin*.

    Args:
        plugin: A module or an object.
        samples: Configs that make the plugin do something: each a :class:`Sample` or a mapping with the names
            of its arguments. The plain config of the machine is always tried.
        platform: On whose machine containers live: ``fake``, or ``linux`` as root.
        together: Plugins that it needs, beside the built-in ones.
        bench: Makes the machine, when it is not the one that the platform supplies.
        deadline: Seconds for each rule.
    """
    subject = _subject(plugin, samples, platform, together, bench)
    return run(subject, of_groups(*GROUPS), lambda: title(subject), deadline)


def check_loading(plugin: object, *, deadline: float = DEADLINE) -> Report:
    """Try the rules of loading: imports, hooks, signatures, identity, the company of other plugins."""
    return _group("loading", plugin, deadline)


def check_declarations(plugin: object, *, deadline: float = DEADLINE) -> Report:
    """Try the rules of declarations: handled properties and contributions to the features document."""
    return _group("declarations", plugin, deadline)


def check_planning(plugin: object, *, samples: Iterable[object] = (), deadline: float = DEADLINE) -> Report:
    """Try the rules of planning: adjusting, validating and planning are pure and say the same twice."""
    return _group("planning", plugin, deadline, samples)


def check_life(
    plugin: object, *, samples: Iterable[object] = (), platform: str = "fake", deadline: float = DEADLINE
) -> Report:
    """Try the rules of life: containers that come and go with the plugin, and what is left of them."""
    return _group("life", plugin, deadline, samples, platform)


def check_platform(
    plugin: object, *, bench: Callable[[], Bench] | None = None, deadline: float = DEADLINE
) -> Report:
    """Try the rules of platforms with a plugin that supplies one, on its own bench."""
    name = _platform_of(plugin)
    subject = _subject(plugin, (), name, (), bench)
    return run(subject, of_groups("loading", "platform"), lambda: title(subject), deadline)


def check_rule(
    name: str, plugin: object, *, samples: Iterable[object] = (), platform: str = "fake"
) -> Result:
    """Try one rule and return what became of it; for test frameworks that want one test for each rule."""
    subject = _subject(plugin, samples, platform, (), None)
    return run(subject, [RULES[name]], lambda: title(subject)).results[0]


def check_distribution(
    name: str,
    *,
    samples: Iterable[object] = (),
    platform: str = "",
    deadline: float = DEADLINE,
    rules: Sequence[str] = (),
) -> list[Report]:
    """Try every rule with each plugin that *name* stands for.

    Args:
        name: An installed distribution, an installed plugin, or a dotted name (``module`` or
            ``module:attribute``).
        samples: Further samples.
        platform: Where containers live; by default in memory, or on the platform that the plugin supplies.
        deadline: Seconds for each rule.
        rules: Names of the only rules to try; none: all.

    Raises:
        UsageError: Nothing of this name is installed, it holds no plugin, or there is no such rule.
    """
    for rule in rules:
        if rule not in RULES:
            raise UsageError("there is no such rule", value=rule, hint="the reference lists the rules")
    reports = []
    for point in find_plugins(name):
        groups = (*GROUPS, "distribution") if point.distribution else GROUPS
        subject = Subject(point=point, samples=samples, platform=platform or "fake")
        if _supplies_platform(subject):
            groups = (*groups, "platform")
            subject.platform = platform or _platform_of(subject.plugin)
        tried = [one for one in of_groups(*groups) if one.name in rules or not rules]
        reports.append(run(subject, tried, lambda subject=subject: title(subject), deadline))  # type: ignore[misc]
    return reports


def find_plugins(name: str) -> list[EntryPoint]:
    """Return the entry points of the plugins that *name* stands for; see :func:`check_distribution`.

    Raises:
        UsageError: There are none.
    """
    from orlop.entrypoints import EntryPoint, entry_points
    from orlop.plugins.sources import GROUP as PLUGINS
    from orlop.plugins.sources import ON_REQUEST

    points = [*entry_points(PLUGINS), *entry_points(ON_REQUEST)]
    wanted = _normalized(name)
    found = [point for point in points if _normalized(point.distribution.rpartition("-")[0]) == wanted]
    found = found or [point for point in points if point.name == name]
    if found:
        return found
    if "." in name or ":" in name:
        return [EntryPoint(name, name, "")]
    raise UsageError(
        "no distribution or plugin of this name is installed",
        value=name,
        hint="name an installed distribution, a plugin of orlop plugins, or a module such as package.plugin",
    )


def title(subject: Subject) -> str:
    """Return the plugin, its version and where it comes from, in words."""
    if subject.__dict__.get("_verdict", (None,))[0] is None:
        return f"plugin {subject.source}"
    info = subject.verified.info
    what = f"plugin {info.name} {info.version} ({subject.source})"
    return f"{what}, contract {info.contract}, on {subject.platform}"


def _normalized(name: str) -> str:
    return name.lower().replace("_", "-").replace(".", "-")


def _subject(
    plugin: object,
    samples: Iterable[object],
    platform: str,
    together: Sequence[object],
    bench: Callable[[], Bench] | None,
) -> Subject:
    return Subject(plugin, samples=samples, platform=platform, together=together, bench=bench)


def _group(
    group: str, plugin: object, deadline: float, samples: Iterable[object] = (), platform: str = "fake"
) -> Report:
    subject = _subject(plugin, samples, platform, (), None)
    return run(subject, of_groups(group), lambda: title(subject), deadline)


def _supplies_platform(subject: Subject) -> bool:
    try:
        return callable(getattr(subject.plugin, "orlop_platform", None))
    except (Exception, SystemExit):  # noqa: BLE001 - a rule of its own tells that it cannot be imported
        return False


def _platform_of(plugin: object) -> str:
    """Return the name of the platform that *plugin* supplies here.

    Raises:
        UsageError: It supplies none.
    """
    supply = getattr(plugin, "orlop_platform", None)
    platform = supply() if callable(supply) else None
    if platform is None:
        raise UsageError("the plugin supplies no platform on this operating system")
    name: str = platform.name
    return name
