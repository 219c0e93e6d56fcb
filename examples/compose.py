"""Two runtimes on one machine: one with everything, one without seccomp."""

from __future__ import annotations

# --8<--
import orlop

everything = orlop.Runtime.compose(platform="linux")
smaller = orlop.Runtime.compose(platform="linux", block=["seccomp"])

config = {
    "ociVersion": "1.3.0",
    "root": {"path": "rootfs"},
    "process": {"cwd": "/", "args": ["sh"], "user": {"uid": 0, "gid": 0}},
    "linux": {"seccomp": {"defaultAction": "SCMP_ACT_ALLOW"}},
}
assert everything.check(config).accepted
assert not smaller.check(config).accepted
linux = smaller.features().linux
assert linux is not None
assert linux.seccomp is None
