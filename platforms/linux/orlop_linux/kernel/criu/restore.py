"""Make the processes of a container from images: the step RestoreProcesses."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from orlop_hookspecs.errors import PlatformError, StepError
from orlop_linux.init import resolve
from orlop_linux.kernel.criu import images, keys, rpc
from orlop_linux.kernel.criu.dump import FOLDERS, KEPT_OUTSIDE, VERBOSE, refusal, require_privileges
from orlop_linux.kernel.criu.inside import bring_up_loopback, protect
from orlop_linux.kernel.criu.service import Service, failure
from orlop_linux.kernel.criu.settings import open_settings
from orlop_linux.kernel.criu.shown import demands
from orlop_linux.kernel.criu.verify import verify
from orlop_linux.kernel.criu.worker import FIRST
from orlop_linux.kernel.security import trouble
from orlop_linux.live.process import SIGKILL, open_process, reason, send, start_time

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from orlop_hookspecs.kernel import Journal
    from orlop_hookspecs.launch import LaunchOptions
    from orlop_hookspecs.plan import PlannedStep
    from orlop_hookspecs.record import Record
    from orlop_linux.kernel.cgroups.session import Session

LOG = "restore.log"
STATISTICS = "stats-restore"

_NAMES = {"ipc": "ipc", "uts": "uts", "time": "time"}
_PASSED_ON = (
    "tcp_established",
    "tcp_close",
    "ext_unix_sk",
    "shell_job",
    "file_locks",
    "lazy_pages",
    "auto_dedup",
)


class Restoration:
    """One execution of RestoreProcesses.

    Args:
        record: The container.
        journal: Where the processes are announced.
        cgroups: The container's cgroups, made and limited.
        options: The caller's launch flags.
    """

    def __init__(self, record: Record, journal: Journal, cgroups: Session, options: LaunchOptions) -> None:
        """Keep the parts; nothing is touched."""
        self._record = record
        self._journal = journal
        self._cgroups = cgroups
        self._launch = options
        self._fds: list[int] = []
        self._born = False
        self.pid = 0
        self.start_time = 0

    def run(
        self, planned: PlannedStep, born: Callable[[], None], settings: PlannedStep | None = None
    ) -> None:
        """Make the processes and let them run, with what *settings*, a ConfigureCriu, says.

        Raises:
            StepError, PlatformError: They do not exist any more.
        """
        require_privileges()
        step: Any = planned.step
        options = step.options
        _require_module(planned)
        try:
            image = self._open(options["image"], "image directory")
            work = self._open(options["work"], "work directory", make=True) if options["work"] else image
            place = options["work"] or options["image"]
            images.verify(image, options["image"])
            images.require_inventory(image, options["image"])
            images.clear(work, place, (LOG, STATISTICS))
            if options["manage_cgroups"] == "strict":
                self._refuse_groups()
            root = self._root(step)
            inherited: list[dict[str, Any]] = []
            fds = [image, work]
            self._inherit(step, image, inherited, fds)
            asked = self._request(step, inherited)
            config = open_settings(settings)
            if config >= 0:
                self._fds.append(config)
                asked["config_file"] = f"/proc/self/fd/{FIRST + len(fds)}"
                fds.append(config)

            if options["shell_job"]:
                fds.append(self._launch.stdio[0])

            def told(script: str, pid: int, fd: int) -> None:
                self._told(planned, script, pid, fd, born=born)

            with Service(
                fds=fds,
                directories=FOLDERS,
                terminal=options["shell_job"],
                cgroups=self._entries(),
                root=root,
                started=self._note,
            ) as criu:
                criu.version()
                if options["lazy_pages"]:
                    criu.require(
                        "lazy_pages", "the kernel cannot serve memory when it is needed: no lazy pages"
                    )
                answer = criu.ask(rpc.request(rpc.RESTORE, opts=asked), told)
            if not answer["success"] or not self._born:
                log = images.read_log(work, LOG)
                raise refusal(planned, failure("RESTORE", answer, log), f"{place}/{LOG}", answer)
        finally:
            while self._fds:
                os.close(self._fds.pop())

    def _note(self, pid: int, started: int) -> None:
        self._journal.intend("process", pid=pid, start_time=started)

    def _open(self, path: str, what: str, *, make: bool = False) -> int:
        self._fds.append(images.open_directory(path, what, make=make))
        return self._fds[-1]

    def _entries(self) -> list[int]:
        """Return open files of the container's cgroups, to be entered by writing 0."""
        found = self._cgroups.entries()
        self._fds += found
        return found

    def _refuse_groups(self) -> None:
        """Refuse a container below whose cgroup there are others already."""
        for _, directory, _ in self._cgroups.mounts():
            with os.scandir(directory) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        raise StepError(
                            "there is a cgroup below the container's already",
                            pointer="/linux/cgroupsPath",
                            path=entry.path,
                            errno=errno.EEXIST,
                            hint="the mode strict restores into new cgroups only",
                        )

    def _root(self, step: Any) -> tuple[int, str]:  # noqa: ANN401 - RestoreProcesses
        """Return the root file system, with every mount point that the config has in it."""
        path = os.path.realpath(self._record.rootfs)
        try:
            fd = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise StepError(
                f"cannot open the root: {reason(error)}", pointer="/root/path", path=path, errno=error.errno
            ) from error
        self._fds.append(fd)
        sources = {destination: source for destination, source, _ in step.mounts}
        covered: list[str] = []
        for place in step.places:
            keys.verify_key(place, "/mounts")
            if any(f"{place}/".startswith(f"{above.rstrip('/')}/") for above in covered):
                continue  # it lies in another mount: the images have it, or the host does
            covered.append(place)
            self._make_place(fd, place, sources.get(place, ""))
        return fd, path

    def _make_place(self, root: int, place: str, source: str) -> None:
        is_file = bool(source) and not os.path.isdir(source)
        try:
            if source:
                os.stat(source)
            made = resolve.make_file(root, place) if is_file else resolve.make_directory(root, place)
        except OSError as error:
            raise StepError(
                f"cannot make a mount point: {reason(error)}",
                pointer="/mounts",
                path=source if source and not os.path.exists(source) else place,
                errno=error.errno,
            ) from error
        os.close(made)

    def _inherit(
        self,
        step: Any,  # noqa: ANN401 - RestoreProcesses
        image: int,
        inherited: list[dict[str, Any]],
        fds: list[int],
    ) -> None:
        """Collect what takes the place of descriptors and namespaces that are not in the images."""
        done = set()
        for number, key in enumerate(images.read_descriptors(image, step.options["image"])):
            if key and key not in done:
                done.add(key)
                inherited.append({"key": key.removeprefix(images.NULL), "fd": FIRST + len(fds)})
                fds.append(self._replacement(number, key))
        for kind, path, because in step.joined:
            if kind not in KEPT_OUTSIDE:
                continue
            try:
                fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            except OSError as error:
                raise StepError(
                    f"cannot open the {kind} namespace: {reason(error)}",
                    pointer=because,
                    path=path,
                    errno=error.errno,
                ) from error
            self._fds.append(fd)
            inherited.append({"key": KEPT_OUTSIDE[kind][1], "fd": FIRST + len(fds)})
            fds.append(fd)

    def _replacement(self, number: int, key: str) -> int:
        """Return what takes the place of a descriptor: the caller's, or the host's null device again."""
        given = self._launch.stdio[number]
        if key.startswith(images.TERMINAL) and not os.isatty(given):
            raise StepError(
                f"descriptor {number} of the container process was a terminal of the host, and there is none",
                errno=errno.ENOTTY,
                hint="restore it from a terminal",
            )
        if not images.stays_null(given, key):
            return given
        null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
        self._fds.append(null)
        return null

    def _request(
        self,
        step: Any,  # noqa: ANN401 - RestoreProcesses
        inherited: list[dict[str, Any]],
    ) -> dict[str, Any]:
        options = step.options
        mounts = [
            # CRIU would mount a link itself, on a directory.
            {"key": keys.verify_key(destination, because), "val": os.path.realpath(source)}
            for destination, source, because in step.mounts
        ]
        for destination, because in step.cgroups:
            for name, directory, others in self._cgroups.mounts():
                mounts += [
                    {"key": keys.hierarchy_key(destination, one, because), "val": directory}
                    for one in (name, *others)
                ]
        # The container's own cgroup is new and there before: to CRIU it would be one that was.
        strict = options["manage_cgroups"] == "strict"
        asked: dict[str, Any] = {
            "images_dir_fd": FIRST,
            "work_dir_fd": FIRST + 1,
            "root": os.path.realpath(self._record.rootfs),
            "log_level": VERBOSE,
            "log_file": LOG,
            "notify_scripts": True,
            # A terminal without its master is the container's own, or else the caller's.
            "orphan_pts_master": not options["shell_job"] or bool(self._launch.console_socket),
            "evasive_devices": True,
            "rst_sibling": True,
            "ext_masters": True,
            "manage_cgroups": True,
            "manage_cgroups_mode": rpc.CGROUP_MODES["full" if strict else options["manage_cgroups"]],
            "cg_root": [
                {"ctrl": name, "path": path}
                for names, path in self._cgroups.directories().items()
                for name in names.split(",")
            ],
            "ext_mnt": mounts,
            "inherit_fd": inherited,
            "join_ns": [
                {"ns": _NAMES[kind], "ns_file": path} for kind, path, _ in step.joined if kind in _NAMES
            ],
            **{name: True for name in _PASSED_ON if options[name]},
        }
        if not any(kind == "network" for kind, _, _ in step.joined):
            asked["empty_ns"] = rpc.NEW_NETWORK
        for name in ("lsm_profile", "lsm_mount_context"):
            if options[name]:
                asked[name] = options[name]
        return asked

    def _told(
        self, planned: PlannedStep, script: str, pid: int, fd: int, *, born: Callable[[], None]
    ) -> None:
        try:
            if script == "setup-namespaces":
                self._note_process(pid)
                step: Any = planned.step
                if "network" in step.own:
                    bring_up_loopback(pid)
                born()
                self._born = True
            elif script == "post-restore":
                if not self._born:  # a container in all namespaces of the host has none to set up
                    self._note_process(pid)
                    born()
                    self._born = True
            elif script == "pre-resume":
                self._verify(planned)
            elif script == "orphan-pts-master" and fd >= 0:
                self._send_terminal(fd)
        finally:
            if fd >= 0:
                os.close(fd)

    def _note_process(self, pid: int) -> None:
        self.pid = pid
        self.start_time = start_time(pid)
        if pid <= 1 or not self.start_time:
            raise PlatformError("criu restored a process that is not there", value=pid, errno=errno.ESRCH)
        self._note(self.pid, self.start_time)

    def _verify(self, planned: PlannedStep) -> None:
        """Look at the processes while they still stand; CRIU itself would let them run whatever is said."""
        step: Any = planned.step
        try:
            if step.options["manage_cgroups"] in {"full", "strict"}:
                self._cgroups.limit_again()
            protect(self.pid, demands(self.pid, step))
            verify(self._record, planned, self._cgroups.directories(), self.pid)
        except BaseException:
            self.kill()
            raise

    def kill(self) -> None:
        """Kill what has been restored, if anything has. Idempotent."""
        import time

        from orlop_linux.live.cgroups import groups_of
        from orlop_linux.live.killing import kill_all

        fd = open_process(self.pid, self.start_time) if self.pid else None
        if fd is not None:
            send(fd, SIGKILL)
            os.close(fd)
        groups = groups_of(self._record)
        if groups and self.pid:
            kill_all(groups, time.monotonic())

    def _send_terminal(self, master: int) -> None:
        import socket

        from orlop_linux.kernel.spawn import connect

        if not self._launch.console_socket:
            raise StepError(
                "the container has a terminal, and nobody takes it",
                pointer="/process/terminal",
                hint="give a console socket",
            )
        with connect(self._launch.console_socket) as sock:
            socket.send_fds(sock, [b"/dev/pts/ptmx"], [master])


def _require_module(planned: PlannedStep) -> None:
    """Refuse a label of a security module that does not work here: CRIU would only say that it cannot."""
    step: Any = planned.step
    why = trouble(step.label[0]) if step.label else ""
    if why:
        raise StepError(why, plugin=planned.plugin, pointer=step.label[2], errno=errno.EOPNOTSUPP)
