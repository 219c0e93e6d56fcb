"""Hostile mounts: races for mount points, a fake procfs, magic links, huge directories, views of cgroups."""

from __future__ import annotations

import os
import re
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.attacks.target import LINKS, Target
from tests.attacks.test_paths import DEV, PROC, PTS, SYS, bind, tmpfs
from tests.linux.faults.points import run
from tests.linux.faults.rig import NAMESPACES, children, mounts
from tests.linux.init.forked import in_child

from orlop.cli.template import config as default_config
from orlop_linux.init import syscalls

POWERFUL = ["CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_SYS_PTRACE", "CAP_MKNOD"]
IDS = [{"containerID": 0, "hostID": 100_000, "size": 65_536}]

_RACE = """
import ctypes, os, sys
libc = ctypes.CDLL(None)
one, other = map(os.fsencode, sys.argv[1:])
parent = os.getppid()
print("ready", flush=True)
while os.getppid() == parent:
    libc.renameat2(-100, one, -100, other, 2)
"""


@contextmanager
def racer(one: Path, other: Path) -> Iterator[None]:
    """Exchange two names as fast as possible, in a process of its own."""
    command = [sys.executable, "-I", "-c", _RACE, str(one), str(other)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL) as process:
        try:
            assert process.stdout is not None
            process.stdout.readline()
            yield
        finally:
            process.kill()


def powerful(config: dict[str, Any]) -> dict[str, Any]:
    """Give the program every capability that files care about."""
    config["process"]["capabilities"] = dict.fromkeys(("bounding", "effective", "permitted"), POWERFUL)
    return config


@pytest.mark.parametrize("kind", ["tmpfs", "directory", "file"])
def test_p2_a_mount_point_that_a_peer_exchanges_never_leads_outside(target: Target, kind: str) -> None:
    """Two containers share a volume; one of them swaps a part of the other's mount points for a link."""
    volume = target.place / "volume"
    (volume / "deep/point").mkdir(parents=True)
    (volume / "deep/file").touch()
    (volume / "link").symlink_to(target.sentinel)
    target.image("vol").mkdir()
    source = {"directory": target.place / "source", "file": target.place / "source/file"}
    (target.place / "source").mkdir()
    source["file"].touch()
    at = "/vol/deep/file" if kind == "file" else "/vol/deep/point"
    mount = tmpfs(at) if kind == "tmpfs" else bind(source[kind], at)
    target.write(target.config("/bin/true", mounts=[PROC, bind(volume, "/vol"), mount]))
    made = 0
    with racer(volume / "deep", volume / "link"):
        target.known.update(children())
        for _ in range(20):
            outcome = run(target, "create", "--bundle", str(target.bundle), "box")
            assert outcome.status in {0, 1}, outcome
            if outcome.status == 0:
                made += 1
                points = _points(int(run(target, "state", "box").state["pid"]))
                # In the container's own view everything is below its root; what was covered is in the volume,
                # or where the link leads inside the image.
                inside = [point for point in points if point.endswith(("/point", "/file"))]
                assert len(inside) == 1, points
                assert run(target, "delete", "--force", "box").status == 0
            target.verify()
    assert made


def _points(pid: int) -> list[str]:
    return [line.split()[4] for line in Path(f"/proc/{pid}/mountinfo").read_text().splitlines()]


@pytest.mark.parametrize(
    "mount",
    [bind("/bin/busybox", "/vol/deep/a/b/c", "ro"), tmpfs("/vol/deep/a/b/c")],
    ids=["file", "directory"],
)
def test_p3_a_missing_mount_point_is_not_made_through_a_link_that_comes_and_goes(
    target: Target, mount: dict[str, Any]
) -> None:
    """A peer exchanges a directory for a link to the host, again and again, in a volume that it shares."""
    volume = target.place / "volume"
    (volume / "deep").mkdir(parents=True)
    (volume / "link").symlink_to(target.sentinel)
    target.image("vol").mkdir()
    target.write(target.config("/bin/true", mounts=[PROC, bind(volume, "/vol"), mount]))
    with racer(volume / "deep", volume / "link"):
        target.known.update(children())
        for _ in range(12):
            outcome = run(target, "create", "--bundle", str(target.bundle), "box")
            assert outcome.status in {0, 1}, outcome
            if outcome.status == 0:
                assert run(target, "delete", "--force", "box").status == 0
            target.verify()


FAKES = (
    tmpfs("/proc/self/attr"),
    tmpfs("/proc/thread-self/attr"),
    tmpfs("/proc/sys"),
    tmpfs("/proc/1/attr"),
    bind("/proc/self/sched", "/proc/self/attr/exec"),
    bind("/proc/self/sched", "/proc/thread-self/attr/current"),
    bind("/bin", "/proc/sys/kernel"),
    bind("/bin/busybox", "/proc/sysrq-trigger"),
)


