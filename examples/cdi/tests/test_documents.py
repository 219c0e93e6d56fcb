"""Documents: what is read, what is refused, and which version has what."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from orlop_cdi import CdiError, minimum_version, read_spec
from orlop_cdi.names import device_fault, kind_fault, qualified_fault
from orlop_cdi.versions import VERSIONS

PLAIN: dict[str, Any] = {
    "cdiVersion": "0.3.0",
    "kind": "vendor.com/gpu",
    "devices": [{"name": "gpu0", "containerEdits": {"env": ["A=1"]}}],
}


IN_YAML = """
# One of each kind of thing.
cdiVersion: 1.1.0
kind: vendor.com/net
annotations: {com.vendor.driver: "1"}
containerEdits:
  env: [VENDOR=yes, "PORT=08"]
  hooks:
  - hookName: createContainer
    path: /usr/bin/vendor-hook
    args: [vendor-hook, "--chmod", "0660"]
    timeout: 5
devices:
- name: "0"
  containerEdits: &edits
    deviceNodes:
    - {path: /dev/net0, hostPath: /dev/vendor/net0, fileMode: 0660, uid: 0, permissions: rw}
    - {path: /dev/ctl, type: c, major: 0xe2, minor: 1, fileMode: 0o660}
    mounts:
    - hostPath: /opt/vendor
      containerPath: /opt/vendor
      options: [ro, bind]
    additionalGids: [44]
    intelRdt: {closID: gold, schemata: ["L3:0=f"], enableMonitoring: true}
    netDevices: [{hostInterfaceName: eth1, name: in0}]
- name: all
  containerEdits: *edits
- name: more
  containerEdits:
    <<: *edits
    additionalGids: [45]
"""


def changed(**fields: Any) -> dict[str, Any]:
    return copy.deepcopy(PLAIN) | fields


def with_edits(**edits: Any) -> dict[str, Any]:
    return changed(devices=[{"name": "gpu0", "containerEdits": edits}])


def refusal(document: Any) -> str:
    content = document if isinstance(document, bytes) else json.dumps(document).encode()
    with pytest.raises(CdiError) as caught:
        read_spec(content, "/etc/cdi/x.json")
    text = str(caught.value)
    assert text.startswith("/etc/cdi/x.json: ")
    return text


def test_a_plain_document_is_read() -> None:
    spec = read_spec(json.dumps(PLAIN).encode(), "/etc/cdi/x.json")
    assert (spec.kind, spec.version) == ("vendor.com/gpu", "0.3.0")
    assert [device.qualified for device in spec.devices] == ["vendor.com/gpu=gpu0"]


def test_yaml_says_the_same_as_json() -> None:
    spec = read_spec(IN_YAML.encode(), "/etc/cdi/x.yaml")
    assert [device.qualified for device in spec.devices] == [
        f"vendor.com/net={n}" for n in ("0", "all", "more")
    ]
    assert spec.edits["env"] == ["VENDOR=yes", "PORT=08"]
    assert spec.edits["hooks"][0]["args"] == ["vendor-hook", "--chmod", "0660"]
    first, second, third = (device.edits for device in spec.devices)
    assert [node["fileMode"] for node in first["deviceNodes"]] == [0o660, 0o660]
    assert first["deviceNodes"][1]["major"] == 226
    assert first == second
    assert (third["additionalGids"], third["mounts"]) == ([45], first["mounts"])
    document = {
        "cdiVersion": "1.1.0",
        "kind": "vendor.com/net",
        "annotations": {"com.vendor.driver": "1"},
        "containerEdits": spec.edits,
        "devices": [{"name": device.name, "containerEdits": device.edits} for device in spec.devices],
    }
    assert read_spec(json.dumps(document).encode(), "/etc/cdi/x.yaml") == spec
    assert read_spec(json.dumps(document).encode(), "/etc/cdi/x.json").devices == spec.devices


def bomb() -> str:
    """Return a document of few lines that would fill the memory, if its aliases were followed."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("kind: [", "not a YAML document: "),
        ("a: 1\nb: [}", "line 2, column 5"),
        ("\tkind: x", "not a YAML document"),
        ("", "an object is expected"),
        ("--- {}\n--- {}", "another document"),
        ("kind: a\nkind: b", "a key stands twice in one object, line 2"),
        ("a: {b: 1, b: 2}", "a key stands twice"),
        ("1: x", "key 1 is not a string"),
        ("? [a]\n: x", "not a YAML document"),
        ("kind: !!python/object/apply:os.system [id]", "could not determine a constructor"),
        ("kind: !!binary aGk=", "could not determine a constructor"),
        ("kind: !mine x", "could not determine a constructor"),
        ("kind: &a [*a]", "not a YAML document"),
        ("[" * 60, "it is nested too deeply"),
        (bomb(), "its aliases make too much of it"),
        (
            "cdiVersion: 0.3.0\nkind: x.com/y\ndevices: [{name: 0, containerEdits: {env: [A=1]}}]",
            "/devices/0/name",
        ),
        (
            "cdiVersion: 1.1.0\nkind: x.com/y\ndevices: [{name: a, containerEdits: {surprise: 1}}]",
            "no such field",
        ),
        (IN_YAML.replace("cdiVersion: 1.1.0", "cdiVersion: 1.0.0"), "needs version 1.1.0"),
        (IN_YAML.replace("timeout: 5", "timeout: 1:30"), "/containerEdits/hooks/0/timeout: an integer"),
        (IN_YAML.replace("timeout: 5", "timeout: 1e400"), "no JSON number"),
        (
            IN_YAML.replace("enableMonitoring: true", "enableMonitoring: yes"),
            "/enableMonitoring: true or false",
        ),
    ],
)
def test_what_is_refused_of_yaml(text: str, words: str) -> None:
    with pytest.raises(CdiError) as caught:
        read_spec(text.encode(), "/etc/cdi/x.yaml")
    message = str(caught.value)
    assert message.startswith("/etc/cdi/x.yaml: ")
    assert words in message
    assert "\n" not in message


