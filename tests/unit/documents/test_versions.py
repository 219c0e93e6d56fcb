"""Which versions of the specification are accepted."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orlop.documents import versions
from orlop.documents.codec import decode_config
from orlop_hookspecs.errors import DocumentError

ACCEPTED = (
    "1.0.0",
    "1.0.0-rc5",
    "1.0.0-rc5-dev",
    "1.0.1",
    "1.0.2-dev",
    "1.1.0-rc.3",
    "1.1.0+dev",
    "1.2.1",
    "1.3.0",
    "1.3.0+dev",
    "1.3.9",
    "1.0.0--",
    "1.0.0-0a.b-c+001.-.x",
    "1.0.99999999999999999999",
)
NEWER = ("1.4.0", "1.4.0-dev", "1.10.0", "1.999999999999.0")
MALFORMED = (
    "",
    "1",
    "1.0",
    "v1.0.0",
    "V1.0.0",
    "01.0.0",
    "1.00.0",
    "1.0.00",
    "1.0.0.0",
    "1.0.0-",
    "1.0.0+",
    "1.0.0-+x",
    "1.0.0-01",
    "1.0.0-a..b",
    "1.0.0-a.",
    "1.0.0+a+b",
    "1.0.0+a..b",
    "1.0.0-é",
    "1.0.0\n",
    " 1.0.0",
    "1.0.0 ",
    "1.0.٣",
    "1.0.²",
    "1.0.-1",
    "1.0.+1",
    "1_0.0.0",
    "1.0.0-a_b",
    "-1.0.0",
    "1.x.0",
    "1.0.0" + "0" * 300,
    "1.0.0+" + "a" * 100_000,
)
OTHER_MAJORS = ("0.9.9", "0.2.0", "2.0.0", "2.0.0-dev", "10.0.0")


@pytest.mark.parametrize("text", ACCEPTED)
def test_accepted(text: str) -> None:
    report: list[str] = []
    config = decode_config({"ociVersion": text, "x": 1, "root": {"path": "/", "y": 2}}, report=report)
    assert config.oci_version == text
    assert report == ["/x", "/root/y"]


@pytest.mark.parametrize("text", MALFORMED)
def test_malformed(text: str) -> None:
    assert versions.parse(text) is None
    with pytest.raises(DocumentError, match="Semantic Versioning") as caught:
        decode_config({"ociVersion": text})
    assert caught.value.pointer == "/ociVersion"
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("text", OTHER_MAJORS)
def test_other_majors(text: str) -> None:
    # The wrong type below would be a fault as well, but the version explains it.
    with pytest.raises(DocumentError, match="unsupported version") as caught:
        decode_config({"process": 7, "ociVersion": text})
    assert caught.value.pointer == "/ociVersion"
    assert caught.value.value == text


@pytest.mark.parametrize("text", NEWER)
def test_a_newer_document_may_only_set_what_is_known(text: str) -> None:
    assert decode_config({"ociVersion": text, "hostname": "x"}).hostname == "x"
    with pytest.raises(DocumentError, match=f"unknown property in a document of version {text}") as caught:
        decode_config({"ociVersion": text, "linux": {"resources": {"gpu": {}}}})
    assert caught.value.pointer == "/linux/resources/gpu"


@pytest.mark.parametrize("value", [None, 1, 1.0, True, ["1.0.0"]])
def test_not_a_string(value: object) -> None:
    with pytest.raises(DocumentError) as caught:
        decode_config({"ociVersion": value})
    assert caught.value.pointer == "/ociVersion"


def test_precedence_is_the_standards() -> None:
    ordered = ["1.0.0-alpha", "1.0.0-alpha.1", "1.0.0-alpha.beta", "1.0.0-beta", "1.0.0-beta.2"]
    ordered += ["1.0.0-beta.11", "1.0.0-rc.1", "1.0.0", "1.0.1", "1.2.0", "1.10.0", "2.0.0"]
    parsed = [versions.parse(text) for text in ordered]
    keys = [version.precedence for version in parsed if version is not None]
    assert len(keys) == len(ordered)
    assert keys == sorted(keys)
    assert len(set(keys)) == len(keys)


WORD = st.text(st.sampled_from("0123456789abzABZ-"), min_size=1, max_size=4)
NUMBER = st.integers(0, 1 << 40).map(str)
PRERELEASE = st.lists(NUMBER | WORD.filter(lambda word: not word.isdigit()), max_size=3)


@given(st.tuples(NUMBER, NUMBER, NUMBER), PRERELEASE, st.lists(WORD, max_size=3))
def test_reads_what_it_writes(numbers: tuple[str, str, str], prerelease: list[str], build: list[str]) -> None:
    text = ".".join(numbers)
    text += "-" + ".".join(prerelease) if prerelease else ""
    text += "+" + ".".join(build) if build else ""
    assert str(versions.parse(text)) == text


def test_what_is_advertised_is_accepted() -> None:
    for text in (versions.MINIMUM, versions.MAXIMUM):
        assert not versions.check_config_version(text)
