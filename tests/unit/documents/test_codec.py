"""Decoding: types, ranges, pointers, nulls, unknown properties; and encoding back."""

from __future__ import annotations

import json
import re
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orlop.documents.codec import (
    converter,
    decode,
    decode_config,
    decode_features,
    decode_state,
    encode,
    encode_json,
)
from orlop.documents.faults import InvalidDocumentError, pointer
from orlop.documents.properties import null_properties, unknown_properties
from orlop.documents.structure import _capitals_after
from orlop_hookspecs.documents import (
    Config,
    Features,
    IDMapping,
    Linux,
    Mount,
    Namespace,
    Process,
    Resources,
    Root,
    Seccomp,
    SeccompFeatures,
    State,
    User,
)
from orlop_hookspecs.errors import UNSET, DocumentError

FEATURES = {"ociVersionMin": "1.0.0", "ociVersionMax": "1.3.0"}


def _nested(place: str, value: object) -> dict[str, Any]:
    """Return a config with *value* at *place*; a component that is a number makes an array."""
    for part in reversed(place.split("/")):
        value = [value] if part == "0" else {part: value}
    assert isinstance(value, dict)
    return {"ociVersion": "1.0.0", **value}


def _faulty(data: dict[str, Any]) -> list[str]:
    """Return the pointers of all faults: the objects around a value under test may lack properties."""
    try:
        decode_config(data)
    except InvalidDocumentError as error:
        return [fault.pointer for fault in error.faults]
    return []


U32 = (0, (1 << 32) - 1)
U64 = (0, (1 << 64) - 1)
I64 = (-(1 << 63), (1 << 63) - 1)
INTEGERS = {
    "process/user/umask": U32,
    "linux/resources/memory/limit": I64,
    "linux/resources/memory/swappiness": U64,
    "linux/resources/cpu/shares": U64,
    "linux/resources/cpu/quota": I64,
    "linux/resources/blockIO/weight": (0, 65535),
    "linux/resources/network/classID": U32,
    "linux/seccomp/defaultErrnoRet": U32,
    "process/oomScoreAdj": I64,
    "process/user/uid": U32,
    "process/user/gid": U32,
    "process/user/additionalGids/0": U32,
    "linux/uidMappings/0/containerID": U32,
    "linux/gidMappings/0/hostID": U32,
    "linux/gidMappings/0/size": U32,
    "linux/devices/0/fileMode": (0, (1 << 32) - 1),
    "freebsd/jail/enforceStatfs": (0, 255),
}
# What an integer is never read from; -1 as an id wraps to "leave unchanged" in other languages.
NOT_INTEGERS: tuple[object, ...] = (True, False, 1.0, 1e3, 0.5, "0", "1", "٣", "²", " 1_0 ", [], {}, [0])


@pytest.mark.parametrize("place", INTEGERS)
def test_integers_have_exact_types_and_ranges(place: str) -> None:
    minimum, maximum = INTEGERS[place]
    where = "/" + place
    for value in (*NOT_INTEGERS, minimum - 1, maximum + 1, 1 << 64, -(1 << 64)):
        with pytest.raises(InvalidDocumentError) as caught:
            decode_config(_nested(place, value))
        [fault] = [fault for fault in caught.value.faults if fault.pointer == where]
        assert fault.message == f"expected an integer from {minimum} to {maximum}"
        assert fault.value is value
    for value in (minimum, maximum):
        assert where not in _faulty(_nested(place, value))


