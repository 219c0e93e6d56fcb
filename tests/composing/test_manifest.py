"""A manifest that cannot be composed gets one clear line, and nothing is written."""

from __future__ import annotations

import os
from importlib import metadata
from pathlib import Path

import pytest
from tests.composing.conftest import orlop, pins

from orlop.documents.toml import SIZE_LIMIT

VERSION = metadata.version("orlop")
PINS = f'jeepney = \\"{metadata.version("jeepney")}\\", orlop = \\"{VERSION}\\"'

BAD = {
    "not there": (None, "cannot read the manifest: no such file or directory"),
    "no TOML": ("profile = minimal\n", "malformed manifest: "),
    "no UTF-8": (b'name = "\xff"\n', "malformed manifest: "),
    "empty": ("", "no plugin is chosen; name a profile, or plugins in [plugins]"),
    "nested deeply": (f"a = {'[' * 100_000}", "malformed manifest: nested too deeply"),
    "huge": (
        "#" * (SIZE_LIMIT + 1),
        f"cannot read the manifest: the file is too large; at most {SIZE_LIMIT} bytes",
    ),
    "twice": ('[plugins]\nmounts = "1"\nmounts = "2"\n', "malformed manifest: Cannot overwrite a value"),
    "path as name": (
        'name = "../../bin/sh"\nprofile = "minimal"\n',
        "a runtime's name is made of letters, digits and ._- (value: '../../bin/sh')",
    ),
    "two spellings": (
        f'profile = "minimal"\n[distributions]\n{pins("orlop", "jeepney")}Jeepney = "1"\n',
        "two lines of [distributions] pin the same one (value: 'Jeepney')",
    ),
    "unmet": (
        f'profile = "minimal"\n[plugins]\nhooks-d = "{VERSION}"\n',
        f'which is not in the composition (not chosen); write in [plugins]: hooks = \\"{VERSION}',
    ),
    "unknown key": ('profil = "minimal"\n', "unknown key profil; known are: name, platform, profile, "),
    "wrong type": ("profile = 3\n", "expected the name of a profile for profile (value: 3)"),
    "unknown profile": (
        'profile = "huge"\n',
        "no such profile (value: 'huge'); there are: docker-like, kubernetes-like, ",
    ),
    "bad name": (
        'name = "a/b"\nprofile = "minimal"\n',
        "a runtime's name is made of letters, digits and ._- (value: 'a/b')",
    ),
    "relative interpreter": (
        'interpreter = "python3"\nprofile = "minimal"\n',
        "expected an absolute path for interpreter (value: 'python3')",
    ),
    "a range": (
        '[plugins]\nmounts = ">=0.1"\n',
        "expected a version for mounts in [plugins] (value: '>=0.1'); one exact version",
    ),
    "no version": ("[plugins]\nmounts = true\n", "expected a version for mounts in [plugins] (value: True)"),
    "bad module": (
        'profile = "minimal"\nmodules = ["a b"]\n',
        "expected dotted names in modules (value: 'a b')",
    ),
    "missing module": (
        f'profile = "minimal"\nmodules = ["no.such.module"]\n[distributions]\n{pins("orlop", "jeepney")}',
        "there is no such module (value: 'no.such.module')",
    ),
    "unknown plugin": (
        f'[plugins]\nmount = "{VERSION}"\n',
        "no plugin of this name is installed; did you mean mounts? [plugin mount]",
    ),
    "other platform": (
        f'platform = "moon"\n[plugins]\nmounts = "{VERSION}"\n',
        "no plugin supplies platform moon",
    ),
    "plugin version": (
        '[plugins]\nmounts = "9.9"\nrootfs = "0.1.0"\n',
        f"plugin mounts is pinned to 9.9, and {VERSION} is installed (value: '9.9'); install",
    ),
    "no pins": (
        'profile = "minimal"\n',
        f"their code would be inside; write in [distributions]: {PINS}",
    ),
    "distribution version": (
        f'profile = "minimal"\n[distributions]\n{pins("jeepney")}orlop = "7"\n',
        f"distribution orlop is pinned to 7, and {VERSION} is installed (value: '7'); ",
    ),
    "pinned and not needed": (
        f'profile = "minimal"\n[distributions]\n{pins("jeepney", "orlop")}nothing = "1"\n',
        "nothing of it would be inside (value: '1'); take nothing out of [distributions]",
    ),
    "no interpreter": (
        f'interpreter = "/no/python"\nprofile = "minimal"\n[distributions]\n{pins("jeepney", "orlop")}',
        "/no/python: the interpreter does not start: no such file or directory",
    ),
    "nothing of python": (
        f'interpreter = "/bin/true"\nprofile = "minimal"\n[distributions]\n{pins("jeepney", "orlop")}',
        "/bin/true: the interpreter is no Python",
    ),
    "no python": (
        f'interpreter = "/bin/false"\nprofile = "minimal"\n[distributions]\n{pins("jeepney", "orlop")}',
        "/bin/false: the interpreter cannot compile the modules: no reason given",
    ),
}


WITHOUT_PLACE = {"unknown plugin", "other platform", "no python", "nothing of python"}
"""What is wrong with what is installed, and not with a line of the manifest."""


@pytest.mark.parametrize("what", BAD)
def test_a_bad_manifest(what: str, tmp_path: Path) -> None:
    content, expected = BAD[what]
    manifest = tmp_path / "manifest.toml"
    if content is not None:
        manifest.write_bytes(content if isinstance(content, bytes) else content.encode())
    done = orlop("compose", str(manifest), "--output", str(tmp_path / "made"))
    assert done.returncode == 1
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert expected in line
    if "interpreter" not in what and what not in WITHOUT_PLACE:
        assert str(manifest) in line
    assert [one.name for one in tmp_path.iterdir()] == (["manifest.toml"] if content is not None else [])


def test_a_manifest_that_is_no_file(tmp_path: Path) -> None:
    """Whoever opens a FIFO waits for somebody who writes to it, and a device may never end."""
    os.mkfifo(tmp_path / "fifo")
    for place in (str(tmp_path / "fifo"), "/dev/zero"):
        done = orlop("compose", place, "--output", str(tmp_path / "made"))
        assert done.returncode == 1
        (line,) = done.stderr.splitlines()
        assert f"{place}: cannot read the manifest: expected a regular file" in line
    assert [one.name for one in tmp_path.iterdir()] == ["fifo"]


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    manifest = tmp_path / "manifest.toml"
    manifest.write_text(f'profile = "minimal"\n[distributions]\n{pins("jeepney", "orlop")}')
    done = orlop("compose", str(manifest), "-o", str(tmp_path / "missing" / "made"))
    assert done.returncode == 1
    assert "cannot write the runtime: no such file or directory" in done.stderr
    (tmp_path / "made").mkdir()
    done = orlop("compose", str(manifest), "-o", str(tmp_path / "made"))
    assert done.returncode == 1
    assert "cannot write the runtime: is a directory" in done.stderr
    assert sorted(one.name for one in tmp_path.iterdir()) == ["made", "manifest.toml"]
