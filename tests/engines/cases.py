"""The commands that are compared, and what is looked at of each."""

from __future__ import annotations

import json
import os
import re
import select
import socket
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from tests.engines.daemon import PATIENCE, hierarchies
from tests.engines.world import World

View = Callable[[World, str], object]


def _nothing(world: World, text: str) -> object:
    return ""


def _text(world: World, text: str) -> object:
    return text.strip()


def _state(world: World, text: str) -> object:
    data = json.loads(text or "{}")
    same = data.get("pid") == (world.pid() if data.get("status") in {"created", "running", "paused"} else 0)
    places = {name: str(data.get(name)).removeprefix(f"{world.scratch}/") for name in ("bundle", "rootfs")}
    dated = re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z", str(data.get("created"))) is not None
    return {
        "keys": sorted(data),
        "status": data.get("status"),
        "pid is right": same,
        **places,
        "dated": dated,
    }


def _list(world: World, text: str) -> object:
    data = json.loads(text)
    return [{"keys": sorted(one), "id": one["id"], "status": one["status"]} for one in data or ()] or data


def _table(world: World, text: str) -> object:
    lines = text.splitlines()
    rows = [[cell for cell in line.split() if cell in {"one", "created", "running"}] for line in lines[1:]]
    return [lines[0].split() if lines else [], *rows]


def _pids(world: World, text: str) -> object:
    data = json.loads(text)
    return data and len(data)


def _rows(world: World, text: str) -> object:
    lines = text.splitlines()
    return {"titled PID": "PID" in lines[0].split() if lines else False, "rows": len(lines) - 1}


def _keys(world: World, text: str) -> object:
    return sorted(json.loads(text)) if text.startswith("{") else "no JSON"


def _statistics(world: World, text: str) -> object:
    line = json.loads(text) if text.startswith("{") else {}
    names = [name for name in _names(line.get("data", {})) if not re.match(_NOT_ALWAYS_THERE, name)]
    return {"type": line.get("type"), "id": line.get("id"), "data": sorted(names)}


# What is left out when it is 0, or there on some hosts only: the page cache, disks, huge pages, pressure.
_NOT_ALWAYS_THERE = r"memory\.cache|blkio\.|hugetlb\.|memory\.raw\.|.*psi"


def _names(data: dict[str, Any], before: str = "") -> Iterator[str]:
    """Yield the names of all figures, with those of the groups that they are in."""
    for name, value in data.items():
        yield f"{before}{name}"
        if isinstance(value, dict):
            yield from _names(value, f"{before}{name}.")


def _pid_file(world: World, text: str) -> object:
    return bool(re.fullmatch(r"[0-9]+", (world.scratch / "pid").read_text()))


def _version(world: World, text: str) -> object:
    lines = text.splitlines()
    return {
        "first": re.sub(r"[0-9].*", "N", lines[0]).replace(world.name, "NAME"),
        "lines with version": sum("version" in line for line in lines),
        "spec": any(line.startswith("spec: ") for line in lines),
    }


def _spec(world: World, text: str, place: str = "fresh") -> object:
    config = json.loads((world.scratch / place / "config.json").read_text())
    linux = config["linux"]
    return {
        "args": config["process"]["args"],
        "terminal": config["process"]["terminal"],
        "mounts": [mount["destination"] for mount in config["mounts"]],
        "namespaces": sorted(one["type"] for one in linux["namespaces"]),
    }


def _rootless(world: World, text: str) -> object:
    return _spec(world, text, "users")


def _log(world: World, text: str) -> object:
    lines = (world.scratch / "log").read_text().splitlines()
    data = json.loads(lines[-1])
    kept = {key: data[key] for key in ("level", "msg", "time") if key in data}
    dated = re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)", kept["time"]) is not None
    return {"lines": len(lines), "keys": sorted(kept), "level": kept["level"], "dated": dated}


def _layout(world: World, text: str) -> object:
    line = (world.scratch / "text").read_text()
    quoted = re.fullmatch(r'time="[^"]+" level=error msg="([^"\\]|\\.)*"\n', line) is not None
    return {"a line of fields": quoted}


