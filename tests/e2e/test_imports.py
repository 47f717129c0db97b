"""What a process imports, and so has in memory: no library that only the other side of the service needs."""

from __future__ import annotations

from tests.e2e.system import PANELS, Service, System

NEVER = {"alembic", "sqlalchemy", "fastapi"}
PACKAGES_OF_WATCHING = {"aiohttp", "kubernetes_asyncio"}
PACKAGES_OF_TOKENS = {"cryptography", "jwt"}


async def _start(system: System, command: str) -> Service:
    return await system.start(command, PYTHONPROFILEIMPORTTIME="1")


async def _imported(service: Service) -> set[str]:
    """The packages that it has imported, when it ends."""
    assert await service.process.stop() == 0
    lines = [line for line in service.process.err if line.startswith("import time:")]
    return {line.rpartition("|")[2].strip().partition(".")[0] for line in lines}


async def test_who_only_watches_and_who_only_serves_import_nothing_of_the_other(system: System) -> None:
    watching, serving = await _start(system, "watch"), await _start(system, "serve")
    await watching.ready()
    resource, _, group = PANELS.partition(".")
    await serving.ready()
    assert await serving.items(resource=resource, group=group, namespace="*")
    watched_with, served_with = await _imported(watching), await _imported(serving)
    assert watched_with >= PACKAGES_OF_WATCHING | {"asyncpg", "starlette"}
    assert not watched_with & (PACKAGES_OF_TOKENS | NEVER)
    assert served_with >= PACKAGES_OF_TOKENS | {"asyncpg", "starlette"}
    assert not served_with & (PACKAGES_OF_WATCHING | NEVER)
