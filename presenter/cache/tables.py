"""The schema, as Alembic's target. Statements live in `writer` and `pages`, migrations in `migrations/` at the root.

Identity of an object is (cluster, group, resource, uid): `type_id` stands for the first three. Text is collated "C",
so that the database sorts as Kubernetes and Python do, whatever locale it was made with.
"""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg

from presenter.cache.expressions import COMPOSITION_OR_FIRST, COMPOSITION_OR_LAST, GLOBAL_UID, TERMS

metadata = sa.MetaData()


def _text(name: str, *, nullable: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.Text(collation="C"), nullable=nullable)


def _time(name: str, *, nullable: bool = False) -> sa.Column[object]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable)


def _count(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger, nullable=False, server_default="0")


clusters = sa.Table(
    "clusters",
    metadata,
    sa.Column("name", sa.Text(collation="C"), primary_key=True),
    sa.Column("uid", sa.Text(collation="C"), nullable=False),  # of the kube-system namespace
    sa.Column("watch", pg.ARRAY(sa.Text), nullable=False),  # the WATCH patterns
    sa.Column("secret_data", sa.Boolean, nullable=False),  # whether the values of Secrets are kept
    sa.Column("discovered_at", sa.DateTime(timezone=True)),  # when all its types were declared
    sa.Column("completed_at", sa.DateTime(timezone=True)),  # when the first lists of all of them were complete
    _count("revision"),  # of the last transaction that changed rows of it
    _count("feed_begins"),  # the revision since which every past state is kept
    sa.Column("feed_epoch", sa.BigInteger),  # of the last lease since whose holders keep past states, one and all
    # Revisions that a failover may have undone: no position is among them.
    sa.Column("lost", pg.INT8MULTIRANGE, nullable=False, server_default="{}"),
)

resource_types = sa.Table(
    "resource_types",
    metadata,
    sa.Column("id", sa.Integer, sa.Identity(always=True), primary_key=True),
    sa.Column("cluster", sa.Text(collation="C"), sa.ForeignKey("clusters.name"), nullable=False),
    _text("api_group"),
    _text("resource"),
    _text("version"),
    sa.Column("versions", pg.ARRAY(sa.Text), nullable=False),  # all that are served
    _text("kind"),
    sa.Column("namespaced", sa.Boolean, nullable=False),
    sa.Column("epoch", sa.Integer, nullable=False, server_default="0"),  # +1 when resourceVersions went back
    sa.UniqueConstraint("cluster", "api_group", "resource", name="resource_types_identity"),
)