def _second(world: World, text: str) -> object:
    return bool(re.fullmatch(r"[0-9]+", (world.scratch / "second").read_text()))


def _console(world: World, text: str) -> object:
    """Return what came with the terminal, and what the program has written to it."""
    connection, _ = world.console.accept()
    with connection:
        message, descriptors, _, _ = socket.recv_fds(connection, 4096, 4)
        more = connection.recv(1)
    (master,) = descriptors
    written = b""
    try:
        while b"\n" not in written and select.select([master], [], [], PATIENCE)[0]:
            written += os.read(master, 100)
    finally:
        os.close(master)
    return {"bytes": bool(message), "more": bool(more), "written": written.decode()}


def _told(world: World, text: str) -> object:
    """Return what a service manager was told, with a word for the container's process."""
    pid = (world.scratch / "fourth").read_text()
    return [message.strip().replace(pid, "PID") for message in world.manager.all_told()]


def _kept(world: World, text: str) -> object:
    return world(("state", "two"))[1].count('"stopped"')


def _shares(world: World, text: str) -> object:
    return world.file("cpu", "cpu.shares", "cpu.weight")


def _quota(world: World, text: str) -> object:
    return [world.file("cpu", f"cpu.cfs_{name}_us", "cpu.max") for name in ("quota", "period")]


def _cpus(world: World, text: str) -> object:
    return world.file("cpuset", "cpuset.cpus")


def _ended(world: World, text: str) -> object:
    world.ended()
    return ""


def _memory(world: World, text: str) -> object:
    return world.file("memory", "memory.limit_in_bytes", "memory.max")


def _limit(world: World, text: str) -> object:
    return world.file("pids", "pids.max")


def _gone(world: World, text: str) -> object:
    left = [root.name for root in hierarchies() if (root / world.parent / "sleep").exists()]
    return {"cgroups": left, "state": (world.scratch / "state/one").exists()}


class Case(NamedTuple):
    """One command of the sequence; ``@`` stands for the directory of the bundles."""

    name: str
    arguments: tuple[str, ...]
    view: View = _nothing
    notify: bool = False
    """A service manager waits for it."""


def _case(name: str, line: str, view: View = _nothing) -> Case:
    return Case(name, tuple(line.split()), view)


def _script(name: str, line: str, script: str, view: View = _nothing) -> Case:
    return Case(name, (*line.split(), "/bin/sh", "-c", script), view)


_MISSING = tuple(
    _case(f"{verb} of nobody", f"{verb} {flags}nobody{more}".strip())
    for verb, flags, more in (
        ("state", "", ""),
        ("start", "", ""),
        ("kill", "", " KILL"),
        ("delete", "", ""),
        ("exec", "", " true"),
        ("pause", "", ""),
        ("resume", "", ""),
        ("ps", "", ""),
        ("update", "--pids-limit=17 ", ""),
    )
)

