"""The real command on the real kernel, beside runc where it is installed."""

from __future__ import annotations

import copy
import importlib.metadata
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import sysconfig
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs
import pytest

import orlop
import orlop_fake
import orlop_hookspecs
import orlop_linux
from orlop.cli.template import config

SCRIPT = Path(__file__).parents[3] / "scripts" / "orlop"
APPLETS = (
    "sh",
    "cat",
    "echo",
    "false",
    "id",
    "kill",
    "ls",
    "mkdir",
    "readlink",
    "sleep",
    "stty",
    "true",
    "tty",
    "wc",
)
# Much longer than anything takes, also on a machine with many times its load; only a hang gets that far.
DEADLINE = 120.0


@attrs.frozen
class Runtime:
    """A runtime's command with a state root of its own."""

    name: str
    command: tuple[str, ...]
    root: Path

    def arguments(self, *arguments: str) -> list[str]:
        """Return the whole command line."""
        return [*self.command, "--root", str(self.root), *arguments]

    def __call__(
        self, *arguments: str, output: Path | None = None, env: Mapping[str, str] | None = None, **popen: Any
    ) -> subprocess.CompletedProcess[str]:
        """Run a command line; a container that it starts writes to *output* instead of what is captured."""
        if self.name == "orlop" or "stdin" in popen:
            popen.setdefault("stdin", subprocess.DEVNULL)
        else:
            popen["input"] = ""  # a pipe: other runtimes give /dev/null itself to the container's user
        if output is None:
            popen.update(stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            return subprocess.run(
                self.arguments(*arguments), env=env or {}, text=True, check=False, timeout=DEADLINE, **popen
            )
        with output.open("w+") as file:
            done = subprocess.run(
                self.arguments(*arguments),
                env=env or {},
                stdout=file,
                stderr=file,
                text=True,
                check=False,
                timeout=DEADLINE,
                **popen,
            )
            done.stdout = output.read_text()
        return done

    def onto_a_full_disk(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command line whose standard output takes nothing (full(4))."""
        with open("/dev/full", "wb") as full:
            return subprocess.run(
                self.arguments(*arguments),
                env={},
                stdin=subprocess.DEVNULL,
                stdout=full,
                stderr=subprocess.PIPE,
                text=True,
                check=False,
                timeout=DEADLINE,
            )

    def state(self, name: str) -> dict[str, Any]:
        """Return the state of a container."""
        done = self("state", name)
        assert (done.returncode, done.stderr) == (0, "")
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    def names(self) -> list[str]:
        """Return the containers that there are."""
        return self("list", "-q").stdout.split() if self.root.exists() else []

    def end(self, name: str) -> None:
        """Kill a container and wait for its end."""
        pid = self.state(name)["pid"]
        if pid:
            process = os.pidfd_open(pid)
            self("kill", name, "KILL")
            await_end(process)

    def clean(self) -> None:
        """Delete every container."""
        for name in self.names():
            self("delete", "--force", name)


def await_end(process: int) -> None:
    """Wait until the process behind a pidfd has ended, and close it."""
    try:
        assert select.select([process], [], [], DEADLINE)[0], "the process has not ended"
    finally:
        os.close(process)


@attrs.frozen
class Bundle:
    """A bundle with a busybox root file system."""

    path: Path

    def __str__(self) -> str:
        """Return its path, as command lines have it."""
        return str(self.path)

    def configure(self, change: Mapping[str, Any] | None = None, **process: Any) -> dict[str, Any]:
        """Write and return the config: a sleep without a terminal, with changes."""
        made = copy.deepcopy(config())
        made["ociVersion"] = "1.0.2"
        made["process"].update({"terminal": False, "args": ["/bin/sleep", "1000"]}, **process)
        made.update(change or {})
        self.write(json.dumps(made))
        return made

    def write(self, text: str) -> None:
        """Write the config, whatever it is."""
        (self.path / "config.json").write_text(text)


@pytest.fixture(scope="session")
def _prefix(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an editable installation of the launcher for this very interpreter and its packages."""
    prefix = tmp_path_factory.mktemp("prefix")
    python = f"python{sys.version_info.major}.{sys.version_info.minor}"
    site = prefix / "lib" / python / "site-packages"
    site.mkdir(parents=True)
    (prefix / "bin").mkdir()
    shutil.copy(SCRIPT, prefix / "bin" / "orlop")
    os.symlink(os.path.realpath(sys.executable), prefix / "bin" / python)
    packages = (orlop, orlop_hookspecs, orlop_linux, orlop_fake)
    places = [os.path.dirname(package.__path__[0]) for package in packages]
    (site / "_orlop.pth").write_text("\n".join([*places, sysconfig.get_path("purelib")]))
    information = site / "orlop-0.1.0.dist-info"
    information.mkdir()
    entry_points = importlib.metadata.distribution("orlop").read_text("entry_points.txt")
    (information / "entry_points.txt").write_text(entry_points or "")
    return prefix


@pytest.fixture
def run(_prefix: Path, tmp_path: Path) -> Iterator[Runtime]:
    """Return the command under test; its containers are deleted at the end."""
    made = Runtime("orlop", (str(_prefix / "bin" / "orlop"),), tmp_path / "state")
    yield made
    made.clean()
    assert made.names() == []


@pytest.fixture
def runc(tmp_path: Path) -> Iterator[Runtime]:
    """Return runc, for comparison."""
    path = shutil.which("runc")
    if path is None:
        pytest.skip("runc is not installed")
    made = Runtime("runc", (path,), tmp_path / "runc-state")
    made.root.mkdir()
    yield made
    made.clean()


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    """Return a bundle."""
    busybox = shutil.which("busybox")
    if busybox is None:
        pytest.skip("busybox is not installed")
    made = Bundle(tmp_path / "bundle")
    binaries = made.path / "rootfs" / "bin"
    binaries.mkdir(parents=True)
    shutil.copy(busybox, binaries / "busybox")
    for name in APPLETS:
        (binaries / name).symlink_to("busybox")
    made.configure()
    return made


@pytest.fixture(autouse=True)
def _usual_signals() -> Iterator[None]:
    """Let no test inherit or leave a changed disposition."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    assert signal.getsignal(signal.SIGTERM) == before
