"""Completion of command lines, and the shells' scripts for it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from tests.unit.cli.conftest import CommandLine

from orlop.cli.completion import DIRECTORIES, FILES, NOTHING, SCRIPTS, offer
from orlop.cli.flags import CHOICE, SWITCH, Command, Flag
from orlop.cli.table import COMMANDS, OPTIONS


def words(*typed: str, containers: dict[str, list[str]] | None = None) -> tuple[list[str], str]:
    """Return the words that are offered, and what else may stand there."""
    known = containers or {"": ["one", "other", "two"]}
    found = offer(typed, lambda root: known.get(root, []), lambda: [("vendor", "a plugin's")])
    return [word for word, _ in found.candidates], found.more


def test_commands_and_those_of_plugins() -> None:
    assert words("") == ([*(one.name for one in COMMANDS), "vendor"], NOTHING)
    assert words() == words("")
    assert words("sta") == (["start", "state"], NOTHING)
    assert words("ven") == (["vendor"], NOTHING)
    assert words("--debug", "st") == (["start", "state"], NOTHING)
    assert words("--root", "/x", "st") == (["start", "state"], NOTHING)
    assert words("absent", "") == ([], FILES)


@pytest.mark.parametrize("command", COMMANDS, ids=lambda one: one.name)
def test_every_shown_flag_of_a_command(command: Command) -> None:
    shown = [f"--{flag.names[0]}" for flag in command.flags if not flag.hidden]
    assert words(command.name, "-") == ([*shown, "--help"], NOTHING)


def _flags() -> list[tuple[list[str], Flag]]:
    return [
        *(([], flag) for flag in OPTIONS),
        *(([command.name], flag) for command in COMMANDS for flag in command.flags),
    ]


@pytest.mark.parametrize(("before", "flag"), _flags(), ids=lambda part: getattr(part, "names", part))
def test_the_value_of_every_flag(before: list[str], flag: Flag) -> None:
    """By itself after the flag, and behind an equals sign: with all spellings."""
    for name in flag.names:
        found, more = words(*before, f"--{name}", "")
        if flag.kind in {SWITCH, CHOICE}:
            continue
        assert found == list(flag.choices)
        expected = {"DIR": DIRECTORIES, "FILE": FILES, "PATH": FILES}.get(flag.metavar, NOTHING)
        assert more == expected
        joined = [f"--{name}={choice}" for choice in flag.choices]
        assert words(*before, f"--{name}=") == (joined, expected)


def test_a_value_that_begins_like_a_flag_is_a_value() -> None:
    assert words("--root", "--debug", "del") == (["delete"], NOTHING)
    assert words("run", "--pid-file", "-x", "o") == (["one", "other"], NOTHING)
    assert words("run", "--detach", "tw") == (["two"], NOTHING)


def test_containers_are_those_of_the_root() -> None:
    known = {"": ["one"], "/srv/state": ["far"]}
    assert words("kill", "", containers=known)[0] == ["one"]
    assert words("--root", "/srv/state", "kill", "", containers=known)[0] == ["far"]
    assert words("--root=/srv/state", "kill", "", containers=known)[0] == ["far"]
    assert words("state", "one", "", containers=known) == ([], NOTHING)


def test_arguments_that_are_no_containers() -> None:
    assert words("kill", "one", "K") == (["KILL"], NOTHING)
    assert words("schema", "") == (["config", "state", "features"], NOTHING)
    assert words("check", "") == ([], DIRECTORIES)
    assert words("help", "sta") == (["start", "state"], NOTHING)
    assert words("completion", "") == (["bash", "zsh", "fish"], NOTHING)
    assert words("ps", "one", "-") == ([], FILES)


def test_after_two_hyphens_there_are_no_flags() -> None:
    assert words("state", "--", "-") == ([], NOTHING)
    assert words("state", "--", "t") == (["two"], NOTHING)
    assert words("state", "--unknown", "t") == (["two"], NOTHING)


def test_the_command_prints_words_with_meanings(orlop_command: CommandLine) -> None:
    status, out, err = orlop_command("completion", "words", "resu")
    assert (status, out, err) == (0, "nothing\nresume\tresume all processes of a paused container\n", "")
    assert orlop_command("create", "--bundle", str(orlop_command.bundle), "box")[0] == 0
    assert orlop_command("completion", "words", "kill", "b") == (0, "nothing\nbox\t\n", "")
    assert orlop_command("completion", "words", "run", "--bundle", "") == (0, "directories\n", "")
    assert orlop_command("completion", "words") == orlop_command("completion", "words", "")


@pytest.mark.parametrize("shell", SCRIPTS)
def test_the_command_prints_the_script(orlop_command: CommandLine, shell: str) -> None:
    assert orlop_command("completion", shell) == (0, SCRIPTS[shell], "")


def test_bad_input(orlop_command: CommandLine) -> None:
    status, out, err = orlop_command("completion", "csh")
    assert (status, out) == (1, "")
    assert err.count("\n") == 1
    assert "'csh'" in err
    assert "bash, zsh, fish" in err
    status, out, err = orlop_command("completion", "bash", "more")
    assert (status, out, err.count("\n")) == (1, "", 1)


PROGRAM = """#!/bin/sh
# Says what it was asked, in the form in which orlop answers.
[ "$1 $2" = "completion words" ] || exit 1
shift 2
for word; do printf '<%s>' "$word"; done >"$0.asked"
cat "$0.answer"
"""


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """Return a program by the name of orlop that keeps its words and gives a prepared answer."""
    made = tmp_path / "orlop"
    made.write_text(PROGRAM)
    made.chmod(0o755)
    for name in ("file one", "other"):
        (tmp_path / name).touch()
    (tmp_path / "folder").mkdir()
    return made


def in_bash(program: Path, answer: str, *typed: str) -> tuple[str, list[str]]:
    """Let bash complete; return the words that the program was asked with, and what bash offers."""
    if shutil.which("bash") is None:
        pytest.skip("needs bash")
    Path(f"{program}.answer").write_text(answer)
    script = (
        f"{SCRIPTS['bash']}\ncomplete -p orlop >/dev/null || exit 9\n"
        'COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _orlop; printf "%s\\n" "${COMPREPLY[@]}"'
    )
    done = subprocess.run(
        ["bash", "--norc", "--noprofile", "-c", script, "bash", str(program), *typed],
        capture_output=True,
        text=True,
        check=True,
        cwd=program.parent,
    )
    assert done.stderr == ""
    return Path(f"{program}.asked").read_text(), done.stdout.splitlines()


def test_bash_offers_what_the_program_says(program: Path) -> None:
    asked, offered = in_bash(program, "nothing\nstart\tstart it\nstate\tshow it\n", "sta")
    assert (asked, offered) == ("<sta>", ["start", "state"])
    asked, offered = in_bash(program, "nothing\n$(touch x)\todd\n", "--root", "/a b", "state", "")
    assert (asked, offered) == ("<--root></a b><state><>", ["$(touch x)"])
    assert not (program.parent / "x").exists()


def test_bash_joins_what_it_splits_at_equals_signs(program: Path) -> None:
    answer = "nothing\n--log-format=json\t\n--log-format=text\t\n"
    asked, offered = in_bash(program, answer, "--log-format", "=")
    assert (asked, offered) == ("<--log-format=>", ["json", "text"])
    asked, offered = in_bash(program, answer, "--log-format", "=", "j")
    assert (asked, offered) == ("<--log-format=j>", ["json", "text"])
    asked, _ = in_bash(program, answer, "--root", "=", "/r", "kill", "")
    assert asked == "<--root=/r><kill><>"


def test_bash_adds_names_of_files(program: Path) -> None:
    _, offered = in_bash(program, "files\n", "run", "--config", "f")
    assert sorted(offered) == ["file one", "folder"]
    _, offered = in_bash(program, "directories\n", "run", "--bundle", "=", "fo")
    assert offered == ["folder"]


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_accept_their_scripts(shell: str, tmp_path: Path) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"needs {shell}")
    script = tmp_path / "script"
    script.write_text(SCRIPTS[shell])
    done = subprocess.run([shell, "-n", str(script)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_zsh_offers_what_the_program_says(program: Path) -> None:
    if shutil.which("zsh") is None:
        pytest.skip("needs zsh")
    Path(f"{program}.answer").write_text("files\na:b\tmeans: it\nplain\t\n")
    # What zsh's own completion does with the result is shown by what it is called with.
    script = (
        "compdef() {}\n"
        'compset() { print -r -- "compset $@" }\n'
        '_files() { print -r -- "files $@" }\n'
        '_describe() { print -rl -- "${(@P)4}" }\n'
        f"{SCRIPTS['zsh']}\n"
        'words=("$@"); CURRENT=$#; _orlop'
    )
    done = subprocess.run(
        ["zsh", "-f", "-c", script, "zsh", str(program), "--root", "/a b", "x"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    assert Path(f"{program}.asked").read_text() == "<--root></a b><x>"
    assert done.stdout.splitlines() == ["a\\:b:means: it", "plain:", "compset -P -*=", "files "]


def in_fish(program: Path, answer: str, line: str) -> tuple[str, str]:
    """Let fish complete; return the words that the program was asked with, and what fish offers."""
    if shutil.which("fish") is None:
        pytest.skip("needs fish")
    Path(f"{program}.answer").write_text(answer)
    done = subprocess.run(
        ["fish", "--no-config", "-c", f"{SCRIPTS['fish']}\ncomplete -C '{line}'"],
        capture_output=True,
        text=True,
        check=True,
        cwd=program.parent,
        env={"PATH": f"{program.parent}:/usr/bin:/bin", "HOME": str(program.parent)},
    )
    assert done.stderr == ""
    return Path(f"{program}.asked").read_text(), done.stdout


def test_fish_offers_what_the_program_says(program: Path) -> None:
    asked, offered = in_fish(program, "nothing\nstart\tstart it\n", "orlop sta")
    assert (asked, offered) == ("<sta>", "start\tstart it\n")
    asked, offered = in_fish(program, "files\nstart\tstart it\n", "orlop --root /a fo")
    assert asked == "<--root></a><fo>"
    assert "folder/" in offered
