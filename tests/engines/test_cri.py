"""containerd's plugin for Kubernetes, and CRI-O, on orlop, driven as a kubelet drives them."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.engines import image
from tests.engines.conftest import orlop_command
from tests.engines.containerd import Containerd
from tests.engines.cri import CriError
from tests.engines.crio import Crio
from tests.engines.daemon import Left, left_by, members, nothing_left, until
from tests.engines.kubelet import PEER, Node
from tests.engines.terminal import Session
from tests.needs import lacks

# What the how-to page shows, and what keeps this daemon apart from all others.
_CONFIGURATION = """
[plugins."{service}"]
  restrict_oom_score_adj = true
  disable_apparmor = {no_apparmor}
{own}
  [plugins."{service}".containerd]
    default_runtime_name = "orlop"
    [plugins."{service}".containerd.runtimes.orlop]
      runtime_type = "io.containerd.runc.v2"
      [plugins."{service}".containerd.runtimes.orlop.options]
        BinaryName = "{runtime}"
        Root = "/run/rt"
        SystemdCgroup = {systemd}
    [plugins."{service}".containerd.runtimes.peer]
      runtime_type = "io.containerd.runc.v2"
      [plugins."{service}".containerd.runtimes.peer.options]
        BinaryName = "{peer}"
        Root = "/run/peer"
  [plugins."{service}".cni]
    conf_dir = "{cni}"
"""
_SERVICE = {False: "io.containerd.grpc.v1.cri", True: "io.containerd.cri.v1.runtime"}
_ONE = """\
  sandbox_image = "{pause}"
  stream_server_address = "127.0.0.1"
  stream_server_port = "0"
"""
_TWO = """\
    bin_dirs = ["{cni}"]
    use_internal_loopback = true
[plugins."io.containerd.cri.v1.images".pinned_images]
  sandbox = "{pause}"
"""
_NETWORK = {"cniVersion": "1.0.0", "name": "none", "plugins": [{"type": "nothing"}]}
# What a network plugin answers; the network of a pod has no connection to any other.
_PLUGIN = """\
#!/bin/sh
case $CNI_COMMAND in
ADD) echo '{"cniVersion": "1.0.0", "interfaces": [{"name": "eth0", "sandbox": "'"$CNI_NETNS"'"}],
           "ips": [{"address": "192.0.2.2/24", "interface": 0}]}' ;;
VERSION) echo '{"cniVersion": "1.0.0", "supportedVersions": ["1.0.0"]}' ;;
esac
"""


class Plugin(Node):
    """A node whose kubelet talks to containerd.

    Args:
        driver: What makes the cgroups: ``cgroupfs`` or ``systemd``.
        newer: Take the containerd that is newer than the distribution's.
    """

    scope = "cri-containerd-"

    def __init__(self, driver: str, *, newer: bool = False) -> None:
        """Start containerd with the plugin, and the client."""
        self._network = Path(tempfile.mkdtemp(prefix="oe-cni-"))
        (self._network / "none.conflist").write_text(json.dumps(_NETWORK))
        (self._network / "nothing").write_text(_PLUGIN)
        (self._network / "nothing").chmod(0o755)
        text = (_CONFIGURATION + (_TWO if newer else "")).format(
            service=_SERVICE[newer],
            own="" if newer else _ONE.format(pause=image.PAUSE),
            pause=image.PAUSE,
            cni=self._network,
            runtime=orlop_command(),
            peer=PEER,
            systemd=json.dumps(driver == "systemd"),
            no_apparmor=json.dumps(bool(lacks("apparmor"))),
        )
        try:
            self.containerd = Containerd(orlop_command(), text, newer=newer)
        except BaseException:
            shutil.rmtree(self._network)
            raise
        super().__init__(self.containerd.daemon, driver)

    def record(self, runtime: str, ident: str) -> Path:
        """Return the directory in which a runtime, ``orlop`` or ``peer``, keeps the state of a container."""
        return self.daemon.inside(f"/run/{'rt' if runtime == 'orlop' else runtime}/k8s.io/{ident}")

    def traces(self) -> Left:
        """Return what containers could leave behind, but for pods."""
        left = left_by(
            self.daemon,
            "/run/rt/k8s.io",
            "/run/peer/k8s.io",
            f"{self.daemon.scratch}/state/io.containerd.runtime.v2.task/k8s.io",
        )
        if self.driver == "systemd":
            left["units"] = self.daemon.units(self.scope)
        return left

    def close(self) -> None:
        """Stop it all."""
        super().close()
        shutil.rmtree(self._network)


Way = tuple[str, bool]
"""What makes the cgroups, and whether containerd is newer than the distribution's; or ``crio``."""


