"""Write a container to images: the step DumpProcesses."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from orlop_hookspecs.errors import PlatformError, StepError
from orlop_linux.kernel.criu import images, keys, rpc
from orlop_linux.kernel.criu.family import family
from orlop_linux.kernel.criu.service import Service, failure
from orlop_linux.kernel.criu.settings import open_settings
from orlop_linux.kernel.criu.worker import FIRST
from orlop_linux.kernel.mountinfo import read_mounts
from orlop_linux.kernel.unprivileged import in_user_namespace
from orlop_linux.live.cgroups import all_members, groups_of
from orlop_linux.live.freezer import freeze, freezer, is_frozen
from orlop_linux.live.process import is_alive, start_time

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from orlop_hookspecs.kernel import Journal
    from orlop_hookspecs.plan import PlannedStep
    from orlop_hookspecs.record import Record

LOG = "dump.log"
STATISTICS = "stats-dump"
VERBOSE = 4
FOLDERS = 2
"""The first descriptors that CRIU gets: the directories of the images and of the log."""
EXTERNAL_NETWORK = "extRootNetNS"
EXTERNAL_PID = "extRootPidNS"
KEPT_OUTSIDE = {"network": ("net", EXTERNAL_NETWORK), "pid": ("pid", EXTERNAL_PID)}
"""Namespaces of others that images name instead of holding them: their name in procfs, and in images."""

_TERMINALS = frozenset((4, 5, *range(136, 144)))
"""Major numbers of terminals: consoles, those that stand for one, and pseudo terminals (devices.txt)."""
_CGROUP_TYPES = frozenset(("cgroup", "cgroup2"))
_PASSED_ON = (
    "leave_running",
    "tcp_established",
    "tcp_skip_in_flight",
    "link_remap",
    "ext_unix_sk",
    "shell_job",
    "file_locks",
    "lazy_pages",
    "auto_dedup",
)


def require_privileges() -> None:
    """Refuse a caller whom CRIU would refuse.

    Raises:
        PlatformError: The caller is not root, or only in a user namespace.
    """
    if os.geteuid() != 0 or in_user_namespace():
        raise PlatformError(
            "checkpoint and restore need the privileges of the host's root",
            errno=errno.EPERM,
            hint="criu reads and makes what only they may",
        )


def dump(record: Record, planned: PlannedStep, journal: Journal, settings: PlannedStep | None = None) -> None:
    """Execute DumpProcesses on a live container, with what *settings*, a ConfigureCriu, says.

    Raises:
        StepError, PlatformError: It goes on as before.
    """
    require_privileges()
    step: Any = planned.step
    options = step.options
    groups = groups_of(record)
    frozen = bool(groups) and is_frozen(groups)
    _refuse_strangers(record)
    config = open_settings(settings)
    image = work = -1
    try:
        image = images.open_directory(options["image"], "image directory", make=True)
        if options["work"]:
            work = images.open_directory(options["work"], "work directory", make=True)
        else:
            work = os.dup(image)
        try:
            _dump(record, planned, journal, [image, work, *([config] if config >= 0 else [])])
        except BaseException:
            # CRIU thaws what it froze; who kills it in the middle leaves that to us.
            if groups and not frozen and is_frozen(groups):
                freeze(groups, frozen=False)
            raise
    finally:
        for fd in (config, image, work):
            if fd >= 0:
                os.close(fd)


def _refuse_strangers(record: Record) -> None:
    """Refuse a container with a process that does not descend from its own: CRIU would let it end unsaid."""
    strangers = all_members(groups_of(record)) - set(family(record.pid))
    left = sorted(pid for pid in strangers if start_time(pid))
    if left:
        raise StepError(
            "a process of the container does not descend from the container process",
            value=left[0],
            errno=errno.EBUSY,
            hint="it was run by exec, or has been left behind by such a one; end it first",
        )


def _dump(record: Record, planned: PlannedStep, journal: Journal, fds: list[int]) -> None:
    """Let CRIU do it; it gets the directories of images and log, and the file with options if any."""
    image, work = fds[:2]
    step: Any = planned.step
    options = step.options
    place = options["work"] or options["image"]
    images.verify(image, options["image"])
    images.clear(work, place, (LOG, STATISTICS))
    if options["parent"]:
        os.close(images.open_directory(f"{options['image']}/{options['parent']}", "parent path"))
    asked = _request(record, step, settings=len(fds) > FOLDERS)
    if not options["pre_dump"]:
        images.write_descriptors(image, options["image"], asked.pop("descriptors"))
    asked.pop("descriptors", None)

    def note(pid: int, started: int) -> None:
        journal.intend("process", pid=pid, start_time=started)

    with Service(fds=fds, directories=FOLDERS, started=note) as criu:
        criu.version()
        if options["pre_dump"]:
            criu.require("mem_track", "the kernel cannot track which memory changes: no pre-dump")
        if options["lazy_pages"]:
            criu.require("lazy_pages", "the kernel cannot serve memory when it is needed: no lazy pages")
        kind = rpc.PRE_DUMP if options["pre_dump"] else rpc.DUMP
        answer = criu.ask(rpc.request(kind, opts=asked), _listener(step, image))
    if not answer["success"]:
        act = "PRE_DUMP" if options["pre_dump"] else "DUMP"
        raise refusal(planned, failure(act, answer, images.read_log(work, LOG)), f"{place}/{LOG}", answer)


def _listener(step: Any, image: int) -> Callable[[str, int, int], None]:  # noqa: ANN401 - DumpProcesses
    """Return what is told how far CRIU has come."""
    options = step.options

    def told(script: str, _pid: int, fd: int) -> None:
        if fd >= 0:
            os.close(fd)
        if script == "post-dump" and step.module:
            images.require_labels(image, options["image"], step.module)
        elif script == "status-ready" and options["status_fd"] >= 0:
            os.write(options["status_fd"], b"\0")

    return told


def refusal(planned: PlannedStep, message: str, log: str, answer: dict[str, Any]) -> StepError:
    """Return the error for a request that CRIU could not serve."""
    return StepError(
        message,
        plugin=planned.plugin,
        errno=answer.get("cr_errno") or errno.EIO,
        hint=f"the whole of it is in {log}",
    )


def _request(record: Record, step: Any, *, settings: bool) -> dict[str, Any]:  # noqa: ANN401 - DumpProcesses
    """Return the options of the request, with the keys of the descriptors."""
    options = step.options
    asked: dict[str, Any] = {
        "images_dir_fd": FIRST,
        "work_dir_fd": FIRST + 1,
        "pid": record.pid,
        "root": record.rootfs,
        "log_level": VERBOSE,
        "log_file": LOG,
        "notify_scripts": True,
        "orphan_pts_master": True,
        # A mount of the host may be told what is mounted there; nothing of it is in the images.
        "ext_masters": True,
        "manage_cgroups": True,
        "manage_cgroups_mode": rpc.CGROUP_MODES[options["manage_cgroups"]],
        # What is in the network namespace is made by who makes the network, on create as on restore.
        "empty_ns": rpc.NEW_NETWORK,
        **{name: True for name in _PASSED_ON if options[name]},
    }
    if settings:
        asked["config_file"] = f"/proc/self/fd/{FIRST + FOLDERS}"
    if options["pre_dump"]:
        asked["leave_running"] = True
    if options["parent"]:
        asked["parent_img"] = options["parent"]
    if options["parent"] or options["pre_dump"]:
        asked["track_mem"] = True
    if options["page_server"]:
        address, _, port = options["page_server"].rpartition(":")
        asked["ps"] = {"address": address.strip("[]"), "port": int(port)}
    group = freezer(groups_of(record))
    if group is not None:
        asked["freeze_cgroup"] = group.directory
    external, descriptors = _files_outside(record.pid)
    external += _namespaces_outside(record.pid, step)
    asked["external"] = external
    asked["ext_mnt"] = [{"key": point, "val": name} for point, name in _mounts_outside(record.pid, step)]
    asked["descriptors"] = descriptors
    if not is_alive(record.pid, record.start_time):
        raise StepError("the container process has ended", container=record.id, errno=errno.ESRCH)
    return asked


def _mounts_outside(pid: int, step: Any) -> Iterator[tuple[str, str]]:  # noqa: ANN401 - DumpProcesses
    """Yield mount point and name of each mount that images cannot hold."""
    found = keys.mount_points(pid, [(destination, because) for destination, _, because in step.mounts])
    known = set()
    for destination, (point, mount) in found.items():
        # A directory that is masked is an empty file system of the container's own.
        if point not in known and (mount.root != "/" or mount.type != "tmpfs" or _is_bind(step, destination)):
            known.add(point)
            yield point, destination
    for destination, because in step.cgroups:
        places = keys.mount_points(pid, [(destination, because)])
        below = places[destination][0] if destination in places else destination
        for mount in read_mounts(pid):
            if mount.type not in _CGROUP_TYPES or mount.root == "/":
                continue
            # One mount where there is one hierarchy, else a directory with one for each.
            rest = mount.point.removeprefix(below)
            if mount.point.startswith(below) and (not rest or (rest[0] == "/" and "/" not in rest[1:])):
                name = rest.removeprefix("/")
                yield keys.hierarchy_key(below, name, because), keys.hierarchy_key(destination, name, because)


def _is_bind(step: Any, destination: str) -> bool:  # noqa: ANN401 - DumpProcesses
    return any(one[0] == destination and one[1] != "/dev/null" for one in step.mounts)


def _namespaces_outside(pid: int, step: Any) -> list[str]:  # noqa: ANN401 - DumpProcesses
    """Return the names of namespaces that are others', so that they are not written."""
    found = []
    for kind, _, because in step.joined:
        if kind in KEPT_OUTSIDE:
            file, name = KEPT_OUTSIDE[kind]
            try:
                number = os.stat(f"/proc/{pid}/ns/{file}").st_ino
            except OSError as error:
                raise StepError(
                    f"cannot find the {kind} namespace", pointer=because, errno=error.errno
                ) from error
            found.append(f"{file}[{number}]:{name}")
    return found


