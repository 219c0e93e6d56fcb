"""The reference page of the rules, made from their docstrings: ``python -m orlop.kit.reference``."""

from __future__ import annotations

import sys

from orlop.kit import RULES

_HEAD = """\
<!-- Made by `python -m orlop.kit.reference`; a test compares it with the rules. -->

# Rules for plugins

What `orlop plugin check` and the `check_*` functions of `orlop.kit` try;
[how to use them](../how-to/write-a-plugin.md). Each rule is tried and reported alone.
*Since* is the version of the contract that has the rule first.
"""

_GROUPS = {
    "loading": "`check_loading`: before any config is there",
    "declarations": "`check_declarations`: what is said once per composition",
    "planning": "`check_planning`: what is made of configs, before anything is touched",
    "life": "`check_life`: containers on a machine, in memory or real",
    "platform": "`check_platform`: plugins that supply a platform",
    "distribution": "`check_distribution`: what the package says of itself",
}


def page() -> str:
    """Return the page."""
    lines = [_HEAD]
    for group, title in _GROUPS.items():
        lines += [f"## {title}", "", "| Rule | Since | What holds |", "|---|---|---|"]
        lines += [
            f"| `{one.name}` | {one.since} | {one.text} |" for one in RULES.values() if one.group == group
        ]
        lines.append("")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.stdout.write(page())
