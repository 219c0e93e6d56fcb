"""The table of the command line: every global flag, every command, every flag of a command, once.

The parser, the help, the reference page and the tests read this table; nothing about the grammar is written
anywhere else. Two parts of it have modules of their own.
"""

from __future__ import annotations

from orlop.cli.flags import CHOICE, COUNT, LIST, NUMBERS, SWITCH, Command, Flag
from orlop.cli.table_images import IMAGES, NO_SUBREAPER
from orlop.cli.table_own import OWN_COMMANDS

OPTIONS: tuple[Flag, ...] = (
    Flag(
        ("root",),
        "directory of the containers' state (default: /run/orlop or $XDG_RUNTIME_DIR/orlop)",
        metavar="DIR",
    ),
    Flag(("log",), "append messages to this file; errors go to standard error as well", metavar="FILE"),
    Flag(("log-format",), "layout of messages", choices=("text", "json"), default="text", metavar="FORMAT"),
    Flag(
        ("log-level",),
        "least important messages to write",
        choices=("error", "warning", "info", "debug"),
        default="warning",
        metavar="LEVEL",
    ),
    Flag(("debug",), "the same as --log-level debug; unexpected errors show where they arose", kind=SWITCH),
    Flag(
        ("systemd-cgroup", "s"),
        "let systemd make the cgroup: the cgroups path is slice:prefix:name",
        kind=SWITCH,
    ),
    Flag(
        ("cgroup-manager",),
        "who makes the cgroup; disabled: the container stays in the caller's",
        choices=("cgroupfs", "systemd", "disabled"),
        default="cgroupfs",
        metavar="MANAGER",
    ),
    Flag(
        ("rootless",),
        "accepted for compatibility: what the caller may do is asked of the kernel",
        choices=("auto", "1", "t", "T", "true", "True", "TRUE", "0", "f", "F", "false", "False", "FALSE"),
        default="auto",
        metavar="auto|true|false",
    ),
    Flag(
        ("runtime-config",),
        "TOML file with settings, instead of /etc/orlop/runtime.toml; a composed runtime reads no other",
        metavar="FILE",
    ),
    Flag(
        ("plugins",),
        "use only these plugins; -NAME: all but these; +NAME: these as well, which are used on request only",
        metavar="NAME,...",
    ),
    Flag(("trace",), "write a timeline of the command to this file, see 'orlop trace'", metavar="FILE"),
    Flag(("version", "v"), "print the version", kind=SWITCH),
)

_ID = "<container-id>"

_BUNDLE = Flag(
    ("bundle", "b"), "directory with the config and the root filesystem", default=".", metavar="DIR"
)
_TABLE = Flag(
    ("format", "f"), "layout of the output", choices=("table", "json"), default="table", metavar="FORMAT"
)
_LAUNCH = (
    _BUNDLE,
    Flag(("config", "f"), "config file, relative to the bundle", default="config.json", metavar="FILE"),
    Flag(("console-socket",), "unix socket that receives the terminal's master", metavar="PATH"),
    Flag(("pidfd-socket",), "unix socket that receives a pidfd of the container process", metavar="PATH"),
    Flag(("pid-file",), "file that receives the process id of the container process", metavar="FILE"),
    Flag(("no-pivot",), "switch the root without pivot_root(2), for a root on a ramdisk", kind=SWITCH),
    Flag(("no-new-keyring",), "keep the caller's session keyring", kind=SWITCH),
    Flag(
        ("preserve-fds",),
        "pass this many further descriptors, from 3 on, to the container",
        kind=COUNT,
        metavar="N",
    ),
)

_REGEX = Flag(
    ("regex", "r"),
    "the identifier is a regular expression, as Python has them, for all containers in which it is found",
    kind=SWITCH,
)

