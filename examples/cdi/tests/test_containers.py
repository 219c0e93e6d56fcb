"""Containers that ask for devices, on a machine in memory that has them."""

from __future__ import annotations

import json
from typing import Any

import pytest

import orlop
from orlop.kit import check_distribution
from orlop_cdi import Cdi, Registry, request
from orlop_cdi.samples import FILES, KEY
from orlop_fake import Device, FakeKernel, FakePlatform
from orlop_hookspecs.errors import ConfigError

NAMES = [name for name in orlop.Runtime.compose(platform="fake").composition.names if name != "cdi"]


def document(kind: str, edits: dict[str, Any] | None = None, **devices: dict[str, Any]) -> str:
    made = {
        "cdiVersion": "1.1.0",
        "kind": kind,
        "containerEdits": edits or {},
        "devices": [{"name": name, "containerEdits": one} for name, one in devices.items()],
    }
    return json.dumps(made)


@pytest.fixture
def kernel() -> FakeKernel:
    made = FakeKernel(
        files=FILES | {"/dev/card0": Device("c", 226, 0, 0o660), "/dev/disk0": Device("b", 8, 16)}
    )
    made.add_rootfs("/image")
    return made


def effective(kernel: FakeKernel, names: str, plugin: Cdi | None = None, **config: Any) -> dict[str, Any]:
    """Return the config as it is after the devices *names* have been added."""
    made: dict[str, Any] = prepared(kernel, names, plugin, **config).data()
    return made


def prepared(kernel: FakeKernel, names: str, plugin: Cdi | None = None, **config: Any) -> Any:
    runtime = orlop.Runtime.compose(FakePlatform(kernel), [*NAMES, plugin or Cdi()])
    made = {
        "ociVersion": "1.3.0",
        "root": {"path": "/image"},
        "process": {
            "cwd": "/",
            "args": ["/bin/sleep", "9"],
            "user": {"uid": 0, "gid": 0},
            "env": ["PATH=/bin"],
        },
        "linux": {"namespaces": [{"type": "mount"}, {"type": "network"}]},
    } | config
    if names:
        made["annotations"] = {KEY: names}
    return runtime.explain(made).prepared


def one(kernel: FakeKernel, name: str = "/etc/cdi/one.json", **edits: Any) -> None:
    """Put a document with one device, ``x.com/y=z``, on the machine."""
    kernel.add_files({name: document("x.com/y", z=edits)})


def test_the_plugin_keeps_the_contract() -> None:
    for report in check_distribution("cdi"):
        report.require()


def test_the_edits_of_a_document_are_made_once_before_those_of_its_first_device(kernel: FakeKernel) -> None:
    made = effective(kernel, "vendor.com/gpu=b,vendor.com/timer=0,vendor.com/gpu=a")
    assert made["process"]["env"] == ["PATH=/bin", "VENDOR_GPU=yes", "VENDOR_GPU_B=1", "VENDOR_GPU_A=1"]
    assert [device["path"] for device in made["linux"]["devices"]] == ["/dev/gpub", "/dev/timer", "/dev/gpua"]
    assert made["process"]["user"]["additionalGids"] == [44]
    assert [mount["destination"] for mount in made["mounts"]] == ["/opt/vendor"]
    assert made["hooks"]["createRuntime"] == [{"path": "/bin/true", "args": ["true", "gpu"], "timeout": 5}]


def test_owners_are_known(kernel: FakeKernel) -> None:
    owners = prepared(kernel, "vendor.com/gpu=a").owners
    assert set(owners.values()) == {"cdi"}
    assert "/process/env/1" in owners
    assert "/hooks/createRuntime/0" in owners


def test_what_a_node_leaves_open_is_what_the_host_has(kernel: FakeKernel) -> None:
    one(kernel, deviceNodes=[{"path": "/dev/dri/card", "hostPath": "/dev/card0"}, {"path": "/dev/disk0"}])
    made = effective(kernel, "x.com/y=z")["linux"]
    assert made["devices"] == [
        {"path": "/dev/dri/card", "type": "c", "major": 226, "minor": 0, "fileMode": 0o660},
        {"path": "/dev/disk0", "type": "b", "major": 8, "minor": 16, "fileMode": 0o666},
    ]
    assert made["resources"]["devices"] == [
        {"allow": True, "type": "c", "major": 226, "minor": 0, "access": "rwm"},
        {"allow": True, "type": "b", "major": 8, "minor": 16, "access": "rwm"},
    ]


def test_permissions_and_owners_of_nodes(kernel: FakeKernel) -> None:
    one(
        kernel,
        deviceNodes=[
            {"path": "/dev/a", "hostPath": "/dev/card0", "permissions": "none"},
            {"path": "/dev/b", "hostPath": "/dev/card0", "permissions": "r", "uid": 0},
            {"path": "/dev/f", "type": "p"},
        ],
    )
    user = {"cwd": "/", "args": ["/bin/sleep"], "user": {"uid": 1000, "gid": 100}}
    made = effective(kernel, "x.com/y=z", process=user)["linux"]
    assert [(d["path"], d.get("uid"), d.get("gid")) for d in made["devices"]] == [
        ("/dev/a", 1000, 100),
        ("/dev/b", 0, 100),
        ("/dev/f", 1000, 100),
    ]
    assert [rule["access"] for rule in made["resources"]["devices"]] == ["r"]


