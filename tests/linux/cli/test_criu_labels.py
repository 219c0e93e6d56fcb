"""What confines restored processes: the config's, or what the caller asks for, never what the images say."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from tests.linux.child.support import children_of
from tests.linux.cli.conftest import Bundle, Runtime
from tests.linux.cli.test_checkpoint import Talk, call, prepare, restore, start, talking

pytestmark = pytest.mark.needs("criu")


def configure(bundle: Bundle, made: dict[str, Any], name: str) -> None:
    made["process"].pop("apparmorProfile", None)
    if name:
        made["process"]["apparmorProfile"] = name
    bundle.write(json.dumps(made))


def begin(run: Runtime, bundle: Bundle, talk: Talk, image: Path) -> None:
    """Write a container to images that has a second process."""
    start(run, bundle, talk)
    status, error = call(run, "checkpoint", "--image-path", str(image), "one")
    assert status == 0, error


def profiles(run: Runtime) -> set[str]:
    """Return the profiles of the processes of container ``two``."""
    pid = run.state("two")["pid"]
    family = {pid, *children_of(pid)}
    assert len(family) > 1
    return {Path(f"/proc/{one}/attr/apparmor/current").read_text().strip() for one in family}


@pytest.mark.needs("apparmor")
def test_the_profile_is_the_configs_or_the_callers(
    run: Runtime, bundle: Bundle, tmp_path: Path, profile: str
) -> None:
    image, names = tmp_path / "images", [f"{profile}-restored", f"{profile} with space", f"{profile}-open"]
    made = prepare(bundle)
    # A sleep of its own would end: criu interrupts nanosleep(2).
    child = "while :; do sleep 100; done & "
    made["process"]["args"][2] = f"exec 2>/dev/null; {child}{made['process']['args'][2]}"
    configure(bundle, made, names[0])
    with talking() as talk:
        begin(run, bundle, talk, image)
    for name, flags in ((names[1], []), (names[1], ["--lsm-profile", f"apparmor:{names[2]}"])):
        configure(bundle, made, name)
        with talking() as talk:
            assert restore(run, bundle, image, talk, *flags) == (0, "")
            assert talk.say("second") == "second 2 content"
            assert profiles(run) == {f"{names[2] if flags else name} (enforce)"}
            run("delete", "--force", "two")


@pytest.mark.needs("apparmor")
def test_images_without_a_profile_are_refused_where_the_config_has_one(
    run: Runtime, bundle: Bundle, tmp_path: Path, profile: str
) -> None:
    image = tmp_path / "images"
    made = prepare(bundle)
    with talking() as talk:
        begin(run, bundle, talk, image)
    for name, words in (
        (f"{profile}-restored", "the container process has another AppArmor profile"),
        (f"{profile}-absent", "profile"),
    ):
        configure(bundle, made, name)
        status, error = restore(run, bundle, image, None)
        assert (status, error.count("\n"), words in error) == (1, 1, True), error
        assert run.names() == []


CONTEXTS = [f"u:object_r:files_t:s0:{categories}" for categories in ("c1,c2", "c3", "c1")]


@pytest.mark.needs("selinux")
def test_the_context_of_mounts_is_the_configs_or_the_callers(
    run: Runtime, bundle: Bundle, tmp_path: Path
) -> None:
    image = tmp_path / "images"
    made = prepare(bundle)
    made["linux"]["mountLabel"] = CONTEXTS[0]
    bundle.write(json.dumps(made))
    with talking() as talk:
        begin(run, bundle, talk, image)
    made["linux"]["mountLabel"] = CONTEXTS[1]
    bundle.write(json.dumps(made))
    for flags, context in (([], CONTEXTS[1]), (["--lsm-mount-context", CONTEXTS[2]], CONTEXTS[2])):
        with talking() as talk:
            assert restore(run, bundle, image, talk, *flags) == (0, "")
            assert talk.say("second") == "second 2 content"
            root = f"/proc/{run.state('two')['pid']}/root"
            for place in ("tmp", "dev", "dev/shm"):
                found = os.getxattr(f"{root}/{place}", "security.selinux").rstrip(b"\0")
                assert found.decode() == context
            run("delete", "--force", "two")


@pytest.mark.needs("selinux")
def test_images_without_contexts_are_refused_where_the_config_has_some(
    run: Runtime, bundle: Bundle, tmp_path: Path
) -> None:
    """And so is a checkpoint of a process with a context, by a criu that keeps none: it goes on."""
    image = tmp_path / "images"
    made = prepare(bundle)
    with talking() as talk:
        begin(run, bundle, talk, image)
    made["linux"]["mountLabel"] = CONTEXTS[0]
    bundle.write(json.dumps(made))
    status, error = restore(run, bundle, image, None)
    assert (status, error.count("\n"), "a mount has another SELinux context" in error) == (1, 1, True)
    assert run.names() == []
    made["process"]["selinuxLabel"] = "u:r:payload_t:s0:c2,c1"
    bundle.write(json.dumps(made))
    with talking() as talk:
        start(run, bundle, talk)
        status, error = call(run, "checkpoint", "--image-path", str(tmp_path / "others"), "one")
        if status == 0:  # a criu that was built with SELinux
            return
        assert (error.count("\n"), "criu keeps no labels of SELinux" in error) == (1, True)
        assert talk.say("second") == "second 2 content"
        assert run.state("one")["status"] == "running"
