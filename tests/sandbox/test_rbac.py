"""Who may do what: the evaluator, the reviews, and enforcement on requests."""

from __future__ import annotations

from typing import Any

import pytest

from presenter.sandbox import Sandbox, User
from presenter.sandbox.rbac import Access, Policy
from tests.sandbox.harness import PANELS, PANELS_PATH, WIDGETS, Client, Json, panel

RBAC = "rbac.authorization.k8s.io"
REVIEWS = "/apis/authorization.k8s.io/v1"


def role(name: str, *rules: Json, namespace: str = "", **rest: Any) -> Json:
    kind = "Role" if namespace else "ClusterRole"
    metadata = {"name": name, "labels": rest.pop("labels", {})}
    if namespace:
        metadata["namespace"] = namespace
    return {"apiVersion": f"{RBAC}/v1", "kind": kind, "metadata": metadata, "rules": list(rules), **rest}


def rule(group: str, resource: str, *verbs: str, names: tuple[str, ...] = ()) -> Json:
    made: Json = {"apiGroups": [group], "resources": [resource], "verbs": list(verbs)}
    return {**made, "resourceNames": list(names)} if names else made


def binding(role: Json, *subjects: Json, namespace: str = "") -> Json:
    metadata = {"name": f"bind-{role['metadata']['name']}"}
    if namespace:
        metadata["namespace"] = namespace
    return {
        "apiVersion": f"{RBAC}/v1",
        "kind": "RoleBinding" if namespace else "ClusterRoleBinding",
        "metadata": metadata,
        "subjects": list(subjects),
        "roleRef": {"apiGroup": RBAC, "kind": role["kind"], "name": role["metadata"]["name"]},
    }


def user(name: str) -> Json:
    return {"kind": "User", "name": name, "apiGroup": RBAC}


def group(name: str) -> Json:
    return {"kind": "Group", "name": name, "apiGroup": RBAC}


def account(name: str, namespace: str) -> Json:
    return {"kind": "ServiceAccount", "name": name, "namespace": namespace}


ALICE = User("alice", ("devs",))
GET_A = Access("get", WIDGETS, "panels", namespace="x", name="a")
GET_B = Access("get", WIDGETS, "panels", namespace="x", name="b")
LIST_PANELS = Access("list", WIDGETS, "panels", namespace="default")


@pytest.mark.parametrize(
    ("granted", "asked", "allowed"),
    [
        (rule(WIDGETS, "panels", "list"), LIST_PANELS, True),
        (rule(WIDGETS, "panels", "get"), LIST_PANELS, False),
        (rule("*", "*", "*"), LIST_PANELS, True),
        (rule("", "panels", "list"), LIST_PANELS, False),
        (rule(WIDGETS, "*", "list"), LIST_PANELS, True),
        (rule(WIDGETS, "panels", "*"), LIST_PANELS, True),
        (rule(WIDGETS, "panels", "list", names=("a",)), LIST_PANELS, False),
        (rule(WIDGETS, "panels", "get", names=("a",)), GET_A, True),
        (rule(WIDGETS, "panels", "get", names=("a",)), GET_B, False),
        (rule("", "pods", "get"), Access("get", "", "pods", "log", "x", "p"), False),
        (rule("", "pods/log", "get"), Access("get", "", "pods", "log", "x", "p"), True),
        (rule("", "pods/log", "get"), Access("get", "", "pods", "", "x", "p"), False),
        (rule("", "*/log", "get"), Access("get", "", "pods", "log", "x", "p"), True),
        (rule("", "*", "get"), Access("get", "", "pods", "log", "x", "p"), True),
        ({"nonResourceURLs": ["/metrics"], "verbs": ["get"]}, Access("get", path="/metrics"), True),
        ({"nonResourceURLs": ["/metrics"], "verbs": ["get"]}, Access("get", path="/metrics/x"), False),
        ({"nonResourceURLs": ["/logs/*"], "verbs": ["get"]}, Access("get", path="/logs/a/b"), True),
        ({"nonResourceURLs": ["*"], "verbs": ["*"]}, Access("post", path="/anything"), True),
        ({"nonResourceURLs": ["*"], "verbs": ["*"]}, LIST_PANELS, False),
        (rule("*", "*", "*"), Access("get", path="/metrics"), False),
    ],
)  # fmt: skip
def test_rules(granted: Json, asked: Access, allowed: bool) -> None:
    given = role("r", granted)
    policy = Policy([], [given], [], [binding(given, user("alice"))])
    assert policy.decide(ALICE, asked).allowed is allowed