def test_bytes_that_are_no_text_are_no_yaml() -> None:
    for content in (b"\xff", b"kind: \x00", b"a: " + b"[" * 2_000):
        with pytest.raises(CdiError, match="not a YAML document"):
            read_spec(content, "/etc/cdi/x.yaml")


@pytest.mark.parametrize("version", VERSIONS)
def test_every_released_version_is_known_with_and_without_its_v(version: str) -> None:
    for text in (version, f"v{version}"):
        assert read_spec(json.dumps(changed(cdiVersion=text)).encode()).version == version


@pytest.mark.parametrize(
    ("document", "words"),
    [
        (b"", "not a JSON document"),
        (b"[" * 100_000, "not a JSON document"),
        (b"\xff", "not a JSON document"),
        (b'{"kind": "a", "kind": "b"}', "a key stands twice"),
        (b'{"kind": NaN}', "no JSON number"),
        ([], "an object is expected"),
        ({}, "cdiVersion is missing"),
        (changed(cdiVersion="9.9.9"), "version 9.9.9 is unknown"),
        (changed(cdiVersion=1), "/cdiVersion: a string"),
        (changed(kind="vendor"), "/kind: a kind is a vendor, a slash and a class"),
        (changed(kind="vendor.com/a/b"), "/kind: the class"),
        (changed(kind="-x.com/a"), "/kind: the vendor"),
        (changed(devices=[]), "/devices: there is no device"),
        (changed(devices={}), "/devices: an array"),
        (changed(devices=[PLAIN["devices"][0]] * 2), "/devices/1/name: a second device gpu0"),
        (changed(devices=[{"name": "x y", "containerEdits": {"env": ["A=1"]}}]), "/devices/0/name"),
        (changed(devices=[{"name": "x"}]), "/devices/0: containerEdits is missing"),
        (with_edits(), "/devices/0/containerEdits: the device has no edits"),
        (changed(surprise=1), "/surprise: there is no such field"),
        (with_edits(surprise=1), "/devices/0/containerEdits/surprise: there is no such field"),
        (with_edits(env=["A"]), "/env/0: a variable is written as NAME=VALUE"),
        (with_edits(env=["=1"]), "/env/0"),
        (with_edits(env="A=1"), "/env: an array"),
        (with_edits(deviceNodes=[{}]), "/deviceNodes/0: path is missing"),
        (with_edits(deviceNodes=[{"path": "dev/x"}]), "/deviceNodes/0/path: an absolute path"),
        (with_edits(deviceNodes=[{"path": "/dev/x", "type": "z"}]), "/type: the type of a device node"),
        (with_edits(deviceNodes=[{"path": "/dev/x", "permissions": "rx"}]), "/permissions"),
        (with_edits(deviceNodes=[{"path": "/dev/x", "major": True}]), "/major: an integer"),
        (with_edits(deviceNodes=[{"path": "/dev/x", "uid": -1}]), "/uid: an integer"),
        (with_edits(mounts=[{"hostPath": "/x"}]), "/mounts/0: containerPath is missing"),
        (with_edits(mounts=[{"hostPath": "", "containerPath": "/x"}]), "/mounts/0/hostPath"),
        (with_edits(hooks=[{"hookName": "later", "path": "/x"}]), "/hooks/0/hookName: the name of a hook"),
        (with_edits(hooks=[{"hookName": "poststop", "path": "x"}]), "/hooks/0/path: an absolute path"),
        (with_edits(hooks=[{"hookName": "poststop", "path": "/x", "timeout": 0}]), "/timeout"),
    ],
)
def test_what_is_refused(document: Any, words: str) -> None:
    assert words in refusal(document)


