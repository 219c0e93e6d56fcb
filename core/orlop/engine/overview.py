"""A seccomp profile as a whole: what of it this host cannot do, and what in it never decides anything."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orlop.engine.filters import names_of, places_of, unreachable
from orlop_hookspecs.availability import CATALOGUE
from orlop_hookspecs.errors import printable
from orlop_hookspecs.frozen import Frozen, frozen

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from orlop_hookspecs.availability import Answer, Capability
    from orlop_hookspecs.calls import CallTable
    from orlop_hookspecs.documents import Seccomp

    Resolve = Callable[[str, Sequence[str]], CallTable | None]
    Examine = Callable[[Sequence[Capability]], Mapping[str, Answer]]

_SKIPPED = "no architecture of the profile has such a call, as far as this host knows: it is skipped"


@frozen
class Architecture(Frozen):
    """What the profile means on one architecture."""

    name: str
    native: bool
    known: bool
    """This host knows its calls."""
    newest: str
    """The newest call that the profile names; empty when it names none."""
    number: int
    """The number of that call; -1 without one. Larger numbers get ENOSYS when the default is an errno."""


@frozen
class Place(Frozen):
    """Something in the profile with what is to be said of it."""

    kind: str
    """``unresolvable``, ``lacking`` or ``unreachable``."""
    pointer: str
    value: str
    reason: str
    remedy: str = ""

    def as_text(self) -> str:
        """Return it as one line."""
        more = f"; {self.remedy}" if self.remedy else ""
        return printable(f"{self.kind} {self.pointer}: {self.value}: {self.reason}{more}")


@frozen
class Overview(Frozen):
    """A profile as a whole."""

    default: str
    rules: int
    names: int
    architectures: tuple[Architecture, ...]
    places: tuple[Place, ...]

    @property
    def lacking(self) -> tuple[Place, ...]:
        """What this host does not have, so that a container with the profile is refused here."""
        return tuple(one for one in self.places if one.kind == "lacking")

    def as_data(self) -> dict[str, Any]:
        """Return the overview as JSON data."""
        found: dict[str, list[dict[str, str]]] = {"unresolvable": [], "lacking": [], "unreachable": []}
        for one in self.places:
            found[one.kind].append(
                {"pointer": one.pointer, "value": one.value, "reason": one.reason, "remedy": one.remedy}
            )
        return {
            "defaultAction": self.default,
            "rules": self.rules,
            "names": self.names,
            "architectures": [
                {
                    "name": one.name,
                    "native": one.native,
                    "known": one.known,
                    "newest": one.newest or None,
                    "number": one.number if one.newest else None,
                }
                for one in self.architectures
            ],
            **found,
        }

    def as_text(self) -> str:
        """Return the overview as lines for people."""
        lines = [f"{self.rules} rules for {self.names} names; default: {self.default}"]
        for one in self.architectures:
            text = f"architecture {one.name}"
            if one.native:
                text += ", this machine's own"
            if not one.known:
                text += ": unknown to this host"
            elif one.newest:
                text += f": the newest call in the profile is {one.newest} ({one.number})"
            lines.append(text)
        lines += [one.as_text() for one in self.places]
        return "\n".join(lines)


def overview(profile: Seccomp, resolve: Resolve, examine: Examine | None) -> Overview:
    """Return what there is to say of *profile* on a host.

    Args:
        profile: The ``linux.seccomp`` section.
        resolve: The kernel's ``call_table``.
        examine: The kernel's ``examine``, if it has one.
    """
    names = names_of(profile)
    own = resolve("", names)
    tables: dict[str, CallTable | None] = {own.architecture: own} if own else {}
    for one in profile.architectures or ():
        tables.setdefault(one, None)
        tables[one] = tables[one] or resolve(one, names)
    known = {name for table in tables.values() if table for name in (*table.numbers, *table.hidden)}
    unknown = frozenset(names) - known
    places = [Place("unresolvable", where, name, _SKIPPED) for where, name in places_of(profile, unknown)]
    places += _lacking(profile, examine)
    places += [Place("unreachable", where, "no effect", why) for where, why in unreachable(profile)]
    return Overview(
        profile.default_action,
        len(profile.syscalls or ()),
        len(names),
        tuple(_architecture(name, table, own) for name, table in tables.items()),
        tuple(places),
    )


def _architecture(name: str, table: CallTable | None, own: CallTable | None) -> Architecture:
    numbers = {} if table is None else {one: no for one, no in table.numbers.items() if no <= table.last}
    newest = max(numbers, key=numbers.__getitem__, default="")
    native = own is not None and own.architecture == name
    return Architecture(name, native, table is not None, newest, numbers.get(newest, -1))


def _lacking(profile: Seccomp, examine: Examine | None) -> Iterator[Place]:
    """Yield the flags and actions of the profile that the host does not have."""
    if examine is None:
        return
    used: dict[str, str] = {profile.default_action: "/linux/seccomp/defaultAction"}
    for index, rule in enumerate(profile.syscalls or ()):
        used.setdefault(rule.action, f"/linux/seccomp/syscalls/{index}/action")
    for index, flag in enumerate(profile.flags or ()):
        used.setdefault(flag, f"/linux/seccomp/flags/{index}")
    asked = [
        one for one in CATALOGUE if one.name.partition(".")[2] in used and one.name.startswith("seccomp.")
    ]
    answers = examine(asked)
    for one in asked:
        answer = answers.get(one.name)
        if answer is not None and not (answer.available and answer.allowed):
            word = one.name.partition(".")[2]
            yield Place("lacking", used[word], word, answer.reason, answer.remedy)
