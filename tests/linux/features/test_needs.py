"""A kernel without a call that every container needs, as a filter of system calls shows it."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from orlop_linux.kernel import needs

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")

WITHOUT = """
import errno, json, struct, sys
from orlop_linux.init import syscalls

# struct sock_filter: load the number of the call; is it the one? Then ENOSYS, else let it through.
steps = [(0x20, 0, 0, 0), (0x15, 0, 1, syscalls.NUMBERS[sys.argv[1]]), (0x06, 0, 0, 0x50000 | errno.ENOSYS)]
program = b"".join(struct.pack("HBBI", *one) for one in [*steps, (0x06, 0, 0, 0x7FFF0000)])
syscalls.prepare_seccomp(0, program)()

import orlop

config = {
    "ociVersion": "1.2.0",
    "root": {"path": "rootfs"},
    "process": {"cwd": "/", "args": ["/bin/sh"], "user": {"uid": 0, "gid": 0}},
    "linux": {"namespaces": [{"type": "mount"}, {"type": "pid"}]},
}
with orlop.Runtime.compose("linux", root=sys.argv[2] + "/state") as runtime:
    asked = runtime.examine(["namespace.pid", "mounts"])
    answers = {one.name: [one.available, one.reason, one.remedy] for one in asked.diagnoses}
    error = None
    try:
        runtime.create("box", config)
    except orlop.OrlopError as raised:
        error = [type(raised).__name__, raised.errno, raised.message, raised.hint]
    print(json.dumps([answers, error, [one.id for one in runtime.list()]]))
"""


@pytest.mark.parametrize("name", needs.CALLS)
def test_no_container_is_begun_and_the_doctor_says_why(name: str, tmp_path: Path) -> None:
    (tmp_path / "rootfs/bin").mkdir(parents=True)
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT, name, str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        timeout=300,
    )
    assert (done.returncode, done.stderr) == (0, "")
    answers, error, left = json.loads(done.stdout)
    words = needs.words(name)
    assert error == ["PlatformError", errno.ENOSYS, words, needs.HINT]
    assert left == []
    for one in ("namespace.pid", "mounts", "mounts.idmap"):
        assert answers[one] == [False, words, needs.HINT]


def test_this_kernel_has_all_of_them() -> None:
    assert needs.lacking() == ""
    assert all(needs.has(name) for name in needs.CALLS)