CASES = (
    _case("version", "--version", _version),
    _case("help", "--help"),
    _case("help of a command", "create --help"),
    _case("no command", ""),
    _case("unknown command", "nonsense"),
    _case("unknown global flag", "--nonsense list"),
    _case("unknown flag", "list --nonsense"),
    _case("unknown flag after an argument", "state nobody --nonsense"),
    _case("flag without its value", "create --bundle"),
    _case("switch with a value", "delete --force=true nobody"),
    _case("switch with nonsense", "delete --force=maybe nobody"),
    _case("long flag with one hyphen", "list -quiet --nonsense"),
    _case("two short flags in one", "exec -dt nobody true"),
    _case("too many arguments", "state nobody somebody"),
    _case("unknown layout of a list", "list --format=nonsense"),
    _case("whether there is checkpoint", "checkpoint --help"),
    _case("whether there is restore into a pod", "restore --lsm-mount-context"),
    _case("unknown layout of messages", "--log-format=nonsense list"),
    _case("features", "features", _keys),
    _case("spec", "spec", _spec),
    _case("spec where there is one", "spec"),
    _case("spec for users", "spec --rootless --bundle=@/users", _rootless),
    _case("list of none", "list --format=json", _text),
    *_MISSING,
    _case("delete of nobody by force", "delete --force nobody"),
    _case("message in a log", "--log=@/log --log-format=json state nobody", _log),
    _case("message in a log of text", "--log=@/text state nobody", _layout),
    _case("log that cannot be written", "--log=/nonexistent/log list"),
    _case("create without an identifier", "create"),
    _case("create without a config", "create --bundle=@/none one"),
    _case("create with a broken config", "create --bundle=@/broken one"),
    _case("create with a separator in the identifier", "create --bundle=@/sleep a/b"),
    _case("create of a program that is not in PATH", "create --bundle=@/missing one"),
    _case("create of a program that does not exist", "create --bundle=@/absent one"),
    _case("create of a program that is none", "create --bundle=@/denied one"),
    _case("create with more descriptors than there are", "create --bundle=@/sleep --preserve-fds=9 five"),
    _case("delete of what should not be there", "delete --force five"),
    _case("create with a pid file nowhere", "create --bundle=@/sleep --pid-file=/nonexistent/pid one"),
    _case("create with a terminal but no console socket", "create --bundle=@/terminal one"),
    _case(
        "create with a terminal and a console socket that is none",
        "create --bundle=@/terminal --console-socket=@/s one",
    ),
    _case("create with a console socket but no terminal", "create --bundle=@/sleep --console-socket=@/s one"),
    _case("create", "create --bundle=@/sleep --pid-file=@/pid one", _pid_file),
    _case("create again", "create --bundle=@/sleep one"),
    _case("state of a created container", "state one", _state),
    _case("list", "list", _table),
    _case("list as JSON", "list --format=json", _list),
    _case("list of identifiers", "list --quiet", _text),
    _case("ps of a created container", "ps --format=json one", _pids),
    _script("exec in a created container", "exec one", "exit 0"),
    _case("start", "start one"),
    _case("start again", "start one"),
    _case("state of a running container", "state one", _state),
    _script("exec with an exit status", "exec one", "echo out; exit 7", _text),
    _script("exec that ends by a signal", "exec one", "kill -9 $$"),
    _script(
        "exec with options",
        "exec --user=5:6 --cwd=/tmp --env=WORD=value one",
        "id -u; pwd; echo $WORD",
        _text,
    ),
    _case("exec of a process file", "exec --process=@/process.json one", _text),
    _script("exec with two variables", "exec --env=A=1 --env=B=2 one", "echo $A$B", _text),
    _script(
        "exec with groups", "exec --user=5:6 --additional-gids=7 --additional-gids=8 one", "id -G", _text
    ),
    _script(
        "exec without new privileges", "exec --no-new-privs one", "grep NoNewPrivs /proc/self/status", _text
    ),
    _script("exec with a capability", "exec --cap=CAP_SYS_PTRACE one", "grep Cap /proc/self/status", _text),
    _script(
        "exec with a detached terminal",
        "exec --tty --detach --console-socket=@/console one",
        "tty; exec sleep 999",
        _console,
    ),
    _script("exec with a descriptor", "exec --preserve-fds=1 one", "cat <&3", _text),
    _script("exec without descriptors", "exec one", "ls /proc/self/fd", _text),
    _case("exec with more descriptors than there are", "exec --preserve-fds=9 one true"),
    _case("exec with a detached terminal but no console socket", "exec --tty --detach one true"),
    _case("exec as somebody by name", "exec --user=root one true"),
    _case("exec in a directory that is not there", "exec --cwd=/nonexistent one true"),
    _case("exec with an unknown capability", "exec --cap=CAP_NONSENSE one true"),
    _case("exec in a cgroup that is not there", "exec --cgroup=pids:nonsense one true"),
    _case("exec of a process file that is not there", "exec --process=/nonexistent one"),
    _case("exec of a program that is not in PATH", "exec one no-such-program"),
    _case("exec of a program that is none", "exec one /etc/plain"),
    _case("exec without a program", "exec one"),
    _case("exec that is detached", "exec --detach --pid-file=@/second one sleep 999", _second),
    _case("ps as JSON", "ps --format=json one", _pids),
    _case("ps", "ps one", _rows),
    _case("ps with options", "ps one -o pid,comm", _rows),
    _case("ps without the column that is needed", "ps one -o comm"),
    _case("ps in an unknown layout", "ps --format=nonsense one"),
    _case("pause", "pause one"),
    _case("state of a paused container", "state one", _state),
    _case("pause again", "pause one"),
    _case("start of a paused container", "start one"),
    _case("exec in a paused container", "exec one true"),
    _case("resume", "resume one"),
    _case("resume again", "resume one"),
    _case("update of the memory", f"update --memory={64 << 20} --memory-swap={64 << 20} one", _memory),
    _case("update of the processes", "update --pids-limit=17 one", _limit),
    _case("update by a file", "update --resources=@/resources.json one", _limit),
    _case("update by standard input", "update --resources=- one", _limit),
    _case("update of the shares", "update --cpu-share=512 one", _shares),
    _case("update of quota and period", "update --cpu-quota=30000 --cpu-period=60000 one", _quota),
    _case("update of the quota alone", "update --cpu-quota=15000 one", _quota),
    _case("update of the processors", "update --cpuset-cpus=0 one", _cpus),
    _case("update of processors that are not there", "update --cpuset-cpus=4000 one", _cpus),
    _case("update by a file that is not there", "update --resources=/nonexistent one"),
    _case("update with a limit that is obsolete", "update --kernel-memory=1000000 one"),
    _case("update with a word for a number", "update --memory=much one", _memory),
    _case("update to no limit", "update --memory=-1 one", _memory),
    _case("update to no limit of processes", "update --pids-limit=-1 one", _limit),
    _case("statistics", "events --stats one", _statistics),
    _case("statistics at no interval", "events --interval=0s one"),
    _case("delete of a running container", "delete one"),
    _case("kill with signal 0", "kill one 0"),
    _case("kill with an unknown signal", "kill one NONSENSE"),
    _case("kill", "kill one KILL", _ended),
    _case("state of a stopped container", "state one", _state),
    _case("kill of a stopped container", "kill one KILL"),
    _case("kill of all of a stopped container", "kill --all one KILL"),
    _case("exec in a stopped container", "exec one true"),
    _case("ps of a stopped container", "ps --format=json one", _text),
    _case("pause of a stopped container", "pause one"),
    _case("resume of a stopped container", "resume one"),
    _case("statistics of a stopped container", "events --stats one"),
    _case("update of a stopped container", "update --pids-limit=17 one"),
    _case("start of a stopped container", "start one"),
    _case("delete", "delete one", _gone),
    _case("state of a deleted container", "state one"),
    _case("run", "run --bundle=@/quick two", _text),
    _case("run of a program that is not in PATH", "run --bundle=@/missing two"),
    _case("run that is detached", "run --detach --bundle=@/sleep --pid-file=@/pid one", _pid_file),
    _case("delete by force", "delete --force one", _gone),
    _case("run with a descriptor", "run --bundle=@/descriptors --preserve-fds=1 two", _text),
    _case("run without descriptors", "run --bundle=@/descriptors two", _text),
    _case("run with a pid file", "run --bundle=@/quick --pid-file=@/pid two", _pid_file),
    _case("run that is kept", "run --bundle=@/quick --keep two", _kept),
    _case("delete of what was kept", "delete two"),
    _case(
        "run with a detached terminal",
        "run --detach --bundle=@/terminal --console-socket=@/console three",
        _console,
    ),
    _case("create of another container", "create --bundle=@/quick two"),
    _case("delete of a created container", "delete two"),
    Case(
        "run that tells a service manager",
        ("run", "--detach", "--bundle=@/sleep", "--pid-file=@/fourth", "four"),
        _told,
        notify=True,
    ),
)
