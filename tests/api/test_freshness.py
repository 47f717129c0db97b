"""Every answer tells how far behind its cluster it may be."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from functools import partial

import pytest

from presenter.cache.pool import Pool
from presenter.cache.writer import Writer
from presenter.resource import Event, State, Watch
from tests.api.service import Reply, Service
from tests.api.world import BUTTONS, PANELS, WIDGETS, first_list
from tests.eventually import eventually
from tests.objects import make_object
from tests.rules import Rules

STATE, LAG = "X-Cache-State", "X-Cache-Lag-Seconds"
ALL = {"group": WIDGETS, "namespace": "*"}

_STAND = """
UPDATE watches SET state = $3, last_event_at = clock_timestamp() - $4 * interval '1 s'
WHERE type_id = $1 AND namespace = $2
"""


async def stand(pool: Pool, watch: Watch, state: State, silent: int = 0) -> None:
    """Put a watch into a state, last heard of so many seconds ago."""
    async with pool.connection() as connection:
        await connection.execute(_STAND, watch.type_id, watch.namespace, state, silent)


async def told(service: Service, state: str | None, at_least: int = 0, **query: str) -> Reply:
    """The page that tells this state, as soon as it does, and a lag of so many seconds or a little more."""

    def expected(reply: Reply) -> bool:
        return reply.headers.get(STATE) == state and (
            state is None or at_least <= int(reply.headers[LAG]) < at_least + 30
        )

    return await eventually(partial(service.page, **(ALL | query)), expected)


@pytest.fixture
async def panels(writer: Writer) -> Watch:
    """Panels, complete, in a cluster where everybody may see everything."""
    await writer.open_cluster("uid", ["*.*.krateo.io"])
    await Rules(writer).open_to_everybody()
    [watch] = await writer.declare(PANELS)
    await first_list(writer, watch, make_object("one"))
    await writer.discovered()
    return watch


@pytest.mark.parametrize(
    ("stored", "silent", "shown"),
    [
        ("live", 0, "live"),
        ("live", 120, "live"),
        ("live", 200, "stalled"),
        ("live", 86_400, "stalled"),
        ("syncing", 200, "syncing"),
        ("pending", 0, "pending"),
        ("forbidden", 300, "forbidden"),
        ("error", 5, "error"),
    ],
)
async def test_a_page_tells_state_and_lag(
    service: Service, pool: Pool, panels: Watch, stored: State, silent: int, shown: str
) -> None:
    await stand(pool, panels, stored, silent)
    assert (await told(service, shown, silent)).names == ["one"]


async def test_what_is_live_again_is_no_longer_stalled(
    service: Service, pool: Pool, writer: Writer, panels: Watch
) -> None:
    await stand(pool, panels, "live", 1000)
    await told(service, "stalled", 1000)
    await writer.apply(panels, [Event("upsert", make_object("two", resource_version=1001))], "1001")
    assert (await told(service, "live")).json["count"] == 2


async def test_the_worst_state_and_the_longest_lag_of_all_types_count(
    service: Service, pool: Pool, writer: Writer, panels: Watch
) -> None:
    [buttons] = await writer.declare(BUTTONS)
    await first_list(writer, buttons)
    worst_first: list[State] = ["error", "forbidden", "stalled", "pending", "syncing", "live"]
    for worse, better in itertools.pairwise(worst_first):
        for one, other in ((panels, buttons), (buttons, panels)):
            await stand(pool, one, _stored(worse), 300)
            await stand(pool, other, _stored(better), 400 if better == "stalled" else 60)
            await told(service, worse, 400 if better == "stalled" else 300)
    await told(service, "live", 60, resource="panels")
    await told(service, "syncing", 300, resource="buttons")


def _stored(shown: State) -> State:
    return "live" if shown == "stalled" else shown


async def test_types_that_the_caller_may_not_see_do_not_count(service: Service, pool: Pool, writer: Writer) -> None:
    await writer.open_cluster("uid", ["*.*.krateo.io"])
    rules = await Rules(writer).sync()
    await rules.role("panels", {"verbs": ["list"], "apiGroups": [WIDGETS], "resources": ["panels"]})
    await rules.bind("panels", "panels", ("User", "alice"))
    for type in (PANELS, BUTTONS):
        [watch] = await writer.declare(type)
        await first_list(writer, watch)
    await writer.discovered()
    await stand(pool, watch, "error", 1000)
    assert (await told(service, "live")).items == []


async def test_only_the_namespaces_that_were_asked_for_count(service: Service, pool: Pool, writer: Writer) -> None:
    await writer.open_cluster("uid", ["*.*.krateo.io"])
    await Rules(writer).open_to_everybody()
    watches = await writer.declare(PANELS, ["team-a", "team-b"])
    for watch in watches:
        await first_list(writer, watch, make_object("one", watch.namespace))
    await writer.discovered()
    await stand(pool, watches[1], "forbidden", 90)
    await told(service, "forbidden", 90)
    assert (await told(service, "live", namespace="team-a")).json["count"] == 1
    assert (await told(service, "forbidden", 90, namespace="team-b")).json["count"] == 1
    elsewhere = await told(service, None, namespace="team-c")
    assert (elsewhere.items, LAG in elsewhere.headers) == ([], False)

    for item in (await service.page(**ALL)).items:
        headers: Mapping[str, str] = (await service.detail(item["global_uid"])).headers
        assert headers[STATE] == {"team-a": "live", "team-b": "forbidden"}[item["namespace"]]
        assert int(headers[LAG]) >= {"team-a": 0, "team-b": 90}[item["namespace"]]


@pytest.mark.usefixtures("panels")
async def test_where_nothing_is_watched_nothing_is_told(service: Service) -> None:
    empty = await told(service, None, resource="charts")
    assert (empty.items, LAG in empty.headers, "Warning" in empty.headers) == ([], False, True)
    refused = await service.page(group="apps")
    assert (refused.code, STATE in refused.headers) == (404, False)


@pytest.mark.usefixtures("panels")
async def test_a_page_by_post_tells_it_too(service: Service) -> None:
    answer = await service.post(ALL)
    assert (answer.headers[STATE], int(answer.headers[LAG]) < 30) == ("live", True)