@pytest.fixture(scope="module")
def machines() -> Iterator[dict[Way, Node]]:
    """Provide the nodes that have been started."""
    started: dict[Way, Node] = {}
    yield started
    for one in started.values():
        one.close()


@pytest.fixture
def node(machines: dict[Way, Node], request: pytest.FixtureRequest) -> Iterator[Node]:
    """Provide a node; whatever a test has done, nothing of it is left."""
    if importlib.util.find_spec("cri_api") is None:
        pytest.skip("needs the Python package container-runtime-interface-api (the extra engines)")
    driver, newer = request.param
    if request.param not in machines:
        machines[request.param] = Crio() if driver == "crio" else Plugin(driver, newer=newer)
    machine = machines[request.param]
    before = machine.left()
    yield machine
    machine.clear()
    nothing_left(before, machine.left)


_HAS_NEWER = pytest.mark.needs("newer:containerd")
_SYSTEMD = pytest.mark.needs("systemd", "cgroup-v2")
_FILES = pytest.param(("cgroupfs", False), id="cgroupfs")
_UNITS = pytest.param(("systemd", False), id="systemd", marks=_SYSTEMD)
_NEWER = pytest.param(("cgroupfs", True), id="newer", marks=_HAS_NEWER)
_NEWER_UNITS = pytest.param(("systemd", True), id="systemd-newer", marks=[_SYSTEMD, _HAS_NEWER])
_CRIO = pytest.param(("crio", False), id="crio")
newest = pytest.mark.parametrize("node", [_NEWER, _CRIO], indirect=True)
newer_both = pytest.mark.parametrize("node", [_NEWER, _NEWER_UNITS], indirect=True)
newer_too = pytest.mark.parametrize("node", [_FILES, _NEWER], indirect=True)
all_files = pytest.mark.parametrize("node", [_FILES, _NEWER, _CRIO], indirect=True)
systemd_too = pytest.mark.parametrize("node", [_FILES, _UNITS, _NEWER, _CRIO], indirect=True)
all_ways = pytest.mark.parametrize("node", [_FILES, _UNITS, _NEWER, _NEWER_UNITS, _CRIO], indirect=True)


@all_files
def test_the_plugin_is_ready(node: Node) -> None:
    conditions = node.call("Status")["status"]["conditions"]
    assert {"type": "RuntimeReady", "status": True} in conditions


@all_ways
def test_the_life_of_a_container(node: Node) -> None:
    pod = node.pod("one")
    made = node.container(
        pod, "first", "sh", "-c", "trap 'exit 3' TERM; echo up; while :; do sleep 0.05; done"
    )
    assert node.status(made)["state"] == "CONTAINER_RUNNING"
    log = node.logs / "one/first.log"
    until(lambda: log.exists() and log.read_text().endswith("stdout F up\n"), node.log)
    node.call("StopContainer", container_id=made, timeout=120)
    status = node.status(made)
    assert (status["state"], status["exit_code"]) == ("CONTAINER_EXITED", 3)
    node.call("RemoveContainer", container_id=made)
    assert node.call("ListContainers") == {}
    node.call("StopPodSandbox", pod_sandbox_id=pod[0])
    state = node.call("PodSandboxStatus", pod_sandbox_id=pod[0])["status"].get("state")
    assert state == "SANDBOX_NOTREADY"
    node.call("RemovePodSandbox", pod_sandbox_id=pod[0])


