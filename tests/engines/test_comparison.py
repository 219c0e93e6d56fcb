"""orlop beside runc and crun: everything that an engine would notice is listed, with a reason."""

from __future__ import annotations

import shutil

import pytest
from tests.engines.cases import CASES
from tests.engines.comparison import PEERS, listed, observed
from tests.engines.conftest import orlop_command


@pytest.mark.needs("cgroup-v1")  # what is counted, and in which files, is another thing on each kind of host
def test_all_that_differs_is_listed() -> None:
    missing = [peer for peer in PEERS if shutil.which(peer) is None]
    if missing:
        pytest.skip(f"needs {', '.join(missing)} (Debian packages of these names)")
    known = listed()
    found = observed(orlop_command())
    assert [row for row in found if row not in known] == [], "not in differences.toml"
    assert [row for row in known if row not in found] == [], "in differences.toml, and not there any more"
    assert len(CASES) > 60
