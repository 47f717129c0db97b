"""`GET /changes` from outside: the program in the documentation, run as it stands there, misses nothing."""

from __future__ import annotations

import asyncio
import json
import sys
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

from tests.e2e.system import Json, Service, System
from tests.e2e.test_documentation import blocks
from tests.eventually import eventually

TELLS_WHAT_IS_KNOWN = """
import json, os, threading, time

def tell():
    while True:
        time.sleep(0.05)
        with open(os.environ["KNOWN"] + ".new", "w") as file:
            json.dump(dict(globals().get("known", {})), file)
        os.replace(os.environ["KNOWN"] + ".new", os.environ["KNOWN"])

threading.Thread(target=tell, daemon=True).start()
"""
QUERY: dict[str, str | int] = {"group": "widgets.templates.krateo.io", "resource": "panels", "namespace": "*"}


async def differences(service: Service, file: Path) -> set[str]:
    """How what is known differs from a list, by global_uid."""
    listed: dict[str, Json] = {item["global_uid"]: item for item in await service.items(**QUERY, limit=5000)}
    known: dict[str, Json] = json.loads(file.read_text()) if file.exists() else {}
    return {uid for uid in listed | known if listed.get(uid) != known.get(uid)}


async def test_the_program_in_the_documentation_misses_nothing(system: System, home: Path) -> None:
    [program] = [block for block in blocks("docs/api.md") if block.startswith("import json")]
    service = await (await system.start()).ready()
    known = home / "known"
    variables = {"PRESENTER": service.url, "TOKEN": service.token, "KNOWN": str(known)}
    follower = await asyncio.create_subprocess_exec(
        sys.executable, "-c", TELLS_WHAT_IS_KNOWN + program, env=variables, cwd=home
    )
    try:
        await eventually(partial(differences, service, known), lambda found: not found)
        for number in range(3):
            system.put(f"kept-{number}", number=number)
            system.put("changed", number=number)
            system.put(f"gone-{number}")
            await eventually(partial(differences, service, known), lambda found: not found)
            await service.process.kill()
            system.drop(f"gone-{number}")
            system.put("changed", number=f"{number}, while nobody looks")
            service = await (await system.start(PORT=str(urlsplit(service.url).port))).ready()
        await eventually(partial(differences, service, known), lambda found: not found)
        assert follower.returncode is None
    finally:
        follower.kill()
        await follower.wait()
