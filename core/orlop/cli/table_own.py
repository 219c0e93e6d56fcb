"""A part of the table of the command line: the commands that only orlop has."""

from __future__ import annotations

from orlop.cli.flags import COUNT, OWN, SWITCH, Command, Flag

_FORMAT = Flag(
    ("format", "f"), "layout of the output", choices=("text", "json"), default="text", metavar="FORMAT"
)
_TABLE = Flag(
    ("format", "f"), "layout of the output", choices=("table", "json"), default="table", metavar="FORMAT"
)
# Engines have no part in the commands that only orlop has: an empty text is a mistake there.
_BUNDLE = Flag(
    ("bundle", "b"),
    "directory with the config and the root filesystem",
    default=".",
    metavar="DIR",
    filled=True,
)
_CONFIG = Flag(
    ("config",), "config file, relative to the bundle", default="config.json", metavar="FILE", filled=True
)


OWN_COMMANDS: tuple[Command, ...] = (
    Command(
        "plugins",
        "list the plugins, those in use and those not",
        flags=(_TABLE, Flag(("order",), "show in which order each hook asks them", kind=SWITCH)),
        group=OWN,
    ),
    Command(
        "plugin",
        "check the plugins of a distribution, or begin one",
        usage="check DISTRIBUTION | new NAME",
        least=2,
        most=2,
        flags=(
            _FORMAT,
            Flag(("linux",), "check: containers live on this host's kernel; needs root", kind=SWITCH),
            Flag(("samples",), "check: JSON array of further samples to try", metavar="FILE", filled=True),
            Flag(
                ("deadline",), "check: seconds that each rule may take", kind=COUNT, default=60, metavar="N"
            ),
            Flag(("rules",), "check: try only these rules", metavar="NAME,...", filled=True),
            Flag(("verbose",), "check: show the rules that are kept as well", kind=SWITCH),
            Flag(
                ("directory",),
                "new: where the distribution is made (default: NAME)",
                metavar="DIR",
                filled=True,
            ),
        ),
        group=OWN,
        text="check tries every rule of the conformance kit with each plugin that the distribution, the\n"
        "installed plugin or the module of this name holds; the status is 1 when one is broken.\n"
        "new writes a distribution with a plugin that works, its samples and its tests.",
    ),
    Command(
        "check",
        "say whether a bundle's config would be accepted, without touching anything",
        usage="[BUNDLE]",
        most=1,
        flags=(
            Flag(
                ("features",),
                "ask what the runtime with this document makes of it",
                metavar="OTHER",
                filled=True,
            ),
            _FORMAT,
            _BUNDLE,
            _CONFIG,
        ),
        group=OWN,
        text="Without BUNDLE, the current directory. The exit status is 1 when the config would be refused.\n"
        "OTHER is a file, - for standard input, or a runtime, which is run with 'features'; the exit status\n"
        "is then also 1 when something would be silently ignored.",
    ),
    Command(
        "doctor",
        "say what can be used: implemented, available on this host, allowed to this user",
        usage="[CAPABILITY...]",
        most=None,
        flags=(
            _TABLE,
            Flag(
                ("bundle", "b"), "ask only about what this bundle's config needs", metavar="DIR", filled=True
            ),
            Flag(("missing",), "show only what cannot be used", kind=SWITCH),
        ),
        group=OWN,
        text="A CAPABILITY is a name from the table, or what several begin with, such as namespace.\n"
        "The exit status is 1 when one of them cannot be used, or something that the bundle needs, or\n"
        "without either something that hardly any container does without. Nothing on the host is changed.",
    ),
    Command(
        "explain",
        "print what create would do for a bundle, step by step",
        usage="[BUNDLE]",
        most=1,
        flags=(
            Flag(
                ("format", "f"),
                "layout of the output; svg and mermaid are pictures",
                choices=("text", "json", "svg", "mermaid"),
                default="text",
                metavar="FORMAT",
            ),
            _BUNDLE,
            _CONFIG,
            Flag(("id",), "container identifier to plan for", default="explained", metavar="ID", filled=True),
        ),
        group=OWN,
    ),
    Command(
        "compose",
        "make a runtime of chosen plugins in one file",
        usage="MANIFEST",
        least=1,
        most=1,
        flags=(
            Flag(
                ("output", "o"),
                "the file to make (default: the runtime's name, here)",
                metavar="FILE",
                filled=True,
            ),
            _FORMAT,
        ),
        group=OWN,
        text="MANIFEST is a TOML file: a profile or plugins, and the versions that they are pinned to.",
    ),
    Command(
        "seccomp",
        "explain a seccomp profile: which rule decides a call, and what has no effect here",
        usage="explain [CALL [ARGUMENT...]]",
        least=1,
        most=8,
        flags=(
            _FORMAT,
            _BUNDLE,
            _CONFIG,
            Flag(
                ("profile",),
                "file with a linux.seccomp object, instead of a bundle's",
                metavar="FILE",
                filled=True,
            ),
            Flag(
                ("arch",),
                "architecture of the call (default: this machine's own)",
                metavar="ARCH",
                filled=True,
            ),
        ),
        group=OWN,
        text="CALL is a name or a number, ARGUMENT a number or ? for any; what is left out is any, too.\n"
        "Behind -- arguments may be negative. Without CALL: names that cannot be resolved, rules that never\n"
        "decide anything, flags and actions that this host lacks, for which the exit status is 1.",
    ),
    Command(
        "trace",
        "draw the timeline that --trace has written",
        usage="FILE",
        least=1,
        most=1,
        flags=(
            Flag(
                ("format", "f"),
                "layout of the output",
                choices=("svg", "text", "json"),
                default="svg",
                metavar="FORMAT",
            ),
        ),
        group=OWN,
        text="The timeline is in the Chrome trace format: chrome://tracing and Perfetto show it as well.",
    ),
    Command(
        "schema",
        "print the JSON schema of a document, made from the classes that read it",
        usage="config|state|features",
        least=1,
        most=1,
        group=OWN,
    ),
    Command(
        "completion",
        "print what makes a shell complete command lines of orlop",
        usage="bash|zsh|fish",
        least=1,
        most=None,
        mixed=False,
        group=OWN,
        text="For bash: source <(orlop completion bash). The scripts call 'orlop completion words' with\n"
        "what has been typed; it prints what may stand next.",
    ),
    Command(
        "manual",
        "print the manual page of orlop or of one command",
        usage="[COMMAND]",
        most=1,
        flags=(
            Flag(("directory",), "write all pages into this directory instead", metavar="DIR", filled=True),
        ),
        group=OWN,
        text="To read a page: orlop manual run | man -l -",
    ),
)
"""The commands, in the order of the help."""
