"""Discovery: which groups, versions and resource types are served, in its legacy and its aggregated form."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

from presenter.sandbox import errors
from presenter.sandbox.objects import encode
from presenter.sandbox.registry import Definition, Registry, Version

_VERBS = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"]
_SUBRESOURCE_VERBS = ["get", "patch", "update"]
REVIEWS_GROUP = "authorization.k8s.io"
REVIEWS = {
    "subjectaccessreviews": "SubjectAccessReview",
    "selfsubjectaccessreviews": "SelfSubjectAccessReview",
}

Json = dict[str, Any]


def _groups(registry: Registry) -> dict[str, dict[str, list[Definition]]]:
    """All groups but the core one; the reviews have no stored objects and so no definition."""
    groups = registry.groups()
    del groups[""]
    return {**groups, REVIEWS_GROUP: {"v1": []}}


# The legacy form


def api_versions() -> Json:
    """The answer to /api."""
    return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []}


def group_list(registry: Registry) -> Json:
    """The answer to /apis."""
    groups = [_group(name, list(versions)) for name, versions in _groups(registry).items()]
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}


def group(registry: Registry, name: str) -> Json:
    """/apis/GROUP. Raises ApiError 404."""
    groups = _groups(registry)
    if name not in groups:
        raise errors.unknown_path()
    return {"kind": "APIGroup", "apiVersion": "v1", **_group(name, list(groups[name]))}


def _group(name: str, versions: list[str]) -> Json:
    listed = [{"groupVersion": f"{name}/{version}", "version": version} for version in versions]
    return {"name": name, "versions": listed, "preferredVersion": listed[0]}


def resource_list(registry: Registry, group_name: str, version: str) -> Json:
    """/api/v1 and /apis/GROUP/VERSION. Raises ApiError 404."""
    definitions = {"": registry.groups()[""], **_groups(registry)}.get(group_name, {}).get(version)
    if definitions is None:
        raise errors.unknown_path()
    resources = [entry for definition in definitions for entry in _legacy(definition, version)]
    if group_name == REVIEWS_GROUP:
        resources = [
            {
                "name": name,
                "singularName": name.rstrip("s"),
                "namespaced": False,
                "kind": kind,
                "verbs": ["create"],
            }
            for name, kind in REVIEWS.items()
        ]
    group_version = f"{group_name}/{version}" if group_name else version
    return {
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": group_version,
        "resources": resources,
    }


def _legacy(definition: Definition, version: str) -> list[Json]:
    entry = {
        "name": definition.plural,
        "singularName": definition.singular,
        "namespaced": definition.namespaced,
        "kind": definition.kind,
        "verbs": _VERBS,
        **_aliases(definition),
    }
    return [entry, *(_legacy_subresource(definition, *sub) for sub in _subresources(definition, version))]


def _legacy_subresource(definition: Definition, name: str, kind: Json) -> Json:
    entry = {
        "name": f"{definition.plural}/{name}",
        "singularName": "",
        "namespaced": definition.namespaced,
        "kind": kind["kind"],
        "verbs": _SUBRESOURCE_VERBS,
    }
    if kind["group"] != definition.group:
        entry |= {"group": kind["group"], "version": kind["version"]}
    return entry


# The aggregated form


def aggregated(registry: Registry, core: bool, api_version: str, stale: Callable[[str], bool]) -> tuple[bytes, str]:
    """An APIGroupDiscoveryList of /api or /apis, and its ETag. `stale` says which groups to call so."""
    groups = {"": registry.groups()[""]} if core else _groups(registry)
    items = [_aggregated_group(name, versions, stale(name)) for name, versions in groups.items()]
    body = encode({"kind": "APIGroupDiscoveryList", "apiVersion": api_version, "metadata": {}, "items": items})
    return body, f'"{hashlib.sha512(body).hexdigest().upper()}"'


def _aggregated_group(name: str, versions: dict[str, list[Definition]], stale: bool) -> Json:
    listed = [
        {
            "version": version,
            "resources": _review_discovery()
            if name == REVIEWS_GROUP
            else [_aggregated_resource(definition, version) for definition in definitions],
            "freshness": "Stale" if stale else "Current",
        }
        for version, definitions in versions.items()
    ]
    return {"metadata": {"name": name, "creationTimestamp": None} if name else {}, "versions": listed}


def _aggregated_resource(definition: Definition, version: str) -> Json:
    entry: Json = {
        "resource": definition.plural,
        "responseKind": {"group": definition.group, "version": version, "kind": definition.kind},
        "scope": "Namespaced" if definition.namespaced else "Cluster",
        "singularResource": definition.singular,
        "verbs": _VERBS,
        **_aliases(definition),
    }
    subresources = [
        {"subresource": name, "responseKind": kind, "verbs": _SUBRESOURCE_VERBS}
        for name, kind in _subresources(definition, version)
    ]
    return {**entry, "subresources": subresources} if subresources else entry


def _review_discovery() -> list[Json]:
    return [
        {
            "resource": name,
            "responseKind": {"group": REVIEWS_GROUP, "version": "v1", "kind": kind},
            "scope": "Cluster",
            "singularResource": name.rstrip("s"),
            "verbs": ["create"],
        }
        for name, kind in REVIEWS.items()
    ]


def _aliases(definition: Definition) -> Json:
    aliases = {"shortNames": list(definition.short_names), "categories": list(definition.categories)}
    return {key: value for key, value in aliases.items() if value}


def _subresources(definition: Definition, version_name: str) -> list[tuple[str, Json]]:
    version: Version | None = definition.version(version_name)
    own = {"group": definition.group, "version": version_name, "kind": definition.kind}
    found: list[tuple[str, Json]] = []
    if version and version.status:
        found.append(("status", own))
    if version and version.scale:
        found.append(("scale", {"group": "autoscaling", "version": "v1", "kind": "Scale"}))
    return found
