"""``linux.resources.blockIO`` (config-linux.md, Block IO; kernel doc cgroup-v2.rst)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orlop_hookspecs.hooks.capability import Problem
from orlop_hookspecs.steps.cgroups import WriteCgroup

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from orlop_hookspecs.documents import BlockIO, ThrottleDevice, WeightDevice

POINTER = "/linux/resources/blockIO"
WEIGHTS = (10, 1000)
MAJOR_MAX = (1 << 12) - 1
MINOR_MAX = (1 << 20) - 1

THROTTLES = (
    ("throttleReadBpsDevice", "blkio.throttle.read_bps_device", "rbps"),
    ("throttleWriteBpsDevice", "blkio.throttle.write_bps_device", "wbps"),
    ("throttleReadIOPSDevice", "blkio.throttle.read_iops_device", "riops"),
    ("throttleWriteIOPSDevice", "blkio.throttle.write_iops_device", "wiops"),
)
"""Property, file of v1 and key in io.max of v2."""


def v2_weight(weight: int) -> int:
    """Return the io.weight of v2 (1 to 10000) for the blkio.weight of v1 (10 to 1000), on a straight line."""
    return 1 + (weight - 10) * 9999 // 990


def _throttles(block_io: BlockIO) -> Iterator[tuple[str, str, str, Sequence[ThrottleDevice]]]:
    lists = (
        block_io.throttle_read_bps_device,
        block_io.throttle_write_bps_device,
        block_io.throttle_read_iops_device,
        block_io.throttle_write_iops_device,
    )
    for (name, file, key), devices in zip(THROTTLES, lists, strict=True):
        if devices:
            yield name, file, key, devices


def problems(block_io: BlockIO) -> Iterator[Problem]:
    """Yield weights out of range, impossible devices, and entries without a weight or rate.

    A weight of 0 is what engines write when they ask for nothing.
    """
    for name, weight in (("weight", block_io.weight), ("leafWeight", block_io.leaf_weight)):
        yield from _weight(f"{POINTER}/{name}", weight)
    for index, device in enumerate(block_io.weight_device or ()):
        here = f"{POINTER}/weightDevice/{index}"
        yield from _device(device, here)
        yield from _weight(f"{here}/weight", device.weight)
        yield from _weight(f"{here}/leafWeight", device.leaf_weight)
        if device.weight is None and device.leaf_weight is None:
            yield Problem(here, "at least one of weight and leafWeight must be set")
    for name, _, _, devices in _throttles(block_io):
        for index, throttled in enumerate(devices):
            here = f"{POINTER}/{name}/{index}"
            yield from _device(throttled, here)
            if throttled.rate is None:
                yield Problem(f"{here}/rate", "the property is required")


def _weight(pointer: str, weight: int | None) -> Iterator[Problem]:
    if weight and not WEIGHTS[0] <= weight <= WEIGHTS[1]:
        yield Problem(pointer, f"a weight must be from {WEIGHTS[0]} to {WEIGHTS[1]}", weight)


def _device(device: WeightDevice | ThrottleDevice, here: str) -> Iterator[Problem]:
    for name, number, highest in (("major", device.major, MAJOR_MAX), ("minor", device.minor, MINOR_MAX)):
        if not 0 <= number <= highest:
            yield Problem(f"{here}/{name}", f"the number must be from 0 to {highest}", number)


def steps(block_io: BlockIO) -> Iterator[WriteCgroup]:
    """Yield the weights and the rates.

    Which file a weight has depends on the host's I/O schedulers: BFQ takes the number as it is, the cost
    model of v2 has a range of its own. Weights of leaves went with the CFQ scheduler and never were in v2.
    """
    if block_io.weight:
        yield _either(
            f"{POINTER}/weight",
            (("blkio.weight", str(block_io.weight)), ("blkio.bfq.weight", str(block_io.weight))),
            (("io.bfq.weight", str(block_io.weight)), ("io.weight", str(v2_weight(block_io.weight)))),
        )
    if block_io.leaf_weight:
        yield _either(f"{POINTER}/leafWeight", (("blkio.leaf_weight", str(block_io.leaf_weight)),), None)
    for index, device in enumerate(block_io.weight_device or ()):
        here = f"{POINTER}/weightDevice/{index}"
        name = f"{device.major}:{device.minor}"
        if device.weight:
            line = f"{name} {device.weight}"
            yield _either(
                f"{here}/weight",
                (("blkio.weight_device", line), ("blkio.bfq.weight_device", line)),
                (("io.bfq.weight", line), ("io.weight", f"{name} {v2_weight(device.weight)}")),
            )
        if device.leaf_weight:
            yield _either(
                f"{here}/leafWeight", (("blkio.leaf_weight_device", f"{name} {device.leaf_weight}"),), None
            )
    for name, file, key, devices in _throttles(block_io):
        yield WriteCgroup(
            because=f"{POINTER}/{name}",
            controller="io",
            v1_controller="blkio",
            v1=tuple((file, f"{device.major}:{device.minor} {device.rate}") for device in devices),
            # A rate of 0 takes the limit away; v2 calls that max.
            v2=tuple(
                ("io.max", f"{device.major}:{device.minor} {key}={device.rate or 'max'}")
                for device in devices
            ),
            append=True,
        )


def _either(
    because: str, v1: tuple[tuple[str, str], ...], v2: tuple[tuple[str, str], ...] | None
) -> WriteCgroup:
    return WriteCgroup(
        because=because, controller="io", v1_controller="blkio", v1=v1, v2=v2, alternatives=True
    )
