"""What CRI-O does with orlop beyond what tests/engines/test_cri.py shows of it and of containerd alike."""

from __future__ import annotations

import http.client
import importlib.util
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.engines import image
from tests.engines.cri import PATIENCE, CriError
from tests.engines.crio import Crio
from tests.engines.daemon import members, nothing_left, until


@pytest.fixture(scope="module")
def machine() -> Iterator[Crio]:
    """Provide CRI-O."""
    if importlib.util.find_spec("cri_api") is None:
        pytest.skip("needs the Python package container-runtime-interface-api (the extra engines)")
    machine = Crio()
    yield machine
    machine.close()


@pytest.fixture
def node(machine: Crio) -> Iterator[Crio]:
    """Provide CRI-O; whatever a test has done, nothing of it is left."""
    before = machine.left()
    yield machine
    machine.clear()
    nothing_left(before, machine.left)


def ended(node: Crio, container: str) -> dict[str, Any]:
    """Wait until a container has ended, and return its status."""
    until(lambda: node.status(container)["state"] == "CONTAINER_EXITED", node.log)
    return node.status(container)


def ask(node: Crio, path: str) -> int:
    """Ask for something that CRI-O serves beside the interface; return the status of HTTP."""
    connection = http.client.HTTPConnection("localhost")
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.connect(str(node.daemon.scratch / "sock"))
    connection.request("GET", path)
    status = connection.getresponse().status
    connection.close()
    return status


def _bounding() -> int:
    """Return the capabilities that this host gives to anybody."""
    return int(Path("/proc/self/status").read_text().split("CapBnd:")[1].split()[0], 16)


def test_what_cannot_run_is_refused_by_name_and_leaves_nothing(node: Crio) -> None:
    pod = node.pod("one")
    for program, said in {
        "no-such-program": "executable file not found in",
        "/etc": "is a directory",
        "/etc/plain": "permission denied",
    }.items():
        with pytest.raises(CriError, match=f"container create failed.*{program}.*{said}"):
            node.container(pod, "first", program)
    assert node.call("ListContainers") == {}


def test_lack_of_memory_is_the_reason_of_the_end(node: Crio) -> None:
    limits = {"memory_limit_in_bytes": 20 << 20, "memory_swap_limit_in_bytes": 20 << 20}
    script = "x=a; while :; do x=$x$x; done"
    made = node.container(node.pod("one"), "first", "sh", "-c", script, linux={"resources": limits})
    status = ended(node, made)
    assert (status["exit_code"], status["reason"]) == (137, "OOMKilled")


def test_a_container_starts_with_little_memory(node: Crio) -> None:
    pod = node.pod("one")
    made = node.container(
        pod, "first", "sleep", "1000", linux={"resources": {"memory_limit_in_bytes": 4 << 20}}
    )
    assert node.execute(made, "echo", "here") == (0, "here\n", "")
    with pytest.raises(CriError, match=r"memory limit.*too low"):
        node.container(
            pod, "second", "sleep", "1000", linux={"resources": {"memory_limit_in_bytes": 2 << 20}}
        )


def test_limits_that_cannot_be_are_refused_and_change_nothing(node: Crio) -> None:
    made = node.container(node.pod("one"), "first", "sleep", "1000")
    shares = {path: path.read_text() for path in node.group("one", made, "cpu").glob("cpu.*sh*")}
    with pytest.raises(CriError, match="99"):
        node.call(
            "UpdateContainerResources", container_id=made, linux={"cpu_shares": 512, "cpuset_cpus": "99"}
        )
    assert {path: path.read_text() for path in shares} == shares


def test_a_command_that_takes_too_long_is_killed(node: Crio) -> None:
    made = node.container(node.pod("one"), "first", "sleep", "1000")
    done = node.call("ExecSync", container_id=made, cmd=["sleep", "1001"], timeout=1)
    assert done["exit_code"] == -1
    until(lambda: "sleep 1001" not in node.execute(made, "ps")[1], node.log)


def test_a_paused_container(node: Crio) -> None:
    made = node.container(node.pod("one"), "first", "sleep", "1000")
    assert ask(node, f"/pause/{made}") == 200
    with pytest.raises(CriError, match="cannot exec in a paused container"):
        node.execute(made, "true")
    assert ask(node, f"/unpause/{made}") == 200
    assert node.execute(made, "true")[0] == 0
    assert ask(node, f"/pause/{made}") == 200
    # CRI-O resumes it for that.
    node.call("StopContainer", container_id=made, timeout=0)
    assert node.status(made)["exit_code"] == 137


