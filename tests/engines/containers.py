"""What the command lines of podman and of docker have in common."""

from __future__ import annotations

import json
import subprocess
from abc import ABC, abstractmethod
from typing import Any

from tests.engines.daemon import PATIENCE


class Containers(ABC):
    """Containers of one engine, by its client."""

    @abstractmethod
    def client(self, *args: str) -> list[str]:
        """Return the command line of one command."""

    @abstractmethod
    def command(self, *args: str, options: tuple[str, ...] = ()) -> list[str]:
        """Return the arguments of ``run`` for a container of the image."""

    def log(self) -> str:
        """Return what the engine has said beside its answers."""
        return ""

    def ask(self, *args: str, feed: str = "") -> subprocess.CompletedProcess[str]:
        """Run one command, with *feed* on its standard input."""
        return subprocess.run(
            self.client(*args), input=feed, capture_output=True, text=True, timeout=PATIENCE, check=False
        )

    def call(self, *args: str) -> str:
        """Run a command that must succeed, and return what it has printed."""
        done = self.ask(*args)
        assert done.returncode == 0, (args, done, self.log()[-2000:])
        return done.stdout.strip()

    def run(
        self, *args: str, options: tuple[str, ...] = (), feed: str = ""
    ) -> subprocess.CompletedProcess[str]:
        """Run a container of the image."""
        return self.ask(*self.command(*args, options=options), feed=feed)

    def start(self, name: str, *args: str, options: tuple[str, ...] = ()) -> int:
        """Start a container in the background and return its process."""
        self.call(*self.command(*args, options=("--detach", f"--name={name}", *options)))
        pid: int = self.inspect(name)["State"]["Pid"]
        return pid

    def inspect(self, name: str) -> dict[str, Any]:
        """Return what is known of a container."""
        found: dict[str, Any] = json.loads(self.call("inspect", name))[0]
        return found

    def status(self, name: str) -> str:
        """Return the status of a container."""
        found: str = self.inspect(name)["State"]["Status"]
        return found
