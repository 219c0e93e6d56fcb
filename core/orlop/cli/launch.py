"""What ``create`` and ``run`` have in common: from their flags to a created container and its pid file."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from orlop.cli.composition import runtime
from orlop.cli.files import PidFile
from orlop.cli.main import passed_sockets
from orlop.lifecycle import delete as delete_verb
from orlop.store.root import absolute
from orlop_hookspecs.errors import BundleError, ConfigError, DocumentError, OrlopError
from orlop_hookspecs.launch import LaunchOptions

if TYPE_CHECKING:
    from typing import Self

    from orlop.cli.context import Context
    from orlop.cli.flags import Parsed
    from orlop.cli.notify import Notify
    from orlop.container import Container
    from orlop.runtime import Runtime
    from orlop_hookspecs.kernel import Kernel
    from orlop_hookspecs.record import Record

_CONFIG = "config.json"
_MANAGERS_OF_SYSTEMD = "systemd"
_NO_MANAGER = "disabled"


class ConfigNamed:
    """As a context manager, it adds the name of ``--config``'s file to errors in that config.

    Who is given a config's text, instead of the bundle that holds it, does not know where it comes from.
    """

    def __init__(self, line: Parsed, bundle: str) -> None:
        """Keep the name; there is none when the bundle's own config counts."""
        name = line.text("config")
        self._path = "" if name == _CONFIG else os.path.join(bundle, name)

    def __enter__(self) -> None:
        """Begin."""

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        """Name the file."""
        if isinstance(error, (DocumentError, ConfigError)) and not error.path:
            error.path = self._path


def bundle_and_config(line: Parsed) -> tuple[str, bytes | None]:
    """Return the absolute path of the bundle and the content of ``--config``, if it is not the bundle's own.

    Raises:
        BundleError: The file that ``--config`` names cannot be read.
    """
    bundle = line.text("bundle")
    if line.command is not None and line.command.least == 0 and line.arguments:
        bundle = line.arguments[0]
        if not bundle:
            raise BundleError("expected the path of a bundle", value=bundle)
    bundle = absolute(bundle)
    name = line.text("config")
    if name == _CONFIG:
        return bundle, None
    from orlop.documents.reader import read_file

    path = os.path.join(bundle, name)
    try:
        return bundle, read_file(path)
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise BundleError(f"cannot read the config: {why}", path=path, errno=error.errno) from error


