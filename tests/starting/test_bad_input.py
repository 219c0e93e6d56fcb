"""Every command, every flag, everything that is wrong with it: one line, runc's exit status, nothing changed.

The cases come from the parser's own table, so that a flag that is added later is tried as well, or fails the
tests because nobody has said what is wrong with it. All happens in this process, on the fake machine.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import attrs
import pytest
from tests.starting.bad_values import (
    ARGUMENTS,
    FLAGS,
    HOSTILE,
    LONG,
    NOT_UTF8,
    NUL,
    Row,
    furnish,
)

import orlop
from orlop.cli.flags import CHOICE, COUNT, NUMBERS, SWITCH, Command, Flag
from orlop.cli.main import main
from orlop.cli.table import COMMANDS, OPTIONS, find
from orlop.cli.template import config
from orlop.lifecycle.site import Site
from orlop_fake import FakeKernel
from orlop_fake.platform import FakePlatform

FAILED = 1
UNKNOWN_COMMAND = 3
WORDS = {"garbage": "maybe", "number": "2", "yes": "yes", "blank": " true", "empty": ""}
NUMBERS_THAT_ARE_NONE = {
    "garbage": "garbage", "fraction": "1.5", "exponent": "1e3", "hexadecimal": "0x10", "underscore": "1_0",
    "blank": " 1", "sign": "+1", "negative": "-1", "other digits": "\u0661", "endless": "9" * 5000,
    "empty": "",
}  # fmt: skip
INTEGERS_THAT_ARE_NONE = {
    **{what: text for what, text in NUMBERS_THAT_ARE_NONE.items() if what not in {"sign", "negative"}},
    "name": "root",
    "two signs": "+-1",
}
ANYWHERE = {"NUL": NUL, "not UTF-8": NOT_UTF8, "hostile": HOSTILE, "very long": LONG}
# What stands in front of the message is for programs.
MESSAGE = re.compile(r'\Atime="[^"]*" level=error msg=(".*")\n\Z')
PLACE = re.compile(r"(\A|: )/[^:]+: ")


@attrs.define
class World:
    """A fake machine with a running container *one*, the images of another one, and a directory of traps."""

    place: Path
    kernel: FakeKernel = attrs.field(factory=FakeKernel)
    made: dict[object, orlop.Runtime] = attrs.field(factory=dict)
    warnings: list[str] = attrs.field(factory=list)

    @property
    def bundle(self) -> str:
        """The bundle of every container here."""
        return f"{self.place}/bundle"

    def site(self, warn: Callable[[str], None]) -> Site:
        """Return the containers; one of the parts that :func:`main` is given."""
        return Site(self.kernel.store(), lambda _: self.kernel, warn=warn)

    def runtime(
        self, plugins: list[str] | None, block: list[str], warn: Callable[[str], None]
    ) -> orlop.Runtime:
        """Return the composition, made once; one of the parts that :func:`main` is given."""
        key = (None if plugins is None else tuple(plugins), tuple(block))
        platform = FakePlatform(self.kernel)
        if key not in self.made:
            self.made[key] = orlop.Runtime.compose(platform, plugins, block=block, warn=warn)
        # Each command closes its own.
        return orlop.Runtime(self.made[key].composition, platform, warn=warn)

    def seen(self) -> tuple[object, ...]:
        """Return all that a command could have changed."""
        files = []
        for directory, below, names in os.walk(self.place):
            for name in (*below, *names):
                path = os.path.join(directory, name)
                status = os.lstat(path)
                size = -1 if name in below else status.st_size
                files.append((path, status.st_mode, status.st_ino, size))
        return self.kernel.snapshot(), sorted(files), sorted(os.listdir("/proc/self/fd"))


# The flags and the arguments of a line that is right; a bad value is added to it.
LINES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "create": (("--bundle", "{bundle}"), ("new",)),
    "run": (("--detach", "--bundle", "{bundle}"), ("new",)),
    "exec": (("--detach",), ("one", "/bin/true")),
    "kill": ((), ("one", "0")),
    "checkpoint": (("--leave-running", "--image-path", "{place}/new"), ("one",)),
    "restore": (("--detach", "--bundle", "{bundle}", "--image-path", "{place}/images"), ("new",)),
    "events": (("--stats",), ("one",)),
    "features": ((), ()),
    "plugin": ((), ("new", "made-up")),
    "check": (("--bundle", "{bundle}"), ()),
    "explain": (("--bundle", "{bundle}"), ()),
    "seccomp": (("--bundle", "{bundle}"), ("explain", "read", "0")),
    "compose": ((), ("{place}/manifest.toml",)),
    "trace": ((), ("{place}/trace",)),
    "schema": ((), ("config",)),
    "completion": ((), ("bash",)),
    "manual": ((), ("run",)),
    "help": ((), ("run",)),
    **dict.fromkeys(("list", "spec", "plugins", "doctor"), ((), ())),
}
CONTAINER_LINE: tuple[tuple[str, ...], tuple[str, ...]] = ((), ("one",))
CHECKING = ("samples", "rules", "deadline", "linux", "verbose", "format")
"""Flags of ``plugin`` that ``plugin new`` does not have."""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Return the world; every test leaves it as it was."""
    place = tmp_path_factory.mktemp("bad-input")
    made = World(place)
    furnish(place / "bad")
    (place / "here").mkdir()
    (place / "bundle" / "rootfs").mkdir(parents=True)
    text = config()
    text["process"].update({"terminal": False, "args": ["/bin/sleep", "1000"]})
    text["linux"]["seccomp"] = {"defaultAction": "SCMP_ACT_ALLOW"}
    (place / "bundle" / "config.json").write_text(json.dumps(text))
    text["process"]["terminal"] = True
    (place / "terminal").mkdir()
    (place / "terminal" / "rootfs").symlink_to("../bundle/rootfs")
    (place / "terminal" / "config.json").write_text(json.dumps(text))
    (place / "manifest.toml").write_text('profile = "minimal"\n')
    (place / "trace").write_text('{"traceEvents": []}')
    made.kernel.add_rootfs(f"{made.bundle}/rootfs")
    made.kernel.add_rootfs(f"{place}/terminal/rootfs")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place / "here")
        assert main(["run", "--detach", "--bundle", made.bundle, "one"], made) == 0
        yield made
    assert main(["delete", "--force", "one"], made) == 0


