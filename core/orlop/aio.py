"""The library for asyncio: the same runtime and containers, with coroutines.

    runtime = await aio.Runtime.compose(platform="fake")
    container = await runtime.create("web", "/bundles/web")
    await container.start()
    status = await container.wait()

Waiting costs no thread where the kernel hands out a pidfd; every other operation runs in a thread of the
loop's executor.
"""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Any

from orlop import runtime as sync
from orlop.lifecycle.site import find
from orlop_hookspecs.errors import StateError, WaitTimeoutError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Self

    from orlop import container as sync_container
    from orlop import process as sync_process
    from orlop.engine.calls import CallExplanation
    from orlop.engine.doctor import Examination
    from orlop.engine.explain import Explanation
    from orlop.engine.overview import Overview
    from orlop.engine.verdict import Verdict
    from orlop.runtime import BundleLike, ConfigLike
    from orlop_hookspecs.documents import Features, Resources, Seccomp
    from orlop_hookspecs.documents import Process as ProcessDocument
    from orlop_hookspecs.kernel import LiveKernel
    from orlop_hookspecs.launch import ExecOptions, LaunchOptions
    from orlop_hookspecs.record import Record


class Runtime:
    """The twin of :class:`orlop.Runtime`."""

    def __init__(self, runtime: sync.Runtime) -> None:
        """Wrap *runtime*."""
        self.sync = runtime

    @classmethod
    async def compose(cls, *arguments: Any, **keywords: Any) -> Self:  # noqa: ANN401 - those of the twin
        """Return a runtime; the arguments are those of :meth:`orlop.Runtime.compose`."""
        return cls(await asyncio.to_thread(sync.Runtime.compose, *arguments, **keywords))

    def features(self) -> Features:
        """Return the features document; pure."""
        return self.sync.features()

    async def check(self, config: BundleLike | ConfigLike) -> Verdict:
        """Return what becomes of each property of *config*."""
        return await asyncio.to_thread(self.sync.check, config)

    async def explain(self, bundle: BundleLike | ConfigLike) -> Explanation:
        """Return the plan for *bundle* without executing it."""
        return await asyncio.to_thread(self.sync.explain, bundle)

    async def examine(
        self, names: Sequence[str] = (), *, config: BundleLike | ConfigLike | None = None
    ) -> Examination:
        """Return what can be used here."""
        return await asyncio.to_thread(self.sync.examine, names, config=config)

    async def explain_profile(self, profile: BundleLike | ConfigLike | Seccomp) -> Overview:
        """Return what of a seccomp profile this host cannot do, and what in it decides nothing."""
        return await asyncio.to_thread(self.sync.explain_profile, profile)

    async def explain_call(
        self,
        profile: BundleLike | ConfigLike | Seccomp,
        call: str | int,
        *arguments: int | None,
        architecture: str = "",
    ) -> CallExplanation:
        """Return which rule of a seccomp profile decides a system call."""
        return await asyncio.to_thread(
            self.sync.explain_call, profile, call, *arguments, architecture=architecture
        )

    async def create(
        self,
        id: str,  # noqa: A002 - the specification's name
        bundle: BundleLike | ConfigLike,
        options: LaunchOptions | None = None,
        **launch: Any,  # noqa: ANN401 - those of the twin
    ) -> Container:
        """Create a container.

        When the task is cancelled, the creation goes on in its thread and the finished container is deleted.
        """
        return await self._made(lambda: self.sync.create(id, bundle, options, **launch))

    async def restore(
        self,
        id: str,  # noqa: A002 - the specification's name
        bundle: BundleLike | ConfigLike,
        image: BundleLike,
        options: LaunchOptions | None = None,
        **flags: Any,  # noqa: ANN401 - those of the twin
    ) -> Container:
        """Bring a container back from images.

        When the task is cancelled, the restore goes on in its thread and the finished container is deleted.
        """
        return await self._made(lambda: self.sync.restore(id, bundle, image, options, **flags))

    async def _made(self, make: Callable[[], sync_container.Container]) -> Container:
        work = asyncio.ensure_future(asyncio.to_thread(make))
        try:
            return Container(self, await asyncio.shield(work))
        except asyncio.CancelledError:
            try:
                made = await work
            except Exception:  # noqa: BLE001 - nothing was made, and the cancellation is what is told
                raise asyncio.CancelledError from None
            await asyncio.to_thread(made.delete, force=True)
            raise

    async def get(self, id: str) -> Container:  # noqa: A002 - the specification's name
        """Return an existing container."""
        return Container(self, await asyncio.to_thread(self.sync.get, id))

    async def list(self) -> list[Container]:
        """Return all containers of the store, sorted by identifier."""
        return [Container(self, one) for one in await asyncio.to_thread(self.sync.list)]

    async def close(self) -> None:
        """End the kernel's helpers; containers live on."""
        await asyncio.to_thread(self.sync.close)

    async def __aenter__(self) -> Self:
        """Return the runtime."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close it."""
        await self.close()


