"""Profiles for AppArmor and labels for SELinux, as tests give them to programs."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

PROFILE = f"orlop-test-{os.getpid()}"
_POLICY = """
profile {0} flags=(attach_disconnected,mediate_deleted) {{
  file,
  capability,
  signal,
  ptrace,
  deny /data/** rw,
}}
profile {0}-open {{ file, signal, capability, ptrace, }}
profile "{0} with space" {{ file, signal, }}
profile {0}-restored {{ file, capability, signal, mount, network, ptrace, }}
profile {0}-deaf {{ file, }}
"""
LABELS = (
    ("system_u:system_r:container_t:s0:c1,c2", "system_u:object_r:container_file_t:s0:c1,c2"),
    ("system_u:system_r:svirt_lxc_net_t:s0:c1,c2", "system_u:object_r:svirt_sandbox_file_t:s0:c1,c2"),
    ("u:r:payload_t:s0:c1,c2", "u:object_r:files_t:s0:c1,c2"),
)
"""Labels of a process and of its files in policies that know containers."""
FORBIDDEN = "u:object_r:secret_t:s0"
"""What the program with the last of these labels must not open, see tests/vm/guest/policy.cil."""


@contextmanager
def loaded_profile() -> Iterator[str]:
    """Load a profile that forbids /data, and some others whose names begin like its own."""
    policy = _POLICY.format(PROFILE).encode()
    subprocess.run(["apparmor_parser", "--replace", "--skip-cache"], input=policy, check=True)
    try:
        yield PROFILE
    finally:
        subprocess.run(["apparmor_parser", "--remove"], input=policy, check=True)


def is_valid(label: str) -> bool:
    """Ask the policy, see security_check_context(3)."""
    fd = os.open("/sys/fs/selinux/context", os.O_RDWR | os.O_CLOEXEC)
    try:
        return os.write(fd, label.encode()) > 0
    except OSError:
        return False
    finally:
        os.close(fd)