OTHERS: tuple[tuple[str, object, str], ...] = (
    ("hostname", 1, "expected a string"),
    ("hostname", True, "expected a string"),
    ("hostname", "a\0b", "expected a string without NUL"),
    ("hostname", "\ud800", "expected a string without lone surrogates"),
    ("hostname", "\udc80", "expected a string without lone surrogates"),
    ("root", [], "expected an object"),
    ("root", "rootfs", "expected an object"),
    ("mounts", {}, "expected an array"),
    ("mounts/0", "x", "expected an object"),
    ("mounts/0", None, "expected an object"),
    ("process/args", "sh", "expected an array"),
    ("process/args/0", None, "expected a string"),
    ("process/terminal", 1, "expected true or false"),
    ("process/terminal", "true", "expected true or false"),
    ("process/rlimits/0/type", "RLIMIT_NOFILE\n", "expected the name of a limit such as RLIMIT_NOFILE"),
    ("process/rlimits/0/type", "RLIMIT_\u00c9", "expected the name of a limit such as RLIMIT_NOFILE"),
    ("process/execCPUAffinity/initial", "0-٣", "expected a list of CPUs such as 0-3,7"),
    ("linux/namespaces/0/type", "net", "expected one of mount, pid, network, uts, ipc, user, cgroup, time"),
    ("linux/devices/0/type", "x", "expected one of c, b, u, p"),
    ("linux/intelRdt/memBwSchema", "MB:0=1\n", "expected one line that starts with MB:"),
    ("linux/intelRdt/memBwSchema", "L3:0=1", "expected one line that starts with MB:"),
    ("linux/resources/hugepageLimits/0/pageSize", "02MB", "expected a page size such as 64KB, 2MB or 1GB"),
    ("linux/seccomp/syscalls/0/names", [], "expected an array that is not empty"),
    ("linux/sysctl", [], "expected an object"),
    ("linux/sysctl/", "x", "expected keys that are not empty"),
    ("annotations/", "x", "expected keys that are not empty"),
    ("annotations/a", 1, "expected a string"),
    ("annotations/a\0", "x", "expected a string without NUL"),
    ("linux/timeOffsets/boottime/secs", 1.5, f"expected an integer from {I64[0]} to {I64[1]}"),
    ("windows/layerFolders", [], "expected an array that is not empty"),
    ("windows/credentialSpec", "x", "expected an object"),
    ("windows/credentialSpec/x/0", float("nan"), "expected a number that JSON knows"),
    ("windows/credentialSpec/x", float("inf"), "expected a number that JSON knows"),
    ("windows/credentialSpec/x", "\0", "expected a string without NUL"),
    (
        "windows/credentialSpec/x",
        {"\ud800": 1},
        "expected keys that are strings without NUL or lone surrogates",
    ),
    ("windows/credentialSpec/x", b"x", "expected JSON data"),
    ("windows/resources/cpu/affinity", 1, "expected an object or an array of them"),
)


@pytest.mark.parametrize(("place", "value", "message"), OTHERS)
def test_types_and_enumerations(place: str, value: object, message: str) -> None:
    with pytest.raises(InvalidDocumentError) as caught:
        decode_config(_nested(place, value))
    [fault] = [fault for fault in caught.value.faults if fault.pointer == "/" + place]
    assert fault.message == message
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("data", "missing"),
    [
        ({}, ["/ociVersion"]),
        ({"ociVersion": None}, ["/ociVersion"]),
        ({"ociVersion": "1.0.0", "root": {}}, ["/root/path"]),
        ({"ociVersion": "1.0.0", "root": {"path": None}}, ["/root/path"]),
        ({"ociVersion": "1.0.0", "process": {"user": {}}}, ["/process/cwd"]),
        ({"ociVersion": "1.0.0", "mounts": [{"destination": "/"}, {}]}, ["/mounts/1/destination"]),
        ({"ociVersion": "1.0.0", "linux": {"seccomp": {}}}, ["/linux/seccomp/defaultAction"]),
        (
            {"ociVersion": "1.0.0", "linux": {"uidMappings": [{"size": 1}]}},
            ["/linux/uidMappings/0/containerID", "/linux/uidMappings/0/hostID"],
        ),
        ({"ociVersion": "1.0.0", "windows": {}, "vm": {}}, ["/windows/layerFolders", "/vm/kernel"]),
    ],
)
def test_required_properties(data: dict[str, Any], missing: list[str]) -> None:
    with pytest.raises(InvalidDocumentError) as caught:
        decode_config(data)
    assert [fault.pointer for fault in caught.value.faults] == missing
    assert {fault.message for fault in caught.value.faults} == {"required property is missing"}
    assert caught.value.value is UNSET


def test_pointers_are_escaped() -> None:
    assert pointer(()) == ""
    assert pointer(("a/b", "m~n", 0, "", "~1")) == "/a~1b/m~0n/0//~01"
    with pytest.raises(InvalidDocumentError) as caught:
        decode_config({"ociVersion": "1.0.0", "annotations": {"org/x~y": 1}})
    assert caught.value.pointer == "/annotations/org~1x~0y"


def test_the_error_names_the_first_fault_and_counts_the_rest() -> None:
    data = {"ociVersion": "1.0.0", "hostname": 1, "domainname": 2, "root": {}, "mounts": 3, "linux": 4}
    with pytest.raises(InvalidDocumentError) as caught:
        decode_config(data, path="b/config.json")
    assert str(caught.value) == (
        "b/config.json: /hostname: expected a string; "
        "and 4 more: /domainname, /root/path, /mounts, ... (value: 1)"
    )
    assert isinstance(caught.value, DocumentError)
    assert isinstance(caught.value, ValueError)