@all_files
def test_a_container_that_ignores_the_polite_signal_is_killed(node: Node) -> None:
    made = node.container(node.pod("one"), "first", "sleep", "1000")
    node.call("StopContainer", container_id=made, timeout=0)
    assert node.status(made)["exit_code"] == 137


@systemd_too
def test_commands_in_a_container(node: Node) -> None:
    made = node.container(node.pod("one"), "first", "sleep", "1000")
    assert node.execute(made, "sh", "-c", "echo out; echo err >&2; exit 7") == (7, "out\n", "err\n")
    with pytest.raises(CriError, match="executable file not found in"):
        node.execute(made, "no-such-program")


@all_ways
def test_limits_statistics_and_their_change(node: Node) -> None:
    limits = {"memory_limit_in_bytes": 64 << 20, "cpu_quota": 50_000, "cpu_period": 100_000}
    made = node.container(node.pod("one"), "first", "sleep", "1000", linux={"resources": limits})
    v2 = Path("/sys/fs/cgroup/cgroup.procs").exists()
    file = node.group("one", made, "memory") / ("memory.max" if v2 else "memory.limit_in_bytes")
    assert file.read_text().strip() == str(64 << 20)
    statistics = node.call("ContainerStats", container_id=made)["stats"]
    assert int(statistics["memory"]["working_set_bytes"]["value"]) > 0
    assert int(statistics["cpu"]["usage_core_nano_seconds"]["value"]) > 0
    node.call("UpdateContainerResources", container_id=made, linux={"memory_limit_in_bytes": 96 << 20})
    assert file.read_text().strip() == str(96 << 20)


@newer_too
def test_containers_of_a_pod_share_its_namespaces(node: Node) -> None:
    pod = node.pod("one", namespace_options={"network": "NODE", "pid": "POD"})
    first = node.container(pod, "first", "sleep", "1000")
    second = node.container(pod, "second", "sleep", "1001")
    groups = [node.group("one", made, "memory") for made in (first, second)]
    one, two = (next(iter(members(group))) for group in groups)
    for kind in ("pid", "ipc", "uts", "net"):
        assert Path(f"/proc/{one}/ns/{kind}").readlink() == Path(f"/proc/{two}/ns/{kind}").readlink()
    assert "sleep 1001" in node.execute(first, "ps")[1]


@systemd_too
def test_the_security_context_is_applied(node: Node) -> None:
    context = {
        "run_as_user": {"value": image.PLAIN},
        "run_as_group": {"value": image.PLAIN},
        "supplemental_groups": [7],
        "no_new_privs": True,
        "readonly_rootfs": True,
        "capabilities": {"drop_capabilities": ["ALL"]},
        "seccomp": {"profile_type": "RuntimeDefault"},
    }
    made = node.container(node.pod("one"), "first", "sleep", "1000", linux={"security_context": context})
    script = "id -u; id -G; grep -E '^(CapBnd|NoNewPrivs|Seccomp):' /proc/self/status; touch /tmp/x"
    status, shown, said = node.execute(made, "sh", "-c", script)
    assert status == 1
    assert "Read-only file system" in said
    groups = [str(image.PLAIN), "7"]
    words = ["CapBnd:", "0" * 16, "NoNewPrivs:", "1", "Seccomp:", "2"]
    assert shown.split() == [str(image.PLAIN), *groups, *words]


@all_files
def test_mounts(node: Node) -> None:
    place = node.daemon.scratch / "volume"
    place.mkdir(exist_ok=True)
    mounts = [
        {"container_path": "/rw", "host_path": str(place)},
        {"container_path": "/ro", "host_path": str(place), "readonly": True},
    ]
    made = node.container(node.pod("one"), "first", "sleep", "1000", mounts=mounts)
    assert node.execute(made, "sh", "-c", "echo data >/rw/file; cat /ro/file")[:2] == (0, "data\n")
    assert node.execute(made, "touch", "/ro/file")[0] == 1


