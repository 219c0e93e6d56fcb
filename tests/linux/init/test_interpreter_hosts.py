"""Interpreters, hosts and directories of every kind: what starts is protected, or nothing starts."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from tests.linux.init.launching import (
    PLATFORM,
    VERIFY,
    interpreter_copy,
    launch_elsewhere,
    open_for_writing,
    refusal,
)

from orlop_hookspecs.errors import PlatformError
from orlop_linux.init import syscalls
from orlop_linux.live import prewarm


@pytest.mark.parametrize(
    "name", ["a:b", "back\\slash", "comma,comma", "\\:", "upperdir=x", "long" * 50, "\udcff\n"]
)
def test_no_directory_name_is_special_to_the_overlay(tmp_path: Path, name: str) -> None:
    copy = interpreter_copy(tmp_path / name)
    fd = prewarm.overlay(str(copy))
    try:
        assert syscalls.statfs_type(fd) == 0x794C7630
        assert os.fstat(fd).st_size == copy.stat().st_size
        assert refusal(open_for_writing, f"/proc/self/fd/{fd}") == errno.EROFS
    finally:
        os.close(fd)


@pytest.mark.parametrize("name", ["a:b", "back\\slash", "sp ace"])
def test_an_interpreter_in_an_odd_directory_starts(tmp_path: Path, name: str) -> None:
    copy = interpreter_copy(tmp_path / name)
    done = launch_elsewhere(copy, before="prewarm._SMALL = 0")
    assert (done.stdout, done.stderr, done.returncode) == (ascii((True, False, str(copy))), "", 0)


# What CPython's own Programs/python.c does.
LOADER = (
    "int Py_BytesMain(int, char **); int main(int count, char **list) { return Py_BytesMain(count, list); }"
)


def shared_library() -> Path:
    """Return the libpython of this very version that is a shared library, or skip."""
    name = sysconfig.get_config_var("INSTSONAME") or ""
    for place in (sysconfig.get_config_var("LIBDIR"), f"{sys.base_prefix}/lib"):
        if place and ".so" in name and (found := Path(place, name)).is_file():
            return found
    pytest.skip(f"needs the shared libpython of {sys.executable} (Debian package libpython3.x)")


def test_an_interpreter_that_finds_its_library_by_origin_starts(tmp_path: Path) -> None:
    if shutil.which("cc") is None:
        pytest.skip("needs a C compiler")
    library = shared_library()
    copy = interpreter_copy(tmp_path / "moved")
    beside = tmp_path / "moved/lib" / library.name
    beside.unlink(missing_ok=True)
    shutil.copyfile(library, beside)
    copy.unlink()
    command = ["cc", "-x", "c", "-", "-o", str(copy), "-x", "none", str(beside), "-Wl,-rpath,$ORIGIN/../lib"]
    subprocess.run(command, input=LOADER.encode(), check=True)
    # With an empty $ORIGIN the loader would go on to the libpython of the distribution.
    program = "import os\nlines = [line for line in open('/proc/self/maps') if 'libpython' in line]\n"
    program += "os.write(3, lines[0].encode())"
    done = launch_elsewhere(copy, program=program)
    assert (done.stderr, done.returncode) == ("", 0)
    assert done.stdout.split()[5:] == [str(beside)]


def test_what_lies_beside_the_packages_shadows_no_standard_module(tmp_path: Path) -> None:
    packages, marker = tmp_path / "it's a \\ \u00e9 place", tmp_path / "marker"
    shutil.copytree(PLATFORM / "orlop_linux", packages / "orlop_linux")
    for name in ("json", "socket", "ctypes", "signal", "gc", "fcntl"):
        (packages / f"{name}.py").write_text(f"open({str(marker)!r}, 'a').write({name!r})\n")
    done = launch_elsewhere(sys.executable, packages=packages, program=None)
    assert (done.stdout, done.stderr, done.returncode) == ("", "", 0)
    assert not marker.exists()


def other_interpreters() -> list[str]:
    """Return one interpreter for each version that orlop supports and this machine has."""
    found = {}
    for minor in (11, 12, 13, 14):
        places = [f"/usr/bin/python3.{minor}", f"/usr/local/bin/python3.{minor}"]
        places += sorted(map(str, Path.home().glob(f".pyenv/versions/3.{minor}.*/bin/python3.{minor}")))
        for place in places:
            if os.path.isfile(place):
                found[os.path.realpath(place)] = place
    return list(found.values())


@pytest.mark.parametrize("public", [False, True], ids=["_ctypes", "ctypes"])
@pytest.mark.parametrize("interpreter", other_interpreters())
def test_every_version_launches_in_both_ways(interpreter: str, *, public: bool) -> None:
    without = "import _ctypes; del _ctypes.dlsym" if public else ""
    for before, in_memory in (("prewarm._SMALL = 0", False), ("prewarm._SMALL = 1 << 40", True)):
        done = launch_elsewhere(interpreter, before=f"{before}\n{without}")
        expected = ascii((True, in_memory, os.path.realpath(interpreter)))
        assert (done.stdout, done.stderr, done.returncode) == (expected, "", 0)


@pytest.mark.parametrize("interpreter", other_interpreters())
def test_the_start_imports_no_ctypes_package(interpreter: str) -> None:
    before = "import atexit; atexit.register(lambda: print('ctypes' in sys.modules, 'enum' in sys.modules))"
    before += "\nprewarm._SMALL = 0\nprewarm._kernel()"
    done = launch_elsewhere(interpreter, before=f"{before}\nsys.exit(0)")
    assert (done.stdout.split()[:1], done.stderr) == (["False"], "")


def test_a_virtual_environment_uses_its_base_interpreter(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "env")], check=True)
    done = launch_elsewhere(tmp_path / "env" / "bin" / "python")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith(f"{prewarm.base_interpreter()!r})")
    assert done.stdout.startswith("(True, ")


def test_without_the_right_to_mount_the_copy_is_sealed() -> None:
    # The program of the helper imports nothing of ours: nobody may not read this work tree everywhere.
    if not os.path.isfile("/usr/bin/python3.11"):
        pytest.skip("needs an interpreter that everybody may execute")
    before = "prewarm._kernel()\nos.setgid(65534); os.setuid(65534)"
    program = "import os, fcntl; exe = os.open('/proc/self/exe', 0)\n"
    program += "os.write(3, b'%d' % fcntl.fcntl(exe, fcntl.F_GET_SEALS))"
    done = launch_elsewhere("/usr/bin/python3.11", before=before, program=program)
    assert (done.stdout, done.stderr, done.returncode) == (str(prewarm._F_SEALS), "", 0)


NEW_PID_NAMESPACE = ("unshare", "--pid", "--fork", "--mount", "--mount-proc")


def test_where_nothing_protects_nothing_starts() -> None:
    # The sysctl belongs to the pid namespace: the host's stays as it is.
    if not os.path.exists("/proc/sys/vm/memfd_noexec"):
        pytest.skip("needs the sysctl vm.memfd_noexec of Linux 6.3")
    before = (
        "open('/proc/sys/vm/memfd_noexec', 'w').write('2')\n"
        "def refuse(*_): raise OSError(1, 'no')\n"
        "prewarm._mount_overlay = refuse"
    )
    done = launch_elsewhere(sys.executable, prefix=NEW_PID_NAMESPACE, before=before)
    assert done.returncode == 3, done.stderr
    assert "cannot protect the interpreter from containers" in done.stdout
    assert "overlay: Operation not permitted" in done.stdout
    assert "sealed copy: Permission denied" in done.stdout
    assert "CAP_SYS_ADMIN" in done.stdout
    assert "vm.memfd_noexec" in done.stdout


def test_without_procfs_the_error_says_so() -> None:
    before = "prewarm._copy_of(prewarm.base_interpreter())\nimport subprocess\n"
    # There are two: that of the new namespace and the host's beneath it.
    before += "for _ in range(2): subprocess.run(['umount', '-l', '/proc'], check=True)"
    done = launch_elsewhere(sys.executable, prefix=NEW_PID_NAMESPACE, before=before)
    assert done.returncode == 3, done.stderr
    assert "orlop needs a procfs on /proc" in done.stdout


@pytest.mark.parametrize("content", [b"#!/bin/sh\nexec python3\n", b""])
def test_a_script_is_not_taken_for_the_interpreter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes
) -> None:
    script = tmp_path / "python"
    script.write_bytes(content)
    monkeypatch.setattr(sys, "_base_executable", str(script), raising=False)
    with pytest.raises(PlatformError, match="not an executable program"):
        prewarm.launch(0, "pass")


@pytest.mark.parametrize("name", ["", None, "/nowhere/python"])
def test_an_unknown_interpreter_is_an_error(monkeypatch: pytest.MonkeyPatch, name: str | None) -> None:
    monkeypatch.setattr(sys, "_base_executable", name, raising=False)
    monkeypatch.setattr(sys, "executable", name)
    with pytest.raises(PlatformError, match="cannot find the python interpreter"):
        prewarm.launch(0, "pass")


def verdict(executable: Path | str, keep: int | None = None) -> str:
    """Return what the self-check says in *executable*, which may be known by descriptor *keep* only."""
    done = subprocess.run(
        [prewarm.base_interpreter(), "-I", "-S", "-c", VERIFY],
        executable=executable,
        pass_fds=[] if keep is None else [keep],
        # No marker convinces it.
        env={"_CLONED": "1", "ORLOP_PROTECTED": "1", **prewarm._environment(prewarm.base_interpreter())},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    return done.stdout.strip()


def test_an_unprotected_interpreter_is_found_out() -> None:
    assert verdict(prewarm.base_interpreter()) == "False"


@pytest.mark.parametrize("upper", [True, False], ids=["writable", "read-only"])
def test_an_attached_overlay_is_no_protection(tmp_path: Path, *, upper: bool) -> None:
    copy = interpreter_copy(tmp_path / "lower")
    for name in ("upper", "work", "merged"):
        (tmp_path / name).mkdir()
    options = f"lowerdir={tmp_path}/lower"
    options += f",upperdir={tmp_path}/upper,workdir={tmp_path}/work" if upper else ":/etc"
    subprocess.run(["mount", "-t", "overlay", "-o", options, "overlay", str(tmp_path / "merged")], check=True)
    try:
        inside = tmp_path / "merged" / copy.relative_to(tmp_path / "lower")
        assert verdict(inside) == "False"
        # An overlay on the overlay works, and is told from it.
        assert launch_elsewhere(inside, before="prewarm._SMALL = 0").stdout == ascii(
            (True, False, str(inside))
        )
    finally:
        subprocess.run(["umount", str(tmp_path / "merged")], check=True)


def test_an_unsealed_memory_file_is_no_protection() -> None:
    memory = os.memfd_create("python", os.MFD_ALLOW_SEALING)
    try:
        with open(prewarm.base_interpreter(), "rb") as source, open(memory, "wb", closefd=False) as target:
            shutil.copyfileobj(source, target)
        fcntl.fcntl(memory, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW)
        exe = os.open(f"/proc/self/fd/{memory}", os.O_RDONLY)
    finally:
        os.close(memory)
    try:
        assert verdict(f"/proc/self/fd/{exe}", keep=exe) == "False"
    finally:
        os.close(exe)


def test_a_detached_overlay_with_an_upper_layer_is_no_protection(tmp_path: Path) -> None:
    interpreter = prewarm.base_interpreter()
    for name in ("upper", "work"):
        (tmp_path / name).mkdir()
    layers = {
        "lowerdir": os.path.dirname(interpreter),
        "upperdir": str(tmp_path / "upper"),
        "workdir": str(tmp_path / "work"),
    }
    context = syscalls.fsopen(b"overlay")
    try:
        for key, value in layers.items():
            syscalls.fsconfig(context, syscalls.FSCONFIG_SET_STRING, key.encode(), os.fsencode(value))
        syscalls.fsconfig(context, syscalls.FSCONFIG_CMD_CREATE)
        mount = syscalls.fsmount(context, syscalls.MOUNT_ATTR_RDONLY)
    finally:
        os.close(context)
    exe = os.open(os.path.basename(interpreter), os.O_RDONLY | os.O_CLOEXEC, dir_fd=mount)
    os.close(mount)
    try:
        assert verdict(f"/proc/self/fd/{exe}", keep=exe) == "False"
    finally:
        os.close(exe)
