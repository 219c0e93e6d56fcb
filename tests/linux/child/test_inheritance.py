"""What the program inherits from the runtime and its caller: three descriptors, the umask, nothing else."""

from __future__ import annotations

import os
import signal
import stat
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.linux.child.support import Box, command_line, environment_of, fds_of, status_of, until

import orlop

HOLD_DIRECTORIES = """
for number in range(3, 61):
    fd = os.open("/etc", os.O_RDONLY | os.O_DIRECTORY)
    if fd != number:
        os.dup2(fd, number)
        os.close(fd)
    os.set_inheritable(number, True)
"""


def pid_of(box: Box, name: str = "box") -> int:
    return box.runtime.get(name).pid


def started(
    box: Box, *flags: str, before: str = "", config: dict[str, Any] | None = None, **options: Any
) -> int:
    """Create and start a container by the command line, and return its process."""
    done = command_line(box, "create", *flags, "box", before=before, config=config or box.config(), **options)
    assert done.returncode == 0, (box.place / "command-output").read_text()
    assert command_line(box, "start", "box").returncode == 0
    return pid_of(box)


def test_descriptors_of_the_caller_stay_with_it(box: Box) -> None:
    pid = started(box, before=HOLD_DIRECTORIES)
    assert sorted(fds_of(pid)) == [0, 1, 2]


def test_waiting_child_holds_nothing_of_the_host(box: Box) -> None:
    command_line(box, "create", "box", before=HOLD_DIRECTORIES, config=box.config())
    # It closes the engine's channel last, when the engine may be gone already.
    until(lambda: len(fds_of(pid_of(box))) == 4, "more than the standard streams and the listener")
    held = fds_of(pid_of(box))
    assert [what for number, what in held.items() if number > 2 and not what.startswith("socket:")] == []
    assert Path(f"/proc/{pid_of(box)}/cwd").readlink() == Path("/")
    assert held[0] == "/dev/null"


def test_preserved_descriptors(box: Box) -> None:
    pid = started(box, "--preserve-fds", "2", before=HOLD_DIRECTORIES)
    held = fds_of(pid)
    assert sorted(held) == [0, 1, 2, 3, 4]
    assert held[3] == held[4] == "/etc"


def test_preserved_descriptors_that_are_not_open(box: Box) -> None:
    with pytest.raises(orlop.OrlopError, match="cannot be preserved"):
        box.create(preserve_fds=100_000)
    done = command_line(box, "create", "--preserve-fds", "150", "box", config=box.config())
    assert done.returncode != 0
    assert "not open" in (box.place / "command-output").read_text()
    assert box.left() == []


def test_many_preserved_descriptors(box: Box) -> None:
    before = """
for number in range(3, 153):
    os.dup2(0, number)
"""
    pid = started(box, "--preserve-fds", "150", before=before)
    assert sorted(fds_of(pid)) == list(range(153))


def test_failing_start_with_preserved_descriptors_still_says_why(box: Box) -> None:
    (box.rootfs / "bin/broken").write_bytes(b"\x7fELF broken")
    (box.rootfs / "bin/broken").chmod(0o755)
    command_line(
        box, "create", "--preserve-fds", "20", "box", before=HOLD_DIRECTORIES, config=box.config("broken")
    )
    done = command_line(box, "start", "box")
    assert done.returncode != 0
    assert "exec format error" in (box.place / "command-output").read_text().lower()


def test_closed_standard_streams_do_not_become_files_of_the_runtime(box: Box) -> None:
    command_line(box, "create", "box", before="for fd in 0, 1, 2: os.close(fd)", config=box.config())
    assert command_line(box, "start", "box").returncode == 0
    held = fds_of(pid_of(box))
    assert set(held) <= {0, 1, 2}
    assert set(held.values()) <= {"/dev/null"}


def test_signals_are_at_their_defaults(box: Box) -> None:
    before = """
for number in range(1, 65):
    if number not in (9, 19, 32, 33):
        signal.signal(number, signal.SIG_IGN)
signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))
"""
    found = status_of(started(box, before=before))
    for name in ("SigIgn", "SigBlk", "SigCgt", "SigPnd", "ShdPnd"):
        assert int(found[name], 16) == 0, name


