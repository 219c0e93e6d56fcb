"""What the features document advertises is accepted, and what it does not advertise is refused."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.features.box import Box
from tests.unit.features.usage import FLAGS, HOOK, LISTS, SYSTEMD, at, base, bind, capabilities, tmpfs

from orlop_hookspecs.documents import vocabulary
from orlop_hookspecs.errors import DocumentError, OrlopError
from orlop_hookspecs.launch import LaunchOptions

_REAL: dict[str, tuple[str, ...]] = {
    "mountOptions": (
        "acl",
        "auto",
        "group",
        "nofail",
        "noauto",
        "owner",
        "user",
        "users",
        "_netdev",
        "x-systemd.automount",
        "copy-symlink",
        "dest-nofollow",
        "rec-bind",
        "move",
        "rnoiversion",
        "rsync",
        "rlazytime",
        "rtmpcopyup",
        "nodefaults",
        "noidmap",
    ),
    "linux.namespaces": (*vocabulary.NAMESPACE_TYPES, "net", "mnt", "ipcs", "syslog"),
    "linux.capabilities": (
        "CAP_ALL",
        "ALL",
        "CAP_SYS_ALL",
        "CAP_LAST_CAP",
        "CAP_41",
        "CAP_",
        "CAP_EMPTY_SET",
    ),
    "linux.seccomp.actions": (
        *vocabulary.SECCOMP_ACTIONS,
        "SCMP_ACT_USER_NOTIF",
        "SECCOMP_RET_ALLOW",
        "SCMP_ACT_DENY",
    ),
    "linux.seccomp.operators": (*vocabulary.SECCOMP_OPERATORS, "SCMP_CMP_MASKED_NE", "=="),
    "linux.seccomp.archs": (
        *vocabulary.SECCOMP_ARCHITECTURES,
        "SCMP_ARCH_NATIVE",
        "SCMP_ARCH_RISCV32",
        "amd64",
        "x86_64",
    ),
    "linux.seccomp.knownFlags": (
        *vocabulary.SECCOMP_FLAGS,
        "SECCOMP_FILTER_FLAG_NEW_LISTENER",
        "SECCOMP_FILTER_FLAG_TSYNC_ESRCH",
        "LOG",
    ),
    "linux.memoryPolicy.modes": vocabulary.MEMORY_POLICY_MODES,
    "linux.memoryPolicy.flags": vocabulary.MEMORY_POLICY_FLAGS,
}
"""Words that exist somewhere, advertised or not."""

_REAL["linux.seccomp.supportedFlags"] = _REAL["linux.seccomp.knownFlags"]


@pytest.fixture(scope="module")
def boxes() -> dict[str, Box]:
    return {version: Box(version) for version in ("v2", "v1", "hybrid")}


@pytest.fixture(scope="module")
def box(boxes: dict[str, Box]) -> Box:
    return boxes["v2"]


def _advertised() -> list[tuple[str, str]]:
    features = Box().features
    return [(path, value) for path in LISTS for value in at(features, path) or ()]


ADVERTISED = _advertised()


@pytest.mark.parametrize(("path", "value"), ADVERTISED, ids=lambda one: one)
def test_an_advertised_value_is_accepted(box: Box, path: str, value: str) -> None:
    configs = list(LISTS[path](value))
    assert configs
    for config in configs:
        box.accepts(config)


@pytest.mark.parametrize("path", FLAGS)
def test_an_advertised_capability_of_the_runtime_is_accepted_and_others_are_refused(
    boxes: dict[str, Box], path: str
) -> None:
    advertised = at(boxes["v2"].features, path)
    for config, cgroups, options in FLAGS[path]:
        if advertised is True:
            boxes[cgroups].accepts(config, options)
        else:
            boxes[cgroups].refuses(config, options)


def neighbours(words: set[str]) -> Iterator[str]:
    """Yield misspellings of each of *words*."""
    for word in sorted(words):
        yield from (word.lower(), word.upper(), word.capitalize(), word.swapcase())
        yield from (
            f" {word}",
            f"{word} ",
            f"{word}\n",
            f"{word}s",
            f"no{word}",
            f"r{word}",
            word[1:],
            word[:-1],
        )
        yield from (word.replace("_", "-"), word.rpartition("_")[2], f"{word}=1", f"{word},{word}")
        yield f"{word[:-1]}{chr(ord(word[-1]) + 0xFEE0)}"  # the full-width form of the last letter


def strangers(box: Box, path: str) -> list[str]:
    """Return words for *path* that are not advertised there."""
    advertised = set(at(box.features, path) or ())
    return sorted({*neighbours(advertised), *_REAL.get(path, ()), "x"} - advertised - {""})


# A kind of hook is the name of a property, and unknown properties are ignored: see below. Capabilities, too.
CLOSED = [path for path in LISTS if path not in {"hooks", "mountOptions", "linux.capabilities"}]


@pytest.mark.parametrize("path", CLOSED)
def test_what_is_not_advertised_is_refused_before_anything_is_touched(box: Box, path: str) -> None:
    for word in strangers(box, path):
        for config in LISTS[path](word):
            error = box.refuses(config)
            assert error.pointer.startswith("/linux/"), word


def test_a_capability_that_is_not_advertised_is_left_out_and_told(box: Box) -> None:
    """The specification has it so (config.md, Linux Process): a warning, and the runtime SHOULD NOT fail."""
    words = strangers(box, "linux.capabilities")
    for config in capabilities(*words):
        box.warnings.clear()
        box.accepts(config)
        assert len(box.warnings) == len(words)
        for word, warning in zip(words, box.warnings, strict=True):
            assert (
                f"capability {word!a} is left out: no capability of this name is known (/process/" in warning
            )
        # One for each place; the last set of a config is what it is about.
        remarks = box.runtime.check(config).ignored[-len(words) :]
        assert [(one.value, one.plugins) for one in remarks] == [(word, ("capabilities",)) for word in words]


@pytest.mark.parametrize("path", CLOSED)
def test_no_text_is_accepted_that_is_not_advertised(box: Box, path: str) -> None:
    advertised = set(at(box.features, path) or ())
    words = st.one_of(
        st.text(max_size=30),
        st.sampled_from(sorted(advertised) or ["MPOL_BIND"]).flatmap(
            lambda word: st.tuples(st.integers(0, len(word)), st.characters()).map(
                lambda cut: word[: cut[0]] + cut[1] + word[cut[0] + 1 :]
            )
        ),
    )

    @settings(max_examples=25)
    @given(words.filter(lambda word: word not in advertised))
    def refused(word: str) -> None:
        for config in LISTS[path](word):
            box.refuses(config)

    refused()


def test_the_notify_action_needs_an_agent(box: Box) -> None:
    for config in LISTS["linux.seccomp.actions"]("SCMP_ACT_NOTIFY"):
        del config["linux"]["seccomp"]["listenerPath"]
        del config["linux"]["seccomp"]["listenerMetadata"]
        error = box.refuses(config, match="SCMP_ACT_NOTIFY")
        assert error.pointer == "/linux/seccomp/listenerPath"


def test_a_bind_mount_has_no_option_but_the_advertised_ones(box: Box) -> None:
    for option in strangers(box, "mountOptions"):
        error = box.refuses(bind(option))
        assert error.pointer == "/mounts/0/options/0", option


def test_any_other_option_is_the_file_systems_to_refuse(box: Box) -> None:
    """A file system has options of its own: the kernel says which, and then nothing is left."""
    box.accepts(tmpfs("size=64k"))
    for option in ("acl", "NOSUID", "nosuid,nodev", "noSuid", "sizes=1"):
        with pytest.raises(OrlopError):
            box.runtime.create("box", tmpfs(option))
        assert box.kernel.leaks() == [], option


@pytest.mark.parametrize(
    "option", sorted({*at(Box().features, "mountOptions")} - {"tmpcopyup", "idmap", "ridmap"})
)
def test_an_option_stands_together_with_the_others_of_its_mount(box: Box, option: str) -> None:
    box.accepts(bind("rbind", option, "nosuid", "rprivate"))


def test_an_unknown_kind_of_hook_is_ignored_like_every_unknown_property_and_reported(box: Box) -> None:
    for kind in ("preStart", "poststopped", "createContainers"):
        config = base(hooks={kind: [{"path": HOOK}]})
        box.accepts(config)
        verdict = box.runtime.check(config)
        assert any(one.pointer == f"/hooks/{kind}" for one in verdict.ignored), kind
        box.refuses(config | {"ociVersion": "1.99.0"}, match=kind)


def test_both_ends_of_the_versions_are_accepted(box: Box) -> None:
    for end in ("ociVersionMin", "ociVersionMax"):
        box.accepts(base() | {"ociVersion": box.features[end]})


@pytest.mark.parametrize(
    "version", ["0.0.0", "0.9.9", "2.0.0", "10.0.0", "1", "1.3", "v1.3.0", "1.3.0 ", "", "1.03.0"]
)
def test_versions_outside_are_refused(box: Box, version: str) -> None:
    error = box.refuses(base() | {"ociVersion": version})
    assert isinstance(error, DocumentError)
    assert error.pointer == "/ociVersion"


def test_a_newer_version_is_accepted_for_what_is_known_and_refused_for_more(box: Box) -> None:
    newest = box.features["ociVersionMax"]
    major, minor, _ = newest.split(".")
    newer = f"{major}.{int(minor) + 1}.0"
    box.accepts(base() | {"ociVersion": newer})
    box.refuses(base(novel={}) | {"ociVersion": newer}, match="novel")
    box.refuses(base(linux={"novel": 1}) | {"ociVersion": newer}, match="novel")


def _plan(box: Box, config: dict[str, Any], *, systemd: bool = False) -> Any:
    return box.runtime.explain(config, options=LaunchOptions(systemd_cgroup=systemd)).as_data()["phases"]


def test_annotations_change_nothing_but_those_that_are_named_as_unsafe(box: Box) -> None:
    prefix, strict = box.features["potentiallyUnsafeConfigAnnotations"]
    harmless = base(annotations={"run.oci.handler": "krun", "io.orlop.version": "0"})
    unsafe = base(annotations={f"{prefix}KillSignal": "37"})
    for systemd in (False, True):
        assert _plan(box, harmless, systemd=systemd) == _plan(box, base(), systemd=systemd)
    assert _plan(box, unsafe) == _plan(box, base())
    assert _plan(box, unsafe, systemd=True) != _plan(box, base(), systemd=True)
    for config in (harmless, unsafe):
        box.accepts(config)
        box.accepts(config, SYSTEMD)
    unknown = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["no_such"], "action": "SCMP_ACT_LOG"}],
    }
    box.accepts(base(linux={"seccomp": unknown}))
    box.refuses(base(linux={"seccomp": unknown}, annotations={strict: "1"}), match="asks for a refusal")
    box.refuses(base(annotations={f"{prefix}ExecStop": "'/bin/true'"}), SYSTEMD, match="may not set")
