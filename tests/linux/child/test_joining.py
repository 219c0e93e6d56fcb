"""A process that joins a hostile container: what of it can be seen, followed or replaced from inside."""

from __future__ import annotations

import hashlib
import os
import shutil
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.linux.child.agents import Agent
from tests.linux.child.support import (
    PATIENCE,
    Box,
    Result,
    environment_of,
    fds_of,
    namespaces_of,
    status_of,
    until,
)
from tests.linux.child.test_sealing import MARKER, hostile_paths, marks

import orlop
from orlop_hookspecs.errors import StepError
from orlop_hookspecs.launch import ExecOptions

USERS = [{"containerID": 0, "hostID": 100_000, "size": 65_536}]
IN_A_USER_NAMESPACE: dict[str, Any] = {
    "linux": {
        "namespaces": [{"type": name} for name in ("pid", "mount", "ipc", "uts", "user", "cgroup")],
        "uidMappings": USERS,
        "gidMappings": USERS,
    }
}


def join(box: Box, *args: str, name: str = "box", **process: Any) -> Result:
    """Run a program in a container of *box*; return how it ended and what it wrote."""
    place = box.place / "joined"
    document = {"cwd": "/", "args": list(args), "env": ["PATH=/bin"], **process}
    with place.open("wb") as written, open("/dev/null", "rb") as null:
        options = ExecOptions(stdio=(null.fileno(), written.fileno(), written.fileno()))
        made = box.runtime.get(name).exec(document, options)
        status = made.wait(timeout=PATIENCE)
    assert status is not None
    return Result(status, place.read_text())


def start(box: Box, script: str = "", **over: Any) -> orlop.Container:
    """Start a container that runs *script*, or waits."""
    made = box.create(box.script(script, **over) if script else box.config(**over))
    made.start()
    return made


@pytest.fixture(scope="module")
def hostile_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a root full of modules and libraries that betray themselves when they are used."""
    root = tmp_path_factory.mktemp("hostile")
    for path in hostile_paths():
        place = root / path.lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(
            f"open({MARKER!r}, 'a').write(__name__)\n" if path.endswith(".py") else "no library\n"
        )
    return root


@pytest.fixture
def hostile(box: Box, hostile_root: Path) -> Box:
    shutil.copytree(hostile_root, box.rootfs, dirs_exist_ok=True, symlinks=True, copy_function=os.link)
    (box.rootfs / MARKER.lstrip("/")).touch()
    (box.rootfs / MARKER.lstrip("/")).chmod(0o666)
    (box.rootfs / "bin/bad").write_bytes(b"#!/no/such/interpreter\n")
    (box.rootfs / "bin/bad").chmod(0o755)
    return box


def test_no_code_of_the_image_runs_on_the_way_to_the_program(hostile: Box) -> None:
    start(hostile)
    assert join(hostile, "sh", "-c", "echo fine") == (0, "fine\n")
    assert marks(hostile) == ""


@pytest.mark.parametrize(
    "change",
    [
        {"args": ["/no/such"]},
        {"args": ["nosuch"]},
        {"args": ["/no/\udcff"]},
        {"args": ["/bin/bad"]},
        {"args": ["/bin"]},
        {"cwd": "/bin/busybox/x"},
        {"cwd": "/absent"},
        {"user": {"uid": 1, "gid": 1}, "cwd": "/root"},
    ],
    ids=str,
)
def test_no_code_of_the_image_runs_on_the_way_to_an_error(hostile: Box, change: dict[str, Any]) -> None:
    (hostile.rootfs / "root").chmod(0o700)
    start(hostile)
    process = {"args": ["/bin/true"], **change}
    with pytest.raises(orlop.OrlopError):
        join(hostile, *process.pop("args"), **process)
    assert marks(hostile) == ""
    assert len(hostile.runtime.get("box").processes()) == 1


@pytest.mark.parametrize("user", [0, 1000])
def test_no_descriptor_leads_out_of_the_container(box: Box, user: int) -> None:
    """CVE-2024-21626: a working directory, or a program, by a descriptor of the runtime's."""
    start(box)
    for number in range(40):
        for form in ("/proc/self/fd/{}", "/proc/self/fd/{}/../..", "/proc/thread-self/fd/{}", "/w{}"):
            path = form.format(number)
            (box.rootfs / f"w{number}").unlink(missing_ok=True)
            (box.rootfs / f"w{number}").symlink_to(f"/proc/self/fd/{number}")
            with pytest.raises(StepError):
                join(box, "cat", "/etc/passwd", cwd=path, user={"uid": user, "gid": user})
        with pytest.raises(StepError):
            join(box, f"/proc/self/fd/{number}", user={"uid": user, "gid": user})


