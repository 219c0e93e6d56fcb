"""Plugin ``seccomp``: ``linux.seccomp`` (config-linux.md, Seccomp)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orlop_hookspecs.hooks import hookimpl
from orlop_hookspecs.hooks.capability import Handle, Problem, Remark
from orlop_hookspecs.steps.exec import LoadSeccomp
from orlop_linux.plugins.shared import annotated, annotation, containers, plugin_info, switch_problems

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from orlop_hookspecs.documents import Config, Seccomp, Syscall
    from orlop_hookspecs.hooks.identity import PluginInfo
    from orlop_hookspecs.steps.base import Step

ACTIONS = frozenset(
    {
        "SCMP_ACT_ALLOW",
        "SCMP_ACT_ERRNO",
        "SCMP_ACT_KILL",
        "SCMP_ACT_KILL_PROCESS",
        "SCMP_ACT_KILL_THREAD",
        "SCMP_ACT_LOG",
        "SCMP_ACT_NOTIFY",
        "SCMP_ACT_TRACE",
        "SCMP_ACT_TRAP",
    }
)

ERRNO_MAX = {"SCMP_ACT_ERRNO": 4095, "SCMP_ACT_TRACE": 65535}
"""Actions that return a number, and the largest one (seccomp(2): MAX_ERRNO, SECCOMP_RET_DATA)."""

OPERATORS = frozenset(
    {
        "SCMP_CMP_EQ",
        "SCMP_CMP_GE",
        "SCMP_CMP_GT",
        "SCMP_CMP_LE",
        "SCMP_CMP_LT",
        "SCMP_CMP_MASKED_EQ",
        "SCMP_CMP_NE",
    }
)

ARCHITECTURES = frozenset(
    {
        "SCMP_ARCH_AARCH64",
        "SCMP_ARCH_ARM",
        "SCMP_ARCH_LOONGARCH64",
        "SCMP_ARCH_M68K",
        "SCMP_ARCH_MIPS",
        "SCMP_ARCH_MIPS64",
        "SCMP_ARCH_MIPS64N32",
        "SCMP_ARCH_MIPSEL",
        "SCMP_ARCH_MIPSEL64",
        "SCMP_ARCH_MIPSEL64N32",
        "SCMP_ARCH_PARISC",
        "SCMP_ARCH_PARISC64",
        "SCMP_ARCH_PPC",
        "SCMP_ARCH_PPC64",
        "SCMP_ARCH_PPC64LE",
        "SCMP_ARCH_RISCV64",
        "SCMP_ARCH_S390",
        "SCMP_ARCH_S390X",
        "SCMP_ARCH_SH",
        "SCMP_ARCH_SHEB",
        "SCMP_ARCH_X32",
        "SCMP_ARCH_X86",
        "SCMP_ARCH_X86_64",
    }
)
"""All that libseccomp 2.6 has, whichever is installed: a machine executes its own architecture and that one's
companions, and about the others there is nothing to say (docs/decisions/0012)."""

FLAGS = frozenset(
    {
        "SECCOMP_FILTER_FLAG_LOG",
        "SECCOMP_FILTER_FLAG_SPEC_ALLOW",
        "SECCOMP_FILTER_FLAG_TSYNC",
        "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV",
    }
)
"""Flags of seccomp(2); the last one says how calls wait for a listener and asks for nothing without one."""

ARGUMENTS = 6

STRICT = "run.oci.seccomp_fail_unknown_syscall"
"""The annotation that has names refused which nobody knows, as in crun(1)."""


@hookimpl
def orlop_plugin() -> PluginInfo:
    """Return the plugin's identity."""
    return plugin_info("seccomp", "system call filter", after=("process", "capabilities"))


@hookimpl
def orlop_handles() -> Sequence[Handle]:
    """Return the filter's words."""
    rule = "linux.seccomp.syscalls[]"
    return (
        *containers(
            "linux.seccomp",
            "linux.seccomp.architectures",
            "linux.seccomp.flags",
            "linux.seccomp.syscalls",
            rule,
            f"{rule}.args",
            f"{rule}.args[]",
        ),
        Handle("linux.seccomp.defaultAction", values=ACTIONS, feature="linux.seccomp.actions"),
        Handle("linux.seccomp.defaultErrnoRet"),
        Handle("linux.seccomp.architectures[]", values=ARCHITECTURES, feature="linux.seccomp.archs"),
        Handle("linux.seccomp.flags[]", values=FLAGS, feature="linux.seccomp.supportedFlags"),
        Handle("linux.seccomp.listenerPath"),
        Handle("linux.seccomp.listenerMetadata"),
        Handle(f"{rule}.names"),
        Handle(f"{rule}.action", values=ACTIONS, feature="linux.seccomp.actions"),
        Handle(f"{rule}.errnoRet"),
        Handle(f"{rule}.args[].index"),
        Handle(f"{rule}.args[].value"),
        Handle(f"{rule}.args[].valueTwo"),
        Handle(f"{rule}.args[].op", values=OPERATORS, feature="linux.seccomp.operators"),
    )


@hookimpl
def orlop_features() -> Mapping[str, Any]:
    """Say that filters are loaded, and which flags are known."""
    return {
        "linux.seccomp.enabled": True,
        "linux.seccomp.knownFlags": tuple(sorted(FLAGS)),
        **annotation(STRICT, "a system call of linux.seccomp that is not known is an error"),
    }


