"""Containers of a user without privileges: from create to delete, and what is refused and why."""

from __future__ import annotations

import json
import os
import shutil
import signal
import stat
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from tests.linux.child.support import namespaces_of, status_of, until
from tests.linux.rootless.plain import GID, SUB, UID, Plain, state_of, write_names

pytestmark = pytest.mark.needs("plain-user")

SHARED = 0o755


def _creation(plain: Plain) -> tuple[str, ...]:
    return ("create", "--bundle", str(plain.bundle), "box")


def _pid(plain: Plain, container: str = "box") -> int:
    return int(state_of(plain.good("state", container))["pid"])


def test_the_whole_life(plain: Plain) -> None:
    plain.write(plain.config())
    assert plain.good(*_creation(plain)).err == ""
    assert plain.status() == "created"
    plain.good("start", "box")
    assert plain.status() == "running"
    pid = _pid(plain)
    status = status_of(pid)
    assert status["Uid"].split() == [str(UID)] * 4
    assert status["Gid"].split() == [str(GID)] * 4
    assert status["Groups"] == ""
    assert Path(f"/proc/{pid}/uid_map").read_text().split() == ["0", str(UID), "1"]
    assert Path(f"/proc/{pid}/gid_map").read_text().split() == ["0", str(GID), "1"]
    mine, its = namespaces_of("self"), namespaces_of(pid)
    assert {kind for kind in mine if mine[kind] != its[kind]} == {"pid", "mnt", "ipc", "uts", "user"}
    assert "sleep" in plain.good("ps", "box").out
    plain.good("kill", "box", "KILL")
    until(lambda: plain.status() == "stopped", "the container does not stop")
    plain.good("delete", "box")
    assert "does not exist" in plain.status()
    assert plain.left() == []


def test_setgroups_is_denied_before_the_group_is_mapped(plain: Plain) -> None:
    """Otherwise dropping a group could give access (CVE-2014-8989); the kernel insists on it."""
    shown = plain.output_of(
        plain.script("busybox cat /proc/self/setgroups", "busybox id -u", "busybox id -g", "busybox id -G")
    )
    assert shown == ["deny", "0", "0", "0"]


def test_groups_cannot_be_added_and_the_error_says_so(plain: Plain) -> None:
    user = {"uid": 0, "gid": 0, "additionalGids": [0]}
    plain.refuses(
        plain.config(process={"user": user}),
        "/process/user/additionalGids",
        "cannot set additional groups",
        "operation not permitted",
    )


def test_the_spec_that_is_written_for_such_users_runs(plain: Plain) -> None:
    plain.bundle.joinpath("config.json").unlink()
    assert plain.run("spec", "--rootless", "--bundle", str(plain.bundle)).status == 0
    config = json.loads((plain.bundle / "config.json").read_text())
    assert config["linux"]["uidMappings"] == [{"containerID": 0, "hostID": UID, "size": 1}]
    config["process"] |= {"terminal": False, "args": ["/bin/sh", "-c", "echo it runs as $(busybox id -u)"]}
    config["process"]["env"] = ["PATH=/bin"]
    assert plain.output_of(config) == ["it runs as 0"]


def test_devices_are_the_hosts_nodes(plain: Plain) -> None:
    dev = {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["mode=755"]}
    config = plain.script(
        "for name in null zero full random urandom tty; do",
        "  [ -c /dev/$name ] && busybox stat -c '%n %t %T' /dev/$name",
        "done",
        "echo gone >/dev/null; busybox head -c 3 /dev/zero | busybox od -An -tx1",
    )
    config["mounts"].append(dev)
    shown = plain.output_of(config)
    numbers = {line.split()[0]: line.split()[1:] for line in shown[:-1]}
    for name in ("null", "zero", "full", "random", "urandom", "tty"):
        device = os.stat(f"/dev/{name}").st_rdev
        assert numbers[f"/dev/{name}"] == [f"{os.major(device):x}", f"{os.minor(device):x}"]
    assert shown[-1].split() == ["00", "00", "00"]


