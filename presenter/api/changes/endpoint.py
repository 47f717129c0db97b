"""`GET /changes`: who asks → what for → from where on → a stream, until it ends."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from starlette.types import Receive, Send
from starlette.types import Scope as ASGIScope

from presenter.access.authorizer import Authorizer
from presenter.access.identity import Authenticator
from presenter.api import openapi
from presenter.api.asking import warning
from presenter.api.changes import events
from presenter.api.changes.followed import Followed
from presenter.api.changes.metrics import ENDED, STREAMS
from presenter.api.changes.position import Position
from presenter.api.changes.reading import Reading
from presenter.api.changes.stream import Stream, Writer, remembered_texts
from presenter.api.changes.viewer import Judges, Viewer
from presenter.api.inflight import Inflight
from presenter.api.parameters import ChangesParameters, parse_changes_query
from presenter.api.routes import Route
from presenter.api.versions import Versions
from presenter.apimachinery import negotiation
from presenter.apimachinery.errors import status_of
from presenter.apimachinery.status import success
from presenter.cache.catalog_reader import CatalogReader
from presenter.cache.memory import Memory
from presenter.cache.pool import Pool
from presenter.errors import CallerGone, CallerTooSlow, Expired, NotAcceptable, PresenterError
from presenter.http.connection import CONNECTION
from presenter.observability import observed

HELD_BYTES = 16 * 2**20
"""Bytes of events that all streams together hold until they are taken, where a batch has more than a piece."""
LAST_EVENT_ID = "Last-Event-ID"


class Changes:
    """The endpoint, and what answering takes: `pool` is where pages are read, and definitions of types."""

    def __init__(
        self,
        pool: Pool,
        catalog: CatalogReader,
        authenticator: Authenticator,
        authorizer: Authorizer,
        reading: Reading,
        most: int,
    ) -> None:
        self._catalog = catalog
        self._judges = Judges(authenticator, authorizer, Versions(pool), reading.basis)
        self._reading = reading
        self._streams = Inflight(most, Memory(HELD_BYTES, HELD_BYTES), "MAX_STREAMS")
        self._texts = remembered_texts()

    @property
    def routes(self) -> Sequence[Route]:
        """Where it is."""
        return (Route("GET", "/changes", self.follow_changes, operation=openapi.CHANGES, is_endless=True),)

    async def follow_changes(self, scope: ASGIScope, receive: Receive, send: Send) -> None:
        """The changes of the objects that match all filters and that the caller may see, as they happen.

        Server-sent events. `ADDED`, `MODIFIED` and `DELETED` have the object as a list gives it, and as it was last
        when it is gone; one that stops matching is `DELETED`, too. An `id` is a position: whoever comes again goes on
        from the last one. `expired` says that this is not possible, and to list again; `end` says why a stream ends
        that can be gone on with.
        """
        observation = observed()
        observation.begin("auth")
        authorization = _fields(scope, b"authorization")
        observation.user = (await self._judges.authenticator.authenticate(authorization)).username
        observation.begin(None)
        accept = ",".join(_fields(scope, b"accept"))
        if negotiation.find(accept, [events.MEDIA_TYPE], [negotiation.UNCONVERTED]) is None:
            raise NotAcceptable(f"Accept is {accept[:256]!r}: changes are given as {events.MEDIA_TYPE}")
        parameters = parse_changes_query(scope["query_string"])
        observation.type = f"{parameters.resource or '*'}.{parameters.group}".rstrip(".")
        observation.is_stream = True
        viewer = Viewer(self._judges, authorization, parameters)
        try:
            async with self._streams.admitted(scope) as share:
                observation.begin("scope")
                followed = await viewer.begin(await self._catalog.current())
                now = {cluster: await self._reading.now(cluster) for cluster in followed.clusters}
                revisions = _begin(_position(scope, parameters), followed, now)
                with self._reading.followed(revisions, now) as places:
                    stream = Stream(viewer, followed, places, self._reading, self._catalog, self._texts, parameters)
                    await stream.look()
                    observation.begin(None)
                    await _send(stream, Writer(send, scope["state"][CONNECTION], share), viewer.warnings)
        except CallerTooSlow:
            ENDED.labels("slow").inc()
            raise
        except CallerGone:
            if observation.code != 200:
                raise
            ENDED.labels("caller").inc()  # which is how most of them end


async def _send(stream: Stream, writer: Writer, warnings: Sequence[str]) -> None:
    """A whole stream."""
    headers = {
        "Content-Type": f"{events.MEDIA_TYPE}; charset=utf-8",  # it is no other one, which not every client knows
        "Cache-Control": "no-store",
        "X-Accel-Buffering": "no",
    }
    if warnings:
        headers["Warning"] = warning(warnings)
    await writer.begin(headers)
    STREAMS.inc()
    try:
        await stream.tell(writer)
        ENDED.labels("limit").inc()
        await writer.end(events.event("end", success(message="limit_seconds have passed").encode()))
    except CallerGone:
        raise
    except PresenterError as error:
        ENDED.labels(error.reason).inc()
        await writer.end(events.event("expired" if isinstance(error, Expired) else "end", status_of(error).encode()))
    finally:
        STREAMS.dec()


def _position(scope: ASGIScope, parameters: ChangesParameters) -> tuple[Position, str] | None:
    """Where to go on from, and how it was given: a browser that comes again has the older one in the URL."""
    given = next((value for value in _fields(scope, b"last-event-id") if value), None)
    if given is not None:
        return Position.read(given, LAST_EVENT_ID), LAST_EVENT_ID
    if parameters.since_revision is not None:
        return Position.read(parameters.since_revision, "since_revision"), "since_revision"
    return None


def _begin(given: tuple[Position, str] | None, followed: Followed, now: Mapping[str, int]) -> Mapping[str, int]:
    """The revision of each cluster from where it is gone on. Raises Expired and BadRequest."""
    if given is None:
        return now
    position, name = given
    if position.digest not in (None, followed.digest):
        raise Expired(
            f"{name} is of other filters, or what you may see, or the clusters or types that there are, have changed: "
            "list again"
        )
    return position.by_cluster(followed.clusters, name)


def _fields(scope: ASGIScope, name: bytes) -> list[str]:
    return [value.decode("latin-1") for known, value in scope["headers"] if known == name]
