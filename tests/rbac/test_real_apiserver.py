"""Random rules on a real API server: it and the rules here decide alike, every request of thousands.

What it decides is asked in both ways there are: of its SubjectAccessReviews, and by requests with the callers' own
tokens, which it answers with 403 exactly when RBAC denies them.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from random import Random
from typing import Any, NamedTuple, get_args
from urllib.parse import quote

import aiohttp
import pytest
from pydantic import SecretStr

from presenter.access.identity import Authenticator, Identity, sign
from presenter.access.rbac import Kind, RbacRules, implied_groups
from presenter.cache.pool import Address
from presenter.config import AuthSettings, ClusterSettings
from presenter.kube.objects import read_object
from presenter.resource import ResourceType
from tests.access_control.world import caller
from tests.api.service import Service, serving
from tests.eventually import eventually
from tests.rbac.naive import RBAC, Json
from tests.rbac.objects import (
    cluster_role,
    cluster_role_binding,
    group,
    ref,
    role,
    role_binding,
    rule,
    service_account,
    user,
)
from tests.realcluster import ADMIN, ControlPlane, control_plane

pytestmark = pytest.mark.timeout(300)

SEED = 20260301
ROUNDS, REVIEWS, REQUESTS = 12, 600, 400
KEY = "a key for these tests only, of 256 bits or more"

NAMESPACES = ("prod", "dev", "team-a")
NAMES = ("a", "b", "A", "*", "prod", "dev", 'o"dd', "é☃", "a b")
UNUSUAL = ("", "a/b", "%", ".", "a\0b", "\ufffd", "a\ufffdb")
"""Values of resourceNames that no object can be called by, or only an odd one."""

OTHERS = "example.com"
RULES: Mapping[Kind, ResourceType] = {
    kind: ResourceType(RBAC, "v1", f"{kind.lower()}s", kind, kind.startswith("Role"), ("v1",))
    for kind in get_args(Kind)
}


class Type(NamedTuple):
    group: str
    version: str
    resource: str
    namespaced: bool
    subresource: str = ""

    def path(self, namespace: str) -> str:
        """Where its objects are, in a namespace or all."""
        root = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        return root + (f"/namespaces/{namespace}" if namespace else "") + f"/{self.resource}"

    @property
    def in_rules(self) -> str:
        return f"{self.resource}/{self.subresource}" if self.subresource else self.resource


TYPES = (
    Type("", "v1", "pods", True),
    Type("", "v1", "pods", True, "log"),
    Type("", "v1", "secrets", True),
    Type("apps", "v1", "deployments", True),
    Type("apps", "v1", "deployments", True, "scale"),
    Type("", "v1", "nodes", False),
    Type("", "v1", "namespaces", False),
    Type("", "v1", "namespaces", False, "status"),
    Type(OTHERS, "v1", "things", True),
    Type(OTHERS, "v1", "namespaces", False),
)
USERS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "alice": ("alice", ("devs",)),
    "bob": ("bob", ()),
    "carol": ("carol", ("ops", "system:authenticated")),
    "a stranger by group": ("stranger", ("devs", "system:unauthenticated")),
    "anonymous": ("system:anonymous", ()),
    "anonymous, in a group": ("system:anonymous", ("system:authenticated",)),
    "a service account": ("system:serviceaccount:prod:a", ("system:serviceaccounts", "system:serviceaccounts:prod")),
    "odd": ("é☃ (o'dd)", ("*",)),
    "root": ("root", ("system:masters",)),
}
"""By what is asked of a token: the name and the groups that it says."""

SUBJECTS = (
    *(user(name) for name in ("alice", "bob", "system:anonymous", "é☃ (o'dd)", "*", "system:serviceaccount:prod:a")),
    *(group(name) for name in ("devs", "ops", "*", "system:serviceaccounts:prod", "system:serviceaccounts")),
    *(group(f"system:{name}") for name in ("authenticated", "unauthenticated")),
    service_account("prod", "a"),
    service_account("dev", "a"),
)


class Asked(NamedTuple):
    """Who asks for what. Without a namespace: all of them, or the cluster scope; without a name: no one object."""

    who: str
    verb: str
    type: Type
    namespace: str
    name: str


# -- a cluster at random -----------------------------------------------------------------------------------------------


def random_rule(random: Random) -> Json:
    verbs = random.choice(["get", "list", "get list", "get list watch", "*", "create delete"])
    resources = {type.in_rules for type in random.sample(TYPES, random.randint(1, 3))}
    if random.random() < 0.2:
        resources.add(random.choice(["*", "*/log", "*/status", "pods/*", "*/*"]))
    made = rule(verbs, " ".join(sorted(resources)))
    made["apiGroups"] = random.choice([[""], ["apps"], [OTHERS], ["", "apps", OTHERS], ["*"], ["*.com"]])
    if random.random() < 0.6:
        made["resourceNames"] = random.sample([*NAMES, *UNUSUAL, *UNUSUAL[:1] * 4], random.randint(1, 4))
    return made


def random_objects(random: Random) -> Iterator[Json]:
    """RBAC objects that the API server takes, all that they refer to first."""
    names = ("r1", "r2", "r3", 'o"dd ☃')
    for name in names:
        made = cluster_role(name, *(random_rule(random) for _ in range(random.randint(0, 2))))
        if random.random() < 0.3:  # with its rules filled in, as a controller would
            made["aggregationRule"] = {"clusterRoleSelectors": [{"matchLabels": {"no": "body"}}]}
        if random.random() < 0.2:
            made["rules"].append({"verbs": ["*"], "nonResourceURLs": ["*"]})
        yield made
    for namespace in NAMESPACES:
        for name in random.sample(names, 2):
            yield role(namespace, name, *(random_rule(random) for _ in range(random.randint(1, 2))))
    for number in range(3):
        to = ref("ClusterRole", random.choice([*names, "gone"]))
        yield cluster_role_binding(f"b{number}", to, *random.sample(SUBJECTS, random.randint(1, 2)))
    for number in range(12):
        to = ref(random.choice(["Role", "ClusterRole"]), random.choice([*names, "gone"]))
        subjects = random.sample(SUBJECTS, random.randint(1, 2))
        if random.random() < 0.2:
            subjects.append({"kind": "ServiceAccount", "name": "a"})
        yield role_binding(random.choice(NAMESPACES), f"b{number}", to, *subjects)


def random_review(random: Random) -> Asked:
    type = random.choice(TYPES)
    verb = random.choice(["get", "get", "list", "list", "watch", "create", "delete", "deletecollection"])
    namespace = random.choice([*NAMESPACES, "elsewhere", ""]) if type.namespaced else ""
    return Asked(random.choice(list(USERS)), verb, type, namespace, random.choice(["", *NAMES, *UNUSUAL]))


def random_request(random: Random) -> Asked:
    type = random.choice(TYPES)
    verb = "get" if type.subresource else random.choice(["get", "list"])
    everywhere = [""] if verb == "list" else []
    namespace = random.choice([*NAMESPACES, "elsewhere", *everywhere]) if type.namespaced else ""
    nameless = [""] * 4 if verb == "list" else []
    return Asked(random.choice(list(USERS)), verb, type, namespace, random.choice([*NAMES, *nameless]))


# -- both sides --------------------------------------------------------------------------------------------------------


@dataclass
class Clients:
    """Connections to the API server, one for each user."""

    sessions: Mapping[str, aiohttp.ClientSession]

    async def send(self, method: str, path: str, body: Json | None = None, who: str = ADMIN) -> tuple[int, Any]:
        async with self.sessions[who].request(method, path, json=body) as answer:
            text = await answer.text()
            return answer.status, json.loads(text) if answer.content_type == "application/json" else text

    async def done(self, method: str, path: str, body: Json | None = None) -> Any:
        code, answer = await self.send(method, path, body)
        assert code in (200, 201), answer
        return answer

    async def reviewed(self, identity: Identity, asked: Asked) -> bool:
        """What a SubjectAccessReview says. Whoever is in a group by name has to be said to be."""
        type = asked.type
        # RequestInfo takes what follows /namespaces/ for a namespace, also where the objects themselves are called so.
        in_itself = type.resource == "namespaces" and asked.verb in ("get", "delete")
        attributes = {
            "verb": asked.verb,
            "group": type.group,
            "resource": type.resource,
            "subresource": type.subresource,
            "namespace": asked.name if in_itself else asked.namespace,
            "name": asked.name,
        }
        groups = sorted(identity.groups | implied_groups(identity.username))
        spec = {"user": identity.username, "groups": groups, "resourceAttributes": attributes}
        review = await self.done("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", {"spec": spec})
        return bool(review["status"]["allowed"])

    async def served(self, asked: Asked) -> bool:
        """Whether a request gets any further than to be authorized."""
        code, answer = await self._request(asked)
        assert code in (200, 403, 404), (code, answer, asked)
        return code != 403

    async def listed(self, asked: Asked) -> set[str] | None:
        """The uids of a list, or None when it is forbidden."""
        code, answer = await self._request(asked)
        return None if code == 403 else {item["metadata"]["uid"] for item in answer["items"]}

    async def _request(self, asked: Asked) -> tuple[int, Any]:
        path = asked.type.path(asked.namespace)
        if asked.verb == "list":
            path += f"?fieldSelector={quote(f'metadata.name={asked.name}')}" if asked.name else ""
        else:
            path += f"/{quote(asked.name)}"
        path += f"/{asked.type.subresource}" if asked.type.subresource else ""
        return await self.send("GET", path, who=asked.who)

    async def rules(self) -> RbacRules:
        """The rules as they are read of the API server."""
        rules = RbacRules()
        for kind, type in RULES.items():
            for item in (await self.done("GET", f"/apis/{RBAC}/v1/{type.resource}"))["items"]:
                read = read_object(json.dumps(item).encode(), type)
                raw = json.dumps(json.loads(read.raw), ensure_ascii=False).encode()  # as PostgreSQL gives it back
                assert rules.put(kind, read.namespace, read.name, raw) is None
        return rules

    async def become(self, objects: Iterable[Json], mark: str) -> None:
        """Replace what the round before has left, and wait until it is decided by what is there now."""
        for type in RULES.values():
            listed = await self.done("GET", f"/apis/{RBAC}/v1/{type.resource}?labelSelector=of=ours")
            for item in listed["items"]:
                await self.done("DELETE", _path(type, item["metadata"].get("namespace", ""), item["metadata"]["name"]))
        marked = rule("get", "pods", names=[mark])
        marks = [
            cluster_role(mark, marked),
            role("prod", mark, marked),
            cluster_role_binding(mark, ref("ClusterRole", mark), user(mark)),
            role_binding("prod", mark, ref("Role", mark), user(f"{mark}-in-prod")),
        ]
        for manifest in [*objects, *marks]:
            metadata = manifest["metadata"]
            metadata.pop("uid")
            metadata.pop("resourceVersion")
            body = {**manifest, "metadata": {**metadata, "labels": {"of": "ours"}}}
            await self.done("POST", _path(RULES[manifest["kind"]], metadata.get("namespace", "")), body)
        pods = TYPES[0]
        for name, namespace in ((mark, ""), (f"{mark}-in-prod", "prod")):
            asked = Asked("", "get", pods, namespace, mark)
            await eventually(partial(self.reviewed, Identity(name, frozenset()), asked), bool)


def _path(type: ResourceType, namespace: str, name: str = "") -> str:
    within = f"/namespaces/{namespace}" if namespace else ""
    return f"/apis/{type.group}/{type.version}{within}/{type.resource}" + (f"/{quote(name)}" if name else "")


def crd(resource: str, kind: str, scope: str) -> Json:
    version = {
        "name": "v1",
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}},
    }
    names = {"plural": resource, "singular": kind.lower(), "kind": kind}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{resource}.{OTHERS}"},
        "spec": {"group": OTHERS, "scope": scope, "names": names, "versions": [version]},
    }


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """One of this module's own: who is in which group is written into its tokens."""
    with control_plane(tmp_path_factory.mktemp("plane"), USERS) as plane:
        yield plane


