"""Cases of the six kinds of hooks (config.md, POSIX-platform Hooks)."""

from __future__ import annotations

import functools
import re
from pathlib import Path

from tests.properties.case import BUNDLE, Config, Seen, case, placed

KINDS = ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")
PARTS = ("path", "args[]", "env[]", "timeout")


def _place(kind: str) -> str:
    """Return where the image is for a hook of that kind."""
    return "" if kind == "startContainer" else f"{BUNDLE}/rootfs"


def _make(kind: str, bundle: Path) -> None:
    """Make a hook that writes down how it was called."""
    place, busybox = placed(_place(kind), bundle), "/bin/busybox"
    file = bundle / "rootfs/bin" / f"hook-{kind}"
    (bundle / "rootfs/events").mkdir(exist_ok=True)
    target = f"{place}/events/{kind}"
    script = f'echo "$0|$1|$CASE|${{PATH-none}}"; {busybox} tr , "\\n" | {busybox} grep -c status'
    file.write_text(f"#!{busybox} sh\n{{ {script}; }} >{target}.new && {busybox} mv {target}.new {target}\n")
    file.chmod(0o755)


def _hook(kind: str) -> Config:
    one = {
        "path": f"{_place(kind)}/bin/hook-{kind}",
        "args": ["the hook", f"for {kind}"],
        "env": [f"CASE={kind} here"],
        "timeout": 30,
    }
    return {"hooks": {kind: [one]}}


def _register(kind: str) -> None:
    # A script's $0 is its path: the kernel puts it in the place of the first argument.
    wanted = re.compile(rf"\S*/bin/hook-{kind}\|for {kind}\|{kind} here\|(none|\S*)\n1")

    def ran(seen: Seen) -> None:
        assert wanted.fullmatch((seen.rootfs / "events" / kind).read_text().strip())

    case(
        *(f"hooks.{kind}[].{one}" for one in PARTS),
        config=_hook(kind),
        prepare=functools.partial(_make, kind),
        host=None if kind == "poststop" else ran,
        after=ran,
        name=f"hooks.{kind}[]",
    )


for _kind in KINDS:
    _register(_kind)