def test_faults_are_limited_and_values_shortened() -> None:
    with pytest.raises(InvalidDocumentError) as caught:
        decode_config({"ociVersion": "1.0.0", "process": {"cwd": "/", "args": [1] * 100_000}})
    assert [fault.pointer for fault in caught.value.faults] == [f"/process/args/{i}" for i in range(20)]
    assert "and 19+ more: " in str(caught.value)
    with pytest.raises(InvalidDocumentError) as caught:
        decode_config({"ociVersion": "1.0.0", "annotations": "x\x1b" * 1_000_000})
    assert len(str(caught.value)) < 400
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("data", [None, [], "x", 1, True])
def test_the_document_itself_must_be_an_object(data: Any) -> None:
    for read in (decode_config, decode_state, decode_features):
        with pytest.raises(InvalidDocumentError) as caught:
            read(data)
        assert caught.value.pointer == ""


def test_null_counts_as_absent_in_a_config() -> None:
    data = {"ociVersion": "1.0.0", "hooks": None, "linux": {"seccomp": None, "resources": {"pids": None}}}
    expected = Config(oci_version="1.0.0", linux=Linux(resources=Resources()))
    assert decode_config(data) == expected
    assert encode(expected) == {"ociVersion": "1.0.0", "linux": {"resources": {}}}
    assert null_properties(data, Config) == ("/hooks", "/linux/seccomp", "/linux/resources/pids")


def test_empty_is_not_absent() -> None:
    config = decode_config({"ociVersion": "1.0.0", "mounts": [], "linux": {}, "annotations": {}})
    assert (config.mounts, config.linux, config.annotations) == ((), Linux(), {})
    assert config.hooks is None
    assert encode(config) == {"ociVersion": "1.0.0", "mounts": [], "linux": {}, "annotations": {}}


def test_features_tell_absent_null_and_empty_apart() -> None:
    data: dict[str, Any] = {
        **FEATURES,
        "hooks": None,
        "mountOptions": [],
        "linux": {"seccomp": {"enabled": None}, "namespaces": None, "capabilities": [], "cgroup": {}},
    }
    features = decode_features(data)
    assert features.hooks is None
    assert features.mount_options == ()
    assert features.annotations is None
    assert features.linux is not None
    assert features.linux.namespaces is None
    assert features.linux.capabilities == ()
    assert features.linux.seccomp == SeccompFeatures()
    assert features.linux.selinux is None
    assert features.explicit_nulls == ("/hooks", "/linux/namespaces", "/linux/seccomp/enabled")
    assert encode(features) == data
    assert decode_features(encode_json(features).encode()) == features
    assert features != decode_features({k: v for k, v in data.items() if k != "hooks"})


def test_a_null_that_got_a_value_is_not_written_as_null() -> None:
    features = decode_features({**FEATURES, "hooks": None, "linux": {"seccomp": {"enabled": None}}})
    changed = features.evolve(hooks=("prestart",), linux=None)
    assert encode(changed) == {**FEATURES, "hooks": ["prestart"]}


def test_features_keep_their_required_properties() -> None:
    with pytest.raises(InvalidDocumentError) as caught:
        decode_features({"ociVersionMin": None, "linux": {"namespaces": ["net"]}})
    pointers = [fault.pointer for fault in caught.value.faults]
    assert pointers == ["/linux/namespaces/0", "/ociVersionMin", "/ociVersionMax"]


def test_unknown_properties_are_ignored_and_reported() -> None:
    data = {
        "ociVersion": "1.2.0",
        "Process": {"cwd": "/"},
        "process": {"cwd": "/", "a/b": {"deep": 1}},
        "mounts": [{"destination": "/"}, {"destination": "/", "~": None}],
        "linux": {"rdma": {}, "resources": {"rdma": {"mlx5": {"hcaHandles": 1, "x": 2}}}, "": 0},
        "windows": {
            "layerFolders": ["x"],
            "credentialSpec": {"free": 1},
            "resources": {"cpu": {"affinity": [{"y": 1}]}},
        },
        "annotations": {"anything": "goes"},
    }
    report = ["before"]
    config = decode_config(data, report=report)
    assert config.process == Process(cwd="/")
    assert report == [
        "before",
        "/Process",
        "/process/a~1b",
        "/mounts/1/~0",
        "/linux/rdma",
        "/linux/resources/rdma/mlx5/x",
        "/linux/",
        "/windows/resources/cpu/affinity/0/y",
    ]
    assert unknown_properties({"ociVersion": "1.0.0"}, Config) == ()


