"""What a rule may use, whatever platform it runs on, and the register of all rules.

A rule is a named function that takes a :class:`World` and asserts one fact about containers. Every rule runs
on the fake platform and, as root, on Linux, with the same bundle on the real disk. On Linux the programs are
shell scripts in the image; on the fake they are the Python functions beside them in
:mod:`tests.rules.programs`.
"""

from __future__ import annotations

import copy
import json
import os
import shutil
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from tests.rules.programs import PROGRAMS

import orlop
from orlop.process import Process
from orlop_hookspecs.launch import ExecOptions

Config = dict[str, Any]
Rule = Callable[["World"], None]

PATIENCE = 120.0
"""Seconds: much longer than anything takes, also on a machine with many times its load."""

RULES: dict[str, Rule] = {}
"""Every rule by its name."""

CAPABILITIES = ["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"]
DIRECTORIES = ("bin", "dev", "etc", "proc", "sys", "tmp", "data", "events", "hooks", "usr/bin")
"""The directories of the image."""

PLUGINS = ("+keep-groups",)
"""The composition of the worlds: every installed plugin, and these, which do nothing unasked."""

ADDRESS = "192.0.2.7/24"
"""The address of a device of the host."""

BASE: Config = {
    "ociVersion": "1.2.0",
    "process": {
        "cwd": "/",
        "env": ["PATH=/bin:/usr/bin", "TERM=dumb"],
        "user": {"uid": 0, "gid": 0},
        "noNewPrivileges": True,
        "capabilities": dict.fromkeys(("bounding", "effective", "permitted"), CAPABILITIES),
    },
    "root": {"path": "rootfs"},
    "hostname": "rules",
    "mounts": [
        {"destination": "/proc", "type": "proc", "source": "proc"},
        {
            "destination": "/dev",
            "type": "tmpfs",
            "source": "tmpfs",
            "options": ["nosuid", "strictatime", "mode=755", "size=65536k"],
        },
        {
            "destination": "/dev/pts",
            "type": "devpts",
            "source": "devpts",
            "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"],
        },
        {
            "destination": "/sys",
            "type": "sysfs",
            "source": "sysfs",
            "options": ["nosuid", "noexec", "nodev", "ro"],
        },
    ],
    "linux": {"namespaces": [{"type": kind} for kind in ("pid", "mount", "uts", "ipc", "network")]},
}


def rule(function: Rule) -> Rule:
    """Register a rule under its function's name."""
    assert function.__name__ not in RULES
    RULES[function.__name__] = function
    return function


NEEDS: dict[str, tuple[str, ...]] = {}
"""What a real machine may lack that a rule needs, in the words of tests/needs.py."""


def needs(*words: str) -> Callable[[Rule], Rule]:
    """Declare what a real machine has to have for a rule; the fake has everything."""

    def declare(function: Rule) -> Rule:
        NEEDS[function.__name__] = words
        return function

    return declare


def merge(base: Any, change: Any) -> Any:
    """Return *base* with *change* merged in: objects by member, ``None`` removes, all else replaces."""
    if not (isinstance(base, dict) and isinstance(change, dict)):
        return change
    made = dict(base)
    for name, value in change.items():
        if value is None:
            made.pop(name, None)
        else:
            made[name] = merge(made.get(name), value)
    return made


