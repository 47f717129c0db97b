"""Whatever happens meanwhile, a list and the watch from its resourceVersion lead to the state of the cluster."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from kubernetes_asyncio import client as kubernetes
from kubernetes_asyncio import config as kubernetes_config

from presenter.sandbox import Cluster, Sandbox
from tests.sandbox.harness import DEADLINE, PANELS, PANELS_PATH, Client, crd, panel

NAMES = st.sampled_from("abcdef")
ON = st.sampled_from((None, "true", "false"))
Change = tuple[str, str, str | None]
changes: st.SearchStrategy[Change] = st.one_of(
    st.tuples(st.just("apply"), NAMES, ON),
    st.tuples(st.just("delete"), NAMES, st.none()),
    st.tuples(st.just("compact"), st.just(""), st.none()),
    st.tuples(st.just("cut"), st.just(""), st.none()),
)


@dataclass
class Mirror:
    """A client that lists in pages, watches, and starts over as it is told."""

    client: Client
    selector: str
    objects: dict[str, Any] = field(default_factory=dict)
    version: str = ""

    async def list(self) -> None:
        query: dict[str, str | int] = {"limit": 2, "labelSelector": self.selector}
        self.objects, token = {}, ""
        while True:
            reply = await self.client.send("GET", PANELS_PATH, **query, **({"continue": token} if token else {}))
            if reply.status == 410:
                self.objects, token = {}, ""
                continue
            assert reply.status == 200, reply.body
            listed = reply.json
            self.objects |= {item["metadata"]["name"]: item for item in listed["items"]}
            self.version = listed["metadata"]["resourceVersion"]
            token = listed["metadata"].get("continue", "")
            if not token:
                return

    async def watch(self) -> None:
        """Follow until cancelled."""
        while True:
            query = {"resourceVersion": self.version, "allowWatchBookmarks": "true", "labelSelector": self.selector}
            stream = await self.client.watch(PANELS_PATH, **query)
            async for line in stream.response.content:
                event = json.loads(line)
                if event["type"] == "ERROR":
                    assert event["object"]["code"] == 410
                    await self.list()
                    break
                self.apply(event)

    def apply(self, event: Any) -> None:
        metadata = event["object"]["metadata"]
        self.version = metadata["resourceVersion"]
        if event["type"] == "DELETED":
            del self.objects[metadata["name"]]
        elif event["type"] != "BOOKMARK":
            known = metadata["name"] in self.objects
            assert known == (event["type"] == "MODIFIED"), "ADDED and MODIFIED say the truth"
            self.objects[metadata["name"]] = event["object"]


def make(sandbox: Sandbox, change: Change, number: int) -> None:
    kind, name, on = change
    cluster = sandbox.cluster
    if kind == "compact":
        cluster.compact()
    elif kind == "cut":
        sandbox.faults.cut("end")
    elif kind == "apply":
        cluster.apply(panel(name, labels={"on": on} if on else {}, number=number))
    elif any(existing["metadata"]["name"] == name for existing in cluster.objects(PANELS)):
        cluster.delete(PANELS, name, "default")


@given(
    before=st.lists(changes, max_size=8),
    meanwhile=st.lists(st.tuples(changes, st.integers(0, 5)), min_size=3, max_size=20),
    selector=st.sampled_from(("", "on=true", "on!=true")),
)
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_list_and_watch(before: list[Change], meanwhile: list[tuple[Change, int]], selector: str) -> None:
    asyncio.run(_list_and_watch(before, meanwhile, selector))


async def _list_and_watch(before: list[Change], meanwhile: list[tuple[Change, int]], selector: str) -> None:
    async with Sandbox(cluster=Cluster(seed=0)) as sandbox, aiohttp.ClientSession() as session:
        sandbox.cluster.create(crd("panels", "Panel"))
        for number, change in enumerate(before):
            make(sandbox, change, number)
        client = Client(session, sandbox)
        mirror = Mirror(client, selector)

        async def follow() -> None:
            await mirror.list()
            await mirror.watch()

        following = asyncio.create_task(follow())
        for number, (change, turns) in enumerate(meanwhile):
            make(sandbox, change, 100 + number)
            for _ in range(turns):
                await client.send("GET", "/livez")  # the mirror gets as far as it may meanwhile
        await _reached(mirror, sandbox, following, selector)
        following.cancel()
        await asyncio.wait([following])
        client.close()


async def _reached(mirror: Mirror, sandbox: Sandbox, following: asyncio.Task[None], selector: str) -> None:
    wanted = {"": (None, "true", "false"), "on=true": ("true",), "on!=true": (None, "false")}[selector]
    expected = {
        item["metadata"]["name"]: item
        for item in sandbox.cluster.objects(PANELS)
        if item["metadata"]["labels"].get("on") in wanted
    }
    async with asyncio.timeout(DEADLINE):
        while mirror.objects != expected or mirror.version != str(sandbox.cluster.resource_version):
            assert not following.done(), following
            sandbox.bookmark()
            await asyncio.sleep(0.001)


async def test_the_client_of_the_service(sandbox: Sandbox, tmp_path: Any) -> None:
    """One round of list and watch with kubernetes_asyncio."""
    sandbox.cluster.create(panel("a"))
    sandbox.write_kubeconfig(tmp_path / "kubeconfig")
    configuration = kubernetes.Configuration()
    await kubernetes_config.load_kube_config(str(tmp_path / "kubeconfig"), client_configuration=configuration)
    async with kubernetes.ApiClient(configuration) as api:
        listed = await kubernetes.CustomObjectsApi(api).list_cluster_custom_object(
            "widgets.templates.krateo.io", "v1beta1", "panels"
        )
        assert [item["metadata"]["name"] for item in listed["items"]] == ["a"]
        query = [("watch", "true"), ("resourceVersion", listed["metadata"]["resourceVersion"])]
        response = await api.call_api(PANELS_PATH, "GET", query_params=query, _preload_content=False)
        sandbox.cluster.create(panel("b"))
        event = json.loads(await asyncio.wait_for(response.content.readline(), DEADLINE))
        assert (event["type"], event["object"]["metadata"]["name"]) == ("ADDED", "b")
        response.close()
        namespaces = await kubernetes.CoreV1Api(api).list_namespace()
        assert {namespace.metadata.name for namespace in namespaces.items} >= {"default", "kube-system"}
