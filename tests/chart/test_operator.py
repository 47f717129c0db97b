"""The way of an operator, by the docs alone: install, look inside, see the database break, and see it mended."""

from __future__ import annotations

import asyncio
import json
import re
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from presenter.cache.pool import Address
from presenter.sandbox import Sandbox
from tests.chart.helm import CHECKOUT, NAME
from tests.chart.node import Node
from tests.chart.test_release import home, node
from tests.e2e.processes import PATIENCE
from tests.e2e.system import KEY, variables_of
from tests.e2e.tools import Pasted, paste, require
from tests.eventually import eventually
from tests.servers import Postgres

__all__ = ["home", "node"]

# What needs a kubelet is done without: pods are processes here, and listen where the test can reach them.
_KUBELET = """
kubectl() {
    case " $* " in
        *" port-forward "*) ;;
        *" exec "*) while [[ $1 != -- ]]; do shift; done; shift; "$@" ;;
        *) command kubectl "$@" ;;
    esac
}
"""


def lines_of(page: str, heading: str) -> list[str]:
    """What a section tells to type, as whole lines."""
    _, _, section = (CHECKOUT / "docs" / page).read_text().partition(f"\n## {heading}\n")
    section = re.split(r"^## ", section, maxsplit=1, flags=re.MULTILINE)[0].replace("\\\n", " ")
    return [re.sub(r"\s+", " ", line) for line in re.findall(r"^    (\S.*)$", section, re.MULTILINE)]


@dataclass(frozen=True)
class Operator:
    """Somebody with a terminal, in a checkout, with the cluster and with what the pods have in their environment."""

    home: Path
    variables: dict[str, str]

    async def types(self, *lines: str) -> Pasted:
        """Type lines one after another."""
        exports = [f"export {name}={shlex.quote(value)}" for name, value in self.variables.items()]
        return await paste("\n".join(["set -eu", f"cd {CHECKOUT}", *exports, _KUBELET, *lines]), self.home)


@pytest.fixture
def operator(sandbox: Sandbox, home: Path, empty_database: Address) -> Operator:
    require("curl")
    require("kubectl")
    require("helm")
    sandbox.write_kubeconfig(home / "kubeconfig")
    tools = f"{CHECKOUT / '.tools' / 'bin'}:{Path(sys.executable).parent}:/usr/bin:/bin"
    pod = {**variables_of(empty_database), "SIGN_KEY": KEY}
    return Operator(home, {"PATH": tools, "KUBECONFIG": str(home / "kubeconfig"), **pod})


async def install(operator: Operator) -> None:
    """As docs/install.md tells, but for the name of the database and the passwords."""
    (key,) = [line for line in lines_of("install.md", "To try it") if "SIGN_KEY" in line]
    secret, helm = lines_of("install.md", "To stay")
    own = {name: operator.variables[name] for name in ("DB_HOST", "DB_PORT", "DB_NAME")}
    sets = ",".join(f"config.{name}={value}" for name, value in own.items())
    for line in (
        key.replace("SIGN_KEY=...", f"SIGN_KEY={KEY}"),
        secret.replace("DB_USER=presenter", f"DB_USER={operator.variables['DB_USER']}").replace("=...", "=any"),
        f"{helm} --set {sets},config.DB_PARAMS=,preStopSeconds=0 --timeout 60s",
    ):
        done = await operator.types(line)
        assert done.code == 0, done


@pytest.fixture
async def looks(operator: Operator, node: Node) -> dict[str, str]:
    """Installed; the lines of docs/troubleshooting.md that look inside, by a word of each."""
    await install(operator)
    lines = [
        line.replace("http://localhost:8080", node.url(NAME)) for line in lines_of("troubleshooting.md", "Look inside")
    ]
    words = ("port-forward", "TOKEN=", "PRESENTER=", "/readyz", "/metrics", "/resources", "status", "logs")
    return dict(zip(words, lines, strict=True))


@dataclass(frozen=True)
class Breakable:
    """The database, which can be made to take no connections."""

    postgres: Postgres
    name: str

    def break_it(self) -> None:
        ended = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{self.name}'"
        self.postgres.execute(f"ALTER DATABASE {self.name} ALLOW_CONNECTIONS false", ended)

    def mend_it(self) -> None:
        self.postgres.execute(f"ALTER DATABASE {self.name} ALLOW_CONNECTIONS true")


@pytest.fixture
def breakable(postgres: Postgres, empty_database: Address) -> Breakable:
    return Breakable(postgres, variables_of(empty_database)["DB_NAME"])


async def test_what_the_docs_tell_to_type_shows_what_is_wrong(
    operator: Operator, looks: dict[str, str], breakable: Breakable
) -> None:
    assert all(name in line for name, line in looks.items())

    async def sees(what: str) -> Pasted:
        return await operator.types(looks["port-forward"], looks["TOKEN="], looks["PRESENTER="], looks[what])

    assert (await sees("/readyz")).json["ready"] is True
    assert re.search(r"^presenter_database_up 1", (await sees("/metrics")).out, re.MULTILINE)
    page = await sees("/resources")
    assert " 200 " in page.out.splitlines()[0]
    assert json.loads(page.out.splitlines()[-1])["count"] == 1
    assert "panels.widgets.templates.krateo.io" in (await sees("status")).out
    assert (await sees("logs")).code == 0

    await asyncio.to_thread(breakable.break_it)
    standing = await eventually(lambda: sees("/readyz"), lambda seen: seen.json["ready"] is False, PATIENCE)
    assert standing.json["reason"] == "database"  # what is wrong with it is in the answers, and in the log
    assert re.search(r"^presenter_database_up 0", (await sees("/metrics")).out, re.MULTILINE)
    page = await sees("/resources")
    assert " 503 " in page.out.splitlines()[0]
    assert "retry-after" in page.out.lower()
    assert json.loads(page.out.splitlines()[-1])["message"].startswith("PostgreSQL cannot be used: ")

    await asyncio.to_thread(breakable.mend_it)
    await eventually(lambda: sees("/readyz"), lambda seen: seen.json["ready"] is True, PATIENCE)
    await eventually(lambda: sees("/resources"), lambda seen: " 200 " in seen.out.splitlines()[0], PATIENCE)
