"""Plugins namespaces, user-mappings, names and sysctl."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.plugins.support import config, namespaces, objections, pointers, steps

from orlop_hookspecs.documents import IDMapping
from orlop_hookspecs.steps import (
    BringUpLoopback,
    JoinNamespace,
    NewNamespace,
    SetDomainname,
    SetHostname,
    SetIdMappings,
    SetSysctl,
    SetTimeOffset,
)
from orlop_linux.plugins.shared import ID_MAX, MAPPINGS_MAX, mapping_problems
from orlop_linux.plugins.sysctl import components, dotted, owner

TYPES = ["pid", "network", "mount", "ipc", "uts", "user", "cgroup", "time"]


def mapping(container: int, host: int, size: int) -> dict[str, int]:
    return {"containerID": container, "hostID": host, "size": size}


@pytest.mark.parametrize("kind", TYPES)
def test_a_namespace_is_new_or_joined(kind: str) -> None:
    because = "/linux/namespaces/0"
    new = steps("namespaces", config(linux={"namespaces": [{"type": kind}]}))
    extra = [BringUpLoopback(because=because)] if kind == "network" else []
    assert new == [NewNamespace(because=because, type=kind), *extra]
    joined = steps("namespaces", config(linux={"namespaces": [{"type": kind, "path": "/run/ns/x"}]}))
    assert joined == [JoinNamespace(because=because, type=kind, path="/run/ns/x")]


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("run/ns", "must be absolute"),
        ("", "must be absolute"),
        ("/" + "a" * 256, "255 bytes"),
        ("/" + "a/" * 2048, "4095 bytes"),
    ],
)
def test_a_path_must_be_usable(path: str, message: str) -> None:
    (problem,) = objections("namespaces", config(linux={"namespaces": [{"type": "pid", "path": path}]}))
    assert problem.pointer == "/linux/namespaces/0/path"
    assert message in problem.message


def test_a_type_may_stand_once() -> None:
    wanted = config(linux={"namespaces": namespaces("ipc", "pid", ipc="/run/x")})
    assert pointers("namespaces", wanted) == ["/linux/namespaces/3/type", "/linux/namespaces/4/type"]


def test_clocks_are_set_in_a_new_time_namespace() -> None:
    offsets = {"boottime": {"nanosecs": 5}, "monotonic": {"secs": -7}}
    planned = steps("namespaces", config(linux={"namespaces": namespaces("time"), "timeOffsets": offsets}))
    assert planned[-2:] == [
        SetTimeOffset(because="/linux/timeOffsets/monotonic", clock="monotonic", secs=-7, nanosecs=0),
        SetTimeOffset(because="/linux/timeOffsets/boottime", clock="boottime", secs=0, nanosecs=5),
    ]


@pytest.mark.parametrize(
    ("entries", "offsets", "pointer"),
    [
        (namespaces(), {"boottime": {}}, "/linux/timeOffsets"),
        (namespaces(time="/run/x"), {"boottime": {}}, "/linux/timeOffsets"),
        (namespaces("time"), {"real/time": {}}, "/linux/timeOffsets/real~1time"),
        (namespaces("time"), {"monotonic": {"nanosecs": 10**9}}, "/linux/timeOffsets/monotonic/nanosecs"),
    ],
)
def test_clocks_that_cannot_be_set(entries: list[Any], offsets: dict[str, Any], pointer: str) -> None:
    assert pointers("namespaces", config(linux={"namespaces": entries, "timeOffsets": offsets})) == [pointer]


def test_mappings_of_a_new_user_namespace() -> None:
    maps = [mapping(0, 1000, 1), mapping(1, 100000, 65536)]
    wanted = config(linux={"namespaces": namespaces("user"), "uidMappings": maps, "gidMappings": maps[:1]})
    assert steps("user-mappings", wanted) == [
        SetIdMappings(
            because="/linux/uidMappings", uid=((0, 1000, 1), (1, 100000, 65536)), gid=((0, 1000, 1),)
        )
    ]


def test_no_user_namespace_no_mappings() -> None:
    assert steps("user-mappings", config()) == []
    assert steps("user-mappings", config(linux={"namespaces": namespaces(user="/run/x")})) == []


def test_mappings_of_a_joined_user_namespace_are_to_be_compared() -> None:
    entries = namespaces(user="/run/x")
    wanted = config(linux={"namespaces": entries, "gidMappings": [mapping(0, 1000, 1)]})
    assert pointers("user-mappings", wanted) == []
    assert steps("user-mappings", wanted) == [
        SetIdMappings(because="/linux/gidMappings", uid=(), gid=((0, 1000, 1),))
    ]


@pytest.mark.parametrize(
    ("entries", "uids", "gids", "expected"),
    [
        (namespaces(), [mapping(0, 1, 1)], None, ["/linux/uidMappings"]),
        (namespaces(user="/x"), None, [mapping(0, 1, 0)], ["/linux/gidMappings/0/size"]),
        (namespaces(user="/x"), [mapping(1, 1, 1)], [mapping(0, 1, 1)], ["/process/user/uid"]),
        (namespaces("user"), None, None, ["/linux/uidMappings", "/linux/gidMappings"]),
        (namespaces("user"), [mapping(0, 1, 1)], None, ["/linux/gidMappings"]),
        (
            namespaces("user"),
            [mapping(0, 1, 0)],
            [mapping(0, 1, 1)],
            ["/linux/uidMappings/0/size", "/process/user/uid"],
        ),
        (namespaces("user"), [mapping(1, 1, 1)], [mapping(0, 1, 1)], ["/process/user/uid"]),
        (namespaces("user"), [mapping(0, 1, 1)], [mapping(1, 1, 1)], ["/process/user/gid"]),
    ],
)
def test_mappings_that_cannot_be(
    entries: list[Any], uids: list[Any] | None, gids: list[Any] | None, expected: list[str]
) -> None:
    wanted = config(linux={"namespaces": entries, "uidMappings": uids, "gidMappings": gids})
    assert pointers("user-mappings", wanted) == expected


def test_supplementary_groups_must_be_mapped() -> None:
    maps = [mapping(0, 1000, 10)]
    wanted = config(
        linux={"namespaces": namespaces("user"), "uidMappings": maps, "gidMappings": maps},
        process={"user": {"additionalGids": [9, 10]}},
    )
    assert pointers("user-mappings", wanted) == ["/process/user/additionalGids/1"]


@pytest.mark.parametrize(
    ("maps", "expected"),
    [
        ([(0, 0, ID_MAX + 1)], []),
        ([(0, 0, ID_MAX + 2)], None),
        ([(ID_MAX, 0, 1)], []),
        ([(ID_MAX + 1, 0, 1)], ["/m/0/containerID"]),
        ([(0, ID_MAX + 1, 1)], ["/m/0/hostID"]),
        ([(0, 0, 10), (9, 100, 1)], ["/m/1/containerID"]),
        ([(0, 0, 10), (10, 9, 1)], ["/m/1/hostID"]),
        ([(20, 9, 1), (0, 0, 10)], ["/m/1/hostID"]),
        ([(n, n, 1) for n in range(MAPPINGS_MAX)], []),
        ([(n, n, 1) for n in range(MAPPINGS_MAX + 1)], ["/m"]),
    ],
)
def test_ranges(maps: list[tuple[int, int, int]], expected: list[str] | None) -> None:
    found = mapping_problems([IDMapping(container_id=c, host_id=h, size=s) for c, h, s in maps], "/m")
    pointers_found = [problem.pointer for problem in found]
    assert pointers_found == (["/m/0/containerID", "/m/0/hostID"] if expected is None else expected)


@given(
    st.lists(
        st.tuples(st.integers(0, 40), st.integers(0, 40), st.integers(1, 10)),
        max_size=6,
    )
)
def test_ranges_are_refused_exactly_when_two_share_an_id(maps: list[tuple[int, int, int]]) -> None:
    entries = [IDMapping(container_id=c, host_id=h, size=s) for c, h, s in maps]

    def shared(firsts: list[tuple[int, int]]) -> bool:
        every = [number for first, size in firsts for number in range(first, first + size)]
        return len(every) != len(set(every))

    clash = shared([(c, s) for c, _, s in maps]) or shared([(h, s) for _, h, s in maps])
    assert bool(list(mapping_problems(entries, "/m"))) == clash


def test_names() -> None:
    wanted = config(hostname="box", domainname="x" * 64, linux={"namespaces": namespaces("uts")})
    assert steps("names", wanted) == [
        SetHostname(because="/hostname", name="box"),
        SetDomainname(because="/domainname", name="x" * 64),
    ]
    assert steps("names", config(hostname="box", linux={"namespaces": namespaces(uts="/run/x")})) != []
    assert steps("names", config(hostname="", domainname="")) == []


def test_names_that_cannot_be() -> None:
    assert pointers("names", config(hostname="box", domainname="d")) == ["/hostname", "/domainname"]
    long = config(hostname="\u00e9" * 33, linux={"namespaces": namespaces("uts")})
    assert pointers("names", long) == ["/hostname"]


@pytest.mark.parametrize("path", ["/proc/1/ns/uts", "/proc/self/ns/uts", "/proc/thread-self/ns/uts"])
def test_names_of_the_host_are_the_hosts(path: str) -> None:
    wanted = config(hostname="box", domainname="d", linux={"namespaces": namespaces(uts=path)})
    assert pointers("names", wanted) == ["/hostname", "/domainname"]


@pytest.mark.parametrize(
    ("key", "kind", "dotted_form"),
    [
        ("net.ipv4.ip_forward", "network", "net.ipv4.ip_forward"),
        ("net/ipv4/ip_forward", "network", "net.ipv4.ip_forward"),
        ("net/ipv4/conf/eth0.100/forwarding", "network", "net.ipv4.conf.eth0/100.forwarding"),
        ("net.ipv4.conf.eth0/100.forwarding", "network", "net.ipv4.conf.eth0/100.forwarding"),
        ("kernel.shmmax", "ipc", "kernel.shmmax"),
        ("kernel/sem", "ipc", "kernel.sem"),
        ("fs.mqueue.msg_max", "ipc", "fs.mqueue.msg_max"),
        ("kernel.domainname", "uts", "kernel.domainname"),
        ("kernel.hostname", "uts", "kernel.hostname"),
        ("user.max_net_namespaces", "user", "user.max_net_namespaces"),
    ],
)
def test_parameters_of_a_namespace(key: str, kind: str, dotted_form: str) -> None:
    pointer = "/linux/sysctl/" + key.replace("/", "~1")
    for entries in (namespaces(kind), namespaces(**{kind: "/run/ns/x"})):
        wanted = config(linux={"namespaces": entries, "sysctl": {key: "1\t2"}})
        assert steps("sysctl", wanted) == [
            SetSysctl(because=pointer, key=dotted_form, value="1\t2", namespace=owner(dotted_form))
        ]
    assert pointers("sysctl", config(linux={"sysctl": {key: "1"}})) == [pointer]
    for path in ("/proc/1/ns/x", "/proc/self/ns/x", "/proc/thread-self/ns/x"):
        wanted = config(linux={"namespaces": namespaces(**{kind: path}), "sysctl": {key: "1"}})
        assert pointers("sysctl", wanted) == [pointer]


@pytest.mark.parametrize(
    "key",
    [
        "kernel.core_pattern",
        "kernel/core_pattern",
        "kernel.shmmax/",
        "kernel.shmmax+kernel.core_pattern",
        "net.ipv4.x+kernel.core_pattern",
        "kernel/../..",
        "net/ipv4/../../kernel/core_pattern",
        "net.ipv4.//.x",
        "net..",
        "net.",
        "net",
        ".net.ipv4",
        "/net/ipv4/ip_forward",
        "net.ipv4.ip_forward\n",
        "net.ipv4 .x",
        "network.x",
        "vm.swappiness",
        "fs.file-max",
    ],
)
def test_smuggled_and_host_parameters_are_refused(key: str) -> None:
    everything = namespaces("network", "ipc", "uts", "user", "cgroup", "time")
    wanted = config(linux={"namespaces": everything, "sysctl": {key: "1"}})
    assert pointers("sysctl", wanted) == ["/linux/sysctl/" + key.replace("/", "~1")]


@pytest.mark.parametrize("value", ["1\n", "1\n2", "\x1b[31m", "x" * 4096])
def test_values_of_parameters(value: str) -> None:
    wanted = config(linux={"namespaces": namespaces("network"), "sysctl": {"net.a": value}})
    assert pointers("sysctl", wanted) == ["/linux/sysctl/net.a"]


def test_one_parameter_has_one_value() -> None:
    entries = namespaces("network", "uts")
    twice = config(linux={"namespaces": entries, "sysctl": {"net.a.b": "1", "net/a/b": "2"}})
    assert pointers("sysctl", twice) == ["/linux/sysctl/net~1a~1b"]
    both = config(hostname="x", linux={"namespaces": entries, "sysctl": {"kernel.hostname": "y"}})
    assert pointers("sysctl", both) == ["/linux/sysctl/kernel.hostname"]


@given(st.text(alphabet="net./a.", max_size=12))
def test_no_key_leaves_proc_sys(key: str) -> None:
    parts = components(key)
    assert all(part and part not in {".", ".."} and "/" not in part for part in parts)
    if parts:
        assert components(dotted(parts)) == parts
