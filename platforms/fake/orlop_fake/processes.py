"""Processes as the kernel keeps them: identity, credentials, signals, life and death."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Any

from orlop_fake.refusals import refusal
from orlop_fake.traits import PLAIN

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from orlop_fake.cgroups import Cgroup
    from orlop_fake.mounts import Location
    from orlop_fake.namespaces import NamespaceSet, PidNamespace
    from orlop_fake.seccomp import Filter
    from orlop_fake.vfs import Node

SIGHUP, SIGINT, SIGQUIT, SIGABRT, SIGKILL, SIGUSR1, SIGUSR2 = 1, 2, 3, 6, 9, 10, 12
SIGPIPE, SIGALRM, SIGTERM, SIGCHLD, SIGCONT, SIGSTOP, SIGTSTP = 13, 14, 15, 17, 18, 19, 20
SIGTTIN, SIGTTOU, SIGURG, SIGWINCH, SIGSYS = 21, 22, 23, 28, 31
SIGNAL_MAX = 64
_IGNORED_BY_DEFAULT = frozenset({SIGCHLD, SIGCONT, SIGURG, SIGWINCH})
_STOPPING = frozenset({SIGSTOP, SIGTSTP, SIGTTIN, SIGTTOU})

CAPABILITIES = tuple(
    f"CAP_{name}"
    for name in [
        "CHOWN",
        "DAC_OVERRIDE",
        "DAC_READ_SEARCH",
        "FOWNER",
        "FSETID",
        "KILL",
        "SETGID",
        "SETUID",
        "SETPCAP",
        "LINUX_IMMUTABLE",
        "NET_BIND_SERVICE",
        "NET_BROADCAST",
        "NET_ADMIN",
        "NET_RAW",
        "IPC_LOCK",
        "IPC_OWNER",
        "SYS_MODULE",
        "SYS_RAWIO",
        "SYS_CHROOT",
        "SYS_PTRACE",
        "SYS_PACCT",
        "SYS_ADMIN",
        "SYS_BOOT",
        "SYS_NICE",
        "SYS_RESOURCE",
        "SYS_TIME",
        "SYS_TTY_CONFIG",
        "MKNOD",
        "LEASE",
        "AUDIT_WRITE",
        "AUDIT_CONTROL",
        "SETFCAP",
        "MAC_OVERRIDE",
        "MAC_ADMIN",
        "SYSLOG",
        "WAKE_ALARM",
        "BLOCK_SUSPEND",
        "AUDIT_READ",
        "PERFMON",
        "BPF",
        "CHECKPOINT_RESTORE",
    ]
)
"""The capabilities of Linux 5.9 and later, by number."""
ALL_CAPABILITIES = frozenset(CAPABILITIES)

WAITING, RUNNING, ZOMBIE, REAPED = "waiting", "running", "zombie", "reaped"


class Credentials:
    """User, groups and capability sets (credentials(7), capabilities(7))."""

    __slots__ = ("ambient", "bounding", "effective", "gid", "groups", "inheritable", "permitted", "uid")

    def __init__(self) -> None:
        """Be root with all capabilities."""
        self.uid = 0
        self.gid = 0
        self.groups: tuple[int, ...] = ()
        self.bounding = self.permitted = self.effective = ALL_CAPABILITIES
        self.inheritable: frozenset[str] = frozenset()
        self.ambient: frozenset[str] = frozenset()

    def copy(self) -> Credentials:
        """Return a copy."""
        twin = Credentials.__new__(Credentials)
        for name in self.__slots__:
            setattr(twin, name, getattr(self, name))
        return twin

    def may(self, capability: str) -> bool:
        """Tell whether *capability* is effective."""
        return capability in self.effective

    def allows(self, node: Node, bits: int) -> bool:
        """Tell whether *node*'s mode allows *bits* (4 read, 2 write, 1 execute): path_resolution(7)."""
        anyone = node.mode & 0o111 or node.KIND == "d"
        if "CAP_DAC_OVERRIDE" in self.effective:
            return not bits & 1 or bool(anyone)
        if self.uid == node.uid:
            granted = node.mode >> 6
        elif self.gid == node.gid or node.gid in self.groups:
            granted = node.mode >> 3
        else:
            granted = node.mode
        return bool(granted & bits == bits)

    def after_exec(self) -> None:
        """Change the sets as execve(2) of a file without capabilities does (capabilities(7))."""
        if self.uid == 0:
            self.permitted = self.effective = self.inheritable | self.bounding
            self.ambient = frozenset()
        else:
            self.permitted = self.effective = self.ambient


