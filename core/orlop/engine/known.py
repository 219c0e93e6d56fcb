"""Configs that a composition has decoded and found covered, for programs that make many containers from one.

Decoding and the coverage check depend on nothing but the config and the composition, and decoded configs are
immutable. Validation and planning also depend on the launch and are done each time.
"""

from __future__ import annotations

import marshal
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from orlop_hookspecs.documents import Config

COUNT_LIMIT = 64
"""Configs that are kept."""

SIZE_LIMIT = 256 << 10
"""Bytes of the largest config that is kept."""

_WITHOUT_REFERENCES = 2  # a version of the format in which equal values have equal bytes


class KnownConfigs:
    """A small cache: the exact content of a config to the decoded config."""

    __slots__ = ("_configs",)

    def __init__(self) -> None:
        """Begin with nothing."""
        self._configs: dict[bytes, Config] = {}

    @staticmethod
    def key(source: bytes | dict[str, Any] | Config) -> bytes | None:
        """Return what identifies the content of *source*, exactly; ``None`` when it is not worth keeping."""
        if isinstance(source, dict):
            try:
                source = b"d" + marshal.dumps(source, _WITHOUT_REFERENCES)
            except ValueError:  # something that is no JSON data, or nested too deeply: the decoder will tell
                return None
        elif not isinstance(source, bytes):
            return None
        return source if len(source) <= SIZE_LIMIT else None

    def get(self, key: bytes | None) -> Config | None:
        """Return the config that has been put under *key*."""
        return None if key is None else self._configs.get(key)

    def put(self, key: bytes | None, config: Config) -> None:
        """Keep *config*, which is covered."""
        if key is not None:
            if len(self._configs) >= COUNT_LIMIT:
                self._configs.clear()
            self._configs[key] = config
