"""One reflector for every watch: discovery decides who runs, and no failure stops the others."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from http import HTTPStatus

import structlog

from presenter.cache.lease import UNKNOWN, Recoveries
from presenter.cache.snapshot import Snapshots
from presenter.cache.watch_patterns import WatchPatterns
from presenter.cache.writer import Writer
from presenter.errors import ClusterError, ClusterForbidden, ClusterNotFound, Unavailable
from presenter.kube.client import KubeClient
from presenter.kube.discovery import Discovered, Discovery
from presenter.kube.reconciler import Reconciler
from presenter.kube.reflector import Reflector, Shared
from presenter.kube.timings import Backoff, Timings
from presenter.resource import ALL_NAMESPACES, ANY_RESOURCE, ResourceType, Watch

SETTLING_ROUNDS = 5

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Running:
    """The tasks of one type: one for each reflector, and those that reconcile."""

    id: int
    type: ResourceType
    reflectors: dict[asyncio.Task[None], Reflector]
    others: list[asyncio.Task[None]]

    async def stop(self, grace: float) -> None:
        """Stop, once what was received is applied, or after `grace` seconds."""
        for task in self.others:
            task.cancel()
        for task, reflector in self.reflectors.items():
            if not reflector.finish():
                task.cancel()
        _, late = await asyncio.wait(self.reflectors, timeout=grace)
        for task in late:
            task.cancel()
        await asyncio.gather(*self.reflectors, *self.others, return_exceptions=True)


class Supervisor:
    """Watches everything that `patterns` select, in `namespaces` or, without any, in all.

    Discovery is polled: a new type is started, one that is served in another version is started over, one that is
    gone is forgotten with its rows. Every `reconcile_interval` seconds (0: never) each watch's rows
    are compared with the cluster.
    """

    def __init__(
        self,
        client: KubeClient,
        writer: Writer,
        snapshots: Snapshots,
        patterns: WatchPatterns,
        *,
        namespaces: Sequence[str] = (),
        timings: Timings | None = None,
        secret_data: bool = False,
        reconcile_interval: float = 0.0,
        recoveries: Recoveries | None = None,
    ) -> None:
        self._client = client
        self._writer = writer
        self._snapshots = snapshots
        self._patterns = patterns
        self._namespaces = tuple(namespaces)
        self._timings = timings or Timings()
        self._reconcile_interval = reconcile_interval
        self._reconciling = asyncio.Lock()
        self._discovery = Discovery(client)
        self._rediscover = asyncio.Event()
        self._recoveries = recoveries or Recoveries()
        self._shared = Shared(client, writer, self._timings, self._rediscover.set, secret_data, self._recoveries)
        self._settling = 0
        self._cluster_uid: str | None = None
        self._recorded: frozenset[ResourceType] | None = None
        self._not_started: dict[str, ResourceType] = {}
        self._running: dict[str, _Running] = {}
        self._reported: str | None = None

    async def run(self) -> None:
        """Supervise until cancelled; then every reflector has applied what it had received, and ended."""
        backoff = Backoff(self._timings.backoff)
        try:
            while True:
                seen = self._recoveries.count
                try:
                    await self._poll()
                except ClusterError as error:
                    self._report(error)
                    await asyncio.sleep(backoff.next(error.delay))
                except Unavailable as error:
                    self._report(error)
                    if await self._recoveries.wait(seen, backoff.next()):
                        backoff.reset()
                else:
                    self._report(None)
                    await self._pause()
        finally:
            await self._stop_all()

    async def _poll(self) -> None:
        """Identify the cluster, discover its types, and start or stop reflectors. Safe to repeat."""
        cluster_uid = await self._identify()
        if cluster_uid != self._cluster_uid or not await self._writer.is_open(self._type_ids()):
            await self._open(cluster_uid)
        await self._apply_discovery(await self._discovery.read())
        await self._writer.discovered()

    async def _pause(self) -> None:
        """Wait until the next poll: for a while, or until the types may have changed; discovery shows that late."""
        if self._settling:
            self._settling -= 1
            await asyncio.sleep(self._timings.settling)
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(self._timings.discovery):
                await self._rediscover.wait()
            self._rediscover.clear()
            self._settling = SETTLING_ROUNDS

    # -- which cluster ---------------------------------------------------------------------------------------

    async def _identify(self) -> str:
        """The cluster's uid; UNKNOWN as long as this account may not read it.

        Once it was known, ClusterForbidden and ClusterNotFound are raised instead: an unknown cluster has no say in
        which types are watched or forgotten.
        """
        try:
            return await self._client.cluster_uid()
        except (ClusterForbidden, ClusterNotFound) as error:
            if error.code == HTTPStatus.UNAUTHORIZED or self._cluster_uid:
                raise
            if self._cluster_uid is None:
                log.warning("another cluster behind the same address would go unnoticed", error=str(error))
                self._settling = SETTLING_ROUNDS  # the right may be about to be given
            return UNKNOWN

    async def _open(self, cluster_uid: str) -> None:
        await self._stop_all()
        await self._writer.open_cluster(cluster_uid, self._patterns.texts, secret_data=self._shared.secret_data)
        self._not_started, self._recorded = {}, None
        for known in await self._writer.known_types():
            if self._patterns.selects(known.group, known.resource):
                self._not_started[known.name] = known
            else:
                log.info("no longer in WATCH, forgotten", type=known.name)
                await self._writer.forget(known)
        self._cluster_uid = cluster_uid

    # -- which types -----------------------------------------------------------------------------------------

    async def _apply_discovery(self, discovered: Discovered) -> None:
        known = self._not_started | {name: running.type for name, running in self._running.items()}
        wanted = {
            found.name: found for found in discovered.types if self._patterns.selects(found.group, found.resource)
        }
        for name, found in wanted.items():
            # Half the truth about a group is no reason to switch a version.
            await self._ensure_watched(known.get(name, found) if found.group in discovered.incomplete else found)
        for name in known.keys() - wanted.keys():
            absent = known[name]
            unwatched = any(found.name == name for found in discovered.unwatched)
            if absent.group not in discovered.incomplete and (unwatched or await self._is_gone(absent)):
                await self._forget(absent)
            else:
                await self._ensure_watched(absent)
        await self._record_unwatched(discovered)

    async def _record_unwatched(self, discovered: Discovered) -> None:
        """Record the types that WATCH selects and that cannot be watched, and the groups whose types are not known."""
        unwatched = {found for found in discovered.unwatched if self._patterns.selects(found.group, found.resource)}
        unwatched |= {ResourceType(group, "", ANY_RESOURCE, "", namespaced=False) for group in discovered.incomplete}
        recorded = frozenset(found for found in unwatched if self._patterns.reaches(found.group))
        if recorded != self._recorded:
            await self._writer.record_unwatched(recorded)
            self._recorded = recorded

    async def _ensure_watched(self, resource_type: ResourceType) -> None:
        """Watch the type as described; restart its reflectors where more than its `versions` has changed."""
        running = self._running.get(resource_type.name)
        if running is not None and running.type == resource_type:
            return
        if running is not None and replace(running.type, versions=resource_type.versions) != resource_type:
            log.info("type changed", type=resource_type.name, version=resource_type.version)
            await running.stop(self._timings.grace)
            del self._running[resource_type.name]
            running = None
        watches = await self._writer.declare(resource_type, self._scope(resource_type))
        if running is not None:
            running.type = resource_type  # only `versions` differs, which nobody watches
            return
        self._running[resource_type.name] = self._start(resource_type, watches)
        self._not_started.pop(resource_type.name, None)

    def _type_ids(self) -> list[int]:
        return [running.id for running in self._running.values()]

    def _scope(self, resource_type: ResourceType) -> tuple[str, ...]:
        return self._namespaces if resource_type.namespaced and self._namespaces else (ALL_NAMESPACES,)

    async def _is_gone(self, resource_type: ResourceType) -> bool:
        """Whether a list of the type is answered with 404, whatever discovery says."""
        try:
            await self._client.list_page(resource_type, self._scope(resource_type)[0], limit=1)
        except ClusterNotFound:
            return True
        except ClusterError:
            return False
        return False

    async def _forget(self, resource_type: ResourceType) -> None:
        log.info("type is gone, forgotten", type=resource_type.name)
        running = self._running.pop(resource_type.name, None)
        if running is not None:
            await running.stop(self._timings.grace)
        self._not_started[resource_type.name] = resource_type  # until it is forgotten for good
        await self._writer.forget(resource_type)
        del self._not_started[resource_type.name]

    # -- who runs --------------------------------------------------------------------------------------------

    def _start(self, resource_type: ResourceType, watches: Sequence[Watch]) -> _Running:
        running = _Running(watches[0].type_id, resource_type, {}, [])
        for watch in watches:
            reflector = Reflector(self._shared, watch)
            running.reflectors[asyncio.create_task(reflector.run(), name=f"watch {watch}")] = reflector
            if self._reconcile_interval:
                reconciler = Reconciler(
                    self._client,
                    self._writer,
                    self._snapshots,
                    watch,
                    interval=self._reconcile_interval,
                    lock=self._reconciling,
                    relist=reflector.relist,
                )
                running.others.append(asyncio.create_task(reconciler.run(), name=f"reconcile {watch}"))
        return running

    async def _stop_all(self) -> None:
        running, self._running = self._running, {}
        await asyncio.gather(*(each.stop(self._timings.grace) for each in running.values()))

    def _report(self, error: ClusterError | Unavailable | None) -> None:
        text = None if error is None else str(error)
        if text != self._reported:
            self._reported = text
            if text is None:
                log.info("cluster is reached again")
            else:
                log.warning("cluster cannot be followed", error=text)
