"""The installed command: found from anywhere, deaf to its environment, and light."""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import attrs
import pytest

import orlop
import orlop_fake
import orlop_hookspecs
import orlop_linux

pytestmark = pytest.mark.skipif(not os.path.exists("/bin/sh"), reason="needs a shell")

SCRIPT = Path(__file__).parents[2] / "scripts" / "orlop"
PACKAGES = [Path(module.__path__[0]) for module in (orlop, orlop_hookspecs, orlop_linux, orlop_fake)]
PYTHON = f"python{sys.version_info.major}.{sys.version_info.minor}"
BASE = os.path.realpath(sys.executable)

EVIL = "import posix; posix.close(posix.open({marker!r}, posix.O_CREAT | posix.O_WRONLY))\n"


@attrs.frozen
class Prefix:
    """An installation: bin, lib and what an installer puts there."""

    path: Path
    site: Path

    @property
    def command(self) -> Path:
        """The launcher."""
        return self.path / "bin" / "orlop"

    def run(
        self, *arguments: str, env: dict[str, str] | None = None, cwd: Path | None = None, command: str = ""
    ) -> subprocess.CompletedProcess[str]:
        """Run the command with an empty environment, unless another is given."""
        return subprocess.run(
            [command or str(self.command), *arguments],
            env=env or {},
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=600,
        )


def make_prefix(path: Path, *, copy: bool = False, library: str = "site-packages") -> Prefix:
    """Make an installation of the command at *path*: editable, or with a *copy* of the packages."""
    site = path / "lib" / PYTHON / library
    site.mkdir(parents=True)
    (path / "bin").mkdir()
    shutil.copy(SCRIPT, path / "bin" / "orlop")
    os.symlink(BASE, path / "bin" / PYTHON)
    if copy:
        for package in PACKAGES:
            shutil.copytree(package, site / package.name, ignore=shutil.ignore_patterns("__pycache__"))
    else:
        (site / "_orlop.pth").write_text("".join(f"{package.parent}\n" for package in PACKAGES))
    information = site / "orlop-0.1.0.dist-info"
    information.mkdir()
    entry_points = importlib.metadata.distribution("orlop").read_text("entry_points.txt")
    (information / "entry_points.txt").write_text(entry_points or "")
    return Prefix(path, site)


@pytest.fixture
def prefix(tmp_path: Path) -> Prefix:
    return make_prefix(tmp_path / "prefix")


def test_from_anywhere(prefix: Prefix, tmp_path: Path) -> None:
    (tmp_path / "links").mkdir()
    link = tmp_path / "links" / "runtime"
    link.symlink_to(prefix.command)
    chain = tmp_path / "links" / "chain"
    chain.symlink_to("runtime")
    relative = prefix.path / "bin" / "alias"
    relative.symlink_to("orlop")
    for command, cwd in (
        (str(prefix.command), Path("/")),
        (str(link), Path("/")),
        (str(chain), Path("/")),
        (str(relative), Path("/")),
        ("./orlop", prefix.path / "bin"),
        ("bin/orlop", prefix.path),
        ("links/chain", tmp_path),
    ):
        done = prefix.run("--version", command=command, cwd=cwd)
        assert (done.returncode, done.stderr) == (0, ""), command
        assert done.stdout.startswith("orlop version ")


@pytest.mark.parametrize("library", ["site-packages", "dist-packages"])
@pytest.mark.parametrize("copy", [False, True])
def test_kinds_of_installation(tmp_path: Path, library: str, copy: bool) -> None:
    made = make_prefix(tmp_path / "other place", copy=copy, library=library)
    assert made.run("--version").returncode == 0
    assert made.run("--root", f"{tmp_path}/root", "list", "--format", "json").stderr.count("\n") == 1


def test_an_installation_without_its_package(prefix: Prefix) -> None:
    shutil.rmtree(prefix.site)
    done = prefix.run("--version")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.count("\n") == 1


