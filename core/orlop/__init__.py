"""orlop: a plugin-oriented container runtime framework that implements the OCI Runtime Specification.

Importing the package has no side effects and loads nothing else: :class:`Runtime`, :class:`Container`, the
functions on features documents and the errors are imported when they are first asked for.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from orlop.advertised.check import check_features as check_features
    from orlop.advertised.diff import diff_features as diff_features
    from orlop.advertised.key import features_key as features_key
    from orlop.advertised.source import read_features as read_features
    from orlop.advertised.validate import validate_features as validate_features
    from orlop.container import Container as Container
    from orlop.runtime import Runtime as Runtime
    from orlop_hookspecs.errors import (
        BundleError as BundleError,
    )
    from orlop_hookspecs.errors import (
        CompositionError as CompositionError,
    )
    from orlop_hookspecs.errors import (
        ConfigError as ConfigError,
    )
    from orlop_hookspecs.errors import (
        ContainerExistsError as ContainerExistsError,
    )
    from orlop_hookspecs.errors import (
        ContainerNotFoundError as ContainerNotFoundError,
    )
    from orlop_hookspecs.errors import (
        DocumentError as DocumentError,
    )
    from orlop_hookspecs.errors import (
        HookError as HookError,
    )
    from orlop_hookspecs.errors import (
        InvalidIdError as InvalidIdError,
    )
    from orlop_hookspecs.errors import (
        OrlopError as OrlopError,
    )
    from orlop_hookspecs.errors import (
        PlatformError as PlatformError,
    )
    from orlop_hookspecs.errors import (
        PluginError as PluginError,
    )
    from orlop_hookspecs.errors import (
        StateError as StateError,
    )
    from orlop_hookspecs.errors import (
        StepError as StepError,
    )
    from orlop_hookspecs.errors import (
        StoreError as StoreError,
    )
    from orlop_hookspecs.errors import (
        UsageError as UsageError,
    )
    from orlop_hookspecs.errors import (
        WaitTimeoutError as WaitTimeoutError,
    )

__version__ = "0.1.0"

_ERRORS = (
    "BundleError",
    "CompositionError",
    "ConfigError",
    "ContainerExistsError",
    "ContainerNotFoundError",
    "DocumentError",
    "HookError",
    "InvalidIdError",
    "OrlopError",
    "PlatformError",
    "PluginError",
    "StateError",
    "StepError",
    "StoreError",
    "UsageError",
    "WaitTimeoutError",
)

_ADVERTISED = {
    "check_features": "check",
    "diff_features": "diff",
    "features_key": "key",
    "read_features": "source",
    "validate_features": "validate",
}
"""Functions on features documents of any runtime, and the module of :mod:`orlop.advertised` that has each."""

__all__ = [  # noqa: PLE0604 - the errors are listed once, above, and so are the functions
    "Container",
    "Runtime",
    "__version__",
    *_ADVERTISED,
    *_ERRORS,
]


def __getattr__(name: str) -> object:
    """Import *name* on first use."""
    if name in {"Container", "Runtime"}:
        from orlop import runtime as source
    elif name in _ERRORS:
        from orlop_hookspecs import errors as source  # type: ignore[no-redef]
    elif name in _ADVERTISED:
        source = __import__(f"orlop.advertised.{_ADVERTISED[name]}", fromlist=(name,))
    else:
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message)
    value = globals()[name] = getattr(source, name)
    return value


def __dir__() -> list[str]:
    """Return the public names, imported or not."""
    return sorted(__all__)
