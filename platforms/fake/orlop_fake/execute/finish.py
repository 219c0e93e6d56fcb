"""Steps at start, in the container process, from the least to the most confined."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from orlop_fake.agents import deliver, require_agent
from orlop_fake.mounts import walk
from orlop_fake.processes import ALL_CAPABILITIES
from orlop_fake.refusals import refusal, text_of
from orlop_fake.seccomp import Filter
from orlop_fake.versions import FLAGS, LISTENERS
from orlop_fake.vfs import File
from orlop_hookspecs.errors import StepError
from orlop_hookspecs.steps import LoadSeccomp

if TYPE_CHECKING:
    from orlop_fake.execute.context import Context, Handler
    from orlop_fake.machine import Machine
    from orlop_fake.processes import Credentials, Process
    from orlop_hookspecs.plan import Plan
    from orlop_hookspecs.steps import (
        Execute,
        SetCapabilities,
        SetNoNewPrivileges,
        SetRlimits,
        SetUmask,
        SetUser,
    )

RLIMITS = frozenset(
    f"RLIMIT_{name}"
    for name in [
        "AS",
        "CORE",
        "CPU",
        "DATA",
        "FSIZE",
        "LOCKS",
        "MEMLOCK",
        "MSGQUEUE",
        "NICE",
        "NOFILE",
        "NPROC",
        "RSS",
        "RTPRIO",
        "RTTIME",
        "SIGPENDING",
        "STACK",
    ]
)
_HOME = 5  # the field of passwd(5)
_NR_OPEN = 1 << 20  # /proc/sys/fs/nr_open


def set_rlimits(context: Context, step: SetRlimits) -> None:
    """Set resource limits: EINVAL for an unknown one or a soft over a hard one, EPERM over nr_open."""
    limits = dict(context.process.rlimits)
    for name, soft, hard in step.limits:
        if name not in RLIMITS or soft > hard:
            raise refusal(errno.EINVAL, message=f"{name}: invalid argument")
        if name == "RLIMIT_NOFILE" and hard > _NR_OPEN:
            raise refusal(errno.EPERM, message=f"{name}: operation not permitted")
        limits[name] = (soft, hard)
    context.process.rlimits = limits


def set_umask(context: Context, step: SetUmask) -> None:
    """Set the file mode creation mask."""
    context.process.umask = step.umask & 0o777


def set_no_new_privileges(context: Context, step: SetNoNewPrivileges) -> None:
    """Set no_new_privs."""
    del step
    context.process.no_new_privs = True


def load_seccomp(context: Context, step: LoadSeccomp) -> None:
    """Load a filter: EACCES without no_new_privs and without CAP_SYS_ADMIN (seccomp(2))."""
    process = context.process
    host = context.kernel.host
    if not host.seccomp or (step.listener_path and host.linux < LISTENERS):
        raise refusal(errno.EINVAL, message="seccomp: this kernel has no such filter")
    if not process.no_new_privs and not process.credentials.may("CAP_SYS_ADMIN"):
        raise refusal(errno.EACCES, message="seccomp: permission denied")
    made = Filter(step)
    if step.listener_path:
        if any(one.listener for one in process.filters):
            raise refusal(errno.EBUSY, message="seccomp: a filter has a listener already")
        made.listener = deliver(
            context.kernel, context.record, step.listener_path, step.listener_metadata, context.start_state
        )
    process.filters = (*process.filters, made)


def check_filters(kernel: Machine, plan: Plan) -> None:
    """Compile all filters of *plan* and look for their agents, before anything is touched.

    Raises:
        StepError: One cannot be compiled, or nobody listens for it.
    """
    for planned in plan.steps("exec"):
        step = planned.step
        if not isinstance(step, LoadSeccomp):
            continue
        try:
            Filter(step)
            for flag in step.flags:
                if kernel.host.linux < FLAGS.get(flag, (0, 0)):
                    raise refusal(errno.EINVAL, message=f"seccomp: this kernel does not know {flag}")
        except OSError as error:
            raise StepError(
                f"cannot {step.words()}: {error.strerror or text_of(error.errno or 0)}",
                pointer=step.because,
                plugin=planned.plugin,
                step=step.describe(),
                errno=error.errno,
            ) from error
        if step.listener_path:
            require_agent(kernel, step.listener_path)


def unmapped_id(process: Process, step: SetUser) -> str:
    """Return the property of *step* with an id that the user namespace of *process* does not map; or none."""
    user = process.namespaces.user
    wanted = [("uid", "uid", step.uid), ("gid", "gid", step.gid)]
    wanted += [(f"additionalGids/{index}", "gid", gid) for index, gid in enumerate(step.groups)]
    return next((name for name, kind, number in wanted if not user.covers(kind, number, 1)), "")


def set_user(context: Context, step: SetUser) -> None:
    """Become the user: EINVAL for an id that the user namespace does not map (setuid(2))."""
    unmapped = unmapped_id(context.process, step)
    if unmapped:
        raise refusal(errno.EINVAL, message=f"{unmapped}: invalid argument")
    if context.kernel.uid and step.groups:
        raise refusal(errno.EPERM, message="setgroups: operation not permitted")
    mine = context.process.credentials
    context.before = mine.copy()
    mine.uid, mine.gid = step.uid, step.gid
    mine.groups = context.kernel.groups if context.keep_groups else tuple(step.groups)


def set_capabilities(context: Context, step: SetCapabilities) -> None:
    """Set the five capability sets; what cannot be granted is left out, as the spec demands."""
    mine = context.process.credentials
    held, within = mine.permitted, mine.bounding | mine.inheritable
    bounding = frozenset(step.bounding) & ALL_CAPABILITIES & mine.bounding
    mine.bounding = bounding
    mine.permitted = frozenset(step.permitted) & held
    mine.effective = frozenset(step.effective) & mine.permitted
    mine.inheritable = frozenset(step.inheritable) & held & within
    mine.ambient = frozenset(step.ambient) & mine.permitted & mine.inheritable


def execute(context: Context, step: Execute) -> None:
    """Replace the container process by the program."""
    kernel, process = context.kernel, context.process
    env: dict[str, str] = {}
    for entry in step.env:
        name, _, value = entry.partition("=")
        env.setdefault(name, value)
    if "HOME" not in env:
        env["HOME"] = _home(process)
    kernel.chdir(process, step.cwd, before=context.before)
    kernel.execve(process, step.args, env)


def _home(process: Process) -> str:
    """Return the home directory of the user from the container's /etc/passwd, ``/`` when it has none."""
    try:
        node = walk(process.namespaces.mount.tree, process.root, "/etc/passwd").node
        text = node.read() if isinstance(node, File) else b""
    except OSError:
        return "/"
    for line in text.decode("utf-8", "replace").split("\n"):
        fields = line.split(":")
        if (
            len(fields) > _HOME
            and fields[2] == str(process.credentials.uid)
            and fields[_HOME].startswith("/")
        ):
            return fields[_HOME]
    return "/"


def capability_warnings(step: SetCapabilities, caller: Credentials) -> list[str]:
    """Return warnings of all capabilities of *step* that *caller* cannot grant, with their places."""
    unraisable = step.unraisable()
    found = []
    for name, places in step.places().items():
        granted = {"bounding": caller.bounding, "inheritable": caller.permitted & caller.bounding}
        lacking = [place for kind, place in places.items() if name not in granted.get(kind, caller.permitted)]
        why = "the caller does not have it"
        if lacking:
            unraisable.pop(name, None)
        if name not in ALL_CAPABILITIES:
            name, why = f"{name!a}", "no capability of this name is known"  # noqa: PLW2901 - for the message
        if lacking:
            found.append(f"capability {name} is left out: {why} ({', '.join(lacking)})")
    if unraisable:
        found.append(step.unraisable_warning(unraisable))
    return found


HANDLERS: dict[str, Handler] = {
    "Execute": execute,
    "LoadSeccomp": load_seccomp,
    "SetCapabilities": set_capabilities,
    "SetNoNewPrivileges": set_no_new_privileges,
    "SetRlimits": set_rlimits,
    "SetUmask": set_umask,
    "SetUser": set_user,
}
