"""What each argument of the command line must refuse: the rows of ``test_bad_input.py``.

The parser's table says which flags there are. Switches, numbers and choices are refused by the parser, the
same way for all of them. A flag that takes text has a row in :data:`FLAGS`, and a command that takes
positional arguments one in :data:`ARGUMENTS`: a flag without a row fails the tests, and so does a row without
a flag.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path

import attrs

LONG = "x" * 5000
NUL = "a\0b"
"""No program can be given one; a caller of :func:`orlop.cli.main.main` can."""
NOT_UTF8 = os.fsdecode(b"\xff\xfe")
"""As the interpreter hands over an argument that is no UTF-8."""
HOSTILE = "\x1b[31mred\nsecond line"

NOT_GIVEN = "an empty text counts as not given, as for runc: engines pass flags that they have no value for"
ANY_BYTES = "a file may have a name of any bytes, and nothing is in the way of these"
WARNED_OF = "runc leaves out what it does not know, with a warning: the specification wants that of a config"
IGNORED = "accepted for compatibility, and without effect"
CRIUS_OWN = "only criu knows what it means, and the fake machine has none"


@attrs.frozen(kw_only=True)
class Row:
    """What one flag, or one positional argument, must refuse.

    ``{bad}`` in a value stands for the directory that :func:`furnish` has filled.
    """

    bad: Mapping[str, str] = attrs.field(factory=dict)
    """Values by what is wrong with them."""
    empty: str = ""
    """Why an empty value is accepted; it then changes no more than the command does without the flag."""
    any_text: str = ""
    """Why a text of any length and any characters is accepted; without a reason it is not."""
    any_name: str = ""
    """Why a text of any characters, but not of any length, is accepted."""
    beside: tuple[str, ...] = ()
    """Flags without which nobody looks at the value."""
    answers: bool = False
    """The command's answer, on standard output, is what is wrong; the exit status says that something is."""

    def refused(self) -> Iterator[tuple[str, str]]:
        """Yield what is wrong, and the value, for all that must be refused."""
        yield from self.bad.items()
        yield "NUL", NUL
        if not self.empty:
            yield "empty", ""
        if not self.any_text:
            yield "very long", LONG
            if not self.any_name:
                yield "not UTF-8", NOT_UTF8
                yield "hostile", HOSTILE


def furnish(directory: Path) -> None:
    """Fill *directory* with what must not be taken for a document, a directory or a socket."""
    directory.mkdir()
    (directory / "directory").mkdir()
    (directory / "full").mkdir()
    (directory / "full" / "file").write_text("precious")
    (directory / "file").write_text("precious")
    (directory / "link").symlink_to("file")
    os.mkfifo(directory / "fifo")
    (directory / "malformed").write_text('{"a": ')
    (directory / "array").write_text("[]")
    (directory / "no-utf8").write_bytes(b'{"a": "\xff"}')
    (directory / "twice").write_text('{"a": 1, "a": 2}')
    (directory / "deep").write_text('{"a":' * 200)
    with (directory / "huge").open("wb") as file:
        file.truncate((16 << 20) + 1)
    with socket.socket(socket.AF_UNIX) as bound:
        # By a short path: an address holds 108 bytes only.
        at = os.open(directory, os.O_PATH)
        bound.bind(f"/proc/self/fd/{at}/dead")
        os.close(at)


_NO_FILE = {"missing": "{bad}/missing", "below a file": "{bad}/file/x", "closed": "/proc/self/fd/999999"}
_NO_DOCUMENT = {
    **_NO_FILE,
    "directory": "{bad}/directory",
    "fifo": "{bad}/fifo",
    "socket": "{bad}/dead",
    "malformed": "{bad}/malformed",
    "no UTF-8 inside": "{bad}/no-utf8",
    "huge": "{bad}/huge",
}
_NO_OBJECT = {**_NO_DOCUMENT, "array": "{bad}/array", "duplicate key": "{bad}/twice", "deep": "{bad}/deep"}
_NO_DIRECTORY = {**_NO_FILE, "file": "{bad}/file", "fifo": "{bad}/fifo"}
_NO_NEW_DIRECTORY = {"file": "{bad}/file", "below a file": "{bad}/file/x", "fifo": "{bad}/fifo"}
_NO_PLACE = {
    "in no directory": "{bad}/missing/x",
    "below a file": "{bad}/file/x",
    "a directory": "{bad}/directory",
    "fifo": "{bad}/fifo",
    "link": "{bad}/link",
    "no name": "{bad}/",
}
_NO_SOCKET = {
    **_NO_FILE,
    "file": "{bad}/file",
    "directory": "{bad}/directory",
    "nobody listens": "{bad}/dead",
}
_NO_INTEGER = {
    "garbage": "garbage",
    "exponent": "1e3",
    "hexadecimal": "0x10",
    "underscore": "1_0",
    "blank": " 1",
    "other digits": "\u0661",
    "two signs": "+-1",
    "beyond 64 bits": str(1 << 64),
    "endless": "9" * 5000,
}
_NO_NUMBER = {**_NO_INTEGER, "fraction": "1.5"}
_NO_ID = {**_NO_NUMBER, "name": "root", "minus one": "4294967295", "negative": "-1", "leading zero": "01"}

