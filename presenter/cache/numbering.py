"""The revisions of a cluster: which is the next, and which of them a failover may have undone.

A cluster's last revision is in its row, and each transaction that changes rows moves it on by one from where the one
before has left it. Where it is not there, the database has lost something. Then, and with every new leader, who cannot
know, the numbers leap beyond all that may have been used; those in between are positions that nobody can go on from.

A version of this program that keeps no past states may have led in between. Each lease has the next epoch, and whoever
takes one after a leader that kept the feed moves `feed_epoch` on with it (see `lease`): where it has fallen behind, the
feed begins anew.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from presenter.cache.lease import FENCE
from presenter.errors import DatabaseUnavailable

if TYPE_CHECKING:
    from presenter.cache.pool import Connection

# 2**20: more than the writer before can have used in transactions that were lost since, and than anybody uses in a
# second. So by the clock no number comes again either where the database itself was lost, or the cluster forgotten.
_TAKE_UP = f"""
UPDATE clusters c SET revision = next.revision, feed_epoch = $2,
    feed_begins = CASE WHEN kept THEN feed_begins ELSE next.revision END,
    lost = CASE WHEN kept THEN lost + int8multirange(int8range(c.revision + 1, next.revision)) ELSE '{{}}' END
FROM (
    SELECT revision > 0 AND ($2::bigint IS NULL OR feed_epoch = $2) AS kept, (1::bigint << 20) + greatest(
        revision, $3::bigint, (extract(epoch FROM clock_timestamp()) * (1 << 20))::bigint,
        (SELECT max(w.revision) FROM watches w JOIN resource_types t ON t.id = w.type_id WHERE t.cluster = $1)
    ) AS revision
    FROM clusters WHERE name = $1 FOR UPDATE
) AS next
WHERE c.name = $1 AND NOT (c.revision = $3 AND kept)
    AND ($2 IS NULL OR EXISTS ({FENCE.format(epoch="$2")}))
RETURNING c.revision
"""
_MOVE = "UPDATE clusters SET revision = $3 WHERE name = $1 AND revision = $2"


class Numbering:
    """The revisions of one cluster, for its writer."""

    def __init__(self, cluster: str, epoch: int | None) -> None:
        self._cluster = cluster
        self._epoch = epoch
        self._highest = 0
        self._last: int | None = None

    @property
    def last(self) -> int | None:
        """Where this writer has left the database; None: where it is has to be looked up."""
        return self._last

    @last.setter
    def last(self, revision: int | None) -> None:
        self._last = revision
        self.attempt(revision or 0)

    def attempt(self, revision: int) -> None:
        """Note that this one may be committed, whatever becomes known of it."""
        self._highest = max(self._highest, revision)

    async def at(self, connection: Connection) -> int:
        """The last revision, from which the next transaction moves it on."""
        if self.last is None:
            taken_up = await connection.fetchval(_TAKE_UP, self._cluster, self._epoch, self._highest)
            self.last = self._highest if taken_up is None else taken_up
            assert self.last is not None
        return self.last

    async def next(self, connection: Connection, count: int = 1) -> int:
        """Move it on. Returns the last of so many revisions, which are this transaction's, if it is committed.

        Raises DatabaseUnavailable when the database is not where it was left.
        """
        last = await self.at(connection)
        if await connection.execute(_MOVE, self._cluster, last, last + count) != "UPDATE 1":
            raise self.misplaced()
        self.last = last + count
        return last + count

    def misplaced(self) -> DatabaseUnavailable:
        """The error of a transaction that has not found the database where it was left."""
        return DatabaseUnavailable(f"PostgreSQL is not at revision {self.last} of {self._cluster}, where it was left")