@attrs.define
class Trial:
    """One command line that must be refused, and what came of it."""

    world: World
    capture: pytest.CaptureFixture[str]
    problems: list[str] = attrs.field(factory=list)

    def line(
        self, command: Command | None, flags: tuple[str, ...] = (), arguments: tuple[str, ...] | None = None
    ) -> list[str]:
        """Return a right line of *command* with *flags* added, and its arguments exchanged."""
        if command is None:
            command_name = "features" if any(flag.startswith("--plugins") for flag in flags) else "list"
            return [self.fill(word) for word in (*flags, command_name)]
        before, behind = LINES.get(command.name, CONTAINER_LINE)
        if any(flag.lstrip("-").partition("=")[0] in CHECKING for flag in flags) and command.name == "plugin":
            behind = ("check", "made-up")
        words = [command.name, *before, *flags, *(behind if arguments is None else arguments)]
        return [self.fill(word) for word in words]

    def fill(self, word: str) -> str:
        """Return *word* with the places of this world."""
        place = str(self.world.place)
        return (
            word.replace("{bad}", f"{place}/bad")
            .replace("{bundle}", self.world.bundle)
            .replace("{place}", place)
        )

    def refused(
        self, what: str, line: list[str], status: int, *, where: tuple[str, ...], answers: bool = False
    ) -> None:
        """Run *line*; note what is not as it should be.

        Args:
            what: What is wrong with the line.
            line: The command line.
            status: The exit status that runc has for it.
            where: One of these must stand in the message, unless it begins with a path or a pointer.
            answers: The refusal may be on standard output.
        """
        before = self.world.seen()
        self.capture.readouterr()
        found = main(line, None if line[0].startswith("--root") else self.world)
        out, err = self.capture.readouterr()
        note = f"{' '.join(line)[:120]!a} ({what}): "
        if found != status:
            self.problems.append(f"{note}exit status {found} and not {status}: {err}")
        matched = MESSAGE.match(err)
        if matched is None:
            if not (answers and out and not err):
                self.problems.append(f"{note}not one line: {err!r}")
        else:
            self.problems += [f"{note}{one}" for one in _faults(json.loads(matched[1]), where)]
        if self.world.seen() != before:
            self.problems.append(f"{note}something has changed")

    def done(self) -> None:
        """Tell all that was noted."""
        assert not self.problems, "\n".join(self.problems)


