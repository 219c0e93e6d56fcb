"""The conformance kit: good plugins keep every rule, and each rule is broken by a plugin made for that."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from examples import plugin as example
from tests.kit import bad
from tests.unit.cli.conftest import CommandLine, orlop_command

from orlop.entrypoints import entry_points
from orlop.kit import (
    BROKEN,
    PASSED,
    RULES,
    SKIPPED,
    Report,
    Sample,
    check_declarations,
    check_distribution,
    check_life,
    check_loading,
    check_planning,
    check_platform,
    check_plugin,
    check_rule,
    find_plugins,
    loading,
)
from orlop.kit.reference import page
from orlop_fake import platform as fake_platform
from orlop_fake.bench import FakeBench
from orlop_hookspecs.documents import Config
from orlop_hookspecs.errors import UsageError
from orlop_hookspecs.hooks.capability import Adjustment, Handle, Problem
from orlop_hookspecs.hooks.commands import Command
from orlop_hookspecs.steps import CreateSymlink, SetHostname

__all__ = ["orlop_command"]

SAMPLES: list[Any] = [
    {"name": "a disk", "config": {"annotations": {example.ANNOTATION: "64m"}}},
    Sample(
        "no size", {"annotations": {example.ANNOTATION: "plenty"}}, refused="/annotations/com.example.scratch"
    ),
]
BUILT_IN = sorted(point.name for point in entry_points("orlop") if point.distribution.startswith("orlop-"))
FULL = Sample(
    "much at once",
    {
        "hostname": "box",
        "annotations": {"a": "b"},
        "hooks": {"createRuntime": [{"path": "/bin/true", "timeout": 1}]},
        "process": {
            "capabilities": {"bounding": ["CAP_KILL"]},
            "rlimits": [{"type": "RLIMIT_CORE", "soft": 0, "hard": 0}],
            "oomScoreAdj": 1,
            "noNewPrivileges": True,
        },
        "linux": {
            "devices": [{"type": "c", "path": "/dev/fuse", "major": 10, "minor": 229}],
            "maskedPaths": ["/proc/kcore"],
            "readonlyPaths": ["/proc/sys"],
            "sysctl": {"net.core.somaxconn": "1"},
            "seccomp": {"defaultAction": "SCMP_ACT_ALLOW"},
            "intelRdt": {"l3CacheSchema": "L3:0=f;1=f"},
            "resources": {
                "memory": {"limit": 1 << 26},
                "pids": {"limit": 10},
                "rdma": {"mlx5_0": {"hcaHandles": 1}},
            },
        },
    },
)


def outcomes(report: Report) -> dict[str, str]:
    return {one.rule: one.outcome for one in report.results}


def test_a_good_plugin_keeps_every_rule() -> None:
    report = check_plugin(example, samples=SAMPLES)
    report.require()
    found = outcomes(report)
    assert set(found) == {
        name for name, one in RULES.items() if one.group not in {"platform", "distribution"}
    }
    assert found["refuses-what-it-says"] == PASSED
    assert found["undoes-everything-at-every-fault"] == PASSED
    assert "example-scratch 1.0" in report.subject


@pytest.mark.parametrize("name", BUILT_IN)
def test_built_in_plugins_keep_the_rules(name: str) -> None:
    (point,) = find_plugins(name)
    plugin = point.load()
    for report in (
        check_loading(plugin),
        check_declarations(plugin),
        check_planning(plugin, samples=[FULL]),
    ):
        report.require()


def test_a_full_config_lives_with_a_built_in_plugin() -> None:
    (point,) = find_plugins("intel-rdt")
    report = check_life(point.load(), samples=[FULL])
    report.require()
    assert outcomes(report)["undoes-everything-at-every-fault"] == PASSED


def test_the_fake_platform_keeps_the_rules_of_platforms() -> None:
    report = check_platform(fake_platform)
    report.require()
    assert SKIPPED not in {outcomes(report)[name] for name, one in RULES.items() if one.group == "platform"}


# -- each rule is broken by something


class _Count:
    """Answers differently each time."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, *_: object) -> Any:
        self.calls += 1
        return [Handle("hostname"), Handle("domainname")][: 1 + self.calls % 2]