def test_hostile_environment_and_directory(prefix: Prefix, tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    evil = tmp_path / "evil"
    evil.mkdir()
    for name in (
        "os",
        "sys",
        "json",
        "errno",
        "time",
        "site",
        "sitecustomize",
        "usercustomize",
        "posix",
        "evil",
    ):
        (evil / f"{name}.py").write_text(EVIL.format(marker=str(marker)))
    for name in ("encodings", "ctypes", "orlop", "orlop_hookspecs", "orlop_linux", "importlib", "attr"):
        (evil / name).mkdir()
        (evil / name / "__init__.py").write_text(EVIL.format(marker=str(marker)))
    (evil / "evil.pth").write_text(EVIL.format(marker=str(marker)))
    (evil / "pyvenv.cfg").write_text(f"home = {evil}\n")
    environment = {
        "PYTHONPATH": str(evil),
        "PYTHONHOME": str(evil),
        "PYTHONSTARTUP": f"{evil}/evil.py",
        "PYTHONINSPECT": "1",
        "PYTHONUSERBASE": str(evil),
        "PYTHONPLATLIBDIR": "evil",
        "PYTHONWARNINGS": "error::evil.Evil",
        "PYTHONBREAKPOINT": "evil.evil",
        "PYTHONPROFILEIMPORTTIME": "1",
        "PYTHONVERBOSE": "1",
        "PYTHONTRACEMALLOC": "5",
        "PYTHONMALLOC": "debug",
        "PYTHONDUMPREFS": "1",
        "PYTHONPYCACHEPREFIX": str(evil),
        "PYTHONEXECUTABLE": str(evil),
        "PYTHONIOENCODING": "evil",
        "PYTHONUTF8": "0",
        "PYTHONCASEOK": "1",
        "PYTHONSAFEPATH": "",
        "HOME": str(evil),
        "ENV": f"{evil}/evil.sh",
        "BASH_ENV": f"{evil}/evil.sh",
        "CDPATH": str(evil),
        "IFS": "/o",
        "site": str(evil),
        "python": f"{evil}/evil.sh",
        "self": str(evil),
        "LC_ALL": "C",
    }
    (evil / "evil.sh").write_text(f"#!/bin/sh\n: >{marker}\n")
    (evil / "evil.sh").chmod(0o755)
    for arguments in (["--version"], ["--root", f"{tmp_path}/root", "state", "x"], ["features"]):
        plain = prefix.run(*arguments, cwd=Path("/"))
        hostile = prefix.run(*arguments, cwd=evil, env=environment)
        assert not marker.exists()
        assert (hostile.returncode, hostile.stdout) == (plain.returncode, plain.stdout)
        assert "evil" not in hostile.stderr


def test_pth_files(prefix: Prefix, tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    code = EVIL.format(marker=str(marker))
    (prefix.site / "code.pth").write_text(f"{code}# comment\n\nmissing\nbelow\n{code}")
    (prefix.site / ".hidden.pth").write_text(f"{tmp_path}\n")
    (prefix.site / "below").mkdir()
    done = prefix.run("--root", f"{tmp_path}/root", "state", "x")
    assert "container does not exist" in done.stderr
    assert not marker.exists()


def test_bytecode_is_kept_only_where_it_is_safe(tmp_path: Path) -> None:
    made = make_prefix(tmp_path / "prefix", copy=True)
    for mask, kept in ((0o000, False), (0o020, False), (0o002, False), (0o022, True)):
        before = os.umask(mask)
        try:
            assert made.run("--version").returncode == 0
        finally:
            os.umask(before)
        caches = list(made.site.rglob("__pycache__"))
        assert bool(caches) is kept
        for cache in caches:
            assert stat.S_IMODE(cache.stat().st_mode) & 0o022 == 0


@pytest.fixture
def packed(tmp_path: Path) -> Prefix:
    """Return an installation whose packs have been written, and whose bytecode is nowhere else."""
    before = os.umask(0o022)
    try:
        made = make_prefix(tmp_path / "prefix", copy=True)
        assert made.run("--version").returncode == 0
    finally:
        os.umask(before)
    (made.site / "orlop" / "cli" / "__pycache__" / f"version.{sys.implementation.cache_tag}.pyc").unlink()
    return made


def change(source: Path, *, keep: bool) -> None:
    """Change what --version prints; with *keep*, the file looks as it did."""
    status = source.stat()
    source.write_text(source.read_text().replace("orlop version", "OTHER version"))
    if keep:
        os.utime(source, ns=(status.st_atime_ns, status.st_mtime_ns))


def test_modules_come_out_of_the_pack(packed: Prefix) -> None:
    source = packed.site / "orlop" / "cli" / "version.py"
    change(source, keep=True)
    assert packed.run("--version").stdout.startswith("orlop version ")
    packs = list(packed.site.rglob("*.pack"))
    assert len(packs) == 1
    assert stat.S_IMODE(packs[0].stat().st_mode) & 0o022 == 0
    packs[0].unlink()
    assert packed.run("--version").stdout.startswith("OTHER version ")


def test_a_changed_module_does_not(packed: Prefix) -> None:
    change(packed.site / "orlop" / "cli" / "version.py", keep=False)
    for _ in range(3):
        assert packed.run("--version").stdout.startswith("OTHER version ")


def test_a_removed_module_does_not(packed: Prefix) -> None:
    (packed.site / "orlop" / "cli" / "version.py").unlink()
    assert "orlop.cli.version" in packed.run("--version").stderr


@pytest.mark.parametrize("content", [b"", b"x", b"\xe3" * 100, b"i\x01\x00\x00\x00", None])
def test_a_damaged_pack_is_ignored_and_replaced(packed: Prefix, content: bytes | None) -> None:
    (pack,) = packed.site.rglob("*.pack")
    whole = pack.read_bytes()
    pack.write_bytes(whole[: len(whole) // 2] if content is None else content)
    before = os.umask(0o022)
    try:
        for _ in range(2):
            done = packed.run("--version")
            assert (done.returncode, done.stderr) == (0, "")
    finally:
        os.umask(before)
    assert pack.stat().st_size > 10_000


def test_the_pack_of_another_place_is_ignored(packed: Prefix, tmp_path: Path) -> None:
    shutil.copytree(packed.path, tmp_path / "copy", symlinks=True)
    copy = Prefix(tmp_path / "copy", tmp_path / "copy" / packed.site.relative_to(packed.path))
    change(copy.site / "orlop" / "cli" / "version.py", keep=False)
    assert copy.run("--version").stdout.startswith("OTHER version ")
    assert packed.run("--version").stdout.startswith("orlop version ")


def test_a_small_command_has_a_pack_of_its_own(packed: Prefix) -> None:
    line = ("--root", str(packed.path / "state"), "delete", "--force", "nobody")
    before = os.umask(0o022)
    try:
        # Not to be found is no success, and what errors need is not packed.
        assert packed.run(*line[:2], "state", "nobody").returncode == 1
        assert packed.run(*line).returncode == 0
    finally:
        os.umask(before)
    assert [one.name.partition(".")[0] for one in sorted(packed.site.rglob("*.pack"))] == ["delete", "small"]
    # A package that has changed is loaded in the usual way, and what is in it as well.
    for name in ("orlop/__init__.py", "orlop/cli/__init__.py", "orlop/store/jsontext.py"):
        package = packed.site / name
        package.write_text(package.read_text() + "\n# changed\n")
        for _ in range(2):
            assert packed.run(*line).stderr == ""
    source = packed.site / "orlop" / "lifecycle" / "delete.py"
    status = source.stat()
    source.write_text(source.read_text() + "\nraise SystemExit(7)\n")
    os.utime(source, ns=(status.st_atime_ns, status.st_mtime_ns))
    changed = source.stat()
    assert packed.run(*line).returncode == 7  # the size has changed
    source.write_text(source.read_text().replace("\nraise SystemExit(7)\n", "\n"))
    os.utime(source, ns=(changed.st_atime_ns, changed.st_mtime_ns + 10**9))
    assert packed.run(*line).returncode == 0


@pytest.mark.parametrize("changed", ["orlop", "orlop/cli", "orlop/lifecycle", "orlop_hookspecs"])
def test_a_package_that_has_changed_is_no_obstacle(packed: Prefix, changed: str) -> None:
    line = ("--root", str(packed.site / "state"), "delete", "--force", "none")
    for _ in range(2):
        assert packed.run(*line).returncode == 0
    source = packed.site / changed / "__init__.py"
    status = source.stat()
    os.utime(source, ns=(status.st_atime_ns, status.st_mtime_ns + 10**9))
    for _ in range(2):
        done = packed.run(*line)
        assert (done.returncode, done.stderr) == (0, "")


def test_modules_of_a_pack_are_what_the_import_system_makes(packed: Prefix) -> None:
    line = ("--root", str(packed.path / "state"), "delete", "--force", "nobody")
    for _ in range(2):
        assert packed.run(*line).returncode == 0
    boot = packed.site / "orlop" / "cli" / "boot.py"
    program = f"""
import sys
sys._xoptions["orlop_site"] = {str(packed.site)!r}
boot = {{"__name__": "boot"}}
exec(compile(open({str(boot)!r}).read(), "boot", "exec"), boot)
boot["reach"]({str(packed.site)!r})
_, _, _, modules, (order, rest), *_ = boot["open_pack"](["delete"])
assert len(order) > 20 and not rest
if sys.argv[1] == "at once":
    boot["load_at_once"](modules, order)
else:
    for name in order:
        __import__(name)
import types
for name in order:
    module = sys.modules[name]
    known = sorted(key for key, value in vars(module).items() if isinstance(value, types.ModuleType))
    print(name, module.__file__, module.__cached__, module.__package__, known)
    print(getattr(module, "__path__", ""))
    print(module.__spec__.name, module.__spec__.parent, module.__spec__.submodule_search_locations)
"""
    made = [
        subprocess.run(
            [sys.executable, "-I", "-S", "-B", "-c", program, way],
            capture_output=True,
            text=True,
            check=False,
        )
        for way in ("at once", "one by one")
    ]
    assert [one.stderr for one in made] == ["", ""]
    assert made[0].stdout == made[1].stdout
    assert "orlop.cli.main " in made[0].stdout


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&-", "<&- 2>&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_missing_standard_descriptors(prefix: Prefix, tmp_path: Path, closed: str) -> None:
    """Messages for a descriptor that is closed may not go to whatever gets its number."""
    root = tmp_path / "root"
    log = tmp_path / "log"
    arguments = f"--root '{root}' --log '{log}' --debug state x"
    done = subprocess.run(
        ["/bin/sh", "-c", f"'{prefix.command}' {arguments} {closed}"],
        env={},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stdout == ""
    assert ("container does not exist" in done.stderr) is ("2>&-" not in closed)
    assert [line.split(" ")[1] for line in log.read_text().splitlines()] == ["level=debug", "level=error"]


def test_output_that_nobody_reads(prefix: Prefix, tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = subprocess.run(
            [prefix.command, "help", "create"],
            env={},
            stdout=writer,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    finally:
        os.close(writer)
    assert (done.returncode, done.stderr) == (1, "")
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [prefix.command, "--version"], env={}, stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert done.returncode == 1
    assert "no space left on device" in done.stderr
    assert done.stderr.count("\n") == 1


# What takes longer to import than a small command may take.
HEAVY = frozenset(
    [
        *(
            "typing",
            "enum",
            "dataclasses",
            "re",
            "json",
            "ctypes",
            "subprocess",
            "argparse",
            "pathlib",
            "contextlib",
        ),
        *(
            "collections",
            "functools",
            "logging",
            "socket",
            "signal",
            "inspect",
            "traceback",
            "importlib.metadata",
        ),
        *("site", "locale", "string", "tempfile", "attr", "attrs", "cattr", "cattrs", "pluggy", "pyroute2"),
        *("orlop.runtime", "orlop.plugins.compose", "orlop.documents.codec", "orlop_hookspecs.documents"),
        "orlop_hookspecs.steps",
    ]
)


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")
@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (["state", "stopped"], 0),
        (["start", "stopped"], 1),
        (["kill", "stopped"], 1),
        (["kill", "stopped", "SIGUSR1"], 1),
        (["delete", "stopped"], 0),
        (["delete", "--force", "stopped"], 0),
        (["state", "missing"], 1),
        (["--log-format", "json", "start", "missing"], 1),
        (["list"], 0),
        (["--version"], 0),
    ],
)
def test_small_commands_import_little(tmp_path: Path, arguments: list[str], status: int) -> None:
    from orlop.lifecycle.site import RECORD
    from orlop.store import jsontext
    from orlop.store.directory import DirectoryStore
    from orlop_hookspecs.record import Record

    root = tmp_path / "root"
    # A container whose process has long been gone: everything but the kernel's part of the command is real.
    with DirectoryStore(str(root)).create("stopped") as slot:
        made = Record(id="stopped", bundle="/b", platform="linux", phase="created")
        made.pid, made.start_time, made.creator = 4_194_000, 1, [4_194_001, 1]
        made.kernel = {"cgroups": [], "own_pid_namespace": True}
        slot.write(RECORD, jsontext.dumps(made.to_data()).encode())
    program = (
        f"import sys; sys.path[:] = {sys.path!r}; before = set(sys.modules)\n"
        "from orlop.cli.main import main\n"
        f"status = main({['--root', str(root), *arguments]!r})\n"
        "print('\\n'.join(sorted(set(sys.modules) - before)), file=open(sys.argv[1], 'w'))\n"
        "sys.exit(status)\n"
    )
    listing = tmp_path / "modules"
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", program, listing], capture_output=True, text=True, check=False
    )
    assert done.returncode == status, done.stderr
    loaded = set(listing.read_text().split())
    assert "orlop.cli.main" in loaded
    assert not loaded & HEAVY
