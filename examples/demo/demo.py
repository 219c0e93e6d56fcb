"""The main job of orlop in one program: a container from create to delete, and what plugins do for it.

As root on Linux the container is real and the command line is driven as an engine drives it. Otherwise the
same life is led on the fake platform, through the library.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import textwrap
import time
from pathlib import Path
from typing import Any

from examples.demo.bundle import PROGRAM, make_bundle

import orlop
from orlop.documents.codec import encode

ORLOP = str(Path(sys.executable).with_name("orlop"))
LEFT_OUT = ("seccomp", "intel-rdt")
PATIENCE = 30.0


def title(text: str) -> None:
    """Print a heading."""
    print(f"\n== {text}")


def call(*arguments: str) -> str:
    """Run the orlop command, shown as typed, and return what it prints."""
    done = subprocess.run([ORLOP, *arguments], stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout


def why_not_real() -> str:
    """Return why no real container can run here; empty when one can."""
    if sys.platform != "linux":
        return "a real one needs Linux"
    if os.geteuid() != 0:
        return "a real one needs root"
    # Root inside somebody else's container is often root in name only.
    probe = ["unshare", "--mount", "--pid", "--fork", "mount", "-t", "tmpfs", "none", "/mnt"]
    if subprocess.run(probe, stderr=subprocess.DEVNULL, check=False).returncode != 0:
        return "this root may not make namespaces and mounts"
    return ""


class CommandLine:
    """The life of one container through the command line, as an engine leads it."""

    def __init__(self, root: str, bundle: str) -> None:
        """Keep the state in *root*; the container's output comes back through a pipe."""
        self.root = root
        self.bundle = bundle
        reading, self.writing = os.pipe()
        self.output = os.fdopen(reading)

    def orlop(self, command: str, *arguments: str) -> str:
        """Run one command and show it."""
        print(f"$ orlop {command} {' '.join(arguments)}".rstrip())
        return call("--root", self.root, command, *arguments)

    def state(self) -> str:
        """Show the state document in short and return the status."""
        state = json.loads(self.orlop("state", "demo"))
        print("  " + ", ".join(f"{key}: {state[key]}" for key in ("status", "pid") if key in state))
        return str(state["status"])

    def live(self) -> None:
        """Create, state, start, state, kill, state, delete."""
        print("$ orlop create --bundle BUNDLE demo")
        command = [ORLOP, "--root", self.root, "create", "--bundle", self.bundle, "demo"]
        subprocess.run(command, stdin=subprocess.DEVNULL, stdout=self.writing, check=True)
        os.close(self.writing)
        self.state()
        self.orlop("start", "demo")
        print("  " + self.output.readline().rstrip())
        self.state()
        self.orlop("kill", "demo", "TERM")
        print("  " + self.output.read().rstrip())  # up to the end: the container has closed its output
        deadline = time.monotonic() + PATIENCE
        while self.state() != "stopped":
            if time.monotonic() > deadline:
                sys.exit("demo: the container did not stop")
        self.orlop("delete", "demo")
        print(f"  containers left: {self.orlop('list', '--quiet').split()}")

    def clean(self) -> None:
        """Remove the container if the demo has failed half-way."""
        subprocess.run([ORLOP, "--root", self.root, "delete", "--force", "demo"], check=False)


def live_on_fake(runtime: orlop.Runtime, bundle: str) -> None:
    """Create, state, start, state, kill, state, delete, through the library."""
    container = runtime.create("demo", bundle)
    print(f"create: {container.status}")
    container.start()
    print(f"start:  {container.status}")
    container.kill("KILL")
    print(f"kill:   the process ends with status {container.wait(timeout=PATIENCE)}")
    print(f"state:  {container.status}")
    container.delete()
    print(f"delete: containers left: {runtime.list()}")


def leaves(document: object, path: str = "") -> dict[str, Any]:
    """Return the fields of a JSON document by dotted path; a list is one field."""
    if not isinstance(document, dict):
        return {path: document}
    found: dict[str, Any] = {}
    for key, value in document.items():
        found |= leaves(value, f"{path}.{key}" if path else key)
    return found


def show_features(runtime: orlop.Runtime) -> dict[str, Any]:
    """Print each field of the features document with the plugins that supplied it; return the fields."""
    fields = leaves(encode(runtime.features()))
    sources = runtime.features_provenance()
    for path, value in fields.items():
        source = sources[path]  # of a list: the plugins of each value
        plugins = (
            sorted({who for each in source.values() for who in each}) if isinstance(source, dict) else source
        )
        text = ", ".join(map(str, value)) if isinstance(value, list) else json.dumps(value)
        print(f"{path}  <- {', '.join(plugins) or 'nobody'}")
        print(textwrap.indent(textwrap.fill(text or "(none)", 100), "    "))
    return fields


def main() -> None:
    """Lead a container through its life, then compose a second, smaller runtime."""
    reason = why_not_real()
    platform = "fake" if reason else "linux"
    program = ["sleep", "1000"] if reason else ["/bin/sh", "-c", PROGRAM]
    runtime = orlop.Runtime.compose(platform=platform)

    title("a bundle")
    with tempfile.TemporaryDirectory(prefix="orlop-demo-") as place:
        bundle = Path(place, "bundle")
        bundle.mkdir()
        call("spec", "--bundle", str(bundle))
        config = json.loads((bundle / "config.json").read_text())
        print(f"config.json by `orlop spec`, root file system from {make_bundle(bundle, config, program)}")

        if reason:
            title(f"a container on the fake platform ({reason})")
            live_on_fake(runtime, str(bundle))
        else:
            title("a real container, through the command line")
            life = CommandLine(f"{place}/state", str(bundle))
            try:
                life.live()
            except BaseException:
                life.clean()
                raise

        title(f"what this runtime can do, and which of its {len(runtime.plugins)} plugins says so")
        everything = show_features(runtime)

        title(f"a second runtime, composed without {' and '.join(LEFT_OUT)}")
        smaller = orlop.Runtime.compose(platform=platform, block=LEFT_OUT)
        fields = leaves(encode(smaller.features()))
        print(f"features: {len(fields)} fields instead of {len(everything)}; gone:")
        for path in sorted(everything.keys() - fields.keys()):
            print(f"    {path}")

        config["linux"]["seccomp"] = {"defaultAction": "SCMP_ACT_ALLOW"}
        (bundle / "config.json").write_text(json.dumps(config))
        print("a config that asks for seccomp is refused before anything is touched:")
        try:
            smaller.create("refused", str(bundle))
        except orlop.ConfigError as error:
            print(f"    {error}")
        else:
            sys.exit("demo: the config should have been refused")


if __name__ == "__main__":
    main()
