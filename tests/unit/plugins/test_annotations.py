"""Annotations of other runtimes: which are acted on, by whom, and what is said of the rest."""

from __future__ import annotations

import errno
from typing import Any

import pytest
from tests.unit.features.usage import AGENT

import orlop
from orlop.kit import Sample, check_planning
from orlop_fake import FakeKernel, FakePlatform, File
from orlop_hookspecs.errors import ConfigError, OrlopError, StepError
from orlop_linux.plugins import criu_config, keep_groups, seccomp, seccomp_receiver
from orlop_linux.plugins.annotations import NEVER

KEEP, STRICT = keep_groups.ANNOTATION, seccomp.STRICT
RECEIVER, CRIU = seccomp_receiver.ANNOTATION, criu_config.ANNOTATION
OPTIONAL = {"keep-groups": KEEP, "seccomp-receiver": RECEIVER, "criu-config": CRIU}
FILTER = {
    "defaultAction": "SCMP_ACT_ALLOW",
    "syscalls": [{"names": ["chmod"], "action": "SCMP_ACT_NOTIFY"}],
}
UNKNOWN = {
    "defaultAction": "SCMP_ACT_ALLOW",
    "syscalls": [{"names": ["chmod", "no_such_call"], "action": "SCMP_ACT_ERRNO"}],
}


def config(notes: dict[str, str], filters: dict[str, Any] | None = None, **process: Any) -> dict[str, Any]:
    return {
        "ociVersion": "1.3.0",
        "root": {"path": "/image"},
        "process": {"cwd": "/", "args": ["/bin/sleep", "9"], "user": {"uid": 0, "gid": 0}} | process,
        "annotations": notes,
        "linux": {"namespaces": [{"type": "mount"}]} | ({"seccomp": filters} if filters else {}),
    }


def machine(**files: File) -> FakeKernel:
    kernel = FakeKernel(files={"/etc/criu": files}, groups=(5, 7))
    kernel.add_rootfs("/image")
    kernel.agents[AGENT] = lambda _: None
    return kernel


def runtime(*plugins: str, kernel: FakeKernel | None = None) -> orlop.Runtime:
    return orlop.Runtime.compose(FakePlatform(kernel or machine()), [f"+{one}" for one in plugins] or None)


PLAIN = runtime()


def listed(made: orlop.Runtime) -> list[str]:
    return list(made.composition.features.data["potentiallyUnsafeConfigAnnotations"])


def phases(made: orlop.Runtime, notes: dict[str, str], filters: dict[str, Any] | None = None) -> Any:
    return made.explain(config(notes, filters)).as_data()["phases"]


def test_those_that_are_harmless_are_acted_on_and_described_by_default() -> None:
    assert listed(PLAIN) == ["org.systemd.property.", STRICT]
    said = PLAIN.composition.features.data["annotations"]
    assert {"io.orlop.annotation.org.systemd.property", f"io.orlop.annotation.{STRICT}"} <= set(said)


@pytest.mark.parametrize("plugin", OPTIONAL)
def test_the_others_are_listed_and_acted_on_only_in_a_composition_with_their_plugin(plugin: str) -> None:
    key = OPTIONAL[plugin]
    made = runtime(plugin)
    assert set(listed(made)) - set(listed(PLAIN)) == {key}
    more = set(made.composition.features.data["annotations"]) - set(
        PLAIN.composition.features.data["annotations"]
    )
    assert more == {f"io.orlop.annotation.{key}"}
    notes = {key: AGENT if key == RECEIVER else "/etc/criu/options" if key == CRIU else "1"}
    filters = FILTER | {"listenerPath": AGENT} if key != RECEIVER else FILTER
    plain = config(notes, None if key == CRIU else filters)
    # Without the plugin check says who would act; with it nothing is left to say.
    (said,) = [one for one in PLAIN.check(plain).ignored if one.pointer == f"/annotations/{key}"]
    assert f"--plugins=+{plugin}" in said.hint
    assert made.check(plain).ignored == ()
    assert made.check(plain).accepted


@pytest.mark.parametrize("key", NEVER)
def test_what_nobody_acts_on_changes_nothing_and_check_says_why(key: str) -> None:
    everything = runtime(*OPTIONAL)
    assert phases(everything, {key: "1"}) == phases(everything, {})
    (said,) = everything.check(config({key: "1"})).ignored
    assert (said.pointer, said.hint) == (f"/annotations/{key}", NEVER[key])
    assert key not in listed(everything)


def test_annotations_that_nobody_knows_are_carried_along() -> None:
    kernel = machine()
    notes = {"com.example/x": "y", "io.podman.annotations.init": "TRUE", "bundle": "/elsewhere"}
    made = runtime(*OPTIONAL, kernel=kernel)
    assert made.check(config(notes)).ignored == ()
    container = made.create("c", config(notes))
    assert container.state()["annotations"] == notes
    assert container.state()["bundle"] != "/elsewhere"
    container.delete(force=True)


