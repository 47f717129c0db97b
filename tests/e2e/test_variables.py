"""No inert settings: what each environment variable changes, seen from outside."""

from __future__ import annotations

import asyncio
import operator
import re
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import pytest

from presenter.access.identity import sign
from presenter.cache.pool import Address, Pool
from presenter.config import variables
from presenter.sandbox import Sandbox
from tests.access.issuer import Issuer, SigningKey, claims_of, signed
from tests.e2e.collector import collecting
from tests.e2e.processes import working_in
from tests.e2e.system import KEY, PANELS, Launch, Reply, Service, System, token, variables_of, without_managed_fields
from tests.eventually import eventually
from tests.rbac.objects import ref, role, role_binding, rule, user
from tests.servers import Postgres

WIDGETS = "widgets.templates.krateo.io"

Test = TypeVar("Test", bound=Callable[..., object])
_shown: set[str] = set()


def shows(*names: str) -> Callable[[Test], Test]:
    """Says which variables' effect a test shows."""

    def note(test: Test) -> Test:
        _shown.update(names)
        return test

    return note


def test_the_effect_of_every_variable_is_shown() -> None:
    assert _shown == set(variables())


# -- how it is asked -------------------------------------------------------------------------------------------------


@shows("PORT")
async def test_it_listens_on_the_port(system: System) -> None:
    with _listening() as port:
        pass
    service = await system.start("serve", PORT=str(port))
    assert service.url.endswith(f":{port}")
    async with service.session.get(f"{service.url}/livez") as response:
        assert response.status == 200


@shows("PORT")
async def test_a_port_that_is_taken_is_refused(system: System) -> None:
    with _listening() as port:
        process = await system.launch("serve", **(system.variables | {"PORT": str(port)}))
        assert await process.ended() == 2
    assert process.err[-1].startswith(f"presenter: PORT is {port}, which cannot be listened on: ")


@shows("OTEL_EXPORTER_OTLP_ENDPOINT")
async def test_it_sends_traces_to_the_collector(system: System) -> None:
    async with collecting() as collector:
        service = await system.start("serve", OTEL_EXPORTER_OTLP_ENDPOINT=collector.url)
        await service.get("/resources", group=WIDGETS)
        await service.process.stop()
    assert [span.name for span in await collector.requests()] == ["GET /resources"]


@shows("OTEL_ENABLED")
async def test_it_sends_no_traces_where_telemetry_is_off(system: System) -> None:
    async with collecting() as collector:
        service = await system.start("serve", OTEL_EXPORTER_OTLP_ENDPOINT=collector.url, OTEL_ENABLED="false")
        await service.get("/resources", group=WIDGETS)
        await service.process.stop()
        assert await collector.requests() == []


@shows("SHUTDOWN_GRACE")
async def test_it_ends_within_the_grace_whatever_is_under_way(system: System, database: Address) -> None:
    service = await (await system.start(SHUTDOWN_GRACE="2s")).ready()
    waiting = "SELECT count(*) FROM pg_locks WHERE relation = 'resources'::regclass AND NOT granted"
    connection = await database.connect()
    try:
        async with connection.transaction():
            await connection.execute("LOCK TABLE resources IN SHARE MODE")
            system.put("not-stored", title="in time")
            await eventually(partial(connection.fetchval, waiting), bool)
            started = time.monotonic()
            assert await service.process.stop() == 0
            assert time.monotonic() - started < 8, "the default is 10 s, 8 of them for what is under way"
    finally:
        await connection.close()


@shows("MAX_INFLIGHT", "QUERY_TIMEOUT")
async def test_only_so_much_is_taken_on_and_only_for_so_long(system: System, database: Address) -> None:
    service = await (await system.start(MAX_INFLIGHT="2", QUERY_TIMEOUT="1s", PAGE_CACHE_BYTES="0")).ready()
    assert (await _list(service, "tester")).status == 200
    connection = await database.connect()
    try:
        async with connection.transaction():
            await connection.execute("LOCK TABLE resources IN ACCESS EXCLUSIVE MODE")
            replies = await asyncio.gather(*(_list(service, "tester") for _ in range(3)))
    finally:
        await connection.close()
    assert sorted(reply.status for reply in replies) == [429, 503, 503]
    assert all("Retry-After" in reply.headers for reply in replies)


