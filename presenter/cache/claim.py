"""Whose name it is: no cluster is written under the name of another one that somebody watches.

A cluster is known by the uid of its kube-system namespace, which is recorded beside its name. Another one may come to
answer at the same address, though, as when it is made anew. So a name passes on when who watches sees the uid change,
or when nobody has watched for a while. Everybody else who finds it with another cluster is told to choose another name.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta

import structlog

from presenter.errors import ClusterError, ConfigError

UNKNOWN = ""
"""The uid of a cluster that cannot be told: no identity, and so neither equal to one nor another."""

RECENT = timedelta(minutes=10)
"""For so long a name stays with whom it belonged to: longer than a process that crashes is kept from starting again."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Standing:
    """How a name stands in the database: the `uid` of the cluster that has it, and who watches that, or did last.

    `free`: nobody does now. `recent`: somebody did until less than RECENT ago.
    """

    uid: str
    holder: str
    free: bool
    recent: bool


class Claim:
    """One process's claim to the name of a cluster, which `identify` tells the uid of, or raises ClusterError."""

    def __init__(self, cluster: str, identify: Callable[[], Awaitable[str]]) -> None:
        self._cluster = cluster
        self._identify = identify
        self._seen: set[str] = set()
        self._told = ""

    async def holds(self, standing: Standing) -> bool:
        """Whether this process may lead. False: whether it may is not known yet.

        Raises ConfigError when the name is another cluster's.
        """
        # What was seen here before and is no more has been replaced behind the address: it was the same claim.
        if standing.uid == UNKNOWN or standing.uid in self._seen:
            return True
        try:
            uid = await self._identify()
        except ClusterError as error:
            self._tell(str(error))
            return False
        self._tell("")
        self._seen.add(uid)
        if standing.free and not standing.recent:
            return True
        if uid != standing.uid:
            raise ConfigError(self._refusal(standing, uid))
        return True

    def _refusal(self, standing: Standing, uid: str) -> str:
        refusal = (
            f"another cluster is called {self._cluster} in this database: set CLUSTER_NAME to a name of this one's own "
            f"(the namespace kube-system has the uid {standing.uid} there, and {uid} here; "
        )
        if not standing.free:
            return f"{refusal}{standing.holder} watches that one)"
        return (
            f"{refusal}{standing.holder} watched that one until less than {RECENT.total_seconds() / 60:g} minutes ago; "
            f"if it is gone for good, run `presenter forget {self._cluster}`)"
        )

    def _tell(self, error: str) -> None:
        if error and error != self._told:
            log.warning("waiting to learn which cluster this is", cluster=self._cluster, error=error)
        self._told = error
