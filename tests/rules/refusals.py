"""Rules of bad input: an error, and nothing changed (config.md; runtime.md, Errors)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.rules.world import World, rule

from orlop_hookspecs.errors import OrlopError


def _config(bundle: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((bundle / "config.json").read_text())
    return found


def _refused(w: World, bundle: Path, match: str | None = None) -> None:
    with pytest.raises(OrlopError, match=match):
        w.create("c", bundle=bundle)
    assert w.left() == []
    assert list(w.runtime.list()) == []


@rule
def a_missing_bundle_is_refused(w: World) -> None:
    _refused(w, w.place / "absent")


@rule
def a_missing_config_is_refused(w: World) -> None:
    bundle = w.bundle()
    (bundle / "config.json").unlink()
    _refused(w, bundle, "config.json")


@rule
def a_config_that_is_no_json_is_refused(w: World) -> None:
    bundle = w.bundle()
    for text in ("", "{", "[]", "null", "\ufeff{}", '{"ociVersion": "1.0.0"} x'):
        (bundle / "config.json").write_text(text)
        _refused(w, bundle)


@rule
def doubled_keys_are_refused(w: World) -> None:
    bundle = w.bundle()
    text = json.dumps(_config(bundle))
    (bundle / "config.json").write_text(text[:-1] + ', "hostname": "again"}')
    _refused(w, bundle)


@rule
def wrong_types_are_refused(w: World) -> None:
    changes: tuple[dict[str, Any], ...] = (
        {"process": {"args": "sh"}},
        {"process": {"user": {"uid": -1}}},
        {"process": {"user": {"uid": True}}},
        {"root": {"path": 7}},
        {"hostname": ["a"]},
        {"linux": {"namespaces": {}}},
        {"linux": {"resources": {"pids": {"limit": "5"}}}},
    )
    for change in changes:
        _refused(w, w.bundle(change=change))


@rule
def unknown_versions_are_refused(w: World) -> None:
    for version in ("", "1", "0.9.0", "2.0.0", "one"):
        _refused(w, w.bundle(change={"ociVersion": version}))


@rule
def unknown_properties_are_ignored(w: World) -> None:
    c = w.create("c", change={"org.example.unknown": {"a": [1, 2]}})
    assert c.state()["status"] == "created"


@rule
def an_unknown_namespace_is_refused(w: World) -> None:
    _refused(w, w.bundle(change={"linux": {"namespaces": [{"type": "mount"}, {"type": "dream"}]}}))


@rule
def an_unknown_resource_limit_is_refused(w: World) -> None:
    limits = [{"type": "RLIMIT_DREAM", "soft": 1, "hard": 1}]
    _refused(w, w.bundle(change={"process": {"rlimits": limits}}))


@rule
def an_unknown_seccomp_action_is_refused(w: World) -> None:
    _refused(w, w.bundle(change={"linux": {"seccomp": {"defaultAction": "SCMP_ACT_DREAM"}}}))


@rule
def an_unknown_propagation_is_refused(w: World) -> None:
    _refused(w, w.bundle(change={"linux": {"rootfsPropagation": "dreamy"}}))


@rule
def a_relative_mount_destination_is_below_the_root(w: World) -> None:
    mounts = [{"destination": "relative", "type": "tmpfs", "source": "tmpfs"}]
    assert w.run("/bin/kinds", "/relative", change={"mounts": mounts})[1] == "/relative: directory\n"


@rule
def a_hostname_without_its_namespace_is_refused(w: World) -> None:
    before = w.hostname()
    _refused(w, w.bundle(change={"linux": {"namespaces": [{"type": "pid"}, {"type": "mount"}]}}))
    assert w.hostname() == before


@rule
def a_terminal_without_a_socket_is_refused(w: World) -> None:
    _refused(w, w.bundle(change={"process": {"terminal": True}}))


@rule
def a_failed_create_can_be_repeated(w: World) -> None:
    with pytest.raises(OrlopError):
        w.create("c", "absent")
    assert w.create("c").state()["status"] == "created"
