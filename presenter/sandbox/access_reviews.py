"""SubjectAccessReview and SelfSubjectAccessReview: questions about RBAC, answered and not stored."""

from __future__ import annotations

from typing import Any

from presenter.apimachinery import errors, validation
from presenter.sandbox import discovery, negotiation
from presenter.sandbox.api_request import Answer, ApiRequest, Incoming
from presenter.sandbox.cluster import Cluster
from presenter.sandbox.objects import Manifest, encode
from presenter.sandbox.rbac import Access, Policy, User

_GROUP_VERSION = f"{discovery.REVIEWS_GROUP}/v1"


def answer(cluster: Cluster, user: User, api_request: ApiRequest, incoming: Incoming) -> Answer:
    """Answer a review that `user` posts. Raises StatusError 400, 404, 405 or 422."""
    kind = discovery.REVIEWS.get(api_request.resource)
    if kind is None or api_request.namespace or api_request.subresource:
        raise errors.unknown_path()
    if api_request.verb != "create" or api_request.name:
        raise errors.method_not_allowed()
    review = negotiation.read_object(incoming.body, incoming.content_type)
    spec = review.get("spec") or {}
    access = _access(kind, spec)
    if kind == "SubjectAccessReview":
        if not spec.get("user") and not spec.get("groups"):
            wrong = validation.invalid("spec.user", "", "at least one of user or group must be specified")
            raise errors.invalid(discovery.REVIEWS_GROUP, kind, "", wrong)
        user = User(spec.get("user", ""), tuple(spec.get("groups") or ()))
    decision = Policy.of(cluster).decide(user, access)
    status: Manifest = {"allowed": decision.allowed}
    if decision.reason:
        status["reason"] = decision.reason
    body = {"kind": kind, "apiVersion": _GROUP_VERSION, "metadata": {}, "spec": spec, "status": status}
    return Answer(encode(body), 201)


def _access(kind: str, spec: dict[str, Any]) -> Access:
    resource, path = spec.get("resourceAttributes"), spec.get("nonResourceAttributes")
    if (resource is None) == (path is None):
        why = "must specify exactly one of resourceAttributes and nonResourceAttributes"
        raise errors.invalid(discovery.REVIEWS_GROUP, kind, "", validation.invalid("spec.resourceAttributes", "", why))
    if path is not None:
        return Access(path.get("verb", ""), path=path.get("path", ""))
    attributes = ("verb", "group", "resource", "subresource", "namespace", "name")
    return Access(**{name: (resource or {}).get(name) or "" for name in attributes})