def test_the_program_has_what_it_was_given_and_nothing_else(box: Box) -> None:
    start(box)
    opened = [os.open(box.place, os.O_RDONLY) for _ in range(30)]
    try:
        for fd in opened:
            os.set_inheritable(fd, True)  # noqa: FBT003 - the function's only form
        with open("/dev/null", "r+b") as null:
            number = null.fileno()
            made = box.runtime.get("box").exec(
                {"cwd": "/", "args": ["sleep", "1000"], "env": ["A=1"]},
                ExecOptions(stdio=(number, number, number)),
            )
        until(lambda: b"sleep" in Path(f"/proc/{made.pid}/cmdline").read_bytes(), "it never ran")
        assert set(fds_of(made.pid)) == {0, 1, 2}
        assert sorted(environment_of(made.pid)) == ["A=1", "HOME=/"]
        status = status_of(made.pid)
        assert [int(status[name], 16) for name in ("SigBlk", "SigIgn", "SigCgt")] == [0, 0, 0]
        assert [int(status[name], 16) for name in ("CapInh", "CapAmb", "CapEff", "CapBnd")] == [0] * 4
        first = box.runtime.get("box").pid
        assert namespaces_of(made.pid) == namespaces_of(first)
        made.kill("KILL")
        assert made.wait(PATIENCE) == 137
    finally:
        for fd in opened:
            os.close(fd)


WATCH = """
echo ready
while :; do
    for p in /proc/[0-9]*; do
        for name in exe root cwd; do
            to=$(/bin/busybox readlink $p/$name) || continue
            case $to in
                /|/bin/busybox|/proc) ;;
                *) echo "$p/$name -> $to" ;;
            esac
        done
        for fd in $p/fd/*; do
            to=$(/bin/busybox readlink $fd) || continue
            case $to in
                /dev/null|/output*|pipe:*|/proc/*|"$0"*) ;;
                *) echo "$fd -> $to" ;;
            esac
        done
        for name in maps environ mem; do
            /bin/busybox head -c 20 $p/$name >/dev/null &&
                echo "$name $(/bin/busybox readlink $p/exe)" >>/seen
        done
    done
done 2>/dev/null
"""


@pytest.mark.parametrize("where", ["host's users", "own users"])
def test_the_container_cannot_look_into_a_process_that_joins(box: Box, where: str) -> None:
    """CVE-2016-9962: neither what it runs from, nor where it is, nor what it holds."""
    (box.rootfs / "seen").touch()
    (box.rootfs / "seen").chmod(0o666)
    if where == "own users":
        for path in (box.rootfs, *box.rootfs.rglob("*")):
            os.lchown(path, 100_000, 100_000)
    caps = ["CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH", "CAP_SETUID", "CAP_KILL", "CAP_SYS_ADMIN"]
    sets = dict.fromkeys(("bounding", "effective", "permitted"), caps)
    over = IN_A_USER_NAMESPACE if where == "own users" else {}
    start(box, WATCH, process={"capabilities": sets}, **over)
    until(lambda: (box.rootfs / "seen").stat().st_size, "the watcher does not even see itself")
    for _ in range(40):
        assert join(box, "true").status == 0
    watched = [line for line in box.output().splitlines() if str(box.place) not in line]
    assert watched == ["ready"]
    # What could be read are processes that run a program of the container, or have just ended.
    seen = {line.partition(" ")[2] for line in (box.rootfs / "seen").read_text().splitlines()}
    assert seen <= {"/bin/busybox", ""}


def test_the_interpreter_is_not_the_hosts(box: Box) -> None:
    """CVE-2019-5736: the program is the runtime's own executable, which the container tries to overwrite."""
    host = Path(os.path.realpath(sys.executable))
    before = hashlib.sha256(host.read_bytes()).hexdigest()
    attack = (
        "for i in 1 2 3 4 5 6 7 8 9; do for p in /proc/[0-9]*; do"
        " case $(/bin/busybox readlink $p/exe) in *python*|*memfd*) echo x >>$p/exe && echo written;; esac;"
        " done; done 2>/dev/null; exec sleep 1000"
    )
    (box.rootfs / "bin/script").write_text("#!/proc/self/exe\n")
    (box.rootfs / "bin/script").chmod(0o755)
    start(box, attack)
    for name in ("/proc/self/exe", "/bin/script"):
        try:
            join(box, name, "-c", "print(1)")
        except StepError:
            continue  # the container has no such interpreter: good
    assert "written" not in box.output()
    assert hashlib.sha256(host.read_bytes()).hexdigest() == before


MOUNTER = ["CAP_SYS_ADMIN", "CAP_MKNOD", "CAP_CHOWN", "CAP_SYS_CHROOT", "CAP_DAC_OVERRIDE"]


