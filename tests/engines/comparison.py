"""The same commands for orlop, runc and crun, and what an engine would notice of each.

python -m tests.engines.comparison            what differs now, as rows for differences.toml
python -m tests.engines.comparison --page     the reference page made of differences.toml
"""

from __future__ import annotations

import json
import os
import re
import select
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from tests.engines.daemon import PATIENCE, hierarchies, until
from tests.leftovers import remove_cgroup

HERE = Path(__file__).resolve().parent
DATA = HERE / "differences.toml"
PAGE = HERE.parent.parent / "docs/reference/differences.md"
ASPECTS = ("status", "words", "output")
PEERS = ("runc", "crun")

# What callers look for in messages, without regard to case (podman, containerd's shim, CRI-O, dockerd).
WORDS = (
    *("does not exist", "already exists", "not running", "no such process", "executable file not found in"),
    *("no such file or directory", "permission denied", "is not stopped", "already running", "has stopped"),
    *("paused", "requires", "flag needs an argument"),
)
# crun refuses hybrid hierarchies; each command runs where there seem to be none.
_HIDE = 'umount -l /sys/fs/cgroup/unified 2>/dev/null; exec "$@"'
_CAPABILITIES = ["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"]


class World:
    """One runtime with bundles and a state root of its own."""

    def __init__(self, name: str, command: str, scratch: Path) -> None:
        """Make the bundles."""
        self.name = name
        self.command = command
        self.scratch = scratch
        self.parent = f"orlop-{scratch.name}"
        self.last = ""
        """What the latest command has said."""
        scratch.mkdir(parents=True)
        self._bundle("sleep", "sleep", "1000")
        self._bundle("quick", "sh", "-c", "echo out; echo err >&2; exit 7")
        self._bundle("missing", "no-such-program")
        self._bundle("absent", "/no/such/program")
        self._bundle("denied", "/etc/plain")
        for place in ("none", "broken", "fresh"):
            (scratch / place).mkdir()
        (scratch / "broken/config.json").write_text("{")
        (scratch / "process.json").write_text(
            json.dumps(
                {
                    "args": ["sh", "-c", "pwd; exit 9"],
                    "cwd": "/tmp",
                    "env": ["PATH=/bin"],
                    "user": {"uid": 0, "gid": 0},
                }
            )
        )
        (scratch / "resources.json").write_text(json.dumps({"pids": {"limit": 19}}))

    def _bundle(self, name: str, *args: str) -> None:
        root = self.scratch / name / "rootfs"
        for place in ("bin", "proc", "dev", "tmp", "etc"):
            (root / place).mkdir(parents=True)
        shutil.copy2("/bin/busybox", root / "bin/busybox")
        for applet in ("sh", "sleep", "echo", "id", "pwd", "kill", "true"):
            (root / "bin" / applet).symlink_to("busybox")
        (root / "etc/plain").write_text("data")
        config = {
            "ociVersion": "1.0.2",
            "root": {"path": "rootfs"},
            "process": {
                "cwd": "/",
                "args": args,
                "env": ["PATH=/bin"],
                "user": {"uid": 0, "gid": 0},
                "capabilities": dict.fromkeys(("bounding", "effective", "permitted"), _CAPABILITIES),
            },
            "mounts": [{"destination": "/proc", "type": "proc", "source": "proc"}],
            "annotations": {"org.example.word": "value"},
            "linux": {
                "namespaces": [{"type": kind} for kind in ("pid", "mount", "ipc", "uts", "network")],
                "cgroupsPath": f"/{self.parent}/{name}",
                "resources": {"memory": {"limit": 128 << 20}, "pids": {"limit": 50}},
            },
        }
        (self.scratch / name / "config.json").write_text(json.dumps(config))

    def __call__(self, arguments: tuple[str, ...]) -> tuple[int, str]:
        """Run one command line; return its exit status and its standard output."""
        words = [word.replace("@", str(self.scratch)) for word in arguments]
        # Files, not pipes: a created container keeps its standard streams, and nobody is to wait for it.
        out, err = self.scratch / "out", self.scratch / "err"
        with (
            out.open("wb") as stdout,
            err.open("wb") as stderr,
            (self.scratch / "resources.json").open() as stdin,
        ):
            done = subprocess.run(
                [
                    *("unshare", "--mount", "--propagation=slave", "sh", "-c", _HIDE, "sh"),
                    *(self.command, "--root", str(self.scratch / "state"), *words),
                ],
                stdin=stdin,
                stdout=stdout,
                stderr=stderr,
                timeout=PATIENCE,
                check=False,
                cwd=self.scratch / "fresh",
                env={"PATH": os.environ["PATH"]},
            )
        self.last = err.read_text(errors="replace")
        return done.returncode, out.read_text(errors="replace")

    def pid(self) -> int:
        """Return the process of the container ``one``, from its pid file."""
        return int((self.scratch / "pid").read_text())

    def ended(self) -> None:
        """Wait until the process of the container ``one`` has ended."""
        try:
            process = os.pidfd_open(self.pid())
        except ProcessLookupError:
            return
        select.select([process], [], [], PATIENCE)
        os.close(process)

    def file(self, controller: str, *names: str) -> str:
        """Return what the kernel has in a file of the cgroup of ``one``; the first that there is."""
        for root in hierarchies():
            for name in names:
                file = root / self.parent / "sleep" / name
                if file.exists() and root.name in {controller, "cgroup"}:
                    return file.read_text().strip()
        return "no such file"

    def close(self) -> None:
        """Remove all containers and cgroups."""
        for name in ("one", "two", "three"):
            self(("delete", "--force", name))
        for root in hierarchies():
            remove_cgroup(root / self.parent)


