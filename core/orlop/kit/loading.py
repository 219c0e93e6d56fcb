"""Rules of loading: what is wrong with a plugin before any config is there."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

from orlop.entrypoints import entry_points
from orlop.kit.rules import NotApplicableError, describe, rule
from orlop.plugins.compose import compose
from orlop.plugins.faults import RefusedPluginsError
from orlop.plugins.reference import answers
from orlop.plugins.sources import GROUP, module_of
from orlop.plugins.specs import SPECS
from orlop_hookspecs.errors import CompositionError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from orlop.kit.subject import Subject

_OURS = ("orlop", "orlop_linux", "orlop_fake")
"""Packages that a plugin does not import."""

_WAIT = 60.0

# Runs in an interpreter of its own. Reading is no touching: importing reads.
_IMPORT = """
import json, os, sys
touched = []
writes = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
begin = ("socket.", "subprocess.", "os.system", "os.exec", "os.fork", "os.posix_spawn", "os.mkdir",
         "os.rmdir",
         "os.remove", "os.rename", "os.chmod", "os.chown", "os.symlink", "os.link", "os.truncate", "os.kill",
         "os.putenv", "os.unsetenv", "shutil.", "tempfile.", "ctypes.dlopen", "signal.", "urllib.")
def hook(event, arguments):
    if event == "open" and isinstance(arguments[2], int) and arguments[2] & writes:
        touched.append(f"open {arguments[0]!r} for writing")
    elif event.startswith(begin):
        touched.append(f"{event} {arguments[0]!r:.100}" if arguments else event)
sys.path[:0] = json.loads(sys.argv[2])
sys.addaudithook(hook)
__import__(sys.argv[1])
print(json.dumps([touched, sorted({name.partition(".")[0] for name in sys.modules})]))
"""


@rule("loading")
def can_be_imported(subject: Subject) -> Iterator[str]:
    """Importing the plugin's module raises nothing."""
    try:
        plugin = subject.plugin
    except BaseException as error:  # noqa: BLE001 - importing a module runs anything
        yield f"{subject.source}: {describe(error)}"
        return
    if plugin is None:
        yield f"{subject.source} is None"


@rule("loading")
def keeps_the_contract(subject: Subject) -> Iterator[str]:
    """Every function that is, or looks like, a hook fits the contract, and so does the identity."""
    for fault in subject.faults:
        yield f"{fault.message} ({fault.rule})"


@rule("loading")
def imports_only_the_contract(subject: Subject) -> Iterator[str]:
    """Importing the plugin imports nothing of orlop but `orlop_hookspecs`, so any host of it can load it."""
    if subject.built_in:
        raise NotApplicableError("the plugin is part of orlop")
    _, packages = _import_alone(subject)
    for package in _OURS:
        if package in packages:
            yield f"importing it imports {package}"


@rule("loading")
def is_imported_without_a_trace(subject: Subject) -> Iterator[str]:
    """Importing the plugin writes no file, starts no process and opens no connection."""
    touched, _ = _import_alone(subject)
    yield from touched


@rule("loading")
def is_named_by_its_entry_point(subject: Subject) -> Iterator[str]:
    """The entry point has the plugin's name, so that what users write is what errors say."""
    if subject.point is None:
        raise NotApplicableError("it was handed over as an object")
    if subject.point.name != subject.name:
        yield f"the entry point is {subject.point.name}, the plugin calls itself {subject.name}"


@rule("loading")
def states_the_contract_that_it_uses(subject: Subject) -> Iterator[str]:
    """The contract version that the plugin states is not older than the hooks that it implements."""
    stated = _numbers(subject.verified.info.contract)
    for hook in subject.verified.implementations:
        since = answers(SPECS[hook])[2]["Since"].rstrip(".")
        if _numbers(since) > stated:
            yield f"{hook} is there since {since}, the plugin states {subject.verified.info.contract}"


@rule("loading")
def fits_together_with_the_built_in_plugins(subject: Subject) -> Iterator[str]:
    """The plugin composes with what orlop brings, and the merged features document is a valid one."""
    bench = subject.bench()
    try:
        subject.composed(bench.platform)
    except RefusedPluginsError as error:
        yield from map(str, error.faults)
    except CompositionError as error:
        yield str(error)
    finally:
        bench.close()


@rule("loading")
def fits_together_with_what_is_installed(subject: Subject) -> Iterator[str]:
    """The plugin composes with everything that is installed beside it."""
    if subject.point is None:
        raise NotApplicableError("it is not installed")
    bench = subject.bench()
    try:
        compose(bench.platform, [point.name for point in entry_points(GROUP)])
    except RefusedPluginsError as error:
        yield from map(str, error.faults)
    except CompositionError as error:
        yield str(error)
    finally:
        bench.close()


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


def _import_alone(subject: Subject) -> tuple[list[str], list[str]]:
    """Return what importing the plugin's module touches, and the packages that are loaded then."""
    if subject.point is not None:
        module = subject.point.value.partition(":")[0].strip()
    else:
        module = module_of(subject.plugin)
    if module in {"", "__main__", "builtins"}:
        raise NotApplicableError("it comes from no module that can be imported by its name")
    path = json.dumps([place for place in sys.path if place])
    command = [sys.executable, "-I", "-B", "-c", _IMPORT, module, path]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_WAIT)  # noqa: S603 - our own interpreter
    if done.returncode:
        last = done.stderr.strip().rpartition("\n")[2]
        raise NotApplicableError(f"module {module} cannot be imported alone: {last}")
    touched, packages = json.loads(done.stdout.splitlines()[-1])
    return touched, packages