def test_nothing_is_read_or_written_through_the_containers_procfs(box: Box) -> None:
    fake = (
        "mount -t tmpfs none /proc && mkdir -p /proc/self/attr/apparmor /proc/thread-self /proc/1 && "
        "echo 0 4294967295 1 >/proc/self/uid_map && echo 0 4294967295 1 >/proc/self/gid_map && "
        "touch /proc/self/oom_score_adj /proc/self/attr/exec && echo ready && exec sleep 1000"
    )
    script = fake.replace("mount ", "/bin/busybox mount ").replace("mkdir ", "/bin/busybox mkdir ")
    script = script.replace("touch ", "/bin/busybox touch ")
    sets = dict.fromkeys(("bounding", "effective", "permitted"), MOUNTER)
    start(box, script, process={"capabilities": sets}, linux={"seccomp": None})
    until(lambda: "ready" in box.output(), "the container could not cover /proc")
    with open("/dev/null", "r+b") as null:
        options = ExecOptions(stdio=(null.fileno(),) * 3)
        made = box.runtime.get("box").exec(
            {"cwd": "/", "args": ["sleep", "1000"], "env": ["PATH=/bin"], "oomScoreAdj": 321}, options
        )
    assert Path(f"/proc/{made.pid}/oom_score_adj").read_text() == "321\n"
    assert join(box, "cat", "/proc/self/oom_score_adj").output == ""
    made.kill("KILL")
    made.wait(PATIENCE)


def _as_fifo(place: Path) -> None:
    os.mkfifo(place / "ptmx")


def _as_file(place: Path) -> None:
    (place / "ptmx").write_text("no terminal\n")


def _as_link(place: Path) -> None:
    (place / "ptmx").symlink_to("/dev/ptmx")


@pytest.mark.parametrize("fake", [_as_fifo, _as_file, _as_link])
def test_a_terminal_is_made_by_devpts_or_not_at_all(box: Box, fake: Callable[[Path], None]) -> None:
    place = box.rootfs / "dev/pts"
    place.mkdir(parents=True)
    fake(place)
    made = box.create(box.config(mounts=[{"destination": "/proc", "type": "proc", "source": "proc"}]))
    made.start()
    place = box.place / "console.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(place))
        listener.listen()
        with pytest.raises(StepError):
            made.exec(
                {"cwd": "/", "args": ["true"], "env": ["PATH=/bin"], "terminal": True},
                ExecOptions(console_socket=str(place)),
            )
    assert len(made.processes()) == 1


def test_a_process_joins_a_user_namespace_as_one_of_its_users(box: Box) -> None:
    for path in (box.rootfs, *box.rootfs.rglob("*")):
        os.lchown(path, 100_000, 100_000)
    first = start(box, **IN_A_USER_NAMESPACE).pid
    with open("/dev/null", "r+b") as null:
        made = box.runtime.get("box").exec(
            {"cwd": "/", "args": ["sleep", "1000"], "env": ["PATH=/bin"], "user": {"uid": 7, "gid": 8}},
            ExecOptions(stdio=(null.fileno(),) * 3),
        )
    assert namespaces_of(made.pid) == namespaces_of(first)
    status = status_of(made.pid)
    assert (status["Uid"].split()[0], status["Gid"].split()[0]) == ("100007", "100008")
    assert Path(f"/proc/{made.pid}/cgroup").read_text() == Path(f"/proc/{first}/cgroup").read_text()
    made.kill("KILL")
    made.wait(PATIENCE)
    with pytest.raises(orlop.OrlopError, match="not mapped"):
        join(box, "true", user={"uid": 70_000, "gid": 0})


def test_a_filter_and_its_agent_are_for_joined_processes_as_well(box: Box) -> None:
    place = box.place / "agent.sock"
    filtered: dict[str, Any] = {
        "linux": {
            "seccomp": {
                "defaultAction": "SCMP_ACT_ALLOW",
                "listenerPath": str(place),
                "listenerMetadata": "told",
                "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_NOTIFY"}],
            }
        }
    }
    with Agent(place, lambda _: 1) as agent:
        start(box, **filtered)
        joined = join(box, "sh", "-c", "/bin/busybox mkdir /made; echo $?; cat /proc/self/status")
        until(lambda: len(agent.states) == 2, "the agent was told of one process only")
        state = agent.states[1]
    assert joined.status == 0
    assert joined.output.splitlines()[-1]
    assert "Operation not permitted" in joined.output
    assert not (box.rootfs / "made").exists()
    assert state["metadata"] == "told"
    assert state["state"]["id"] == "box"
    assert state["pid"] != state["state"]["pid"]