BAD = [
    ({KEEP: "false"}, KEEP, "must be 1 or true"),
    ({STRICT: "0"}, STRICT, "must be 1 or true"),
    ({RECEIVER: "relative"}, RECEIVER, "not absolute"),
    ({RECEIVER: ""}, RECEIVER, "empty"),
    ({RECEIVER: "/a\0b"}, RECEIVER, ""),
    ({RECEIVER: "/a"}, RECEIVER, "no filter"),
    ({CRIU: "relative"}, CRIU, "not absolute"),
    ({CRIU: "/" + "a" * 300}, CRIU, "longer"),
]


@pytest.mark.parametrize(("notes", "key", "words"), BAD)
def test_a_bad_value_is_one_line_that_says_where(notes: dict[str, str], key: str, words: str) -> None:
    kernel = machine()
    before = kernel.snapshot()
    with pytest.raises((ConfigError, OrlopError)) as caught:
        runtime(*OPTIONAL, kernel=kernel).create("c", config(notes))
    text = str(caught.value)
    assert text.startswith(f"/annotations/{key}: ")
    assert words in text
    assert text.isprintable()
    assert kernel.snapshot() == before


def test_groups_of_the_config_and_of_the_caller_exclude_each_other() -> None:
    made = runtime("keep-groups")
    both = config({KEEP: "1"}, user={"uid": 0, "gid": 0, "additionalGids": [8]})
    with pytest.raises(ConfigError, match="cannot be kept and others added"):
        made.create("c", both)
    assert PLAIN.check(both).accepted
    assert "KeepGroups" in str(phases(made, {KEEP: "true"}))
    assert "KeepGroups" not in str(phases(PLAIN, {KEEP: "true"}))


def test_the_socket_of_the_agent() -> None:
    kernel = machine()
    made = runtime("seccomp-receiver", kernel=kernel)
    explained = made.explain(config({RECEIVER: AGENT}, FILTER))
    assert explained.prepared.owners == {"/linux/seccomp/listenerPath": "seccomp-receiver"}
    container = made.create("c", config({RECEIVER: AGENT}, FILTER))
    container.start()
    assert [state["id"] for state in (one["state"] for one in kernel.agent_states)] == ["c"]
    container.delete(force=True)
    other = FILTER | {"listenerPath": "/other"}
    with pytest.raises(ConfigError, match=f"/annotations/{RECEIVER}: the config names another socket"):
        made.create("c", config({RECEIVER: AGENT}, other))
    assert made.check(config({RECEIVER: AGENT}, FILTER | {"listenerPath": AGENT})).accepted


def test_unknown_system_calls_are_refused_for_who_asks() -> None:
    assert PLAIN.check(config({}, UNKNOWN)).accepted
    verdict = PLAIN.check(config({STRICT: "1"}, UNKNOWN))
    (said,) = verdict.refused
    assert said.pointer == "/linux/seccomp/syscalls/0/names/1"
    assert STRICT in said.message
    assert verdict.ignored == ()
    known = phases(PLAIN, {STRICT: "1"}, FILTER | {"listenerPath": AGENT})
    assert known != phases(PLAIN, {}, FILTER | {"listenerPath": AGENT})


FILES = {
    "good": File("tcp-established\n"),
    "others": File("", mode=0o666),
    "theirs": File("", uid=1000),
}


@pytest.mark.parametrize(
    ("name", "number"),
    [("good", 0), ("", 0), ("missing", errno.ENOENT), ("others", errno.EPERM), ("theirs", errno.EPERM)],
)
def test_the_file_with_options_for_criu(name: str, number: int) -> None:
    kernel = machine(**FILES)
    made = runtime("criu-config", kernel=kernel)
    noted = config({CRIU: f"/etc/criu/{name}" if name else ""})
    container = made.create("c", noted)
    container.start()
    if number:
        with pytest.raises(StepError) as caught:
            container.checkpoint("/images")
        assert (caught.value.errno, container.status) == (number, "running")
        assert str(caught.value).startswith(f"/etc/criu/{name}: /annotations/{CRIU}: ")
        container.delete(force=True)
        with pytest.raises(StepError) as caught:
            made.restore("c", noted, "/images")
        assert caught.value.errno == number
    else:
        container.checkpoint("/images")
        made.restore("c", noted, "/images").delete(force=True)
    assert kernel.leaks() == []


@pytest.mark.parametrize("plugin", [keep_groups, seccomp_receiver, criu_config])
def test_they_pass_the_kit(plugin: Any) -> None:
    key = plugin.ANNOTATION
    noted = config({key: "1" if key == KEEP else AGENT}, FILTER if key == RECEIVER else None)
    check_planning(plugin, samples=[Sample("noted", noted)]).require()