_BUNDLE = Row(bad=_NO_DIRECTORY)
_DOCUMENT = Row(bad=_NO_OBJECT)
_PLACE = Row(bad=_NO_PLACE, any_name=ANY_BYTES)
_PLACE_OR_NONE = Row(bad=_NO_PLACE, any_name=ANY_BYTES, empty=NOT_GIVEN)
_SOCKET = Row(bad=_NO_SOCKET, empty=NOT_GIVEN)
_NUMBER = Row(bad=_NO_NUMBER, empty=NOT_GIVEN)
_SIZE = Row(
    bad={
        **_NO_INTEGER,
        "unit alone": "m",
        "unknown unit": "1x",
        "two units": "1mm",
        "below no limit": "-2",
        "ends in a point": "1.",
        "too many": "99999999999p",
    },
    empty=NOT_GIVEN,
)
_LIST = Row(
    bad={"garbage": "garbage", "reversed": "3-1", "open": "1-", "negative": "-1", "far": "99999999999"},
    empty=NOT_GIVEN,
)
_IMAGES = Row(bad=_NO_NEW_DIRECTORY, any_name=ANY_BYTES, empty=NOT_GIVEN)
_TYPE = Row(bad={"unknown": "nosuch", "other": "ipc", "two": "network,ipc"})
_CONTAINER = Row(bad={"slash": "a/b", "dots": "..", "blank": "a b"})

_OF_LAUNCHES = {
    "bundle": attrs.evolve(_BUNDLE, empty=NOT_GIVEN),
    "config": _DOCUMENT,
    "console-socket": _SOCKET,
    "pidfd-socket": _SOCKET,
    "pid-file": _PLACE_OR_NONE,
}
_OF_UPDATES = {
    **dict.fromkeys(
        ("blkio-weight", "cpu-period", "cpu-quota", "cpu-burst", "cpu-share", "cpu-rt-period",
         "cpu-rt-runtime", "cpu-idle", "pids-limit"),
        _NUMBER,
    ),
    **dict.fromkeys(
        ("memory", "memory-reservation", "memory-swap", "kernel-memory", "kernel-memory-tcp"), _SIZE
    ),
    **dict.fromkeys(("cpuset-cpus", "cpuset-mems"), _LIST),
}  # fmt: skip