class Process:
    """One process; a container's first one, a child of it, or one of the host."""

    __slots__ = (
        "args", "caught", "cgroups", "children", "comm", "context", "credentials", "cwd", "env",
        "exec_steps", "exit_status", "filters", "generator", "ignored", "keyring", "memory", "namespaces",
        "no_new_privs", "oom_score_adj", "output", "owner", "parent", "pending", "pids", "rdma", "request",
        "rlimits", "root", "session", "stage", "start_time", "stopped", "task", "terminal", "traits", "umask",
    )  # fmt: skip

    def __init__(self, namespaces: NamespaceSet, root: Location, start_time: int) -> None:
        """Make a process that nobody knows yet."""
        self.parent: Process | None = None
        self.namespaces = namespaces
        self.root = root
        self.start_time = start_time
        self.pids: dict[PidNamespace, int] = {}
        self.children: list[Process] = []
        self.stage = RUNNING
        self.exit_status: int | None = None
        self.owner = ""
        """The container to which it belongs; empty for the host."""
        self.args: tuple[str, ...] = ()
        self.env: dict[str, str] = {}
        self.cwd = "/"
        self.comm = ""
        self.credentials = Credentials()
        self.umask = 0o022
        self.rlimits: dict[str, tuple[int, int]] = {}
        self.no_new_privs = False
        self.filters: tuple[Filter, ...] = ()
        self.oom_score_adj = 0
        self.rdma: list[tuple[Cgroup, str, str, int]] = []
        """What the process has of RDMA devices: where it is charged, device, kind and number."""
        self.session: Process = self
        self.keyring = ""
        self.traits = PLAIN
        self.terminal: Terminal | None = None
        self.cgroups: dict[str, Cgroup] = {}
        self.memory = 0
        self.output: dict[int, bytearray] = {1: bytearray(), 2: bytearray()}
        self.exec_steps: tuple[Any, ...] = ()
        """What is executed at start; only of a container process that waits."""
        self.context: Any = None
        # The program: a generator that is resumed, the request at which it stands, and its signals.
        self.generator: Generator[Any, Any, Any] | None = None
        self.request: Any = None
        self.task: Any = None
        """The process as its program has it."""
        self.caught: dict[int, Callable[[int], Any] | None] = {}
        self.ignored: set[int] = set()
        self.pending: list[int] = []
        self.stopped = False

    def inherit(self, parent: Process) -> None:
        """Take over what a child gets from its parent, and be its child; EAGAIN where it may have none."""
        self.traits = parent.traits if parent.traits is PLAIN else parent.traits.forked()
        self.parent = parent
        parent.children.append(self)
        self.owner = parent.owner
        self.args, self.env, self.cwd, self.comm = parent.args, parent.env, parent.cwd, parent.comm
        self.credentials = parent.credentials.copy()
        self.umask = parent.umask
        self.rlimits = parent.rlimits
        self.no_new_privs = parent.no_new_privs
        self.filters = parent.filters
        self.oom_score_adj = parent.oom_score_adj
        self.session = parent.session
        self.keyring = parent.keyring
        self.terminal = parent.terminal
        self.ignored = set(parent.ignored)
        self.output = parent.output

    @property
    def pid(self) -> int:
        """The process id as the host sees it."""
        return next(reversed(self.pids.values()))

    @property
    def own_pid(self) -> int:
        """The process id as the process itself sees it."""
        return next(iter(self.pids.values()))

    @property
    def ended(self) -> bool:
        """The process is a zombie or gone."""
        return self.stage in {ZOMBIE, REAPED}

    @property
    def is_init(self) -> bool:
        """The process is the first one of a pid namespace below the host's."""
        space = self.namespaces.pid
        return space.init is self and space.parent is not None

    def descendants(self) -> Iterator[Process]:
        """Yield all processes below this one, parents first."""
        for child in self.children:
            yield child
            yield from child.descendants()

    def ignores(self, number: int) -> bool:
        """Tell whether a signal that arrives now is lost: signal(7), pid_namespaces(7)."""
        if number in (SIGKILL, SIGSTOP) or number in self.caught:
            return False
        if number in self.ignored or (number in _IGNORED_BY_DEFAULT and number != SIGCONT):
            return True
        # The init of a pid namespace gets only what it has a handler for.
        return self.is_init

    @staticmethod
    def stops(number: int) -> bool:
        """Tell whether the default action of *number* is to stop."""
        return number in _STOPPING


class Terminal:
    """A pseudoterminal: its size, and what the program has written to it."""

    __slots__ = ("gid", "height", "name", "output", "uid", "width")

    def __init__(self, name: str, height: int, width: int, uid: int) -> None:
        """Make a terminal with the slave *name*."""
        self.name = name
        self.height = height
        self.width = width
        self.uid = uid
        self.gid = 5  # the group tty, which devpts gives to slaves
        self.output = bytearray()


def check_signal(number: int) -> None:
    """Refuse what kill(2) refuses with EINVAL."""
    if not 0 <= number <= SIGNAL_MAX:
        raise refusal(errno.EINVAL, message=f"invalid signal {number}")
