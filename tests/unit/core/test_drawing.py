"""Pictures of plans and timelines: well-formed, complete, and harmless whatever the texts hold."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.features.usage import ROOTFS, base

import orlop
from orlop.drawing import timeline
from orlop.drawing.svg import Picture, escape, fit
from orlop.engine.explain import Explanation
from orlop.timeline.read import Span

SVG = "{http://www.w3.org/2000/svg}"


def explanation(**changes: Any) -> Explanation:
    config = base(
        hooks={
            kind: [{"path": f"/hooks/{kind}"}]
            for kind in ("createRuntime", "poststart", "poststop", "startContainer")
        },
        mounts=[{"destination": "/a<b>&\"c'", "type": "tmpfs", "source": "tmpfs"}],
        linux={"cgroupsPath": "/x", "resources": {"pids": {"limit": 5}}},
        **changes,
    )
    with orlop.Runtime.compose(platform="fake") as runtime:
        return runtime.explain(config)


def parsed(text: str) -> ET.Element:
    return ET.fromstring(text)  # noqa: S314 - what is read was made here


def texts(root: ET.Element, name: str) -> list[str]:
    return [one.text or "" for one in root.iter(f"{SVG}{name}")]


def test_every_step_of_a_plan_is_a_box_with_its_owner_its_reason_and_its_undo() -> None:
    made = explanation()
    data = made.as_data()
    steps = [step for phase in data["phases"] for step in phase["steps"]]
    root = parsed(made.as_svg())
    titles = [title.text or "" for rect in root.iter(f"{SVG}rect") for title in rect.iter(f"{SVG}title")]
    assert len(titles) == len(steps) + sum(len(hooks) for hooks in data["hooks"].values())
    for step in steps:
        title = next(one for one in titles if one.startswith(f"{step['describe']} [{step['plugin']}]"))
        assert (f"because of {step['because']}" in title) == bool(step["because"])
        assert step.get("undo", "") in title
    dashed = [one for one in root.iter(f"{SVG}rect") if one.get("stroke-dasharray")]
    assert len(dashed) == sum("undo" in step for step in steps) > 0
    written = texts(root, "text")
    for phase in data["phases"]:
        assert phase["phase"] in written
    assert {"poststart", "poststop", "after delete"} <= set(written)


def test_what_leaves_the_sheet_is_cut_and_the_sheet_holds_everything() -> None:
    root = parsed(explanation().as_svg())
    width, height = float(root.attrib["width"]), float(root.attrib["height"])
    for rect in list(root.iter(f"{SVG}rect"))[1:]:
        assert 0 <= float(rect.attrib["x"]) <= float(rect.attrib["x"]) + float(rect.attrib["width"]) <= width
        assert (
            0 <= float(rect.attrib["y"]) <= float(rect.attrib["y"]) + float(rect.attrib["height"]) <= height
        )


def test_plugins_have_colours_of_their_own() -> None:
    picture = Picture(100, "x")
    colours = [picture.colour(str(number)) for number in range(25)]
    assert len(set(colours)) == 25
    assert picture.colour("7") == colours[7]


def test_a_mermaid_chart_has_every_step_once_and_no_text_can_leave_its_label() -> None:
    made = explanation()
    data = made.as_data()
    chart = made.as_mermaid()
    lines = chart.splitlines()
    assert lines[0] == "flowchart TB"
    nodes = [
        line for line in lines if line.strip().startswith("s") and "[" in line and "subgraph" not in line
    ]
    count = sum(len(phase["steps"]) for phase in data["phases"]) + sum(map(len, data["hooks"].values()))
    assert len(nodes) == count
    assert sum("subgraph" in line for line in lines) == len(data["phases"]) + len(data["hooks"])
    assert lines.count("  end") == len(data["phases"]) + len(data["hooks"])
    for line in nodes:
        label = line.split('["', 1)[1].removesuffix('"]')
        assert '"' not in label
        plain = label.replace("<br/>", "").replace("<i>", "").replace("</i>", "")
        assert "<" not in plain


def test_the_root_file_system_of_a_picture_is_that_of_the_config() -> None:
    assert ROOTFS in explanation().as_svg()


@given(st.text(max_size=40), st.floats(0, 300))
def test_texts_are_escaped_and_cut(text: str, width: float) -> None:
    picture = Picture(300, text)
    picture.text(0, 10, fit(text, width), bold=True)
    picture.box(0, 0, 10, 10, fill=picture.colour(text), title=text)
    picture.legend(20, [text] if text else [])
    root = parsed(str(picture))
    assert len(texts(root, "title")) == 2 if text else 1
    assert len(fit(text, width)) <= max(width / 7, 0) + 1


def test_a_plain_text_is_itself() -> None:
    text = 'x < y & z > "w"'
    assert parsed(f"<a>{escape(text)}</a>").text == text


def span(begin: float, duration: float, name: str = "x", thread: int = 1) -> Span:
    return Span(begin, duration, 1, thread, "step", name, ("why: because",))


@pytest.mark.parametrize(
    "spans",
    [
        [span(0, 0)],
        [span(5e14, 1e-3), span(5e14, 1e-3)],
        [span(0, 100), span(10, 20), span(12, 5), span(40, 10)],
        [span(0, 100), span(0, 50, thread=2)],
        [span(-100, 1e12)],
    ],
)
def test_timelines_of_any_length_can_be_drawn(spans: list[Span]) -> None:
    root = parsed(timeline.as_svg(spans, "t.json"))
    boxes = [rect for rect in root.iter(f"{SVG}rect") if list(rect)]
    assert len(boxes) == len(spans)
    assert len(list(root.iter(f"{SVG}line"))) <= 11
    for rect in boxes:
        assert float(rect.attrib["x"]) + float(rect.attrib["width"]) <= float(root.attrib["width"])


def test_a_span_stands_below_what_contains_it() -> None:
    spans = [
        span(0, 100, "a"),
        span(10, 20, "b"),
        span(12, 5, "c"),
        span(40, 10, "d"),
        span(0, 9, "e", thread=2),
    ]
    root = parsed(timeline.as_svg(spans, "t"))
    boxes = {
        (rect[0].text or "")[0]: float(rect.attrib["y"]) for rect in root.iter(f"{SVG}rect") if list(rect)
    }
    assert boxes["b"] == boxes["d"] == boxes["a"] + 20
    assert boxes["c"] == boxes["a"] + 40
    assert boxes["e"] > boxes["c"]
