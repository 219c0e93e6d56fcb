"""Hooks of the config on the fake kernel: Python callables by path (config.md, "POSIX-platform Hooks").

A hook without a callable succeeds if its file exists and is executable; a missing one is refused as on Linux.
A callable gets a :class:`HookCall`; ``None`` or 0 is success, another status a failure, and an exception is a
failure with its text.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Any, NoReturn

from orlop_fake.mounts import walk
from orlop_fake.refusals import DeadlockError, refusal, text_of
from orlop_fake.vfs import Directory
from orlop_hookspecs.errors import HookError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orlop_fake.machine import Machine
    from orlop_fake.processes import Process


class _OutOfTimeError(Exception):
    pass


class HookCall:
    """One run of a hook."""

    __slots__ = ("_left", "args", "container_process", "env", "kernel", "kind", "path", "state")

    def __init__(
        self, kernel: Machine, hook: Mapping[str, Any], state: dict[str, Any], process: Process | None
    ) -> None:
        """Describe a run of *hook*."""
        self.kernel = kernel
        """The whole machine."""
        self.kind: str = hook.get("kind", "")
        self.path: str = hook["path"]
        self.args: tuple[str, ...] = tuple(hook.get("args") or (self.path,))
        self.env: dict[str, str] = dict(entry.partition("=")[::2] for entry in hook.get("env") or ())
        self.state = state
        """The state document that the hook reads from its standard input."""
        self.container_process = process
        """The process whose namespaces the hook runs in; ``None`` for those of the runtime."""
        self._left: float | None = hook.get("timeout")

    def sleep(self, seconds: float) -> None:
        """Let virtual time pass; a hook that runs out of its timeout is killed here."""
        over = self._left is not None and seconds >= self._left
        passing = self._left if over and self._left is not None else seconds
        self.kernel.scheduler.wait_until(lambda: False, passing)
        if self._left is not None:
            self._left -= passing
        if over:
            raise _OutOfTimeError

    def hang(self) -> NoReturn:
        """Do nothing until the timeout; without one it would be for ever, which is an error of the test."""
        if self._left is None:
            raise DeadlockError(
                f"{self.kind} hook {self.path} hangs and has no timeout: the runtime would wait for ever"
            )
        self.sleep(self._left)
        raise _OutOfTimeError


def run_hook(kernel: Machine, hook: Mapping[str, Any], state: bytes, process: Process | None) -> None:
    """Run *hook*, the fields of a RunHook step; *process* is the container's, for hooks in its namespaces.

    Raises:
        HookError: It could not be run, failed, or ran out of time.
    """
    import json

    document: dict[str, Any] = json.loads(state)
    if process is not None:
        # config.md: the pid is the one that the container itself sees.
        document["pid"] = process.own_pid
        document["status"] = "creating" if hook["kind"] == "createContainer" else "created"
    call = HookCall(kernel, hook, document, process)
    kernel.hook_calls.append(call)
    try:
        status = _run(call)
    except _OutOfTimeError:
        raise _failure(hook, f"it ran out of time after {hook['timeout']} s and was killed", None) from None
    except (HookError, DeadlockError):
        raise
    except OSError as error:
        raise _failure(hook, f"cannot run it: {error.strerror or error}", error.errno) from error
    except Exception as error:
        raise _failure(
            hook, f"exit status 1, output: {f'{type(error).__name__}: {error}'!a}", None
        ) from error
    if status:
        raise _failure(hook, f"exit status {int(status)}", None)


def _run(call: HookCall) -> Any:  # noqa: ANN401 - whatever the callable returned
    kernel, path = call.kernel, call.path
    if not path.startswith("/") or "\0" in path:
        raise refusal(errno.ENOENT, path, "its path is not absolute")
    # Only startContainer hooks are looked up in the container (config.md).
    _find(kernel, path, call.container_process if call.kind == "startContainer" else None)
    delay = kernel.faults.delay(f"{call.kind} {path}") if kernel.faults.armed else 0.0
    if delay is None:
        call.hang()
    if delay:
        call.sleep(delay)
    status = kernel.faults.status(f"{call.kind} {path}") if kernel.faults.armed else None
    program = kernel.hooks.get(path)
    result = program(call) if program is not None else 0
    return result if status is None else status


def _find(kernel: Machine, path: str, process: Process | None) -> None:
    if path in kernel.hooks:
        return  # registering a callable puts it there, for the host and every container
    if process is None:
        where = kernel.host_find(path)
    else:
        where = walk(process.namespaces.mount.tree, process.root, path)
    node = where.node
    if isinstance(node, Directory) or not node.mode & 0o111:
        raise refusal(errno.EACCES, path, text_of(errno.EACCES))


def _failure(hook: Mapping[str, Any], why: str, number: int | None) -> HookError:
    return HookError(
        f"{hook.get('kind', '')} hook {hook.get('index', 0)}: {why}",
        act="run hook",
        pointer=str(hook.get("because", "")),
        value=hook.get("path"),
        errno=number,
    )
