"""The read side of Kubernetes for portals: a cluster watched into PostgreSQL and served as sorted, filtered pages.

How the code is laid out, in the direction in which imports go:

    cli, demo    the commands
    can_i, explain, status, reference    what some of them have to say
    app          the composition root: builds everything from the settings, and runs it
    serving, watching    its two sides, each of which can run without the other
    server, workers    the HTTP server, and several of it on one port
    connection, connections, head    its connections: one, all of them, and how a request begins
    api/         HTTP: parameters → selection → answers; errors as Kubernetes Status objects
    kube/        the Kubernetes edge: discovery, one reflector for every type, their supervisor
    access/      who may see what: token → identity → scope
    cache/       the PostgreSQL edge: writes (`writer`), reads (`plan` → `sql` → `pages`), the schema, the cursor
    apimachinery/    Kubernetes' own rules, pure: selectors, media types, tables, discovery, list options, Status
    phases, tracing    where the time of a request goes
    memory    how much of it answers may take
    patterns, nesting, resource, errors, config, logs    what every room shares

    restaction/  the commands that resolve, migrate, compare and check RESTActions
    sandbox/     an in-memory Kubernetes API for the demo and the tests, on apimachinery
    embedded     a private PostgreSQL when none is configured

The database's schema, step by step, is beside the package, in `migrations/`; in a wheel it is within.

`api` and `kube` never meet but in the database.
"""

__version__ = "0.1.0"