View = Callable[[World, str], object]


def _nothing(world: World, text: str) -> object:
    return ""


def _text(world: World, text: str) -> object:
    return text.strip()


def _state(world: World, text: str) -> object:
    data = json.loads(text or "{}")
    same = data.get("pid") == (world.pid() if data.get("status") in {"created", "running", "paused"} else 0)
    return {"keys": sorted(data), "status": data.get("status"), "pid is right": same}


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


def _spec(world: World, text: str) -> object:
    config = json.loads((world.scratch / "fresh/config.json").read_text())
    linux = config["linux"]
    return {
        "args": config["process"]["args"],
        "terminal": config["process"]["terminal"],
        "mounts": [mount["destination"] for mount in config["mounts"]],
        "namespaces": sorted(one["type"] for one in linux["namespaces"]),
    }


def _log(world: World, text: str) -> object:
    lines = (world.scratch / "log").read_text().splitlines()
    data = json.loads(lines[-1])
    kept = {key: data[key] for key in ("level", "msg", "time") if key in data}
    dated = re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)", kept["time"]) is not None
    return {"lines": len(lines), "keys": sorted(kept), "level": kept["level"], "dated": dated}


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
    _case("no command", ""),
    _case("unknown command", "nonsense"),
    _case("unknown global flag", "--nonsense list"),
    _case("unknown flag", "list --nonsense"),
    _case("unknown layout of messages", "--log-format=nonsense list"),
    _case("features", "features", _keys),
    _case("spec", "spec", _spec),
    _case("spec where there is one", "spec"),
    _case("list of none", "list --format=json", _text),
    *_MISSING,
    _case("delete of nobody by force", "delete --force nobody"),
    _case("message in a log", "--log=@/log --log-format=json state nobody", _log),
    _case("create without an identifier", "create"),
    _case("create without a config", "create --bundle=@/none one"),
    _case("create with a broken config", "create --bundle=@/broken one"),
    _case("create with a separator in the identifier", "create --bundle=@/sleep a/b"),
    _case("create of a program that is not in PATH", "create --bundle=@/missing one"),
    _case("create of a program that does not exist", "create --bundle=@/absent one"),
    _case("create of a program that is none", "create --bundle=@/denied one"),
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
    _case("exec of a program that is not in PATH", "exec one no-such-program"),
    _case("exec of a program that is none", "exec one /etc/plain"),
    _case("exec without a program", "exec one"),
    _case("exec that is detached", "exec --detach --pid-file=@/second one sleep 999"),
    _case("ps as JSON", "ps --format=json one", _pids),
    _case("ps", "ps one", _rows),
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
    _case("update with a word for a number", "update --memory=much one", _memory),
    _case("statistics", "events --stats one", _statistics),
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
    _case("update of a stopped container", "update --pids-limit=17 one"),
    _case("start of a stopped container", "start one"),
    _case("delete", "delete one", _gone),
    _case("state of a deleted container", "state one"),
    _case("run", "run --bundle=@/quick two", _text),
    _case("run of a program that is not in PATH", "run --bundle=@/missing two"),
    _case("run that is detached", "run --detach --bundle=@/sleep --pid-file=@/pid one", _pid_file),
    _case("delete by force", "delete --force one", _gone),
)


