"""buildah on orlop: builds of several steps, and single commands."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.engines import image
from tests.engines.conftest import orlop_command
from tests.engines.daemon import PATIENCE, Left, hierarchies, members, nothing_left, require
from tests.engines.terminal import Session
from tests.leftovers import remove_cgroup

CONTAINERFILE = f"""\
FROM {image.NAME} AS first
ARG WORD=none
ENV GREETING=hello
RUN echo "$WORD $GREETING" >/made && id -u >/who \\
    && grep -E '^(Seccomp|NoNewPrivs):' /proc/self/status >/confinement
RUN --mount=type=tmpfs,target=/t --mount=type=bind,source=.,target=/src \\
    grep ' /t tmpfs ' /proc/mounts && cat /src/data >/copied
USER plain
WORKDIR /home/plain
RUN id -u >uid && pwd >place && if touch /forbidden; then exit 9; fi
FROM {image.NAME}
COPY --from=first /made /who /copied /confinement /out/
COPY --from=first /home/plain /out
RUN cd /out && for file in *; do echo "$file: $(cat $file)"; done
"""


class Buildah:
    """buildah with a store of its own and one working container."""

    def __init__(self, scratch: Path) -> None:
        """Load the image."""
        self.scratch = scratch
        self.state = scratch / "state"
        self.call("pull", f"docker-archive:{image.write(scratch / 'image.tar')}:{image.NAME}")
        self.call("from", "--pull-never", "--name=box", image.NAME)

    def client(self, *args: str) -> list[str]:
        """Return the command line of one command; its mounts are nobody else's, and end with it."""
        return [
            *("unshare", "--mount", "--propagation=private", "buildah", f"--root={self.scratch}/root"),
            *(f"--runroot={self.scratch}/run", "--storage-driver=vfs", *args),
        ]

    def buildah(self, *args: str) -> subprocess.CompletedProcess[str]:
        """Run one command."""
        return subprocess.run(
            self.client(*args),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
            cwd=self.scratch,
        )

    def call(self, *args: str) -> str:
        """Run a command that must succeed, and return its output."""
        done = self.buildah(*args)
        assert done.returncode == 0, done
        return done.stdout

    def options(self) -> tuple[str, ...]:
        """Return the options that choose the runtime, and what it needs where nothing may be raised."""
        return (
            *("--isolation=oci", f"--runtime={orlop_command()}", f"--runtime-flag=root={self.state}"),
            "--network=none",
        )

    def build(self, directory: Path, *args: str) -> subprocess.CompletedProcess[str]:
        """Build what the Containerfile of a directory says."""
        limits = ("--ulimit=nofile=1024:1024", "--ulimit=nproc=1000:1000")
        return self.buildah(
            "bud", *self.options(), *limits, "--pull-never", "--no-cache", *args, str(directory)
        )

    def command(self, *args: str, options: tuple[str, ...] = (), container: str = "box") -> list[str]:
        """Return the arguments of ``buildah run``."""
        return ["run", *self.options(), *options, container, "--", *args]

    def run(
        self, *args: str, options: tuple[str, ...] = (), container: str = "box"
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in a working container."""
        return self.buildah(*self.command(*args, options=options, container=container))

    def left(self) -> Left:
        """Return all that a container could leave behind."""
        groups = {
            str(group)
            for root in hierarchies()
            for group in (root / "orlop").glob("buildah-*")
            if group.is_dir()
        }
        return {
            "cgroups": groups,
            "processes": {str(pid) for group in groups for pid in members(Path(group))},
            "state": set(os.listdir(self.state)) if self.state.is_dir() else set(),
            "mounts": {
                line.split()[4]
                for line in Path("/proc/self/mountinfo").read_text().splitlines()
                if str(self.scratch) in line
            },
        }


@pytest.fixture(scope="module")
def store() -> Iterator[Buildah]:
    require("buildah", "unshare", "/bin/busybox", packages="buildah, busybox-static")
    with tempfile.TemporaryDirectory(prefix="oe-b-") as directory:
        yield Buildah(Path(directory))


@pytest.fixture
def buildah(store: Buildah) -> Iterator[Buildah]:
    """Provide buildah; whatever a test has done, nothing of it is left."""
    before = store.left()
    yield store
    try:
        nothing_left(before, store.left)
    finally:
        for group in store.left()["cgroups"] - before["cgroups"]:
            remove_cgroup(Path(group))
        shutil.rmtree(store.state, ignore_errors=True)


@pytest.mark.every_lane
def test_a_build_of_several_steps(buildah: Buildah, tmp_path: Path) -> None:
    (tmp_path / "Containerfile").write_text(CONTAINERFILE)
    (tmp_path / "data").write_text("from the context\n")
    done = buildah.build(tmp_path, "--build-arg=WORD=oh", "--tag=made")
    assert done.returncode == 0, done
    lines = {
        *("confinement: NoNewPrivs:\t0", "copied: from the context", "made: oh hello", "place: /home/plain"),
        *(f"uid: {image.PLAIN}", "who: 0"),
    }
    assert lines <= set(done.stdout.splitlines())
    assert "Seccomp:\t2" in done.stdout
    assert "touch: /forbidden: Permission denied" in done.stderr
    assert "localhost/made:latest" in buildah.call("images", "--format={{.Name}}:{{.Tag}}")


def test_a_step_that_fails_ends_the_build(buildah: Buildah, tmp_path: Path) -> None:
    (tmp_path / "Containerfile").write_text(f"FROM {image.NAME}\nRUN echo before; exit 7\nRUN echo after\n")
    done = buildah.build(tmp_path)
    assert done.returncode != 0
    assert "before" in done.stdout
    assert "after" not in done.stdout.splitlines()
    assert "exit status 7" in done.stderr


def test_the_exit_status_is_the_programs(buildah: Buildah) -> None:
    done = buildah.run("sh", "-c", "echo out; echo err >&2; exit 7")
    assert (done.returncode, done.stdout) == (7, "out\n")
    assert "err" in done.stderr.splitlines()


@pytest.mark.parametrize(
    ("program", "words"),
    [("no-such-program", "executable file not found in $PATH"), ("/etc/plain", "permission denied")],
)
def test_a_program_that_cannot_run(buildah: Buildah, program: str, words: str) -> None:
    done = buildah.run(program)
    assert done.returncode == 1
    assert words in done.stderr


def test_a_terminal_reaches_the_container(buildah: Buildah) -> None:
    command = buildah.command("sh", "-c", "tty; read word; echo got $word; exit 5", options=("--terminal",))
    with Session(buildah.client(*command)) as session:
        session.until(b"/dev/pts/0")
        session.type(b"hello\r")
        session.until(b"got hello")
        assert session.end() == 5


def test_a_volume_and_another_user(buildah: Buildah, tmp_path: Path) -> None:
    options = (f"--volume={tmp_path}:/v", "--user=plain", "--hostname=box", "--env=WORD=value")
    tmp_path.chmod(0o777)
    done = buildah.run("sh", "-c", "id -u; hostname; echo $WORD >/v/file", options=options)
    assert (done.returncode, done.stdout.split()) == (0, [str(image.PLAIN), "box"]), done
    assert (tmp_path / "file").read_text() == "value\n"


def test_fifty_in_a_row_and_twenty_at_once_leave_nothing(buildah: Buildah) -> None:
    """The fixture looks for what is left."""

    def one(number: int, container: str = "box") -> tuple[int, str]:
        done = buildah.run("sh", "-c", f"echo {number}; exit 3", container=container)
        return done.returncode, done.stdout

    for number in range(50):
        assert one(number) == (3, f"{number}\n")
    # Two commands in one working container would tread on each other, whatever the runtime.
    names = [f"box{number}" for number in range(20)]
    for name in names:
        buildah.call("from", "--pull-never", f"--name={name}", image.NAME)
    with ThreadPoolExecutor(20) as pool:
        assert list(pool.map(one, range(20), names)) == [(3, f"{number}\n") for number in range(20)]
    buildah.call("rm", *names)
