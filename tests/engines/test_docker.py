"""Docker on orlop: a runtime that is chosen for a container, the default one, and one that asks systemd."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.engines import features, image
from tests.engines.conftest import orlop_command
from tests.engines.daemon import fifty_in_a_row_and_twenty_at_once, members, nothing_left, until
from tests.engines.docker import REMAPPED, Docker
from tests.engines.terminal import Session


@pytest.fixture(scope="module")
def daemons() -> Iterator[dict[str, Docker]]:
    """Provide the daemons that have been started, by how orlop is their runtime."""
    started: dict[str, Docker] = {}
    yield started
    for engine in started.values():
        engine.close()


@pytest.fixture
def docker(daemons: dict[str, Docker], request: pytest.FixtureRequest) -> Iterator[Docker]:
    """Provide Docker; whatever a test has done, nothing of it is left."""
    how = getattr(request, "param", "chosen")
    if how not in daemons:
        daemons[how] = _started(how)
    engine = daemons[how]
    before = engine.left()
    yield engine
    engine.clear()
    nothing_left(before, engine.left)


def _started(how: str) -> Docker:
    words = how.split("-")
    # With systemd's cgroups orlop is the default runtime, too.
    default = bool({"default", "systemd"} & set(words))
    driver = "systemd" if "systemd" in words else "cgroupfs"
    users = REMAPPED if "remapped" in words else ""
    return Docker(orlop_command(), default=default, driver=driver, newer="newer" in words, users=users)


_HAS_NEWER = pytest.mark.needs("newer:dockerd")
_SYSTEMD = pytest.param("systemd", marks=pytest.mark.needs("systemd", "cgroup-v2"))
_UNIFIED = pytest.param("chosen", marks=pytest.mark.every_lane)
_NEWER = pytest.param("newer", marks=_HAS_NEWER)
_NEWER_UNIFIED = pytest.param("newer", marks=[_HAS_NEWER, pytest.mark.every_lane])
newer_only = pytest.mark.parametrize("docker", [_NEWER], indirect=True)
newer_too = pytest.mark.parametrize("docker", ["chosen", _NEWER], indirect=True)
both = pytest.mark.parametrize("docker", ["chosen", "default"], indirect=True)
both_and_newer = pytest.mark.parametrize("docker", ["chosen", "default", _NEWER], indirect=True)
systemd_too = pytest.mark.parametrize("docker", ["chosen", _SYSTEMD], indirect=True)
all_ways = pytest.mark.parametrize("docker", ["chosen", "default", _SYSTEMD, _NEWER], indirect=True)
in_the_kernel = pytest.mark.parametrize(
    "docker", ["chosen", "default", _SYSTEMD, _NEWER_UNIFIED], indirect=True
)
all_ways_everywhere = pytest.mark.parametrize(
    "docker", [_UNIFIED, "default", _SYSTEMD, _NEWER], indirect=True
)


@all_ways_everywhere
def test_the_daemon_knows_the_runtime(docker: Docker) -> None:
    info = json.loads(docker.call("info", "--format={{json .}}"))
    assert info["Runtimes"]["orlop"]["path"] == orlop_command()
    assert info["DefaultRuntime"] == ("orlop" if docker.default else "runc")
    assert info["CgroupDriver"] == docker.driver


@pytest.mark.parametrize("docker", [_UNIFIED, _NEWER], indirect=True)
def test_the_daemon_lists_the_features_of_the_runtime(docker: Docker) -> None:
    info = json.loads(docker.call("info", "--format={{json .}}"))
    if int(info["ServerVersion"].partition(".")[0]) < 25:
        pytest.skip("needs Docker 25, which asks its runtimes for their features")
    listed = json.loads(info["Runtimes"]["orlop"]["status"]["org.opencontainers.runtime-spec.features"])
    assert listed == features.known(features.own(), listed)
    assert "rro" in listed["mountOptions"]
    assert listed["linux"]["mountExtensions"] == {"idmap": {"enabled": True}}
    assert listed["linux"]["cgroup"]["systemd"]


@all_ways_everywhere
def test_a_container_runs_and_its_output_arrives(docker: Docker) -> None:
    done = docker.run("sh", "-c", "echo out; echo err >&2; exit 7", options=("--rm",))
    assert (done.returncode, done.stdout, done.stderr) == (7, "out\n", "err\n")


@both
def test_it_is_orlop_that_runs_it(docker: Docker) -> None:
    docker.start("one", "sleep", "1000")
    assert docker.inspect("one")["HostConfig"]["Runtime"] == "orlop"
    ident = docker.inspect("one")["Id"]
    state = docker.daemon.inside(f"{docker.scratch}/exec/runtime-runc/moby/{ident}")
    assert (state / "record.json").exists()


@newer_too
def test_a_pipe_reaches_the_container_with_its_end(docker: Docker) -> None:
    options = ("--rm", "--interactive")
    done = docker.run("sh", "-c", "wc -c; echo end", options=options, feed="x" * 100_000)
    assert (done.returncode, done.stdout.split()) == (0, ["100000", "end"]), done


@both
def test_a_terminal_reaches_the_container(docker: Docker) -> None:
    # The client tells the size only once the program runs.
    script = "tty; until stty size | grep .; do sleep 0.05; done; read word; echo got $word; exit 5"
    options = ("--rm", "--interactive", "--tty")
    with Session(docker.client(*docker.command("sh", "-c", script, options=options))) as session:
        session.until(b"33 77")
        session.type(b"hello\r")
        session.until(b"got hello")
        assert session.end() == 5
    assert b"/dev/pts/0" in session.shown


@both_and_newer
def test_logs_stop_and_removal(docker: Docker) -> None:
    script = "trap 'echo down; exit 3' TERM; echo up; while :; do sleep 0.05; done"
    docker.start("one", "sh", "-c", script)
    until(lambda: docker.call("logs", "one") == "up", docker.log)
    docker.call("stop", "--time=120", "one")
    until(lambda: docker.call("logs", "one") == "up\ndown", lambda: docker.call("logs", "one"))
    assert docker.inspect("one")["State"]["ExitCode"] == 3
    docker.call("rm", "one")


def test_signals(docker: Docker) -> None:
    script = "trap 'exit 9' USR1; echo up; while :; do sleep 0.05; done"
    docker.start("one", "sh", "-c", script)
    until(lambda: docker.call("logs", "one") == "up", docker.log)
    docker.call("kill", "--signal=USR1", "one")
    assert docker.call("wait", "one") == "9"
    docker.call("start", "one")
    docker.call("kill", "one")
    assert docker.call("wait", "one") == "137"


def test_a_container_that_ignores_the_polite_signal_is_killed(docker: Docker) -> None:
    docker.start("one", "sleep", "1000")  # the first process of a pid namespace ignores it
    docker.call("stop", "--time=0", "one")
    assert docker.inspect("one")["State"]["ExitCode"] == 137


@both_and_newer
def test_commands_in_a_running_container(docker: Docker) -> None:
    docker.start("one", "sleep", "1000")
    done = docker.ask("exec", "one", "sh", "-c", "echo out; echo err >&2; exit 7")
    assert (done.returncode, done.stdout, done.stderr) == (7, "out\n", "err\n")
    options = ("--user=plain", "--workdir=/tmp", "--env=WORD=value")
    shown = docker.call("exec", *options, "one", "sh", "-c", "id -u; pwd; echo $WORD")
    assert shown.split() == [str(image.PLAIN), "/tmp", "value"]
    fed = docker.ask("exec", "--interactive", "one", "wc", "-c", feed="x" * 1000)
    assert (fed.returncode, fed.stdout.strip()) == (0, "1000")
    docker.call("exec", "--detach", "one", "touch", "/made")
    until(lambda: docker.ask("exec", "one", "test", "-e", "/made").returncode == 0, docker.log)
    for program, words, status in (
        ("no-such-program", "executable file not found in $PATH", 127),
        ("/etc/plain", "permission denied", 126),
    ):
        done = docker.ask("exec", "one", program)
        # Docker made no difference here before version 28.
        assert done.returncode == (status if docker.newer else 126)
        assert words in done.stdout


@systemd_too
def test_a_command_with_a_terminal_in_a_running_container(docker: Docker) -> None:
    docker.start("one", "sleep", "1000")
    script = "tty; until stty size | grep .; do sleep 0.05; done; read word; echo got $word; exit 5"
    command = docker.client("exec", "--interactive", "--tty", "one", "sh", "-c", script)
    with Session(command) as session:
        session.until(b"33 77")
        session.type(b"hello\r")
        session.until(b"got hello")
        assert session.end() == 5
    assert b"/dev/pts/" in session.shown


@newer_too
def test_health_checks(docker: Docker) -> None:
    health = ("--health-cmd=test -e /healthy", "--health-interval=100ms", "--health-retries=1")
    docker.start("one", "sleep", "1000", options=health)

    def is_now(status: str) -> bool:
        found: str = docker.inspect("one")["State"]["Health"]["Status"]
        return found == status

    until(lambda: is_now("unhealthy"), docker.log)
    docker.call("exec", "one", "touch", "/healthy")
    until(lambda: is_now("healthy"), docker.log)


@all_ways
def test_pausing(docker: Docker) -> None:
    docker.start("one", "sleep", "1000")
    docker.call("pause", "one")
    assert docker.status("one") == "paused"
    docker.call("unpause", "one")
    assert docker.status("one") == "running"
    docker.call("pause", "one")
    docker.call("stop", "--time=0", "one")
    assert docker.status("one") == "exited"


@in_the_kernel
def test_processes_and_statistics(docker: Docker) -> None:
    docker.start("one", "sh", "-c", "sleep 1000 & exec sleep 1001", options=("--memory=64m",))
    group = docker.group("one", "pids")

    def top() -> dict[int, str]:
        lines = docker.call("top", "one", "-eo", "pid,args").splitlines()[1:]
        return {int(pid): program for pid, program in (line.split(maxsplit=1) for line in lines)}

    # Both are the shell before they are what it executes.
    until(lambda: sorted(top().values()) == ["sleep 1000", "sleep 1001"], top)
    assert top().keys() == members(group)
    statistics: dict[str, str] = {}

    def complete() -> bool:
        # Docker looks twice, a second apart; after two its client gives up and shows zeros.
        statistics.update(json.loads(docker.call("stats", "--no-stream", "--format={{json .}}", "one")))
        return statistics["PIDs"] == "2"

    until(complete, lambda: statistics)
    assert statistics["MemUsage"].endswith("/ 64MiB")


def _limits(docker: Docker, name: str) -> list[str]:
    """Return what the kernel has of a container: processes, memory, quota."""
    pids, memory, cpu = (docker.group(name, controller) for controller in ("pids", "memory", "cpu"))
    if (memory / "memory.max").exists():
        files = [pids / "pids.max", memory / "memory.max", cpu / "cpu.max"]
    else:
        files = [pids / "pids.max", memory / "memory.limit_in_bytes", cpu / "cpu.cfs_quota_us"]
    return [file.read_text().split()[0] for file in files]


@in_the_kernel
def test_limits_reach_the_kernel_and_can_be_changed(docker: Docker) -> None:
    limits = ("--memory=64m", "--memory-swap=64m", "--pids-limit=17", "--cpus=0.5")
    docker.start("one", "sleep", "1000", options=limits)
    assert _limits(docker, "one") == ["17", str(64 << 20), "50000"]
    docker.call("update", "--memory=96m", "--memory-swap=96m", "--pids-limit=18", "--cpus=0.25", "one")
    assert _limits(docker, "one") == ["18", str(96 << 20), "25000"]


@systemd_too
def test_who_uses_too_much_memory_is_killed_and_docker_is_told(docker: Docker) -> None:
    place = docker.scratch / "signal"
    place.mkdir(exist_ok=True)
    # The shim listens from the moment that "docker run" returns. What is killed is not the first process: a
    # shim drops what it hears of a cgroup that has gone, dockerd what it is told after the container's end.
    program = """awk 'BEGIN { while (1) a = a sprintf("%1000000s", "x") }'"""
    wait = "while [ ! -e /signal/{} ]; do sleep 0.05; done"
    script = f"{wait.format('go')}; {program}; status=$?; {wait.format('end')}; exit $status"
    options = ("--memory=16m", "--memory-swap=16m", f"--volume={place}:/signal")
    docker.start("one", "sh", "-c", script, options=options)
    (place / "go").touch()
    told = ("--filter=event=oom", "--filter=container=one", "--since=0")
    until(lambda: docker.call("events", *told, f"--until={time.time():.0f}"), docker.log)
    (place / "end").touch()
    assert docker.call("wait", "one") == "137"
    until(lambda: docker.inspect("one")["State"]["OOMKilled"], docker.log)


@all_ways
def test_restart_policy(docker: Docker) -> None:
    docker.start("one", "sh", "-c", "exit 4", options=("--restart=on-failure:2",))

    def settled() -> bool:
        state = docker.inspect("one")
        return (state["RestartCount"], state["State"]["Status"]) == (2, "exited")

    until(settled, lambda: docker.inspect("one"))
    assert docker.inspect("one")["State"]["ExitCode"] == 4


@newer_too
def test_a_container_is_restarted(docker: Docker) -> None:
    first = docker.start("one", "sleep", "1000")
    docker.call("restart", "--time=0", "one")
    again = docker.inspect("one")["State"]
    assert (again["Status"], again["Pid"] == first) == ("running", False)


@pytest.mark.parametrize(
    ("program", "status", "words"),
    [
        ("no-such-program", 127, "executable file not found in $PATH"),
        ("/no/such/program", 127, "no such file or directory"),
        ("/etc/plain", 126, "permission denied"),
    ],
)
def test_a_program_that_cannot_run(docker: Docker, program: str, status: int, words: str) -> None:
    done = docker.run(program, options=("--rm",))
    assert done.returncode == status, done
    assert words in done.stderr


@newer_too
def test_mounts_volumes_and_read_only_roots(docker: Docker) -> None:
    place = docker.scratch / "volume"
    place.mkdir(exist_ok=True)
    options = (
        *("--rm", "--read-only", "--tmpfs=/t:size=1m", f"--volume={place}:/rw", "--volume=/anonymous"),
        f"--mount=type=bind,src={docker.scratch},dst=/ro,readonly",
    )
    script = "echo data >/rw/file; touch /ro/no /x /anonymous/y; grep ' /t ' /proc/mounts; ls /anonymous"
    done = docker.run("sh", "-c", script, options=options)
    assert done.returncode == 0, done
    assert "size=1024k" in done.stdout
    assert done.stdout.splitlines()[-1] == "y"
    assert done.stderr.count("Read-only file system") == 2
    assert (place / "file").read_text() == "data\n"


@newer_only
def test_read_only_volumes_are_so_with_all_below_them(docker: Docker) -> None:
    place = docker.scratch / "volume"
    with docker.daemon.mounted(place / "below"):
        script = "for place in y/below y; do touch /$place/x; done"
        bind = f"--mount=type=bind,src={place},dst=/y,readonly"
        # Docker asks for it where the runtime can do it; the last of these wants it in any case.
        for volume in (
            f"--volume={place}:/y:ro",
            bind,
            f"{bind},bind-propagation=rprivate,bind-recursive=readonly",
        ):
            done = docker.run("sh", "-c", script, options=("--rm", volume))
            assert done.stderr.splitlines() == [
                f"touch: /{place}/x: Read-only file system" for place in ("y/below", "y")
            ], done
        # Who wants the old meaning gets it.
        done = docker.run("sh", "-c", script, options=("--rm", f"{bind},bind-recursive=writable"))
        assert done.stderr == "touch: /y/x: Read-only file system\n", done


@pytest.mark.parametrize(
    "docker", ["remapped", pytest.param("remapped-newer", marks=_HAS_NEWER)], indirect=True
)
def test_users_of_the_host_can_be_others_in_containers(docker: Docker) -> None:
    first = int(REMAPPED.split(":")[1])
    place = docker.scratch / "volume"
    place.mkdir(exist_ok=True)
    os.chown(place, first, first)
    options = ("--init", "--read-only", "--tmpfs=/t", "--memory=64m", f"--volume={place}:/rw")
    pid = docker.start("one", "sleep", "1000", options=options)
    for kind in ("uid", "gid"):
        assert Path(f"/proc/{pid}/{kind}_map").read_text().split() == ["0", *REMAPPED.split(":")[1:]]
    assert Path(f"/proc/{pid}").stat().st_uid == first
    script = "id -u; touch /rw/root /t/x; touch /x"
    done = docker.ask("exec", "one", "sh", "-c", script)
    assert (done.stdout, done.stderr) == ("0\n", "touch: /x: Read-only file system\n")
    done = docker.ask("exec", "--user=plain", "one", "sh", "-c", "id -u; touch /t/y; touch /rw/plain")
    assert (done.stdout, done.stderr) == (f"{image.PLAIN}\n", "touch: /rw/plain: Permission denied\n")
    assert (place / "root").stat().st_uid == first
    docker.call("update", "--memory=96m", "--memory-swap=96m", "one")
    assert _limits(docker, "one")[1] == str(96 << 20)
    pid = docker.start("two", "sleep", "1000", options=("--userns=host",))
    assert Path(f"/proc/{pid}").stat().st_uid == 0


@systemd_too
def test_the_process_is_confined_as_docker_wants_it(docker: Docker) -> None:
    options = ("--rm", "--user=plain", "--cap-drop=ALL", "--security-opt=no-new-privileges", "--hostname=box")
    script = "id -u; hostname; grep -E '^(Seccomp|NoNewPrivs|CapBnd):' /proc/self/status"
    done = docker.run("sh", "-c", script, options=options)
    assert done.stdout.split() == [
        *(str(image.PLAIN), "box", "CapBnd:", "0" * 16, "NoNewPrivs:", "1", "Seccomp:", "2"),
    ], done


@newer_too
def test_an_init_reaps_orphans(docker: Docker) -> None:
    pid = docker.start("one", "sh", "-c", "(sleep 0.01 &) ; exec sleep 1000", options=("--init",))
    assert Path(f"/proc/{pid}/comm").read_text().strip() in {"docker-init", "tini-static"}
    until(lambda: len(members(docker.group("one", "pids"))) == 2, docker.log)


def test_containers_share_namespaces(docker: Docker) -> None:
    first = docker.start("one", "sleep", "1000", options=("--ipc=shareable",))
    shared = ("--pid=container:one", "--ipc=container:one")
    second = docker.start("two", "sleep", "1000", options=shared)
    for kind in ("pid", "ipc"):
        assert Path(f"/proc/{first}/ns/{kind}").readlink() == Path(f"/proc/{second}/ns/{kind}").readlink()


def test_a_privileged_container_may_mount(docker: Docker) -> None:
    done = docker.run("mount", "-t", "tmpfs", "none", "/tmp", options=("--rm", "--privileged"))
    assert done.returncode == 0, done


def test_containers_that_are_created_first_and_started_later(docker: Docker) -> None:
    create = docker.command("echo", "later", options=("--name=one",))
    docker.call("create", *create[1:])
    assert docker.status("one") == "created"
    assert docker.call("start", "--attach", "one") == "later"


def test_fifty_in_a_row_and_twenty_at_once_leave_nothing(docker: Docker) -> None:
    """The fixture looks for what is left."""

    def one(number: int) -> tuple[int, str]:
        done = docker.run("sh", "-c", f"echo {number}; exit 3", options=("--rm",))
        return done.returncode, done.stdout + done.stderr

    fifty_in_a_row_and_twenty_at_once(one)