FLAGS: Mapping[tuple[str, str], Row] = {
    ("", "root"): Row(
        bad={"the root directory": "/", "that as well": "/proc/..", **_NO_DIRECTORY}, empty=NOT_GIVEN
    ),
    ("", "log"): _PLACE_OR_NONE,
    ("", "runtime-config"): Row(bad=_NO_DOCUMENT, empty=NOT_GIVEN),
    ("", "plugins"): Row(
        bad={"unknown": "nosuch", "comma": ",", "sign alone": "-", "chosen and left out": "seccomp,-seccomp"},
        empty=NOT_GIVEN,
    ),
    ("", "trace"): _PLACE_OR_NONE,
    **{(command, name): row for command in ("create", "run") for name, row in _OF_LAUNCHES.items()},
    ("exec", "process"): attrs.evolve(_DOCUMENT, empty=NOT_GIVEN),
    ("exec", "cwd"): Row(bad={"relative": "tmp", "dots": "../.."}, empty=NOT_GIVEN),
    ("exec", "env"): Row(bad={"no equals sign": "NAME", "no name": "=value"}),
    ("exec", "user"): Row(
        bad={**_NO_ID, "three": "1:2:3", "no group": "1:", "no user": ":1", "group by name": "0:root"},
        empty=NOT_GIVEN,
    ),
    ("exec", "cap"): Row(any_text=WARNED_OF, empty=WARNED_OF),
    ("exec", "process-label"): Row(bad={"no such module": "a:b:c:s0"}, empty=NOT_GIVEN),
    ("exec", "apparmor"): Row(bad={"no such module": "profile"}, empty=NOT_GIVEN),
    ("exec", "console-socket"): attrs.evolve(_SOCKET, beside=("--tty",)),
    ("exec", "pidfd-socket"): _SOCKET,
    ("exec", "pid-file"): _PLACE_OR_NONE,
    ("exec", "cgroup"): Row(
        bad={
            "above": "..",
            "far above": "../..",
            "around": "a/../..",
            "missing": "below",
            "no controller": ":a",
            "unknown controller": "nosuch:/",
            "no path": "cpu:",
            "controller twice": "cpu,cpu:/",
        }
    ),
    **{("update", name): row for name, row in _OF_UPDATES.items()},
    ("update", "resources"): attrs.evolve(_DOCUMENT, empty=NOT_GIVEN),
    ("update", "l3-cache-schema"): Row(bad={"no class": "L3:0=f"}, empty=NOT_GIVEN),
    ("update", "mem-bw-schema"): Row(bad={"garbage": "garbage", "other": "L3:0=f"}, empty=NOT_GIVEN),
    ("checkpoint", "image-path"): _IMAGES,
    ("checkpoint", "work-path"): _IMAGES,
    ("checkpoint", "parent-path"): Row(bad={"absolute": "/parent"}, any_text=CRIUS_OWN, empty=NOT_GIVEN),
    ("checkpoint", "empty-ns"): _TYPE,
    ("checkpoint", "status-fd"): Row(bad={**_NO_NUMBER, "closed": "999999"}, empty=NOT_GIVEN),
    ("checkpoint", "page-server"): Row(
        bad={"no port": "localhost", "no address": ":1", "far": "a:65536", "word": "a:b", "zero": "a:0"},
        empty=NOT_GIVEN,
    ),
    ("restore", "bundle"): attrs.evolve(_BUNDLE, empty=NOT_GIVEN),
    ("restore", "config"): _DOCUMENT,
    ("restore", "image-path"): Row(bad={**_NO_DIRECTORY, "no images": "{bad}/directory"}, empty=NOT_GIVEN),
    ("restore", "work-path"): _IMAGES,
    ("restore", "empty-ns"): _TYPE,
    ("restore", "lsm-profile"): Row(bad={"no type": "profile", "unknown": "nosuch:x"}, empty=NOT_GIVEN),
    ("restore", "lsm-mount-context"): Row(any_text=CRIUS_OWN, empty=NOT_GIVEN),
    ("restore", "console-socket"): _SOCKET,
    ("restore", "pid-file"): _PLACE_OR_NONE,
    ("events", "interval"): Row(
        bad={**_NO_NUMBER, "no unit": "5", "zero": "0s", "negative": "-1s", "far": "999999h", "word": "NaNs"}
    ),
    ("spec", "bundle"): Row(bad=_NO_DIRECTORY, empty=NOT_GIVEN),
    ("spec", "file"): _PLACE,
    ("features", "diff"): _DOCUMENT,
    ("features", "validate"): Row(bad=_NO_OBJECT, answers=True),
    ("plugin", "samples"): Row(bad={**_NO_DOCUMENT, "no array": "{bad}/directory/../twice"}),
    ("plugin", "rules"): Row(bad={"unknown": "nosuch", "comma": ","}),
    ("plugin", "directory"): Row(bad={"full": "{bad}/full", **_NO_NEW_DIRECTORY}, any_name=ANY_BYTES),
    ("check", "features"): _DOCUMENT,
    ("check", "bundle"): Row(bad=_NO_DIRECTORY, answers=True),
    ("check", "config"): Row(bad=_NO_OBJECT, answers=True),
    ("doctor", "bundle"): _BUNDLE,
    ("explain", "bundle"): _BUNDLE,
    ("explain", "config"): _DOCUMENT,
    ("explain", "id"): _CONTAINER,
    ("compose", "output"): _PLACE,
    ("seccomp", "bundle"): _BUNDLE,
    ("seccomp", "config"): _DOCUMENT,
    ("seccomp", "profile"): _DOCUMENT,
    ("seccomp", "arch"): Row(bad={"unknown": "SCMP_ARCH_NOTHING", "wrong case": "scmp_arch_x86_64"}),
    ("manual", "directory"): Row(bad=_NO_DIRECTORY),
}
"""By command (empty: before the command) and flag. Kinds that the parser verifies need no row."""

ARGUMENTS: Mapping[str, tuple[Row | str, ...]] = {
    **dict.fromkeys(
        ("create", "start", "run", "exec", "state", "kill", "delete", "pause", "resume", "checkpoint",
         "restore", "update", "ps", "events"),
        (_CONTAINER,),
    ),
    "kill": (
        _CONTAINER,
        Row(bad={**_NO_NUMBER, "unknown": "NOPE", "far": "65", "dotless": "K\u0131LL"}),
    ),
    "exec": (_CONTAINER, Row(bad={"missing": "/bin/nope"})),
    "ps": (_CONTAINER, "options are for ps(1) to judge"),
    "plugin": (Row(bad={"unknown": "nosuch"}), Row(bad={"missing": "nosuch", "blank": "a b"})),
    "check": (_BUNDLE,),
    "explain": (_BUNDLE,),
    "doctor": (Row(bad={"unknown": "dreams", "half": "names", "dot": "."}),),
    "compose": (Row(bad=_NO_DOCUMENT),),
    "seccomp": (
        Row(bad={"unknown": "nosuch"}),
        Row(bad={"number": "-1"}, any_text="a call that nobody knows is an answer as well", empty="as above"),
        *[Row(bad={"garbage": "x", "fraction": "1.5", "beyond 64 bits": str(1 << 64), "signs": "+-1"})] * 6,
    ),
    "trace": (Row(bad=_NO_OBJECT),),
    "schema": (Row(bad={"unknown": "nosuch", "wrong case": "Config"}),),
    "completion": (Row(bad={"unknown": "nosuch"}),),
    "manual": (Row(bad={"unknown": "nosuch"}),),
    "help": (Row(bad={"unknown": "nosuch"}),),
}  # fmt: skip
"""By command and place, for each argument it takes; a text is the reason why nothing is refused there."""
