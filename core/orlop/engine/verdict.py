"""The verdict on a config: what becomes of each of its properties, all of them, refused or not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orlop.documents.codec import decode_config
from orlop.documents.faults import InvalidDocumentError
from orlop.engine import prepare
from orlop.severity import ERROR, WARNING
from orlop_hookspecs.errors import UNSET, DocumentError, OrlopError, printable, shorten
from orlop_hookspecs.frozen import Frozen, frozen

if TYPE_CHECKING:
    from orlop.plugins.composition import Composition
    from orlop_hookspecs.documents import Config
    from orlop_hookspecs.host import HostView
    from orlop_hookspecs.launch import PlanContext

APPLIED, REFUSED, IGNORED = "applied", "refused", "ignored"
"""What becomes of a property: plugins apply it; create would fail; it has no effect, or is unknown."""

UNKNOWN = "unknown"
"""What becomes of it is not known; only of other runtimes, whose documents are silent."""

_USUAL = {REFUSED: ERROR, IGNORED: WARNING}


@frozen
class Judgement(Frozen):
    """What becomes of one property."""

    pointer: str
    outcome: str
    """:data:`APPLIED`, :data:`REFUSED`, :data:`IGNORED` or :data:`UNKNOWN`."""
    plugins: tuple[str, ...] = ()
    """Who applies it, objects to it, or ignores it."""
    message: str = ""
    value: Any = UNSET
    hint: str = ""
    severity: str = ""
    """One of :data:`orlop.severity.SEVERITIES`; empty: as usual for the outcome, see :attr:`weight`."""
    feature: str = ""
    """Dotted path in the features document that decided."""

    @property
    def weight(self) -> str:
        """How much it matters: a refusal is an error, and what has no effect a warning; empty for neither."""
        return self.severity or _USUAL.get(self.outcome, "")

    def as_data(self) -> dict[str, Any]:
        """Return the judgement as JSON data; empty parts are left out."""
        data: dict[str, Any] = {"pointer": self.pointer, "outcome": self.outcome}
        if self.weight:
            data["severity"] = self.weight
        if self.plugins:
            data["plugins"] = list(self.plugins)
        if self.message:
            data["message"] = self.message
        if self.value is not UNSET:
            data["value"] = shorten(self.value)
        if self.hint:
            data["hint"] = self.hint
        if self.feature:
            data["feature"] = self.feature
        return data

    def as_text(self) -> str:
        """Return the judgement as one line."""
        text = f"{self.outcome:8} {self.pointer or 'the document'}"
        if self.message:
            text += f": {self.message}"
        if self.value is not UNSET:
            text += f" (value: {shorten(self.value)})"
        who = ", ".join((*self.plugins, self.feature) if self.feature else self.plugins)
        if who:
            text += f" [{who}]"
        return printable(f"{text}; {self.hint}" if self.hint else text)


@frozen
class Verdict(Frozen):
    """What becomes of a config."""

    properties: tuple[Judgement, ...]

    @property
    def accepted(self) -> bool:
        """Whether create would accept the config."""
        return not self.refused

    @property
    def applied(self) -> tuple[Judgement, ...]:
        """What plugins apply."""
        return tuple(one for one in self.properties if one.outcome == APPLIED)

    @property
    def refused(self) -> tuple[Judgement, ...]:
        """What create would refuse."""
        return tuple(one for one in self.properties if one.outcome == REFUSED)

    @property
    def ignored(self) -> tuple[Judgement, ...]:
        """What is unknown, or has no effect."""
        return tuple(one for one in self.properties if one.outcome == IGNORED)

    def as_data(self) -> dict[str, Any]:
        """Return the verdict as JSON data."""
        return {"accepted": self.accepted, "properties": [one.as_data() for one in self.properties]}

    def as_text(self) -> str:
        """Return the verdict as lines for people: what is lost first, each with how much that matters."""
        return "\n".join(
            [self.headline(), *(f"  {one.weight:7} {one.as_text()}" for one in self.by_weight())]
        )

    def headline(self) -> str:
        """Return the verdict in a few words."""
        return "accepted" if self.accepted else "refused"

    def by_weight(self) -> tuple[Judgement, ...]:
        """Return all judgements, what is lost first."""
        return (*self.refused, *self.ignored, *self.applied)


class ForeignVerdict(Verdict):
    """What another runtime makes of a config, as far as its features document tells."""

    @property
    def unknown(self) -> tuple[Judgement, ...]:
        """What the document does not tell."""
        return tuple(one for one in self.properties if one.outcome == UNKNOWN)

    @property
    def honoured(self) -> bool:
        """Whether nothing is known to be refused or silently lost."""
        return not (self.refused or self.ignored)

    def as_data(self) -> dict[str, Any]:
        """Return the verdict as JSON data."""
        return {"accepted": self.accepted, "honoured": self.honoured, **super().as_data()}

    def headline(self) -> str:
        """Return the verdict in a few words."""
        said = super().headline()
        return f"{said}, and not all of it is applied" if self.accepted and self.ignored else said

    def by_weight(self) -> tuple[Judgement, ...]:
        """Return all judgements, what is lost first."""
        return (*self.refused, *self.ignored, *self.unknown, *self.applied)


def judge(
    composition: Composition,
    source: bytes | dict[str, Any] | Config,
    context: PlanContext,
    *,
    path: str = "",
    host: HostView | None = None,
) -> Verdict:
    """Return the verdict of *composition* on the config in *source*.

    Raises:
        CompositionError: Two plugins adjust the same property.
        PluginError: A plugin failed, or did not keep to its hook.
    """
    unknown: list[str] = []
    try:
        data = prepare.read_data(source, path)
        config = decode_config(data, path=path, report=unknown)
    except InvalidDocumentError as error:
        faults = error.faults
        return Verdict(tuple(Judgement(f.pointer, REFUSED, (), f.message, f.value) for f in faults))
    except DocumentError as error:
        return Verdict((Judgement(error.pointer, REFUSED, (), error.message, error.value),))
    effective, _, owners = prepare.adjusted(composition, config, data, context, path, host)
    found: list[Judgement] = []
    for finding in composition.coverage.findings(effective):
        if finding.refused:
            pointer, message, value, plugin, hint = prepare.coverage_problem(composition, finding, owners)
            found.append(Judgement(pointer, REFUSED, (plugin,) if plugin else (), message, value, hint))
        else:
            found.append(Judgement(finding.pointer, APPLIED, finding.plugins))
    for plugin, problem in composition.hooks.validate(effective, context):
        pointer, message, value, plugin_name, hint = prepare.objection(plugin, problem)
        found.append(Judgement(pointer, REFUSED, (plugin_name,), message, value, hint))
    for plugin, remark in composition.hooks.remark(effective, context):
        if _acted_on(composition, remark.pointer):
            continue
        pointer, message, value, hint = remark.pointer, remark.message, remark.value, remark.hint
        found.append(Judgement(pointer, IGNORED, (plugin,), message, value, hint))
    found.extend(Judgement(pointer, IGNORED, (), "unknown to the specification") for pointer in unknown)
    if not any(one.outcome == REFUSED for one in found):
        _try_plan(composition, effective, context, found)
    return Verdict(tuple(found))


def _acted_on(composition: Composition, where: str) -> bool:
    """Tell whether a plugin acts on the annotation at *where*, whatever another one says of it."""
    _, section, *key = where.split("/") if where else ("", "")
    if section != "annotations" or not key:
        return False
    listed = composition.features.data.get("potentiallyUnsafeConfigAnnotations") or ()
    return key[0].replace("~1", "/").replace("~0", "~") in listed


def _try_plan(composition: Composition, config: Config, context: PlanContext, found: list[Judgement]) -> None:
    """Add what only planning refuses."""
    from orlop_hookspecs.errors import ConfigError

    try:
        composition.hooks.plan(config, context)
    except ConfigError as error:
        plugins = (error.plugin,) if error.plugin else ()
        found.append(Judgement(error.pointer, REFUSED, plugins, error.message, error.value, error.hint))
    except OrlopError:
        raise