@pytest.mark.parametrize(
    ("subject", "asking", "allowed"),
    [
        (user("alice"), ALICE, True),
        (user("bob"), ALICE, False),
        (group("devs"), ALICE, True),
        (group("ops"), ALICE, False),
        (group("alice"), ALICE, False),
        (group("system:authenticated"), ALICE, True),
        (group("system:unauthenticated"), ALICE, False),
        (group("system:unauthenticated"), User("system:anonymous"), True),
        (group("system:authenticated"), User("system:anonymous"), False),
        (account("bot", "team"), User("system:serviceaccount:team:bot"), True),
        (account("bot", "other"), User("system:serviceaccount:team:bot"), False),
        (user("system:serviceaccount:team:bot"), User("system:serviceaccount:team:bot"), True),
        (group("system:serviceaccounts"), User("system:serviceaccount:team:bot"), True),
        (group("system:serviceaccounts:team"), User("system:serviceaccount:team:bot"), True),
        (group("system:serviceaccounts:other"), User("system:serviceaccount:team:bot"), False),
        (group("nobody"), User("root", ("system:masters",)), True),
        ({"kind": "Robot", "name": "alice"}, ALICE, False),
    ],
)  # fmt: skip
def test_subjects(subject: Json, asking: User, allowed: bool) -> None:
    given = role("r", rule(WIDGETS, "panels", "list"))
    policy = Policy([], [given], [], [binding(given, subject)])
    assert policy.decide(asking, LIST_PANELS).allowed is allowed


def test_where_bindings_reach() -> None:
    cluster_role = role("wide", rule(WIDGETS, "panels", "list"))
    narrow = role("narrow", rule(WIDGETS, "buttons", "list"), namespace="default")
    foreign = role("narrow", rule(WIDGETS, "pages", "list"), namespace="other")
    bindings = [
        binding(cluster_role, user("alice"), namespace="default"),
        binding(narrow, user("alice"), namespace="default"),
    ]
    policy = Policy([foreign, narrow], [cluster_role], bindings, [])

    def may(resource: str, namespace: str) -> bool:
        return policy.decide(ALICE, Access("list", WIDGETS, resource, namespace=namespace)).allowed

    assert may("panels", "default")
    assert may("buttons", "default")
    assert not may("panels", "other")
    assert not may("panels", ""), "a RoleBinding never grants all namespaces"
    assert not may("pages", "default"), "a Role of another namespace is not meant"
    missing = Policy([], [], bindings, [])
    assert not missing.decide(ALICE, LIST_PANELS).allowed


async def test_aggregated_roles_follow_their_parts(sandbox: Sandbox) -> None:
    cluster = sandbox.cluster
    expressions = [
        {"key": "extra", "operator": "Exists"},
        {"key": "extra", "operator": "In", "values": ["", "yes"]},
        {"key": "extra", "operator": "NotIn", "values": ["no"]},
        {"key": "to", "operator": "DoesNotExist"},
    ]
    selectors = [{"matchLabels": {"to": "view"}}, {"matchExpressions": expressions}]
    cluster.create(role("view", aggregationRule={"clusterRoleSelectors": selectors}))

    def collected() -> list[Json]:
        rules: list[Json] = cluster.get(f"clusterroles.{RBAC}", "view")["rules"]
        return rules

    panels, pods = rule(WIDGETS, "panels", "list"), rule("", "pods", "list")
    cluster.create(role("a", panels, labels={"to": "view"}))
    cluster.create(role("b", pods, labels={"extra": ""}))
    cluster.create(role("c", rule("", "secrets", "list"), labels={"to": "edit", "extra": ""}))
    cluster.create(role("d", rule("", "secrets", "list"), labels={"extra": "no"}))
    assert collected() == [panels, pods]
    cluster.delete(f"clusterroles.{RBAC}", "a")
    assert collected() == [pods]


