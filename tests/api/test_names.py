"""Parts of names in upper and lower case: of A to Z either will do, anything else counts as it is."""

from __future__ import annotations

import string
from collections.abc import AsyncIterator
from itertools import islice, product

import pytest

from presenter.cache.pool import Address, Pool
from presenter.cache.writer import Writer
from presenter.resource import ResourceType
from tests.api.service import Service, serving
from tests.api.world import first_list
from tests.objects import make_object
from tests.rules import GROUP, Rules

ROLES = ResourceType(GROUP, "v1", "roles", "Role", True, ("v1",))
"""Their names need not be those of DNS."""

NAMES = (
    "Team:Zoë:Admin",
    "team:zoë:admin",
    "TEAM:ZOË:ADMIN",
    "straße-reader",
    "STRASSE-READER",
    "İstanbul",
    "istanbul",
    "\u212aelvin",  # the sign of the unit, whose lower case is a k
    "kelvin",
    "ΣΊΣΥΦΟΣ",
    "σίσυφος",
    "100%_[a]\\",
)
FOLDED = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)
MANY = 1_500
"""So many others that what matches is looked up in the index of parts, and not found on the way."""


@pytest.fixture(params=[0, MANY], ids=["on the way", "by the index"])
async def roles(database: Address, pool: Pool, request: pytest.FixtureRequest) -> AsyncIterator[Service]:
    writer = Writer(pool, "test")
    await writer.open_cluster("uid", ["*.*"])
    rules = await Rules(writer).sync()
    names = [*NAMES, *map("".join, islice(product("qwxj", repeat=6), request.param))]
    [watch] = await writer.declare(ROLES)
    await first_list(writer, watch, *(make_object(name, group=GROUP, kind="Role", version="v1") for name in names))
    await rules.role("all", {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]})
    await rules.bind("all", "all", ("User", "alice"))
    await writer.discovered()
    async with serving(database) as service:
        yield service


async def test_either_case_will_do_of_ascii_letters_alone(roles: Service) -> None:
    parts = {piece for name in NAMES for piece in (name, name[:3], name[-5:])}
    for part in sorted({case for piece in parts for case in (piece, piece.lower(), piece.upper(), piece.swapcase())}):
        page = await roles.page(group=GROUP, resource="roles", name_contains=part, sort_by="name", limit=50)
        expected = sorted(name for name in NAMES if part.translate(FOLDED) in name.translate(FOLDED))
        assert page.names == expected, part


async def test_that_is_what_the_documentation_says(roles: Service) -> None:
    parameters = (await roles.get("/openapi.json")).json["paths"]["/resources"]["get"]["parameters"]
    [described] = [parameter["description"] for parameter in parameters if parameter["name"] == "name_contains"]
    assert "A to Z in either case, other characters as they are" in described
