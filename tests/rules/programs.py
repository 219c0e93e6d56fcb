"""The programs of the rules, each twice: a shell script for Linux, a Python function for the fake."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from orlop_fake import Device, Directory, File, Socket, Symlink, Task

Program = Callable[[Task], Any]


def _facts(p: Task) -> int:
    p.write(f"pid={p.pid}\nppid={p.ppid}\ncwd={p.cwd}\nhostname={p.hostname}\n")
    p.write(f"uid={p.uid}\ngid={p.gid}\ngroups={' '.join(str(g) for g in (p.gid, *p.groups))}\n")
    p.write(f"umask={p.process.umask:04o}\nargs={' '.join(p.args[1:])}\n")
    wanted = {"CapEff", "CapPrm", "CapBnd", "CapInh", "CapAmb", "NoNewPrivs", "Seccomp", "Cpus_allowed_list"}
    for line in p.read("/proc/self/status").decode().splitlines():
        name, _, value = line.partition(":")
        if name in wanted:
            p.write(f"{name}={value.strip()}\n")
    for name, value in p.env.items():
        p.write(f"env_{name}={value}\n")
    p.write(f"nofile={p.process.rlimits.get('RLIMIT_NOFILE', (0, 0))[0]}\n")
    p.write(f"oom={p.read('/proc/self/oom_score_adj').decode().strip()}\n")
    return 0


def _traits(p: Task) -> int:
    stat = p.read("/proc/self/stat").decode().rpartition(")")[2].split()
    p.write(f"policy={stat[38]}\npriority={stat[37]}\nnice={stat[16]}\n")
    p.write(f"domain={p.read('/proc/self/personality').decode()}machine={p.machine}\n")
    p.write(f"memory={p.read('/proc/self/numa_maps').decode().split(' ', 1)[1].split(' file=')[0]}\n")
    return 0


def _exit(p: Task) -> int:
    return int(p.args[1])


def _sleeper(p: Task) -> Any:
    yield p.forever()


def _trapper(p: Task) -> Any:
    p.write("ready\n")
    number = yield p.wait_signal(15, 10)
    p.write(f"got {'TERM' if number == 15 else 'USR1'}\n")
    return 9


def _parent(p: Task) -> Any:
    def child(q: Task) -> Any:
        yield q.forever()

    p.fork(child)
    p.fork(child)
    p.write("ready\n")
    yield p.forever()


def _outlived(p: Task) -> Any:
    def child(q: Task) -> Any:
        yield q.forever()

    p.fork(child)
    p.write("ready\n")
    yield p.wait_signal(15)
    return 0


def _try_write(p: Task) -> int:
    for path in p.args[1:]:
        try:
            p.write_file(path, "x")
        except OSError:
            p.write(f"{path}: refused\n")
        else:
            p.write(f"{path}: written\n")
    return 0


def _show(p: Task) -> int:
    for path in p.args[1:]:
        try:
            p.write(p.read(path))
        except OSError:
            p.write(f"{path}: refused\n")
    return 0


def _kinds(p: Task) -> int:
    for path in p.args[1:]:
        try:
            node = p.stat(path, follow=False)
        except OSError:
            p.write(f"{path}: missing\n")
            continue
        kind = {Directory: "directory", File: "regular file", Symlink: "symbolic link", Socket: "socket"}
        other = "fifo" if isinstance(node, Device) and node.type == "p" else "character special file"
        known = next((text for cls, text in kind.items() if isinstance(node, cls)), other)
        p.write(f"{path}: {known}\n")
    return 0


def _names(p: Task) -> int:
    for path in p.args[1:]:
        p.write("".join(f"{name}\n" for name in p.listdir(path)))
    return 0


def _owners(p: Task) -> int:
    for path in p.args[1:]:
        uid, gid = p.owner(path)
        p.write(f"{path}: {uid}:{gid}\n")
    return 0


def _mounted(p: Task) -> int:
    for line in p.read("/proc/self/mounts").decode().splitlines():
        if line.split()[1] in p.args[1:]:
            p.write(f"{line}\n")
    return 0


def _mark(p: Task) -> int:
    p.kernel.marks.append("program")  # type: ignore[attr-defined]
    return 0


def _mark_and_sleep(p: Task) -> Any:
    p.kernel.marks.append("program")  # type: ignore[attr-defined]
    p.write("ready\n")
    yield p.forever()


def _namespaces(p: Task) -> int:
    for kind in ("cgroup", "ipc", "mnt", "net", "pid", "uts"):
        p.write(f"{kind}={p.readlink(f'/proc/self/ns/{kind}')}\n")
    return 0


def _bomb(p: Task) -> Any:
    def child(q: Task) -> Any:
        yield q.forever()

    for count in range(20):
        try:
            p.fork(child)
        except OSError:
            p.write(f"refused after {'some' if count else 'none'}\n")
            break
    yield p.forever()


def _hungry(p: Task) -> Any:
    def child(q: Task) -> Any:
        while True:
            q.allocate(1 << 20)

    p.fork(child)
    _, status = yield p.wait_child()
    p.write(f"ended {status}\n")
    yield p.forever()


def _devices(p: Task) -> int:
    for name in sorted(p.listdir("/sys/class/net")):
        flags = int(p.read(f"/sys/class/net/{name}/flags").decode(), 16)
        p.write(f"{name} {'up' if flags & 1 else 'down'}\n")
    return 0


def _make(p: Task) -> int:
    try:
        p.mkdir(p.args[1])
    except OSError:
        p.write("refused\n")
    else:
        p.write("made\n")
    return 0


def _rename_host(p: Task) -> int:
    try:
        p.set_hostname(p.args[1])
    except OSError:
        p.write("refused\n")
    p.write(f"{p.hostname}\n")
    return 0


def _script(*lines: str) -> str:
    return "\n".join(lines)


PROGRAMS: dict[str, tuple[str, Program]] = {
    "facts": (
        _script(
            'echo "pid=$$"',
            'echo "ppid=$PPID"',
            'echo "cwd=$(busybox pwd)"',
            'echo "hostname=$(busybox hostname)"',
            'echo "uid=$(busybox id -u)"',
            'echo "gid=$(busybox id -g)"',
            'echo "groups=$(busybox id -G)"',
            'echo "umask=$(umask)"',
            'echo "args=$*"',
            "while read -r name value; do",
            "  case $name in",
            '    Cap???:|NoNewPrivs:|Seccomp:|Cpus_allowed_list:) echo "${name%:}=$value";;',
            "  esac",
            "done </proc/self/status",
            "busybox tr '\\000' '\\n' </proc/$$/environ | busybox sed 's/^/env_/'",
            'echo "nofile=$(ulimit -n)"',
            'echo "oom=$(busybox cat /proc/self/oom_score_adj)"',
        ),
        _facts,
    ),
    "traits": (
        _script(
            "read -r line </proc/$$/stat",
            "set -- ${line##*)}",
            'echo "policy=${39}"',
            'echo "priority=${38}"',
            'echo "nice=${17}"',
            'read -r line </proc/$$/personality; echo "domain=$line"',
            'echo "machine=$(busybox uname -m)"',
            "read -r place line </proc/$$/numa_maps",
            'echo "memory=${line%% file=*}"',
        ),
        _traits,
    ),
    "exiter": ('exit "$1"', _exit),
    "sleeper": ("exec busybox sleep 100000", _sleeper),
    "trapper": (
        _script(
            "trap 'echo got TERM; exit 9' TERM",
            "trap 'echo got USR1; exit 9' USR1",
            "echo ready",
            "/bin/busybox sleep 100000 &",
            "while :; do wait; done",
        ),
        _trapper,
    ),
    "parent": (
        _script("/bin/busybox sleep 100000 &", "/bin/busybox sleep 100000 &", "echo ready", "wait"),
        _parent,
    ),
    "outlived": (
        _script("trap 'exit 0' TERM", "/bin/busybox sleep 100000 &", "echo ready", "wait"),
        _outlived,
    ),
    "try-write": (
        _script(
            "for path; do",
            '  if (echo x >"$path") 2>/dev/null; then echo "$path: written"; else echo "$path: refused"; fi',
            "done",
        ),
        _try_write,
    ),
    "show": ('for path; do busybox cat "$path" 2>/dev/null || echo "$path: refused"; done', _show),
    "kinds": (
        _script(
            "for path; do",
            '  if [ -L "$path" ]; then echo "$path: symbolic link"',
            '  elif [ -d "$path" ]; then echo "$path: directory"',
            '  elif [ -c "$path" ]; then echo "$path: character special file"',
            '  elif [ -p "$path" ]; then echo "$path: fifo"',
            '  elif [ -S "$path" ]; then echo "$path: socket"',
            '  elif [ -f "$path" ]; then echo "$path: regular file"',
            '  else echo "$path: missing"; fi',
            "done",
        ),
        _kinds,
    ),
    "names": ('for path; do busybox ls -1 "$path"; done', _names),
    "owners": ('busybox stat -c "%n: %u:%g" "$@"', _owners),
    "mounted": (
        _script(
            "while read -r source path rest; do",
            '  for wanted; do if [ "$path" = "$wanted" ]; then echo "$source $path $rest"; fi; done',
            "done </proc/self/mounts",
        ),
        _mounted,
    ),
    "mark": ("echo program >>/events/log", _mark),
    "mark-and-sleep": (
        _script("echo program >>/events/log", "echo ready", "exec busybox sleep 100000"),
        _mark_and_sleep,
    ),
    "namespaces": (
        _script(
            "for kind in cgroup ipc mnt net pid uts; do",
            '  echo "$kind=$(busybox readlink /proc/self/ns/$kind)"',
            "done",
        ),
        _namespaces,
    ),
    # The shell ends itself when it cannot fork, so a child of it tries.
    "bomb": (
        _script(
            "(",
            "  for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16; do /bin/busybox sleep 100000 & done",
            ") 2>/dev/null",
            'echo "refused after some"',
            "exec busybox sleep 100000",
        ),
        _bomb,
    ),
    # What tail keeps of a file without lines is all of it.
    "hungry": (
        _script("busybox tail /dev/zero 2>/dev/null", 'echo "ended $?"', "exec busybox sleep 100000"),
        _hungry,
    ),
    "devices": (
        _script(
            "for device in /sys/class/net/*; do",
            '  flags=$(busybox cat "$device/flags")',
            "  if [ $((flags & 1)) = 1 ]; then state=up; else state=down; fi",
            '  echo "${device##*/} $state"',
            "done",
        ),
        _devices,
    ),
    "maker": ('if busybox mkdir "$1" 2>/dev/null; then echo made; else echo refused; fi', _make),
    "rename-host": (
        _script('busybox hostname "$1" 2>/dev/null || echo refused', "busybox hostname"),
        _rename_host,
    ),
}
"""Script and function by name; in the image they are /bin/NAME."""
