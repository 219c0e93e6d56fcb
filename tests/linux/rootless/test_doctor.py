"""What ``orlop doctor`` tells a user without privileges."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.linux.rootless.plain import GID, UID, Plain

pytestmark = pytest.mark.needs("plain-user")


def answers(plain: Plain, *arguments: str) -> dict[str, dict[str, Any]]:
    outcome = plain.run_plain("doctor", "--format", "json", *arguments)
    assert outcome.err == "", outcome
    return {one["name"]: one for one in json.loads(outcome.out)["capabilities"]}


def test_a_user_without_rights_is_told_what_is_denied(plain: Plain) -> None:
    found = answers(plain)
    assert found["namespace.user"]["usable"]
    assert found["namespace.pid"]["reason"] == "together with a user namespace"
    assert found["user.ids"]["reason"].startswith("only the caller's own id can be mapped")
    assert found["mounts"]["usable"]
    assert found["mounts.idmap"]["allowed"] is False
    assert found["netDevices"]["allowed"] is False
    assert found["cgroups"]["allowed"] is False
    assert "delegate" in found["cgroups"]["remedy"]
    plain.write(plain.config())
    assert plain.run_plain("doctor", "--bundle", str(plain.bundle)).status == 0
    plain.write(plain.config(linux={"resources": {"pids": {"limit": 5}}}))
    refused = plain.run_plain("doctor", "--bundle", str(plain.bundle), "--missing")
    assert refused.status == 1
    assert "controller.pids" in refused.out


def test_a_host_that_denies_user_namespaces_is_named(plain: Plain) -> None:
    """The kernel's parameter belongs to a user namespace, so this test denies them to its own only."""
    plain.prefix = [
        *("setpriv", f"--reuid={UID}", f"--regid={GID}", "--clear-groups"),
        *("unshare", "--user", "--map-current-user", "--keep-caps", "sh", "-c"),
        'echo 0 >/proc/sys/user/max_user_namespaces; exec setpriv --ambient-caps -all --inh-caps -all "$@"',
        "sh",
    ]
    outcome = plain.run_plain("doctor", "namespace.user", "--format", "json")
    assert outcome.status == 1, outcome
    (found,) = json.loads(outcome.out)["capabilities"]
    assert (found["available"], found["allowed"]) == (True, False)
    assert "max_user_namespaces is 0" in found["reason"]
    assert "sysctl(8)" in found["remedy"]
