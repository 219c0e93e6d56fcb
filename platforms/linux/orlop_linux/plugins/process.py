"""Plugin ``process``: what runs, as whom and where (config.md, Process, User, Linux Process)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orlop_hookspecs.hooks import hookimpl
from orlop_hookspecs.hooks.capability import Handle, Problem
from orlop_hookspecs.steps.exec import Execute, SetNoNewPrivileges, SetUmask, SetUser
from orlop_hookspecs.steps.process import SetOomScore
from orlop_hookspecs.steps.session import CheckExecutable
from orlop_linux.plugins.shared import (
    ID_MAX,
    argument_problems,
    containers,
    environment_problems,
    is_absolute,
    path_fault,
    plugin_info,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from orlop_hookspecs.documents import Config, Process, User
    from orlop_hookspecs.hooks.identity import PluginInfo
    from orlop_hookspecs.launch import PlanContext
    from orlop_hookspecs.steps.base import Step

GROUPS_MAX = 65536
"""Most supplementary groups (setgroups(2), NGROUPS_MAX)."""

UMASK_MAX = 0o777
OOM_SCORES = (-1000, 1000)


@hookimpl
def orlop_plugin() -> PluginInfo:
    """Return the plugin's identity."""
    return plugin_info(
        "process", "program, arguments, environment, user, working directory", after=("rootfs",)
    )


@hookimpl
def orlop_handles() -> Sequence[Handle]:
    """Return the properties of every process."""
    return (
        *containers("process", "process.user"),
        Handle("process.args"),
        Handle("process.env"),
        Handle("process.cwd"),
        Handle("process.user.uid"),
        Handle("process.user.gid"),
        Handle("process.user.umask"),
        Handle("process.user.additionalGids"),
        Handle("process.noNewPrivileges"),
        Handle("process.oomScoreAdj"),
    )


@hookimpl
def orlop_validate(config: Config) -> Sequence[Problem]:
    """Refuse what execve(2), setresuid(2) or proc(5) could not take.

    Without a process a container can be created; only start needs one (config.md, Process).
    """
    if config.process is None:
        return ()
    return (*_program(config.process), *_identity(config.process))


def _program(process: Process) -> Iterator[Problem]:
    if not process.args:
        yield Problem("/process/args", "at least one argument is required, the program")
    elif not process.args[0]:
        yield Problem("/process/args/0", "the program's name is empty", "")
    yield from argument_problems(process.args or (), "/process/args")
    yield from environment_problems(process.env or (), "/process/env")
    if not is_absolute(process.cwd):
        yield Problem("/process/cwd", "the working directory must be absolute", process.cwd)
    elif path_fault(process.cwd):
        yield Problem("/process/cwd", path_fault(process.cwd), process.cwd)
    lowest, highest = OOM_SCORES
    score = process.oom_score_adj
    if score is not None and not lowest <= score <= highest:
        yield Problem("/process/oomScoreAdj", f"the score must be from {lowest} to {highest}", score)


def _identity(process: Process) -> Iterator[Problem]:
    user = process.user
    if user is None:
        return
    for name, number in (("uid", user.uid), ("gid", user.gid)):
        pointer = f"/process/user/{name}"
        if number is None:
            yield Problem(pointer, "the property is required")
        elif number > ID_MAX:
            yield Problem(pointer, f"the largest id is {ID_MAX}", number)
    groups = user.additional_gids or ()
    if len(groups) > GROUPS_MAX:
        yield Problem("/process/user/additionalGids", f"more than {GROUPS_MAX} groups", len(groups))
    for index, gid in enumerate(groups):
        if gid > ID_MAX:
            yield Problem(f"/process/user/additionalGids/{index}", f"the largest id is {ID_MAX}", gid)
    if user.umask is not None and user.umask > UMASK_MAX:
        yield Problem("/process/user/umask", f"the umask must be at most {UMASK_MAX}, octal 777", user.umask)


def environment(entries: Sequence[str]) -> tuple[str, ...]:
    """Return *entries* with each name once: the last one counts, in its own place.

    Programs differ in which of two entries they see, so peers leave only the one that a shell would assign
    last.
    """
    last = {entry.partition("=")[0]: index for index, entry in enumerate(entries)}
    if len(last) == len(entries):
        return tuple(entries)
    return tuple(entry for index, entry in enumerate(entries) if last[entry.partition("=")[0]] == index)


@hookimpl
def orlop_plan(config: Config, context: PlanContext) -> Sequence[Step]:
    """Plan the process; a config without a user runs as root of the container."""
    process = config.process
    if process is None:
        return ()
    env = environment(process.env or ())
    args = process.args or ()
    path = next((entry[5:] for entry in env if entry.startswith("PATH=")), "")
    steps: list[Step] = [
        CheckExecutable(
            because="/process/args", args=args, path=path, cwd=process.cwd, make_cwd=not context.joins
        ),
        *_user(process.user),
    ]
    if process.no_new_privileges:
        steps.append(SetNoNewPrivileges(because="/process/noNewPrivileges"))
    if process.oom_score_adj is not None:
        steps.append(SetOomScore(because="/process/oomScoreAdj", score=process.oom_score_adj))
    steps.append(Execute(because="/process/args", args=args, env=env, cwd=process.cwd))
    return steps


def _user(user: User | None) -> Iterator[Step]:
    if user is None:
        yield SetUser(because="/process/user", uid=0, gid=0)
        return
    if user.umask is not None:
        yield SetUmask(because="/process/user/umask", umask=user.umask)
    yield SetUser(
        because="/process/user", uid=user.uid or 0, gid=user.gid or 0, groups=user.additional_gids or ()
    )
