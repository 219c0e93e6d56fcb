"""Lists of CPUs and memory nodes as the kernel writes them: ``0-3,7`` (cpuset(7), Formats)."""

from __future__ import annotations

_DIGITS = frozenset("0123456789")


def ranges(text: str, most: int) -> tuple[tuple[int, int], ...]:
    """Return the ranges of a list, first and last of each.

    Ranges are never counted out: a hostile one may have billions of members.

    Raises:
        ValueError: It is no list, or a number in it is *most* or more.
    """
    found = []
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        ends = (first, last) if dash else (first, first)
        if not all(end and _DIGITS.issuperset(end) for end in ends):
            raise ValueError("the list must consist of numbers and ranges, such as 0-3,7")
        # The length first: int() takes its time over a million digits.
        if max(map(len, ends)) > len(str(most)) or int(ends[1]) >= most:
            raise ValueError(f"a number in the list is {most} or more")
        low, high = map(int, ends)
        if high < low:
            raise ValueError("a range in the list runs backwards")
        found.append((low, high))
    return tuple(found)


def fault(text: str, most: int) -> str:
    """Return why *text* is no list of numbers below *most*, or an empty string."""
    try:
        ranges(text, most)
    except ValueError as error:
        return str(error)
    return ""
