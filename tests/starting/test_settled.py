"""What the installed command found out of its composition counts until something that decided it changes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.starting.test_launcher import BASE, PYTHON, Prefix, make_prefix

from orlop.cli import template

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="needs Linux: what is composed is its platform"
)

LONG_AGO = 10**18

LOADED = """
import os, sys
end = os._exit
def tell(status):
    os.write(2, (chr(10) + " ".join(sys.modules)).encode())
    end(status)
os._exit = tell
sys._xoptions["orlop_site"] = {site!r}
sys.argv[0] = {boot!r}
exec(compile(open({boot!r}).read(), {boot!r}, "exec"), {{"__name__": "__main__"}})
"""

PLUGIN = """
from __future__ import annotations

from orlop_hookspecs.hooks import hookimpl
from orlop_hookspecs.hooks.identity import PluginInfo


@hookimpl
def orlop_plugin() -> PluginInfo:
    return PluginInfo(name="acme", version="1.0", contract="1.0", summary="of acme")


@hookimpl
def orlop_features() -> dict[str, object]:
    return {"annotations": {"com.acme.speed": "11"}}
"""


def settle(path: Path) -> None:
    """Let everything below *path* look as if nobody had changed it for long; caches as they are."""
    for directory, _, files in os.walk(path):
        if "__pycache__" not in directory:
            for name in (*files, "."):
                os.utime(f"{directory}/{name}", ns=(LONG_AGO, LONG_AGO), follow_symlinks=False)


class Installation:
    """An installation with a bundle, whose composition has been found out once."""

    def __init__(self, place: Path) -> None:
        """Install, and run a command that composes."""
        self.prefix: Prefix = make_prefix(place / "prefix", copy=True)
        self.site = self.prefix.site
        # A virtual environment, so that the interpreter takes this directory for its own.
        (self.prefix.path / "pyvenv.cfg").write_text(f"home = {os.path.dirname(BASE)}\n")
        self.bundle = place / "bundle"
        (self.bundle / "rootfs").mkdir(parents=True)
        (self.bundle / "config.json").write_text(json.dumps(template.config()))
        settle(self.prefix.path)
        self.line = ("explain", "--format", "json", str(self.bundle))
        self.first = self.command(*self.line)

    def command(self, *arguments: str) -> str:
        """Run a command that writes its pack, and return what it printed."""
        before = os.umask(0o022)
        try:
            done = self.prefix.run(*arguments)
        finally:
            os.umask(before)
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout

    def pack(self) -> Path:
        """Return the pack of the command line that is looked at."""
        (found,) = self.site.rglob("large.*.pack")
        return found

    def composes(self) -> bool:
        """Tell whether the command line composes anew; what it prints is the same either way."""
        program = LOADED.format(site=str(self.site), boot=str(self.site / "orlop" / "cli" / "boot.py"))
        before = os.umask(0o022)
        try:
            done = subprocess.run(
                [str(self.prefix.path / "bin" / PYTHON), "-I", "-S", "-X", "utf8", "-c", program, *self.line],
                env={},
                capture_output=True,
                text=True,
                check=False,
            )
        finally:
            os.umask(before)
        *messages, modules = done.stderr.splitlines()
        assert (done.returncode, [line for line in messages if line], done.stdout) == (0, [], self.first)
        loaded = set(modules.split())
        assert "orlop.plugins.facade" in loaded
        assert ("orlop.plugins.verify" in loaded) is ("site" in loaded) is ("orlop.plugins.order" in loaded)
        return "orlop.plugins.verify" in loaded


@pytest.fixture
def installed(tmp_path: Path) -> Installation:
    return Installation(tmp_path)


def vendor(site: Path) -> None:
    """Install a distribution of a vendor, as an installer does: files first, and what names them last."""
    (site / "acme_orlop.py").write_text(PLUGIN)
    information = site / "acme_orlop-1.0.dist-info"
    information.mkdir()
    (information / "entry_points.txt").write_text("[orlop]\nacme = acme_orlop\n")


def test_it_is_found_out_once(installed: Installation) -> None:
    assert not installed.composes()
    before = installed.pack().read_bytes()
    # The launcher itself does it, and has nothing to write any more.
    assert installed.command(*installed.line) == installed.first
    assert installed.pack().read_bytes() == before
    # Other choices are composed each time.
    assert installed.command("--plugins=-rlimits", "plugins").count(" left out ") == 1
    assert json.loads(installed.command("plugins", "--order", "--format", "json"))["plugins"]
    refused = installed.prefix.run("--plugins=-rlimits", *installed.line)
    assert "plugin rlimits would handle it, but is inactive: left out (--plugins=-rlimits" in refused.stderr
    assert not installed.composes()


def test_a_distribution_that_is_installed_counts_at_once(installed: Installation) -> None:
    assert "com.acme.speed" not in installed.command("features")
    vendor(installed.site)
    for _ in range(2):
        assert "com.acme.speed" in installed.command("features")
    settle(installed.site)
    assert "com.acme.speed" in installed.command("features")
    points = installed.site / "acme_orlop-1.0.dist-info" / "entry_points.txt"
    points.write_text("")
    for _ in range(2):
        assert "com.acme.speed" not in installed.command("features")


@pytest.mark.parametrize(
    "name",
    [
        "orlop_linux/plugins/names.py",
        "orlop/plugins/order.py",
        "orlop-0.1.0.dist-info/entry_points.txt",
    ],
)
def test_what_decided_it_is_looked_at(installed: Installation, name: str) -> None:
    source = installed.site / name
    source.write_text(source.read_text() + "\n# changed\n")
    # Soon after a change nothing is kept: the next one might not show. Here it stays soon.
    os.utime(source, ns=(LONG_AGO, time.time_ns() + 3600 * 10**9))
    assert installed.composes()
    assert installed.composes()
    os.utime(source, ns=(LONG_AGO, LONG_AGO))
    assert installed.composes()
    assert not installed.composes()


def test_another_place_on_the_path(installed: Installation, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    vendor(other)
    (installed.site / "more.pth").write_text(f"{other}\n")
    assert "com.acme.speed" in installed.command("features")
    (installed.site / "more.pth").write_text(f"# {other}\n")
    assert "com.acme.speed" not in installed.command("features")
    # A line of code may lead anywhere as well, and is run only when something has changed.
    (installed.site / "more.pth").write_text(f"import sys; sys.path.append({str(other)!r})\n")
    assert "com.acme.speed" in installed.command("features")
    settle(installed.site)
    settle(other)
    for _ in range(3):
        assert "com.acme.speed" in installed.command("features")
    (other / "acme_orlop-1.0.dist-info" / "entry_points.txt").unlink()
    assert "com.acme.speed" not in installed.command("features")


def test_a_module_that_only_the_whole_path_leads_to(installed: Installation, tmp_path: Path) -> None:
    """What a plugin imports later is found although the path was not completed."""
    other = tmp_path / "other"
    other.mkdir()
    (other / "acme_late.py").write_text("SPEED = '12'\n")
    (installed.site / "more.pth").write_text(f"import sys; sys.path.append({str(other)!r})\n")
    vendor(installed.site)
    plugin = installed.site / "acme_orlop.py"
    late = """
    import os
    if os.path.exists({switch!r}):
        import acme_late
        return {{"annotations": {{"com.acme.speed": acme_late.SPEED}}}}
