"""Manifests from files, and the sample data."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from presenter.sandbox import Cluster, ManifestError, User, fill, load_directory
from presenter.sandbox.rbac import Access, Policy
from tests.sandbox.harness import PANELS

NOW = datetime(2026, 7, 1, tzinfo=UTC)
SAMPLED = (
    PANELS,
    "datagrids.widgets.templates.krateo.io",
    "pages.widgets.templates.krateo.io",
    "buttons.widgets.templates.krateo.io",
    "restactions.templates.krateo.io",
    "compositiondefinitions.core.krateo.io",
    "fireworksapps.composition.krateo.io",
    "githubscaffoldings.composition.krateo.io",
    "deployments.apps",
    "pods",
    "configmaps",
)


def filled(objects: int, seed: int = 0) -> Cluster:
    cluster = Cluster(seed=seed, clock=lambda: NOW)
    fill(cluster, objects, seed)
    return cluster


def test_the_number_asked_for_is_made() -> None:
    for objects in (0, 1, 50, 300):
        cluster = filled(objects)
        assert sum(len(cluster.objects(resource)) for resource in SAMPLED) == objects


def test_fifty_objects_show_every_type() -> None:
    cluster = filled(50)
    assert all(cluster.objects(resource) for resource in SAMPLED)


def test_the_same_seed_makes_the_same_cluster() -> None:
    one, two, other = filled(60, seed=1), filled(60, seed=1), filled(60, seed=2)
    assert [one.objects(resource) for resource in SAMPLED] == [two.objects(resource) for resource in SAMPLED]
    assert one.objects(PANELS) != other.objects(PANELS)


def test_the_shape_of_the_samples() -> None:
    cluster = filled(2_000)
    panels = cluster.objects(PANELS)
    pages = Counter(panel["metadata"]["labels"]["krateo.io/portal-page"] for panel in panels)
    assert pages.most_common(1)[0][0] == "compositions"
    assert set(pages) >= {"compositions", "blueprints", "dashboard"}
    compositions = [
        composition["metadata"]["uid"]
        for resource in ("fireworksapps", "githubscaffoldings")
        for composition in cluster.objects(f"{resource}.composition.krateo.io")
    ]
    for panel in panels:
        labels = panel["metadata"]["labels"]
        belongs = labels["krateo.io/portal-page"] == "compositions"
        assert (labels.get("krateo.io/composition-id") in compositions) == belongs
        assert panel["status"]["resolvedUrl"]
        assert NOW - timedelta(days=151) < datetime.fromisoformat(panel["metadata"]["creationTimestamp"]) < NOW
    namespaces = Counter(panel["metadata"]["namespace"] for panel in panels)
    assert len(namespaces) == 12
    assert max(namespaces.values()) > 5 * min(namespaces.values())
    stores = [cluster.store(cluster.registry.named(resource)) for resource in SAMPLED]
    sizes = [len(entry.tail) for store in stores for entry in store.snapshot()]
    assert 2_500 < sum(sizes) / len(sizes) < 3_800


def test_every_widget_says_what_its_data_is_as_snowplow_wants() -> None:
    definitions = filled(0).objects("customresourcedefinitions.apiextensions.k8s.io")
    widgets = [each["spec"] for each in definitions if each["spec"]["group"] == "widgets.templates.krateo.io"]
    assert len(widgets) == 4
    for spec in widgets:
        schema = spec["versions"][0]["schema"]["openAPIV3Schema"]
        assert schema["properties"]["spec"]["properties"]["widgetData"]["type"] == "object"


def test_who_may_see_the_samples() -> None:
    policy = Policy.of(filled(0))

    def may(user: User, namespace: str, resource: str = "panels") -> bool:
        asked = Access("list", "widgets.templates.krateo.io", resource, namespace=namespace)
        return policy.decide(user, asked).allowed

    dev, alice = User("bob", ("devs",)), User("alice")
    assert may(dev, "team-atlas")
    assert may(dev, "team-atlas", "buttons"), "through the aggregated role"
    assert not may(dev, "krateo-system")
    assert may(alice, "team-dorado")
    assert not may(alice, "team-dorado", "buttons")
    assert may(User("root", ("admins",)), "")


def test_progress_is_told() -> None:
    told: list[int] = []
    fill(Cluster(), 1_200, on_progress=told.append)
    assert told == [500, 1000, 1200]


def test_load_directory(tmp_path: Path) -> None:
    (tmp_path / "a-objects.yaml").write_text(
        """
apiVersion: example.org/v1
kind: Gadget
metadata: {name: one, namespace: team}
spec: {day: 2024-01-01}
---
# nothing here
---
apiVersion: v1
kind: ConfigMapList
items:
  - {apiVersion: v1, kind: ConfigMap, metadata: {name: two}}
"""
    )
    nested = tmp_path / "nested"
    nested.mkdir()
    (nested / "z-type.json").write_text(
        '{"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",'
        '"metadata": {"name": "gadgets.example.org"}, "spec": {"group": "example.org", "scope": "Namespaced",'
        '"names": {"plural": "gadgets", "kind": "Gadget"},'
        '"versions": [{"name": "v1", "served": true, "storage": true}]}}'
    )
    (tmp_path / "README.md").write_text("not a manifest")
    cluster = Cluster()
    assert load_directory(cluster, tmp_path) == 3
    assert cluster.get("gadgets.example.org", "one", "team")["spec"] == {"day": "2024-01-01"}
    assert cluster.get("configmaps", "two", "default")
    assert load_directory(cluster, tmp_path / "a-objects.yaml") == 2, "a second time is an update"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a: [", "broken.yaml: not YAML or JSON"),
        ("a: 1", "broken.yaml, document 1: not a Kubernetes object: apiVersion and kind are required"),
        ("---\n---\n- 1", "broken.yaml, document 2: not a Kubernetes object"),
        (
            "{apiVersion: v1, kind: ConfigMap, metadata: {name: a}}\n---\n{apiVersion: v9, kind: Thing}",
            'broken.yaml, document 2: no matches for kind "Thing" in version "v9"',
        ),
        ("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: A_b}", "broken.yaml, document 1: ConfigMap .* is invalid"),
    ],
)
def test_wrong_manifests_are_named(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "broken.yaml").write_text(text)
    with pytest.raises(ManifestError, match=says):
        load_directory(Cluster(), tmp_path)


def test_a_directory_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="no such file or directory"):
        load_directory(Cluster(), tmp_path / "none")
