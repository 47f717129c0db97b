"""How far a warm `GET /resources` goes through our code: the deepest chain of its functions, and the modules it passes.

    .venv/bin/python -m benchmarks.call_chain

The request is a real one, but for the socket and the database's connection: in process, with a token and RBAC rules.
What each statement answered is kept, and given again while the functions are counted.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from types import CodeType, FrameType
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import structlog
from prometheus_client import CollectorRegistry
from pydantic import SecretStr
from starlette.types import ASGIApp

import presenter
from benchmarks.database import USER, filled
from benchmarks.population import GROUP, TYPES
from presenter.access.authorizer import RbacAuthorizer
from presenter.access.identity import Authenticator, sign
from presenter.access.rules import RulesOfClusters
from presenter.api.application import Application
from presenter.api.entity_tags import EntityTags
from presenter.api.hot_pages import HotPages
from presenter.api.inflight import Inflight
from presenter.api.resources import Resources
from presenter.cache.budget import Documents
from presenter.cache.catalog_reader import CatalogReader
from presenter.cache.cursor import CursorCodec
from presenter.cache.memory import Memory
from presenter.cache.pool import Pool
from presenter.config import AuthSettings, PaginationSettings
from presenter.http.connection import CONNECTION
from presenter.observability import Observer

if TYPE_CHECKING:
    import asyncpg

    from presenter.cache.pool import Connection

OBJECTS = 10_000
REQUESTS = {
    "first page": {"limit": "5", "raw": "true"},
    "with a label": {"limit": "5", "labels": '{"env": "env-0"}'},
}
_HOME = Path(presenter.__file__).parent
_KEY = b"a key of at least thirty-two bytes"


@dataclass
class Recalled(Pool):
    """A pool whose connections answer every statement as PostgreSQL did when it came first."""

    pool: Pool
    documents: Documents = field(default_factory=Documents)
    _answers: dict[tuple[str, str], list[asyncpg.Record]] = field(default_factory=dict)

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """A connection on which only `fetch` works."""
        yield self  # type: ignore[misc]  # it is all that a page needs

    async def fetch(self, sql: str, *arguments: Any) -> list[asyncpg.Record]:
        """As the database did."""
        asked = sql, repr(arguments)
        if asked not in self._answers:
            async with self.pool.connection() as connection:
                self._answers[asked] = await connection.fetch(sql, *arguments)
        return self._answers[asked]


@dataclass
class _Connection:
    """To nowhere: what is written is gone at once."""

    on_leaving: Any = None
    is_crowded: Any = None

    async def sent(self) -> None:
        """Everything is."""


@dataclass
class Chain:
    """What was called of ours. Comprehensions count as the function that they are in."""

    deepest: list[str] = field(default_factory=list)
    deepest_in_cache: list[str] = field(default_factory=list)
    modules: dict[str, None] = field(default_factory=dict)

    def profile(self, frame: FrameType, event: str, _: object) -> None:
        """Note a call, as `sys.setprofile` tells it."""
        if event != "call" or not _is_ours(frame.f_code):
            return
        chain = [_name(code) for code in _codes(frame)]
        self.modules.update(dict.fromkeys(name.split(":")[0] for name in chain))
        if len(chain) > len(self.deepest):
            self.deepest = chain[::-1]
        if len(chain) > len(self.deepest_in_cache) and any("cache.pages" in name for name in chain):
            self.deepest_in_cache = chain[::-1]

    @contextmanager
    def followed(self) -> Iterator[None]:
        """Note every call for a while."""
        sys.setprofile(self.profile)
        try:
            yield
        finally:
            sys.setprofile(None)


def _codes(frame: FrameType | None) -> Iterator[CodeType]:
    while frame is not None:
        if _is_ours(frame.f_code):
            yield frame.f_code
        frame = frame.f_back


def _is_ours(code: CodeType) -> bool:
    return code.co_filename.startswith(f"{_HOME}/") and not code.co_name.startswith("<")


def _name(code: CodeType) -> str:
    module = Path(code.co_filename).relative_to(_HOME).with_suffix("")
    return f"{'.'.join(module.parts)}:{code.co_qualname}"


async def _get(application: ASGIApp, **parameters: str) -> int:
    """The status of a page."""
    token = sign(_KEY, USER, [], timedelta(hours=1))
    status = 0

    async def send(message: Any) -> None:
        nonlocal status
        status = message.get("status", status)

    async def receive() -> Any:
        return {"type": "http.request", "body": b""}

    query = urlencode({"group": GROUP, "resource": TYPES[0].resource, "namespace": "*"} | parameters)
    scope = {
        "type": "http",
        "method": "GET",
        "path": "/resources",
        "raw_path": b"/resources",
        "root_path": "",
        "query_string": query.encode(),
        "headers": [(b"authorization", f"Bearer {token}".encode())],
        "client": ("127.0.0.1", 1),
        "state": {CONNECTION: _Connection()},
    }
    await application(scope, receive, send)
    return status


async def measure() -> dict[str, Chain]:
    """The chain of each request, when everything that is remembered of earlier ones is."""
    structlog.configure(processors=[_drop])
    chains = {}
    with tempfile.TemporaryDirectory(prefix="benchmark-", ignore_cleanup_errors=True) as directory:
        async with filled(OBJECTS, Path(directory)) as population:
            catalog = CatalogReader(population.pool, max_age=3600)
            resources = Resources(
                pool=Recalled(population.pool),
                catalog=catalog,
                authenticator=Authenticator.of(AuthSettings(SIGN_KEY=SecretStr(_KEY.decode()))),
                authorizer=RbacAuthorizer(catalog, RulesOfClusters(population.pool, timedelta(hours=1))),
                cursors=CursorCodec(_KEY),
                tags=EntityTags(_KEY),
                hot_pages=HotPages(0),
                inflight=Inflight(1, Memory(2**30, 2**30)),
                pagination=PaginationSettings(),
            )
            application = Application(resources.routes, Observer(CollectorRegistry()))
            for name, parameters in REQUESTS.items():
                for _ in range(2):
                    assert await _get(application, **parameters) == 200
                chains[name] = Chain()
                with chains[name].followed():
                    await _get(application, **parameters)
    return chains


def _drop(*_: Any) -> Any:
    raise structlog.DropEvent


def main() -> None:
    """Count, and print."""
    for name, chain in asyncio.run(measure()).items():
        print(f"{name}: {len(chain.deepest)} functions deep, {len(chain.modules)} modules")
        for deepest in (chain.deepest, chain.deepest_in_cache):
            print(*(f"  {'  ' * depth}{function}" for depth, function in enumerate(deepest, start=1)), sep="\n")
            print(f"  {len(deepest)}\n")
        print(f"  modules: {', '.join(sorted(chain.modules))}")


if __name__ == "__main__":
    main()
