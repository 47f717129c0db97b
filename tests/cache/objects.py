"""Types and numbered objects for the tests of the cache."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from presenter.resource import Object, ResourceType
from tests import objects

PANELS = ResourceType("widgets.templates.krateo.io", "v1beta1", "panels", "Panel", True, ("v1beta1",))
BUTTONS = ResourceType("widgets.templates.krateo.io", "v1beta1", "buttons", "Button", True, ("v1beta1", "v1alpha1"))
THEMES = ResourceType("widgets.templates.krateo.io", "v1beta1", "themes", "Theme", False, ("v1beta1",))
PODS = ResourceType("", "v1", "pods", "Pod", True, ("v1",))

START = datetime(2026, 1, 1, tzinfo=UTC)


def make_object(
    number: int,
    *,
    namespace: str = "default",
    name: str | None = None,
    uid: str | None = None,
    version: str = "v1beta1",
    resource_version: int | None = None,
    created_at: datetime | None = None,
    composition_id: str | None = None,
    labels: Mapping[str, str] | None = None,
    raw: Mapping[str, Any] | None = None,
) -> Object:
    """An object that differs from those of other numbers in everything that must differ."""
    return objects.make_object(
        name or f"object-{number:05}",
        namespace,
        uid=uid or str(uuid.UUID(int=number)),
        version=version,
        resource_version=number + 1 if resource_version is None else resource_version,
        created_at=created_at or START + timedelta(seconds=number),
        composition_id=composition_id,
        labels=labels,
        raw=raw,
    )
