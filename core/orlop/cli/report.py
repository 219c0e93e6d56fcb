"""Messages: one line each, to the log file and to standard error, laid out as container engines parse them.

Without ``--log`` a message goes to standard error in the chosen layout. With ``--log`` it goes to the file in
that layout, and errors go to standard error as well, bare: some engines read the one, some the other.
Warnings wait until the command has ended, because podman reads the whole log of a failed command as one JSON
object: the error then carries them.
"""

from __future__ import annotations

import os
import stat
import time

from orlop.cli.output import STDERR, to_json, write
from orlop_hookspecs.errors import OrlopError, UsageError, printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

LEVELS = {"error": 0, "warning": 1, "info": 2, "debug": 3}
"""Levels by importance."""

_MODE = 0o644
_NO_DESCRIPTORS = 24  # EMFILE, for which the module errno would have to be loaded
# Out of the way of the descriptors that a caller hands over from 3 on.
_LOG_DESCRIPTORS = (512, 128, 32, 8)


class Reporter:
    """Where messages of one command go."""

    def __init__(self) -> None:
        """Report to standard error as text until :meth:`configure` is called."""
        self._level = LEVELS["warning"]
        self._json = False
        self._log = -1
        self._held: list[str] = []
        self.failure = 1
        """Exit status of the command when it fails."""

    @property
    def debugging(self) -> bool:
        """Whether everything is reported."""
        return self._level >= LEVELS["debug"]

    def close(self) -> None:
        """Close the log file. Idempotent."""
        if self._log >= 0:
            os.close(self._log)
            self._log = -1

    def configure(self, *, path: str, layout: str, level: str) -> None:
        """Set the layout (``text`` or ``json``), the least important level and the log file (empty: none).

        Raises:
            UsageError: The file cannot be opened, or is nothing that one can append to without waiting.
        """
        self._level = LEVELS[level]
        self._json = layout == "json"
        if path:
            self._log = _open_log(path)

    def debug(self, message: str, **fields: Any) -> None:  # noqa: ANN401 - JSON data of the message's own
        """Report what happens, for somebody who looks for a fault."""
        if self.debugging:
            self._emit("debug", message, fields)

    def warning(self, message: str) -> None:
        """Keep a warning until :meth:`finish` or :meth:`error`."""
        if self._level >= LEVELS["warning"]:
            self._held.append(message)

    def finish(self) -> None:
        """Write the warnings of a command that has succeeded."""
        held, self._held = self._held, []
        for message in held:
            self._emit("warning", message, {})

    def error(self, message: str, parts: dict[str, object] | None = None) -> None:
        """Report why the command failed, with its warnings.

        *parts* are the error's parts for programs; they appear in the JSON layout only.
        """
        fields: dict[str, object] = {}
        if self._json and parts:
            fields["error"] = parts
        if self._json and self._held:
            fields["warnings"] = list(self._held)
            self._held.clear()
        self.finish()
        self._emit("error", message, fields)
        if self._log >= 0:
            _try_write(printable(message) + "\n", STDERR)

    def _emit(self, level: str, message: str, fields: dict[str, Any]) -> None:
        text = printable(message)
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        if self._json:
            line = to_json({**fields, "level": level, "msg": text, "time": now}) + "\n"
        else:
            more = "".join(f" {name}={to_json(str(value))}" for name, value in fields.items())
            line = f'time="{now}" level={level} msg={to_json(text)}{more}\n'
        _try_write(line, self._log if self._log >= 0 else STDERR)


def describe(error: BaseException) -> tuple[str, dict[str, object]]:
    """Return the one line for *error* and its parts for programs."""
    if isinstance(error, OrlopError):
        return str(error), error.as_dict()
    if isinstance(error, OSError) and error.errno is not None:
        where = f"{os.fsdecode(error.filename)}: " if isinstance(error.filename, (str, bytes)) else ""
        advice = ""
        if error.errno == _NO_DESCRIPTORS:  # which file was one too many says nothing
            where, advice = "", "; raise the limit of the process: ulimit -n"
        why = (error.strerror or str(error)).lower()
        return f"{where}{why}{advice}", {"code": "os", "errno": error.errno}
    return f"internal error: {type(error).__name__}: {error}", {"code": "internal"}


def _try_write(text: str, descriptor: int) -> None:
    # There is no place left to complain to, and a full disk or a closed pipe must not stop the clean-up of a
    # container.
    try:
        write(text, descriptor)
    except OSError:
        pass


def _open_log(path: str) -> int:
    """Open *path* for appending, without following a planted link or waiting for a reader."""
    import errno
    import fcntl

    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
    # /dev/stderr and its like are links by nature; everywhere else a link may have been planted.
    if not path.startswith(("/dev/", "/proc/self/fd/")):
        flags |= os.O_NOFOLLOW
    try:
        descriptor = os.open(path, flags, _MODE)
    except (OSError, ValueError) as error:
        number = getattr(error, "errno", None)
        why = "it is a symbolic link" if number == errno.ELOOP else describe(error)[0]
        raise UsageError(f"cannot open the log file: {why}", path=path, errno=number) from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        return _away(descriptor)
    fcntl.fcntl(descriptor, fcntl.F_SETFL, os.O_APPEND)
    return _away(descriptor)


def _away(descriptor: int) -> int:
    import fcntl

    for least in _LOG_DESCRIPTORS:
        try:
            moved = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, least)
        except OSError:  # above the limit of open files
            continue
        os.close(descriptor)
        return moved
    return descriptor
