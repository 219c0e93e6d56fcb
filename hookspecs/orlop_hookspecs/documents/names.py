"""The one rule and the one table that turn attribute names into the property names of the specification.

The rule is camelCase: ``no_new_privileges`` is ``noNewPrivileges``. A trailing underscore only keeps a name
from being a Python keyword. What the specification spells otherwise stands in :data:`IRREGULAR`, for all
documents at once.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

IRREGULAR: Mapping[str, str] = {
    "allow_unqualified_dns_query": "allowUnqualifiedDNSQuery",
    "block_io": "blockIO",
    "capped_cpu": "cappedCPU",
    "class_id": "classID",
    "clos_id": "closID",
    "container_id": "containerID",
    "disable_oom_killer": "disableOOMKiller",
    "dns_search_list": "DNSSearchList",
    "enable_cmt": "enableCMT",
    "enable_mbm": "enableMBM",
    "exec_cpu_affinity": "execCPUAffinity",
    "first_gfn": "firstGFN",
    "first_mfn": "firstMFN",
    "host_id": "hostID",
    "kernel_tcp": "kernelTCP",
    "nr_mfns": "nrMFNs",
    "throttle_read_iops_device": "throttleReadIOPSDevice",
    "throttle_write_iops_device": "throttleWriteIOPSDevice",
    "utility_vm_path": "utilityVMPath",
}
"""Attribute names whose property name the camelCase rule does not give."""

_known = dict(IRREGULAR)


def json_name(attribute: str) -> str:
    """Return the property name of the specification for the attribute name *attribute*."""
    name = _known.get(attribute)
    if name is None:
        first, *rest = attribute.rstrip("_").split("_")
        name = _known[attribute] = first + "".join(word[:1].upper() + word[1:] for word in rest)
    return name
