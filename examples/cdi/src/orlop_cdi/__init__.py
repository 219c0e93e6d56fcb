"""The Container Device Interface for orlop: devices that a vendor describes in files, by name.

As a plugin it is found by its entry point and reads the annotations of configs. For programs::

    config = request(config, "vendor.com/gpu=0")        # what an engine's --device would do

    runtime = orlop.Runtime.compose(plugins=[*names, Cdi(directories=("/opt/cdi",))])
"""

from __future__ import annotations

from orlop_cdi.names import request
from orlop_cdi.plugin import Cdi
from orlop_cdi.registry import Registry
from orlop_cdi.specs import CdiError, Spec, read_spec
from orlop_cdi.versions import CURRENT, minimum_version

__all__ = ["CURRENT", "Cdi", "CdiError", "Registry", "Spec", "minimum_version", "read_spec", "request"]
