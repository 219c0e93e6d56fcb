"""Rules of checkpoint and restore, operations beyond the specification."""

from __future__ import annotations

import pytest
from tests.rules.world import PATIENCE, World, needs, rule

from orlop_hookspecs.errors import ContainerNotFoundError, OrlopError, StateError


@needs("criu")
@rule
def a_restored_program_goes_on_where_it_stood(w: World) -> None:
    bundle = w.bundle("/bin/trapper")
    c = w.create("c", bundle=bundle)
    c.start()
    w.until_output("c", "ready")
    before = w.output("c")
    c.checkpoint(w.place / "images")
    with pytest.raises(ContainerNotFoundError):
        c.state()
    assert w.left() == []
    c = w.restore("c", bundle, w.place / "images")
    assert c.state()["status"] == "running"
    c.kill("TERM")
    assert c.wait(timeout=PATIENCE) == 9
    assert w.output("c").removeprefix(before).endswith("got TERM\n")
    c.delete()
    assert w.left() == []


@needs("criu")
@rule
def what_the_config_does_not_allow_is_not_restored(w: World) -> None:
    bundle = w.bundle("/bin/trapper", change={"process": {"noNewPrivileges": False}})
    c = w.create("c", bundle=bundle)
    c.start()
    w.until_output("c", "ready")
    c.checkpoint(w.place / "images")
    del w.containers["c"]
    another = {"process": {"user": {"uid": 1000, "gid": 1000}}}
    for change, words in (({}, "process may gain privileges"), (another, "process is another user")):
        stricter = w.bundle("/bin/trapper", change=change)
        with pytest.raises(OrlopError, match=words):
            w.restore("c", stricter, w.place / "images")
        assert w.left() == []


@rule
def only_what_runs_can_be_checkpointed(w: World) -> None:
    c = w.create("c")
    with pytest.raises(StateError, match="container cannot be checkpointed in created state"):
        c.checkpoint(w.place / "images")
    assert c.state()["status"] == "created"
