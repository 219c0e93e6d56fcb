"""What engines make of their own flags, on orlop as on runc: the same config, and so the same container.

Each row is one ``run``. What the program prints about itself, and how it ends, has to be the same with both
runtimes. The rows leave out user namespaces, for which runc changes the owner of the host's null device.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import pytest
from tests.engines.conftest import orlop_command
from tests.engines.containers import Containers
from tests.engines.daemon import nothing_left, require
from tests.engines.docker import PEER, Docker
from tests.engines.store import Store

_STATUS = "grep -E 'Cap|NoNewPrivs|Seccomp|Groups' /proc/self/status"
# Below /sys/fs/cgroup runc leaves out cgroup2 beside version 1; what covers masked paths is no mount of ours.
_MOUNTS = """\
awk '$5 !~ "^/sys/fs/cgroup" {
    for (i = 7; $i != "-"; i++);
    cover = $5 ~ "^/(proc|sys|home|etc/plain)/?" && $(i + 1) == "tmpfs"
    print $5, cover ? "covered" : $6, $(i + 1)
}' /proc/self/mountinfo"""
_DEVICES = "stat -c '%n %F %a %u %g %t %T' /dev/*"
_LIMITS = (
    "cd /sys/fs/cgroup; cat memory/memory.limit_in_bytes memory/memory.memsw.limit_in_bytes"
    " memory/memory.soft_limit_in_bytes cpu/cpu.cfs_quota_us cpu/cpu.shares cpuset/cpuset.cpus pids/pids.max"
    " memory.max memory.swap.max memory.low cpu.max cpu.weight cpuset.cpus pids.max /proc/self/oom_score_adj"
)

_E = TypeVar("_E", Store, Docker)

Row = tuple[Sequence[str], str | Sequence[str]]
"""The engine's flags, and the program: words, or a text for the shell. ``@`` is a directory of the test's."""

COMMON: dict[str, Row] = {
    "nothing": ((), f"id; env; {_STATUS}"),
    "mounts": ((), _MOUNTS),
    "devices": ((), _DEVICES),
    "a tmpfs over a directory": (("--tmpfs=/home/plain", "--tmpfs=/new"), "stat -c %a /home/plain /new"),
    "a user": (
        ("--user=plain", "--group-add=10", "--group-add=20", "--workdir=/home/plain", "--env=WORD=a b"),
        f"id; echo $PWD $WORD; {_STATUS}; touch made; ls -ln; touch /made",
    ),
    "a user without a name": (("--user=1234:5678", "--hostname=name"), f"id; hostname; {_STATUS}"),
    "capabilities": (("--cap-drop=all", "--cap-add=CHOWN", "--cap-add=SYS_NICE"), _STATUS),
    "capabilities of a user": (("--user=1000", "--cap-add=NET_BIND_SERVICE"), _STATUS),
    "no new privileges": (("--security-opt=no-new-privileges",), _STATUS),
    "a profile": (("--security-opt=seccomp=@/profile",), f"mkdir /x; echo $?; {_STATUS}"),
    "no profile": (("--security-opt=seccomp=unconfined",), _STATUS),
    "a read-only root": (
        ("--read-only", "--tmpfs=/t:size=64k,mode=1770,noexec"),
        f"touch /x; stat -c %a /t; dd if=/dev/zero of=/t/x bs=1k count=100; {_MOUNTS}",
    ),
    "volumes": (
        (
            *("--volume=@/volume:/v", "--volume=@/volume:/ro:ro", "--volume=@/volume/file:/etc/plain"),
            "--volume=/anonymous",
        ),
        "cat /v/file /etc/plain; echo more >/v/$$ && rm /v/$$; touch /ro/x /anonymous/x; ls /anonymous; "
        + _MOUNTS,
    ),
    "a mount": (
        ("--mount=type=bind,src=@/volume,dst=/v,readonly,bind-propagation=rslave", "--shm-size=1m"),
        f"{_MOUNTS}; grep -o 'size=1024k' /proc/self/mountinfo",
    ),
    "a device": (("--device=/dev/fuse:/dev/mine:r",), f"{_DEVICES}; : >/dev/mine"),
    "limits": (
        (
            *("--memory=64m", "--memory-swap=128m", "--memory-reservation=32m", "--cpus=0.5"),
            *("--cpu-shares=100", "--cpuset-cpus=0", "--pids-limit=17", "--oom-score-adj=500"),
        ),
        f"{_LIMITS} 2>/dev/null",
    ),
    "too many processes": (("--pids-limit=4",), "for i in 1 2 3 4 5; do sleep 1000 & done"),
    "ulimits": (("--ulimit=nofile=100:200", "--ulimit=core=0:0"), "ulimit -n; ulimit -Hn; ulimit -c"),
    "parameters": (
        ("--sysctl=net.ipv4.ip_forward=1", "--sysctl=kernel.msgmax=1234"),
        "cat /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/msgmax",
    ),
    "a parameter that there is not": (("--sysctl=net.nothing=1",), "true"),
    "namespaces of the host": (
        ("--pid=host", "--ipc=host", "--uts=host", "--cgroupns=host"),
        "hostname; for one in pid ipc uts cgroup; do ls -l /proc/self/ns/$one | sed 's/.*>//'; done",
    ),
    "a cgroup namespace": (("--cgroupns=private",), "sed 's/.*://' /proc/self/cgroup"),
    "a terminal": (
        ("--tty", "--user=plain"),
        "tty; stat -c '%F %u %a' /dev/console $(tty); echo out >/dev/stdout; ls -l /dev/console | head -c 10",
    ),
    "output of a user": (("--user=plain",), "echo out >/dev/stdout; echo err >/dev/stderr"),
    "input": (("--interactive",), "cat; echo end"),
    "an init": (("--init",), "head -c 5 /proc/1/cmdline; test $$ -gt 1"),
    "a status": ((), "exit 7"),
    "no program in PATH": ((), ["no-such-program"]),
    "no program": ((), ["/no/such"]),
    "a directory": ((), ["/etc"]),
    "no executable": ((), ["/etc/plain"]),
    "below a file": ((), ["/etc/plain/program"]),
    "a file on a directory": (("--volume=@/volume/file:/etc",), "true"),
    "a directory on a file": (("--volume=@/volume:/etc/plain",), "true"),
    "a directory that one may not enter": (
        ("--user=1000", "--workdir=/secret", "--volume=@/secret:/secret"),
        "echo $PWD; ls",
    ),
}
PODMAN: dict[str, Row] = {
    "privileged": (("--privileged",), f"{_STATUS}; {_MOUNTS}; {_DEVICES}"),
    "more is masked": (("--security-opt=mask=/etc/plain:/home",), f"cat /etc/plain; ls -a /home; {_MOUNTS}"),
    "nothing is masked": (("--security-opt=unmask=ALL",), _MOUNTS),
    "a procfs that hides": (("--security-opt=proc-opts=hidepid=2",), "grep -c hidepid /proc/self/mountinfo"),
    "a umask": (("--umask=0077",), "umask; touch /x; stat -c %a /x"),
    "no tmpfs": (("--read-only", "--read-only-tmpfs=false"), f"touch /tmp/x; {_MOUNTS}"),
    "a tmpfs with what was there": (("--tmpfs=/etc",), "ls /etc"),
    "a tmpfs without": (("--mount=type=tmpfs,dst=/etc,notmpcopyup",), "ls /etc"),
    "a volume that becomes the user's": (("--volume=@/given:/v:U", "--user=1000"), "stat -c %u /v"),
    "a volume with an overlay": (("--volume=@/volume:/v:O",), "touch /v/x; ls /v"),
    "an image": (("--mount=type=image,src=box:1,dst=/image",), "ls /image"),
    "no variables": (("--unsetenv=PATH",), ["/bin/env"]),
}


