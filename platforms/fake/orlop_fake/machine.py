"""The machine: what a fake kernel consists of, how it boots, and what a test prepares and asks."""

from __future__ import annotations

import errno
import os
import sys
import threading
from typing import TYPE_CHECKING, Any

from orlop_fake.cgroups import hierarchies
from orlop_fake.clock import Clock
from orlop_fake.faults import Faults
from orlop_fake.filesystems import make_proc_static, make_procfs, make_sysfs
from orlop_fake.host import Host, host_tree, minimal_rootfs
from orlop_fake.links import Address, Link
from orlop_fake.lookup import find_executable
from orlop_fake.mounts import Location, Mount, MountNamespace, reaches, walk
from orlop_fake.namespaces import (
    CgroupNamespace,
    IpcNamespace,
    MountNamespaceHandle,
    Namespace,
    NamespaceSet,
    NetworkNamespace,
    PidNamespace,
    TimeNamespace,
    UserNamespace,
    UtsNamespace,
)
from orlop_fake.oom import kill_one
from orlop_fake.processes import SIGKILL, Process, Terminal
from orlop_fake.programs import find_program
from orlop_fake.refusals import RuntimeCrash, refusal
from orlop_fake.scheduler import Scheduler
from orlop_fake.store import MemoryStore
from orlop_fake.vfs import Directory, DiskDirectory, File, NamespaceFile, Node, Socket, grow

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from orlop_fake.agents import AgentCall
    from orlop_fake.cgroups import Cgroup
    from orlop_fake.entry import FakeEntry
    from orlop_fake.faults import Point
    from orlop_fake.hooks import HookCall
    from orlop_fake.processes import Credentials
    from orlop_fake.report import Snapshot
    from orlop_fake.resctrl import Resctrl
    from orlop_fake.sandbox import FakeSandbox
    from orlop_fake.systemd import Unit
    from orlop_fake.vfs import Seed

_FIRST_INODE = 4026531834  # PROC_DYNAMIC_FIRST's neighbourhood: what people are used to see
_FIRST_PID = 100
_KEPT_OUTPUTS = 1024