def test_a_pod_has_a_network_of_its_own(node: Crio) -> None:
    pod = node.pod("one", namespace_options={"network": "POD"})
    status = node.call("PodSandboxStatus", pod_sandbox_id=pod[0])["status"]
    address = status["network"]["ip"]
    server = node.container(pod, "server", "sh", "-c", "while :; do echo here | nc -l -p 80; done")
    client = node.container(pod, "client", "sleep", "1000")
    one, two = (next(iter(members(node.group("one", made, "memory")))) for made in (server, client))
    for kind in ("net", "ipc", "uts"):
        namespace = Path(f"/proc/{one}/ns/{kind}").readlink()
        assert namespace == Path(f"/proc/{two}/ns/{kind}").readlink()
        assert namespace != Path(f"/proc/{node.daemon.pid}/ns/{kind}").readlink()
    asked = ["sh", "-c", f"until nc -w 1 {address} 80 </dev/null; do sleep 0.05; done"]
    assert node.execute(client, *asked) == (0, "here\n", "")


def test_a_pod_has_users_of_its_own(node: Crio) -> None:
    mapping = [{"host_id": 100_000, "container_id": 0, "length": 65_536}]
    users = {"mode": "POD", "uids": mapping, "gids": mapping}
    pod = node.pod("one", namespace_options={"network": "POD", "userns_options": users})
    made = node.container(pod, "first", "sleep", "1000")
    assert node.execute(made, "cat", "/proc/self/uid_map")[1].split() == ["0", "100000", "65536"]
    (process,) = members(node.group("one", made, "memory"))
    assert Path(f"/proc/{process}").stat().st_uid == 100_000
    assert node.execute(made, "stat", "-c", "%u", "/home/plain")[1] == f"{image.PLAIN}\n"


def test_of_a_pod_with_the_hosts_processes_everything_ends(node: Crio) -> None:
    pod = node.pod("one", namespace_options={"pid": "NODE"})
    made = node.container(pod, "first", "sh", "-c", "sleep 1001 & sleep 1002 & wait")
    group = node.group("one", made, "memory")
    until(lambda: len(members(group)) == 3, node.log)
    (first, *others) = sorted(members(group))
    assert Path(f"/proc/{first}/ns/pid").readlink() == Path("/proc/self/ns/pid").readlink()
    node.call("StopContainer", container_id=made, timeout=0)
    until(lambda: not any(Path(f"/proc/{one}").exists() for one in (first, *others)), node.log)


def test_a_privileged_container_and_a_sysctl(node: Crio) -> None:
    config = node.config("one", privileged=True)
    config["linux"]["sysctls"] = {"kernel.shm_rmid_forced": "1"}
    made = node.call("RunPodSandbox", config=config)["pod_sandbox_id"]
    linux = {"security_context": {"privileged": True}}
    first = node.container((made, config), "first", "sleep", "1000", linux=linux)
    script = "grep Seccomp: /proc/self/status; cat /proc/sys/kernel/shm_rmid_forced"
    assert node.execute(first, "sh", "-c", script)[1].split() == ["Seccomp:", "0", "1"]
    (process,) = members(node.group("one", first, "memory"))
    assert int(Path(f"/proc/{process}/status").read_text().split("CapBnd:")[1].split()[0], 16) == _bounding()


def test_containers_outlive_a_restart_of_crio(node: Crio) -> None:
    pod = node.pod("one")
    stays = node.container(pod, "stays", "sleep", "1000")
    ends = node.container(pod, "ends", "sh", "-c", "echo up; until test -e /go; do sleep 0.05; done; exit 5")
    (process,) = members(node.group("one", stays, "memory"))
    node.restart()
    assert members(node.group("one", stays, "memory")) == {process}
    assert node.status(stays)["state"] == "CONTAINER_RUNNING"
    assert node.execute(ends, "touch", "/go") == (0, "", "")
    assert ended(node, ends)["exit_code"] == 5
    node.call("StopContainer", container_id=stays, timeout=0)
    assert node.status(stays)["exit_code"] == 137


def test_many_containers_at_once_leave_nothing(node: Crio) -> None:
    """The fixture looks for what is left."""
    pod = node.pod("one")
    requests = [node.request(pod, f"c{number}", "sleep", "1000") for number in range(20)]
    made = [one["container_id"] for one in node.call.all("CreateContainer", requests)]
    node.call.all("StartContainer", [{"container_id": one} for one in made])
    commands = [
        {"container_id": one, "cmd": ["sh", "-c", f"exit {number}"], "timeout": int(PATIENCE)}
        for number, one in enumerate(made)
    ]
    codes = [one.get("exit_code", 0) for one in node.call.all("ExecSync", commands)]
    assert codes == list(range(20))
    node.call.all("StopContainer", [{"container_id": one, "timeout": 0} for one in made])
    assert {node.status(one)["exit_code"] for one in made} == {137}
    node.call.all("RemoveContainer", [{"container_id": one} for one in made])
