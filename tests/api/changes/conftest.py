"""A small cluster that changes, and a service on it."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import pytest

from presenter.cache.pool import Address, Pool
from presenter.cache.writer import Writer
from presenter.resource import Event, ResourceType, Watch
from tests.api.service import Service, serving
from tests.api.world import PANELS, first_list
from tests.objects import make_object
from tests.rules import Rules


@dataclass
class Source:
    """What is written: each write of some objects is one transaction, under the next resourceVersion."""

    writer: Writer
    rules: Rules
    watches: dict[str, Watch] = field(default_factory=dict)
    version: int = 1000
    deleted: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    """How often there was an object of this type, namespace and name before: each has a uid of its own."""

    async def declare(self, type: ResourceType) -> None:
        """Have one more type, which has no objects."""
        [self.watches[type.resource]] = await self.writer.declare(type)
        await first_list(self.writer, self.watches[type.resource], resource_version=str(self.version))

    async def forget(self, type: ResourceType) -> None:
        """Have one type less."""
        await self.writer.forget(self.watches.pop(type.resource).type)

    async def put(
        self,
        *names: str,
        type: ResourceType = PANELS,
        namespace: str = "default",
        labels: Mapping[str, str] | None = None,
        **more: Any,
    ) -> None:
        """Create or change objects."""
        await self._write("upsert", names, type, namespace, labels, **more)

    async def delete(
        self,
        *names: str,
        type: ResourceType = PANELS,
        namespace: str = "default",
        labels: Mapping[str, str] | None = None,
    ) -> None:
        """Delete objects, which had these labels last."""
        await self._write("delete", names, type, namespace, labels)
        self.deleted.update((type.resource, namespace, name) for name in names)

    async def _write(
        self,
        change: Literal["upsert", "delete"],
        names: tuple[str, ...],
        type: ResourceType,
        namespace: str,
        labels: Mapping[str, str] | None,
        **more: Any,
    ) -> None:
        self.version += 1
        objects = [
            make_object(
                name,
                namespace,
                uid=f"{type.resource}-{namespace}-{name}-{self.deleted[type.resource, namespace, name]}",
                kind=type.kind,
                group=type.group,
                version=type.version,
                resource_version=self.version,
                labels=labels,
                **more,
            )
            for name in names
        ]
        events = [Event(change, each) for each in objects]
        await self.writer.apply(self.watches[type.resource], events, str(self.version))


@pytest.fixture
async def source(writer: Writer) -> Source:
    """A cluster in which everybody may see everything, with three panels."""
    await writer.open_cluster("uid", ["*.*.krateo.io", "configmaps"])
    source = Source(writer, await Rules(writer).open_to_everybody())
    await source.declare(PANELS)
    await source.put("a", "b", "c")
    await writer.discovered()
    return source


@pytest.fixture
async def service(database: Address, source: Source, pool: Pool) -> AsyncIterator[Service]:
    """A service on that."""
    async with serving(database) as service:
        yield service