class Seen(NamedTuple):
    """What an engine would notice of a command."""

    status: str
    words: str
    output: str


def observe(name: str, command: str, scratch: Path) -> dict[str, Seen]:
    """Run the sequence with one runtime and return what was seen of each case."""
    world = World(name, command, scratch)
    found = {}
    try:
        for case in CASES:
            status, text = world(case.arguments)
            try:
                output = case.view(world, text)
            except (ValueError, KeyError, IndexError, OSError) as error:
                output = f"nothing that can be read: {type(error).__name__}"
            said = world.last.lower()
            words = ", ".join(word for word in WORDS if word in said)
            shown = output if isinstance(output, str) else json.dumps(output)
            found[case.name] = Seen(str(status), words, shown)
            if case.name == "kill":
                until(lambda: world(("state", "one"))[1].find('"stopped"') > 0, lambda: world.last)
    finally:
        world.close()
    return found


class Row(NamedTuple):
    """A difference."""

    case: str
    aspect: str
    peer: str
    ours: str
    theirs: str


def differences(ours: dict[str, Seen], peer: str, theirs: dict[str, Seen]) -> Iterator[Row]:
    """Yield what is not the same."""
    for case, seen in ours.items():
        for aspect in ASPECTS:
            one, other = getattr(seen, aspect), getattr(theirs[case], aspect)
            if one != other:
                yield Row(case, aspect, peer, one, other)


def observed(orlop: str) -> list[Row]:
    """Run everything and return all differences."""
    with tempfile.TemporaryDirectory(prefix="oe-x-") as directory:
        scratch = Path(directory)
        ours = observe("orlop", orlop, scratch / "orlop")
        rows: list[Row] = []
        for peer in PEERS:
            found = shutil.which(peer)
            assert found, f"{peer} is not installed"
            rows += differences(ours, peer, observe(peer, found, scratch / peer))
        return rows


def listed() -> dict[Row, str]:
    """Return the differences that are known, each with its reason."""
    data: dict[str, Any] = tomllib.loads(DATA.read_text())
    return {
        Row(*(one[field] for field in Row._fields)): data["reasons"][one["why"]] for one in data["difference"]
    }


_HEAD = """\
<!-- Made by `make pages`; a test compares it with tests/engines/differences.toml. -->

# Differences from runc and crun

{count} commands are run with orlop, and with runc and crun as Debian 12 has them (1.1.5 and 1.8.1). Of each,
three things are compared that a caller may look at: the exit status, which of the words that engines look for
are in the messages, and what was printed or done, as a program reads it. All that differs is on this page,
with the reason; a difference that is not here fails a test.

Words are looked for without regard to case: {words}.
"""


def _cell(text: str) -> str:
    shown = text.replace("|", "\\|").replace("\n", " ").strip()
    return f"`{shown}`" if shown else "(nothing)"


def page() -> str:
    """Return the reference page."""
    known = listed()
    words = ", ".join(f"`{word}`" for word in WORDS)
    parts = [_HEAD.format(count=len(CASES), words=words)]
    lines = {case.name: " ".join(case.arguments) for case in CASES}
    for peer in PEERS:
        rows = [(row, why) for row, why in known.items() if row.peer == peer]
        parts.append(
            f"\n## {peer}\n\n{len({row.case for row, _ in rows})} of {len(CASES)} commands differ.\n"
        )
        for why in dict.fromkeys(why for _, why in rows):
            parts.append(f"\n{why}\n\n| Command | What | orlop | {peer} |\n|---|---|---|---|\n")
            for row, _ in ((row, reason) for row, reason in rows if reason == why):
                command = _cell(lines[row.case]) if lines[row.case] else ""
                cells = f"{_cell(row.ours)} | {_cell(row.theirs)}"
                parts.append(f"| {row.case}: {command} | {row.aspect} | {cells} |\n".replace(": |", " |"))
    return "".join(parts)


if __name__ == "__main__":
    if "--page" in sys.argv:
        sys.stdout.write(page())
    else:
        for row in observed(str(Path(sys.executable).parent / "orlop")):
            sys.stdout.write("[[difference]]\n")
            for field, value in row._asdict().items():
                sys.stdout.write(f"{field} = {json.dumps(value)}\n")
            sys.stdout.write('why = ""\n\n')
