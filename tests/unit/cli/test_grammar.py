"""The grammar of the command line: how flags are spelled, and what is refused with which words."""

from __future__ import annotations

import pytest

from orlop.cli import table
from orlop.cli.flags import COUNT, SWITCH, Command, Flag, Parsed
from orlop.cli.parse import HelpAskedError, WrongUsageError, parse_command, parse_options

SAMPLE = Command(
    "sample",
    "a command with one flag of each kind",
    least=1,
    most=2,
    flags=(
        Flag(("bundle", "b"), "text", default="."),
        Flag(("detach", "d"), "switch", kind=SWITCH),
        Flag(("preserve-fds",), "number", kind=COUNT),
        Flag(("format", "f"), "choice", choices=("table", "json"), default="table"),
    ),
)
PASSES_ON = Command(
    "passes-on", "flags end at the first argument", least=1, most=None, flags=SAMPLE.flags, mixed=False
)


def parse(*arguments: str, command: Command = SAMPLE) -> Parsed:
    return parse_command({}, command, arguments)


@pytest.mark.parametrize(
    "spelling",
    [
        ["--bundle", "x"],
        ["--bundle=x"],
        ["-bundle", "x"],
        ["-bundle=x"],
        ["-b", "x"],
        ["-b=x"],
        ["--b", "x"],
        ["--b=x"],
    ],
)
@pytest.mark.parametrize("last", [False, True])
def test_flags_with_values(spelling: list[str], last: bool) -> None:
    line = parse("id", *spelling) if last else parse(*spelling, "id")
    assert line.text("bundle") == "x"
    assert line.arguments == ["id"]


@pytest.mark.parametrize("word", ["1", "t", "T", "true", "True", "TRUE"])
def test_switch_on(word: str) -> None:
    assert parse(f"--detach={word}", "id").on("detach")


@pytest.mark.parametrize("word", ["0", "f", "F", "false", "False", "FALSE"])
def test_switch_off(word: str) -> None:
    assert not parse("-d", f"--detach={word}", "id").on("detach")


def test_switch_takes_no_next_word() -> None:
    line = parse("--detach", "false", "id")
    assert line.on("detach")
    assert line.arguments == ["false", "id"]


def test_defaults() -> None:
    line = parse("id")
    assert (line.text("bundle"), line.on("detach"), line.count("preserve-fds"), line.text("format")) == (
        ".",
        False,
        0,
        "table",
    )


def test_last_one_counts() -> None:
    assert parse("-b", "one", "id", "--bundle", "two").text("bundle") == "two"


def test_value_may_look_like_a_flag() -> None:
    assert parse("--bundle", "--detach", "id").text("bundle") == "--detach"


def test_value_may_be_empty_and_may_hold_equals_signs() -> None:
    assert parse("--bundle=", "id").text("bundle") == ""
    assert parse("--bundle=a=b", "id").text("bundle") == "a=b"


def test_two_hyphens_end_flags() -> None:
    assert parse("--", "-d", "--bundle").arguments == ["-d", "--bundle"]
    assert parse("-d", "one", "--", "-d").arguments == ["one", "-d"]


def test_one_hyphen_is_an_argument() -> None:
    assert parse("-").arguments == ["-"]


def test_flags_of_another_program_are_left_alone() -> None:
    line = parse("-d", "id", "-b", "--unknown", "--", "x", command=PASSES_ON)
    assert line.arguments == ["id", "-b", "--unknown", "--", "x"]
    assert line.on("detach")
    assert line.text("bundle") == "."


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["-x", "id"], "flag provided but not defined: -x"),
        (["--unknown=1", "id"], "flag provided but not defined: -unknown"),
        (["-db", "x", "id"], "flag provided but not defined: -db"),
        (["--bund", "x", "id"], "flag provided but not defined: -bund"),
        (["---bundle", "x", "id"], "bad flag syntax: '---bundle'"),
        (["-=x", "id"], "bad flag syntax: '-=x'"),
        (["id", "--bundle"], "flag needs an argument: -bundle"),
        (["id", "-b"], "flag needs an argument: -b"),
        (["--detach=maybe", "id"], "invalid boolean value 'maybe' for -detach"),
        (["--detach=", "id"], "invalid boolean value '' for -detach"),
        (["--preserve-fds", "x", "id"], "invalid value 'x' for flag -preserve-fds: not a whole number"),
        (["--preserve-fds", "-1", "id"], "invalid value '-1' for flag -preserve-fds: not a whole number"),
        (
            ["--preserve-fds", "\u0663", "id"],
            "invalid value '\\u0663' for flag -preserve-fds: not a whole number",
        ),
        (["--preserve-fds=1_0", "id"], "invalid value '1_0' for flag -preserve-fds: not a whole number"),
        (["--preserve-fds=" + "9" * 5000, "id"], "invalid value"),
        ([], '"sample" requires a minimum of 1 argument(s)'),
        (["a", "b", "c"], '"sample" requires a maximum of 2 argument(s)'),
    ],
)
def test_refused_with_help(arguments: list[str], words: str) -> None:
    with pytest.raises(WrongUsageError) as caught:
        parse(*arguments)
    assert str(caught.value).startswith(words)
    assert caught.value.status == 1
    assert caught.value.show
    assert caught.value.command is SAMPLE


