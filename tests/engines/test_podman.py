"""podman on orlop: the flows that a user runs first."""

from __future__ import annotations

import json
import re
from pathlib import Path

from tests.engines.conftest import Podman
from tests.engines.daemon import until


def test_a_container_runs_and_its_output_arrives(podman: Podman) -> None:
    done = podman.run("sh", "-c", "echo out; echo err >&2", options=("--rm",))
    assert (done.returncode, done.stdout, done.stderr) == (0, "out\n", "err\n")


def test_the_exit_status_is_the_programs(podman: Podman) -> None:
    assert podman.run("sh", "-c", "exit 37", options=("--rm",)).returncode == 37
    started = podman.run("sleep", "1000", options=("--detach", "--name=one"))
    assert started.returncode == 0, started.stderr
    assert podman.call("kill", "--signal=KILL", "one").returncode == 0
    assert podman.call("wait", "one").stdout.strip() == "137"


def test_a_missing_program_is_127_and_one_without_permission_126(podman: Podman) -> None:
    missing = podman.run("no-such-program", options=("--rm",))
    assert missing.returncode == 127, missing.stderr
    assert "executable file not found in" in missing.stderr
    (podman.scratch / "rootfs/plain").write_text("data")
    denied = podman.run("/plain", options=("--rm",))
    assert denied.returncode == 126, denied.stderr


def _limits(podman: Podman, name: str) -> tuple[str, str]:
    """Return the kernel's limits of a container: processes and bytes of memory."""
    inspected = json.loads(podman.call("inspect", name).stdout)[0]
    groups = dict(
        line.split(":", 2)[1:]
        for line in Path(f"/proc/{inspected['State']['Pid']}/cgroup").read_text().splitlines()
    )
    if "pids" in groups:
        pids = Path(f"/sys/fs/cgroup/pids{groups['pids']}/pids.max")
        memory = Path(f"/sys/fs/cgroup/memory{groups['memory']}/memory.limit_in_bytes")
    else:
        pids = Path(f"/sys/fs/cgroup{groups['']}/pids.max")
        memory = Path(f"/sys/fs/cgroup{groups['']}/memory.max")
    return pids.read_text().strip(), memory.read_text().strip()


def test_limits_reach_the_kernel_and_can_be_changed(podman: Podman) -> None:
    done = podman.run("sleep", "1000", options=("--detach", "--memory=64m", "--pids-limit=17"))
    assert done.returncode == 0, done.stderr
    ident = done.stdout.strip()
    assert _limits(podman, ident) == ("17", str(64 << 20))
    changed = podman.call("update", "--memory=96m", "--memory-swap=96m", ident)
    assert changed.returncode == 0, changed.stderr
    assert _limits(podman, ident) == ("17", str(96 << 20))
    assert podman.call("rm", "--force", "--time=0", ident).returncode == 0


def test_the_engines_confinement_is_applied(podman: Podman) -> None:
    done = podman.run("cat", "/proc/self/status", options=("--rm", "--user=1000:1000"))
    assert done.returncode == 0, done.stderr
    facts = dict(re.findall(r"(?m)^(\w+):\s*(.*)$", done.stdout))
    assert facts["Seccomp"] == "2"
    assert facts["CapEff"] == "0" * 16
    assert facts["Uid"].split() == ["1000"] * 4


def test_a_read_only_root_refuses_writes(podman: Podman) -> None:
    done = podman.run("touch", "/x", options=("--rm", "--read-only"))
    assert done.returncode == 1
    assert "Read-only file system" in done.stderr


def test_volumes_tmpfs_and_host_name(podman: Podman, tmp_path: Path) -> None:
    volume = tmp_path / "volume"
    volume.mkdir()
    script = "cat /proc/mounts | grep ' /t '; hostname; echo written > /v/file"
    done = podman.run(
        "sh", "-c", script, options=("--rm", f"--volume={volume}:/v", "--tmpfs=/t:size=1m", "--hostname=box")
    )
    assert done.returncode == 0, done.stderr
    assert "size=1024k" in done.stdout
    assert done.stdout.splitlines()[-1] == "box"
    assert (volume / "file").read_text() == "written\n"


def test_stop_kill_and_remove(podman: Podman) -> None:
    script = "trap 'exit 3' TERM; touch /trapped; while :; do sleep 0.1; done"
    done = podman.run("sh", "-c", script, options=("--detach", "--name=one"))
    assert done.returncode == 0, done.stderr
    # The first process of a pid namespace ignores a signal for which it has no handler yet.
    trapped = podman.scratch / "rootfs/trapped"
    until(trapped.exists, lambda: podman.call("ps", "--all"))
    assert podman.call("stop", "--time=120", "one").returncode == 0
    assert podman.call("wait", "one").stdout.strip() == "3"
    assert podman.call("rm", "one").returncode == 0
    assert podman.call("ps", "--all", "--quiet").stdout == ""


def test_a_terminal_reaches_the_container(podman: Podman) -> None:
    done = podman.run(
        "sh",
        "-c",
        "[ -t 0 ] && [ -t 1 ] && ls -l /proc/self/fd/0",
        options=("--rm", "--tty", "--log-driver=k8s-file"),
    )
    assert done.returncode == 0, done.stderr
    assert "/dev/pts/0" in done.stdout
