"""Plugins personality and memory-policy."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.plugins.support import call, config, objections, pointers, steps

from orlop_hookspecs.documents import vocabulary
from orlop_hookspecs.errors import DocumentError
from orlop_hookspecs.steps import SetMemoryPolicy, SetPersonality
from orlop_linux.init import traits
from orlop_linux.plugins import memory_policy

POLICY = "/linux/memoryPolicy"


@pytest.mark.parametrize("domain", vocabulary.PERSONALITY_DOMAINS)
def test_a_personality(domain: str) -> None:
    wanted = config(linux={"personality": {"domain": domain, "flags": []}})
    assert steps("personality", wanted) == [SetPersonality(because="/linux/personality", domain=domain)]


def test_no_personality() -> None:
    assert steps("personality", config()) == []
    assert steps("personality", config(linux=None)) == []


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({}, ["/linux/personality/domain"]),
        ({"domain": "LINUX32", "flags": ["ADDR_NO_RANDOMIZE"]}, ["/linux/personality/flags/0"]),
        ({"flags": ["a", "b"]}, [f"/linux/personality/{n}" for n in ("flags/0", "flags/1", "domain")]),
    ],
)
def test_a_personality_that_is_none(wanted: dict[str, Any], expected: list[str]) -> None:
    assert pointers("personality", config(linux={"personality": wanted})) == expected


@pytest.mark.parametrize("domain", ["linux", "LINUX64", "", "BSD"])
def test_another_domain_is_no_document(domain: str) -> None:
    with pytest.raises(DocumentError) as caught:
        config(linux={"personality": {"domain": domain}})
    assert caught.value.pointer == "/linux/personality/domain"


def policy(**wanted: Any) -> Any:
    return config(linux={"memoryPolicy": wanted})


def test_a_memory_policy() -> None:
    wanted = policy(mode="MPOL_BIND", nodes="0-3,7", flags=["MPOL_F_NUMA_BALANCING", "MPOL_F_STATIC_NODES"])
    assert steps("memory-policy", wanted) == [
        SetMemoryPolicy(
            because=POLICY,
            mode="MPOL_BIND",
            nodes=((0, 3), (7, 7)),
            flags=("MPOL_F_NUMA_BALANCING", "MPOL_F_STATIC_NODES"),
        )
    ]


def test_no_memory_policy() -> None:
    assert steps("memory-policy", config()) == []
    assert steps("memory-policy", config(linux=None)) == []


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({}, ["mode"]),
        ({"mode": "MPOL_DEFAULT"}, []),
        ({"mode": "MPOL_DEFAULT", "nodes": ""}, []),
        ({"mode": "MPOL_DEFAULT", "nodes": "0"}, ["nodes"]),
        ({"mode": "MPOL_LOCAL", "nodes": "0"}, ["nodes"]),
        ({"mode": "MPOL_LOCAL", "flags": ["MPOL_F_STATIC_NODES"]}, ["flags/0"]),
        ({"mode": "MPOL_DEFAULT", "flags": ["MPOL_F_RELATIVE_NODES"]}, ["flags/0"]),
        ({"mode": "MPOL_BIND"}, ["nodes"]),
        ({"mode": "MPOL_BIND", "nodes": ""}, ["nodes"]),
        ({"mode": "MPOL_INTERLEAVE", "nodes": " "}, ["nodes"]),
        ({"mode": "MPOL_WEIGHTED_INTERLEAVE"}, ["nodes"]),
        ({"mode": "MPOL_PREFERRED_MANY"}, ["nodes"]),
        ({"mode": "MPOL_PREFERRED"}, []),
        ({"mode": "MPOL_PREFERRED", "nodes": "1"}, []),
        ({"mode": "MPOL_PREFERRED", "nodes": "1,1-1"}, []),
        ({"mode": "MPOL_PREFERRED", "nodes": "0-1"}, ["nodes"]),
        ({"mode": "MPOL_PREFERRED", "flags": ["MPOL_F_STATIC_NODES"]}, ["flags/0"]),
        ({"mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_NUMA_BALANCING"]}, []),
        ({"mode": "MPOL_INTERLEAVE", "nodes": "0", "flags": ["MPOL_F_NUMA_BALANCING"]}, ["flags/0"]),
        ({"mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_STATIC_NODES"] * 2}, ["flags/1"]),
        (
            {"mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_STATIC_NODES", "MPOL_F_RELATIVE_NODES"]},
            ["flags/1"],
        ),
        ({"mode": "MPOL_BIND", "nodes": "1024"}, ["nodes"]),
        ({"mode": "MPOL_BIND", "nodes": "0-1023"}, []),
        ({"mode": "MPOL_BIND", "nodes": "0-4294967295"}, ["nodes"]),
        ({"mode": "MPOL_BIND", "nodes": "3-1"}, ["nodes"]),
        ({"mode": "MPOL_BIND", "nodes": "all"}, ["nodes"]),
        ({"mode": "MPOL_BIND", "nodes": "-1"}, ["nodes"]),
    ],
)
def test_modes_nodes_and_flags(wanted: dict[str, Any], expected: list[str]) -> None:
    assert pointers("memory-policy", policy(**wanted)) == [f"{POLICY}/{name}" for name in expected]


def test_an_objection_says_what_to_do() -> None:
    (problem,) = objections("memory-policy", policy(mode="MPOL_LOCAL", nodes="0"))
    assert (problem.message, problem.value, problem.hint) == (
        "MPOL_LOCAL has no nodes",
        "0",
        "leave them out",
    )


def test_all_words_of_the_specification_are_accepted_and_known_to_the_child() -> None:
    assert set(vocabulary.MEMORY_POLICY_MODES) == memory_policy.MODES == set(traits.MODES)
    assert set(vocabulary.MEMORY_POLICY_FLAGS) == memory_policy.FLAGS == set(traits.MODE_FLAGS)
    assert set(vocabulary.PERSONALITY_DOMAINS) == set(traits.DOMAINS)


def test_the_features_come_from_the_same_words() -> None:
    handles = call("memory-policy", "orlop_handles")
    features = {handle.feature: handle.values for handle in handles if handle.feature}
    assert features == {
        "linux.memoryPolicy.modes": memory_policy.MODES,
        "linux.memoryPolicy.flags": memory_policy.FLAGS,
    }