class Launch:
    """One creation from the command line.

    As a context manager it closes the runtime at the end. What has been created when an error arises inside
    is deleted again.
    """

    def __init__(self, context: Context) -> None:
        """Verify the flags and open what the caller's paths name, before anything is made."""
        line = context.line
        self._context = context
        self._record: Record | None = None
        self._kept = False
        self._runtime: Runtime | None = None
        self._notify: Notify | None = self._notifying()
        self._pid_file = PidFile(line.text("pid-file")) if line.text("pid-file") else None
        self.bundle, self._config = bundle_and_config(line)

    def _notifying(self) -> Notify | None:
        """Return what tells a service manager that the container is ready, where one waits."""
        if not os.environ.get("NOTIFY_SOCKET"):
            return None
        from orlop.cli.notify import Notify, caller

        return Notify(caller(), self._context.report.warning)

    def create(self, *, foreground: bool = False, console_socket: str = "") -> Container:
        """Create the container and write its pid file.

        Args:
            foreground: The caller stays with the container.
            console_socket: Receives the terminal's master instead of ``--console-socket``.

        Raises:
            OrlopError: Nothing is left of what was begun.
        """
        context = self._context
        made = self._runtime = runtime(context, check_features=False)
        options = _options(context, foreground=foreground, console_socket=console_socket)
        with ConfigNamed(context.line, self.bundle):
            if self._notify is None:
                container = made.create(context.id, self.bundle, options, config=self._config)
            else:
                self._notify.create(made, context.id, self.bundle, options, self._config)
                container = made.get(context.id)
        return self._note(container)

    def start(self, container: Container) -> Notify | None:
        """Start the container; return what a service manager waits for, if it has to be told anything yet."""
        if self._notify is None:
            container.start()
            return None
        assert self._runtime is not None  # noqa: S101 - the container has been created
        self._notify.start(self._runtime.site, container.id)
        return self._notify

    def await_readiness(self, container: Container) -> None:
        """Wait until the container is ready or has ended, where a service manager wants to know."""
        if self._notify is not None:
            assert self._runtime is not None  # noqa: S101 - the container has been created
            self._notify.wait(self._runtime.site, container.id)

    def _note(self, container: Container) -> Container:
        self._record = container.record()
        if self._pid_file is not None:
            self._pid_file.write(container.pid)
        return container

    def terminal(self) -> bool:
        """Tell whether the config asks for a terminal; :meth:`create` reports one that cannot be read."""
        from orlop.documents.reader import parse, read_file

        try:
            source = self._config
            process = parse(read_file(f"{self.bundle}/{_CONFIG}") if source is None else source).get(
                "process"
            )
        except (OrlopError, OSError):
            return False
        return isinstance(process, dict) and process.get("terminal") is True

    def process(self) -> int | None:
        """Return a pidfd of the container process, or ``None`` where the platform has none."""
        kernel, record = self._made()
        pidfd = getattr(kernel, "pidfd", None)
        if pidfd is None:
            return None
        descriptor: int | None = pidfd(record)
        return descriptor

    def wait(self) -> int | None:
        """Return how the container process ended, even if somebody has deleted the container meanwhile."""
        kernel, record = self._made()
        return kernel.wait(record)

    def _made(self) -> tuple[Kernel, Record]:
        assert self._runtime is not None  # noqa: S101 - the container has been created
        assert self._record is not None  # noqa: S101 - as above
        return self._runtime.kernel, self._record

    def delete(self) -> None:
        """Delete the container, unless somebody else has; another one of its identifier is left alone."""
        assert self._runtime is not None  # noqa: S101 - the container has been created
        delete_verb.delete(self._runtime.site, self._context.id, force=True, only=self._record)

    def warn(self, message: str) -> None:
        """Tell something that is no error."""
        self._context.report.warning(message)

    def keep(self) -> None:
        """From now on an error leaves the container as it is."""
        self._kept = True

    def _unreturned(self) -> Record | None:
        """Return the container that was complete when a signal came, before its creation had returned it."""
        if self._runtime is None:
            return None
        try:
            found = self._runtime.get(self._context.id).record()
            made_here = found.creator == list(self._runtime.kernel.identity())
        except OrlopError:
            return None
        return found if made_here else None

    def __enter__(self) -> Self:
        """Return the launch."""
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        """Delete what an error has left unfinished, and close the runtime."""
        try:
            if isinstance(error, KeyboardInterrupt) and self._record is None and not self._kept:
                self._record = self._unreturned()
            if error is not None and self._record is not None and not self._kept:
                self.delete()
        except OrlopError as failure:
            if isinstance(error, OrlopError):
                error.cleanup = failure
            else:
                self._context.report.warning(f"clean-up of container {self._context.id} failed: {failure}")
        finally:
            if self._notify is not None:
                self._notify.close()
            if self._runtime is not None:
                self._runtime.close()
            if self._pid_file is not None:
                self._pid_file.close()


def _options(context: Context, *, foreground: bool, console_socket: str) -> LaunchOptions:
    line = context.line
    # Sockets come first, as everywhere: 0 to 2, those that were passed, those of --preserve-fds.
    sockets = passed_sockets()
    return LaunchOptions(
        console_socket=console_socket or absolute(line.text("console-socket")),
        pidfd_socket=absolute(line.text("pidfd-socket")),
        preserve_fds=sockets + line.count("preserve-fds"),
        foreground=foreground,
        no_pivot=line.on("no-pivot"),
        no_new_keyring=line.on("no-new-keyring"),
        listen_fds=sockets,
        systemd_cgroup=by_systemd(context),
        manage_cgroups=manages_cgroups(context),
    )


def by_systemd(context: Context) -> bool:
    """Tell whether the global flags let systemd make the cgroup."""
    line = context.line
    return line.options["systemd-cgroup"] is True or line.option("cgroup-manager") == _MANAGERS_OF_SYSTEMD


def manages_cgroups(context: Context) -> bool:
    """Tell whether the global flags allow cgroups at all."""
    return context.line.option("cgroup-manager") != _NO_MANAGER
