"""Entity tags: what tells whether an answer is the one that the caller has (RFC 9110 §8.8.3, §13.1.2)."""

from __future__ import annotations

import base64
import hmac
import re
from collections.abc import Sequence
from hashlib import blake2b

import msgspec

from presenter import __version__

_TAG = re.compile(r'(?:W/)?"[\x21\x23-\x7e\x80-\xff]*"')
_encode = msgspec.msgpack.Encoder().encode


class EntityTags:
    """Makes tags that tell nothing but sameness: they are keyed with the service's secret, the same in all replicas."""

    def __init__(self, secret: bytes) -> None:
        # Another version of this program may write the same objects differently.
        self._key = hmac.digest(secret, f"resources-presenter {__version__} entity tag".encode(), "sha256")

    def digest(self, *described: object) -> bytes:
        """A digest of values."""
        return blake2b(_encode(described), digest_size=16, key=self._key).digest()

    def tag(self, *described: object, weak: bool = False) -> str:
        """The tag of an answer that these values decide; `weak` where they leave open how it is written."""
        opaque = base64.urlsafe_b64encode(self.digest(*described)).rstrip(b"=").decode()
        return f'W/"{opaque}"' if weak else f'"{opaque}"'


def named(if_none_match: Sequence[str], tag: str) -> str | None:
    """The tag as the fields of that name have it, strong or weak, whichever it is; None: they name others.

    `*` is any. What is malformed names none.
    """
    fields = ",".join(if_none_match)
    if fields.strip(" \t") == "*":
        return tag
    return next((known for known in _TAG.findall(fields) if _opaque(known) == _opaque(tag)), None)


def _opaque(tag: str) -> str:
    return tag.removeprefix("W/")
