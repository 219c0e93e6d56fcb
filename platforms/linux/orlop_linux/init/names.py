"""Names, kernel parameters, session and keyring of the container."""

from __future__ import annotations

import _socket as socket
import errno
import fcntl
import os
import stat

from orlop_linux.init import execute, failure, procfs, resolve, security, syscalls
from orlop_linux.init.failure import Failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from orlop_linux.init.context import Context

_SIOCGIFFLAGS = 0x8913
_SIOCSIFFLAGS = 0x8914
_IFF_UP = 0x1
_IFREQ_SIZE = 40
_SEARCH_BY_OTHERS = 0x00080808  # KEY_USR_SEARCH, KEY_GRP_SEARCH, KEY_OTH_SEARCH; keyctl_setperm(3)
_FLAGS_AT = 16  # struct ifreq, netdevice(7): the name, then the flags as a short


def set_hostname(_context: Context, fields: dict[str, Any], _index: int) -> None:
    """Execute SetHostname."""
    syscalls.sethostname(fields["name"].encode("utf-8", "surrogateescape"))


def set_domainname(_context: Context, fields: dict[str, Any], _index: int) -> None:
    """Execute SetDomainname."""
    syscalls.setdomainname(fields["name"].encode("utf-8", "surrogateescape"))


def bring_up_loopback(_context: Context, _fields: dict[str, Any], _index: int) -> None:
    """Execute BringUpLoopback."""
    loopback_up()


def loopback_up() -> None:
    """Bring up ``lo`` in the network namespace of the calling thread, with the ioctls of netdevice(7)."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
    try:
        request = bytearray(_IFREQ_SIZE)
        request[:2] = b"lo"
        fcntl.ioctl(sock.fileno(), _SIOCGIFFLAGS, request)
        request[_FLAGS_AT] |= _IFF_UP
        fcntl.ioctl(sock.fileno(), _SIOCSIFFLAGS, request)
    finally:
        sock.close()


def sysctl_path(key: str) -> str:
    """Return the path below /proc/sys of a key as sysctl(8) reads it.

    The first separator decides: in dotted keys a slash stands for a dot (``net.ipv4.conf.eth0/1.mtu``).
    """
    first = next((c for c in key if c in "./"), ".")
    return key if first == "/" else "/".join(part.replace("/", ".") for part in key.split("."))


def set_sysctl(context: Context, fields: dict[str, Any], _index: int) -> None:
    """Execute SetSysctl through the private procfs."""
    path = b"sys/" + sysctl_path(fields["key"]).encode("utf-8", "surrogateescape")
    procfs.write(context.proc_fd, path, fields["value"].encode("utf-8", "surrogateescape"))


def _is_new(serial: int) -> bool:
    """Tell whether a keyring that was joined by its name did not exist before.

    An existing one is joined only by who may search it, and nobody but its possessor may search a new one.
    The kernel gives no serial number for the keyring that the process has already.
    """
    if serial <= 0:
        return False
    _, uid, _, permissions, _ = syscalls.describe_key(serial).split(b";", 4)
    return int(uid) == os.getuid() and not int(permissions, 16) & _SEARCH_BY_OTHERS


def new_keyring(context: Context, fields: dict[str, Any], _index: int) -> None:
    """Execute NewKeyring; a kernel without keyrings has none that could leak.

    Anybody may have made a keyring of this name and let us search it: the container then gets one without a
    name. Which name the kernel gives it makes no difference to the program.
    """
    label = fields["label"]
    if label:
        security.label_keys(context, label)
    try:
        if not _is_new(syscalls.join_session_keyring(fields["name"].encode("utf-8", "surrogateescape"))):
            syscalls.join_session_keyring(None)
    except OSError as error:
        if error.errno != errno.ENOSYS:
            raise
    finally:
        if label:
            security.label_keys(context, "")


def new_session(_context: Context, _fields: dict[str, Any], _index: int) -> None:
    """Execute NewSession."""
    try:
        os.setsid()
    except PermissionError:
        pass  # already the leader of a session, by OpenTerminal


def _require_directory(path: str) -> None:
    """Refuse a working directory that is not there, before the program is looked for in it.

    Raises:
        Failure: It cannot be looked at, or something else is in its place.
    """
    try:
        mode = os.stat(path).st_mode
    except OSError as error:
        raise Failure(error.errno or 0, failure.DETAIL_CHDIR) from None
    if not stat.S_ISDIR(mode):
        raise Failure(errno.ENOTDIR, failure.DETAIL_CHDIR)


def _make_directory(path: str) -> None:
    """Make the working directory and what is missing above it, where the links of the image lead to.

    None of it can be written to by anybody but its owner: os.makedirs() leaves the permissions of the
    directories above to the umask, which is 0 here.

    Raises:
        Failure: It cannot be made, or something else is in its place.
    """
    if os.path.isdir(path):
        return
    root = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.close(resolve.make_directory(root, path, 0o755))
    except OSError as error:
        raise Failure(error.errno or 0, failure.DETAIL_CHDIR) from None
    finally:
        os.close(root)


def check_executable(_context: Context, fields: dict[str, Any], _index: int) -> None:
    """Execute CheckExecutable: make the working directory if it is missing, then find the program."""
    if fields["make_cwd"]:
        _make_directory(fields["cwd"])
    else:
        _require_directory(fields["cwd"])
    execute.find(fields["args"][0], fields["path"], fields["cwd"])


OPS = {
    "SetHostname": set_hostname,
    "SetDomainname": set_domainname,
    "BringUpLoopback": bring_up_loopback,
    "SetSysctl": set_sysctl,
    "NewKeyring": new_keyring,
    "NewSession": new_session,
    "CheckExecutable": check_executable,
}
