"""What can be used here: implemented by the composition, available on the host, allowed to the caller."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orlop.engine.coverage import ENTRY, ITEM, Finding, segments
from orlop.engine.prepare import hint_for
from orlop_hookspecs.availability import CATALOGUE
from orlop_hookspecs.errors import UNSET, PlatformError, UsageError
from orlop_hookspecs.frozen import Frozen, frozen

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from orlop.plugins.composition import Composition
    from orlop_hookspecs.availability import Answer, Capability

Tristate = bool | None


@frozen
class Diagnosis(Frozen):
    """What is known of one capability."""

    name: str
    plugins: tuple[str, ...]
    """Who implements it; empty: nobody in this composition."""
    available: bool | None
    """Whether the host has it; ``None``: the platform does not say."""
    allowed: bool | None
    """Whether the caller may use it; ``None``: the host does not have it, or the platform does not say."""
    reason: str
    """Why it cannot be used, or with what limits."""
    remedy: str
    """What can be done about it."""
    basic: bool
    """Hardly any container does without it."""

    @property
    def implemented(self) -> bool:
        """Whether some plugin of the composition implements it."""
        return bool(self.plugins)

    @property
    def usable(self) -> bool:
        """Whether nothing speaks against using it."""
        return self.implemented and self.available is not False and self.allowed is not False

    def as_data(self) -> dict[str, Any]:
        """Return the diagnosis as JSON data."""
        return {
            "name": self.name,
            "usable": self.usable,
            "implemented": self.implemented,
            "available": self.available,
            "allowed": self.allowed,
            "plugins": list(self.plugins),
            "reason": self.reason,
            "remedy": self.remedy,
        }


@frozen
class Examination(Frozen):
    """What is known of all capabilities that were asked about."""

    platform: str
    diagnoses: tuple[Diagnosis, ...]
    needed: tuple[str, ...]
    """Names of those that have to be usable."""

    @property
    def missing(self) -> tuple[Diagnosis, ...]:
        """What is needed and cannot be used."""
        return tuple(one for one in self.diagnoses if one.name in self.needed and not one.usable)

    def as_data(self) -> dict[str, Any]:
        """Return the examination as JSON data."""
        return {
            "platform": self.platform,
            "healthy": not self.missing,
            "needed": list(self.needed),
            "missing": [one.name for one in self.missing],
            "capabilities": [one.as_data() for one in self.diagnoses],
        }

    def rows(self) -> list[tuple[str, ...]]:
        """Return one row per capability: name, three answers, the reason with the remedy."""
        return [
            (
                one.name,
                _say(one.implemented),
                _say(one.available),
                _say(one.allowed),
                "; ".join(part for part in (one.reason, one.remedy) if part),
            )
            for one in self.diagnoses
        ]


def _say(answer: Tristate) -> str:
    return "-" if answer is None else "yes" if answer else "no"


def examine(
    composition: Composition,
    kernel: object,
    *,
    names: Sequence[str] = (),
    config: Mapping[str, Any] | None = None,
) -> Examination:
    """Return what can be used with *composition* on the host of *kernel*.

    Args:
        composition: The plugins.
        kernel: The platform's kernel.
        names: Only these capabilities, or all whose names begin with one of these and a dot; all are needed.
        config: Only what this config (JSON data) needs.

    Raises:
        UsageError: No capability has one of *names*.
        PlatformError: The platform cannot examine its host.
    """
    ask = getattr(kernel, "examine", None)
    if ask is None:
        raise PlatformError(
            f"platform {composition.platform_name} cannot examine its host",
            value=composition.platform_name,
            hint="its kernel has no method examine (orlop_hookspecs.availability.Examinable)",
        )
    asked = [one for one in CATALOGUE if not names or _is_named(one.name, names)]
    for name in names:
        if not any(_is_named(one.name, (name,)) for one in CATALOGUE):
            known = ", ".join(dict.fromkeys(one.name.partition(".")[0] for one in CATALOGUE))
            raise UsageError("there is no capability of this name", value=name, hint=f"known are {known}")
    if config is not None:
        asked = [one for one in asked if needs(config, one)]
    answers: Mapping[str, Answer] = ask(asked)
    selected = bool(names) or config is not None
    return Examination(
        composition.platform_name,
        tuple(_diagnose(composition, one, answers.get(one.name)) for one in asked),
        tuple(one.name for one in asked if selected or one.basic),
    )


def _is_named(name: str, wanted: Sequence[str]) -> bool:
    return any(name == one or name.startswith(f"{one}.") for one in wanted)


def _diagnose(composition: Composition, one: Capability, answer: Answer | None) -> Diagnosis:
    plugins = _implementers(composition, one)
    reason, remedy = (answer.reason, answer.remedy) if answer else ("the platform does not say", "")
    if not plugins:
        hint = _who_would(composition, one)
        reason, remedy = "no active plugin implements it", hint or "add a plugin that does to the composition"
    available = answer.available if answer else None
    return Diagnosis(
        one.name,
        plugins,
        available,
        answer.allowed if answer and available else None,
        reason,
        remedy,
        one.basic,
    )


def _implementers(composition: Composition, one: Capability) -> tuple[str, ...]:
    """Return who implements a capability, by the features document if it has a word for it."""
    if not one.feature:
        found = dict.fromkeys(who for path in one.paths for who in composition.coverage.handlers(path))
        return tuple(found)
    value: Any = composition.features.data
    section, _, key = one.feature.partition(".")
    for part in (section, key) if section == "annotations" else one.feature.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    owners = composition.features.provenance.get(one.feature, {})
    if isinstance(owners, dict):
        wanted = one.values if one.values is not None else set(owners)
        return tuple(dict.fromkeys(who for word in wanted for who in owners.get(word, ())))
    return tuple(owners) if value else ()


def _who_would(composition: Composition, one: Capability) -> str:
    for path in one.paths:
        value = next(iter(sorted(one.values)), UNSET) if one.values else UNSET
        hint = hint_for(composition, Finding("", (), value=value, path=path))
        if hint:
            return hint
    return ""


def needs(config: Mapping[str, Any], one: Capability) -> bool:
    """Tell whether *config* sets a property, to a value, that needs the capability."""
    for path in one.paths:
        for value in _values(config, segments(path)):
            if one.values is None:
                if value not in (None, False, "", [], {}) or path == "linux.intelRdt":
                    return True
            elif isinstance(value, str) and value in one.values:
                return True
    return False


def _values(data: object, parts: Sequence[str]) -> Iterator[object]:
    """Yield what *data* holds at a property path, wherever it does."""
    if not parts:
        yield data
        return
    first, rest = parts[0], parts[1:]
    if first == ITEM:
        items = data if isinstance(data, list) else ()
    elif first == ENTRY:
        items = list(data.values()) if isinstance(data, dict) else ()
    else:
        items = [data[first]] if isinstance(data, dict) and first in data else ()
    for item in items:
        yield from _values(item, rest)
