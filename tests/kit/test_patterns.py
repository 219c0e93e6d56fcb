"""The patterns of hooks.d mean here what they mean to grep(1)."""

from __future__ import annotations

import subprocess

from tests.unit.plugins.test_posix_patterns import FOUND, NOT_FOUND


def test_grep_agrees() -> None:
    for pattern, text in [*FOUND, *NOT_FOUND]:
        if "\n" in text or "/" in pattern:
            continue  # to grep a line is a text, and GNU's warns of a backslash before a slash
        done = subprocess.run(
            ["grep", "-E", "-q", "-e", pattern],
            input=f"{text}\n".encode(),
            env={"LC_ALL": "C", "PATH": "/usr/bin:/bin"},
            check=False,
        )
        assert done.returncode == (0 if (pattern, text) in FOUND else 1), pattern
