"""Heads of requests: what is let through, and what the parser is given."""

from __future__ import annotations

from urllib.parse import parse_qsl, quote

import httptools
import pytest
from hypothesis import given
from hypothesis import strategies as st

from presenter.errors import BadRequest, HeadersTooLarge, PresenterError, UriTooLong
from presenter.http import head

REST = b"\r\nHost: presenter\r\nAccept: */*\r\n\r\n"
WORDS = st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="#&=+%"))


class Parsed:
    """What the parser makes of a head."""

    def __init__(self, data: bytes) -> None:
        self.urls: list[bytes] = []
        self.headers: list[tuple[bytes, bytes]] = []
        self.completed = 0
        parser = httptools.HttpRequestParser(self)
        parser.feed_data(data)
        self.method = parser.get_method()

    def on_url(self, url: bytes) -> None:
        self.urls.append(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name, value))

    def on_message_complete(self) -> None:
        self.completed += 1


def line(text: str) -> bytes:
    return text.encode() + REST


@given(st.lists(st.tuples(WORDS, WORDS), max_size=4), st.sampled_from(["GET", "get", "Post", "HEAD"]))
def test_a_query_is_what_was_meant(pairs: list[tuple[str, str]], method: str) -> None:
    query = "&".join(f"{name}={value}" for name, value in pairs)
    parsed = Parsed(head.as_meant(line(f"{method} /resources?{query} HTTP/1.1")))
    assert parsed.method == method.upper().encode()
    [url] = parsed.urls
    path, _, sent = url.partition(b"?")
    assert path == b"/resources"
    kept = [(name, value) for name, value in pairs]
    assert parse_qsl(sent.decode(), keep_blank_values=True) == kept
    assert parsed.headers == [(b"Host", b"presenter"), (b"Accept", b"*/*")]
    assert parsed.completed == 1


@given(st.binary(max_size=60), st.binary(max_size=200))
def test_whatever_comes_it_stays_one_request_of_the_same_headers(middle: bytes, rest: bytes) -> None:
    """Nothing that is let through ends elsewhere, or has other headers, than what had come."""
    data = b"GET /?" + middle + b" HTTP/1.1\r\nHost: a\r\n" + rest + b"\r\n\r\n"
    end = data.index(head.END) + len(head.END)
    try:
        given_to_parser = head.as_meant(data[:end])
    except PresenterError:
        return
    assert given_to_parser.count(b"\r\n") == data[:end].count(b"\r\n")
    assert given_to_parser.split(b"\r\n", 1)[1] == data[:end].split(b"\r\n", 1)[1]


@given(st.lists(st.sampled_from(["Upgrade: h2c", "UPGRADE:", "Upgrade-Insecure-Requests: 1", "A: upgrade: b", "B: c"])))
def test_of_a_wish_for_another_protocol_nothing_stays(lines: list[str]) -> None:
    whole, without = (
        "\r\n".join(["GET /?upgrade:a HTTP/1.1", *some, "", ""]).encode()
        for some in (lines, [one for one in lines if not one.lower().startswith("upgrade:")])
    )
    assert head.without_upgrade(whole) == without


@given(st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1))
def test_what_needs_no_mending_is_not_touched(target: str) -> None:
    whole = line(f"GET /{target} HTTP/1.1")
    assert head.as_meant(whole) is whole


@pytest.mark.parametrize(
    "beginning",
    [
        "GET /a b HTTP/1.1",  # outside the query
        "GET /é?a=b HTTP/1.1",
        "GET /a#b?c d HTTP/1.1",
        "GET /a HTTP/1.1 ?b HTTP/1.1",
        "GET  /a HTTP/1.1",
        "GET /a HTTP/2.0",
        "GET /a?b HTTP/1.2",
        "GET /a",
        "GET",
        "",
        " GET /a HTTP/1.1",
        "\x16\x03\x01",
        "G\tT /a HTTP/1.1",
    ],
)
def test_what_is_no_request_is_refused(beginning: str) -> None:
    with pytest.raises(BadRequest):
        head.as_meant(line(beginning))


@pytest.mark.parametrize("target", ["/a?b\rc", "/a?\r", "/a?b\nc"])
def test_a_query_does_not_hold_the_end_of_a_line(target: str) -> None:
    with pytest.raises((BadRequest, httptools.HttpParserError)):
        Parsed(head.as_meant(line(f"GET {target} HTTP/1.1")))


def test_as_many_headers_as_are_allowed() -> None:
    lines = [f"x-{number}: y" for number in range(head.MAX_HEADERS)]
    whole = "\r\n".join(["GET / HTTP/1.1", *lines, "", ""]).encode()
    assert head.as_meant(whole) is whole
    with pytest.raises(HeadersTooLarge, match="100 headers"):
        head.as_meant(whole.replace(b"x-1:", b"one: more\r\nx-1:"))


def test_as_many_bytes_as_are_allowed() -> None:
    whole = line(f"GET /?{'a' * (head.MAX_BYTES - len(line('GET /? HTTP/1.1')))} HTTP/1.1")
    assert len(whole) == head.MAX_BYTES
    assert head.as_meant(whole) is whole
    with pytest.raises(HeadersTooLarge, match="65536 bytes"):
        head.check(whole + b"a")
    with pytest.raises(UriTooLong, match="65536 bytes"):
        head.check(b"GET /?" + b"a" * head.MAX_BYTES)


@given(st.integers(0, 200))
def test_the_beginning_of_a_good_head_is_good(size: int) -> None:
    whole = line(f'GET /resources?name={quote("ä")}&labels={{"a":"ä b"}} HTTP/1.1')
    head.check(whole[:size] or b"G")
