"""Plugin intel-rdt."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.plugins.support import call, config, objections, pointers, steps

from orlop.documents.codec import decode
from orlop_hookspecs.documents import IntelRdt
from orlop_hookspecs.errors import ConfigError
from orlop_hookspecs.launch import PlanContext
from orlop_hookspecs.steps import CreateResctrlGroup, JoinResctrlGroup, WriteSchemata

HERE = "/linux/intelRdt"


def rdt(**changes: Any) -> Any:
    return config(linux={"intelRdt": changes})


def test_without_a_closid_the_class_is_the_containers_own() -> None:
    assert steps("intel-rdt", rdt(enableMonitoring=True)) == [
        CreateResctrlGroup(because=HERE, clos_id="box", create=True, may_exist=False, monitoring=True),
        JoinResctrlGroup(because=HERE, clos_id="box", monitoring=True),
    ]


def test_lines_are_written_in_the_specified_order() -> None:
    planned = steps(
        "intel-rdt", rdt(schemata=["L2:0=f", "MB:0=9"], memBwSchema="MB:0=20", l3CacheSchema="L3:0=7f0")
    )
    assert planned[1] == WriteSchemata(
        because=HERE, clos_id="box", lines=("L3:0=7f0", "MB:0=20", "L2:0=f", "MB:0=9")
    )


def test_a_named_class_is_shared() -> None:
    assert steps("intel-rdt", rdt(closID="gold")) == [
        CreateResctrlGroup(because=HERE, clos_id="gold", create=False, may_exist=True),
        JoinResctrlGroup(because=HERE, clos_id="gold"),
    ]
    made = steps("intel-rdt", rdt(closID="gold", l3CacheSchema="L3:0=f"))
    assert made[0] == CreateResctrlGroup(because=HERE, clos_id="gold", create=True, may_exist=True)


def test_the_root_class_is_never_made() -> None:
    planned = steps("intel-rdt", rdt(closID="/", schemata=["L3:0=f"]))
    assert planned[0] == CreateResctrlGroup(because=HERE, clos_id="/", create=False, may_exist=True)
    assert len(planned) == 3


def test_nothing_is_planned_unless_it_is_set() -> None:
    assert steps("intel-rdt", config()) == []


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "../x", "a/b", "/a", "a/", "a\nb", "\x1b", "x" * 256, "info", "mon_groups", "mon_data"],
)
def test_names_that_are_no_class(name: str) -> None:
    assert pointers("intel-rdt", rdt(closID=name)) == [f"{HERE}/closID"]


def test_the_containers_name_must_do_as_well() -> None:
    wanted = rdt()
    context = PlanContext(container="info", bundle="/b", rootfs="/b/r")
    (problem,) = call("intel-rdt", "orlop_validate", config=wanted, context=context)
    assert problem.pointer == HERE


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"l3CacheSchema": "L3:0=f\nMB:0=1"}, "l3CacheSchema"),
        ({"l3CacheSchema": ""}, "l3CacheSchema"),
        ({"schemata": ["L3:0=f", "a\nb"]}, "schemata/1"),
        ({"schemata": [" "]}, "schemata/0"),
        ({"schemata": ["L3:" + "0=f;" * 1000]}, "schemata/0"),
    ],
)
def test_lines_that_cannot_be(changes: dict[str, Any], pointer: str) -> None:
    assert pointers("intel-rdt", rdt(**changes)) == [f"{HERE}/{pointer}"]


@pytest.mark.parametrize(
    ("version", "changes", "events"),
    [
        ("1.1.0", {"enableCMT": True}, ("llc_occupancy",)),
        ("1.2.1", {"enableMBM": True}, ("mbm_total_bytes", "mbm_local_bytes")),
        (
            "1.1.0-rc.1",
            {"enableMBM": True, "enableCMT": True},
            ("llc_occupancy", "mbm_total_bytes", "mbm_local_bytes"),
        ),
    ],
)
def test_older_versions_ask_for_events(
    version: str, changes: dict[str, Any], events: tuple[str, ...]
) -> None:
    planned = steps("intel-rdt", rdt(**changes).evolve(oci_version=version))
    assert planned == [
        CreateResctrlGroup(
            because=HERE, clos_id="box", create=True, may_exist=False, monitoring=True, events=events
        ),
        JoinResctrlGroup(because=HERE, clos_id="box", monitoring=True),
    ]


@pytest.mark.parametrize("version", ["1.0.2", "1.3.0"])
def test_other_versions_do_not_know_the_older_fields(version: str) -> None:
    wanted = rdt(enableCMT=True, enableMBM=True).evolve(oci_version=version)
    assert steps("intel-rdt", wanted) == steps("intel-rdt", rdt())


def test_false_asks_for_no_monitoring() -> None:
    wanted = rdt(enableCMT=False, enableMonitoring=False).evolve(oci_version="1.1.0")
    assert steps("intel-rdt", wanted) == steps("intel-rdt", rdt())


@pytest.mark.parametrize("version", ["1.0.2", "1.2.0"])
def test_the_bandwidth_replaces_that_of_the_cache_schema_in_older_versions(version: str) -> None:
    both = rdt(l3CacheSchema="L3:0=f\nMB:0=10\nL2:0=3\n", memBwSchema="MB:0=20")
    planned = steps("intel-rdt", both.evolve(oci_version=version))
    assert planned[1].as_data()["lines"] == ("L3:0=f", "L2:0=3", "MB:0=20")
    alone = rdt(l3CacheSchema="L3:0=f\nMB:0=10")
    planned = steps("intel-rdt", alone.evolve(oci_version=version))
    assert planned[1].as_data()["lines"] == ("L3:0=f", "MB:0=10")
    assert pointers("intel-rdt", both) == [f"{HERE}/l3CacheSchema"]


def test_features() -> None:
    assert call("intel-rdt", "orlop_features") == {
        "linux.intelRdt.enabled": True,
        "linux.intelRdt.schemata": True,
        "linux.intelRdt.monitoring": True,
    }
    assert objections("intel-rdt", rdt(memBwSchema="MB:0=1")) == []


def change(**wanted: Any) -> Any:
    return call("intel-rdt", "orlop_update", intel_rdt=decode(wanted, IntelRdt))


def test_an_update_writes_to_the_class_that_the_container_has() -> None:
    assert list(change(memBwSchema="MB:0=20", l3CacheSchema="L3:0=f")) == [
        WriteSchemata(because=HERE, clos_id="", lines=("L3:0=f", "MB:0=20"))
    ]
    assert call("intel-rdt", "orlop_update", intel_rdt=None) == ()


def test_an_update_that_cannot_be() -> None:
    with pytest.raises(ConfigError, match="must be one line") as caught:
        change(schemata=["L3:0=f\nMB:0=1"])
    assert caught.value.pointer == f"{HERE}/schemata/0"
