"""What is sent to PostgreSQL for a page, beside what it costs there."""

from __future__ import annotations

import itertools

import pytest

from presenter.cache.query import Filters, Query, Sort
from presenter.cache.scope import Leg
from presenter.cache.statements import StatementMaker

NAMESPACES = tuple(f"namespace-{number:03}" for number in range(400))


def sent(query: Query) -> int:
    """Characters of the arguments of everything that may be asked for a page."""
    statements = [StatementMaker(query).walked(2000), StatementMaker(query).few_matched(4000)]
    return sum(len(str(argument)) for _, arguments in statements for argument in arguments)


@pytest.mark.parametrize("sort", Sort)
def test_namespaces_that_may_be_seen_of_many_types_are_sent_once(sort: Sort) -> None:
    legs = tuple(Leg(type_id, NAMESPACES) for type_id in range(30))
    query = Query(legs, sort, False, 50, Filters(labels=(("app", "a"),)))
    one = Query(legs[:1], sort, False, 50, query.filters)
    assert sent(query) < 1.5 * sent(one)


def test_one_text_serves_whoever_asks() -> None:
    """It is prepared once: no text depends on how many namespaces there are, or which types share them."""
    texts = set()
    for first, step in itertools.product((0, 1, 7), (1, 2, 3)):
        legs = tuple(Leg(type_id, NAMESPACES[first + type_id % 3 :: step]) for type_id in range(30))
        texts.add(StatementMaker(Query(legs, Sort.CREATED_AT, True, 50)).walked(2000)[0])
    assert len(texts) == 1
