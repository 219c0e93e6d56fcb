"""What may stand next on a command line, from the table; and the scripts by which shells ask for it.

The shells know nothing of the grammar: each of their scripts calls ``orlop completion words`` with what has
been typed, so that all three offer the same, including the commands of plugins and the containers that exist.
"""

from __future__ import annotations

from orlop.cli.flags import CHOICE, SWITCH
from orlop.cli.help import meaning
from orlop.cli.table import COMMANDS, OPTIONS, find

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from orlop.cli.flags import Command, Flag

    Candidate = tuple[str, str]
    """A word and what it means; the meaning may be empty."""

FILES = "files"
"""Names of files may stand there, too."""
DIRECTORIES = "directories"
"""Names of directories may stand there, too."""
NOTHING = "nothing"
"""Nothing but the candidates may stand there."""

_PLACES = {"DIR": DIRECTORIES, "FILE": FILES, "PATH": FILES, "[BUNDLE]": DIRECTORIES}
_SIGNALS = ("TERM", "KILL", "HUP", "INT", "QUIT", "USR1", "USR2", "WINCH", "STOP", "CONT")
_HELP = ("--help", "print help")


class Offer:
    """What may stand at the end of a command line.

    Args:
        candidates: The words that are known.
        more: :data:`FILES`, :data:`DIRECTORIES` or :data:`NOTHING`.
    """

    __slots__ = ("candidates", "more")

    def __init__(self, candidates: Iterable[Candidate] = (), more: str = NOTHING) -> None:
        """Keep the parts."""
        self.candidates = list(candidates)
        self.more = more


def offer(
    words: Sequence[str],
    containers: Callable[[str], Iterable[str]],
    extra: Callable[[], Iterable[Candidate]],
) -> Offer:
    """Return what may stand in the place of the last of *words*, as far as it begins with that.

    Args:
        words: The command line without the program's name; the last one is being typed and may be empty.
        containers: Returns the identifiers of the containers of a state root (empty: the default one).
        extra: Returns the commands of plugins.
    """
    typed = words[-1] if words else ""
    found = _offer(list(words[:-1]), typed, containers, extra)
    found.candidates = [one for one in found.candidates if one[0].startswith(typed)]
    return found


def _offer(
    before: list[str],
    typed: str,
    containers: Callable[[str], Iterable[str]],
    extra: Callable[[], Iterable[Candidate]],
) -> Offer:
    options = _Reader(OPTIONS, mixed=False)
    rest = options.read(before)
    if options.pending is not None:
        return _values(options.pending)
    if not rest:
        if options.accepts_flags and typed.startswith("-"):
            return _flags(OPTIONS, typed)
        return Offer([*((one.name, one.summary) for one in COMMANDS), *extra()])
    command = find(rest[0])
    if command is None:
        return Offer(more=FILES)  # a plugin's command reads its arguments itself
    return _after(command, rest[1:], typed, lambda: containers(options.values.get("root", "")))


def _after(command: Command, before: list[str], typed: str, containers: Callable[[], Iterable[str]]) -> Offer:
    reader = _Reader(command.flags, mixed=command.mixed)
    arguments = reader.read(before)
    if reader.pending is not None:
        return _values(reader.pending)
    if reader.accepts_flags and typed.startswith("-"):
        return _flags(command.flags, typed)
    return _positional(command, len(arguments), containers)


class _Reader:
    """Reads flags as :mod:`orlop.cli.parse` does, but takes whatever is unfinished or wrong."""

    def __init__(self, flags: Iterable[Flag], *, mixed: bool) -> None:
        self._known = {name: flag for flag in flags for name in flag.names}
        self._mixed = mixed
        self.values: dict[str, str] = {}
        self.pending: Flag | None = None
        """The flag whose value comes next."""
        self.accepts_flags = True

    def read(self, words: Sequence[str]) -> list[str]:
        """Return what is positional; without mixing, all from the first such word on."""
        positional: list[str] = []
        for index, word in enumerate(words):
            if self.pending is not None:
                self.values[self.pending.names[0]] = word
                self.pending = None
            elif word == "--":
                self.accepts_flags = False
                return [*positional, *words[index + 1 :]]
            elif word[:1] != "-" or word == "-":
                if not self._mixed:
                    self.accepts_flags = False
                    return [*positional, *words[index:]]
                positional.append(word)
            else:
                name, equals, value = word.lstrip("-").partition("=")
                flag = self._known.get(name)
                if flag is None or flag.kind in {SWITCH, CHOICE}:
                    continue
                if equals:
                    self.values[flag.names[0]] = value
                else:
                    self.pending = flag
        return positional


