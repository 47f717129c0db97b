"""Values of the Go services' charts, translated by the command, and rendered by the real helm."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from presenter import go_services
from presenter.commands.go_values import INGESTER, PRESENTER, translated
from tests.chart.helm import NAME, Helm, container, environment

POD = ("Deployment", NAME)
NEWEST_PRESENTER = """
replicaCount: 1
image: {repository: ghcr.io/krateoplatformops/resources-presenter, pullPolicy: IfNotPresent, tag: ""}
imagePullSecrets: []
nameOverride: ""
fullnameOverride: ""
serviceAccount: {create: true, automount: true, annotations: {}, name: ""}
podAnnotations: {}
podLabels: {}
podSecurityContext: {}
securityContext: {}
service: {type: ClusterIP, port: 8080}
ingress:
  enabled: false
  className: ""
  annotations: {}
  hosts: [{host: chart-example.local, paths: [{path: /, pathType: ImplementationSpecific}]}]
  tls: []
resources: {}
livenessProbe: {httpGet: {path: /livez, port: http}, initialDelaySeconds: 45, periodSeconds: 90, timeoutSeconds: 5}
readinessProbe: {httpGet: {path: /readyz, port: http}, initialDelaySeconds: 45, periodSeconds: 90, timeoutSeconds: 5}
autoscaling: {enabled: false, minReplicas: 1, maxReplicas: 100, targetCPUUtilizationPercentage: 80}
volumes: []
volumeMounts: []
nodeSelector: {}
tolerations: []
affinity: {}
dbSecret: {name: krateo-db}
jwtSignKeySecret: {name: jwt-sign-key}
endpointSecret: {create: true}
config:
  DEBUG: "false"
  DB_READY_TIMEOUT: "5m"
  OTEL_ENABLED: "false"
  OTEL_EXPORT_INTERVAL: "30s"
  DB_PARAMS: "sslmode=disable&connect_timeout=5&pool_min_conns=4"
  AUTHN_NS: "krateo-system"
  DB_HOST: pg-cluster-rw.krateo-system.svc
  DB_NAME: krateo-db
"""
INGESTER_WITH_MUCH = """
replicaCount: 3
image: {repository: ghcr.io/krateoplatformops/resources-ingester}
service: {type: ClusterIP, port: 8082}
metrics: {type: ClusterIP, port: 9090}
secret: {name: db-credentials}
resources: {limits: {memory: 128Mi}}
volumes: [{name: ca, configMap: {name: ca}}]
volumeMounts: [{name: ca, mountPath: /etc/ca}]
nodeSelector: {kubernetes.io/os: linux}
config:
  PORT: "8082"
  DEBUG: "true"
  DB_READY_TIMEOUT: 4m
  DB_PARAMS: sslmode=require
  DB_NAME: events
  DB_HOST: primary
  DB_PASS: not to be shown
  NAMESPACES: "krateo-system, demo-system"
"""
PRESENTER_WITH_MUCH = """
image: {pullPolicy: Always}
fullnameOverride: presenter
imagePullSecrets: [{name: registry}]
podAnnotations: {team: portal}
podLabels: {team: portal}
tolerations: [{key: dedicated, operator: Exists}]
volumes: [{name: ca, configMap: {name: ca}}, {name: more, emptyDir: {}}]
service: {type: NodePort, port: 80, nodePort: 30080}
ingress: {enabled: true, hosts: [{host: resources.example}]}
autoscaling: {enabled: true, minReplicas: 2, maxReplicas: 9, targetMemoryUtilizationPercentage: 70}
signKeySecret: {name: jwt}
dbSecret: {name: reader}
endpointSecret: {create: false}
config:
  PORT: 9000
  DEBUG: false
  DB_HOST: replica
  DB_PORT: "5433"
  DB_PARAMS: sslmode=disable&pool_max_conns=8
  SIGN_KEY: not to be shown
  RBAC_USERCAN_CACHE_TTL: 60s
  LOG_LEVEL: debug
