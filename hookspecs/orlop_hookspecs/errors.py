"""Every error that orlop raises, each class on its nearest builtin.

An error is one fact in one lower-case line, with its parts as attributes, so that a program can act on them
and a person can read them. This module is imported by every command and therefore imports nothing itself.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import ClassVar


class Unset:
    """The type of :data:`UNSET`, which tells "no value" from ``None``."""

    __slots__ = ()

    def __repr__(self) -> str:
        """Return the name of the only instance."""
        return "UNSET"


UNSET = Unset()

_VALUE_LIMIT = 120
_MESSAGE_LIMIT = 4096


def shorten(value: object, limit: int = _VALUE_LIMIT) -> str:
    """Return *value* as one printable ASCII line of at most *limit* characters.

    Values come from hostile documents: control characters, terminal escapes and line ends are escaped.
    """
    # Cut before escaping, so that a megabyte of hostile text costs nothing, and again after it.
    text = ascii(value[: limit + 1] if isinstance(value, str) else value)
    return text if len(text) <= limit + 2 else text[:limit] + "..."


def printable(message: str, limit: int = _MESSAGE_LIMIT) -> str:
    """Return *message* as one line without control characters, at most *limit* characters long."""
    if message.isprintable() and len(message) <= limit:
        return message
    text = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in message[: limit + 1])
    return text if len(text) <= limit else text[:limit] + "..."


class OrlopError(Exception):
    """The base of every error of orlop.

    Args:
        message: What went wrong: lower case, one line, no full stop.
        act: What was being done (``create``, ``start``, ``load plugins``).
        pointer: JSON pointer of the property (RFC 6901), with ``path`` the document that holds it.
        path: File or directory that the error is about.
        value: The refused value; :data:`UNSET` when there is none.
        plugin: Name of the plugin that asked or failed.
        container: Identifier of the container.
        step: One-line description of the step that failed, for programs; the message says it in words.
        errno: The kernel's error number.
        hint: What the reader can do about it.
        cleanup: What failed while the operation was being undone; the first error stays the message.
    """

    code: ClassVar[str] = "error"
    """Stable name of the kind of error, for programs."""

    def __init__(  # noqa: PLR0913 - an error is its parts; all of them are keywords
        self,
        message: str,
        *,
        act: str = "",
        pointer: str = "",
        path: str = "",
        value: object = UNSET,
        plugin: str = "",
        container: str = "",
        step: str = "",
        errno: int | None = None,
        hint: str = "",
        cleanup: BaseException | None = None,
    ) -> None:
        """Keep the parts; :meth:`__str__` composes them."""
        super().__init__(message)
        self.message = message
        self.act = act
        self.pointer = pointer
        self.path = path
        self.value = value
        self.plugin = plugin
        self.container = container
        self.step = step
        self.errno = errno
        self.hint = hint
        self.cleanup = cleanup

    def __str__(self) -> str:
        """Return the whole error as one printable line: where, what, value, who, why, what to do."""
        where = ": ".join(part for part in (self.path, self.pointer) if part)
        text = f"{where}: {self.message}" if where else self.message
        if self.value is not UNSET:
            text += f" (value: {shorten(self.value)})"
        if self.plugin:
            text += f" [plugin {self.plugin}]"
        if self.hint:
            text += f"; {self.hint}"
        if self.cleanup is not None:
            text += f"; clean-up failed as well: {self.cleanup}"
        return printable(text)

    def as_dict(self) -> dict[str, object]:
        """Return the error's parts as JSON-ready data; absent parts are left out."""
        parts: dict[str, object] = {"code": self.code, "message": printable(self.message)}
        for name in ("act", "pointer", "path", "plugin", "container", "step", "errno", "hint"):
            part = getattr(self, name)
            if part:
                parts[name] = part
        if self.value is not UNSET:
            parts["value"] = shorten(self.value)
        if self.cleanup is not None:
            parts["cleanup"] = printable(str(self.cleanup))
        return parts


class UsageError(OrlopError, ValueError):
    """A command line or an argument of the library that cannot be meant."""

    code = "usage"


class DocumentError(OrlopError, ValueError):
    """A document that cannot be read: not JSON, wrong type, out of range, unknown version."""

    code = "document"


class BundleError(OrlopError, FileNotFoundError):
    """A bundle without its config.json or its root filesystem."""

    code = "bundle"


class ConfigError(OrlopError, ValueError):
    """A readable config with a property or a value that no active plugin of this composition accepts."""

    code = "config"


class CompositionError(OrlopError, ValueError):
    """Plugins that cannot work together, or one that does not keep the contract."""

    code = "composition"


class PluginError(OrlopError, RuntimeError):
    """A plugin that raised or returned what its hook does not allow."""

    code = "plugin"


class InvalidIdError(OrlopError, ValueError):
    """A container identifier that cannot name a container."""

    code = "invalid-id"


class ContainerExistsError(OrlopError, FileExistsError):
    """A container identifier that is taken."""

    code = "exists"


class ContainerNotFoundError(OrlopError, LookupError):
    """A container that does not exist."""

    code = "not-found"


class StateError(OrlopError, RuntimeError):
    """An operation that the container's state does not allow."""

    code = "state"


class StepError(OrlopError, OSError):
    """A step that the kernel refused; ``errno`` says how."""

    code = "step"


class HookError(OrlopError, RuntimeError):
    """A hook of the config that failed or ran out of time."""

    code = "hook"


class StoreError(OrlopError, OSError):
    """A state directory that cannot be used or trusted."""

    code = "store"


class PlatformError(OrlopError, OSError):
    """A host that lacks what the operation needs."""

    code = "platform"


class WaitTimeoutError(OrlopError, TimeoutError):
    """A wait that ended before the process did."""

    code = "timeout"
