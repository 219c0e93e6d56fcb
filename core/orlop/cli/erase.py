"""Take out of a module what only type checkers read, before its bytecode goes into a pack.

Modules that postpone the evaluation of their annotations (PEP 563) still import :mod:`typing` to write them:
five milliseconds, a third of what a small command may take. What is taken out has no effect when the program
runs, but for those who evaluate annotations: they find the sources.
"""

from __future__ import annotations
import __future__

import ast
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import CodeType
    from typing import TypeGuard

_FLAG = __future__.annotations.compiler_flag
_CONTAINERS = frozenset(("dict", "frozenset", "list", "set", "tuple", "type"))
_DECORATORS = frozenset(("dataclass_transform", "final", "overload"))


def compile_erased(source: bytes, path: str) -> CodeType:
    """Return the bytecode of *source*, the module at *path*, without what only type checkers read.

    Raises:
        SyntaxError, ValueError: It is no Python.
    """
    tree = ast.parse(source, path)
    code: CodeType
    if not _postpones(tree):
        code = compile(tree, path, "exec", dont_inherit=True)
        return code
    names = _typing_names(tree)
    tree = ast.fix_missing_locations(_Eraser(names).visit(tree))
    _drop_unused(tree, names)
    code = compile(tree, path, "exec", flags=_FLAG, dont_inherit=True)
    return code


def _postpones(tree: ast.Module) -> bool:
    return any(
        isinstance(node, ast.ImportFrom)
        and node.module == "__future__"
        and [alias.name for alias in node.names] == ["annotations"]
        for node in tree.body
    )


def _typing_names(tree: ast.Module) -> dict[str, str]:
    """Return the names that the module has of :mod:`typing`, each with its name there."""
    return {
        alias.asname or alias.name: alias.name
        for node in tree.body
        if isinstance(node, ast.ImportFrom) and node.module == "typing" and not node.level
        for alias in node.names
    }


def _switches(tree: ast.Module) -> bool:
    return any(isinstance(node, ast.Assign) and _is_switch(node) for node in tree.body)


def _is_switch(node: ast.Assign) -> bool:
    target = node.targets[0]
    return (
        isinstance(target, ast.Name)
        and target.id == "TYPE_CHECKING"
        and isinstance(node.value, ast.Constant)
        and node.value.value is False
    )


class _Eraser(ast.NodeTransformer):
    """Removes the branches, decorators, bases and casts that are nothing when the program runs."""

    def __init__(self, names: dict[str, str]) -> None:
        self._names = names
        self._switched = "TYPE_CHECKING" in names.values()

    def _means(self, node: ast.expr, *what: str) -> bool:
        return isinstance(node, ast.Name) and self._names.get(node.id) in what

    def visit_Module(self, node: ast.Module) -> ast.Module:
        self._switched = self._switched or _switches(node)
        self.generic_visit(node)
        return node

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.ImportFrom | None:
        if node.module == "collections.abc":
            node.module = "_collections_abc"  # the same module, without the package around it
        return None if node.module == "__future__" else node

    def visit_If(self, node: ast.If) -> ast.AST | list[ast.stmt]:
        self.generic_visit(node)
        if self._switched and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            return node.orelse or [ast.copy_location(ast.Pass(), node)]
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.FunctionDef | None:
        if any(self._means(one, "overload") for one in node.decorator_list):
            return None
        node.decorator_list = self._real(node.decorator_list)
        self.generic_visit(node)
        return node

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.ClassDef:
        node.decorator_list = self._real(node.decorator_list)
        # The class that a subscript stands for is the class itself (PEP 560).
        bases = [base.value if isinstance(base, ast.Subscript) else base for base in node.bases]
        nothing = ("Generic",) if "runtime_checkable" in self._names.values() else ("Generic", "Protocol")
        node.bases = [base for base in bases if not self._means(base, *nothing)]
        self.generic_visit(node)
        return node

    def visit_Call(self, node: ast.Call) -> ast.expr:
        self.generic_visit(node)
        if self._means(node.func, "cast") and len(node.args) == 2 and not node.keywords:
            return node.args[1]
        return node

    def _real(self, decorators: list[ast.expr]) -> list[ast.expr]:
        return [
            one
            for one in decorators
            if not self._means(one.func if isinstance(one, ast.Call) else one, *_DECORATORS)
        ]


def _drop_unused(tree: ast.Module, names: dict[str, str]) -> None:
    """Take out type variables that nothing uses any more, and then what nothing uses of :mod:`typing`."""
    used = _used(tree)
    body: list[ast.stmt] = []
    for node in tree.body:
        if isinstance(node, ast.Assign) and _is_alias(node.value):
            node.value = node.value.value
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call):
            target, maker = node.targets[0], node.value.func
            variable = isinstance(maker, ast.Name) and names.get(maker.id) == "TypeVar"
            if variable and isinstance(target, ast.Name) and target.id not in used:
                continue
        body.append(node)
    tree.body = body
    used = _used(tree)
    for node in list(tree.body):
        if isinstance(node, ast.ImportFrom) and node.module == "typing" and not node.level:
            node.names = [alias for alias in node.names if (alias.asname or alias.name) in used]
            if not node.names:
                tree.body.remove(node)


def _is_alias(value: ast.expr) -> TypeGuard[ast.Subscript]:
    """Tell whether *value* is a name for annotations, such as ``dict[str, Any]``."""
    return (
        isinstance(value, ast.Subscript)
        and isinstance(value.value, ast.Name)
        and value.value.id in _CONTAINERS
    )


def _used(tree: ast.Module) -> set[str]:
    """Return the names that are read when the program runs: not those in annotations."""
    found: set[str] = set()
    pending: list[ast.AST] = [tree]
    while pending:
        node = pending.pop()
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
            found.add(node.id)
        for name, value in ast.iter_fields(node):
            if name in {"annotation", "returns"}:
                continue
            children = value if isinstance(value, list) else [value]
            pending.extend(child for child in children if isinstance(child, ast.AST))
    return found
