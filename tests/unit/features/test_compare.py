"""Two features documents beside each other, the key of one, and where documents come from."""

from __future__ import annotations

import copy
import json
import os
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.features.test_validate import MINIMAL, peer

import orlop
from orlop.advertised import source
from orlop.documents.codec import encode
from orlop_hookspecs.errors import DocumentError, PlatformError, UsageError


def ours() -> dict[str, Any]:
    with orlop.Runtime.compose(platform="fake") as runtime:
        return encode(runtime.features())


def rows(one: dict[str, Any], other: dict[str, Any]) -> set[tuple[str, str, Any, Any]]:
    found = orlop.diff_features(one, other).differences
    return {(d.path, d.value, json.dumps(d.one), json.dumps(d.other)) for d in found}


def test_a_document_does_not_differ_from_itself() -> None:
    assert orlop.diff_features(ours(), ours()).equal


def test_the_order_of_a_list_and_an_explicit_null_are_no_differences() -> None:
    one = MINIMAL | {"hooks": ["prestart", "poststop"], "linux": {"seccomp": None}}
    other = MINIMAL | {"hooks": ["poststop", "prestart"], "mountOptions": None}
    assert orlop.diff_features(one, other).equal


def test_an_empty_list_differs_from_an_unknown_one() -> None:
    assert rows(MINIMAL | {"hooks": []}, MINIMAL) == {("hooks", "", "[]", "null")}


def test_what_runc_and_crun_lack_and_have() -> None:
    found = rows(ours(), peer("runc-1.1.5"))
    assert {
        ("ociVersionMax", "", '"1.3.0"', '"1.0.2-dev"'),
        ("linux.namespaces", "time", "true", "false"),
        ("mountOptions", "idmap", "true", "false"),
        ("mountOptions", "acl", "false", "true"),
        ("linux.cgroup.rdma", "", "true", "null"),
        ("annotations", "org.opencontainers.runc.version", "null", '"1.1.5+ds1"'),
    } <= found
    assert not any(path.startswith("linux.capabilities") for path, *_ in found)
    found = rows(peer("runc-1.1.15"), peer("crun-1.21"))
    assert ("mountOptions", "copy-symlink", "false", "true") in found
    assert ("linux.seccomp.operators", "SCMP_CMP_NE", "true", "true") not in found
    assert ("linux.mountExtensions.idmap.enabled", "", "null", "true") in found


def test_swapping_the_documents_swaps_the_answers() -> None:
    one, other = peer("runc-1.1.15"), peer("crun-1.21")
    assert rows(one, other) == {(path, value, b, a) for path, value, a, b in rows(other, one)}


def test_the_table_says_unknown_and_none() -> None:
    comparison = orlop.diff_features(MINIMAL | {"hooks": []}, MINIMAL, ("orlop", "a\nb"))
    titles, (row,) = comparison.rows()
    assert titles[-1] == "A\nB"
    assert row == ("hooks", "", "none", "unknown")


def test_documents_of_another_shape_are_compared_as_they_are() -> None:
    assert rows(MINIMAL | {"linux": 5}, MINIMAL | {"linux": {"cgroup": {"v1": True}}}) == {
        ("linux", "", "5", '{"cgroup": {"v1": true}}')
    }
    assert rows(MINIMAL | {"hooks": [True]}, MINIMAL | {"hooks": [1]}) == {
        ("hooks", "True", "true", "false"),
        ("hooks", "1", "false", "true"),
    }


def test_the_key_is_that_of_the_content() -> None:
    document = ours()
    key = orlop.features_key(document)
    assert key.startswith("sha256:")
    assert len(key) == len("sha256:") + 64
    assert orlop.features_key(json.loads(json.dumps(document, indent=3, sort_keys=True))) == key


@given(st.sampled_from(sorted(peer("crun-1.21")["linux"])), st.booleans())
def test_every_change_of_a_document_changes_its_key(name: str, null: bool) -> None:
    document = peer("crun-1.21")
    changed = copy.deepcopy(document)
    if null:
        changed["linux"][name] = None
    else:
        del changed["linux"][name]
    assert orlop.features_key(changed) != orlop.features_key(document)


def test_a_composition_without_a_plugin_has_another_key() -> None:
    with orlop.Runtime.compose(platform="fake", block=["rdma"]) as runtime:
        assert orlop.features_key(encode(runtime.features())) != orlop.features_key(ours())


# -- where documents come from


def program(directory: Path, name: str, script: str) -> Path:
    path = directory / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def test_a_file_is_read_and_a_program_is_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = json.dumps(MINIMAL)
    file = tmp_path / "document.json"
    file.write_text(text)
    assert orlop.read_features(str(file)) == MINIMAL
    asked = program(tmp_path, "someruntime", f"[ \"$*\" = features ] && echo '{text}'")
    assert orlop.read_features(str(asked)) == MINIMAL
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    assert orlop.read_features("someruntime") == MINIMAL


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("echo no such command >&2; echo more >&2; exit 3", "its status is 3: no such command;"),
        ("exit 1", "its status is 1;"),
        ("kill -9 $$", "its status is -9;"),
    ],
)
def test_a_runtime_without_the_command_is_named(tmp_path: Path, script: str, words: str) -> None:
    asked = program(tmp_path, "old", script)
    with pytest.raises(PlatformError, match=r"old prints no features document") as caught:
        orlop.read_features(str(asked))
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_program_that_cannot_be_executed_is_named(tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.write_text("#!/nonexistent/interpreter\n")
    broken.chmod(0o755)
    with pytest.raises(PlatformError, match=r"cannot run .*broken"):
        orlop.read_features(str(broken))


def test_a_runtime_that_hangs_is_ended_with_all_that_it_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source, "PATIENCE", 0.3)
    pids = tmp_path / "pids"
    asked = program(tmp_path, "slow", f"sleep 1000 &\necho $! > {pids}.new && mv {pids}.new {pids}\nwait")
    begun = time.monotonic()
    with pytest.raises(PlatformError, match="has not ended after"):
        orlop.read_features(str(asked))
    assert time.monotonic() - begun < 60
    if pids.exists():  # on a busy machine it was ended before it had started anything
        assert not os.path.exists(f"/proc/{pids.read_text().strip()}/fd/0")


def test_a_runtime_that_never_stops_talking_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "SIZE_LIMIT", 100_000)
    with pytest.raises(PlatformError, match="prints more than"):
        orlop.read_features(str(program(tmp_path, "loud", "yes")))


@pytest.mark.parametrize("place", ["", "/nonexistent/document", "nonexistent-runtime"])
def test_a_place_where_nothing_is(place: str) -> None:
    with pytest.raises(UsageError) as caught:
        orlop.read_features(place)
    assert "\n" not in str(caught.value)


def test_what_a_runtime_prints_need_not_be_a_document(tmp_path: Path) -> None:
    with pytest.raises(DocumentError, match="not a JSON document"):
        orlop.read_features(str(program(tmp_path, "chatty", "echo hello")))