@pytest.fixture
async def clients(plane: ControlPlane) -> AsyncIterator[Clients]:
    async with AsyncExitStack() as stack:
        yield Clients({who: await stack.enter_async_context(plane.session(who)) for who in plane.tokens})


async def identity_of(who: str) -> Identity:
    """Who a token of ours makes that says the same."""
    name, groups = USERS[who]
    authenticator = Authenticator.of(AuthSettings(SIGN_KEY=SecretStr(KEY)))
    return await authenticator.authenticate([f"Bearer {sign(KEY.encode(), name, groups, timedelta(hours=1))}"])


async def compared(
    questions: Iterable[Asked], decide: Callable[[Asked], bool], ask: Callable[[Asked], Awaitable[bool]]
) -> Counter[bool]:
    """How many are allowed and denied, here and there alike."""
    turns = asyncio.Semaphore(24)

    async def one(asked: Asked) -> tuple[Asked, bool]:
        async with turns:
            return asked, await ask(asked)

    answers = await asyncio.gather(*map(one, questions))
    wrong = [(asked, f"the API server says {there}") for asked, there in answers if decide(asked) is not there]
    assert wrong == [], f"{len(wrong)} of {len(answers)}"
    return Counter(there for _, there in answers)


async def ready(clients: Clients) -> None:
    """Let there be the namespaces and the types, unless another test has made them."""
    for name in NAMESPACES:
        await clients.send("POST", "/api/v1/namespaces", {"metadata": {"name": name}})
    for definition in (crd("things", "Thing", "Namespaced"), crd("namespaces", "Namespace", "Cluster")):
        await clients.send("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", definition)
    for resource in ("things", "namespaces"):
        await eventually(partial(clients.send, "GET", f"/apis/{OTHERS}/v1/{resource}"), lambda reply: reply[0] == 200)