@pytest.mark.parametrize("fake", FAKES, ids=lambda one: str(one["destination"]))
@pytest.mark.parametrize("detour", [False, True])
def test_p7_nothing_redirects_what_is_written_to_the_procfs(
    target: Target, fake: dict[str, Any], detour: bool
) -> None:
    mount = dict(fake)
    if detour:
        target.link("detour", "proc")
        mount["destination"] = fake["destination"].replace("/proc/", "/detour/")
    config = target.config("/bin/true", mounts=[PROC, mount])
    config["linux"]["sysctl"] = {"kernel.shm_rmid_forced": "1"}
    created, text = target.attack(config)
    assert not created
    assert "/mounts/1" in text


def test_p7_a_sysctl_is_set_whatever_is_mounted_first(target: Target) -> None:
    """The procfs that is written to is not the one of the config."""
    config = target.shell("busybox cat /elsewhere/sys/kernel/shm_rmid_forced")
    config["mounts"] = [{"destination": "/elsewhere", "type": "proc", "source": "proc"}]
    config["linux"]["sysctl"] = {"kernel.shm_rmid_forced": "1"}
    target.link("proc", "/tmp")
    created, text = target.attack(config)
    assert created
    assert text == "1\n"


HELPERS = (
    ".krun_config.json",
    "etc/hostname",
    "etc/hosts",
    "etc/resolv.conf",
    "run/.containerenv",
    ".dockerenv",
)


@pytest.mark.parametrize("to", ["secret", "new"])
def test_p14_no_helper_file_is_written_into_the_image(target: Target, to: str) -> None:
    """Annotations that make other runtimes write files mean nothing here."""
    for name in HELPERS:
        target.link(name, target.sentinel / to)
    config = target.config("/bin/true")
    config["annotations"] = {
        "run.oci.handler": "krun",
        "run.oci.hooks.stdout": str(target.sentinel / to),
        "run.oci.keep_original_groups": "1",
        "run.oci.mount_context_type": "rootcontext",
        "krun.cpus": "4",
        "org.opencontainers.runc.exec.isolated-cpu-affinity": "0",
    }
    created, text = target.attack(config)
    assert created, text
    assert all(target.image(name).is_symlink() for name in HELPERS)


@pytest.mark.parametrize("uid", [0, 1000])
@pytest.mark.parametrize("dev", ["image", "tmpfs"])
def test_p11_standard_input_stays_what_it_was(target: Target, uid: int, dev: str) -> None:
    target.link("dev/null", "/bound")
    target.image("bound").touch()
    script = "echo $(readlink /proc/self/fd/0); echo x >&0; stat -c %u:%g /bound"
    mounts = [PROC, bind(target.sentinel / "null", "/bound"), *([DEV] if dev == "tmpfs" else [])]
    config = target.shell(script, mounts=mounts)
    config["process"]["user"] = {"uid": uid, "gid": uid}
    created, text = target.attack(config)
    # What the image has in place of a default device is an error, and never followed.
    assert created == (dev == "tmpfs"), text
    if created:
        assert text.startswith("/dev/null\n")
        assert "12:34" in text


def _default(target: Target, script: str) -> dict[str, Any]:
    made = default_config()
    made["process"] |= {"terminal": False, "args": ["/bin/busybox", "sh", "-c", script], "env": ["PATH=/bin"]}
    made["linux"]["cgroupsPath"] = f"/{target.name}/box"
    made["linux"]["resources"]["pids"] = {"limit": 32}
    return made


DANGEROUS = (
    "/proc/sysrq-trigger",
    "/proc/sys/kernel/core_pattern",
    "/proc/sys/kernel/modprobe",
    "/proc/sys/kernel/hotplug",
    "/proc/sys/vm/panic_on_oom",
    "/proc/irq/default_smp_affinity",
    "/proc/bus/pci/devices",
    "/sys/kernel/uevent_helper",
    "/sys/kernel/mm/ksm/run",
    "/sys/fs/cgroup/release_agent",
    "/sys/fs/cgroup/devices/devices.allow",
    "/sys/fs/cgroup/cgroup.procs",
)


def test_p15_k2_the_default_config_leaves_no_way_to_the_hosts_kernel(target: Target) -> None:
    masked = default_config()["linux"]["maskedPaths"]
    script = "\n".join(
        [
            f'for f in {" ".join(DANGEROUS)}; do echo 0 2>/dev/null >"$f" && echo "wrote $f"; done',
            f"for f in {' '.join(masked)}; do",
            '  if [ -d "$f" ]; then ls -A "$f"; elif [ -e "$f" ]; then head -c 10 "$f"; fi',
            "done",
            "for f in $(find /sys -name release_agent -o -name uevent_helper 2>/dev/null); do",
            '  echo 0 2>/dev/null >"$f" && echo "wrote $f"',
            "done",
            "echo end",
        ]
    )
    created, text = target.attack(powerful(_default(target, script)))
    assert created, text
    assert text == "end\n"


