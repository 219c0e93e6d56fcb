"""One virtual machine: QEMU without hardware help, its agent, and the end of both."""

from __future__ import annotations

import json
import select
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self

from tests.vm.guest.agent import Reader, frame

MEMORY = 2048
NODES = 2
CPUS = 2
SCRATCH = 64 << 20
# Many times what they take on a machine at rest: only a machine that is lost gets that far.
BOOT_SECONDS = 1200.0
RESTORE_SECONDS = 600.0
_GRACE = 60.0
_CHUNK = 1 << 16
# No mitigations, no probing of timers that emulation never gets right, and an end instead of a hang.
KERNEL_ARGUMENTS = (
    "root=/dev/vdb rw console=ttyS0 quiet mitigations=off no_timer_check tsc=reliable net.ifnames=0 "
    "systemd.show_status=0 audit=0 panic=-1 init_on_alloc=0 hugepages=16"
)
WORK = "/orlop"
ENVIRONMENT = {
    "HOME": "/root",
    "LANG": "C.UTF-8",
    "PATH": "/opt/venv/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "TERM": "dumb",
}


KINDS = {
    "v2": "",
    # Controllers on cgroup v1, and v2 beside it for systemd: the hybrid layout.
    "v1": "systemd.unified_cgroup_hierarchy=0 SYSTEMD_CGROUP_ENABLE_LEGACY_FORCE=1",
    # In place of AppArmor; the policy is loaded, and enforced, before the state is saved.
    "selinux": "security=selinux enforcing=0",
}
"""The machines that there are, with what each adds to the kernel's command line."""


class MachineError(Exception):
    """The machine did not do what it was asked; the text ends with what it wrote to its serial line."""


class Ended(NamedTuple):
    """How a command in the guest ended."""

    status: int
    timed_out: bool = False
    error: str = ""


Sink = Callable[[bytes], object]


def _ignore(_data: bytes) -> None:
    pass


class Sinks(NamedTuple):
    """What takes a command's standard output, its errors, and what it writes to ``ORLOP_RESULTS_FD``."""

    output: Sink = _ignore
    errors: Sink = _ignore
    results: Sink = _ignore


NOWHERE = Sinks()


class Machine:
    """A running machine. Its disk is thrown away with it, unless *keep* is set."""

    def __init__(self, image: Path, kind: str, place: Path, *, first: bool = False) -> None:
        """Go on where the machine's state was saved.

        Args:
            image: A directory with kernel, initrd, and the disk and the state of each kind.
            kind: Which machine, of ``KINDS``.
            place: A directory for the serial line's log.
            first: There is no state yet: start it, and let it write to its disk.
        """
        self.serial = place / "serial.log"
        self._errors = place / "qemu.log"
        self._reader = Reader()
        self.agent, theirs = socket.socketpair()
        self.monitor, other = socket.socketpair()
        command = [
            # Whoever waits for the machine may be killed; the machine then goes as well.
            *("setpriv", "--pdeathsig", "KILL"),
            *_arguments(image, kind, self.serial, (theirs.fileno(), other.fileno())),
        ]
        if not first:
            command += ["-snapshot", "-incoming", f"exec:cat {image}/state-{kind}"]
        with self._errors.open("w") as errors:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=errors,
                stderr=errors,
                pass_fds=(theirs.fileno(), other.fileno()),
            )
        theirs.close()
        other.close()

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """End it."""
        self.close()

    def stop(self) -> None:
        """Let the machine die under whoever waits for it, in another thread."""
        self.process.kill()

    def close(self) -> None:
        """End the machine, whatever it is doing."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.agent.close()
        self.monitor.close()

    def failed(self, what: str) -> MachineError:
        """Return an error with all that is known about the machine."""
        self.close()
        parts = [what]
        for name, file in (("qemu", self._errors), ("serial line", self.serial)):
            text = file.read_text(errors="replace").strip() if file.exists() else ""
            if text:
                parts.append(f"--- {name} ---\n" + "\n".join(text.splitlines()[-60:]))
        return MachineError("\n".join(parts))

    def run(
        self,
        argv: Sequence[str],
        *,
        timeout: float,
        env: dict[str, str] | None = None,
        data: bytes = b"",
        sinks: Sinks = NOWHERE,
    ) -> Ended:
        """Run a command in the guest, as root, in the directory for the work tree.

        Args:
            argv: The command.
            timeout: Seconds after which the guest kills it; some later the host ends the machine.
            env: Variables beside a minimal environment.
            data: Its standard input.
            sinks: What takes its output.

        Raises:
            MachineError: The machine has died or does not answer.
        """
        request = {
            "argv": list(argv),
            "cwd": WORK,
            "env": {**ENVIRONMENT, **(env or {})},
            "timeout": timeout,
            "now": time.time(),
        }
        self._send(frame(b"R", json.dumps(request).encode()))
        chunks = (data[start : start + _CHUNK] for start in range(0, len(data), _CHUNK))
        takers = dict(zip((b"o", b"e", b"r"), sinks, strict=True))
        for kind, content in self._frames(self._input(chunks), time.monotonic() + timeout + _GRACE):
            if kind == b"x":
                return Ended(**json.loads(content))
            takers[kind](content)
        raise self.failed("the virtual machine has died")

    @staticmethod
    def _input(chunks: Iterator[bytes]) -> Iterator[bytes]:
        for chunk in chunks:
            yield frame(b"I", chunk)
        yield frame(b"I", b"")

    def _send(self, data: bytes) -> None:
        try:
            self.agent.sendall(data)
        except OSError as error:
            raise self.failed("the virtual machine has died") from error

    def _frames(self, outgoing: Iterator[bytes], deadline: float) -> Iterator[tuple[bytes, bytes]]:
        """Send and receive at the same time: neither side may wait for the other to read."""
        left = memoryview(next(outgoing, b""))
        while True:
            wait = deadline - time.monotonic()
            readable, writable, _ = select.select(
                [self.agent], [self.agent] if left else [], [], max(0.0, wait)
            )
            if not readable and not writable:
                raise self.failed("the virtual machine does not answer")
            if writable:
                try:
                    left = left[self.agent.send(left, socket.MSG_DONTWAIT) :] or memoryview(
                        next(outgoing, b"")
                    )
                except BlockingIOError:
                    pass
                except OSError:
                    return
            if readable:
                try:
                    received = self.agent.recv(_CHUNK)
                except OSError:
                    return
                if not received:
                    return
                yield from self._reader.feed(received)

    def save(self, state: Path) -> None:
        """Write the machine's state to a file and end it; its disk has to be kept with that."""
        monitor = self.monitor.makefile("rw")

        def ask(execute: str, **arguments: Any) -> dict[str, Any]:
            monitor.write(json.dumps({"execute": execute, "arguments": arguments}) + "\n")
            monitor.flush()
            for line in monitor:
                answer: dict[str, Any] = json.loads(line)
                if "error" in answer:
                    raise self.failed(f"{execute}: {answer['error']['desc']}")
                if "return" in answer:
                    return dict(answer["return"])
            raise self.failed("the virtual machine has died")

        ask("qmp_capabilities")
        # Without a limit on the rate: the default is that of a network.
        ask("migrate-set-parameters", **{"max-bandwidth": 1 << 40})
        # Not stopped before that: a machine saved in that state would come back in it.
        ask("migrate", uri=f"exec:cat >{state}")
        deadline = time.monotonic() + RESTORE_SECONDS
        while (status := ask("query-migrate").get("status")) != "completed":
            if status in {"failed", "cancelled"} or time.monotonic() > deadline:
                raise self.failed(f"saving the state: {status}")
            select.select([], [], [], 0.05)
        monitor.close()
        self.close()


