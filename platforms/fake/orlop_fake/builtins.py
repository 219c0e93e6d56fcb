"""A handful of programs that every image has, so that a config need not bring its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from orlop_fake.programs import Task

_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def _true(p: Task) -> int:
    del p
    return 0


def _false(p: Task) -> int:
    del p
    return 1


def _sleep(p: Task) -> Any:  # noqa: ANN401 - a generator
    total = 0.0
    for word in p.args[1:]:
        if word in ("inf", "infinity"):
            yield p.forever()
        unit = _UNITS.get(word[-1:])
        try:
            total += float(word[:-1]) * unit if unit else float(word)
        except ValueError:
            p.write(f"sleep: invalid number '{word}'\n", fd=2)
            return 1
    yield p.sleep(total)
    return 0


def _echo(p: Task) -> int:
    p.write(" ".join(p.args[1:]) + "\n")
    return 0


def _cat(p: Task) -> int:
    status = 0
    for path in p.args[1:]:
        try:
            p.write(p.read(path))
        except OSError as error:
            p.write(f"cat: {path}: {error.strerror}\n", fd=2)
            status = 1
    return status


def _env(p: Task) -> int:
    p.write("".join(f"{name}={value}\n" for name, value in p.env.items()))
    return 0


def _hostname(p: Task) -> int:
    p.write(f"{p.hostname}\n")
    return 0


def _pwd(p: Task) -> int:
    p.write(f"{p.cwd}\n")
    return 0


def _ls(p: Task) -> int:
    for path in p.args[1:] or (".",):
        p.write("".join(f"{name}\n" for name in p.listdir(path)))
    return 0


def _sh(p: Task) -> Any:  # noqa: ANN401 - a generator
    """Run ``sh -c`` with simple commands joined by ``;`` or ``&&``; an interactive shell waits."""
    if "-c" not in p.args[1:-1]:
        yield p.forever()
    import shlex

    script = p.args[p.args.index("-c") + 1]
    status = 0
    for chain in script.replace("\n", ";").split(";"):
        for command in chain.split("&&"):
            words = shlex.split(command)
            if not words:
                continue
            if words[0] == "exit":
                return int(words[1]) if len(words) > 1 else status
            if words[0] == "exec":
                yield p.execute(*words[1:])
            try:
                child = p.spawn(*words)
            except OSError:
                p.write(f"sh: {words[0]}: not found\n", fd=2)
                status = 127
                break
            _, status = yield p.wait_child(child)
            if status:
                break
    return status


BUILTINS: Mapping[str, Callable[..., Any]] = {
    "cat": _cat,
    "echo": _echo,
    "env": _env,
    "false": _false,
    "hostname": _hostname,
    "ls": _ls,
    "printenv": _env,
    "pwd": _pwd,
    "sh": _sh,
    "sleep": _sleep,
    "true": _true,
}
"""Programs by the last part of their path."""
