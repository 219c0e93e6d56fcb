"""The helper runs from a copy of the interpreter that no container can change, and starts from nothing."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from tests.linux.faults.rig import mounts
from tests.linux.init.launching import (
    CONTRACT,
    DEADLINE,
    PLATFORM,
    open_for_writing,
    refusal,
)

from orlop_linux.init import syscalls
from orlop_linux.live import prewarm

# What a helper does here instead of being the zygote: answer what it sees, then wait until it is told to end.
REPORT = f"""
import sys
before = sorted(sys.modules)
sys.path.append({str(PLATFORM)!r})
import json, os, signal, socket
from orlop_linux.init.selfcheck import verify_self
link = os.readlink("/proc/self/exe")
control = socket.socket(fileno=3)
control.send(json.dumps({{
    "verified": verify_self(),
    "exe": link,
    "path": sys.path,
    "flags": [sys.flags.isolated, sys.flags.no_site, sys.flags.dont_write_bytecode, sys.flags.utf8_mode],
    "files": sorted({{str(getattr(m, "__file__", None) or "") for m in list(sys.modules.values())}}),
    "before": before,
    "environment": dict(os.environ),
    "fds": {{fd: os.readlink("/proc/self/fd/" + fd) for fd in "0 1 2".split()}},
    "group": os.getpgid(0),
    "status": [line for line in open("/proc/self/status").read().splitlines() if line.startswith("Sig")],
    "prefix": sys.prefix,
    "version": sys.version,
}}).encode())
control.recv(1)
"""


class Helper:
    """A running helper with REPORT as its program."""

    def __init__(self, program: str = REPORT) -> None:
        self.channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.channel.settimeout(DEADLINE)
        try:
            with theirs:
                self.pid = prewarm.launch(theirs.fileno(), program)
        except BaseException:
            self.channel.close()
            raise
        self.alive = True
        answer = self.channel.recv(1 << 20)
        self.report = json.loads(answer) if answer else {}

    def end(self) -> None:
        if self.alive:
            self.alive = False
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        self.channel.close()


@pytest.fixture(autouse=True)
def _no_copy_is_left() -> Iterator[None]:
    def forget() -> None:
        for copy in prewarm._copies.values():
            os.close(copy.fd)
        prewarm._copies.clear()

    forget()
    yield
    forget()


@pytest.fixture
def helpers() -> Iterator[Callable[..., Helper]]:
    made: list[Helper] = []

    def make(program: str = REPORT) -> Helper:
        made.append(Helper(program))
        return made[-1]

    yield make
    for helper in made:
        helper.end()


@pytest.fixture(params=["overlay", "sealed copy"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Force one of the two ways to protect the interpreter."""

    def refuse(path: str) -> int:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM), path)

    monkeypatch.setattr(prewarm, "sealed_copy" if request.param == "overlay" else "overlay", refuse)
    return str(request.param)


def digest() -> str:
    return hashlib.sha256(Path(prewarm.base_interpreter()).read_bytes()).hexdigest()


def overwrite(path: str) -> None:
    """Write to the file *path*; fails with the errno of its opening or of the write."""
    fd = open_for_writing(path)
    try:
        os.pwrite(fd, b"#!/owned\n", 0)
    finally:
        os.close(fd)


def test_a_running_helper_cannot_be_written_to(way: str, helpers: Callable[..., Helper]) -> None:
    before = digest()
    helper = helpers()
    assert helper.report["verified"] is True
    exe = f"/proc/{helper.pid}/exe"
    assert refusal(open_for_writing, exe) == (errno.EROFS if way == "overlay" else errno.ETXTBSY)
    assert refusal(os.truncate, exe, 0) != 0
    assert digest() == before


def test_nor_can_it_after_its_death_through_a_kept_descriptor(
    way: str, helpers: Callable[..., Helper]
) -> None:
    before = digest()
    helper = helpers()
    kept = os.open(f"/proc/{helper.pid}/exe", os.O_PATH | os.O_CLOEXEC)
    try:
        helper.end()
        path = f"/proc/self/fd/{kept}"
        expected = errno.EROFS if way == "overlay" else errno.EPERM
        assert refusal(overwrite, path) == expected
        assert refusal(os.truncate, path, 0) == expected
        if way == "overlay":
            assert refusal(os.chmod, path, 0o777) == errno.EROFS
        else:
            fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
            assert refusal(fcntl.fcntl, fd, fcntl.F_ADD_SEALS, 0) == errno.EPERM
            os.close(fd)
    finally:
        os.close(kept)
    assert digest() == before