@shows("METRICS_TOKEN", "ANONYMOUS_METRICS")
async def test_who_is_told_how_it_stands(system: System) -> None:
    async def told(service: Service, **headers: str) -> tuple[int, bool]:
        async with service.session.get(f"{service.url}/metrics", headers=headers) as response:
            return response.status, "presenter_build_info" in await response.text()

    secret = await system.start("serve", ANONYMOUS_METRICS="", METRICS_TOKEN="a token for scrapes")
    assert await told(secret) == (200, False)
    assert await told(secret, Authorization="Bearer a token for scrapes") == (200, True)
    assert await told(secret, Authorization="Bearer another") == (401, False)
    assert "a token for scrapes" not in secret.process.log()
    assert await told(await system.start("serve", ANONYMOUS_METRICS="true")) == (200, True)


@shows("MAX_PAGE_BYTES")
async def test_a_page_ends_where_its_objects_are_too_large(system: System) -> None:
    service = await (await system.start(MAX_PAGE_BYTES="1Mi")).ready()
    for number in range(5):
        system.put(f"large-{number}", text="x" * 400_000)
    await system.in_sync(service, PANELS)
    query: dict[str, str | int] = {"group": WIDGETS, "namespace": "*", "name_contains": "large", "limit": 5000}
    assert len(await service.items(**query)) == 5
    first = await service.get("/resources", raw="true", **query)
    assert len(first.json["items"]) < 5
    rest = await service.items(raw="true", cursor=first.json["cursor"], **query)
    assert {item["name"] for item in [*first.json["items"], *rest]} <= {f"large-{number}" for number in range(5)}


@shows("PAGE_CACHE_BYTES")
@pytest.mark.parametrize(("memory", "kept"), [("1Mi", True), ("0", False)])
async def test_pages_are_kept_within_the_memory(system: System, memory: str, kept: bool) -> None:
    service = await (await system.start(PAGE_CACHE_BYTES=memory)).ready()
    await system.in_sync(service, PANELS)
    ask = partial(service.items, group=WIDGETS, namespace="*", limit=5)
    await eventually(ask, lambda items: len(items) == 5)

    async def hits() -> float:
        await ask()
        async with service.session.get(f"{service.url}/metrics") as response:
            told = re.search(r"^presenter_page_cache_hits_total (\S+)$", await response.text(), re.MULTILINE)
        assert told is not None
        return float(told[1])

    if kept:
        await eventually(hits, bool)
    else:
        assert [await hits() for _ in range(5)] == [0] * 5


@shows("MAX_INFLIGHT_BYTES")
async def test_only_so_many_bytes_are_read_at_once(system: System, database: Address) -> None:
    service = await (await system.start(MAX_INFLIGHT_BYTES="9Mi", MAX_PAGE_BYTES="1Mi")).ready()
    ask = partial(service.get, "/resources", group=WIDGETS, namespace="*")
    waiting = "SELECT count(*) FROM pg_locks WHERE relation = 'resources'::regclass AND NOT granted"
    connection = await database.connect()
    try:
        async with connection.transaction():
            await connection.execute("LOCK TABLE resources IN ACCESS EXCLUSIVE MODE")
            large = [asyncio.create_task(ask(limit=5000)) for _ in range(2)]
            await eventually(partial(connection.fetchval, waiting), bool)
            small = asyncio.create_task(ask(limit=5))
            assert await connection.fetchval(waiting) == 1, "the others wait until one has been read"
        replies = await asyncio.gather(*large, small)
    finally:
        await connection.close()
    assert [reply.status for reply in replies] == [200] * 3


@shows("MAX_STREAMS")
@pytest.mark.parametrize(("settings", "most"), [({"MAX_STREAMS": "2"}, 2), ({"MAX_CONNECTIONS": "6"}, 3)], ids=str)
async def test_only_so_many_streams_are_sent(system: System, settings: dict[str, str], most: int) -> None:
    await (await system.start("watch")).ready()
    service = await (await system.start("serve", **settings)).ready()
    headers = {"Authorization": f"Bearer {service.token}"}
    url = f"{service.url}/changes?group=widgets.templates.krateo.io&limit_seconds=1"
    async with AsyncExitStack() as streams:
        answers = [await streams.enter_async_context(service.session.get(url, headers=headers)) for _ in range(most)]
        assert [answer.status for answer in answers] == [200] * most
        async with service.session.get(url, headers=headers) as refused:
            assert refused.status == 429
            assert "MAX_STREAMS" in (await refused.json())["message"]