def _prepare(place: Path) -> None:
    for name in ("volume", "given", "secret"):
        (place / name).mkdir(parents=True)
    (place / "secret").chmod(0o700)
    (place / "volume/file").write_text("of the host\n")
    forbidden = {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO"}
    profile = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [forbidden]}
    (place / "profile").write_text(json.dumps(profile))


def _told(
    engine: Containers, place: Path, runtime: Sequence[str], row: Row
) -> tuple[int, list[str], list[str]]:
    """Run the row; return the status, and what was printed, in no order: what is listed has none."""
    options, program = row
    words = ["sh", "-c", program] if isinstance(program, str) else program
    flags = [one.replace("@", str(place)) for one in options]
    done = engine.ask(
        *("run", "--rm", "--network=none", *runtime, "--hostname=same", *flags, "box:1", *words), feed="in\n"
    )
    # Messages of the engine about the runtime have the runtime's own words.
    errors = [] if done.returncode in {125, 126, 127} else sorted(done.stderr.splitlines())
    return done.returncode, sorted(done.stdout.splitlines()), errors


def _compare(engine: Containers, place: Path, ours: Sequence[str], peer: Sequence[str], row: Row) -> None:
    with ThreadPoolExecutor(2) as pool:
        told, expected = pool.map(lambda runtime: _told(engine, place, runtime, row), (ours, peer))
    assert told == expected


def _opened(kind: Callable[[str], _E]) -> Iterator[_E]:
    require("runc", packages="runc")
    engine = kind(orlop_command())
    _prepare(engine.scratch / "files")
    yield engine
    engine.close()


@pytest.fixture(scope="module")
def store() -> Iterator[Store]:
    yield from _opened(Store)


@pytest.fixture(scope="module")
def daemon() -> Iterator[Docker]:
    yield from _opened(Docker)


@pytest.fixture
def podman(store: Store) -> Iterator[Store]:
    """Provide podman; nothing is left of a row."""
    before = store.left()
    yield store
    nothing_left(before, store.left)


@pytest.fixture
def docker(daemon: Docker) -> Iterator[Docker]:
    """Provide Docker; nothing is left of a row."""
    before = daemon.left()
    yield daemon
    daemon.clear()
    nothing_left(before, daemon.left)


@pytest.mark.parametrize("name", [*COMMON, *PODMAN])
def test_podmans_flags_have_the_effect_that_they_have_with_runc(podman: Store, name: str) -> None:
    parent = f"--cgroup-parent=/{podman.parent}"
    row = {**COMMON, **PODMAN}[name]
    _compare(podman, podman.scratch / "files", [parent], ["--runtime=runc", parent], row)


@pytest.mark.parametrize("name", COMMON)
def test_dockers_flags_have_the_effect_that_they_have_with_runc(docker: Docker, name: str) -> None:
    _compare(docker, docker.scratch / "files", ["--runtime=orlop"], [f"--runtime={PEER}"], COMMON[name])