def test_umask_is_the_callers(box: Box) -> None:
    assert status_of(started(box, before="os.umask(0o027)"))["Umask"] == "0027"


def test_umask_of_the_config(box: Box) -> None:
    config = box.config(process={"user": {"umask": 0o077}})
    assert status_of(started(box, before="os.umask(0o027)", config=config))["Umask"] == "0077"


def test_session_without_a_terminal(box: Box) -> None:
    pid = box.start().pid
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    group, session, terminal = fields[2:5]
    assert (group, session, terminal) == (str(pid), str(pid), "0")


def test_session_keyring_is_new(box: Box) -> None:
    name = f"keys-{os.getpid()}-new"
    assert f"_ses.{name}:" in box.run(box.script("cat /proc/keys"), name).output


def test_no_new_keyring(box: Box) -> None:
    name = f"keys-{os.getpid()}-old"
    assert f"_ses.{name}:" not in box.run(box.script("cat /proc/keys"), name, no_new_keyring=True).output


def test_environment_is_exactly_the_configs(box: Box) -> None:
    env = ["PATH=/bin", "A=1", "EMPTY=", "HOME=/x", "ü=ä", "B=1=2"]
    config = box.config(process={"env": env})
    environment = os.environ | {"ORLOP_CANARY": "runtime", "LD_PRELOAD": ""}
    assert environment_of(started(box, config=config, env=environment)) == env


@pytest.mark.parametrize("moment", ["create", "hook"])
def test_environment_of_the_runtime_is_not_in_the_waiting_child(box: Box, moment: str) -> None:
    environment = os.environ | {"ORLOP_CANARY": "runtime"}
    command_line(box, "create", "box", config=box.config(), env=environment)
    assert not [entry for entry in environment_of(pid_of(box)) if "CANARY" in entry]


PASSWD = b"""root:x:0:0:r:/root:/bin/sh
web:x:7:7::/srv/web:/bin/sh
bad:x:8:8::relative:/x
short:x:9
\xff:x:10::::
"""


@pytest.mark.parametrize(
    ("uid", "home"), [(0, "/root"), (7, "/srv/web"), (8, "/"), (9, "/"), (10, "/"), (99, "/")]
)
def test_home_comes_from_the_containers_passwd(box: Box, uid: int, home: str) -> None:
    (box.rootfs / "etc/passwd").write_bytes(PASSWD)
    config = box.config(process={"user": {"uid": uid, "gid": 0}})
    assert environment_of(box.start(config).pid) == ["PATH=/bin", f"HOME={home}"]


@pytest.mark.parametrize("kind", ["missing", "fifo", "directory", "device", "escaping link", "huge"])
def test_home_with_a_hostile_passwd(box: Box, kind: str) -> None:
    passwd = box.rootfs / "etc/passwd"
    if kind == "fifo":
        os.mkfifo(passwd)
    elif kind == "directory":
        passwd.mkdir()
    elif kind == "device":
        os.mknod(passwd, stat.S_IFCHR | 0o666, os.makedev(1, 5))
    elif kind == "escaping link":
        (box.place / "passwd").write_text("root:x:0:0::/outside:/bin/sh\n")
        passwd.symlink_to("../" * 20 + str(box.place / "passwd"))
    elif kind == "huge":
        with open(passwd, "wb") as file:
            file.truncate(1 << 40)
    assert environment_of(box.start().pid) == ["PATH=/bin", "HOME=/"]


@pytest.mark.parametrize("link", [False, True])
def test_working_directory_is_no_descriptor_of_ours(box: Box, link: bool) -> None:
    """CVE-2024-21626: a working directory that leads to the host through a descriptor that was left open."""
    for number in range(41):
        target = f"/proc/self/fd/{number}"
        if link:
            place = box.rootfs / f"link-{number}"
            place.symlink_to(target)
            target = f"/link-{number}"
        with pytest.raises(orlop.OrlopError):
            box.start(box.config(process={"cwd": target}), f"box-{number}")
        for left in box.runtime.list():
            left.delete(force=True)
    assert box.left() == []