async def test_the_api_server_decides_alike(clients: Clients) -> None:
    await ready(clients)
    identities = {who: await identity_of(who) for who in USERS}
    random, reviewed, requested = Random(SEED), Counter[bool](), Counter[bool]()
    for number in range(ROUNDS):
        await clients.become(random_objects(random), f"mark-{number}")
        rules = await clients.rules()

        def decided(asked: Asked, rules: RbacRules = rules) -> bool:
            type = asked.type
            who = identities[asked.who]
            grant = rules.grant(who, asked.verb, type.group, type.in_rules, namespaced=type.namespaced)
            covered = grant.covers(asked.namespace, asked.name)
            explained = rules.explain(
                who, asked.verb, type.group, type.in_rules, asked.namespace, asked.name, namespaced=type.namespaced
            )
            assert bool(explained) is covered, asked
            return covered

        reviews = [random_review(random) for _ in range(REVIEWS)]
        reviewed += await compared(reviews, decided, lambda asked: clients.reviewed(identities[asked.who], asked))
        requested += await compared([random_request(random) for _ in range(REQUESTS)], decided, clients.served)
    assert reviewed.total() + requested.total() >= 10_000
    for answers in (reviewed, requested):
        assert min(answers[True], answers[False]) > answers.total() / 10, "it is no comparison of one answer"


