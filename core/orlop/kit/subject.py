"""What is under test: a plugin with its samples, and the compositions and machines that rules try it on."""

from __future__ import annotations

import copy
from functools import cached_property
from typing import TYPE_CHECKING, Any

from orlop.entrypoints import EntryPoint, entry_points
from orlop.kit.bench import find_bench
from orlop.kit.rules import NotApplicableError
from orlop.plugins.compose import compose
from orlop.plugins.faults import RefusedPluginsError
from orlop.plugins.sources import GROUP, ON_REQUEST
from orlop.plugins.verify import Verified, verify
from orlop.runtime import Runtime
from orlop_hookspecs.errors import PlatformError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager
    from typing import Self

    from orlop.kit.bench import Bench
    from orlop.plugins.composition import Composition
    from orlop.plugins.faults import PluginFault

SAMPLES = "orlop.samples"
"""Entry-point group of samples: each has the name of its plugin."""

_OWN = "orlop-"
"""Begins the metadata directory of the distribution that holds the built-in plugins."""

_DISTRIBUTION = "orlop"


class Sample:
    """A config that a plugin is tried with: what it changes of a plain one.

    Args:
        name: What it shows, in a few words.
        config: Merged into the bench's config: objects by member, ``None`` removes, arrays replace.
        files: Files of the machine that the plugin reads, by path.
        refused: JSON pointer at which the plugin refuses the config; empty: it is accepted.
    """

    __slots__ = ("config", "files", "name", "refused")

    def __init__(
        self,
        name: str,
        config: Mapping[str, Any] | None = None,
        files: Mapping[str, str] | None = None,
        refused: str = "",
    ) -> None:
        """Keep the parts."""
        self.name = name
        self.config = dict(config or {})
        self.files = dict(files or {})
        self.refused = refused

    @classmethod
    def of(cls, data: object) -> Sample:
        """Return the sample that *data* is, or describes as a mapping with the names of the arguments.

        Raises:
            UsageError: It describes none.
        """
        if isinstance(data, cls):
            return data
        try:
            return cls(**data)  # type: ignore[arg-type]
        except (TypeError, ValueError) as error:
            raise UsageError(f"a sample has a name, a config, files and refused: {error}") from None


def merge(base: Any, change: Any) -> Any:  # noqa: ANN401 - JSON data
    """Return *base* with *change* merged in: objects by member, ``None`` removes, all else replaces."""
    if not (isinstance(base, dict) and isinstance(change, dict)):
        return copy.deepcopy(change)
    made = dict(base)
    for name, value in change.items():
        if value is None:
            made.pop(name, None)
        else:
            made[name] = merge(made.get(name), value)
    return made


