"""Fixtures for tests that start containers, on a fake kernel of their own: no root, no leftovers, no waiting.

* ``fake_kernel``: a fresh :class:`~orlop_fake.FakeKernel` with a small image at ``/image``;
* ``fake_runtime``: an ``orlop.Runtime`` with every installed plugin on that kernel;
* ``fake_container``: a function that creates a container from a few arguments and removes it at the end.

After a test the kernel must hold nothing that it made, and no program may have ended by a bug; a test that
leaves something on purpose says so with ``@pytest.mark.fake_leaks``. ``@pytest.mark.fake_host("rootless")``
tests against another machine (:data:`orlop_fake.PROFILES`); for one of your own, override ``fake_kernel``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from orlop_fake.kernel import FakeKernel
from orlop_fake.platform import FakePlatform
from orlop_fake.profiles import machine_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

IMAGE = "/image"
"""Where the image of :func:`fake_kernel` is."""


def pytest_configure(config: pytest.Config) -> None:
    """Declare the marker."""
    config.addinivalue_line("markers", "fake_leaks: the test leaves containers on the fake kernel on purpose")
    config.addinivalue_line("markers", "fake_host(profile): the fake kernel is a machine of this profile")


@pytest.fixture
def fake_kernel(request: pytest.FixtureRequest) -> FakeKernel:
    """Return a fresh machine with a small image at ``/image``, of the profile that ``fake_host`` names."""
    marker = request.node.get_closest_marker("fake_host")
    kernel = machine_of(marker.args[0]) if marker is not None else FakeKernel()
    kernel.add_rootfs(IMAGE)
    return kernel


@pytest.fixture
def fake_runtime(fake_kernel: FakeKernel, request: pytest.FixtureRequest) -> Iterator[Any]:
    """Return a runtime on ``fake_kernel`` and verify at the end that nothing was left behind."""
    # By name: this package may be used, and is imported, without the engine.
    engine = pytest.importorskip("orlop")
    runtime = engine.Runtime.compose(platform=FakePlatform(fake_kernel))
    yield runtime
    if request.node.get_closest_marker("fake_leaks") is None:
        left = fake_kernel.leaks()
        if left:
            pytest.fail("left on the fake kernel:\n" + "\n".join(left))
    if fake_kernel.program_errors:
        pytest.fail(f"programs ended by {fake_kernel.program_errors!r}")


def config_of(*args: str, **properties: Any) -> dict[str, Any]:  # noqa: ANN401 - anything that JSON knows
    """Return a small config whose process is *args*; *properties* replace whole sections of it."""
    config: dict[str, Any] = {
        "ociVersion": "1.2.0",
        "root": {"path": IMAGE},
        "process": {
            "args": list(args) or ["/bin/sleep", "infinity"],
            "cwd": "/",
            "env": ["PATH=/bin:/usr/bin"],
            "user": {"uid": 0, "gid": 0},
        },
        "mounts": [{"destination": "/proc", "type": "proc", "source": "proc"}],
        "linux": {"namespaces": [{"type": kind} for kind in ("pid", "mount", "uts", "ipc", "network")]},
    }
    return config | properties


@pytest.fixture
def fake_container(fake_runtime: Any) -> Iterator[Callable[..., Any]]:  # noqa: ANN401 - orlop.Runtime
    """Return a function that creates a container and is called as ``fake_container("/bin/app", id="web")``.

    Its other keywords replace sections of the config; see :func:`config_of`.
    """
    made: list[str] = []

    def create(*args: str, id: str = "", **properties: Any) -> Any:  # noqa: A002, ANN401 - the spec's name
        name = id or f"container{len(made) + 1}"
        made.append(name)
        return fake_runtime.create(name, config_of(*args, **properties))

    yield create
    for container in fake_runtime.list():
        if container.id in made:
            container.delete(force=True)
