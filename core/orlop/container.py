"""One container of a composed runtime, as a program has it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from orlop.lifecycle import delete as delete_verb
from orlop.lifecycle import kill as kill_verb
from orlop.lifecycle import start as start_verb
from orlop.lifecycle.signals import parse_signal
from orlop.lifecycle.site import find
from orlop.lifecycle.state import document, extended

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import TypeVar

    from orlop.process import Process
    from orlop.runtime import Runtime
    from orlop_hookspecs.documents import Process as ProcessDocument
    from orlop_hookspecs.documents import Resources
    from orlop_hookspecs.launch import ExecOptions
    from orlop_hookspecs.record import Record

    _Flags = TypeVar("_Flags")


class Container:
    """One container of a runtime; only a name: its state is kept by the store and the kernel."""

    __slots__ = ("_runtime", "id")

    def __init__(self, runtime: Runtime, id: str) -> None:  # noqa: A002 - the specification's name
        """Name the container; use :meth:`Runtime.create` and :meth:`Runtime.get`."""
        self._runtime = runtime
        self.id = id

    def record(self) -> Record:
        """Return what is stored of the container."""
        return find(self._runtime.site, self.id)[0]

    @property
    def pid(self) -> int:
        """Process id of the container process, 0 when it has stopped."""
        state: int = self.state().get("pid", 0)
        return state

    def state(self) -> dict[str, Any]:
        """Return the state document (runtime.md, State)."""
        record, kernel = find(self._runtime.site, self.id)
        return document(record, kernel.status(record))

    def extended_state(self) -> dict[str, Any]:
        """Return the state with what engines expect beyond the specification."""
        record, kernel = find(self._runtime.site, self.id)
        return extended(record, kernel.status(record))

    @property
    def status(self) -> str:
        """``creating``, ``created``, ``running``, ``paused`` or ``stopped``."""
        record, kernel = find(self._runtime.site, self.id)
        return kernel.status(record)

    def start(self) -> None:
        """Run the user-specified program; see :func:`orlop.lifecycle.start.start`."""
        start_verb.start(self._runtime.site, self.id)

    def kill(self, signal: str | int = "SIGTERM", *, everything: bool = False) -> None:
        """Send a signal to the container process, or to every process of the container.

        Raises:
            UsageError: There is no such signal.
            StateError: The container process has ended.
        """
        kill_verb.kill(self._runtime.site, self.id, parse_signal(signal), everything=everything)

    def wait(self, timeout: float | None = None) -> int | None:
        """Wait for the end of the container process; see :func:`orlop.lifecycle.wait.wait`."""
        from orlop.lifecycle.wait import wait

        return wait(self._runtime.site, self.id, timeout)

    def delete(self, force: bool = False) -> None:  # noqa: FBT001, FBT002 - as every runtime spells it
        """Remove the container; with *force*, kill it first when it is not stopped."""
        delete_verb.delete(self._runtime.site, self.id, force=force)

    def pause(self) -> None:
        """Suspend all processes of the container."""
        from orlop.lifecycle.pause import pause

        pause(self._runtime.site, self.id)

    def resume(self) -> None:
        """Let the processes of the paused container go on."""
        from orlop.lifecycle.resume import resume

        resume(self._runtime.site, self.id)

    def checkpoint(self, image: str | os.PathLike[str], **flags: Any) -> None:  # noqa: ANN401 - the fields of CheckpointOptions
        """Write the container to the directory *image*; it ends and is deleted, unless it is left running.

        Args:
            image: Directory that receives the images.
            flags: The fields of :class:`orlop_hookspecs.checkpoint.CheckpointOptions`, such as
                ``leave_running=True``.

        Raises:
            OrlopError: It could not be written, and goes on as before.
        """
        from orlop.lifecycle.checkpoint import checkpoint
        from orlop_hookspecs.checkpoint import CheckpointOptions

        checkpoint(self._runtime.site, self.id, flags_of(CheckpointOptions, image, flags))

    def processes(self) -> list[int]:
        """Return the process ids of the container, sorted."""
        from orlop.lifecycle.processes import processes

        return processes(self._runtime.site, self.id)

    def stats(self) -> dict[str, Any]:
        """Return what the kernel and the plugins account for the container."""
        from orlop.lifecycle.stats import stats

        return stats(self._runtime.site, self.id)

    def update(
        self, resources: bytes | dict[str, Any] | Resources, intel_rdt: dict[str, Any] | None = None
    ) -> None:
        """Change the container's limits to those in *resources*, a ``linux.resources`` object."""
        from orlop.lifecycle.update import update

        update(self._runtime.composition, self._runtime.site, self.id, resources, intel_rdt)

    def exec(
        self,
        process: Sequence[str] | bytes | dict[str, Any] | ProcessDocument,
        options: ExecOptions | None = None,
        **fields: Any,  # noqa: ANN401 - those of Changes and ExecOptions
    ) -> Process:
        """Start one more process in the container; return when its program runs.

        Args:
            process: A program with its arguments, whose process is otherwise like the container's own; or a
                whole ``process`` document (bytes, JSON data or a document), which leaves to that only how it
                is confined and scheduled.
            options: The flags of ``exec`` that are not of the process.
            fields: Beside a program, how its process differs: fields of
                :class:`orlop.lifecycle.executed.Changes`. Instead of *options*, single ones by name.

        Raises:
            StateError: The container has stopped, is still being created, or is paused.
            UsageError, DocumentError, ConfigError, PluginError: The process is refused.
            StepError, PlatformError: The host refused, or the program cannot be executed; nothing is left.
        """
        from orlop.lifecycle.exec import Execution
        from orlop.lifecycle.executed import wanted_of
        from orlop.process import Process

        wanted, flags = wanted_of(process, options, fields)
        execution = Execution(
            self._runtime.site,
            self.id,
            wanted,
            options=flags,
            composed=lambda _: self._runtime.composition,
        )
        execution.start()
        execution.close()
        return Process(execution.record(), execution.kernel)

    def __repr__(self) -> str:
        """Return the identifier."""
        return f"<Container {self.id}>"


def flags_of(kind: type[_Flags], image: str | os.PathLike[str], flags: Mapping[str, Any]) -> _Flags:
    """Return the flags of a checkpoint or a restore as options; paths become absolute.

    Raises:
        UsageError: One is unknown.
    """
    from orlop.store.root import absolute
    from orlop_hookspecs.errors import UsageError

    work = flags.get("work", "")
    places = {"image": absolute(os.fspath(image)), "work": absolute(os.fspath(work))}
    try:
        return kind(**{**flags, **places})
    except TypeError:
        raise UsageError("unknown option", value=", ".join(flags)) from None
