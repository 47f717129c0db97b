"""The chart, rendered by the real helm and checked against the schemas of Kubernetes."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import jsonschema  # type: ignore[import-untyped]  # it has no annotations of its own
import kubernetes_validate
import pytest
import yaml

from presenter import __version__, go_services
from presenter.cache.pool import Address
from presenter.cache.watch_patterns import WatchPatterns
from presenter.config import GROUPS, Settings, variables
from presenter.errors import ConfigError
from tests.chart.helm import (
    CHART,
    EXAMPLES,
    NAME,
    Helm,
    Manifest,
    Manifests,
    Values,
    container,
    environment,
    example,
    having,
)

Render = Callable[[Values], Manifests]

OLDEST, NEWEST = "1.25", "1.37"
CUSTOM = {
    "Cluster": "postgresql.cnpg.io/v1",
    "PrometheusRule": "monitoring.coreos.com/v1",
    "ServiceMonitor": "monitoring.coreos.com/v1",
}
FROM_THE_CHART = {
    *("WATCH", "SHUTDOWN_GRACE"),
    *("DB_USER", "DB_PASS", "SIGN_KEY", "JWT_SIGN_KEY", "CURSOR_KEY", "METRICS_TOKEN"),
}
NOT_IN_A_POD = {"KUBECONFIG", "DATA_DIR"}
KRATEO = [
    f"{group}.krateo.io"
    for group in (
        *("widgets.templates", "templates", "core", "composition", "finops", "ai"),
        *("basic.authn", "ldap.authn", "oauth.authn", "oidc.authn"),
    )
]
DEFAULT = example("default")
SPLIT = example("split")


def pods(manifests: Manifests) -> dict[str, Manifest]:
    """The spec of every pod that a release brings, by the name of its workload."""
    found = {}
    for (kind, name), manifest in manifests.items():
        if kind == "Pod":
            found[name] = manifest["spec"]
        elif "template" in manifest.get("spec", {}):
            found[name] = manifest["spec"]["template"]["spec"]
    return found


@pytest.mark.parametrize("name", EXAMPLES)
def test_lint_has_nothing_to_say(helm: Helm, name: str) -> None:
    done = helm.run("lint", "--strict", str(CHART), values=example(name))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "[WARNING]" not in done.stdout
    assert "[INFO]" not in done.stdout


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_manifest_is_what_kubernetes_takes(render: Render, name: str) -> None:
    for (kind, _), manifest in render(example(name)).items():
        if kind in CUSTOM:
            assert manifest["apiVersion"] == CUSTOM[kind]
            continue
        for version in (OLDEST, NEWEST):
            kubernetes_validate.validate(manifest, version, strict=True)


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_variable_that_is_set_is_one_the_service_reads(render: Render, name: str) -> None:
    for pod in pods(render(example(name))).values():
        for one in [*pod["containers"], *pod.get("initContainers", ())]:
            if one["name"] in ("presenter", "migrate"):
                own = {variable["name"] for variable in example(name).get("extraEnv", ())}
                in_arguments = set(re.findall(r"\$\((\w+)\)", " ".join(one["args"])))
                assert set(environment(one)) - own - in_arguments <= set(variables()) | set(go_services.VARIABLES)


def test_config_takes_every_variable_of_the_service_and_no_other(helm: Helm) -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())
    taken = set(schema["properties"]["config"]["properties"])
    assert taken == set(variables()) - FROM_THE_CHART - NOT_IN_A_POD | set(go_services.VARIABLES)


def test_every_value_there_is_has_a_default(helm: Helm) -> None:
    """Or it is one of `config`: so that values.yaml lists them all."""
    schema = json.loads((CHART / "values.schema.json").read_text())
    printed = helm.run("show", "values", str(CHART)).stdout

    def missing(properties: Any, values: Any, path: str = "") -> list[str]:
        found = []
        for key, inner in properties.items():
            if key not in values:
                found.append(f"{path}{key}")
            elif path + key != "config":
                found += missing(inner.get("properties", {}), values[key], f"{path}{key}.")
        return found

    assert [gap for gap in missing(schema["properties"], yaml.safe_load(printed)) if not gap.endswith("claims")] == [
        "global"
    ]


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        (having(DEFAULT, "config.DB_HOST", None), "config.DB_HOST"),
        (having(DEFAULT, "signKeySecret", None), "signKeySecret.name"),
        (having(example("oidc"), "cursorKeySecret", None), "cursorKeySecret.name"),
        (having(DEFAULT, "postgres.enabled", True), "config.DB_HOST"),
        (having(example("postgres"), "cnpg.enabled", True), "set one of them"),
        (having(DEFAULT, "confg", {}), "confg"),
        (having(DEFAULT, "mode", "both"), "mode"),
        (having(DEFAULT, "config.WATCH", "pods"), "WATCH"),
        (having(DEFAULT, "config.DB_PASS", "secret"), "DB_PASS"),
        (having(DEFAULT, "config.DEBGU", True), "DEBGU"),
        (having(DEFAULT, "config.DEBUG", "maybe"), "DEBUG"),
        (having(DEFAULT, "config.MAX_INFLIGHT", "abc"), "MAX_INFLIGHT"),
        (having(DEFAULT, "config.DB_READ_PORT", 6432), "config.DB_READ_HOST"),
        (having(DEFAULT, "dbReadSecret.name", "reader"), "mode=split"),
        (having(having(SPLIT, "dbReadSecret.name", "reader"), "dbReadSecret.usrKey", "a"), "usrKey"),
        (having(having(example("postgres"), "dbReadSecret.name", "reader"), "mode", "split"), "dbReadSecret"),
        (having(example("oidc"), "config.JWKS_URL", "https://idp/keys"), "set one of them"),
        (having(DEFAULT, "service.port", 0), "port"),
        (having(DEFAULT, "watch", ["*.*.krateo.io"]), "write each group out"),
        (having(DEFAULT, "watch", ["pod*"]), "would also grant Secrets"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_wrong_or_missing_is_said(helm: Helm, values: Values, complaint: str) -> None:
    done = helm.template(values)
    assert done.returncode != 0
    assert complaint in done.stderr


@pytest.mark.parametrize("template", ["tests/page", "deployments"])
def test_everything_that_is_missing_is_said_at_once_whatever_is_rendered(helm: Helm, template: str) -> None:
    done = helm.template({}, "--show-only", f"templates/{template}.yaml")
    assert done.returncode != 0
    told, *missing = done.stderr.strip().splitlines()[:3]
    assert "templates/deployments.yaml" in told
    assert [line.split()[0] for line in missing] == ["config.DB_HOST", "signKeySecret.name"]
    assert done.stderr.count("\nsignKeySecret.name") == 1


@pytest.mark.parametrize(
    ("variable", "good", "bad"),
    [
        ("MAX_INFLIGHT", [1, 256, "300", ""], ["abc", 0, "0", -1, 1.5]),
        ("MAX_CONNECTIONS", [1, "1024"], ["many", 0]),
        ("MAX_IDLE_CONNECTIONS", [1, "512"], ["many", 0]),
        ("MAX_STREAMS", [1, "1000", ""], ["many", 0]),
        ("PAGINATION_DEFAULT_PAGE_SIZE", [50, "500", ""], ["many", 0, 5001]),
        ("PAGINATION_MAX_PAGE_SIZE", [500, "5000"], ["many", 0, 5001]),
        ("PAGINATION_MIN_PAGE_SIZE", [1, "10"], ["few", 0]),
        ("PAGINATION_CURSOR_THRESHOLD", [0, "10000"], [-1, "many"]),
        ("PAGINATION_MAX_OFFSET", [0, "100000"], [-1, "far"]),
        ("PAGINATION_COUNT_CACHE_TTL", [0, "300"], [-1, "5m"]),
        ("PAGINATION_CURSOR_ENABLED", [True, "false"], ["maybe"]),
        ("PAGINATION_INCLUDE_LINKS", [True, "false"], ["some"]),
        ("PAGINATION_DEFAULT_SORT_FIELD", ["name"], ["kind"]),
        ("PAGINATION_DEFAULT_SORT_ORDER", ["asc"], ["up"]),
        ("PAGINATION_BASE_URL", ["https://portal.example/api", ""], ["portal.example", "https://p/?a=b"]),
        ("TRUSTED_PROXIES", ["10.0.0.0/8, ::1", ""], ["proxy.example"]),
        ("MAX_INFLIGHT_BYTES", ["128Mi", "1Gi", 134217728, ""], ["128 MB", "1.5Gi", "128M", 0]),
        ("MAX_PAGE_BYTES", ["32Mi", 1048576], ["large", "1Ti"]),
        ("DB_PORT", [1, 5432, "6432", "65535", ""], ["http", 0, 65536, "65536", "543a"]),
        ("DB_READ_PORT", [6432, "6432", ""], ["abc", 0, "70000"]),
        ("QUERY_TIMEOUT", ["10s", "1h30m", "1.5s", "100ms", ""], ["10", "soon", "1 s", "-1s"]),
        ("DB_READY_TIMEOUT", ["0", "4m", ""], ["4", "4 m"]),
        ("RECONCILE_INTERVAL", ["0", "1h"], ["hourly", 3600]),
        ("CHANGES_RETENTION", ["24h", "90m", ""], ["a day", 24]),
        ("CHANGES_RETENTION_MAX", [0, 100000, "5000", ""], ["many", -1]),
        ("RBAC_MAX_STALENESS", ["5m"], ["five"]),
        ("SAR_CACHE_TTL", ["0", "10s"], ["ten"]),
        (
            "OTEL_EXPORTER_OTLP_ENDPOINT",
            ["http://collector:4318", "https://c/v1", ""],
            ["collector:4318", "http://", "x y"],
        ),
        ("JWKS_URL", ["https://idp:8443/keys?a=b", ""], ["idp/keys", "https://user@idp/keys"]),
        ("OIDC_ISSUER", ["https://idp/realms/a", ""], ["idp", "https://idp/?a=b"]),
        ("CLUSTER_NAME", ["prod-eu", ""], ["a b", "a/b", "a?", "x" * 254]),
        (
            "DB_HOST",
            ["db", "db.ns.svc", "10.0.0.1", "::1", "/run/postgresql"],
            ["db:5432", "postgres://db", "a,b", "a b"],
        ),
        ("DB_READ_HOST", ["a", "a, b", "a,::1", ""], ["a:5432", "http://a", "a b"]),
        ("DB_PARAMS", ["sslmode=require", "a=b&c=", ""], ["sslmode", "a=b&c"]),
        ("DEBUG", [True, "false"], ["maybe", 7]),
        ("LIST_VERB", ["get"], ["watch"]),
        ("DENIED_AS_EMPTY", [True, "false"], ["sometimes"]),
        ("UNKNOWN_PARAMETERS", ["refuse", "ignore"], ["some"]),
        ("CORS_ORIGINS", ["*", "https://a.example, http://localhost:3000", ""], ["a.example", "https://a.example/"]),
    ],
)
def test_config_takes_what_the_service_takes(variable: str, good: list[Any], bad: list[Any]) -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())
    takes = jsonschema.Draft7Validator(schema["properties"]["config"]).is_valid
    for value in (*good, *bad):
        assert takes({variable: value}) == (value in good), value
        if isinstance(value, bool):
            value = str(value).lower()
        assert _service_takes(variable, str(value)) == (value in good or str(value) in ("true", "false")), value


def test_every_number_of_config_has_bounds() -> None:
    """One that is added without is taken whatever it says, until the service is started with it."""
    schema = json.loads((CHART / "values.schema.json").read_text())["properties"]["config"]["properties"]
    loose = [name for name, kind in schema.items() if "integer" in kind.get("type", ()) and "minimum" not in kind]
    assert loose == []
    assert [
        name for name, kind in schema.items() if kind.get("type") == ["integer", "string"] and "pattern" not in kind
    ] == []
    durations = {
        field.alias for group in GROUPS for field in group.model_fields.values() if field.annotation is timedelta
    }
    assert {name for name in durations - FROM_THE_CHART if "pattern" not in schema[str(name)]} == set()


@pytest.mark.parametrize("port", [9000, "9000"])
def test_the_port_may_be_text_as_in_the_go_services_values(render: Render, port: int | str) -> None:
    manifests = render(having(DEFAULT, "config.PORT", port))
    one = container(manifests["Deployment", NAME])
    assert (environment(one)["PORT"], one["ports"][0]["containerPort"]) == ("9000", 9000)


@pytest.mark.parametrize("port", [1023, 65536, "80", "1023", "65536", "http"])
def test_a_port_that_pods_may_not_listen_at_is_refused(helm: Helm, port: int | str) -> None:
    done = helm.template(having(DEFAULT, "config.PORT", port))
    assert done.returncode != 0
    assert "PORT" in done.stderr


def test_large_numbers_stay_numbers(render: Render) -> None:
    values = having(having(DEFAULT, "config.MAX_PAGE_BYTES", 33554432), "config.MAX_INFLIGHT", 2000000)
    found = environment(container(render(values)["Deployment", NAME]))
    assert (found["MAX_PAGE_BYTES"], found["MAX_INFLIGHT"]) == ("33554432", "2000000")


def _service_takes(variable: str, text: str) -> bool:
    with pytest.MonkeyPatch.context() as environment:
        for name in variables():
            environment.delenv(name, raising=False)
        environment.setenv("DB_HOST", "db")
        environment.setenv("DB_USER", "somebody")
        environment.setenv(variable, text)
        if variable == "DB_READ_PORT":
            environment.setenv("DB_READ_HOST", "db")
        try:
            settings = Settings.from_environment()
            Address.of(settings.database)
            Address.for_reading(settings.database)
        except ConfigError:
            return False
    return True


def test_with_rules_of_ones_own_any_pattern_goes(render: Render) -> None:
    manifests = render(having(having(DEFAULT, "rbac.create", False), "watch", ["*.*.krateo.io", "*"]))
    assert not {kind for kind, _ in manifests} & {"ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding"}
    assert environment(container(manifests["Deployment", NAME]))["WATCH"] == "*.*.krateo.io,*"


def test_config_and_secrets_become_the_environment(render: Render) -> None:
    values = having(having(having(DEFAULT, "config.DB_PORT", 5433), "config.DEBUG", True), "signKeySecret.key", "JWT")
    assert environment(container(render(values)["Deployment", NAME])) == {
        "DB_HOST": "postgresql.databases.svc",
        "DB_NAME": "resources",
        "DB_PARAMS": "sslmode=require",
        "DB_PORT": "5433",
        "DEBUG": "true",
        "DB_USER": ("resources-presenter-db", "DB_USER"),
        "DB_PASS": ("resources-presenter-db", "DB_PASS"),
        "SIGN_KEY": ("jwt-sign-key", "JWT"),
        "SHUTDOWN_GRACE": "10s",
        "WATCH": ",".join([*(f"*.{group}" for group in KRATEO), "customresourcedefinitions.apiextensions.k8s.io"]),
    }


def test_krateos_own_secrets_are_found_by_their_names(render: Render) -> None:
    found = environment(container(render(example("krateo"))["Deployment", NAME]))
    assert (found["DB_USER"], found["DB_PASS"]) == (("krateo-db", "DB_USER"), ("krateo-db", "DB_PASS"))
    assert found["JWT_SIGN_KEY"] == ("jwt-sign-key", "JWT_SIGN_KEY")
    assert "SIGN_KEY" not in found


def test_the_token_of_scrapes_comes_from_a_secret(render: Render) -> None:
    scraped = having(DEFAULT, "metrics.serviceMonitor.enabled", True)
    own = render(scraped)
    assert environment(container(own["Deployment", NAME]))["METRICS_TOKEN"] == (f"{NAME}-metrics", "METRICS_TOKEN")
    (token,) = own["Secret", f"{NAME}-metrics"]["data"].values()
    assert len(base64.b64decode(token)) == 32
    given = render(having(scraped, "metrics.tokenSecret", {"name": "scrapes", "key": "token"}))
    assert environment(container(given["Deployment", NAME]))["METRICS_TOKEN"] == ("scrapes", "token")
    assert ("Secret", f"{NAME}-metrics") not in given
    for manifests, secret in (
        (own, {"name": f"{NAME}-metrics", "key": "METRICS_TOKEN"}),
        (given, {"name": "scrapes", "key": "token"}),
    ):
        (endpoint,) = manifests["ServiceMonitor", NAME]["spec"]["endpoints"]
        assert endpoint["authorization"] == {"credentials": secret}
    for open_to_all in (True, "true"):
        manifests = render(having(scraped, "config.ANONYMOUS_METRICS", open_to_all))
        assert "authorization" not in manifests["ServiceMonitor", NAME]["spec"]["endpoints"][0]
        assert environment(container(manifests["Deployment", NAME]))["ANONYMOUS_METRICS"] == "true"
        assert ("Secret", f"{NAME}-metrics") not in manifests
    assert "METRICS_TOKEN" not in environment(container(render(DEFAULT)["Deployment", NAME]))


def test_published_keys_need_no_shared_one(render: Render) -> None:
    found = environment(container(render(example("oidc"))["Deployment", NAME]))
    assert found["CURSOR_KEY"] == ("cursor-key", "CURSOR_KEY")
    assert "SIGN_KEY" not in found


def test_split_gives_each_pod_what_it_needs_and_no_more(render: Render) -> None:
    manifests = render(SPLIT)
    watch, serve = (manifests["Deployment", f"{NAME}-{component}"] for component in ("watch", "serve"))
    assert (container(watch)["args"], container(serve)["args"]) == (["watch"], ["serve"])
    assert "SIGN_KEY" not in environment(container(watch))
    assert "WATCH" not in environment(container(serve))
    assert pods(manifests)[f"{NAME}-watch"]["automountServiceAccountToken"] is True
    assert pods(manifests)[f"{NAME}-serve"]["automountServiceAccountToken"] is False
    assert watch["spec"]["replicas"] == 2
    assert "replicas" not in serve["spec"]  # or each upgrade would undo what the autoscaler decided
    assert manifests["HorizontalPodAutoscaler", f"{NAME}-serve"]["spec"]["scaleTargetRef"]["name"] == f"{NAME}-serve"
    assert pods(render(example("sar")))[f"{NAME}-serve"]["automountServiceAccountToken"] is True


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_schema_is_migrated_before_anything_reads_it(render: Render, name: str) -> None:
    manifests = render(example(name))
    if name in ("postgres", "cnpg"):  # hooks run before there is a database
        assert ("Job", f"{NAME}-migrate") not in manifests
        migrations = [pod["initContainers"][0] for owner, pod in pods(manifests).items() if owner == NAME]
    else:
        job = manifests["Job", f"{NAME}-migrate"]
        assert job["metadata"]["annotations"]["helm.sh/hook"] == "pre-install,pre-upgrade"
        # A hook runs before the rest of the release exists.
        assert "serviceAccountName" not in job["spec"]["template"]["spec"]
        migrations = [container(job)]
    (migration,) = migrations
    assert migration["args"][0] == "migrate"
    assert {"DB_HOST", "DB_USER", "DB_PASS"} <= set(environment(migration))
    assert not {"SIGN_KEY", "CURSOR_KEY"} & set(environment(migration))


@pytest.mark.parametrize("name", EXAMPLES)
def test_no_pod_can_do_more_than_it_must(render: Render, name: str) -> None:
    """The Pod Security Standard `restricted`, and a file system that is read only."""
    manifests = render(example(name))
    for pod in pods(manifests).values():
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["runAsUser"] > 0
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert "automountServiceAccountToken" in pod
        assert not [volume for volume in pod.get("volumes", ()) if "hostPath" in volume]
        for one in [*pod["containers"], *pod.get("initContainers", ())]:
            assert one["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert one["resources"]["requests"].keys() == {"cpu", "memory"}
            assert one["resources"]["limits"].keys() == {"memory"}
    for (kind, _), manifest in manifests.items():
        if kind == "ServiceAccount":
            assert manifest["automountServiceAccountToken"] is False


@pytest.mark.parametrize("values", [DEFAULT, SPLIT, example("postgres"), example("everything")])
def test_services_reach_their_pods_and_no_other(render: Render, values: Values) -> None:
    manifests = render(values)
    templates = {
        name: manifest["spec"]["template"]
        for (kind, name), manifest in manifests.items()
        if kind in ("Deployment", "StatefulSet", "Job")
    }
    for (kind, name), manifest in manifests.items():
        if kind != "Service":
            continue
        selector = manifest["spec"]["selector"].items()
        reached = [owner for owner, template in templates.items() if selector <= template["metadata"]["labels"].items()]
        assert reached == [f"{NAME}-serve" if name == NAME and "mode" in values else name]
        (port,) = manifest["spec"]["ports"]
        (only,) = templates[reached[0]]["spec"]["containers"]
        assert port["targetPort"] in {named["name"] for named in only["ports"]}
    for (kind, name), manifest in manifests.items():
        if kind in ("Deployment", "StatefulSet"):
            labels = templates[name]["metadata"]["labels"].items()
            assert manifest["spec"]["selector"]["matchLabels"].items() <= labels
        if kind == "PodDisruptionBudget":
            assert manifest["spec"]["selector"] == manifests["Deployment", name]["spec"]["selector"]


def test_the_port_is_the_same_everywhere(render: Render) -> None:
    manifests = render(having(DEFAULT, "config.PORT", 9000))
    only = container(manifests["Deployment", NAME])
    assert (environment(only)["PORT"], only["ports"][0]["containerPort"]) == ("9000", 9000)
    assert manifests["Service", NAME]["spec"]["ports"][0]["port"] == 8080


def test_probes_ask_what_the_service_answers(render: Render) -> None:
    only = container(render(having(DEFAULT, "startupSeconds", 601))["Deployment", NAME])
    paths = {probe: only[f"{probe}Probe"]["httpGet"]["path"] for probe in ("startup", "liveness", "readiness")}
    assert paths == {"startup": "/livez", "liveness": "/livez", "readiness": "/readyz"}
    assert only["startupProbe"]["periodSeconds"] * only["startupProbe"]["failureThreshold"] >= 601


def test_a_pod_is_given_the_time_it_takes_to_end(render: Render) -> None:
    deployment = render(example("everything"))["Deployment", f"{NAME}-serve"]
    only = container(deployment)
    assert only["lifecycle"]["preStop"]["exec"]["command"] == ["sleep", "10"]
    assert environment(only)["SHUTDOWN_GRACE"] == "30s"
    assert deployment["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] == 45


def test_restactions_find_the_service_by_its_secret(render: Render) -> None:
    endpoint = render(having(DEFAULT, "service.port", 9090))["Secret", "resources-presenter-endpoint"]
    assert endpoint["stringData"] == {
        "server-url": "http://resources-presenter.krateo-system.svc:9090",
        "insecure": "true",
    }
    without = render(having(DEFAULT, "endpointSecret.create", False))
    assert ("Secret", "resources-presenter-endpoint") not in without


def test_the_chart_is_of_the_programs_version(render: Render) -> None:
    assert container(render(DEFAULT)["Deployment", NAME])["image"] == f"resources-presenter:{__version__}"


def test_what_is_watched_by_default_may_be_read_and_is_of_krateo(render: Render) -> None:
    """A type that is watched and may not be read would keep the service from ever being ready."""
    manifests = render(DEFAULT)
    watched = WatchPatterns(environment(container(manifests["Deployment", NAME]))["WATCH"].split(","))
    for group in KRATEO:
        assert watched.selects(group, "anything")
    granted = {rule["apiGroups"][0] for rule in manifests["ClusterRole", NAME]["rules"]}
    assert granted == {
        "",
        "apiextensions.k8s.io",
        "rbac.authorization.k8s.io",
        *KRATEO,
    }


def test_the_rules_are_made_from_what_is_watched(render: Render) -> None:
    watch = ["pods", "deployments.apps", "statefulsets.apps", "*.composition.krateo.io", "x*.batch", "!jobs.batch"]
    read = ["list", "watch"]
    role = render(having(DEFAULT, "watch", watch))["ClusterRole", NAME]
    assert {(rule["apiGroups"][0], *rule["resources"]): rule["verbs"] for rule in role["rules"]} == {
        ("", "pods"): read,
        ("apps", "deployments", "statefulsets"): read,
        ("batch", "*"): read,
        ("composition.krateo.io", "*"): read,
        ("", "namespaces"): ["get"],
        ("rbac.authorization.k8s.io", "clusterroles", "clusterrolebindings", "roles", "rolebindings"): read,
    }


@pytest.mark.parametrize("name", EXAMPLES)
def test_no_rule_allows_to_change_anything_or_to_read_secrets(render: Render, name: str) -> None:
    for (kind, _), manifest in render(example(name)).items():
        for rule in manifest["rules"] if kind in ("ClusterRole", "Role") else ():
            assert rule["apiGroups"] != ["*"]
            if rule["resources"] != ["subjectaccessreviews"]:
                assert set(rule["verbs"]) <= {"get", "list", "watch"}
            if rule["apiGroups"] == [""]:
                assert not {"*", "secrets"} & set(rule["resources"])


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_rules_are_bound_to_accounts_that_pods_use(render: Render, name: str) -> None:
    manifests = render(example(name))
    used = {pod["serviceAccountName"] for pod in pods(manifests).values() if pod["automountServiceAccountToken"]}
    bound = set()
    for (kind, key), manifest in manifests.items():
        if kind in ("ClusterRoleBinding", "RoleBinding"):
            (subject,) = manifest["subjects"]
            assert (subject["kind"], subject["namespace"]) == ("ServiceAccount", "krateo-system")
            assert (manifest["roleRef"]["kind"], key) in manifests
            bound.add(subject["name"])
    assert bound == used
    assert {key for kind, key in manifests if kind == "ServiceAccount"} >= used


def test_reviews_are_asked_by_who_serves(render: Render) -> None:
    assert ("ClusterRole", f"{NAME}-reviews") not in render(DEFAULT)
    manifests = render(example("sar"))
    assert manifests["ClusterRole", f"{NAME}-reviews"]["rules"] == [
        {"apiGroups": ["authorization.k8s.io"], "resources": ["subjectaccessreviews"], "verbs": ["create"]}
    ]
    assert manifests["ClusterRoleBinding", f"{NAME}-reviews"]["subjects"][0]["name"] == f"{NAME}-serve"


def test_the_network_policy_lets_the_service_do_its_work(render: Render) -> None:
    policy = render(example("everything"))["NetworkPolicy", NAME]["spec"]
    (ingress,) = policy["ingress"]
    assert ingress["ports"] == [{"port": "http"}]
    own = {"app.kubernetes.io/name": NAME, "app.kubernetes.io/instance": NAME}
    assert {"podSelector": {"matchLabels": own}} in ingress["from"]  # helm test


@pytest.mark.parametrize(
    ("config", "ports"),
    [
        ({}, {5432}),
        ({"DB_PORT": 5433}, {5433}),
        ({"DB_PORT": "5433", "DB_READ_HOST": "replica"}, {5433}),
        ({"DB_READ_HOST": "pgbouncer", "DB_READ_PORT": 6432}, {5432, 6432}),
        ({"JWKS_URL": "https://idp.example.org:8443/keys"}, {5432, 8443}),
        ({"OIDC_ISSUER": "https://idp.example.org/realms/krateo"}, {5432}),
        ({"OIDC_ISSUER": "http://dex.dex.svc:5556/dex"}, {5432, 5556}),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector.monitoring.svc:4318"}, {5432, 4318}),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://[fd00::1]/v1"}, {5432, 80}),
    ],
)
def test_the_network_policy_follows_every_address_in_the_settings(
    render: Render, config: dict[str, Any], ports: set[int]
) -> None:
    values = having(DEFAULT, "config", DEFAULT["config"] | config) | {"networkPolicy": {"enabled": True}}
    assert _egress(render(values)) == {53, 443, 6443} | ports
    proxy = {"extraEnv": [{"name": "HTTPS_PROXY", "value": "http://proxy:3128"}, {"name": "NO_PROXY", "value": "db:1"}]}
    assert _egress(render(values | proxy)) == {53, 443, 6443, 3128} | ports


def _egress(manifests: Manifests) -> set[int]:
    policy = manifests["NetworkPolicy", NAME]
    kubernetes_validate.validate(policy, NEWEST, strict=True)
    return {port["port"] for rule in policy["spec"]["egress"] for port in rule.get("ports", ())}


@pytest.mark.parametrize("database", ["own", "cnpg"])
def test_pods_that_only_serve_log_in_with_a_user_of_their_own(render: Render, database: str) -> None:
    values = SPLIT if database == "own" else example("cnpg") | {"mode": "split", "components": {}}
    manifests = render(having(values, "dbReadSecret", {"name": "reader", "userKey": "username"}))
    reader = {"DB_USER": ("reader", "username"), "DB_PASS": ("reader", "DB_PASS")}
    serve, watch = (environment(container(manifests["Deployment", f"{NAME}-{name}"])) for name in ("serve", "watch"))
    assert {name: serve[name] for name in reader} == reader
    assert "reader" not in {value[0] for value in watch.values() if isinstance(value, tuple)}
    migrations = [
        *(pod["initContainers"][0] for pod in pods(manifests).values() if "initContainers" in pod),
        *(container(manifests[key]) for key in manifests if key == ("Job", f"{NAME}-migrate")),
    ]
    assert migrations
    for migration in migrations:
        assert migration["args"] == ["migrate", "--reader", "$(READER)"]
        assert environment(migration)["READER"] == ("reader", "username")
        assert environment(migration)["DB_USER"][0] != "reader"


def test_a_database_by_cloudnativepg(render: Render) -> None:
    manifests = render(example("cnpg"))
    spec = manifests["Cluster", f"{NAME}-db"]["spec"]
    assert spec["bootstrap"]["initdb"] == {"database": "resources", "owner": "presenter"}
    assert spec["postgresql"] == {"parameters": {"shared_buffers": "512MB"}}
    # As its operator names them.
    found = environment(container(manifests["Deployment", NAME]))
    assert (found["DB_HOST"], found["DB_NAME"]) == (f"{NAME}-db-rw", "resources")
    assert found["DB_USER"] == (f"{NAME}-db-app", "username")
    assert found["DB_PASS"] == (f"{NAME}-db-app", "password")


def test_notes_can_be_pasted(helm: Helm) -> None:
    done = helm.run("install", NAME, str(CHART), "--dry-run=client", values=SPLIT)
    assert done.returncode == 0, done.stderr
    notes = done.stdout.partition("NOTES:")[2]
    assert f"port-forward service/{NAME} 8080:8080" in notes
    assert f"exec deployment/{NAME}-serve -- presenter token" in notes
    assert re.search(r"curl -s .*'http://localhost:8080/resources\?", notes)
