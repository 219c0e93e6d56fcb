"""The library's surface: composing, settings, laziness, entry points."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.unit.core.conftest import Compose
from tests.unit.core.stub import Host, StubKernel, StubPlatform, config, info, plugins

from orlop import Runtime, entrypoints
from orlop.entrypoints import entry_points
from orlop.live import find_kernel
from orlop.plugins import sources
from orlop.plugins.compose import compose as compose_plugins
from orlop.plugins.compose import compose_for_record
from orlop_hookspecs.errors import (
    CompositionError,
    PlatformError,
    UsageError,
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
        f'root = "{tmp_path}/state"\nblock = ["cgroups"]\nplugins = ["tests.unit.core.test_runtime:PLUGIN"]\n'
    )
    runtime = Runtime.compose(StubPlatform(), config=file)
    assert [plugin.info.name for plugin in runtime.plugins] == ["from-a-module"]
    assert runtime.site.store.root == f"{tmp_path}/state"  # type: ignore[attr-defined]
    runtime = Runtime.compose(
        StubPlatform(), plugins(), config={"block": ["groups"], "root": "/x"}, root="/y"
    )
    assert [plugin.info.name for plugin in runtime.plugins] == ["basics", "hooks"]
    assert [(one.name, one.reason) for one in runtime.inactive if one.name == "groups"] == [
        ("groups", "left out (--plugins=-groups, or block)")
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


def test_entry_points_are_searched_for_again_when_something_has_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def settle() -> None:
        for path in (*tmp_path.rglob("*"), tmp_path):
            os.utime(path, (1, 1))

    distribution(tmp_path, "alpha", "[group]\na = os\n")
    (tmp_path / "beta-1.0.dist-info").mkdir()
    monkeypatch.setattr(sys, "path", [str(tmp_path), str(tmp_path / "missing")])
    monkeypatch.setattr(entrypoints, "known", {})
    assert [one.name for one in entry_points("group")] == ["a"]
    assert entrypoints.known == {}  # a time stamp so fresh may hide another change
    settle()
    for _ in range(2):
        assert [one.name for one in entry_points("group")] == ["a"]
    assert len(entrypoints.known) == 1
    monkeypatch.setattr(entrypoints, "_find", lambda *_: [])
    assert [one.name for one in entry_points("group")] == ["a"]
    assert entry_points("other") == []
    monkeypatch.undo()
    monkeypatch.setattr(sys, "path", [str(tmp_path), str(tmp_path / "missing")])
    for change, found in (
        (lambda: (tmp_path / "beta-1.0.dist-info/entry_points.txt").write_text("[group]\nb = os\n"), "ab"),
        (lambda: (tmp_path / "alpha-1.0.dist-info/entry_points.txt").write_text("[group]\nx = os\n"), "xb"),
        (lambda: distribution(tmp_path, "gamma", "[group]\nc = os\n"), "xbc"),
        ((tmp_path / "missing").mkdir, "xbc"),
        (lambda: distribution(tmp_path / "missing", "delta", "[group]\nd = os\n"), "xbcd"),
    ):
        assert entry_points("group")
        change()
        assert [one.name for one in entry_points("group")] == list(found)
        settle()


def test_entry_points_in_archives_are_found_by_the_standard_library(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sysconfig
    import zipfile

    archive = tmp_path / "all.zip"
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("alpha-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: alpha\nVersion: 1.0\n")
        file.writestr("alpha-1.0.dist-info/entry_points.txt", "[zipped]\na = os\n")
    # The standard library itself imports more of itself.
    monkeypatch.setattr(sys, "path", [str(archive), sysconfig.get_path("stdlib")])
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
        "base": "left out (--plugins=-base, or block)",
        "middle": "unmet: it requires base, which is inactive (left out (--plugins=-base, or block))",
        "top": "unmet: it requires middle, which is inactive "
        "(unmet: it requires base, which is inactive (left out (--plugins=-base, or block)))",
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
