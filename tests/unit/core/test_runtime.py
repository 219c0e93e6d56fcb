"""The library's surface: composing, settings, laziness, asyncio, imports, the reference page."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.unit.core.conftest import Compose
from tests.unit.core.stub import Host, StubKernel, StubPlatform, config, info, plugins

import orlop
from orlop import Container, Runtime, aio
from orlop.entrypoints import entry_points
from orlop.live import find_kernel
from orlop.plugins import reference, sources
from orlop.plugins.compose import compose as compose_plugins
from orlop.plugins.compose import compose_for_record
from orlop.plugins.specs import SPECS
from orlop_hookspecs import errors
from orlop_hookspecs.errors import (
    CompositionError,
    ContainerNotFoundError,
    PlatformError,
    StepError,
    UsageError,
    WaitTimeoutError,
)
from orlop_hookspecs.hooks import hookimpl
from orlop_hookspecs.hooks.identity import PluginInfo
from orlop_hookspecs.record import Record

REPOSITORY = Path(__file__).parents[3]


def test_composing_touches_neither_kernel_nor_store(root: str) -> None:
    class Untouchable(StubPlatform):
        def kernel(self, **options: Any) -> StubKernel:
            raise AssertionError(options)

    runtime = Runtime.compose(Untouchable(), plugins(), root=root)
    runtime.features()
    runtime.check(config())
    runtime.explain(config())
    runtime.close()
    assert not os.path.exists(root)
    assert repr(runtime) == "<Runtime on stub: basics, groups, hooks>"


def test_closing_ends_the_kernel_and_containers_live_on(compose: Compose, host: Host) -> None:
    with compose() as runtime:
        container = runtime.create("box", config())
        kernel = runtime.kernel
    assert isinstance(kernel, StubKernel)
    assert kernel.closed
    assert host.processes
    assert compose().get("box").status == "created"
    assert container.status == "created"  # the kernel is made again when it is needed
    assert repr(container) == "<Container box>"
    runtime.close()


def test_settings_from_a_mapping_and_a_file(tmp_path: Path) -> None:
    file = tmp_path / "orlop.toml"
    file.write_text(
        f'root = "{tmp_path}/state"\nblock = ["groups"]\nplugins = ["tests.unit.core.test_runtime:PLUGIN"]\n'
    )
    runtime = Runtime.compose(StubPlatform(), config=file)
    assert [plugin.info.name for plugin in runtime.plugins] == ["from-a-module"]
    assert runtime.site.store.root == f"{tmp_path}/state"  # type: ignore[attr-defined]
    runtime = Runtime.compose(
        StubPlatform(), plugins(), config={"block": ["groups"], "root": "/x"}, root="/y"
    )
    assert [plugin.info.name for plugin in runtime.plugins] == ["basics", "hooks"]
    assert [(one.name, one.reason) for one in runtime.inactive if one.name == "groups"] == [
        ("groups", "blocked")
    ]
    assert runtime.site.store.root == "/y"  # type: ignore[attr-defined]


class FromModule:
    """A plugin that is named by module and attribute."""

    @hookimpl
    def orlop_plugin(self) -> PluginInfo:
        return info("from-a-module")


PLUGIN = FromModule()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"plugin": []}, "unknown setting: plugin"),
        ({"plugins": "basics"}, "expected a list of names for plugins"),
        ({"block": 7}, "expected a list of names for block"),
        ({"kernel": []}, "expected a table for kernel"),
        ("/nonexistent.toml", "cannot read the settings"),
    ],
)
def test_malformed_settings(settings: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Runtime.compose(StubPlatform(), [], config=settings)


def test_a_malformed_settings_file(tmp_path: Path) -> None:
    (tmp_path / "x.toml").write_text("= nonsense")
    with pytest.raises(UsageError, match="malformed settings"):
        Runtime.compose(StubPlatform(), [], config=tmp_path / "x.toml")


def test_options_of_the_kernel_reach_it(root: str) -> None:
    got: dict[str, Any] = {}

    class Optional(StubPlatform):
        def kernel(self, **options: Any) -> StubKernel:
            got.update(options)
            return super().kernel()

    _ = Runtime.compose(Optional(), [], root=root, config={"kernel": {"speed": 3}}).kernel
    assert got == {"speed": 3}


# -- entry points ------------------------------------------------------------------------------------------


def distribution(directory: Path, name: str, text: str) -> None:
    place = directory / f"{name}-1.0.dist-info"
    place.mkdir()
    (place / "entry_points.txt").write_text(text)


def test_entry_points_are_found_and_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    distribution(tmp_path / "one", "alpha", "[other]\nx = y\n\n[group]\n# c\na = os.path:join\n b=os.path\n")
    distribution(tmp_path / "two", "alpha", "[group]\nshadowed = os\n")
    distribution(tmp_path / "two", "beta", "[group]\nc = os:no.such\n[group2]\nd = os\n")
    (tmp_path / "two" / "gamma-1.dist-info").mkdir()
    monkeypatch.setattr(
        sys, "path", [str(tmp_path / "one"), str(tmp_path / "missing"), str(tmp_path / "two")]
    )
    found = entry_points("group")
    assert [(one.name, one.value, one.distribution) for one in found] == [
        ("a", "os.path:join", "alpha-1.0"),
        ("b", "os.path", "alpha-1.0"),
        ("c", "os:no.such", "beta-1.0"),
    ]
    assert found[0].load() is os.path.join
    assert found[1].load() is os.path
    with pytest.raises(AttributeError):
        found[2].load()
    assert [one.name for one in entry_points("group", first="c")] == ["c"]
    assert entry_points("group", first="z") == []


def test_entry_points_in_archives_are_found_by_the_standard_library(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import zipfile

    archive = tmp_path / "all.zip"
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("alpha-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: alpha\nVersion: 1.0\n")
        file.writestr("alpha-1.0.dist-info/entry_points.txt", "[zipped]\na = os\n")
    monkeypatch.setattr(sys, "path", [str(archive)])
    assert [(one.name, one.distribution) for one in entry_points("zipped")] == [("a", "alpha")]


def test_two_distributions_with_one_plugin_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    distribution(tmp_path, "alpha", "[orlop]\nvendor = tests.unit.core.test_runtime:PLUGIN\n")
    distribution(tmp_path, "beta", "[orlop]\nvendor = tests.unit.core.test_runtime:PLUGIN\n")
    monkeypatch.setattr(sources, "entry_points", lambda group: _only(entry_points(group), tmp_path))
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(CompositionError, match=r"two distributions supply it: alpha-1\.0 and beta-1\.0"):
        compose_plugins(StubPlatform())


def _only(points: Any, directory: Path) -> Any:
    names = {entry.name.removesuffix(".dist-info") for entry in directory.iterdir()}
    return [point for point in points if point.distribution in names]


def test_installed_plugins_follow_their_requirements_into_inactivity(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = "tests.unit.core.test_runtime"
    distribution(
        tmp_path, "alpha", f"[orlop]\nbase = {place}:BASE\nmiddle = {place}:MIDDLE\ntop = {place}:TOP\n"
    )
    monkeypatch.setattr(sources, "entry_points", lambda group: _only(entry_points(group), tmp_path))
    monkeypatch.syspath_prepend(str(tmp_path))
    assert compose_plugins(StubPlatform()).names == ["base", "middle", "top"]
    composition = compose_plugins(StubPlatform(), block=["base"])
    assert composition.names == []
    assert {one.name: one.reason for one in composition.inactive} == {
        "base": "blocked",
        "middle": "unmet: it requires base, which is inactive (blocked)",
        "top": "unmet: it requires middle, which is inactive "
        "(unmet: it requires base, which is inactive (blocked))",
    }
    chosen = compose_plugins(StubPlatform(), ["base"])
    assert chosen.names == ["base"]
    assert {one.name: one.reason for one in chosen.inactive} == {"middle": "not chosen", "top": "not chosen"}
    with pytest.raises(CompositionError, match=r"it requires plugin base, .* \(not chosen\)"):
        compose_plugins(StubPlatform(), ["middle"])
    with pytest.raises(CompositionError, match="did you mean middle"):
        compose_plugins(StubPlatform(), ["midle"])


class Requiring:
    def __init__(self, name: str, *requires: str) -> None:
        self._info = info(name, requires=requires)

    @hookimpl
    def orlop_plugin(self) -> PluginInfo:
        return self._info


BASE = Requiring("base")
MIDDLE = Requiring("middle", "base")
TOP = Requiring("top", "middle")


def test_the_plugins_of_a_record_are_composed_anew() -> None:
    record = Record(id="box", platform="stub", plugins=["tests.unit.core.test_runtime:PLUGIN"])
    assert compose_for_record(record).names == ["from-a-module"]
    record.plugins = ["gone"]
    with pytest.raises(CompositionError, match="no plugin of this name is installed"):
        compose_for_record(record)


def test_a_platform_that_is_not_installed() -> None:
    with pytest.raises(PlatformError, match="platform nowhere is not installed"):
        find_kernel("nowhere")


# -- asyncio -----------------------------------------------------------------------------------------------


def test_a_life_in_asyncio(host: Host, root: str) -> None:
    async def main() -> None:
        async with await aio.Runtime.compose(StubPlatform(host), plugins(), root=root) as runtime:
            assert runtime.features().oci_version_max == "1.3.0"
            assert (await runtime.check(config())).accepted
            assert "Execute" in str(await runtime.explain(config()))
            container = await runtime.create("box", config())
            assert container.id == "box"
            await container.start()
            await container.pause()
            await container.resume()
            await container.update({"memory": {"limit": 1}})
            assert (await container.state())["status"] == "running"
            assert await container.processes() == [101]
            assert await container.stats() == {"pids": {"current": 1}}
            assert [one.id for one in await runtime.list()] == ["box"]
            with pytest.raises(WaitTimeoutError):
                await container.wait(0)
            await container.kill("KILL")
            assert await container.wait() == 143
            await (await runtime.get("box")).delete()
            with pytest.raises(ContainerNotFoundError):
                await container.state()

    asyncio.run(main())
    assert host.things == set()


def test_waiting_by_descriptor_needs_no_thread(
    host: Host, root: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ends: list[int] = []

    def pidfd(_: StubKernel, record: Record) -> int:
        read, write = os.pipe()
        ends.append(write)
        return read

    monkeypatch.setattr(StubKernel, "pidfd", pidfd, raising=False)

    async def main() -> None:
        runtime = await aio.Runtime.compose(StubPlatform(host), plugins(), root=root)
        container = await runtime.create("box", config())
        with pytest.raises(WaitTimeoutError, match="still runs after 0 seconds"):
            await container.wait(0)
        waiting = asyncio.ensure_future(container.wait())
        while len(ends) < 2:  # noqa: ASYNC110 - nobody tells when a thread has got so far
            await asyncio.sleep(0)
        await container.kill(9)
        assert not waiting.done()
        os.close(ends.pop())
        assert await waiting == 143

    before = len(os.listdir("/proc/self/fd"))
    asyncio.run(main())
    os.close(ends.pop())
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_cancelled_creation_leaves_nothing(host: Host, root: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import threading

    from tests.unit.core.stub import StubSandbox

    entered, go_on = threading.Event(), threading.Event()

    def commit(sandbox: StubSandbox) -> None:
        entered.set()
        assert go_on.wait(10)
        sandbox.committed = True

    monkeypatch.setattr(StubSandbox, "commit", commit)

    async def main() -> None:
        runtime = await aio.Runtime.compose(StubPlatform(host), plugins(), root=root)
        task = asyncio.ensure_future(runtime.create("box", config()))
        await asyncio.to_thread(entered.wait, 10)
        task.cancel()
        await asyncio.sleep(0)
        go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await runtime.list() == []

    asyncio.run(main())
    assert host.processes == {}
    assert host.things == set()


def test_a_cancelled_creation_that_fails_is_just_cancelled(
    host: Host, root: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import threading

    from tests.unit.core.stub import StubSandbox

    entered, go_on = threading.Event(), threading.Event()

    def commit(_: StubSandbox) -> None:
        entered.set()
        assert go_on.wait(10)
        raise StepError("no")

    monkeypatch.setattr(StubSandbox, "commit", commit)

    async def main() -> None:
        runtime = await aio.Runtime.compose(StubPlatform(host), plugins(), root=root)
        task = asyncio.ensure_future(runtime.create("box", config()))
        await asyncio.to_thread(entered.wait, 10)
        task.cancel()
        await asyncio.sleep(0)
        go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert host.things == set()


# -- imports -----------------------------------------------------------------------------------------------

THIN = [
    "orlop",
    "orlop.entrypoints",
    "orlop.live",
    "orlop.store",
    "orlop.store.directory",
    "orlop.store.identifiers",
    "orlop.store.journal",
    "orlop.store.jsontext",
    "orlop.store.root",
    "orlop.lifecycle.states",
    "orlop.lifecycle.site",
    "orlop.lifecycle.signals",
    "orlop.lifecycle.state",
    "orlop.lifecycle.start",
    "orlop.lifecycle.kill",
    "orlop.lifecycle.delete",
    "orlop_hookspecs",
    "orlop_hookspecs.errors",
    "orlop_hookspecs.record",
]

ALLOWED = {"__future__", "_json", "_signal", "errno", "fcntl", "time", "stat", "os", "sys", "_stat"}

_LOADED = "import os, sys; before = set(sys.modules); import {}; print(*sorted(set(sys.modules) - before))"


def loaded(statement: str) -> set[str]:
    """Return the modules that an interpreter without site packages' start-up code loads for *statement*."""
    paths = os.pathsep.join(str(REPOSITORY / place) for place in ("core", "hookspecs"))
    paths += os.pathsep + os.pathsep.join(path for path in sys.path if path.endswith("site-packages"))
    environment = {"PYTHONPATH": paths, "PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [sys.executable, "-S", "-c", _LOADED.format(statement)],
        capture_output=True,
        text=True,
        check=True,
        env=environment,
    )
    return set(done.stdout.split())