@shows("MAX_CONNECTIONS", "MAX_IDLE_CONNECTIONS")
@pytest.mark.parametrize(
    ("settings", "left"),
    [
        ({"MAX_CONNECTIONS": "4"}, 4),
        ({"MAX_CONNECTIONS": "9", "MAX_IDLE_CONNECTIONS": "3"}, 3),
    ],
    ids=str,
)
async def test_only_so_many_connections_stay_open(system: System, settings: dict[str, str], left: int) -> None:
    service = await system.start("serve", **settings)
    url = urlsplit(service.url)
    streams = [await asyncio.open_connection(url.hostname, url.port) for _ in range(8)]
    try:
        closed = await asyncio.gather(*(reader.read() for reader, _ in streams[:-left]))
        assert set(closed) == {b""}
        for reader, writer in streams[-left:]:
            writer.write(b"GET /livez HTTP/1.1\r\nHost: presenter\r\n\r\n")
            assert (await reader.readline()).startswith(b"HTTP/1.1 200")
    finally:
        for _, writer in streams:
            writer.close()


@shows("DEBUG")
@pytest.mark.parametrize(("debug", "level"), [("true", "debug"), ("", "info")])
async def test_debug_logs_more(system: System, debug: str, level: str) -> None:
    service = await system.start("serve", DEBUG=debug)
    await service.get("/readyz")
    await service.get("/resources")
    await service.process.line(r'"path": "/resources"')
    assert ('"path": "/readyz"' in service.process.log()) == (level == "debug")


@shows("SIGN_KEY")
async def test_tokens_must_be_signed_with_the_key(system: System) -> None:
    service = await system.start("serve", SIGN_KEY="another-key-that-is-also-long-enough")
    assert (await service.get("/resources", group="core")).status == 401
    assert (await (await system.start("serve")).get("/resources", group="core")).status != 401


@shows("JWT_SIGN_KEY")
async def test_the_key_may_have_the_name_that_newer_charts_give_it(system: System) -> None:
    service = await system.start("serve", SIGN_KEY="", JWT_SIGN_KEY=KEY)
    assert (await service.get("/resources", group="core")).status != 401
    service = await system.start("serve", SIGN_KEY="", JWT_SIGN_KEY="another-key-that-is-also-long-enough")
    assert (await service.get("/resources", group="core")).status == 401


@shows("JWT_ISSUER")
async def test_tokens_must_come_from_the_issuer(system: System) -> None:
    service = await system.start("serve", JWT_ISSUER="someone")
    assert (await service.get("/resources", group="core")).status == 401
    issued = Service(service.process, service.url, service.session, token("tester", issuer="someone"))
    assert (await issued.get("/resources", group="core")).status != 401


@shows("JWKS_URL", "OIDC_ISSUER", "CURSOR_KEY", "JWT_AUDIENCE", "JWT_USERNAME_CLAIM")
@pytest.mark.parametrize("place", ["JWKS_URL", "OIDC_ISSUER"])
async def test_tokens_may_be_signed_with_published_keys(system: System, place: str) -> None:
    key = SigningKey()
    async with Issuer() as issuer:
        issuer.publish(key)
        service = await system.start(
            "serve",
            SIGN_KEY="",
            CURSOR_KEY="a-secret-of-all-replicas",
            JWT_AUDIENCE="presenter",
            JWT_USERNAME_CLAIM="email",
            **{place: {"JWKS_URL": issuer.jwks_url, "OIDC_ISSUER": issuer.url}[place]},
        )
        assert (await service.get("/resources", group="core")).status == 401, "of the shared key that is not there"
        claims: dict[str, Any] = {"iss": issuer.url, "aud": "presenter", "email": "tester@example.com"}
        good = replace(service, token=key.token(**claims))
        assert (await good.get("/resources", group="core")).status == 503, "no cluster yet, but a user"
        await service.process.line('"user": "tester@example.com"')
        for missing in ("aud", "email"):
            wrong = replace(service, token=key.token(**(claims | {missing: None})))
            assert (await wrong.get("/resources", group="core")).status == 401


@shows("JWKS_URL")
async def test_without_the_published_keys_nothing_is_known_of_a_token(system: System) -> None:
    with _listening() as port:
        pass
    service = await system.start("serve", JWKS_URL=f"http://127.0.0.1:{port}/keys")
    reply = await replace(service, token=SigningKey().token()).get("/resources", group="core")
    assert reply.status == 503
    assert reply.json["message"].startswith("tokens cannot be verified now")


@shows("JWT_GROUPS_CLAIM")
async def test_groups_are_read_from_the_claim(system: System) -> None:
    signed_so = signed(claims_of(groups=7, roles=["devs"]), KEY.encode())
    by_roles, by_groups = await asyncio.gather(
        system.start("serve", JWT_GROUPS_CLAIM="roles"), system.start("serve", JWT_GROUPS_CLAIM="")
    )
    for service, status in ((by_roles, 503), (by_groups, 401)):
        assert (await replace(service, token=signed_so).get("/resources", group="core")).status == status