def test_a_part_of_a_document_can_be_decoded() -> None:
    assert decode(b'{"type": "pid"}', Namespace) == Namespace(type="pid")
    with pytest.raises(DocumentError) as caught:
        decode({"memory": {"limit": "1"}}, Resources)
    assert caught.value.pointer == "/memory/limit"


def test_state() -> None:
    data = {"ociVersion": "0.2.0", "id": "x", "status": "paused", "pid": 1, "bundle": "/b"}
    state = decode_state(data)
    assert state == State(oci_version="0.2.0", id="x", status="paused", pid=1, bundle="/b")
    assert encode(state) == data
    assert json.loads(encode_json(state)) == data


def test_encoding_takes_lists_where_a_caller_wrote_them() -> None:
    mount = Mount(destination="/", options=["ro"])  # type: ignore[arg-type]
    assert encode(mount) == {"destination": "/", "options": ["ro"]}


def test_json_text_is_ascii() -> None:
    config = Config(oci_version="1.0.0", hostname="é\u202e")
    assert encode_json(config) == '{"ociVersion":"1.0.0","hostname":"\\u00e9\\u202e"}'
    assert encode_json(config, indent=4).splitlines()[1] == '    "ociVersion": "1.0.0",'


def test_documents_are_immutable_values() -> None:
    root = Root(path="/")
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        root.path = "/x"  # type: ignore[misc]
    with pytest.raises(TypeError):
        Root("/")  # type: ignore[call-arg]
    assert hash(root) == hash(Root(path="/"))
    assert root != Namespace(type="pid", path="/")
    assert root != "/"
    assert (
        len({IDMapping(container_id=0, host_id=1, size=2), IDMapping(container_id=0, host_id=1, size=2)}) == 1
    )
    with pytest.raises(TypeError):
        hash(Linux(sysctl={"a": "b"}))
    assert repr(User(uid=0)) == "User(uid=0)"
    assert list(User(uid=0, additional_gids=()).properties()) == [("uid", 0), ("additionalGids", ())]


def test_decoding_copies_what_a_caller_may_change() -> None:
    data: dict[str, Any] = {
        "ociVersion": "1.0.0",
        "annotations": {"a": "b"},
        "process": {"cwd": "/", "args": ["x"]},
    }
    config = decode_config(data)
    data["annotations"]["a"] = "c"
    data["process"]["args"].append("y")
    assert config.annotations == {"a": "b"}
    assert config.process == Process(cwd="/", args=("x",))


def test_documents_nest_in_other_classes_by_cattrs() -> None:
    @attrs.frozen
    class Image:
        name: str
        seccomp: Seccomp
        features: Features | None = None

    hooks = converter()
    data = {"name": "x", "seccomp": {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": []}, "features": None}
    image = hooks.structure(data, Image)
    assert image == Image("x", Seccomp(default_action="SCMP_ACT_ALLOW", syscalls=()))
    assert hooks.unstructure(image) == data
    with pytest.raises(Exception, match="Image") as caught:
        hooks.structure({"name": "x", "seccomp": {"defaultAction": "ALLOW"}}, Image)
    assert isinstance(caught.value, ExceptionGroup)
    [inner] = caught.value.exceptions
    assert isinstance(inner, InvalidDocumentError)
    assert inner.pointer == "/defaultAction"


@pytest.mark.parametrize("pattern", ["RLIMIT_[A-Z]+", "X[A-Z]+"])
@given(rest=st.text(st.sampled_from("AZaz_0É\u01c5\n ")))
def test_a_word_and_capitals_are_what_the_pattern_says(pattern: str, rest: str) -> None:
    matches = _capitals_after(pattern)
    assert matches is not None
    for value in (rest, pattern.partition("[")[0] + rest):
        assert matches(value) == bool(re.compile(pattern, re.ASCII).fullmatch(value))


@pytest.mark.parametrize("pattern", ["CAP_[A-Z_]+", "[A-Z]+", "A.[A-Z]+", "A[A-Z]*", "a|b[A-Z]+"])
def test_other_patterns_are_left_to_module_re(pattern: str) -> None:
    assert _capitals_after(pattern) is None
