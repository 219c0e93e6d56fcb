"""Steps after the switch of the root: names, parameters, session, masks, the look-up of the executable."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from orlop_fake import sysctls
from orlop_fake.execute import security
from orlop_fake.execute.mounting import attach
from orlop_fake.lookup import find_executable
from orlop_fake.mounts import Location, Mount, walk
from orlop_fake.refusals import refusal
from orlop_fake.vfs import Device, Directory, Symlink

if TYPE_CHECKING:
    from orlop_fake.execute.context import Context, Handler
    from orlop_hookspecs.steps import (
        BringUpLoopback,
        CheckExecutable,
        MakeRootReadonly,
        MaskPath,
        NewKeyring,
        NewSession,
        ReadonlyPath,
        SetDomainname,
        SetHostname,
        SetRootPropagation,
        SetSysctl,
    )


def set_hostname(context: Context, step: SetHostname) -> None:
    """Set the host name."""
    context.process.namespaces.uts.set("hostname", step.name)


def set_domainname(context: Context, step: SetDomainname) -> None:
    """Set the NIS domain name."""
    context.process.namespaces.uts.set("domainname", step.name)


def bring_up_loopback(context: Context, step: BringUpLoopback) -> None:
    """Bring up ``lo``."""
    del step
    links = context.process.namespaces.network.links
    if "lo" not in links:
        raise refusal(errno.ENODEV, "lo")
    links["lo"].up = True


def set_sysctl(context: Context, step: SetSysctl) -> None:
    """Write a kernel parameter in the container's namespaces; ENOENT for an unknown one."""
    sysctls.write(sysctls.dotted(step.key), step.value, context.process.namespaces, context.kernel.sysctls)


def new_keyring(context: Context, step: NewKeyring) -> None:
    """Join a new session keyring; EINVAL for a label where there is no SELinux."""
    if step.label:
        security.check_label(context, step.label)
        context.process.traits = context.process.traits._replace(keyring_label=step.label)
    context.process.keyring = step.name


def new_session(context: Context, step: NewSession) -> None:
    """Start a session."""
    del step
    context.process.session = context.process


def set_root_propagation(context: Context, step: SetRootPropagation) -> None:
    """Set the propagation of the root mount."""
    context.process.namespaces.mount.tree.set_propagation(context.process.root.mount, step.propagation)


def make_root_readonly(context: Context, step: MakeRootReadonly) -> None:
    """Make the root mount read-only."""
    del step
    mount = context.process.root.mount
    mount.attributes |= {"ro"}


def _protected(context: Context, path: str) -> Location | None:
    if not path.startswith("/"):
        raise refusal(errno.EINVAL, path, "the path is not absolute")
    try:
        return walk(context.process.namespaces.mount.tree, context.process.root, path, follow=False)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR):
            return None
        raise


def readonly_path(context: Context, step: ReadonlyPath) -> None:
    """Bind a path on itself, read-only; what does not exist is skipped."""
    where = _protected(context, step.path)
    if where is None or isinstance(where.node, Symlink):
        return
    tree = context.process.namespaces.mount.tree
    mount, inside = tree.bind(where, recursive=True)
    mount.attributes |= {"ro"}
    attach(context, mount, where, step.path)
    for _, copied in inside:
        copied.attributes |= {"ro"}
        copied.owner = context.container
    tree.adopt(copied for _, copied in inside)


def mask_path(context: Context, step: MaskPath) -> None:
    """Cover a directory with an empty read-only tmpfs, a file with the null device; missing is skipped."""
    where = _protected(context, step.path)
    if where is None or isinstance(where.node, Symlink):
        return
    if isinstance(where.node, Directory):
        mount = Mount("tmpfs", "tmpfs", Directory())
        mount.attributes = frozenset({"ro"})
    else:
        mount = Mount("tmpfs", "tmpfs", Device("c", 1, 3))
    attach(context, mount, where, step.path)


def check_executable(context: Context, step: CheckExecutable) -> None:
    """Make the working directory if it is missing, then find the executable as execvp(3) would."""
    process = context.process
    if step.cwd != "/":
        tree = process.namespaces.mount.tree
        where = walk(tree, process.root, step.cwd, make="dir" if step.make_cwd else "")
        if not isinstance(where.node, Directory):
            raise refusal(errno.ENOTDIR, step.cwd)
    find_executable(context.process, step.args, step.path, step.cwd)


HANDLERS: dict[str, Handler] = {
    "BringUpLoopback": bring_up_loopback,
    "CheckExecutable": check_executable,
    "MakeRootReadonly": make_root_readonly,
    "MaskPath": mask_path,
    "NewKeyring": new_keyring,
    "NewSession": new_session,
    "ReadonlyPath": readonly_path,
    "SetDomainname": set_domainname,
    "SetHostname": set_hostname,
    "SetRootPropagation": set_root_propagation,
    "SetSysctl": set_sysctl,
}