def _arguments(image: Path, kind: str, serial: Path, fds: tuple[int, int]) -> list[str]:
    """Return QEMU's command line; a saved state can be restored only under the same one."""
    node = MEMORY // NODES
    numa: list[str] = []
    for number in range(NODES):
        numa += ["-object", f"memory-backend-ram,id=ram{number},size={node}M"]
        numa += ["-numa", f"node,nodeid={number},cpus={number},memdev=ram{number}"]
    return [
        "qemu-system-x86_64",
        *("-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"),
        *("-machine", "q35", "-accel", "tcg,thread=multi,tb-size=1024", "-cpu", "Westmere"),
        *("-smp", str(CPUS), "-m", f"{MEMORY}M", *numa),
        *(
            "-kernel",
            str(image / "kernel"),
            "-initrd",
            str(image / "initrd"),
            "-append",
            f"{KERNEL_ARGUMENTS} {KINDS[kind]}",
        ),
        # The first disk is for tests: to throttle the other would hold up whoever reads a program from it.
        *("-blockdev", f"driver=null-co,node-name=scratch,size={SCRATCH},read-zeroes=on"),
        *("-device", "virtio-blk-pci,drive=scratch"),
        *("-drive", f"file={image / f'disk-{kind}'},format=raw,if=none,id=disk,cache=unsafe"),
        *(
            "-device",
            "virtio-blk-pci,drive=disk",
            "-device",
            "virtio-rng-pci",
            "-device",
            "vmgenid,guid=auto",
        ),
        *("-chardev", f"socket,id=agent,fd={fds[0]}", "-device", "virtio-serial-pci"),
        *("-device", "virtserialport,chardev=agent,name=orlop"),
        *("-chardev", f"socket,id=monitor,fd={fds[1]}", "-mon", "chardev=monitor,mode=control"),
        *("-chardev", f"file,id=serial,path={serial}", "-serial", "chardev:serial"),
    ]


def guest_user() -> dict[str, str]:
    """Return the environment in which the user's systemd is reached."""
    return {"XDG_RUNTIME_DIR": "/run/user/1000", "DBUS_SESSION_BUS_ADDRESS": "unix:path=/run/user/1000/bus"}
