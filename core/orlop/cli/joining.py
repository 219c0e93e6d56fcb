"""One ``exec`` of the command line: from its flags to a process whose program runs, and its pid file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orlop.cli.files import PidFile
from orlop.documents.reader import parse, read_file
from orlop.lifecycle.exec import Execution
from orlop.lifecycle.executed import Changes
from orlop.store.root import absolute
from orlop_hookspecs.errors import CompositionError, DocumentError, StateError, UsageError, shorten
from orlop_hookspecs.launch import ExecOptions

if TYPE_CHECKING:
    from typing import Self

    from orlop.cli.context import Context
    from orlop.cli.flags import Parsed
    from orlop.lifecycle.exec import Wanted
    from orlop.plugins.composition import Composition
    from orlop_hookspecs.kernel import LiveKernel
    from orlop_hookspecs.record import Record

_ID_DIGITS = 10
_DIGITS = frozenset("0123456789")
_NO_ID = (1 << 32) - 1
"""As an id this means "unchanged" (chown(2)), and nobody has it."""
_GROUP = "--additional-gids: expected the number of an id, such as 1000"


class Joining:
    """As a context manager it kills the process when an error arises inside, until it is kept."""

    def __init__(self, context: Context) -> None:
        """Verify the flags and read what the caller's paths name, before anything is made."""
        line = context.line
        self._context = context
        self._execution: Execution | None = None
        self._kept = False
        self._path = line.text("process")
        self._wanted: Wanted = _document(self._path) if self._path else _changes(line)
        self._cgroups = sub_cgroups(line.texts("cgroup"))
        self._pid_file = PidFile(line.text("pid-file")) if line.text("pid-file") else None

    def wants_terminal(self) -> bool:
        """Tell whether the process is to have a terminal."""
        if isinstance(self._wanted, dict):
            return self._wanted.get("terminal") is True
        return self._context.line.on("tty")

    def enter(self, *, console_socket: str = "", foreground: bool = False) -> None:
        """Make the process; it then waits for :meth:`run`.

        Args:
            console_socket: Receives the terminal's master instead of ``--console-socket``.
            foreground: The caller stays, and has no socket for the terminal.

        Raises:
            OrlopError: Nothing is left of what was begun.
        """
        context, line = self._context, self._context.line
        execution = self._execution = Execution(
            context.site(),
            context.id,
            self._wanted,
            options=ExecOptions(
                console_socket=console_socket or absolute(line.text("console-socket")),
                pidfd_socket=absolute(line.text("pidfd-socket")),
                preserve_fds=line.count("preserve-fds"),
                foreground=foreground,
                cgroups=self._cgroups,
                ignore_paused=line.on("ignore-paused"),
            ),
            path=self._path,
            composed=self._composed,
        )
        execution.enter()

    def run(self) -> None:
        """Let the program run, and write the pid file.

        Raises:
            OrlopError: Nothing is left of what was begun.
        """
        assert self._execution is not None  # noqa: S101 - the process has been made
        self._execution.run()
        if self._pid_file is not None:
            self._pid_file.write(self._execution.record().pid)

    def _composed(self, record: Record) -> Composition:
        from orlop.plugins.compose import compose_for_record

        if self._context.parts is not None:
            return self._context.parts.runtime(None, [], self._context.report.warning).composition
        try:
            # The plugins that made the container are known by name, and hardly ever found by code only.
            return compose_for_record(record)
        except CompositionError:
            from orlop.cli.paths import complete

            complete()
            return compose_for_record(record)

    def keep(self) -> None:
        """From now on an error leaves the process as it is."""
        self._kept = True

    def pidfd(self) -> int | None:
        """Return a pidfd of the process, or ``None`` where the platform has none."""
        kernel, record = self._started()
        pidfd = getattr(kernel, "pidfd", None)
        if pidfd is None:
            return None
        descriptor: int | None = pidfd(record)
        return descriptor

    def kill(self, number: int) -> None:
        """Send a signal to the process; one that has just ended needs none."""
        kernel, record = self._started()
        try:
            kernel.signal(record, number)
        except StateError:
            pass

    def wait(self) -> int | None:
        """Return how the process ended."""
        kernel, record = self._started()
        return kernel.wait(record)

    def _started(self) -> tuple[LiveKernel, Record]:
        assert self._execution is not None  # noqa: S101 - the process has been started
        return self._execution.kernel, self._execution.record()

    def __enter__(self) -> Self:
        """Return the joining."""
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        """Kill what an error has left unfinished, and release what is held."""
        if self._execution is not None:
            if error is not None and not self._kept:
                self._execution.abort()
            self._execution.close()
        if self._pid_file is not None:
            self._pid_file.close()


