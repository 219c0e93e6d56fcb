"""The step that runs one hook of the config (config.md, "POSIX-platform Hooks")."""

from __future__ import annotations

from orlop_hookspecs.steps.base import Step, step

_PLACES = {
    "prestart": ("host-with-pid", "hooks"),
    "createRuntime": ("host-with-pid", "hooks"),
    "createContainer": ("container", "hooks"),
    "startContainer": ("exec", "hooks"),
}


@step
class RunHook(Step):
    """Run one hook with the container's state on its standard input.

    Its environment is exactly ``env``. Its working directory is the bundle; that of ``createContainer`` and
    ``startContainer`` hooks is the root of the container. It has its own process group, which is killed when
    the time is over. ``poststart`` and ``poststop`` hooks are run by the lifecycle after the plan has been
    executed and stand in no phase.
    """

    ACT = "run the {kind} hook {path}"
    PHASE = "host-with-pid"
    SLOT = "hooks"

    because: str
    kind: str
    """``prestart``, ``createRuntime``, ``createContainer``, ``startContainer``, ``poststart`` or
    ``poststop``."""
    index: int
    path: str
    args: tuple[str, ...] = ()
    """The whole argv, ``args[0]`` included; empty: only the path."""
    env: tuple[str, ...] = ()
    timeout: int | None = None
    """Seconds until the hook's process group is killed; ``None``: no limit."""

    @property
    def phase(self) -> str:
        """The phase in which hooks of this kind run; empty for poststart and poststop."""
        return _PLACES.get(self.kind, ("", ""))[0]

    @property
    def slot(self) -> str:
        """The slot for hooks."""
        return _PLACES.get(self.kind, ("", ""))[1]
