"""Namespaces: which kinds the kernel has, and in which of them a process can be born for this caller."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from orlop_hookspecs.availability import Answer
from orlop_hookspecs.errors import OrlopError
from orlop_hookspecs.launch import LaunchOptions
from orlop_hookspecs.plan import PlannedStep
from orlop_hookspecs.record import Record
from orlop_hookspecs.steps import NewNamespace, SetIdMappings
from orlop_linux.kernel import needs
from orlop_linux.kernel.namespaces import FLAGS
from orlop_linux.kernel.unprivileged import may_mount

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orlop_hookspecs.steps import Step
    from orlop_linux.kernel.kernel import LinuxKernel

_PREFIX = "namespace."
_ENTRIES = {"mount": "mnt", "network": "net"}
"""Names in /proc/PID/ns that differ from the specification's (namespaces(7))."""

_REMEDIES = {
    "user": "an administrator can allow user namespaces: user.max_user_namespaces, "
    "kernel.unprivileged_userns_clone, kernel.apparmor_restrict_unprivileged_userns (sysctl(8))",
}
_REMEDY = "run as root, or add a user namespace to the config as `orlop spec --rootless` does"


def answers(kernel: LinuxKernel, names: Sequence[str]) -> dict[str, Answer]:
    """Answer about namespaces."""
    kinds = [name.removeprefix(_PREFIX) for name in names if name.startswith(_PREFIX)]
    found: dict[str, Answer] = {}
    why = needs.lacking()
    if why:
        no = Answer(available=False, reason=why, remedy=needs.HINT)
        return dict.fromkeys((_PREFIX + kind for kind in kinds), no)
    there = [kind for kind in kinds if _is_there(kind)]
    # Usually all are allowed, and one birth tells.
    refused = refusal(kernel, there) if there else ""
    for kind in kinds:
        if kind not in there:
            reason = f"the kernel has no {kind} namespaces"
            found[_PREFIX + kind] = Answer(
                available=False, reason=reason, remedy="use a newer kernel, or one with them"
            )
            continue
        why = refusal(kernel, [kind]) if refused else ""
        remedy = _REMEDIES.get(kind, _REMEDY) if why else ""
        found[_PREFIX + kind] = Answer(
            available=True, allowed=not why, reason=why or _with(kind), remedy=remedy
        )
    return found


def _is_there(kind: str) -> bool:
    return os.path.exists(f"/proc/self/ns/{_ENTRIES.get(kind, kind)}")


def _with(kind: str) -> str:
    """Return on which condition a namespace of this kind can be made."""
    return "" if kind == "user" or may_mount() else "together with a user namespace"


def refusal(kernel: LinuxKernel, kinds: Sequence[str]) -> str:
    """Return why no process can be born in new namespaces of *kinds*; empty when one can, and has ended."""
    steps: list[Step] = []
    if not may_mount() and "user" not in kinds:
        kinds = ["user", *kinds]
    for kind in FLAGS:
        if kind in kinds:
            steps.append(NewNamespace(because="", type=kind))
            if kind == "user":
                uid, gid = os.geteuid(), os.getegid()
                steps.append(SetIdMappings(because="", uid=((0, uid, 1),), gid=((0, gid, 1),)))
    born = kernel.launch(Record(id="examination", platform=kernel.name), LaunchOptions())
    try:
        planned = [PlannedStep(one, one.phase, one.slot, "") for one in steps]
        born.clone(planned, namespaces={}, cgroup_fd=None, task_fds=())
    except OrlopError as error:
        return f"{error.message}; {error.hint}" if error.hint else error.message
    finally:
        born.abort()
    return ""