def _document(path: str) -> dict[str, object]:
    """Return the ``process`` document in a file.

    Raises:
        DocumentError: It cannot be read, or is no JSON object.
    """
    try:
        return parse(read_file(path), path=path)
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise DocumentError(f"cannot read the process: {why}", path=path, errno=error.errno) from error


def _changes(line: Parsed) -> Changes:
    """Return the program and the flags of its process.

    Raises:
        UsageError: The value of a flag is none, or there is no program.
    """
    args = tuple(line.arguments[1:])
    if not args:
        raise UsageError("process args cannot be empty", hint="name a command, or a file by --process")
    for variable in line.texts("env"):
        if variable.find("=") < 1:
            raise UsageError("--env: expected NAME=VALUE", value=variable)
    uid, gid = user(line.text("user"))
    return Changes(
        args=args,
        cwd=line.text("cwd"),
        env=tuple(line.texts("env")),
        uid=uid,
        gid=gid,
        groups=tuple(_number(text, text, _GROUP) for text in line.texts("additional-gids")),
        capabilities=tuple(line.texts("cap")),
        terminal=line.on("tty"),
        no_new_privileges=line.given("no-new-privs"),
        apparmor_profile=line.text("apparmor"),
        selinux_label=line.text("process-label"),
    )


def user(text: str) -> tuple[int | None, int | None]:
    """Return the ids that *text*, ``UID`` or ``UID:GID``, says; ``None``: it says none.

    Raises:
        UsageError: It says something else. Names are for the caller to look up, never for the image.
    """
    if not text:
        return None, None
    uid, colon, gid = text.partition(":")
    expected = "--user: expected UID or UID:GID, both as numbers"
    return _number(uid, text, expected), _number(gid, text, expected) if colon else None


def _number(part: str, text: str, expected: str) -> int:
    """Return the id that *part* of *text* is, in ASCII digits without a sign or leading zeros."""
    plain = bool(part) and _DIGITS.issuperset(part) and len(part) <= _ID_DIGITS
    if not plain or (part[0] == "0" and part != "0"):
        raise UsageError(expected, value=text)
    if int(part) >= _NO_ID:
        raise UsageError(f"{expected.partition(':')[0]}: the id is out of range", value=text)
    return int(part)


def sub_cgroups(texts: list[str]) -> dict[str, str]:
    """Return the cgroups below the container's that *texts* name, by controller; see :class:`ExecOptions`.

    Raises:
        UsageError: A controller is named twice or not at all, or a path leads elsewhere.
    """
    found: dict[str, str] = {}
    for text in texts:
        controllers, colon, path = text.partition(":")
        if not colon:
            if len(texts) > 1:
                raise UsageError("--cgroup: each of several paths needs a controller in front", value=text)
            controllers, path = "", text
        names = controllers.split(",") if colon else [""]
        parts = [part for part in path.split("/") if part]
        if not path or "\0" in path or "\n" in path or not {".", ".."}.isdisjoint(parts):
            raise UsageError(
                f"--cgroup: {shorten(path)} is not a sub cgroup path",
                hint="it is a path below the container's own cgroup, without . and ..",
            )
        for name in names:
            if colon and not name:
                raise UsageError("--cgroup: the controller in front of the colon is missing", value=text)
            if name in found:
                raise UsageError(f"--cgroup: controller {shorten(name)} is named twice", value=text)
            found[name] = path
    return found
