"""What only type checkers read is taken out of bytecode in packs, and nothing else."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from marshal import dumps
from pathlib import Path
from typing import Any

import pytest

import orlop
import orlop_fake
import orlop_hookspecs
import orlop_linux
from orlop.cli import boot, template
from orlop.cli.erase import compile_erased

PACKAGES = [Path(module.__path__[0]) for module in (orlop, orlop_hookspecs, orlop_linux, orlop_fake)]
FUTURE = "from __future__ import annotations\n"

# What a command that makes a container can do without, each worth a millisecond or more.
DEAR = {
    "ast", "attr", "attrs", "cattrs", "collections", "contextlib", "dataclasses", "enum", "functools",
    "importlib.metadata", "inspect", "json", "pathlib", "pluggy", "re", "selectors", "signal", "socket",
    "subprocess", "tempfile", "threading", "traceback", "typing",
}  # fmt: skip


def sources() -> dict[str, Path]:
    """Return the modules of the four packages by name."""
    found = {}
    for package in PACKAGES:
        for file in package.rglob("*.py"):
            parts = file.relative_to(package.parent).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = file
    return found


def names_after(source: str, **known: Any) -> dict[str, Any]:
    """Run *source* erased and return what it defines."""
    names: dict[str, Any] = {"__name__": "erased", **known}
    exec(compile_erased((FUTURE + source).encode(), "erased.py"), names)  # noqa: S102 - what is under test
    return names


def test_imports_for_annotations_are_gone() -> None:
    names = names_after(
        "from typing import TYPE_CHECKING, Any, ClassVar\n"
        "if TYPE_CHECKING:\n    from nowhere import Thing\n"
        "class A:\n    x: ClassVar[Any] = 1\n"
        "def f(a: Thing) -> Any:\n    b: Any = a\n    return b\n"
    )
    assert {"TYPE_CHECKING", "Any", "ClassVar", "Thing", "annotations"}.isdisjoint(names)
    assert names["A"].__annotations__ == {"x": "ClassVar[Any]"}
    assert names["f"].__annotations__ == {"a": "Thing", "return": "Any"}
    assert names["f"](3) == 3


def test_the_other_branch_stays() -> None:
    names = names_after("TYPE_CHECKING = False\nif TYPE_CHECKING:\n    a = 1\nelse:\n    a = 2\n")
    assert names["a"] == 2


def test_what_is_used_stays() -> None:
    names = names_after(
        "from typing import Any, Protocol, TypeVar, runtime_checkable\nT = TypeVar('T')\nU = TypeVar('U')\n"
        "@runtime_checkable\nclass P(Protocol):\n    x: int\nuse = (T, Any)\n"
    )
    assert {"Any", "T", "Protocol", "P"} <= names.keys()
    assert not isinstance(3, names["P"])
    assert "U" not in names


def test_bases_decorators_and_casts_are_what_they_are_when_they_run() -> None:
    names = names_after(
        "from typing import Generic, Protocol, TypeVar, cast, dataclass_transform, overload\n"
        "T = TypeVar('T')\n"
        "class A(Generic[T]): pass\n"
        "class B(A[int], list[str]): pass\n"
        "class S(Protocol): pass\n"
        "@dataclass_transform(frozen_default=True)\ndef d(c: T) -> T: return c\n"
        "@overload\ndef f(a: int) -> int: ...\n@overload\ndef f(a: str) -> str: ...\n"
        "def f(a): return cast('int', a)\n"
        "@d\nclass C: pass\n"
    )
    assert names["A"].__bases__ == (object,)
    assert names["S"].__bases__ == (object,)
    assert names["B"].__bases__ == (names["A"], list)
    assert not hasattr(names["d"], "__dataclass_transform__")
    assert names["f"]("1") == "1"
    assert {"Generic", "TypeVar", "T", "cast", "overload"}.isdisjoint(names)


def test_a_module_that_evaluates_its_annotations_is_left_alone() -> None:
    source = "from typing import Any\ndef f(a: Any) -> None: ...\n"
    names: dict[str, Any] = {}
    exec(compile_erased(source.encode(), "whole.py"), names)  # noqa: S102 - what is under test
    assert names["f"].__annotations__["a"] is names["Any"] is Any


def test_errors_show_the_lines_of_the_source() -> None:
    with pytest.raises(ZeroDivisionError) as caught:
        names_after("from typing import Any\n\n\n1 / 0\n")
    assert caught.tb.tb_next is not None
    assert caught.tb.tb_next.tb_next is not None
    assert caught.tb.tb_next.tb_next.tb_lineno == 5


@pytest.mark.parametrize("package", [package.name for package in PACKAGES])
def test_every_module_of_ours_keeps_what_it_defines(package: str) -> None:
    lost = []
    for name, file in sources().items():
        if name.partition(".")[0] != package:
            continue
        source = file.read_bytes()
        kept = set(compile_erased(source, name).co_names)
        made = [
            node.name for node in ast.parse(source).body if isinstance(node, ast.FunctionDef | ast.ClassDef)
        ]
        lost += [f"{name}.{one}" for one in made if one not in kept]
    assert lost == []


PROGRAM = """
import sys
from marshal import loads
sys.path[:] = [one for one in sys.path if "site-packages" not in one and "dist-packages" not in one]
program, packed, config = sys.argv[1:]
boot = {"__name__": "boot"}
with open(program, "rb") as file:
    exec(compile(file.read(), program, "exec"), boot)
with open(packed, "rb") as file:
    sys.meta_path.insert(0, boot["Finder"](loads(file.read())))
from orlop.runtime import Runtime
import orlop_linux.plugins
import orlop.cli.launch, orlop.cli.commands.run, orlop.cli.foreground, orlop.cli.interrupts
import orlop_linux.kernel.kernel, orlop_linux.kernel.sandbox, orlop_linux.kernel.spawn
import orlop_linux.kernel.cgroups.session, orlop_linux.kernel.cgroups.create, orlop_linux.kernel.seccomp
import os
planners = sorted(os.listdir(orlop_linux.plugins.__path__[0]))
names = [f"orlop_linux.plugins.{name[:-3]}" for name in planners if name.endswith(".py")]
plugins = []
for name in names:
    __import__(name)
    if hasattr(sys.modules[name], "orlop_plugin"):
        plugins.append(sys.modules[name])
import orlop_linux.platform
plugins.append(orlop_linux.platform)
runtime = Runtime.compose("linux", plugins, root="/run/nowhere", check_features=False)
with open(config, "rb") as file:
    runtime.explain(file.read())
print(*sorted(sys.modules))
"""


def test_making_a_container_loads_nothing_dear(tmp_path: Path) -> None:
    modules = {}
    for name, file in sources().items():
        status = file.stat()
        places = [str(file.parent)] if file.name == "__init__.py" else None
        code = dumps(compile_erased(file.read_bytes(), str(file)))
        modules[name] = (str(file), (status.st_mtime_ns, status.st_size), None, places, code)
    packed = tmp_path / "pack"
    packed.write_bytes(dumps(modules))
    config = tmp_path / "config.json"
    data = template.config()
    data["process"]["terminal"] = False
    config.write_text(json.dumps(data))
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-W", "error", "-c", PROGRAM, boot.__file__, str(packed), str(config)],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": os.defpath},
    )
    assert done.returncode == 0, done.stderr
    loaded = set(done.stdout.split())
    assert {"orlop.lifecycle.create", "orlop_linux.plugins.seccomp", "orlop_linux.init.syscalls"} <= loaded
    assert loaded & DEAR == set()
