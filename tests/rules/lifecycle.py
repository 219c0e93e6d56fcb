"""Rules of the lifecycle: states, order, what may be asked when (runtime.md, Lifecycle, Operations)."""

from __future__ import annotations

import json
import signal

import pytest
from tests.rules.world import PATIENCE, World, rule

from orlop_hookspecs.errors import (
    ConfigError,
    ContainerExistsError,
    ContainerNotFoundError,
    InvalidIdError,
    OrlopError,
    StateError,
    WaitTimeoutError,
)


@rule
def create_does_not_run_the_program(w: World) -> None:
    c = w.create("c", "/bin/mark")
    assert c.state()["status"] == "created"
    assert w.output("c") == ""


@rule
def created_has_a_living_process(w: World) -> None:
    assert w.alive(w.create("c").state()["pid"])


@rule
def start_runs_the_program(w: World) -> None:
    c = w.start("c")
    assert c.state()["status"] == "running"


@rule
def start_keeps_the_process(w: World) -> None:
    c = w.create("c")
    pid = c.state()["pid"]
    c.start()
    assert c.state()["pid"] == pid


@rule
def the_program_ends_the_container(w: World) -> None:
    c = w.start("c", "/bin/exiter", "0")
    assert c.wait(timeout=PATIENCE) == 0
    assert c.state()["status"] == "stopped"


@rule
def stopped_has_no_pid(w: World) -> None:
    c = w.start("c", "/bin/exiter", "0")
    c.wait(timeout=PATIENCE)
    assert "pid" not in c.state()


@rule
def delete_frees_the_identifier(w: World) -> None:
    c = w.create("c")
    c.delete(force=True)
    with pytest.raises(ContainerNotFoundError, match="does not exist"):
        w.runtime.get("c").state()
    assert w.create("c").state()["status"] == "created"


@rule
def delete_leaves_nothing(w: World) -> None:
    c = w.start("c", "/bin/parent")
    w.until_output("c", "ready")
    assert w.left() != []
    c.delete(force=True)
    assert w.left() == []


@rule
def the_state_has_the_required_properties(w: World) -> None:
    bundle = w.bundle()
    state = w.create("c", bundle=bundle).state()
    assert state["id"] == "c"
    assert state["bundle"] == str(bundle)
    assert state["ociVersion"].startswith("1.")
    assert set(state) <= {"ociVersion", "id", "status", "pid", "bundle", "annotations"}


@rule
def the_state_has_the_annotations(w: World) -> None:
    c = w.create("c", change={"annotations": {"org.example.key": "value", "org.example.empty": ""}})
    assert c.state()["annotations"] == {"org.example.key": "value", "org.example.empty": ""}


@rule
def a_taken_identifier_is_refused(w: World) -> None:
    first = w.create("c")
    pid = first.state()["pid"]
    with pytest.raises(ContainerExistsError, match="already exists"):
        w.create("c")
    assert w.runtime.get("c").state()["pid"] == pid
    assert w.alive(pid)


@rule
def impossible_identifiers_are_refused(w: World) -> None:
    bundle = w.bundle()
    for name in ("", ".", "..", "a/b", "/a", "a b", "a\nb", "\u00e9", "-a", "a\0b", "a" * 1025):
        with pytest.raises(InvalidIdError):
            w.create(name, bundle=bundle)
    assert w.left() == []


@rule
def unusual_identifiers_are_accepted(w: World) -> None:
    for name in ("a", "A.b_c+d-1", "...", "0"):
        assert w.create(name).state()["id"] == name


@rule
def start_twice_is_refused(w: World) -> None:
    c = w.start("c")
    with pytest.raises(StateError, match="cannot start an already running container"):
        c.start()
    assert c.state()["status"] == "running"


@rule
def start_of_a_stopped_container_is_refused(w: World) -> None:
    c = w.start("c", "/bin/exiter", "0")
    w.settle("c")
    with pytest.raises(StateError, match="cannot start a container that has stopped"):
        c.start()


@rule
def kill_of_a_stopped_container_is_refused(w: World) -> None:
    c = w.start("c", "/bin/exiter", "0")
    w.settle("c")
    with pytest.raises(StateError, match="container not running"):
        c.kill("TERM")


