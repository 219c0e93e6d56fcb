"""Steps of the security modules: AppArmor and SELinux (config.md, Linux Process).

The host is asked first, before anything is touched. The process itself then says what it wants to be after
execve(2), because nobody else can. The kernel knows profile or label by then, or ``create`` fails.
"""

from __future__ import annotations

from orlop_hookspecs.steps.base import Step, step


@step
class RequireSecurityModule(Step):
    """Refuse a host on which a security module does not work: ``apparmor`` or ``selinux``."""

    ACT = "use {module}"
    PHASE = "host"
    SLOT = "require"
    JOINS = True

    because: str
    module: str


@step
class SetApparmorProfile(Step):
    """Change to an AppArmor profile at the next execve(2) (apparmor(7), aa_change_onexec(2)).

    The kernel must take exactly this profile, which has to be loaded.
    """

    ACT = "set the AppArmor profile {profile}"
    PHASE = "confined"
    SLOT = "traits"
    JOINS = True

    because: str
    profile: str


@step
class SetSelinuxLabel(Step):
    """Change to an SELinux context at the next execve(2) (setexeccon(3))."""

    ACT = "set the SELinux label {label}"
    PHASE = "confined"
    SLOT = "traits"
    JOINS = True

    because: str
    label: str
