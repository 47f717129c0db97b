"""Every write. What the API server said becomes rows, in transactions that carry their checkpoint with them.

One writer serialises its transactions, and each that changes rows has the next revision (see `numbering`): a number
that it writes on every row it touches, and on the watch that brought the change. So who has seen a revision has seen
all below it, and what changed since is what has a higher one. What goes, and what labels were before they change, is
kept as a past state of that revision: from these and the rows follows what has changed since any revision (see `feed`).
"""

from __future__ import annotations

import asyncio
import math
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import structlog

from presenter import raw_json
from presenter.cache import items, writes
from presenter.cache.clock import Reading, SteadyClock
from presenter.cache.lease import UNKNOWN, fence, lease_lost
from presenter.cache.metrics import REFUSED, failures_counted, measured
from presenter.cache.numbering import Numbering
from presenter.cache.pages import row_of
from presenter.cache.unstorable import UNSTORABLE, metadata_only
from presenter.errors import DatabaseUnavailable, UnknownCluster
from presenter.resource import (
    ALL_NAMESPACES,
    RBAC_GROUP,
    SECRET_ANNOTATIONS,
    Event,
    Object,
    ResourceType,
    State,
    Watch,
)

if TYPE_CHECKING:
    import asyncpg

    from presenter.cache.pool import Connection, Pool

    Upsert = Callable[[Connection, Watch, int, "_Rows"], Awaitable["Written"]]

_HARMLESS = sorted(SECRET_ANNOTATIONS)

NOW = math.inf
"""The moment at which something is written, whenever that is."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The resourceVersion up to which the rows are complete.

    `exact`: no row is ahead of it, as some are after a list that was broken off.
    """

    resource_version: str
    exact: bool = True


@dataclass(frozen=True, slots=True)
class PastStates:
    """How many past states of a cluster are kept, and since when all are."""

    count: int
    age: timedelta


@dataclass(frozen=True, slots=True)
class Written:
    """What a write of objects came to: how many are new, and how many could not be stored as they are."""

    fresh: int = 0
    sanitised: int = 0

    def __add__(self, other: Written) -> Written:
        return Written(self.fresh + other.fresh, self.sanitised + other.sanitised)


@dataclass(slots=True)
class _List:
    """A list in progress: the id under which its names are kept, and how many there are."""

    id: int
    names: int = 0


@dataclass(frozen=True, slots=True)
class _Rows:
    """What is stored of some objects, in their order, each with its piece."""

    objects: Sequence[Object]
    pieces: Sequence[bytes]
    updated_at: datetime

    def __getitem__(self, part: slice) -> _Rows:
        return _Rows(self.objects[part], self.pieces[part], self.updated_at)

    @property
    def columns(self) -> tuple[list[Any], ...]:
        """A list for each column."""
        return (
            [object.uid for object in self.objects],
            [object.namespace for object in self.objects],
            [object.name for object in self.objects],
            [object.version for object in self.objects],
            [object.resource_version for object in self.objects],
            [object.created_at for object in self.objects],
            [object.composition_id for object in self.objects],
            [object.labels for object in self.objects],
            [object.raw for object in self.objects],
            list(self.pieces),
        )


