"""nerdctl on orlop. What it does as Docker does is shown by the same functions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.engines import image, test_docker
from tests.engines.conftest import orlop_command
from tests.engines.daemon import fifty_in_a_row_and_twenty_at_once, members, nothing_left, until
from tests.engines.nerdctl import Nerdctl
from tests.engines.terminal import Session


@pytest.fixture(scope="module")
def engine() -> Iterator[Nerdctl]:
    """Provide nerdctl with its containerd."""
    engine = Nerdctl(orlop_command())
    yield engine
    engine.close()


@pytest.fixture
def nerdctl(engine: Nerdctl) -> Iterator[Nerdctl]:
    """Provide nerdctl; whatever a test has done, nothing of it is left."""
    before = engine.left()
    yield engine
    engine.clear()
    nothing_left(before, engine.left)


_AS_DOCKER = (
    test_docker.test_a_pipe_reaches_the_container_with_its_end,
    test_docker.test_a_terminal_reaches_the_container,
    test_docker.test_logs_stop_and_removal,
    test_docker.test_signals,
    test_docker.test_a_container_that_ignores_the_polite_signal_is_killed,
    test_docker.test_pausing,
    test_docker.test_processes_and_statistics,
    test_docker.test_a_container_is_restarted,
    test_docker.test_mounts_volumes_and_read_only_roots,
    test_docker.test_the_process_is_confined_as_docker_wants_it,
    test_docker.test_containers_share_namespaces,
    test_docker.test_a_privileged_container_may_mount,
)


# It asks for no more than nerdctl has.
_limits: Callable[[Any, str], list[str]] = test_docker._limits


@pytest.mark.parametrize("flow", _AS_DOCKER, ids=lambda flow: flow.__name__.removeprefix("test_"))
def test_as_with_docker(nerdctl: Nerdctl, flow: Callable[[Any], None]) -> None:
    flow(nerdctl)


def test_it_is_orlop_that_runs_it(nerdctl: Nerdctl) -> None:
    done = nerdctl.run("sh", "-c", "echo out; exit 7", options=("--rm",))
    assert (done.returncode, done.stdout) == (7, "out\n")
    nerdctl.start("one", "sleep", "1000")
    assert nerdctl.record("one").exists()


def test_commands_in_a_running_container(nerdctl: Nerdctl) -> None:
    nerdctl.start("one", "sleep", "1000")
    done = nerdctl.ask("exec", "one", "sh", "-c", "echo out; exit 7")
    # nerdctl's own status is 1, and it says what the command's was.
    assert (done.returncode, done.stdout) == (1, "out\n")
    assert "exit code 7" in done.stderr
    options = ("--user=plain", "--workdir=/tmp", "--env=WORD=word")
    assert nerdctl.call("exec", *options, "one", "sh", "-c", "id -u; pwd; echo $WORD").split() == [
        str(image.PLAIN),
        "/tmp",
        "word",
    ]
    script = "until stty size | grep '33 77'; do sleep 0.05; done; tty"
    with Session(nerdctl.client("exec", "--interactive", "--tty", "one", "sh", "-c", script)) as session:
        session.until(b"/dev/pts/0")
        assert session.end() == 0
    refused = nerdctl.ask("exec", "one", "no-such-program")
    assert refused.returncode
    assert "executable file not found in $PATH" in refused.stderr


def test_limits_reach_the_kernel_and_can_be_changed(nerdctl: Nerdctl) -> None:
    limits = ("--memory=64m", "--memory-swap=64m", "--pids-limit=17", "--cpus=0.5")
    nerdctl.start("one", "sleep", "1000", options=limits)
    assert _limits(nerdctl, "one") == ["17", str(64 << 20), "50000"]
    # --cpus of this command does nothing, whatever the runtime.
    changed = ("--memory=96m", "--memory-swap=96m", "--pids-limit=18", "--cpu-quota=25000")
    nerdctl.call("update", *changed, "one")
    assert _limits(nerdctl, "one") == ["18", str(96 << 20), "25000"]


@pytest.mark.parametrize(
    ("program", "words"),
    [
        ("no-such-program", "executable file not found in $PATH"),
        ("/no/such/program", "no such file or directory"),
        ("/etc/plain", "permission denied"),
    ],
)
def test_a_program_that_cannot_run(nerdctl: Nerdctl, program: str, words: str) -> None:
    done = nerdctl.run(program, options=("--rm",))
    assert done.returncode == 1
    assert "OCI runtime create failed" in done.stderr
    assert words in done.stderr


def test_a_network_is_made_by_hooks(nerdctl: Nerdctl) -> None:
    """Nerdctl is itself the hook that connects a container, and the one that lets it go."""
    server = "while :; do echo here | nc -l -p 80; done"
    first = nerdctl.start("one", "sh", "-c", server, options=("--network=pods",))
    assert Path(f"/proc/{first}/ns/net").readlink() != Path(f"/proc/{nerdctl.daemon.pid}/ns/net").readlink()
    address = nerdctl.inspect("one")["NetworkSettings"]["IPAddress"]
    script = f"until nc -w 1 {address} 80 </dev/null; do sleep 0.05; done"
    done = nerdctl.run("sh", "-c", script, options=("--rm", "--network=pods"))
    assert done.stdout == "here\n"
    assert "\neth0" in nerdctl.call("exec", "one", "cat", "/proc/net/dev").replace("\n  ", "\n")


def test_all_of_a_container_ends_with_it(nerdctl: Nerdctl) -> None:
    nerdctl.start("one", "sh", "-c", "sleep 1001 & sleep 1002 & wait", options=("--pid=host",))
    group = nerdctl.group("one", "pids")
    until(lambda: len(members(group)) == 3, nerdctl.log)
    processes = members(group)
    nerdctl.call("kill", "one")
    until(lambda: not any(Path(f"/proc/{one}").exists() for one in processes), nerdctl.log)


def test_fifty_in_a_row_and_twenty_at_once_leave_nothing(nerdctl: Nerdctl) -> None:
    """The fixture looks for what is left."""

    def one(number: int) -> tuple[int, str]:
        done = nerdctl.run("sh", "-c", f"echo {number}; exit 3", options=("--rm",))
        # On standard error it may tell that the container had gone before a signal, whatever the runtime.
        return done.returncode, done.stdout

    fifty_in_a_row_and_twenty_at_once(one)
