"""A composed runtime holds what was chosen, and behaves as the installed one with the same plugins."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from tests.composing.conftest import MINIMAL, Composed, compose, orlop, pins

from orlop.advertised.key import features_key
from orlop.cli import template
from orlop.cli.erase import compile_erased
from orlop.cli.output import to_json
from orlop.composing.profiles import names, plugins_of
from orlop.documents.codec import encode
from orlop.plugins.compose import compose as compose_live
from orlop_linux.rooms import ROOMS

VERSION = metadata.version("orlop")

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="needs Linux: the first line of a file names the interpreter"
)

LIST = """
import sys
sys.argv = [sys.argv[1], "--version"]
import marshal
with open(sys.argv[0], "rb") as file:
    file.readline()
    second = file.readline().decode()
    begin, _, head = second.rpartition("f.read(")[2].partition(")));begin(f,")
    file.seek(int(begin), 1)
    index, *_ = marshal.loads(file.read(int(head.rstrip(")\\n"))))
print(*sorted(index))
"""


LOADED = """
import os, sys
end = os._exit
def tell(status):
    os.write(2, " ".join(sys.modules).encode())
    end(status)
os._exit = tell
f = open(sys.argv[1], "rb")
f.readline()
exec(f.readline())
"""


def modules(composed: Composed) -> set[str]:
    """Return the modules inside, as the file itself lists them."""
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", LIST, str(composed.path)],
        capture_output=True,
        text=True,
        check=True,
    )
    return set(done.stdout.split())


def bundle(directory: Path, **changes: Any) -> Path:
    config = template.config()
    config["process"]["terminal"] = False
    config["linux"].update(changes)
    del config["linux"]["maskedPaths"], config["linux"]["readonlyPaths"]
    (directory / "rootfs").mkdir()
    (directory / "config.json").write_text(json.dumps(config))
    return directory


def test_code_of_plugins_that_were_not_chosen_is_absent(minimal: Composed) -> None:
    inside = modules(minimal)
    chosen = {name.replace("-", "_") for name in plugins_of("minimal")}
    planners = {name.rpartition(".")[2] for name in inside if name.startswith("orlop_linux.plugins.")}
    assert chosen <= planners
    others = {
        "seccomp",
        "intel_rdt",
        "rdma",
        "hooks",
        "terminal",
        "apparmor",
        "selinux",
        "net_devices",
        "sysctl",
    }
    assert planners & others == set()
    assert {
        name for name in inside if name.startswith(("orlop_fake", "orlop_linux.plugins.seccomp"))
    } == set()
    closed = {room for room, plugins in ROOMS.items() if not set(plugins) & set(plugins_of("minimal"))}
    assert closed
    assert {one for one in inside for room in closed if one == room or one.startswith(f"{room}.")} == set()
    assert {"orlop_linux.init.zygote", "orlop_linux.kernel.sandbox", "orlop.lifecycle.create"} <= inside
    assert {one.partition(".")[0] for one in inside} == {
        "orlop", "orlop_hookspecs", "orlop_linux", "orlop_composed", "jeepney",
    }  # fmt: skip
    content = minimal.path.read_bytes()
    assert b"plugins/seccomp" not in content
    assert str(Path(__file__).parents[2]).encode() not in content


def test_nothing_that_is_inside_imports_at_once_what_is_not(minimal: Composed) -> None:
    inside = modules(minimal)
    wrong = []
    for name in inside:
        spec = importlib.util.find_spec(name) if name.partition(".")[0] == "orlop_linux" else None
        if spec is not None and spec.origin is not None:
            words = set(compile_erased(Path(spec.origin).read_bytes(), name).co_names)
            ours = {word for word in words if word.startswith("orlop_linux.")}
            wrong += [f"{name} imports {word}" for word in ours - inside]
    assert wrong == []


def test_what_is_inside_is_told(minimal: Composed) -> None:
    report = json.loads(minimal.report)
    assert report["sha256"] == hashlib.sha256(minimal.path.read_bytes()).hexdigest()
    assert report["size"] == minimal.path.stat().st_size
    assert set(report["plugins"]) == {"linux", *plugins_of("minimal")}
    assert set(report["distributions"]) == {"orlop", "jeepney"}
    assert report["features"] == json.loads(minimal.run("features").stdout)
    assert minimal.path.stat().st_mode & 0o777 & ~os.umask(os.umask(0o022)) == 0o755 & ~os.umask(
        os.umask(0o022)
    )
    version = minimal.run("--version").stdout
    assert version.startswith("orlop version ")
    assert version.endswith("composed as: tiny\n")


def test_the_same_manifest_makes_the_same_bytes(minimal: Composed, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    manifest = tmp_path / "elsewhere" / minimal.manifest.name
    # The order of the lines is no part of what they say.
    manifest.write_text("[distributions]\n" + pins("jeepney", "orlop"))
    manifest.write_text('profile = "minimal"\nname = "tiny"\n' + manifest.read_text())
    os.utime(manifest, (0, 0))
    output = tmp_path / "again"
    program = "from orlop.cli.main import entry; entry()"
    done = subprocess.run(
        [
            sys.executable,
            "-O",
            "-X",
            "no_debug_ranges",
            "-c",
            program,
            "compose",
            str(manifest),
            "-o",
            str(output),
        ],
        cwd=tmp_path,
        env={"PYTHONHASHSEED": "77", "LANG": "C", "TZ": "Asia/Tokyo"},
        umask=0o077,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert output.read_bytes() == minimal.path.read_bytes()
    assert output.stat().st_mode & 0o777 == 0o700
    assert output.stat().st_mtime_ns > minimal.path.stat().st_mtime_ns


def test_it_plans_and_refuses_as_the_installed_one_with_the_same_plugins(
    minimal: Composed, tmp_path: Path
) -> None:
    chosen = ",".join(plugins_of("minimal"))
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    good, bad = bundle(tmp_path / "one"), bundle(tmp_path / "two", rootfsPropagation="nonsense")
    for arguments in (
        ("features",),
        ("features", "--provenance"),
        ("plugins", "--order"),
        ("explain", "--format", "json", str(good)),
        ("check", "--format", "json", str(good)),
        ("check", str(bad)),
        ("explain", str(bad)),
    ):
        ours = minimal.run(*arguments)
        theirs = orlop("--plugins", chosen, *arguments)
        assert (ours.returncode, ours.stdout) == (theirs.returncode, theirs.stdout), arguments
        assert strip(ours.stderr) == strip(theirs.stderr), arguments


def strip(messages: str) -> list[str]:
    """Return log lines without their times."""
    return [line.partition(" ")[2] for line in messages.splitlines()]


def test_the_frozen_composition_is_the_live_one(minimal: Composed) -> None:
    live = compose_live("linux", plugins_of("minimal"))
    done = minimal.run("plugins", "--order", "--format", "json")
    order = json.loads(done.stdout)
    assert [one["name"] for one in order["plugins"]] == live.names
    assert order["hooks"] == {hook: list(live.hooks.implementers(hook)) for hook in order["hooks"]}
    assert json.loads(minimal.run("features").stdout) == live.features.data


def test_a_config_that_needs_more_is_refused_with_the_line_that_would_help(
    minimal: Composed, tmp_path: Path
) -> None:
    place = bundle(tmp_path, seccomp={"defaultAction": "SCMP_ACT_ALLOW"})
    done = minimal.run("explain", str(place))
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert "/linux/seccomp: no active plugin handles this property" in line
    assert "plugin seccomp would handle it, and tiny was composed without it" in line
    assert "write in [plugins] of manifest.toml: seccomp = " in line
    wanted = line.partition("manifest.toml: ")[2].replace("\\", "").rstrip('"')
    text = MINIMAL.format(pins=pins("orlop", "jeepney")) + f'[plugins]\n{wanted}"\n'
    more = compose(tmp_path, text.replace('""', '"'))
    assert more.run("explain", str(place)).returncode == 0


def test_fewer_plugins_can_be_chosen_of_those_inside(minimal: Composed) -> None:
    done = minimal.run("--plugins", "-rlimits,-capabilities", "plugins", "--format", "json")
    states = {one["name"]: one["state"] for one in json.loads(done.stdout)}
    assert states["rlimits"] == states["capabilities"] == "inactive"
    assert states["mounts"] == "active"
    missing = minimal.run("--plugins", "seccomp", "plugins")
    assert missing.returncode == 1
    assert "tiny was composed without it; write in [plugins] of manifest.toml: seccomp = " in missing.stderr
    unknown = minimal.run("--plugins", "secomp", "plugins")
    assert "no plugin of this name is installed" in unknown.stderr


def test_the_line_is_told_where_fewer_plugins_were_chosen(minimal: Composed, tmp_path: Path) -> None:
    place = bundle(tmp_path, seccomp={"defaultAction": "SCMP_ACT_ALLOW"})
    done = minimal.run("--plugins=-rlimits", "check", str(place))
    assert done.returncode == 1
    assert "plugin rlimits would handle it, but is inactive: left out (--plugins=-rlimits" in done.stdout
    assert "plugin seccomp would handle it, and tiny was composed without it; write in" in done.stdout


def test_a_plugin_that_is_used_on_request_only(tmp_path: Path) -> None:
    versions = f'hooks = "{VERSION}"\nhooks-d = "{VERSION}"'
    text = MINIMAL.format(pins=pins("orlop", "jeepney")) + f"[plugins]\n{versions}\n"
    more = compose(tmp_path, text)
    assert {"orlop_linux.plugins.hooks_d", "orlop_linux.plugins.hooks"} <= modules(more)
    states = {one["name"]: one["state"] for one in json.loads(more.run("plugins", "--format", "json").stdout)}
    assert states["hooks-d"] == "active"


def test_the_features_document_costs_no_plugin(minimal: Composed) -> None:
    """It was settled when the runtime was composed: it is printed, and nobody is asked."""
    live = compose_live("linux", plugins_of("minimal")).features.document()
    assert minimal.run("features").stdout == to_json(encode(live), "    ") + "\n"
    assert minimal.run("features", "--key").stdout == features_key(encode(live)) + "\n"
    assert json.loads(minimal.run("features", "--key", "--format", "json").stdout) == {
        "key": features_key(encode(live))
    }
    loaded = loaded_by(minimal, "features", "--key")
    assert "orlop_composed.features" in loaded
    assert {one for one in loaded if one.startswith("orlop_linux")} == set()
    assert {"orlop.runtime", "orlop_composed.calls", "json", "hashlib"} & loaded == set()
    # Other plugins are another composition.
    other = minimal.run("--plugins=-capabilities", "features", "--key").stdout
    assert other != minimal.run("features", "--key").stdout


def loaded_by(composed: Composed, *arguments: str) -> set[str]:
    """Return the modules that a command of the runtime has loaded when it ends."""
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", LOADED, str(composed.path), *arguments],
        capture_output=True,
        text=True,
        check=True,
    )
    return set(done.stderr.split())


def test_settings_are_read_only_where_they_are_named(minimal: Composed, tmp_path: Path) -> None:
    settings = tmp_path / "runtime.toml"
    settings.write_text(f'root = "{tmp_path}/none"\nblock = ["rlimits"]\n')
    done = minimal.run("--runtime-config", str(settings), "plugins", "--format", "json")
    states = {one["name"]: one["state"] for one in json.loads(done.stdout)}
    assert states["rlimits"] == "inactive"
    settings.write_text('profile = "minimal"\n')
    done = minimal.run("--runtime-config", str(settings), "plugins")
    assert done.returncode == 1
    assert "a composed runtime knows no profiles (value: 'minimal')" in done.stderr
    settings.write_text(f'root = "{tmp_path}"\n')
    (tmp_path / "one").mkdir()
    assert minimal.run("--runtime-config", str(settings), "list", "--quiet").stdout == "one\n"


def test_it_runs_from_anywhere_and_hears_no_python_variable(minimal: Composed, tmp_path: Path) -> None:
    (tmp_path / "orlop.py").write_text("raise SystemExit(9)\n")
    (tmp_path / "os.py").write_text("raise SystemExit(9)\n")
    link = tmp_path / "link"
    link.symlink_to(minimal.path)
    environment = {
        "PYTHONPATH": str(tmp_path),
        "PYTHONSTARTUP": str(tmp_path / "os.py"),
        "PYTHONHOME": "/none",
    }
    for command in (str(link), "./link"):
        done = subprocess.run(
            [command, "--version"], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stderr) == (0, "")


def test_names_are_read_as_utf_8_whatever_the_locale(minimal: Composed, tmp_path: Path) -> None:
    first = minimal.path.read_bytes().split(b"\n", 1)[0].decode()
    interpreter, option = first.removeprefix("#!").split(" ", 1)
    place = tmp_path / "b\u00fcndel"
    place.mkdir()
    done = subprocess.run(
        [interpreter, "-X", "utf8=0", option, str(minimal.path), "check", str(place)],
        env={"LC_ALL": "C"},
        capture_output=True,
        check=False,
    )
    assert done.returncode == 1
    assert b"b\\u00fcndel: JSON specification file" in done.stderr  # and not two bytes that nobody could read
    assert done.stdout == b""


@pytest.mark.parametrize("closed", ["<&-", ">&-", "<&- >&- 2>&-"])
def test_missing_standard_descriptors(minimal: Composed, tmp_path: Path, closed: str) -> None:
    log = tmp_path / "log"
    script = f"{minimal.path} --log {log} state nobody {closed}; exit $?"
    done = subprocess.run(["/bin/sh", "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "container does not exist" in log.read_text()


def test_it_makes_no_runtimes_itself(minimal: Composed) -> None:
    offered = minimal.run("--help").stdout
    assert "   features " in offered
    assert "   compose " not in offered
    for command in ("compose", "plugin"):
        done = minimal.run(command, "x")
        assert done.returncode == 3
        assert f"No help topic for '{command}'" in done.stderr
    assert {"orlop.composing", "orlop.kit", "orlop.scaffold"} & modules(minimal) == set()


@pytest.mark.parametrize(
    "command",
    [
        "help", "manual", "completion bash", "schema config", "doctor", "features --key", "list", "plugins",
        "features --provenance",
    ],
)  # fmt: skip
def test_the_other_commands_are_there(minimal: Composed, command: str) -> None:
    done = minimal.run(*command.split())
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout


def test_what_a_missing_plugin_would_do_is_told(minimal: Composed, tmp_path: Path) -> None:
    profile = tmp_path / "profile.json"
    profile.write_text('{"defaultAction": "SCMP_ACT_ALLOW"}')
    done = minimal.run("seccomp", "--profile", str(profile), "explain", "read")
    assert done.returncode == 1
    assert "plugin seccomp would be needed, and this runtime was composed without it" in done.stderr


def test_another_python_is_refused(minimal: Composed, tmp_path: Path) -> None:
    first, second, rest = minimal.path.read_bytes().split(b"\n", 2)
    changed = tmp_path / "changed"
    changed.write_bytes(b"\n".join((first, second.replace(b"MAGIC_NUMBER==b'", b"MAGIC_NUMBER==b'x"), rest)))
    changed.chmod(0o755)
    done = subprocess.run([str(changed), "--version"], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "tiny: this file was composed for Python 3." in done.stderr


@pytest.mark.parametrize("profile", names())
def test_every_profile_can_be_composed(profile: str, tmp_path: Path) -> None:
    live = compose_live("linux", plugins_of(profile))
    assert set(plugins_of(profile)) | {"linux"} == set(live.names)
    manifest = tmp_path / "manifest.toml"
    manifest.write_text(f'profile = "{profile}"\n[distributions]\n{pins("orlop", "jeepney")}')
    done = orlop("compose", str(manifest), "-o", str(tmp_path / "made"))
    assert (done.returncode, done.stderr) == (0, "")
    assert f"{tmp_path}/made: " in done.stdout