@shows("CURSOR_KEY")
async def test_cursors_are_good_for_who_has_the_key(system: System) -> None:
    service, same, other = await asyncio.gather(
        system.start(CURSOR_KEY="one"), system.start("serve", CURSOR_KEY="one"), system.start("serve", CURSOR_KEY="")
    )
    query: dict[str, str | int] = {"group": WIDGETS, "namespace": "*", "limit": 1}
    query["cursor"] = (await (await service.ready()).get("/resources", **query)).json["cursor"]
    assert (await same.get("/resources", **query)).status == 200
    assert (await other.get("/resources", **query)).status == 400


# -- who may see what ------------------------------------------------------------------------------------------------


@shows("CORS_ORIGINS")
async def test_pages_of_the_origins_may_read_answers(system: System) -> None:
    service = await system.start("serve", CORS_ORIGINS="https://portal.example")
    for origin, allowed in (("https://portal.example", True), ("https://elsewhere.example", False)):
        async with service.session.get(f"{service.url}/livez", headers={"Origin": origin}) as response:
            assert ("Access-Control-Allow-Origin" in response.headers) is allowed


@shows("DENIED_AS_EMPTY", "UNKNOWN_PARAMETERS")
async def test_what_the_go_service_does_not_refuse_need_not_be_refused(system: System) -> None:
    service = await (await system.start(DENIED_AS_EMPTY="true", UNKNOWN_PARAMETERS="ignore")).ready()
    denied = await _list(service, "nobody", extras="{}")
    assert (denied.status, denied.json["count"], denied.json["items"]) == (200, 0, [])
    usual = await system.start("serve")
    assert (await _list(usual, "nobody")).status == 403
    assert (await _list(usual, "tester", extras="{}")).status == 400


@shows("LIST_VERB", "RBAC_MAX_STALENESS")
async def test_access_is_decided_by_the_rules_that_are_cached(system: System) -> None:
    _let(system, "bob", "get")
    watching, usual, looser, strict = await asyncio.gather(
        system.start("watch"),
        system.start("serve"),
        system.start("serve", LIST_VERB="get"),
        system.start("serve", RBAC_MAX_STALENESS="1s"),
    )
    await usual.ready()
    assert (await _list(usual, "bob")).status == 403
    assert (await _list(looser, "bob")).status == 200

    assert await watching.process.stop() == 0
    silent = await eventually(partial(_list, strict, "tester"), lambda reply: reply.status == 503)
    assert "RBAC_MAX_STALENESS" in silent.json["message"]
    assert "Retry-After" in silent.headers
    assert (await _list(usual, "tester")).status == 200, "the default is 5 minutes"
    assert _reviews(system) == 0


@shows("AUTHORIZER", "SAR_CACHE_TTL")
async def test_access_is_decided_by_the_api_server_when_told_to(system: System) -> None:
    _let(system, "bob", "list")
    remembering, forgetting = await asyncio.gather(
        system.start(AUTHORIZER="sar", SAR_CACHE_TTL="1h"), system.start("serve", AUTHORIZER="sar", SAR_CACHE_TTL="0")
    )
    await remembering.ready()
    for service in (remembering, forgetting):
        assert (await _list(service, "bob")).status == 200
        assert (await _list(service, "carol")).status == 403
    asked = _reviews(system)
    assert asked > 0

    system.sandbox.cluster.delete("rolebindings.rbac.authorization.k8s.io", "bob", "team-atlas")
    assert (await _list(remembering, "bob")).status == 200
    assert _reviews(system) == asked
    assert (await _list(forgetting, "bob")).status == 403
    assert _reviews(system) > asked


def _let(system: System, user_name: str, verb: str) -> None:
    """Bind a role that allows one verb on the panels of a team."""
    system.sandbox.cluster.create(role("team-atlas", user_name, rule(verb, "panels", WIDGETS)))
    system.sandbox.cluster.create(role_binding("team-atlas", user_name, ref("Role", user_name), user(user_name)))


async def _list(service: Service, user_name: str, **more: str) -> Reply:
    """The answer to somebody who asks for the panels of the team."""
    groups = ["system:masters"] if user_name == "tester" else []
    asking = replace(service, token=sign(KEY.encode(), user_name, groups, timedelta(hours=1)))
    return await asking.get("/resources", group=WIDGETS, resource="panels", namespace="team-atlas", **more)


def _reviews(system: System) -> int:
    return system.sandbox.requests.count(verb="create", resource="subjectaccessreviews")


# -- numbered pages --------------------------------------------------------------------------------------------------


