"""Steps on the root file system before the switch: mount, devices, links, terminal, the switch itself."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from orlop_fake.execute.mounting import attach
from orlop_fake.execute.sockets import send
from orlop_fake.mounts import Location, Mount, split, walk
from orlop_fake.processes import Terminal
from orlop_fake.refusals import refusal
from orlop_fake.vfs import Device, Directory, File, Symlink
from orlop_hookspecs.errors import StepError

if TYPE_CHECKING:
    from orlop_fake.execute.context import Context, Handler
    from orlop_fake.vfs import Node
    from orlop_hookspecs.steps import CreateDevice, CreateSymlink, OpenTerminal, PrepareRoot, SwitchRoot

_MAJOR_MAX = (1 << 12) - 1  # Linux's 12 and 20 bits of a device number, MKDEV
_MINOR_MAX = (1 << 20) - 1
_DEFAULT_DEVICES = "/linux/devices"
"""Because of what the default devices are made: no single one of the config (config-linux.md)."""


def prepare_root(context: Context, step: PrepareRoot) -> None:
    """Turn the root file system into a mount of its own."""
    process = context.process
    tree = process.namespaces.mount.tree
    place = context.kernel.expose(step.path, process.root, tree)
    if not isinstance(place.node, Directory):
        raise refusal(errno.ENOTDIR, step.path)
    if not step.own_namespace:
        context.made_root = _bind_root(context, place, step.path) if step.bound else place
        return
    context.own_mounts = True
    tree.set_propagation(tree.root, step.propagation)
    mount, inside = tree.bind(place, recursive=True)
    mount.owner = context.container
    mount.set_propagation("private")
    tree.attach(mount, place, step.path)
    tree.adopt(copy for _, copy in inside)
    context.made_root = Location(mount, mount.root)


def _bind_root(context: Context, place: Location, path: str) -> Location:
    """Attach the root over itself in a mount namespace that others use as well."""
    process = context.process
    tree = process.namespaces.mount.tree
    if place.node is process.root.node:
        raise refusal(errno.EBUSY, path, "nothing can be mounted over the root of a shared mount namespace")
    mount, inside = tree.bind(place, recursive=True)
    mount.owner = context.container
    mount.set_propagation("private")
    context.journal.intend("mount", path=path, namespace=process.namespaces.mount.inode)
    tree.attach(mount, place, path)
    tree.adopt(copy for _, copy in inside)
    if place.mount.shared is not None:
        context.kernel.propagate(mount, place)
    return Location(mount, mount.root)


def _place(context: Context, path: str) -> tuple[Location, Directory, str]:
    head, _, name = path.rpartition("/")
    where = context.places.get(head)
    if where is None:
        tree = context.process.namespaces.mount.tree
        head, name = split(path)
        where = context.places[head] = walk(tree, context.root, head, make="dir")
    if not isinstance(where.node, Directory):
        raise refusal(errno.ENOTDIR, head)
    return where, where.node, name


def create_device(context: Context, step: CreateDevice) -> None:
    """Make a device node; where mknod(2) is not allowed, bind the host's node of the same path."""
    if step.type not in {"c", "u", "b", "p"}:
        raise refusal(errno.EINVAL, step.path, f"unknown device type {step.type!r}")
    if step.type != "p" and not (0 <= step.major <= _MAJOR_MAX and 0 <= step.minor <= _MINOR_MAX):
        raise refusal(errno.EINVAL, step.path, f"impossible device number {step.major}:{step.minor}")
    where, directory, name = _place(context, step.path)
    if context.process.namespaces.user.owner is not None:
        _bind_device(context, step)
        return
    known = directory.get(name)
    if known is not None:
        kind = "c" if step.type == "u" else step.type
        same = isinstance(known, Device) and (known.type, known.major, known.minor) == (
            kind,
            step.major,
            step.minor,
        )
        if same:
            return
        if step.because == _DEFAULT_DEVICES and isinstance(known, File) and not known.read():
            _bind_device(context, step)  # it was a mount point, in a container with a user namespace
            return
        raise refusal(errno.EEXIST, step.path)
    if where.mount.readonly:
        raise refusal(errno.EROFS, step.path)
    directory.put(name, Device(step.type, step.major, step.minor, step.mode, step.uid, step.gid))


def _bind_device(context: Context, step: CreateDevice) -> None:
    tree = context.process.namespaces.mount.tree
    mount = None
    try:
        source = context.kernel.host_find(step.path, tree, context.process.root)
    except FileNotFoundError:
        if not step.exact or context.kernel.uid:
            raise
        mount = _own_node(context, step, None)
    else:
        if _is_different(context, step, source.node):
            mount = _own_node(context, step, source.node)
        else:
            mount, _ = tree.bind(source, recursive=False)
    attach(context, mount, walk(tree, context.root, step.path, make="file"), step.path)


