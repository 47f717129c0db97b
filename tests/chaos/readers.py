"""Readers who page through everything all the time, at several processes, and what they may rely on.

Many pages they ask for again, with the tag of what they have: that it still holds is an answer like any other. Time is
that of the requests: what one answer has shown holds for every request that is sent after that answer came, whoever
sends it.
"""

from __future__ import annotations

import asyncio
import bisect
import itertools
import random
from collections.abc import Sequence
from dataclasses import dataclass, field

import aiohttp

from tests.chaos.journal import Journal
from tests.chaos.processes import Processes
from tests.chaos.world import CONFIG_MAPS, GROUP, TYPES, World
from tests.e2e.system import Json, Reply, Service

SORTS = ("created_at", "name", "resource", "global_uid")
"""Those whose keys never change: an object keeps its place, so that its absence from there means that it is gone."""

POLLED = 0.5
"""How often a page is asked for once more before the next one is."""

Place = tuple[str, ...]


@dataclass
class Sighting:
    """What was shown of one object: its item, and the resourceVersions with the times at which they were received."""

    item: Json
    times: list[float] = field(default_factory=list)
    versions: list[int] = field(default_factory=list)

    def version_before(self, moment: float) -> int | None:
        """The highest resourceVersion that was shown until then."""
        index = bisect.bisect_right(self.times, moment)
        return self.versions[index - 1] if index else None

    def add(self, moment: float, version: int) -> None:
        """Note what was received."""
        if not self.versions or version > self.versions[-1]:
            self.times.append(moment)
            self.versions.append(version)


@dataclass(frozen=True)
class Walk:
    """What one reader pages through, and how."""

    types: tuple[str, ...]
    sort: str
    descending: bool
    limit: int

    @classmethod
    def choose(cls, rng: random.Random) -> Walk:
        """Any walk: one type, or a whole group."""
        types = rng.choice([*((name,) for name in TYPES), tuple(name for name in TYPES if name.endswith(GROUP))])
        return cls(types, rng.choice(SORTS), rng.random() < 0.5, rng.choice((7, 50, 200, 1000)))

    @property
    def query(self) -> dict[str, str | int]:
        """The parameters of its first page."""
        query: dict[str, str | int] = {
            "group": "core" if self.types == (CONFIG_MAPS,) else GROUP,
            "namespace": "*",
            "raw": "true",
            "sort_by": self.sort,
            "sort_order": "desc" if self.descending else "asc",
            "limit": self.limit,
        }
        return query | ({"resource": self.types[0].partition(".")[0]} if len(self.types) == 1 else {})

    def place(self, item: Json) -> Place:
        """Where an object stands in the order."""
        match self.sort:
            case "created_at" | "name":
                return (item[self.sort], item["uid"])
            case "resource":
                return (item["namespace"], item["name"], item["uid"])
        return (item["uid"],)

    def is_between(self, place: Place, after: Place | None, until: Place | None) -> bool:
        """Whether a place is on the page that begins after one place and ends with another; None: no bound."""
        if self.descending:
            after, until = until, after
            return (after is None or place >= after) and (until is None or place < until)
        return (after is None or place > after) and (until is None or place <= until)