@shows(
    "PAGINATION_DEFAULT_PAGE_SIZE",
    "PAGINATION_MIN_PAGE_SIZE",
    "PAGINATION_MAX_PAGE_SIZE",
    "PAGINATION_DEFAULT_SORT_FIELD",
    "PAGINATION_DEFAULT_SORT_ORDER",
    "PAGINATION_MAX_OFFSET",
    "PAGINATION_BASE_URL",
)
async def test_numbered_pages_are_as_large_as_far_and_in_the_order_that_the_settings_say(system: System) -> None:
    service = await system.start(
        PAGINATION_DEFAULT_PAGE_SIZE="3",
        PAGINATION_MIN_PAGE_SIZE="2",
        PAGINATION_MAX_PAGE_SIZE="4",
        PAGINATION_DEFAULT_SORT_FIELD="name",
        PAGINATION_DEFAULT_SORT_ORDER="asc",
        PAGINATION_MAX_OFFSET="3",
        PAGINATION_BASE_URL="https://portal.example/api/",
    )
    await service.ready()
    assert '"max_offset": 3' in service.process.log()
    reply = await _numbered(service, page="2")
    names = [item["name"] for item in await service.items(group=WIDGETS, namespace="*")]
    assert [item["name"] for item in reply.json["data"]] == sorted(names)[3:6]
    assert reply.json["links"]["first"].startswith("https://portal.example/api/resources?page=1&per_page=3&")
    assert reply.json["links"]["next"].startswith("https://portal.example/api/resources?cursor="), "a number is too far"
    for per_page in ("1", "5"):
        assert "a whole number from 2 to 4" in (await _numbered(service, per_page=per_page)).json["message"]
    assert "at most 3 before it" in (await _numbered(service, page="3")).json["message"]


@shows("PAGINATION_CURSOR_ENABLED", "PAGINATION_INCLUDE_LINKS", "PAGINATION_CURSOR_THRESHOLD", "TRUSTED_PROXIES")
async def test_what_is_told_beside_a_numbered_page_is_what_the_settings_say(system: System) -> None:
    plain = await (await system.start(PAGINATION_CURSOR_ENABLED="false", PAGINATION_INCLUDE_LINKS="false")).ready()
    reply = await _numbered(plain, page="1", per_page="2")
    assert (reply.json["pagination"]["has_next"], reply.json["pagination"]["next_cursor"]) == (True, None)
    assert "links" not in reply.json
    assert "Link" not in reply.headers
    assert "PAGINATION_CURSOR_ENABLED" in (await _numbered(plain, per_page="2", cursor="abc")).json["message"]

    proxied = await system.start("serve", PAGINATION_CURSOR_THRESHOLD="0", TRUSTED_PROXIES="10.0.0.0/8,127.0.0.1")
    reply = await _numbered(proxied, page="1", per_page="2")
    assert reply.json["links"]["next"].startswith("http://portal.example/resources?cursor=")
    assert reply.json["pagination"]["page"] is None


@shows("PAGINATION_COUNT_CACHE_TTL")
@pytest.mark.parametrize("ttl", ["300", "0"])
async def test_a_total_is_remembered_while_nothing_changes(system: System, database: Address, ttl: str) -> None:
    service = await (await system.start(PAGINATION_COUNT_CACHE_TTL=ttl)).ready()
    before = (await _numbered(service, page="1")).json["pagination"]["total_items"]
    connection = await database.connect()
    try:  # what no writer does: nothing tells that it has changed
        await connection.execute("UPDATE watches SET objects = objects + 1000")
    finally:
        await connection.close()
    after = (await _numbered(service, page="1")).json["pagination"]["total_items"]
    assert (after == before) is (ttl == "300")


async def _numbered(service: Service, **query: str) -> Reply:
    """A numbered page of all widgets, through a proxy."""
    headers = {"Authorization": f"Bearer {service.token}", "X-Forwarded-Host": "portal.example"}
    asked = {"group": WIDGETS, "namespace": "*", **query}
    async with service.session.get(f"{service.url}/resources", params=asked, headers=headers) as response:
        return Reply(response.status, response.headers, await response.json())


# -- where it is kept ------------------------------------------------------------------------------------------------


@pytest.fixture
async def locked(postgres: Postgres) -> Address:
    """A database whose owner needs a password; everybody else still needs none."""
    rules = "local all locked scram-sha-256", "host all locked all scram-sha-256"
    others = "local all all trust", "host all all all trust"
    lines = ", ".join(f"('{line}')" for line in (*rules, *others))

    def lock() -> Address:
        (path,) = postgres.run(_path_of_rules, postgres.admin)
        postgres.execute(
            f"COPY (VALUES {lines}) TO '{path}'",
            "SELECT pg_reload_conf()",
            "DROP DATABASE IF EXISTS locked WITH (FORCE)",
            "DROP ROLE IF EXISTS locked",
            "CREATE ROLE locked LOGIN PASSWORD 'right one: %/?#@'",
            "CREATE DATABASE locked OWNER locked",
        )
        return postgres.address("locked")

    return await asyncio.to_thread(lock)


