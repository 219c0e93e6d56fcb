"""The child may import nothing of the planners, nor they anything of the child: two tables, one truth."""

from __future__ import annotations

from orlop_fake.execute import mounting
from orlop_linux.init import attributes, identity
from orlop_linux.init import mounts as child
from orlop_linux.plugins import capabilities, mount_options, mounts, rlimits


def test_the_child_numbers_exactly_the_capabilities_that_the_planner_takes() -> None:
    assert identity.CAPABILITIES == capabilities.NAMES


def test_the_child_numbers_exactly_the_limits_that_the_planner_takes() -> None:
    assert set(identity.RLIMITS) == rlimits.NAMES


def test_the_child_knows_exactly_the_mount_attributes_that_the_planner_takes() -> None:
    names = {name for name, _ in mount_options.ATTRIBUTES.values()}
    assert {*attributes.ATTRIBUTES, *attributes.ACCESS_TIMES} == names == mounting.ATTRIBUTES
    assert attributes.ACCESS_TIMES.keys() == mount_options.ACCESS_TIMES
    flags = {name for name, _ in mount_options.SUPERBLOCK.values()}
    assert flags < attributes.FLAGS.keys()
    assert flags | {"ro"} == mounting.SUPERBLOCK
    for name in mount_options.PROPAGATIONS:
        assert attributes.propagation_of(name)[0]


def test_all_agree_on_what_may_cover_a_procfs() -> None:
    assert child.BELOW_PROC == mounts.BELOW_PROC == mounting.BELOW_PROC
    assert child.FURNISHED == mounting.FURNISHED < mounts.KERNEL_TYPES
