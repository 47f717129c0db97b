"""A maker of objects as the Kubernetes edge hands them to the writer."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from presenter.resource import Object

CREATED_AT = datetime(2026, 1, 1, tzinfo=UTC)


def make_object(
    name: str = "panel",
    namespace: str = "default",
    *,
    uid: str | None = None,
    version: str = "v1beta1",
    kind: str = "Panel",
    group: str = "widgets.templates.krateo.io",
    resource_version: int | None = 1,
    created_at: datetime = CREATED_AT,
    labels: Mapping[str, str] | None = None,
    composition_id: str | None = None,
    status: Any = None,
    raw: Mapping[str, Any] | None = None,
) -> Object:
    """An object that differs from another where their arguments do; the uid follows from namespace and name.

    `raw` is the whole manifest; without it one is made from the rest.
    """
    uid = str(uuid5(NAMESPACE_URL, f"{kind}.{group}/{namespace}/{name}")) if uid is None else uid
    metadata: dict[str, Any] = {
        "name": name,
        "uid": uid,
        "resourceVersion": "unordered" if resource_version is None else str(resource_version),
        "creationTimestamp": created_at.strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
    if namespace:
        metadata["namespace"] = namespace
    if labels is not None:
        metadata["labels"] = dict(labels)
    manifest: dict[str, Any] = {
        "apiVersion": f"{group}/{version}" if group else version,
        "kind": kind,
        "metadata": metadata,
        "spec": {"title": f"{namespace}/{name}"},
    }
    if status is not None:
        manifest["status"] = status
    return Object(
        uid=uid,
        namespace=namespace,
        name=name,
        version=version,
        resource_version=resource_version,
        created_at=created_at,
        composition_id=composition_id,
        labels=json.dumps(dict(labels or {})).encode(),
        raw=json.dumps(manifest if raw is None else raw).encode(),
    )