def test_working_directory_is_no_preserved_directory_of_the_host(box: Box) -> None:
    config = box.config(process={"cwd": "/proc/self/fd/3"})
    command_line(box, "create", "--preserve-fds", "2", "box", before=HOLD_DIRECTORIES, config=config)
    assert command_line(box, "start", "box").returncode != 0
    assert "working directory" in (box.place / "command-output").read_text()


def test_working_directory_is_made(box: Box) -> None:
    pid = box.start(box.config(process={"cwd": "/a/b/c"})).pid
    assert Path(f"/proc/{pid}/cwd").readlink() == Path("/a/b/c")
    for made in ("a", "a/b", "a/b/c"):
        assert stat.S_IMODE((box.rootfs / made).stat().st_mode) == 0o755, made


def test_a_working_directory_behind_very_many_links_is_refused(box: Box) -> None:
    for number in range(sys.getrecursionlimit() + 100):  # more than Python itself could follow
        (box.rootfs / f"link{number}").symlink_to(f"/link{number + 1}")
    with pytest.raises(orlop.StepError, match="working directory: too many levels of symbolic links"):
        box.create(box.config(process={"cwd": "/link0"}))
    assert box.left() == []


def test_working_directory_through_links_of_the_image_stays_inside(box: Box) -> None:
    (box.rootfs / "escape").symlink_to("../" * 20 + str(box.place))
    pid = box.start(box.config(process={"cwd": "/escape/made"})).pid
    assert not (box.place / "made").exists()
    assert Path(f"/proc/{pid}/cwd").readlink() == Path(f"{box.place}/made")
    assert (Path(f"{box.rootfs}{box.place}") / "made").is_dir()


@pytest.mark.parametrize("cwd", ["/bin/busybox", "/etc/file/below"])
def test_working_directory_that_is_a_file(box: Box, cwd: str) -> None:
    (box.rootfs / "etc/file").touch()
    with pytest.raises(orlop.StepError) as caught:
        box.create(box.config(process={"cwd": cwd}))
    assert "directory" in str(caught.value)
    assert box.left() == []


def in_user_namespace(box: Box, cwd: str) -> dict[str, Any]:
    """Return the config of a user whose root has no rights in what belongs to others on the host."""
    maps = [{"containerID": 0, "hostID": 100_000, "size": 10}]
    linux = {
        "namespaces": [{"type": kind} for kind in ("pid", "mount", "user")],
        "uidMappings": maps,
        "gidMappings": maps,
    }
    return box.config(process={"cwd": cwd, "user": {"uid": 5, "gid": 7}}, linux=linux)


def test_working_directory_that_only_the_user_may_enter(box: Box) -> None:
    closed = box.rootfs / "closed"
    closed.mkdir(mode=0o550)
    os.chown(closed, 99, 100_007)
    made = box.start(in_user_namespace(box, "/closed"))
    assert Path(f"/proc/{made.pid}/cwd").readlink() == Path("/closed")


def test_working_directory_that_neither_root_nor_the_user_may_enter(box: Box) -> None:
    (box.rootfs / "closed").mkdir(mode=0o700)
    os.chown(box.rootfs / "closed", 99, 99)
    made = box.create(in_user_namespace(box, "/closed"))
    with pytest.raises(orlop.StepError, match="working directory: permission denied"):
        made.start()


def test_stopped_signal_dispositions_do_not_reach_a_shell(box: Box) -> None:
    """SIGPIPE above all: the interpreter ignores it, and a program that inherits that never ends."""
    ended = box.run(box.script("busybox yes | busybox head -n 1; sh -c 'kill -PIPE $$'; exit $?"))
    assert ended == (128 + signal.SIGPIPE, "y\n")


def test_files_of_the_program_have_the_umask(box: Box) -> None:
    box.run(box.script("touch() { : >$1; }; touch /tmp/made", process={"user": {"umask": 0o037}}))
    assert stat.S_IMODE((box.rootfs / "tmp/made").stat().st_mode) == 0o640