def test_a_device_that_the_host_does_not_have_is_refused(plain: Plain) -> None:
    device = {"type": "c", "path": "/dev/absent", "major": 1, "minor": 3}
    plain.refuses(plain.config(linux={"devices": [device]}), "/linux/devices/0", "operation not permitted")


def test_sysfs_of_the_callers_network_namespace_is_the_callers(plain: Plain) -> None:
    config = plain.script("busybox ls /sys/class/net", "echo x 2>/dev/null >/sys/fs/cgroup/x || echo refused")
    config["mounts"].append({"destination": "/sys", "type": "sysfs", "source": "sysfs"})
    *links, last = plain.output_of(config)
    assert set(links) == set(os.listdir("/sys/class/net"))
    assert last == "refused"


def test_a_network_namespace_of_its_own_has_a_sysfs_and_a_loopback(plain: Plain) -> None:
    config = plain.script("busybox ls /sys/class/net", "busybox ip addr show lo")
    config["linux"]["namespaces"].append({"type": "network"})
    config["mounts"].append({"destination": "/sys", "type": "sysfs", "source": "sysfs"})
    links, *more = plain.output_of(config)
    assert links == "lo"
    assert "UP" in more[0]


def test_the_cgroups_of_the_host_cannot_be_written_through_a_bind_of_sys(plain: Plain) -> None:
    """CVE-2023-25809: read-only has to mean the mounts below as well."""
    config = plain.script(
        "for file in $(busybox find /sys/fs/cgroup -name cgroup.procs 2>/dev/null | busybox head -20)",
        "do (echo $$ >$file) 2>/dev/null && echo wrote $file; done",
        "while read -r _ path _ options _; do",
        "  case $path in /sys*) case $options in ro*) ;; *) echo $path is writable;; esac;; esac",
        "done </proc/self/mounts",
        "echo end",
    )
    sys = {"destination": "/sys", "type": "none", "source": "/sys", "options": ["rbind", "ro", "nosuid"]}
    config["mounts"].append(sys)
    assert plain.output_of(config) == ["end"]


def test_binds_are_the_callers_view(plain: Plain) -> None:
    source = plain.place / "source"
    source.mkdir()
    (source / "file").write_text("content\n")
    (source / "private").write_text("not for the user\n")
    plain.give()
    os.chown(source / "private", 0, 0)
    (source / "private").chmod(0o600)
    bind = {"destination": "/tmp/here", "source": str(source), "options": ["bind", "ro"]}
    config = plain.script(
        "busybox cat /tmp/here/file",
        "busybox cat /tmp/here/private 2>/dev/null || echo unreadable",
        "echo x 2>/dev/null >/tmp/here/file || echo read-only",
    )
    config["mounts"].append(bind)
    assert plain.output_of(config) == ["content", "unreadable", "read-only"]


def test_what_the_caller_cannot_reach_is_an_error_that_names_it(plain: Plain) -> None:
    hidden = plain.place / "hidden"
    (hidden / "inside").mkdir(parents=True)
    hidden.chmod(0o700)
    for source, why in ((hidden / "inside", "permission denied"), (plain.place / "absent", "no such file")):
        config = plain.config()
        config["mounts"].append({"destination": "/tmp", "source": str(source), "options": ["bind"]})
        plain.refuses(config, f"cannot open the mount source {source}: {why}", "/mounts/1/source")
    moved = plain.config()
    moved["root"]["path"] = str(hidden / "inside")
    plain.refuses(moved, "permission denied")


def test_magic_links_are_no_sources(plain: Plain) -> None:
    for source in ("/proc/self/root", "/proc/self/fd/0", "/proc/self/cwd"):
        config = plain.config()
        config["mounts"].append({"destination": "/tmp", "source": source, "options": ["bind"]})
        plain.refuses(config, "cannot open the mount source", "/mounts/1/source")