def _faults(message: str, where: tuple[str, ...]) -> Iterator[str]:
    """Yield what is wrong with the words of a message."""
    if not message.isprintable() or len(message) > 5000:
        yield f"not printable, or endless: {message[:200]!a}"
    for word in ("internal error", "Traceback", "step: ", "object at 0x", "Error(", "None"):
        if word in message:
            yield f"{word!r} is nothing for a reader: {message[:300]}"
    shown = [one for word in where for one in (word, ascii(word)[1:-1])]
    if not (PLACE.search(message) or any(word and word[:40] in message for word in shown)):
        yield f"does not say where: {message[:300]}"


@pytest.fixture
def trial(world: World, capfd: pytest.CaptureFixture[str]) -> Trial:
    """Return a trial."""
    return Trial(world, capfd)


def _every_flag() -> Iterator[tuple[Command | None, Flag]]:
    yield from ((None, flag) for flag in OPTIONS)
    yield from ((command, flag) for command in COMMANDS for flag in command.flags)


def _name(value: object) -> str | None:
    if isinstance(value, Command):
        return value.name
    if isinstance(value, Flag):
        return value.names[0]
    return "global" if value is None else None


def _row(command: Command | None, flag: Flag) -> Row | None:
    """Return what is refused of *flag*; by the parser, if it can judge the kind."""
    if flag.kind in {SWITCH, CHOICE}:
        return Row(bad=WORDS)
    if flag.kind == COUNT:
        return Row(bad=NUMBERS_THAT_ARE_NONE)
    if flag.kind == NUMBERS:
        return Row(bad=INTEGERS_THAT_ARE_NONE)
    if flag.choices:
        return Row(
            bad={"unknown": "nosuch", "two": ",".join(flag.choices), "wrong case": flag.choices[0].swapcase()}
        )
    return FLAGS.get((command.name if command else "", flag.names[0]))


def _judged_by_parser(flag: Flag) -> bool:
    return flag.kind in {SWITCH, CHOICE, COUNT, NUMBERS} or bool(flag.choices)


def test_every_flag_has_a_row_and_every_row_a_flag() -> None:
    flags = {(command.name if command else "", flag.names[0]): flag for command, flag in _every_flag()}
    lacking = [name for name, flag in flags.items() if not _judged_by_parser(flag) and name not in FLAGS]
    assert lacking == [], "say in tests/starting/bad_values.py what must be refused"
    assert [name for name in FLAGS if name not in flags] == []
    assert [name for name, flag in flags.items() if _judged_by_parser(flag) and name in FLAGS] == []
    assert [name for name, row in FLAGS.items() if not row.bad and not (row.any_text and row.empty)] == []


def test_every_argument_has_a_row() -> None:
    takers = [command.name for command in COMMANDS if command.most != 0]
    assert [name for name in takers if name not in ARGUMENTS] == []
    assert [name for name in ARGUMENTS if name not in takers] == []
    for command in COMMANDS:
        if command.most:
            assert len(ARGUMENTS[command.name]) == command.most, command.name


@pytest.mark.parametrize(("command", "flag"), list(_every_flag()), ids=_name)
def test_flag(trial: Trial, command: Command | None, flag: Flag) -> None:
    row = _row(command, flag)
    assert row is not None
    failure = FAILED if command is None or _judged_by_parser(flag) else command.failure
    name = flag.names[0]
    for what, value in row.refused():
        given = trial.fill(value)
        words = (given, name, name.replace("-", " "))
        added = (*_beside(command, name, row), f"--{name}={value}")
        status = FAILED if what in {"NUL", "empty"} and (flag.filled or what == "NUL") else failure
        trial.refused(what, trial.line(command, added), status, where=words, answers=row.answers)
    if flag.kind not in {SWITCH, CHOICE}:
        line = [*trial.line(command, (), ()), f"--{name}"] if command else [f"--{name}"]
        trial.refused("no value", line, FAILED, where=(f"flag needs an argument: -{name}",))
    trial.done()


def _beside(command: Command | None, name: str, row: Row) -> tuple[str, ...]:
    """Return the flags without which nobody looks at the value of *name*."""
    if command is not None and name == "console-socket" and command.name in {"create", "run", "restore"}:
        return ("--bundle={place}/terminal",)
    return row.beside


