"""Classes of service and monitoring groups in resctrl (kernel doc, filesystems/resctrl.rst)."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from orlop_hookspecs.errors import shorten
from orlop_linux.kernel.refusal import lacking, refuse, refuse_os
from orlop_linux.live.resctrl import is_group_name

if TYPE_CHECKING:
    from orlop_hookspecs.kernel import Journal
    from orlop_hookspecs.record import Record
    from orlop_hookspecs.steps import CreateResctrlGroup, JoinResctrlGroup, Step, WriteSchemata

DEFAULT_ROOT = "/sys/fs/resctrl"

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
_WRITE = os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC
_LIMIT = 1 << 20
_DECIMAL = ("MB", "SMBA")  # bandwidth in per cent or MB/s; all other resources are bit masks in hexadecimal

make_directory = os.mkdir
"""mkdir(2); a seam for tests that model resctrl on a plain directory, whose groups begin without files."""


class Resctrl:
    """The resctrl groups of one container while it is created, or while it is updated."""

    def __init__(self, root: str, record: Record) -> None:
        """Begin; nothing is touched.

        Args:
            root: Where resctrl is mounted.
            record: Its ``kernel`` learns under ``resctrl`` which class is the container's.
        """
        self._root = root
        self._record = record

    def create(self, step: CreateResctrlGroup, plugin: str, journal: Journal) -> None:
        """Make the class of service or find it, and make the monitoring group.

        Raises:
            PlatformError: resctrl is not mounted.
            StepError: The class is there and may not be, or is not there and should be, or the kernel
            refused.
        """
        root = self._open_root(step)
        try:
            existed = True
            names = [] if step.clos_id == "/" else [step.clos_id]
            if names:
                self._check_name(step, plugin, step.clos_id)
                existed = self._make_class(step, plugin, journal, root)
            self._record.kernel["resctrl"] = {"root": self._root, "clos": step.clos_id, "existed": existed}
            if step.monitoring:
                self._check_name(step, plugin, self._record.id)
                self._make_monitor(step, plugin, journal, root, names)
        finally:
            os.close(root)

    def write(self, step: WriteSchemata, plugin: str, *, update: bool = False) -> None:
        """Write the schemata of a class made for the container, or compare those of one that was there.

        Args:
            step: The lines.
            plugin: Who asked, for errors.
            update: Write in any case: the caller asked to change a class in use.

        Raises:
            StepError: The class that was there has other schemata, or the kernel refused a line.
        """
        directory = self._open_class(step, plugin, step.clos_id)
        try:
            existed = self._record.kernel.get("resctrl", {}).get("existed", True)
            if existed and not update:
                self._compare(step, plugin, directory)
            else:
                for line in step.lines:
                    self._write_line(step, plugin, directory, line)
        finally:
            os.close(directory)

    def join(self, step: JoinResctrlGroup, plugin: str, pid: int) -> None:
        """Move process *pid* into the class, and into its monitoring group if there is one.

        Raises:
            StepError: The kernel refused.
        """
        directory = self._open_class(step, plugin, step.clos_id)
        try:
            files = ["tasks"]
            if step.monitoring:
                files.append(f"mon_groups/{self._record.id}/tasks")
            for name in files:
                try:
                    _write(directory, name, str(pid))
                except OSError as error:
                    where = f"{self._where(step.clos_id)}/{name}"
                    raise refuse_os(
                        step, plugin, "cannot move the container into its resctrl group", error, path=where
                    ) from error
        finally:
            os.close(directory)

    def _where(self, clos_id: str) -> str:
        return self._root if clos_id == "/" else f"{self._root}/{clos_id}"

    def _open_root(self, step: Step) -> int:
        """Open the root; verify that resctrl is mounted there, not merely a directory of that name."""
        try:
            root = os.open(self._root, _DIRECTORY)
            try:
                os.stat("info", dir_fd=root, follow_symlinks=False)
                if self._root == DEFAULT_ROOT:
                    _verify_resctrl(root)
            except BaseException:
                os.close(root)
                raise
        except OSError as error:
            raise lacking(
                f"no resctrl file system is mounted at {self._root}",
                pointer=step.because,
                hint="the processor or the kernel lacks it, or nobody mounted it",
            ) from error
        return root

    def _check_name(self, step: Step, plugin: str, name: str) -> None:
        if not is_group_name(name):
            raise refuse(step, plugin, f"{shorten(name)} cannot name a resctrl group")

    def _make_class(self, step: CreateResctrlGroup, plugin: str, journal: Journal, root: int) -> bool:
        """Return whether the class was there."""
        name = step.clos_id
        try:
            os.close(os.open(name, _DIRECTORY, dir_fd=root))
        except FileNotFoundError:
            pass
        except OSError as error:
            raise refuse_os(step, plugin, f"class of service {name} cannot be used", error) from error
        else:
            if not step.may_exist:
                raise refuse(step, plugin, f"class of service {name} exists already", number=errno.EEXIST)
            return True
        if not step.create:
            raise refuse(
                step,
                plugin,
                f"class of service {name} does not exist",
                number=errno.ENOENT,
                hint="without a schema it must have been made beforehand",
            )
        journal.intend("resctrl", root=self._root, group=[name], shared=step.may_exist)
        try:
            make_directory(name, 0o755, dir_fd=root)
        except FileExistsError:
            if step.may_exist:
                return True
            raise refuse(
                step, plugin, f"class of service {name} exists already", number=errno.EEXIST
            ) from None
        except OSError as error:
            hint = "all classes of service of the processor are in use" if error.errno == errno.ENOSPC else ""
            raise refuse_os(step, plugin, f"cannot make class of service {name}", error, hint=hint) from error
        return False

    def _make_monitor(
        self, step: CreateResctrlGroup, plugin: str, journal: Journal, root: int, names: list[str]
    ) -> None:
        group = [*names, "mon_groups", self._record.id]
        directory = os.open("/".join(group[:-2]) or ".", _DIRECTORY, dir_fd=root)
        try:
            try:
                groups = os.open("mon_groups", _DIRECTORY, dir_fd=directory)
            except OSError as error:
                hint = "the processor has no monitoring"
                raise refuse_os(step, plugin, "cannot make the monitoring group", error, hint=hint) from error
        finally:
            os.close(directory)
        try:
            try:
                os.stat(self._record.id, dir_fd=groups, follow_symlinks=False)
            except FileNotFoundError:
                pass
            else:
                raise refuse(step, plugin, "the monitoring group exists already", number=errno.EEXIST)
            journal.intend("resctrl", root=self._root, group=group, shared=False)
            make_directory(self._record.id, 0o755, dir_fd=groups)
        except OSError as error:
            if hasattr(error, "pointer"):
                raise
            hint = "all monitoring ids of the processor are in use" if error.errno == errno.ENOSPC else ""
            raise refuse_os(step, plugin, "cannot make the monitoring group", error, hint=hint) from error
        finally:
            os.close(groups)

    def _open_class(self, step: Step, plugin: str, clos_id: str) -> int:
        root = self._open_root(step)
        if clos_id == "/":
            return root
        try:
            self._check_name(step, plugin, clos_id)
            return os.open(clos_id, _DIRECTORY, dir_fd=root)
        except OSError as error:
            if hasattr(error, "pointer"):
                raise
            raise refuse_os(step, plugin, f"class of service {clos_id} cannot be used", error) from error
        finally:
            os.close(root)

    def _write_line(self, step: WriteSchemata, plugin: str, directory: int, line: str) -> None:
        try:
            _write(directory, "schemata", line + "\n")
        except OSError as error:
            raise refuse_os(
                step,
                plugin,
                f"cannot write {shorten(line)} to schemata",
                error,
                path=self._where(step.clos_id),
                hint=self._last_status(),
            ) from error

    def _last_status(self) -> str:
        """Return what resctrl says about the last command that failed."""
        try:
            root = os.open(self._root, _DIRECTORY)
            try:
                text = _read(root, "info/last_cmd_status").strip()
            finally:
                os.close(root)
        except OSError:
            return ""
        return f"resctrl says {shorten(text)}" if text else ""

    def _compare(self, step: WriteSchemata, plugin: str, directory: int) -> None:
        try:
            present = parse_schemata(_read(directory, "schemata").splitlines())
        except OSError as error:
            raise refuse_os(
                step, plugin, "cannot read schemata", error, path=self._where(step.clos_id)
            ) from error
        # A later line changes what an earlier one has set: the sum is compared.
        for resource, domains in parse_schemata(step.lines).items():
            there = present.get(resource)
            if there is None or any(there.get(domain) != value for domain, value in domains.items()):
                shown = (
                    "not there"
                    if there is None
                    else ";".join(f"{key}={value}" for key, value in there.items())
                )
                raise refuse(
                    step,
                    plugin,
                    f"class of service {step.clos_id} exists with another {resource}: {shown}",
                    number=errno.EEXIST,
                    hint="choose another closID, or the schemata that it has",
                )


def parse_schemata(lines: list[str] | tuple[str, ...]) -> dict[str, dict[str, str]]:
    """Return schemata by resource and domain, numbers in the shortest form.

    ``L3:0=00ff;1=f`` is ``{"L3": {"0": "ff", "1": "f"}}``.
    """
    found: dict[str, dict[str, str]] = {}
    for line in lines:
        resource, colon, rest = line.strip().partition(":")
        if not colon:
            continue
        domains = found.setdefault(resource.strip(), {})
        for part in rest.split(";"):
            domain, _, value = part.partition("=")
            if domain.strip():
                domains[domain.strip()] = _shortest(resource.strip(), value.strip())
    return found


def _shortest(resource: str, value: str) -> str:
    try:
        return str(int(value)) if resource in _DECIMAL else f"{int(value, 16):x}"
    except ValueError:
        return value.lower()


def _verify_resctrl(root: int) -> None:
    device = os.fstat(root).st_dev
    name = f"{os.major(device)}:{os.minor(device)}".encode()
    with open("/proc/self/mountinfo", "rb") as file:
        if not any(b" - resctrl " in line and line.split(b" ")[2] == name for line in file):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))


def _read(directory: int, name: str) -> str:
    fd = os.open(name, _READ, dir_fd=directory)
    try:
        return os.read(fd, _LIMIT).decode("ascii", "replace")
    finally:
        os.close(fd)


def _write(directory: int, name: str, text: str) -> None:
    fd = os.open(name, _WRITE, dir_fd=directory)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)
