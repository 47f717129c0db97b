"""How values of the charts of Krateo's two Go services translate to values of this one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal
from urllib.parse import parse_qsl, urlencode

from presenter import go_services
from presenter.config import parse_duration

Values = dict[str, Any]
Service = Literal["resources-presenter", "resources-ingester"]

PRESENTER: Service = "resources-presenter"
INGESTER: Service = "resources-ingester"

_OF_PRESENTER = {"dbSecret", "signKeySecret", "jwtSignKeySecret", "endpointSecret", "ingress"}
_OF_INGESTER = {"secret", "metrics"}
MAPPINGS = {*_OF_PRESENTER, *_OF_INGESTER, "config", "image", "service", "autoscaling", "serviceAccount"}
"""Values that are mappings."""
_SAME = {
    **{name: name for name in ("imagePullSecrets", "podAnnotations", "podLabels")},
    **{name: name for name in ("nodeSelector", "tolerations", "affinity")},
    "volumes": "extraVolumes",
    "volumeMounts": "extraVolumeMounts",
}
"""Values that mean the same here, and their names."""
_ONE_WATCHES = "one pod watches at a time, however many there are: what the presenter's values say counts"
_OTHERWISE = {
    "ingress": "the chart has no Ingress: write one for its Service",
    "metrics": "they are scraped from the one port: see metrics.serviceMonitor",
    "fullnameOverride": "objects are called after the release: helm install NAME",
    "nameOverride": "objects are called after the release: helm install NAME",
    "podSecurityContext": "pods run as the Pod Security Standard `restricted` asks for",
    "securityContext": "pods run as the Pod Security Standard `restricted` asks for",
    "serviceAccount": "the chart makes an account, with the rights that `watch` takes",
    "livenessProbe": "the chart has its own",
    "readinessProbe": "the chart has its own",
    "resources": "they were measured for the Go service: docs/scaling.md has what this one needs",
}
"""Values that have no counterpart, and why."""
_SECRETS = {
    "DB_USER": "dbSecret.name",
    "DB_PASS": "dbSecret.name",
    "SIGN_KEY": "signKeySecret.name",
    "JWT_SIGN_KEY": "jwtSignKeySecret.name",
}
"""Variables that come from Secrets alone, and the value that names each."""
_VARIABLES = (
    *("PORT", "DEBUG", "NAMESPACES", "OTEL_ENABLED", "OTEL_EXPORTER_OTLP_ENDPOINT"),
    *("DB_HOST", "DB_PORT", "DB_NAME", "DB_PARAMS", "DB_READY_TIMEOUT"),
)
"""Variables that mean the same here."""
_OF_WHO_WRITES = ("DB_HOST", "DB_PORT", "DB_NAME", "DB_PARAMS", "DB_READY_TIMEOUT", "NAMESPACES")
"""Variables of which the ingester's word counts."""
_STARTUP_SECONDS = 300
_LEAST_PORT = 1024


def service_of(values: Values) -> Service:
    """Which of the services they are of. Where nothing tells, they mean the same in both."""
    image = str((values.get("image") or {}).get("repository"))
    of_ingester = INGESTER in image or "NAMESPACES" in (values.get("config") or {}) or values.keys() & _OF_INGESTER
    return INGESTER if of_ingester and not values.keys() & _OF_PRESENTER else PRESENTER


def translated(given: Mapping[Service, Values]) -> tuple[Values, list[str]]:
    """Values of this chart, and a line for each of theirs that could not be translated."""
    translation = _Translation(given)
    return {name: value for name, value in translation.values().items() if not _is_empty(value)}, translation.told


