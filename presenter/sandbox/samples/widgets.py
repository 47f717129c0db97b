"""Sample widgets and RESTActions of the portal."""

from __future__ import annotations

from typing import Any

from presenter.sandbox.objects import Manifest
from presenter.sandbox.samples.draft import Draft

_WIDGETS = "widgets.templates.krateo.io/v1beta1"
_PAGES = ("compositions", "blueprints", "dashboard", "marketplace", "settings")
_PAGE_SHARES = (45, 25, 15, 10, 5)
_ICONS = ("fa-cubes", "fa-rocket", "fa-chart-line", "fa-gear", "fa-code-branch")
_CALL = "/call?apiVersion=widgets.templates.krateo.io%2Fv1beta1&resource={}&name={}&namespace={}"


def panel(draft: Draft) -> Manifest:
    """A card about something; those of the page `compositions` belong to a composition."""
    name, page = draft.name("panel"), draft.source.choices(_PAGES, _PAGE_SHARES)[0]
    metadata, title, button = _metadata(draft, name, page), draft.title(), f"{name}-button"
    data = {
        "title": title,
        "icon": {"name": draft.pick(_ICONS), "color": draft.pick(("blue", "green", "orange"))},
        "footer": [{"resourceRefId": button}],
        "headerLeft": draft.created[:10],
        "headerRight": draft.namespace,
        "items": [{"label": draft.title(), "text": draft.text(100, 360)} for _ in range(draft.between(2, 4))],
        "tags": [draft.pick(_PAGES), draft.namespace],
        "tooltip": draft.text(40, 120),
        "clickActionId": "open",
    }
    actions = {"navigate": [{"id": "open", "type": "navigate", "path": f"/{page}/{draft.namespace}/{name}"}]}
    references = [_reference(draft, button, "buttons", "DELETE"), _reference(draft, name, "panels")]
    shown = {"title": title, "tooltip": data["tooltip"]}
    return _widget(
        draft,
        "Panel",
        metadata,
        {**data, "actions": actions},
        references,
        shown,
        apiRef={"name": f"{page}-panels", "namespace": "krateo-system"},
        widgetDataTemplate=[{"forPath": "title", "expression": "${ .panel.title }"}],
    )


def data_grid(draft: Draft) -> Manifest:
    """A grid of other widgets."""
    name, page = draft.name("grid"), draft.pick(_PAGES)
    metadata = _metadata(draft, name, page)
    references = [_reference(draft, draft.name("panel"), "panels") for _ in range(5)]
    data = {
        "title": draft.title(),
        "asGrid": True,
        "grid": {"xs": 1, "sm": 2, "md": 3, "lg": 4},
        "items": [{"resourceRefId": reference["id"]} for reference in references],
        "prefix": f"{page}-grid",
    }
    return _widget(draft, "DataGrid", metadata, data, references)


def page(draft: Draft) -> Manifest:
    """A page of the portal."""
    metadata = _metadata(draft, draft.name("page"), draft.pick(_PAGES))
    references = [_reference(draft, draft.name("grid"), "datagrids") for _ in range(4)]
    items = [{"resourceRefId": reference["id"]} for reference in references]
    data = {"title": draft.title(), "description": draft.text(200, 600), "items": items}
    return _widget(draft, "Page", metadata, data, references)


def button(draft: Draft) -> Manifest:
    """A button with the actions behind it."""
    metadata = _metadata(draft, draft.name("button"), draft.pick(_PAGES))
    references = [_reference(draft, draft.name("panel"), "panels", verb) for verb in ("GET", "DELETE")]
    data = {
        "label": draft.title(),
        "icon": draft.pick(_ICONS),
        "type": draft.pick(("primary", "default", "text")),
        "clickActionId": "act",
    }
    action = {
        "id": "act",
        "type": "rest",
        "resourceRefId": references[0]["id"],
        "requireConfirmation": True,
        "successMessage": draft.text(120, 300),
        "errorMessage": draft.text(120, 300),
    }
    return _widget(draft, "Button", metadata, {**data, "actions": {"rest": [action]}}, references)


def rest_action(draft: Draft) -> Manifest:
    """A declarative chain of HTTP calls with jq filters."""
    name, wanted = draft.name("call"), draft.pick(_PAGES)
    listed = '[.items[] | select((.metadata.labels // {})["krateo.io/portal-page"] == "' + wanted + '")]'
    steps = [
        {
            "name": f"step{number}",
            "path": "/apis/widgets.templates.krateo.io/v1beta1/panels",
            "verb": "GET",
            "headers": ["Accept: application/json"],
            "continueOnError": True,
            "errorKey": f"step{number}Error",
            "filter": listed,
            "dependsOn": {"name": f"step{number - 1}"} if number else None,
        }
        for number in range(3)
    ]
    labels = {"app.kubernetes.io/part-of": "portal", "krateo.io/portal-page": wanted}
    return draft.manifest(
        "templates.krateo.io/v1",
        "RESTAction",
        {"name": name, "labels": labels, "annotations": {"krateo.io/verbose": "false"}},
        spec={"api": steps, "filter": "{ items: ([.step0, .step1, .step2] | add) }"},
        status={"description": draft.text(500, 1100), "conditions": [draft.ready()]},
    )


def _metadata(draft: Draft, name: str, page: str) -> dict[str, Any]:
    labels = {"app.kubernetes.io/part-of": "portal", "krateo.io/portal-page": page}
    annotations = {
        "krateo.io/created-by": draft.pick(("alice", "bob", "carol", "dave")),
        "meta.helm.sh/release-namespace": draft.namespace,
    }
    if page == "compositions" and (composition := draft.composition()):
        meta = composition["metadata"]
        labels["krateo.io/composition-id"] = meta["uid"]
        labels["krateo.io/composition-name"] = meta["name"]
        annotations["krateo.io/composition-version"] = meta["labels"]["krateo.io/composition-version"]
        annotations["meta.helm.sh/release-name"] = meta["name"]
    return {"name": name, "labels": labels, "annotations": annotations}


def _reference(draft: Draft, name: str, resource: str, verb: str = "GET") -> dict[str, Any]:
    reference = {"id": name, "apiVersion": _WIDGETS, "resource": resource, "name": name}
    return {**reference, "namespace": draft.namespace, "verb": verb}


def _widget(
    draft: Draft,
    kind: str,
    metadata: dict[str, Any],
    data: dict[str, Any],
    references: list[dict[str, Any]],
    shown: dict[str, Any] | None = None,
    **spec: Any,
) -> Manifest:
    """A widget with its status, which has the data as `shown`, if not as they are."""
    resolved = [
        {
            "id": reference["id"],
            "path": _CALL.format(reference["resource"], reference["name"], draft.namespace),
            "verb": reference["verb"],
            "allowed": draft.source.random() < 0.9,
        }
        for reference in references
    ]
    status = {
        "resolvedUrl": _CALL.format(f"{kind.lower()}s", metadata["name"], draft.namespace),
        "traceId": f"{draft.source.getrandbits(64):016x}",
        "widgetData": shown or data,
        "resourcesRefs": {"items": resolved},
        "conditions": [draft.ready()],
    }
    spec |= {"widgetData": data, "resourcesRefs": {"items": references}}
    return draft.manifest(_WIDGETS, kind, metadata, spec=spec, status=status)
