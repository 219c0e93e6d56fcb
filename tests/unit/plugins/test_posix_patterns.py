"""POSIX extended regular expressions: what they find, and which are refused."""

from __future__ import annotations

import re

import hypothesis
import hypothesis.strategies as st
import pytest

from orlop_linux.plugins.posix_patterns import PatternError, translate

FOUND = [
    ("b", "abc"),
    ("^abc$", "abc"),
    (".*/init$", "/sbin/init"),
    (r"^com\.example\.", "com.example.x"),
    ("^(all|none)$", "none"),
    ("a{2}", "baab"),
    ("^a{0,2}$", ""),
    ("^a{1,}b$", "aaab"),
    ("^[[:digit:]]+$", "2026"),
    ("^[[:alpha:]_-]+$", "a_-Z"),
    ("[^[:space:]]", " x "),
    ("^[]x]$", "]"),
    ("^[^]x]$", "a"),
    ("^[a-]$", "-"),
    ("^[&~|]$", "~"),
    ("^[[:punct:]]$", "["),
    ("^a.b$", "a\nb"),
    (r"\$\{HOME\}", "${HOME}"),
    (r"\/bin\/sh", "/bin/sh"),
    ("}]", "x}]"),
    ("^((a|b)c)+$", "acbc"),
]
NOT_FOUND = [
    ("^abc$", "abc\n"),
    ("a.c", "ac"),
    ("^[^]x]$", "]"),
    ("^[[:digit:]]+$", "\u0664"),
    ("^[[:upper:]]$", "a"),
    ("^a{2,3}$", "aaaa"),
    (r"com\.example", "com-example"),
    ("(a|b)$", "bc"),
]


@pytest.mark.parametrize(("pattern", "text"), FOUND)
def test_what_is_found(pattern: str, text: str) -> None:
    assert translate(pattern).search(text)


@pytest.mark.parametrize(("pattern", "text"), NOT_FOUND)
def test_what_is_not_found(pattern: str, text: str) -> None:
    assert not translate(pattern).search(text)


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        ("", "an empty expression means, at character 1"),
        ("(", "an empty expression"),
        ("(a", "a closing parenthesis is missing, at character 3"),
        ("a)", "a closing parenthesis has no opening one, at character 2"),
        ("a|", "an empty expression"),
        ("()", "an empty expression"),
        ("*a", "what is repeated, at character 1"),
        ("^*", "what is repeated"),
        ("(?i)a", "what is repeated"),
        ("a(?=b)", "what is repeated"),
        ("a*?", "a second repetition"),
        ("a++", "a second repetition"),
        ("a{", "a brace that is no repetition"),
        ("a{,2}", "a brace that is no repetition"),
        ("a{3,2}", "the smaller number first"),
        ("a{256}", "from 0 to 255"),
        ("a{" + "9" * 5000 + "}", "a brace that is no repetition"),
        (r"\d", r"what \d means; write digits as"),
        (r"(a)\1", r"what \1 means"),
        (r"a\b", r"what \b means"),
        ("a\\", "a backslash at the end"),
        (r"[\d]", "in brackets a backslash"),
        (r"[a-\]", "in brackets a backslash"),
        ("[a", "a closing bracket is missing"),
        ("[", "a closing bracket is missing"),
        ("[]", "a closing bracket is missing"),
        ("[z-a]", "a range ends before it begins"),
        ("[[:letter:]]", "there is no such class"),
        ("[[:alpha", "there is no such class"),
        ("[[.a.]]", "depends on the locale"),
        ("[[=a=]]", "depends on the locale"),
        ("[a-[:digit:]]", "no end of a range"),
        ("(" * 100 + "a" + ")" * 100, "nested in more than"),
    ],
)
def test_what_is_refused(pattern: str, words: str) -> None:
    with pytest.raises(PatternError, match=re.escape(words)):
        translate(pattern)


@hypothesis.given(st.text(alphabet="ab[]^-$.|()*+?{}1,:\\ \n", max_size=12))
def test_everything_is_a_pattern_or_refused(pattern: str) -> None:
    try:
        compiled = translate(pattern)
    except PatternError:
        return
    compiled.search("ab")


@hypothesis.given(st.text(min_size=1, max_size=12))
def test_escaped_text_is_itself(text: str) -> None:
    escaped = "".join(f"\\{one}" if one in ".[]$()|*+?{}^\\" else one for one in text)
    assert translate(f"^{escaped}$").search(text)
