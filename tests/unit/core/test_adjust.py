"""Adjustment: plugins propose changes, the engine applies them and knows who owns what."""

from __future__ import annotations

import pytest
from tests.unit.core.conftest import Compose
from tests.unit.core.stub import adjuster, config

from orlop.engine.adjust import apply, owner_of
from orlop.engine.prepare import RefusedConfigError
from orlop_hookspecs.errors import CompositionError, PluginError
from orlop_hookspecs.hooks.capability import Adjustment


def test_adjustments_change_a_copy_and_record_their_owners() -> None:
    data = config(process={"cwd": "/", "args": ["sh"], "env": ["A=1"]})
    changed, owners = apply(
        data,
        [
            ("one", Adjustment(set={"/hostname": "new", "/linux/resources/pids/limit": 5})),
            ("two", Adjustment(append={"/process/env": ["B=2"], "/mounts": [{"destination": "/x"}]})),
        ],
    )
    assert changed["hostname"] == "new"
    assert changed["linux"]["resources"] == {"pids": {"limit": 5}}
    assert changed["process"]["env"] == ["A=1", "B=2"]
    assert changed["mounts"] == [{"destination": "/x"}]
    assert owners == {
        "/hostname": "one",
        "/linux/resources/pids/limit": "one",
        "/process/env/1": "two",
        "/mounts/0": "two",
    }
    assert data["hostname"] == "stub"
    assert data["process"]["env"] == ["A=1"]
    assert "mounts" not in data
    assert owner_of(owners, "/mounts/0/destination") == "two"
    assert owner_of(owners, "/linux/resources") == "one"
    assert owner_of(owners, "/mount") == ""


@pytest.mark.parametrize(
    ("first", "second", "pointer"),
    [
        (Adjustment(set={"/hostname": "a"}), Adjustment(set={"/hostname": "b"}), "/hostname"),
        (Adjustment(set={"/hostname": "a"}), Adjustment(set={"/hostname": "a"}), "/hostname"),
        (
            Adjustment(set={"/linux/resources": {}}),
            Adjustment(set={"/linux/resources/cpu": {}}),
            "/linux/resources/cpu",
        ),
        (
            Adjustment(set={"/process/env/0": "A"}),
            Adjustment(append={"/process/env": ["B=1"]}),
            "/process/env",
        ),
        (
            Adjustment(append={"/process/env": ["B=1"]}),
            Adjustment(set={"/process": {"cwd": "/"}}),
            "/process/env",
        ),
        (
            Adjustment(append={"/mounts": [{"destination": "/dev/x"}]}),
            Adjustment(append={"/mounts": [{"destination": "/dev//./x/"}]}),
            "/mounts",
        ),
        (
            Adjustment(append={"/mounts": [{"destination": "/a/../x"}]}),
            Adjustment(append={"/mounts": [{"destination": "x"}]}),
            "/mounts",
        ),
        (
            Adjustment(append={"/linux/devices": [{"path": "/dev/x", "type": "c"}]}),
            Adjustment(append={"/linux/devices": [{"path": "/dev/x", "type": "b"}]}),
            "/linux/devices",
        ),
        (
            Adjustment(append={"/process/env": ["A=1"]}),
            Adjustment(append={"/process/env": ["A=1"]}),
            "/process/env",
        ),
    ],
)
def test_two_owners_of_one_thing_are_an_error_that_names_both(
    compose: Compose, first: Adjustment, second: Adjustment, pointer: str
) -> None:
    runtime = compose(adjuster("alpha", first), adjuster("beta", second))
    with pytest.raises(CompositionError) as caught:
        runtime.explain(config(process={"cwd": "/", "args": ["sh"], "env": ["Z=0"]}))
    assert caught.value.pointer == pointer
    assert "alpha and beta" in str(caught.value)


def test_neighbours_and_prefixes_of_names_do_not_overlap(compose: Compose) -> None:
    runtime = compose(
        adjuster("alpha", Adjustment(set={"/process/cwd": "/a"})),
        adjuster("beta", Adjustment(set={"/process/cw": 1, "/hostname": "h"})),
    )
    assert runtime.explain(config()).prepared.config.process.cwd == "/a"  # type: ignore[union-attr]


def test_a_plugin_may_not_append_what_the_config_has(compose: Compose) -> None:
    runtime = compose(adjuster("alpha", Adjustment(append={"/process/env": ["PATH=/evil"]})))
    with pytest.raises(CompositionError, match=r"appends element PATH, which config\.json has already"):
        runtime.explain(config(process={"cwd": "/", "args": ["sh"], "env": ["PATH=/bin"]}))


def test_mounts_may_be_stacked_on_those_of_the_config(compose: Compose) -> None:
    runtime = compose(
        adjuster("alpha", Adjustment(append={"/mounts": [{"destination": "/x", "type": "tmpfs"}]}))
    )
    prepared = runtime.explain(config(mounts=[{"destination": "/x"}])).prepared
    assert len(prepared.config.mounts or ()) == 2
    assert prepared.owners == {"/mounts/1": "alpha"}


@pytest.mark.parametrize(
    ("adjustment", "message"),
    [
        (Adjustment(set={"hostname": "x"}), "needs a JSON pointer"),
        (Adjustment(set={"": {}}), "needs a JSON pointer"),
        (Adjustment(set={"/hostname/x": 1}), "leads through a value"),
        (Adjustment(set={"/mounts/7": {}}), "names no element"),
        (Adjustment(set={"/mounts/x/y": {}}), "names no element"),
        (Adjustment(append={"/hostname": ["x"]}), "expected an array"),
        (Adjustment(append={"/mounts": "x"}), "expected a sequence"),
        (Adjustment(set=["/hostname"]), "are mappings"),  # type: ignore[arg-type]
        (Adjustment(set={"/hostname": 7}), "cannot be read"),
        (Adjustment(set={"/ociVersion": "7.0.0"}), "cannot be read"),
    ],
)
def test_adjustments_that_make_no_sense_are_the_fault_of_their_plugin(
    compose: Compose, adjustment: Adjustment, message: str
) -> None:
    with pytest.raises(PluginError, match=message) as caught:
        compose(adjuster("alpha", adjustment)).explain(config(mounts=[]))
    assert caught.value.plugin == "alpha"


def test_what_a_plugin_adds_is_covered_and_validated_like_the_config(compose: Compose) -> None:
    runtime = compose(adjuster("alpha", Adjustment(set={"/linux/cgroupsPath": "a/../b"})))
    with pytest.raises(RefusedConfigError, match="leaves its hierarchy"):
        runtime.explain(config())
    runtime = compose(adjuster("alpha", Adjustment(set={"/linux/rootfsPropagation": "slave"})))
    with pytest.raises(RefusedConfigError, match="no active plugin handles") as caught:
        runtime.explain(config())
    assert caught.value.plugin == "alpha"
