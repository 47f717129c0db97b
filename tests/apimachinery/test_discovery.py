"""Discovery documents: the older ones made from the aggregated one, as a real server has both."""

from __future__ import annotations

import json
from typing import Any

import msgspec

from presenter.apimachinery.discovery import (
    APIGroupDiscoveryList,
    APIGroupList,
    APIResourceList,
    api_group,
    api_resource_list,
    etag,
)

VERBS = ["delete", "deletecollection", "get", "list", "patch", "create", "update", "watch"]
THING = {"group": "disc.example.com", "version": "v1", "kind": "Thing"}
SCALE = {"group": "autoscaling", "version": "v1", "kind": "Scale"}
CHANGES = ["get", "patch", "update"]

# What kube-apiserver 1.37.2 says of a CustomResourceDefinition, in both forms.
AGGREGATED = {
    "kind": "APIGroupDiscoveryList",
    "apiVersion": "apidiscovery.k8s.io/v2",
    "metadata": {},
    "items": [
        {
            "metadata": {"name": "disc.example.com"},
            "versions": [
                {
                    "version": "v1",
                    "resources": [
                        {
                            "resource": "things",
                            "responseKind": THING,
                            "scope": "Namespaced",
                            "singularResource": "thing",
                            "verbs": VERBS,
                            "shortNames": ["tg"],
                            "categories": ["all"],
                            "subresources": [
                                {"subresource": "status", "responseKind": THING, "verbs": CHANGES},
                                {"subresource": "scale", "responseKind": SCALE, "verbs": CHANGES},
                            ],
                        }
                    ],
                    "freshness": "Current",
                }
            ],
        }
    ],
}
GROUP = {
    "name": "disc.example.com",
    "versions": [{"groupVersion": "disc.example.com/v1", "version": "v1"}],
    "preferredVersion": {"groupVersion": "disc.example.com/v1", "version": "v1"},
}
RESOURCES = {
    "kind": "APIResourceList",
    "apiVersion": "v1",
    "groupVersion": "disc.example.com/v1",
    "resources": [
        {
            "name": "things",
            "singularName": "thing",
            "namespaced": True,
            "kind": "Thing",
            "verbs": VERBS,
            "shortNames": ["tg"],
            "categories": ["all"],
        },
        {"name": "things/status", "singularName": "", "namespaced": True, "kind": "Thing", "verbs": CHANGES},
        {
            "name": "things/scale",
            "singularName": "",
            "namespaced": True,
            "group": "autoscaling",
            "version": "v1",
            "kind": "Scale",
            "verbs": CHANGES,
        },
    ],
}


def as_json(document: object) -> Any:
    return json.loads(msgspec.json.encode(document))


def test_the_older_documents_follow_from_the_aggregated_one() -> None:
    listed = msgspec.convert(AGGREGATED, APIGroupDiscoveryList)
    assert as_json(listed) == AGGREGATED
    (group,) = listed.items
    assert as_json(APIGroupList([api_group(group)])) == {"kind": "APIGroupList", "apiVersion": "v1", "groups": [GROUP]}
    (version,) = group.versions or []
    assert as_json(api_resource_list(group, version)) == RESOURCES


def test_what_other_servers_leave_empty() -> None:
    """Aggregated API servers need not be written in Go, which leaves such members out."""
    empty: dict[str, Any] = dict.fromkeys(("singularName", "shortNames", "categories"))
    resource = {"name": "x", "namespaced": False, "kind": "X", "verbs": [], **empty}
    listed = msgspec.convert({"kind": "APIResourceList", "resources": [resource]}, APIResourceList)
    assert [found.name for found in listed.resources or ()] == ["x"]
    assert msgspec.convert({"kind": "APIResourceList", "resources": None}, APIResourceList).resources is None


def test_a_tag_tells_documents_apart() -> None:
    assert etag(b"a") == etag(b"a") != etag(b"b")
    assert etag(b"a").startswith('"')
