"""An in-memory Kubernetes API server over real HTTP, for the demo and the tests.

Read in this order: `server` (a request's way), `rest` and `watch` (what it does), `cluster` and `store` (the
state), `registry` (the types), `faults` (failures on demand), `samples` (what the demo shows).
"""

from presenter.apimachinery.errors import StatusError
from presenter.sandbox.api_request import RequestRecord, Requests
from presenter.sandbox.cluster import Cluster
from presenter.sandbox.faults import Faults
from presenter.sandbox.loader import ManifestError, load_directory
from presenter.sandbox.rbac import User
from presenter.sandbox.samples import fill
from presenter.sandbox.server import Sandbox, Tls

__all__ = [
    "Cluster",
    "Faults",
    "ManifestError",
    "RequestRecord",
    "Requests",
    "Sandbox",
    "StatusError",
    "Tls",
    "User",
    "fill",
    "load_directory",
]
