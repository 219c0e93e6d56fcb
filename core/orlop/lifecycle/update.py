"""Change the resource limits of a live container."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orlop.documents.codec import decode
from orlop.engine.prepare import RefusedConfigError, coverage_problem
from orlop.lifecycle.site import require
from orlop.lifecycle.states import check
from orlop_hookspecs.documents.linux_resources import Resources
from orlop_hookspecs.errors import ConfigError, OrlopError, PluginError
from orlop_hookspecs.steps.base import STEP_TYPES

if TYPE_CHECKING:
    from orlop.lifecycle.site import Site
    from orlop.plugins.composition import Composition
    from orlop_hookspecs.documents.linux_extras import IntelRdt

_PATH = "linux.resources"
_POINTER = "/linux/resources"
_RDT_PATH = "linux.intelRdt"
_RDT_POINTER = "/linux/intelRdt"
_CHANGEABLE = frozenset({"schemata", "l3CacheSchema", "memBwSchema"})


def update(
    composition: Composition,
    site: Site,
    container: str,
    resources: bytes | dict[str, Any] | Resources,
    intel_rdt: dict[str, Any] | None = None,
) -> None:
    """Apply *resources*, a ``linux.resources`` object, to *container*; what it does not set stays as it is.

    *intel_rdt* is a ``linux.intelRdt`` object with the schemata of the container's class of service.

    Raises:
        ContainerNotFoundError: There is no such container.
        StateError: It is not created, running or paused.
        DocumentError, ConfigError, PluginError: The resources are refused; nothing has been touched.
        StepError: The kernel refused.
    """
    wanted = resources if isinstance(resources, Resources) else decode(resources, Resources)
    refused = composition.coverage.refusals_at(wanted, _PATH, _POINTER)
    schemata = _schemata(intel_rdt) if intel_rdt else None
    if schemata is not None:
        refused += composition.coverage.refusals_at(schemata, _RDT_PATH, _RDT_POINTER)
    if refused:
        raise RefusedConfigError(
            [coverage_problem(composition, finding, {}) for finding in refused], container=container
        )
    slot = site.store.open(container)
    try:
        record = require(slot, container, site)
        kernel = site.kernel(record.platform)
        check("update", kernel.status(record), container)
        steps = []
        planners: dict[str, str] = {}
        for plugin, answer in composition.hooks.update(wanted, record, schemata):
            for step in answer:
                if STEP_TYPES.get(type(step).__name__) is not type(step):
                    raise PluginError(
                        f"{type(step).__name__} is no step of the contract",
                        plugin=plugin,
                        container=container,
                    )
                steps.append(step)
                planners.setdefault(step.because, plugin)
        if not steps:
            if next(wanted.properties(), None) is None and schemata is None:
                return
            raise ConfigError(
                "no active plugin can change these resources of a live container",
                pointer=_POINTER if schemata is None else _RDT_POINTER,
                container=container,
            )
        try:
            kernel.apply(record, steps)
        except OrlopError as error:
            error.act = error.act or "update"
            error.plugin = error.plugin or planners.get(error.pointer, "")
            error.container = error.container or container
            raise
    finally:
        slot.close()


def _schemata(data: dict[str, Any]) -> IntelRdt:
    """Return *data* as a document; the class itself and its monitoring are what they were made."""
    from orlop_hookspecs.documents.linux_extras import IntelRdt as Document

    wanted = decode(data, Document)
    for name, value in wanted.properties():
        if name not in _CHANGEABLE:
            raise ConfigError(
                "this cannot be changed in a live container", pointer=f"{_RDT_POINTER}/{name}", value=value
            )
    return wanted
