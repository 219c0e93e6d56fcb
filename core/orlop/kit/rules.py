"""Rules of the conformance kit: what one is, how each is run alone and under a deadline, and the report.

A rule is a generator over a *case*: it yields one line for each way in which the plugin breaks it, and raises
:class:`NotApplicableError` where it has nothing to say. Rules know no test framework.
"""

from __future__ import annotations

import sys
import threading
from typing import TYPE_CHECKING, Any

from orlop_hookspecs.errors import OrlopError, printable
from orlop_hookspecs.frozen import Frozen, frozen

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    RuleFunction = Callable[[Any], Iterable[str]]

PASSED, BROKEN, SKIPPED = "passed", "broken", "skipped"

DEADLINE = 60.0
"""Seconds that one rule may take, unless the caller says otherwise."""


class NotApplicableError(Exception):
    """A rule has nothing to say about this plugin, or on this machine; the message tells why."""


@frozen
class Rule(Frozen):
    """One rule of the kit."""

    name: str
    group: str
    """What has to be there for it: ``loading``, ``declarations``, ``planning``, ``life``, ..."""
    text: str
    """What holds for a plugin that keeps it."""
    since: str
    """The version of the contract that has it first."""
    function: RuleFunction
    patience: float = 1.0
    """How many times the usual deadline it may take: some rules try the same thing hundreds of times."""


RULES: dict[str, Rule] = {}
"""Every rule by its name, in the order in which they are tried."""


def rule(group: str, since: str = "1.0", patience: float = 1.0) -> Callable[[RuleFunction], RuleFunction]:
    """Register the decorated function as a rule; its name and docstring are the rule's."""

    def register(function: RuleFunction) -> RuleFunction:
        name = function.__name__.replace("_", "-")
        text = " ".join((function.__doc__ or "").split())
        RULES[name] = Rule(name, group, text, since, function, patience)
        return function

    return register


@frozen
class Result(Frozen):
    """What became of one rule."""

    rule: str
    outcome: str
    """:data:`PASSED`, :data:`BROKEN` or :data:`SKIPPED`."""
    messages: tuple[str, ...] = ()
    """How it is broken, each in one line, or why it was skipped."""

    def as_data(self) -> dict[str, Any]:
        """Return the result as JSON data."""
        return {"rule": self.rule, "outcome": self.outcome, "messages": list(self.messages)}


@frozen
class Report(Frozen):
    """What became of all rules that were tried with one plugin."""

    subject: str
    """The plugin and where it comes from, in words."""
    results: tuple[Result, ...]

    @property
    def broken(self) -> tuple[Result, ...]:
        """The rules that the plugin does not keep."""
        return tuple(one for one in self.results if one.outcome == BROKEN)

    @property
    def kept(self) -> bool:
        """Whether no rule is broken."""
        return not self.broken

    def require(self) -> None:
        """Do nothing when every rule is kept.

        Raises:
            AssertionError: One is not; the message is the report.
        """
        if not self.kept:
            raise AssertionError(self.as_text(verbose=False))

    def as_data(self) -> dict[str, Any]:
        """Return the report as JSON data."""
        results = [one.as_data() for one in self.results]
        return {"subject": self.subject, "kept": self.kept, "results": results}

    def as_text(self, *, verbose: bool = True) -> str:
        """Return the report as lines for people; without *verbose* only what is broken."""
        shown = self.results if verbose else self.broken
        lines = [self.subject]
        for one in shown:
            first, *rest = one.messages or ("",)
            lines.append(f"  {one.outcome:8} {one.rule}{': ' if first else ''}{first}")
            lines += [f"           {message}" for message in rest]
        counts = [sum(one.outcome == kind for one in self.results) for kind in (PASSED, BROKEN, SKIPPED)]
        lines.append("{} rules kept, {} broken, {} skipped".format(*counts))
        return "\n".join(lines)


def run(
    case: object, rules: Sequence[Rule], subject: Callable[[], str], deadline: float = DEADLINE
) -> Report:
    """Try each of *rules* with *case*, alone and under *deadline*, and return the report.

    A rule that does not come to its end is broken, and those after it are skipped: what it was waiting for
    may hold what they need.
    """
    results: list[Result] = []
    stuck = ""
    for one in rules:
        if stuck:
            results.append(Result(one.name, SKIPPED, (f"not tried: {stuck} has not come to its end",)))
            continue
        result, ended = _try(one, case, deadline * one.patience)
        results.append(result)
        if not ended:
            stuck = one.name
    return Report(subject(), tuple(results))


def _try(one: Rule, case: object, deadline: float) -> tuple[Result, bool]:
    found: list[Result] = []

    def work() -> None:
        try:
            messages = tuple(printable(message) for message in one.function(case))
            found.append(Result(one.name, BROKEN if messages else PASSED, messages))
        except NotApplicableError as reason:
            found.append(Result(one.name, SKIPPED, (printable(str(reason)),)))
        # A plugin may raise anything, also what is meant to end a program.
        except BaseException as error:  # noqa: BLE001 - as above; it is the result
            found.append(Result(one.name, BROKEN, (describe(error),)))

    thread = threading.Thread(target=work, name=f"rule {one.name}", daemon=True)
    thread.start()
    thread.join(deadline)
    if found:
        return found[0], True
    where = _place_of(thread)
    return Result(one.name, BROKEN, (f"it has not come to its end within {deadline:g} s{where}",)), False


def _place_of(thread: threading.Thread) -> str:
    """Return where the code of a plugin stands in *thread*: the innermost frame outside of orlop itself."""
    frame = sys._current_frames().get(thread.ident or 0)  # noqa: SLF001 - documented; the name is CPython's
    inner = frame
    while frame is not None:
        module = str(frame.f_globals.get("__name__", ""))
        if module.partition(".")[0] not in {*_OURS, "threading"}:
            return f"; it stands in {frame.f_code.co_qualname}, line {frame.f_lineno} of {module}"
        frame = frame.f_back
    return "" if inner is None else f"; it stands in {inner.f_code.co_qualname}"


_OURS = frozenset(("orlop", "orlop_hookspecs", "orlop_fake", "orlop_linux"))


def describe(error: BaseException) -> str:
    """Return *error* as one line."""
    text = str(error) if isinstance(error, OrlopError) else f"{type(error).__name__}: {error}"
    return printable(text)


def of_groups(*groups: str) -> list[Rule]:
    """Return the rules of *groups* in the order in which they are tried."""
    return [one for group in groups for one in RULES.values() if one.group == group]


def differences(name: str, first: Sequence[object], second: Sequence[object]) -> Iterator[str]:
    """Yield a line when *first* and *second*, two answers of the hook *name*, are not the same."""
    if len(first) != len(second):
        yield f"{name} answered with {len(first)} items at first and with {len(second)} when asked again"
        return
    for index, (one, other) in enumerate(zip(first, second, strict=True)):
        if one != other:
            yield f"{name}: item {index} was {one!r} at first and {other!r} when asked again"
            return
