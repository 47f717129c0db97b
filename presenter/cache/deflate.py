"""Gzip that is put together from parts, each of which was compressed on its own.

A part is a stretch of a raw deflate stream (RFC 1951). It begins with a fresh state and ends with a full flush, on the
border of a byte, so that it refers to nothing before it: laid one after another, parts are one stream. A gzip member
(RFC 1952) is such a stream with a header, and with the checksum and the length of all that is in it, which are found
from those of the parts.
"""

from __future__ import annotations

from isal import isal_zlib

from presenter.errors import Damaged

_RAW = -15
_LEVEL = 1
"""The next ones take longer and save less than one part in fifty."""

_HEADER = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"
_END = b"\x03\x00"
"""An empty block that is the last."""
_LONGEST_STORED = 0xFFFF
_WORTHWHILE = 128
"""Bytes below which text is stored as it is: to compress it would hardly make it shorter."""


def compressed(text: bytes | bytearray) -> bytes:
    """A part."""
    compressor = isal_zlib.compressobj(_LEVEL, isal_zlib.DEFLATED, _RAW)
    return compressor.compress(text) + compressor.flush(isal_zlib.Z_FULL_FLUSH)


def stored(text: bytes | bytearray) -> bytes:
    """A part that holds the text as it is."""
    blocks = []
    for begin in range(0, len(text), _LONGEST_STORED):
        block = text[begin : begin + _LONGEST_STORED]
        length = len(block)
        blocks += [b"\x00", length.to_bytes(2, "little"), (length ^ 0xFFFF).to_bytes(2, "little"), block]
    return b"".join(blocks)


def inflated(parts: bytes, length: int) -> bytes:
    """The text of parts that lie one after another, which has so many bytes. Raises Damaged when it has not."""
    try:
        text: bytes = isal_zlib.decompressobj(_RAW).decompress(parts, length) if length else b""
    except isal_zlib.error as error:  # type: ignore[misc]  # it is a class, whatever its types say
        raise Damaged(f"what is stored compressed cannot be read: {error}") from error
    if len(text) != length:
        raise Damaged(f"what is stored compressed has {len(text)} bytes, and not {length} as it should")
    return text


class Member:
    """A gzip member in the making. What was put into it since the last `take` is taken out by the next."""

    __slots__ = ("_crc", "_length", "_parts")

    def __init__(self) -> None:
        self._parts = [_HEADER]
        self._crc = self._length = 0

    def text(self, text: bytes | bytearray) -> None:
        """Put in what has not been compressed yet."""
        part = stored(text) if len(text) < _WORTHWHILE else compressed(text)
        self.part(part, isal_zlib.crc32(text), len(text))

    def part(self, part: bytes, crc: int, length: int) -> None:
        """Put in a part with this text's CRC-32 and length."""
        self._parts.append(part)
        self._crc = isal_zlib.crc32_combine(self._crc, crc, length)
        self._length += length

    def take(self) -> bytes:
        """The bytes of what was put in last."""
        taken = b"".join(self._parts)
        self._parts.clear()
        return taken

    def end(self) -> None:
        """Nothing is put in any more."""
        length = self._length & 0xFFFFFFFF
        self._parts += [_END, self._crc.to_bytes(4, "little"), length.to_bytes(4, "little")]