def test_id_mapped_mounts_are_refused(plain: Plain) -> None:
    maps = {"uidMappings": [{"containerID": 0, "hostID": UID, "size": 1}]}
    maps["gidMappings"] = [{"containerID": 0, "hostID": GID, "size": 1}]
    config = plain.config()
    bind = {"destination": "/tmp", "source": str(plain.place), "options": ["bind", "idmap"]}
    config["mounts"].append(bind | maps)
    plain.refuses(config, "cannot be id-mapped", "operation not permitted")


def test_without_a_user_namespace_the_error_says_what_is_missing(plain: Plain) -> None:
    config = plain.config()
    config["linux"] = {"namespaces": [{"type": kind} for kind in ("pid", "mount")]}
    plain.refuses(config, "operation not permitted", "/linux/namespaces", "needs a user namespace")


def test_cgroups_are_left_out_only_if_nobody_asks_for_them(plain: Plain) -> None:
    plain.refuses(plain.config(linux={"cgroupsPath": "/orlop-plain/box"}), "/linux/cgroupsPath", "denied")
    plain.refuses(plain.config(linux={"resources": {"pids": {"limit": 5}}}), "/linux/resources/pids")
    plain.write(plain.config())
    plain.good(*_creation(plain))
    plain.destroy()


def test_a_host_that_denies_user_namespaces_is_named(plain: Plain) -> None:
    """The kernel's parameter belongs to a user namespace, so this test denies them to its own only."""
    plain.prefix = [
        *("setpriv", f"--reuid={UID}", f"--regid={GID}", "--clear-groups"),
        *("unshare", "--user", "--map-current-user", "--keep-caps", "sh", "-c"),
        'echo 0 >/proc/sys/user/max_user_namespaces; exec setpriv --ambient-caps -all --inh-caps -all "$@"',
        "sh",
    ]
    plain.refuses(
        plain.config(),
        "cannot make the container process with namespaces",
        "the host denies user namespaces: user.max_user_namespaces is 0",
    )


def test_root_of_a_user_namespace_is_a_user_as_well(plain: Plain) -> None:
    """As engines call their runtime: root in a user namespace, with mounts of its own."""
    plain.prefix = [
        *("setpriv", f"--reuid={UID}", f"--regid={GID}", "--clear-groups"),
        *("unshare", "--user", "--map-root-user", "--mount"),
    ]
    config = plain.script("busybox cat /proc/self/uid_map", "busybox id -u")
    config["linux"]["namespaces"] = [{"type": kind} for kind in ("pid", "mount", "ipc", "uts")]
    del config["linux"]["uidMappings"], config["linux"]["gidMappings"]
    shown = plain.output_of(config)
    assert [shown[0].split(), shown[1]] == [["0", str(UID), "1"], "0"]
    nested = plain.script("busybox cat /proc/self/uid_map", "busybox id -u")
    nested["linux"]["uidMappings"][0]["hostID"] = nested["linux"]["gidMappings"][0]["hostID"] = 0
    shown = plain.output_of(nested)
    assert [shown[0].split(), shown[1]] == [["0", "0", "1"], "0"]


def test_another_user_than_root_inside(plain: Plain) -> None:
    config = plain.script(
        "busybox id -u", "busybox id -g", "echo x >/tmp/made && busybox stat -c %u /tmp/made"
    )
    config["linux"]["uidMappings"][0]["containerID"] = 1000
    config["linux"]["gidMappings"][0]["containerID"] = 1001
    config["process"]["user"] = {"uid": 1000, "gid": 1001}
    config["mounts"].append({"destination": "/tmp", "type": "tmpfs", "source": "tmpfs"})
    assert plain.output_of(config) == ["1000", "1001", "1000"]


