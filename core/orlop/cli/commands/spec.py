"""``orlop spec``: write a config.json to start from."""

from __future__ import annotations

import os

from orlop.cli.output import to_json, write
from orlop.cli.template import config, rootless_config
from orlop_hookspecs.errors import BundleError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from orlop.cli.context import Context

_MODE = 0o666


def run(context: Context) -> int:
    """Write the file; one that exists stays as it is."""
    line = context.line
    made = rootless_config(os.geteuid(), os.getegid()) if line.on("rootless") else config()
    path = os.path.join(line.text("bundle"), line.text("file"))
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _MODE)
    except FileExistsError as error:
        raise BundleError("the file exists; remove it first", path=path, errno=error.errno) from error
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise BundleError(f"the file cannot be made: {why}", path=path, errno=error.errno) from error
    try:
        write(to_json(made, "\t") + "\n", descriptor)
    except OSError as error:
        os.unlink(path)
        why = (error.strerror or str(error)).lower()
        raise BundleError(f"the file cannot be written: {why}", path=path, errno=error.errno) from error
    finally:
        os.close(descriptor)
    return 0
