"""The plugin on a machine in memory that has two cards."""

from __future__ import annotations

from typing import Any

import pytest

import orlop
from orlop.kit import Sample, check_plugin
from orlop_accelerator import plugin
from orlop_accelerator.cards import CARDS, MEMORY, STATE, faults, wish
from orlop_accelerator.samples import FILES, GIB
from orlop_fake import Device, FakeKernel, FakePlatform
from orlop_fake.bench import FakeBench
from orlop_hookspecs.errors import ConfigError

NODES = {"/dev/accel0": Device("c", 261, 0), "/dev/accel1": Device("c", 261, 1)}
CONFIG: dict[str, Any] = {
    "ociVersion": "1.3.0",
    "root": {"path": "/image"},
    "process": {"cwd": "/", "args": ["/bin/sleep", "60"], "user": {"uid": 0, "gid": 0}},
    "linux": {"namespaces": [{"type": "mount"}, {"type": "pid"}], "cgroupsPath": "/box"},
}


class Machine(FakeBench):
    """A machine of the conformance kit, with cards."""

    def __init__(self) -> None:
        super().__init__()
        self.put(FILES | NODES)


@pytest.fixture
def kernel() -> FakeKernel:
    made = FakeKernel(files=FILES | NODES)
    made.add_rootfs("/image")
    return made


@pytest.fixture
def runtime(kernel: FakeKernel) -> orlop.Runtime:
    return orlop.Runtime.compose(FakePlatform(kernel))


def asking(cards: str, memory: str = "", **config: Any) -> dict[str, Any]:
    annotations = {CARDS: cards} | ({MEMORY: memory} if memory else {})
    return CONFIG | {"annotations": annotations} | config


def test_the_plugin_keeps_the_contract_on_a_machine_with_cards() -> None:
    samples = [
        Sample("one card", {"annotations": {CARDS: "accel0"}}),
        Sample("two cards with memory", {"annotations": {CARDS: "accel1,accel0", MEMORY: "512m"}}),
        Sample(
            "too much",
            {"annotations": {CARDS: "accel0", MEMORY: "5g"}},
            refused="/annotations/com.example.accelerator~1memory",
        ),
    ]
    report = check_plugin(plugin, samples=samples, bench=Machine)
    report.require()
    passed = {one.rule for one in report.results if one.outcome == "passed"}
    assert passed >= {
        "owns-what-it-changes",
        "reports-statistics-as-data",
        "undoes-everything-at-every-fault",
    }


def test_a_container_has_its_cards_and_no_other(kernel: FakeKernel, runtime: orlop.Runtime) -> None:
    def app(p: Any) -> int:
        p.read("/dev/accel0")
        words = [
            p.env["ACCEL_CARDS"],
            p.env["ACCEL_MEMORY"],
            p.readlink("/dev/accel"),
            p.exists("/dev/accel1"),
        ]
        p.write(" ".join(map(str, words)))
        return 0

    kernel.add_files({"/image/bin/app": app})
    process = CONFIG["process"] | {"args": ["/bin/app"]}
    box = runtime.create("box", asking("accel0", "512m", process=process))
    waiting = kernel.container_process("box")
    assert [kernel.device_allowed(waiting, "c", 261, minor, "rw") for minor in (0, 1)] == [True, False]
    box.start()
    assert box.wait() == 0
    assert kernel.output("box") == f"accel0 {GIB // 2} accel0 False"
    box.delete()
    assert kernel.leaks() == []


def test_statistics_are_those_of_the_containers_processes(kernel: FakeKernel, runtime: orlop.Runtime) -> None:
    box = runtime.create("box", asking("accel0,accel1"))
    box.start()
    kernel.add_files({f"{STATE}/accel0/clients/{box.pid}": "1000\n", f"{STATE}/accel1/clients/9999": "5\n"})
    assert box.stats()["accelerator"] == {
        "accel0": {"memoryTotal": 4 * GIB, "memoryUsed": 1000, "processes": 1},
        "accel1": {"memoryTotal": 8 * GIB, "memoryUsed": 0, "processes": 0},
    }
    box.delete(force=True)
    plain = runtime.create("plain", CONFIG)
    assert "accelerator" not in plain.stats()
    plain.delete(force=True)


def test_who_added_what_is_known(runtime: orlop.Runtime) -> None:
    explained = runtime.explain(asking("accel1")).as_data()
    assert set(explained["adjusted"].values()) == {"accelerator"}
    steps = [
        step for phase in explained["phases"] for step in phase["steps"] if step["plugin"] == "accelerator"
    ]
    assert [step["because"] for step in steps] == ["/annotations/com.example.accelerator~1cards"]


@pytest.mark.parametrize(
    ("cards", "memory", "words"),
    [
        ("accel7", "", "this machine has no card accel7.*it has: accel0, accel1"),
        ("accel0", "5g", "accel0 has 4294967296 bytes of memory, 5368709120 are asked for"),
        ("gpu", "", "not a list of cards"),
        ("accel0,", "", "not a list of cards"),
        ("accel0", "0", "not a size"),
        ("accel0", "1t", "not a size"),
    ],
)
def test_what_is_refused(runtime: orlop.Runtime, cards: str, memory: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        runtime.create("box", asking(cards, memory))
    assert caught.value.plugin == "accelerator"
    assert caught.value.pointer.startswith("/annotations/com.example.accelerator~1")
    assert runtime.list() == []


def test_wishes() -> None:
    assert wish(None) is None
    made = wish({CARDS: "accel1,accel1,accel0", MEMORY: "3k"})
    assert made is not None
    assert (made.cards, made.memory) == (("accel1", "accel0"), 3072)
    assert faults({MEMORY: "1g"})[0][1] == "memory is asked for, but no card"


def test_the_command_lists_the_cards(runtime: orlop.Runtime, capsys: pytest.CaptureFixture[str]) -> None:
    import argparse

    ((_, command),) = runtime.composition.hooks.commands(lambda _: None)
    parser = argparse.ArgumentParser()
    command.configure(parser)
    assert command.run(runtime, parser.parse_args([])) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"accel0  memory {4 * GIB}  used 4096  processes 1",
        f"accel1  memory {8 * GIB}  used 0  processes 0",
    ]
    command.run(runtime, parser.parse_args(["--used"]))
    assert capsys.readouterr().out.startswith("accel0")


def test_the_features_document_has_the_version(runtime: orlop.Runtime) -> None:
    assert (runtime.features().annotations or {})["com.example.accelerator.version"] == plugin.VERSION
