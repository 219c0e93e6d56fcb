"""A key for caches: it changes exactly when the content of a features document does."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


def features_key(document: Mapping[str, Any]) -> str:
    """Return the key of *document*: the name of a digest, a colon, and the digest in hexadecimal.

    White space and the order of members are no content in JSON (RFC 8259, sections 2 and 4); everything else
    is, the order of arrays included.
    """
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"
