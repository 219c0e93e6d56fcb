"""A vendor's distribution is composed in, with what it requires."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.composing.conftest import Composed, pins

PLUGIN = '''
from __future__ import annotations

from acme_orlop.inner import summary
from orlop_hookspecs.hooks import hookimpl
from orlop_hookspecs.hooks.capability import Handle
from orlop_hookspecs.hooks.identity import PluginInfo


class Plugin:
    """A plugin that is an object, with parameters in an order of its own."""

    @hookimpl
    def orlop_plugin(self) -> PluginInfo:
        return PluginInfo(name="acme", version="2.5", contract="1.0", summary=summary())

    @hookimpl
    def orlop_handles(self) -> list[Handle]:
        return [Handle("vm")]

    @hookimpl
    def orlop_features(self) -> dict[str, object]:
        return {"annotations": {"com.acme.speed": "11"}}

    @hookimpl
    def orlop_validate(self, context: object, config: object) -> list[object]:
        return [] if config.vm is None else [_problem(config)]


def _problem(config: object) -> object:
    from acme_orlop.late import problem

    return problem(config)


PLUGIN = Plugin()
'''
LATE = """
from orlop_hookspecs.hooks.capability import Problem
import acme_library


def problem(config):
    return Problem("/vm", f"acme knows {type(config).__name__} and {acme_library.WORD}")
"""


def distribution(site: Path, name: str, version: str, files: dict[str, str], **information: str) -> None:
    """Install a distribution of *files* into *site*."""
    place = site / f"{name.replace('-', '_')}-{version}.dist-info"
    place.mkdir(parents=True)
    requires = "".join(f"Requires-Dist: {one}\n" for one in information.get("requires", "").split())
    (place / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{requires}")
    if "points" in information:
        (place / "entry_points.txt").write_text(information["points"])
    for path, text in files.items():
        (site / path).parent.mkdir(exist_ok=True)
        (site / path).write_text(text)
    (place / "RECORD").write_text("".join(f"{path},,\n" for path in files))


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """Return a directory with a vendor's distribution, and another one that it requires."""
    files = {
        "acme_orlop/__init__.py": "",
        "acme_orlop/plugin.py": PLUGIN,
        "acme_orlop/inner.py": "def summary():\n    return 'of acme'\n",
        "acme_orlop/late.py": LATE,
        "acme_orlop/other.py": "raise RuntimeError('nobody imports this')\n",
        "acme_orlop/tests.py": "import pytest\n",
    }
    place = tmp_path / "site"
    points = "[orlop]\nacme = acme_orlop.plugin:PLUGIN\nacme-other = acme_orlop.other\n"
    distribution(place, "acme-orlop", "2.5.1", files, points=points, requires="acme-library")
    distribution(place, "acme-library", "0.3", {"acme_library.py": "WORD = 'everything'\n"})
    return place


def composed_with(site: Path, text: str) -> tuple[subprocess.CompletedProcess[str], Composed]:
    manifest = site.parent / "acme.toml"
    manifest.write_text(text)
    path = site.parent / "acme"
    program = "from orlop.cli.main import entry; entry()"
    done = subprocess.run(
        [sys.executable, "-c", program, "compose", str(manifest), "-o", str(path)],
        env={"PYTHONPATH": str(site), "PATH": os.defpath},
        capture_output=True,
        text=True,
        check=False,
    )
    return done, Composed(path, manifest, done.stdout)


def test_a_vendors_plugin_is_inside(site: Path, tmp_path: Path) -> None:
    text = (
        'profile = "minimal"\n[plugins]\nacme = "2.5"\n'
        f'[distributions]\n{pins("orlop", "jeepney")}acme-orlop = "2.5.1"\nacme_library = "0.3"\n'
    )
    done, acme = composed_with(site, text)
    assert (done.returncode, done.stderr) == (0, "")
    plugins = {one["name"]: one for one in json.loads(acme.run("plugins", "--format", "json").stdout)}
    assert plugins["acme"]["summary"] == "of acme"
    assert json.loads(acme.run("features").stdout)["annotations"]["com.acme.speed"] == "11"
    bundle = tmp_path / "bundle"
    (bundle / "rootfs").mkdir(parents=True)
    config = {"ociVersion": "1.0.2", "root": {"path": "rootfs"}, "vm": {"kernel": {"path": "/kernel"}}}
    (bundle / "config.json").write_text(json.dumps(config))
    refused = acme.run("explain", str(bundle))
    assert refused.returncode == 1
    assert "/vm: acme knows Config and everything [plugin acme]" in refused.stderr
    assert b"nobody imports this" not in acme.path.read_bytes()


def test_what_a_vendor_requires_is_pinned_as_well(site: Path) -> None:
    text = (
        'profile = "minimal"\n[plugins]\nacme = "2.5"\n'
        f'[distributions]\n{pins("orlop", "jeepney")}acme-orlop = "2.5.1"\n'
    )
    done, acme = composed_with(site, text)
    assert done.returncode == 1
    assert "the versions of acme-library are not pinned" in done.stderr
    assert 'write in [distributions]: acme-library = \\"0.3\\"' in done.stderr
    assert not acme.path.exists()


def test_an_entry_point_that_has_another_name(site: Path) -> None:
    points = site / "acme_orlop-2.5.1.dist-info" / "entry_points.txt"
    points.write_text("[orlop]\nspeed = acme_orlop.plugin:PLUGIN\n")
    text = f'profile = "minimal"\n[plugins]\nspeed = "2.5"\n[distributions]\n{pins("orlop", "jeepney")}'
    done, acme = composed_with(site, text)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert "acme.toml: plugin speed is not active for platform linux" in line
    assert not acme.path.exists()


def test_a_compiled_module_is_refused(site: Path) -> None:
    (site / "acme_library.py").unlink()
    (site / "acme_library.so").write_bytes(b"\x7fELF")
    text = (
        'profile = "minimal"\n[plugins]\nacme = "2.5"\n'
        f'[distributions]\n{pins("orlop", "jeepney")}acme-orlop = "2.5.1"\nacme-library = "0.3"\n'
    )
    done, acme = composed_with(site, text)
    assert done.returncode == 1
    assert "module acme_library is no Python source, and a single file cannot hold it" in done.stderr
    assert not acme.path.exists()
