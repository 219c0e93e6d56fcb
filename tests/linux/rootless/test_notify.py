"""A service manager of a user learns that the user's container is ready."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from threading import Thread

import pytest
from tests.linux.child.support import until
from tests.linux.cli.test_notify import Manager
from tests.linux.rootless.plain import GID, UID, Plain, state_of

pytestmark = pytest.mark.needs("plain-user")


def test_a_container_of_a_user_tells_that_it_is_ready(plain: Plain) -> None:
    place = plain.place / "manager"
    manager = Manager(str(place))
    os.chown(place, UID, GID)
    plain.write(plain.config())

    def call(*command: str) -> None:
        outcomes.append(plain.run_plain("--root", str(plain.root), *command, NOTIFY_SOCKET=str(place)).status)

    outcomes: list[int] = []
    try:
        call("create", "--bundle", str(plain.bundle), "box")
        pid = int(state_of(plain.good("state", "box"))["pid"])
        starting = Thread(target=call, args=("start", "box"), daemon=True)
        starting.start()
        inside = Path(f"/proc/{pid}/root/run/notify/notify.sock")
        until(inside.exists, "there is no socket")
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as to:
            to.sendto(b"READY=1", str(inside))
        manager.understands(pid)
        starting.join()
        assert outcomes == [0, 0]
    finally:
        manager.close()
    plain.good("delete", "--force", "box")
    assert plain.left() == []
