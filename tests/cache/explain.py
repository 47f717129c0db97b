"""What PostgreSQL does to answer a page: a pool that explains every statement it is given, and runs it, too."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from presenter.cache.explain import explain
from presenter.cache.pool import Pool

if TYPE_CHECKING:
    import asyncpg

    from presenter.cache.pool import Connection

Node = dict[str, Any]


@dataclass(frozen=True)
class Plan:
    """A plan that was run, as EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) tells it."""

    sql: str
    root: Node

    def nodes(self) -> Iterator[Node]:
        """All nodes, from the root on."""
        waiting = [self.root]
        while waiting:
            node = waiting.pop()
            yield node
            waiting += node.get("Plans", ())

    @property
    def buffers(self) -> int:
        """Pages of 8 kB that were looked at, each as often as it was."""
        return int(self.root["Shared Hit Blocks"] + self.root["Shared Read Blocks"])

    @property
    def sequential_scans(self) -> int:
        """How often a table was read from end to end."""
        return len([node for node in self.scans() if node["Node Type"] == "Seq Scan"])

    @property
    def sorted_rows(self) -> int:
        """The rows that went into the largest sort."""
        return max((_rows(node["Plans"][0]) for node in self.nodes() if "Sort Key" in node), default=0)

    @property
    def visited_rows(self) -> int:
        """Rows and index entries that were looked at, needed or not."""
        removed = ("Rows Removed by Filter", "Rows Removed by Index Recheck")
        return sum(
            _rows(node) + round(sum(node.get(name, 0) for name in removed) * node["Actual Loops"])
            for node in self.scans()
        )

    def scans(self) -> Iterator[Node]:
        """Those of objects: not those of the few watches, whose revisions come with every page."""
        return (node for node in self.nodes() if node.get("Relation Name", "").startswith("resources"))


def _rows(node: Node) -> int:
    return int(node["Actual Rows"] * node["Actual Loops"])


@dataclass
class ExplainingPool(Pool):
    """Explains what it is asked, and keeps the plans in order."""

    pool: Pool
    plans: list[Plan] = field(default_factory=list)

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """A connection on which only `fetch` works."""
        async with self.pool.connection() as connection:
            yield _Explaining(connection, self.plans)  # type: ignore[misc]  # it is all that read_page needs


@dataclass(frozen=True)
class _Explaining:
    connection: Connection
    plans: list[Plan]

    async def fetch(self, sql: str, *arguments: Any) -> list[asyncpg.Record]:
        """Explain it, and fetch."""
        explained = await explain(self.connection, sql, arguments, "ANALYZE, BUFFERS, SETTINGS, FORMAT JSON")
        self.plans.append(Plan(sql, json.loads(explained)[0]["Plan"]))
        return await self.connection.fetch(sql, *arguments)
