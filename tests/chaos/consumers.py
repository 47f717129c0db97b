"""Consumers of `GET /changes`, who come again at their last position whatever happens, and what they may rely on.

Each has at any time a replica of what it follows. No object in it ever goes back to an earlier state, whichever process
told of it; what is deleted never comes back; and in the end a replica is what the cluster has.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import aiohttp

from tests.chaos.journal import Journal
from tests.chaos.processes import Processes
from tests.chaos.world import COLOURS, CONFIG_MAPS, GROUP, TYPES, World
from tests.e2e.system import Json, Service

_SILENCE = aiohttp.ClientTimeout(total=None, sock_connect=30, sock_read=40)
"""Nothing at all comes for longer than that only if nobody is there."""


@dataclass
class Replica:
    """What one consumer follows, and knows of it: the manifests by uid, and each one's last resourceVersion."""

    types: tuple[str, ...]
    colour: str | None
    objects: dict[str, Json] = field(default_factory=dict)
    versions: dict[str, int] = field(default_factory=dict)
    position: str | None = None

    @classmethod
    def of(cls, number: int) -> Replica:
        """All types, or all of a group, with one label or with any: each number another one."""
        types = ((CONFIG_MAPS,), tuple(name for name in TYPES if name.endswith(GROUP)))[number % 2]
        return cls(types, (None, *COLOURS)[number // 2 % (1 + len(COLOURS))])

    @property
    def query(self) -> dict[str, str]:
        """The parameters that name that."""
        query = {"group": "core" if self.types == (CONFIG_MAPS,) else GROUP, "namespace": "*", "raw": "true"}
        return query if self.colour is None else {**query, "labels": json.dumps({"colour": self.colour})}

    def wanted(self, served: Mapping[str, Mapping[str, Json]]) -> dict[str, Json]:
        """What it has to be, where these are the objects of each type."""
        return {
            uid: manifest
            for name in self.types
            for uid, manifest in served[name].items()
            if self.colour in (None, manifest["metadata"].get("labels", {}).get("colour"))
        }

    def see(self, item: Json) -> None:
        """Look at an item that was told."""
        uid, version = item["uid"], int(item["raw"]["metadata"]["resourceVersion"])
        known = self.versions.get(uid, 0)
        assert version >= known, f"went back from {known}: {item}"
        self.versions[uid] = version


class Consumers:
    """All of them. How many `events` they were told of, and how often they have `resumed`."""

    def __init__(self, services: Sequence[Service], servers: Processes, world: World, journal: Journal) -> None:
        self.events = 0
        self.resumed = 0
        self._services = services
        self._servers = servers
        self._world = world
        self._journal = journal
        self._replicas: dict[int, Replica] = {}

    async def follow(self, number: int) -> None:
        """Follow until cancelled."""
        replica = self._replicas[number] = Replica.of(number)
        rng = random.Random(number)
        while True:
            began = self._journal.elapsed()
            service = rng.choice(self._services)
            try:
                if replica.position is None:
                    await self._list(replica, service)
                else:
                    await self._stream(replica, service)
                    self.resumed += 1
            except aiohttp.ClientError:
                if not self._servers.may_be_away(began):
                    raise
                self.resumed += 1
            await asyncio.sleep(rng.uniform(0.05, 0.5))

    async def _list(self, replica: Replica, service: Service) -> None:
        """Begin with a list, whose pages need not be of one moment: it is followed from the first."""
        found: dict[str, Json] = {}
        position, query = None, {**replica.query, "limit": "200"}
        while True:
            reply = await service.get("/resources", **query)
            if reply.status != 200:
                assert reply.status == 503, reply.json
                return
            position = position or reply.headers["X-Cache-Position"]
            for item in reply.json["items"]:
                replica.see(item)
                found[item["uid"]] = item["raw"]
            if "cursor" not in reply.json:
                break
            query["cursor"] = reply.json["cursor"]
        replica.objects, replica.position = found, position

    async def _stream(self, replica: Replica, service: Service) -> None:
        """Follow one stream to its end."""
        assert replica.position is not None
        headers = {"Authorization": f"Bearer {service.token}", "Last-Event-ID": replica.position}
        url = f"{service.url}/changes"
        async with service.session.get(
            url, params=replica.query, headers=headers, timeout=_SILENCE, read_bufsize=2**22
        ) as answer:
            if answer.status != 200:
                status = await answer.json()
                assert answer.status in (410, 503), status
                if answer.status == 410:
                    self._journal.note("consumer", status["message"])
                    replica.position = None
                return
            event = ""
            async for line in answer.content:
                name, _, value = line.decode().rstrip("\n").partition(": ")
                if name == "event":
                    event = value
                elif name == "data":
                    self._take(replica, event, json.loads(value))
                elif name == "id":
                    replica.position = value
            if event == "expired":
                replica.position = None

    def _take(self, replica: Replica, event: str, data: Json) -> None:
        if event == "expired":
            self._journal.note("consumer", data["message"])
        if event not in ("ADDED", "MODIFIED", "DELETED"):
            return
        self.events += 1
        replica.see(data)
        assert self._world.was(data["raw"]), f"the cluster has never said this: {data}"
        if event == "DELETED":
            replica.objects.pop(data["uid"], None)
        else:
            replica.objects[data["uid"]] = data["raw"]

    async def differences(self, served: Mapping[str, Mapping[str, Json]]) -> list[str]:
        """How replicas differ from what each type has; empty when none does."""
        found = []
        for number, replica in self._replicas.items():
            wanted = replica.wanted(served)
            different = [uid for uid in wanted | replica.objects if wanted.get(uid) != replica.objects.get(uid)]
            ghosts = [uid for uid in different if uid not in wanted]
            if different:
                found.append(
                    f"consumer {number} ({replica.query}) at {replica.position}: {len(different)} differ, of which "
                    f"{len(ghosts)} are not there: {different[:5]}"
                )
        return found