class _Translation:
    """Of what both say, and can be said once only, the presenter's word counts; of the database the ingester's."""

    def __init__(self, given: Mapping[Service, Values]) -> None:
        self._presenter, self._ingester = (_without_empty(given.get(service)) for service in (PRESENTER, INGESTER))
        self.told: list[str] = []

    def values(self) -> Values:
        """The translation; tells what it leaves out."""
        config = self._config()
        found = {"config": config, **self._secrets(), **self._scale(), **self._service()}
        for theirs, ours in _SAME.items():
            found[ours] = self._agreed(theirs)
        if pull_policy := (self._presenter.get("image") or {}).get("pullPolicy"):
            found["image"] = {"pullPolicy": pull_policy}
        ready = parse_duration(config.get("DB_READY_TIMEOUT", "0")).total_seconds()
        if ready >= _STARTUP_SECONDS:
            found["startupSeconds"] = int(ready) + 60
        self._rest()
        return found

    def _tell(self, service: Service, path: str, reason: str) -> None:
        self.told.append(f"{service}: {path}: {reason}")

    def _agreed(self, name: str) -> Any:
        """What both say of a value: the items of both where it is a list."""
        first, second = self._presenter.get(name), self._ingester.get(name)
        if isinstance(first, list) and isinstance(second, list):
            return first + [each for each in second if each not in first]
        if first is not None and second is not None and first != second:
            self._tell(INGESTER, name, f"is {second}: the presenter's, {first}, counts for both")
        return second if first is None else first

    def _config(self) -> Values:
        reader, writer = (self._variables(*each) for each in self._both())
        merged: Values = writer | reader | self._databases(reader, writer)
        for service, config in ((PRESENTER, reader), (INGESTER, writer)):
            for name, value in config.items():
                if value != merged[name]:
                    self._tell(service, f"config.{name}", f"is {value}: {merged[name]} counts for both")
        if "DB_HOST" not in merged:
            self.told.append("config.DB_HOST: none of them says it: set it to the host of your PostgreSQL")
        return merged

    def _databases(self, reader: dict[str, str], writer: dict[str, str]) -> dict[str, str]:
        """What is said here where the two do not say the same of the database; taken from what they say."""
        found = {name: writer[name] for name in _OF_WHO_WRITES if name in writer}
        if "DB_HOST" in writer and reader.get("DB_HOST", writer["DB_HOST"]) != writer["DB_HOST"]:
            found["DB_PORT"] = writer.get("DB_PORT", "5432")
            found["DB_READ_HOST"], found["DB_READ_PORT"] = reader.pop("DB_HOST"), reader.pop("DB_PORT", "5432")
        if "DB_PARAMS" in reader and "DB_PARAMS" in writer:
            first, second = (dict(parse_qsl(config.pop("DB_PARAMS"), True)) for config in (writer, reader))
            found["DB_PARAMS"] = urlencode(second | first, safe="/")
            for name in first.keys() & second.keys():
                if first[name] != second[name]:
                    reason = f"has {name}={second[name]}: {first[name]} counts for both"
                    self._tell(PRESENTER, "config.DB_PARAMS", reason)
        return found

    def _variables(self, service: Service, values: Values) -> dict[str, str]:
        """The variables that can be kept, as text."""
        kept = {}
        for name, value in (values.get("config") or {}).items():
            text = str(value).lower() if isinstance(value, bool) else str(value)
            if (reason := _why_not(service, name, text)) is None:
                kept[name] = text
            else:
                self._tell(service, f"config.{name}", reason)
        return kept

    def _secrets(self) -> Values:
        names = {name: (self._presenter.get(name) or {}).get("name") for name in _OF_PRESENTER}
        writer = (self._ingester.get("secret") or {}).get("name")
        if writer and names["dbSecret"] not in (None, writer):
            self._tell(PRESENTER, "dbSecret.name", f"is {names['dbSecret']}: {writer}, of who writes, counts for both")
        found: Values = {"dbSecret": {"name": writer or names["dbSecret"] or "krateo-db"}}
        if names["signKeySecret"]:
            found["signKeySecret"] = {"name": names["signKeySecret"]}
        if names["jwtSignKeySecret"] or not names["signKeySecret"]:
            found["jwtSignKeySecret"] = {"name": names["jwtSignKeySecret"] or "jwt-sign-key"}
        if "create" in (endpoint := self._presenter.get("endpointSecret") or {}):
            found["endpointSecret"] = {"create": endpoint["create"]}
        return found

    def _scale(self) -> Values:
        scaling = self._presenter.get("autoscaling") or {}
        for name in ("replicaCount", "autoscaling"):
            value = self._ingester.get(name, 1)
            if value != 1 and not (isinstance(value, dict) and not value.get("enabled")):
                self._tell(INGESTER, name, _ONE_WATCHES)
        if not scaling.get("enabled"):
            replicas = self._presenter.get("replicaCount", 1)
            return {"components": {"run": {"replicas": replicas}}} if replicas != 1 else {}
        taken = ("enabled", "minReplicas", "maxReplicas", "targetCPUUtilizationPercentage")
        for name in scaling.keys() - set(taken):
            self._tell(PRESENTER, f"autoscaling.{name}", "pods are scaled by their CPU")
        kept = {name: scaling[name] for name in taken if name in scaling}
        return {"mode": "split", "components": {"serve": {"autoscaling": kept}}}

    def _service(self) -> Values:
        service = self._presenter.get("service") or {}
        if "service" in self._ingester:
            self._tell(INGESTER, "service", "there is one, which the presenter's values describe")
        for name in service.keys() - {"type", "port"}:
            self._tell(PRESENTER, f"service.{name}", "the chart's Service has a type and a port")
        return {"service": {name: service[name] for name in ("type", "port") if name in service}}

    def _rest(self) -> None:
        """Tell of what nothing was made of."""
        known = {*_SAME, *_OF_PRESENTER, "secret", "config", "image", "replicaCount", "autoscaling", "service"}
        for service, values in self._both():
            for name, value in values.items():
                if name == "image" and value.keys() != {"pullPolicy"}:
                    self._tell(
                        service, name, "is of the Go service: image.repository and image.tag are of this chart's"
                    )
                elif name in _OTHERWISE:
                    if not _is_default(name, value):
                        self._tell(service, name, _OTHERWISE[name])
                elif name not in known:
                    self._tell(service, name, "the chart of the Go service has no such value")

    def _both(self) -> tuple[tuple[Service, Values], tuple[Service, Values]]:
        return (PRESENTER, self._presenter), (INGESTER, self._ingester)


