"""The PostgreSQL edge: the schema, every write and every read. The only importer of asyncpg and sqlalchemy.

Connections:

    pool            where the database is, and a bounded number of connections to it
    failures        PostgreSQL's errors as ours; `metrics` counts and times what is done on connections
    budget          a query that brings more bytes than it may is ended; `memory` is what all answers share

The schema:

    tables          the schema, as Alembic's target; `expressions` are those that are indexed
    schema          which version of it a database has
    migration       brings a database to this version's; `reader` lets a role read it

Writing:

    writer          each write, in a transaction with its checkpoint; `writes` are its statements
    numbering       the revisions of what is written, one after the other
    lease           one process writes a cluster at a time
    watch_patterns  which types are kept
    items           the item of an object as it goes out, stored compressed (a piece); `deflate` puts gzip together
    filling         pieces for the rows of an earlier version, made in the background
    retention       past states that nobody needs any more, removed in the background
    unstorable      objects that PostgreSQL refuses, cut down to their metadata
    snapshot        the rows of a watch at its checkpoint, to be compared with the cluster
    forgetting      a cluster that is gone, removed

Reading pages:

    query           the model of a read; `scope` is what the caller may see, `cursor` the token of the next page
    plan            how a page is read: every choice, as values
    sql             the statements of a plan
    pages           the statements sent, and their rows; `explain` shows them
    numbers         how many objects there are, and where a page by its number begins
    revisions       which state of their types rows are of, and whether it is that of now

Reading all else:

    catalog         which clusters, types and watches there are, and their state; `catalog_reader` keeps it in memory
    clock           the database's clock, which may be set, and how long ago moments are by it
    report          the catalog as JSON
    feed            what changed since a revision, in batches
    conversion      the versions of a type that differ from the cached one by name only
    informer        all objects of a few types, kept in memory and up to date
"""