class Writer:
    """Writes what one cluster's API server says, under the epoch of its lease (None: nobody else could write).

    Rows are dated by the `clock`, which is read where nobody else does.

    Every method is one transaction. It raises LeaseLost, with nothing written, when another process has taken over,
    and DatabaseUnavailable or DatabaseBusy when it may not have been committed: the caller then starts again from
    `checkpoint`, which tells.
    """

    def __init__(self, pool: Pool, cluster: str, epoch: int | None = None, clock: SteadyClock | None = None) -> None:
        self._pool = pool
        self._cluster = cluster
        self._epoch = epoch
        self._turn = asyncio.Lock()
        self._lists: dict[Watch, _List] = {}
        self._committed: dict[Watch, str] = {}
        self._opened: tuple[str, list[str], bool] | None = None
        self._numbering = Numbering(cluster, epoch)
        self._clock = clock or SteadyClock()
        self._dated = False

    @asynccontextmanager
    async def _transaction(self) -> AsyncIterator[Connection]:
        async with self._connection() as connection, connection.transaction():
            if self._epoch is not None:
                await fence(connection, self._cluster, self._epoch)
            yield connection

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[Connection]:
        with failures_counted():
            async with self._turn, self._pool.connection() as connection:
                before = self._numbering.last
                try:
                    yield connection
                except UNSTORABLE:  # which PostgreSQL has undone
                    self._numbering.last = before
                    raise
                except BaseException:  # whatever it was, it may have been committed
                    self._numbering.last = None
                    raise

    # -- what is watched -----------------------------------------------------------------------------------------------

    async def open_cluster(self, uid: str, watch: Sequence[str], *, secret_data: bool = False) -> None:
        """Record which cluster this is, by the uid of its kube-system namespace, and what is kept of it.

        `watch` are the patterns of WATCH; `secret_data` says whether the values of Secrets are kept. Another cluster
        behind the same name begins a new epoch: nothing is resumed, and lower resourceVersions win. So do Secrets when
        their values are to be kept, or no longer, or when an earlier version kept more of them. A cluster that was
        UNKNOWN gets its uid, and nothing else changes.

        Raises UnknownCluster when the uid is UNKNOWN and that of the cluster so named is not.
        """
        async with self._transaction() as connection:
            before = await connection.fetchrow(writes.CLUSTER, self._cluster)
            known = UNKNOWN if before is None else before["uid"]
            if known and not uid:
                raise UnknownCluster(
                    f"nothing is stored of cluster {self._cluster} as long as its account may not `get` the namespace "
                    f"kube-system: whether it still is the cluster with the uid {known} cannot be told"
                )
            await connection.execute(writes.OPEN_CLUSTER, self._cluster, uid, list(watch), secret_data)
            if known not in (UNKNOWN, uid):
                log.warning("another cluster answers under this name", cluster=self._cluster, was=known, now=uid)
                await connection.execute(writes.BEGIN_ANEW, self._cluster, None)
            elif before is not None and (
                before["secret_data"] != secret_data
                or (not secret_data and await connection.fetchval(writes.READABLE_SECRETS, self._cluster, _HARMLESS))
            ):
                await connection.execute(writes.BEGIN_ANEW, self._cluster, "secrets")
            await self._numbering.at(connection)  # from now on the feed is kept
            await connection.execute(writes.ANNOUNCE)
            others = await connection.fetch(writes.OTHER_NAMES, self._cluster, uid) if uid and uid != known else ()
        self._opened = (uid, list(watch), secret_data)
        for other in others:
            log.warning("the same cluster is here under another name too", cluster=self._cluster, other=other["name"])

    async def is_open(self, type_ids: Collection[int]) -> bool:
        """Whether the database has the cluster as it was opened, and these types: a restored one may not."""
        if self._opened is None:
            return False
        async with self._pool.connection() as connection:
            return bool(await connection.fetchval(writes.IS_OPEN, self._cluster, *self._opened, list(type_ids)))

    async def known_types(self) -> list[ResourceType]:
        """The watched types of this cluster in the cache, from this run or an earlier one."""
        return list((await self.types()).values())

    async def types(self) -> dict[int, ResourceType]:
        """The same, by their keys in the cache."""
        async with self._pool.connection() as connection:
            rows = await connection.fetch(writes.TYPES, self._cluster)
        return {row["id"]: type_of(row) for row in rows}

    async def declare(self, type: ResourceType, namespaces: Sequence[str] = (ALL_NAMESPACES,)) -> list[Watch]:
        """Record the type and its watches, one for each namespace; delete its other watches with their rows.

        A type that is now watched in another version loses its checkpoints, so that its bodies are read anew.
        """
        async with self._transaction() as connection:
            declared = await connection.fetchrow(
                writes.DECLARE_TYPE,
                self._cluster,
                type.group,
                type.resource,
                type.version,
                list(type.versions),
                type.kind,
                type.namespaced,
            )
            assert declared is not None  # INSERT … DO UPDATE … RETURNING always returns its row
            type_id: int = declared["id"]
            if declared["previous_version"] not in (None, type.version):
                await connection.execute(writes.FORGET_CHECKPOINTS, type_id)
            await connection.execute(writes.DECLARE_WATCHES, type_id, list(namespaces))
            if ALL_NAMESPACES not in namespaces:
                dropped, revision = await self._bury(connection, writes.DROP_OTHER_ROWS, type_id, list(namespaces))
                if dropped:
                    await connection.execute(writes.ROWS_DROPPED, type_id, revision)
            await connection.execute(writes.ANNOUNCE)
        return [Watch(type_id, type, namespace) for namespace in namespaces]

    async def record_unwatched(self, types: Collection[ResourceType]) -> None:
        """Record all types of the cluster that cannot be watched, in place of those recorded before."""
        async with self._transaction() as connection:
            await connection.execute(writes.FORGET_UNWATCHED, self._cluster)
            for type in types:
                await connection.execute(
                    writes.RECORD_UNWATCHED,
                    *(self._cluster, type.group, type.resource, list(type.versions), type.kind, type.namespaced),
                )
            await connection.execute(writes.ANNOUNCE)

    async def forget(self, type: ResourceType) -> None:
        """Delete the type with its watches and rows."""
        async with self._transaction() as connection:
            type_id = await connection.fetchval(writes.TYPE_ID, self._cluster, type.group, type.resource)
            await self._bury(connection, writes.FORGET_ROWS, type_id)
            await connection.execute(writes.FORGET_TYPE, type_id)
            await connection.execute(writes.COMPLETED, self._cluster)
            await connection.execute(writes.ANNOUNCE)

    async def discovered(self) -> None:
        """Record that all types of the cluster which WATCH selects have been declared; once is enough."""
        async with self._transaction() as connection:
            news = [
                await connection.execute(writes.DISCOVERED, self._cluster),
                await connection.execute(writes.COMPLETED, self._cluster),
            ]
            if any(map(_count, news)):
                await connection.execute(writes.ANNOUNCE)

    # -- how far a watch is --------------------------------------------------------------------------------------------

    async def checkpoint(self, watch: Watch) -> Checkpoint | None:
        """The checkpoint of a watch; None where it has none, so that only a list helps."""
        async with self._pool.connection() as connection:
            row = await connection.fetchrow(writes.CHECKPOINT, watch.type_id, watch.namespace)
        if row is None or row["checkpoint"] is None:
            self._committed.pop(watch, None)
            return None
        self._committed[watch] = row["checkpoint"]
        return Checkpoint(row["checkpoint"], exact=not row["listing"])

    async def set_state(self, watch: Watch, state: State, error: str = "") -> None:
        """Store the state of a watch, and its error."""
        async with self._transaction() as connection:
            await connection.execute(writes.SET_STATE, watch.type_id, watch.namespace, state, error)
            if error and _count(await connection.execute(writes.COMPLETED, self._cluster)):
                await connection.execute(writes.ANNOUNCE)

    async def new_epoch(self, watch: Watch) -> None:
        """Accept that resourceVersions went back: forget the type's checkpoints and let lower versions overwrite."""
        async with self._transaction() as connection:
            await connection.execute(writes.NEW_EPOCH, watch.type_id)
            await connection.execute(writes.FORGET_CHECKPOINTS, watch.type_id)
        self._committed.pop(watch, None)

    async def count_repairs(self, watch: Watch, differences: int) -> None:
        """Count differences between cache and cluster that are about to be mended."""
        async with self._transaction() as connection:
            await connection.execute(writes.REPAIRED, watch.type_id, watch.namespace, differences)

    # -- objects -------------------------------------------------------------------------------------------------------

    async def begin_list(self, watch: Watch) -> None:
        """Start a list. What it names is kept under an id of its own, so that a list broken off has no say in it."""
        broken_off = self._lists.get(watch)
        self._lists[watch] = _List(secrets.randbits(63))
        async with self._transaction() as connection:
            if broken_off is not None:
                await connection.execute(writes.FORGET_LISTED, broken_off.id)
            await connection.execute(writes.FORGET_ABANDONED)
            await connection.execute(writes.BEGIN_LIST, watch.type_id, watch.namespace)

    async def list_page(self, watch: Watch, objects: Sequence[Object], *, unreadable: int = 0) -> None:
        """Store one page of a list: what differs is written, everything is remembered for the sweep.

        `unreadable` items could not even be read; they are counted.
        """
        with measured("list", len(objects)):
            try:
                await self._list_page(self._upsert, watch, objects, unreadable)
            except UNSTORABLE:
                await self._list_page(self._upsert_in_parts, watch, objects, unreadable)

    async def list_events(self, watch: Watch, events: Sequence[Event], *, unreadable: int = 0) -> None:
        """The same for a list that comes as a stream of events, in which an object named before may go again."""
        last = _last_of_each(events)
        gone = [event.object for event in last if event.change == "delete"]
        await self.list_page(watch, [event.object for event in last if event.change == "upsert"], unreadable=unreadable)
        if gone:
            async with self._transaction() as connection:
                unlisted = await connection.execute(
                    writes.UNLIST, self._lists[watch].id, [object.uid for object in gone]
                )
                await self._delete(connection, watch, gone)
            self._lists[watch].names -= _count(unlisted)

    async def _list_page(self, upsert: Upsert, watch: Watch, objects: Sequence[Object], unreadable: int) -> None:
        uids = [object.uid for object in objects]
        async with self._pool.connection() as connection:
            found = await connection.fetch(writes.STORED, self._cluster, watch.type_id, watch.namespace, uids)
        if not found:
            raise DatabaseUnavailable(f"PostgreSQL has lost the watch of {watch}")
        stored = {row["uid"]: (row["resource_version"], row["version"]) for row in found if row["uid"] is not None}
        if any(_is_behind(object, stored.get(object.uid)) for object in objects):
            await self.new_epoch(watch)  # then equal versions prove nothing either: all of it is to be written again
            raise DatabaseUnavailable(f"the cluster has older versions of {watch} than the cache: it went back")
        differing = {object.uid: object for object in objects if not _is_stored(object, stored.get(object.uid))}
        rows = await self._rows(watch.type, list(differing.values()))
        async with self._transaction() as connection:
            as_read = (found[0]["revision"], found[0]["epoch"])
            remembered = (self._lists[watch].id, uids, watch.type_id, watch.namespace, *as_read)
            if not await connection.fetchval(writes.REMEMBER_LISTED, *remembered):
                raise DatabaseUnavailable(f"the rows of {watch} are not what they were when its list was compared")
            if differing or unreadable:
                revision = await self._numbering.next(connection)
                written = await upsert(connection, watch, revision, rows)
                await self._count(connection, watch, revision, written.fresh, written.sanitised + unreadable)
        self._lists[watch].names += len(uids)

    async def finish_list(self, watch: Watch, resource_version: str, *, as_of: float = NOW) -> None:
        """Delete what the list did not name and take its resourceVersion as the checkpoint.

        `as_of`: when the cluster was as the list says (time.monotonic).
        """
        listed = self._lists[watch]
        async with self._transaction() as connection:
            if await connection.fetchval(writes.COUNT_LISTED, listed.id) != listed.names:
                raise DatabaseUnavailable(f"PostgreSQL has lost a part of the list of {watch}, as a crash makes it do")
            await connection.execute(writes.SWEEP_BY_HASH)
            swept, revision = await self._bury(
                connection, writes.SWEEP, watch.type_id, watch.namespace, listed.id, always=True
            )
            await connection.execute(writes.FORGET_LISTED, listed.id)
            await connection.execute(
                writes.LIST_FINISHED,
                watch.type_id,
                watch.namespace,
                resource_version,
                self._cluster,
                _since(as_of),
                revision,
            )
            await connection.execute(writes.COMPLETED, self._cluster)
            await connection.execute(writes.ANNOUNCE)
        self._committed[watch] = resource_version
        log.info("listed", type=str(watch), resource_version=resource_version, swept=swept)

    async def apply(
        self,
        watch: Watch,
        events: Sequence[Event],
        checkpoint: str | None,
        *,
        unreadable: int = 0,
        as_of: float | None = NOW,
    ) -> None:
        """Store a run of events and, with them, the resourceVersion they reach up to (None: as before).

        `as_of`: when the cluster was as the rows are then (time.monotonic); None: the watch has not caught up, and so
        is neither live nor fresher than before. `unreadable` events could not even be read; they are counted. Raises
        DatabaseUnavailable when the database's checkpoint is not the one of the last commit: what it has lost since,
        in a crash or a failover, would be missing for ever.
        """
        last = _last_of_each(events)
        upserts = [event.object for event in last if event.change == "upsert"]
        deletes = [event.object for event in last if event.change == "delete"]
        rest = (deletes, checkpoint, len(events) + unreadable, unreadable, as_of)
        with measured("events", len(events)):
            rows = await self._rows(watch.type, upserts)
            try:
                async with self._connection() as connection:
                    await self._apply(connection, watch, rows, *rest)
            except UNSTORABLE:
                rows = await self._rows(watch.type, upserts)
                async with self._transaction() as connection:
                    revision = await self._apply(connection, watch, rows[:0], *rest)
                    written = await self._upsert_in_parts(connection, watch, revision, rows)
                    await self._count(connection, watch, revision, written.fresh, written.sanitised)
        if checkpoint is not None:
            self._committed[watch] = checkpoint

    async def _apply(
        self,
        connection: Connection,
        watch: Watch,
        rows: _Rows,
        deletes: Sequence[Object],
        checkpoint: str | None,
        events: int,
        unreadable: int,
        as_of: float | None,
    ) -> int:
        """Returns the revision it has."""
        committed = self._committed.get(watch)
        last = await self._numbering.at(connection)
        revision = last + 1 if events else last
        self._numbering.attempt(revision)
        outcome = await connection.fetchrow(
            writes.APPLY,
            self._cluster,
            watch.type_id,
            *rows.columns,
            rows.updated_at,
            revision,
            self._epoch,
            watch.namespace,
            committed,
            [object.uid for object in deletes],
            [object.resource_version for object in deletes],
            checkpoint,
            events,
            sum(object.sanitised for object in rows.objects) + unreadable,
            bool(events) and watch.type.group == RBAC_GROUP,
            None if as_of is None else _since(as_of),
            last,
        )
        assert outcome is not None  # it has no FROM
        if self._epoch is not None and not outcome["leads"]:
            raise lease_lost(self._cluster, self._epoch)
        if committed is not None and not outcome["found"]:
            raise DatabaseUnavailable(f"PostgreSQL is not at {committed} in {watch}, where it was left")
        if outcome["found"] and not outcome["moved"]:
            raise self._numbering.misplaced()
        if outcome["moved"]:
            self._numbering.last = revision
        return revision

    async def _delete(self, connection: Connection, watch: Watch, objects: Sequence[Object]) -> None:
        revision = await self._numbering.next(connection)
        deleted = await connection.fetchval(
            writes.DELETE,
            self._cluster,
            watch.type_id,
            revision,
            [object.uid for object in objects],
            [object.resource_version for object in objects],
        )
        await self._count(connection, watch, revision, -deleted, 0)

    async def _bury(
        self, connection: Connection, statement: str, type_id: int, *which: object, always: bool = False
    ) -> tuple[int, int]:
        """Delete rows of a type, any number, under as many revisions as they take; `always`: one at least.

        Returns how many there were, and the last revision.
        """
        last = await self._numbering.at(connection)
        gone = await connection.fetchrow(statement, self._cluster, type_id, last + 1, *which)
        assert gone is not None  # it counts
        if gone["gone"] or always:
            await self._numbering.next(connection, gone["revision"] - last)
        return gone["gone"], gone["revision"]

    async def _count(self, connection: Connection, watch: Watch, revision: int, objects: int, sanitised: int) -> None:
        await connection.execute(writes.COUNT, watch.type_id, watch.namespace, objects, sanitised, revision)

    # -- rows ----------------------------------------------------------------------------------------------------------

    async def _rows(self, type: ResourceType, objects: Sequence[Object]) -> _Rows:
        """What is to be stored of objects, made before others have to wait for it.

        Who asks for a turn next gets the next one: so rows are dated in the order in which they are committed.
        """
        now = await self._now()
        return _Rows(objects, [self._piece(type, object, now) for object in objects], now)

    async def _now(self) -> datetime:
        """The date of what is written now: by the database's clock, and after that of all that is there already."""
        if self._clock.due or not self._dated:
            async with self._pool.connection() as connection:
                began = time.monotonic()
                said = await connection.fetchval(writes.CLOCK)
                self._clock.read(Reading.between(began, time.monotonic(), said))
                if not self._dated and (latest := await connection.fetchval(writes.LATEST, self._cluster)) is not None:
                    self._clock.go_on_from(latest)
            self._dated = True
        return self._clock.now()

    def _piece(self, type: ResourceType, object: Object, updated_at: datetime) -> bytes:
        return items.piece(items.item(object, self._cluster, type, updated_at, object.raw))

    async def _upsert(self, connection: Connection, watch: Watch, revision: int, rows: _Rows) -> Written:
        if not rows.objects:
            return Written()
        fresh = await connection.fetchval(
            writes.UPSERT, self._cluster, watch.type_id, *rows.columns, rows.updated_at, revision
        )
        return Written(fresh, sum(object.sanitised for object in rows.objects))

    async def _upsert_in_parts(self, connection: Connection, watch: Watch, revision: int, rows: _Rows) -> Written:
        """Halve until what PostgreSQL refuses stands alone, and store something of it that it takes."""
        try:
            async with connection.transaction():
                return await self._upsert(connection, watch, revision, rows)
        except UNSTORABLE as error:
            if len(rows.objects) == 1:
                return await self._upsert_mended(connection, watch, revision, rows, str(error))
        middle = len(rows.objects) // 2
        written = await self._upsert_in_parts(connection, watch, revision, rows[:middle])
        return written + await self._upsert_in_parts(connection, watch, revision, rows[middle:])

    async def _upsert_mended(
        self, connection: Connection, watch: Watch, revision: int, refused: _Rows, refusal: str
    ) -> Written:
        """Store of an object what PostgreSQL takes, or leave it out, as one whose very name no index can hold."""
        [object] = refused.objects
        place = {"type": str(watch), "namespace": object.namespace, "name": object.name[:253]}
        REFUSED.inc()
        mended = metadata_only(object, watch.type, refusal)
        piece = self._piece(watch.type, mended, refused.updated_at)
        try:
            async with connection.transaction():
                written = await self._upsert(connection, watch, revision, _Rows([mended], [piece], refused.updated_at))
        except UNSTORABLE as error:
            log.error("left out, PostgreSQL refuses even its metadata", **place, error=str(error))
            return Written(sanitised=1)
        log.warning("only metadata is kept, PostgreSQL refuses the rest", **place, error=refusal)
        return written

    # -- past states ---------------------------------------------------------------------------------------------------

    async def remove_past(self, age: timedelta, count: int, most: int) -> int:
        """Remove past states that are older than that, and the oldest of more than so many: the first `most` of them.

        Returns how many there were, a few more than `most` where these are of one revision.
        """
        async with self._transaction() as connection:
            removed: int = await connection.fetchval(writes.REMOVE_PAST, self._cluster, age, count, most)
        return removed

    async def past_states(self) -> PastStates:
        """How many are kept, and how old the oldest is."""
        async with self._pool.connection() as connection:
            row = await connection.fetchrow(writes.PAST_STATES, self._cluster)
        assert row is not None  # it counts
        return PastStates(row["count"], row["age"])

    # -- pieces --------------------------------------------------------------------------------------------------------

    async def make_pieces(
        self, type_id: int, type: ResourceType, after: str, looked_at: int, most: int
    ) -> tuple[str | None, int]:
        """Make the pieces of rows that have none: of `most` among the next `looked_at` after this uid.

        Returns the uid to go on after, None at the end, and how many were made. What is served does not change by it,
        so that it is no new revision.
        """
        async with self._transaction() as connection:
            until = await connection.fetchval(writes.FURTHER_ON, self._cluster, type_id, after, looked_at)
            if until is None:
                return None, 0
            records = await connection.fetch(writes.WITHOUT_PIECE, self._cluster, type_id, after, until, most)
            rows = [row_of(record) for record in records]
            if rows:
                uids = [row.uid for row in rows]
                pieces = [
                    items.piece(items.item(row, self._cluster, type, row.updated_at, raw_json.compact(row.raw or b"")))
                    for row in rows
                ]
                await connection.execute(writes.PUT_PIECES, self._cluster, type_id, uids, pieces)
        return (rows[-1].uid if len(rows) == most else until), len(rows)


