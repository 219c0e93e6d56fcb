"""A plugin that is left out takes its features along, and its properties are refused in its name."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.features.box import Box
from tests.unit.features.usage import FLAGS, LISTS, SPOKEN, at, leaves

WHOLE = Box()
PROVENANCE: dict[str, Any] = WHOLE.runtime.features_provenance()


def _others(plugin: str) -> list[str]:
    """Return the plugins that cannot be without *plugin*."""
    return [one.info.name for one in WHOLE.runtime.plugins if plugin in one.info.requires]


def _contributions(plugin: str) -> dict[str, list[str] | bool]:
    """Return what *plugin* alone contributes: values of lists, and booleans."""
    found: dict[str, list[str] | bool] = {}
    for path, who in PROVENANCE.items():
        if isinstance(who, dict):
            values = [value for value, owners in who.items() if owners == [plugin]]
            if values:
                found[path] = values
        elif who == [plugin] and path in FLAGS:
            found[path] = at(WHOLE.features, path)
    return found


PLANNERS = [one.info.name for one in WHOLE.runtime.plugins if one.info.name not in {"fake", "linux"}]
CONTRIBUTORS = [name for name in PLANNERS if any(_contributions(name).values())]


def test_features_come_from_the_plugins_that_these_tests_block() -> None:
    assert set(CONTRIBUTORS) >= {
        "namespaces", "mounts", "capabilities", "seccomp", "hooks", "cgroups", "rdma", "intel-rdt",
    }  # fmt: skip


@pytest.mark.parametrize("plugin", PLANNERS)
def test_a_composition_without_a_plugin_advertises_the_rest_and_no_more(plugin: str) -> None:
    blocked = (plugin, *_others(plugin))
    box = Box(block=blocked)
    gone = {path: value for name in blocked for path, value in _contributions(name).items()}
    expected = {}
    for path, value in leaves(WHOLE.features):
        missing = gone.get(path)
        if isinstance(missing, list):
            value = [one for one in value if one not in missing]  # noqa: PLW2901 - what is left of it
        expected[path] = None if isinstance(missing, bool) or (missing and not value) else value
    for path, value in expected.items():
        if path.startswith("annotations") or path == "potentiallyUnsafeConfigAnnotations":
            continue
        assert (at(box.features, path) or None) == (value or None) or value is False, path


@pytest.mark.parametrize("plugin", CONTRIBUTORS)
def test_the_properties_of_a_missing_plugin_are_refused_in_its_name(plugin: str) -> None:
    boxes = {version: Box(version, block=(plugin, *_others(plugin))) for version in ("v2", "v1", "hybrid")}
    tried = 0
    for path, values in _contributions(plugin).items():
        if path in SPOKEN:
            continue
        if isinstance(values, list):
            for value in values:
                for config in LISTS[path](value):
                    error = boxes["v2"].refuses(config)
                    assert f"plugin {plugin} would handle it" in str(error) + str(error.hint), (path, value)
                    tried += 1
        elif values:
            for config, version, options in FLAGS[path]:
                error = boxes[version].refuses(config, options)
                assert f"plugin {plugin} would handle it" in str(error) + str(error.hint), path
                tried += 1
    assert tried


@pytest.mark.parametrize("plugin", CONTRIBUTORS)
def test_what_the_others_advertise_is_still_accepted(plugin: str) -> None:
    """One value of each list, and each capability of the runtime."""
    blocked = (plugin, *_others(plugin))
    boxes = {version: Box(version, block=blocked) for version in ("v2", "v1", "hybrid")}
    for path, value in leaves(boxes["v2"].features):
        tries = (
            [(config, "v2", None) for config in LISTS[path](value[0])]
            if path in LISTS and value
            else FLAGS[path]
            if value is True
            else []
        )
        for config, version, options in tries:
            if plugin == "namespaces":
                # Every config here asks for namespaces.
                assert "plugin namespaces would handle it" in str(
                    boxes[version].refuses(config, options).hint
                )
            else:
                boxes[version].accepts(config, options)
