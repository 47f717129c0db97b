"""Watches over HTTP: the options of the request in, lines out, broken off as told."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import aclosing, suppress
from typing import NamedTuple

from aiohttp import web

from presenter.sandbox import errors, negotiation
from presenter.sandbox.api_request import ApiRequest
from presenter.sandbox.cluster import Cluster
from presenter.sandbox.faults import Faults, Fragment, NoStreamingLists
from presenter.sandbox.registry import Definition
from presenter.sandbox.rest import resolve, selection
from presenter.sandbox.store import Cut
from presenter.sandbox.watch import Watch, WatchOptions, error_line

_LONGEST = 3600.0
_HALF_A_LINE = b'{"type":"MODIFIED","object":{"apiVersion":"'
_TRUE = ("true", "1")


class Bookmarks(NamedTuple):
    """When watches get them: every `interval` seconds, and `lead` seconds before they end."""

    interval: float
    lead: float


async def serve(
    request: web.Request,
    asked: ApiRequest,
    cluster: Cluster,
    faults: Faults,
    bookmarks: Bookmarks,
    begun: Callable[[], None],
) -> web.StreamResponse:
    """Stream a watch until it ends; `begun` is called once its headers are out.

    Raises ApiError before that.
    """
    definition, version = resolve(cluster, asked)
    include = asked.query.get("includeObject", "")
    form = negotiation.form_for(request.headers.get("Accept", ""), definition, version, include)
    options = _options(asked, cluster, definition, bookmarks, faults)
    watch = Watch(cluster, definition, form, options, faults)
    response = web.StreamResponse(headers={"Content-Type": "application/json"})
    response.enable_chunked_encoding()
    with suppress(ConnectionResetError):  # the client has gone, which is its right
        await response.prepare(request)
        begun()
        fragment = faults.take(Fragment, "watch", definition.name)
        # Closed here, not by the garbage collector: a watch whose client has gone must not be told of anything more.
        async with aclosing(watch.lines()) as lines:
            async for line in lines:
                if isinstance(line, Cut):
                    await _break_off(request, response, line)
                else:
                    await _write(response, line, fragment.size if fragment else len(line))
    return response


def _options(
    asked: ApiRequest, cluster: Cluster, definition: Definition, bookmarks: Bookmarks, faults: Faults
) -> WatchOptions:
    query = dict(asked.query)
    if "sendInitialEvents" in query and (none := faults.take(NoStreamingLists, "watch", definition.name)):
        del query["sendInitialEvents"]
        if none.refused:
            why = "Forbidden: sendInitialEvents is forbidden for watch unless the WatchList feature gate is enabled"
            raise errors.invalid("meta.k8s.io", "ListOptions", "", "sendInitialEvents", why, "FieldValueForbidden")
    if asked.name:
        query["fieldSelector"] = f"metadata.name={asked.name}"
    text, initial = query.get("resourceVersion", ""), query.get("sendInitialEvents")
    if initial is not None and query.get("resourceVersionMatch") != "NotOlderThan":
        why = "Forbidden: sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"
        raise errors.invalid("meta.k8s.io", "ListOptions", "", "resourceVersionMatch", why, "FieldValueForbidden")
    version = None if text in ("", "0") else cluster.parse_version(text)
    if initial in _TRUE:
        version = None
    elif initial is not None and version is None:
        version = cluster.resource_version
    timeout = query.get("timeoutSeconds", "")
    return WatchOptions(
        namespace=asked.namespace if definition.namespaced else "",
        selects=selection(definition, query),
        version=version,
        bookmarks=query.get("allowWatchBookmarks") in _TRUE,
        initial_events_end=initial in _TRUE,
        timeout=float(timeout) if timeout.isdecimal() and int(timeout) else _LONGEST,
        bookmark_interval=bookmarks.interval,
        bookmark_lead=bookmarks.lead,
    )


async def _write(response: web.StreamResponse, line: bytes, size: int) -> None:
    for start in range(0, len(line), size):
        await response.write(line[start : start + size])
        if size < len(line):
            await asyncio.sleep(0)  # so that the pieces do not leave together


async def _break_off(request: web.Request, response: web.StreamResponse, how: Cut) -> None:
    match how:
        case Cut.MID_LINE:
            await response.write(_HALF_A_LINE)
        case Cut.ERROR:
            await response.write(error_line(errors.refused(500, {})))
        case Cut.ABORT if request.transport is not None:
            request.transport.abort()
