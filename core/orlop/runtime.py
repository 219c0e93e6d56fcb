"""The library: a composed runtime and its containers.

    runtime = Runtime.compose(platform="fake")
    container = runtime.create("web", "/bundles/web")
    container.start()
    container.kill("SIGTERM")
    container.wait()
    container.delete()

Both classes may be used from several threads: operations on one container wait for each other, by the
container's lock.
"""

from __future__ import annotations

import os
from _thread import allocate_lock
from typing import TYPE_CHECKING, Any

from orlop.container import Container, flags_of
from orlop.lifecycle import create as create_verb
from orlop.lifecycle.site import Site, find
from orlop.lifecycle.state import list_states
from orlop.live import find_kernel
from orlop.settings import chosen, read_settings
from orlop.store.root import absolute
from orlop_hookspecs.errors import UsageError
from orlop_hookspecs.launch import LaunchOptions, PlanContext

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Self

    from orlop.engine.calls import CallExplanation
    from orlop.engine.doctor import Examination
    from orlop.engine.explain import Explanation
    from orlop.engine.overview import Overview
    from orlop.engine.verdict import Verdict
    from orlop.plugins.composition import Composition, Inactive
    from orlop.plugins.verify import Verified
    from orlop_hookspecs.documents import Config, Features, Seccomp
    from orlop_hookspecs.kernel import Kernel, LiveKernel, Platform, Store

    BundleLike = str | os.PathLike[str]
    ConfigLike = bytes | dict[str, Any] | Config

_NO_CONTAINER = "container"
"""Identifier that planners see when a config is only checked or explained."""

_CHECKED = LaunchOptions(foreground=True)
"""Launch flags of a config that is only checked: who holds its terminal is the question of a launch."""


