"""A machine of a cluster as its kubelet sees it, through the Container Runtime Interface."""

from __future__ import annotations

import base64
import re
import shutil
import subprocess
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

from tests.engines import image
from tests.engines.cri import PATIENCE, Client
from tests.engines.daemon import Daemon, Left, hierarchies
from tests.engines.stream import client

Pod = tuple[str, dict[str, Any]]
"""A pod's identifier and its config."""
PEER = shutil.which("runc") or "/bin/false"
"""Another runtime, beside orlop."""


_OF_CONTAINER = re.compile(r"(cri-containerd-|crio-(conmon-)?)?[0-9a-f]{64}(\.scope)?")


class Node(ABC):
    """The kubelet's side; who serves the interface is said by the classes below this one.

    Args:
        daemon: The server's daemon, whose socket is ``sock`` of its directory.
        driver: What makes the cgroups: ``cgroupfs`` or ``systemd``.
    """

    scope = ""
    """What the name of a container's cgroup begins with, where systemd makes it."""

    def __init__(self, daemon: Daemon, driver: str) -> None:
        """Start the client."""
        self.daemon = daemon
        self.driver = driver
        self.logs = daemon.scratch / "logs"
        self.call = Client(daemon.scratch / "sock")

    def config(self, name: str, **security: Any) -> dict[str, Any]:
        """Return the config of a pod on the host's network."""
        options = {"network": "NODE", "pid": "CONTAINER", **security.pop("namespace_options", {})}
        return {
            "metadata": {"name": name, "uid": f"uid-{name}", "namespace": "default"},
            "log_directory": str(self.logs / name),
            "linux": {
                "cgroup_parent": f"/{self._parent(name)}",
                "security_context": {"namespace_options": options, **security},
            },
        }

    def _parent(self, name: str) -> str:
        """Return the cgroup of a pod, as a kubelet says it: systemd's slices have long names."""
        if self.driver == "systemd":
            return f"{self.daemon.slice.removesuffix('.slice')}-{name}.slice"
        return f"{self.daemon.parent}/{name}"

    def group(self, pod: str, container: str, controller: str) -> Path:
        """Return the cgroup of a container of a pod."""
        root = Path("/sys/fs/cgroup")
        if self.driver == "systemd":
            return root / self.daemon.slice / self._parent(pod) / f"{self.scope}{container}.scope"
        top = root if hierarchies() == [root] else root / controller
        return top / self.daemon.parent / pod / self.leaf(container)

    def leaf(self, container: str) -> str:
        """Return the name of a container's cgroup, where files make it."""
        return container

    def pod(self, name: str, handler: str = "", **security: Any) -> Pod:
        """Run the sandbox of a pod; return its identifier and its config."""
        config = self.config(name, **security)
        made = self.call("RunPodSandbox", config=config, runtime_handler=handler)
        return made["pod_sandbox_id"], config

    def request(
        self, pod: tuple[str, dict[str, Any]], name: str, *command: str, **more: Any
    ) -> dict[str, Any]:
        """Return what asks for a container in a pod."""
        ident, config = pod
        described = {
            "metadata": {"name": name},
            "image": {"image": image.NAME, "user_specified_image": image.NAME},
            "command": command,
            "log_path": f"{name}.log",
            **more,
            "linux": self._as_in_pod(more.get("linux", {}), config),
        }
        return {"pod_sandbox_id": ident, "config": described, "sandbox_config": config}

    def container(self, pod: Pod, name: str, *command: str, **more: Any) -> str:
        """Create and start a container in a pod."""
        made: str = self.call("CreateContainer", **self.request(pod, name, *command, **more))["container_id"]
        self.call("StartContainer", container_id=made)
        return made

    @staticmethod
    def _as_in_pod(linux: dict[str, Any], pod: dict[str, Any]) -> dict[str, Any]:
        """Return a container's part for Linux, with the namespaces of its pod, as a kubelet does."""
        options = pod["linux"]["security_context"]["namespace_options"]
        return {
            **linux,
            "security_context": {"namespace_options": options, **linux.get("security_context", {})},
        }

    def status(self, container: str) -> dict[str, Any]:
        """Return the status of a container."""
        found: dict[str, Any] = self.call("ContainerStatus", container_id=container)["status"]
        return found

    def execute(self, container: str, *command: str) -> tuple[int, str, str]:
        """Run a command in a container; return its exit status and what it has written."""
        done = self.call("ExecSync", container_id=container, cmd=command, timeout=int(PATIENCE))
        out, err = (base64.b64decode(done.get(name, "")).decode() for name in ("stdout", "stderr"))
        return done.get("exit_code", 0), out, err

    def streams(self, method: str, container: str, **asked: Any) -> list[str]:
        """Return the command line of a client for the streams of ``Exec`` or ``Attach``."""
        return client(self.daemon, self.call(method, container_id=container, **asked)["url"])

    @staticmethod
    def carry(command: list[str], feed: str) -> subprocess.CompletedProcess[str]:
        """Run such a client with *feed* on its standard input."""
        return subprocess.run(
            command, input=feed, capture_output=True, text=True, timeout=PATIENCE, check=False
        )

    def stream(self, container: str, *command: str, feed: str = "") -> subprocess.CompletedProcess[str]:
        """Run a command in a container, and carry its streams."""
        return self.carry(
            self.streams("Exec", container, cmd=command, stdin=True, stdout=True, stderr=True), feed
        )

    def log(self) -> str:
        """Return what the server has said."""
        return self.daemon.log.read_text(errors="replace")

    @abstractmethod
    def record(self, runtime: str, ident: str) -> Path:
        """Return the directory in which a runtime, ``orlop`` or ``peer``, keeps the state of a container."""

    @abstractmethod
    def traces(self) -> Left:
        """Return what containers could leave behind, but for pods."""

    def left(self) -> Left:
        """Return all that pods could leave behind."""
        left = self.traces()
        # A kubelet makes the groups of pods and removes them.
        left["cgroups"] = {group for group in left["cgroups"] if _OF_CONTAINER.fullmatch(Path(group).name)}
        left["pods"] = {one["id"] for one in self.call("ListPodSandbox").get("items", [])}
        return left

    def clear(self) -> None:
        """Stop and remove all pods, and their containers before them, at once."""
        running = {"state": {"state": "CONTAINER_RUNNING"}}
        for one in self.call("ListContainers", filter=running).get("containers", []):
            self.call("StopContainer", container_id=one["id"], timeout=0)
        for one in self.call("ListPodSandbox").get("items", []):
            self.call("StopPodSandbox", pod_sandbox_id=one["id"])
            self.call("RemovePodSandbox", pod_sandbox_id=one["id"])

    def close(self) -> None:
        """Stop it all."""
        self.call.close()
        self.daemon.stop()
