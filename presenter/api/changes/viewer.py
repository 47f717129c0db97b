"""Who follows: what that is follows from the token, the rights and the types that there are, now and later."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from presenter.access.authorizer import Authorizer, decide
from presenter.access.identity import Authenticator, Identity
from presenter.api.asking import forbidden
from presenter.api.changes.basis import Basis
from presenter.api.changes.followed import Followed
from presenter.api.changes.position import clusters_of
from presenter.api.parameters import ChangesParameters
from presenter.api.selection import select
from presenter.api.versions import Versions
from presenter.cache import cursor
from presenter.cache.catalog import Catalog
from presenter.cache.query import Filters
from presenter.cache.scope import scan_ranges
from presenter.errors import Expired, Forbidden

LOOKS = 5.0
"""Seconds after which rights are looked at again where nothing says that they have changed."""


@dataclass(frozen=True)
class Judges:
    """What decides: who asks, what he may see, and in which versions there is something to be seen."""

    authenticator: Authenticator
    authorizer: Authorizer
    versions: Versions
    basis: Basis


class Viewer:
    """One caller with his Authorization headers and his parameters, and what he follows since he was last looked at."""

    def __init__(self, judges: Judges, authorization: Sequence[str], parameters: ChangesParameters) -> None:
        self._judges = judges
        self._authorization = authorization
        self._parameters = parameters
        self._looked_at = 0.0
        self.warnings: tuple[str, ...] = ()
        self.version: str | None = None
        """The version of objects that are cached in another."""

    async def identity(self) -> Identity:
        """Who it is. Raises Unauthorized and Unavailable."""
        return await self._judges.authenticator.authenticate(self._authorization)

    async def begin(self, catalog: Catalog) -> Followed:
        """What is followed from the beginning. Raises whatever a list is refused with."""
        followed = await self.look(catalog)
        types = [cached for cached in catalog.types if followed.sees(cached)]
        if types and not any(cached.synced for cached in types):
            types[0].require_synced()
        return followed

    async def look(self, catalog: Catalog) -> Followed:
        """What is followed by this catalog; a type whose first list is not complete is new. Raises as a list does."""
        identity, asked = await self.identity(), self._parameters
        self._looked_at = time.monotonic()
        selection = select(
            catalog, group=asked.group, resource=asked.resource, version=asked.version, cluster=asked.cluster
        )
        scope, undecided = await decide(
            self._judges.authorizer,
            identity,
            "list",
            selection.types,
            namespace=asked.one_namespace,
            name=asked.name,
        )
        ranges = tuple(scan_ranges(scope, selection.types, asked.one_namespace, asked.name))
        if selection.types and not ranges:
            raise next(iter(undecided.values()), forbidden(identity, asked, selection))
        visible = [catalog.by_id[scanned.type_id] for scanned in ranges]
        self.version = await self._judges.versions.other(catalog, visible, asked.version)
        self.warnings = selection.warnings + tuple(
            f"cluster {cluster} is left out: {error.message}" for cluster, error in undecided.items()
        )
        filters = Filters(
            name=asked.name,
            name_contains=asked.name_contains,
            labels=tuple(asked.labels.items()) if asked.labels else None,
            composition_id=asked.composition_id,
        )
        described = cursor.digest(
            filters,
            group=asked.group,
            resource=asked.resource,
            version=asked.version,
            namespace=asked.namespace,
            cluster=asked.cluster,
        )
        clusters = clusters_of(catalog, asked.cluster, undecided)
        decided = [cached for cached in selection.types if cached.cluster not in undecided]
        return Followed.of(clusters, decided, ranges, filters, described, self._judges.basis.of(catalog))

    async def look_again(self, followed: Followed, catalog: Catalog) -> Followed:
        """What is followed from here on, if anything that decides it may have changed.

        Raises Expired where it has to be listed again, Unauthorized, and Unavailable.
        """
        await self.identity()
        if self._judges.basis.of(catalog) is followed.basis and time.monotonic() < self._looked_at + LOOKS:
            return followed
        try:
            now = followed.becoming(await self.look(catalog))
        except Forbidden as error:
            raise Expired(f"list again: {error.message}") from error
        if now is None:
            raise Expired("what you may see has changed, or the clusters that there are: list again")
        return now
