"""The plugins that a command line works with."""

from __future__ import annotations

from orlop import entrypoints
from orlop.cli.paths import complete
from orlop_hookspecs.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from orlop.cli.context import Context
    from orlop.plugins.composition import Composition
    from orlop.plugins.settled import SettledComposition
    from orlop.runtime import Runtime

_PLATFORM = "linux"
_SETTLED = frozenset(("root", "kernel"))
"""Settings that change nothing of a composition."""


def choice(text: str) -> tuple[list[str] | None, list[str]]:
    """Return the plugins that ``--plugins`` asks for (``None``: all that are there), and those it blocks.

    Raises:
        UsageError: A name between the commas is empty.
    """
    if not text:
        return None, []
    words = text.split(",")
    if not all(word.removeprefix("-") for word in words):
        raise UsageError("--plugins has an empty name", value=text)
    wanted = [word for word in words if word[0] != "-"]
    blocked = [word[1:] for word in words if word[0] == "-"]
    for word in wanted:
        if word.removeprefix("+") in blocked:
            raise UsageError("--plugins chooses a plugin and leaves it out as well", value=word)
    return wanted or None, blocked


def prewarm(context: Context) -> None:
    """Let the platform begin what a create needs, while the plugins are still being imported."""
    if context.parts is None:
        import gc

        # Looking for garbage among classes that are just being made finds none and takes a tenth of the time.
        gc.disable()
        from orlop.live import find_kernel

        find_kernel(context.settings().get("platform", _PLATFORM)).prewarm()
        from orlop.cli import main

        main.load_rest()


def settled(context: Context) -> bool:
    """Tell whether the command line asks for just the composition that a composed runtime is."""
    return (
        context.parts is None
        and entrypoints.frozen is not None
        and not context.line.option("plugins")
        and context.settings().keys() <= _SETTLED
    )


def runtime(context: Context, *, check_features: bool = True) -> Runtime:
    """Return the composition that the command line asks for; nothing on the host is touched.

    Args:
        context: The command line.
        check_features: False for commands that never ask for the features document.

    Raises:
        CompositionError: The plugins do not fit together.
    """
    recorder = context.recorder
    if recorder is None:
        return _compose(context, check_features=check_features)
    with recorder.span("compose", "engine"):
        made = _compose(context, check_features=check_features)
    return recorder.runtime(made, None if context.parts else context.root, context.report.warning)


def _compose(context: Context, *, check_features: bool) -> Runtime:
    wanted, blocked = choice(context.line.option("plugins"))
    if context.parts is not None:
        return context.parts.runtime(wanted, blocked, context.report.warning)
    from orlop.runtime import Runtime

    settings = dict(context.settings())
    usual = wanted is None and not blocked and settings.keys() <= _SETTLED
    if wanted is not None or blocked:
        # A choice on the command line stands alone.
        for name in ("profile", "plugins", "block"):
            settings.pop(name, None)
    found = _known() if usual else None
    if found is not None:
        return Runtime(
            found,
            found.supplied,
            root=context.root,
            options=settings.get("kernel"),
            warn=context.report.warning,
        )
    complete()
    made = Runtime.compose(
        settings.get("platform", _PLATFORM),
        wanted,
        context.root,
        settings,
        blocked,
        warn=context.report.warning,
        check_features=check_features,
    )
    if usual and entrypoints.frozen is None:
        from orlop.cli.settle import note

        note(made.composition)
    return made


def _known() -> SettledComposition | None:
    """Return the composition of everything that is there, if it is known; otherwise it is to be composed."""
    if entrypoints.frozen is not None:
        from orlop.plugins.frozen import FrozenComposition

        return FrozenComposition()
    if entrypoints.settled is None:
        return None
    from orlop.cli.settle import find

    return find(_compose_anew)


def _compose_anew() -> Composition:
    complete()
    from orlop.plugins.compose import compose

    return compose(_PLATFORM)