async def test_a_token_makes_the_groups_that_it_makes_there(clients: Clients) -> None:
    self_review = rule("create", "selfsubjectreviews", "authentication.k8s.io")
    everyone = [user(name) for name, _ in USERS.values()]
    for manifest in (
        cluster_role("self", self_review),
        cluster_role_binding("self", ref("ClusterRole", "self"), *everyone),
    ):
        manifest["metadata"] = {"name": "self"}
        await clients.done("POST", _path(RULES[manifest["kind"]], ""), manifest)
    for who, (name, _) in USERS.items():

        async def themselves(who: str = who) -> Any:
            code, answer = await clients.send("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", {}, who)
            return answer["status"] if code == 201 else {}

        info = (await eventually(themselves, bool))["userInfo"]
        assert info["username"] == name
        assert (await identity_of(who)).groups == set(info.get("groups", ())), who


CACHED = tuple(type for type in TYPES if not type.subresource and type != Type(OTHERS, "v1", "namespaces", False))


async def test_the_service_shows_what_the_api_server_shows(
    plane: ControlPlane, clients: Clients, database: Address, tmp_path: Path
) -> None:
    """Watched, stored and asked for over HTTP: each object, and each list."""
    await ready(clients)
    mark = "mark-of-all"
    odd = [
        role("dev", "own", rule("get", "namespaces"), rule("list", "secrets", names=[""])),
        role_binding("dev", "own", ref("Role", "own"), user("alice"), user("system:anonymous")),
    ]
    await clients.become([*random_objects(Random(SEED)), *odd], mark)
    for manifest in things(mark):
        await clients.done("POST", manifest.pop("path"), manifest)
    watch = [f"{type.resource}.{type.group}".rstrip(".") for type in CACHED]
    cluster = ClusterSettings(
        KUBECONFIG=str(plane.write_kubeconfig(tmp_path / "config")), CLUSTER_NAME="real", WATCH=watch
    )
    async with serving(database, cluster=cluster) as service:
        await eventually(partial(service.get, "/readyz"), lambda reply: reply.code == 200)
        callers = {who: caller(service, name, *groups) for who, (name, groups) in USERS.items()}
        for name in (mark, f"{mark}-in-prod"):  # who may get one pod, by the rules that were written last
            uid = (await clients.done("GET", f"/api/v1/namespaces/prod/pods/{mark}"))["metadata"]["uid"]
            await eventually(partial(caller(service, name).detail, f"real:{uid}"), lambda reply: reply.code == 200)
        seen = Counter[bool]()
        for type in CACHED:
            for who in USERS:
                seen += await one_by_one(clients, callers, who, type)
                await as_lists(clients, callers[who], who, type)
    assert min(seen[True], seen[False]) > seen.total() / 10