@all_files
def test_a_handler_chooses_the_runtime(node: Node) -> None:
    for handler in ("", "orlop"):
        pod = node.pod(f"pod{handler}", handler)
        made = node.container(pod, "first", "sleep", "1000")
        assert (node.record("orlop", made) / "record.json").exists()
        status = node.call("PodSandboxStatus", pod_sandbox_id=pod[0])["status"]
        # CRI-O does not tell.
        assert isinstance(node, Crio) or status.get("runtime_handler", "") == handler
    if PEER != "/bin/false":
        made = node.container(node.pod("peer", "peer"), "first", "sleep", "1000")
        assert node.record("peer", made).exists()
        assert not node.record("orlop", made).exists()
    with pytest.raises(CriError, match="nobody"):
        node.pod("nobody", "nobody")


@newest
def test_the_features_of_each_handler_are_told(node: Node) -> None:
    told = node.call("Status")
    supported = {"recursive_read_only_mounts": True, "user_namespaces": True}
    features = {one.get("name", ""): one["features"] for one in told["runtime_handlers"]}
    # Without a name it is the default one.
    assert features["orlop"] == features[""] == supported
    if PEER != "/bin/false":
        # Debian's runc does not tell of mounts with other owners before version 1.2.
        assert features["peer"].items() <= supported.items()
        assert features["peer"]["recursive_read_only_mounts"]


@newest
def test_a_mount_is_read_only_with_all_below_it(node: Node) -> None:
    place = node.daemon.scratch / "volume"
    with node.daemon.mounted(place / "below"):
        mounts: list[dict[str, Any]] = [
            {
                "container_path": "/all",
                "host_path": str(place),
                "readonly": True,
                "recursive_read_only": True,
            },
            {"container_path": "/top", "host_path": str(place), "readonly": True},
        ]
        made = node.container(node.pod("one"), "first", "sleep", "1000", mounts=mounts)
        refused = node.execute(made, "sh", "-c", "for place in all/below all top; do touch /$place/x; done")
        assert refused[2].split("\n") == [
            *(f"touch: /{place}/x: Read-only file system" for place in ("all/below", "all", "top")),
            "",
        ]
        # Who asks for the old meaning gets it.
        assert node.execute(made, "touch", "/top/below/x") == (0, "", "")
        listed = node.status(made)["mounts"]
        assert {one["container_path"]: one.get("recursive_read_only", False) for one in listed} == {
            "/all": True,
            "/top": False,
        }
        node.clear()


_SHIFT = 100_000


@newer_both
def test_a_pod_has_users_of_its_own(node: Node) -> None:
    place = node.daemon.scratch / "owned"
    place.mkdir(exist_ok=True)
    (place / "file").write_text("data\n")
    os.chown(place / "file", image.PLAIN, image.PLAIN)
    maps = [{"container_id": 0, "host_id": _SHIFT, "length": 65536}]
    options = {"network": "POD", "userns_options": {"mode": "POD", "uids": maps, "gids": maps}}
    pod = node.pod("one", "orlop", namespace_options=options)
    mount = {"container_path": "/owned", "host_path": str(place), "uidMappings": maps, "gidMappings": maps}
    context = {"namespace_options": options}
    made = node.container(pod, "first", "sleep", "1000", mounts=[mount], linux={"security_context": context})
    (pid,) = members(node.group("one", made, "memory"))
    for kind in ("uid", "gid"):
        assert Path(f"/proc/{pid}/{kind}_map").read_text().split() == ["0", str(_SHIFT), "65536"]
    assert Path(f"/proc/{pid}").stat().st_uid == _SHIFT
    # It is one namespace for the whole pod.
    (sandbox,) = members(node.group("one", pod[0], "memory"))
    assert Path(f"/proc/{pid}/ns/user").readlink() == Path(f"/proc/{sandbox}/ns/user").readlink()
    # The volume and the image have the owners inside that they have outside, and so has what is made there.
    script = "touch /owned/made /made; stat -c '%n %u %g' /owned/* /made /etc/passwd /home/plain"
    plain = f"{image.PLAIN} {image.PLAIN}"
    shown = [
        f"/owned/file {plain}",
        "/owned/made 0 0",
        "/made 0 0",
        "/etc/passwd 0 0",
        f"/home/plain {plain}",
        "",
    ]
    assert node.execute(made, "sh", "-c", script) == (0, "\n".join(shown), "")
    assert [(place / name).stat().st_uid for name in ("file", "made")] == [image.PLAIN, 0]


