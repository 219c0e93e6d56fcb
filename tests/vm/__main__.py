"""Run tests, or any command, in the virtual machine.

python -m tests.vm tests/linux/kernel/test_cgroups.py -k freez    what pytest takes
python -m tests.vm --exec -- busctl list                          any command, as root
python -m tests.vm --user --exec -- systemctl --user status       the same without rights, in a user's session
python -m tests.vm --stdin --exec -- sh <script                   many commands in one machine
"""

from __future__ import annotations

import argparse
import os
import sys

from tests.vm import image, session
from tests.vm.machine import KINDS, Machine, MachineError, Sink, Sinks, guest_user
from tests.vm.rootfs import BuildError

_UNAVAILABLE = 77
_SECONDS = 600.0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.vm", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--exec", action="store_true", help="run a command instead of pytest")
    parser.add_argument("--user", action="store_true", help="run it as the unprivileged user")
    parser.add_argument("--stdin", action="store_true", help="give it this program's standard input")
    parser.add_argument("--machine", choices=KINDS, default="v2", help="which machine (default: %(default)s)")
    parser.add_argument("--timeout", type=float, default=_SECONDS, help="seconds (default: %(default)s)")
    parser.add_argument("--rebuild", action="store_true", help="make the machine anew from today's packages")
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help="for pytest, or the command")
    return parser


def _arguments(given: list[str]) -> argparse.Namespace:
    """Parse the command line; whatever it does not know starts what goes to pytest."""
    own, rest = [], list(given)
    while rest and rest[0] in {
        "--exec",
        "--help",
        "--machine",
        "--rebuild",
        "--stdin",
        "--timeout",
        "--user",
        "-h",
    }:
        own.append(rest.pop(0))
        if own[-1] in {"--machine", "--timeout"} and rest:
            own.append(rest.pop(0))
    parsed = _parser().parse_args(own)
    parsed.arguments = rest[1:] if rest[:1] == ["--"] else rest
    return parsed


def _write(descriptor: int) -> Sink:
    def write(data: bytes) -> None:
        while data:
            data = data[os.write(descriptor, data) :]

    return write


def _say(text: str) -> None:
    sys.stderr.write(f"vm: {text}\n")


def _execute(running: Machine, options: argparse.Namespace) -> int:
    command, environment = options.arguments, dict[str, str]()
    if options.user:
        environment = {**guest_user(), "HOME": "/home/tester", "USER": "tester"}
        command = ["setpriv", "--reuid=tester", "--regid=tester", "--init-groups", "--", *command]
    ended = running.run(
        command,
        timeout=options.timeout,
        env=environment,
        data=sys.stdin.buffer.read() if options.stdin else b"",
        sinks=Sinks(_write(1), _write(2)),
    )
    if ended.error:
        _say(ended.error)
    if ended.timed_out:
        _say(f"killed after {options.timeout:.0f} s")
    return ended.status if ended.status >= 0 else 128 - ended.status


def main() -> int:
    """Run what the command line says; the command's status is this program's."""
    options = _arguments(sys.argv[1:])
    reason = image.why_not()
    if reason:
        _say(f"the virtual machine cannot run here: {reason}")
        return _UNAVAILABLE
    if options.exec and not options.arguments:
        _say("--exec needs a command")
        return 2
    try:
        with session.machine(options.machine, anew=options.rebuild) as running:
            if not options.exec:
                options.arguments = ["python", "-m", "pytest", *options.arguments]
            return _execute(running, options)
    except (BuildError, MachineError) as error:
        _say(str(error))
        return 1


if __name__ == "__main__":
    sys.exit(main())
