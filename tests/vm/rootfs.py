"""The guest's packages, unpacked and configured by mmdebstrap."""

from __future__ import annotations

import os
import re
import select
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from tests.vm import recipe

_EXCLUDED = ("doc", "info", "locale", "man")
# What the host's apt was told about reaching an archive holds for the guest's as well.
_PASSED_ON = (
    "Acquire::Check-Date",
    "Acquire::Check-Valid-Until",
    "Acquire::http::Proxy",
    "Acquire::https::Proxy",
)


# Seconds between attempts to fetch something; the program that does it tries several times by itself.
_PAUSES = (5.0, 30.0)


class BuildError(Exception):
    """The guest cannot be built here."""


class UnreachableError(BuildError):
    """What the guest is made of cannot be fetched now."""


_OFFLINE = re.compile(
    r"temporary failure (in name )?resol|could not (resolve|connect)|network is unreachable|timed out",
    re.IGNORECASE,
)


def failed(tool: str, said: str) -> BuildError:
    """Return the error for a *tool* that has failed, with the end of what it said."""
    for line in said.splitlines():
        if _OFFLINE.search(line):
            return UnreachableError(f"{os.path.basename(tool)}: {line.strip()[:200]}")
    return BuildError(f"{os.path.basename(tool)} failed: {said.strip()[-1000:]}")


def again(fetch: Callable[[], None]) -> None:
    """Do what fetches from elsewhere; a failure may be the network's, and gone a while later.

    Raises:
        BuildError: It has failed each time.
    """
    for pause in _PAUSES:
        try:
            fetch()
        except BuildError as error:
            sys.stderr.write(f"vm: trying again in {pause:g} s: {error}\n")
            select.select([], [], [], pause)
        else:
            return
    fetch()


def archive() -> str:
    """Return the address of the archive that the host itself uses."""
    command = [
        "apt-get",
        "indextargets",
        "--format",
        "$(ORIGIN) $(COMPONENT) $(REPO_URI)",
        "Identifier: Packages",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    for line in done.stdout.splitlines():
        origin, component, address = line.split(" ", 2)
        if (origin, component) == ("Debian", "main") and "security" not in address:
            return address
    raise BuildError("apt knows no Debian archive (has apt-get update run?)")


# What mmdebstrap is told about the packages; together with their list it names the tree.
SETTINGS = (
    "--mode=root",
    "--variant=minbase",
    "--format=directory",
    "--dpkgopt=force-unsafe-io",
    *(f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in _EXCLUDED),
    # The machine starts with an initial file system of ours; to make Debian's takes half a minute.
    "--dpkgopt=path-exclude=/etc/kernel/postinst.d/initramfs-tools",
)


def key() -> str:
    """Return the name of the tree."""
    return recipe.digest(recipe.SUITE, *recipe.PACKAGES, *SETTINGS)


def _options() -> list[str]:
    dumped = subprocess.run(["apt-config", "dump"], capture_output=True, text=True, check=True).stdout
    kept = [line for line in dumped.splitlines() if line.partition(" ")[0] in _PASSED_ON]
    return [f"--aptopt={line}" for line in [*kept, 'Acquire::Languages "none";', 'Acquire::Retries "3";']]


def build(directory: Path, log: Path) -> None:
    """Make the tree at *directory*; what the tools say goes to *log*."""
    command = [
        "mmdebstrap",
        *SETTINGS,
        *_options(),
        "--include=" + ",".join(recipe.PACKAGES),
        recipe.SUITE,
        str(directory),
        archive(),
    ]
    with log.open("w") as file:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=file, stderr=file, check=False)
    if done.returncode:
        raise failed("mmdebstrap", log.read_text(errors="replace"))