def _why_not(service: Service, name: str, text: str) -> str | None:
    """Why a variable cannot be kept; None where it can."""
    if name in _SECRETS:
        return f"comes from a Secret: make one with the key {name}, and name it in {_SECRETS[name]}"
    if name in go_services.VARIABLES:
        return go_services.VARIABLES[name]
    if name not in _VARIABLES:
        return "the Go services have no such variable"
    if name == "DB_READY_TIMEOUT":
        try:
            parse_duration(text)
        except ValueError as error:
            return f"is {text}: {error}"
    if name == "PORT" and service == INGESTER:
        return "there is one port, which the presenter's values name"
    if name == "PORT" and not (text.isdecimal() and int(text) >= _LEAST_PORT):
        return f"pods listen at {_LEAST_PORT} or above: service.port may be any"
    return None


def _is_default(name: str, value: Any) -> bool:
    """Whether it only says what holds anyway."""
    match name:
        case "ingress":
            return not value.get("enabled")
        case "serviceAccount":
            return bool(value.get("create", True)) and not value.get("name") and not value.get("annotations")
    return False


def _is_empty(value: Any) -> bool:
    return value in (None, "", [], {})


def _without_empty(values: Values | None) -> Values:
    """The values less those that say nothing, at any depth of mappings."""
    cleared = {
        name: _without_empty(value) if isinstance(value, dict) else value for name, value in (values or {}).items()
    }
    return {name: value for name, value in cleared.items() if not _is_empty(value)}