watches = sa.Table(
    "watches",
    metadata,
    sa.Column("type_id", sa.Integer, sa.ForeignKey("resource_types.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("namespace", sa.Text(collation="C"), primary_key=True),  # '': all
    sa.Column("state", sa.Text, nullable=False, server_default="pending"),
    sa.Column("error", sa.Text, nullable=False, server_default=""),
    sa.Column("checkpoint", sa.Text),  # the resourceVersion up to which the rows are complete
    sa.Column("listing", sa.Boolean, nullable=False, server_default="false"),  # a list has put rows ahead of that
    _time("synced_at", nullable=True),
    _time("last_event_at", nullable=True),
    _count("objects"),  # that are cached
    _count("events"),  # that were applied
    _count("lists"),  # that were completed
    _count("repairs"),  # differences that a reconciliation found
    _count("sanitised"),  # objects that could not be stored as they are
    _count("revision"),  # of the last transaction that changed rows of its type
    _count("numbered"),  # events that were applied under a revision
)

# Who writes what a cluster says. With the epoch in a key of its own, a renewal leaves that key alone, and so never
# waits for the writes that hold it; a takeover changes it, and waits for them.
leases = sa.Table(
    "leases",
    metadata,
    sa.Column("cluster", sa.Text(collation="C"), primary_key=True),
    sa.Column("epoch", sa.BigInteger, nullable=False),  # +1 with every new holder
    sa.Column("holder", sa.Text, nullable=False),
    _time("expires_at"),
    sa.UniqueConstraint("cluster", "epoch", name="leases_epoch"),
)

# What a list in progress has named so far; its last transaction deletes every row that is not here.
listed = sa.Table(
    "listed",
    metadata,
    sa.Column("list_id", sa.BigInteger, nullable=False),
    _text("uid"),
    sa.Column("listed_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.text("now()")),
    sa.Index("listed_list", "list_id"),
    prefixes=["UNLOGGED"],
)

resources = sa.Table(
    "resources",
    metadata,
    sa.Column("cluster", sa.Text(collation="C"), primary_key=True),
    sa.Column("type_id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("uid", sa.Text(collation="C"), primary_key=True),
    _text("namespace"),
    _text("name"),
    _text("version"),
    sa.Column("epoch", sa.Integer, nullable=False),
    sa.Column("resource_version", sa.Numeric),  # NULL: the API server's is not a number
    _time("created_at"),
    _time("updated_at"),
    sa.Column("composition_id", pg.UUID(as_uuid=False)),
    sa.Column("labels", pg.JSONB, nullable=False),
    sa.Column("raw", pg.JSONB, nullable=False),
    _count("revision"),  # of the transaction that changed it last; 0: it was a version that did not count
    _time("piece_of", nullable=True),  # the `updated_at` of the state that the piece is of; of another it is void
    sa.Column("piece", sa.LargeBinary),  # the item as it goes out, compressed (see `items`); NULL: not made yet
    _count("added"),  # the revision of the transaction that brought the object; 0: it was here before that counted
    sa.Index("resources_revision", "type_id", "revision"),
)

# What objects were until a revision: the labels that one had before they changed, or all that is left of one that is
# gone. Then it also says of which type it was, since that may be gone, too.
past_states = sa.Table(
    "past_states",
    metadata,
    sa.Column("cluster", sa.Text(collation="C"), primary_key=True),
    sa.Column("type_id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("uid", sa.Text(collation="C"), primary_key=True),
    sa.Column("revision", sa.BigInteger, primary_key=True, autoincrement=False),  # of the transaction that ended it
    sa.Column("ended_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.text("now()")),
    sa.Column("added", sa.BigInteger, nullable=False),
    sa.Column("labels", pg.JSONB, nullable=False),
    sa.Column("composition_id", pg.UUID(as_uuid=False)),
    sa.Column("gone", sa.Boolean, nullable=False),  # the rest is of such objects only
    _text("api_group", nullable=True),
    _text("resource", nullable=True),
    _text("kind", nullable=True),
    _text("namespace", nullable=True),
    _text("name", nullable=True),
    _text("version", nullable=True),
    sa.Column("resource_version", sa.Numeric),
    sa.Column("deletion_version", sa.Numeric),  # the resourceVersion of the deletion, where an event told it
    _time("created_at", nullable=True),
    _time("updated_at", nullable=True),
    sa.Column("piece", sa.LargeBinary),
    sa.Column("raw", pg.JSONB),  # where there is no piece
    sa.Index("past_states_revision", "cluster", "revision"),
)

_ORDERS = {
    "created_at": ("created_at", "uid"),
    "updated_at": ("updated_at", "uid"),
    "name": ("name", "uid"),
    "global_uid": (GLOBAL_UID,),
    "composition_asc": (COMPOSITION_OR_LAST, "uid"),
    "composition_desc": (COMPOSITION_OR_FIRST, "uid"),
}
for _name, _columns in _ORDERS.items():
    _keys = [resources.c[column] if column in resources.c else sa.text(column) for column in _columns]
    sa.Index(f"resources_{_name}", resources.c.type_id, *_keys)
    # With the namespace before the name this one also serves the sort by namespace and name over all namespaces.
    sa.Index(f"resources_namespace_{_name}", resources.c.type_id, resources.c.namespace, *_keys)

# New rows wait in a short list until they are sorted in together: several times faster, and little to look through.
sa.Index(
    "resources_terms",
    sa.text(TERMS),
    postgresql_using="gin",
    postgresql_with={"gin_pending_list_limit": 256},
    _table=resources,
)
