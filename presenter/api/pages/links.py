"""Where the links of a page lead: to the same path with the filters as they came, at the place the caller knows."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address
from urllib.parse import quote, unquote_to_bytes

from starlette.types import Scope

from presenter.api.pages.paginated import Links
from presenter.http.connection import CONNECTION, Connection

_PAGING = {b"page", b"per_page", b"cursor"}
_HOST = re.compile(r"[A-Za-z0-9._-]+(:\d{1,5})?|\[[0-9A-Fa-f:.]+\](:\d{1,5})?")
_PREFIX = re.compile(r"(/[A-Za-z0-9._~!$&'()*+,;=:@%-]+)*/?")
_URI = "%:/?#[]@!$&'()*+,;=-._~"
"""What a URI may have as it is: other characters of a query string that came unescaped are escaped in the header."""
_LONGEST_HEADER = 8192

Network = IPv4Network | IPv6Network


class Places:
    """Makes the links of requests.

    They begin with `base_url`, where there is one. Else they are paths, which lead to where the request came, unless a
    trusted proxy says by `X-Forwarded-Proto`, `-Host` and `-Prefix` what its caller has asked for.
    """

    def __init__(self, base_url: str | None, trusted: Sequence[Network]) -> None:
        self._base_url = None if base_url is None else base_url.rstrip("/")
        self._trusted = trusted

    def of(self, scope: Scope) -> Place:
        """The place of a request."""
        return Place(self._base(scope) + scope["raw_path"].decode("latin-1"), scope["query_string"])

    def _base(self, scope: Scope) -> str:
        if self._base_url is not None:
            return self._base_url
        if not self._trusted or not self._is_trusted(scope):
            return ""
        said = _forwarded(scope["headers"])
        prefix, host = said.get("prefix", ""), said.get("host", "")
        prefix = prefix.rstrip("/") if _PREFIX.fullmatch(prefix) else ""
        if not _HOST.fullmatch(host):
            return prefix
        return f"{'https' if said.get('proto', '').lower() == 'https' else 'http'}://{host}{prefix}"

    def _is_trusted(self, scope: Scope) -> bool:
        connection: Connection = scope["state"][CONNECTION]
        try:
            peer = ip_address(connection.peer)
        except ValueError:
            return False
        peer = getattr(peer, "ipv4_mapped", None) or peer
        return any(peer in network for network in self._trusted)


class Place:
    """A request's own URL, and those of other pages of what it asks for."""

    def __init__(self, url: str, query_string: bytes) -> None:
        self._url = url
        self._query_string = query_string
        pieces = [piece for piece in query_string.split(b"&") if piece]
        self._kept = [piece for piece in pieces if _name(piece) not in _PAGING]

    @property
    def own(self) -> str:
        """This page."""
        return f"{self._url}?{self._query_string.decode()}" if self._query_string else self._url

    def page(self, number: int, per_page: int) -> str:
        """The page of a number."""
        return self._with(f"page={number}&per_page={per_page}")

    def cursor(self, cursor: str | None, per_page: int) -> str:
        """The page of a cursor; without one the first."""
        return self._with(f"cursor={cursor}&per_page={per_page}" if cursor else f"per_page={per_page}")

    def _with(self, paging: str) -> str:
        return f"{self._url}?{b'&'.join([paging.encode(), *self._kept]).decode()}"


def header(links: Links) -> Mapping[str, str]:
    """The links as a field (RFC 8288); none where the filters are so long that proxies may refuse it."""
    found = {"first": links.first, "prev": links.prev, "next": links.next, "last": links.last}
    field = ", ".join(f'<{quote(url, safe=_URI)}>; rel="{rel}"' for rel, url in found.items() if url is not None)
    return {"Link": field} if len(field) <= _LONGEST_HEADER else {}


def _name(piece: bytes) -> bytes:
    return unquote_to_bytes(piece.partition(b"=")[0].replace(b"+", b" "))


def _forwarded(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """What proxies said, by name: the first of several has spoken with the caller."""
    start = b"x-forwarded-"
    return {
        name.removeprefix(start).decode("latin-1"): value.decode("latin-1").split(",")[0].strip()
        for name, value in headers
        if name.startswith(start)
    }