@pytest.fixture
def ranges(plain: Plain) -> None:
    """Let the user map a range of ids: with files that only the test's commands see."""
    if not shutil.which("newuidmap", path=plain.path):
        pytest.skip("needs newuidmap(1) and newgidmap(1), of the package uidmap")
    etc = plain.place / "etc"
    etc.mkdir()
    binds = write_names(etc, "/")
    plain.prefix = [
        *("unshare", "--mount", "sh", "-c"),
        f'{binds} && exec setpriv --reuid={UID} --regid={GID} --clear-groups "$@"',
        "sh",
    ]
    if not all(Path(f"/etc/{name}").exists() for name in ("subuid", "subgid")):
        pytest.skip("needs /etc/subuid and /etc/subgid as places for files of the test")


def mapped(config: dict[str, Any], size: int = 1000) -> dict[str, Any]:
    """Return *config* with a range of ids beside the caller's own."""
    for kind, own in (("uid", UID), ("gid", GID)):
        config["linux"][f"{kind}Mappings"] = [
            {"containerID": 0, "hostID": own, "size": 1},
            {"containerID": 1, "hostID": SUB, "size": size},
        ]
    return config


@pytest.mark.usefixtures("ranges")
def test_ranges_are_mapped_by_the_helpers(plain: Plain) -> None:
    user = {"uid": 7, "gid": 8, "additionalGids": [9, 10]}
    config = plain.script(
        "busybox cat /proc/self/uid_map /proc/self/setgroups",
        "busybox id -u; busybox id -g; busybox id -G",
        process={"user": user},
    )
    shown = plain.output_of(mapped(config))
    assert [line.split() for line in shown[:2]] == [["0", str(UID), "1"], ["1", str(SUB), "1000"]]
    assert shown[2:] == ["allow", "7", "8", "8 9 10"]


@pytest.mark.usefixtures("ranges")
def test_a_container_whose_program_is_another_user_is_killed_and_deleted(plain: Plain) -> None:
    plain.write(mapped(plain.config(process={"user": {"uid": 500, "gid": 0}})))
    plain.good(*_creation(plain))
    plain.good("start", "box")
    assert status_of(_pid(plain))["Uid"].split()[0] == str(SUB + 499)
    plain.good("kill", "box", "KILL")
    until(lambda: plain.status() == "stopped", "the container does not stop")
    plain.good("delete", "box")


@pytest.mark.usefixtures("ranges")
def test_ranges_that_are_not_the_callers_are_refused(plain: Plain) -> None:
    outcome = plain.refuses(
        mapped(plain.config(), 1001), "/linux/uidMappings", "newuidmap", "not allowed", "/etc/subuid"
    )
    assert str(SUB) in outcome.err


def test_without_the_helpers_only_the_callers_own_ids_can_be_mapped(plain: Plain) -> None:
    plain.path = str(plain.place)
    plain.refuses(mapped(plain.config()), "/linux/uidMappings", "not found in path", "newuidmap(1)")
    config = plain.config()
    config["linux"]["uidMappings"][0]["hostID"] = UID + 1
    plain.refuses(config, "/linux/uidMappings")
    config = plain.config()
    config["linux"]["gidMappings"][0]["hostID"] = GID + 1
    plain.refuses(config, "/linux/gidMappings")


def test_namespaces_of_ones_own_containers_can_be_joined(plain: Plain) -> None:
    plain.write(plain.config())
    plain.good("create", "--bundle", str(plain.bundle), "owner")
    plain.good("start", "owner")
    pid = _pid(plain, "owner")
    config = plain.script("for kind in user ipc uts; do busybox readlink /proc/self/ns/$kind; done")
    config["linux"] = {
        "namespaces": [
            {"type": "mount"},
            *({"type": kind, "path": f"/proc/{pid}/ns/{kind}"} for kind in ("user", "ipc", "uts", "pid")),
        ]
    }
    its = namespaces_of(pid)
    assert plain.output_of(config) == [its["user"], its["ipc"], its["uts"]]
    plain.good("delete", "--force", "owner")


def test_namespaces_of_others_cannot_be_joined(plain: Plain) -> None:
    config = plain.config()
    config["linux"]["namespaces"].append({"type": "network", "path": "/proc/1/ns/net"})
    plain.refuses(config, "/linux/namespaces/5", "cannot join the network namespace", "denied")


