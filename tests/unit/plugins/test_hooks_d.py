"""Plugin hooks-d: files in hooks.d (oci-hooks(5)), on a machine in memory that has some."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest

import orlop
from orlop.kit import Sample, check_life, check_planning
from orlop.plugins.faults import RefusedPluginsError
from orlop_fake import FakeKernel, FakePlatform
from orlop_hookspecs.errors import ConfigError
from orlop_linux.plugins import hooks_d

OWN, PACKAGED = hooks_d.DIRECTORIES
CONFIG: dict[str, Any] = {
    "ociVersion": "1.3.0",
    "root": {"path": "/image"},
    "process": {"cwd": "/", "args": ["/bin/sleep", "9"], "user": {"uid": 0, "gid": 0}},
    "annotations": {"com.example.gpu": "all", "x": "y"},
    "mounts": [{"destination": "/data", "source": "/usr", "options": ["rbind", "ro"]}],
    "linux": {"namespaces": [{"type": "mount"}]},
}


def definition(path: str = "/bin/true", stages: Sequence[str] = ("prestart",), **when: Any) -> str:
    return json.dumps(
        {"version": "1.0.0", "hook": {"path": path}, "when": when or {"always": True}, "stages": list(stages)}
    )


def runtime(files: dict[str, str], plugins: Sequence[str] = ("+hooks-d",)) -> orlop.Runtime:
    kernel = FakeKernel(files=files)
    kernel.add_rootfs("/image")
    return orlop.Runtime.compose(FakePlatform(kernel), plugins)


def hooks(files: dict[str, str], **config: Any) -> dict[str, list[str]]:
    """Return the paths of the hooks of each kind, as they are after the plugin has seen *files*."""
    data = runtime(files).explain(CONFIG | config).prepared.data()
    return {kind: [hook["path"] for hook in found] for kind, found in data.get("hooks", {}).items()}


def test_it_is_off_by_default_and_comes_in_addition() -> None:
    files = {f"{OWN}/a.json": definition()}
    plain = runtime(files, None)  # type: ignore[arg-type]
    assert "hooks-d" not in plain.composition.names
    assert "hooks" not in plain.explain(CONFIG).prepared.data()
    more = runtime(files)
    assert set(more.composition.names) - set(plain.composition.names) == {"hooks-d"}
    alone = runtime(files, ["hooks-d", *plain.composition.names])
    assert alone.composition.names == more.composition.names
    with pytest.raises(RefusedPluginsError, match="did you mean hooks-d"):
        runtime(files, ["+hook-d"])
    assert runtime(files, ["+rdma"]).composition.names == plain.composition.names


def test_names_in_lower_case_give_the_order_and_own_files_take_the_place_of_others() -> None:
    files = {
        f"{PACKAGED}/02-b.json": definition("/packaged/b"),
        f"{PACKAGED}/01-A.json": definition("/packaged/a"),
        f"{PACKAGED}/01-a2.json": definition("/packaged/a2"),
        f"{OWN}/02-b.json": definition("/own/b"),
        f"{OWN}/notes.txt": "{",
    }
    assert hooks(files) == {"prestart": ["/packaged/a", "/packaged/a2", "/own/b"]}


def test_hooks_of_the_config_come_first_and_each_stage_once() -> None:
    files = {f"{OWN}/a.json": definition("/x", ["poststop", "createRuntime", "poststop"])}
    found = hooks(files, hooks={"poststop": [{"path": "/first"}]})
    assert found == {"poststop": ["/first", "/x"], "createRuntime": ["/x"]}


@pytest.mark.parametrize(
    ("when", "met"),
    [
        ({"always": True}, True),
        ({"always": False}, False),
        ({"hasBindMounts": True}, True),
        ({"hasBindMounts": False}, False),
        ({"commands": ["sleep$"]}, True),
        ({"commands": ["^/bin/sh", "^/bin/sl"]}, True),
        ({"commands": ["^sleep"]}, False),
        ({"commands": []}, False),
        ({"annotations": {r"^com\.example\.": "^(all|none)$"}}, True),
        ({"annotations": {r"^com\.example\.": "^y$"}}, False),
        ({"annotations": {"gpu": ".", "x": "y"}}, True),
        ({"annotations": {"gpu": ".", "z": "y"}}, False),
        ({"annotations": {}, "always": True}, True),
        ({"always": True, "commands": ["nothing"]}, False),
        ({"hasBindMounts": True, "commands": ["sleep"]}, True),
    ],
)
def test_every_condition_must_be_met(when: dict[str, Any], met: bool) -> None:
    assert hooks({f"{OWN}/a.json": definition(**when)}) == ({"prestart": ["/bin/true"]} if met else {})


def test_conditions_on_what_a_config_lacks_are_not_met() -> None:
    when: dict[str, Any] = {"commands": ["."], "annotations": {".": "."}, "hasBindMounts": True}
    for name, value in when.items():
        files = {f"{OWN}/a.json": definition(**{name: value})}
        assert hooks(files, process=None, annotations=None, mounts=None) == {}


def test_a_text_that_is_too_long_is_not_skipped_in_silence() -> None:
    files = {f"{OWN}/a.json": definition(annotations={"gpu": "a"})}
    assert hooks(files, annotations={"com.example.other": "a" * 5000}) == {}
    with pytest.raises(ConfigError, match="a text of more than 4096 characters is not tried"):
        hooks(files, annotations={"com.example.gpu": "a" * 5000})


def changed(**fields: Any) -> str:
    return json.dumps(json.loads(definition()) | fields)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "cannot be read"),
        ("[]", "expected version 1.0.0"),
        (changed(version="0.1.0"), "expected version 1.0.0"),
        (changed(more=1), "unknown property more"),
        (changed(hook=None), "hook is not an object"),
        (changed(hook={}), "hook.path is not an absolute path"),
        (changed(hook={"path": "bin/true"}), "hook.path is not an absolute path"),
        (changed(hook={"path": "/x", "dir": "/"}), "unknown property hook.dir"),
        (changed(hook={"path": "/x", "args": "x"}), "hook.args is of a wrong type"),
        (changed(hook={"path": "/x", "args": [1]}), "hook.args is of a wrong type"),
        (changed(hook={"path": "/x", "timeout": True}), "hook.timeout is of a wrong type"),
        (changed(hook={"path": "/x", "timeout": 0}), "hook.timeout is not a positive number"),
        (changed(when={}), "when has no condition"),
        (changed(when={"sometimes": True}), "unknown property when.sometimes"),
        (changed(when={"annotations": {"a": 1}}), "when.annotations is of a wrong type"),
        (changed(when={"commands": ["("]}), "not a POSIX extended regular expression: POSIX leaves open"),
        (changed(when={"commands": [".*", r"\d"]}), "not a POSIX extended regular expression"),
        (changed(when={"annotations": {"no": "a*?"}}), "not a POSIX extended regular expression"),
        (changed(when={"annotations": {"(?i)no": "a"}}), "not a POSIX extended regular expression"),
        (changed(stages=[]), "stages is not an array of"),
        (changed(stages=["later"]), "stages is not an array of"),
        (changed(stages=[["prestart"]]), "stages is not an array of"),
    ],
)
def test_a_file_that_says_nothing_clear_refuses_the_container(text: str, words: str) -> None:
    with pytest.raises(ConfigError, match=f"{OWN}/a.json: {words}") as caught:
        hooks({f"{OWN}/a.json": text})
    assert caught.value.plugin == "hooks-d"
    assert caught.value.pointer == "/hooks"


def test_the_hooks_run_and_have_their_owner() -> None:
    files = {f"{PACKAGED}/a.json": definition("/usr/bin/hook", ["createRuntime"])}
    made = runtime(files)
    kernel: Any = made.kernel
    kernel.hooks["/usr/bin/hook"] = lambda _: 0
    assert made.explain(CONFIG).prepared.owners == {"/hooks/createRuntime/0": "hooks-d"}
    made.create("box", CONFIG).delete(force=True)
    assert [call.path for call in kernel.hook_calls] == ["/usr/bin/hook"]
    assert kernel.leaks() == []


def test_it_keeps_the_contract() -> None:
    samples = [
        Sample("a hook", {}, {f"{OWN}/a.json": definition(stages=["createRuntime", "poststop"])}),
        Sample("a broken file", {}, {f"{OWN}/a.json": "{"}, refused="/hooks"),
    ]
    check_planning(hooks_d, samples=samples).require()
    check_life(hooks_d, samples=samples).require()
