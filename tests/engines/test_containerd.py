"""containerd on orlop, driven by ctr: what its shim asks of a runtime, and what comes of it."""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.engines import features
from tests.engines.conftest import orlop_command
from tests.engines.containerd import RUNTIME, Containerd
from tests.engines.daemon import PATIENCE, fifty_in_a_row_and_twenty_at_once, members, nothing_left, until
from tests.engines.terminal import Session


@pytest.fixture(scope="module")
def daemons() -> Iterator[dict[bool, Containerd]]:
    """Provide the daemons that have been started, by whether they are newer than the distribution's."""
    started: dict[bool, Containerd] = {}
    yield started
    for engine in started.values():
        engine.close()


@pytest.fixture
def containerd(daemons: dict[bool, Containerd], request: pytest.FixtureRequest) -> Iterator[Containerd]:
    """Provide containerd; whatever a test has done, nothing of it is left."""
    driver, newer = getattr(request, "param", ("cgroupfs", False))
    if newer not in daemons:
        daemons[newer] = Containerd(orlop_command(), newer=newer)
    engine = daemons[newer]
    # One daemon serves both: who makes the cgroups is said with each container.
    engine.driver = driver
    before = engine.left()
    yield engine
    engine.clear()
    nothing_left(before, engine.left)


_HAS_NEWER = pytest.mark.needs("newer:containerd")
_SYSTEMD = pytest.mark.needs("systemd", "cgroup-v2")
_FILES = pytest.param(("cgroupfs", False), id="cgroupfs")
# Each lane has cgroups of another version.
_EVERYWHERE = pytest.param(("cgroupfs", False), id="cgroupfs", marks=pytest.mark.every_lane)
_BY_SYSTEMD = pytest.param(("systemd", False), id="systemd", marks=_SYSTEMD)
_NEWER = pytest.param(("cgroupfs", True), id="newer", marks=_HAS_NEWER)
_NEWER_BY_SYSTEMD = pytest.param(("systemd", True), id="systemd-newer", marks=[_SYSTEMD, _HAS_NEWER])

newer_only = pytest.mark.parametrize("containerd", [_NEWER], indirect=True)
newer_too = pytest.mark.parametrize("containerd", [_FILES, _NEWER], indirect=True)
everywhere = pytest.mark.parametrize("containerd", [_EVERYWHERE, _NEWER], indirect=True)
all_ways = pytest.mark.parametrize(
    "containerd", [_EVERYWHERE, _BY_SYSTEMD, _NEWER, _NEWER_BY_SYSTEMD], indirect=True
)


@newer_only
def test_the_shim_sees_the_features_of_the_runtime(containerd: Containerd) -> None:
    def seen(runtime: str) -> dict[str, Any]:
        # containerd starts the shim with -info, the options on its standard input.
        told = containerd.call(
            "plugins", "inspect-runtime", f"--runtime={RUNTIME}", f"--runc-binary={runtime}"
        )
        found: dict[str, Any] = json.loads(told)
        assert found["Options"] == {"binary_name": runtime}
        return found

    ours = seen(orlop_command())["Features"]
    assert ours == features.known(features.own(), ours)
    assert {"rro", "idmap", "ridmap"} < set(ours["mountOptions"])
    assert ours["linux"]["mountExtensions"] == {"idmap": {"enabled": True}}
    assert "user" in ours["linux"]["namespaces"]
    assert ours["annotations"]["org.opencontainers.runc.checkpoint.enabled"] == "true"
    if runc := shutil.which("runc"):
        theirs = seen(runc)["Features"]
        assert "rro" in theirs["mountOptions"]
        # What an engine may look for in runc's document it finds in ours.
        assert theirs.keys() <= ours.keys()
        assert theirs["linux"].keys() <= ours["linux"].keys()
        assert set(theirs["linux"]["namespaces"]) <= set(ours["linux"]["namespaces"])


