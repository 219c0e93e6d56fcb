"""Steps of the security modules: AppArmor profiles and SELinux labels."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from orlop_fake.refusals import refusal

if TYPE_CHECKING:
    from orlop_fake.execute.context import Context, Handler
    from orlop_hookspecs.steps import RequireSecurityModule, SetApparmorProfile, SetSelinuxLabel

_NAMES = {"apparmor": "AppArmor", "selinux": "SELinux"}
_FIELDS = 3


def require(context: Context, step: RequireSecurityModule) -> None:
    """Refuse a machine without the module."""
    require_module(context, step.module)


def require_module(context: Context, module: str) -> None:
    """Refuse a machine without *module* with EOPNOTSUPP."""
    host = context.kernel.host
    there = {"apparmor": host.apparmor is not None, "selinux": host.selinux}
    if not there.get(module, False):
        raise refusal(errno.EOPNOTSUPP, message=f"this host has no {_NAMES.get(module, module)}")


def set_apparmor_profile(context: Context, step: SetApparmorProfile) -> None:
    """Change to a profile at the next execve(2): EINVAL without AppArmor, ENOENT when it is not loaded."""
    profiles = context.kernel.host.apparmor
    if profiles is None:
        raise refusal(errno.EINVAL)
    if step.profile != "unconfined" and step.profile not in profiles:
        raise refusal(errno.ENOENT, message=f'AppArmor has no profile "{step.profile}" loaded')
    context.process.traits = context.process.traits._replace(next_profile=step.profile)


def check_label(context: Context, label: str) -> None:
    """Refuse a label with EINVAL that no policy has, and every one where there is no SELinux."""
    fields = label.split(":", _FIELDS)
    if not context.kernel.host.selinux or len(fields) < _FIELDS or not all(fields):
        raise refusal(errno.EINVAL, message=f'cannot set the SELinux label "{label}": invalid argument')


def set_selinux_label(context: Context, step: SetSelinuxLabel) -> None:
    """Change to a label at the next execve(2)."""
    check_label(context, step.label)
    context.process.traits = context.process.traits._replace(next_label=step.label)


HANDLERS: dict[str, Handler] = {
    "RequireSecurityModule": require,
    "SetApparmorProfile": set_apparmor_profile,
    "SetSelinuxLabel": set_selinux_label,
}