@rule
def delete_while_running_is_refused(w: World) -> None:
    c = w.start("c")
    with pytest.raises(StateError, match="that is not stopped: running"):
        c.delete()
    assert c.state()["status"] == "running"


@rule
def delete_of_a_created_container_is_refused_and_changes_nothing(w: World) -> None:
    """Runtime.md, Delete: a container that is not stopped is not deleted, and nothing happens to it."""
    c = w.create("c")
    pid = c.state()["pid"]
    with pytest.raises(StateError, match="that is not stopped: created"):
        c.delete()
    assert (c.state()["status"], c.state()["pid"]) == ("created", pid)
    assert w.alive(pid)
    c.start()
    assert c.state()["status"] == "running"


@rule
def without_a_process_a_container_is_created_and_cannot_be_started(w: World) -> None:
    """Config.md: start needs a process; runtime.md, Start: without one it generates an error."""
    bundle = w.bundle()
    config = json.loads((bundle / "config.json").read_text())
    del config["process"]
    w.write_config(bundle, config)
    c = w.create("c", bundle=bundle)
    with pytest.raises(ConfigError, match="no process") as caught:
        c.start()
    assert caught.value.pointer == "/process"
    assert c.state()["status"] == "created"
    c.kill("KILL")
    w.settle("c")
    c.delete()


@rule
def delete_by_force_ends_a_running_container(w: World) -> None:
    c = w.start("c")
    pid = c.state()["pid"]
    c.delete(force=True)
    assert not w.alive(pid)


@rule
def kill_ends_a_created_container(w: World) -> None:
    c = w.create("c")
    c.kill("KILL")
    w.settle("c")
    assert c.state()["status"] == "stopped"
    c.delete()


@rule
def operations_on_a_missing_container_are_refused(w: World) -> None:
    for operation in ("state", "start", "delete"):
        with pytest.raises(ContainerNotFoundError, match="does not exist"):
            getattr(w.runtime.get("missing"), operation)()


@rule
def an_unknown_signal_is_refused(w: World) -> None:
    c = w.start("c")
    for name in ("SIGNONE", "65", "-1", ""):
        with pytest.raises(OrlopError):
            c.kill(name)
    assert c.state()["status"] == "running"


@rule
def signal_names_come_in_all_spellings(w: World) -> None:
    spellings: tuple[str | int, ...] = ("KILL", "SIGKILL", "kill", 9, signal.SIGKILL)
    for number, spelling in enumerate(spellings):
        c = w.start(f"c{number}")
        c.kill(spelling)
        assert c.wait(timeout=PATIENCE) == 128 + 9


@rule
def signal_zero_changes_nothing(w: World) -> None:
    c = w.start("c")
    c.kill(0)
    assert c.state()["status"] == "running"


@rule
def exit_statuses_are_reported(w: World) -> None:
    for status in (0, 1, 7, 126, 255):
        assert w.run("/bin/exiter", str(status))[0] == status


@rule
def a_signal_that_ends_is_reported_as_128_and_more(w: World) -> None:
    c = w.start(
        "c", change={"linux": {"namespaces": [{"type": "mount"}, {"type": "uts"}, {"type": "network"}]}}
    )
    c.kill("TERM")
    assert c.wait(timeout=PATIENCE) == 128 + 15


@rule
def a_caught_signal_reaches_the_program(w: World) -> None:
    c = w.start("c", "/bin/trapper")
    w.until_output("c", "ready")
    c.kill("TERM")
    assert c.wait(timeout=PATIENCE) == 9
    assert "got TERM" in w.output("c")


@rule
def init_of_a_pid_namespace_ignores_what_it_does_not_catch(w: World) -> None:
    c = w.start("c")
    c.kill("TERM")
    c.kill("USR1")
    assert c.state()["status"] == "running"


@rule
def the_end_of_init_ends_all(w: World) -> None:
    c = w.start("c", "/bin/outlived")
    w.until_output("c", "ready")
    pids = list(c.processes())
    assert len(pids) == 2
    c.kill("TERM")
    assert c.wait(timeout=PATIENCE) == 0
    assert not any(w.alive(pid) for pid in pids)


