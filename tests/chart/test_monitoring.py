"""Metrics are as documented, alerts and dashboard ask for those that there are, and Prometheus understands them."""

from __future__ import annotations

import json
import operator
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.chart.helm import CHART, CHECKOUT, NAME, Manifests, Values, example, having
from tests.chart.promtool import TARGET, Promtool, Recording
from tests.e2e.conftest import home, presenter, session, system
from tests.e2e.system import Service, System

__all__ = ["home", "presenter", "session", "system"]

Render = Callable[[Values], Manifests]

METRIC = re.compile(r"\b((?:presenter|process)_\w+)(?:\{([^}]*)\})?")
OF_PROMETHEUS = {*TARGET, *(f"exported_{label}" for label in TARGET)}
"""Labels that it adds to what it scrapes."""

UNITS = {"Bps", "s", "short", "bytes", "percentunit", "ops", "reqps", "bool_yes_no"}
OPERATIONS = CHECKOUT / "docs" / "operations.md"


def alerts(render: Render, values: Values | None = None) -> list[dict[str, Any]]:
    rule = render(values or example("everything"))["PrometheusRule", NAME]
    (group,) = rule["spec"]["groups"]
    found: list[dict[str, Any]] = group["rules"]
    return found


def dashboard() -> Any:
    return json.loads((CHART / "files" / "dashboard.json").read_text())


def panels() -> list[dict[str, Any]]:
    return [panel for panel in dashboard()["panels"] if panel["type"] != "row"]


def targets() -> list[str]:
    return [target["expr"] for panel in panels() for target in panel["targets"]]


def queries(alert: dict[str, Any]) -> list[str]:
    """What an alert asks Prometheus: to fire, and for its description."""
    return [alert["expr"], *re.findall(r"printf `(.*?)` \| query", alert["annotations"]["description"])]


async def scraped(system: System, service: Service) -> str:
    await service.get("/resources", group="core.krateo.io")
    assert (await service.get("/resources", limit="many")).status == 400
    async with system.session.get(f"{service.url}/metrics") as response:
        return await response.text()


@pytest.fixture
async def texts(system: System) -> list[str]:
    """What running services expose: one that watches and decides by RBAC, and one that asks the API server."""
    watching = await (await system.start()).ready()
    asking = await (await system.start("serve", AUTHORIZER="sar")).ready()
    return [await scraped(system, service) for service in (watching, asking)]


@pytest.fixture
def exposed(texts: list[str]) -> dict[str, set[str]]:
    """Every metric of these, with its labels."""
    return Recording.of(texts[1]).labels() | Recording.of(texts[0]).labels()


def documented() -> dict[str, set[str]]:
    """Every metric of the table, with its labels."""
    table = OPERATIONS.read_text().partition("| metric | labels | |\n")[2].partition("\n\n")[0]
    rows = [[re.findall(r"`(\w+)`", cell) for cell in row.split("|")[1:3]] for row in table.splitlines()[1:]]
    return {name: set(labels) for names, labels in rows for name in names}


def test_every_metric_that_is_exposed_is_documented_and_no_other(exposed: dict[str, set[str]]) -> None:
    families = {re.sub(r"(?<=seconds|objects)_(bucket|count|sum)$", "", name): name for name in exposed}
    own = {family: exposed[name] - {"le"} for family, name in families.items() if family.startswith("presenter_")}
    assert own == documented()


def test_prometheus_has_nothing_to_say_about_the_metrics(texts: list[str], promtool: Promtool) -> None:
    for text in texts:
        promtool.check_metrics(text)


def test_every_metric_and_label_that_is_asked_for_is_exposed(render: Render, exposed: dict[str, set[str]]) -> None:
    asked = [query for alert in alerts(render) for query in queries(alert)]
    for expression in [*asked, *targets()]:
        named = METRIC.findall(expression)
        for name, selector in named:
            labels = set(re.findall(r"(\w+)(?:=~|!~|!=|=)\"", selector)) - OF_PROMETHEUS
            assert labels <= exposed.get(name, set()), (name, labels)
        assert {name for name, _ in named} <= exposed.keys()
        grouped = {label for listed in re.findall(r"by \(([^)]*)\)", expression) for label in listed.split(", ")}
        assert named, expression
        assert grouped - OF_PROMETHEUS <= set().union(*(exposed[name] for name, _ in named)), expression