def test_clearing_read_only_is_refused_to_root_itself() -> None:
    fd = prewarm.overlay(prewarm.base_interpreter())
    try:
        clear = partial(syscalls.mount_setattr, fd, clear=syscalls.MOUNT_ATTR_RDONLY)
        assert refusal(clear) == errno.EINVAL
        clone = syscalls.OPEN_TREE_CLONE | syscalls.AT_EMPTY_PATH
        assert refusal(syscalls.open_tree, fd, b"", clone) == errno.EINVAL
        assert refusal(open_for_writing, f"/proc/self/fd/{fd}") == errno.EROFS
    finally:
        os.close(fd)


def test_the_mount_itself_made_writable_still_refuses() -> None:
    path = prewarm.base_interpreter()
    flags = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
    layer, other = os.open(os.path.dirname(path), flags), os.open("/etc", flags)
    mount = -1
    try:
        mount = prewarm._mount_overlay(prewarm._kernel(), layer, other)
        syscalls.mount_setattr(mount, clear=syscalls.MOUNT_ATTR_RDONLY)
        name = os.path.basename(path)
        assert refusal(lambda: os.open(name, os.O_WRONLY | os.O_CLOEXEC, dir_fd=mount)) == errno.EROFS
    finally:
        for fd in (layer, other, mount):
            if fd >= 0:
                os.close(fd)


def test_the_overlay_is_attached_nowhere(
    helpers: Callable[..., Helper], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prewarm, "_SMALL", 0)
    before = mounts()
    helper = helpers()
    assert helper.report["exe"] == "/" + os.path.basename(prewarm.base_interpreter())
    assert mounts(helper.pid) == before


def test_the_helper_starts_from_nothing(way: str, helpers: Callable[..., Helper]) -> None:
    del way
    old = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGUSR1})
    ignored = signal.signal(signal.SIGUSR2, signal.SIG_IGN)
    try:
        helper = helpers()
    finally:
        signal.signal(signal.SIGUSR2, ignored)
        signal.pthread_sigmask(signal.SIG_SETMASK, old)
    report = helper.report
    assert report["fds"] == {"0": "/dev/null", "1": "/dev/null", "2": "/dev/null"}
    assert report["flags"] == [1, 1, 1, 1]
    assert report["group"] == helper.pid
    # LC_CTYPE is the interpreter's own doing, where the locale is C (PEP 538).
    assert set(report["environment"]) <= {"LC_CTYPE", "LD_PRELOAD"}
    masks = {
        name: int(value, 16)
        for name, value in (line.split(":\t") for line in report["status"] if "Q" not in line)
    }
    assert masks["SigBlk"] == 0
    # Python ignores two; posix_spawn(3) of glibc leaves its own two ignored, whatever it is asked for.
    expected = {signal.SIGPIPE, signal.SIGXFSZ, 32, 33}
    assert {n for n in range(1, 65) if masks["SigIgn"] >> n - 1 & 1} <= expected


def test_the_helper_is_the_same_interpreter(way: str, helpers: Callable[..., Helper]) -> None:
    del way
    report = helpers().report
    assert report["version"] == sys.version
    assert report["prefix"] == sys.base_prefix


@pytest.mark.parametrize("number", [0, 1, 2, 3, 4, 63])
def test_any_descriptor_can_be_handed_over(number: int) -> None:
    # In a process of its own: descriptors 0 to 4 belong to the test runner here.
    program = f"""
import os, sys
sys.path[:0] = [{str(PLATFORM)!r}, {str(CONTRACT)!r}]
from orlop_linux.live import prewarm
import socket
ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
out = os.dup2(1, 200)
end = os.dup2(theirs.fileno(), 100)
ours = socket.socket(fileno=os.dup2(ours.detach(), 101, inheritable=False))
os.closerange(0, 100)
os.dup2(end, {number}, inheritable=False)
os.close(end)
program = "import os; os.write(3, b'here' + os.readlink('/proc/self/fd/0').encode()); os.read(3, 1)"
prewarm.launch({number}, program)
os.closerange(0, 10)
os.close({number}) if {number} >= 10 else None
answer = ours.recv(100)
ours.close()
os.write(200, answer)
os.wait()
"""
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", program],
        capture_output=True,
        text=True,
        check=False,
        timeout=DEADLINE,
    )
    assert (done.stdout, done.stderr) == ("here/dev/null", "")


