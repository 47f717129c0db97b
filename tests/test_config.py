"""Settings: what each variable may be, what it is when absent, and what a wrong one is told."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from presenter import go_services
from presenter.config import DEFAULT_WATCH, GROUPS, PoolParameters, Settings, parse_duration, variables
from presenter.errors import ConfigError


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """No variable of this program is set, whatever the machine the tests run on has."""
    for name in (*variables(), *go_services.VARIABLES):
        monkeypatch.delenv(name, raising=False)


def test_with_nothing_set_the_defaults_hold() -> None:
    settings = Settings.from_environment()
    assert settings.http.port == 8080
    assert settings.log.debug is False
    assert settings.database.host is None
    assert settings.database.port == 5432
    assert settings.database.params == {}
    assert settings.database.ready_timeout == timedelta(minutes=4)
    assert settings.database.data_dir is None
    assert settings.database.read_host == ()
    assert settings.database.read_port is None
    assert settings.database.query_timeout == timedelta(seconds=10)
    assert settings.http.max_inflight == 256
    assert settings.http.max_page_bytes == 32 * 2**20
    assert settings.cluster.kubeconfig is None
    assert settings.cluster.name is None
    assert settings.cluster.namespaces == ()
    assert settings.cluster.watch == DEFAULT_WATCH
    assert settings.auth.sign_key is None
    assert settings.cluster.cache_secret_data is False
    assert settings.auth.issuer is None
    assert settings.auth.groups_claim == "groups"
    assert settings.access.authorizer == "rbac"
    assert settings.access.list_verb == "list"
    assert settings.access.denied_as_empty is False
    assert settings.http.unknown_parameters == "refuse"
    assert settings.access.rbac_max_staleness == timedelta(minutes=5)
    assert settings.access.sar_cache_ttl == timedelta(seconds=10)


def test_every_variable_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    environment = {
        "PORT": "0",
        "DEBUG": "true",
        "DB_HOST": "database.example",
        "DB_PORT": "6432",
        "DB_NAME": "cache",
        "DB_USER": "presenter",
        "DB_PASS": "p4ss",
        "DB_PARAMS": "sslmode=require&connect_timeout=5&pool_max_conns=9",
        "DB_READY_TIMEOUT": "1h30m",
        "DATA_DIR": "/data",
        "KUBECONFIG": "/a:/b",
        "CLUSTER_NAME": "prod-1",
        "NAMESPACES": "krateo-system, demo-system",
        "WATCH": "pods,!*.*.krateo.io",
        "SIGN_KEY": "k3y",
        "JWT_SIGN_KEY": "k3y",
        "JWT_ISSUER": "issuer",
        "CURSOR_KEY": "curs0r",
        "JWKS_URL": "https://issuer.example/keys",
        "OIDC_ISSUER": "https://issuer.example",
        "JWT_AUDIENCE": "presenter",
        "JWT_USERNAME_CLAIM": "email",
        "JWT_GROUPS_CLAIM": "roles",
        "CACHE_SECRET_DATA": "true",
        "AUTHORIZER": "sar",
        "LIST_VERB": "get",
        "DENIED_AS_EMPTY": "true",
        "UNKNOWN_PARAMETERS": "ignore",
        "CORS_ORIGINS": "https://portal.example, http://localhost:3000",
        "RBAC_MAX_STALENESS": "90s",
        "SAR_CACHE_TTL": "1m",
        "RECONCILE_INTERVAL": "20m",
        "CHANGES_RETENTION": "90m",
        "CHANGES_RETENTION_MAX": "5000",
        "SHUTDOWN_GRACE": "25s",
        "MAX_INFLIGHT": "9",
        "MAX_INFLIGHT_BYTES": "1Gi",
        "MAX_PAGE_BYTES": "65536Ki",
        "PAGE_CACHE_BYTES": "1Mi",
        "MAX_CONNECTIONS": "99",
        "MAX_IDLE_CONNECTIONS": "33",
        "MAX_STREAMS": "44",
        "PAGINATION_MAX_PAGE_SIZE": "1000",
        "PAGINATION_MIN_PAGE_SIZE": "5",
        "PAGINATION_DEFAULT_PAGE_SIZE": "100",
        "PAGINATION_CURSOR_ENABLED": "false",
        "PAGINATION_CURSOR_THRESHOLD": "77",
        "PAGINATION_MAX_OFFSET": "88",
        "PAGINATION_DEFAULT_SORT_FIELD": "name",
        "PAGINATION_DEFAULT_SORT_ORDER": "asc",
        "PAGINATION_COUNT_CACHE_TTL": "0",
        "PAGINATION_INCLUDE_LINKS": "false",
        "PAGINATION_BASE_URL": "https://portal.example/api",
        "TRUSTED_PROXIES": "10.0.0.0/8, ::1",
        "QUERY_TIMEOUT": "2500ms",
        "DB_READ_HOST": "replica-1, replica-2",
        "DB_READ_PORT": "6433",
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318",
        "OTEL_ENABLED": "false",
        "METRICS_TOKEN": "a token for scrapes",
        "ANONYMOUS_METRICS": "true",
    }
    assert environment.keys() == variables().keys()
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    settings = Settings.from_environment()
    assert settings.http.port == 0
    assert settings.log.debug is True
    assert settings.log.otlp_endpoint == "http://collector:4318"
    assert settings.log.otel_enabled is False
    assert settings.metrics.token is not None
    assert settings.metrics.token.get_secret_value() == "a token for scrapes"
    assert settings.metrics.anonymous is True
    assert settings.database.host == "database.example"
    assert settings.database.port == 6432
    assert settings.database.name == "cache"
    assert settings.database.user == "presenter"
    assert settings.database.password is not None
    assert settings.database.password.get_secret_value() == "p4ss"
    assert settings.database.connection_params == {"sslmode": "require", "connect_timeout": "5"}
    assert settings.database.pool.most == 9
    assert settings.database.ready_timeout == timedelta(hours=1, minutes=30)
    assert settings.database.data_dir == Path("/data")
    assert settings.cluster.kubeconfig == "/a:/b"
    assert settings.cluster.name == "prod-1"
    assert settings.cluster.namespaces == ("krateo-system", "demo-system")
    assert settings.cluster.watch == ("pods", "!*.*.krateo.io")
    assert settings.cluster.reconcile_interval == timedelta(minutes=20)
    assert settings.cluster.changes_retention == timedelta(minutes=90)
    assert settings.cluster.changes_retention_max == 5000
    assert settings.http.shutdown_grace == timedelta(seconds=25)
    assert settings.http.drain_seconds == 20
    assert settings.http.max_inflight == 9
    assert settings.http.max_inflight_bytes == 2**30
    assert settings.http.max_page_bytes == 2**26
    assert settings.http.max_connections == 99
    assert settings.http.max_idle_connections == 33
    assert settings.http.streams == 44
    assert settings.pagination.max_page_size == 1000
    assert settings.pagination.min_page_size == 5
    assert settings.pagination.default_page_size == 100
    assert settings.pagination.cursor_enabled is False
    assert settings.pagination.cursor_threshold == 77
    assert settings.pagination.max_offset == 88
    assert settings.pagination.default_sort_field == "name"
    assert settings.pagination.default_sort_order == "asc"
    assert settings.pagination.count_cache_ttl == 0
    assert settings.pagination.include_links is False
    assert settings.pagination.base_url == "https://portal.example/api"
    assert list(map(str, settings.pagination.trusted_proxies)) == ["10.0.0.0/8", "::1/128"]
    assert settings.database.query_timeout == timedelta(seconds=2.5)
    assert settings.database.read_host == ("replica-1", "replica-2")
    assert settings.database.read_port == 6433
    assert settings.auth.require_sign_key() == b"k3y"
    assert settings.auth.issuer == "issuer"
    assert settings.auth.require_cursor_key() == b"curs0r"
    assert settings.auth.jwks_url == "https://issuer.example/keys"
    assert settings.auth.oidc_issuer == "https://issuer.example"
    assert settings.auth.audience == "presenter"
    assert settings.auth.username_claim == "email"
    assert settings.auth.groups_claim == "roles"
    assert settings.cluster.cache_secret_data is True
    assert settings.access.authorizer == "sar"
    assert settings.access.list_verb == "get"
    assert settings.access.denied_as_empty is True
    assert settings.http.unknown_parameters == "ignore"
    assert settings.http.cors_origins == ("https://portal.example", "http://localhost:3000")
    assert settings.access.rbac_max_staleness == timedelta(seconds=90)
    assert settings.access.sar_cache_ttl == timedelta(minutes=1)


@pytest.mark.parametrize("name", variables())
def test_an_empty_variable_counts_as_absent(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    defaults = Settings.from_environment()
    monkeypatch.setenv(name, "")
    assert Settings.from_environment() == defaults


@pytest.mark.parametrize("name", ["port", "host", "name", "user", "watch", "data_dir", "db_host", "Port"])
def test_only_the_documented_names_are_read(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    defaults = Settings.from_environment()
    monkeypatch.setenv(name, "1234")
    assert Settings.from_environment() == defaults


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "http"),
        ("PORT", "-1"),
        ("PORT", "65536"),
        ("DEBUG", "perhaps"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4317"),
        ("DB_PORT", "0"),
        ("DB_PORT", "5432/tcp"),
        ("DB_PARAMS", "sslmode"),
        ("DB_PARAMS", "sslmode=disable&&"),
        ("DB_PARAMS", "pool_max_conns=0"),
        ("DB_PARAMS", "pool_min_conns=some"),
        ("DB_PARAMS", "pool_max_conn_idle_time=30"),
        ("DB_READY_TIMEOUT", "4"),
        ("DB_READY_TIMEOUT", "-4m"),
        ("DB_READY_TIMEOUT", "4 minutes"),
        ("MAX_INFLIGHT", "0"),
        ("MAX_INFLIGHT_BYTES", "8Mi"),
        ("MAX_INFLIGHT_BYTES", "1Ti"),
        ("MAX_INFLIGHT_BYTES", "-1Gi"),
        ("MAX_PAGE_BYTES", "1Ki"),
        ("MAX_PAGE_BYTES", "32MB"),
        ("MAX_PAGE_BYTES", "121Mi"),
        ("PAGE_CACHE_BYTES", "-1"),
        ("PAGE_CACHE_BYTES", "none"),
        ("MAX_CONNECTIONS", "0"),
        ("MAX_IDLE_CONNECTIONS", "some"),
        ("MAX_STREAMS", "0"),
        ("MAX_STREAMS", "1024"),
        ("PAGINATION_MAX_PAGE_SIZE", "0"),
        ("PAGINATION_MAX_PAGE_SIZE", "5001"),
        ("PAGINATION_MIN_PAGE_SIZE", "501"),
        ("PAGINATION_DEFAULT_PAGE_SIZE", "501"),
        ("PAGINATION_DEFAULT_PAGE_SIZE", "-50"),
        ("PAGINATION_CURSOR_ENABLED", "perhaps"),
        ("PAGINATION_CURSOR_THRESHOLD", "-1"),
        ("PAGINATION_MAX_OFFSET", "far"),
        ("PAGINATION_DEFAULT_SORT_FIELD", "kind"),
        ("PAGINATION_DEFAULT_SORT_ORDER", "up"),
        ("PAGINATION_COUNT_CACHE_TTL", "-1"),
        ("PAGINATION_INCLUDE_LINKS", "some"),
        ("PAGINATION_BASE_URL", "portal.example"),
        ("TRUSTED_PROXIES", "proxy.example"),
        ("DB_READ_PORT", "0"),
        ("QUERY_TIMEOUT", "10"),
        ("CLUSTER_NAME", "two words"),
        ("CLUSTER_NAME", "a/b"),
        ("CLUSTER_NAME", "c" * 254),
        ("JWKS_URL", "file:///keys"),
        ("OIDC_ISSUER", "issuer.example"),
        ("CACHE_SECRET_DATA", "some"),
        ("AUTHORIZER", "nobody"),
        ("LIST_VERB", "watch"),
        ("DENIED_AS_EMPTY", "sometimes"),
        ("UNKNOWN_PARAMETERS", "some"),
        ("CORS_ORIGINS", "portal.example"),
        ("CORS_ORIGINS", "https://portal.example/"),
        ("RBAC_MAX_STALENESS", "5"),
        ("SAR_CACHE_TTL", "ten seconds"),
    ],
)
def test_a_wrong_value_is_refused_by_name(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError) as refusal:
        Settings.from_environment()
    assert refusal.value.message.startswith(f"{name} is {value!r}: ")


def test_the_pool_is_what_its_parameters_say(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DB_PARAMS", "pool_max_conns=1&pool_min_conns=4&pool_max_conn_idle_time=90s")
    assert Settings.from_environment().database.pool == PoolParameters(2, 2, timedelta(seconds=90))
    monkeypatch.setenv("DB_PARAMS", "pool_max_conn_lifetime=soon&statement_cache_capacity=512&sslmode=disable")
    settings = Settings.from_environment()
    assert settings.database.pool == PoolParameters(6, 0, timedelta(minutes=5))
    assert settings.database.connection_params == {"sslmode": "disable"}
    assert settings.unneeded.keys() == {"pool_max_conn_lifetime in DB_PARAMS", "statement_cache_capacity in DB_PARAMS"}


def test_a_wrong_parameter_of_the_pool_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DB_PARAMS", "sslmode=disable&pool_max_conns=many")
    with pytest.raises(ConfigError, match="pool_max_conns is 'many': allowed is a whole number from 1 to 9999"):
        Settings.from_environment()


@pytest.mark.parametrize("name", go_services.VARIABLES)
def test_what_the_go_services_need_is_accepted_and_told_of(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    defaults = Settings.from_environment()
    monkeypatch.setenv(name, "whatever they make of it")
    settings = Settings.from_environment()
    assert settings == replace(defaults, unneeded={name: go_services.VARIABLES[name]})


@pytest.mark.parametrize(
    ("environment", "told"),
    [
        ({"OTEL_ENABLED": "true"}, True),
        ({"OTEL_ENABLED": "false"}, False),
        ({"OTEL_ENABLED": "true", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"}, False),
    ],
)
def test_traces_without_a_place_to_go_are_told_of(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], told: bool
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert ("OTEL_ENABLED" in Settings.from_environment().unneeded) is told


@pytest.mark.parametrize(
    "environment", [{"SIGN_KEY": "k"}, {"JWT_SIGN_KEY": "k"}, {"SIGN_KEY": "k", "JWT_SIGN_KEY": "k"}], ids=str
)
def test_the_sign_key_has_two_names(monkeypatch: pytest.MonkeyPatch, environment: dict[str, str]) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    auth = Settings.from_environment().auth
    auth.require_token_keys()
    assert (auth.require_sign_key(), auth.require_cursor_key()) == (b"k", b"k")


def test_two_sign_keys_are_an_error_that_shows_neither(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIGN_KEY", "one-key")
    monkeypatch.setenv("JWT_SIGN_KEY", "another-key")
    with pytest.raises(ConfigError) as refusal:
        Settings.from_environment()
    assert refusal.value.message == (
        "JWT_SIGN_KEY is a secret value: SIGN_KEY is another one: set one of the two, or both to the same key"
    )


def test_a_page_leaves_room_in_what_all_answers_may_take(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAX_PAGE_BYTES", "56Mi")
    monkeypatch.setenv("MAX_INFLIGHT_BYTES", "64Mi")
    assert Settings.from_environment().http.max_page_bytes == 56 * 2**20
    monkeypatch.setenv("MAX_INFLIGHT_BYTES", "63Mi")
    with pytest.raises(
        ConfigError, match=r"MAX_PAGE_BYTES is '56Mi': MAX_INFLIGHT_BYTES \(63Mi\) must be at least 8Mi"
    ):
        Settings.from_environment()


def test_secrets_are_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DB_PASS", "SIGN_KEY", "CURSOR_KEY"):
        monkeypatch.setenv(name, "n0t-to-be-seen")
    assert "n0t-to-be-seen" not in repr(Settings.from_environment())


def test_a_missing_sign_key_is_asked_for_by_name() -> None:
    with pytest.raises(ConfigError, match="SIGN_KEY is not set"):
        Settings.from_environment().auth.require_sign_key()


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0),
        ("90s", 90),
        ("4m", 240),
        ("1h30m", 5400),
        ("1.5h", 5400),
        ("250ms", 0.25),
        ("3us", 3e-6),
        ("3µs", 3e-6),
        ("1h1m1s", 3661),
    ],
)
def test_a_duration_is_read_as_go_reads_it(text: str, seconds: float) -> None:
    assert parse_duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["", "4", "-4m", "4 m", "m", "4d", "1h30", "1,5h", "1e3s", "４m"])
def test_anything_else_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match="90s, 4m or 1h30m"):
        parse_duration(text)


def test_a_duration_beyond_what_can_be_counted_is_refused() -> None:
    with pytest.raises(ValueError, match="999999999 days"):
        parse_duration("99999999999999h")


@given(hours=st.integers(0, 99), minutes=st.integers(0, 999), seconds=st.integers(0, 999))
def test_the_parts_of_a_duration_add_up(hours: int, minutes: int, seconds: int) -> None:
    expected = timedelta(hours=hours, minutes=minutes, seconds=seconds)
    assert parse_duration(f"{hours}h{minutes}m{seconds}s") == expected


@given(st.lists(st.text("abc.*!-", min_size=1), max_size=4), st.sampled_from([",", ", ", " ,", ",,"]))
def test_a_list_may_be_spaced_and_hold_empty_places(parts: list[str], comma: str) -> None:
    (cluster,) = (group for group in GROUPS if "watch" in group.model_fields)
    settings = cluster.model_validate({"NAMESPACES": comma.join(parts)})
    assert settings.model_dump()["namespaces"] == tuple(parts)


def test_every_variable_is_described() -> None:
    assert len(variables()) == sum(len(group.model_fields) for group in GROUPS)
    for name, (_, description) in variables().items():
        assert name.isupper(), name
        assert description, name
