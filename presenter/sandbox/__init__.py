"""An in-memory Kubernetes API server over real HTTP, for the demo and the tests.

The way of a request:

    server          authenticates, authorizes and answers it, or fails as `faults` say
    api_request     what it asks for; `negotiation`, in which media type; `protobuf` reads the bodies of some kinds
    rest            resources: every verb but watch; `listing` makes lists, `patches` applies patches
    watch           a watch, from a resourceVersion on; `streaming` sends it
    paths           whatever is no resource; `discovery` and `openapi` make the documents of these
    forms           objects as they are, as metadata only, or as rows of a Table
    access_reviews  questions about access, by `rbac`

The state:

    cluster         every write passes here, and gets its resourceVersion; `controllers` do what follows from some
    store           the objects of one type; `objects` is one, and `metadata` what the API server writes of it
    registry        the types: the `builtin` ones, from `builtin.yaml`, and those of CustomResourceDefinitions
    loader          manifests from files; `samples` are those of the demo
"""

from presenter.apimachinery.errors import StatusError
from presenter.sandbox.api_request import ApiRequest, Requests
from presenter.sandbox.cluster import Cluster
from presenter.sandbox.faults import Faults
from presenter.sandbox.loader import ManifestError, load_directory
from presenter.sandbox.rbac import User
from presenter.sandbox.samples import fill
from presenter.sandbox.server import Sandbox, Tls

__all__ = [
    "ApiRequest",
    "Cluster",
    "Faults",
    "ManifestError",
    "Requests",
    "Sandbox",
    "StatusError",
    "Tls",
    "User",
    "fill",
    "load_directory",
]
