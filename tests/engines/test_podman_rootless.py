"""podman on orlop for a user of the host who is nobody special."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.engines.conftest import await_helpers, orlop_command
from tests.engines.daemon import PATIENCE
from tests.linux.rootless.plain import GID, NAMES, SUB, UID, write_names

from orlop_linux.live.process import open_pid


class Rootless:
    """podman of such a user, who may map a range of ids by files that only podman sees."""

    def __init__(self, scratch: Path) -> None:
        self.scratch = scratch
        etc = scratch / "etc"
        for name in ("etc", "home", "run", "work"):
            (scratch / name).mkdir()
        binds = write_names(etc, f"{scratch}/home")
        (scratch / "run").chmod(0o700)
        scratch.chmod(0o755)
        for base, directories, files in os.walk(scratch):
            for name in (*directories, *files):
                os.chown(os.path.join(base, name), UID, GID, follow_symlinks=False)
        self.base = [
            *("unshare", "--mount", "sh", "-c", f'mount --make-rprivate / && {binds} && exec "$@"', "sh"),
            *("setpriv", f"--reuid={UID}", f"--regid={GID}", "--clear-groups", "env", "-i"),
            *("PATH=/usr/sbin:/usr/bin:/sbin:/bin", f"HOME={scratch}/home", "USER=orlop-plain"),
            f"XDG_RUNTIME_DIR={scratch}/run",
            *("podman", "--log-level=error", "--storage-driver=vfs", "--cgroup-manager=cgroupfs"),
            f"--runtime={orlop_command()}",
        ]

    def call(self, *args: str) -> subprocess.CompletedProcess[str]:
        """Run one podman command."""
        return subprocess.run(
            [*self.base, *args],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
            cwd=self.scratch / "work",
        )

    def run(self, script: str, *options: str) -> list[list[str]]:
        """Run a shell script in a container and return the words of its lines."""
        root = str(self.scratch / "rootfs")
        done = self.call("run", "--rm", "--network=none", *options, "--rootfs", root, "sh", "-c", script)
        assert (done.returncode, done.stderr) == (0, ""), done
        return [line.split() for line in done.stdout.splitlines()]

    def close(self) -> None:
        """Remove all containers, and end the process that keeps podman's namespaces."""
        self.call("rm", "--all", "--force", "--time=0")
        await_helpers(self.scratch / "home")
        for file in self.scratch.glob("run/**/pause.pid"):
            fd = open_pid(int(file.read_text()))
            if fd is None:
                continue
            signal.pidfd_send_signal(fd, signal.SIGKILL)
            os.close(fd)


@pytest.fixture
def rootless(scratch: Path) -> Iterator[Rootless]:
    if os.geteuid() != 0:
        pytest.skip("needs root, to become somebody else")
    for tool in ("podman", "newuidmap", "/bin/busybox"):
        if shutil.which(tool) is None:
            pytest.skip(f"needs {tool} (Debian packages podman, uidmap and busybox-static)")
    if not all(Path(f"/etc/{name}").exists() for name in NAMES):
        pytest.skip("needs /etc/subuid and /etc/subgid as places for files of the test")
    if subprocess.run(
        [orlop_command(), "--version"], capture_output=True, check=False, user=UID, group=GID, extra_groups=()
    ).returncode:
        pytest.skip("needs a checkout and an environment that every user can read")
    bindir = scratch / "rootfs/bin"
    bindir.mkdir(parents=True)
    shutil.copy2("/bin/busybox", bindir / "busybox")
    for applet in ("sh", "cat", "id", "sleep", "ls", "touch", "stat"):
        (bindir / applet).symlink_to("busybox")
    made = Rootless(scratch)
    yield made
    made.close()


def test_the_containers_root_is_the_user(rootless: Rootless) -> None:
    first, *maps = rootless.run("id -u; cat /proc/self/uid_map")
    assert first == ["0"]
    assert maps == [["0", str(UID), "1"], ["1", str(SUB), "1000"]]


def test_another_user_inside_has_groups(rootless: Rootless) -> None:
    shown = rootless.run("id -u; id -g; id -G", "--user=500:600", "--group-add=700")
    assert shown == [["500"], ["600"], ["600", "700"]]


def test_the_user_can_stay_who_it_is(rootless: Rootless) -> None:
    """Podman maps the ids in a user namespace below its own then."""
    assert rootless.run("id -u; id -g", "--userns=keep-id") == [[str(UID)], [str(GID)]]


NAMESPACES = {
    # The rows of uid_map, as the user's own namespace has the ids: 0 is the user, then comes the range.
    "nomap": (("--userns=nomap",), [["0", "1", "1000"]], "0:0"),
    "auto": (("--userns=auto:size=300",), [["0", "1", "300"]], "0:0"),
    "a map": (
        ("--uidmap=0:1:500", "--uidmap=500:600:5", "--gidmap=0:1:400", "--user=5:6"),
        [["0", "1", "500"], ["500", "600", "5"]],
        "5:6",
    ),
    "keep-id": (
        ("--userns=keep-id:uid=200,gid=210",),
        [["0", "1", "200"], ["200", "0", "1"], ["201", "201", "800"]],
        "200:210",
    ),
}


@pytest.mark.parametrize("kind", NAMESPACES)
def test_a_namespace_below_the_users_own(rootless: Rootless, kind: str) -> None:
    """Its ids are those of the namespace in which podman runs, and so is what it makes."""
    options, rows, user = NAMESPACES[kind]
    archive = rootless.scratch / "work/image.tar"
    tar = ["tar", "--owner=0", "--group=0", "-C", str(rootless.scratch / "rootfs"), "-cf", str(archive), "."]
    subprocess.run(tar, check=True)
    assert rootless.call("import", "--quiet", str(archive), "box:1").returncode == 0
    script = (
        "cat /proc/self/uid_map; id -u; id -g; cd /dev/shm; touch made; stat -c %u:%g made; cat /etc/hostname"
    )
    done = rootless.call(
        *("run", "--rm", "--network=none", "--hostname=inside", *options, "box:1", "sh", "-c", script)
    )
    assert (done.returncode, done.stderr) == (0, ""), done
    *found, uid, gid, made, name = done.stdout.splitlines()
    # To who is inside, the file shows ids of the namespace above (user_namespaces(7)).
    assert [line.split() for line in found] == rows
    assert (f"{uid}:{gid}", made, name) == (user, user, "inside")


def test_a_volume_is_the_users(rootless: Rootless) -> None:
    volume = rootless.scratch / "work"
    rootless.run("touch /v/made", f"--volume={volume}:/v")
    assert (volume / "made").stat().st_uid == UID
    rootless.run("touch /v/other", f"--volume={volume}:/v:rw,U", "--user=5")
    assert (volume / "other").stat().st_uid == SUB + 4


def test_a_detached_container_is_stopped_and_removed(rootless: Rootless) -> None:
    root = str(rootless.scratch / "rootfs")
    options = ("--detach", "--name=one", "--network=none")
    done = rootless.call("run", *options, "--rootfs", root, "sleep", "1000")
    assert done.returncode == 0, done.stderr
    assert rootless.call("kill", "--signal=KILL", "one").returncode == 0
    assert rootless.call("wait", "one").stdout.strip() == "137"
    assert rootless.call("rm", "one").returncode == 0
    assert rootless.call("ps", "--all", "--quiet").stdout == ""
