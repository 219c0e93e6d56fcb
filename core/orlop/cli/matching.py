"""One command for all containers whose identifiers match: ``--regex``."""

from __future__ import annotations

import re
import warnings

from orlop_hookspecs.errors import ContainerNotFoundError, OrlopError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from orlop.cli.context import Context
    from orlop.lifecycle.site import Site


def each(context: Context, site: Site, act: Callable[[str], None]) -> None:
    """Call *act* with every container in whose identifier the expression of the command line is found.

    What fails for one does not keep the others from it; one that is gone by then is left alone.

    Raises:
        UsageError: It is no regular expression; nothing has been done.
        OrlopError: The first failure; further ones are warnings.
    """
    pattern = _compile(context.id)
    first: OrlopError | None = None
    for container in site.store.list():
        if pattern.search(container):
            try:
                act(container)
            except ContainerNotFoundError:
                continue
            except OrlopError as error:
                if first is None:
                    first = error
                else:
                    context.report.warning(str(error))
    if first is not None:
        raise first


def _compile(text: str) -> re.Pattern[str]:
    try:
        with warnings.catch_warnings():
            # Where an expression of POSIX would mean something else.
            warnings.simplefilter("error", FutureWarning)
            return re.compile(text)
    except (re.error, FutureWarning, OverflowError, RecursionError) as error:
        raise UsageError(f"--regex: no regular expression: {error}", value=text) from None
