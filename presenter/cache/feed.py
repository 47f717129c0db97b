"""The feed of changes: what has become of a cluster's objects since a revision, read in batches.

A position is a revision: that of a batch's end, or that of the cluster in the snapshot in which objects were read. Who
follows from there is told what its objects have become, not each state on the way.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from presenter.cache.query import Piece, Row
from presenter.resource import ResourceType

if TYPE_CHECKING:
    from presenter.cache.pool import Pool

ROWS, BYTES = 500, 4 * 2**20
"""What a batch has at most, if its first revision has no more: changes, and bytes of items as they are stored."""


class State(msgspec.Struct, frozen=True):
    """What of an object may change, and objects are chosen by."""

    labels: Mapping[str, Any]
    composition_id: str | None


class Change(msgspec.Struct, frozen=True):
    """What became of an object in a batch. Its uid, namespace and name stay what they are.

    `revision` is that of its last change in the batch. `before` and `after` are its states at the batch's start and
    end; None: it was not there, or is gone. `item` is what a list gives of it now, or gave of it last. `passed`: it
    changed again after the batch's end, so that `item` is newer, and it comes again in a later batch.
    """

    revision: int
    type_id: int
    type: ResourceType
    uid: str
    namespace: str
    name: str
    before: State | None
    after: State | None
    item: Piece | Row
    passed: bool


class Batch(msgspec.Struct, frozen=True):
    """What changed after the revision `after` up to `revision`: one change of each object, by their revisions.

    `more`: there is more to read at once.
    """

    after: int
    revision: int
    changes: list[Change]
    more: bool


def news(change: Change, matches: Callable[[State], bool]) -> Literal["ADDED", "MODIFIED", "DELETED"] | None:
    """What to tell of a change to who follows the objects that match; None: nothing.

    Who is told so has, once there is no more to read, what a list would give. What has passed is told later, unless it
    has left.
    """
    was = change.before is not None and matches(change.before)
    if change.after is None or not matches(change.after):
        return "DELETED" if was else None
    if change.passed:
        return None
    return "MODIFIED" if was else "ADDED"


async def read_batch(
    pool: Pool,
    cluster: str,
    after: int | None,
    *,
    types: Collection[int] | None = None,
    rows: int = ROWS,
    size: int = BYTES,
) -> Batch:
    """Read what changed in a cluster after a position, in whole revisions. None: nothing, but where it is now.

    `types`: of these only, by their ids. Raises Expired when the position is none of which all is known since: it is
    too old, it was undone by a failover, or the cluster has been forgotten; what is followed is then to be read anew.
    Raises Unavailable while nobody keeps the feed, DatabaseUnavailable and SchemaOutdated.
    """
    raise NotImplementedError