class Runtime:
    """Plugins for one platform, with its kernel and a store of containers; made by :meth:`compose`."""

    def __init__(
        self,
        composition: Composition,
        platform: Platform,
        *,
        root: str | None = None,
        options: Mapping[str, Any] | None = None,
        warn: Callable[[str], None] | None = None,
    ) -> None:
        """Keep the parts; the kernel and the store are made when they are first needed."""
        self._composition = composition
        self._platform = platform
        self._root = root
        self._options = dict(options or {})
        self._warn = warn
        self._lock = allocate_lock()
        self._kernel: Kernel | None = None
        self._site: Site | None = None

    @classmethod
    def compose(  # noqa: PLR0913 - what a composition is made of
        cls,
        platform: str | object | None = None,
        plugins: Sequence[object] | None = None,
        root: BundleLike | None = None,
        config: Mapping[str, Any] | BundleLike | None = None,
        block: Sequence[str] = (),
        *,
        warn: Callable[[str], None] | None = None,
        check_features: bool = True,
        deadline: float | None = None,
    ) -> Self:
        """Return a runtime; nothing on the host is touched.

        Args:
            platform: Name of an installed platform (``linux``, ``fake``), a platform object, or a plugin that
                supplies one; by default ``linux``.
            plugins: Names, modules and objects; ``None`` for all that are installed; names that all begin
                with a plus for these as well.
            root: Directory that holds the containers; by default the kernel's own store, or the user's state
                root.
            config: Settings, or the path of a TOML file with them: ``platform``, ``plugins``, ``block``,
                ``root``, ``deadline`` as here, ``profile``, whose plugins come before the others, and the
                table ``kernel`` with options of the platform's kernel. Arguments have precedence.
            block: Names of installed plugins that stay out.
            warn: Receives each warning as one line; by default they are dropped.
            check_features: Merge the features document at once, so that plugins which contradict each other
                are refused here; false spares a command that never asks for it a few milliseconds.
            deadline: Seconds that one call of a plugin may take; ``None``: no limit, and no price for one.

        Raises:
            CompositionError: The plugins do not fit together; the error reports everything that is wrong.
            UsageError: The settings are malformed.
        """
        from orlop.plugins.compose import compose

        settings = read_settings(config)
        if platform is None:
            platform = settings.get("platform", "linux")
        if plugins is None:
            plugins = chosen(settings)
        chosen_root = root if root is not None else settings.get("root")
        out = tuple(block) or tuple(settings.get("block", ()))
        limit = settings.get("deadline") if deadline is None else deadline
        composition = compose(platform, plugins, out, check_features=check_features, deadline=limit)
        made = composition.platform
        assert made is not None  # noqa: S101 - compose() found it
        return cls(
            composition,
            made,
            root=None if chosen_root is None else os.fspath(chosen_root),
            options=settings.get("kernel"),
            warn=warn,
        )

    # -- what the composition can do

    @property
    def composition(self) -> Composition:
        """The plugins as the engine sees them."""
        return self._composition

    @property
    def platform(self) -> str:
        """Name of the platform."""
        return self._composition.platform_name

    @property
    def plugins(self) -> tuple[Verified, ...]:
        """The active plugins in their order; ``.info`` says who each is."""
        return self._composition.plugins

    @property
    def inactive(self) -> tuple[Inactive, ...]:
        """Plugins that are known but not active, each with the reason."""
        return self._composition.inactive

    def features(self) -> Features:
        """Return the features document of this composition; it does not depend on the host."""
        return self._composition.features.document()

    def features_provenance(self) -> dict[str, Any]:
        """Return who gave each field: dotted path to plugins or, in lists, to value to plugins."""
        return self._composition.features.provenance

    def check(self, config: BundleLike | ConfigLike) -> Verdict:
        """Return what becomes of each property of *config*: a bundle's path, bytes, JSON data or a Config.

        Raises:
            BundleError: The bundle has no readable config.
            CompositionError, PluginError: The plugins themselves failed.
        """
        from orlop.engine.host import LateView
        from orlop.engine.verdict import judge
        from orlop.lifecycle import bundle as bundles

        bundle, source = _split(config)
        path = bundles.locate(bundle)
        name = ""
        if source is None:
            name = f"{path}/{bundles.CONFIG}"
            source = bundles.read_config(path)
        context = PlanContext(_NO_CONTAINER, path, _rootfs(source, path), _CHECKED)
        return judge(self._composition, source, context, path=name, host=LateView(lambda: self.kernel))

    def explain(
        self,
        bundle: BundleLike | ConfigLike,
        *,
        container: str = _NO_CONTAINER,
        options: LaunchOptions | None = None,
    ) -> Explanation:
        """Return the plan for *bundle* without executing it.

        Raises:
            OrlopError: As :meth:`create` before anything is touched.
        """
        from orlop.engine.explain import Explanation

        place, source = _split(bundle)
        prepared = create_verb.prepare_bundle(
            self._composition,
            container,
            place,
            source=source,
            options=options or LaunchOptions(),
            root=self._root,
            kernel=lambda: self.kernel,
        )
        return Explanation(prepared)

    def examine(
        self, names: Sequence[str] = (), *, config: BundleLike | ConfigLike | None = None
    ) -> Examination:
        """Return what can be used here: implemented, available on this host, allowed to this caller.

        Args:
            names: Only these capabilities (``namespace.user``, or all of ``namespace``); all are needed.
            config: Only what this config needs: a bundle's path, bytes, JSON data or a Config.

        Raises:
            UsageError: There is no capability of that name.
            BundleError, DocumentError: The config cannot be read.
            PlatformError: The platform cannot examine its host.
        """
        from orlop.documents.codec import decode_config
        from orlop.engine.doctor import examine
        from orlop.engine.prepare import read_data
        from orlop.lifecycle import bundle as bundles

        data = None
        if config is not None:
            place, source = _split(config)
            if source is None:
                source = bundles.read_config(bundles.locate(place))
            data = read_data(source, "")
            decode_config(data)
        return examine(self._composition, self.kernel, names=names, config=data)

    def explain_profile(self, profile: BundleLike | ConfigLike | Seccomp) -> Overview:
        """Return what of a seccomp profile this host cannot do, and what in it never decides anything.

        Args:
            profile: The ``linux.seccomp`` object, or a config that has one: a bundle's path, bytes, JSON data
                or a document.

        Raises:
            BundleError, DocumentError: It cannot be read, or the config has no profile.
            PlatformError: The platform knows no system calls.
        """
        from orlop.engine.calls import explain_profile

        return explain_profile(self.platform, self.kernel, _profile_of(profile))

    def explain_call(
        self,
        profile: BundleLike | ConfigLike | Seccomp,
        call: str | int,
        *arguments: int | None,
        architecture: str = "",
    ) -> CallExplanation:
        """Return which rule of a seccomp profile decides a system call.

        Args:
            profile: As for :meth:`explain_profile`.
            call: Its name or its number.
            arguments: Values of its arguments; ``None``, and those that are left out, are not known.
            architecture: As ``SCMP_ARCH_X86``; by default the machine's own.

        Raises:
            UsageError: There is no such call or architecture, or a value has more than 64 bits.
            BundleError, DocumentError, PlatformError: As for :meth:`explain_profile`.
        """
        from orlop.engine.calls import explain

        return explain(
            self.platform, self.kernel, _profile_of(profile), call, arguments, architecture=architecture
        )

    # -- containers

    def create(
        self,
        id: str,  # noqa: A002 - the specification's name
        bundle: BundleLike | ConfigLike,
        options: LaunchOptions | None = None,
        *,
        config: ConfigLike | None = None,
        **launch: Any,  # noqa: ANN401 - the fields of LaunchOptions
    ) -> Container:
        """Create a container; its program does not run before :meth:`Container.start`.

        Args:
            id: Its identifier.
            bundle: Path of the bundle; or the config itself (bytes, JSON data or a Config), with the working
                directory as the bundle.
            options: The launch flags.
            config: The config, when it is not to be read from the bundle.
            launch: Single launch flags by name, instead of *options*.

        Raises:
            InvalidIdError, BundleError, DocumentError, ConfigError, CompositionError, PluginError: Nothing
                was touched.
            ContainerExistsError: The identifier is taken.
            StepError, HookError, StoreError, PlatformError: The host refused; everything has been undone.
        """
        place, source = _split(bundle)
        if config is not None:
            source = config
        if launch:
            try:
                options = LaunchOptions(**launch)
            except TypeError:
                raise UsageError("unknown launch option", value=", ".join(launch)) from None
        create_verb.create(
            self._composition, self.site, self.kernel, id, place, source=source, options=options
        )
        return Container(self, id)

    def restore(
        self,
        id: str,  # noqa: A002 - the specification's name
        bundle: BundleLike | ConfigLike,
        image: BundleLike,
        options: LaunchOptions | None = None,
        *,
        config: ConfigLike | None = None,
        **flags: Any,  # noqa: ANN401 - the fields of RestoreOptions
    ) -> Container:
        """Bring a container back from the images of a checkpoint; it runs.

        Args:
            id: Its identifier.
            bundle: As for :meth:`create`. What the config says counts, whatever the images say.
            image: Directory with the images.
            options: The launch flags.
            config: The config, when it is not to be read from the bundle.
            flags: The fields of :class:`orlop_hookspecs.checkpoint.RestoreOptions`.

        Raises:
            OrlopError: As :meth:`create`; nothing is left of what was begun.
        """
        from orlop.lifecycle.restore import restore
        from orlop_hookspecs.checkpoint import RestoreOptions

        place, source = _split(bundle)
        restore(
            self._composition,
            self.site,
            self.kernel,
            id,
            place,
            options=flags_of(RestoreOptions, image, flags),
            source=source if config is None else config,
            launch=options,
        )
        return Container(self, id)

    def get(self, id: str) -> Container:  # noqa: A002 - the specification's name
        """Return an existing container.

        Raises:
            ContainerNotFoundError: There is none of this identifier.
        """
        find(self.site, id)
        return Container(self, id)

    def list(self) -> list[Container]:
        """Return all containers of the store, sorted by identifier."""
        return [Container(self, state["id"]) for state in list_states(self.site)]

    # -- inside

    @property
    def kernel(self) -> Kernel:
        """The platform's kernel, made on first use."""
        if self._kernel is None:
            with self._lock:
                if self._kernel is None:
                    self._kernel = self._platform.kernel(**self._options)
        return self._kernel

    @property
    def site(self) -> Site:
        """What the functions of :mod:`orlop.lifecycle` work on, made on first use."""
        if self._site is None:
            store = self._make_store()
            with self._lock:
                if self._site is None:
                    site = Site(store, self._kernel_for, lambda _: self._composition.hooks, self._warn)
                    site.known = {}
                    self._site = site
        return self._site

    def _make_store(self) -> Store:
        own = self.kernel.store() if self._root is None else None
        if own is not None:
            return own
        from orlop.store.directory import DirectoryStore
        from orlop.store.root import default_root

        return DirectoryStore(self._root or default_root())

    def _kernel_for(self, platform: str) -> LiveKernel:
        return self.kernel if platform == self.platform else find_kernel(platform)

    def close(self) -> None:
        """End the kernel's helpers; containers live on. Idempotent."""
        with self._lock:
            kernel, self._kernel, self._site = self._kernel, None, None
        if kernel is not None:
            kernel.close()

    def __enter__(self) -> Self:
        """Return the runtime."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self.close()

    def __repr__(self) -> str:
        """Return the platform and the plugins."""
        return f"<Runtime on {self.platform}: {', '.join(self._composition.names)}>"


def _profile_of(profile: BundleLike | ConfigLike | Seccomp) -> Seccomp:
    from orlop.engine.calls import profile_of
    from orlop.lifecycle import bundle as bundles

    if not isinstance(profile, str | os.PathLike):
        return profile_of(profile)
    place = bundles.locate(profile)
    return profile_of(bundles.read_config(place), f"{place}/{bundles.CONFIG}")


def _split(bundle: BundleLike | ConfigLike) -> tuple[BundleLike, ConfigLike | None]:
    """Return the bundle's path and the config, when *bundle* is the config itself."""
    if isinstance(bundle, str | os.PathLike):
        return bundle, None
    return absolute(os.curdir), bundle


def _rootfs(source: ConfigLike, path: str) -> str:
    """Return where the root file system would be; a config that cannot be read yet is judged later."""
    from orlop.documents.codec import decode_config
    from orlop.lifecycle.bundle import rootfs_of
    from orlop_hookspecs.documents.config import Config as ConfigClass
    from orlop_hookspecs.errors import DocumentError

    try:
        config = source if isinstance(source, ConfigClass) else decode_config(source)
    except DocumentError:
        return ""
    return rootfs_of(config, path)