class Machine:
    """A computer with a Linux in memory; :class:`orlop_fake.kernel.FakeKernel` adds what a runtime calls."""

    def __init__(  # noqa: PLR0913 - the parts of a machine; all are keywords
        self,
        *,
        files: Seed | None = None,
        programs: Mapping[str, Callable[..., Any]] | None = None,
        hooks: Mapping[str, Callable[[HookCall], Any]] | None = None,
        cgroups: str = "v2",
        resctrl: Resctrl | None = None,
        systemd: bool = True,
        host: Host | None = None,
        uid: int = 0,
        groups: Sequence[int] = (),
        hostname: str = "fake",
    ) -> None:
        """Boot."""
        self.kernel = self
        """The machine itself: what the wrapper of all calls asks for."""
        self.lock = threading.RLock()
        self.condition = threading.Condition(self.lock)
        self.clock = Clock()
        self.faults = Faults(self._crash)
        self.host = (host or Host()).boot()
        self.uid = uid
        self.groups = tuple(groups)
        """Supplementary groups of the runtime."""
        self.programs: dict[str, Callable[..., Any]] = dict(programs or {})
        self.hooks: dict[str, Callable[[HookCall], Any]] = dict(hooks or {})
        self.agents: dict[str, Callable[[AgentCall], int | None]] = {}
        """Seccomp agents by the path of the socket on which they listen (see :mod:`orlop_fake.agents`)."""
        self.agent_states: list[dict[str, Any]] = []
        """Every container process state that an agent was sent, in order."""
        self.hook_calls: list[HookCall] = []
        """Every hook that was run, in order."""
        self.program_errors: list[Exception] = []
        """Exceptions other than ``OSError`` that ended a program: bugs of a test."""
        self.images: dict[str, Any] = {}
        """Checkpoints by directory (see :mod:`orlop_fake.execute.images`)."""
        self.terminals: dict[str, Terminal] = {}
        """Pseudoterminals by container."""
        self.sysctls: dict[str, str] = {}
        self.cgroup_mode = cgroups
        self.hierarchies = hierarchies(self.host, cgroups)
        self.resctrl: Resctrl | None = resctrl
        self.units: dict[str, Unit] | None = {} if systemd and cgroups != "none" else None
        """The scopes of systemd by name; ``None``: it is not the machine's init."""
        self.scheduler = Scheduler(self, self.clock)
        self.host.kill_all = self.scheduler.kill_all
        self.host.thawed = self.scheduler.thawed
        self.host.shrunk = self._shrunk
        self.memory = MemoryStore(self)
        self.generation = 0
        """How many runtimes have died so far."""
        self.sandboxes: dict[FakeSandbox | FakeEntry, None] = {}
        self.open_sandboxes: dict[FakeSandbox | FakeEntry, None] = {}
        self._crash_seen: RuntimeCrash | None = None
        self.pins: dict[str, NetworkNamespace] = {}
        """Network namespaces that are held while devices are moved into them, by container."""
        self._links = 1  # the loopback has the first index
        self._inode = _FIRST_INODE
        self._shown: set[str] = set()
        self._outputs: dict[str, dict[int, bytearray]] = {}
        self._procfs: dict[PidNamespace, Directory] = {}
        self._boot(files, hostname)

    def _boot(self, files: Seed | None, hostname: str) -> None:
        self.root = host_tree(files)
        root = Mount("ext4", "/dev/sda", self.root)
        root.attributes = frozenset({"relatime"})
        root.set_propagation("shared")
        tree = MountNamespace(root)
        spaces = NamespaceSet()
        spaces.user = UserNamespace(self.next_inode(), None)
        spaces.mount = MountNamespaceHandle(self.next_inode(), spaces.user, tree)
        spaces.pid = PidNamespace(self.next_inode(), spaces.user, None)
        spaces.network = NetworkNamespace(self.next_inode(), spaces.user)
        for name in sorted(self.host.interfaces - {"lo"}):
            self._new_link(spaces.network, name)
        spaces.network.links["lo"].up = True
        spaces.ipc = IpcNamespace(self.next_inode(), spaces.user)
        spaces.uts = UtsNamespace(self.next_inode(), spaces.user, hostname, "")
        spaces.cgroup = CgroupNamespace(self.next_inode(), spaces.user, {})
        spaces.time = TimeNamespace(self.next_inode(), spaces.user)
        self._spaces = spaces
        self.init = Process(spaces, Location(root, self.root), 0)
        self.init.comm = "init"
        spaces.pid.add(self.init)
        for hierarchy in self.hierarchies.values():
            hierarchy.root.enter(self.init)
        spaces.pid.skip_to(_FIRST_PID)
        self.runtime = self._new_runtime()
        self.current = self.runtime
        self._proc_static = make_proc_static(self)
        self.sysfs = make_sysfs(self)
        self._mount_host(tree, "proc", self.procfs(spaces.pid), "/proc")
        self._mount_host(tree, "sysfs", self.sysfs, "/sys")

    def _mount_host(self, tree: MountNamespace, type_: str, node: Node, path: str) -> None:
        mount = Mount(type_, type_, node)
        mount.set_propagation("shared")
        tree.attach(mount, tree.find(path), path)

    def _new_runtime(self) -> Process:
        runtime = self.scheduler.fork(self.init)
        runtime.comm = "orlop"
        runtime.credentials.uid = self.uid
        if self.uid:
            runtime.credentials.permitted = runtime.credentials.effective = frozenset()
        return runtime

    # The death of the runtime ------------------------------------------------------------

    def _crash(self, point: Point) -> RuntimeCrash:
        """Let the runtime die as by SIGKILL, and return what is raised in its place."""
        self.generation += 1
        for sandbox in list(self.sandboxes):
            if sandbox.process is not None:
                self.scheduler.exit(sandbox.process, 128 + SIGKILL)
        self.sandboxes.clear()
        self.open_sandboxes.clear()
        self.memory.unlock_all()
        dead = self.runtime
        self.runtime = self._new_runtime()
        if self.current is dead:
            self.current = self.runtime
        self.scheduler.exit(dead, 128 + SIGKILL)
        self._crash_seen = RuntimeCrash(f"the runtime was killed at {point}")
        return self._crash_seen

    def check_alive(self) -> None:
        """Let a dead runtime do nothing more: whatever runs while its crash is being unwound is refused."""
        crash = self._crash_seen
        if crash is None:
            return
        unwinding = sys.exception()
        while unwinding is not None:
            if unwinding is crash:
                raise RuntimeCrash("the runtime is dead")
            unwinding = unwinding.__context__
        self._crash_seen = None

    check = check_alive

    # What a test prepares and asks ------------------------------------------------------------

    def add_rootfs(self, path: str, tree: Seed | None = None) -> Directory:
        """Put a root file system at *path* of the host; without *tree* the one of :func:`minimal_rootfs`."""
        return self.add_files({path: grow(tree if tree is not None else minimal_rootfs())})

    def add_files(self, seed: Seed) -> Directory:
        """Grow *seed* over the host's file system and return its root."""
        with self.lock:
            return grow(seed, self.root)

    def add_namespace(self, kind: str, path: str) -> Namespace:
        """Make a namespace that is kept at *path*, as ``ip netns add`` does, and return it."""
        from orlop_fake.execute.birth import make_namespace

        with self.lock:
            made = make_namespace(self, self._spaces, kind)
            made.kept = True
            self.add_files({path: NamespaceFile(made)})
            return made

    def add_link(
        self, name: str, *addresses: str | Address, kind: str = "", up: bool = True, path: str = ""
    ) -> Link:
        """Add a network device to the host, or to the network namespace that is kept at *path*.

        Args:
            name: Its name.
            addresses: As ``192.0.2.1/24``, which are permanent and global, or :class:`Address` for others.
            kind: As ip-link(8) calls virtual devices (``veth``, ``bridge``); empty: it is a physical one.
            up: Whether it is up.
            path: Where :meth:`add_namespace` has put the namespace; empty: the host's own.
        """
        with self.lock:
            space = self._spaces.network
            if path:
                node = self.host_find(path).node
                assert isinstance(node, NamespaceFile)  # noqa: S101 - a mistake of the test
                assert isinstance(node.namespace, NetworkNamespace)  # noqa: S101 - as above
                space = node.namespace
            link = self._new_link(space, name, kind)
            link.up = up
            link.addresses = [one if isinstance(one, Address) else Address(one) for one in addresses]
            return link

    def _new_link(self, space: NetworkNamespace, name: str, kind: str = "") -> Link:
        self._links += 1
        link = Link(name, self._links, kind, up=True)
        space.links[name] = link
        return link

    def listen(self, path: str) -> Socket:
        """Listen on a unix socket at *path* of the host; what is sent arrives in ``received``."""
        socket = Socket()
        self.add_files({path: socket})
        return socket

    def mount(self, node: Node, path: str, type: str = "tmpfs") -> Mount:  # noqa: A002 - mount(8) calls it so
        """Mount *node* at *path* of the host; the mount propagates to containers that listen."""
        with self.lock:
            tree = self._spaces.mount.tree
            where = tree.find(path)
            mount = Mount(type, type, node)
            mount.set_propagation("shared")
            tree.attach(mount, where, path)
            self.propagate(mount, where)
            return mount

    def output(self, container: str, fd: int = 1) -> str:
        """Return what the processes of *container* have written to *fd* so far; also after its end."""
        written = self._outputs.get(container)
        return written[fd].decode(errors="replace") if written else ""

    def container_process(self, container: str) -> Process:
        """Return the first process of *container*.

        Raises:
            LookupError: It has none that is alive.
        """
        for process in self.all_processes():
            if process.owner == container and not process.ended:
                return process
        msg = f"container {container} has no process"
        raise LookupError(msg)

    def cgroup(self, container: str, controller: str) -> Cgroup:
        """Return the cgroup that was made for *container* in the hierarchy that has *controller*.

        Raises:
            LookupError: There is none.
        """
        for hierarchy in self.hierarchies.values():
            if controller in hierarchy.controllers:
                for group in reversed(list(hierarchy.root.subtree())):
                    if group.owner == container:
                        return group
        msg = f"container {container} has no cgroup for {controller}"
        raise LookupError(msg)

    def all_processes(self) -> Iterator[Process]:
        """Yield all processes, by process id."""
        yield from list(self._spaces.pid.processes.values())

    def advance(self, seconds: float) -> None:
        """Let *seconds* of virtual time pass, and everything happen that is due in it."""
        with self.lock:
            self.scheduler.wait_until(lambda: False, seconds)

    def leaks(self) -> list[str]:
        """Return a line for all that a runtime has made and not removed; see :mod:`orlop_fake.report`."""
        from orlop_fake.report import leaks

        with self.lock:
            return leaks(self)

    def snapshot(self) -> Snapshot:
        """Return the state of the whole machine, to be compared and printed."""
        from orlop_fake.report import Snapshot

        with self.lock:
            return Snapshot.of(self)

    def show_disk(self, path: str) -> None:
        """Show the real directory at *path* in the same place of the host, if nothing is there yet.

        Bundles and root file systems are shown by themselves; what else a config mounts must be shown first.
        """
        if path in self._shown:
            return
        parts = [part for part in path.split("/") if part]
        directory = self.root
        for position, part in enumerate(parts):
            below = directory.get(part)
            if below is None:
                if not os.path.isdir(path):
                    return
                last = position == len(parts) - 1
                below = DiskDirectory(path) if last else Directory()
                directory.put(part, below)
            if not isinstance(below, Directory):
                return
            directory = below
        self._shown.add(path)

    # For the other parts ------------------------------------------------------------

    def next_inode(self) -> int:
        """Return a new inode number for a namespace."""
        self._inode += 1
        return self._inode

    def new_output(self, container: str) -> dict[int, bytearray]:
        """Return the empty output of *container*; those of the oldest are forgotten."""
        self._outputs.pop(container, None)
        made = self._outputs[container] = {1: bytearray(), 2: bytearray()}
        if len(self._outputs) > _KEPT_OUTPUTS:
            del self._outputs[next(iter(self._outputs))]
        return made

    def procfs(self, space: PidNamespace) -> Directory:
        """Return the root of a procfs of *space*."""
        return make_procfs(self, space, self._proc_static)

    def host_find(
        self, path: str, tree: MountNamespace | None = None, root: Location | None = None
    ) -> Location:
        """Resolve an absolute path of the host, as the runtime sees it or in a copy of its mount tree."""
        if not path.startswith("/"):
            raise refusal(errno.ENOENT, path)
        return walk(tree or self._spaces.mount.tree, root or self.runtime.root, path)

    def expose(self, path: str, root: Location, tree: MountNamespace) -> Location:
        """Return the location of *path*, which may be a real directory."""
        try:
            where = walk(tree, root, path)
        except FileNotFoundError:
            self.show_disk(path)
            return walk(tree, root, path)
        node = where.node
        if type(node) is DiskDirectory and not os.path.isdir(node.path):
            raise refusal(errno.ENOENT, path)
        return where

    def propagate(self, mount: Mount, where: Location) -> None:
        """Let a new mount appear wherever its parent's peers and slaves are (mount_namespaces(7))."""
        group = where.mount.shared
        if group is None:
            return
        seen: dict[MountNamespace, None] = {}
        for process in self.all_processes():
            seen[process.namespaces.mount.tree] = None
        for tree in seen:
            for peer in list(tree.mounts):
                listens = peer.shared is group or peer.master is group
                if peer is where.mount or not listens or not reaches(peer, where.node):
                    continue
                copied = mount.duplicate()
                if peer.shared is not group:
                    copied.set_propagation("slave")
                tree.attach(copied, tree.top(Location(peer, where.node)), mount.path)

    def device_allowed(self, process: Process, kind: str, major: int, minor: int, access: str) -> bool:
        """Tell whether the device rules of all cgroups of *process* allow *access*."""
        return all(
            each.allows_device(kind, major, minor, access)
            for group in process.cgroups.values()
            for each in group.line()
            if each.device_rules
        )

    def charge(self, process: Process, size: int) -> None:
        """Charge *size* bytes to *process*; over a limit the largest process there is killed first."""
        group = next((group for group in process.cgroups.values() if group.hierarchy.charges_memory), None)
        while group is not None and size > 0 and (full := group.over_limit(size)) is not None:
            kill_one(full, self.scheduler, process)
            if process.ended:
                return
        process.memory += size
        if group is not None:
            for each in group.line():
                each.memory += size

    def _shrunk(self, group: Cgroup) -> None:
        """Kill until *group* has no more than its new limit (cgroup-v2.rst, ``memory.max``)."""
        while group.over_limit(0) is group:
            try:
                kill_one(group, self.scheduler)
            except OSError:
                return  # nobody is left who may be killed

    def chdir(self, process: Process, path: str, *, before: Credentials | None = None) -> None:
        """Change the working directory of *process*, as who it is or as who it was *before*."""
        where = walk(process.namespaces.mount.tree, process.root, path)
        if not isinstance(where.node, Directory):
            raise refusal(errno.ENOTDIR, path)
        if not any(one.allows(where.node, 1) for one in (process.credentials, before) if one is not None):
            raise refusal(errno.EACCES, path)
        process.cwd = path

    def execve(self, process: Process, args: Sequence[str], env: Mapping[str, str]) -> None:
        """Replace the program of *process* by that of *args*: execve(2)."""
        path, where = find_executable(process, args, env.get("PATH", ""), process.cwd)
        node = where.node
        assert isinstance(node, File)  # noqa: S101 - find_executable has verified it; for the type checker
        program = find_program(self, node, (path,))
        process.args = tuple(args)
        process.env = dict(env)
        process.comm = path.rpartition("/")[2][:15]
        process.caught.clear()
        process.credentials.after_exec()
        process.traits = process.traits.executed()
        self.scheduler.begin(process, program)