def _reads(*_: object) -> Any:
    with open(__file__, encoding="utf-8"):
        return []


def _only_when_asked_again() -> Callable[..., Any]:
    asked: list[object] = []

    def plan(*_: object) -> Any:
        asked.append(None)
        return [SetHostname(because="/hostname", name=str(len(asked)))]

    return plan


def _changes(config: Config, _: object) -> Any:
    config.__dict__["hostname"] = "evil"


def _needs_linux(config: Config, _: object) -> Any:
    return [SetHostname(because="/hostname", name=config.linux.cgroups_path or "")]  # type: ignore[union-attr]


def _refuses(config: Config, _: object) -> Any:
    return [Problem("/process", "I do not like it")]


def _command() -> Any:
    return [Command(name="run", summary="", configure=lambda _: None, run=lambda *_: 0)]


def _bad_arguments() -> Any:
    def configure(parser: Any) -> None:
        parser.add_argument("not an option", "--both")

    return [Command(name="vendor", summary="", configure=configure, run=lambda *_: 0)]


def _set(value: Any) -> Any:
    return lambda *_: value


BREAKERS: dict[str, Callable[[], Any]] = {
    "keeps-the-contract": lambda: bad.plugin(bad.orlop_plam),
    "fits-together-with-the-built-in-plugins": lambda: bad.plugin(info=bad.identity(requires=("nobody",))),
    "handles-properties-that-exist": lambda: bad.plugin(bad.handles(Handle("linux.resources.mem"))),
    "handles-each-property-once": lambda: bad.plugin(
        bad.handles(Handle("hostname"), Handle("hostname", exact=True))
    ),
    "advertises-under-its-own-names": lambda: bad.plugin(bad.features({"annotations": {"fast": "yes"}})),
    "declares-the-same-again": lambda: bad.plugin(bad.hook("orlop_handles", _Count())),
    "declares-without-looking": lambda: bad.plugin(bad.hook("orlop_handles", _reads)),
    "names-plugins-that-it-knows": lambda: bad.plugin(info=bad.identity(after=(bad.NAME,))),
    "says-what-it-is": lambda: bad.plugin(info=bad.identity(summary="two\nlines")),
    "accepts-its-samples": lambda: bad.plugin(bad.hook("orlop_validate", _refuses)),
    "refuses-what-it-says": lambda: bad.plugin(bad.hook("orlop_validate", _refuses)),
    "plans-without-looking": lambda: bad.plugin(bad.hook("orlop_plan", _reads)),
    "plans-the-same-again": lambda: bad.plugin(bad.hook("orlop_plan", _only_when_asked_again())),
    "leaves-the-config-alone": lambda: bad.plugin(bad.hook("orlop_remark", _changes)),
    "plans-steps-of-the-contract": lambda: bad.plugin(
        bad.hook("orlop_plan", _set([CreateSymlink(because="", path="/dev/x", target="y")]))
    ),
    "survives-every-config": lambda: bad.plugin(bad.hook("orlop_plan", _needs_linux)),
    "owns-what-it-changes": lambda: bad.plugin(
        bad.hook("orlop_adjust", _set(Adjustment(set={"/nowhere": None})))
    ),
    "warns-of-nothing": lambda: bad.plugin(bad.hook("orlop_started", bad.raises)),
    "reports-statistics-as-data": lambda: bad.plugin(bad.hook("orlop_stats", _set({"x": {1}}))),
    "takes-part-in-pausing": lambda: bad.plugin(bad.hook("orlop_pause", bad.raises)),
    "plans-updates": lambda: bad.plugin(bad.hook("orlop_update", bad.garbage)),
    "lets-signals-through": lambda: bad.plugin(bad.hook("orlop_signal", _set(15))),
    "adds-commands-that-work": lambda: bad.plugin(bad.hook("orlop_commands", _command)),
}
ELSEWHERE = {
    "can-be-imported", "imports-only-the-contract", "is-imported-without-a-trace",
    "is-named-by-its-entry-point", "fits-together-with-what-is-installed", "requires-orlop", "is-typed",
    "has-the-version-of-its-distribution",
}  # fmt: skip
"""Rules that are broken by the distributions below."""

