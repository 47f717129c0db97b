"""The real promtool, on metrics that were recorded: which alerts do they make fire?"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from tests.chart.helm import CHECKOUT, NAME, NAMESPACE

HOURS = 3
TARGET = {"namespace": NAMESPACE, "service": NAME, "pod": f"{NAME}-0"}
"""What Prometheus adds to what it scrapes of a pod; its own `namespace` is then called `exported_namespace`."""

Series = tuple[str, tuple[tuple[str, str], ...]]


@dataclass(frozen=True)
class Recording:
    """What one answer of `/metrics` said: which series count up, and the value of each."""

    counting: frozenset[Series]
    values: dict[Series, float]

    @classmethod
    def of(cls, text: str) -> Recording:
        """Parse Prometheus' text format, strictly."""
        counting: set[Series] = set()
        values: dict[Series, float] = {}
        for family in text_string_to_metric_families(text):
            assert family.type in ("counter", "gauge", "histogram", "info"), family.name
            for sample in family.samples:
                series = (sample.name, tuple(sorted(sample.labels.items())))
                assert series not in values, f"twice: {series}"
                values[series] = sample.value
                if family.type in ("counter", "histogram"):
                    counting.add(series)
        return cls(frozenset(counting), values)

    def labels(self) -> dict[str, set[str]]:
        """Every metric with the labels it has."""
        found: dict[str, set[str]] = {}
        for name, labels in self.values:
            found.setdefault(name, set()).update(key for key, _ in labels)
        return found


def input_series(before: Recording, after: Recording) -> Iterator[dict[str, str]]:
    """As if the state of `after` lasted, and what was counted since `before` happened again every minute."""
    for (name, labels), value in after.values.items():
        start, step = value, 0.0
        if (name, labels) in after.counting:
            start = before.values.get((name, labels), 0.0)
            step = value - start
        renamed = {f"exported_{key}" if key in TARGET else key: text for key, text in labels if text} | TARGET
        inside = ",".join(f'{key}="{text}"' for key, text in renamed.items())
        yield {"series": f"{name}{{{inside}}}", "values": f"{start!r}+{step!r}x{60 * HOURS}"}


class Promtool:
    """promtool, in a directory of its own."""

    def __init__(self, home: Path) -> None:
        own = CHECKOUT / ".tools" / "bin" / "promtool"
        found = str(own) if own.exists() else shutil.which("promtool")
        if found is None:
            pytest.skip("no promtool: scripts/tools could not get it, and none is on PATH")
        self._program = found
        self._home = home

    def check(self, rules: Any) -> str:
        """Have a file of rules checked, which must be right."""
        return self._succeed("check", "rules", "--lint=all", "--lint-fatal", str(self._write("rules.yaml", rules)))

    def check_metrics(self, text: str) -> None:
        """Have names and types of metrics checked against Prometheus' conventions."""
        done = subprocess.run(
            [self._program, "check", "metrics"], input=text, capture_output=True, text=True, timeout=60
        )
        assert (done.returncode, done.stdout + done.stderr) == (0, "")

    def check_expressions(self, expressions: Iterable[str]) -> None:
        """Have expressions parsed."""
        rules = [{"record": f"parsed:{number}", "expr": text} for number, text in enumerate(expressions)]
        self.check({"groups": [{"name": "expressions", "rules": rules}]})

    def assert_firing(
        self, rules: Any, series: Iterable[dict[str, str]], expected: Collection[str], perhaps: Collection[str] = ()
    ) -> None:
        """Exactly the alerts of these names fire in the end; those of `perhaps` may."""
        query = f'max by (alertname) (ALERTS{{alertstate="firing",alertname!~"{"|".join(perhaps)}"}})'
        samples = [{"labels": f'{{alertname="{name}"}}', "value": 1} for name in sorted(expected)]
        self._test(rules, series, promql_expr_test=[{"eval_time": f"{HOURS}h", "expr": query, "exp_samples": samples}])

    def rendered(
        self, rules: Any, series: Iterable[dict[str, str]], alerts: Collection[str]
    ) -> dict[str, dict[str, str]]:
        """The annotations of those that fire, as people read them: promtool tells them when none is expected."""
        expected = [{"eval_time": f"{HOURS}h", "alertname": alert, "exp_alerts": []} for alert in sorted(alerts)]
        with pytest.raises(AssertionError, match="got:") as told:
            self._test(rules, series, alert_rule_test=expected)
        pattern = re.compile(r"^ +alertname: (\w+), .*?^ +Annotations:\{([^\n]*)\}$", re.DOTALL | re.MULTILINE)
        found = pattern.findall(str(told.value))
        return {alert: dict(re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', annotations)) for alert, annotations in found}

    def _test(self, rules: Any, series: Iterable[dict[str, str]], **tests: Any) -> None:
        named = set(re.findall(r"\w+", self._write("rules.yaml", rules).read_text()))
        read = [one for one in series if one["series"].partition("{")[0] in named]  # the others would only take time
        test = {"interval": "1m", "input_series": read, **tests}
        unit = {"rule_files": ["rules.yaml"], "evaluation_interval": "1m", "tests": [test]}
        self._succeed("test", "rules", str(self._write("unit.yaml", unit)))

    def _write(self, name: str, content: Any) -> Path:
        path = self._home / name
        path.write_text(yaml.safe_dump(content))
        return path

    def _succeed(self, *arguments: str) -> str:
        done = subprocess.run([self._program, *arguments], capture_output=True, text=True, timeout=60)
        said = done.stdout + done.stderr
        assert done.returncode == 0, said
        return said
