"""A program in the place of criu that answers as it is told, so that failures can be shown on any host.

What it does stands in the file ``behaviour`` beside it: ``old``, ``fail``, ``die`` or ``hang``. Before the
last three it freezes the cgroup that it was told of, as criu does, and leaves it so, as a killed one does.
What it restores is a process that nothing holds, whose number it writes to the file ``restored``.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from socket import socket
from typing import Any

PACKAGES = ""
sys.path.insert(0, PACKAGES)

from orlop_linux.kernel.criu import rpc  # noqa: E402 - the path is set above


def _answer(kind: int, **fields: Any) -> bytes:
    return rpc._encode({"type": kind, "success": True, **fields}, rpc._RESPONSE)


def _freeze(request: bytes) -> None:
    options = rpc._decode(request, {"opts": (2, {"freeze_cgroup": (44, None)})})["opts"]
    group = Path(options["freeze_cgroup"])
    old = group / "freezer.state"
    if old.exists():
        old.write_text("FROZEN")
    else:
        (group / "cgroup.freeze").write_text("1")


def _notify(service: socket, script: str, pid: int) -> None:
    service.send(_answer(rpc.NOTIFY, notify={"script": script, "pid": pid}))
    service.recv(1 << 16)


def main() -> None:
    """Serve one connection."""
    place = Path(__file__).resolve().parent
    behaviour = (place / "behaviour").read_text()
    service = socket(fileno=int(sys.argv[2]))
    minor = 10 if behaviour == "old" else 19
    service.recv(1 << 16)
    service.send(_answer(rpc.VERSION, version={"major_number": 3, "minor_number": minor}))
    request = service.recv(1 << 16)
    if not request:
        return
    restores = rpc._decode(request, {"type": (1, None)})["type"] == rpc.RESTORE
    pid = 0
    if restores:
        pid = os.posix_spawn("/bin/sleep", ["sleep", "100000"], {})
        (place / "restored").write_text(str(pid))
        _notify(service, "post-restore", pid)
    else:
        _freeze(request)
    if behaviour == "hang":
        with (place / "hangs").open("w") as file:
            file.write("in\n")
        signal.pause()
    if behaviour == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if restores:
        _notify(service, "pre-resume", pid)
    kind = rpc.RESTORE if restores else rpc.DUMP
    service.send(_answer(kind, success=False, cr_errno=95, cr_errmsg="it\ncannot be"))


if __name__ == "__main__":
    main()