@pytest.mark.parametrize("kind", LINKS)
@pytest.mark.parametrize("mount", default_config()["mounts"], ids=lambda one: str(one["destination"]))
def test_p15_a_link_at_a_default_mount_point_leads_nowhere(
    target: Target, mount: dict[str, Any], kind: str
) -> None:
    name = mount["destination"].lstrip("/")
    for parent in Path(name).parents:
        if str(parent) != "." and not target.image(str(parent)).is_dir():
            target.image(str(parent)).mkdir(parents=True)
    target.link(name, target.goal(kind, name))
    created, text = target.attack(_default(target, "true"))
    assert created or "/mounts/" in text or "/linux/devices" in text


NUMBERS = (3, 4, 5, 7, 10, 20, 50)


@pytest.mark.parametrize(
    "source",
    [
        *(f"/proc/self/fd/{number}" for number in NUMBERS),
        *(f"/dev/fd/{number}" for number in NUMBERS),
        "/proc/self/root",
        "/proc/self/exe",
        "/proc/self/cwd",
        "/proc/self/root/etc",
        "/proc/1/root",
        "/dev/stdin",
    ],
)
def test_p18_a_source_names_no_descriptor_of_the_runtime(target: Target, source: str) -> None:
    target.image("data").mkdir()
    created, text = target.attack(target.config("/bin/true", mounts=[PROC, bind(source, "/data")]))
    assert not created
    assert "/mounts/1/source" in text


def test_p19_tmpcopyup_takes_a_hostile_directory(target: Target) -> None:
    place = target.image("data")
    place.mkdir()
    (place / "link").symlink_to(target.sentinel / "secret")
    (place / "linked").symlink_to(target.sentinel)
    os.mkfifo(place / "fifo")
    os.mknod(place / "disk", 0o666 | stat.S_IFBLK, os.makedev(8, 0))
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(place / "socket"))
    (place / "setuid").write_text("#!/bin/sh\n")
    (place / "setuid").chmod(0o4755)
    with (place / "sparse").open("wb") as file:
        file.truncate(1 << 40)
    os.link(place / "setuid", place / "again")
    (place / "deep").joinpath(*["d"] * 60).mkdir(parents=True)
    for number in range(3000):
        (place / f"file{number:04}").touch()
    script = """
        ls /data | wc -l
        ls /data/deep
        stat -c %a /data/setuid
        stat -c %s /data/sparse
        readlink /data/link
        [ -e /data/disk ] || echo no disk
        echo x >/data/link || true
    """
    mount = tmpfs("/data") | {"options": ["tmpcopyup", "size=8m"]}
    created, text = target.attack(target.shell(script, mounts=[PROC, mount]))
    assert created, text
    lines = text.splitlines()
    assert lines[:6] == ["3007", "d", "4755", str(1 << 40), str(target.sentinel / "secret"), "no disk"]


def test_p19_too_much_to_copy_is_an_error_that_says_so(target: Target) -> None:
    place = target.image("data")
    place.mkdir()
    directory = os.open(place, os.O_PATH)
    try:
        for number in range(100_001):
            os.mknod(f"{number}", 0o600 | stat.S_IFREG, dir_fd=directory)
    finally:
        os.close(directory)
    mount = tmpfs("/data") | {"options": ["tmpcopyup"]}
    created, text = target.attack(target.config("/bin/true", mounts=[PROC, mount]))
    assert not created
    assert "tmpcopyup" in text
    assert "too many files" in text
    (place / "big").write_bytes(b"x" * 200_000)
    for number in range(100_001):
        (place / f"{number}").unlink()
    mount["options"].append("size=64k")
    created, text = target.attack(target.config("/bin/true", mounts=[PROC, mount]))
    assert not created
    assert "does not fit" in text


@pytest.mark.parametrize("value", [None, "shared", "slave", "private", "unbindable", "rshared", "rslave"])
@pytest.mark.parametrize(("namespace", "flags"), [(True, ()), (True, ("--no-pivot",)), (False, ())])
def test_p20_the_hosts_mounts_keep_their_propagation(
    target: Target, namespace: bool, flags: tuple[str, ...], value: str | None
) -> None:
    """On a host whose mounts are all shared, as systemd leaves them."""
    config = target.shell("true", mounts=[PROC, tmpfs("/tmp"), bind(target.sentinel, "/etc")])
    if value is not None:
        config["linux"]["rootfsPropagation"] = value
    if not namespace:
        config["linux"]["namespaces"] = [{"type": kind} for kind in NAMESPACES if kind != "mount"]
        if value is not None:
            created, text = target.attack(config)
            assert not created
            assert "/linux/rootfsPropagation" in text
            return

    def on_a_shared_host() -> Any:
        top = os.open("/", os.O_PATH)
        syscalls.mount_setattr(top, propagation=syscalls.MS_SHARED, recursive=True)
        target._mounts = mounts()
        before = sorted(target._mounts)
        assert all(" shared:" in line for line in before)
        created, text = target.attack(config, *flags)
        return [created, text, before == sorted(mounts())]

    created, text, same = in_child(on_a_shared_host)
    assert created, text
    assert same


