"""Any objects, with pieces or without, are one answer in two forms: as it is, and one gzip member."""

from __future__ import annotations

import gzip
import json
import zlib
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from presenter.api.answers import Gzip, Plain, answer, page_of
from presenter.cache import deflate, items
from presenter.cache.catalog import CachedType
from presenter.cache.query import Piece, Row
from presenter.errors import Damaged
from presenter.resource import ResourceType
from tests.objects import make_object

TYPE = ResourceType("widgets.templates.krateo.io", "v1beta1", "panels", "Panel", True, ("v1beta1",))
PANELS = CachedType(1, "test", TYPE, ())
NOW = datetime(2026, 1, 1, 12, 30, 0, 123456, tzinfo=UTC)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)
DOCUMENTS = st.lists(
    st.tuples(st.dictionaries(st.text(), JSON, max_size=3), st.booleans(), st.sampled_from((1, 1, 1, 50_000))),
    max_size=10,
)


def row(number: int, document: Any) -> Row:
    made = make_object(f"object-{number}")
    raw = json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")
    return Row(1, made.uid, made.namespace, made.name, made.version, made.created_at, NOW, None, raw, None)


def piece(of: Row) -> Piece:
    return Piece(items.piece(items.item(of, "test", TYPE, of.updated_at, of.raw)))


def sent(body: Plain | Gzip, rows: list[Row | Piece]) -> bytes:
    return b"".join(part.body for part in answer(body, rows, {1: PANELS}, page_of(len(rows), "a-cursor")))


@given(DOCUMENTS)
def test_both_forms_of_an_answer_are_the_same_document(documents: list[tuple[Any, bool, int]]) -> None:
    """Whichever of its rows have pieces, and however large they are."""
    rows = [row(n, {**document, "text": "x" * size}) for n, (document, _, size) in enumerate(documents)]
    mixed: list[Row | Piece] = [
        piece(each) if has_piece else each for each, (_, has_piece, _) in zip(rows, documents, strict=True)
    ]
    plain, compressed = sent(Plain(), list(mixed)), sent(Gzip(), list(mixed))
    assert gzip.decompress(compressed) == plain
    decompressor = zlib.decompressobj(31)
    assert decompressor.decompress(compressed) + decompressor.flush() == plain
    assert decompressor.eof
    assert not decompressor.unused_data, "it is one member"
    assert sent(Plain(), list(rows)) == plain, "whether a row has a piece makes no difference"


@given(st.lists(st.tuples(st.binary(max_size=200_000), st.sampled_from((deflate.stored, deflate.compressed)))))
def test_parts_can_be_laid_one_after_another(parts: list[tuple[bytes, Any]]) -> None:
    text = b"".join(text for text, _ in parts)
    assert deflate.inflated(b"".join(make(text) for text, make in parts), len(text)) == text


def test_what_is_damaged_is_not_passed_on() -> None:
    text = b"some text, and some text again" * 100
    part = deflate.compressed(text)
    for parts, length in ((part, len(text) + 1), (part[: len(part) // 2], len(text)), (b"\xff" + part, len(text))):
        with pytest.raises(Damaged):
            deflate.inflated(parts, length)
