"""Plugin ``cdi``: devices of the Container Device Interface for containers whose annotations ask for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from orlop_cdi.edits import adjust
from orlop_cdi.names import PREFIX, asked, qualified_fault
from orlop_cdi.registry import DIRECTORIES, Registry
from orlop_cdi.versions import CURRENT
from orlop_hookspecs.errors import ConfigError
from orlop_hookspecs.hooks import hookimpl
from orlop_hookspecs.hooks.capability import Adjustment, Problem
from orlop_hookspecs.hooks.identity import PluginInfo

if TYPE_CHECKING:
    from orlop_hookspecs.documents import Config
    from orlop_hookspecs.launch import PlanContext


class Cdi:
    """The plugin as an object, for programs that look elsewhere or give every container a device.

    Args:
        directories: Where documents are; those of later directories take precedence.
        devices: Qualified names of devices that every container gets, before those that it asks for.
    """

    def __init__(self, directories: Sequence[str] = DIRECTORIES, devices: Sequence[str] = ()) -> None:
        """Keep what was given.

        Raises:
            ValueError: A name is not that of a device.
        """
        for name in devices:
            fault = qualified_fault(name)
            if fault:
                raise ValueError(f"{fault}: {name!r}")
        self.directories = tuple(directories)
        self.devices = tuple(devices)

    @hookimpl
    def orlop_plugin(self) -> PluginInfo:
        """Say who the plugin is."""
        return PluginInfo(
            name="cdi",
            version="0.1.0",
            contract="1.1",
            summary="devices of the Container Device Interface by annotation",
            requires=("annotations",),
        )

    @hookimpl
    def orlop_features(self) -> Mapping[str, Any]:
        """Say which version is known, and that an image's annotations of this kind are not to be trusted."""
        return {
            "annotations": {"org.cncf.cdi.version": CURRENT},
            "potentiallyUnsafeConfigAnnotations": [PREFIX],
        }

    @hookimpl
    def orlop_validate(self, config: Config) -> Sequence[Problem]:
        """Refuse annotations that name no device."""
        return [
            Problem(pointer, fault, value=name)
            for name, pointer in asked(config.annotations)
            if (fault := qualified_fault(name))
        ]

    @hookimpl
    def orlop_adjust(self, config: Config, context: PlanContext) -> Adjustment | None:
        """Propose the edits of all devices that are asked for."""
        wanted = dict.fromkeys(self.devices, "")
        for name, pointer in asked(config.annotations):
            if qualified_fault(name):
                return None  # orlop_validate refuses it, with the others
            wanted.setdefault(name, pointer)
        if not wanted:
            return None
        registry = Registry(context.host, self.directories)
        for name, pointer in wanted.items():
            try:
                registry.find(name)
            except LookupError as error:
                hint = f"documents are looked for in {', '.join(self.directories)}"
                raise ConfigError(str(error.args[0]), pointer=pointer, hint=hint) from None
        return adjust(config, wanted, registry, context.host)


_DEFAULT = Cdi()

orlop_plugin = _DEFAULT.orlop_plugin
orlop_features = _DEFAULT.orlop_features
orlop_validate = _DEFAULT.orlop_validate
orlop_adjust = _DEFAULT.orlop_adjust