async def one_by_one(clients: Clients, callers: Mapping[str, Service], who: str, type: Type) -> Counter[bool]:
    """Each object that root is shown, as somebody: shown or not, here and there alike."""
    seen = Counter[bool]()
    for item in await callers["root"].walk(group=type.group or "core", resource=type.resource, namespace="*"):
        there = await clients.served(Asked(who, "get", type, item["namespace"], item["name"]))
        here = (await callers[who].detail(item["global_uid"])).code
        assert here == (200 if there else 404), (who, item)
        seen[there] += 1
    return seen


async def as_lists(clients: Clients, asker: Service, who: str, type: Type) -> None:
    """Lists of a namespace and of all, with and without a name: the same objects, or none at all."""
    for name in ("", "a", "prod"):
        asked = {"group": type.group or "core", "resource": type.resource} | ({"name": name} if name else {})
        lists = {
            place: await clients.listed(Asked(who, "list", type, place, name))
            for place in ("", *(NAMESPACES if type.namespaced else ()))
        }
        for place in NAMESPACES if type.namespaced else ():
            assert await shown(asker, **asked, namespace=place) == lists[place], (who, type, place, name)
        everywhere = lists.pop("")
        if everywhere is None and any(found is not None for found in lists.values()):
            everywhere = set().union(*filter(None, lists.values()))  # which the API server leaves to its callers
        assert await shown(asker, **asked, namespace="*") == everywhere, (who, type, name)


async def shown(asker: Service, **asked: str) -> set[str] | None:
    """The uids of a list, or None when it is forbidden."""
    page = await asker.page(**asked)
    return None if page.code == 403 else {item["uid"] for item in page.items}


def things(mark: str) -> Iterator[Json]:
    """Some objects of each type; the one that is named by a mark, too."""
    image = {"name": "c", "image": "i"}
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [image]}}
    specs: dict[str, Json] = {
        "pods": {"spec": {"containers": [image]}},
        "deployments": {"spec": {"selector": {"matchLabels": {"a": "b"}}, "template": template}},
        "things": {"apiVersion": f"{OTHERS}/v1", "kind": "Thing"},
    }
    for type in CACHED:
        if type.resource == "namespaces":
            continue
        for namespace in NAMESPACES if type.namespaced else ("",):
            for name in ("a", "b", "prod", *([mark] if (type.resource, namespace) == ("pods", "prod") else ())):
                yield {"path": type.path(namespace), "metadata": {"name": name}, **specs.get(type.resource, {})}
