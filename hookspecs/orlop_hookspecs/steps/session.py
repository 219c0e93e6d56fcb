"""Steps inside the finished root: names, kernel parameters, session, terminal, executable."""

from __future__ import annotations

from orlop_hookspecs.steps.base import Step, step


@step
class SetHostname(Step):
    """Set the host name of the container's own UTS namespace (sethostname(2))."""

    ACT = "set the host name"
    PHASE = "confined"
    SLOT = "names"

    because: str
    name: str


@step
class SetDomainname(Step):
    """Set the NIS domain name of the container's own UTS namespace (setdomainname(2))."""

    ACT = "set the domain name"
    PHASE = "confined"
    SLOT = "names"

    because: str
    name: str


@step
class BringUpLoopback(Step):
    """Bring up ``lo`` in a new network namespace, as every runtime does."""

    ACT = "bring up the loopback device"
    PHASE = "confined"
    SLOT = "network"

    because: str


@step
class SetSysctl(Step):
    """Write a kernel parameter through a private procfs; the key is in dotted form."""

    ACT = "set the kernel parameter {key}"
    PHASE = "confined"
    SLOT = "sysctl"

    because: str
    key: str
    value: str
    namespace: str = ""
    """Type of the namespaces that have the parameter each; the runtime's own one is never written to."""


@step
class NewKeyring(Step):
    """Join a new session keyring, so that the caller's keys stay out of reach (session-keyring(7)).

    It never is an existing keyring, whoever made one of that name.
    """

    ACT = "join a new session keyring"
    PHASE = "confined"
    SLOT = "session"
    JOINS = True

    because: str
    name: str
    label: str = ""
    """SELinux context of the keyring; empty: the caller's choice."""


@step
class NewSession(Step):
    """Start a session without a controlling terminal (setsid(2))."""

    ACT = "start a session"
    PHASE = "confined"
    SLOT = "session"
    JOINS = True

    because: str


@step
class OpenTerminal(Step):
    """Open a pseudoterminal in the container's devpts, send its master to the caller and make it the console.

    The slave becomes the controlling terminal and descriptors 0, 1 and 2, and is bound over /dev/console.
    """

    ACT = "open the terminal"
    PHASE = "container"
    SLOT = "console"
    JOINS = True

    because: str
    height: int = 0
    width: int = 0
    uid: int = 0
    """Owner of the slave: the process's user."""


@step
class CheckExecutable(Step):
    """Find the executable now, so that ``create`` reports a missing one; it is found again at start."""

    ACT = "find the program"
    PHASE = "confined"
    SLOT = "lookup"
    JOINS = True

    because: str
    args: tuple[str, ...]
    path: str = ""
    """The value of PATH in the process's environment."""
    cwd: str = "/"
    make_cwd: bool = True
    """Make the working directory if it is missing; a process that joins the container finds it or fails."""
