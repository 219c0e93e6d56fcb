"""Plugin net-devices."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.plugins.support import config, namespaces, objections, pointers, steps

from orlop_hookspecs.errors import DocumentError
from orlop_hookspecs.steps import MoveNetDevices
from orlop_linux.plugins.net_devices import NAME_MAX, name_fault, pattern_fault


def wanted(entries: list[Any] | None = None, /, **devices: Any) -> Any:
    return config(linux={"namespaces": entries or namespaces("network"), "netDevices": devices})


def test_devices_keep_their_names_or_get_new_ones() -> None:
    one = wanted(eth0={}, eth1={"name": "inside"}, eth2={"name": "net%d"})
    assert steps("net-devices", one) == [
        MoveNetDevices(
            because="/linux/netDevices", devices=(("eth0", "eth0"), ("eth1", "inside"), ("eth2", "net%d"))
        )
    ]
    assert objections("net-devices", one) == []


def test_no_devices_no_step() -> None:
    assert steps("net-devices", config()) == []
    assert steps("net-devices", wanted()) == []
    assert objections("net-devices", config(linux={"netDevices": {}})) == []


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        (namespaces("pid"), "nowhere to move"),
        (namespaces("pid", network="/proc/1/ns/net"), "is the host's"),
        (namespaces("pid", network="/proc/self/ns/net"), "is the host's"),
    ],
)
def test_there_must_be_a_namespace_to_move_to(entries: list[Any], message: str) -> None:
    (problem,) = objections("net-devices", wanted(entries, eth0={}))
    assert problem.pointer == "/linux/netDevices"
    assert message in problem.message


def test_a_joined_namespace_is_one() -> None:
    assert objections("net-devices", wanted(namespaces(network="/run/netns/x"), eth0={})) == []


BAD_NAMES = (".", "..", "../x", "a/b", "a:b", "a b", "a\tb", "a\nb", "n" * 16, "é" * 8, "\x7f")
BAD_PATTERNS = ("%", "%s", "%d%d", "%%d", "a%db", "a%", "n" * 14 + "%d")


@pytest.mark.parametrize("name", [*BAD_NAMES, "%d", "eth%d", "lo"])
def test_names_that_no_device_of_the_host_has(name: str) -> None:
    found = objections("net-devices", wanted(**{name: {"name": "x"}}))
    assert [problem.value for problem in found] == [name]
    assert found[0].pointer == "/linux/netDevices/" + name.replace("/", "~1")


@pytest.mark.parametrize("name", ["", *BAD_NAMES, *BAD_PATTERNS, "lo"])
def test_names_that_no_device_inside_can_get(name: str) -> None:
    (problem,) = objections("net-devices", wanted(eth0={"name": name}))
    assert problem.pointer == "/linux/netDevices/eth0/name"
    assert problem.value == name


@pytest.mark.parametrize("devices", [{"": {}}, {"a\x00b": {}}, {"eth0": {"name": "a\x00b"}}])
def test_some_names_are_refused_by_the_document_already(devices: Any) -> None:
    with pytest.raises(DocumentError) as caught:
        wanted(**devices)
    assert caught.value.pointer.startswith("/linux/netDevices/")


def test_two_devices_cannot_have_one_name_but_one_pattern() -> None:
    assert pointers("net-devices", wanted(a={"name": "x"}, b={"name": "x"})) == ["/linux/netDevices/b/name"]
    assert pointers("net-devices", wanted(x={"name": "b"}, b={})) == ["/linux/netDevices/b"]
    assert pointers("net-devices", wanted(a={"name": "e%d"}, b={"name": "e%d"})) == []
    assert pointers("net-devices", wanted(a={"name": "b"}, b={"name": "a"})) == []


@given(st.text(max_size=20))
def test_a_name_is_judged_by_what_the_kernel_could_do_with_it(name: str) -> None:
    if not name_fault(name):
        assert 0 < len(name.encode()) <= NAME_MAX
        assert not set(name) & set("/: \t\n\0")
        assert bool(pattern_fault(name)) == (
            "%" in name and not (name.count("%") == 1 and name.endswith("%d"))
        )
    else:
        assert pattern_fault(name)
