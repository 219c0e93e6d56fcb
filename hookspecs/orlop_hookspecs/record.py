"""What is kept of a container between two commands.

The record is written by ``create`` and read by every later command, so it is a plain class that costs
nothing to import. What comes back from the disk is input: :meth:`Record.from_data` verifies every field.
"""

from __future__ import annotations

from orlop_hookspecs.errors import StoreError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

RECORD_VERSION = 1
"""Version of the record's layout; another one is refused."""

_PID_MAX = 1 << 22  # PID_MAX_LIMIT of 64-bit Linux, proc(5)
_PHASES = ("creating", "created")

_FIELDS: dict[str, type] = {
    "id": str,
    "bundle": str,
    "rootfs": str,
    "created": str,
    "annotations": dict,
    "platform": str,
    "phase": str,
    "pid": int,
    "start_time": int,
    "creator": list,
    "owner": int,
    "hooks": dict,
    "live": list,
    "plugins": list,
    "kernel": dict,
}


class Record:
    """One container, as its store keeps it."""

    __slots__ = (*_FIELDS, "directory")

    id: str
    """Identifier, unique in its store."""
    bundle: str
    """Absolute path of the bundle."""
    rootfs: str
    """Absolute path of the root file system."""
    created: str
    """Time of creation, RFC 3339 with nanoseconds, UTC."""
    annotations: dict[str, str]
    """Annotations of the effective config."""
    platform: str
    """Name of the platform that executes the container."""
    phase: str
    """``creating`` until ``create`` has succeeded, then ``created``; what is later is asked of the kernel."""
    pid: int
    """Process id of the container process in the caller's pid namespace; 0 before there is one."""
    start_time: int
    """Start time of that process, in clock ticks after boot (proc(5), stat field 22): pids are reused."""
    creator: list[int]
    """Process id and start time of the runtime that creates: a record whose creator died is a leftover."""
    owner: int
    """User id that created the container."""
    hooks: dict[str, list[dict[str, Any]]]
    """``poststart`` and ``poststop`` hooks, each as the fields of a RunHook step."""
    live: list[str]
    """Names of the hooks of live containers that some active plugin implements; empty: no plugin need be
    loaded."""
    plugins: list[str]
    """Names of the plugins of the composition that created the container."""
    kernel: dict[str, Any]
    """What the platform's kernel needs to find the container again; nobody else looks inside."""
    directory: str
    """The container's directory in its store; empty for a store in memory. Not part of the stored data."""

    def __init__(self, **fields: Any) -> None:  # noqa: ANN401 - every field is verified by its own type
        """Set all fields; those not given get an empty value of their type."""
        for name, kind in _FIELDS.items():
            setattr(self, name, fields.pop(name) if name in fields else kind())
        self.directory = fields.pop("directory", "")
        if fields:
            msg = f"unknown fields of a record: {', '.join(fields)}"
            raise TypeError(msg)

    def of_process(self, pid: int, start_time: int) -> Record:
        """Return a record by which a kernel finds one process of the container alone: to wait, to signal.

        It is never stored.
        """
        one = Record(**{name: getattr(self, name) for name in _FIELDS}, directory=self.directory)
        one.pid, one.start_time, one.kernel = pid, start_time, {}
        return one

    def is_same(self, other: Record) -> bool:
        """Tell whether *other* is the same container, and not a later one with its identifier."""
        mine, its = ((one.id, one.pid, one.start_time, one.creator) for one in (self, other))
        return mine == its

    def to_data(self) -> dict[str, Any]:
        """Return the record as JSON-ready data."""
        data: dict[str, Any] = {"record": RECORD_VERSION}
        for name in _FIELDS:
            data[name] = getattr(self, name)
        return data

    @classmethod
    def from_data(cls, data: Mapping[str, Any], *, expected_id: str, directory: str = "") -> Record:
        """Return the record that *data* holds.

        Raises:
            StoreError: A field is missing, of a wrong type or impossible; nothing of the data is trusted
            then.
        """

        def refuse(why: str) -> StoreError:
            return StoreError(f"the stored state is not usable: {why}", container=expected_id, path=directory)

        if not isinstance(data, dict) or data.get("record") != RECORD_VERSION:
            raise refuse("unknown version")
        fields: dict[str, Any] = {}
        for name, kind in _FIELDS.items():
            value = data.get(name)
            if type(value) is not kind:
                raise refuse(f"{name} is missing or of a wrong type")
            fields[name] = value
        if fields["id"] != expected_id:
            raise refuse("it is the state of another container")
        if not 0 <= fields["pid"] <= _PID_MAX or fields["pid"] == 1:
            raise refuse("pid is impossible")
        if fields["phase"] not in _PHASES:
            raise refuse("phase is unknown")
        cls._verify_parts(fields, refuse)
        return cls(directory=directory, **fields)

    @staticmethod
    def _verify_parts(fields: dict[str, Any], refuse: Callable[[str], StoreError]) -> None:
        creator = fields["creator"]
        if len(creator) != 2 or not all(type(part) is int for part in creator):
            raise refuse("creator is malformed")
        for name in ("bundle", "rootfs"):
            path = fields[name]
            if path and (not path.startswith("/") or "/../" in f"{path}/" or "\0" in path):
                raise refuse(f"{name} is not a clean absolute path")
        if not all(isinstance(v, str) for v in fields["annotations"].values()):
            raise refuse("annotations are malformed")
        for kind_of_hook, hooks in fields["hooks"].items():
            if kind_of_hook not in {"poststart", "poststop"} or not isinstance(hooks, list):
                raise refuse("hooks are malformed")
