"""Starting the protected interpreter from a process of its own, and trying to write to it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from orlop_hookspecs.errors import PlatformError
from orlop_linux.live import prewarm

PLATFORM = Path(prewarm.__file__).parents[2]
CONTRACT = Path(sys.modules[PlatformError.__module__].__file__ or "").parents[1]
DEADLINE = 120.0


LAUNCH = """
import fcntl, json, os, socket, sys
sys.path[:0] = {paths!r}
from orlop_linux.live import prewarm
{before}
ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
ours.settimeout({deadline})
try:
    pid = prewarm.launch(theirs.fileno(){arguments})
except prewarm.PlatformError as error:
    print(error)
    sys.exit(3)
theirs.close()
if {zygote}:
    ours.shutdown(socket.SHUT_WR)
print(ours.recv(1 << 20).decode(), end="")
ours.close()
sys.exit(os.waitpid(pid, 0)[1])
"""

ANSWER = f"""
import sys; sys.path.append({str(PLATFORM)!r})
import os
from orlop_linux.init.selfcheck import verify_self
exe = os.readlink("/proc/self/exe")
os.write(3, ascii((verify_self(), exe.startswith("/memfd:"), sys.executable)).encode())
"""


def launch_elsewhere(
    interpreter: Path | str,
    *,
    prefix: tuple[str, ...] = (),
    packages: Path = PLATFORM,
    before: str = "",
    program: str | None = ANSWER,
) -> subprocess.CompletedProcess[str]:
    """Run a caller of :func:`prewarm.launch` in a process of its own.

    Without a *program*, it starts the zygote and hangs up.
    """
    script = LAUNCH.format(
        paths=[str(packages), str(CONTRACT)],
        before=before,
        deadline=DEADLINE,
        zygote=program is None,
        arguments="" if program is None else f", {program!r}",
    )
    return subprocess.run(
        [*prefix, str(interpreter), "-I", "-S", "-B", "-c", script],
        capture_output=True,
        text=True,
        check=False,
        timeout=DEADLINE * 2,
    )


VERIFY = f"import sys; sys.path.append({str(PLATFORM)!r})\n"
VERIFY += "from orlop_linux.init.selfcheck import verify_self; print(verify_self())"


def interpreter_copy(directory: Path, patch: Callable[[bytes], bytes] = lambda content: content) -> Path:
    """Make an interpreter in *directory* that shares the standard library with the one that runs this."""
    version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    library = Path(os.__file__).parent
    (directory / "bin").mkdir(parents=True)
    (directory / "lib").mkdir()
    (directory / "lib" / version).symlink_to(library)
    for shared in Path(sys.base_prefix, "lib").glob("libpython*"):
        (directory / "lib" / shared.name).symlink_to(shared)
    copy = directory / "bin" / version
    copy.write_bytes(patch(Path(prewarm.base_interpreter()).read_bytes()))
    copy.chmod(0o755)
    return copy


def refusal(function: Callable[..., object], *arguments: object) -> int:
    """Return the errno with which *function* fails; 0 when it does not."""
    try:
        result = function(*arguments)
    except OSError as error:
        return error.errno or -1
    if isinstance(result, int):
        os.close(result)
    return 0


def open_for_writing(path: str) -> int:
    return os.open(path, os.O_WRONLY | os.O_CLOEXEC)
