"""Classes of service and monitoring groups in resctrl (kernel doc, filesystems/resctrl.rst)."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from orlop_hookspecs.errors import OrlopError, shorten
from orlop_linux.kernel import resctrlfs
from orlop_linux.kernel.refusal import lacking, refuse, refuse_os
from orlop_linux.kernel.resctrlfs import DEFAULT_ROOT, DIRECTORY
from orlop_linux.live.resctrl import is_group_name, lock

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orlop_hookspecs.errors import StepError
    from orlop_hookspecs.kernel import Journal
    from orlop_hookspecs.record import Record
    from orlop_hookspecs.steps import CreateResctrlGroup, JoinResctrlGroup, Step, WriteSchemata

make_directory = os.mkdir
"""mkdir(2); a seam for tests that model resctrl on a plain directory, whose groups begin without files."""


class Resctrl:
    """The resctrl groups of one container while it is created, or while it is updated."""

    def __init__(self, root: str, record: Record) -> None:
        """Begin; nothing is touched.

        Args:
            root: Where resctrl is mounted; empty: at the usual place.
            record: Its ``kernel`` learns under ``resctrl`` which class is the container's.
        """
        self._root = root or DEFAULT_ROOT
        self._record = record
        self._locked = -1

    def check(self, step: CreateResctrlGroup, plugin: str) -> None:
        """Raise what :meth:`create` would raise about a host that cannot do it; nothing is touched."""
        root = self._open_root(step)
        try:
            if step.clos_id != "/":
                self._look(step, plugin, root)
            self._require_events(step, plugin, root)
        finally:
            os.close(root)

    def create(self, step: CreateResctrlGroup, plugin: str, journal: Journal, *, more: bool = False) -> None:
        """Make the class of service or find it, and make the monitoring group.

        Args:
            step: What is asked for.
            plugin: Who asked, for errors.
            journal: Told what will be made before it is made.
            more: Schemata are to be written: until then nobody else may look at the class.

        Raises:
            PlatformError: resctrl is not mounted.
            StepError: The class is there and may not be, or is not there and should be, or the kernel
            refused.
        """
        root = self._open_root(step)
        try:
            self._lock(step, plugin, root)
            existed = True
            names = [] if step.clos_id == "/" else [step.clos_id]
            if names:
                existed = self._make_class(step, plugin, journal, root)
            self._record.kernel["resctrl"] = {
                "root": self._root,
                "clos": step.clos_id,
                "existed": existed,
                "monitoring": step.monitoring,
            }
            if step.monitoring:
                self._require_events(step, plugin, root)
                self._check_name(step, plugin, self._record.id)
                self._make_monitor(step, plugin, journal, root, names)
        except BaseException:
            self.release()
            raise
        finally:
            os.close(root)
        if not more:
            self.release()

    def write(self, step: WriteSchemata, plugin: str, *, update: bool = False) -> None:
        """Write the schemata of a class made for the container, or compare those of one that was there.

        Args:
            step: The lines.
            plugin: Who asked, for errors.
            update: Write in any case: the caller asked to change a class in use. What was written before a
                line is refused is taken back.

        Raises:
            StepError: The class that was there has other schemata, or the kernel refused a line.
        """
        directory = -1
        try:
            root = self._open_root(step)
            try:
                self._lock(step, plugin, root)
                directory = self._open_class(step, plugin, root)
                known = self._record.kernel.get("resctrl", {})
                if update:
                    self._change(step, plugin, directory)
                elif known.get("existed", True):
                    self._compare(step, plugin, root, directory)
                else:
                    for line in step.lines:
                        self._write_line(step, plugin, directory, line)
            finally:
                os.close(root)
        finally:
            if directory >= 0:
                os.close(directory)
            self.release()

    def join(self, step: JoinResctrlGroup, plugin: str, pid: int) -> None:
        """Move process *pid* into the class, and into its monitoring group if there is one.

        Raises:
            StepError: The kernel refused.
        """
        root = self._open_root(step)
        directory = -1
        try:
            directory = self._open_class(step, plugin, root)
            files = ["tasks"]
            if step.monitoring:
                files.append(f"mon_groups/{self._record.id}/tasks")
            for name in files:
                try:
                    resctrlfs.write(directory, name, str(pid))
                except OSError as error:
                    raise self._refused(
                        step, plugin, "cannot move the container into its resctrl group", error, name
                    ) from error
        finally:
            os.close(root)
            if directory >= 0:
                os.close(directory)

    def release(self) -> None:
        """Let others use the file system again. Idempotent."""
        if self._locked >= 0:
            os.close(self._locked)
            self._locked = -1

    # --- parts

    def _lock(self, step: Step, plugin: str, root: int) -> None:
        """Take the lock that the kernel's documentation asks of all programs (resctrl.rst, Locking)."""
        if self._locked >= 0:
            return
        self._locked = os.open(".", DIRECTORY, dir_fd=root)
        if not lock(self._locked):
            self.release()
            raise refuse(
                step,
                plugin,
                "another program has locked resctrl",
                number=errno.EBUSY,
                path=self._root,
                hint="it holds flock(2) on the directory; try again when it has ended",
            )

    def _where(self, clos_id: str) -> str:
        return self._root if clos_id == "/" else f"{self._root}/{clos_id}"

    def _refused(  # noqa: PLR0913, PLR0917 - what an error needs
        self,
        step: CreateResctrlGroup | JoinResctrlGroup | WriteSchemata,
        plugin: str,
        act: str,
        error: OSError,
        file: str = "",
        hint: str = "",
    ) -> StepError:
        said = resctrlfs.last_status(self._root)
        where = f"{self._where(step.clos_id)}/{file}".rstrip("/")
        hints = "; ".join(part for part in (hint, f"resctrl says {shorten(said)}" if said else "") if part)
        return refuse_os(step, plugin, act, error, path=where, hint=hints)

    def _open_root(self, step: Step) -> int:
        """Open the root; verify that resctrl is mounted there, not merely a directory of that name."""
        try:
            root = os.open(self._root, DIRECTORY)
            try:
                os.stat("info", dir_fd=root, follow_symlinks=False)
                if self._root == DEFAULT_ROOT:
                    resctrlfs.verify(root)
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

    def _look(self, step: CreateResctrlGroup, plugin: str, root: int) -> bool:
        """Return whether the class is there."""
        name = step.clos_id
        self._check_name(step, plugin, name)
        try:
            os.close(os.open(name, DIRECTORY, dir_fd=root))
        except FileNotFoundError:
            if step.create:
                return False
            raise refuse(
                step,
                plugin,
                f"class of service {name} does not exist",
                number=errno.ENOENT,
                path=self._where(name),
                hint="without a schema it must have been made beforehand",
            ) from None
        except OSError as error:
            raise refuse_os(step, plugin, f"class of service {name} cannot be used", error) from error
        if not step.may_exist:
            raise self._is_there(step, plugin)
        return True

    def _is_there(self, step: CreateResctrlGroup, plugin: str) -> StepError:
        return refuse(
            step,
            plugin,
            f"class of service {step.clos_id} exists already",
            number=errno.EEXIST,
            path=self._where(step.clos_id),
            hint="without a closID the class is named after the container and is its own",
        )

    def _make_class(self, step: CreateResctrlGroup, plugin: str, journal: Journal, root: int) -> bool:
        """Return whether the class was there."""
        if self._look(step, plugin, root):
            return True
        name = step.clos_id
        journal.intend("resctrl", root=self._root, group=[name], shared=step.may_exist)
        try:
            make_directory(name, 0o755, dir_fd=root)
        except FileExistsError:
            self._disown([name])
            if step.may_exist:
                return True
            raise self._is_there(step, plugin) from None
        except OSError as error:
            hint = "all classes of service of the processor are in use" if error.errno == errno.ENOSPC else ""
            raise self._refused(
                step, plugin, f"cannot make class of service {name}", error, hint=hint
            ) from error
        return False

    def _disown(self, group: list[str]) -> None:
        """Say that a group is somebody else's, who keeps to no lock, whatever the journal announced."""
        self._record.kernel.setdefault("foreign_resctrl", []).append(group)

    def _require_events(self, step: CreateResctrlGroup, plugin: str, root: int) -> None:
        if not step.events:
            return
        there = resctrlfs.monitoring_events(root)
        missing = [name for name in step.events if name not in there]
        if missing:
            raise refuse(
                step,
                plugin,
                f"the processor cannot monitor {', '.join(missing)}",
                number=errno.EOPNOTSUPP,
                path=f"{self._root}/info/L3_MON/mon_features",
                hint=f"it can monitor {', '.join(sorted(there)) or 'nothing'}",
            )

    def _make_monitor(
        self, step: CreateResctrlGroup, plugin: str, journal: Journal, root: int, names: list[str]
    ) -> None:
        act = "cannot make the monitoring group"
        file = f"mon_groups/{self._record.id}"
        try:
            groups = os.open("/".join([*names, "mon_groups"]), DIRECTORY, dir_fd=root)
        except OSError as error:
            raise self._refused(
                step, plugin, act, error, "mon_groups", "the processor has no monitoring"
            ) from error
        try:
            if _has(groups, self._record.id):
                raise refuse(
                    step,
                    plugin,
                    "the monitoring group exists already",
                    number=errno.EEXIST,
                    path=f"{self._where(step.clos_id)}/{file}",
                )
            journal.intend(
                "resctrl", root=self._root, group=[*names, "mon_groups", self._record.id], shared=False
            )
            try:
                make_directory(self._record.id, 0o755, dir_fd=groups)
            except OSError as error:
                if error.errno == errno.EEXIST:
                    self._disown([*names, "mon_groups", self._record.id])
                full = error.errno == errno.ENOSPC
                hint = "all monitoring ids of the processor are in use" if full else ""
                raise self._refused(step, plugin, act, error, file, hint) from error
        finally:
            os.close(groups)

    def _open_class(self, step: JoinResctrlGroup | WriteSchemata, plugin: str, root: int) -> int:
        name = step.clos_id
        if name == "/":
            return os.open(".", DIRECTORY, dir_fd=root)
        self._check_name(step, plugin, name)
        try:
            return os.open(name, DIRECTORY, dir_fd=root)
        except OSError as error:
            raise refuse_os(
                step, plugin, f"class of service {name} cannot be used", error, path=self._where(name)
            ) from error

    def _write_line(self, step: WriteSchemata, plugin: str, directory: int, line: str) -> None:
        try:
            resctrlfs.write(directory, "schemata", line + "\n")
        except OSError as error:
            raise self._refused(
                step, plugin, f"cannot write {shorten(line)} to schemata", error, "schemata"
            ) from error

    def _change(self, step: WriteSchemata, plugin: str, directory: int) -> None:
        before = self._read_schemata(step, plugin, directory)
        try:
            for line in step.lines:
                self._write_line(step, plugin, directory, line)
        except OrlopError as error:
            touched = resctrlfs.parse_schemata(step.lines)
            for resource, domains in before.items():
                if resource not in touched:
                    continue
                values = ";".join(f"{domain}={value}" for domain, value in domains.items())
                try:
                    resctrlfs.write(directory, "schemata", f"{resource}:{values}\n")
                except OSError as failure:
                    error.cleanup = failure
            raise

    def _read_schemata(self, step: WriteSchemata, plugin: str, directory: int) -> resctrlfs.Schemata:
        try:
            return resctrlfs.parse_schemata(resctrlfs.read(directory, "schemata").splitlines())
        except OSError as error:
            raise refuse_os(
                step, plugin, "cannot read schemata", error, path=self._where(step.clos_id)
            ) from error

    def _compare(self, step: WriteSchemata, plugin: str, root: int, directory: int) -> None:
        present = self._read_schemata(step, plugin, directory)
        wanted = resctrlfs.parse_schemata(step.lines)
        steps = resctrlfs.granularities(root, wanted)
        for resource, domains in wanted.items():
            there = present.get(resource)
            if there is None or not _agree(domains, there, steps.get(resource, 0)):
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
                    path=f"{self._where(step.clos_id)}/schemata",
                    hint="choose another closID, or the schemata that it has",
                )


def _agree(wanted: Mapping[str, str], present: Mapping[str, str], step: int) -> bool:
    return all(resctrlfs.is_same(value, present.get(domain), step) for domain, value in wanted.items())


def _has(directory: int, name: str) -> bool:
    try:
        os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True