def type_of(row: asyncpg.Record) -> ResourceType:
    """The type that a row of `resource_types` describes."""
    return ResourceType(
        group=row["api_group"],
        version=row["version"],
        resource=row["resource"],
        kind=row["kind"],
        namespaced=row["namespaced"],
        versions=tuple(row["versions"]),
    )


def _since(moment: float) -> timedelta:
    return timedelta(seconds=max(0.0, time.monotonic() - moment))


def _last_of_each(events: Sequence[Event]) -> list[Event]:
    """The last event of each object: that of the highest resourceVersion, or, where one is no number, the latest."""
    last: dict[str, Event] = {}
    for event in events:
        before = last.get(event.object.uid)
        if before is None or not _is_older(event.object, before.object):
            last[event.object.uid] = event
    return list(last.values())


def _is_older(object: Object, than: Object) -> bool:
    if object.resource_version is None or than.resource_version is None:
        return False
    return object.resource_version < than.resource_version


def _is_stored(object: Object, stored: tuple[int, str] | None) -> bool:
    return object.resource_version is not None and stored == (object.resource_version, object.version)


def _is_behind(object: Object, stored: tuple[int | None, str] | None) -> bool:
    """Whether a list, which is consistent, tells of an older state than the one that is stored."""
    if object.resource_version is None or stored is None or stored[0] is None:
        return False
    return object.resource_version < stored[0]


def _count(tag: str) -> int:
    """The number of rows in a command tag: `DELETE 3`."""
    return int(tag.rpartition(" ")[2])