_LIMITS = (
    ("blkio-weight", "share of the block devices, 10 to 1000", "WEIGHT"),
    ("cpu-period", "period of the CPU quota", "MICROSECONDS"),
    ("cpu-quota", "CPU time in each period", "MICROSECONDS"),
    ("cpu-burst", "unused CPU time that may be spent later", "MICROSECONDS"),
    ("cpu-share", "share of the CPU beside other containers", "SHARES"),
    ("cpu-rt-period", "period of the real-time scheduler", "MICROSECONDS"),
    ("cpu-rt-runtime", "real-time CPU time in each period", "MICROSECONDS"),
    ("cpu-idle", "1: run only when nobody else wants to", "0|1"),
    ("cpuset-cpus", "CPUs to use, such as 0-2,4", "LIST"),
    ("cpuset-mems", "memory nodes to use", "LIST"),
    ("memory", "most memory", "BYTES"),
    ("memory-reservation", "memory that is left alone while others have some to spare", "BYTES"),
    ("memory-swap", "most memory and swap together", "BYTES"),
    ("pids-limit", "most processes", "NUMBER"),
    ("l3-cache-schema", "share of the L3 cache, such as L3:0=f", "SCHEMA"),
    ("mem-bw-schema", "share of the memory bandwidth, such as MB:0=50", "SCHEMA"),
)