def test_foreign_descriptors_end_with_the_zygote_and_ours_never_leave() -> None:
    channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    foreign = [os.open("/etc", os.O_RDONLY) for _ in range(3)] + [os.memfd_create("foreign", 0)]
    for fd in foreign:
        os.set_inheritable(fd, True)  # noqa: FBT003 - its only parameter
    with channel, theirs:
        pid = prewarm.launch(theirs.fileno())
        try:
            poller = time.monotonic() + DEADLINE
            held = {"not yet"}
            while held - {"0", "1", "2", "3"} and time.monotonic() < poller:
                held = set(os.listdir(f"/proc/{pid}/fd"))
                select.select([channel], [], [], 0.002)
            assert held == {"0", "1", "2", "3"}
        finally:
            for fd in foreign:
                os.close(fd)
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def test_a_hostile_directory_and_environment_load_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, helpers: Callable[..., Helper]
) -> None:
    marker = tmp_path / "marker"
    bundle = tmp_path / "bundle"
    bundle.mkdir()
    for name in (
        "os",
        "json",
        "ctypes",
        "encodings",
        "socket",
        "site",
        "sitecustomize",
        "usercustomize",
        "evil",
    ):
        (bundle / f"{name}.py").write_text(f"open({str(marker)!r}, 'a').write({name!r})\n")
    (bundle / "pyvenv.cfg").write_text("home = /nowhere\n")
    (bundle / "evil.pth").write_text("import evil\n")
    monkeypatch.chdir(bundle)
    hostile = {
        "PYTHONPATH": str(bundle),
        "PYTHONHOME": str(bundle),
        "PYTHONSTARTUP": str(bundle / "evil.py"),
        "PYTHONBREAKPOINT": "evil.x",
        "PYTHONWARNINGS": "error::evil.Category",
        "PYTHONPLATLIBDIR": str(bundle),
        "PYTHONUSERBASE": str(bundle),
        "PYTHONEXECUTABLE": str(bundle / "evil.py"),
        "PYTHONINSPECT": "1",
        "PYTHONMALLOC": "malloc_debug",
        "PYTHONPROFILEIMPORTTIME": "1",
        "LD_PRELOAD": str(bundle / "evil.so"),
        "LD_LIBRARY_PATH": str(bundle),
        "LD_AUDIT": str(bundle / "evil.so"),
    }
    for name, value in hostile.items():
        monkeypatch.setenv(name, value)
    report = helpers().report
    assert report["verified"] is True
    assert not marker.exists()
    assert [file for file in report["files"] if file.startswith(str(tmp_path))] == []
    assert not any(str(bundle) in value for value in report["environment"].values())
    standard = [p for p in report["path"] if Path(p).is_relative_to(sys.base_prefix) or p.endswith(".zip")]
    assert report["path"] == [*standard, str(PLATFORM)]


def test_the_copy_is_made_once_and_made_again_when_its_descriptor_was_taken() -> None:
    path = prewarm.base_interpreter()
    first = prewarm._copy_of(path)
    assert prewarm._copy_of(path) is first
    assert fcntl.fcntl(first.fd, fcntl.F_GETFD) & fcntl.FD_CLOEXEC
    assert fcntl.fcntl(first.fd, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY
    # A daemon closed everything, and something else was opened since.
    taken = os.open("/bin/true", os.O_RDONLY | os.O_CLOEXEC)
    os.dup2(taken, first.fd, inheritable=False)
    os.close(taken)
    second = prewarm._copy_of(path)
    assert second is not first
    assert os.fstat(second.fd).st_size == os.stat(path).st_size
    os.close(first.fd)


def test_nothing_is_left_open_but_the_copy(way: str) -> None:
    del way
    prewarm._kernel()
    before = set(os.listdir("/proc/self/fd"))
    os.waitpid(prewarm.launch(0, "pass"), 0)
    after = set(os.listdir("/proc/self/fd"))
    (copy,) = prewarm._copies.values()
    # The directory is open in both listings, with whichever number was free.
    assert {fd for fd in after - before if os.path.exists(f"/proc/self/fd/{fd}")} <= {str(copy.fd)}


def test_a_busy_copy_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    real, refusals = os.posix_spawn, [errno.ETXTBSY, errno.ETXTBSY]

    def spawn(*arguments: object, **options: object) -> int:
        if refusals:
            number = refusals.pop()
            raise OSError(number, os.strerror(number))
        return real(*arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "posix_spawn", spawn)
    assert os.waitpid(prewarm.launch(0, "raise SystemExit(7)"), 0)[1] == 7 << 8
    assert refusals == []