NEWER: list[tuple[str, dict[str, Any]]] = [
    ("0.4.0", with_edits(mounts=[{"hostPath": "/x", "containerPath": "/x", "type": "tmpfs"}])),
    ("0.5.0", with_edits(deviceNodes=[{"path": "/dev/x", "hostPath": "/dev/y"}])),
    ("0.5.0", changed(devices=[{"name": "0", "containerEdits": {"env": ["A=1"]}}])),
    ("0.6.0", changed(annotations={"a": "b"})),
    ("0.6.0", changed(devices=[PLAIN["devices"][0] | {"annotations": {"a": "b"}}])),
    ("0.6.0", changed(kind="vendor.com/gpu.large")),
    ("0.7.0", with_edits(intelRdt={"closID": "gold"})),
    ("0.7.0", with_edits(additionalGids=[44])),
    ("0.7.0", changed(containerEdits={"additionalGids": [44]})),
    ("1.1.0", with_edits(intelRdt={"schemata": ["L3:0=f"]})),
    ("1.1.0", with_edits(intelRdt={"enableMonitoring": True})),
    ("1.1.0", with_edits(netDevices=[{"hostInterfaceName": "eth1", "name": "in0"}])),
]


@pytest.mark.parametrize(("version", "document"), NEWER)
def test_fields_are_refused_before_the_version_that_has_them(version: str, document: dict[str, Any]) -> None:
    assert minimum_version(document)[0] == version
    before = VERSIONS[VERSIONS.index(version) - 1]
    assert f"needs version {version}" in refusal(document | {"cdiVersion": before})
    read_spec(json.dumps(document | {"cdiVersion": version}).encode())
    read_spec(json.dumps(document | {"cdiVersion": VERSIONS[-1]}).encode())


def test_fields_that_a_version_took_away_are_refused() -> None:
    document = with_edits(intelRdt={"enableCMT": True}) | {"cdiVersion": "1.1.0"}
    assert "enableCMT: there is no such field; version 1.1.0 took it away" in refusal(document)


@pytest.mark.parametrize("clos", [".", "..", "a/b", "a\nb", "x" * 5000, 7])
def test_classes_of_service_have_names_of_directories(clos: Any) -> None:
    assert "/intelRdt/closID" in refusal(with_edits(intelRdt={"closID": clos}) | {"cdiVersion": "0.7.0"})


@pytest.mark.parametrize("kind", ["vendor.com/gpu", "a/b", "foo.bar.baz/foo-bar123.B_az", "V1/" + "x" * 63])
def test_kinds(kind: str) -> None:
    assert kind_fault(kind) == ""


@pytest.mark.parametrize(
    "kind", ["", "/", "foo", "vendor.com/", "v_x/a", "a..b/c", "a/" + "x" * 64, "x" * 254 + "/a"]
)
def test_no_kinds(kind: str) -> None:
    assert kind_fault(kind)


def test_names_of_devices() -> None:
    for name in ("0", "gpu0", "a-b_c.d:e", "A"):
        assert device_fault(name) == ""
    for name in ("", "-a", "a-", "a b", "a/b", "\u00e4"):
        assert device_fault(name)
    assert qualified_fault("vendor.com/gpu=0") == ""
    assert qualified_fault("vendor.com/gpu").startswith("a device is asked for as")