@pytest.mark.parametrize("module", THIN)
def test_thin_modules_load_nothing_that_costs(module: str) -> None:
    found = {name for name in loaded(module) if not name.startswith(("orlop.", "orlop_hookspecs."))}
    assert found - {"orlop", "orlop_hookspecs"} <= ALLOWED
    assert {name for name in loaded(module) if name.startswith(("orlop.", "orlop_hookspecs."))} <= set(
        THIN
    ) | {"orlop.lifecycle"}


def test_importing_orlop_loads_nothing_else() -> None:
    assert loaded("orlop") == {"__future__", "orlop"}


def test_the_runtime_loads_no_costly_module_that_it_does_not_need() -> None:
    found = loaded("orlop.runtime")
    costly = {
        "asyncio",
        "subprocess",
        "argparse",
        "importlib.metadata",
        "ctypes",
        "socket",
        "logging",
        "difflib",
        "json",
    }
    assert found & costly == set()
    assert "orlop.runtime" in found


def test_the_package_offers_what_it_says() -> None:
    assert set(orlop.__all__) <= set(dir(orlop))
    for name in orlop.__all__:
        assert getattr(orlop, name) is not None
    for name, value in vars(errors).items():
        if isinstance(value, type) and issubclass(value, errors.OrlopError):
            assert getattr(orlop, name) is value
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        orlop.nonsense  # noqa: B018
    assert orlop.Container is Container