class Subject:
    """One plugin under test."""

    def __init__(  # noqa: PLR0913 - what a subject is made of; all but the first are keywords
        self,
        plugin: object = None,
        *,
        point: EntryPoint | None = None,
        samples: Iterable[object] = (),
        platform: str = "fake",
        together: Sequence[object] = (),
        bench: Callable[[], Bench] | None = None,
    ) -> None:
        """Keep the parts; nothing is loaded yet.

        Args:
            plugin: The plugin itself.
            point: Or the entry point that refers to it.
            samples: Samples, beside those of its distribution and the plain config.
            platform: Name of the platform on which containers live.
            together: Further plugins that it needs.
            bench: Makes a machine, when it is not the platform's own bench.
        """
        self._plugin = plugin
        self.point = point or _installed_as(plugin)
        self._samples = tuple(samples)
        self.platform = platform
        self._together = tuple(together)
        self._bench = bench

    # -- the plugin

    @cached_property
    def plugin(self) -> object:
        """The plugin, imported when it is first asked for."""
        if self._plugin is None and self.point is not None:
            return self.point.load()
        return self._plugin

    @property
    def source(self) -> str:
        """Where the plugin comes from."""
        if self.point is not None:
            return f"{self.point.value} of {self.point.distribution or 'no distribution'}"
        return getattr(self._plugin, "__name__", type(self._plugin).__qualname__)

    @cached_property
    def _verdict(self) -> tuple[Verified | None, tuple[PluginFault, ...]]:
        faults: list[PluginFault] = []
        verified = verify(self.plugin, self.source, faults)
        return verified, tuple(faults)

    @property
    def faults(self) -> tuple[PluginFault, ...]:
        """What keeps the plugin from being loaded."""
        return self._verdict[1]

    @property
    def verified(self) -> Verified:
        """The plugin with its hooks.

        Raises:
            NotApplicableError: It does not keep the contract.
        """
        verified = self._verdict[0]
        if verified is None:
            raise NotApplicableError("the plugin cannot be loaded")
        return verified

    @property
    def name(self) -> str:
        """The plugin's name."""
        return self.verified.info.name

    @property
    def built_in(self) -> bool:
        """Whether the plugin is part of orlop itself."""
        return self.point is not None and self.point.distribution.startswith(_OWN)

    def implements(self, hook: str) -> bool:
        """Tell whether the plugin implements *hook*."""
        return hook in self.verified.implementations

    def need(self, *hooks: str) -> None:
        """Go on only when the plugin implements one of *hooks*.

        Raises:
            NotApplicableError: It implements none.
        """
        if not any(self.implements(hook) for hook in hooks):
            raise NotApplicableError(f"it does not implement {' or '.join(hooks)}")

    # -- compositions

    @cached_property
    def composition(self) -> Composition:
        """The plugin among the built-in ones.

        Raises:
            NotApplicableError: They do not fit together; a rule of its own tells.
        """
        bench = self.bench()
        try:
            return self.composed(bench.platform)
        except RefusedPluginsError as error:
            raise NotApplicableError("the plugin does not fit together with the built-in ones") from error
        finally:
            bench.close()

    def composed(self, platform: object) -> Composition:
        """Return the composition of the plugin, the built-in ones and what it needs, on *platform*."""
        mine = self.name
        built_in = [
            point.name
            for point in entry_points(GROUP)
            if point.distribution.startswith(_OWN) and point.name != mine
        ]
        names = {point.name for point in entry_points(GROUP)}
        needed = [one for one in self.verified.info.requires if one in names and one not in built_in]
        # One that is installed is chosen by its name: the platform's own plugin comes along by it as well.
        own = self.plugin if self.point is None or not self.point.distribution else self.point.name
        return compose(platform, [*built_in, *needed, *self._together, own])

    def runtime(self, bench: Bench, warnings: list[str]) -> Runtime:
        """Return a runtime on the machine of *bench*; its warnings go to *warnings*."""
        return Runtime(self.composition, bench.platform, root=bench.root, warn=warnings.append)

    # -- samples and machines

    @cached_property
    def samples(self) -> tuple[Sample, ...]:
        """The plain config, those of the plugin's distribution, and those that were handed over."""
        found = [Sample("a plain config")]
        for point in entry_points(SAMPLES):
            if self.point is not None and point.name == self.point.name:
                loaded: Any = point.load()
                found += [Sample.of(one) for one in (loaded() if callable(loaded) else loaded)]
        return (*found, *(Sample.of(one) for one in self._samples))

    def bench(self) -> Bench:
        """Return a fresh machine.

        Raises:
            NotApplicableError: This host has none of the platform.
        """
        make = self._bench or find_bench(self.platform)
        try:
            return make()
        except PlatformError as error:
            raise NotApplicableError(str(error)) from error

    def machine(self, sample: Sample) -> AbstractContextManager[Machine]:
        """Return a fresh machine for *sample*, to be used in a ``with`` statement."""
        return Machine(self, sample)

    def accepted(self) -> Iterator[Sample]:
        """Yield the samples that are to be accepted."""
        return (one for one in self.samples if not one.refused)

    def each(self) -> Iterator[tuple[str, Machine]]:
        """Yield every sample that is accepted, on a machine of its own; those of no use here are left out.

        The machine is looked over when the next one is asked for.

        Raises:
            NotApplicableError: None of them can be tried here.
        """
        reasons: list[str] = []
        tried = False
        for sample in self.accepted():
            try:
                with self.machine(sample) as machine:
                    tried = True
                    yield sample.name, machine
            except NotApplicableError as reason:
                reasons.append(str(reason))
        if not tried:
            raise NotApplicableError("; ".join(reasons))


def _installed_as(plugin: object) -> EntryPoint | None:
    """Return the entry point that refers to the module *plugin*; ``None``: there is none."""
    name = getattr(plugin, "__name__", "")
    points = [*entry_points(GROUP), *entry_points(ON_REQUEST)]
    return next((point for point in points if name and point.value == name), None)


class Machine:
    """A machine with the config of one sample and a runtime; everything is given back at the end."""

    def __init__(self, subject: Subject, sample: Sample) -> None:
        """Keep the parts."""
        self._subject = subject
        self._sample = sample
        self.warnings: list[str] = []

    def __enter__(self) -> Self:
        """Make the machine and put the sample's files into it.

        Raises:
            NotApplicableError: The machine cannot have them.
        """
        self.bench = self._subject.bench()
        try:
            self._fill()
            self.config = merge(self.bench.config(), self._sample.config)
            self.runtime = self._subject.runtime(self.bench, self.warnings)
        except BaseException:
            self.bench.close()
            raise
        return self

    def _fill(self) -> None:
        why = self.bench.put(self._sample.files) if self._sample.files else ""
        if why:
            raise NotApplicableError(f"sample {self._sample.name}: {why}")

    def __exit__(self, *_: object) -> None:
        """Remove the containers that a rule has left, and the machine."""
        try:
            for container in self.runtime.list():
                container.delete(force=True)
            self.runtime.close()
        finally:
            self.bench.close()
