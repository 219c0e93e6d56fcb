"""The versions of the specification: how ``ociVersion`` is read and which versions are accepted.

The specification follows Semantic Versioning 2.0.0 and keeps compatibility within a major version (config.md,
Specification version).
"""

from __future__ import annotations

from orlop_hookspecs.errors import DocumentError

MINIMUM = "1.0.0"
"""The oldest version of the specification that is implemented."""

MAXIMUM = "1.3.0"
"""The newest version of the specification that is implemented."""

_MAJOR = 1
_NEWEST_MINOR = 3
_LENGTH_LIMIT = 256
_NUMBERS = 3
_DIGITS = frozenset("0123456789")
_WORD = _DIGITS | frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-")


class Version:
    """A version of Semantic Versioning 2.0.0, ordered by precedence; build metadata does not count for it."""

    __slots__ = ("build", "major", "minor", "patch", "prerelease")

    def __init__(
        self,
        major: int,
        minor: int,
        patch: int,
        prerelease: tuple[str, ...] = (),
        build: tuple[str, ...] = (),
    ) -> None:
        """Keep the parts."""
        self.major = major
        self.minor = minor
        self.patch = patch
        self.prerelease = prerelease
        self.build = build

    @property
    def precedence(self) -> tuple[object, ...]:
        """The sort key of the standard (section 11): releases last, numbers before words."""
        words = tuple((0, int(p), "") if _DIGITS.issuperset(p) else (1, 0, p) for p in self.prerelease)
        return (self.major, self.minor, self.patch, not self.prerelease, words)

    def __str__(self) -> str:
        """Return the version as it is written."""
        text = f"{self.major}.{self.minor}.{self.patch}"
        if self.prerelease:
            text += "-" + ".".join(self.prerelease)
        if self.build:
            text += "+" + ".".join(self.build)
        return text


def _number(text: str) -> int | None:
    if not text or not _DIGITS.issuperset(text) or (text[0] == "0" and len(text) > 1):
        return None
    return int(text)


def _words(text: str, *, numbers: bool) -> tuple[str, ...] | None:
    """Return the dot-separated identifiers of *text*; with *numbers*, digits must not start with zero."""
    words = tuple(text.split("."))
    for word in words:
        if not word or not _WORD.issuperset(word):
            return None
        if numbers and _DIGITS.issuperset(word) and _number(word) is None:
            return None
    return words


def parse(text: str) -> Version | None:
    """Return the version that *text* spells, or ``None`` when it spells none (ASCII only, no prefix)."""
    if len(text) > _LENGTH_LIMIT:
        return None
    rest, plus, build_text = text.partition("+")
    core, dash, prerelease_text = rest.partition("-")
    prerelease = _words(prerelease_text, numbers=True) if dash else ()
    build = _words(build_text, numbers=False) if plus else ()
    numbers = [_number(part) for part in core.split(".")]
    if prerelease is None or build is None or len(numbers) != _NUMBERS:
        return None
    major, minor, patch = numbers
    if major is None or minor is None or patch is None:
        return None
    return Version(major, minor, patch, prerelease, build)


def check_config_version(text: str, *, path: str = "") -> bool:
    """Check the ``ociVersion`` of a config; return whether it is newer than what is implemented.

    Raises:
        DocumentError: The version is malformed or of another major version.
    """
    version = parse(text)
    if version is None:
        message = "expected a version in the format of Semantic Versioning 2.0.0, such as 1.3.0"
        raise DocumentError(message, pointer="/ociVersion", value=text, path=path)
    if version.major != _MAJOR:
        message = f"unsupported version of the specification: {MINIMUM} up to any {_MAJOR}.x is accepted"
        raise DocumentError(message, pointer="/ociVersion", value=text, path=path)
    return version.minor > _NEWEST_MINOR
