"""What is promised of each part of the contract, and since when.

*Stable*: within a major version of the contract its name, its parameters or fields and their meaning stay;
what is added to it is optional. *Experimental*: it may change or go in the next minor version. *Deprecated*:
it works until the next major version, and the note says what to use instead.

A plugin states the contract that it was written for. It is loaded by every orlop whose contract has the same
major version and is not older. What stands in no table below is stable since 1.0.
"""

from __future__ import annotations

from collections.abc import Mapping

STABLE, EXPERIMENTAL, DEPRECATED = "stable", "experimental", "deprecated"

EXPERIMENTAL_PARTS: Mapping[str, str] = {
    "orlop_checkpoint": "what a plugin has to know is still being learned",
    "orlop_restore": "as orlop_checkpoint",
    "ConfigureCriu": "as DumpProcesses",
    "DumpProcesses": "what CRIU has to be told is still growing",
    "RestoreProcesses": "as DumpProcesses",
    "LiveKernel.prewarm": "what a platform begins early is still being measured",
    "Examinable": "which capabilities are asked about is still growing",
    "Examinable.examine": "as Examinable",
    "Resolver": "only the explanation of seccomp profiles asks for it",
    "Resolver.call_table": "as Resolver",
    "orlop.bench": "what a machine for the conformance kit must be able to do is still growing",
    "orlop.samples": "as orlop.bench",
}
"""Name of a part to why it may still change."""

DEPRECATED_PARTS: Mapping[str, str] = {}
"""Name of a part to what takes its place."""

SINCE: Mapping[str, str] = {
    "HostView": "1.1",
    "HostDevice": "1.1",
    "LiveKernel.host_view": "1.1",
    "LiveKernel.enter": "1.1",
    "Platform.executes": "1.1",
    "ExecOptions": "1.1",
    "Capability": "1.1",
    "Answer": "1.1",
    "Examinable": "1.1",
    "CallTable": "1.1",
    "Resolver": "1.1",
    "Entry": "1.1",
    "SetCpuAffinity": "1.1",
    "LiveKernel.checkpoint": "1.1",
    "Sandbox.restore": "1.1",
    "ConfigureCriu": "1.1",
    "KeepGroups": "1.1",
    "DumpProcesses": "1.1",
    "RestoreProcesses": "1.1",
    "orlop.bench": "1.1",
    "orlop.samples": "1.1",
    "orlop.on-request": "1.1",
}
"""Name of a part to the version that has it first; hooks say it in their docstrings."""

ENTRY_POINTS: Mapping[str, str] = {
    "orlop": "plugins: a module or an object with hooks",
    "orlop.on-request": "plugins that are in a composition only when they are named",
    "orlop.live": "what commands on an existing container load of a platform",
    "orlop.bench": "a machine of a platform for the conformance kit",
    "orlop.samples": "configs with which the conformance kit tries a plugin",
}
"""Groups of entry points, and what stands in them."""
