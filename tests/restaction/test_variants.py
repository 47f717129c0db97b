"""Old RESTActions in many spellings: what is migrated gives the same, and the rest is left alone for a reason."""

from __future__ import annotations

import re
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from presenter.cache.pool import Address
from presenter.restaction.compare import report
from presenter.restaction.manifest import Manifest
from presenter.restaction.migrator import migrated
from presenter.restaction.resolve import services
from presenter.sandbox import Cluster, Sandbox, fill
from tests.e2e.system import PANELS, Json
from tests.restaction.portal import Portal, allow, portal

VARIANTS = Path(__file__).with_name("variants")
MIGRATED = sorted((VARIANTS / "migrated").glob("*.yaml"))
REFUSED = sorted((VARIANTS / "refused").glob("*.yaml"))
NAMESPACES = ["apps", "home", "infra", "team", "team-a", "team-b"]
OF_MEMBER = ["apps", "team-a", "team-b"]


def test_there_are_enough() -> None:
    assert len(MIGRATED) >= 10
    assert len(REFUSED) >= 10


@pytest.mark.parametrize("file", REFUSED, ids=lambda file: file.stem)
def test_what_may_not_be_equivalent_is_left_alone_and_says_why(file: Path) -> None:
    manifest = Manifest.read(file)
    said = re.match(r"# line (\d+): (.*)\n", manifest.text)
    assert said
    [result] = migrated([manifest])
    [finding] = result.findings
    assert (finding.status, finding.line, finding.remarks) == ("left alone", int(said[1]), (said[2],))
    assert result.text == manifest.text


@pytest.fixture
def home() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="variants-", ignore_cleanup_errors=True) as directory:
        yield Path(directory).resolve()


@pytest.fixture
async def cluster(database: Address, home: Path) -> AsyncIterator[Portal]:
    """Panels of two pages and three tiers; the names are everywhere the same, and no two were created at once."""
    cluster = Cluster()
    fill(cluster, 20)
    for place, namespace in enumerate(NAMESPACES):
        cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
        for number in range(12):
            cluster.apply(_panel(namespace, place, number))
    async with Sandbox(cluster=cluster) as sandbox:
        for user in ("admin", "member"):
            allow(sandbox, user, "namespaces")
            _may_get_namespaces(sandbox, user)
        allow(sandbox, "admin", PANELS)
        allow(sandbox, "member", PANELS, *OF_MEMBER)
        async with portal(sandbox, database, home) as running:
            yield running


def _panel(namespace: str, place: int, number: int) -> Json:
    minute = (number * 37 + place * 13) % 97 * len(NAMESPACES) + place
    metadata = {
        "name": f"tile-{number}",
        "namespace": namespace,
        "creationTimestamp": f"2026-01-02T{minute // 60:02}:{minute % 60:02}:00Z",
        "labels": {
            "krateo.io/portal-page": "other" if number % 5 == 0 else "home",
            "tier": ("gold", "silver", "bronze")[number % 3],
        },
    }
    if number == 7:
        del metadata["labels"]
    return {
        "apiVersion": "widgets.templates.krateo.io/v1beta1",
        "kind": "Panel",
        "metadata": metadata,
        "spec": {"title": f"{namespace}/{number}"},
    }


def _may_get_namespaces(sandbox: Sandbox, user: str) -> None:
    group = "rbac.authorization.k8s.io"
    rules = [{"apiGroups": [""], "resources": ["namespaces"], "verbs": ["get", "list"]}]
    role = {"apiVersion": f"{group}/v1", "kind": "ClusterRole", "metadata": {"name": "see-namespaces"}, "rules": rules}
    sandbox.cluster.apply(role)
    sandbox.cluster.apply(
        {
            "apiVersion": f"{group}/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": f"{user}-sees-namespaces"},
            "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": "see-namespaces"},
            "subjects": [{"apiGroup": group, "kind": "User", "name": user}],
        }
    )


@pytest.mark.timeout(300)
async def test_what_is_migrated_gives_the_same_to_everybody_page_by_page(cluster: Portal) -> None:
    for file in MIGRATED:
        old = Manifest.read(file)
        [result] = migrated([old])
        assert [finding.status for finding in result.findings] == ["migrated"], result.findings
        new = Manifest.parse(result.text, str(file))
        everywhere = "iterator:" not in old.text and "/namespaces/" not in old.text
        for user in ("admin",) if everywhere else ("admin", "member"):  # who may not list everywhere was refused
            for per_page in (None, 7) if "slice: {" in result.text else (None,):
                async with services(cluster.options(user), lambda _: None) as of:
                    found = await report(old.only(), new.only(), {}, of, per_page)
                what = f"{file.stem} for {user}, {per_page} on a page"
                assert found.equivalent, f"{what}: {found.comparison.differences}"
                assert not found.new.errors, what
                assert found.comparison.objects > 0, what
                assert len(found.new.requests) <= len(found.old.requests), what
                assert migrated([new])[0].text == new.text, what