@newer_too
def test_a_program_that_cannot_run_is_told_by_its_name(node: Node) -> None:
    pod = node.pod("one")
    with pytest.raises(CriError, match="executable file not found in"):
        node.container(pod, "first", "no-such-program")
    listed = node.call("ListContainers")["containers"]
    assert node.status(listed[0]["id"])["reason"] == "StartError"


@pytest.mark.parametrize("node", [_FILES, _CRIO], indirect=True)
def test_many_pods_one_by_one_and_at_once_leave_nothing(node: Node) -> None:
    """The fixture looks for what is left."""
    pod = node.pod("one")

    def one(number: int) -> int:
        made = node.container(pod, f"c{number}", "sh", "-c", "exit 3")
        until(lambda: node.status(made)["state"] == "CONTAINER_EXITED", node.log)
        status: int = node.status(made)["exit_code"]
        node.call("RemoveContainer", container_id=made)
        return status

    assert [one(number) for number in range(50)] == [3] * 50
    configs = [node.config(f"p{number}") for number in range(20)]
    made = node.call.all("RunPodSandbox", [{"config": config} for config in configs])
    for method in ("StopPodSandbox", "RemovePodSandbox"):
        node.call.all(method, [{"pod_sandbox_id": one["pod_sandbox_id"]} for one in made])


@all_files
def test_the_streams_of_a_command(node: Node) -> None:
    made = node.container(node.pod("one"), "first", "sleep", "1000")
    done = node.stream(made, "sh", "-c", "read x; echo $x; echo err >&2; exit 7", feed="word\n")
    assert (done.returncode, done.stdout, done.stderr) == (7, "word\n", "err\n")
    assert node.stream(made, "sh", "-c", "kill -9 $$").returncode == 137
    assert node.stream(made, "head", "-c", "300000", "/dev/zero").stdout == "\0" * 300_000


@all_files
def test_a_command_on_a_terminal(node: Node) -> None:
    made = node.container(node.pod("one"), "first", "sleep", "1000")
    with Session(node.streams("Exec", made, cmd=["sh"], tty=True, stdin=True, stdout=True)) as terminal:
        terminal.until(b"# ")
        terminal.resize(20, 50)
        terminal.type(b"until stty size | grep '20 50'; do sleep 0.01; done; echo re''ady; sleep 1000\n")
        terminal.until(b"ready")
        terminal.type(b"\x03")
        terminal.until(b"^C")
        terminal.type(b"echo status=$?\n")
        terminal.until(b"status=130")
        terminal.type(b"tty; exit 5\n")
        terminal.until(b"/dev/pts/0")
        assert terminal.end() == 5


@all_files
def test_the_streams_of_a_container(node: Node) -> None:
    pod = node.pod("one")
    asked = {"stdin": True, "stdin_once": True}
    made = node.container(pod, "first", "sh", "-c", "read x; echo $x; read y; exit 4", **asked)
    attached = node.streams("Attach", made, stdin=True, stdout=True, stderr=True)
    assert node.carry(attached, "word\nmore\n").stdout == "word\n"
    until(lambda: node.status(made)["state"] == "CONTAINER_EXITED", node.log)
    assert node.status(made)["exit_code"] == 4
