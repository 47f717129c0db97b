"""`presenter explain`: what it tells of a page, by the real command on a filled database."""

from __future__ import annotations

import re

from tests.e2e.system import PANELS, System

PARAMETERS: dict[str, str | int] = {
    "group": "widgets.templates.krateo.io",
    "resource": "panels",
    "namespace": "*",
    "limit": 5,
}
QUERY = "&".join(f"{name}={value}" for name, value in PARAMETERS.items())


async def test_how_a_page_is_read(system: System) -> None:
    service = await (await system.start("run")).ready()
    await system.in_sync(service, PANELS)
    page = await service.get("/resources", **PARAMETERS)
    database = {name: value for name, value in system.variables.items() if name.startswith("DB_")}

    async def told(*arguments: str, **variables: str) -> tuple[int, str]:
        process = await system.launch("explain", *arguments, **database, **variables)
        return await process.ended(), "\n".join([*process.out, *process.err])

    resumed = f"{QUERY}&cursor={page.json['cursor']}"
    code, text = await told(f"http://127.0.0.1/resources?{resumed}", "--analyze", SIGN_KEY=system.variables["SIGN_KEY"])
    assert code == 0, text
    assert text.startswith("types to scan: 1, ranges of their indexes: 1\n\n1. walk of one: every row matches\n"), text
    assert "SELECT /* page walk of one */" in text
    assert re.search(r"\n   \$\d types_0 = \[\d+\]\n", text), text
    assert re.search(r"\n   \$\d after_0 = 20\d\d-", text), text
    assert "Index Scan Backward using resources_created_at" in text
    assert re.search(r"actual time=.*\n(.*\n)*\s+Buffers: shared", text), text
    assert "matches: 6, which are as many as fit on the page and one more" in text

    code, text = await told(f"{QUERY}&raw=true")
    assert code == 0, text
    assert re.search(r"\n   items: True\n(.*\n)*.* AS piece", text), text

    absent = f'{QUERY}&labels={{"nobody":"has it"}}'
    code, text = await told(absent, "--user", "alice", "--group", "devs")
    assert code == 0, text
    assert "ranges of their indexes: 5" in text, "what RBAC lets her see"
    assert re.findall(r"^\d\. ([\w ]+): ", text, re.MULTILINE) == ["walk merge"]
    assert "matches: 0," in text
    assert "Index Scan" not in text

    refused = [
        (("group=apps&limit=many",), 1, "presenter: limit is 'many': allowed is a whole number from 1 to 5000"),
        ((QUERY, "--user", "nobody"), 1, 'presenter: panels.widgets.templates.krateo.io is forbidden: User "nobody"'),
        ((resumed,), 2, "presenter: CURSOR_KEY is not set, nor is SIGN_KEY"),
        ((QUERY, "--group", "devs"), 2, "presenter: --group is given without --user"),
    ]
    for arguments, expected, said in refused:
        code, text = await told(*arguments)
        assert (code, text.splitlines()[0][: len(said)]) == (expected, said)
        assert "\n" not in text, "one line"
