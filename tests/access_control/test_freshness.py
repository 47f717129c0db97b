"""Decisions follow the rules at once, and without rules that can be trusted there are none."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from presenter.cache.pool import Address, Pool
from presenter.config import AccessSettings
from presenter.resource import ResourceType
from tests.access_control.world import (
    PANELS,
    RULES,
    TYPES,
    WIDGETS,
    Change,
    Json,
    Source,
    caller,
    sql,
    thing,
    until,
    with_uid,
)
from tests.api.service import Reply, Service, serving
from tests.rbac.objects import cluster_role, ref, role, role_binding, rule, user

SOON = 1.0
"""Seconds within which a change must be obeyed."""

IN_PROD: dict[str, Any] = {"group": WIDGETS, "resource": "panels", "namespace": "prod"}
PANEL = thing(PANELS, "prod", "a")
READER = cluster_role("reader", rule("get list", "panels", WIDGETS))
BINDING = role_binding("prod", "readers", ref("ClusterRole", "reader"), user("alice"))
EVERY_RULE = pytest.mark.parametrize("type", RULES, ids=lambda type: type.resource)

_SILENT = """
UPDATE watches SET last_event_at = clock_timestamp() - make_interval(secs => $2) WHERE type_id = $1 RETURNING type_id
"""
# Whatever the clock says: rows are written as if it had been set back by two minutes.
_CLOCK_SET_BACK = """
CREATE FUNCTION set_back() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    NEW.updated_at = NEW.updated_at - interval '2 minutes';
    RETURN NEW;
END $$;
CREATE TRIGGER set_back BEFORE INSERT OR UPDATE ON resources FOR EACH ROW EXECUTE FUNCTION set_back();
"""
_HANG_UP = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'LISTEN %'
"""
# What a transaction of the writer does, without its NOTIFY.
_DELETE_SILENTLY = """
WITH gone AS (DELETE FROM resources WHERE uid = $1 RETURNING type_id)
UPDATE watches SET checkpoint = '1000', revision = revision + 1, events = events + 1, numbered = numbered + 1
FROM gone WHERE watches.type_id = gone.type_id RETURNING watches.type_id
"""


@pytest.fixture
async def source(source: Source) -> Source:
    """A panel in a namespace of which alice may see all panels."""
    await source.put(PANEL, READER, BINDING)
    return source


async def ask(service: Service) -> Reply:
    return await service.page(**IN_PROD)


def coded(code: int) -> Any:
    return lambda reply: reply.code == code


def undecided(reply: Reply) -> str:
    """The message of an answer that says neither yes nor no."""
    assert int(reply.headers["Retry-After"]) > 0
    return reply.failure(503)


@EVERY_RULE
async def test_nothing_is_decided_before_the_rules_are_complete(
    database: Address, pool: Pool, type: ResourceType
) -> None:
    source = await Source.open(pool, synced=[other for other in TYPES if other != type])
    await source.put(PANEL, *(rules for rules in (READER, BINDING) if rules["kind"] != type.kind))
    async with serving(database) as service:
        for asker in (service, caller(service, "root", "system:masters")):
            for reply in (await ask(asker), await asker.detail(source.uid(PANEL)), await asker.detail("test:none")):
                message = undecided(reply)
                assert message == f"who may see what in cluster test is not known yet: {type.resource} are not synced"
        await source.sync(type)
        await until(partial(ask, caller(service, "root", "system:masters")), coded(200))


async def test_nothing_is_decided_without_any_rules_at_all(database: Address, pool: Pool) -> None:
    source = await Source.open(pool)
    await source.put(PANEL)
    for type in RULES:
        await source.writer.forget(type)
    async with serving(database) as service:
        assert "are not synced" in undecided(await ask(caller(service, "root", "system:masters")))


@EVERY_RULE
async def test_a_forgotten_type_of_rules_ends_all_decisions(
    source: Source, service: Service, type: ResourceType
) -> None:
    await until(partial(ask, service), coded(200))
    await source.writer.forget(type)
    assert await until(partial(ask, service), coded(503)) < SOON
    undecided(await ask(service))
    undecided(await service.detail(source.uid(PANEL)))
    [source.watches[type.kind]] = await source.writer.declare(type)
    undecided(await ask(service))
    await source.sync(type)
    await until(partial(ask, caller(service, "root", "system:masters")), coded(200))
    bound = (await ask(service)).code
    assert bound == (403 if type.kind in (READER["kind"], BINDING["kind"]) else 200), "of the rules only what is there"


@EVERY_RULE
async def test_rules_of_a_silent_watch_decide_nothing(source: Source, database: Address, type: ResourceType) -> None:
    watch = source.watches[type.kind]
    assert await sql(database, _SILENT, watch.type_id, 60.0)
    assert await sql(database, _SILENT, source.watches["Panel"].type_id, 1000.0)
    async with serving(database, access=AccessSettings(RBAC_MAX_STALENESS="90s")) as service:
        assert (await ask(service)).names == ["a"], "of the RBAC watches this one is silent, but not for long"
        assert await sql(database, _SILENT, watch.type_id, 95.0)
        await until(partial(ask, service), coded(503))
        for asker in (service, caller(service, "root", "system:masters")):
            message = undecided(await ask(asker))
            assert message.endswith("s ago (RBAC_MAX_STALENESS 90 s)")
            undecided(await asker.detail(source.uid(PANEL)))
        await source.writer.apply(watch, [], "2000")  # as a bookmark does
        await until(partial(ask, service), coded(200))


