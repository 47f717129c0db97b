"""The cases worked out by hand, put to a Kubernetes API over HTTP: SubjectAccessReview agrees with the rules.

The rules are those that the API serves, so that aggregated ClusterRoles are filled in.
"""

from __future__ import annotations

from itertools import product
from typing import Any

import aiohttp
import pytest

from presenter.sandbox import Sandbox
from tests.rbac.naive import RBAC
from tests.rbac.objects import rules_of
from tests.rbac.test_cases import CASES, Case

KINDS = ("roles", "clusterroles", "rolebindings", "clusterrolebindings")
REVIEWS = "/apis/authorization.k8s.io/v1/subjectaccessreviews"

UNSTORABLE = {
    "a roleRef of another kind grants nothing",
    "a roleRef of another API group grants nothing",
    "a User of another API group is nobody",
    "a Group of another API group is nobody",
    "a ServiceAccount is of the core group",
    "a subject without a name is nobody",
}
"""The API server refuses to store these, so it need not answer for them; the sandbox stores and grants."""

COMPARED = [case for case in CASES if case.rule not in UNSTORABLE]


@pytest.mark.parametrize("case", COMPARED, ids=[case.rule for case in COMPARED])
async def test_a_review_agrees(case: Case) -> None:
    verb, group, resource, namespaced = case.asked
    plural, _, subresource = resource.partition("/")
    async with Sandbox() as sandbox, aiohttp.ClientSession(sandbox.url) as session:
        for namespace in ("prod", "dev"):
            sandbox.cluster.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
        for manifest in case.objects:
            sandbox.cluster.create(manifest)
        rules = rules_of(manifest for kind in KINDS for manifest in sandbox.cluster.objects(f"{kind}.{RBAC}"))
        grant = rules.grant(case.who, verb, group, resource, namespaced=namespaced)
        within = plural == "namespaces" and verb == "get"
        for namespace, name in product(("prod", "dev", "") if namespaced else ("",), ("", "a", "b", "A", "*")):
            attributes = {"verb": verb, "group": group, "resource": plural, "subresource": subresource}
            spec = {
                "user": case.who.username,
                "groups": sorted(case.who.groups),
                "resourceAttributes": {**attributes, "namespace": name if within else namespace, "name": name},
            }
            async with session.post(REVIEWS, json={"spec": spec}) as response:
                review: dict[str, Any] = await response.json()
            assert review["status"]["allowed"] is grant.covers(namespace, name), spec


def test_what_is_not_compared_is_there() -> None:
    assert {case.rule for case in CASES} > UNSTORABLE
