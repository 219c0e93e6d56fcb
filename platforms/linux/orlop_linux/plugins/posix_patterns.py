"""POSIX extended regular expressions, translated for Python (POSIX.1-2017, Base Definitions, 9.4).

Only what the standard defines is taken. Where it leaves the meaning open, tools differ, Python's among
them, and a pattern that means one thing to its author and another here would run a hook for the wrong
containers: it is refused. As for regexec(3), a pattern is found anywhere in a text, ``^`` and ``$`` are its
very ends, and ``.`` is any character.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    import re

_PUNCTUATION = frozenset("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~")
_REPEATS = frozenset("*+?{")
_REPEATS_MAX = 255
"""RE_DUP_MAX of limits.h, at the least."""

_LONGEST = len("255,255")
_DEEPEST = 50
"""Levels of parentheses."""

_CLASSES = {
    "alnum": "a-zA-Z0-9",
    "alpha": "a-zA-Z",
    "blank": " \\t",
    "cntrl": "\\x00-\\x1f\\x7f",
    "digit": "0-9",
    "graph": "!-~",
    "lower": "a-z",
    "print": " -~",
    "punct": "!-/:-@\\[-`{-~",
    "space": " \\t\\n\\v\\f\\r",
    "upper": "A-Z",
    "xdigit": "0-9a-fA-F",
}
"""The classes of characters as they are in the POSIX locale."""


class PatternError(ValueError):
    """A pattern that POSIX does not define; the message says what, and at which character."""


def translate(pattern: str) -> re.Pattern[str]:
    """Return *pattern*, compiled.

    Raises:
        PatternError: It is malformed, or POSIX leaves open what it means.
    """
    import re

    reader = _Reader(pattern)
    text = reader.alternatives(depth=0)
    if not reader.ended:
        raise reader.error("a closing parenthesis has no opening one")
    try:
        return re.compile(text, re.DOTALL | re.ASCII)
    except (re.error, OverflowError) as error:
        raise PatternError(str(error)) from None


def _literal(character: str) -> str:
    return f"\\{character}" if character in _PUNCTUATION else character


class _Reader:
    """Reads one pattern from its first to its last character."""

    def __init__(self, pattern: str) -> None:
        self._pattern = pattern
        self._at = 0

    @property
    def ended(self) -> bool:
        return self._at >= len(self._pattern)

    def error(self, why: str) -> PatternError:
        return PatternError(f"{why}, at character {self._at + 1}")

    def _next(self) -> str:
        return self._pattern[self._at : self._at + 1]

    def _take(self) -> str:
        character = self._next()
        self._at += 1
        return character

    def alternatives(self, depth: int) -> str:
        if depth > _DEEPEST:
            raise self.error(f"parentheses are nested in more than {_DEEPEST} levels")
        made = [self._branch(depth)]
        while self._next() == "|":
            self._take()
            made.append(self._branch(depth))
        return "|".join(made)

    def _branch(self, depth: int) -> str:
        made = ""
        while not self.ended and self._next() not in "|)":
            part, repeats = self._expression(depth)
            made += part
            if self._next() in _REPEATS:
                if not repeats:
                    raise self.error("POSIX does not say what is repeated")
                made += self._repetition()
                if self._next() in _REPEATS:
                    raise self.error("POSIX leaves open what a second repetition means")
        if not made:
            raise self.error("POSIX leaves open what an empty expression means")
        return made

    def _expression(self, depth: int) -> tuple[str, bool]:
        """Return the next expression, and whether it may be repeated."""
        if self._next() in _REPEATS:
            raise self.error("POSIX does not say what is repeated")
        character = self._take()
        if character == "(":
            inner = self.alternatives(depth + 1)
            if self._take() != ")":
                self._at -= 1
                raise self.error("a closing parenthesis is missing")
            return f"(?:{inner})", True
        if character == "[":
            return self._bracket(), True
        if character == "\\":
            return self._escaped(), True
        if character in "^$":
            return {"^": r"\A", "$": r"\Z"}[character], False
        return "." if character == "." else _literal(character), True

    def _escaped(self) -> str:
        character = self._next()
        if character not in _PUNCTUATION:
            self._at -= 1
            what = f"\\{character}" if character else "a backslash at the end"
            raise self.error(
                f"POSIX leaves open what {what} means; write digits as [0-9], words as [[:alnum:]_]"
            )
        return _literal(self._take())

    def _repetition(self) -> str:
        character = self._take()
        if character != "{":
            return character
        low, comma, high = self._counted().partition(",")
        least, most = int(low), int(high) if high else int(low)
        if not least <= most <= _REPEATS_MAX:
            raise self.error(f"a repetition is from 0 to {_REPEATS_MAX} times, the smaller number first")
        return f"{{{least}{comma}{high}}}"

    def _counted(self) -> str:
        """Return what stands in the braces of a repetition, and go on behind them."""
        text, closed, _ = self._pattern[self._at :].partition("}")
        low, comma, high = text.partition(",")
        digits = low + high if comma else low
        if not closed or len(text) > _LONGEST or not low or not (digits.isascii() and digits.isdigit()):
            self._at -= 1
            raise self.error("a brace that is no repetition is written with a backslash before it")
        self._at += len(text) + 1
        return text

    # -- sets of characters

    def _bracket(self) -> str:
        made = "["
        if self._next() == "^":
            made += self._take()
        first = True
        while first or self._next() != "]":
            if self.ended:
                raise self.error("a closing bracket is missing")
            made += self._set_item()
            first = False
        self._take()
        return made + "]"

    def _set_item(self) -> str:
        character = self._take()
        if character == "[" and self._next() in {":", ".", "="}:
            return self._class()
        self._plain(character)
        if self._next() != "-" or self._pattern[self._at + 1 : self._at + 2] in {"]", ""}:
            return _literal(character)
        self._take()
        last = self._take()
        self._plain(last)
        if last == "[" and self._next() in {":", ".", "="}:
            raise self.error("a class of characters is no end of a range")
        if last < character:
            raise self.error("a range ends before it begins")
        return f"{_literal(character)}-{_literal(last)}"

    def _plain(self, character: str) -> None:
        if character == "\\":
            self._at -= 1
            raise self.error("in brackets a backslash stands for itself in POSIX, and for others it does not")

    def _class(self) -> str:
        kind = self._take()
        end = self._pattern.find(f"{kind}]", self._at)
        name = self._pattern[self._at : max(end, self._at)]
        if kind != ":" or name not in _CLASSES:
            raise self.error(
                "what this means depends on the locale" if kind != ":" else "there is no such class"
            )
        self._at = end + 2
        return _CLASSES[name]


__all__ = ["PatternError", "translate"]