@everywhere
def test_a_container_runs_and_its_output_arrives(containerd: Containerd) -> None:
    # It ends only when all has arrived. The shim (copyPipes in its process/io.go, of 1.6 as of 2) gives the
    # copier of standard output the file itself, that of standard error a counted handle on it: the end of the
    # one closes the file for both. Under load it lost the errors of 9 containers of 200 with runc, and of 19
    # with orlop.
    script = "trap 'exit 7' USR1; echo out; echo err >&2; while :; do sleep 0.05; done"
    out = containerd.scratch / "both"
    containerd.start("one", "sh", "-c", script, options=(f"--log-uri=file://{out}",))
    until(lambda: out.exists() and sorted(out.read_text().split()) == ["err", "out"], containerd.log)
    containerd.call("tasks", "kill", "--signal=SIGUSR1", "one")
    containerd.stopped("one")
    assert "exit code 7" in containerd.ctr("tasks", "delete", "one").stderr


@newer_too
def test_pipes_lead_to_the_container_and_from_it(containerd: Containerd) -> None:
    # ctr of this version does not pass the end of its input on.
    script = "echo err >&2; head -c 100000 | wc -c; read word; exit 7"
    command = containerd.client(*containerd.command("one", "sh", "-c", script, options=("--rm",)))
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe) as process:
        assert process.stdin
        assert process.stdout
        assert process.stderr
        process.stdin.write(b"x" * 100_000)
        process.stdin.flush()
        assert process.stdout.readline() == b"100000\n"
        assert process.stderr.readline() == b"err\n"
        process.stdin.write(b"end\n")
        process.stdin.flush()
        assert process.wait(PATIENCE) == 7


@newer_too
def test_a_terminal_reaches_the_container(containerd: Containerd) -> None:
    # The client tells the size only once the program runs.
    script = "tty; until stty size | grep .; do sleep 0.05; done; read word; echo got $word; exit 5"
    command = containerd.client(*containerd.command("one", "sh", "-c", script, options=("--rm", "--tty")))
    with Session(command) as session:
        session.until(b"33 77")
        session.type(b"hello\r")
        session.until(b"got hello")
        assert session.end() == 5
    assert b"/dev/pts/0" in session.shown


@all_ways
def test_the_life_of_a_task(containerd: Containerd) -> None:
    pid = containerd.start("one", "sh", "-c", "sleep 1000 & exec sleep 1001")
    assert containerd.tasks() == {"one": (pid, "RUNNING")}
    group = containerd.group("one", "pids")
    until(lambda: len(members(group)) == 2, lambda: members(group))
    listed = {int(line.split()[0]) for line in containerd.call("tasks", "ps", "one").splitlines()[1:]}
    assert pid in listed
    assert listed == members(group)
    containerd.call("tasks", "pause", "one")
    assert containerd.status("one") == "PAUSED"
    containerd.call("tasks", "resume", "one")
    assert containerd.status("one") == "RUNNING"
    containerd.call("tasks", "kill", "--signal=SIGKILL", "one")
    containerd.stopped("one")
    assert "exit code 137" in containerd.ctr("tasks", "delete", "one").stderr
    containerd.call("containers", "delete", "one")


def _exec(containerd: Containerd, script: str, *options: str) -> tuple[int, str]:
    """Run a script in the task ``one`` and return its exit status and what it has written."""
    command = ("tasks", "exec", "--exec-id=second", *options, "one", "sh", "-c")
    name = f"/tmp/out-{len(options)}"
    status = containerd.ctr(*command, f"({script}) >{name} 2>&1").returncode
    return status, containerd.daemon.inside(f"/proc/{containerd.pid('one')}/root{name}").read_text()


@newer_too
def test_commands_in_a_running_task(containerd: Containerd) -> None:
    containerd.start("one", "sleep", "1000")
    assert _exec(containerd, "echo out; echo err >&2; exit 7") == (7, "out\nerr\n")
    assert _exec(containerd, "id -u; pwd", "--user=1000", "--cwd=/tmp") == (0, "1000\n/tmp\n")
    for program, words in (
        ("no-such-program", "executable file not found in $PATH"),
        ("/etc/plain", "permission denied"),
    ):
        done = containerd.ctr("tasks", "exec", "--exec-id=second", "one", program)
        assert done.returncode == 1
        assert "OCI runtime exec failed: " in done.stderr
        assert words in done.stderr


@everywhere
def test_a_second_process_of_a_task_lives_and_dies_alone(containerd: Containerd) -> None:
    first = containerd.start("one", "sleep", "1000")
    containerd.call("tasks", "exec", "--detach", "--exec-id=second", "one", "sleep", "1001")
    group = containerd.group("one", "pids")
    assert len(members(group)) == 2
    containerd.call("tasks", "kill", "--exec-id=second", "--signal=SIGKILL", "one")
    until(lambda: members(group) == {first}, lambda: members(group))
    assert containerd.status("one") == "RUNNING"