async def _path_of_rules(address: Address) -> list[str]:
    connection = await address.connect()
    try:
        return [await connection.fetchval("SHOW hba_file")]
    finally:
        await connection.close()


@shows("DB_HOST", "DB_PORT", "DB_NAME", "DB_USER", "DB_PASS")
async def test_the_database_is_the_one_that_is_named(presenter: Launch, locked: Address) -> None:
    good = variables_of(locked) | {"DB_USER": "locked", "DB_PASS": "right one: %/?#@", "DB_READY_TIMEOUT": "0"}
    migrate = await presenter("migrate", **good)
    assert await migrate.ended() == 0, migrate.log()
    connection = await locked.connect()
    assert await connection.fetchval("SELECT tableowner FROM pg_tables WHERE tablename = 'resources'") == "locked"
    await connection.close()

    reasons = {
        ("DB_PASS", "wrong one"): "password authentication failed",
        ("DB_USER", "nobody"): 'role "nobody" does not exist',
        ("DB_NAME", "nowhere"): 'database "nowhere" does not exist',
        ("DB_HOST", "/nowhere"): "No such file",
        ("DB_PORT", "1"): "",
    }
    wrong = {(name, value): await presenter("migrate", **(good | {name: value})) for name, value in reasons}
    for change, process in wrong.items():
        assert await process.ended() == 1, process.log()
        assert len(process.err) == 1
        assert process.err[0].startswith("presenter: PostgreSQL cannot be used: ")
        assert reasons[change] in process.err[0]


@shows("DB_READ_HOST", "DB_READ_PORT")
async def test_pages_are_read_where_they_are_to_be_read(system: System) -> None:
    host, port = system.variables["DB_HOST"], system.variables["DB_PORT"]
    elsewhere = {"DB_HOST": "/nowhere", "DB_PORT": "1", "DB_READY_TIMEOUT": "0"}
    there = {"DB_READ_HOST": f"/also-nowhere,{host}", "DB_READ_PORT": port}
    service = await system.start("serve", **elsewhere, **there)
    assert (await service.get("/resources", group="core")).status == 503, "no cluster yet, but a database"

    wrong = {"DB_READ_HOST": host, "DB_READ_PORT": "2", "DB_READY_TIMEOUT": "0"}
    for command in ("run", "serve"):
        process = await system.launch(command, **(system.variables | wrong))
        assert await process.ended() == 1
        assert process.err[-1].startswith("presenter: PostgreSQL cannot be used: ")
    assert await (await system.start("watch", **wrong)).process.stop() == 0, "it reads nothing there"

    process = await system.launch("serve", **(system.variables | there | {"DB_HOST": ""}))
    assert await process.ended() == 2
    assert process.err[-1].startswith("presenter: DB_READ_HOST is set and DB_HOST is not")


@shows("DB_PARAMS")
async def test_connection_parameters_are_used(system: System) -> None:
    service = await system.start("serve", DB_PARAMS="sslmode=disable&connect_timeout=5")
    assert (await service.get("/resources", group="core")).status == 503, "no cluster yet, but a database"
    with _listening() as port:  # and never answering
        mute = {"DB_HOST": "127.0.0.1", "DB_PORT": str(port), "DB_READY_TIMEOUT": "0"}
        started = time.monotonic()
        process = await system.launch("serve", **(system.variables | mute | {"DB_PARAMS": "connect_timeout=0.5"}))
        assert await process.ended() == 1
        assert time.monotonic() - started < 9, "the default is 10 s"


@shows("DB_PARAMS")
@pytest.mark.parametrize("parameters", ["sslmode=sometimes", "connect_timeout=soon", "nonsense=1"])
async def test_wrong_connection_parameters_are_refused_by_name(system: System, parameters: str) -> None:
    process = await system.launch("serve", **(system.variables | {"DB_PARAMS": parameters}))
    assert await process.ended() == 2, process.log()
    assert process.err[-1].startswith("presenter: DB_PARAMS is not usable: ")


