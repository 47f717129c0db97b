"""The token of a position in the changes: up to where they were told, and about what, to somebody who may see what.

    1048611-5f2c81d4a1b2c3d4            a revision and a digest
    1048611.2097160-8b1c2d3e4f5a6071    with two clusters, in the order of their names

It is a position and never a permission: what may be seen is decided anew. The digest is for the caller's own good, who
would otherwise go on with other filters, or with other rights, and never be told what these would have shown before.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import msgspec

from presenter.api.declarations import shown
from presenter.cache.catalog import Catalog
from presenter.cache.scope import ScanRange
from presenter.errors import BadRequest

_TOKEN = re.compile(r"(?P<revisions>[0-9]{1,18}(?:\.[0-9]{1,18})*)?-(?P<digest>[0-9a-f]{16})")
_NUMBER = re.compile(r"[0-9]{1,18}")


@dataclass(frozen=True, slots=True)
class Position:
    """The revisions of clusters in the order of their names, and a digest of what was followed; None: any."""

    revisions: tuple[int, ...]
    digest: str | None = None

    def __str__(self) -> str:
        return f"{'.'.join(map(str, self.revisions))}-{self.digest}"

    @classmethod
    def read(cls, text: str, given_as: str) -> Position:
        """The position that a caller has `given_as` a parameter or header. Raises BadRequest naming that."""
        if token := _TOKEN.fullmatch(text):
            revisions = token["revisions"]
            return cls(tuple(map(int, revisions.split("."))) if revisions else (), token["digest"])
        if _NUMBER.fullmatch(text):
            return cls((int(text),))
        raise BadRequest(
            f"{given_as} is {shown(text)}: allowed is the id of an event, as it came, the X-Cache-Position of a list, "
            "or a revision"
        )

    def by_cluster(self, clusters: Sequence[str], given_as: str) -> dict[str, int]:
        """The revisions by the names of these clusters. Raises BadRequest where they are not as many."""
        if len(self.revisions) != len(clusters):
            raise BadRequest(
                f"{given_as} has {len(self.revisions)} revisions, and {len(clusters)} clusters are followed: "
                "allowed is a revision of each; name one by cluster"
            )
        return dict(zip(clusters, self.revisions, strict=True))


def clusters_of(catalog: Catalog, wanted: str | None, undecided: Collection[str]) -> list[str]:
    """The clusters that are asked for and that it is decided of who may see what, in the order of their names."""
    names = (known.name for known in catalog.clusters if wanted in (None, known.name))
    return sorted(name for name in names if name not in undecided)


def digest(described: bytes, clusters: Sequence[str], ranges: Sequence[ScanRange]) -> str:
    """A digest of what is asked for and may be seen. Types that see the same namespaces share one tuple of them."""
    namespaces = {id(scanned.namespaces): scanned.namespaces for scanned in ranges}
    within = {key: _digest(msgspec.msgpack.encode(names)) for key, names in namespaces.items()}
    seen = sorted((scanned.cluster, scanned.type_id, within[id(scanned.namespaces)]) for scanned in ranges)
    return _digest(msgspec.msgpack.encode((described, list(clusters), seen))).hex()


def _digest(text: bytes) -> bytes:
    return hashlib.blake2b(text, digest_size=8).digest()
