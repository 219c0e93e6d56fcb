"""What the host verifies and prepares of the program's identity while its process waits.

The process takes its identity at start. What the kernel would refuse then is an error of ``create`` instead.
"""

from __future__ import annotations

import errno
import resource
from typing import TYPE_CHECKING

from orlop_hookspecs.errors import StepError
from orlop_linux.init.identity import NUMBER, RLIMITS
from orlop_linux.init.syscalls import PR_CAPBSET_READ, capget, prctl
from orlop_linux.kernel.unprivileged import refuse_groups

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from typing import Any

    from orlop_hookspecs.plan import PlannedStep
    from orlop_hookspecs.steps.exec import SetCapabilities


def prepare(execute: Sequence[PlannedStep], pid: int, *, user_namespace: bool) -> list[str]:
    """Prepare the steps of phase ``exec`` for the waiting process *pid*; return what deserves a warning.

    Args:
        execute: The steps.
        pid: The process.
        user_namespace: It is in another user namespace than the caller.

    Raises:
        StepError: A limit cannot be raised, or an id is not mapped.
    """
    warnings: list[str] = []
    if user_namespace:
        refuse_groups(pid, execute)
    for planned in execute:
        step: Any = planned.step
        name = type(step).__name__
        if name == "SetRlimits":
            _raise_hard_limits(step, planned.plugin, pid)
        elif name == "SetUser" and user_namespace:
            _require_mapped(step, planned.plugin, pid)
        elif name == "SetCapabilities":
            warnings += _left_out(step, user_namespace=user_namespace)
    return warnings


def _raise_hard_limits(step: Any, plugin: str, pid: int) -> None:  # noqa: ANN401 - the step is of another import
    """Raise hard limits for the process, which may lack the privilege in its user namespace."""
    for index, (name, _, hard) in enumerate(step.limits):
        number = RLIMITS[name]
        soft_now, hard_now = resource.prlimit(pid, number)
        wanted = resource.RLIM_INFINITY if hard >= 1 << 63 else hard
        if hard_now == resource.RLIM_INFINITY or (wanted != resource.RLIM_INFINITY and wanted <= hard_now):
            continue
        try:
            resource.prlimit(pid, number, (soft_now, wanted))
        except (PermissionError, ValueError) as error:
            raise StepError(
                f"cannot raise the hard limit of {name} from {hard_now} to {hard}: not permitted",
                pointer=f"{step.because}/{index}/hard",
                value=hard,
                plugin=plugin,
                errno=errno.EPERM,
                hint=_why_not(name, wanted),
            ) from error


def _why_not(name: str, wanted: int) -> str:
    """Return what stands in the way of a hard limit."""
    if name == "RLIMIT_NOFILE":
        with open("/proc/sys/fs/nr_open", "rb") as file:
            most = int(file.read())
        if not 0 <= wanted <= most:
            return f"no process of this host may have more than {most} files, the sysctl fs.nr_open"
    return "raising it needs CAP_SYS_RESOURCE"


def _map(pid: int, name: str) -> list[tuple[int, int]]:
    """Return the ranges of ids, first and size, that exist in the user namespace of *pid*."""
    with open(f"/proc/{pid}/{name}_map", encoding="ascii") as file:
        lines = [line.split() for line in file]
    return [(int(first), int(size)) for first, _, size in lines]


def _require_mapped(step: Any, plugin: str, pid: int) -> None:  # noqa: ANN401 - as above
    """Refuse ids that setresuid(2) and setgroups(2) would refuse: a joined user namespace has its own map."""
    for pointer, number, kind in _ids(step):
        if not any(first <= number < first + size for first, size in _map(pid, kind)):
            raise StepError(
                "the id is not mapped into the container's user namespace",
                pointer=pointer,
                value=number,
                plugin=plugin,
                errno=errno.EINVAL,
            )


def _ids(step: Any) -> Iterator[tuple[str, int, str]]:  # noqa: ANN401 - as above
    yield f"{step.because}/uid", step.uid, "uid"
    yield f"{step.because}/gid", step.gid, "gid"
    for index, gid in enumerate(step.groups):
        yield f"{step.because}/additionalGids/{index}", gid, "gid"


def _left_out(step: SetCapabilities, *, user_namespace: bool) -> Iterator[str]:
    """Yield warnings of all capabilities that cannot be granted (config.md: they SHOULD NOT fail)."""
    unraisable = step.unraisable()
    _, had, inherited = capget()
    for name, places in step.places().items():
        if name not in NUMBER:
            unraisable.pop(name, None)
            yield _warning(f"{name!a}", "no capability of this name is known", places.values())
            continue
        number = NUMBER[name]
        bounded = _bounded(number)
        if bounded is None:
            unraisable.pop(name, None)
            yield _warning(name, "this kernel does not have it", places.values())
            continue
        # In a user namespace of its own the process has all that there are.
        held = user_namespace or bool(had >> number & 1)
        within = user_namespace or bounded or bool(inherited >> number & 1)
        granted = {"bounding": user_namespace or bounded, "inheritable": held and within}
        lacking = [place for kind, place in places.items() if not granted.get(kind, held)]
        if lacking:
            unraisable.pop(name, None)
            yield _warning(name, "the caller does not have it", lacking)
    if unraisable:
        yield step.unraisable_warning(unraisable)


def _bounded(number: int) -> bool | None:
    """Tell whether a capability is in our bounding set; ``None`` when the kernel does not know it."""
    try:
        return bool(prctl(PR_CAPBSET_READ, number))
    except OSError:
        return None


def _warning(name: str, why: str, places: Iterable[str]) -> str:
    return f"capability {name} is left out: {why} ({', '.join(places)})"
