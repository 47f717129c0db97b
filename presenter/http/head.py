"""Heads of HTTP/1 requests: how large they may be, and request lines as callers mean them.

Framing is the parser's business, and this changes nothing that it depends on: of one line, whose end is where it was,
the method's letter case and what stands in the query.
"""

from __future__ import annotations

import re

from presenter.errors import BadRequest, HeadersTooLarge, UriTooLong

MOST_BYTES = 65_536
"""Of a head, and of whatever surrounds the data of a body that comes in chunks."""
MOST_HEADERS = 100

END = b"\r\n\r\n"

_PLAIN = re.compile(rb"[A-Z-]+ [\x21-\x7e]+ HTTP/1\.[01]\r\n")
_AS_MEANT = re.compile(
    rb"([A-Za-z-]+) (?:([\x21-\x7e]+)|([\x21-\x22\x24-\x3e\x40-\x7e]+\?)([^\r\n]*)) (HTTP/1\.[01]\r\n)"
)
_NOT_IN_A_QUERY = re.compile(rb"[ \x80-\xff]")
_NO_REQUEST = "this is not an HTTP/1.1 request: it begins with no request line"


def as_meant(head: bytes) -> bytes:
    """A whole head as the parser takes it. Raises BadRequest, UriTooLong or HeadersTooLarge.

    Callers concatenate queries without escaping them (snowplow): spaces and bytes beyond ASCII are escaped here, where
    they stand behind the first `?`. Methods come in the letter case they were written in.
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


def check(head: bytes | bytearray) -> None:
    """Raises what is wrong with as much of a head as there is: BadRequest, UriTooLong or HeadersTooLarge."""
    lines = head.count(b"\n")
    if len(head) > MOST_BYTES:
        what, error = ("head", HeadersTooLarge) if lines else ("request line", UriTooLong)
        raise error(f"the {what} of the request has more than {MOST_BYTES} bytes, which is what is allowed")
    if lines != head.count(b"\r\n"):
        raise BadRequest("a line of the request's head ends in a line feed alone: allowed is CR LF")
    if lines > MOST_HEADERS + 2:  # the request line, and the empty one at the end
        raise HeadersTooLarge(f"the request has more than {MOST_HEADERS} headers, which is what is allowed")
    if not (head[:1].isalpha() if not lines else _PLAIN.match(head) or _AS_MEANT.match(head)):
        raise BadRequest(_NO_REQUEST)
