"""The file of a composed runtime: what stands where in it, made the same from the same parts.

    #!INTERPRETER -ISBc...    opens the file and executes its second line; the kernel adds the file's path
    one line of Python        refuses another version of Python, executes the start, and begins
    start                     the code of orlop.composing.start
    index                     where each module is, what small commands load, the entry points
    modules                   those of small commands first
    helper                    the code of the helper and of all that it imports

All but the first two lines is bytecode, as in a ``.pyc`` file, for one minor version of Python. There are no
times, no paths of the machine that made it, and nothing in the order in which a file system lists it.
"""

from __future__ import annotations

import os
import subprocess
import sys
from marshal import dumps, loads
from typing import TYPE_CHECKING

from orlop.composing.parts import MAKERS
from orlop.composing.source import generate
from orlop_hookspecs.errors import UsageError

if TYPE_CHECKING:
    from orlop.composing.manifest import Manifest
    from orlop.composing.parts import Parts

    Index = dict[str, tuple[int, int, bool]]
    Coded = dict[str, tuple[bytes, tuple[str, ...], bool]]
    """Module to its bytecode, the names that it knows, and whether it is a package."""

OLDEST = (3, 11)
"""The oldest Python that runs a composed runtime."""

SMALL = ("state", "start", "kill", "delete")
"""Commands whose modules are loaded at once."""

_SHEBANG_LIMIT = 127
"""Bytes of a first line that every kernel takes (execve(2), Interpreter scripts)."""

MARK = b"-ISBcimport sys;f=open(sys.argv[1],'rb')"
"""In the first line of every composed runtime."""

_BEGIN = "import sys;f=open(sys.argv[1],'rb');f.readline();exec(f.readline())"

_COMPILER = """
import sys
from marshal import dumps, loads
eraser, items = loads(sys.stdin.buffer.read())
erase = {"__name__": "eraser"}
exec(compile(eraser, "eraser", "exec"), erase)
from _frozen_importlib_external import MAGIC_NUMBER
made = []
for path, source, own in items:
    if own:
        code = erase["compile_erased"](source, path)
    else:
        code = compile(source, path, "exec", dont_inherit=True)
    made.append((dumps(code), code.co_names))
sys.stdout.buffer.write(dumps((MAGIC_NUMBER, sys.version_info[:2], made), 2))
"""

# What the helper runs first, and then all of its modules, each after those that it imports.
_HELPER = """
import sys
from _frozen_importlib import ModuleSpec
from marshal import loads
for name, package, code in MODULES:
    module = type(sys)(name)
    module.__spec__ = ModuleSpec(name, None, is_package=package)
    module.__package__ = module.__spec__.parent
    if package:
        module.__path__ = []
    sys.modules[name] = module
    exec(loads(code), module.__dict__)
    parent, _, child = name.rpartition(".")
    if parent:
        setattr(sys.modules[parent], child, module)
sys.modules[HELPER].main()
"""


def build(manifest: Manifest, parts: Parts) -> bytes:
    """Return the content of the file.

    Raises:
        UsageError: The interpreter cannot be used.
    """
    interpreter = manifest.interpreter or os.path.realpath(
        getattr(sys, "_base_executable", "") or sys.executable
    )
    items = [(module.name, module.source, module.package, module.own) for module in parts.modules]
    items += [
        (name, text.encode(), name.count(".") == 0, True) for name, text in generate(manifest, parts).items()
    ]
    with open(f"{os.path.dirname(os.path.abspath(__file__))}/start.py", "rb") as file:
        start = file.read()
    sources = [(_path(name, package=package), source, own) for name, source, package, own in items]
    sources.append(("orlop/composing/start.py", start, False))
    magic, version, (*codes, (begin, _)) = _compile(interpreter, sources)
    coded: Coded = {
        name: (code, names, package)
        for (name, _, package, _), (code, names) in zip(items, codes, strict=True)
    }
    orders = {command: _order([*_ROOTS, f"orlop.cli.commands.{command}"], coded) for command in SMALL}
    thin = sorted({name for order in orders.values() for name in order})
    body, index, size = _lay_out(thin, coded)
    helper = _helper(parts.helper, interpreter, coded)
    place = len(body)
    body += helper
    head = dumps((index, size, orders, _points(parts), MAKERS, parts.closed, (place, len(helper))), 2)
    second = _second_line(manifest.name, magic, version, len(begin), len(head))
    return _first_line(interpreter) + second + begin + head + bytes(body)


_ROOTS = ("orlop.cli.main", "orlop.cli.context", "orlop.live")


