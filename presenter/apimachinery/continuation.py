"""The continue tokens of kube-apiserver: a version and a key, bound to nothing else.

Source: k8s.io/apiserver, pkg/storage/continue.go.
"""

from __future__ import annotations

import base64
import posixpath
import re
from typing import Self

import msgspec

from presenter.apimachinery import golang
from presenter.apimachinery.errors import StatusError, bad_request, expired

_VERSION = "meta.k8s.io/v1"
_FOREIGN = re.compile(r"[^A-Za-z0-9_\-\r\n]")
_JSON_BEGINNINGS = frozenset(b'{["-0123456789tfn')
_TOO_OLD = (
    "The provided continue parameter is too old to display a consistent list result. You can start a new "
    "list without the continue parameter, or use the continue token in this response to retrieve the "
    "remainder of the results. Continuing with the provided token results in an inconsistent list - "
    "objects that were created, modified, or deleted between the time the first chunk was returned and "
    "now may show up in the list."
)


class Continue(msgspec.Struct, frozen=True):
    """Where a list goes on: at the key `start`, relative to the list's path, as of the version `rv`.

    A negative version goes on with what there is now, whatever the pages before have shown.
    """

    v: str = ""
    rv: int = 0
    start: str = ""

    @classmethod
    def after(cls, key: str, resource_version: int) -> Self:
        """The token for what follows a key, such as `namespace/name`: even an object that is created between."""
        return cls(_VERSION, resource_version, f"/{key.removeprefix('/')}\0")

    def encode(self) -> str:
        """The opaque text."""
        return base64.urlsafe_b64encode(msgspec.json.encode(self)).rstrip(b"=").decode()

    @classmethod
    def decode(cls, token: str) -> Self:
        """Raises StatusError 400."""
        text = _decoded(token)
        try:
            decoded = msgspec.json.decode(text, type=cls | None) or cls()
        except (msgspec.DecodeError, UnicodeDecodeError) as problem:
            raise _wrong(_json_problem(text, problem)) from problem
        if decoded.v != _VERSION:
            raise _wrong(f"server does not recognize this encoded version {decoded.v}")
        if not decoded.rv:
            raise _wrong(f"incorrect encoded start resourceVersion (version {_VERSION})")
        if not decoded.start:
            raise _wrong(f"encoded start key empty (version {_VERSION})")
        absolute = decoded.start if decoded.start.startswith("/") else f"/{decoded.start}"
        if absolute != posixpath.normpath(absolute) or absolute.startswith("//"):
            raise _wrong(decoded.start)
        return decoded

    def expired(self) -> StatusError:
        """410 for a page whose list is no longer kept, with the token of an inconsistent continuation."""
        return expired(_TOO_OLD, continue_=msgspec.structs.replace(self, rv=-1).encode())


def _decoded(token: str) -> bytes:
    if foreign := _FOREIGN.search(token):
        raise _wrong(f"illegal base64 data at input byte {len(token[: foreign.start()].encode())}")
    token = token.replace("\r", "").replace("\n", "")
    if len(token) % 4 == 1:
        raise _wrong(f"illegal base64 data at input byte {len(token) - 1}")
    return base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))


def _json_problem(text: bytes, problem: Exception) -> str:
    """Go's words for text that does not begin as JSON does, and for text that ends too early; else our library's."""
    begun = text.lstrip(b" \t\r\n")
    if not begun or "truncated" in str(problem):
        return "unexpected end of JSON input"
    if begun[0] not in _JSON_BEGINNINGS:
        return f"invalid character {golang.quote(chr(begun[0]), mark=chr(39))} looking for beginning of value"
    return str(problem)


def _wrong(problem: str) -> StatusError:
    return bad_request(f"invalid continue token: continue key is not valid: {problem}")
