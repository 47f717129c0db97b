"""`/docs`, `/openapi.json` and what the page loads: all of it from here, since clusters are behind firewalls."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Receive, Scope, Send

from presenter.api.inflight import Inflight
from presenter.api.openapi import TITLE, document
from presenter.api.routes import Route

AT_ONCE = 16
"""How many requests for it are answered at once: it needs no token, and is large."""

_FILES = "/static-offline-docs"
_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<link rel="icon" href="{root}{files}/favicon.png">
<link rel="stylesheet" href="{root}{files}/swagger-ui.css">
</head>
<body>
<div id="swagger-ui"></div>
<script src="{root}{files}/swagger-ui-bundle.js"></script>
<script>
SwaggerUIBundle({{url: "{root}/openapi.json", dom_id: "#swagger-ui", deepLinking: true,
  presets: [SwaggerUIBundle.presets.apis, SwaggerUIBundle.SwaggerUIStandalonePreset]}})
</script>
</body>
</html>
"""


def documentation(routes: Iterable[Route]) -> Sequence[Route]:
    """The routes of what documents these."""
    inflight = Inflight(AT_ONCE, setting="these need no token")

    def limited(application: ASGIApp) -> ASGIApp:
        async def endpoint(scope: Scope, receive: Receive, send: Send) -> None:
            async with inflight.admitted(scope):
                await application(scope, receive, send)

        return endpoint

    async def page(scope: Scope, receive: Receive, send: Send) -> None:
        html = _PAGE.format(title=f"{TITLE} - Swagger UI", root=scope.get("root_path", ""), files=_FILES)
        await HTMLResponse(html)(scope, receive, send)

    files = StaticFiles(packages=[("fastapi_offline", "static")])

    async def file(scope: Scope, receive: Receive, send: Send) -> None:
        await files({**scope, "root_path": scope.get("root_path", "") + _FILES}, receive, send)

    described = Response(msgspec.json.encode(document(routes)), media_type="application/json")
    return (
        Route("GET", "/", limited(RedirectResponse("docs"))),
        Route("GET", "/docs", limited(page)),
        Route("GET", "/openapi.json", limited(described)),
        *(
            Route("GET", f"{_FILES}/{name}", limited(file))
            for name in ("swagger-ui-bundle.js", "swagger-ui.css", "favicon.png")
        ),
    )