@shows("DB_PARAMS")
async def test_the_go_services_configuration_works_as_it_is(system: System, database: Address) -> None:
    service = await system.start(
        "serve",
        DB_PARAMS="sslmode=disable&connect_timeout=5&pool_min_conns=4&pool_max_conns=5&pool_max_conn_lifetime=1h",
        DB_READY_TIMEOUT="5m",
        OTEL_ENABLED="true",
        OTEL_EXPORT_INTERVAL="30s",
        AUTHN_NS="krateo-system",
        RBAC_USERCAN_CACHE_TTL="180s",
    )
    told = [
        name
        for line in service.process.log().splitlines()
        if " changes nothing here" in line
        for name in re.findall(r'"event": "(.+) changes nothing here"', line)
    ]
    assert sorted(told) == [
        "AUTHN_NS",
        "OTEL_ENABLED",
        "OTEL_EXPORT_INTERVAL",
        "RBAC_USERCAN_CACHE_TTL",
        "pool_max_conn_lifetime in DB_PARAMS",
    ]
    async with service.session.get(f"{service.url}/metrics") as response:
        assert 'presenter_database_connections_max{pool="pages"} 5.0' in await response.text()
    connection = await database.connect()
    try:
        others = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        assert await connection.fetchval(others) >= 4
    finally:
        await connection.close()


@shows("DB_READY_TIMEOUT")
async def test_a_database_that_is_down_is_waited_for_only_so_long(system: System) -> None:
    with _listening() as port:
        pass
    down = {"DB_HOST": "127.0.0.1", "DB_PORT": str(port), "DB_READY_TIMEOUT": "1500ms"}
    started = time.monotonic()
    process = await system.launch("serve", **(system.variables | down))
    assert await process.ended() == 1
    assert time.monotonic() - started >= 1.5
    assert process.err[-1].startswith("presenter: PostgreSQL cannot be used: ")
    assert process.err[-1].endswith("(waited 1.5 s, DB_READY_TIMEOUT)")


@shows("DB_READY_TIMEOUT")
async def test_a_database_that_comes_up_in_time_is_used(system: System, postgres: Postgres) -> None:
    process = await system.launch("serve", **(system.variables | {"DB_NAME": "latecomer", "DB_READY_TIMEOUT": "1m"}))
    await process.line("waiting for the database")
    await asyncio.to_thread(postgres.create, "latecomer", "template")
    await process.line('"event": "listening"')
    assert await process.stop() == 0
    await asyncio.to_thread(postgres.drop, "latecomer")


@shows("DATA_DIR")
async def test_without_a_host_the_database_is_in_the_directory(system: System, home: Path) -> None:
    embedded = system.having(DB_HOST="", DATA_DIR=str(home / "data"))
    service = await (await embedded.start()).ready()
    await embedded.in_sync(service, PANELS)
    (joined,) = [await embedded.start("serve")]
    assert await joined.cached(PANELS) == embedded.served(PANELS), "several processes may share it"
    assert (home / "data" / "PG_VERSION").exists()
    assert await service.process.stop() == 0
    assert await joined.cached(PANELS) == embedded.served(PANELS), "the last to leave stops it"
    assert await joined.process.stop() == 0
    assert working_in(home / "data") == []


@shows("DATA_DIR")
async def test_by_default_the_database_is_in_the_users_data_directory(system: System, home: Path) -> None:
    service = await system.having(DB_HOST="").start("serve")
    assert (home / ".local" / "share" / "resources-presenter" / "postgresql" / "PG_VERSION").exists()
    assert await service.process.stop() == 0


@shows("DATA_DIR")
@pytest.mark.parametrize("directory", ["file", "file/in", "full"])
async def test_a_directory_that_cannot_hold_a_database_is_refused(system: System, home: Path, directory: str) -> None:
    (home / "file").touch()
    (home / "full").mkdir()
    (home / "full" / "something").touch()
    unusable = {"DB_HOST": "", "DATA_DIR": str(home / directory)}
    process = await system.launch("serve", **(system.variables | unusable))
    assert await process.ended() == 1
    assert "Traceback" not in process.log()
    assert any(line.startswith("presenter: the embedded PostgreSQL under ") for line in process.err)
    assert f"{home / directory} (DATA_DIR) does not start" in process.log()


# -- what is watched -------------------------------------------------------------------------------------------------


@shows("KUBECONFIG")
async def test_the_cluster_is_the_one_of_the_kubeconfig(system: System, home: Path) -> None:
    async with Sandbox() as other:
        other.write_kubeconfig(home / "other")
        service = await (await system.start(KUBECONFIG=str(home / "other"))).ready()
        (cluster,) = (await service.get("/readyz")).json["clusters"]
        assert cluster["name"] == other.url.removeprefix("http://")
        assert other.requests.count(verb="watch") > 0
    assert len(system.sandbox.requests) == 0


@shows("KUBECONFIG")
@pytest.mark.parametrize(
    ("kubeconfig", "message"),
    [("", "there is no cluster to watch: set KUBECONFIG"), ("/nowhere", "KUBECONFIG is '/nowhere': there is no such")],
)
async def test_without_a_cluster_there_is_nothing_to_watch(system: System, kubeconfig: str, message: str) -> None:
    for command in ("run", "watch"):
        process = await system.launch(command, **(system.variables | {"KUBECONFIG": kubeconfig}))
        assert await process.ended() == 2
        assert process.err[-1].startswith(f"presenter: {message}")