async def test_five_minutes_are_too_long(source: Source, service: Service, database: Address) -> None:
    watch = source.watches["RoleBinding"]
    assert await sql(database, _SILENT, watch.type_id, 240.0)
    await until(partial(ask, service), coded(200))
    assert await sql(database, _SILENT, watch.type_id, 301.0)
    await until(partial(ask, service), coded(503))
    assert "RBAC_MAX_STALENESS 300 s" in undecided(await ask(service))


@pytest.mark.parametrize("removed", [READER, BINDING], ids=lambda manifest: manifest["kind"])
async def test_what_is_taken_away_is_denied_soon(source: Source, service: Service, removed: Json) -> None:
    detail = partial(service.detail, source.uid(PANEL))
    for _ in range(3):
        await until(partial(ask, service), coded(200))
        await source.delete(removed)
        assert await until(partial(ask, service), coded(403)) < SOON
        (await detail()).failure(404)
        await source.put(removed)
        assert await until(detail, coded(200)) < SOON


async def test_what_is_not_announced_is_denied_soon_too(source: Source, service: Service, database: Address) -> None:
    await until(partial(ask, service), coded(200))
    assert await sql(database, _DELETE_SILENTLY, BINDING["metadata"]["uid"])
    assert await until(partial(ask, service), coded(403)) < SOON


async def test_a_broken_connection_of_who_listens_delays_nothing(
    source: Source, service: Service, database: Address
) -> None:
    await until(partial(ask, service), coded(200))
    for _ in range(2):
        await until(partial(sql, database, _HANG_UP), bool)
        await source.delete(BINDING)
        assert await until(partial(ask, service), coded(403)) < SOON
        await source.put(BINDING)
        await until(partial(ask, service), coded(200))


async def test_a_changed_role_grants_what_it_says_now(source: Source, service: Service) -> None:
    for rules, code in (
        ([rule("list", "buttons", WIDGETS)], 403),
        ([rule("list", "*", "*")], 200),
        ([rule("list", "panels", WIDGETS, names=["b"])], 403),
        ([], 403),
        ([rule("list", "panels", WIDGETS), rule("get", "pods")], 200),
    ):
        await source.put(cluster_role("reader", *rules))
        await source.settle(service)
        assert (await ask(service)).code == code


async def test_a_binding_to_others_lets_others(source: Source, service: Service) -> None:
    bob = caller(service, "bob")
    await source.settle(service)
    assert ((await ask(service)).code, (await ask(bob)).code) == (200, 403)
    await source.put(role_binding("prod", "readers", ref("ClusterRole", "reader"), user("bob")))
    await source.settle(service)
    assert ((await ask(service)).code, (await ask(bob)).code) == (403, 200)


@pytest.mark.parametrize("order", ["delete first", "delete last", "two batches", "two batches, delete last"])
async def test_created_anew_under_the_name_it_grants_what_it_says_now(
    source: Source, service: Service, order: str
) -> None:
    other_role = cluster_role("reader", rule("get", "panels", WIDGETS))
    other_binding = role_binding("prod", "readers", ref("ClusterRole", "reader"), user("bob"))
    there = {READER["kind"]: READER, BINDING["kind"]: BINDING}
    for life, wanted in enumerate([other_role, READER, other_binding, BINDING, other_binding]):
        new = with_uid(wanted, f"life-{life}")
        changes: list[Change] = [("delete", there[new["kind"]]), ("upsert", new)]
        if order.endswith("delete last"):
            changes.reverse()
        for batch in [[change] for change in changes] if order.startswith("two batches") else [changes]:
            await source.change(*batch)
            await source.settle(service)
        assert (await ask(service)).code == (200 if wanted in (READER, BINDING) else 403)
        there[new["kind"]] = new


async def test_a_service_that_starts_decides_as_one_that_was_there(
    source: Source, service: Service, database: Address
) -> None:
    await source.put(role("prod", "r", rule("list", "panels", WIDGETS)))
    await source.put(role_binding("prod", "r", ref("Role", "r"), user("bob")))
    await source.delete(BINDING)
    await source.settle(service)
    async with serving(database) as anew:
        for user_name in ("alice", "bob"):
            for asker in (caller(service, user_name), caller(anew, user_name)):
                assert (await ask(asker)).code == (200 if user_name == "bob" else 403)


async def test_another_cluster_under_the_name_decides_by_its_own_rules(source: Source, service: Service) -> None:
    """Its resourceVersions may be those of the old one by chance."""
    await source.settle(service)
    assert (await ask(service)).code == 200
    reached = {kind: await source.writer.checkpoint(watch) for kind, watch in source.watches.items()}
    await source.writer.open_cluster("another uid", ["*.*", "secrets"])
    for kind, watch in source.watches.items():
        await source.writer.begin_list(watch)
        await source.writer.finish_list(watch, "1" if (before := reached[kind]) is None else before.resource_version)
    assert await until(partial(ask, service), coded(403), patience=2 * SOON) < SOON


async def test_a_database_whose_clock_was_set_back_is_obeyed_as_soon(
    source: Source, service: Service, pool: Pool
) -> None:
    """As after a failover to another host. What comes and what goes are as many, so that no number tells either."""
    bob = caller(service, "bob")
    await until(partial(ask, service), coded(200))
    async with pool.connection() as connection:
        await connection.execute(_CLOCK_SET_BACK)
    other = role_binding("prod", "others", ref("ClusterRole", "reader"), user("bob"))
    await source.change(("delete", BINDING), ("upsert", other))
    assert await until(partial(ask, bob), coded(200)) < SOON
    assert (await ask(service)).code == 403
    await source.put(role_binding("prod", "others", ref("ClusterRole", "reader"), user("alice")))
    assert await until(partial(ask, service), coded(200)) < SOON
    assert (await ask(bob)).code == 403
