"""podman with orlop as its configured runtime: what an operator does in the course of a day."""

from __future__ import annotations

import json
import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.engines import image
from tests.engines.conftest import orlop_command
from tests.engines.daemon import PATIENCE, fifty_in_a_row_and_twenty_at_once, nothing_left, until
from tests.engines.store import Store
from tests.engines.terminal import Session
from tests.engines.world import Manager


@pytest.fixture(scope="module")
def store() -> Iterator[Store]:
    engine = Store(orlop_command())
    yield engine
    engine.close()


@pytest.fixture
def podman(store: Store) -> Iterator[Store]:
    """Provide podman; whatever a test has done, nothing of it is left."""
    before = store.left()
    yield store
    store.clear()
    nothing_left(before, store.left)


def test_info_shows_the_runtime(podman: Store) -> None:
    shown = json.loads(podman.call("info", "--format={{json .Host.OCIRuntime}}"))
    assert (shown["name"], shown["path"]) == ("orlop", orlop_command())
    assert shown["version"].startswith("orlop version ")
    assert "\nspec: 1.3.0" in shown["version"]


def test_a_terminal_reaches_the_container_and_follows_its_size(podman: Store) -> None:
    script = """trap 'stty size' WINCH; tty; until stty size | grep .; do sleep 0.05; done
        read word; echo got $word; while ! stty size | grep '44 88'; do sleep 0.05; done; exit 5"""
    options = ("--rm", "--interactive", "--tty")
    with Session(podman.client(*podman.command("sh", "-c", script, options=options))) as session:
        session.until(b"33 77")
        session.type(b"hello\r")
        session.until(b"got hello")
        session.resize(44, 88)
        session.until(b"44 88")
        assert session.end() == 5
    assert b"/dev/pts/0" in session.shown


def test_a_pipe_reaches_the_container_with_its_end(podman: Store) -> None:
    options = ("--rm", "--interactive")
    done = podman.run("sh", "-c", "wc -c; echo end", options=options, feed="x" * 100_000)
    assert (done.returncode, done.stdout.split()) == (0, ["100000", "end"]), done


def test_detached_with_logs(podman: Store) -> None:
    script = "trap 'echo down; exit 3' TERM; echo err >&2; echo up; while :; do sleep 0.05; done"
    podman.start("one", "sh", "-c", script, options=("--log-driver=k8s-file",))
    until(lambda: "up" in podman.call("logs", "one"), lambda: podman.inspect("one"))
    podman.call("stop", "--time=120", "one")
    done = podman.ask("logs", "one")
    assert (done.stdout, done.stderr) == ("up\ndown\n", "err\n")
    assert podman.inspect("one")["State"]["ExitCode"] == 3
    podman.call("start", "one")
    podman.call("kill", "--signal=KILL", "one")
    assert podman.call("wait", "one") == "137"
    podman.call("rm", "one")


def test_commands_in_a_running_container(podman: Store) -> None:
    podman.start("one", "sleep", "1000")
    done = podman.ask("exec", "one", "sh", "-c", "echo out; echo err >&2; exit 7")
    assert (done.returncode, done.stdout, done.stderr) == (7, "out\n", "err\n")
    options = ("--user=plain", "--workdir=/tmp", "--env=WORD=value")
    shown = podman.call("exec", *options, "one", "sh", "-c", "id -u; pwd; echo $WORD")
    assert shown.split() == [str(image.PLAIN), "/tmp", "value"]
    fed = podman.ask("exec", "--interactive", "one", "wc", "-c", feed="x" * 1000)
    assert (fed.returncode, fed.stdout.strip()) == (0, "1000")
    podman.call("exec", "--detach", "one", "touch", "/made")
    until(lambda: podman.ask("exec", "one", "test", "-e", "/made").returncode == 0, podman.left)
    for program, status in (("no-such-program", 127), ("/etc/plain", 126)):
        assert podman.ask("exec", "one", program).returncode == status


def test_a_command_with_a_terminal_in_a_running_container(podman: Store) -> None:
    podman.start("one", "sleep", "1000")
    command = podman.client(
        "exec", "--interactive", "--tty", "one", "sh", "-c", "tty; read word; echo got $word; exit 5"
    )
    with Session(command) as session:
        session.until(b"/dev/pts/")
        session.type(b"hello\r")
        session.until(b"got hello")
        assert session.end() == 5