class World(ABC):
    """A runtime, a place for bundles, and a way to look at containers."""

    platform = ""
    shell = ""
    """Path of a static busybox for the image."""

    def __init__(self, runtime: orlop.Runtime, place: Path, warnings: list[str]) -> None:
        self.runtime = runtime
        self.place = place
        self.name = f"orlop-rules-{os.getpid()}-{place.name}"
        """Begins the names of all cgroups; another run of the tests has others."""
        self.containers: dict[str, orlop.Container] = {}
        self.systemd = False
        """Whether systemd makes the cgroups of the containers that are created."""
        self.warnings = warnings
        """What the runtime has warned of."""
        self._bundles = 0

    # Bundles ------------------------------------------------------------

    def bundle(self, *args: str, change: Config | None = None, config: Config | None = None) -> Path:
        """Make a bundle whose process is *args*; *change* is merged into its config, *config* replaces it."""
        self._bundles += 1
        bundle = self.place / f"bundle{self._bundles}"
        self._make_image(bundle / "rootfs")
        made = copy.deepcopy(BASE)
        made["process"]["args"] = list(args) or ["/bin/sleeper"]
        made["linux"]["cgroupsPath"] = f"/{self.name}-{self._bundles}"
        made = merge(made, change or {})
        self.write_config(bundle, config if config is not None else made)
        return bundle

    @staticmethod
    def write_config(bundle: Path, config: Config) -> None:
        (bundle / "config.json").write_text(json.dumps(config))

    def put_file(self, bundle: Path, name: str, text: str = "") -> None:
        """Put a file into the image of *bundle*."""
        path = bundle / "rootfs" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def _make_image(self, root: Path) -> None:
        for name in DIRECTORIES:
            (root / name).mkdir(parents=True)
        (root / "tmp").chmod(0o1777)
        (root / "etc/os-release").write_text("ID=rules\n")
        (root / "etc/plain").write_text("not executable\n")
        shutil.copy(self.shell, root / "bin/busybox")
        (root / "bin/busybox").chmod(0o755)
        (root / "bin/sh").symlink_to("busybox")
        for name, (script, _) in PROGRAMS.items():
            file = root / "bin" / name
            file.write_text(f'#!/bin/busybox sh\nbusybox() {{ /bin/busybox "$@"; }}\n{script}\n')
            file.chmod(0o755)

    # Containers ------------------------------------------------------------

    def create(
        self, container: str, *args: str, change: Config | None = None, bundle: Path | None = None
    ) -> orlop.Container:
        """Create a container that runs *args*, the default being one that sleeps."""
        made = self._create(container, bundle or self.bundle(*args, change=change))
        self.containers[container] = made
        return made

    def restore(self, container: str, bundle: Path, image: Path) -> orlop.Container:
        """Bring a container back from the images that were made of the one of the same name."""
        made = self._restore(container, bundle, image)
        self.containers[container] = made
        return made

    def start(self, container: str, *args: str, change: Config | None = None) -> orlop.Container:
        """Create and start a container."""
        made = self.create(container, *args, change=change)
        made.start()
        return made

    def run(self, *args: str, change: Config | None = None) -> tuple[int | None, str]:
        """Run a container from create to delete; return its exit status and output."""
        made = self.start("run", *args, change=change)
        status = made.wait(timeout=PATIENCE)
        text = self.output("run")
        made.delete()
        del self.containers["run"]
        return status, text

    def facts(self, *args: str, change: Config | None = None) -> dict[str, str]:
        """Run ``facts`` and return what it says by name."""
        status, text = self.run("/bin/facts", *args, change=change)
        assert status == 0, text
        return dict(line.split("=", 1) for line in text.splitlines())

    def join(self, container: str, *args: str, process: Config | None = None, **fields: Any) -> Process:
        """Start *args*, or the whole *process*, in a container; *fields* are those of the library's exec."""
        with self._exec_options(container) as options:
            return self.containers[container].exec(process or list(args), options, **fields)

    def execute(
        self, container: str, *args: str, process: Config | None = None, **fields: Any
    ) -> tuple[int | None, str]:
        """Run *args*, or the whole *process*, in a container; return exit status and output."""
        before = len(self.output(container))
        made = self.join(container, *args, process=process, **fields)
        status = made.wait(timeout=PATIENCE)
        return status, self.output(container)[before:]

    @abstractmethod
    def _exec_options(self, container: str) -> AbstractContextManager[ExecOptions]:
        """Yield flags with which a process writes to where its container does."""

    @abstractmethod
    def _create(self, container: str, bundle: Path) -> orlop.Container:
        """Create *container* from *bundle*."""

    @abstractmethod
    def _restore(self, container: str, bundle: Path, image: Path) -> orlop.Container:
        """Restore *container*, to write to where it wrote before."""

    @abstractmethod
    def output(self, container: str) -> str:
        """Return what the container has written so far."""

    @abstractmethod
    def until_output(self, container: str, text: str) -> None:
        """Return when the container has written *text*."""

    # Hooks ------------------------------------------------------------

    @abstractmethod
    def hook(self, bundle: Path, kind: str, name: str = "", *, status: int = 0, sleep: int = 0) -> Config:
        """Make a hook that notes its run and its state, sleeps, exits; return its entry for the config."""

    def hooked(self, hooks: dict[str, Config], *args: str, change: Config | None = None) -> Path:
        """Make a bundle with one hook of each kind in *hooks*: arguments of :meth:`hook`, and ``timeout``."""
        bundle = self.bundle(*args, change=change)
        config = json.loads((bundle / "config.json").read_text())
        config["hooks"] = {}
        for kind, how in hooks.items():
            timeout = how.pop("timeout", None)
            entry = self.hook(bundle, kind, **how)
            if timeout is not None:
                entry["timeout"] = timeout
            config["hooks"][kind] = [entry]
        self.write_config(bundle, config)
        return bundle

    @abstractmethod
    def events(self, bundle: Path) -> list[str]:
        """Return what hooks and programs have noted, in order."""

    @abstractmethod
    def hook_states(self, bundle: Path) -> dict[str, Config]:
        """Return the state document that each hook got, by the hook's name."""

    # Seccomp agents ------------------------------------------------------------

    @abstractmethod
    def agent(self, number: int) -> AbstractContextManager[tuple[str, Callable[[], Config]]]:
        """Let an agent listen that decides all calls by an errno, 0: they go on.

        It yields the path of its socket, and what waits for the first state that it gets.
        """

    # The machine ------------------------------------------------------------

    @abstractmethod
    def caller_groups(self, *groups: int) -> AbstractContextManager[None]:
        """Give the runtime these supplementary groups for a while; before its first container only."""

    @abstractmethod
    def cgroup_value(self, container: str, controller: str, v1: str, v2: str) -> str:
        """Return the content of a cgroup file of the container: *v1* or *v2*, whichever the host has."""

    @abstractmethod
    def rdma_device(self) -> str:
        """Return the name of an RDMA device (needs ``rdma``)."""

    @abstractmethod
    def cgroup_owners(self, container: str, *files: str) -> list[int] | None:
        """Return who owns the unified cgroup and *files* in it; ``None`` where there are cgroups of v1."""

    @abstractmethod
    def by_systemd(self) -> None:
        """Let systemd make the cgroups from now on (needs ``systemd``)."""

    @abstractmethod
    def unit(self, name: str) -> str:
        """Return the description of a unit that runs; empty when there is none."""

    @abstractmethod
    def device_rule(self, container: str, major: int, minor: int) -> str:
        """Return the access to a character device that the container has; empty where it cannot be read."""

    @abstractmethod
    def schemata(self, clos: str) -> str:
        """Return the schemata of the class *clos* (needs ``resctrl``)."""

    @abstractmethod
    def resctrl_groups(self) -> list[str]:
        """Return the classes, and the monitoring groups as ``[class/]mon_groups/name``."""

    @abstractmethod
    def resctrl_tasks(self, group: str) -> list[int]:
        """Return the processes of a class or monitoring group."""

    @abstractmethod
    def make_class(self, clos: str, *lines: str) -> None:
        """Make a class as an administrator does, and write *lines* to its schemata."""

    @abstractmethod
    def remove_class(self, clos: str) -> None:
        """Remove a class if it is there."""

    @abstractmethod
    def alive(self, pid: int) -> bool:
        """Tell whether the host has a process *pid* that has not ended."""

    def ends(self, pid: int) -> bool:
        """Tell whether a process ends: one that was killed may be there a moment longer."""
        return not self.alive(pid)

    @abstractmethod
    def hostname(self) -> str:
        """Return the host's name."""

    @abstractmethod
    def add_device(self, name: str) -> None:
        """Give the runtime's network namespace a virtual device that is down, with an address."""

    @abstractmethod
    def devices(self) -> dict[str, list[str]]:
        """Return the addresses of the devices in the runtime's network namespace, by name."""

    def settle(self, container: str) -> None:
        """Return when the container process has ended."""
        made = self.containers[container]
        made.wait(timeout=PATIENCE)

    @abstractmethod
    def left(self) -> list[str]:
        """Return what is left of containers on the machine, as lines."""

    def close(self) -> None:
        """Remove all containers."""
        for one in list(self.runtime.list()):
            self.runtime.get(one.id).delete(force=True)
        self.runtime.close()