"""
KRATEOCTL = """
components:
  resources-stack:
    stepConfig:
      install-resources-ingester:
        with:
          values:
            config: {DB_HOST: postgres.example, DB_PORT: 6432, DB_NAME: krateo-db}
            secret: {name: krateo-db}
      install-resources-presenter:
        with:
          values:
            config: {DB_HOST: postgres.example, DB_PORT: 6432, DB_NAME: krateo-db}
            dbSecret: {name: krateo-db}
  events-stack:
    stepConfig:
      install-events-presenter:
        with: {values: {config: {DB_HOST: elsewhere}, dbSecret: {name: another}}}
steps:
  - id: install-resources-presenter
    type: chart
    with: {values: {config: {DB_HOST: postgres.example, DB_PORT: 6432, DB_NAME: krateo-db, DEBUG: true}}}
"""


def migrated(*given: str, folder: Path) -> tuple[dict[str, Any], list[str]]:
    """The values that the command prints, and what it says could not be translated."""
    files = [folder / f"{number}.yaml" for number in range(len(given))]
    for file, text in zip(files, given, strict=True):
        file.write_text(text)
    done = run(*map(str, files))
    assert done.returncode == 0, done.stderr
    lines = done.stderr.splitlines()
    assert all(line.startswith("not translated: ") for line in lines)
    values: dict[str, Any] = yaml.safe_load(done.stdout)
    return values, [line.removeprefix("not translated: ") for line in lines]


def run(*arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    presenter = Path(sys.executable).with_name("presenter")
    command = [str(presenter), "migrate-values", *arguments]
    return subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=60)


def paths(told: list[str]) -> set[str]:
    return {":".join(line.split(": ")[:2]) for line in told}


def test_the_newest_presenters_values(helm: Helm, tmp_path: Path) -> None:
    values, told = migrated(NEWEST_PRESENTER, folder=tmp_path)
    found = environment(container(helm.render(values)[POD]))
    assert {name: found[name] for name in ("DB_HOST", "DB_NAME", "DB_USER", "JWT_SIGN_KEY", "OTEL_ENABLED")} == {
        "DB_HOST": "pg-cluster-rw.krateo-system.svc",
        "DB_NAME": "krateo-db",
        "DB_USER": ("krateo-db", "DB_USER"),
        "JWT_SIGN_KEY": ("jwt-sign-key", "JWT_SIGN_KEY"),
        "OTEL_ENABLED": "false",
    }
    assert found["DB_PARAMS"] == "sslmode=disable&connect_timeout=5&pool_min_conns=4"
    assert values["startupSeconds"] == 360, "longer than the database is waited for"
    assert paths(told) == {
        f"{PRESENTER}:{path}"
        for path in ("image", "livenessProbe", "readinessProbe", "config.AUTHN_NS", "config.OTEL_EXPORT_INTERVAL")
    }


@pytest.mark.parametrize("order", [(0, 1), (1, 0)], ids=str)
def test_what_both_charts_say_becomes_one(helm: Helm, tmp_path: Path, order: tuple[int, int]) -> None:
    both = (PRESENTER_WITH_MUCH, INGESTER_WITH_MUCH)
    values, told = migrated(*(both[which] for which in order), folder=tmp_path)
    assert values == {
        "config": {
            "DEBUG": "false",
            "DB_READY_TIMEOUT": "4m",
            "DB_PARAMS": "sslmode=require&pool_max_conns=8",
            "DB_NAME": "events",
            "DB_HOST": "primary",
            "DB_PORT": "5432",
            "DB_READ_HOST": "replica",
            "DB_READ_PORT": "5433",
            "NAMESPACES": "krateo-system, demo-system",
            "PORT": "9000",
        },
        "dbSecret": {"name": "db-credentials"},
        "signKeySecret": {"name": "jwt"},
        "endpointSecret": {"create": False},
        "mode": "split",
        "components": {"serve": {"autoscaling": {"enabled": True, "minReplicas": 2, "maxReplicas": 9}}},
        "service": {"type": "NodePort", "port": 80},
        "image": {"pullPolicy": "Always"},
        "imagePullSecrets": [{"name": "registry"}],
        "podAnnotations": {"team": "portal"},
        "podLabels": {"team": "portal"},
        "nodeSelector": {"kubernetes.io/os": "linux"},
        "tolerations": [{"key": "dedicated", "operator": "Exists"}],
        "extraVolumes": [{"name": "ca", "configMap": {"name": "ca"}}, {"name": "more", "emptyDir": {}}],
        "extraVolumeMounts": [{"name": "ca", "mountPath": "/etc/ca"}],
    }
    assert "not to be shown" not in "".join(told)
    assert paths(told) == {
        *(f"{PRESENTER}:{path}" for path in ("fullnameOverride", "ingress", "service.nodePort", "dbSecret.name")),
        f"{PRESENTER}:autoscaling.targetMemoryUtilizationPercentage",
        *(f"{PRESENTER}:config.{name}" for name in ("DB_PARAMS", "SIGN_KEY", "RBAC_USERCAN_CACHE_TTL", "LOG_LEVEL")),
        *(f"{INGESTER}:{path}" for path in ("replicaCount", "image", "service", "metrics", "resources")),
        *(f"{INGESTER}:config.{name}" for name in ("PORT", "DEBUG", "DB_PASS")),
    }
    assert helm.template(values).returncode == 0


def test_krateoctls_configuration_has_both(helm: Helm, tmp_path: Path) -> None:
    values, told = migrated(KRATEOCTL, folder=tmp_path)
    assert values["config"] == {
        "DB_HOST": "postgres.example",
        "DB_PORT": "6432",
        "DB_NAME": "krateo-db",
        "DEBUG": "true",
    }
    assert (values["dbSecret"], told) == ({"name": "krateo-db"}, [])
    assert helm.template(values).returncode == 0


def test_what_helm_prints_may_be_piped(helm: Helm) -> None:
    done = run("-", stdin="USER-SUPPLIED VALUES:\nconfig:\n  DB_HOST: primary\nreplicaCount: 2\n")
    assert (done.returncode, done.stderr) == (0, "")
    values = yaml.safe_load(done.stdout)
    assert values["components"] == {"run": {"replicas": 2}}
    assert helm.template(values).returncode == 0


def test_a_database_that_nobody_names_is_told_of(tmp_path: Path) -> None:
    _, told = migrated("dbSecret: {name: krateo-db}", folder=tmp_path)
    assert told == ["config.DB_HOST: none of them says it: set it to the host of your PostgreSQL"]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "- has no Helm values: allowed is a mapping"),
        ("[a]", "- has no Helm values: allowed is a mapping"),
        ("config: [DB_HOST]", "-: config is ['DB_HOST']: allowed is a mapping"),
        ("install-resources-presenter: {with: 7}", "-: with.values is 7: allowed is a mapping"),
        ("a: [", "- is no YAML: "),
    ],
)
def test_what_has_no_values_is_an_error(text: str, complaint: str) -> None:
    done = run("-", stdin=text)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"presenter: {complaint}")
    assert len(done.stderr.splitlines()) == 1


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    done = run(str(tmp_path / "gone.yaml"))
    assert (done.returncode, done.stderr) == (
        2,
        f"presenter: {tmp_path}/gone.yaml cannot be read: No such file or directory\n",
    )


_names = st.sampled_from(
    ["DEBUG", "DB_NAME", "NAMESPACES", "OTEL_ENABLED", *go_services.VARIABLES, "SIGN_KEY", "WATCH"]
)
_configs = st.dictionaries(_names, st.sampled_from(["true", "false"]))


@given(presenter=_configs, ingester=_configs)
def test_every_variable_is_there_or_told_of(presenter: dict[str, str], ingester: dict[str, str]) -> None:
    values, told = translated({PRESENTER: {"config": presenter}, INGESTER: {"config": ingester}})
    for service, config in ((PRESENTER, presenter), (INGESTER, ingester)):
        for name, value in config.items():
            is_there = values.get("config", {}).get(name) == value
            assert is_there != any(line.startswith(f"{service}: config.{name}: ") for line in told)