@shows("CLUSTER_NAME")
async def test_objects_carry_the_name_of_the_cluster(system: System) -> None:
    service = await (await system.start(CLUSTER_NAME="production")).ready()
    items = await service.items(group="widgets.templates.krateo.io", namespace="*")
    assert {item["cluster_name"] for item in items} == {"production"}
    assert all(item["global_uid"] == f"production:{item['uid']}" for item in items)


@shows("NAMESPACES")
async def test_only_the_namespaces_are_watched(system: System) -> None:
    service = await (await system.start(NAMESPACES="demo-system, team-atlas")).ready()
    found = await service.cached(PANELS)
    assert found == {
        uid: panel
        for uid, panel in system.served(PANELS).items()
        if panel["metadata"]["namespace"] in ("demo-system", "team-atlas")
    }
    crds = "customresourcedefinitions.apiextensions.k8s.io"
    assert await service.cached(crds) == system.served(crds), "what has no namespace is watched all the same"
    asked = system.sandbox.requests.matching(verb="watch", resource="panels")
    assert {request.namespace for request in asked} == {"demo-system", "team-atlas"}


@shows("WATCH")
async def test_only_what_is_selected_is_watched(system: System) -> None:
    service = await (await system.start(WATCH="pods,*.templates.krateo.io,!buttons.*")).ready()
    for name in ("pods", "restactions.templates.krateo.io"):
        assert await service.cached(name) == system.served(name)
    for name in (PANELS, "buttons.widgets.templates.krateo.io", "secrets"):
        refused = await service.cached(name)
        assert isinstance(refused, Reply)
        assert refused.status == 404
    asked = {request.resource for request in system.sandbox.requests if request.verb in ("list", "watch")}
    assert {"pods", "restactions"} <= asked
    assert not asked & {"panels", "buttons", "secrets"}


@shows("RECONCILE_INTERVAL")
async def test_the_cache_is_compared_with_the_cluster_now_and_then(system: System, database: Address) -> None:
    def compared() -> bool:
        return any(request.query.get("resourceVersionMatch") == "Exact" for request in system.sandbox.requests)

    never = await (await system.start(RECONCILE_INTERVAL="0")).ready()
    connection = await database.connect()
    await connection.execute("DELETE FROM resources WHERE raw ->> 'kind' = 'Panel'")
    await connection.close()
    system.put("later", title="and nothing else")
    one_panel = await eventually(partial(never.cached, PANELS), bool)
    assert isinstance(one_panel, dict)
    assert len(one_panel) == 1
    assert not compared()
    assert await never.process.stop() == 0

    await system.in_sync(await system.start(RECONCILE_INTERVAL="1s"), PANELS)
    assert compared()


@shows("CHANGES_RETENTION", "CHANGES_RETENTION_MAX")
@pytest.mark.parametrize("setting", [{"CHANGES_RETENTION": "1s"}, {"CHANGES_RETENTION_MAX": "0"}], ids=str)
async def test_past_states_are_kept_as_long_and_as_many_as_told(
    system: System, pool: Pool, setting: dict[str, str]
) -> None:
    async def kept() -> int:
        async with pool.connection() as connection:
            return int(await connection.fetchval("SELECT count(*) FROM past_states"))

    system.put("passing")
    first = await system.start()
    await system.in_sync(first)
    system.drop("passing")
    await eventually(kept, partial(operator.eq, 1))
    assert await first.process.stop() == 0

    again = await (await system.start()).ready()
    assert await again.process.stop() == 0
    assert await kept() == 1, "for 24 hours"
    await (await system.start(**setting)).ready()
    await eventually(kept, partial(operator.eq, 0))


@shows("CACHE_SECRET_DATA")
async def test_the_values_of_secrets_are_kept_only_when_told_to(system: System) -> None:
    data = {"password": "cDRzcw=="}
    made = system.sandbox.cluster.create(
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "mine", "namespace": "default"}, "data": data}
    )
    for setting, kept in (("", {"password": ""}), ("true", data)):
        service = await (await system.start(WATCH="secrets", CACHE_SECRET_DATA=setting)).ready()
        wanted = {made["metadata"]["uid"]: {**without_managed_fields(made), "data": kept}}
        await eventually(partial(service.cached, "secrets"), partial(operator.eq, wanted))
        assert await service.process.stop() == 0


@contextmanager
def _listening() -> Iterator[int]:
    """A port where somebody listens, and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]
