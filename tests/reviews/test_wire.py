"""One question as it goes over the wire, and what counts as its answer."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from presenter.access.review_authorizer import Question, ReviewAuthorizer
from presenter.config import ClusterSettings
from presenter.errors import Unavailable
from presenter.kube.client import KubeClient
from presenter.kube.subject_access_reviews import PATH, SubjectAccessReviews
from tests.rbac.objects import identity
from tests.reviews.world import CLUSTER, DEPLOYMENTS, TTL, World

QUESTION = Question(identity("alice"), "get", "apps", "deployments", "prod", "web")


def review(**status: Any) -> str:
    return json.dumps({"kind": "SubjectAccessReview", "apiVersion": "authorization.k8s.io/v1", "status": status})


class ApiServer:
    """Gives every review the same answer, and keeps what it was asked."""

    def __init__(self) -> None:
        self.answer = review(allowed=True)
        self.asked: list[dict[str, Any]] = []

    async def handle(self, request: web.Request) -> web.Response:
        self.asked.append(await request.json())
        return web.Response(text=self.answer, status=201, content_type="application/json")

    @asynccontextmanager
    async def client(self, directory: Path) -> AsyncIterator[KubeClient]:
        """A client of it, while it listens."""
        application = web.Application()
        application.router.add_post(PATH, self.handle)
        runner = web.AppRunner(application, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        kubeconfig = {
            "clusters": [{"name": "it", "cluster": {"server": f"http://127.0.0.1:{runner.addresses[0][1]}"}}],
            "users": [{"name": "it", "user": {}}],
            "contexts": [{"name": "it", "context": {"cluster": "it", "user": "it"}}],
            "current-context": "it",
        }
        (directory / "kubeconfig").write_text(json.dumps(kubeconfig))
        client = await KubeClient.connect(ClusterSettings(kubeconfig=str(directory / "kubeconfig")), read_timeout=5.0)
        try:
            yield client
        finally:
            await client.close()
            await runner.cleanup()


@pytest.mark.parametrize("username", ["alice", 'o"dd', "line\nbreak", "ünï/код", "\ud800", "system:admin,devs"])
async def test_the_whole_question_is_asked_and_nothing_else(tmp_path: Path, username: str) -> None:
    server = ApiServer()
    async with server.client(tmp_path) as client:
        question = Question(identity(username, "devs", 'o"ps'), "list", "apps", "deployments", "prod", "web")
        assert await SubjectAccessReviews(client).allowed(question)
    attributes = {"verb": "list", "group": "apps", "resource": "deployments", "namespace": "prod", "name": "web"}
    assert server.asked == [
        {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SubjectAccessReview",
            "spec": {
                "user": username,
                "groups": ["devs", 'o"ps', "system:authenticated"],
                "resourceAttributes": attributes,
            },
        }
    ]


async def test_the_groups_that_a_service_account_is_in_are_said(tmp_path: Path, world: World) -> None:
    server = ApiServer()
    async with server.client(tmp_path) as client:
        authorizer = ReviewAuthorizer({CLUSTER: SubjectAccessReviews(client)}, world.namespaces_of, TTL)
        await authorizer.allowed(identity("system:serviceaccount:dev:robot"), "get", DEPLOYMENTS, "dev", "web")
    assert server.asked[0]["spec"]["groups"] == [
        "system:authenticated",
        "system:serviceaccounts",
        "system:serviceaccounts:dev",
    ]


@pytest.mark.parametrize(
    ("status", "allowed"),
    [
        ({"allowed": True, "reason": "RBAC: allowed by ClusterRoleBinding"}, True),
        ({"allowed": False}, False),
        ({"allowed": False, "denied": True, "reason": "a webhook says no"}, False),
        ({"allowed": True, "evaluationError": "another authorizer failed"}, True),
    ],
)
async def test_a_verdict(tmp_path: Path, status: dict[str, Any], allowed: bool) -> None:
    server = ApiServer()
    server.answer = review(**status)
    async with server.client(tmp_path) as client:
        assert await SubjectAccessReviews(client).allowed(QUESTION) is allowed


@pytest.mark.parametrize(
    ("answer", "match"),
    [
        (review(allowed=False, evaluationError="webhook down"), "could not decide who may see what: webhook down"),
        (review(), "no review: .*`allowed`"),
        (review(allowed="true"), "no review: .*bool"),
        (review(allowed=None), "no review: .*bool"),
        ('{"kind": "SubjectAccessReview"}', "no review: .*`status`"),
        ('{"kind": "Status", "status": {"allowed": true}}', "no review: Invalid enum value 'Status'"),
        ('{"status": {"allowed": true}}', "no review: .*`kind`"),
        ('{"kind": "SubjectAccessReview", "status": {"allowed": true}', "no review"),
        ("<html>Welcome</html>", "no review"),
        ("", "no review"),
    ],
)
async def test_no_verdict(tmp_path: Path, answer: str, match: str) -> None:
    server = ApiServer()
    server.answer = answer
    async with server.client(tmp_path) as client:
        with pytest.raises(Unavailable, match=match):
            await SubjectAccessReviews(client).allowed(QUESTION)
