"""Questions about a seccomp profile that only a platform can answer: numbers of calls, what a host has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orlop.documents.codec import decode, decode_config
from orlop.engine.filters import Outcome, explain_call, names_of
from orlop.engine.overview import Overview, overview
from orlop_hookspecs.documents.seccomp import Seccomp
from orlop_hookspecs.documents.vocabulary import SECCOMP_ARCHITECTURES
from orlop_hookspecs.errors import ConfigError, PlatformError, UsageError
from orlop_hookspecs.frozen import Frozen, frozen

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from orlop_hookspecs.calls import CallTable
    from orlop_hookspecs.documents import Config

UNKNOWN = "?"
"""What stands for an argument whose value is not known."""

_LEAST, _MOST = -(1 << 63), (1 << 64) - 1


@frozen
class CallExplanation(Frozen):
    """What a profile does to one call."""

    call: str
    """The name or the number that was asked about."""
    number: int | None
    architecture: str
    arguments: tuple[int | None, ...]
    outcomes: tuple[Outcome, ...]
    """In the order in which it is decided; the last one is for certain, if none before is."""

    def as_data(self) -> dict[str, Any]:
        """Return the explanation as JSON data."""
        return {
            "call": self.call,
            "number": self.number,
            "architecture": self.architecture,
            "arguments": list(self.arguments),
            "outcomes": [one.as_data() for one in self.outcomes],
        }

    def as_text(self) -> str:
        """Return the explanation as lines."""
        shown = ", ".join(UNKNOWN if one is None else str(one) for one in self.arguments)
        lines = [f"{self.call}({shown}) on {self.architecture}:"]
        return "\n".join([*lines, *(f"  {one.as_text()}" for one in self.outcomes)])


def profile_of(source: Seccomp | bytes | dict[str, Any] | Config, path: str = "") -> Seccomp:
    """Return the profile that *source* is, or that the config has that it is; *path* is where it was read.

    Raises:
        ConfigError: The config has none.
        DocumentError: It is neither.
    """
    if isinstance(source, Seccomp):
        return source
    if isinstance(source, dict) and "defaultAction" in source:
        return decode(source, Seccomp, path=path)
    config = decode_config(source, path=path) if isinstance(source, bytes | dict) else source
    if config.linux is None or config.linux.seccomp is None:
        raise ConfigError("the config has no seccomp profile", pointer="/linux/seccomp", path=path)
    return config.linux.seccomp


def _resolver(platform: str, kernel: Any) -> Callable[[str, Sequence[str]], CallTable | None]:  # noqa: ANN401 - a kernel with or without the optional method
    found: Callable[[str, Sequence[str]], CallTable | None] | None = getattr(kernel, "call_table", None)
    if found is None:
        raise PlatformError(
            f"platform {platform} knows no system calls",
            value=platform,
            hint="its kernel has no method call_table (orlop_hookspecs.calls.Resolver)",
        )
    return found


def explain_profile(platform: str, kernel: Any, profile: Seccomp) -> Overview:  # noqa: ANN401 - as above
    """Return what of *profile* the host of *kernel* cannot do, and what in it never decides anything."""
    return overview(profile, _resolver(platform, kernel), getattr(kernel, "examine", None))


def explain(  # noqa: PLR0913 - a call and who is asked about it
    platform: str,
    kernel: Any,  # noqa: ANN401 - as above
    profile: Seccomp,
    call: str | int,
    arguments: Sequence[int | None],
    *,
    architecture: str,
) -> CallExplanation:
    """Return what *profile* does to *call* with *arguments*, of which ``None`` is not known.

    Raises:
        UsageError: There is no such call or architecture, or an argument is no number of 64 bits.
    """
    if architecture and architecture not in SECCOMP_ARCHITECTURES:
        known = ", ".join(SECCOMP_ARCHITECTURES)
        raise UsageError("there is no architecture of this name", value=architecture, hint=f"one of {known}")
    for value in arguments:
        if value is not None and not _LEAST <= value <= _MOST:
            raise UsageError("an argument of a system call has 64 bits", value=value)
    resolve = _resolver(platform, kernel)
    table = resolve(architecture, (*names_of(profile), str(call)))
    if table is None:
        raise UsageError("this host knows no system calls of the architecture", value=architecture)
    own = resolve("", ())
    machine = own.architecture if own else ""
    if isinstance(call, str) and call.isascii() and call.isdigit():
        call = int(call)
    if table.architecture not in {machine, *(profile.architectures or ())}:
        because = "the profile does not list the architecture, and it is not the machine's own"
        outcomes: tuple[Outcome, ...] = (
            Outcome("SCMP_ACT_KILL_THREAD", None, "/linux/seccomp/architectures", because),
        )
    else:
        outcomes = explain_call(profile, table, call, arguments)
    number = call if isinstance(call, int) else table.numbers.get(call)
    return CallExplanation(str(call), number, table.architecture, tuple(arguments), outcomes)