@pytest.mark.parametrize("command", [None, *COMMANDS], ids=_name)
def test_shape_of_a_line(trial: Trial, command: Command | None) -> None:
    for what, word, words in (
        ("unknown flag", "--bogus", "flag provided but not defined: -bogus"),
        ("unknown flag with a value", "--bogus=1", "flag provided but not defined: -bogus"),
        ("short flags together", "-xyz", "flag provided but not defined: -xyz"),
        ("three hyphens", "---x", "bad flag syntax: '---x'"),
        ("no name", "-=x", "bad flag syntax: '-=x'"),
        *((what, f"--{value}", "") for what, value in ANYWHERE.items()),
    ):
        where = (words,) if words else ("flag provided but not defined", "NUL byte")
        trial.refused(what, trial.line(command, (word,)), FAILED, where=where)
    if command is None:
        trial.done()
        return
    if command.least:
        for number in range(command.least):
            line = trial.line(command, (), ("one",) * number)
            trial.refused("missing argument", line, FAILED, where=(f'"{command.name}" requires',))
    if command.most is not None:
        line = trial.line(command, (), ("one",) * (command.most + 1))
        trial.refused("too many arguments", line, FAILED, where=(f'"{command.name}" requires',))
    trial.done()


@pytest.mark.parametrize("command", [one for one in COMMANDS if one.most != 0], ids=_name)
def test_arguments(trial: Trial, command: Command) -> None:
    _, right = LINES.get(command.name, CONTAINER_LINE)
    for place, row in enumerate(ARGUMENTS[command.name]):
        if isinstance(row, str):
            continue
        for what, value in row.refused():
            given = (*(*right, *("0",) * place)[:place], value, *right[place + 1 :])
            if command.name == "plugin" and place and what == "missing":
                given = ("check", value)
            status = FAILED if what == "NUL" else command.failure
            if command.name == "help" and what != "NUL":
                status = UNKNOWN_COMMAND
            # Behind --, so that a value with a hyphen is one.
            line = trial.line(command, ("--",) if command.mixed else (), given)
            where = (
                trial.fill(value),
                "argument",
                "(value: ",
                "No help topic for",
                "the manifest",
                "the trace",
                "plugin ''",
            )
            trial.refused(what, line, status, where=where, answers=command.name == "check")
    trial.done()


ABOUT_ONE = [one for one in COMMANDS if "<container-id>" in one.usage]
MAKE_ONE = ("create", "run", "restore")


@pytest.mark.parametrize("command", [one for one in ABOUT_ONE if one.name not in MAKE_ONE], ids=_name)
def test_a_container_that_is_not_there(trial: Trial, command: Command) -> None:
    _, right = LINES.get(command.name, CONTAINER_LINE)
    line = trial.line(command, (), ("missing", *right[1:]))
    trial.refused("missing container", line, command.failure, where=("container does not exist",))
    trial.done()


def test_words_that_are_no_command(trial: Trial) -> None:
    for word in ("bogus", "", " ", "Create", "creat", "create\n", NOT_UTF8, HOSTILE, LONG):
        trial.refused("no command", [word, "one"], UNKNOWN_COMMAND, where=("No help topic for",))
    trial.refused("NUL", [NUL], FAILED, where=("NUL byte",))
    trial.done()


def _may_be_empty() -> list[tuple[Command, Flag]]:
    every = [
        (command, flag) for command in ABOUT_ONE for flag in command.flags if not _judged_by_parser(flag)
    ]
    return [(command, flag) for command, flag in every if FLAGS[command.name, flag.names[0]].empty]


@pytest.mark.parametrize(("command", "flag"), _may_be_empty(), ids=_name)
def test_an_empty_value_counts_as_none(trial: Trial, command: Command, flag: Flag) -> None:
    """With an argument that is wrong, that is what is told of, and nothing of the flag."""
    _, right = LINES.get(command.name, CONTAINER_LINE)
    line = trial.line(command, (f"--{flag.names[0]}=",), ("..", *right[1:]))
    trial.refused("bad container", line, command.failure, where=("container",))
    trial.done()


def test_no_line_is_wrong_by_itself(world: World, capfd: pytest.CaptureFixture[str]) -> None:
    """The lines to which bad values are added are right: what is refused is the value."""
    trial = Trial(world, capfd)
    for command in COMMANDS:
        if command.name in {"compose", "create", "run", "restore", "checkpoint", "plugin", "trace", "spec"}:
            continue  # these make something; that they work is shown elsewhere
        line = trial.line(command)
        if command.name in {"start", "resume", "delete"}:
            continue  # of a container that runs
        before = world.seen()
        assert main(line, world) == 0, line
        if command.name == "pause":
            assert main(["resume", "one"], world) == 0
        assert find(command.name) is command
        assert world.seen()[1:] == before[1:]