# -- the reference page ------------------------------------------------------------------------------------


def test_the_reference_of_the_hooks_is_current() -> None:
    page = (REPOSITORY / "docs" / "reference" / "hooks.md").read_text(encoding="utf-8")
    assert page == reference.hooks_page(), "run: python -m orlop.plugins.reference > docs/reference/hooks.md"


@pytest.mark.parametrize("hook", SPECS)
def test_each_hook_has_its_heading_and_answers_every_question(hook: str) -> None:
    spec = SPECS[hook]
    page = reference.hooks_page()
    assert page.count(f"\n### `{reference.signature(spec)}`\n") == 1
    summary, _, answers = reference.answers(spec)
    assert summary[0].isupper()
    assert tuple(answers) == reference.QUESTIONS
    assert "return" in spec.function.__annotations__
    assert set(spec.parameters) | {"return"} == set(spec.function.__annotations__)
    assert spec.function.__defaults__ is None


def test_a_docstring_that_leaves_a_question_open_is_refused() -> None:
    import attrs

    def orlop_vague() -> None:
        """Do something.

        When: sometimes.
        """

    with pytest.raises(ValueError, match="orlop_vague"):
        reference.answers(attrs.evolve(SPECS["orlop_plan"], name="orlop_vague", function=orlop_vague))