async def test_subject_access_review(client: Client, sandbox: Sandbox) -> None:
    given = role("viewer", rule(WIDGETS, "panels", "list"))
    sandbox.cluster.create(given)
    sandbox.cluster.create(binding(given, group("devs"), namespace="default"))
    attributes = {"verb": "list", "group": WIDGETS, "resource": "panels", "namespace": "default"}

    async def review(**spec: Any) -> Json:
        body = {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": spec}
        status: Json = (await client.post(f"{REVIEWS}/subjectaccessreviews", body))["status"]
        return status

    allowed = await review(user="alice", groups=["devs"], resourceAttributes=attributes)
    assert allowed == {"allowed": True, "reason": 'RBAC: allowed by RoleBinding "bind-viewer/default"'}
    assert await review(user="alice", resourceAttributes=attributes) == {"allowed": False}
    everywhere = {**attributes, "namespace": ""}
    assert await review(user="alice", groups=["devs"], resourceAttributes=everywhere) == {"allowed": False}
    nobody = await client.send("POST", f"{REVIEWS}/subjectaccessreviews", {"spec": {"resourceAttributes": attributes}})
    assert nobody.status == 422
    assert (await client.send("POST", f"{REVIEWS}/otherreviews", {})).status == 404
    path = {"path": "/metrics", "verb": "get"}
    assert await review(user="alice", nonResourceAttributes=path) == {"allowed": False}


async def test_self_subject_access_review_asks_for_who_asks(client: Client, sandbox: Sandbox) -> None:
    path = f"{REVIEWS}/selfsubjectaccessreviews"
    body = {"spec": {"resourceAttributes": {"verb": "delete", "resource": "pods"}}}
    assert (await client.post(path, body))["status"]["allowed"] is True
    impersonating = await client.send("POST", path, body, {"Impersonate-User": "bob"})
    assert impersonating.json["status"]["allowed"] is False
    sandbox.tokens["secret"] = User("carol", ("system:masters",))
    with_token = await client.send("POST", path, body, {"Authorization": "Bearer secret"})
    assert with_token.json["status"]["allowed"] is True
    refused: list[Json] = [{}, {"spec": {}}, {"spec": {"resourceAttributes": {}, "nonResourceAttributes": {}}}]
    for wrong in refused:
        assert (await client.send("POST", path, wrong)).status == 422
    assert (await client.send("GET", path)).status == 405


async def test_tokens(client: Client, sandbox: Sandbox) -> None:
    sandbox.tokens["secret"] = User("carol")
    assert (await client.send("GET", PANELS_PATH, None, {"Authorization": "Bearer secret"})).status == 200
    unknown = await client.send("GET", PANELS_PATH, None, {"Authorization": "Bearer other"})
    assert (unknown.status, unknown.json["message"]) == (401, "Unauthorized")
    assert [record.user for record in sandbox.requests] == ["carol", ""]


async def test_enforcement(client: Client, sandbox: Sandbox) -> None:
    sandbox.tokens["a"] = ALICE
    sandbox.enforce_rbac = True
    given = role("viewer", rule(WIDGETS, "panels", "list", "watch"))
    sandbox.cluster.create(panel("x"))
    sandbox.cluster.create(given)
    sandbox.cluster.create(binding(given, user("alice"), namespace="default"))
    as_alice = {"Authorization": "Bearer a"}
    assert (await client.send("GET", PANELS_PATH, None, as_alice)).status == 200
    assert (await client.send("GET", PANELS_PATH, None, as_alice, watch="true", timeoutSeconds=1)).status == 200
    for path, method, subject, verb, where in (
        (f"/apis/{WIDGETS}/v1beta1/panels", "GET", PANELS, "list", "at the cluster scope"),
        (f"{PANELS_PATH}/x", "DELETE", f'{PANELS} "x"', "delete", 'in the namespace "default"'),
    ):
        refused = await client.send(method, path, None, as_alice)
        assert (refused.status, refused.json["reason"]) == (403, "Forbidden")
        asked = f'cannot {verb} resource "panels" in API group "{WIDGETS}" {where}'
        assert refused.json["message"] == f'{subject} is forbidden: User "alice" {asked}'
    secrets = await client.send("GET", "/api/v1/namespaces/kube-system/secrets", None, as_alice)
    asked = 'cannot list resource "secrets" in API group "" in the namespace "kube-system"'
    assert secrets.json["message"] == f'secrets is forbidden: User "alice" {asked}'
    metrics = await client.send("GET", "/metrics", None, as_alice)
    assert (metrics.status, metrics.json["message"]) == (403, 'forbidden: User "alice" cannot get path "/metrics"')
    assert (await client.send("GET", "/apis", None, as_alice)).status == 200, "discovery is for all"
    review = {"spec": {"resourceAttributes": {"verb": "list", "resource": "panels", "group": WIDGETS}}}
    asking = await client.send("POST", f"{REVIEWS}/selfsubjectaccessreviews", review, as_alice)
    assert (asking.status, asking.json["status"]["allowed"]) == (201, False), "everyone may ask what they may"
    assert (await client.send("POST", f"{REVIEWS}/subjectaccessreviews", review, as_alice)).status == 403
    impersonating = {**as_alice, "Impersonate-User": "bob"}
    assert (await client.send("GET", PANELS_PATH, None, impersonating)).status == 403
    assert (await client.send("GET", PANELS_PATH)).status == 200, "without a token: system:admin"


async def test_a_list_of_one_name_is_decided_as_a_request_for_it(client: Client, sandbox: Sandbox) -> None:
    """As kube-apiserver reads such requests: `resourceNames` with the verb list is good for something."""
    sandbox.tokens["alice-token"] = ALICE
    sandbox.enforce_rbac = True
    named = role("one", rule(WIDGETS, "panels", "list", names=("a",)))
    for manifest in (named, binding(named, user("alice")), panel("a"), panel("b")):
        sandbox.cluster.create(manifest)
    headers = {"Authorization": "Bearer alice-token"}
    for selector in ("metadata.name=a", "metadata.name==a,metadata.namespace=default"):
        listed = await client.get(PANELS_PATH, headers, fieldSelector=selector)
        assert [item["metadata"]["name"] for item in listed["items"]] == ["a"]
    for selector in ("", "metadata.name!=b", "metadata.name=b", "metadata.name=a\\x"):
        refused = await client.send("GET", PANELS_PATH, None, headers, fieldSelector=selector)
        assert refused.status == 403, selector
