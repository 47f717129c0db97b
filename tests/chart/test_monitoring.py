"""Alerts and dashboard ask for metrics that there are."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import yaml

from tests.chart.helm import CHART, NAME, Manifests, Values, example, having
from tests.e2e.conftest import home, presenter, session, system
from tests.e2e.system import System

__all__ = ["home", "presenter", "session", "system"]

Render = Callable[[Values], Manifests]

NAMES = re.compile(r"\b((?:presenter|process)_\w+)(?:\{([^}]*)\})?")
OF_PROMETHEUS = {"namespace", "service", "pod", "exported_namespace"}
"""Labels that it adds to what it scrapes."""


def alerts(render: Render) -> list[dict[str, Any]]:
    rule = render(example("everything"))["PrometheusRule", NAME]
    (group,) = rule["spec"]["groups"]
    found: list[dict[str, Any]] = group["rules"]
    return found


def dashboard() -> Any:
    return json.loads((CHART / "files" / "dashboard.json").read_text())


def expressions(render: Render) -> Iterator[str]:
    yield from (alert["expr"] for alert in alerts(render))
    for panel in dashboard()["panels"]:
        yield from (target["expr"] for target in panel["targets"])


async def exposed(system: System) -> dict[str, set[str]]:
    """Every metric of a running service, with its labels."""
    service = await (await system.start()).ready()
    await service.get("/resources", group="core.krateo.io")
    async with system.session.get(f"{service.url}/metrics") as response:
        text = await response.text()
    found: dict[str, set[str]] = {}
    for name, labels in re.findall(r"^(\w+)(?:\{(.*)\})? ", text, re.MULTILINE):
        found.setdefault(name, set()).update(re.findall(r'(\w+)="', labels))
    return found


async def test_every_metric_and_label_that_is_asked_for_is_exposed(render: Render, system: System) -> None:
    there = await exposed(system)
    asked = {}
    for expression in expressions(render):
        for name, selector in NAMES.findall(expression):
            labels = set(re.findall(r"(\w+)(?:=~|!~|!=|=)\"", selector)) - OF_PROMETHEUS
            assert labels <= there.get(name, set()), (name, labels)
            asked[name] = there[name]
        grouped = {label for listed in re.findall(r"by \(([^)]*)\)", expression) for label in listed.split(", ")}
        known = set().union(*(there[name] for name, _ in NAMES.findall(expression)))
        assert grouped - OF_PROMETHEUS <= known, expression
    assert {"presenter_cache_lag_seconds", "presenter_cache_repairs_total", "presenter_lease_held"} <= asked.keys()


def test_alerts_are_of_this_release_and_say_what_is_wrong(render: Render) -> None:
    for alert in alerts(render):
        assert f'namespace="krateo-system",service=~"{NAME}(-watch)?"' in alert["expr"]
        assert "SELECTOR" not in alert["expr"]
        assert alert["labels"]["severity"] in ("critical", "warning")
        labels = set(re.findall(r"\$labels\.(\w+)", alert["annotations"]["summary"]))
        kept = {label for listed in re.findall(r"by \(([^)]*)\)", alert["expr"]) for label in listed.split(", ")}
        assert labels <= (kept or OF_PROMETHEUS), alert["alert"]


def test_prometheus_finds_the_pods(render: Render) -> None:
    manifests = render(example("everything"))
    monitor = manifests["ServiceMonitor", NAME]
    assert monitor["metadata"]["labels"]["release"] == "prometheus"
    (endpoint,) = monitor["spec"]["endpoints"]
    wanted = monitor["spec"]["selector"]["matchLabels"].items()
    (expression,) = monitor["spec"]["selector"]["matchExpressions"]
    found = {
        name
        for (kind, name), manifest in manifests.items()
        if kind == "Service"
        and wanted <= manifest["metadata"]["labels"].items()
        and manifest["metadata"]["labels"][expression["key"]] in expression["values"]
        and endpoint["port"] in {port["name"] for port in manifest["spec"]["ports"]}
    }
    assert found == {NAME, f"{NAME}-watch"}


def test_grafana_takes_the_dashboard(render: Render) -> None:
    config = render(example("everything"))["ConfigMap", f"{NAME}-dashboard"]
    assert config["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert json.loads(config["data"]["resources-presenter.json"]) == dashboard()
    ids = [panel["id"] for panel in dashboard()["panels"]]
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("switch", ["serviceMonitor", "alerts", "dashboard"])
def test_each_is_a_switch_that_is_off(render: Render, switch: str) -> None:
    kinds = {"serviceMonitor": "ServiceMonitor", "alerts": "PrometheusRule", "dashboard": "ConfigMap"}
    default = example("default")
    assert not {kind for kind, _ in render(default)} & set(kinds.values())
    switched = {kind for kind, _ in render(having(default, f"metrics.{switch}.enabled", True))}
    assert switched & set(kinds.values()) == {kinds[switch]}


def test_the_alerts_are_a_rule_file(render: Render) -> None:
    """As they are, they can be read by `promtool check rules` once SELECTOR is filled in."""
    parsed = yaml.safe_load((CHART / "files" / "alerts.yaml").read_text())
    assert [len({rule["alert"] for rule in group["rules"]}) for group in parsed["groups"]] == [9]
