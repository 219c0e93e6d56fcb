"""What a caller asks for who wants a program in a container: its process, made from the container's own."""

from __future__ import annotations

from orlop.lifecycle.site import READINESS
from orlop_hookspecs.documents.process import Capabilities, User
from orlop_hookspecs.errors import ConfigError, UsageError
from orlop_hookspecs.frozen import Frozen, frozen
from orlop_hookspecs.launch import ExecOptions

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from orlop.lifecycle.exec import Wanted
    from orlop_hookspecs.documents import Config, Process


@frozen
class Changes(Frozen):
    """A program, and in what its process differs from the container's own."""

    args: tuple[str, ...]
    cwd: str = ""
    """Working directory; empty: the same."""
    env: tuple[str, ...] = ()
    """Further variables; a later one replaces an earlier one of its name."""
    uid: int | None = None
    gid: int | None = None
    groups: tuple[int, ...] = ()
    """Further supplementary groups."""
    capabilities: tuple[str, ...] = ()
    """Further capabilities, bounding, effective and permitted; ambient only beside inheritable ones."""
    terminal: bool = False
    no_new_privileges: bool | None = None
    apparmor_profile: str = ""
    selinux_label: str = ""

    def __call__(self, config: Config) -> Process:
        """Return the whole process, made from that of *config*.

        Raises:
            ConfigError: The config has none.
        """
        base = config.process
        if base is None:
            raise ConfigError(
                "the container has no process from which the rest could be taken",
                pointer="/process",
                hint="give a whole process document",
            )
        changes: dict[str, Any] = {"args": self.args, "terminal": self.terminal, "command_line": None}
        if self.cwd:
            changes["cwd"] = self.cwd
        # That the container is ready is its own process's to say.
        inherited = tuple(one for one in base.env or () if one != READINESS)
        if self.env or inherited != (base.env or ()):
            changes["env"] = (*inherited, *self.env)
        if self.uid is not None or self.gid is not None or self.groups:
            changes["user"] = self._user(base.user or User(uid=0, gid=0))
        if self.capabilities:
            changes["capabilities"] = self._capabilities(base.capabilities or Capabilities())
        if self.no_new_privileges is not None:
            changes["no_new_privileges"] = self.no_new_privileges
        if self.apparmor_profile:
            changes["apparmor_profile"] = self.apparmor_profile
        if self.selinux_label:
            changes["selinux_label"] = self.selinux_label
        return base.evolve(**changes)

    def _user(self, user: User) -> User:
        return user.evolve(
            uid=user.uid if self.uid is None else self.uid,
            gid=user.gid if self.gid is None else self.gid,
            additional_gids=(*(user.additional_gids or ()), *self.groups),
        )

    def _capabilities(self, sets: Capabilities) -> Capabilities:
        wider = {
            name: tuple(dict.fromkeys((*(getattr(sets, name) or ()), *self.capabilities)))
            for name in ("bounding", "effective", "permitted", *(("ambient",) if sets.inheritable else ()))
        }
        return sets.evolve(**wider)


def wanted_of(
    process: Sequence[str] | bytes | dict[str, Any] | Process,
    options: ExecOptions | None,
    fields: dict[str, Any],
) -> tuple[Wanted, ExecOptions]:
    """Return what :class:`orlop.lifecycle.exec.Execution` takes, from the arguments of the library.

    Raises:
        UsageError: A field is unknown, or belongs to a program and a document was given.
    """
    flags = {name: fields.pop(name) for name in list(fields) if name in _OPTIONS}
    if flags:
        if options is not None:
            raise UsageError("give either options or single ones by name", value=", ".join(flags))
        options = ExecOptions(**flags)
    options = options or ExecOptions()
    if isinstance(process, list | tuple):
        known: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()
        }
        try:
            return Changes(args=tuple(process), **known), options
        except TypeError:
            pass
    elif not fields:
        return process, options  # type: ignore[return-value]
    raise UsageError("unknown option of exec, or one that a whole document has", value=", ".join(fields))


_OPTIONS = frozenset(ExecOptions().__dict__)
