"""Every command, in this process, on the fake platform."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import pytest

from orlop_hookspecs import CONTRACT_VERSION
from orlop_hookspecs.hooks import hookimpl
from orlop_hookspecs.hooks.commands import Command
from orlop_hookspecs.hooks.identity import PluginInfo

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from tests.unit.cli.conftest import CommandLine


def create(run: CommandLine, name: str = "web", *flags: str) -> None:
    assert run("create", "--bundle", str(run.bundle), *flags, name) == (0, "", "")


def status_of(run: CommandLine, name: str = "web") -> str:
    found: str = run.json("state", name)["status"]
    return found


def test_life(orlop_command: CommandLine) -> None:
    run = orlop_command
    create(run)
    state = run.json("state", "web")
    assert {key: state[key] for key in ("ociVersion", "id", "status", "bundle", "rootfs", "owner")} == {
        "ociVersion": "1.3.0",
        "id": "web",
        "status": "created",
        "bundle": str(run.bundle),
        "rootfs": f"{run.bundle}/rootfs",
        "owner": "",
    }
    assert state["pid"] > 0
    assert "annotations" not in state
    assert run("start", "web") == (0, "", "")
    assert status_of(run) == "running"
    assert run("kill", "web", "KILL") == (0, "", "")
    assert run.json("state", "web")["pid"] == 0
    assert status_of(run) == "stopped"
    assert run("delete", "web") == (0, "", "")
    assert run("state", "web")[0] == 1
    assert run.kernel.leaks() == []


def test_state_is_indented_by_two(orlop_command: CommandLine) -> None:
    create(orlop_command)
    assert orlop_command("state", "web")[1].startswith('{\n  "ociVersion": "1.3.0",\n  "id": "web",\n')


@pytest.mark.parametrize(
    ("before", "command", "words"),
    [
        ([], ["state", "web"], "container does not exist"),
        ([], ["start", "web"], "container does not exist"),
        ([], ["kill", "web"], "container does not exist"),
        ([], ["delete", "web"], "container does not exist"),
        ([], ["pause", "web"], "container does not exist"),
        ([], ["ps", "web"], "container does not exist"),
        (["create"], ["create"], "container with given ID already exists"),
        (["create", "start"], ["start", "web"], "cannot start an already running container"),
        (["create", "start", "stop"], ["start", "web"], "cannot start a container that has stopped"),
        (["create", "start", "pause"], ["start", "web"], "cannot start a container in the paused state"),
        (["create", "start"], ["delete", "web"], "cannot delete container web that is not stopped: running"),
        (["create", "start", "stop"], ["kill", "web"], "container not running"),
        (["create", "start"], ["resume", "web"], "container not paused"),
        (["create", "start", "stop"], ["pause", "web"], "container not running"),
        (["create"], ["kill", "web", "NOPE"], "unknown signal"),
        ([], ["create", "--bundle", "/nonexistent", "web"], "no such directory"),
    ],
)
def test_refusals(orlop_command: CommandLine, before: list[str], command: list[str], words: str) -> None:
    run = orlop_command
    for step in before:
        if step == "create":
            create(run)
        else:
            assert run(*{"stop": ["kill", "web", "9"]}.get(step, [step, "web"]))[0] == 0
    earlier = run("list", "--format", "json")
    status, out, err = run(
        *(["create", "--bundle", str(run.bundle), "web"] if command == ["create"] else command)
    )
    assert (status, out) == (1, "")
    assert words in err
    assert err.count("\n") == 1
    assert run("list", "--format", "json") == earlier


@pytest.mark.parametrize("name", ["a/b", "..", ".", "", "a b", "\u00e9", "abc\n", "\x1b[31m", "x" * 1025])
def test_names_that_are_none(orlop_command: CommandLine, name: str) -> None:
    run = orlop_command
    status, out, err = run("create", "--bundle", str(run.bundle), name)
    assert (status, out) == (1, "")
    assert "invalid container id format" in err
    assert err.count("\n") == 1
    assert run("list", "-q") == (0, "", "")


def test_force(orlop_command: CommandLine) -> None:
    run = orlop_command
    assert run("delete", "--force", "web") == (0, "", "")
    create(run)
    run("start", "web")
    assert run("delete", "-f", "web") == (0, "", "")
    assert run("list", "-q") == (0, "", "")


def test_kill_all_of_a_stopped_container_is_no_error(orlop_command: CommandLine) -> None:
    run = orlop_command
    create(run)
    run("start", "web")
    run("kill", "web", "SIGKILL")
    assert run("kill", "--all", "web", "9") == (0, "", "")
    assert run("kill", "web", "9")[0] == 1


def test_list(orlop_command: CommandLine) -> None:
    run = orlop_command
    assert run("list", "--format", "json") == (0, "null\n", "")
    assert run("list")[1].split() == ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"]
    create(run, "b")
    create(run, "a")
    listed = run.json("list", "--format", "json")
    assert [one["id"] for one in listed] == ["a", "b"]
    assert all(isinstance(one["owner"], str) and one["owner"] for one in listed)
    assert run("list", "-f", "json")[1].count("\n") == 1
    assert run("list", "--quiet")[1] == "a\nb\n"
    rows = run("list")[1].splitlines()
    assert rows[1].split()[:3] == ["a", str(listed[0]["pid"]), "created"]


def test_pause_and_ps(orlop_command: CommandLine) -> None:
    run = orlop_command
    create(run)
    run("start", "web")
    pid = run.json("state", "web")["pid"]
    assert run.json("ps", "--format", "json", "web") == [pid]
    assert run("pause", "web") == (0, "", "")
    assert status_of(run) == "paused"
    assert run("resume", "web") == (0, "", "")
    assert status_of(run) == "running"
    run("kill", "web", "9")
    assert run("ps", "--format=json", "web") == (0, "null\n", "")


def test_stats(orlop_command: CommandLine) -> None:
    run = orlop_command
    create(run)
    line = run.json("events", "--stats", "web")
    assert (line["type"], line["id"]) == ("stats", "web")
    assert line["data"]["pids"]["current"] == 1
    run("start", "web")
    run("kill", "web", "9")
    status, _, err = run("events", "--stats", "web")
    assert status == 1
    assert "container with id web is not running" in err


@pytest.mark.parametrize(
    "interval", ["0", "0s", "-1s", "5", "s", "5x", "", "1e3s", "NaNs", "1.2.3s", "999999h"]
)
def test_intervals_that_are_none(orlop_command: CommandLine, interval: str) -> None:
    create(orlop_command)
    status, out, err = orlop_command("events", f"--interval={interval}", "web")
    assert (status, out) == (1, "")
    assert "duration" in err or "interval" in err


def test_run(orlop_command: CommandLine) -> None:
    run = orlop_command
    run.configure(args=["/bin/false"])
    status, out, err = run("run", "--bundle", str(run.bundle), "web")
    assert (status, out, err) == (1, "", "")
    assert run("list", "-q") == (0, "", "")
    run.configure(args=["/bin/true"])
    assert run("run", "--keep", "--bundle", str(run.bundle), "web") == (0, "", "")
    assert status_of(run) == "stopped"
    assert run("delete", "web") == (0, "", "")
    run.configure()
    assert run("run", "--detach", "--bundle", str(run.bundle), "web") == (0, "", "")
    assert status_of(run) == "running"


@pytest.mark.parametrize("command", ["create", "run"])
def test_pid_file(orlop_command: CommandLine, command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    run = orlop_command
    (run.bundle / "here").mkdir()
    monkeypatch.chdir(run.bundle / "here")
    flags = ["--detach"] if command == "run" else []
    assert run(command, *flags, "--bundle", "..", "--pid-file", "pid", "web") == (0, "", "")
    assert (run.bundle / "here" / "pid").read_bytes() == str(run.json("state", "web")["pid"]).encode()


@pytest.mark.parametrize("command", ["create", "run"])
def test_pid_file_that_cannot_be_written(orlop_command: CommandLine, command: str) -> None:
    run = orlop_command
    (run.bundle / "pid").symlink_to("/etc/passwd")
    status, _, err = run(command, "--pid-file", f"{run.bundle}/pid", "--bundle", str(run.bundle), "web")
    assert status == 1
    assert "pid file" in err
    assert run("list", "-q") == (0, "", "")
    assert run.kernel.leaks() == []


def test_a_failed_create_leaves_nothing(orlop_command: CommandLine) -> None:
    run = orlop_command
    run.kernel.faults.fail("MountProc", 5)
    status, out, err = run("create", "--pid-file", f"{run.bundle}/pid", "--bundle", str(run.bundle), "web")
    assert (status, out) == (1, "")
    assert "cannot mount a procfs on /proc: input/output error [plugin mounts]" in err
    assert not (run.bundle / "pid").exists()
    assert run("list", "-q") == (0, "", "")
    assert run.kernel.leaks() == []


def test_config_elsewhere(orlop_command: CommandLine) -> None:
    run = orlop_command
    os.rename(run.bundle / "config.json", run.bundle / "other.json")
    assert "config.json not found" in run("create", "--bundle", str(run.bundle), "web")[2]
    assert run("create", "--bundle", str(run.bundle), "--config", "other.json", "web") == (0, "", "")
    assert run.json("state", "web")["bundle"] == str(run.bundle)
    assert "no such file or directory" in run("create", "-b", str(run.bundle), "-f", "missing", "two")[2]


def test_console_socket_only_for_who_holds_a_terminal(orlop_command: CommandLine) -> None:
    run = orlop_command
    create_it = ["create", "--bundle", str(run.bundle)]
    assert "console socket" in run(*create_it, "--console-socket", "/x", "web")[2]
    run.configure(terminal=True)
    assert "console socket" in run(*create_it, "web")[2]
    assert "foreground" in run("run", "--bundle", str(run.bundle), "--console-socket", "/x", "web")[2]
    assert run("list", "-q") == (0, "", "")


def test_features(orlop_command: CommandLine) -> None:
    run = orlop_command
    status, out, err = run("features")
    assert (status, err) == (0, "")
    assert out.startswith('{\n    "ociVersionMin": "1.0.0",\n    "ociVersionMax": "1.3.0",\n')
    document = json.loads(out)
    assert "pid" in document["linux"]["namespaces"]
    provenance = run.json("features", "--provenance", "--format", "json")
    assert provenance["linux.namespaces"]["pid"] == ["namespaces"]
    assert "    pid: namespaces\n" in run("features", "--provenance")[1]


def test_plugins(orlop_command: CommandLine) -> None:
    run = orlop_command
    listed = {one["name"]: one for one in run.json("--plugins", "-seccomp", "plugins", "--format", "json")}
    assert listed["namespaces"]["state"] == "active"
    assert "orlop_plan" in listed["namespaces"]["hooks"]
    assert listed["seccomp"]["state"] == "inactive"
    assert listed["seccomp"]["summary"] == "left out (--plugins=-seccomp, or block)"
    assert run.composed == [(None, ["seccomp"])]
    assert "seccomp" in run("plugins")[1]
    order = run.json("plugins", "--order", "--format", "json")
    names = [one["name"] for one in order["plugins"]]
    assert names.index("rootfs") < names.index("mounts")
    assert order["hooks"]["orlop_plan"].index("rootfs") < order["hooks"]["orlop_plan"].index("mounts")
    assert "orlop_plan:\n" in run("plugins", "--order")[1]


@pytest.mark.parametrize("text", [",", "-", "seccomp,", "-,seccomp"])
def test_empty_names_of_plugins(orlop_command: CommandLine, text: str) -> None:
    status, out, err = orlop_command(f"--plugins={text}", "features")
    assert (status, out) == (1, "")
    assert "--plugins has an empty name" in err
    assert orlop_command.composed == []


def test_a_misspelt_plugin_to_leave_out(orlop_command: CommandLine) -> None:
    status, out, err = orlop_command("--plugins=-secomp", "features")
    assert (status, out) == (1, "")
    assert "did you mean seccomp?" in err


def test_chosen_plugins(orlop_command: CommandLine) -> None:
    run = orlop_command
    status, _, err = run("--plugins", "namespaces,nosuch", "features")
    assert status == 1
    assert "nosuch" in err
    assert run.composed == [(["namespaces", "nosuch"], [])]


def test_a_property_of_a_disabled_plugin(orlop_command: CommandLine) -> None:
    run = orlop_command
    status, _, err = run("--plugins=-rlimits", "create", "--bundle", str(run.bundle), "web")
    assert status == 1
    assert "/process/rlimits" in err
    assert "plugin rlimits would handle it" in err


def test_check(orlop_command: CommandLine) -> None:
    run = orlop_command
    status, out, err = run("check", str(run.bundle))
    assert (status, err) == (0, "")
    assert out.startswith("accepted\n")
    verdict = run.json("check", "--bundle", str(run.bundle), "--format", "json")
    assert verdict["accepted"] is True
    run.configure(rlimits=[{"type": "RLIMIT_WRONG", "soft": 1, "hard": 1}])
    status, out, _ = run("check", str(run.bundle))
    assert status == 1
    assert "/process/rlimits/0/type" in out.splitlines()[1]
    assert run("check", "/nonexistent")[0] == 1


def test_check_reports_names_of_system_calls_that_nobody_knows(orlop_command: CommandLine) -> None:
    run = orlop_command
    made = json.loads((run.bundle / "config.json").read_text())
    rule = {"names": ["read", "raed"], "action": "SCMP_ACT_ALLOW"}
    made["linux"]["seccomp"] = {"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [rule]}
    (run.bundle / "config.json").write_text(json.dumps(made))
    status, out, err = run("check", str(run.bundle))
    assert (status, err) == (0, "")
    assert (
        "  warning ignored  /linux/seccomp/syscalls/0/names/1: no system call of this name is known: "
        "it is skipped (value: 'raed') [seccomp]; did you mean read?\n"
    ) in out
    create(run)


def test_explain(orlop_command: CommandLine) -> None:
    run = orlop_command
    status, out, _ = run("explain", str(run.bundle), "--id", "web")
    assert status == 0
    assert "NewNamespace(type='pid') [namespaces]" in out
    phases = run.json("explain", "--format=json", str(run.bundle))["phases"]
    assert phases[0]["phase"] == "host"
    assert run("list", "-q") == (0, "", "")


@pytest.mark.parametrize("name", ["config", "state", "features"])
def test_schema(orlop_command: CommandLine, name: str) -> None:
    assert orlop_command.json("schema", name)["type"] == "object"


def test_unknown_schema(orlop_command: CommandLine) -> None:
    assert "no schema" in orlop_command("schema", "bogus")[2]


@pytest.mark.parametrize("flags", [[], ["--rootless"]])
def test_spec(orlop_command: CommandLine, flags: list[str]) -> None:
    run = orlop_command
    (run.bundle / "config.json").unlink()
    assert run("spec", *flags, "--bundle", str(run.bundle)) == (0, "", "")
    text = (run.bundle / "config.json").read_text()
    assert text.startswith('{\n\t"ociVersion": "1.3.0",\n')
    assert run("check", str(run.bundle))[1].startswith("accepted\n")
    status, _, err = run("spec", "--bundle", str(run.bundle))
    assert status == 1
    assert "exists" in err
    assert (run.bundle / "config.json").read_text() == text
    assert "no such file or directory" in run("spec", "--bundle", "/nonexistent")[2]
    assert run("spec", *flags, "--bundle", str(run.bundle), "--file", "other.json") == (0, "", "")
    assert (run.bundle / "other.json").read_text() == text


def test_rootless_spec_needs_no_privileges(orlop_command: CommandLine) -> None:
    run = orlop_command
    (run.bundle / "config.json").unlink()
    run("spec", "--rootless", "--bundle", str(run.bundle))
    made = json.loads((run.bundle / "config.json").read_text())
    types = [one["type"] for one in made["linux"]["namespaces"]]
    assert "user" in types
    assert "network" not in types
    assert made["linux"]["uidMappings"] == [{"containerID": 0, "hostID": os.geteuid(), "size": 1}]
    assert "resources" not in made["linux"]
    assert not any("gid=5" in mount.get("options", ()) for mount in made["mounts"])


def test_version(orlop_command: CommandLine) -> None:
    status, out, err = orlop_command("--version")
    assert (status, err) == (0, "")
    first, *rest = out.splitlines()
    assert first.startswith("orlop version ")
    assert rest == ["spec: 1.3.0"]
    assert orlop_command("-v", "ignored")[1] == out


def test_help(orlop_command: CommandLine) -> None:
    run = orlop_command
    status, out, err = run()
    assert (status, err) == (0, "")
    assert "   create " in out
    for spelling in (["help"], ["--help"], ["-h"], ["h"]):
        assert run(*spelling)[:2] == (0, out)
    status, of_kill, _ = run("kill", "--help")
    assert status == 0
    assert "orlop kill [flags] <container-id> [SIGNAL]" in of_kill
    assert run("help", "kill")[1] == of_kill
    assert "--no-subreaper" not in run("run", "-h")[1]


def test_unknown_commands(orlop_command: CommandLine) -> None:
    for words in (["bogus"], ["help", "bogus"], ["bogus", "--help"]):
        status, out, err = orlop_command(*words)
        assert (status, out) == (3, "")
        assert "No help topic for '" in err


def test_wrong_usage_prints_help_and_the_error(orlop_command: CommandLine) -> None:
    status, out, err = orlop_command("state")
    assert status == 1
    assert "orlop state [flags] <container-id>" in out
    assert '\\"state\\" requires exactly 1 argument(s)' in err
    status, out, err = orlop_command("create", "--bundle")
    assert status == 1
    assert "flag needs an argument: -bundle" in err
    status, out, err = orlop_command("--log-format", "xml", "list")
    assert (status, out) == (1, "")
    assert "invalid log-format" in err


def test_descriptors_that_nobody_opened(orlop_command: CommandLine) -> None:
    status, _, err = orlop_command("create", "--preserve-fds", "900000", "web")
    assert status == 1
    assert "is not open" in err


class Extension:
    """A plugin with a command."""

    @hookimpl
    def orlop_plugin(self) -> PluginInfo:
        return PluginInfo(name="extension", version="1", contract=CONTRACT_VERSION, summary="adds a command")

    @hookimpl
    def orlop_commands(self) -> Sequence[Command]:
        return [Command(name="greet", summary="greet somebody", configure=self.configure, run=self.run)]

    @staticmethod
    def configure(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("whom")

    @staticmethod
    def run(runtime: Any, arguments: argparse.Namespace) -> int:
        print(f"hello {arguments.whom} from {runtime.platform}")  # noqa: T201 - what the command is for
        return 4


def test_commands_of_plugins(orlop_command: CommandLine) -> None:
    run = orlop_command
    run.extra = [Extension()]
    status, out, err = run("greet", "world")
    assert (status, out, err) == (4, "hello world from fake\n", "")
    assert "greet   greet somebody" in run("help")[1]
    status, _, err = run("greet")
    assert status == 1
    assert "arguments are required: whom" in err
    assert run("greet", "--help")[0] == 0


def test_debug_shows_where_an_unexpected_error_arose(
    orlop_command: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("oops")

    monkeypatch.setattr("orlop.cli.commands.state.extended_state", broken)
    status, _, err = orlop_command("state", "web")
    assert (status, err.count("\n")) == (1, 1)
    assert "internal error: ZeroDivisionError: oops" in err
    assert "Traceback" in orlop_command("--debug", "state", "web")[2]
