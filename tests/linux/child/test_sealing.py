"""The child takes no code from an image: not on the way to the program, and not on the way to an error."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.linux.child.support import PATIENCE, Box, orlop_command, until

import orlop
from orlop_linux.init import zygote

MARKER = "/executed"
MODULE = f"open({MARKER!r}, 'a').write(__name__ + chr(10))\n"
LIBRARIES = (
    "/etc/ld.so.cache",
    "/etc/ld.so.preload",
    "/etc/nsswitch.conf",
    "/etc/localtime",
    "/usr/lib/locale/locale-archive",
    *(
        f"{directory}/{name}"
        for directory in ("/lib", "/lib64", "/usr/lib", "/lib/x86_64-linux-gnu", "/usr/lib/x86_64-linux-gnu")
        for name in (
            "libc.so.6",
            "libffi.so.8",
            "libgcc_s.so.1",
            "libm.so.6",
            "libnss_files.so.2",
            "libpthread.so.0",
        )
    ),
)


def hostile_paths() -> list[str]:
    """Return every path at which the interpreter could look for code."""
    places = [
        sysconfig.get_path("stdlib"),
        sysconfig.get_path("platstdlib"),
        str(Path(zygote.__file__).parents[2]),
    ]
    zipped = f"{sys.base_prefix}/lib/python{sys.version_info[0]}{sys.version_info[1]}.zip"
    found = [zipped, *LIBRARIES]
    for place in dict.fromkeys(places):
        found += [f"{place}/{name}.py" for name in sys.stdlib_module_names]
        found += [f"{place}/{name}/__init__.py" for name in ("encodings", "ctypes", "json", "orlop_linux")]
        found += [f"{place}/encodings/{name}.py" for name in ("utf_8", "ascii", "latin_1", "idna", "aliases")]
    return found


@pytest.fixture(scope="session")
def hostile_image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a root full of modules and libraries that betray themselves when they are used."""
    root = tmp_path_factory.mktemp("hostile")
    for path in hostile_paths():
        place = root / path.lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(MODULE if path.endswith(".py") else "no library\n")
    return root


@pytest.fixture
def hostile(box: Box, hostile_image: Path) -> Box:
    shutil.copytree(hostile_image, box.rootfs, dirs_exist_ok=True, symlinks=True, copy_function=os.link)
    (box.rootfs / MARKER.lstrip("/")).touch()
    (box.rootfs / MARKER.lstrip("/")).chmod(0o666)
    return box


def marks(box: Box) -> str:
    return (box.rootfs / MARKER.lstrip("/")).read_text()


def test_success(hostile: Box) -> None:
    config = hostile.script("echo fine", hostname="h", process={"noNewPrivileges": True})
    assert hostile.run(config) == (0, "fine\n")
    assert marks(hostile) == ""


def bad_data(config: dict[str, Any]) -> None:
    mount = {"destination": "/tmp", "type": "tmpfs", "source": "tmpfs", "options": ["size=nonsense"]}
    config["mounts"].append(mount)


def bad_hook(kind: str, tool: str) -> Callable[[dict[str, Any]], None]:
    def change(config: dict[str, Any]) -> None:
        config["hooks"] = {kind: [{"path": tool, "args": ["sh", "-c", "echo \ufffd; exit 1"]}]}

    return change


FAILURES: dict[str, Callable[[dict[str, Any]], None]] = {
    "missing executable": lambda config: config["process"].update(args=["/no/such"]),
    "missing in PATH": lambda config: config["process"].update(args=["nosuch"]),
    "undecodable executable": lambda config: config["process"].update(args=["/no/\udcff"]),
    "hook inside": bad_hook("startContainer", "/bin/busybox"),
    "missing hook": bad_hook("startContainer", "/no/such/hook"),
    "bad sysctl": lambda config: config["linux"].update(sysctl={"kernel.msgmax": "nonsense"}),
    "unknown sysctl": lambda config: config["linux"].update(sysctl={"fs.mqueue.no_such": "1"}),
    "bad mount data": bad_data,
    "working directory": lambda config: config["process"].update(cwd="/bin/busybox/x"),
    "bad interpreter": lambda config: config["process"].update(args=["/bin/bad"]),
}


@pytest.mark.parametrize("case", FAILURES)
def test_failure(hostile: Box, case: str) -> None:
    (hostile.rootfs / "bin/bad").write_bytes(b"#!/no/such/interpreter\n")
    (hostile.rootfs / "bin/bad").chmod(0o755)
    config = hostile.config()
    FAILURES[case](config)
    with pytest.raises(orlop.OrlopError) as caught:
        hostile.start(config)
    assert not isinstance(caught.value, orlop.ConfigError), "refused before there was a child"
    assert str(caught.value).isprintable()
    assert marks(hostile) == ""


OPENED = re.compile(
    r'(?:open|openat|openat2|execve|execveat|newfstatat|stat|readlink|access)\((?:AT_FDCWD, |\d+, )?"([^"]+)"'
)


def opened_after_the_switch(log: str) -> list[str]:
    """Return the paths that the child named after it had changed its root."""
    _, switched, rest = log.partition("pivot_root(")
    assert switched, log[-2000:]
    return OPENED.findall(rest)


@pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace")
def test_no_path_of_the_interpreter_is_opened_after_the_switch(hostile: Box) -> None:
    logs = hostile.place / "trace"
    logs.mkdir()
    (hostile.bundle / "config.json").write_text(
        json.dumps(hostile.placed(hostile.config("/bin/true"), "box"))
    )
    command = ["strace", "-ff", "-e", "trace=%file,%process", "-o", f"{logs}/log", orlop_command()]
    command += ["--root", str(hostile.place / "state"), "create", "box"]
    with subprocess.Popen(
        command,
        cwd=hostile.bundle,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as tracer:  # it ends with the last process that it traces, the container's
        try:
            until(lambda: hostile.status() == "created", "not created")
            made = hostile.runtime.get("box")
            pid = made.pid
            made.start()
            assert tracer.wait(PATIENCE) == 0
        finally:
            tracer.kill()
    log = next(file.read_text() for file in logs.iterdir() if file.name.endswith(f".{pid}"))
    named = opened_after_the_switch(log)
    assert "/bin/true" in named, named
    bad = set(hostile_paths()) | {os.path.realpath(path) for path in hostile_paths()}
    assert [path for path in named if path in bad or "python" in path or ".so" in path] == []