def test_health_checks(podman: Store) -> None:
    health = ("--health-cmd=test -e /healthy", "--health-interval=disable")
    podman.start("one", "sleep", "1000", options=health)
    assert podman.ask("healthcheck", "run", "one").returncode == 1
    podman.call("exec", "one", "touch", "/healthy")
    podman.call("healthcheck", "run", "one")
    assert podman.inspect("one")["State"]["Health"]["Status"] == "healthy"


def test_pausing(podman: Store) -> None:
    podman.start("one", "sleep", "1000")
    podman.call("pause", "one")
    assert podman.status("one") == "paused"
    assert podman.ask("exec", "one", "true").returncode != 0
    podman.call("unpause", "one")
    assert podman.status("one") == "running"
    podman.call("pause", "one")
    podman.call("rm", "--force", "--time=0", "one")


def test_processes_and_statistics(podman: Store) -> None:
    podman.start("one", "sh", "-c", "sleep 1000 & exec sleep 1001", options=("--memory=64m",))
    until(lambda: len(podman.call("top", "one", "hpid").splitlines()) == 3, podman.left)
    statistics = json.loads(podman.call("stats", "--no-stream", "--format=json", "one"))[0]
    assert statistics["pids"] == "2"
    assert statistics["mem_usage"].endswith("/ 67.11MB")


def test_an_init_runs_the_program(podman: Store) -> None:
    shown = podman.call(*podman.command("ps", options=("--rm", "--init"))).splitlines()
    first, second = (line.split(maxsplit=2)[2] for line in shown[1:3])
    assert (first.split()[0], second) == ("/run/podman-init", "ps")


def test_a_user_namespace(podman: Store) -> None:
    maps = ("--rm", "--uidmap=0:100000:2000", "--gidmap=0:200000:2000")
    script = "id -u; cat /proc/self/uid_map /proc/self/gid_map; touch /made && stat -c %u /made"
    shown = podman.call(*podman.command("sh", "-c", script, options=maps)).split()
    assert shown == ["0", "0", "100000", "2000", "0", "200000", "2000", "0"]