OF_THE_MACHINE = {
    "leaves-nothing", "leaves-nothing-of-a-container-that-never-started", "keeps-nothing-in-memory",
    "undoes-everything-at-every-fault",
}  # fmt: skip
"""Rules that are broken by a machine that forgets to clean up, below."""


@pytest.mark.parametrize("name", BREAKERS)
def test_a_rule_is_broken_by_what_was_made_to_break_it(name: str) -> None:
    samples = [Sample("refused", {}, refused="/nowhere")] if name == "refuses-what-it-says" else []
    result = check_rule(name, BREAKERS[name](), samples=samples)
    assert result.outcome == BROKEN, result
    assert all(message.isprintable() and message for message in result.messages)


def test_every_rule_for_plugins_is_broken_by_some_plugin() -> None:
    of_plugins = {name for name, one in RULES.items() if one.group != "platform"}
    assert set(BREAKERS) | ELSEWHERE | OF_THE_MACHINE | {"states-the-contract-that-it-uses"} == of_plugins


def test_a_plugin_that_uses_a_later_hook_than_it_states_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "answers", lambda _: ("", "", {"Since": "1.7."}))
    result = check_rule("states-the-contract-that-it-uses", bad.plugin())
    assert result.outcome == BROKEN
    assert "orlop_plugin is there since 1.7, the plugin states" in result.messages[0]


def test_the_reference_page_says_what_the_rules_say() -> None:
    assert (Path(__file__).parents[2] / "docs/reference/rules.md").read_text() == page(), "run `make pages`"


def test_rules_say_what_holds() -> None:
    for one in RULES.values():
        assert one.text.endswith("."), one.name
        assert len(one.text) > 40, one.name


def test_a_rule_that_is_broken_keeps_no_other_from_being_tried() -> None:
    report = check_plugin(bad.plugin(bad.hook("orlop_plan", bad.raises)), deadline=30)
    found = outcomes(report)
    assert found["accepts-its-samples"] == BROKEN
    assert found["leaves-nothing"] == BROKEN
    assert found["handles-properties-that-exist"] == SKIPPED
    assert found["says-what-it-is"] == PASSED
    with pytest.raises(AssertionError, match="orlop_plan raised ZeroDivisionError: oops"):
        report.require()


@pytest.fixture
def released() -> Iterator[None]:
    bad.STUCK.clear()
    yield
    bad.STUCK.set()


@pytest.mark.usefixtures("released")
def test_a_plugin_that_blocks_for_ever_is_named_with_the_place_where_it_stands() -> None:
    report = check_planning(bad.plugin(bad.hook("orlop_adjust", bad.blocks)), deadline=0.3)
    (broken,) = report.broken
    assert "it has not come to its end within 0.3 s" in broken.messages[0]
    assert "stands in" in broken.messages[0]
    rest = [one for one in report.results if one.rule != broken.rule]
    assert all(one.outcome == SKIPPED for one in rest)
    assert threading.active_count() > 1


# -- rules that need a module of their own

