"""What may not be read in a log, an error or the audit: secrets, by the name they stand under, by the form that they
have, and by their own text where it is known.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any, Final
from urllib.parse import quote

MASK: Final = "********"
# A shorter text is a word that stands in too many places.
LENGTH_MIN: Final = 6

_WORDS: Final = ("password", "secret", "token", "credential", "authorization", "api_key", "private_key", "cookie")
_HARMLESS: Final = frozenset({"token_id", "tokens", "access_token_ttl", "refresh_token_ttl", "kid"})
_FORMS: Final = (
    # JSON web tokens, API keys and refresh tokens, credentials in headers, passwords inside URLs, private keys.
    (re.compile(r"\beyJ[\w-]{6,}\.[\w-]+\.[\w-]*"), MASK),
    (re.compile(r"\bhg[mr]_[A-Za-z0-9]+_[\w-]+"), MASK),
    (re.compile(r"(?i)\b(Bearer|Basic)\s+[\w.~+/=-]{8,}"), rf"\1 {MASK}"),
    (re.compile(r"(?<=://)([^\s:/@\"']*):[^\s/@\"']+@"), rf"\1:{MASK}@"),
    (re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|$)", re.DOTALL), MASK),
)
_DEPTH_MAX: Final = 6


def is_secret(name: str) -> bool:
    """Whether what stands under this name is masked."""
    plain = name.lower().replace("-", "_")
    return plain not in _HARMLESS and any(word in plain for word in _WORDS)


class Masker:
    """Masks texts and nested values. `secrets` are texts that are masked wherever they stand."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        written: set[str] = set()
        for secret in secrets:
            if len(secret) >= LENGTH_MIN:
                # As it is, and as it stands in JSON, in a `repr` and in a URL.
                written |= {secret, json.dumps(secret)[1:-1], repr(secret)[1:-1], quote(secret, safe="")}
        # The longest first: one may be the beginning of another.
        self._secrets = sorted(written, key=len, reverse=True)

    def text(self, text: str) -> str:
        """The text without what is secret."""
        for secret in self._secrets:
            if secret in text:
                text = text.replace(secret, MASK)
        for form, instead in _FORMS:
            text = form.sub(instead, text)
        return text

    def value(self, name: str, value: Any, depth: int = 0) -> Any:
        """What may be shown of a value under this name; texts are for `text`, once they are written."""
        if is_secret(name) and value not in (None, "", True, False):
            return MASK
        if depth < _DEPTH_MAX:
            if isinstance(value, dict):
                return {key: self.value(str(key), inner, depth + 1) for key, inner in value.items()}
            if isinstance(value, (list, tuple)):
                return [self.value("", inner, depth + 1) for inner in value]
        return value
