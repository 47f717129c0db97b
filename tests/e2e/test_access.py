"""Who sees what, decided by real processes on what the cluster says."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from functools import partial

from presenter.access.identity import sign
from presenter.cache.pool import Address
from presenter.config import parse_duration
from tests.e2e.system import KEY, PANELS, Json, Reply, Service, System
from tests.eventually import eventually

SOON = 1.0
"""Seconds within which a change must be obeyed."""

BINDINGS = "rolebindings.rbac.authorization.k8s.io"
EVERYWHERE: dict[str, str | int] = {
    "group": "widgets.templates.krateo.io",
    "resource": "panels",
    "namespace": "*",
    "limit": 5000,
}
TEAMS_OF_DEVS = {"team-atlas", "team-borealis", "team-cobalt", "demo-system"}
SECRET = "bm9ib2R5LW1heS1zZWU="


def as_user(service: Service, user: str, *groups: str) -> Service:
    """The service as somebody else sees it."""
    return replace(service, token=sign(KEY.encode(), user, list(groups), parse_duration("1h")))


def panels_of(system: System, *namespaces: str) -> set[str]:
    """The uids of all panels that the cluster has in some namespaces."""
    found = [manifest["metadata"] for manifest in system.sandbox.cluster.objects(PANELS)]
    assert {metadata["namespace"] for metadata in found} >= set(namespaces)
    return {metadata["uid"] for metadata in found if metadata["namespace"] in namespaces}


async def ask(service: Service) -> Reply:
    return await service.get("/resources", **EVERYWHERE)


async def seen(service: Service) -> set[str]:
    return {item["uid"] for item in await service.items(**EVERYWHERE)}


async def seconds_until_denied(service: Service) -> float:
    started = time.monotonic()
    await eventually(partial(ask, service), lambda reply: reply.status == 403)
    return time.monotonic() - started


async def test_serving_alone_follows_the_bindings_of_the_cluster(system: System) -> None:
    watching, serving = await asyncio.gather(system.start("watch"), system.start("serve"))
    await serving.ready()
    alice, bob = as_user(serving, "alice"), as_user(serving, "bob")
    dev = as_user(serving, "alice", "devs")
    assert await seen(alice) == panels_of(system, "team-dorado")
    assert await seen(dev) == panels_of(system, "team-dorado", *TEAMS_OF_DEVS)
    assert await seen(as_user(serving, "system:serviceaccount:krateo-system:portal")) == await seen(alice)
    assert await seen(as_user(serving, "root", "admins")) == set(system.served(PANELS))
    assert (await ask(bob)).json["message"] == (
        'panels.widgets.templates.krateo.io is forbidden: User "bob" cannot list resource "panels" '
        'in API group "widgets.templates.krateo.io" at the cluster scope'
    )

    system.sandbox.cluster.delete(BINDINGS, "alice-sees-panels", "team-dorado")
    assert await seconds_until_denied(alice) < SOON
    assert await seen(dev) == panels_of(system, *TEAMS_OF_DEVS)
    system.sandbox.cluster.create(_binding("team-dorado", "bob"))
    await eventually(partial(ask, bob), lambda reply: reply.status == 200)
    assert await seen(bob) == panels_of(system, "team-dorado")
    assert (await ask(alice)).status == 403
    assert await watching.process.stop() == 0


async def test_a_page_costs_no_request_to_the_cluster(system: System) -> None:
    watching = await system.start("watch")
    serving = await (await system.start("serve")).ready()
    assert await watching.process.stop() == 0  # what is asked from now on is asked for the pages
    system.sandbox.requests.clear()
    for number in range(50):
        user = as_user(serving, "alice", "devs") if number % 2 else as_user(serving, f"user-{number}")
        assert (await ask(user)).status == (200 if number % 2 else 403)
    assert list(system.sandbox.requests) == []


async def test_reviews_decide_and_are_remembered(system: System) -> None:
    remembering = await (await system.start("run", AUTHORIZER="sar", SAR_CACHE_TTL="1h")).ready()
    asking = await system.start("serve", AUTHORIZER="sar", SAR_CACHE_TTL="0s")
    old, new = as_user(remembering, "alice"), as_user(asking, "alice")

    def reviews() -> int:
        return system.sandbox.requests.count(verb="create", resource="subjectaccessreviews")

    assert await seen(old) == panels_of(system, "team-dorado")
    first = reviews()
    assert first > 0
    assert await seen(old) == panels_of(system, "team-dorado")
    assert reviews() == first, "what was answered is remembered"
    for _ in range(2):
        assert await seen(new) == panels_of(system, "team-dorado")
    assert reviews() == 3 * first, "for no time at all, if that is what is wanted"
    assert (await ask(as_user(asking, "bob"))).status == 403

    system.sandbox.cluster.delete(BINDINGS, "alice-sees-panels", "team-dorado")
    assert (await ask(new)).status == 403, "the API server decides, not what is cached"
    assert (await ask(old)).status == 200

    await system.sandbox.stop()
    unanswered = await ask(new)
    assert (unanswered.status, unanswered.json["reason"]) == (503, "ServiceUnavailable")
    assert int(unanswered.headers["Retry-After"]) > 0
    assert (await new.get("/resources/elsewhere:none")).status == 404
    item = next(iter(await old.items(**EVERYWHERE)))
    for uid in (item["global_uid"], item["global_uid"].rpartition(":")[0] + ":none"):
        assert (await new.get(f"/resources/{uid}")).status == 503, "whether it is there does not show"


ASKED: list[tuple[str, str]] = [
    (
        f"list {PANELS} -n team-dorado --user alice",
        'lab: yes, by RoleBinding "alice-sees-panels" of Role "panels-viewer" in namespace "team-dorado"',
    ),
    (
        f"get {PANELS} any -n team-atlas --user alice --group devs",
        'lab: yes, by RoleBinding "devs-see-portal" of ClusterRole "portal-viewer" in namespace "team-atlas"',
    ),
    (
        f"list {PANELS} -A --user root --group admins",
        'lab: yes, by ClusterRoleBinding "admins" of ClusterRole "cluster-admin"',
    ),
    (f"list {PANELS} -A --user alice --group devs", "lab: no"),
    (f"get {PANELS} any -n team-atlas --user alice", "lab: no"),
    (f"list {PANELS} --user bob --cluster elsewhere", f"presenter: {PANELS} is not cached of cluster elsewhere"),
    ("list gadgets.example.com --user root --group admins", "presenter: gadgets.example.com is not cached"),
]


async def test_why_somebody_may_see_something(system: System) -> None:
    system = system.having(CLUSTER_NAME="lab")
    await (await system.start("watch")).ready()
    database = {name: value for name, value in system.variables.items() if name.startswith("DB_")}
    commands = [await system.launch("can-i", *asked.split(), **database) for asked, _ in ASKED]
    codes = await asyncio.gather(*(command.ended() for command in commands))
    for (asked, said), command, code in zip(ASKED, commands, codes, strict=True):
        told = [*command.out, *command.err]
        assert len(told) == 1, command.log()
        assert told[0].startswith(said), asked
        assert code == (0 if "yes" in said else 1), asked


async def test_the_values_of_secrets_are_kept_only_when_that_is_wanted(system: System, database: Address) -> None:
    system = system.having(WATCH="*.*.krateo.io,secrets")
    made = system.sandbox.cluster.create(
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "key", "namespace": "default"},
            "data": {"key": SECRET},
        }
    )
    for wanted in ("", "true", "false"):
        service = await (await system.start("run", CACHE_SECRET_DATA=wanted)).ready()
        data = {"key": SECRET if wanted == "true" else ""}
        look = partial(service.get, "/resources", group="core", resource="secrets", name="key", raw="true")
        reply = await eventually(look, partial(_holds, data))
        (item,) = reply.json["items"]
        assert item["uid"] == made["metadata"]["uid"]
        assert await _rows_that_hold(database, SECRET) == (1 if wanted == "true" else 0)
        assert (await as_user(service, "alice", "devs").get(f"/resources/{item['global_uid']}")).status == 404
        assert await service.process.stop() == 0


def _holds(data: Json, reply: Reply) -> bool:
    return reply.status == 200 and [item["raw"]["data"] for item in reply.json["items"]] == [data]


async def _rows_that_hold(database: Address, text: str) -> int:
    connection = await database.connect()
    try:
        rows: int = await connection.fetchval("SELECT count(*) FROM resources WHERE raw::text LIKE $1", f"%{text}%")
    finally:
        await connection.close()
    return rows


def _binding(namespace: str, user: str) -> Json:
    group = "rbac.authorization.k8s.io"
    return {
        "apiVersion": f"{group}/v1",
        "kind": "RoleBinding",
        "metadata": {"name": f"{user}-sees-panels", "namespace": namespace},
        "subjects": [{"kind": "User", "name": user, "apiGroup": group}],
        "roleRef": {"kind": "Role", "name": "panels-viewer", "apiGroup": group},
    }