GOOD = """
from orlop_hookspecs import CONTRACT_VERSION
from orlop_hookspecs.hooks import hookimpl
from orlop_hookspecs.hooks.identity import PluginInfo

@hookimpl
def orlop_plugin() -> PluginInfo:
    return PluginInfo(name="{name}", version="1", contract=CONTRACT_VERSION, summary="a plugin")
"""
SOURCES = {
    "can-be-imported": "raise SystemExit('no')",
    "imports-only-the-contract": GOOD + "\nimport orlop.runtime",
    "is-imported-without-a-trace": GOOD + "\nopen('/dev/null', 'w').close()",
    "is-named-by-its-entry-point": GOOD.replace("{name}", "another"),
    "fits-together-with-what-is-installed": GOOD.replace(
        'summary="a plugin"', 'summary="", requires=("no",)'
    ),
    "requires-orlop": GOOD,
    "is-typed": GOOD,
    "has-the-version-of-its-distribution": GOOD,
}


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], str]:
    """Return a function that makes *source* an installed plugin in a package of its own."""

    def install(source: str, plugin: str) -> str:
        package = f"kit_{abs(hash(str(tmp_path)))}_{plugin.replace('-', '_')}"
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").write_text(source.replace("{name}", plugin))
        metadata = tmp_path / f"{package}-2.dist-info"
        metadata.mkdir()
        (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 2\n")
        (metadata / "entry_points.txt").write_text(f"[orlop]\n{plugin} = {package}\n")
        monkeypatch.syspath_prepend(str(tmp_path))
        return package

    return install


@pytest.mark.parametrize("name", SOURCES)
def test_a_rule_is_broken_by_a_distribution(name: str, install: Callable[[str, str], str]) -> None:
    distribution = install(SOURCES[name], "vendor")
    (report,) = check_distribution(distribution, rules=[name])
    assert outcomes(report) == {name: BROKEN}, report.as_text()


def test_every_rule_for_distributions_is_broken_somewhere() -> None:
    assert set(SOURCES) == ELSEWHERE


def test_what_cannot_be_imported_is_told_once_and_skips_the_rest(install: Callable[[str, str], str]) -> None:
    (report,) = check_distribution(install("import no_such_module", "vendor"))
    assert report.broken[0].rule == "can-be-imported"
    assert "no_such_module" in report.broken[0].messages[0]


def test_a_machine_that_breaks_its_promise_is_reported() -> None:
    class Forgetful(FakeBench):
        def every_fault(self, operation: Any, runtime: Any) -> Any:
            raise AssertionError("after crash before at step X something is left")

        def left(self) -> list[str]:
            return ["a cgroup"]

    report = check_plugin(example, bench=Forgetful)
    found = outcomes(report)
    assert {found[name] for name in OF_THE_MACHINE} == {BROKEN}
    assert found["plans-the-same-again"] == PASSED


def test_samples_that_are_none_are_refused() -> None:
    with pytest.raises(UsageError, match="a sample has a name"):
        Sample.of({"nam": "x"})


# -- the command line


def test_the_command_reports_and_tells_by_its_status(
    orlop_command: CommandLine, install: Callable[[str, str], str], tmp_path: Path
) -> None:
    status, out, err = orlop_command("plugin", "check", "--verbose", "--rules", "says-what-it-is", "hooks")
    assert (status, err) == (0, "")
    assert out.startswith("plugin hooks ")
    assert out.endswith("  passed   says-what-it-is\n1 rules kept, 0 broken, 0 skipped\n")
    name = install(GOOD, "vendor")
    status, out, err = orlop_command(
        "plugin", "check", "--rules", "is-typed,requires-orlop", "--format", "json", name
    )
    assert (status, err) == (1, "")
    (report,) = json.loads(out)
    assert report["kept"] is False
    found = {one["rule"]: one["outcome"] for one in report["results"]}
    assert found == {"is-typed": BROKEN, "requires-orlop": BROKEN}


def test_the_command_takes_samples_from_a_file(orlop_command: CommandLine, tmp_path: Path) -> None:
    file = tmp_path / "samples.json"
    file.write_text(json.dumps([{"name": "odd", "config": {"hooks": {"prestart": [{"path": "relative"}]}}}]))
    command = ("plugin", "check", "--rules", "accepts-its-samples", "--samples", str(file), "hooks")
    status, out, _ = orlop_command(*command)
    assert status == 1
    assert "accepts-its-samples: odd: /hooks/prestart/0/path" in out
    for text, words in (("{}", "expected an array of samples"), ("[", "malformed samples")):
        file.write_text(text)
        status, _, err = orlop_command("plugin", "check", "--samples", str(file), "hooks")
        assert status == 1
        assert words in err
    _, _, err = orlop_command("plugin", "check", "--samples", "/nonexistent", "hooks")
    assert "cannot read the samples" in err


def test_names_of_nothing_are_refused(orlop_command: CommandLine) -> None:
    status, _, err = orlop_command("plugin", "check", "nobody-has-this-name")
    assert status == 1
    assert "no distribution or plugin of this name is installed" in err
    status, _, err = orlop_command("plugin", "check", "--rules", "be-nice", "hooks")
    assert (status, "there is no such rule" in err) == (1, True)
    status, _, err = orlop_command("plugin", "praise", "hooks")
    assert "plugin 'praise' is unknown" in err