@rule
def kill_everything_reaches_children(w: World) -> None:
    c = w.start("c", "/bin/parent")
    w.until_output("c", "ready")
    pids = list(c.processes())
    assert len(pids) == 3
    c.kill("KILL", everything=True)
    w.settle("c")
    assert not any(w.alive(pid) for pid in pids)


@rule
def delete_ends_children_without_a_pid_namespace(w: World) -> None:
    c = w.start("c", "/bin/parent", change={"linux": {"namespaces": [{"type": "mount"}]}, "hostname": None})
    w.until_output("c", "ready")
    pids = list(c.processes())
    assert len(pids) == 3
    c.delete(force=True)
    assert all(w.ends(pid) for pid in pids)


@rule
def wait_gives_up_after_its_timeout(w: World) -> None:
    c = w.start("c")
    with pytest.raises(WaitTimeoutError):
        c.wait(timeout=0.05)


@rule
def wait_can_be_asked_again(w: World) -> None:
    c = w.start("c", "/bin/exiter", "3")
    assert (c.wait(timeout=PATIENCE), c.wait(timeout=PATIENCE)) == (3, 3)


@rule
def containers_are_listed_in_order(w: World) -> None:
    for name in ("b", "a", "c"):
        w.create(name)
    assert [one.id for one in w.runtime.list()] == ["a", "b", "c"]


@rule
def two_containers_do_not_disturb_each_other(w: World) -> None:
    one, two = w.start("one", change={"hostname": "one"}), w.start("two", change={"hostname": "two"})
    assert one.state()["pid"] != two.state()["pid"]
    one.kill("KILL")
    w.settle("one")
    assert one.state()["status"] == "stopped"
    assert two.state()["status"] == "running"
    one.delete()
    assert [c.id for c in w.runtime.list()] == ["two"]


@rule
def one_bundle_serves_two_containers(w: World) -> None:
    bundle = w.bundle("/bin/sleeper", change={"linux": {"cgroupsPath": None}})
    first, second = w.create("first", bundle=bundle), w.create("second", bundle=bundle)
    first.start()
    second.start()
    assert {first.state()["status"], second.state()["status"]} == {"running"}


@rule
def later_changes_of_the_config_have_no_effect(w: World) -> None:
    bundle = w.bundle("/bin/exiter", "5", change={"annotations": {"a": "before"}})
    c = w.create("c", bundle=bundle)
    config = json.loads((bundle / "config.json").read_text())
    config["process"]["args"] = ["/bin/exiter", "6"]
    config["annotations"] = {"a": "after"}
    w.write_config(bundle, config)
    assert c.state()["annotations"] == {"a": "before"}
    c.start()
    assert c.wait(timeout=PATIENCE) == 5


@rule
def the_bundle_may_go_after_create(w: World) -> None:
    bundle = w.bundle("/bin/exiter", "4")
    c = w.create("c", bundle=bundle)
    (bundle / "config.json").unlink()
    c.start()
    assert c.wait(timeout=PATIENCE) == 4
    c.delete()
    assert w.left() == []


@rule
def pause_and_resume(w: World) -> None:
    c = w.start("c")
    c.pause()
    assert c.state()["status"] == "paused"
    with pytest.raises(StateError, match="cannot start a container in the paused state"):
        c.start()
    with pytest.raises(StateError):
        c.delete()
    c.resume()
    assert c.state()["status"] == "running"
    with pytest.raises(StateError, match="container not paused"):
        c.resume()


@rule
def a_paused_program_handles_no_signal_until_it_goes_on(w: World) -> None:
    c = w.start("c", "/bin/trapper")
    w.until_output("c", "ready")
    c.pause()
    c.kill("TERM")
    assert "got" not in w.output("c")
    c.resume()
    assert c.wait(timeout=60) == 9
    assert w.output("c").endswith("got TERM\n")
    c.delete()


@rule
def a_paused_container_can_be_killed(w: World) -> None:
    c = w.start("c")
    c.pause()
    c.kill("KILL")
    assert c.wait(timeout=PATIENCE) == 128 + 9
    c.delete()


@rule
def a_paused_container_can_be_deleted_by_force(w: World) -> None:
    c = w.start("c")
    pid = c.state()["pid"]
    c.pause()
    c.delete(force=True)
    assert not w.alive(pid)
    assert w.left() == []
