"""Heads of HTTP/1 requests: how large they may be, and request lines that are repaired as their callers meant them.

Nothing changes where a line or the head ends, which the parser has to find as whatever forwarded the request did: only
the letter case of the method, and what stands in the query. And a wish for another protocol is left out.
"""

from __future__ import annotations

import re

from presenter.errors import BadRequest, HeadersTooLarge, UriTooLong

MAX_BYTES = 65_536
"""Of a head, and of the chunk sizes and trailers of a body."""
MAX_HEADERS = 100

END = b"\r\n\r\n"

_PLAIN = re.compile(rb"[A-Z-]+ [\x21-\x7e]+ HTTP/1\.[01]\r\n")
_AS_MEANT = re.compile(
    rb"([A-Za-z-]+) (?:([\x21-\x7e]+)|([\x21-\x22\x24-\x3e\x40-\x7e]+\?)([^\r\n]*)) (HTTP/1\.[01]\r\n)"
)
_NOT_IN_A_QUERY = re.compile(rb"[ \x80-\xff]")
_UPGRADE = re.compile(rb"\r\nupgrade:[^\r\n]*(?=\r\n)", re.IGNORECASE)
_NO_REQUEST = "this is not an HTTP/1.1 request: it begins with no request line"


def as_meant(head: bytes) -> bytes:
    """A whole head in the form that the parser takes. Raises BadRequest, UriTooLong or HeadersTooLarge.

    Some callers (snowplow) build queries without escaping them: spaces and bytes beyond ASCII after the first `?` are
    escaped here. The method may come in any letter case.
    """
    check(head)
    if _PLAIN.match(head):
        return head
    meant = _AS_MEANT.match(head)
    assert meant is not None  # or the check has failed
    method, target, path, query, version = meant.groups()
    if target is None:
        target = path + _NOT_IN_A_QUERY.sub(lambda byte: b"%%%02X" % ord(byte[0]), query)
    return b"%s %s %s%s" % (method.upper(), target, version, head[meant.end() :])


def without_upgrade(head: bytes) -> bytes:
    """The head of one who wishes for no other protocol, which may be ignored (RFC 9110 §7.8).

    Java's HttpClient wishes for HTTP/2 unless told otherwise. The parser would take the body for what follows in that.
    """
    return _UPGRADE.sub(b"", head) if b"upgrade:" in head.lower() else head


def check(head: bytes | bytearray) -> None:
    """Check what has arrived of a head. Raises BadRequest, UriTooLong or HeadersTooLarge."""
    lines = head.count(b"\n")
    if len(head) > MAX_BYTES:
        what, error = ("head", HeadersTooLarge) if lines else ("request line", UriTooLong)
        raise error(f"the {what} of the request has more than {MAX_BYTES} bytes, which is what is allowed")
    if lines != head.count(b"\r\n"):
        raise BadRequest("a line of the request's head ends in a line feed alone: allowed is CR LF")
    if lines > MAX_HEADERS + 2:  # the request line, and the empty one at the end
        raise HeadersTooLarge(f"the request has more than {MAX_HEADERS} headers, which is what is allowed")
    if not (head[:1].isalpha() if not lines else _PLAIN.match(head) or _AS_MEANT.match(head)):
        raise BadRequest(_NO_REQUEST)