"""
    switch = tmp_path / "switch"
    text = late.format(switch=str(switch))
    plugin.write_text(PLUGIN.replace("[str, object]:\n", f"[str, object]:{text}"))
    settle(installed.site)
    settle(other)
    assert '"com.acme.speed": "11"' in installed.command("features")
    settle(installed.site)  # a cache has been made beside the module
    assert installed.composes()
    assert not installed.composes()
    switch.touch()
    assert '"com.acme.speed": "12"' in installed.command("features")


def test_a_pack_that_others_can_write_is_not_read(installed: Installation) -> None:
    installed.pack().chmod(0o664)
    assert installed.composes()
    assert installed.pack().stat().st_mode & 0o022 == 0  # it has been replaced
    assert not installed.composes()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: gives a file to another user")
def test_a_pack_of_somebody_else_is_not_read(installed: Installation) -> None:
    os.chown(installed.pack(), 12345, 12345)
    assert installed.composes()
    assert installed.pack().stat().st_uid == 0
    assert not installed.composes()


def test_where_nothing_can_be_kept_all_works_the_same(installed: Installation) -> None:
    installed.pack().unlink()
    before = os.umask(0)
    try:
        for _ in range(2):
            assert installed.prefix.run(*installed.line).stdout == installed.first
    finally:
        os.umask(before)
    assert list(installed.site.rglob("large.*.pack")) == []
