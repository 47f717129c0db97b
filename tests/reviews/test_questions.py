"""What is asked, and how often: remembered answers, shared ones, and many at once."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from presenter.access.identity import Identity
from presenter.cache.scope import EVERYTHING, Grant
from presenter.errors import Unavailable
from tests.rbac.objects import group, identity, rule, user
from tests.reviews.world import CONFIG_MAPS, CRDS, DEPLOYMENTS, REVIEWS, TTL, World, reading

ALICE = identity("alice")


@pytest.fixture
def world(world: World) -> World:
    """Alice may read config maps in dev."""
    world.let("dev", user("alice"), reading())
    return world


async def test_every_kind_of_request_asks_no_more_than_it_must(world: World) -> None:
    world.let_everywhere(user("wide"), reading(), binding="wide")
    world.let_everywhere(user("named"), reading("a"), rule("list", "*", "*", ["a"]), binding="named")
    wide, named = identity("wide"), identity("named")
    for who, known, namespace, name, reviews in (
        (wide, CONFIG_MAPS, None, None, 1),
        (wide, CONFIG_MAPS, "dev", "a", 1),
        (ALICE, CONFIG_MAPS, "dev", None, 2),
        (ALICE, CONFIG_MAPS, "prod", None, 2),
        (ALICE, CONFIG_MAPS, "prod", "a", 3),
        (ALICE, CONFIG_MAPS, None, None, 3),  # two namespaces hold config maps
        (ALICE, CONFIG_MAPS, None, "a", 5),
        (ALICE, DEPLOYMENTS, None, None, 1),  # none holds deployments
        (named, CONFIG_MAPS, None, "a", 2),
        (ALICE, CRDS, "dev", None, 1),
        (named, CRDS, None, "a", 2),
    ):
        world.sandbox.requests.clear()
        await world.authorizer().scope(who, "list", [known], namespace=namespace, name=name)
        assert world.reviews == reviews, (who.username, known.type.name, namespace, name)


async def test_a_detail_is_one_question(world: World) -> None:
    assert await world.authorizer().allowed(ALICE, "get", CONFIG_MAPS, "dev", "c")
    assert world.reviews == 1


async def test_answers_are_remembered_for_as_long_as_they_may_be(world: World) -> None:
    authorizer = world.authorizer()
    yes = {CONFIG_MAPS.id: Grant.of(["dev"])}
    for passed, reviews in ((0.0, 3), (9.9, 3), (0.1, 6), (9.9, 6), (100.0, 9)):
        world.clock.now += passed
        assert await authorizer.scope(ALICE, "list", [CONFIG_MAPS], namespace="dev", name=None) == yes
        assert await authorizer.scope(ALICE, "list", [CONFIG_MAPS], namespace="prod", name=None) == {}
        assert world.reviews == reviews


async def test_a_binding_is_followed_when_the_answer_is_too_old(world: World) -> None:
    authorizer = world.authorizer()

    async def allowed() -> bool:
        return await authorizer.allowed(ALICE, "get", CONFIG_MAPS, "dev", "c")

    assert await allowed()
    world.revoke("dev")
    world.clock.now += TTL.total_seconds() - 0.001
    assert await allowed()
    world.clock.now += 0.001
    assert not await allowed()
    world.let("dev", user("alice"), reading(), binding="again")
    assert not await allowed()
    world.clock.now += TTL.total_seconds()
    assert await allowed()


async def test_an_answer_is_as_old_as_its_question(world: World) -> None:
    authorizer = world.authorizer()
    gate = world.sandbox.faults.hold(verb="create", resource=REVIEWS)
    asking = asyncio.create_task(authorizer.allowed(ALICE, "get", CONFIG_MAPS, "dev", "c"))
    await gate.reached.wait()
    world.clock.now += TTL.total_seconds()
    gate.release()
    assert await asking
    world.revoke("dev")
    assert not await authorizer.allowed(ALICE, "get", CONFIG_MAPS, "dev", "c")


async def test_a_question_on_its_way_is_asked_once(world: World) -> None:
    authorizer = world.authorizer()
    gate = world.sandbox.faults.hold(verb="create", resource=REVIEWS)
    asking = [
        asyncio.create_task(authorizer.scope(ALICE, "list", [CONFIG_MAPS], namespace="dev", name=None))
        for _ in range(10)
    ]
    await gate.reached.wait()
    gate.release()
    assert await asyncio.gather(*asking) == [{CONFIG_MAPS.id: Grant.of(["dev"])}] * 10
    assert world.reviews == 2


async def test_who_leaves_does_not_take_the_answer_along(world: World) -> None:
    authorizer = world.authorizer()
    gate = world.sandbox.faults.hold(verb="create", resource=REVIEWS)
    first, second = (asyncio.create_task(authorizer.allowed(ALICE, "get", CONFIG_MAPS, "dev", "c")) for _ in range(2))
    await gate.reached.wait()
    first.cancel()
    await asyncio.wait([first])
    gate.release()
    assert first.cancelled()
    assert await second
    assert world.reviews == 1


async def test_a_question_that_nobody_waits_for_is_withdrawn(world: World) -> None:
    authorizer = world.authorizer(concurrency=1)
    gate = world.sandbox.faults.hold(verb="create", resource=REVIEWS, times=1)
    asking = asyncio.create_task(authorizer.allowed(ALICE, "get", CONFIG_MAPS, "dev", "c"))
    await gate.reached.wait()
    asking.cancel()
    # The gate is still closed: what was withdrawn holds up neither the same question nor others.
    assert await authorizer.allowed(ALICE, "get", CONFIG_MAPS, "dev", "c")
    assert not await authorizer.allowed(ALICE, "get", CONFIG_MAPS, "prod", "a")
    assert world.reviews == 3


async def test_many_namespaces_are_asked_about_at_once_within_bounds(world: World) -> None:
    teams = [f"team-{number:03}" for number in range(198)]
    world.namespaces(*teams)
    for number, team in enumerate(teams):
        world.config_maps(team, "a")
        if number % 2:
            world.let(team, user("alice"), reading())
    authorizer = world.authorizer(concurrency=32)
    await authorizer.scope(ALICE, "list", [CONFIG_MAPS], namespace="void", name=None)
    world.sandbox.requests.clear()

    gate = world.sandbox.faults.hold(verb="create", resource=REVIEWS)
    asking = asyncio.create_task(authorizer.scope(ALICE, "list", [CONFIG_MAPS], namespace=None, name=None))
    await world.reviews_seen(32)
    await world.client.cluster_uid()  # whatever was sent along with the 32 has arrived by now
    assert world.reviews == 32
    gate.release()
    assert await asking == {CONFIG_MAPS.id: Grant.of(["dev", *teams[1::2]])}
    assert world.reviews == 200


async def test_one_failure_ends_the_asking(world: World) -> None:
    teams = [f"team-{number:02}" for number in range(50)]
    world.namespaces(*teams)
    for team in teams:
        world.config_maps(team, "a")
    authorizer = world.authorizer(concurrency=1)
    await authorizer.scope(ALICE, "list", [CONFIG_MAPS], namespace="void", name=None)
    world.sandbox.requests.clear()
    world.sandbox.faults.refuse(500, verb="create", resource=REVIEWS, times=1)
    with pytest.raises(Unavailable):
        await authorizer.scope(ALICE, "list", [CONFIG_MAPS], namespace=None, name=None)
    # One at a time, in turn: were the other namespaces still being asked about, this would be the last question.
    assert await authorizer.allowed(ALICE, "get", CONFIG_MAPS, "dev", "c")
    assert world.reviews <= 3  # the failure, one whose turn had just come, and this


async def test_failures_are_not_remembered(world: World) -> None:
    authorizer = world.authorizer()
    world.sandbox.faults.refuse(500, verb="create", resource=REVIEWS, times=1)
    with pytest.raises(Unavailable):
        await authorizer.allowed(ALICE, "get", CONFIG_MAPS, "dev", "c")
    assert await authorizer.allowed(ALICE, "get", CONFIG_MAPS, "dev", "c")


async def test_an_answer_is_for_the_very_user_and_groups(world: World) -> None:
    world.let("prod", group("devs"), reading(), binding="devs")
    authorizer = world.authorizer()

    async def allowed(who: Identity) -> bool:
        return await authorizer.allowed(who, "get", CONFIG_MAPS, "prod", "a")

    bob = identity("bob")
    for who, expected in (
        (bob, False),
        (identity("bob", "devs"), True),
        (identity("bob", "devs", "ops"), True),
        (identity("bob", "ops"), False),
        (identity("devs"), False),
        (bob, False),
    ):
        assert await allowed(who) is expected, who
    assert world.reviews == 5  # only the last one was asked before
    assert await allowed(identity("bob", "ops", "devs"))
    assert world.reviews == 5  # the order of groups does not matter


async def test_an_answer_is_for_the_very_question(world: World) -> None:
    world.let("dev", user("bob"), rule("list", "configmaps"), binding="bob")
    authorizer, bob = world.authorizer(), identity("bob")
    assert await authorizer.allowed(bob, "list", CONFIG_MAPS, "dev", "a")
    assert not await authorizer.allowed(bob, "get", CONFIG_MAPS, "dev", "a")
    assert not await authorizer.allowed(bob, "list", DEPLOYMENTS, "dev", "a")
    assert not await authorizer.allowed(bob, "list", CONFIG_MAPS, "prod", "a")


async def test_only_the_answers_used_last_are_kept(world: World) -> None:
    authorizer = world.authorizer(capacity=2)
    for name, reviews in (("a", 1), ("b", 2), ("a", 2), ("c", 3), ("a", 3), ("b", 4)):
        await authorizer.allowed(ALICE, "get", CONFIG_MAPS, "dev", name)
        assert world.reviews == reviews, name


async def test_several_types_are_asked_about_side_by_side(world: World) -> None:
    world.let_everywhere(user("wide"), rule("list", "*", "*"), binding="wide")
    gate = world.sandbox.faults.hold(verb="create", resource=REVIEWS)
    types = [CONFIG_MAPS, DEPLOYMENTS, CRDS]
    asking = asyncio.create_task(world.authorizer().scope(identity("wide"), "list", types, namespace=None, name=None))
    await world.reviews_seen(3)
    gate.release()
    assert await asking == dict.fromkeys((known.id for known in types), EVERYTHING)


async def test_without_remembering_every_question_is_asked(world: World) -> None:
    authorizer = world.authorizer(ttl=timedelta())
    for reviews in (1, 2):
        assert await authorizer.allowed(ALICE, "get", CONFIG_MAPS, "dev", "c")
        assert world.reviews == reviews
