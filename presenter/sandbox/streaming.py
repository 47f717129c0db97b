"""Watches over HTTP: the options of the request in, lines out, broken off as told."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import aclosing, suppress

from aiohttp import web

from presenter.apimachinery.list_options import ListOptions
from presenter.sandbox import negotiation
from presenter.sandbox.api_request import ApiRequest
from presenter.sandbox.cluster import Cluster
from presenter.sandbox.faults import Faults, Fragment, NoStreamingLists, refusal
from presenter.sandbox.registry import Definition
from presenter.sandbox.rest import resolve
from presenter.sandbox.store import Cut
from presenter.sandbox.watch import Bookmarks, Watch, error_line

_HALF_A_LINE = b'{"type":"MODIFIED","object":{"apiVersion":"'


async def serve(
    request: web.Request,
    api_request: ApiRequest,
    cluster: Cluster,
    faults: Faults,
    bookmarks: Bookmarks,
    begun: Callable[[], None],
) -> web.StreamResponse:
    """Stream a watch until it ends; `begun` is called once its headers are out.

    Raises StatusError before that.
    """
    definition, version = resolve(cluster, api_request)
    include = api_request.query.get("includeObject", "")
    accept = request.headers.get("Accept", "")
    form, _ = negotiation.form_for(accept, definition, version, include, many=False, stream=True)
    options = _options(api_request, cluster, definition, faults)
    watch = Watch(cluster, definition, api_request.namespace, form, options, bookmarks, faults)
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


def _options(api_request: ApiRequest, cluster: Cluster, definition: Definition, faults: Faults) -> ListOptions:
    query, streaming_lists = api_request.query, True
    if "sendInitialEvents" in query and (none := faults.take(NoStreamingLists, "watch", definition.name)):
        streaming_lists = False
        if not none.refused:
            query = {k: v for k, v in query.items() if k not in ("sendInitialEvents", "resourceVersionMatch")}
    return cluster.list_options(query, streaming_lists=streaming_lists)


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
            await response.write(error_line(refusal(500)))
        case Cut.ABORT if request.transport is not None:
            request.transport.abort()
