"""Steps at start, in the container process, ending in execve(2)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orlop_hookspecs.steps.base import Step, step

if TYPE_CHECKING:
    from collections.abc import Mapping


@step
class SetRlimits(Step):
    """Set resource limits (setrlimit(2)) as (name, soft, hard).

    The host raises a hard limit that the process itself may not.
    """

    ACT = "set the resource limits"
    PHASE = "exec"
    SLOT = "limits"
    JOINS = True

    because: str
    limits: tuple[tuple[str, int, int], ...]


@step
class SetUmask(Step):
    """Set the file mode creation mask (umask(2))."""

    ACT = "set the umask"
    PHASE = "exec"
    SLOT = "limits"
    JOINS = True

    because: str
    umask: int


@step
class SetNoNewPrivileges(Step):
    """Set no_new_privs (prctl(2), PR_SET_NO_NEW_PRIVS)."""

    ACT = "set no_new_privs"
    PHASE = "exec"
    SLOT = "limits"
    JOINS = True

    because: str


@step
class LoadSeccomp(Step):
    """Load a seccomp filter (seccomp(2)).

    With no_new_privs the filter is loaded as late as possible; without, while the process may still do so.
    """

    ACT = "load the seccomp filter"
    PHASE = "exec"
    SLOT = "filter-late"
    JOINS = True

    because: str
    default_action: str
    default_errno: int | None = None
    architectures: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    syscalls: tuple[dict[str, Any], ...] = ()
    """As config-linux.md "Seccomp": ``{"names": [...], "action": str, "errno": int|None, "args": [{"index",
    "value", "value_two", "op"}]}``."""
    listener_path: str = ""
    """Socket of the agent that gets the listener; empty when no action is SCMP_ACT_NOTIFY."""
    listener_metadata: str | None = None
    """What the agent is told besides."""
    strict: bool = False
    """Refuse a name that the host knows on no architecture, instead of leaving it out."""
    early: bool = False
    """Load before the user and the capabilities change (no_new_privs is off)."""

    @property
    def slot(self) -> str:
        """``filter-early`` or ``filter-late``."""
        return "filter-early" if self.early else "filter-late"


@step
class SetUser(Step):
    """Become the process's user: setgroups(2), setgid(2), setuid(2).

    Capabilities are kept for the next step.
    """

    ACT = "become user {uid} and group {gid}"
    PHASE = "exec"
    SLOT = "user"
    JOINS = True

    because: str
    uid: int
    gid: int
    groups: tuple[int, ...] = ()


@step
class SetCapabilities(Step):
    """Set the five capability sets (capabilities(7)) to these names, in the order of the config.

    A name that nobody knows, and a capability that the caller does not have, is left out with a warning
    (config.md, Linux Process: "MUST be logged as a warning").
    """

    ACT = "set the capabilities"
    PHASE = "exec"
    SLOT = "capabilities"
    JOINS = True

    because: str
    bounding: tuple[str, ...] = ()
    effective: tuple[str, ...] = ()
    permitted: tuple[str, ...] = ()
    inheritable: tuple[str, ...] = ()
    ambient: tuple[str, ...] = ()

    def places(self) -> dict[str, dict[str, str]]:
        """Return each name once: the sets that it is in, each with the JSON pointer of its first place."""
        found: dict[str, dict[str, str]] = {}
        for kind in ("bounding", "effective", "permitted", "inheritable", "ambient"):
            for index, name in enumerate(getattr(self, kind)):
                found.setdefault(name, {}).setdefault(kind, f"{self.because}/{kind}/{index}")
        return found

    def unraisable(self) -> dict[str, str]:
        """Return the ambient capabilities that no kernel raises, each with its JSON pointer.

        They are not both permitted and inheritable (capabilities(7), Ambient).
        """
        possible = set(self.permitted) & set(self.inheritable)
        return {
            name: places["ambient"]
            for name, places in self.places().items()
            if "ambient" in places and name not in possible
        }

    @staticmethod
    def unraisable_warning(names: Mapping[str, str]) -> str:
        """Return one warning of all *names*: some engines ask for a dozen such capabilities each time."""
        listed, places = ", ".join(names), ", ".join(names.values())
        if len(names) == 1:
            return f"capability {listed} is left out: it is not both permitted and inheritable ({places})"
        return f"capabilities {listed} are left out: they are not both permitted and inheritable ({places})"


@step
class Execute(Step):
    """Replace the container process by the user-specified program (execve(2))."""

    ACT = "execute the program"
    PHASE = "exec"
    SLOT = "execute"
    JOINS = True

    because: str
    args: tuple[str, ...]
    env: tuple[str, ...] = ()
    cwd: str = "/"
