"""The read side of Kubernetes for portals: a cluster watched into PostgreSQL and served as sorted, filtered pages.

How the code is laid out, in the direction in which imports go. The docstring of each room tells of its modules.

    commands/       `presenter …`: a module for each command
    app             the composition root: builds everything from the settings, and runs it
    restaction/     the commands that resolve, migrate, compare and check RESTActions
    api/            the HTTP endpoints: parameters → selection → answers; errors as Kubernetes Status objects
    kube/           the Kubernetes edge: discovery, one reflector for every type, their supervisor
    access/         who may see what: token → identity → scope
    cache/          the PostgreSQL edge: writes (`writer`), reads (`plan` → `sql` → `pages`), the schema, the cursor
    http/           the HTTP server: where it listens, its connections, and how a request begins
    sandbox/        a Kubernetes API server in memory, for the demo and the tests
    apimachinery/   Kubernetes' own rules, pure: selectors, media types, tables, discovery, list options, Status
    config          the settings, from the environment
    go_services     what Krateo's Go services are configured with, and nothing here needs
    tracing         traces of requests, for an OpenTelemetry collector
    observability   what is known of each request, for the log and the metrics
    resource        types, objects and watches: the values that every room shares
    errors          every error, with its HTTP status
    logs            how the process logs
    raw_json        JSON as bytes, taken apart one level at a time

The database's schema, step by step, is beside the package, in `migrations/`; in a wheel it is within.

`api` and `kube` never meet but in the database.
"""

__version__ = "0.1.0"
