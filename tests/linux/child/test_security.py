"""AppArmor, SELinux and session keyrings of real containers."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.linux.child.support import Box
from tests.linux.child.test_scheduling import USERS
from tests.linux.security import FORBIDDEN, is_valid
from tests.needs import lacks

import orlop

LABEL = "system_u:object_r:svirt_sandbox_file_t:s0:c1,c2"


def confined(box: Box, name: str, *args: str, **over: Any) -> dict[str, Any]:
    made = box.config(*args, **over)
    made["process"]["apparmorProfile"] = name
    return made


@pytest.mark.needs("apparmor")
@pytest.mark.parametrize("private", [True, False], ids=["private", "no new privileges"])
@pytest.mark.parametrize("linux", [{}, USERS], ids=["", "user namespace"])
def test_the_program_has_its_profile(box: Box, profile: str, private: bool, linux: dict[str, Any]) -> None:
    made = box.create(confined(box, profile, process={"noNewPrivileges": not private}, linux=linux))
    current = Path(f"/proc/{made.pid}/attr/apparmor/current")
    assert not current.read_text().startswith(profile)
    made.start()
    assert current.read_text() == f"{profile} (enforce)\n"


@pytest.mark.needs("apparmor")
def test_the_profile_is_enforced(box: Box, profile: str) -> None:
    (box.rootfs / "data").mkdir()
    (box.rootfs / "data/secret").write_text("secret")
    script = box.script("cat /etc/open; cat /data/secret || echo denied")
    (box.rootfs / "etc/open").write_text("open\n")
    script["process"]["apparmorProfile"] = profile
    assert box.run(script).output.splitlines()[0::2] == ["open", "denied"]
    script["process"]["apparmorProfile"] = "unconfined"
    assert box.run(script).output.endswith("secret")


@pytest.mark.needs("apparmor")
def test_a_name_with_a_space(box: Box, profile: str) -> None:
    made = box.start(confined(box, f"{profile} with space"))
    assert Path(f"/proc/{made.pid}/attr/apparmor/current").read_text() == f"{profile} with space (enforce)\n"


@pytest.mark.needs("apparmor", "cgroup-v2")
def test_a_profile_that_lets_nobody_signal_the_program_does_not_save_it_from_delete(
    box: Box, profile: str
) -> None:
    """The cgroup is killed, and asks no security module."""
    made = box.start(confined(box, f"{profile}-deaf"))
    with pytest.raises(orlop.StepError, match="cannot signal the container: permission denied"):
        made.kill("TERM")
    made.delete(force=True)
    assert box.left() == []


@pytest.mark.needs("apparmor")
@pytest.mark.parametrize("tail", ["-absent", " with", "//hat"])
def test_a_profile_that_is_not_loaded_is_refused_at_create(box: Box, profile: str, tail: str) -> None:
    with pytest.raises(orlop.StepError, match=f'AppArmor has no profile "{profile}{tail}" loaded') as caught:
        box.create(confined(box, profile + tail))
    assert (caught.value.errno, caught.value.pointer) == (errno.ENOENT, "/process/apparmorProfile")
    assert box.left() == []


@pytest.mark.needs("apparmor")
def test_a_profile_where_the_containers_procfs_is_masked_or_missing(box: Box, profile: str) -> None:
    overs: tuple[dict[str, Any], ...] = ({"linux": {"maskedPaths": ["/proc"]}}, {"mounts": []})
    for over in overs:
        made = box.start(confined(box, profile, **over), "masked")
        assert Path(f"/proc/{made.pid}/attr/apparmor/current").read_text() == f"{profile} (enforce)\n"
        made.delete(force=True)


@pytest.mark.needs("apparmor")
def test_a_profile_in_a_joined_pid_namespace(box: Box, profile: str) -> None:
    first = box.start(name="first")
    spaces = [{"type": "pid", "path": f"/proc/{first.pid}/ns/pid"}, {"type": "mount"}]
    made = box.start(confined(box, profile, linux={"namespaces": spaces}))
    assert Path(f"/proc/{made.pid}/attr/apparmor/current").read_text() == f"{profile} (enforce)\n"
    assert Path(f"/proc/{first.pid}/attr/apparmor/current").read_text() == "unconfined\n"


def test_a_host_without_apparmor_refuses_before_anything_is_touched(box: Box) -> None:
    if not lacks("apparmor"):
        pytest.skip("the host has AppArmor")
    with pytest.raises(orlop.StepError, match=r"this host has no AppArmor|AppArmor is not enabled") as caught:
        box.create(confined(box, "box"))
    assert (caught.value.errno, caught.value.pointer) == (errno.EOPNOTSUPP, "/process/apparmorProfile")
    assert box.left() == []


@pytest.mark.parametrize("section", ["process", "linux"])
def test_a_host_without_selinux_refuses_before_anything_is_touched(box: Box, section: str) -> None:
    if not lacks("selinux"):
        pytest.skip("the host has SELinux")
    name = {"process": "selinuxLabel", "linux": "mountLabel"}[section]
    with pytest.raises(orlop.StepError, match=r"this host has no SELinux|SELinux has no policy") as caught:
        box.create(box.config(**{section: {name: LABEL}}))
    assert (caught.value.errno, caught.value.pointer) == (errno.EOPNOTSUPP, f"/{section}/{name}")
    assert box.left() == []


@pytest.mark.needs("selinux")
def test_the_program_has_its_label(box: Box, labels: tuple[str, str]) -> None:
    made = box.create(box.config(process={"selinuxLabel": labels[0]}))
    current = Path(f"/proc/{made.pid}/attr/current")
    assert current.read_text().rstrip("\0\n") != labels[0]
    made.start()
    assert current.read_text().rstrip("\0\n") == labels[0]


@pytest.mark.needs("selinux")
@pytest.mark.parametrize("private", [True, False], ids=["private", "no new privileges"])
@pytest.mark.parametrize("linux", [{}, USERS], ids=["", "user namespace"])
def test_the_label_is_enforced(box: Box, private: bool, linux: dict[str, Any]) -> None:
    if not is_valid(FORBIDDEN):
        pytest.skip("needs the policy of the virtual machine, which forbids a program the secret")
    for name in ("open", "secret"):
        (box.rootfs / name).write_text(name)
    os.setxattr(box.rootfs / "secret", "security.selinux", FORBIDDEN.encode())
    config = box.script("cat /open; cat /secret || echo denied", linux=linux)
    config["process"]["noNewPrivileges"] = not private
    assert box.run(config).output == "opensecret"
    config["process"]["selinuxLabel"] = "u:r:payload_t:s0:c1,c2"
    assert box.run(config).output.endswith("denied\n")


@pytest.mark.needs("selinux")
def test_new_file_systems_have_the_label_of_mounts(box: Box, labels: tuple[str, str]) -> None:
    mounts = [
        *box.config()["mounts"],
        {"destination": "/tmp", "type": "tmpfs", "source": "tmpfs"},
        # More than fsconfig(2) takes in one value, so that mount(2) makes it.
        {"destination": "/etc", "type": "tmpfs", "source": "x" * 300},
        # Its superblock was made with the ipc namespace, and takes no label from an option any more.
        {"destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue"},
    ]
    made = box.start(box.config(mounts=mounts, linux={"mountLabel": labels[1]}))
    for place in ("tmp", "etc", "dev", "dev/mqueue"):
        found = os.getxattr(f"/proc/{made.pid}/root/{place}", "security.selinux")
        assert found.rstrip(b"\0").decode() == labels[1], place
    found = os.getxattr(f"/proc/{made.pid}/root/proc", "security.selinux")
    assert found.rstrip(b"\0").decode() != labels[1]


@pytest.mark.needs("selinux")
@pytest.mark.parametrize(("section", "name"), [("process", "selinuxLabel"), ("linux", "mountLabel")])
def test_a_label_that_the_policy_does_not_have(box: Box, section: str, name: str) -> None:
    config = box.config(**{section: {name: "no_u:no_r:no_t:s0"}})
    with pytest.raises(orlop.StepError, match=r"no_u:no_r:no_t:s0.*invalid argument") as caught:
        box.create(config)
    assert caught.value.pointer.startswith("/process/selinuxLabel" if section == "process" else "/mounts/1")
    assert box.left() == []


KEYCTL = {"x86_64": 250, "aarch64": 219}.get(os.uname().machine, -1)
SQUAT = f"""
import ctypes, os, sys
os.setresuid(12345, 12345, 12345)
call = ctypes.CDLL(None).syscall
serial = call({KEYCTL}, 1, sys.argv[1].encode())
assert serial > 0
assert call({KEYCTL}, 5, serial, 0x3f3f3f3f) == 0
print(serial, flush=True)
sys.stdin.read()
"""
JOIN = f"""
import ctypes, sys
from orlop_linux.init import names, syscalls
from orlop_linux.init.context import Context
call = ctypes.CDLL(None).syscall
# The kernel does let root join a keyring of somebody else by its name.
if sys.argv[2:]:
    print(call({KEYCTL}, 1, sys.argv[1].encode()))