CGROUPS = {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup"}
_TRY = """
found=0
for f in $(find /sys/fs/cgroup -type f 2>/dev/null); do
  found=1
  echo 0 2>/dev/null >>"$f" && echo "wrote $f"
done
for d in $(find /sys/fs/cgroup -maxdepth 1 -type d 2>/dev/null); do
  mkdir "$d/made" 2>/dev/null && echo "made $d/made"
done
find /sys/fs/cgroup -name release_agent 2>/dev/null
echo "found $found"
"""


def _cgroup_config(target: Target, script: str, *, own: bool, user: bool) -> dict[str, Any]:
    kinds = [kind for kind in NAMESPACES if own or kind != "cgroup"]
    config = powerful(target.shell(script))
    config["linux"]["namespaces"] = [{"type": kind} for kind in (*kinds, *(("user",) if user else ()))]
    if user:
        config["linux"] |= {"uidMappings": IDS, "gidMappings": IDS}
        for at, directories, files in os.walk(target.rootfs):
            for name in (".", *directories, *files):
                os.lchown(os.path.join(at, name), 100_000, 100_000)
    return config


@pytest.mark.every_lane
@pytest.mark.parametrize("user", [False, True])
@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize("way", ["cgroup", "sysfs and cgroup", "rbind of /sys", "rbind of the cgroups"])
def test_k1_k2_read_only_cgroups_are_so_all_the_way_down(
    target: Target, way: str, own: bool, user: bool
) -> None:
    config = _cgroup_config(target, _TRY, own=own, user=user)
    readonly = {"options": ["nosuid", "noexec", "nodev", "ro"]}
    rbind = {"type": "none", "options": ["rbind", "ro"]}
    ways: dict[str, list[dict[str, Any]]] = {
        "cgroup": [CGROUPS | readonly],
        "sysfs and cgroup": [SYS, CGROUPS | readonly],
        "rbind of /sys": [{"destination": "/sys", "source": "/sys"} | rbind],
        "rbind of the cgroups": [{"destination": "/sys/fs/cgroup", "source": "/sys/fs/cgroup"} | rbind],
    }
    config["mounts"] = [PROC, DEV, *ways[way]]
    created, text = target.attack(config)
    assert created, text
    lines = text.splitlines()
    assert lines[-1] == "found 1"
    # With all of the host's hierarchies in view there is a release agent, which cannot be written to.
    assert [line for line in lines[:-1] if not line.endswith("/release_agent") or "wrote" in line] == []
    if "rbind" not in way:
        assert len(lines) == 1


@pytest.mark.every_lane
@pytest.mark.parametrize("user", [False, True])
@pytest.mark.parametrize("own", [False, True])
def test_k2_writable_cgroups_are_the_containers_own(target: Target, own: bool, user: bool) -> None:
    script = "find /sys/fs/cgroup -name release_agent 2>/dev/null; cat /proc/self/mountinfo"
    config = _cgroup_config(target, script, own=own, user=user)
    config["mounts"] = [PROC, DEV, CGROUPS | {"options": ["rw"]}]
    created, text = target.attack(config)
    assert created, text
    roots = re.findall(r"^\S+ \S+ \S+ (\S+) /sys/fs/cgroup\S* .* - cgroup2? ", text, re.MULTILINE)
    assert roots
    expected = {"/"} if own else {f"/{target.name}/box"}
    assert set(roots) == expected
    assert not re.search(r"^/sys/fs/cgroup/.*release_agent$", text, re.MULTILINE)


@pytest.mark.parametrize("dev", [[], [DEV], [DEV, PTS]], ids=["image", "dev", "dev and pts"])
@pytest.mark.parametrize("option", ["ro", "rro"])
def test_a_read_only_dev_has_its_devices(target: Target, dev: list[dict[str, Any]], option: str) -> None:
    mount = tmpfs("/dev") | {"options": ["mode=755", option]}
    script = "echo x >/dev/null && echo null; echo x 2>/dev/null >/dev/new || echo refused; ls /dev/fd/0"
    created, text = target.attack(target.shell(script, mounts=[PROC, *dev, mount]))
    assert created, text
    assert text == "null\nrefused\n/dev/fd/0\n"