class Container:
    """The twin of :class:`orlop.Container`."""

    def __init__(self, runtime: Runtime, container: sync_container.Container) -> None:
        """Wrap *container*."""
        self._runtime = runtime
        self.sync = container

    @property
    def id(self) -> str:
        """The identifier."""
        return self.sync.id

    async def state(self) -> dict[str, Any]:
        """Return the state document."""
        return await asyncio.to_thread(self.sync.state)

    async def extended_state(self) -> dict[str, Any]:
        """Return the state with what engines expect beyond the specification."""
        return await asyncio.to_thread(self.sync.extended_state)

    async def start(self) -> None:
        """Run the user-specified program."""
        await asyncio.to_thread(self.sync.start)

    async def checkpoint(self, image: BundleLike, **flags: Any) -> None:  # noqa: ANN401 - those of the twin
        """Write the container to the directory *image*."""
        await asyncio.to_thread(self.sync.checkpoint, image, **flags)

    async def kill(self, signal: str | int = "SIGTERM", *, everything: bool = False) -> None:
        """Send a signal."""
        await asyncio.to_thread(self.sync.kill, signal, everything=everything)

    async def delete(self, force: bool = False) -> None:  # noqa: FBT001, FBT002 - as every runtime spells it
        """Remove the container."""
        await asyncio.to_thread(self.sync.delete, force=force)

    async def pause(self) -> None:
        """Suspend all processes of the container."""
        await asyncio.to_thread(self.sync.pause)

    async def resume(self) -> None:
        """Let the processes go on."""
        await asyncio.to_thread(self.sync.resume)

    async def processes(self) -> list[int]:
        """Return the process ids of the container, sorted."""
        return await asyncio.to_thread(self.sync.processes)

    async def stats(self) -> dict[str, Any]:
        """Return what is accounted for the container."""
        return await asyncio.to_thread(self.sync.stats)

    async def update(
        self, resources: bytes | dict[str, Any] | Resources, intel_rdt: dict[str, Any] | None = None
    ) -> None:
        """Change the container's limits."""
        await asyncio.to_thread(self.sync.update, resources, intel_rdt)

    async def exec(
        self,
        process: Sequence[str] | bytes | dict[str, Any] | ProcessDocument,
        options: ExecOptions | None = None,
        **fields: Any,  # noqa: ANN401 - those of the twin
    ) -> Process:
        """Start one more process in the container.

        When the task is cancelled, the start goes on in its thread and the process is then killed.
        """
        work = asyncio.ensure_future(asyncio.to_thread(self.sync.exec, process, options, **fields))
        try:
            made = await asyncio.shield(work)
            _reap_at_end(made)
            return Process(made)
        except asyncio.CancelledError:
            try:
                made = await work
            except Exception:  # noqa: BLE001 - nothing was started, and the cancellation is what is told
                raise asyncio.CancelledError from None
            try:
                await asyncio.to_thread(made.kill, "SIGKILL")
                await asyncio.to_thread(made.wait)
            except StateError:
                pass  # it has ended by itself
            raise

    async def wait(self, timeout: float | None = None) -> int | None:  # noqa: ASYNC109 - the twin's signature
        """Wait for the end of the container process; see :meth:`orlop.Container.wait`.

        Raises:
            WaitTimeoutError: *timeout* seconds passed.
        """
        record, kernel = await asyncio.to_thread(find, self._runtime.sync.site, self.id)
        return await _wait(record, kernel, timeout)


class Process:
    """The twin of :class:`orlop.process.Process`."""

    def __init__(self, process: sync_process.Process) -> None:
        """Wrap *process*."""
        self.sync = process

    @property
    def pid(self) -> int:
        """Its process id as the caller sees it."""
        return self.sync.pid

    async def kill(self, signal: str | int = "SIGTERM") -> None:
        """Send it a signal."""
        await asyncio.to_thread(self.sync.kill, signal)

    async def wait(self, timeout: float | None = None) -> int | None:  # noqa: ASYNC109 - the twin's signature
        """Wait for its end; see :meth:`orlop.process.Process.wait`.

        Raises:
            WaitTimeoutError: *timeout* seconds passed.
        """
        return await _wait(self.sync.record, self.sync.kernel, timeout)


def _reap_at_end(process: sync_process.Process) -> None:
    """Reap the process when it has ended, also when nobody waits: its container cannot end before that."""
    pidfd = getattr(process.kernel, "pidfd", None)
    descriptor = pidfd(process.record) if pidfd is not None else None
    if descriptor is None:
        return
    loop = asyncio.get_running_loop()

    def reap() -> None:
        loop.remove_reader(descriptor)
        os.close(descriptor)
        process.kernel.wait(process.record, 0)

    loop.add_reader(descriptor, reap)


async def _wait(record: Record, kernel: LiveKernel, timeout: float | None) -> int | None:  # noqa: ASYNC109 - as above
    # Optional for kernels: a pollable descriptor that becomes readable when the process has ended, the
    # caller's to close.
    pidfd = getattr(kernel, "pidfd", None)
    descriptor = pidfd(record) if pidfd is not None else None
    if descriptor is None:
        return await asyncio.to_thread(kernel.wait, record, timeout)
    loop = asyncio.get_running_loop()
    ended = loop.create_future()
    loop.add_reader(descriptor, _finish, ended)
    try:
        await asyncio.wait_for(ended, timeout)
    except TimeoutError:
        raise WaitTimeoutError(f"it still runs after {timeout} seconds", container=record.id) from None
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)
    return kernel.wait(record, 0)


def _finish(ended: asyncio.Future[None]) -> None:
    if not ended.done():
        ended.set_result(None)