def test_what_the_config_has_is_replaced(kernel: FakeKernel) -> None:
    one(
        kernel,
        env=["PATH=/opt/bin", "NEW=1"],
        mounts=[{"hostPath": "/usr", "containerPath": "/data", "options": ["ro", "bind"]}],
        deviceNodes=[{"path": "/dev/fuse", "type": "c", "major": 226, "minor": 0}],
    )
    config: dict[str, Any] = {
        "mounts": [{"destination": "/data", "type": "tmpfs", "source": "tmpfs"}],
        "linux": {
            "namespaces": [{"type": "mount"}],
            "devices": [{"path": "/dev/fuse", "type": "c", "major": 10, "minor": 229}],
        },
    }
    made = effective(kernel, "x.com/y=z", **config)
    assert made["process"]["env"] == ["PATH=/opt/bin", "NEW=1"]
    assert made["mounts"] == [{"destination": "/data", "source": "/usr", "options": ["ro", "bind"]}]
    assert [device["major"] for device in made["linux"]["devices"]] == [226]


def test_mounts_stand_behind_those_that_they_lie_below(kernel: FakeKernel) -> None:
    bind = {"hostPath": "/usr", "options": ["bind"]}
    one(kernel, mounts=[bind | {"containerPath": "/opt/a/b"}, bind | {"containerPath": "/opt"}])
    deep = {"destination": "/opt/x/y", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid"]}
    proc = {"destination": "/proc", "type": "proc", "source": "proc"}
    made = effective(kernel, "x.com/y=z", mounts=[deep, proc])["mounts"]
    assert [mount["destination"] for mount in made] == ["/proc", "/opt", "/opt/x/y", "/opt/a/b"]
    assert deep in made
    appended = effective(kernel, "x.com/y=z", mounts=[proc])["mounts"]
    assert [mount["destination"] for mount in appended] == ["/proc", "/opt", "/opt/a/b"]


def test_classes_of_service_and_network_devices(kernel: FakeKernel) -> None:
    rdt = {"closID": "gold", "schemata": ["L3:0=f"], "enableMonitoring": True}
    kernel.add_link("eth7")
    one(kernel, intelRdt=rdt, netDevices=[{"hostInterfaceName": "eth7", "name": "in0"}])
    made = effective(kernel, "x.com/y=z")["linux"]
    assert made["intelRdt"] == rdt
    assert made["netDevices"] == {"eth7": {"name": "in0"}}


def test_two_devices_that_want_different_classes_are_refused(kernel: FakeKernel) -> None:
    both = {name: {"intelRdt": {"closID": name}} for name in ("gold", "tin")}
    kernel.add_files({"/etc/cdi/rdt.json": document("x.com/rdt", None, **both)})
    with pytest.raises(ConfigError, match=r"x.com/rdt=gold and x.com/rdt=tin both want to set"):
        effective(kernel, "x.com/rdt=gold,x.com/rdt=tin")


def test_a_device_that_is_not_there_is_refused(kernel: FakeKernel) -> None:
    one(kernel, deviceNodes=[{"path": "/dev/absent"}])
    with pytest.raises(ConfigError, match=r"x.com/y=z needs device /dev/absent: no such file"):
        effective(kernel, "x.com/y=z")
    one(kernel, deviceNodes=[{"path": "/dev/card0", "type": "b"}])
    with pytest.raises(ConfigError, match="/dev/card0 is a device of type c here, not b"):
        effective(kernel, "x.com/y=z")


@pytest.mark.parametrize(
    ("names", "words"),
    [
        ("vendor.com/gpu=c", "known: vendor.com/gpu=a, vendor.com/gpu=b"),
        ("vendor.com/none=a", "no document describes devices of kind vendor.com/none"),
        ("gpu", "a device is asked for as"),
        ("vendor.com/gpu=a,", "a device is asked for as"),
    ],
)
def test_names_of_nothing_are_refused_at_their_annotation(kernel: FakeKernel, names: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        effective(kernel, names)
    assert caught.value.pointer == "/annotations/cdi.k8s.io~1sample"
    assert caught.value.plugin == "cdi"


def test_later_directories_take_precedence_and_one_directory_is_at_odds_with_itself(
    kernel: FakeKernel,
) -> None:
    one(kernel, env=["WHO=etc"])
    assert "WHO=etc" in effective(kernel, "x.com/y=z")["process"]["env"]
    one(kernel, "/var/run/cdi/one.json", env=["WHO=run"])
    assert "WHO=run" in effective(kernel, "x.com/y=z")["process"]["env"]
    one(kernel, "/var/run/cdi/two.json", env=["WHO=nobody"])
    with pytest.raises(ConfigError, match=r"described by /var/run/cdi/one.json and by /var/run/cdi/two.json"):
        effective(kernel, "x.com/y=z")
    assert "VENDOR_GPU=yes" in effective(kernel, "vendor.com/gpu=a")["process"]["env"]


def test_a_document_that_cannot_be_used_is_named_when_its_device_is_missed(kernel: FakeKernel) -> None:
    kernel.add_files(
        {
            "/etc/cdi/broken.json": "{",
            "/etc/cdi/other.yaml": "kind: x",
            "/etc/cdi/other.yml": "kind: x",
            "/etc/cdi/notes.txt": "x",
        }
    )
    registry = Registry(kernel.host_view())
    assert sorted(registry.faults) == ["/etc/cdi/broken.json", "/etc/cdi/other.yaml", "/etc/cdi/other.yml"]
    assert registry.names == ["vendor.com/gpu=a", "vendor.com/gpu=b", "vendor.com/timer=0"]
    effective(kernel, "vendor.com/gpu=a")
    with pytest.raises(
        ConfigError,
        match=r"broken.json: not a JSON.*other.yaml: /: cdiVersion.*other.yml: the names of documents",
    ):
        effective(kernel, "x.com/y=z")


def test_documents_in_yaml_are_the_same_as_those_in_json(kernel: FakeKernel) -> None:
    text = """
        cdiVersion: 0.5.0
        kind: x.com/y
        devices:
        - name: z
          containerEdits:
            env: [WHO=yaml]
            deviceNodes: [{path: /dev/dri/card, hostPath: /dev/card0, fileMode: 0600}]
    """
    kernel.add_files({"/etc/cdi/one.yaml": text})
    made = effective(kernel, "vendor.com/gpu=a,x.com/y=z")
    assert made["process"]["env"][-2:] == ["VENDOR_GPU_A=1", "WHO=yaml"]
    assert made["linux"]["devices"][-1]["fileMode"] == 0o600
    one(kernel, env=["WHO=json"])
    with pytest.raises(ConfigError, match=r"described by /etc/cdi/one.json and by /etc/cdi/one.yaml"):
        effective(kernel, "x.com/y=z")


def test_a_program_asks_for_devices(kernel: FakeKernel) -> None:
    config = {"annotations": {"a": "b"}}
    asked = request(config, "vendor.com/gpu=a", "vendor.com/timer=0")
    assert asked["annotations"] == {"a": "b", "cdi.k8s.io/orlop": "vendor.com/gpu=a,vendor.com/timer=0"}
    assert config == {"annotations": {"a": "b"}}
    with pytest.raises(ValueError, match=r"asks for devices under cdi.k8s.io/orlop already"):
        request(asked, "vendor.com/gpu=b")
    with pytest.raises(ValueError, match="asked for as"):
        request(config, "gpu")
    with pytest.raises(ValueError, match="asked for as"):
        Cdi(devices=["gpu"])
    kernel.add_files({"/opt/cdi/one.json": document("x.com/y", z={"env": ["ALWAYS=1"]})})
    everywhere = Cdi(directories=("/opt/cdi", "/etc/cdi"), devices=["x.com/y=z"])
    assert "ALWAYS=1" in effective(kernel, "", everywhere)["process"]["env"]


def test_a_container_has_what_it_asked_for(kernel: FakeKernel) -> None:
    def app(p: Any) -> int:
        major, tool = p.stat("/dev/gpua").major, p.exists("/opt/vendor/bin/env")
        p.write(f"{p.env['VENDOR_GPU_A']} {major} {tool} {p.groups}")
        return 0

    kernel.hooks["/bin/true"] = lambda _: 0
    kernel.add_files({"/image/bin/app": app})
    runtime = orlop.Runtime.compose(FakePlatform(kernel), [*NAMES, Cdi()])
    config = {
        "ociVersion": "1.3.0",
        "root": {"path": "/image"},
        "process": {"cwd": "/", "args": ["/bin/app"], "user": {"uid": 0, "gid": 0}},
        "linux": {"namespaces": [{"type": "mount"}, {"type": "pid"}]},
    }
    box = runtime.create("box", request(config, "vendor.com/gpu=a"))
    box.start()
    assert box.wait() == 0
    assert kernel.output("box") == "1 1 True (44,)"
    assert [call.kind for call in kernel.hook_calls] == ["createRuntime"]
    box.delete()
    assert kernel.leaks() == []


def test_the_features_document_warns_of_the_annotations(kernel: FakeKernel) -> None:
    features = orlop.Runtime.compose(FakePlatform(kernel), [*NAMES, Cdi()]).features()
    assert "cdi.k8s.io/" in (features.potentially_unsafe_config_annotations or ())
    assert (features.annotations or {})["org.cncf.cdi.version"] == "1.1.0"
