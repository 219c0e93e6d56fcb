"""``orlop exec`` under AppArmor and SELinux: the profile or the label of the new process, and bad names."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.linux.security import FORBIDDEN, is_valid
from tests.needs import lacks

if TYPE_CHECKING:
    from tests.linux.cli.conftest import Bundle, Runtime

PAYLOAD = "u:r:payload_t:s0:c1,c2"


def start(run: Runtime, bundle: Bundle, tmp_path: Path, **process: Any) -> int:
    """Start the container *one* and return its process."""
    bundle.configure(**process)
    done = run("run", "--detach", "-b", str(bundle), "one", output=tmp_path / "container")
    assert done.returncode == 0, done.stdout
    pid: int = run.state("one")["pid"]
    return pid


def shown(run: Runtime, *flags: str, file: str) -> str:
    """Execute a program that shows its own label, and return that."""
    done = run("exec", *flags, "one", "cat", f"/proc/self/attr/{file}")
    assert (done.returncode, done.stderr) == (0, ""), done
    return done.stdout.rstrip("\0\n")


def by_document(tmp_path: Path, *args: str, **process: Any) -> tuple[str, str]:
    """Return the flags of a process document."""
    path = tmp_path / "process.json"
    path.write_text(json.dumps({"cwd": "/", "args": list(args), "env": ["PATH=/bin"], **process}))
    return "--process", str(path)


def refused(run: Runtime, *arguments: str, because: str) -> None:
    """Expect one plain line, and nothing beside the container's own process."""
    before = run("ps", "--format=json", "one").stdout
    done = run("exec", *arguments)
    assert (done.returncode, done.stdout) == (255, "")
    (line,) = done.stderr.splitlines()
    assert because in line, line
    assert run("ps", "--format=json", "one").stdout == before
    assert run.state("one")["status"] == "running"


@pytest.mark.needs("apparmor")
def test_a_process_has_the_profile_that_it_is_given_else_the_containers(
    run: Runtime, bundle: Bundle, tmp_path: Path, profile: str
) -> None:
    first = start(run, bundle, tmp_path, apparmorProfile=profile)
    current = "apparmor/current"
    assert shown(run, file=current) == f"{profile} (enforce)"
    for flags in ((), ("--no-new-privs",)):
        # A confined process without new privileges could not get another profile; this one has none before.
        flag = f"--apparmor={profile}-open"
        assert shown(run, flag, *flags, file=current) == f"{profile}-open (enforce)"
    assert shown(run, "--apparmor=unconfined", file=current) == "unconfined"
    for name, words in ((profile, f"{profile} (enforce)"), (f"{profile}-open", f"{profile}-open (enforce)")):
        document = by_document(tmp_path, "cat", f"/proc/self/attr/{current}", apparmorProfile=name)
        done = run("exec", *document, "one")
        assert (done.returncode, done.stdout, done.stderr) == (0, f"{words}\n", "")
    assert Path(f"/proc/{first}/attr/{current}").read_text() == f"{profile} (enforce)\n"


def keeps_from(run: Runtime, flag: str, secret: str) -> None:
    """Assert that a process reads the file *secret*, and one with *flag* does not."""
    assert run("exec", "one", "cat", secret).stdout == "secret\n"
    done = run("exec", flag, "one", "cat", secret)
    assert (done.returncode, done.stdout) == (1, "")
    assert "Permission denied" in done.stderr


@pytest.mark.needs("apparmor")
def test_the_profile_of_a_process_is_enforced(
    run: Runtime, bundle: Bundle, tmp_path: Path, profile: str
) -> None:
    data = bundle.path / "rootfs/data"
    data.mkdir()
    (data / "secret").write_text("secret\n")
    start(run, bundle, tmp_path)
    keeps_from(run, f"--apparmor={profile}", "/data/secret")


@pytest.mark.needs("apparmor")
@pytest.mark.parametrize("tail", ["-absent", " with", "//hat"])
def test_a_profile_that_is_not_loaded_is_refused_in_one_line(
    run: Runtime, bundle: Bundle, tmp_path: Path, profile: str, tail: str
) -> None:
    start(run, bundle, tmp_path)
    name = profile + tail
    # What is logged as text has its quotation marks escaped.
    because = f'AppArmor has no profile \\"{name}\\" loaded'
    refused(run, f"--apparmor={name}", "one", "true", because=because)
    refused(run, *by_document(tmp_path, "true", apparmorProfile=name), "one", because=because)


def test_a_host_without_apparmor_executes_nothing_under_a_profile(
    run: Runtime, bundle: Bundle, tmp_path: Path
) -> None:
    if not lacks("apparmor"):
        pytest.skip("the host has AppArmor")
    start(run, bundle, tmp_path)
    refused(run, "--apparmor=box", "one", "true", because="AppArmor")


@pytest.mark.needs("selinux")
def test_a_process_has_the_label_that_it_is_given_else_the_containers(
    run: Runtime, bundle: Bundle, tmp_path: Path, labels: tuple[str, str]
) -> None:
    first = start(run, bundle, tmp_path, selinuxLabel=labels[0])
    other = labels[0].replace("c1,c2", "c3")
    assert is_valid(other)
    assert shown(run, file="current") == labels[0]
    for flags in ((), ("--no-new-privs",)):
        assert shown(run, f"--process-label={other}", *flags, file="current") == other
    for label in (labels[0], other):
        document = by_document(tmp_path, "cat", "/proc/self/attr/current", selinuxLabel=label)
        done = run("exec", *document, "one")
        assert (done.returncode, done.stdout.rstrip("\0\n"), done.stderr) == (0, label, "")
    assert Path(f"/proc/{first}/attr/current").read_text().rstrip("\0\n") == labels[0]


@pytest.mark.needs("selinux")
def test_the_label_of_a_process_is_enforced(run: Runtime, bundle: Bundle, tmp_path: Path) -> None:
    if not is_valid(FORBIDDEN):
        pytest.skip("needs the policy of the virtual machine, which forbids a program the secret")
    secret = bundle.path / "rootfs/secret"
    secret.write_text("secret\n")
    os.setxattr(secret, "security.selinux", FORBIDDEN.encode())
    start(run, bundle, tmp_path)
    keeps_from(run, f"--process-label={PAYLOAD}", "/secret")


@pytest.mark.needs("selinux")
@pytest.mark.parametrize("label", ["no_u:no_r:no_t:s0", "payload", "u:r:payload_t:s9"])
def test_a_label_that_the_policy_does_not_have_is_refused_in_one_line(
    run: Runtime, bundle: Bundle, tmp_path: Path, label: str
) -> None:
    start(run, bundle, tmp_path)
    refused(run, f"--process-label={label}", "one", "true", because=label)
    refused(run, *by_document(tmp_path, "true", selinuxLabel=label), "one", because=label)


def test_a_host_without_selinux_executes_nothing_under_a_label(
    run: Runtime, bundle: Bundle, tmp_path: Path
) -> None:
    if not lacks("selinux"):
        pytest.skip("the host has SELinux")
    start(run, bundle, tmp_path)
    refused(run, f"--process-label={PAYLOAD}", "one", "true", because="SELinux")
