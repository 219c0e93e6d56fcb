"""Record what one command does and how long each part takes.

Nothing here is imported unless a command line says ``--trace``. The recorder stands between the engine and
those whom it calls: the platform's kernel, the plugins and the store. It also sees modules being imported.

Source: Trace Event Format (the document of the Chromium project), JSON object format, complete events.
"""

from __future__ import annotations

import builtins
import os
import sys
import threading
import time
from itertools import islice
from typing import TYPE_CHECKING, Any

from orlop.cli.output import to_json, write
from orlop_hookspecs.errors import UsageError, printable

if TYPE_CHECKING:
    from collections.abc import Callable

    from orlop.lifecycle.site import Site
    from orlop.runtime import Runtime
    from orlop_hookspecs.plan import PlannedStep

_FILE = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
_MODE = 0o644
_LONGEST = 300
"""Characters of a detail."""


class Recorder:
    """Spans of one process, written to a file at the end.

    Args:
        path: The file; it is replaced at the end, and opened now, so that a bad path is told at once.
    """

    def __init__(self, path: str) -> None:
        """Begin with the start of the interpreter.

        Raises:
            UsageError: The file cannot be written.
        """
        import stat

        try:
            self._descriptor = os.open(path, _FILE, _MODE)
            if not stat.S_ISREG(os.fstat(self._descriptor).st_mode):
                os.close(self._descriptor)
                raise UsageError("expected a regular file for the trace", path=path)
        except OSError as error:
            why = (error.strerror or str(error)).lower()
            raise UsageError(
                f"cannot open the file for the trace: {why}", path=path, errno=error.errno
            ) from None
        self._events: list[dict[str, Any]] = []
        self._begin = time.perf_counter()
        # What the interpreter did before any of our code ran is known by the processor time that it took.
        self._add("start of the interpreter", "start", self._begin - time.process_time(), self._begin, {})
        self._import = builtins.__import__
        builtins.__import__ = self._watch_import

    def span(self, name: str, category: str, **details: Any) -> Span:  # noqa: ANN401 - told as text
        """Return a context manager; what happens inside is one span."""
        return Span(self, name, category, details)

    def _add(self, name: str, category: str, begin: float, end: float, details: dict[str, Any]) -> None:
        self._events.append(
            {
                "name": printable(name, _LONGEST),
                "cat": category,
                "ph": "X",
                "ts": round(begin * 1e6, 3),
                "dur": round((end - begin) * 1e6, 3),
                "pid": os.getpid(),
                "tid": threading.get_native_id(),
                "args": {key: printable(str(value), _LONGEST) for key, value in details.items() if value},
            }
        )

    def _watch_import(self, name: str, *arguments: Any, **named: Any) -> Any:  # noqa: ANN401 - as the original
        before = len(sys.modules)
        begin = time.perf_counter()
        try:
            return self._import(name, *arguments, **named)
        finally:
            if len(sys.modules) > before:
                # The first new one is what the others are imported for.
                first = next(islice(tuple(sys.modules), before, None), name)
                self._add(f"import {first}", "import", begin, time.perf_counter(), {})

    def close(self, command: str, warn: Callable[[str], None]) -> None:
        """Write the file, or warn that it cannot be: the command has done its work."""
        builtins.__import__ = self._import
        self._add(command, "command", self._begin, time.perf_counter(), {})
        self._events.sort(key=lambda event: (event["ts"], -event["dur"]))
        text = to_json({"traceEvents": self._events, "displayTimeUnit": "ms"}, " ")
        try:
            os.ftruncate(self._descriptor, 0)
            write(text + "\n", self._descriptor)
        except OSError as error:
            warn(f"the trace cannot be written: {(error.strerror or str(error)).lower()}")
        finally:
            os.close(self._descriptor)

    # -- those who are called

    def site(self, site: Site) -> Site:
        """Let the calls of *site* to its store and its kernels be spans, and return it."""
        site.watch(self.store, self.kernel)
        return site

    def kernel(self, kernel: Any) -> Any:  # noqa: ANN401 - a stand-in for any kernel
        """Return *kernel* with calls that are spans."""
        return Watched(self, kernel, "kernel", {"sandbox": self._sandbox, "store": self.store})

    def store(self, store: Any) -> Any:  # noqa: ANN401 - a stand-in for any store
        """Return *store* with calls that are spans; ``None`` stays ``None``."""
        if store is None:
            return None
        return Watched(self, store, "store", {"create": self._slot, "open": self._slot})

    def _slot(self, slot: Any) -> Any:  # noqa: ANN401 - a stand-in
        return Watched(self, slot, "store", {})

    def _sandbox(self, sandbox: Any) -> Any:  # noqa: ANN401 - a stand-in
        return Watched(self, sandbox, "step", {})

    def runtime(self, made: Runtime, root: str | None, warn: Callable[[str], None]) -> Runtime:
        """Return *made* anew, with all that it calls watched."""
        made.composition.hooks.watch(self._plugin)
        return watched_runtime(self, made, root, warn)

    def _plugin(self, plugin: str, hook: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def watched(*arguments: Any) -> Any:  # noqa: ANN401 - as the original
            with self.span(f"{hook} {plugin}", "plugin"):
                return call(*arguments)

        return watched


def watched_runtime(
    recorder: Recorder, made: Runtime, root: str | None, warn: Callable[[str], None]
) -> Runtime:
    """Return a runtime of the composition of *made* whose kernel and store are watched."""
    from orlop.runtime import Runtime as RuntimeClass

    class WatchedRuntime(RuntimeClass):
        """A runtime whose kernel and store are watched."""

        @property
        def kernel(self) -> Any:  # noqa: ANN401 - stands for a kernel
            """The platform's kernel, watched."""
            return recorder.kernel(super().kernel)

        @property
        def site(self) -> Site:
            """The store, watched; the kernel is anyway."""
            site = super().site
            if not isinstance(site.store, Watched):
                site.watch(recorder.store, lambda kernel: kernel)
            return site

    platform = made.composition.platform
    assert platform is not None  # noqa: S101 - a runtime has one
    return WatchedRuntime(made.composition, platform, root=root, warn=warn)


class Span:
    """One span while it lasts."""

    __slots__ = ("_begin", "_category", "_details", "_name", "_recorder")

    def __init__(self, recorder: Recorder, name: str, category: str, details: dict[str, Any]) -> None:
        """Keep what is known of it."""
        self._recorder = recorder
        self._name = name
        self._category = category
        self._details = details
        self._begin = 0.0

    def __enter__(self) -> None:
        """Begin."""
        self._begin = time.perf_counter()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        """End; a failure is a detail."""
        details = self._details if error is None else {**self._details, "failed": error}
        self._recorder._add(self._name, self._category, self._begin, time.perf_counter(), details)  # noqa: SLF001 - its own recorder


class Watched:
    """Stands for another object; calls of its methods are spans, and everything else is as it was."""

    def __init__(
        self,
        recorder: Recorder,
        target: object,
        category: str,
        made: dict[str, Callable[[Any], Any]],
    ) -> None:
        """Keep the parts.

        Args:
            recorder: Where the spans go.
            target: The object that is called.
            category: Of its spans.
            made: What is done with the results of single methods.
        """
        self._recorder = recorder
        self._target = target
        self._category = category
        self._made = made

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - as the target's
        """Return the target's attribute; methods are watched."""
        found = getattr(self._target, name)
        if not callable(found) or name.startswith("_"):
            return found
        wrap = self._made.get(name)

        def watched(*arguments: Any, **named: Any) -> Any:  # noqa: ANN401 - as the original
            label, details = describe(name, arguments)
            with self._recorder.span(label, self._category, **details):
                result = found(*arguments, **named)
            return result if wrap is None else wrap(result)

        return watched


def describe(name: str, arguments: tuple[Any, ...]) -> tuple[str, dict[str, Any]]:
    """Return the label and the details of the call *name*: of steps, what they do and who asked for them."""
    steps = [one for one in arguments if _is_planned(one)]
    if steps:
        planned: PlannedStep = steps[0]
        step = planned.step
        return step.describe(), {"plugin": planned.plugin, "because": step.because, "phase": planned.phase}
    groups = [one for one in arguments if isinstance(one, (tuple, list)) and one and _is_planned(one[0])]
    details: dict[str, Any] = {}
    for group in groups:
        details[group[0].phase] = f"{len(group)} steps: " + ", ".join(
            type(one.step).__name__ for one in group
        )
    if details:
        return name, details
    words = [one for one in arguments if isinstance(one, str)]
    return " ".join([name, *words[:1]]), {}


def _is_planned(one: object) -> bool:
    return hasattr(one, "step") and hasattr(one, "phase")