@newer_too
def test_a_command_with_a_terminal_in_a_running_task(containerd: Containerd) -> None:
    containerd.start("one", "sleep", "1000")
    script = "tty; read word; echo got $word; exit 5"
    command = ("tasks", "exec", "--tty", "--exec-id=second", "one", "sh", "-c", script)
    with Session(containerd.client(*command)) as session:
        session.until(b"/dev/pts/")
        session.type(b"hello\r")
        session.until(b"got hello")
        assert session.end() == 5


@all_ways
def test_limits_reach_the_kernel_and_the_shim_reads_what_is_used(containerd: Containerd) -> None:
    limits = (f"--memory-limit={64 << 20}", "--cpus=0.5", "--cpu-shares=300")
    containerd.start("one", "sleep", "1000", options=limits)
    metrics = containerd.metrics("one")
    group = containerd.group("one", "cpu")
    if (group / "cpu.max").exists():
        assert metrics["memory"]["usage_limit"] == 64 << 20
        assert metrics["pids"]["current"] == 1
        assert metrics["cpu"]["usage_usec"] > 0
        assert (group / "cpu.max").read_text().split() == ["50000", "100000"]
    else:
        assert metrics["memory"]["usage"]["limit"] == 64 << 20
        assert metrics["pids"] == {"current": 1}
        assert metrics["cpu"]["usage"]["total"] > 0
        found = [(group / f"cpu.{name}").read_text().strip() for name in ("cfs_quota_us", "shares")]
        assert found == ["50000", "300"]


@newer_too
def test_signals_go_to_the_task(containerd: Containerd) -> None:
    script = "trap 'exit 9' USR1; echo up; while :; do sleep 0.05; done"
    containerd.start("one", "sh", "-c", script, options=(f"--log-uri=file://{containerd.scratch}/out",))
    until(lambda: "up" in containerd.daemon.inside(f"{containerd.scratch}/out").read_text(), containerd.log)
    containerd.call("tasks", "kill", "--signal=SIGUSR1", "one")
    containerd.stopped("one")
    assert "exit code 9" in containerd.ctr("tasks", "delete", "one").stderr


@newer_too
def test_all_processes_of_a_task_can_be_killed(containerd: Containerd) -> None:
    # Without a pid namespace of its own, the end of the first process does not end the others.
    spec = (f"--with-ns=pid:/proc/{os.getpid()}/ns/pid",)
    containerd.start("one", "sh", "-c", "sleep 1000 & exec sleep 1001", options=spec)
    group = containerd.group("one", "pids")
    until(lambda: len(members(group)) == 2, lambda: members(group))
    containerd.call("tasks", "kill", "--all", "--signal=SIGKILL", "one")
    containerd.stopped("one")
    # The task is its first process; that the other is gone from the cgroup nobody has waited for.
    until(lambda: members(group) == set(), lambda: members(group))


@newer_too
def test_a_running_task_is_deleted_by_force(containerd: Containerd) -> None:
    containerd.start("one", "sleep", "1000")
    refused = containerd.ctr("tasks", "delete", "one")
    assert refused.returncode == 1
    assert "must be stopped before deletion" in refused.stderr
    containerd.ctr("tasks", "delete", "--force", "one")
    assert containerd.tasks() == {}


@newer_too
def test_what_has_ended_is_not_found(containerd: Containerd) -> None:
    containerd.start("one", "true")
    containerd.stopped("one")
    done = containerd.ctr("tasks", "kill", "one")
    assert done.returncode == 1
    assert "process already finished: not found" in done.stderr


@pytest.mark.parametrize(
    ("program", "words"),
    [
        ("no-such-program", "executable file not found in $PATH"),
        ("/no/such/program", "no such file or directory"),
        ("/etc/plain", "permission denied"),
    ],
)
@newer_too
def test_a_program_that_cannot_run_is_the_shims_error(
    containerd: Containerd, program: str, words: str
) -> None:
    status, said = containerd.run("one", program)
    assert status == 1
    # The shim finds this in the runtime's log, as one JSON object a line.
    assert "OCI runtime create failed: " in said
    assert words in said