class Readers:
    """All readers, and everything that any of them was ever shown."""

    def __init__(self, services: Sequence[Service], servers: Processes, world: World, journal: Journal) -> None:
        self.pages = 0
        self.unchanged = 0
        self.unavailable = 0
        self._services = services
        self._servers = servers
        self._known: dict[tuple[tuple[str, str | int], ...], tuple[str, Json]] = {}
        self._world = world
        self._journal = journal
        self._seen: dict[str, Sighting] = {}
        self._gone: dict[str, float] = {}

    async def read(self, seed: int) -> None:
        """Walk after walk, until cancelled."""
        rng = random.Random(seed)
        while True:
            await self._walk(Walk.choose(rng), rng)

    async def _walk(self, walk: Walk, rng: random.Random) -> None:
        query, after = walk.query, None
        while True:
            sent = self._journal.elapsed()
            page = await self._page(query, rng)
            if page is None:
                await asyncio.sleep(rng.uniform(0.05, 0.5))
                if rng.random() < 0.3:
                    return
                continue
            until = self._check(walk, sent, after, page)
            await asyncio.sleep(0.01)
            if rng.random() < POLLED:
                continue
            if until is None:
                return
            after, query["cursor"] = until, page["cursor"]

    async def _page(self, query: dict[str, str | int], rng: random.Random) -> Json | None:
        """What one of the processes answers, or says that some reader has been shown already; None: it is refused."""
        key = tuple(query.items())
        tag, known = self._known.get(key, ("", None))
        sent = self._journal.elapsed()
        try:
            reply = await rng.choice(self._services).poll("/resources", tag, query)
        except aiohttp.ClientError:
            if not self._servers.may_be_away(sent):
                raise
            return None
        if reply.status == 304:
            assert known is not None
            assert reply.headers["ETag"] == tag
            self.unchanged += 1
            return known
        if reply.status != 200:
            self._refused(reply)
            return None
        page: Json = reply.json
        self._known[key] = reply.headers["ETag"], page
        return page

    def _refused(self, reply: Reply) -> None:
        assert reply.status == 503, f"answered {reply.status}: {reply.json}"
        assert reply.json["kind"] == "Status", reply.json
        assert reply.json["code"] == 503, reply.json
        self.unavailable += 1

    def _check(self, walk: Walk, sent: float, after: Place | None, page: Json) -> Place | None:
        """Check a page; returns the place of its last item, None when it is the last page."""
        received = self._journal.elapsed()
        items: list[Json] = page["items"]
        places = [walk.place(item) for item in items]
        assert page["count"] == len(items) <= walk.limit, f"{len(items)} items, said to be {page['count']}, for {walk}"
        in_order = [*([after] if after else []), *places]
        assert all(walk.is_between(b, a, None) for a, b in itertools.pairwise(in_order)), f"not in order: {walk}"
        for item in items:
            self._check_item(item, sent)
        last = places[-1] if "cursor" in page else None
        assert last or "cursor" not in page, "an empty page with a cursor"
        self._check_absent(walk, sent, received, after, last, {item["uid"] for item in items})
        for item in items:
            version = int(item["raw"]["metadata"]["resourceVersion"])
            self._seen.setdefault(item["uid"], Sighting(item)).add(received, version)
        self.pages += 1
        return last

    def _check_item(self, item: Json, sent: float) -> None:
        uid, raw = item["uid"], item["raw"]
        metadata = raw["metadata"]
        for member in ("uid", "name", "namespace"):
            assert item[member] == metadata.get(member, ""), item
        assert self._world.was(raw), f"the cluster has never said this: {raw}"
        version = int(metadata["resourceVersion"])
        gone_at = self._gone.get(uid)
        assert gone_at is None or gone_at > sent, (
            f"came back: {_described(item)} at {version} was asked for at {sent:.3f} and had been gone at {gone_at:.3f}"
        )
        known = self._seen[uid].version_before(sent) if uid in self._seen else None
        assert known is None or known <= version, (
            f"went back: {_described(item)} was asked for at {sent:.3f}, is {version} and had been {known}"
        )

    def _check_absent(
        self, walk: Walk, sent: float, received: float, after: Place | None, until: Place | None, shown: set[str]
    ) -> None:
        """Whoever was shown before and is not in his place must have been deleted, and stays away."""
        for uid, sighting in list(self._seen.items()):
            item = sighting.item
            if uid in shown or sighting.times[0] > sent or _type_of(item) not in walk.types:
                continue
            if walk.is_between(walk.place(item), after, until):
                assert uid in self._world.gone, (
                    f"lost: {_described(item)} was shown at {sighting.times[0]:.3f}, "
                    f"was not at {sent:.3f}, and was never deleted"
                )
                self._gone.setdefault(uid, received)
                del self._seen[uid]


def _type_of(item: Json) -> str:
    return f"{item['resource']}.{item['group']}" if item["group"] else str(item["resource"])


def _described(item: Json) -> str:
    return f"{_type_of(item)} {item['namespace']}/{item['name']} ({item['uid']})"
