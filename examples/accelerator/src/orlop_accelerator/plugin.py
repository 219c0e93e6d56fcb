"""Plugin ``accelerator``: cards for containers that ask for them, and what they use of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orlop_accelerator.cards import CARDS, MEMORY, cards, clients, faults, memory_of, pointer, shares, wish
from orlop_hookspecs.errors import ConfigError
from orlop_hookspecs.hooks import hookimpl
from orlop_hookspecs.hooks.capability import Adjustment, Problem
from orlop_hookspecs.hooks.commands import Command
from orlop_hookspecs.hooks.identity import PluginInfo
from orlop_hookspecs.steps import CreateSymlink

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping, Sequence

    from orlop_hookspecs.documents import Config
    from orlop_hookspecs.host import HostDevice
    from orlop_hookspecs.kernel import LiveKernel
    from orlop_hookspecs.launch import PlanContext
    from orlop_hookspecs.record import Record
    from orlop_hookspecs.steps import Step

VERSION = "0.1.0"


@hookimpl
def orlop_plugin() -> PluginInfo:
    """Say who the plugin is."""
    return PluginInfo(
        name="accelerator",
        version=VERSION,
        contract="1.1",
        summary="accelerator cards by annotation, with accounting",
        requires=("annotations", "cgroups", "devices", "process"),
    )


@hookimpl
def orlop_features() -> Mapping[str, Any]:
    """Say that the cards are known here."""
    return {"annotations": {"com.example.accelerator.version": VERSION}}


@hookimpl
def orlop_validate(config: Config) -> Sequence[Problem]:
    """Refuse what is no card or no size."""
    return [Problem(place, message, value=value) for place, message, value in faults(config.annotations)]


@hookimpl
def orlop_adjust(config: Config, context: PlanContext) -> Adjustment | None:
    """Propose the nodes, the permission to use them, and what the vendor's library reads."""
    wanted = wish(config.annotations)
    if wanted is None:
        return None
    nodes: list[dict[str, Any]] = []
    rules: list[dict[str, Any]] = []
    for card in wanted.cards:
        node = _node(context, card)
        total = memory_of(context.host, card)
        if wanted.memory > total:
            raise ConfigError(
                f"{card} has {total} bytes of memory, {wanted.memory} are asked for", pointer=pointer(MEMORY)
            )
        numbers = {"type": node.type, "major": node.major, "minor": node.minor}
        nodes.append({"path": f"/dev/{card}", "fileMode": 0o660} | numbers)
        rules.append({"allow": True, "access": "rw"} | numbers)
    append: dict[str, list[Any]] = {"/linux/devices": nodes, "/linux/resources/devices": rules}
    if config.process is not None:
        append["/process/env"] = [f"ACCEL_CARDS={','.join(wanted.cards)}"]
        if wanted.memory:
            append["/process/env"].append(f"ACCEL_MEMORY={wanted.memory}")
    return Adjustment(append=append)


def _node(context: PlanContext, card: str) -> HostDevice:
    """Return the node of *card*; both the driver and its daemon have to know the card."""
    try:
        memory_of(context.host, card)
        return context.host.device(f"/dev/{card}")
    except OSError:
        known = ", ".join(cards(context.host)) or "none"
        raise ConfigError(
            f"this machine has no card {card}", pointer=pointer(CARDS), hint=f"it has: {known}"
        ) from None


@hookimpl
def orlop_plan(config: Config) -> Sequence[Step]:
    """Plan the link by which programs find the first card."""
    wanted = wish(config.annotations)
    if wanted is None:
        return ()
    return (CreateSymlink(because=pointer(CARDS), path="/dev/accel", target=wanted.cards[0]),)


@hookimpl
def orlop_stats(record: Record, kernel: LiveKernel) -> Mapping[str, Any]:
    """Report what the container's processes use of its cards."""
    wanted = wish(record.annotations)
    if wanted is None:
        return {}
    return {"accelerator": shares(kernel.host_view(), wanted.cards, kernel.processes(record))}


@hookimpl
def orlop_commands() -> Sequence[Command]:
    """Add the command that lists the machine's cards."""
    return (
        Command(name="accelerators", summary="list the accelerator cards", configure=_configure, run=_list),
    )


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--used", action="store_true", help="only cards that somebody uses")


def _list(runtime: Any, arguments: argparse.Namespace) -> int:  # noqa: ANN401 - orlop.Runtime, which is not imported
    view = runtime.kernel.host_view()
    for card in cards(view):
        using = clients(view, card)
        if using or not arguments.used:
            used = sum(using.values())
            print(f"{card}  memory {memory_of(view, card)}  used {used}  processes {len(using)}")
    return 0
