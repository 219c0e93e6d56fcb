"""Several containers in any order: hypothesis finds nothing wrong, and finds what is broken on purpose."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

import orlop
from orlop_fake import FakeKernel, FakePlatform
from orlop_fake.stateful import lifecycle_machine, machine

COMPOSITION = orlop.Runtime.compose(platform="fake").composition
EXAMPLES = settings(max_examples=40, stateful_step_count=30)


def runtime(kernel: FakeKernel) -> orlop.Runtime:
    # Composed once for all kernels: finding and verifying plugins is not what is tested here.
    return orlop.Runtime(COMPOSITION, FakePlatform(kernel), warn=lambda _: None)


def test_lives_of_several_containers() -> None:
    run_state_machine_as_test(lifecycle_machine(runtime), settings=EXAMPLES)


def test_lives_on_a_machine_with_old_cgroups() -> None:
    def old() -> FakeKernel:
        kernel = FakeKernel(cgroups="v1")
        kernel.add_rootfs("/image")
        return kernel

    run_state_machine_as_test(
        lifecycle_machine(runtime, kernel=old), settings=settings(EXAMPLES, max_examples=15)
    )


class Forgetful(orlop.Runtime):
    """A runtime that forgets to remove a cgroup of the second container."""

    def create(self, id: str, *arguments: Any, **options: Any) -> orlop.Container:  # noqa: A002 - the spec's name
        made = super().create(id, *arguments, **options)
        if id == "b":
            kernel: Any = self.kernel
            kernel.hierarchies[""].root.make("forgotten", "nobody")
        return made


def test_a_leak_is_found() -> None:
    def forgetful(kernel: FakeKernel) -> orlop.Runtime:
        return Forgetful(COMPOSITION, FakePlatform(kernel), warn=lambda _: None)

    with pytest.raises(AssertionError, match=r"cgroup /forgotten"):
        run_state_machine_as_test(
            lifecycle_machine(forgetful),
            settings=settings(EXAMPLES, print_blob=False, report_multiple_bugs=False),
        )


def test_the_machine_has_an_image() -> None:
    assert machine().host_find("/image/bin/sleep")
