r"""Programs: Python callables that run as processes of the fake kernel, and what they can do there.

A program is called with a :class:`Task`, its own process. A function runs from its first to its last line at
once; what it returns is its exit status (``None`` is 0). A generator function can wait: it yields what one of
the waiting methods returns::

    def server(p):
        p.write("ready\n")
        while True:
            signal = yield p.wait_signal(SIGTERM, SIGHUP)
            if signal == SIGTERM:
                return 0
            yield p.sleep(2.5)  # virtual seconds: no time passes outside
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Any, NoReturn

from orlop_fake.mounts import split, walk
from orlop_fake.ownership import shown, stored
from orlop_fake.processes import SIGKILL, SIGSTOP, SIGSYS, Process, check_signal
from orlop_fake.rdma import charge
from orlop_fake.refusals import refusal, text_of
from orlop_fake.scheduler import Request
from orlop_fake.seccomp import judge
from orlop_fake.vfs import Device, Directory, File, NamespaceFile, Node, Socket, Symlink

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from orlop_fake.machine import Machine
    from orlop_fake.mounts import Location

_SIGNALS = frozenset(range(1, 65)) - {SIGKILL, SIGSTOP}


class ProgramExit(Exception):  # noqa: N818 - exit(3) is no error
    """A program asked to end."""

    def __init__(self, status: int) -> None:
        """End with *status*."""
        super().__init__(status)
        self.status = status


class Task:
    """A process as its own program sees it: all names, ids and paths are those inside its namespaces.

    Every method that is a system call on Linux is judged by the seccomp filters of the process first, under
    the name of that call.
    """

    __slots__ = ("kernel", "process")

    def __init__(self, kernel: Machine, process: Process) -> None:
        """Look at *process*."""
        self.kernel = kernel
        """The whole machine, for tests that want to look behind the scenes."""
        self.process = process

    # What it is ------------------------------------------------------------

    @property
    def args(self) -> tuple[str, ...]:
        """The argument vector."""
        return self.process.args

    @property
    def env(self) -> dict[str, str]:
        """The environment."""
        return self.process.env

    @property
    def cwd(self) -> str:
        """The working directory."""
        return self.process.cwd

    @property
    def pid(self) -> int:
        """The process id in the process's own pid namespace."""
        return self.process.own_pid

    @property
    def ppid(self) -> int:
        """The parent's process id; 0 when the parent is outside the pid namespace."""
        parent = self.process.parent
        return 0 if parent is None else parent.pids.get(self.process.namespaces.pid, 0)

    @property
    def uid(self) -> int:
        """The user id."""
        return self.process.credentials.uid

    @property
    def gid(self) -> int:
        """The group id."""
        return self.process.credentials.gid

    @property
    def groups(self) -> tuple[int, ...]:
        """The additional groups."""
        return self.process.credentials.groups

    @property
    def capabilities(self) -> frozenset[str]:
        """The effective capabilities."""
        return self.process.credentials.effective

    @property
    def hostname(self) -> str:
        """The host name."""
        return self.process.namespaces.uts.hostname

    @property
    def domainname(self) -> str:
        """The NIS domain name."""
        return self.process.namespaces.uts.domainname

    @property
    def machine(self) -> str:
        """The hardware's name, as uname(2) gives it in the execution domain of the process."""
        return "i686" if self.process.traits.domain == "LINUX32" else "x86_64"

    @property
    def time(self) -> float:
        """Virtual seconds since boot, as CLOCK_BOOTTIME of the process's time namespace."""
        secs, nanosecs = self.process.namespaces.time.offsets["boottime"]
        return self.kernel.clock.seconds + secs + nanosecs / 1e9

    # Waiting: yield what these return ------------------------------------------------------------

    def sleep(self, seconds: float) -> Request:
        """Wait for *seconds* of virtual time."""
        self.syscall("clock_nanosleep")
        return self.kernel.scheduler.sleep(self.process, Request("sleep"), seconds)

    def wait_signal(self, *numbers: int, timeout: float | None = None) -> Request:
        """Wait for one of the signals *numbers* (default: any) and get its number; ``None`` after *timeout*.

        From the first call on these signals are caught: one that comes earlier is kept until it is waited
            for.
        """
        self.catch(*(numbers or _SIGNALS))
        request = Request("signal")
        request.numbers = frozenset(numbers) or _SIGNALS
        if timeout is not None:
            self.kernel.scheduler.sleep(self.process, request, timeout)
        return request

    def wait_child(self, child: int = 0) -> Request:
        """Wait for the end of the child with process id *child* (default: any); get ``(pid, status)``."""
        self.syscall("wait4")
        request = Request("child")
        if child:
            request.child = self._process(child)
        if not self.process.children or (request.child and request.child not in self.process.children):
            raise refusal(errno.ECHILD)
        return request

    def forever(self) -> Request:
        """Wait until a signal ends the process."""
        return Request("forever")

    # Processes and signals ------------------------------------------------------------

    def exit(self, status: int = 0) -> NoReturn:
        """End at once."""
        raise ProgramExit(status & 0xFF)

    def fork(self, program: Callable[..., Any], *args: Any) -> int:  # noqa: ANN401 - whatever the program takes
        """Start a child that runs *program* with a Task of its own and *args*; return its process id."""
        self.syscall("clone")
        child = self.kernel.scheduler.fork(self.process)
        self.kernel.scheduler.begin(child, program, *args)
        return child.own_pid

    def spawn(self, *args: str, env: dict[str, str] | None = None) -> int:
        """Start a child that executes *args*; return its process id."""
        self.syscall("clone")
        child = self.kernel.scheduler.fork(self.process)
        try:
            self.kernel.execve(child, args, env if env is not None else self.env)
        except OSError:
            self.kernel.scheduler.exit(child, 127)
            self.kernel.scheduler.reap(child)
            raise
        return child.own_pid

    def execute(self, *args: str, env: dict[str, str] | None = None) -> Request:
        """Replace the program by that of *args*; yield what this returns."""
        self.kernel.execve(self.process, args, env if env is not None else self.env)
        return Request("forever")

    def kill(self, pid: int, number: int) -> None:
        """Send a signal to a process of the same pid namespace."""
        self.syscall("kill", pid, number)
        target = self._process(pid)
        mine, theirs = self.process.credentials, target.credentials
        if mine.uid not in (0, theirs.uid) and not mine.may("CAP_KILL"):
            raise refusal(errno.EPERM)
        self.kernel.scheduler.send(target, number, sender=self.process)

    def catch(self, *numbers: int, handler: Callable[[int], Any] | None = None) -> None:
        """Catch signals: *handler* is called with the number; without one :meth:`wait_signal` gets it."""
        self.syscall("rt_sigaction")
        for number in numbers:
            check_signal(number)
            if number in (SIGKILL, SIGSTOP):
                raise refusal(errno.EINVAL)
            self.process.caught[number] = handler
            self.process.ignored.discard(number)

    def ignore(self, *numbers: int) -> None:
        """Ignore signals."""
        self.syscall("rt_sigaction")
        for number in numbers:
            self.process.caught.pop(number, None)
            self.process.ignored.add(number)

    # Output and files ------------------------------------------------------------

    def write(self, text: str | bytes, fd: int = 1) -> None:
        """Write to standard output, or with ``fd=2`` to standard error."""
        self.syscall("write", fd)
        data = text.encode() if isinstance(text, str) else text
        self.process.output[fd].extend(data)
        if self.process.terminal is not None:
            self.process.terminal.output.extend(data)

    def read(self, path: str) -> bytes:
        """Return the content of a file."""
        self.syscall("openat")
        where = self._find(path)
        node = where.node
        if isinstance(node, Directory):
            raise refusal(errno.EISDIR, path)
        self._permit(node, 4, path)
        if isinstance(node, Device):
            self._open_device(where, "r", path)
            return b""
        if isinstance(node, NamespaceFile):
            return node.namespace.link.encode()
        if not isinstance(node, File):
            raise refusal(errno.ENXIO, path)
        return node.read()

    def write_file(self, path: str, text: str | bytes) -> None:
        """Replace the content of a file; a missing one is made."""
        self.syscall("openat")
        data = text.encode() if isinstance(text, str) else text
        try:
            where = self._find(path)
        except FileNotFoundError:
            directory, name = self._parent(path)
            made = File(b"", 0o666 & ~self.process.umask, *self._owner(path))
            directory.put(name, made)
            made.write(data)
            return
        node = where.node
        if isinstance(node, Directory):
            raise refusal(errno.EISDIR, path)
        if isinstance(node, Device):
            self._permit(node, 2, path)
            self._open_device(where, "w", path)
            return
        if where.mount.readonly:
            raise refusal(errno.EROFS, path)
        self._permit(node, 2, path)
        if not isinstance(node, File):
            raise refusal(errno.ENXIO, path)
        node.write(data)

    def mkdir(self, path: str) -> None:
        """Make a directory."""
        self.syscall("mkdirat")
        directory, name = self._parent(path)
        if directory.get(name) is not None:
            raise refusal(errno.EEXIST, path)
        owner = self._owner(path)
        made = directory.make_directory(name, 0o777 & ~self.process.umask)
        made.uid, made.gid = owner

    def mknod(self, path: str, type: str, major: int, minor: int) -> None:  # noqa: A002 - the spec's name
        """Make a device node; EPERM without CAP_MKNOD or where the device rules of the cgroup forbid it."""
        self.syscall("mknodat")
        directory, name = self._parent(path)
        allowed = self.process.credentials.may("CAP_MKNOD") and self.process.namespaces.user.owner is None
        if not allowed or not self.kernel.device_allowed(self.process, type, major, minor, "m"):
            raise refusal(errno.EPERM, path)
        directory.put(name, Device(type, major, minor, 0o666 & ~self.process.umask))

    def remove(self, path: str) -> None:
        """Remove a file, a link or an empty directory."""
        self.syscall("unlinkat")
        directory, name = self._parent(path)
        node = directory.get(name)
        if node is None:
            raise refusal(errno.ENOENT, path)
        if isinstance(node, Directory) and node.names():
            raise refusal(errno.ENOTEMPTY, path)
        directory.drop(name)

    def listdir(self, path: str = ".") -> list[str]:
        """Return the names in a directory, sorted."""
        self.syscall("getdents64")
        node = self._find(path).node
        if not isinstance(node, Directory):
            raise refusal(errno.ENOTDIR, path)
        self._permit(node, 4, path)
        return node.names()

    def exists(self, path: str) -> bool:
        """Tell whether *path* leads to something."""
        self.syscall("newfstatat")
        try:
            self._find(path)
        except OSError:
            return False
        return True

    def stat(self, path: str, *, follow: bool = True) -> Node:
        """Return the node at *path*, with ``mode``, ``uid`` and ``gid``."""
        self.syscall("newfstatat")
        return self._find(path, follow=follow).node

    def owner(self, path: str) -> tuple[int, int]:
        """Return owner and group of *path*, as this process sees them through an id-mapped mount."""
        self.syscall("newfstatat")
        return shown(self._find(path), self.process.namespaces.user)

    def readlink(self, path: str) -> str:
        """Return the target of a symbolic link, also of one under /proc/PID/ns."""
        self.syscall("readlinkat")
        node = self._find(path, follow=False).node
        if isinstance(node, Symlink):
            return node.target
        if isinstance(node, NamespaceFile):
            return node.namespace.link
        raise refusal(errno.EINVAL, path)

    def mount_of(self, path: str) -> str:
        """Return one line about the mount that holds *path*."""
        return self._find(path).mount.describe()

    # Resources ------------------------------------------------------------

    def allocate(self, size: int) -> None:
        """Use *size* more bytes; over the cgroup's limit somebody is killed, the largest process first."""
        self.syscall("mmap", 0, size)
        self.kernel.charge(self.process, size)
        if self.process.ended:
            raise ProgramExit(128 + SIGKILL)

    def free(self, size: int) -> None:
        """Use *size* bytes of memory less."""
        self.syscall("munmap", 0, size)
        self.kernel.charge(self.process, -min(size, self.process.memory))

    def use_rdma(self, device: str, *, handles: int = 0, objects: int = 0) -> None:
        """Open handles of an RDMA device and make objects on it; EAGAIN where a cgroup allows no more."""
        self.syscall("ioctl")
        wanted = {"hca_handle": handles, "hca_object": objects}
        charge(self.process, self.kernel.host.rdma_devices, device, wanted)

    def set_hostname(self, name: str) -> None:
        """Change the host name; EPERM without CAP_SYS_ADMIN."""
        self.syscall("sethostname")
        if not self.process.credentials.may("CAP_SYS_ADMIN"):
            raise refusal(errno.EPERM)
        self.process.namespaces.uts.set("hostname", name)

    def syscall(self, name: str, *args: int) -> None:
        """Let the seccomp filters judge the call *name*: return, raise its errno, or be killed."""
        filters = self.process.filters
        if not filters:
            return
        action, number = judge(filters, name, args)
        if action in ("SCMP_ACT_ALLOW", "SCMP_ACT_LOG"):
            return
        if action == "SCMP_ACT_ERRNO":
            raise refusal(number, message=f"{name}: {text_of(number)}")
        if action == "SCMP_ACT_NOTIFY":
            number = self._ask_agent(name, args)
            if number:
                raise refusal(number, message=f"{name}: {text_of(number)}")
            return
        if action == "SCMP_ACT_TRACE":
            raise refusal(errno.ENOSYS, message=f"{name}: {text_of(errno.ENOSYS)}")
        if action == "SCMP_ACT_TRAP" and SIGSYS in self.process.caught:
            self.kernel.scheduler.send(self.process, SIGSYS)
            raise refusal(errno.ENOSYS, message=f"{name}: {text_of(errno.ENOSYS)}")
        raise ProgramExit(128 + SIGSYS)

    # Helpers ------------------------------------------------------------

    def _ask_agent(self, name: str, args: Sequence[int]) -> int:
        """Return the errno that an agent decides on for a call, 0: none; ENOSYS when no filter has one."""
        for one in self.process.filters:
            if one.listener is not None and one.verdict(name, args)[0] == "SCMP_ACT_NOTIFY":
                return one.listener.decide(name, args, self.process.pid)
        return errno.ENOSYS

    def _process(self, pid: int) -> Process:
        found = self.process.namespaces.pid.processes.get(pid)
        if found is None:
            raise refusal(errno.ESRCH)
        return found

    def _absolute(self, path: str) -> str:
        return path if path.startswith("/") else f"{self.process.cwd}/{path}"

    def _find(self, path: str, *, follow: bool = True) -> Location:
        if not path:
            raise refusal(errno.ENOENT, path)
        process = self.process
        return walk(process.namespaces.mount.tree, process.root, self._absolute(path), follow=follow)

    def _owner(self, path: str) -> tuple[int, int]:
        """Return owner and group of what this process makes at *path*."""
        mount = self._find(split(self._absolute(path))[0]).mount
        return stored(mount, self.process.namespaces.user, self.uid, self.gid)

    def _parent(self, path: str) -> tuple[Directory, str]:
        head, name = split(self._absolute(path))
        where = self._find(head)
        if not isinstance(where.node, Directory):
            raise refusal(errno.ENOTDIR, path)
        if where.mount.readonly:
            raise refusal(errno.EROFS, path)
        self._permit(where.node, 3, path)
        return where.node, name

    def _permit(self, node: Node, bits: int, path: str) -> None:
        if not self.process.credentials.allows(node, bits):
            raise refusal(errno.EACCES, path)

    def _open_device(self, where: Location, access: str, path: str) -> None:
        node = where.node
        if not isinstance(node, Device) or node.type == "p":
            return
        if "nodev" in where.mount.attributes:
            raise refusal(errno.EACCES, path)
        if not self.kernel.device_allowed(self.process, node.type, node.major, node.minor, access):
            raise refusal(errno.EPERM, path)


def failure(kernel: Machine, process: Process, error: Exception) -> None:
    """Note that a program ended by *error*: on its standard error and, if it is a bug, for the test."""
    process.output[2].extend(f"{type(error).__name__}: {error}\n".encode())
    if not isinstance(error, OSError):
        kernel.program_errors.append(error)


def find_program(kernel: Machine, node: File, paths: Sequence[str]) -> Callable[..., Any]:
    """Return the program of an executable: its own, by path, a built-in one, else one that waits."""
    if node.program is not None:
        program: Callable[..., Any] = node.program
        return program
    for path in paths:
        if path in kernel.programs:
            return kernel.programs[path]
    from orlop_fake.builtins import BUILTINS

    return BUILTINS.get(split(paths[0])[1], wait_for_the_end)


def wait_for_the_end(p: Task) -> Any:  # noqa: ANN401 - a generator
    """Wait until a signal ends the process: the program of every executable that no test says more about."""
    yield p.forever()


__all__ = ["ProgramExit", "Request", "Socket", "Task", "find_program", "wait_for_the_end"]