COMMANDS: tuple[Command, ...] = (
    Command(
        "create",
        "create a container and hold it before its program starts",
        usage=_ID,
        least=1,
        most=1,
        flags=(
            *_LAUNCH,
            NO_SUBREAPER,
            Flag(
                ("detach", "d"),
                "accepted for compatibility: create always detaches",
                kind=SWITCH,
                hidden=True,
            ),
        ),
        text="The container's namespaces, mounts and limits are made; 'orlop start' lets its program run.",
    ),
    Command(
        "start",
        "start the program of a created container",
        usage=_ID,
        least=1,
        most=1,
    ),
    Command(
        "run",
        "create and start a container, wait for it and delete it",
        usage=_ID,
        least=1,
        most=1,
        flags=(
            *_LAUNCH,
            Flag(("detach", "d"), "return when the program runs", kind=SWITCH),
            Flag(("keep",), "do not delete the container when its program has ended", kind=SWITCH),
            NO_SUBREAPER,
        ),
        text="The exit status is the program's own, or 128 plus the number of the signal that ended it.\n"
        "Signals that orlop receives meanwhile are passed on to the program.",
    ),
    Command(
        "exec",
        "run one more program in a container",
        usage=f"{_ID} COMMAND [ARGUMENTS] | --process FILE {_ID}",
        least=1,
        most=None,
        flags=(
            Flag(
                ("process", "p"),
                "file with a process document, in place of COMMAND and the flags of the process",
                metavar="FILE",
            ),
            Flag(("detach", "d"), "return when the program runs", kind=SWITCH),
            Flag(("tty", "t"), "give the program a terminal", kind=SWITCH),
            Flag(("cwd",), "working directory (default: the container process's)", metavar="DIR"),
            Flag(("env", "e"), "add a variable to the environment", kind=LIST, metavar="NAME=VALUE"),
            Flag(("user", "u"), "user, and group, by number", metavar="UID[:GID]"),
            Flag(("additional-gids", "g"), "add a supplementary group", kind=NUMBERS, metavar="GID"),
            Flag(
                ("cap", "c"),
                "add a capability to the bounding, effective and permitted sets",
                kind=LIST,
                metavar="CAPABILITY",
            ),
            Flag(("no-new-privs",), "keep execve(2) from granting privileges", kind=CHOICE),
            Flag(("process-label",), "SELinux label", metavar="LABEL"),
            Flag(("apparmor",), "AppArmor profile", metavar="PROFILE"),
            Flag(("console-socket",), "unix socket that receives the terminal's master", metavar="PATH"),
            Flag(("pidfd-socket",), "unix socket that receives a pidfd of the process", metavar="PATH"),
            Flag(("pid-file",), "file that receives the process id", metavar="FILE"),
            Flag(
                ("preserve-fds",),
                "pass this many further descriptors, from 3 on, to the process",
                kind=COUNT,
                metavar="N",
            ),
            Flag(
                ("cgroup",),
                "join this cgroup below the container's, of all controllers or of those named",
                kind=LIST,
                metavar="[CONTROLLER,...:]PATH",
            ),
            Flag(("ignore-paused",), "join a paused container, too, and go on when it does", kind=SWITCH),
            NO_SUBREAPER,
        ),
        mixed=False,
        failure=255,
        text="The program runs in the namespaces, cgroups and root of the container, confined as its own "
        "process is.\n"
        "The exit status is the program's own, or 128 plus the number of the signal that ended it; 255 when\n"
        "it could not be run. Signals that orlop receives meanwhile are passed on to the program.",
    ),
    Command(
        "state",
        "print the state of a container as JSON",
        usage=_ID,
        least=1,
        most=1,
    ),
    Command(
        "kill",
        "send a signal to the container process",
        usage=f"{_ID} [SIGNAL]",
        least=1,
        most=2,
        flags=(Flag(("all", "a"), "send it to every process of the container", kind=SWITCH), _REGEX),
        text="SIGNAL is a name (TERM, SIGTERM, sigterm) or a number; without it SIGTERM is sent.",
    ),
    Command(
        "delete",
        "delete a container and all that was made for it",
        usage=_ID,
        least=1,
        most=1,
        flags=(
            Flag(
                ("force", "f"),
                "kill it first if it still runs; a container that does not exist is no error",
                kind=SWITCH,
            ),
            _REGEX,
        ),
    ),
    Command(
        "list",
        "list the containers of the state directory",
        flags=(_TABLE, Flag(("quiet", "q"), "print identifiers only", kind=SWITCH)),
    ),
    Command(
        "pause",
        "suspend all processes of a container",
        usage=_ID,
        least=1,
        most=1,
    ),
    Command(
        "resume",
        "resume all processes of a paused container",
        usage=_ID,
        least=1,
        most=1,
    ),
    *IMAGES,
    Command(
        "update",
        "change the resource limits of a container",
        usage=_ID,
        least=1,
        most=1,
        flags=(
            Flag(
                ("resources", "r"),
                "file with a linux.resources object, - for standard input; it counts alone",
                metavar="FILE",
            ),
            *(Flag((name,), text, metavar=value) for name, text, value in _LIMITS),
            Flag(("kernel-memory",), "accepted for compatibility and ignored", metavar="BYTES", hidden=True),
            Flag(
                ("kernel-memory-tcp",), "accepted for compatibility and ignored", metavar="BYTES", hidden=True
            ),
        ),
        text="What is not given stays as it is; so does a limit, share, period or weight of 0.\n"
        "Sizes may end in b, k, m, g, t or p; -1 stands for no limit.",
    ),
    Command(
        "ps",
        "list the processes of a container",
        usage=f"{_ID} [ps options]",
        least=1,
        most=None,
        flags=(_TABLE,),
        mixed=False,
        text="The table is made by the host's ps(1), called with the given options (-ef without any).",
    ),
    Command(
        "events",
        "print what the kernel accounts for a container",
        usage=_ID,
        least=1,
        most=1,
        flags=(
            Flag(
                ("interval",), "time between two lines, such as 5s or 500ms", default="5s", metavar="DURATION"
            ),
            Flag(("stats",), "print one line and end", kind=SWITCH),
        ),
        text='One JSON object per line, until the container stops: "stats" in each interval, "oom" when the\n'
        "kernel has killed for lack of memory. The figures have the names that runc gives them.",
    ),
    Command(
        "spec",
        "write a config.json to start from",
        flags=(
            Flag(("bundle", "b"), "directory that receives the file", default=".", metavar="DIR"),
            Flag(
                ("file", "f"),
                "the file, relative to the bundle",
                default="config.json",
                metavar="FILE",
                filled=True,
            ),
            Flag(("rootless",), "for a caller without privileges", kind=SWITCH),
        ),
    ),
    Command(
        "features",
        "print what this runtime can do, as the features document",
        flags=(
            Flag(("provenance",), "say for every field which plugin supplied it", kind=SWITCH),
            Flag(("diff",), "show what another document says differently", metavar="OTHER", filled=True),
            Flag(("validate",), "examine another document strictly", metavar="OTHER", filled=True),
            Flag(("key",), "print a key that changes exactly when the document does", kind=SWITCH),
            Flag(
                ("format", "f"),
                "layout of everything but the document itself",
                choices=("text", "json"),
                default="text",
                metavar="FORMAT",
            ),
        ),
        text="OTHER is a file, - for standard input, or a runtime (an executable file or a name in PATH),\n"
        "which is run with 'features'. The exit status is 1 when documents differ or OTHER breaks a rule.",
    ),
    *OWN_COMMANDS,
    Command(
        "help",
        "print help, or the help of one command",
        usage="[COMMAND]",
        most=1,
        aliases=("h",),
    ),
)


def find(name: str) -> Command | None:
    """Return the command that is called *name*, or ``None``."""
    for command in COMMANDS:
        if command.name == name or name in command.aliases:
            return command
    return None