@newer_too
def test_mounts_and_their_recursive_options(containerd: Containerd) -> None:
    place = containerd.scratch / "volume"
    place.mkdir(exist_ok=True)
    mounts = (
        f"--mount=type=bind,src={place},dst=/rw,options=rbind:rw",
        f"--mount=type=bind,src={containerd.scratch},dst=/rro,options=rbind:rro",
        "--mount=type=tmpfs,dst=/t,options=size=1m",
    )
    script = "exec 2>&1; echo data >/rw/file; touch /rro/volume/no; grep ' /t ' /proc/mounts"
    status, shown = containerd.run("one", "sh", "-c", script, options=mounts)
    assert status == 0, shown
    assert "size=1024k" in shown
    assert "touch: /rro/volume/no: Read-only file system" in shown
    assert (place / "file").read_text() == "data\n"


@newer_too
def test_a_read_only_root_environment_directory_and_confinement(containerd: Containerd) -> None:
    script = "exec 2>&1; touch /x; pwd; echo $WORD; grep -E 'Seccomp:|NoNewPrivs' /proc/self/status"
    options = ("--read-only", "--cwd=/home", "--env=WORD=value", "--seccomp")
    _, shown = containerd.run("one", "sh", "-c", script, options=options)
    lines = shown.splitlines()
    lines.remove("touch: /x: Read-only file system")
    assert " ".join(lines).split() == ["/home", "value", "NoNewPrivs:", "1", "Seccomp:", "2"]


@newer_too
def test_root_of_a_user_namespace_is_nobody_special(containerd: Containerd) -> None:
    maps = ("--uidmap=0:100000:2000", "--gidmap=0:100000:2000")
    pid = containerd.start("one", "sleep", "1000", options=maps)
    # With these options ctr 1 forgets the others, and asks for "runc", which is orlop here.
    root = "/run/rt" if containerd.newer else "/run/containerd/runc"
    assert containerd.daemon.inside(f"{root}/default/one/record.json").exists()
    status = Path(f"/proc/{pid}/status").read_text()
    assert "\nUid:\t100000\t100000\t100000\t100000\n" in status


@newer_too
def test_a_privileged_container_may_mount(containerd: Containerd) -> None:
    options = ("--privileged", "--net-host")
    assert containerd.run("one", "mount", "-t", "tmpfs", "none", "/tmp", options=options) == (0, "")


@newer_too
def test_the_events_of_a_life_are_told(containerd: Containerd) -> None:
    told = containerd.scratch / "events"
    with (
        told.open("wb") as file,
        subprocess.Popen(containerd.client("events"), stdout=file, stdin=subprocess.DEVNULL) as listening,
    ):
        try:
            # Nobody knows when ctr has subscribed: what is done until it tells something is not for it.
            prod = ("namespaces", "label", "default", "turn=1")
            until(lambda: containerd.call(*prod) == "" and told.stat().st_size, containerd.log)
            containerd.run("one", "true")
            last = "/containers/delete" if containerd.newer else "/tasks/delete"
            until(lambda: last in told.read_text(), told.read_text)
        finally:
            listening.kill()
    topics = [word for word in told.read_text().split() if word.startswith("/tasks/")]
    assert topics[:3] == ["/tasks/create", "/tasks/start", "/tasks/exit"]
    # The shim of containerd 2 may end before it has told of the deletion: with runc it lost 36 of 100.
    assert topics[3:] == ["/tasks/delete"] or (containerd.newer and not topics[3:])


@newer_too
def test_a_killed_shim_takes_its_container_with_it(containerd: Containerd) -> None:
    before = containerd.daemon.processes()
    pid = containerd.start("one", "sleep", "1000")
    shims = [one for one in containerd.daemon.processes() - before if "containerd-shim" in one]
    assert len(shims) == 1
    process = os.pidfd_open(pid)
    os.kill(int(shims[0].split()[0]), signal.SIGKILL)
    # containerd notices, and starts another shim that asks the runtime to delete by force.
    assert select.select([process], [], [], PATIENCE)[0]
    os.close(process)


def test_fifty_in_a_row_and_twenty_at_once_leave_nothing(containerd: Containerd) -> None:
    """The fixture looks for what is left."""

    def one(number: int) -> tuple[int, str]:
        return containerd.run(f"c{number}", "sh", "-c", f"echo {number}; exit 3")

    fifty_in_a_row_and_twenty_at_once(one)
