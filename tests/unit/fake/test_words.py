"""What an error says of a step that failed: in words, with the property and the plugin that asked for it."""

from __future__ import annotations

import string

import pytest

import orlop
from orlop.cli.template import config
from orlop_fake import FakeKernel
from orlop_fake.platform import FakePlatform
from orlop_hookspecs.errors import OrlopError, StepError
from orlop_hookspecs.steps.base import STEP_TYPES
from orlop_hookspecs.steps.rootfs import MaskPath


@pytest.mark.parametrize("name", STEP_TYPES)
def test_every_step_says_what_it_does(name: str) -> None:
    cls = STEP_TYPES[name]
    assert cls.ACT, "the words that follow 'cannot'"
    assert cls.ACT[0].islower()
    fields = {field for _, field, _, _ in string.Formatter().parse(cls.ACT) if field}
    assert fields <= set(cls.__annotations__)


def test_words_are_printable_and_short() -> None:
    words = MaskPath(because="/linux/maskedPaths/0", path="/\x1b[31m\n" + "x" * 5000).words()
    assert words.isprintable()
    assert len(words) < 200


def test_a_step_that_fails_is_told_of_in_words() -> None:
    kernel = FakeKernel()
    kernel.add_rootfs("/image")
    made = config()
    made["root"]["path"] = "/image"
    made["process"].update({"terminal": False, "args": ["/bin/sleep", "10"]})
    runtime = orlop.Runtime.compose(FakePlatform(kernel))
    steps = {
        type(one.step).__name__: one
        for phase in ("host", "clone", "host-with-pid", "container", "confined")
        for one in runtime.explain(made).prepared.plan.steps(phase)
    }
    assert len(steps) > 15
    for name, planned in steps.items():
        kernel.faults.fail(name, 5)
        with pytest.raises(OrlopError) as caught:
            runtime.create("one", made)
        kernel.faults.clear()
        text = str(caught.value)
        assert "input/output error" in text
        assert text.endswith(f"[plugin {planned.plugin}]"), text
        assert "cannot " in text, text
        assert name not in text
        assert caught.value.pointer.startswith("/"), name
        if isinstance(caught.value, StepError):
            assert caught.value.step.startswith(name)
    assert kernel.leaks() == []
