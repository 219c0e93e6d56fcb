"""What all calls into the kernel have in common: the lock, the death of the caller, and faults."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, TypeVar

from orlop_fake.faults import CALL

if TYPE_CHECKING:
    from collections.abc import Callable

    from orlop_fake.faults import Faults

F = TypeVar("F", bound="Callable[..., Any]")


def call(name: str) -> Callable[[F], F]:
    """Make a method of a kernel or a sandbox a call named *name*: a point at which the runtime can die."""

    def decorate(function: F) -> F:
        @functools.wraps(function)
        def wrapper(self: Any, *args: Any, **named: Any) -> Any:  # noqa: ANN401 - the signature is the function's
            kernel = self.kernel
            with kernel.lock:
                if kernel.generation:
                    self.check()
                faults: Faults = kernel.faults
                if not faults.armed:
                    return function(self, *args, **named)
                faults.before(CALL, name)
                result = function(self, *args, **named)
                faults.after(CALL, name)
                return result

        return wrapper  # type: ignore[return-value]

    return decorate
