"""Settings, in small groups, read once from the environment. Nothing else in the project reads the environment."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self
from urllib.parse import parse_qsl, urlencode

from pydantic import BeforeValidator, ByteSize, Field, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from presenter import go_services
from presenter.errors import ConfigError

ROWS_OF_A_PAGE = 8 * 2**20
"""Bytes that the largest page takes beside its objects' documents."""

PAGE_CONNECTIONS = 6
"""Connections to the database on which a process reads pages, unless DB_PARAMS has `pool_max_conns`."""

DEFAULT_WATCH = ("*.*.krateo.io", "customresourcedefinitions.apiextensions.k8s.io")

_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_DURATION_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ns|us|µs|ms|s|m|h)")
_DURATION = re.compile(rf"(?:{_DURATION_PART.pattern})+")

_BYTES_UNITS = {"": 1, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30}
_BYTES = re.compile(r"([0-9]+)(Ki|Mi|Gi|)")


def parse_duration(text: str) -> timedelta:
    """A duration as Go's time.ParseDuration reads it, without the sign: `90s`, `4m`, `1h30m`.

    Raises ValueError for anything else.
    """
    if text != "0" and not _DURATION.fullmatch(text):
        raise ValueError("a duration is written like 90s, 4m or 1h30m")
    seconds = sum(float(number) * _UNITS[unit] for number, unit in _DURATION_PART.findall(text))
    try:
        return timedelta(seconds=seconds)
    except OverflowError as error:
        raise ValueError("a duration of more than 999999999 days cannot be waited for") from error


def _duration(value: object) -> object:
    return parse_duration(value) if isinstance(value, str) else value


def parse_bytes(text: str) -> int:
    """A number of bytes as Kubernetes writes quantities of memory: `32Mi`, `1Gi`, `33554432`.

    Raises ValueError for anything else.
    """
    if (parts := _BYTES.fullmatch(text)) is None:
        raise ValueError("a number of bytes is written like 32Mi, 1Gi or 33554432")
    return int(parts[1]) * _BYTES_UNITS[parts[2]]


def _bytes(value: object) -> object:
    return parse_bytes(value) if isinstance(value, str) else value


def _comma_separated(value: object) -> object:
    if isinstance(value, str):
        return tuple(part for part in (piece.strip() for piece in value.split(",")) if part)
    return value


def _connection_parameters(value: object) -> object:
    if isinstance(value, str):
        return dict(parse_qsl(value, keep_blank_values=True, strict_parsing=bool(value)))
    return value


def _networks(value: object) -> object:
    parts = _comma_separated(value)
    return tuple(ip_network(part) for part in parts) if isinstance(value, str) and isinstance(parts, tuple) else value


Duration = Annotated[timedelta, BeforeValidator(_duration)]
Bytes = Annotated[ByteSize, BeforeValidator(_bytes)]
Networks = Annotated[tuple[IPv4Network | IPv6Network, ...], NoDecode, BeforeValidator(_networks)]
CommaSeparated = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_comma_separated)]
ConnectionParameters = Annotated[dict[str, str], NoDecode, BeforeValidator(_connection_parameters)]


class _Group(BaseSettings):
    """One group. An empty variable counts as an absent one, as in a Helm chart that leaves a value out."""

    model_config = SettingsConfigDict(
        case_sensitive=True,
        env_ignore_empty=True,
        # Code may also set a field by its own name; the environment may not: no variable's name begins with "=".
        populate_by_name=True,
        env_prefix="=",
        frozen=True,
        extra="ignore",
    )


