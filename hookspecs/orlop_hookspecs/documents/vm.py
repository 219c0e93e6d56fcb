"""The ``vm`` section of config.json: containers in virtual machines (config-vm.md)."""

from __future__ import annotations

from orlop_hookspecs.documents import vocabulary
from orlop_hookspecs.documents.base import Document, document, field
from orlop_hookspecs.documents.kinds import STRING, STRINGS, UINT32, UINT64, Choice, ListOf, Ref


@document
class VMHypervisor(Document):
    """The program that manages the virtual machine (config-vm.md, Hypervisor Object)."""

    path: str = field(STRING)
    parameters: tuple[str, ...] | None = field(STRINGS, default=None)


@document
class VMKernel(Document):
    """The kernel that the virtual machine boots (config-vm.md, Kernel Object)."""

    path: str = field(STRING)
    parameters: tuple[str, ...] | None = field(STRINGS, default=None)
    initrd: str | None = field(STRING, default=None)


@document
class VMImage(Document):
    """The root image of the virtual machine (config-vm.md, Image Object)."""

    path: str = field(STRING)
    format: str = field(Choice(vocabulary.VM_IMAGE_FORMATS))


@document
class VMIOMem(Document):
    """A range of I/O memory pages, by frame number (config-vm.md, HWConfig Object)."""

    first_gfn: int | None = field(UINT64, default=None)
    first_mfn: int = field(UINT64)
    nr_mfns: int = field(UINT64)


@document
class VMHardware(Document):
    """The hardware of the virtual machine; ``memory`` is in bytes (config-vm.md, HWConfig Object)."""

    device_tree: str | None = field(STRING, default=None)
    vcpus: int | None = field(UINT32, default=None)
    memory: int | None = field(UINT64, default=None)
    dtdevs: tuple[str, ...] | None = field(STRINGS, default=None)
    iomems: tuple[VMIOMem, ...] | None = field(ListOf(Ref("vm", "VMIOMem")), default=None)
    irqs: tuple[int, ...] | None = field(ListOf(UINT32), default=None)


@document
class VM(Document):
    """The configuration of the virtual machine (config-vm.md)."""

    hypervisor: VMHypervisor | None = field(Ref("vm", "VMHypervisor"), default=None)
    kernel: VMKernel = field(Ref("vm", "VMKernel"))
    image: VMImage | None = field(Ref("vm", "VMImage"), default=None)
    hw_config: VMHardware | None = field(Ref("vm", "VMHardware"), default=None)
