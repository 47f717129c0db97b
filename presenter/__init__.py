"""The read side of Kubernetes for portals: a cluster watched into PostgreSQL and served as sorted, filtered pages.

How the code is laid out, in the direction in which imports go:

    commands/    `presenter …`: a module for each command, and what they have to say
    app          the composition root: builds everything from the settings, and runs it
    restaction/  the commands that resolve, migrate, compare and check RESTActions
    api/         HTTP endpoints: parameters → selection → answers; errors as Kubernetes Status objects
    kube/        the Kubernetes edge: discovery, one reflector for every type, their supervisor
    access/      who may see what: token → identity → scope
    cache/       the PostgreSQL edge: writes (`writer`), reads (`plan` → `sql` → `pages`), the schema, the cursor
    http/        the HTTP server: where it listens, its connections, and how a request begins
    sandbox/     an in-memory Kubernetes API for the demo and the tests
    apimachinery/    Kubernetes' own rules, pure: selectors, media types, tables, discovery, list options, Status
    observability, tracing    what is known of each request: for the log, the metrics and traces
    raw_json     JSON as bytes, taken apart one level at a time
    resource, errors, config, logs    what every room shares

The database's schema, step by step, is beside the package, in `migrations/`; in a wheel it is within.

`api` and `kube` never meet but in the database.
"""

__version__ = "0.1.0"