class HttpSettings(_Group):
    """Where the service listens, what it takes on, and how it ends."""

    port: int = Field(
        8080, alias="PORT", ge=0, le=65535, description="port the HTTP service listens on (0: any free one)"
    )
    shutdown_grace: Duration = Field(
        timedelta(seconds=10),
        alias="SHUTDOWN_GRACE",
        description="how long it may take to end: to answer what was asked and to store what was received",
    )

    max_inflight: int = Field(
        256,
        alias="MAX_INFLIGHT",
        ge=1,
        description="how many requests for resources each process takes on at once, until their answers are sent; more "
        "are told to come again (429)",
    )
    max_inflight_bytes: Bytes = Field(
        ByteSize(128 * 2**20),
        alias="MAX_INFLIGHT_BYTES",
        ge=ROWS_OF_A_PAGE + 2**20,
        description="how many bytes of objects each process holds at once that are read for answers and not yet sent; "
        "at least 8Mi more than MAX_PAGE_BYTES",
    )
    max_page_bytes: Bytes = Field(
        ByteSize(32 * 2**20),
        alias="MAX_PAGE_BYTES",
        ge=2**20,
        description="how many bytes of objects (raw, status_raw) a page holds: one with more ends early, with a cursor",
    )
    unknown_parameters: Literal["refuse", "ignore"] = Field(
        "refuse",
        alias="UNKNOWN_PARAMETERS",
        description="what becomes of parameters that are unknown or repeated: a 400 that names them, or, as in the Go "
        "service, nothing, and the first counts",
    )
    page_cache_bytes: Bytes = Field(
        ByteSize(32 * 2**20),
        alias="PAGE_CACHE_BYTES",
        ge=0,
        description="how many bytes of pages each process keeps, as they went out, until something in them changes; "
        "0: none",
    )
    cors_origins: CommaSeparated = Field(
        (),
        alias="CORS_ORIGINS",
        description="origins, such as `https://portal.example`, whose pages' scripts may read answers; `*`: all; "
        "absent: none",
    )
    max_connections: int = Field(
        1024,
        alias="MAX_CONNECTIONS",
        ge=1,
        description="how many connections each process keeps open; those go first that were idle for longest",
    )
    max_idle_connections: int = Field(
        512,
        alias="MAX_IDLE_CONNECTIONS",
        ge=1,
        description="how many of these may be idle",
    )
    max_streams: int | None = Field(
        None,
        alias="MAX_STREAMS",
        ge=1,
        description="how many streams of changes each process sends at once, fewer than MAX_CONNECTIONS; more are told "
        "to come again (429); absent: half of MAX_CONNECTIONS",
    )

    @field_validator("max_streams")
    @classmethod
    def _leaves_connections_for_pages(cls, value: int | None, others: ValidationInfo) -> int | None:
        if value is not None and value >= (most := others.data.get("max_connections", value + 1)):
            raise ValueError(f"it must be less than MAX_CONNECTIONS ({most}), or no page could be asked for")
        return value

    @property
    def streams(self) -> int:
        """How many streams of changes there may be."""
        return self.max_streams or max(1, self.max_connections // 2)

    @field_validator("cors_origins")
    @classmethod
    def _are_origins(cls, origins: tuple[str, ...]) -> tuple[str, ...]:
        for origin in origins:
            if origin != "*" and not re.fullmatch(r"https?://[^\s/?#@]+", origin):
                raise ValueError(f"{origin} is no origin: allowed is one like https://portal.example, or *")
        return origins

    @field_validator("max_page_bytes")
    @classmethod
    def _leaves_room_for_its_rows(cls, value: ByteSize, others: ValidationInfo) -> ByteSize:
        most = others.data.get("max_inflight_bytes", value + ROWS_OF_A_PAGE)
        if value + ROWS_OF_A_PAGE > most:
            raise ValueError(f"MAX_INFLIGHT_BYTES ({_written(most)}) must be at least 8Mi more")
        return value

    @property
    def drain_seconds(self) -> int:
        """The share of the grace for what is under way; the rest is for letting go of the lease and the database."""
        return int(0.8 * self.shutdown_grace.total_seconds())


class PaginationSettings(_Group):
    """Numbered pages: their sizes and order, how far numbers lead, and what is told beside them."""

    max_page_size: int = Field(
        500, alias="PAGINATION_MAX_PAGE_SIZE", ge=1, le=5000, description="greatest `per_page` that may be asked for"
    )
    min_page_size: int = Field(
        1, alias="PAGINATION_MIN_PAGE_SIZE", ge=1, le=5000, description="least `per_page` that may be asked for"
    )
    default_page_size: int = Field(
        50, alias="PAGINATION_DEFAULT_PAGE_SIZE", ge=1, le=5000, description="`per_page` where none is asked for"
    )
    cursor_enabled: bool = Field(
        True,
        alias="PAGINATION_CURSOR_ENABLED",
        description="give and take cursors on numbered pages, too; otherwise they go by number only",
    )
    cursor_threshold: int = Field(
        10_000,
        alias="PAGINATION_CURSOR_THRESHOLD",
        ge=0,
        description="with more items than this, links lead by cursor and no longer by number",
    )
    max_offset: int = Field(
        100_000,
        alias="PAGINATION_MAX_OFFSET",
        ge=0,
        description="how many items may lie before a page that is asked for by number",
    )
    default_sort_field: Literal["created_at", "updated_at", "name", "resource", "global_uid", "composition_id"] = Field(
        "created_at", alias="PAGINATION_DEFAULT_SORT_FIELD", description="`sort_by` where none is asked for"
    )
    default_sort_order: Literal["asc", "desc"] = Field(
        "desc", alias="PAGINATION_DEFAULT_SORT_ORDER", description="`sort_order` where none is asked for"
    )
    count_cache_ttl: int = Field(
        300,
        alias="PAGINATION_COUNT_CACHE_TTL",
        ge=0,
        description="seconds for which a total is remembered at most, while nothing changes; 0: it is not",
    )
    include_links: bool = Field(
        True, alias="PAGINATION_INCLUDE_LINKS", description="put links into answers, and into their `Link` header"
    )
    base_url: str | None = Field(
        None,
        alias="PAGINATION_BASE_URL",
        pattern=r"^https?://[^\s/?#@]+(/[^\s?#]*)?$",
        description="what links begin with; absent: nothing, or what one of TRUSTED_PROXIES says",
    )
    trusted_proxies: Networks = Field(
        (),
        alias="TRUSTED_PROXIES",
        description="comma-separated addresses and networks (`10.0.0.0/8`) of proxies whose `X-Forwarded-Proto`, "
        "`-Host` and `-Prefix` links follow",
    )

    @field_validator("min_page_size")
    @classmethod
    def _not_above_the_greatest(cls, value: int, others: ValidationInfo) -> int:
        if value > others.data.get("max_page_size", value):
            raise ValueError(f"PAGINATION_MAX_PAGE_SIZE is {others.data['max_page_size']}, which is less")
        return value

    @field_validator("default_page_size")
    @classmethod
    def _within_the_bounds(cls, value: int, others: ValidationInfo) -> int:
        least, most = others.data.get("min_page_size", value), others.data.get("max_page_size", value)
        if not least <= value <= most:
            raise ValueError(f"PAGINATION_MIN_PAGE_SIZE and PAGINATION_MAX_PAGE_SIZE allow {least} to {most}")
        return value


class LogSettings(_Group):
    """How much it says, and to whom."""

    debug: bool = Field(False, alias="DEBUG", description="log at debug level")
    otlp_endpoint: str | None = Field(
        None,
        alias="OTEL_EXPORTER_OTLP_ENDPOINT",
        pattern=r"^https?://[^\s/?#]+(/\S*)?$",
        description="URL of an OpenTelemetry collector that takes traces by OTLP over HTTP; absent: no traces",
    )
    otel_enabled: bool = Field(
        True, alias="OTEL_ENABLED", description="`false`: no traces, whatever OTEL_EXPORTER_OTLP_ENDPOINT says"
    )


class MetricsSettings(_Group):
    """Who may read `/metrics` and `/readyz` in full."""

    token: SecretStr | None = Field(
        None,
        alias="METRICS_TOKEN",
        min_length=16,
        description="bearer token that lets `/metrics` and `/readyz` tell everything: types, counts and errors",
    )
    anonymous: bool = Field(
        False, alias="ANONYMOUS_METRICS", description="let `/metrics` and `/readyz` tell everything to anybody"
    )


class DatabaseSettings(_Group):
    """The PostgreSQL that holds the cache. Without `DB_HOST` it is a private one under `DATA_DIR`."""

    host: str | None = Field(None, alias="DB_HOST", description="PostgreSQL host; absent: an embedded PostgreSQL")
    port: int = Field(5432, alias="DB_PORT", ge=1, le=65535, description="PostgreSQL port")
    name: str | None = Field(None, alias="DB_NAME", description="database; absent: named like the user")
    user: str | None = Field(None, alias="DB_USER", description="PostgreSQL user")
    password: SecretStr | None = Field(None, alias="DB_PASS", description="its password")
    params: ConnectionParameters = Field(
        {},
        alias="DB_PARAMS",
        description="more connection parameters, e.g. `sslmode=require&connect_timeout=5`, and those of pgx's pool",
    )
    ready_timeout: Duration = Field(
        timedelta(minutes=4),
        alias="DB_READY_TIMEOUT",
        description="how long to wait for PostgreSQL at the start",
    )
    read_host: CommaSeparated = Field(
        (),
        alias="DB_READ_HOST",
        description="host of a replica that pages are read from, or several to try in this order; absent: DB_HOST",
    )
    read_port: int | None = Field(None, alias="DB_READ_PORT", ge=1, le=65535, description="its port; absent: DB_PORT")
    query_timeout: Duration = Field(
        timedelta(seconds=10),
        alias="QUERY_TIMEOUT",
        ge=timedelta(milliseconds=1),
        description="how long a query for a page may take before it is given up (503)",
    )
    data_dir: Path | None = Field(
        None,
        alias="DATA_DIR",
        description="where the embedded PostgreSQL keeps its files; absent: the user's data directory",
    )

    @field_validator("params")
    @classmethod
    def _names_a_pool_there_can_be(cls, params: dict[str, str]) -> dict[str, str]:
        PoolParameters.of(params)
        return params

    @property
    def pool(self) -> PoolParameters:
        """What DB_PARAMS says of the connections that pages are read on."""
        return PoolParameters.of(self.params)

    @property
    def connection_params(self) -> dict[str, str]:
        """What DB_PARAMS says of each connection."""
        others = PoolParameters.NAMES | go_services.POOL_PARAMETERS.keys()
        return {name: value for name, value in self.params.items() if name not in others}


@dataclass(frozen=True, slots=True)
class PoolParameters:
    """The parameters of pgx's pool that DB_PARAMS may have, as far as they mean something here."""

    NAMES: ClassVar[frozenset[str]] = frozenset({"pool_max_conns", "pool_min_conns", "pool_max_conn_idle_time"})

    most: int = PAGE_CONNECTIONS
    """How many connections a process reads pages on, at least 2."""
    at_start: int = 0
    """How many of them are made before they are needed."""
    idle: timedelta = timedelta(minutes=5)
    """How long one that nobody uses stays open."""

    @classmethod
    def of(cls, params: Mapping[str, str]) -> Self:
        """What the parameters say. Raises ValueError naming the one that is wrong, and what is allowed."""
        most = max(2, _number_of_connections(params, "pool_max_conns", PAGE_CONNECTIONS, least=1))
        at_start = _number_of_connections(params, "pool_min_conns", 0, least=0)
        try:
            idle = parse_duration(params.get("pool_max_conn_idle_time", "5m"))
        except ValueError as error:
            raise ValueError(f"pool_max_conn_idle_time is wrong: {error}") from error
        return cls(most, min(most, at_start), idle)


def _number_of_connections(params: Mapping[str, str], name: str, default: int, *, least: int) -> int:
    text = params.get(name, str(default))
    if not re.fullmatch(r"[0-9]{1,4}", text) or int(text) < least:
        raise ValueError(f"{name} is {text!r}: allowed is a whole number from {least} to 9999")
    return int(text)


class ClusterSettings(_Group):
    """The cluster to watch, and what of it."""

    kubeconfig: str | None = Field(
        None,
        alias="KUBECONFIG",
        description="kubeconfig file(s) of the cluster to watch, joined by `:`; absent: the pod's own cluster",
    )
    name: str | None = Field(
        None,
        alias="CLUSTER_NAME",
        pattern=r"^[^\x00-\x20/?#]{1,253}$",
        description="name of the cluster in answers; absent: host, port and path of its API server",
    )
    namespaces: CommaSeparated = Field(
        (), alias="NAMESPACES", description="comma-separated namespaces to watch; absent: all"
    )
    cache_secret_data: bool = Field(
        False,
        alias="CACHE_SECRET_DATA",
        description="keep the values of Secrets, where WATCH names `secrets`; otherwise their keys only",
    )
    reconcile_interval: Duration = Field(
        timedelta(hours=1),
        alias="RECONCILE_INTERVAL",
        description="how often, more or less, each type is compared with the cluster, and repaired; 0: never",
    )
    changes_retention: Duration = Field(
        timedelta(hours=24),
        alias="CHANGES_RETENTION",
        ge=timedelta(seconds=1),
        description="how long it is known what objects were before they changed or went: who was away for longer than "
        "that reads everything anew",
    )
    changes_retention_max: int = Field(
        100_000,
        alias="CHANGES_RETENTION_MAX",
        ge=0,
        description="how many such past states are kept at most; the oldest go first",
    )
    watch: CommaSeparated = Field(
        DEFAULT_WATCH,
        alias="WATCH",
        description="comma-separated `resource.group` patterns of what to watch; a leading `!` excludes",
    )


class AuthSettings(_Group):
    """How callers prove who they are."""

    sign_key: SecretStr | None = Field(
        None,
        alias="SIGN_KEY",
        description="key of the HS256 tokens (JWT); required for serving, unless JWKS_URL or OIDC_ISSUER is set",
    )
    jwt_sign_key: SecretStr | None = Field(
        None, alias="JWT_SIGN_KEY", description="the same key, by the name that Krateo's newer charts give it"
    )
    cursor_key: SecretStr | None = Field(
        None, alias="CURSOR_KEY", description="key that signs cursors, the same in all replicas; absent: SIGN_KEY"
    )
    issuer: str | None = Field(
        None,
        alias="JWT_ISSUER",
        description="the `iss` claim a token must carry, unless OIDC_ISSUER's keys signed it; absent: not checked",
    )
    jwks_url: str | None = Field(
        None,
        alias="JWKS_URL",
        pattern=r"^https?://[^\s/?#@]+([/?]\S*)?$",
        description="URL of a JSON Web Key Set, whose keys sign tokens as well",
    )
    oidc_issuer: str | None = Field(
        None,
        alias="OIDC_ISSUER",
        pattern=r"^https?://[^\s/?#@]+(/[^\s?#]*)?$",
        description="URL of an OpenID provider, whose keys sign tokens as well; these must carry it as `iss` claim",
    )
    audience: str | None = Field(
        None, alias="JWT_AUDIENCE", description="what the `aud` claim of a token must contain; absent: not checked"
    )
    username_claim: str | None = Field(
        None,
        alias="JWT_USERNAME_CLAIM",
        description="claim that names the user, or path to it (`a.b`); absent: `username`, else `sub`",
    )
    groups_claim: str = Field(
        "groups", alias="JWT_GROUPS_CLAIM", description="claim that lists the user's groups, or path to it"
    )

    @field_validator("jwt_sign_key")
    @classmethod
    def _is_the_same_key(cls, value: SecretStr | None, others: ValidationInfo) -> SecretStr | None:
        if None not in (value, others.data["sign_key"]) and value != others.data["sign_key"]:
            raise ValueError("SIGN_KEY is another one: set one of the two, or both to the same key")
        return value

    @property
    def token_key(self) -> SecretStr | None:
        """The key of the HS256 tokens, whichever of its names it has."""
        return self.sign_key or self.jwt_sign_key

    def require_token_keys(self) -> None:
        """Raises ConfigError when nothing says which keys tokens are verified with, or two things at once."""
        if self.jwks_url is not None and self.oidc_issuer is not None:
            raise ConfigError(
                "JWKS_URL and OIDC_ISSUER are both set: set one of them. To name the keys' place without discovery, "
                "set JWKS_URL, and JWT_ISSUER for the `iss` claim"
            )
        if self.token_key is None and self.jwks_url is None and self.oidc_issuer is None:
            raise ConfigError(
                "SIGN_KEY is not set: set it to the key that signs your users' tokens (HS256), "
                "or set JWKS_URL or OIDC_ISSUER to where their public keys are"
            )

    def require_sign_key(self) -> bytes:
        """The key of the HS256 tokens, as bytes. Raises ConfigError when it is not set."""
        if self.token_key is None:
            raise ConfigError("SIGN_KEY is not set: set it to the key that signs your users' tokens (HS256)")
        return self.token_key.get_secret_value().encode()

    def require_cursor_key(self) -> bytes:
        """The key that signs cursors, as bytes. Raises ConfigError when neither CURSOR_KEY nor SIGN_KEY is set."""
        key = self.cursor_key or self.token_key
        if key is None:
            raise ConfigError("CURSOR_KEY is not set, nor is SIGN_KEY: set it to a secret that all replicas share")
        return key.get_secret_value().encode()


class AccessSettings(_Group):
    """How it is decided what callers may see."""

    authorizer: Literal["rbac", "sar"] = Field(
        "rbac",
        alias="AUTHORIZER",
        description="`rbac`: by the RBAC objects of the cluster; `sar`: by SubjectAccessReviews of its API server",
    )
    list_verb: Literal["list", "get"] = Field(
        "list", alias="LIST_VERB", description="the verb a list takes; `get` is the looser rule of the Go service"
    )
    denied_as_empty: bool = Field(
        False,
        alias="DENIED_AS_EMPTY",
        description="answer who may see nothing of what a list asks for with an empty page (200), not with 403",
    )
    rbac_max_staleness: Duration = Field(
        timedelta(minutes=5),
        alias="RBAC_MAX_STALENESS",
        description="how long the watch of the RBAC objects may be silent before nothing is decided by them",
    )
    sar_cache_ttl: Duration = Field(
        timedelta(seconds=10), alias="SAR_CACHE_TTL", description="how long a SubjectAccessReview is remembered"
    )


@dataclass(frozen=True, slots=True)
class Settings:
    """All groups."""

    http: HttpSettings
    pagination: PaginationSettings
    log: LogSettings
    metrics: MetricsSettings
    database: DatabaseSettings
    cluster: ClusterSettings
    auth: AuthSettings
    access: AccessSettings
    unneeded: Mapping[str, str] = field(default_factory=dict)
    """What is set as it was for the Go services and changes nothing, with the reason."""

    @classmethod
    def from_environment(cls) -> Settings:
        """Read the process's environment. Raises ConfigError naming the variable that is wrong, and why."""
        try:
            log, database = LogSettings(), DatabaseSettings()
            return cls(
                HttpSettings(),
                PaginationSettings(),
                log,
                MetricsSettings(),
                database,
                ClusterSettings(),
                AuthSettings(),
                AccessSettings(),
                dict(_unneeded(log, database)),
            )
        except ValidationError as error:
            raise ConfigError(_explain(error)) from error


def _unneeded(log: LogSettings, database: DatabaseSettings) -> Iterator[tuple[str, str]]:
    """What is set without an effect, and why it has none."""
    for name, reason in go_services.VARIABLES.items():
        if os.environ.get(name):
            yield name, reason
    if log.otel_enabled and log.otlp_endpoint is None and os.environ.get("OTEL_ENABLED"):
        yield "OTEL_ENABLED", "OTEL_EXPORTER_OTLP_ENDPOINT says where traces go; metrics are scraped from /metrics"
    for name, reason in go_services.POOL_PARAMETERS.items():
        if name in database.params:
            yield f"{name} in DB_PARAMS", reason


def _explain(error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    variable = str(first["loc"][0])
    written = os.environ.get(variable, first["input"])  # before it was read as a number of bytes, or of seconds
    came = "a secret value" if variable in _SECRETS else repr(written)
    return f"{variable} is {came}: {first['msg'].removeprefix('Value error, ')}"


GROUPS: tuple[type[_Group], ...] = (
    HttpSettings,
    PaginationSettings,
    LogSettings,
    MetricsSettings,
    DatabaseSettings,
    ClusterSettings,
    AuthSettings,
    AccessSettings,
)


_SECRETS = {"DB_PASS", "SIGN_KEY", "JWT_SIGN_KEY", "CURSOR_KEY", "METRICS_TOKEN"}


def variables() -> Mapping[str, tuple[str, str]]:
    """Every environment variable that is read, with its default as one would write it and what it does."""
    return {
        field.alias or name: (_written(field.default), field.description or "")
        for group in GROUPS
        for name, field in group.model_fields.items()
    }


def environment_of_child(**more: str) -> dict[str, str]:
    """The environment of another process of this program: this one's, and more."""
    return {**os.environ, **more}


def _written(default: Any) -> str:
    match default:
        case None:
            return ""
        case tuple():
            return ",".join(default)
        case dict():
            return urlencode(default)
        case timedelta():
            seconds = default.total_seconds()
            return next(f"{seconds / _UNITS[unit]:g}{unit}" for unit in "hms" if seconds >= _UNITS[unit] or unit == "s")
        case ByteSize():
            return next(
                f"{default // unit}{name}" for name, unit in reversed(_BYTES_UNITS.items()) if default % unit == 0
            )
        case bool():
            return str(default).lower()
    return str(default)