@pytest.mark.parametrize(
    ("option", "rows"),
    [
        ("--userns=auto:size=500", ["0 300000 500"]),
        ("--userns=auto:size=500,uidmapping=0:5000:10", ["0 5000 10", "10 300000 490"]),
    ],
)
def test_podman_chooses_a_user_namespace(podman: Store, tmp_path: Path, option: str, rows: list[str]) -> None:
    """It takes the ids from the range of a user ``containers``, which is in files of the test here."""
    if not (Path("/etc/subuid").exists() and Path("/etc/subgid").exists()):
        pytest.skip("needs /etc/subuid and /etc/subgid as places for files of the test")
    ranges = tmp_path / "ranges"
    ranges.write_text("containers:300000:50000\n")
    script = "cat /proc/self/uid_map; touch /made && stat -c %u:%g /made"
    command = podman.client(*podman.command("sh", "-c", script, options=("--rm", option)))
    binds = f"mount --bind {ranges} /etc/subuid && mount --bind {ranges} /etc/subgid"
    prefix = ["unshare", "--mount", "sh", "-c", f'mount --make-rslave / && {binds} && exec "$@"', "sh"]
    done = subprocess.run(
        [*prefix, *command], input="", capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert (done.returncode, done.stderr) == (0, ""), done
    *shown, owner = done.stdout.splitlines()
    assert sorted(" ".join(row.split()) for row in shown) == rows
    assert owner == "0:0"


@pytest.mark.parametrize("who", ["container", "conmon"])
def test_a_service_manager_is_told_by_podmans_monitor(podman: Store, who: str) -> None:
    """Podman keeps NOTIFY_SOCKET from its runtime: its monitor passes on what comes from the container."""
    manager = Manager(podman.scratch / f"manager-{who}")
    try:
        command = podman.command("sleep", "1000", options=("--detach", "--name=one", f"--sdnotify={who}"))
        around = {**os.environ, "NOTIFY_SOCKET": manager.path}
        subprocess.run(podman.client(*command), env=around, check=True, timeout=PATIENCE)
        pid = podman.inspect("one")["State"]["Pid"]
        if who == "container":
            assert "READY=1" not in "".join(manager.told)
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as to:
                to.sendto(b"READY=1", f"/proc/{pid}/root/run/notify/notify.sock")
        until(lambda: "READY=1" in "".join(manager.told), lambda: manager.told)
    finally:
        manager.close()


def test_without_cgroups_the_container_stays_in_podmans(podman: Store) -> None:
    done = podman.run("cat", "/proc/self/cgroup", options=("--rm", "--cgroups=disabled", "--cgroupns=host"))
    assert done.returncode == 0, done
    assert done.stdout == Path("/proc/self/cgroup").read_text()


@pytest.mark.parametrize("kinds", [("pid", "ipc"), ("user", "ipc")])
def test_containers_that_share_namespaces(podman: Store, kinds: tuple[str, ...]) -> None:
    maps = ("--uidmap=0:100000:2000", "--gidmap=0:100000:2000") if "user" in kinds else ()
    first = podman.start("one", "sleep", "1000", options=("--ipc=shareable", *maps))
    shared = tuple(f"--{'userns' if kind == 'user' else kind}=container:one" for kind in kinds)
    second = podman.start("two", "sleep", "1000", options=shared)
    for kind in kinds:
        assert Path(f"/proc/{first}/ns/{kind}").readlink() == Path(f"/proc/{second}/ns/{kind}").readlink()


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (("no-such-program",), 127, "executable file not found in"),
        (("/no/such/program",), 127, "no such file or directory"),
        (("/etc/plain",), 126, "permission denied"),
        (("sh", "-c", "exit 125"), 125, ""),
    ],
)
def test_exit_statuses_of_programs(
    podman: Store, arguments: tuple[str, ...], status: int, words: str
) -> None:
    done = podman.run(*arguments, options=("--rm",))
    assert done.returncode == status, done
    assert words in done.stderr


def test_what_the_runtime_refuses_is_podmans_error(podman: Store) -> None:
    done = podman.run("true", options=("--rm", "--memory=1"))
    assert done.returncode == 126, done
    assert "OCI runtime error: orlop: /linux/resources/memory/limit: the limit is too small" in done.stderr


def test_restart_policy(podman: Store) -> None:
    podman.start("one", "sh", "-c", "exit 4", options=("--restart=on-failure:2",))

    def settled() -> bool:
        found = podman.inspect("one")
        return (found["RestartCount"], found["State"]["Status"]) == (2, "exited")

    until(settled, lambda: podman.inspect("one"))


def test_a_pod_and_its_description_for_kubernetes(podman: Store, tmp_path: Path) -> None:
    podman.call("pod", "create", "--name=group", "--network=none", f"--cgroup-parent=/{podman.parent}")
    podman.start("one", "sleep", "1000", options=("--pod=group", "--memory=64m"))
    inside = json.loads(podman.call("pod", "inspect", "group"))["Containers"]
    assert [one["State"] for one in inside] == ["running", "running"]
    description = tmp_path / "group.yaml"
    podman.call("generate", "kube", f"--filename={description}", "group")
    podman.call("pod", "pause", "group")
    assert podman.status("one") == "paused"
    podman.call("pod", "unpause", "group")
    podman.call("pod", "stop", "--time=0", "group")
    podman.call("pod", "rm", "group")
    podman.call("play", "kube", "--network=none", str(description))
    assert podman.call("exec", "group-one", "echo", "inside") == "inside"
    assert podman.inspect("group-one")["HostConfig"]["Memory"] == 64 << 20
    podman.call("play", "kube", "--down", str(description))
    assert podman.call("pod", "ps", "--quiet") == ""


def test_fifty_in_a_row_and_twenty_at_once_leave_nothing(podman: Store) -> None:
    """The fixture looks for what is left."""

    def one(number: int) -> tuple[int, str]:
        done = podman.run("sh", "-c", f"echo {number}; exit 3", options=("--rm",))
        return done.returncode, done.stdout + done.stderr

    fifty_in_a_row_and_twenty_at_once(one)