def _outside(context: Context, step: CreateDevice, name: str) -> int:
    """Return what *name* of the config is on the host."""
    number: int = getattr(step, name)
    if name == "mode":
        return number
    outside = context.process.namespaces.user.to_host(name, number)
    if outside is None:
        why = "the id is not mapped into the container's user namespace"
        raise StepError(why, pointer=f"{step.because}/{name}", value=number, errno=errno.EINVAL)
    return outside


def _is_different(context: Context, step: CreateDevice, node: Node) -> bool:
    """Tell whether the host's node is not as the config says; who may make none cannot help it."""
    for name in step.exact:
        if _outside(context, step, name) != getattr(node, name):
            if context.kernel.uid:
                what = {"mode": "fileMode"}.get(name, name)
                where = f"the host's {step.path}, which takes the place of a node that we may not make"
                raise StepError(
                    f"{where}, has another {what}",
                    pointer=f"{step.because}/{what}",
                    value=getattr(step, name),
                    errno=errno.EPERM,
                )
            return True
    return False


def _own_node(context: Context, step: CreateDevice, host: Node | None) -> Mount:
    """Return a mount of a new node, with what the config does not say as the host's node has it.

    Its owner is kept as the container's processes know it, as that of all files here.
    """
    made = {"mode": step.mode, "uid": 0, "gid": 0}
    if host is not None:
        made |= {name: getattr(host, name) for name in made}
    for name in step.exact:
        _outside(context, step, name)
        made[name] = getattr(step, name)
    return Mount("tmpfs", "none", Device(step.type, step.major, step.minor, **made))


def create_symlink(context: Context, step: CreateSymlink) -> None:
    """Make a symbolic link; the same one is kept, another thing is replaced only when asked for."""
    where, directory, name = _place(context, step.path)
    known = directory.get(name)
    if isinstance(known, Symlink) and known.target == step.target:
        return
    if known is not None and (not step.replace or isinstance(known, Directory)):
        raise refusal(errno.EEXIST, step.path)
    if where.mount.readonly:
        raise refusal(errno.EROFS, step.path)
    directory.put(name, Symlink(step.target))


def open_terminal(context: Context, step: OpenTerminal) -> None:
    """Open a pseudoterminal in the container's devpts and send its master to the console socket."""
    tree = context.process.namespaces.mount.tree
    pts = walk(tree, context.root, "/dev/pts")
    if pts.mount.type != "devpts" or not isinstance(pts.node, Directory):
        raise refusal(errno.ENOENT, "/dev/pts", "no devpts is mounted on /dev/pts")
    number = str(len(pts.node.names()) - 1)
    terminal = Terminal(f"/dev/pts/{number}", step.height, step.width, step.uid)
    slave = Device("c", 136, int(number), 0o620, step.uid, terminal.gid)
    pts.node.put(number, slave)
    if context.options.console_socket:
        send(context.kernel, context.options.console_socket, terminal)
    context.process.terminal = terminal
    context.kernel.terminals[context.container] = terminal
    if context.joins:
        return
    mount, _ = tree.bind(Location(pts.mount, slave), recursive=False)
    attach(context, mount, walk(tree, context.root, "/dev/console", make="file"), "/dev/console")


def switch_root(context: Context, step: SwitchRoot) -> None:
    """Make the prepared root the root directory; EINVAL when pivot_root(2) would refuse it."""
    root = context.made_root
    process = context.process
    if root is None or step.method not in {"pivot", "move", "chroot"}:
        raise refusal(errno.EINVAL, message="there is no prepared root to switch to")
    if step.method != "chroot":
        if root.node is not root.mount.root or not context.own_mounts:
            raise refusal(errno.EINVAL, root.mount.path, "the new root is no mount point of its own")
        process.namespaces.mount.tree.become(root.mount)
        root.mount.path = "/"
    for mount in context.late_readonly:
        mount.attributes |= {"ro"}
    context.late_readonly.clear()
    context.places.clear()
    process.root = root
    process.cwd = "/"
    context.made_root = None


HANDLERS: dict[str, Handler] = {
    "CreateDevice": create_device,
    "CreateSymlink": create_symlink,
    "OpenTerminal": open_terminal,
    "PrepareRoot": prepare_root,
    "SwitchRoot": switch_root,
}