def test_alerts_are_of_this_release_and_say_what_is_wrong(render: Render) -> None:
    for alert in alerts(render):
        assert alert.keys() == {"alert", "expr", "for", "labels", "annotations"}
        assert f'namespace="krateo-system",service=~"{NAME}(-watch)?"' in alert["expr"]
        assert "SELECTOR" not in str(alert)
        assert alert["labels"]["severity"] in ("critical", "warning", "info")
        told = alert["annotations"]
        assert told.keys() == {"summary", "description", "runbook_url"}
        labels = set(re.findall(r"\$labels\.(\w+)", told["summary"] + told["description"]))
        kept = {label for listed in re.findall(r"by \(([^)]*)\)", alert["expr"]) for label in listed.split(", ")}
        assert labels <= kept, alert["alert"]


def test_every_alert_leads_to_a_section_that_says_what_to_do(render: Render) -> None:
    headings = re.findall(r"^### (Resources\w+)$", OPERATIONS.read_text(), re.MULTILINE)
    sections = {f"#{name.lower()}": name for name in headings}
    values = having(example("everything"), "metrics.alerts.runbookUrl", "https://docs.example.com/operations")
    for where, rules in {
        "docs/operations.md": alerts(render),
        values["metrics"]["alerts"]["runbookUrl"]: alerts(render, values),
    }.items():
        linked = {alert["annotations"]["runbook_url"]: alert["alert"] for alert in rules}
        assert linked == {f"{where}{anchor}": name for anchor, name in sections.items()}


def test_prometheus_takes_the_alerts_and_every_query_of_the_dashboard(render: Render, promtool: Promtool) -> None:
    promtool.check({"groups": [{"name": NAME, "rules": alerts(render)}]})
    promtool.check_expressions(text.replace("$__rate_interval", "5m") for text in targets())


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
    everything = dashboard()["panels"]
    assert len({panel["id"] for panel in everything}) == len(everything)
    cells = [cell for panel in everything for cell in covered(panel["gridPos"])]
    assert len(set(cells)) == len(cells), "panels overlap"
    assert all(column < 24 for column, _ in cells)
    assert {panel["title"] for panel in everything if panel["type"] == "row"} >= {"Requests", "Ingest", "Database"}


def covered(position: dict[str, int]) -> Iterator[tuple[int, int]]:
    for column in range(position["x"], position["x"] + position["w"]):
        yield from ((column, line) for line in range(position["y"], position["y"] + position["h"]))


@pytest.mark.parametrize("panel", panels(), ids=operator.itemgetter("title"))
def test_every_panel_says_what_it_shows(panel: dict[str, Any]) -> None:
    assert panel["type"] in ("timeseries", "stat")
    assert panel["description"].endswith(".")
    assert panel["fieldConfig"]["defaults"]["unit"] in UNITS
    assert [target["refId"] for target in panel["targets"]] == list("ABCDEFGH"[: len(panel["targets"])])
    for target in panel["targets"]:
        assert target["datasource"] == panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        chosen = re.findall(r"\{([^}]*)\}", target["expr"])
        assert all(text.startswith('namespace="$namespace",service=~"$service"') for text in chosen), target["expr"]


@pytest.mark.parametrize("switch", ["serviceMonitor", "alerts", "dashboard"])
def test_each_is_a_switch_that_is_off(render: Render, switch: str) -> None:
    kinds = {"serviceMonitor": "ServiceMonitor", "alerts": "PrometheusRule", "dashboard": "ConfigMap"}
    default = example("default")
    assert not {kind for kind, _ in render(default)} & set(kinds.values())
    switched = {kind for kind, _ in render(having(default, f"metrics.{switch}.enabled", True))}
    assert switched & set(kinds.values()) == {kinds[switch]}