@hookimpl
def orlop_validate(config: Config) -> Sequence[Problem]:
    """Refuse return values for actions that have none, and arguments that no system call has."""
    return (*switch_problems(config, STRICT), *_problems(config), *_strictly(config))


def _problems(config: Config) -> Iterator[Problem]:
    seccomp = config.linux and config.linux.seccomp
    if not seccomp:
        return
    here = "/linux/seccomp"
    yield from _errno(seccomp.default_action, seccomp.default_errno_ret, f"{here}/defaultErrnoRet")
    if seccomp.listener_metadata is not None and seccomp.listener_path is None:
        yield Problem(f"{here}/listenerMetadata", "the property must not be set without listenerPath")
    if _notifies(seccomp):
        yield from _agent(seccomp.listener_path or "", f"{here}/listenerPath")
    for index, rule in enumerate(seccomp.syscalls or ()):
        place = f"{here}/syscalls/{index}"
        yield from _errno(rule.action, rule.errno_ret, f"{place}/errnoRet")
        if not rule.names:
            yield Problem(f"{place}/names", "at least one name is required")
        for number, name in enumerate(rule.names):
            if not name:
                yield Problem(f"{place}/names/{number}", "the name is empty", name)
        for number, argument in enumerate(rule.args or ()):
            if argument.index >= ARGUMENTS:
                yield Problem(
                    f"{place}/args/{number}/index",
                    f"a system call has at most {ARGUMENTS} arguments, counted from 0",
                    argument.index,
                )


def _strictly(config: Config) -> Iterator[Problem]:
    """Yield the names that nobody knows, where an annotation asks for a refusal."""
    seccomp = config.linux and config.linux.seccomp
    if seccomp and annotated(config, STRICT):
        for remark in _unknown(seccomp):
            message = f"no system call of this name is known, and {STRICT} asks for a refusal"
            yield Problem(remark.pointer, message, remark.value, remark.hint)


def _notifies(seccomp: Seccomp) -> bool:
    """Tell whether an action is SCMP_ACT_NOTIFY; the listener's properties are ignored otherwise."""
    rules = seccomp.syscalls or ()
    return "SCMP_ACT_NOTIFY" in {seccomp.default_action, *(rule.action for rule in rules)}


def _agent(path: str, pointer: str) -> Iterator[Problem]:
    if not path:
        yield Problem(
            pointer,
            "SCMP_ACT_NOTIFY needs the socket of a seccomp agent",
            hint="set it to the absolute path of a socket on which the agent listens",
        )
    elif not path.startswith("/"):
        yield Problem(pointer, "the path is not absolute", path)


def _errno(action: str, errno: int | None, pointer: str) -> Iterator[Problem]:
    if errno is None:
        return
    largest = ERRNO_MAX.get(action)
    if largest is None:
        yield Problem(pointer, f"the action {action} returns no errno", errno)
    elif errno > largest:
        yield Problem(pointer, f"the largest value for {action} is {largest}", errno)


@hookimpl
def orlop_remark(config: Config) -> Sequence[Remark]:
    """Tell of names that no table of system calls has: they are skipped, as other runtimes do."""
    seccomp = config.linux and config.linux.seccomp
    # With the annotation each of them is a problem.
    return tuple(_unknown(seccomp)) if seccomp and not annotated(config, STRICT) else ()


def _unknown(seccomp: Seccomp) -> Iterator[Remark]:
    from orlop_linux.plugins.syscall_names import NAMES

    for index, rule in enumerate(seccomp.syscalls or ()):
        for number, name in enumerate(rule.names):
            if name and name not in NAMES:
                yield Remark(
                    f"/linux/seccomp/syscalls/{index}/names/{number}",
                    "no system call of this name is known: it is skipped",
                    name,
                    _close(name, NAMES),
                )


def _close(name: str, known: frozenset[str]) -> str:
    from difflib import get_close_matches

    close = get_close_matches(name, sorted(known), 1)
    return f"did you mean {close[0]}?" if close else ""


@hookimpl
def orlop_plan(config: Config) -> Sequence[Step]:
    """Plan one filter; names that the host's libseccomp does not know are the executor's to leave."""
    seccomp = config.linux and config.linux.seccomp
    if not seccomp:
        return ()
    process = config.process
    listens = _notifies(seccomp)
    return (
        LoadSeccomp(
            because="/linux/seccomp",
            default_action=seccomp.default_action,
            default_errno=seccomp.default_errno_ret,
            architectures=seccomp.architectures or (),
            flags=seccomp.flags or (),
            syscalls=tuple(_rule(rule) for rule in seccomp.syscalls or ()),
            listener_path=(seccomp.listener_path or "") if listens else "",
            listener_metadata=seccomp.listener_metadata if listens else None,
            strict=bool(annotated(config, STRICT)),
            # Without no_new_privs only a process with CAP_SYS_ADMIN may load a filter, and that is still the
            # case before the user and the capabilities change (seccomp(2), EACCES).
            early=not (process and process.no_new_privileges),
        ),
    )


def _rule(rule: Syscall) -> dict[str, Any]:
    return {
        "names": rule.names,
        "action": rule.action,
        "errno": rule.errno_ret,
        "args": tuple(
            {"index": arg.index, "value": arg.value, "value_two": arg.value_two or 0, "op": arg.op}
            for arg in rule.args or ()
        ),
    }
