"""The library in asyncio."""

from __future__ import annotations

import asyncio
import os

import pytest
from tests.unit.core.stub import Host, StubKernel, StubPlatform, config, plugins

from orlop import aio
from orlop_hookspecs.errors import (
    ContainerNotFoundError,
    StepError,
    WaitTimeoutError,
)
from orlop_hookspecs.record import Record


def test_a_life_in_asyncio(host: Host, root: str) -> None:
    async def main() -> None:
        async with await aio.Runtime.compose(StubPlatform(host), plugins(), root=root) as runtime:
            assert runtime.features().oci_version_max == "1.3.0"
            assert (await runtime.check(config())).accepted
            assert "Execute" in str(await runtime.explain(config()))
            container = await runtime.create("box", config())
            assert container.id == "box"
            await container.start()
            await container.pause()
            await container.resume()
            await container.update({"memory": {"limit": 1}})
            assert (await container.state())["status"] == "running"
            assert await container.processes() == [101]
            assert await container.stats() == {"pids": {"current": 1}}
            assert [one.id for one in await runtime.list()] == ["box"]
            with pytest.raises(WaitTimeoutError):
                await container.wait(0)
            await container.kill("KILL")
            assert await container.wait() == 143
            await (await runtime.get("box")).delete()
            with pytest.raises(ContainerNotFoundError):
                await container.state()

    asyncio.run(main())
    assert host.things == set()


def test_waiting_by_descriptor_needs_no_thread(
    host: Host, root: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ends: list[int] = []

    def pidfd(_: StubKernel, record: Record) -> int:
        read, write = os.pipe()
        ends.append(write)
        return read

    monkeypatch.setattr(StubKernel, "pidfd", pidfd, raising=False)

    async def main() -> None:
        runtime = await aio.Runtime.compose(StubPlatform(host), plugins(), root=root)
        container = await runtime.create("box", config())
        with pytest.raises(WaitTimeoutError, match="still runs after 0 seconds"):
            await container.wait(0)
        waiting = asyncio.ensure_future(container.wait())
        while len(ends) < 2:  # noqa: ASYNC110 - nobody tells when a thread has got so far
            await asyncio.sleep(0)
        await container.kill(9)
        assert not waiting.done()
        os.close(ends.pop())
        assert await waiting == 143

    before = len(os.listdir("/proc/self/fd"))
    asyncio.run(main())
    os.close(ends.pop())
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_cancelled_creation_leaves_nothing(host: Host, root: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import threading

    from tests.unit.core.stub import StubSandbox

    entered, go_on = threading.Event(), threading.Event()

    def commit(sandbox: StubSandbox) -> None:
        entered.set()
        assert go_on.wait(60)
        sandbox.committed = True

    monkeypatch.setattr(StubSandbox, "commit", commit)

    async def main() -> None:
        runtime = await aio.Runtime.compose(StubPlatform(host), plugins(), root=root)
        task = asyncio.ensure_future(runtime.create("box", config()))
        await asyncio.to_thread(entered.wait, 10)
        task.cancel()
        await asyncio.sleep(0)
        go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await runtime.list() == []

    asyncio.run(main())
    assert host.processes == {}
    assert host.things == set()


def test_a_cancelled_creation_that_fails_is_just_cancelled(
    host: Host, root: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import threading

    from tests.unit.core.stub import StubSandbox

    entered, go_on = threading.Event(), threading.Event()

    def commit(_: StubSandbox) -> None:
        entered.set()
        assert go_on.wait(60)
        raise StepError("no")

    monkeypatch.setattr(StubSandbox, "commit", commit)

    async def main() -> None:
        runtime = await aio.Runtime.compose(StubPlatform(host), plugins(), root=root)
        task = asyncio.ensure_future(runtime.create("box", config()))
        await asyncio.to_thread(entered.wait, 10)
        task.cancel()
        await asyncio.sleep(0)
        go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert host.things == set()
