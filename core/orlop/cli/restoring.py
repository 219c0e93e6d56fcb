"""From the flags of ``restore`` to a restored container and its pid file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orlop.cli.composition import runtime
from orlop.cli.imaging import common_options
from orlop.cli.launch import ConfigNamed, Launch, by_systemd, manages_cgroups
from orlop.store.root import absolute
from orlop_hookspecs.launch import LaunchOptions

if TYPE_CHECKING:
    from orlop.container import Container


class Restoring(Launch):
    """One restore from the command line; what it has made when an error arises inside is deleted again."""

    def create(self, *, foreground: bool = False, console_socket: str = "") -> Container:
        """Restore the container and write its pid file; it runs then.

        Args:
            foreground: The caller stays with the container.
            console_socket: Receives the terminal's master instead of ``--console-socket``.

        Raises:
            OrlopError: Nothing is left of what was begun.
        """
        context = self._context
        line = context.line
        images = common_options(line)
        made = self._runtime = runtime(context, check_features=False)
        with ConfigNamed(line, self.bundle):
            container = made.restore(
                context.id,
                self.bundle,
                images.pop("image"),
                LaunchOptions(
                    console_socket=console_socket or absolute(line.text("console-socket")),
                    foreground=foreground,
                    no_pivot=line.on("no-pivot"),
                    systemd_cgroup=by_systemd(context),
                    manage_cgroups=manages_cgroups(context),
                ),
                config=self._config,
                **images,
                tcp_close=line.on("tcp-close"),
                lsm_profile=line.text("lsm-profile"),
                lsm_mount_context=line.text("lsm-mount-context"),
            )
        return self._note(container)