def test_exactly() -> None:
    command = Command("one", "", least=1, most=1)
    for arguments in ([], ["a", "b"]):
        with pytest.raises(WrongUsageError, match=r'"one" requires exactly 1 argument\(s\)'):
            parse(*arguments, command=command)


def test_a_wrong_choice_shows_no_help() -> None:
    with pytest.raises(WrongUsageError) as caught:
        parse("--format", "yaml", "id")
    assert str(caught.value) == "invalid format: 'yaml'; one of table, json is expected"
    assert not caught.value.show


@pytest.mark.parametrize("spelling", ["--help", "-help", "-h", "--h"])
def test_help_counts_before_what_is_wrong_later(spelling: str) -> None:
    with pytest.raises(HelpAskedError) as caught:
        parse(spelling, "--unknown")
    assert caught.value.command is SAMPLE


def test_options_stand_before_the_command() -> None:
    values, rest = parse_options(["--root", "/x", "-log-format=json", "state", "--root", "y"], table.OPTIONS)
    assert values["root"] == "/x"
    assert values["log-format"] == "json"
    assert rest == ["state", "--root", "y"]


@pytest.mark.parametrize("value", ["true", "false", "auto", "1", "0", "T", "F"])
def test_rootless_takes_every_spelling_that_engines_send(value: str) -> None:
    assert parse_options([f"--rootless={value}", "state"], table.OPTIONS)[1] == ["state"]


def test_error_text_holds_no_control_characters() -> None:
    with pytest.raises(WrongUsageError) as caught:
        parse("--\x1b[31m\n", "id")
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("command", table.COMMANDS, ids=lambda command: command.name)
def test_every_command_is_well_formed(command: Command) -> None:
    spellings = [name for flag in command.flags for name in flag.names]
    assert len(spellings) == len(set(spellings))
    assert not {"help", "h"} & set(spellings)
    assert command.most is None or command.least <= command.most
    assert command.summary
    assert command.summary[-1] != "."
    for flag in command.flags:
        assert flag.text
        assert not flag.choices or flag.default in flag.choices


def test_names_are_unique() -> None:
    names = [name for command in table.COMMANDS for name in (command.name, *command.aliases)]
    assert len(names) == len(set(names))
    for name in names:
        found = table.find(name)
        assert found is not None
        assert name in (found.name, *found.aliases)
    assert table.find("nothing") is None
    assert table.find("") is None


def test_what_engines_send_is_understood() -> None:
    """Argument lists as conmon, go-runc, CRI-O, BuildKit and buildah make them."""
    for words in (
        "--systemd-cgroup --log-format=json --log F create --bundle B --no-pivot --preserve-fds 2 ID",
        "--log-format=json --log F create --bundle B --no-new-keyring --console-socket S ID",
        "--root R --log F --log-format json create --bundle B --pid-file P --console-socket S --no-pivot ID",
        "--root R create --no-new-keyring --pidfd-socket Q --detach ID",
        "--root=R start ID",
        "--log F --log-format json run --bundle B --no-pivot --keep ID",
        "--root R kill --all ID 9",
        "--root R kill -a ID 9",
        "kill ID SIGKILL",
        "--root R --log F --log-format json --systemd-cgroup delete --force ID",
        "--root R ps --format json ID",
        "--cgroup-manager disabled create --bundle B --pid-file P ID",
        "--root R run -no-subreaper --bundle B --detach --pid-file P ID",
        "pause ID",
        "resume ID",
        "features",
        "events --interval=5s ID",
        "list --format json",
    ):
        options, rest = parse_options(words.split(), table.OPTIONS)
        command = table.find(rest[0])
        assert command is not None
        line = parse_command(options, command, rest[1:])
        assert line.arguments[:1] in (["ID"], [])
