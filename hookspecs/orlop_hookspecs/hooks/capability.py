"""What a capability plugin does with a config: declare, adjust, validate, plan.

For each create the core calls, in this order: ``orlop_adjust``, then (on the result) the coverage check
against what ``orlop_handles`` declared, then ``orlop_validate``, then ``orlop_plan``; for each exec the same
without ``orlop_adjust``. All of it is pure: no
system calls, no files, no clock. The same declarations make the features document, so what is advertised is
what is accepted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from orlop_hookspecs.frozen import Frozen, field, frozen
from orlop_hookspecs.hooks.markers import hookspec

if TYPE_CHECKING:
    from orlop_hookspecs.documents import Config
    from orlop_hookspecs.launch import PlanContext
    from orlop_hookspecs.steps.base import Step


@frozen
class Handle(Frozen):
    """A property that a plugin applies, and the values that it accepts.

    A handle covers its property and everything below it, unless ``exact``.
    """

    path: str
    """Property path with JSON names: ``linux.resources.rdma``, ``mounts[].options[]``,
    ``process.rlimits[].type``; ``[]`` stands for any array element and ``{}`` for any key of a map."""
    values: frozenset[str] | None = None
    """Accepted strings at exactly this path; ``None``: whatever the document's type allows."""
    feature: str = ""
    """Dotted path of the features document whose list is exactly ``values`` (``linux.namespaces``)."""
    exact: bool = False
    """Cover only the property itself, not what is below it."""


@frozen
class Adjustment(Frozen):
    """Changes to the config that a plugin proposes; the core applies them and records who owns each field.

    Values are JSON data with the names of the spec.
    """

    set: Mapping[str, Any] = field(factory=dict)
    """JSON pointer to value: creates or replaces. Two plugins that set overlapping pointers are an error."""
    append: Mapping[str, Sequence[Any]] = field(factory=dict)
    """JSON pointer of an array to elements that are appended, in plugin order."""


@frozen
class Problem(Frozen):
    """One reason why a config is refused."""

    pointer: str
    """JSON pointer of the property."""
    message: str
    """Why, in lower case, without the pointer."""
    value: Any = None
    """The refused value."""
    hint: str = ""
    """What the author of the config can do."""


@frozen
class Remark(Frozen):
    """A value of the config that is accepted and has no effect."""

    pointer: str
    """JSON pointer of the value."""
    message: str
    """Why, in lower case, without the pointer."""
    value: Any = None
    """The value."""
    hint: str = ""
    """What the author of the config can do."""


@hookspec
def orlop_handles() -> Sequence[Handle]:  # type: ignore[empty-body]
    """Declare which properties of the config the plugin applies, and which values it accepts.

    When: once per composition.
    Process: the caller of ``Runtime.compose``; no privileges, no namespaces.
    May change: nothing.
    None: the same as an empty sequence.
    Raising: the composition is refused, naming the plugin.
    Order: results are merged; several plugins may cover one property, and all of them plan for it.
    Since: 1.0.
    """


@hookspec
def orlop_features() -> Mapping[str, Any]:  # type: ignore[empty-body]
    """Contribute to the features document what no :class:`Handle` says.

    Keys are dotted paths (``linux.cgroup.v1``); values are booleans, strings, lists or maps.

    When: once per composition.
    Process: the caller of ``Runtime.compose``; no privileges, no namespaces. The answer may not depend on
    the host.
    May change: nothing.
    None: the same as an empty mapping.
    Raising: the composition is refused, naming the plugin.
    Order: lists are united, maps are merged; two plugins that give one field different values are refused.
    Since: 1.0.
    """


@hookspec
def orlop_adjust(config: Config, context: PlanContext) -> Adjustment | None:
    """Propose changes to the config, such as the devices and mounts of a vendor's hardware.

    When: on every create, check and explain, before anything is validated.
    Process: the caller; no system calls. Files of the host are looked at through ``context.host`` only.
    May change: nothing in place; the returned adjustment is applied by the core.
    None: no changes.
    Raising: the operation is refused, naming the plugin; nothing has been touched.
    Order: plugins see the original config; adjustments are applied in plugin order.
    Since: 1.0.
    """


@hookspec
def orlop_validate(config: Config, context: PlanContext) -> Sequence[Problem]:  # type: ignore[empty-body]
    """Refuse what the declared values cannot express: ranges, contradictions, missing companions.

    When: on every create, check and explain, after adjustment and coverage; and on every exec, for the
    container's effective config with the process that joins (``context.joins``).
    Process: the caller; no system calls, no files.
    May change: nothing.
    None: the same as an empty sequence: nothing to object.
    Raising: the operation is refused, naming the plugin; nothing has been touched.
    Order: plugin order; all problems are collected before the config is refused.
    Since: 1.0.
    """


@hookspec
def orlop_remark(config: Config, context: PlanContext) -> Sequence[Remark]:  # type: ignore[empty-body]
    """Tell of values that are accepted and have no effect, such as names that nobody knows.

    When: on every check, after validation.
    Process: the caller; no system calls, no files.
    May change: nothing.
    None: the same as an empty sequence.
    Raising: the check is refused, naming the plugin.
    Order: plugin order.
    Since: 1.0.
    """


@hookspec
def orlop_plan(config: Config, context: PlanContext) -> Sequence[Step]:  # type: ignore[empty-body]
    """Turn the properties that the plugin handles into steps.

    When: on every create, explain and exec, when no plugin objected. For a process that joins a container
    (``context.joins``), steps without ``JOINS`` are left out: they have been executed.
    Process: the caller; no system calls, no files, no clock.
    May change: nothing.
    None: the same as an empty sequence.
    Raising: the operation is refused, naming the plugin; nothing has been touched.
    Order: by phase and slot of each step, then plugin order, then the order in which they were returned.
    Since: 1.0.
    """