def _path(name: str, *, package: bool) -> str:
    """Return the file's name that tracebacks show."""
    return name.replace(".", "/") + ("/__init__.py" if package else ".py")


def _compile(
    interpreter: str, sources: list[tuple[str, bytes, bool]]
) -> tuple[bytes, tuple[int, int], list[tuple[bytes, tuple[str, ...]]]]:
    """Compile with the interpreter that will run the code, in a process that is the same each time.

    The bytes of bytecode depend on what else a process has interned, so it is always a new one. What another
    version of Python has compiled cannot be looked into here, so that process tells the names as well.
    """
    from orlop.cli import erase

    with open(erase.__file__, "rb") as file:
        eraser = file.read()
    try:
        done = subprocess.run(  # noqa: S603 - the interpreter that the manifest names, as whoever composes
            [interpreter, "-s", "-S", "-B", "-X", "utf8", "-c", _COMPILER],
            input=dumps((eraser, sources), 2),
            env={"PYTHONHASHSEED": "0"},
            cwd="/",
            capture_output=True,
            check=False,
        )
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise UsageError(f"the interpreter does not start: {reason}", path=interpreter) from None
    if done.returncode:
        last = (done.stderr.decode(errors="replace").strip() or "no reason given").splitlines()[-1]
        raise UsageError(f"the interpreter cannot compile the modules: {last}", path=interpreter)
    try:
        magic, version, codes = loads(done.stdout)  # noqa: S302 - of the process that was started here
    except (ValueError, EOFError, TypeError):
        raise UsageError("the interpreter is no Python", path=interpreter) from None
    if version < OLDEST:
        raise UsageError(
            "the interpreter is too old",
            path=interpreter,
            value=".".join(map(str, version)),
            hint=f"a composed runtime needs Python {'.'.join(map(str, OLDEST))} or newer",
        )
    return magic, version, codes


def _order(roots: list[str], coded: Coded) -> tuple[str, ...]:
    """Return *roots* and all that they import when they are imported, each after what it needs."""
    done: dict[str, None] = {}
    begun: set[str] = set()

    def visit(name: str) -> None:
        if name in begun or name not in coded:
            return
        begun.add(name)
        visit(name.rpartition(".")[0])
        # What a module imports at once is among the names that its code knows.
        words = coded[name][1]
        for word in words:
            visit(word)
            for other in words if word in coded and coded[word][2] else ():
                visit(f"{word}.{other}")
        done[name] = None

    for name in roots:
        visit(name)
    return tuple(done)


def _lay_out(first: list[str], coded: Coded) -> tuple[bytearray, Index, int]:
    """Return the modules one after another, where each is, and the size of the *first* ones together."""
    body = bytearray()
    index: Index = {}
    for name in (*first, *sorted(set(coded) - set(first))):
        code, _, package = coded[name]
        index[name] = len(body), len(code), package
        body += code
    return body, index, sum(len(coded[name][0]) for name in first)


def _helper(helper: str, interpreter: str, coded: Coded) -> bytes:
    """Return the code that the helper executes; empty if the platform has none."""
    if not helper:
        return b""
    modules = [(name, coded[name][2], coded[name][0]) for name in _order([helper], coded)]
    text = f"HELPER = {helper!r}\nMODULES = {modules!r}\n{_HELPER}"
    return _compile(interpreter, [("orlop_composed/helper.py", text.encode(), False)])[2][0][0]


def _points(parts: Parts) -> dict[str, list[tuple[str, str, str]]]:
    found: dict[str, list[tuple[str, str, str]]] = {}
    for group, *rest in parts.points:
        name, value, distribution = rest
        found.setdefault(group, []).append((name, value, distribution))
    return found


def _first_line(interpreter: str) -> bytes:
    line = f"#!{interpreter} -ISBc{_BEGIN}\n".encode()
    if len(line) > _SHEBANG_LIMIT or any(letter.isspace() for letter in interpreter):
        raise UsageError(
            "the interpreter's path is too long or has a blank, and the file's first line cannot name it",
            path=interpreter,
            hint="name a shorter path of it as interpreter in the manifest",
        )
    return line


def _second_line(name: str, magic: bytes, version: tuple[int, int], start: int, head: int) -> bytes:
    """Return the line of Python that refuses other versions, executes the start and begins."""
    minor = ".".join(map(str, version))
    refusal = (
        f"{name}: this file was composed for Python {minor}, and the interpreter that it names is another one"
    )
    return (
        "import marshal,_frozen_importlib_external as e;"
        f"e.MAGIC_NUMBER=={magic!r} or sys.exit({refusal!r});"
        f"exec(marshal.loads(f.read({start})));begin(f,{head})\n"
    ).encode()
