"""What the pages show can be typed and configured: command lines are understood, configurations are whole."""

from __future__ import annotations

import json
import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.engines import crio, store, test_cri

from orlop.cli import table
from orlop.cli.parse import WrongUsageError, parse_command, parse_options

ROOT = Path(__file__).resolve().parents[2]
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("**/*.md")))
BLOCK = re.compile(r"^( *)```(\w+)\n(.*?)^\1```", re.MULTILINE | re.DOTALL)
# Where a shell's command ends, or what it does with files.
ENDS = {"|", "||", "&&", ";", "&", ">", "<", "2>", ">>"}


def blocks(page: Path, language: str) -> list[str]:
    """Return the blocks of a page that are in a language."""
    found = BLOCK.findall(page.read_text(encoding="utf-8"))
    return [re.sub(rf"(?m)^{space}", "", text) for space, kind, text in found if kind == language]


def lines() -> Iterator[tuple[str, list[str]]]:
    """Yield the arguments of every call of orlop in a console, with the page."""
    for page in PAGES:
        for block in blocks(page, "console"):
            for line in block.replace("\\\n", " ").splitlines():
                if line[:2] not in {"$ ", "# "}:
                    continue
                words = shlex.split(line[2:], comments=True)
                if words and words[0].rpartition("/")[2] == "orlop":
                    end = next((i for i, word in enumerate(words) if word in ENDS or word[0] in "<>"), None)
                    yield str(page.relative_to(ROOT)), words[1:end]


LINES = list(lines())


def test_there_are_lines() -> None:
    assert len(LINES) > 60


@pytest.mark.parametrize(("page", "words"), LINES, ids=lambda value: " ".join(value)[:60])
def test_a_command_line_is_understood(page: str, words: list[str]) -> None:
    try:
        options, rest = parse_options(words, table.OPTIONS)
        command = table.find(rest[0]) if rest else None
        if command is not None:
            parse_command(options, command, rest[1:])
    except WrongUsageError as error:
        pytest.fail(f"{page}: {error}")
    assert command is not None or options["version"], page


def _parsed(text: str, language: str) -> dict[str, Any]:
    if language == "toml":
        return tomllib.loads(text)
    # A line or two that go into a file that is there.
    whole = text if text.lstrip().startswith("{") else f"{{{text}}}"
    found: dict[str, Any] = json.loads(whole)
    return found


CONFIGURED = [
    (page, language, text)
    for page in PAGES
    for language in ("toml", "json")
    for text in blocks(page, language)
    if "how-to" in page.parts
]


@pytest.mark.parametrize(
    ("page", "language", "text"), CONFIGURED, ids=lambda value: getattr(value, "stem", "")
)
def test_a_configuration_can_be_read(page: Path, language: str, text: str) -> None:
    assert _parsed(text, language), page


def configuration(page: str, language: str) -> dict[str, Any]:
    """Return what all blocks of a page say together; a later block of the same table adds to it."""
    found: dict[str, Any] = {}
    for text in blocks(ROOT / f"docs/how-to/{page}.md", language):
        _add(found, _parsed(text, language))
    return found


def _add(found: dict[str, Any], more: dict[str, Any]) -> None:
    for key, value in more.items():
        if isinstance(value, dict):
            _add(found.setdefault(key, {}), value)
        else:
            found[key] = value


def test_podman_is_configured_as_it_was_tried() -> None:
    shown = configuration("podman", "toml")
    tried = tomllib.loads(store._CONFIGURATION.format(runtime="/usr/local/bin/orlop"))
    assert shown["containers"] == tried["containers"]
    assert shown["engine"]["runtimes"] == tried["engine"]["runtimes"]
    for name, value in tried["engine"].items():
        assert name in shown["engine"]
        assert isinstance(value, dict) or set(value) <= set(shown["engine"][name])


def test_docker_is_configured_as_it_was_tried() -> None:
    shown = configuration("docker", "json")
    assert shown["runtimes"] == {"orlop": {"path": "/usr/local/bin/orlop"}}
    assert shown["default-runtime"] == "orlop"
    assert shown["default-ulimits"] == {"nofile": {"Name": "nofile", "Hard": 1024, "Soft": 1024}}


@pytest.mark.parametrize("newer", [False, True])
def test_containerd_is_configured_for_kubernetes_as_it_was_tried(*, newer: bool) -> None:
    service = test_cri._SERVICE[newer]
    words = dict.fromkeys(("own", "peer", "cni"), "")
    text = test_cri._CONFIGURATION.format(
        service=service, runtime="/usr/local/bin/orlop", systemd="true", no_apparmor="true", **words
    )
    tried = tomllib.loads(text)["plugins"][service]["containerd"]
    page = blocks(ROOT / "docs/how-to/kubernetes.md", "toml")
    (shown,) = (one for one in map(tomllib.loads, page) if one.get("version") == (3 if newer else 2))
    runtime = shown["plugins"][service]["containerd"]["runtimes"]["orlop"]
    assert runtime["runtime_type"] == tried["runtimes"]["orlop"]["runtime_type"]
    assert runtime["options"].items() <= tried["runtimes"]["orlop"]["options"].items()


def test_crio_is_configured_as_it_was_tried() -> None:
    shown = configuration("crio", "toml")["crio"]["runtime"]
    words = dict.fromkeys(("scratch", "pause", "peer"), "")
    text = crio._CONFIGURATION.format(**words, runtime="/usr/local/bin/orlop")
    tried = tomllib.loads(text)["crio"]["runtime"]
    for name in ("cgroup_manager", "default_runtime"):
        assert shown[name] == tried[name]
    assert shown["runtimes"]["orlop"] == {**tried["runtimes"]["orlop"], "runtime_root": "/run/orlop"}
