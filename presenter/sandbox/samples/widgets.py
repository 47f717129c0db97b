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
    labels, annotations = _identity(draft, page)
    title = draft.title()
    button = f"{name}-button"
    data = {
        "title": title,
        "icon": {
            "name": draft.pick(_ICONS),
            "color": draft.pick(("blue", "green", "orange")),
        },
        "footer": [{"resourceRefId": button}],
        "headerLeft": draft.created[:10],
        "headerRight": draft.namespace,
        "items": [{"label": draft.title(), "text": draft.text(100, 360)} for _ in range(draft.between(2, 4))],
        "tags": [draft.pick(_PAGES), draft.namespace],
        "tooltip": draft.text(40, 120),
        "clickActionId": "open",
    }
    actions = {"navigate": [{"id": "open", "type": "navigate", "path": f"/{page}/{draft.namespace}/{name}"}]}
    references = [
        _reference(button, "buttons", draft.namespace, "DELETE"),
        _reference(name, "panels", draft.namespace),
    ]
    return draft.manifest(
        _WIDGETS,
        "Panel",
        {"name": name, "labels": labels, "annotations": annotations},
        spec={
            "apiRef": {"name": f"{page}-panels", "namespace": "krateo-system"},
            "widgetData": {**data, "actions": actions},
            "widgetDataTemplate": [{"forPath": "title", "expression": "${ .panel.title }"}],
            "resourcesRefs": {"items": references},
        },
        status=_status(draft, "panels", name, {"title": title, "tooltip": data["tooltip"]}, references),
    )


def data_grid(draft: Draft) -> Manifest:
    """A grid of other widgets."""
    name, page = draft.name("grid"), draft.pick(_PAGES)
    labels, annotations = _identity(draft, page)
    references = [_reference(draft.name("panel"), "panels", draft.namespace) for _ in range(5)]
    data = {
        "title": draft.title(),
        "asGrid": True,
        "grid": {"xs": 1, "sm": 2, "md": 3, "lg": 4},
        "items": [{"resourceRefId": reference["id"]} for reference in references],
        "prefix": f"{page}-grid",
    }
    return _widget(draft, "DataGrid", "datagrids", name, labels, annotations, data, references)


def page(draft: Draft) -> Manifest:
    """A page of the portal."""
    name = draft.name("page")
    labels, annotations = _identity(draft, draft.pick(_PAGES))
    references = [_reference(draft.name("grid"), "datagrids", draft.namespace) for _ in range(4)]
    data = {
        "title": draft.title(),
        "description": draft.text(200, 600),
        "items": [{"resourceRefId": reference["id"]} for reference in references],
    }
    return _widget(draft, "Page", "pages", name, labels, annotations, data, references)


def button(draft: Draft) -> Manifest:
    """A button with the actions behind it."""
    name = draft.name("button")
    labels, annotations = _identity(draft, draft.pick(_PAGES))
    references = [_reference(draft.name("panel"), "panels", draft.namespace, verb) for verb in ("GET", "DELETE")]
    data = {
        "label": draft.title(),
        "icon": draft.pick(_ICONS),
        "type": draft.pick(("primary", "default", "text")),
        "clickActionId": "act",
        "actions": {
            "rest": [
                {
                    "id": "act",
                    "type": "rest",
                    "resourceRefId": references[0]["id"],
                    "requireConfirmation": True,
                    "successMessage": draft.text(120, 300),
                    "errorMessage": draft.text(120, 300),
                }
            ]
        },
    }
    return _widget(draft, "Button", "buttons", name, labels, annotations, data, references)


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


def _widget(
    draft: Draft,
    kind: str,
    plural: str,
    name: str,
    labels: dict[str, str],
    annotations: dict[str, str],
    data: dict[str, Any],
    references: list[dict[str, Any]],
) -> Manifest:
    return draft.manifest(
        _WIDGETS,
        kind,
        {"name": name, "labels": labels, "annotations": annotations},
        spec={"widgetData": data, "resourcesRefs": {"items": references}},
        status=_status(draft, plural, name, data, references),
    )


def _identity(draft: Draft, page: str) -> tuple[dict[str, str], dict[str, str]]:
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
    return labels, annotations


def _reference(name: str, resource: str, namespace: str, verb: str = "GET") -> dict[str, Any]:
    return {
        "id": name,
        "apiVersion": _WIDGETS,
        "resource": resource,
        "name": name,
        "namespace": namespace,
        "verb": verb,
    }


def _status(
    draft: Draft, resource: str, name: str, data: dict[str, Any], references: list[dict[str, Any]]
) -> dict[str, Any]:
    resolved = [
        {
            "id": reference["id"],
            "path": _CALL.format(reference["resource"], reference["name"], draft.namespace),
            "verb": reference["verb"],
            "allowed": draft.source.random() < 0.9,
        }
        for reference in references
    ]
    return {
        "resolvedUrl": _CALL.format(resource, name, draft.namespace),
        "traceId": f"{draft.source.getrandbits(64):016x}",
        "widgetData": data,
        "resourcesRefs": {"items": resolved},
        "conditions": [draft.ready()],
    }