def test_the_state_root_is_private_and_is_not_pruned(plain: Plain) -> None:
    runtime = plain.place / "run"
    runtime.mkdir()
    plain.give()
    runtime.chmod(0o700)
    plain.write(plain.config())
    command = ("create", "--bundle", str(plain.bundle), "box")
    outcome = plain.run_plain(*command, XDG_RUNTIME_DIR=str(runtime))
    assert outcome.status == 0, outcome
    mode = (runtime / "orlop").stat().st_mode
    assert stat.S_IMODE(mode) == 0o1700
    outcome = plain.run_plain("delete", "--force", "box", XDG_RUNTIME_DIR=str(runtime))
    assert outcome.status == 0, outcome
    outcome = plain.run_plain(*command)
    assert outcome.status == 1, outcome
    assert "permission denied" in outcome.err or "another user" in outcome.err
    assert outcome.err.count("\n") == 1


def test_the_creator_is_killed_and_nothing_is_left(plain: Plain) -> None:
    """While a hook runs, which tells when the container process is there."""
    noted = plain.place / "noted"
    os.mkfifo(noted)
    plain.give()
    script = f"echo $PPID $$ >{noted}; exec sleep 1000"
    hook = {"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/bin"]}
    plain.write(plain.config(hooks={"createRuntime": [hook]}))
    outcomes: list[Any] = []
    thread = Thread(target=lambda: outcomes.append(plain.run(*_creation(plain))))
    thread.start()
    for pid in map(int, noted.read_text().split()):
        os.kill(pid, signal.SIGKILL)
    thread.join()
    assert outcomes[0].status == -signal.SIGKILL
    plain.destroy()


def test_clocks_of_its_own(plain: Plain) -> None:
    config = plain.script("busybox cat /proc/self/timens_offsets", "busybox readlink /proc/self/ns/cgroup")
    config["linux"]["namespaces"] += [{"type": "time"}, {"type": "cgroup"}]
    config["linux"]["timeOffsets"] = {"boottime": {"secs": 777, "nanosecs": 5}}
    *clocks, cgroup = plain.output_of(config)
    assert [line.split() for line in clocks] == [["monotonic", "0", "0"], ["boottime", "777", "5"]]
    assert cgroup != namespaces_of("self")["cgroup"]


def test_network_devices_are_not_the_users_to_move(plain: Plain) -> None:
    config = plain.config()
    config["linux"]["namespaces"].append({"type": "network"})
    # No device that there is: the error has to come before anybody looks for it.
    config["linux"]["netDevices"] = {"orlop-absent": {"name": "eth0"}}
    plain.refuses(config, "/linux/netDevices", "permission denied", "CAP_NET_ADMIN")


def test_further_processes(plain: Plain) -> None:
    config = plain.config()
    config["process"]["oomScoreAdj"] = 321
    plain.write(config)
    plain.good(*_creation(plain))
    plain.good("start", "box")
    pid_file = plain.bundle / "pid"
    plain.good("exec", "--detach", "--pid-file", str(pid_file), "box", "/bin/busybox", "sleep", "1000")
    joined, first = int(pid_file.read_text()), _pid(plain)
    assert namespaces_of(joined) == namespaces_of(first)
    status = status_of(joined)
    assert (status["Uid"].split(), status["Gid"].split()) == ([str(UID)] * 4, [str(GID)] * 4)
    assert Path(f"/proc/{joined}/oom_score_adj").read_text() == "321\n"
    shown = plain.good("exec", "box", "/bin/busybox", "sh", "-c", "busybox id -u; busybox id -G")
    assert shown.out.split() == ["0", "0"]
    # The rig has adopted it: no pid namespace ends before its last zombie is gone.
    os.kill(joined, signal.SIGKILL)
    assert os.waitpid(joined, 0) == (joined, signal.SIGKILL)
    plain.good("delete", "--force", "box")
    assert plain.left() == []
