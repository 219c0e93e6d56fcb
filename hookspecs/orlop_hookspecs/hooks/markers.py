"""The two pluggy markers of the project; plugins import :data:`hookimpl`.

A marker puts a dictionary of options on a function, under a name that pluggy's manager looks for. Nearly all
hooks are marked without options, or with ``firstresult`` alone: that is done here, as pluggy does it, because
its import costs more than half of what a whole small command may. Any other option is left to pluggy.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    import pluggy

    hookspec = pluggy.HookspecMarker("orlop")
    hookimpl = pluggy.HookimplMarker("orlop")
else:

    def hookspec(
        function: Callable[..., Any] | None = None,
        *,
        firstresult: bool = False,
        **others: Any,  # noqa: ANN401 - pluggy's
    ) -> Any:  # noqa: ANN401 - the function, or what marks one
        """Mark a signature of the contract; see :class:`pluggy.HookspecMarker`."""
        if others:
            import pluggy

            return pluggy.HookspecMarker("orlop")(function, firstresult=firstresult, **others)

        def mark(spec: Any) -> Any:  # noqa: ANN401 - functions take attributes
            spec.orlop_spec = {
                "firstresult": firstresult,
                "historic": False,
                "warn_on_impl": None,
                "warn_on_impl_args": None,
            }
            return spec

        return mark if function is None else mark(function)

    def hookimpl(
        function: Any = None,  # noqa: ANN401 - functions take attributes
        **options: Any,  # noqa: ANN401 - pluggy's
    ) -> Any:  # noqa: ANN401 - the function, or what marks one
        """Mark a plugin's implementation of a hook; see :class:`pluggy.HookimplMarker`."""
        if function is None or options:
            import pluggy

            return pluggy.HookimplMarker("orlop")(function, **options)
        function.orlop_impl = {
            "hookwrapper": False,
            "wrapper": False,
            "optionalhook": False,
            "tryfirst": False,
            "trylast": False,
            "specname": None,
        }
        return function
