"""What can be used: the plugins' part of the answer, and what a config needs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from tests.unit.features.usage import FLAGS, LISTS, base, bind, leaves

import orlop
from orlop.engine.doctor import needs
from orlop_hookspecs.availability import CATALOGUE, Answer
from orlop_hookspecs.errors import DocumentError, PlatformError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tests.unit.core.conftest import Compose

    from orlop_hookspecs.availability import Capability

BY_NAME = {one.name: one for one in CATALOGUE}

# Words of the document that ask nothing of the host, or that a capability of another name stands for.
ELSEWHERE = {"hooks", "linux.capabilities", "linux.seccomp.operators", "linux.seccomp.archs"}
PARTS = {"linux.seccomp.knownFlags", "linux.memoryPolicy.flags", "linux.intelRdt.schemata"}


class Told:
    """A kernel that answers what it was told to."""

    def __init__(self, **answers: Answer) -> None:
        self.answers = answers

    def examine(self, asked: Sequence[Capability]) -> Mapping[str, Answer]:
        return {one.name: self.answers[one.name] for one in asked if one.name in self.answers}


def test_names_are_unique_and_speak_of_what_exists() -> None:
    assert len(BY_NAME) == len(CATALOGUE)
    with orlop.Runtime.compose(platform="fake") as runtime:
        for one in CATALOGUE:
            for path in one.paths:
                assert runtime.composition.coverage.handlers(path), (one.name, path)


def test_everything_that_the_features_document_says_can_be_asked_of_a_host() -> None:
    features = {one.feature for one in CATALOGUE}
    with orlop.Runtime.compose(platform="fake") as runtime:
        said = {path for path, _ in leaves(runtime.composition.features.data)}
    assert said & {*LISTS, *FLAGS} - features == ELSEWHERE | PARTS
    for path in ("linux.namespaces", "linux.seccomp.actions", "linux.seccomp.supportedFlags"):
        with orlop.Runtime.compose(platform="fake") as runtime:
            words = runtime.composition.features.provenance[path]
        assert {word for one in CATALOGUE if one.feature == path for word in one.values or ()} == set(words)


@pytest.mark.parametrize("path", [*LISTS, *FLAGS])
def test_a_config_that_uses_something_needs_its_capability(path: str) -> None:
    named = [one for one in CATALOGUE if one.feature == path]
    for one in named:
        if path in LISTS and one.values:
            for word in one.values:
                assert all(needs(config, one) for config in LISTS[path](word)), (one.name, word)
        elif path in FLAGS and one.paths and one.name != "cgroups.v2":
            used = [config for config, _, _ in FLAGS[path]]
            assert all(needs(config, one) for config in used), one.name


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({}, set()),
        ({"linux": {"namespaces": [{"type": "user"}]}}, {"namespace.user"}),
        ({"linux": {"resources": {}}}, set()),
        ({"linux": {"resources": {"cpu": {"cpus": "0"}}}}, {"cgroups", "controller.cpuset"}),
        ({"linux": {"intelRdt": {}}}, {"intelRdt"}),
        ({"process": {"terminal": False}}, set()),
        ({"process": {"terminal": True, "rlimits": []}}, {"terminal"}),
        (bind("rro") | {"linux": {}, "process": {}}, {"mounts", "mounts.recursive"}),
        ({"linux": 5, "mounts": {"a": 1}, "process": []}, {"mounts"}),
    ],
)
def test_what_a_config_needs(config: dict[str, Any], expected: set[str]) -> None:
    assert {one.name for one in CATALOGUE if needs(config, one)} == expected


def test_an_answer_is_joined_with_who_implements_it() -> None:
    no = Answer(available=False, reason="there is none", remedy="buy one")
    kernel = Told(apparmor=no, seccomp=Answer(available=True, allowed=False, reason="forbidden"))
    with orlop.Runtime.compose(platform="fake", block=["selinux"]) as runtime:
        from orlop.engine.doctor import examine

        found = examine(runtime.composition, kernel, names=["apparmor", "seccomp", "selinux", "terminal"])
    told = {one.name: one for one in found.diagnoses}
    assert (told["apparmor"].plugins, told["apparmor"].available, told["apparmor"].allowed) == (
        ("apparmor",),
        False,
        None,
    )
    assert (told["apparmor"].reason, told["apparmor"].remedy) == ("there is none", "buy one")
    assert (told["seccomp"].available, told["seccomp"].allowed, told["seccomp"].usable) == (
        True,
        False,
        False,
    )
    assert (told["selinux"].implemented, told["selinux"].usable) == (False, False)
    assert told["selinux"].reason == "no active plugin implements it"
    assert (
        "plugin selinux would handle it, but is inactive: left out (--plugins=-selinux"
        in told["selinux"].remedy
    )
    assert (told["terminal"].available, told["terminal"].usable) == (None, True)
    assert [one.name for one in found.missing if one.name.count(".") == 0] == [
        "seccomp",
        "apparmor",
        "selinux",
    ]


def test_names_and_what_they_begin() -> None:
    with orlop.Runtime.compose(platform="fake") as runtime:
        found = runtime.examine(["namespace", "controller.rdma"])
        assert found.needed == tuple(one.name for one in found.diagnoses)
        assert "namespace.user" in found.needed
        assert "controller.rdma" in found.needed
        assert "controller.pids" not in found.needed
        assert set(runtime.examine().needed) == {"namespace.mount", "namespace.pid", "mounts"}
        with pytest.raises(UsageError, match="no capability of this name"):
            runtime.examine(["names"])


def test_only_what_a_config_needs_is_asked() -> None:
    with orlop.Runtime.compose(platform="fake") as runtime:
        found = runtime.examine(config=base(process={"apparmorProfile": "x"}))
        assert [one.name for one in found.diagnoses] == ["namespace.mount", "namespace.pid", "apparmor"]
        assert [one.name for one in found.missing] == ["apparmor"]
        with pytest.raises(DocumentError):
            runtime.examine(config={"ociVersion": "1.3.0", "process": 5})


def test_a_platform_that_cannot_examine_its_host_says_so(compose: Compose) -> None:
    with pytest.raises(PlatformError, match="cannot examine its host"):
        compose().examine()
