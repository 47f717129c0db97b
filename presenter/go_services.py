"""What Krateo's Go services are configured with, and nothing here needs: by name, with the reason to give."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

_WATCHED = "RBAC objects are watched, so that a change counts at once; with AUTHORIZER=sar, see SAR_CACHE_TTL"

VARIABLES: Mapping[str, str] = MappingProxyType(
    {
        "AUTHN_NS": "users' client certificates are not read: the token says who they are, and RBAC what they may see",
        "OTEL_EXPORT_INTERVAL": "metrics are not pushed: they are scraped from /metrics as often as you like",
        "RBAC_USERCAN_CACHE_TTL": f"decisions do not expire: {_WATCHED}",
        "RBAC_USERCAN_CACHE_MAX_ENTRIES": f"decisions are not stored: {_WATCHED}",
    }
)
"""Variables that are accepted without an effect."""

_KEPT = "a connection is kept as long as it works and is used"
_PREPARED = "statements stay prepared"

POOL_PARAMETERS: Mapping[str, str] = MappingProxyType(
    {
        "pool_max_conn_lifetime": _KEPT,
        "pool_max_conn_lifetime_jitter": _KEPT,
        "pool_health_check_period": "a lost connection is noticed by who uses it, and replaced",
        "pool_min_idle_conns": "pool_min_conns says how many are made at the start",
        "default_query_exec_mode": _PREPARED,
        "statement_cache_capacity": _PREPARED,
        "description_cache_capacity": _PREPARED,
        "sslsni": "the host's name is always sent",
    }
)
"""Parameters of pgx and its pool, in DB_PARAMS, that are accepted without an effect."""