def _files_outside(pid: int) -> tuple[list[str], list[str]]:
    """Return names of files of the host among the first three descriptors, and the key of each descriptor."""
    try:
        inside = {one.number for one in read_mounts(pid)}
        external, keys_of = [], []
        for number in range(3):
            key = _key(pid, number, inside)
            keys_of.append(key)
            name = key.removeprefix(images.NULL)
            if name.startswith(("file[", "tty[")) and name not in external:
                external.append(name)
    except OSError as error:
        raise StepError("the container process has ended", errno=error.errno) from error
    return external, keys_of


def _key(pid: int, number: int, inside: set[int]) -> str:
    """Return what CRIU calls a descriptor that the caller of a restore is to replace; else what it is."""
    import stat

    path = f"/proc/{pid}/fd/{number}"
    try:
        target = os.readlink(path)
    except FileNotFoundError:
        return ""
    if target.startswith("pipe:["):
        return target
    info = os.stat(path)
    if not (stat.S_ISREG(info.st_mode) or stat.S_ISCHR(info.st_mode)):
        return target
    with open(f"/proc/{pid}/fdinfo/{number}", encoding="ascii", errors="replace") as file:
        fields = dict(line.split(":", 1) for line in file if ":" in line)
    mount = int(fields["mnt_id"])
    if mount in inside:
        return target
    if stat.S_ISCHR(info.st_mode) and os.major(info.st_rdev) in _TERMINALS:
        return f"tty[{info.st_rdev:x}:{info.st_dev:x}]"
    null = stat.S_ISCHR(info.st_mode) and info.st_rdev == os.makedev(1, 3)
    return f"{images.NULL if null else ''}file[{mount:x}:{info.st_ino:x}]"
