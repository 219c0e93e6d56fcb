"""From a config to a plan: decode, adjust, cover, validate, plan. Pure: nothing is touched."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orlop import entrypoints
from orlop.documents.codec import decode_config, encode
from orlop.engine import adjust
from orlop.engine.plan import make_plan
from orlop_hookspecs.errors import UNSET, ConfigError, DocumentError, PluginError
from orlop_hookspecs.frozen import Frozen, frozen

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orlop.engine.coverage import Finding
    from orlop.engine.plan import Late
    from orlop.plugins.composition import Composition
    from orlop_hookspecs.documents.config import Config
    from orlop_hookspecs.hooks.capability import Problem
    from orlop_hookspecs.host import HostView
    from orlop_hookspecs.launch import PlanContext
    from orlop_hookspecs.plan import Plan

_NAMED = 3


class RefusedConfigError(ConfigError):
    """A config that is refused; ``problems`` has every reason as (pointer, message, value, plugin, hint)."""

    def __init__(
        self, problems: Sequence[tuple[str, str, object, str, str]], *, container: str = "", path: str = ""
    ) -> None:
        """Name the first problem, and where the next ones are."""
        self.problems = tuple(problems)
        pointer, message, value, plugin, hint = self.problems[0]
        rest = self.problems[1:]
        if rest:
            places = ", ".join(problem[0] or "the document" for problem in rest[:_NAMED])
            message += f"; and {len(rest)} more: {places}{', ...' if len(rest) > _NAMED else ''}"
        super().__init__(
            message, pointer=pointer, value=value, plugin=plugin, hint=hint, container=container, path=path
        )


@frozen
class Prepared(Frozen):
    """What a config became: the effective config, its owners and the plan."""

    config: Config
    source: bytes | dict[str, Any] | Config
    """What the config was decoded from; with adjustments, the changed data."""
    owners: adjust.Owners
    """JSON pointer to the plugin that changed it."""
    plan: Plan
    late: Late
    """The poststart and poststop hooks."""
    context: PlanContext

    def data(self) -> dict[str, Any]:
        """Return the effective config as JSON data."""
        return encode(self.config)


def read_data(source: bytes | dict[str, Any] | Config, path: str) -> dict[str, Any]:
    """Return *source* as JSON data."""
    if isinstance(source, bytes):
        from orlop.documents.reader import parse

        return parse(source, path=path)
    return source if isinstance(source, dict) else encode(source)


def adjusted(  # noqa: PLR0913, PLR0917 - what is known of one config
    composition: Composition,
    config: Config,
    source: bytes | dict[str, Any] | Config,
    context: PlanContext,
    path: str,
    host: HostView | None = None,
) -> tuple[Config, bytes | dict[str, Any] | Config, adjust.Owners]:
    """Return the config as the plugins adjust it, who see the host's files as *host* shows them.

    Raises:
        CompositionError: Two plugins want the same.
        PluginError: A plugin failed, or made a config that cannot be read.
    """
    seen = context if host is None else context.evolve(host=host)
    proposals = composition.hooks.adjust(config, seen)
    if not proposals:
        return config, source, {}
    data, owners = adjust.apply(read_data(source, path), proposals)
    try:
        return decode_config(data, path=path), data, owners
    except DocumentError as error:
        raise PluginError(
            f"the adjusted config cannot be read: {error.message}",
            pointer=error.pointer,
            value=error.value,
            plugin=adjust.owner_of(owners, error.pointer),
            container=context.container,
        ) from None


def prepare(  # noqa: PLR0913 - what is known of one config
    composition: Composition,
    config: Config,
    context: PlanContext,
    *,
    source: bytes | dict[str, Any] | Config | None = None,
    path: str = "",
    covered: bool = False,
    host: HostView | None = None,
) -> Prepared:
    """Return the plan for *config*.

    Args:
        composition: The plugins.
        config: The decoded config.
        context: What planners may know beside it.
        source: What *config* was decoded from; spares encoding it when a plugin adjusts it.
        path: Name of the config's file, for errors.
        covered: The config is known to be covered by this composition.
        host: What plugins that adjust see of the host's files; ``None``: nothing.

    Raises:
        ConfigError: A property is not covered, or a plugin objects.
        CompositionError: Two plugins adjust the same property.
        PluginError: A plugin failed, or did not keep to its hook.
    """
    effective, source, owners = adjusted(
        composition, config, config if source is None else source, context, path, host
    )
    refused = () if covered and not owners else composition.coverage.refusals(effective)
    if refused:
        problems = [coverage_problem(composition, finding, owners) for finding in refused]
        raise RefusedConfigError(problems, container=context.container, path=path)
    objections = composition.hooks.validate(effective, context)
    if objections:
        raise RefusedConfigError(
            [objection(plugin, problem) for plugin, problem in objections],
            container=context.container,
            path=path,
        )
    plan, late = make_plan(composition.hooks.plan(effective, context))
    return Prepared(effective, source, owners, plan, late, context)


def objection(plugin: str, problem: Problem) -> tuple[str, str, object, str, str]:
    """Return a plugin's objection as pointer, message, value, plugin and hint."""
    value = UNSET if problem.value is None else problem.value
    return problem.pointer, problem.message, value, plugin, problem.hint


def coverage_problem(
    composition: Composition, finding: Finding, owners: adjust.Owners
) -> tuple[str, str, object, str, str]:
    """Return a refusal of the coverage check as pointer, message, value, plugin and hint."""
    return (
        finding.pointer,
        finding.message,
        finding.value,
        adjust.owner_of(owners, finding.pointer),
        hint_for(composition, finding),
    )


def hint_for(composition: Composition, finding: Finding) -> str:
    """Return what would handle the property: a known plugin that is inactive, and why it is."""
    from orlop.engine.coverage import Coverage
    from orlop.plugins.composition import LEFT_OUT, NOT_CHOSEN
    from orlop.plugins.facade import Hooks
    from orlop.plugins.verify import verify

    for inactive in composition.inactive:
        try:
            verified = verify(inactive.load(), inactive.source, [])
            if verified is None:
                continue
            coverage = Coverage(Hooks([verified]).handles())
        except Exception:  # noqa: BLE001, S112 - an inactive plugin may be broken; that is not what is reported here
            continue
        if coverage.accepts(finding):
            why = f"plugin {inactive.name} would handle it, but is inactive: {inactive.reason}"
            if inactive.reason == NOT_CHOSEN:
                why += "; add it to the plugins"
            elif inactive.reason.startswith(LEFT_OUT):
                why += "; leave that away to use it"
            return why
    if entrypoints.frozen is not None:
        from orlop.plugins.frozen import missing_for

        return missing_for(finding)
    return ""