def _values(flag: Flag) -> Offer:
    return Offer([(choice, "") for choice in flag.choices], _PLACES.get(flag.metavar, NOTHING))


def _flags(flags: Sequence[Flag], typed: str) -> Offer:
    name, equals, _ = typed.partition("=")
    if not equals:
        shown = [(f"--{flag.names[0]}", meaning(flag)) for flag in flags if not flag.hidden]
        return Offer([*shown, _HELP])
    for flag in flags:
        if name.lstrip("-") in flag.names and flag.kind not in {SWITCH, CHOICE}:
            values = _values(flag)
            return Offer([(f"{name}={value}", text) for value, text in values.candidates], values.more)
    return Offer()


def _positional(command: Command, index: int, containers: Callable[[], Iterable[str]]) -> Offer:
    """Return what may be the positional argument number *index*, by the words of the command's usage."""
    places = command.usage.split()
    if index >= len(places) or (command.most is not None and index >= command.most):
        return Offer(more=NOTHING if command.most is not None else FILES)
    place = places[index]
    words: Iterable[Candidate]
    if place == "<container-id>":
        words = ((one, "") for one in containers())
    elif place == "[SIGNAL]":
        words = ((one, "") for one in _SIGNALS)
    elif place == "[COMMAND]":
        words = ((one.name, one.summary) for one in COMMANDS)
    elif "|" in place:
        words = ((one, "") for one in place.split("|"))
    else:
        return Offer(more=_PLACES.get(place, FILES))
    return Offer(words)


SCRIPTS = {
    "bash": """\
# Completion of orlop for bash: source this file, or put it where bash-completion looks, under the name orlop.
_orlop() {
    local i line kind typed=${COMP_WORDS[COMP_CWORD]} prefix= join=
    local -a words=() lines=()
    # bash takes --name=value for three words.
    for ((i = 1; i <= COMP_CWORD; i++)); do
        if [[ ${COMP_WORDS[i]} == = && ${#words[@]} -gt 0 && ${words[-1]} == -* ]]; then
            words[-1]+== join=1
        elif [[ -n $join ]]; then
            words[-1]+=${COMP_WORDS[i]} join=
        else
            words+=("${COMP_WORDS[i]}")
        fi
    done
    [[ $typed == = ]] && typed=
    [[ ${words[-1]} == -*=* ]] && prefix=${words[-1]%%=*}=
    mapfile -t lines < <("${COMP_WORDS[0]/#\\~/$HOME}" completion words "${words[@]}" 2>/dev/null)
    kind=${lines[0]}
    COMPREPLY=()
    for line in "${lines[@]:1}"; do
        line=${line%%$'\\t'*}
        COMPREPLY+=("${line#"$prefix"}")
    done
    case $kind in
        files) mapfile -t -O "${#COMPREPLY[@]}" COMPREPLY < <(compgen -f -- "$typed") ;;
        directories) mapfile -t -O "${#COMPREPLY[@]}" COMPREPLY < <(compgen -d -- "$typed") ;;
        *) return ;;
    esac
    compopt -o filenames 2>/dev/null
}
complete -F _orlop orlop
""",
    "zsh": """\
#compdef orlop
# Completion of orlop for zsh: put this file into a directory of $fpath under the name _orlop, or source it.
_orlop() {
    local kind line
    local -a lines values
    lines=("${(@f)$("${words[1]/#\\~/$HOME}" completion words "${(@)words[2,CURRENT]}" 2>/dev/null)}")
    kind=$lines[1]
    for line in "${(@)lines[2,-1]}"; do
        values+=("${${line%%$'\\t'*}//:/\\\\:}:${line#*$'\\t'}")
    done
    (( $#values )) && _describe -t orlop orlop values
    case $kind in
        files) compset -P '-*='; _files ;;
        directories) compset -P '-*='; _files -/ ;;
    esac
}
if [[ $funcstack[1] == _orlop ]]; then _orlop "$@"; else compdef _orlop orlop; fi
""",
    "fish": """\
# Completion of orlop for fish: put this file into ~/.config/fish/completions under the name orlop.fish.
function __orlop_words
    set -l before (commandline -opc)
    set -l typed (commandline -ct)
    set -l lines ($before[1] completion words $before[2..-1] "$typed" 2>/dev/null)
    for line in $lines[2..-1]
        echo $line
    end
    switch "$lines[1]"
        case files
            __fish_complete_path "$typed"
        case directories
            __fish_complete_directories "$typed"
    end
end
complete --command orlop --no-files --arguments '(__orlop_words)'
""",
}
"""The script of each shell, by the shell's name."""
