"""What rows must be like: filters → conditions in SQL, and the terms by which an index finds what may fulfil them."""

from __future__ import annotations

from typing import Any

import msgspec

from presenter.cache.expressions import COMPOSITION_OR_LAST
from presenter.cache.query import Filters

TRIGRAM = 3
"""The shortest part of a name that can be looked up."""

_PIECES = 8
"""So many threes of letters of a part of a name are looked up at most."""


class Arguments(list[Any]):
    """The arguments of a statement, in the order of their numbers."""

    def add(self, value: Any, type: str) -> str:
        """One more; returns what stands for it in the text."""
        self.append(value)
        return f"${len(self)}::{type}"


def conditions(filters: Filters, arguments: Arguments) -> dict[str, str]:
    """What a row must fulfil, by the filters' names."""
    found = {}
    if filters.name is not None:
        found["name"] = f"name = {arguments.add(filters.name, 'text')}"
    if filters.composition_id is not None:
        # The index is on the expression, which the greatest UUID would meet where there is none.
        composition_id = arguments.add(filters.composition_id, "uuid")
        found["composition_id"] = f"{COMPOSITION_OR_LAST} = {composition_id} AND composition_id IS NOT NULL"
    if filters.since is not None:
        found["since"] = f"updated_at >= {arguments.add(filters.since, 'timestamptz')}"
    if filters.name_contains is not None:
        part = arguments.add(filters.name_contains, "text")
        found["name_contains"] = f'strpos(lower(name), lower({part} COLLATE "C")) > 0'
    if filters.labels is not None:
        labels = msgspec.json.encode(dict(filters.labels))
        found["labels"] = f"labels @> {arguments.add(labels, 'jsonb')}"
    return found


def terms(filters: Filters) -> list[Filters]:
    """What objects can be looked up by in the index of terms, each by itself: labels, and pieces of a part of the name.

    Not every three letters, since that would be many: only so many that they are all its letters.
    """
    part = filters.name_contains or ""
    starts = [*range(0, len(part) - TRIGRAM, TRIGRAM), len(part) - TRIGRAM][-_PIECES:]
    pieces = dict.fromkeys(part[start : start + TRIGRAM] for start in starts if start >= 0)
    labels = filters.labels or ()
    return [*(Filters(labels=(pair,)) for pair in labels), *(Filters(name_contains=piece) for piece in pieces)]