names.new_keyring(Context(), {{"name": sys.argv[1], "label": ""}}, 0)
print(call({KEYCTL}, 0, -3, 0), syscalls.describe_key(-3).decode())
"""
"""What the child does, and what it has then: the serial number and the description of its session keyring."""


@pytest.mark.skipif(KEYCTL < 0, reason="needs to know the number of keyctl(2)")
@pytest.mark.parametrize("joined", [False, True])
@pytest.mark.parametrize("taken", [False, True])
def test_a_keyring_that_somebody_else_made_under_the_name_is_not_joined(taken: bool, joined: bool) -> None:
    """A user without rights offers a keyring to whoever asks for the name; we may be in it already."""
    name = f"_ses.squat-{os.getpid()}-{taken}-{joined}"
    command = [sys.executable, "-I", "-S", "-c", SQUAT, name if taken else f"{name}-not"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as squatter:
        assert squatter.stdout is not None
        theirs = int(squatter.stdout.readline())
        try:
            lines = subprocess.run(
                [sys.executable, "-c", JOIN, name, *(["first"] if joined else [])],
                capture_output=True,
                check=True,
                text=True,
            ).stdout.splitlines()
        finally:
            squatter.communicate(b"")
    if joined:
        assert (int(lines.pop(0)) == theirs) is taken
    serial, _, described = lines[0].partition(" ")
    assert int(serial) != theirs
    assert described.split(";")[1:3] == ["0", "0"]
    assert described.endswith(";_ses" if taken else f";{name}")


LABELLED = f"""
import ctypes, sys
from orlop_linux.init import names, procfs
from orlop_linux.init.context import Context
context = Context(proc_fd=procfs.open_private(new_pid_namespace=False))
names.new_keyring(context, {{"name": "_ses.labelled", "label": sys.argv[1]}}, 0)
buffer = ctypes.create_string_buffer(500)
ctypes.CDLL(None).syscall({KEYCTL}, 17, -3, buffer, 500)
print(buffer.value.decode())
print(open("/proc/thread-self/attr/keycreate").read().rstrip(chr(0)))
"""


@pytest.mark.needs("selinux")
@pytest.mark.skipif(KEYCTL < 0, reason="needs to know the number of keyctl(2)")
def test_a_keyring_has_the_label_of_the_process_and_later_ones_have_not(labels: tuple[str, str]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LABELLED, labels[0]], capture_output=True, check=True, text=True
    )
    assert done.stdout == f"{labels[0]}\n\n"
