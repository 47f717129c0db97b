"""The HTTP server: authenticate, authorize, misbehave if told to, answer."""

from __future__ import annotations

import base64
import ssl
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import yaml
from aiohttp import web

from presenter.apimachinery import errors
from presenter.sandbox import access_reviews, discovery, listing, paths, rbac, streaming
from presenter.sandbox.api_request import Answer, ApiRequest, Incoming, Requests, parse
from presenter.sandbox.cluster import Cluster
from presenter.sandbox.faults import ExpirePage, Faults, Gate, Lag, Refuse, StaleDiscovery, refusal
from presenter.sandbox.rbac import Access, Policy, User
from presenter.sandbox.registry import PageNotFound
from presenter.sandbox.rest import Rest
from presenter.sandbox.store import Bookmark
from presenter.sandbox.watch import Bookmarks

_ADMIN = User("system:admin", ("system:masters",))
_HEALTH = ("/healthz", "/livez", "/readyz")
_LARGEST_BODY = 64 * 2**20


@dataclass(frozen=True)
class Tls:
    """What https is served with, and the certificate authority, as PEM, that a kubeconfig is to name."""

    context: ssl.SSLContext
    authority: str


class Sandbox:
    """An in-memory Kubernetes API server.

    `port` 0 takes a free one. `bookmark_interval` is in seconds; watches get one more `bookmark_lead` seconds before
    they end. Without a token a request is made by
    system:admin; `tokens` gives bearer tokens to users, and any other token is refused. `enforce_rbac` makes
    requests subject to the RBAC objects stored. Another `tls` is served with from the next start on.
    """

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        cluster: Cluster | None = None,
        bookmark_interval: float = 60,
        bookmark_lead: float = 2,
        tls: Tls | None = None,
    ) -> None:
        self.cluster = cluster or Cluster()
        self.faults = Faults(self.cluster)
        self.requests = Requests()
        self.tokens: dict[str, User] = {}
        self.enforce_rbac = False
        self.bookmark_interval = bookmark_interval
        self.bookmark_lead = bookmark_lead
        self.tls = tls
        self._host = host
        self._port = port
        self._runner: web.AppRunner | None = None

    async def __aenter__(self) -> Sandbox:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    @property
    def url(self) -> str:
        """Where the API is, such as `http://127.0.0.1:40001`."""
        return f"{'https' if self.tls else 'http'}://{self._host}:{self._port}"

    async def start(self) -> None:
        """Listen. Raises OSError when the port is taken."""
        application = web.Application(client_max_size=_LARGEST_BODY)
        application.router.add_route("*", "/{path:.*}", self._handle)
        # A watch whose client has gone must end at once, not at its next line.
        self._runner = web.AppRunner(application, handler_cancellation=True, shutdown_timeout=0.1, access_log=None)
        await self._runner.setup()
        context = self.tls.context if self.tls else None
        await web.TCPSite(self._runner, self._host, self._port, ssl_context=context).start()
        self._port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Stop listening and cut all connections; the state stays."""
        if self._runner is None:
            return
        runner, self._runner = self._runner, None
        for site in list(runner.sites):
            await site.stop()
        for connection in runner.server.connections if runner.server else ():
            if connection.transport is not None:
                connection.transport.abort()
        await runner.cleanup()

    async def restart(self) -> None:
        """Go down and come up again on the same port, with the same state."""
        await self.stop()
        await self.start()

    def bookmark(self) -> None:
        """Send a bookmark on every running watch that wants them, now."""
        for definition in self.cluster.registry:
            self.cluster.store(definition).tell(Bookmark(self.cluster.resource_version))

    def kubeconfig(self, token: str | None = None) -> str:
        """A kubeconfig for this server, as YAML."""
        cluster = {"server": self.url}
        if self.tls:
            cluster["certificate-authority-data"] = base64.b64encode(self.tls.authority.encode()).decode()
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "sandbox", "cluster": cluster}],
            "users": [{"name": "sandbox", "user": {"token": token} if token else {}}],
            "contexts": [{"name": "sandbox", "context": {"cluster": "sandbox", "user": "sandbox"}}],
            "current-context": "sandbox",
        }
        return yaml.safe_dump(config, sort_keys=False)

    def write_kubeconfig(self, path: Path, token: str | None = None) -> None:
        """Write `kubeconfig()` to a file that only its owner can read."""
        path.touch(mode=0o600)
        path.write_text(self.kubeconfig(token))

    # One request

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        api_request = parse(request.method, request.path, request.query)
        self.requests.add(api_request)
        try:
            answer = await self._answer(request, api_request)
        except errors.StatusError as problem:
            headers = {"Retry-After": str(problem.retry_after)} if problem.retry_after else None
            answer = Answer(problem.object.encode(), problem.status, headers=headers)
        except PageNotFound:
            answer = Answer(b"404 page not found\n", 404, "text/plain; charset=utf-8")
        if isinstance(answer, web.StreamResponse):
            return answer
        self._begun(api_request, answer.status)
        response = web.Response(body=answer.body, status=answer.status, headers=answer.headers)
        response.headers["Content-Type"] = answer.content_type
        return response

    async def _answer(self, request: web.Request, api_request: ApiRequest) -> Answer | web.StreamResponse:
        if refused := await self._misbehave(api_request):
            return refused
        user = self._user(request)
        api_request.user = user.name
        if self.enforce_rbac:
            self._authorize(user, api_request)
        incoming = Incoming(
            body=await request.read(),
            content_type=request.headers.get("Content-Type", ""),
            accept=request.headers.get("Accept", ""),
            user_agent=request.headers.get("User-Agent", ""),
            known_tag=request.headers.get("If-None-Match", ""),
        )
        if not api_request.resource:
            stale = partial(self.faults.applies, StaleDiscovery, "get")
            return paths.answer(self.cluster.registry, api_request, incoming, stale)
        if api_request.group == discovery.REVIEWS_GROUP and api_request.version == "v1":
            return access_reviews.answer(self.cluster, user, api_request, incoming)
        if api_request.verb == "watch":
            begun = partial(self._begun, api_request, 200)
            bookmarks = Bookmarks(self.bookmark_interval, self.bookmark_lead)
            return await streaming.serve(request, api_request, self.cluster, self.faults, bookmarks, begun)
        return Rest(self.cluster, self._as_of_the_past(api_request), incoming).answer()

    def _as_of_the_past(self, api_request: ApiRequest) -> ApiRequest:
        """A list, as a server answers it that lags behind; any other request as it is."""
        first = api_request.verb == "list" and "continue" not in api_request.query
        if not first or not (lag := self.faults.take(Lag, api_request.verb, api_request.type_name)):
            return api_request
        past = {"resourceVersion": self.cluster.format_version(lag.version), "resourceVersionMatch": "Exact"}
        return replace(api_request, query=api_request.query | past)

    def _begun(self, api_request: ApiRequest, status: int) -> None:
        api_request.status = status
        self.requests.changed()

    async def _misbehave(self, api_request: ApiRequest) -> Answer | None:
        """Faults that act before the request is looked at."""
        token = listing.token_of(api_request.query) if api_request.verb == "list" else None
        where = (api_request.verb, api_request.type_name, token.page if token else 1)
        if gate := self.faults.take(Gate, *where):
            await gate.passed()
        if token and self.faults.take(ExpirePage, *where):
            raise token.expired()
        if not (refuse := self.faults.take(Refuse, *where)):
            return None
        if refuse.body is None:
            raise refusal(refuse.status, refuse.retry_after)
        headers = {"Retry-After": str(refuse.retry_after)} if refuse.retry_after else None
        return Answer(refuse.body.encode(), refuse.status, refuse.content_type, headers)

    # Who asks

    def _user(self, request: web.Request) -> User:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if not scheme:
            user = _ADMIN
        elif scheme.lower() == "bearer" and token in self.tokens:
            user = self.tokens[token]
        else:
            raise errors.unauthorized()
        if name := request.headers.get("Impersonate-User"):
            if self.enforce_rbac:
                self._check(user, Access("impersonate", resource="users", name=name))
            user = User(name, tuple(request.headers.getall("Impersonate-Group", [])))
        return user

    def _authorize(self, user: User, api_request: ApiRequest) -> None:
        if api_request.resource == "selfsubjectaccessreviews":
            return  # everyone may ask what they may, by the role system:basic-user
        if not api_request.resource:
            if api_request.path not in (*_HEALTH, "/version") and not api_request.path.startswith(("/api", "/openapi")):
                self._check(user, Access(api_request.verb, path=api_request.path))
            return
        self._check(
            user,
            Access(
                api_request.verb,
                api_request.group,
                api_request.resource,
                api_request.subresource,
                api_request.namespace,
                api_request.selected_name,
            ),
        )

    def _check(self, user: User, access: Access) -> None:
        if not Policy.of(self.cluster).decide(user, access).allowed:
            message = rbac.refusal(user, access)
            raise errors.forbidden(message, group=access.group, resource=access.resource, name=access.name)
