"""Signals by name, as kill takes them."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from orlop.lifecycle.signals import parse_signal as number
from orlop_hookspecs.errors import UsageError


@pytest.mark.parametrize("text", ["9", "KILL", "SIGKILL", "kill", "sigkill", "SigKill", "09"])
def test_spellings(text: str) -> None:
    assert number(text) == 9


def test_agrees_with_the_standard_library() -> None:
    for known in signal.Signals:
        assert number(known.name) == known
        assert number(known.name[3:].lower()) == known


def test_real_time_signals() -> None:
    assert number("RTMIN") == signal.SIGRTMIN
    assert number("SIGRTMIN+3") == signal.SIGRTMIN + 3
    assert number("rtmax-1") == signal.SIGRTMAX - 1
    assert number("64") == 64
    assert number("0") == 0


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            " 9",
            "9 ",
            "-9",
            "+9",
            "65",
            "999",
            "9" * 5000,
            "TERM2",
            "SIG",
            "SIGSIGKILL",
            "BLOCK",
            "_BLOCK",
            "SIG_DFL",
        ),
        *(
            "RTMIN+99",
            "RTMIN+",
            "RTMIN+-1",
            "RTMAX-99",
            "RTMIN+1_0",
            "\u0669",
            "\u00b2",
            "KILL\n",
            "NSIG",
            "k\u0131ll",
        ),
    ],
)
def test_unknown(text: str) -> None:
    with pytest.raises(UsageError, match="unknown signal"):
        number(text)


def test_needs_no_enumerations() -> None:
    code = "import sys, orlop.lifecycle.signals; print({'signal', 'enum', 're'} & set(sys.modules))"
    flags = ["-I", "-S", "-c", f"import sys; sys.path[:] = {sys.path!r}; {code}"]
    assert (
        subprocess.run([sys.executable, *flags], capture_output=True, text=True, check=True).stdout
        == "set()\n"
    )
