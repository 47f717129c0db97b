"""What runs a release: the controllers and the kubelet of a cluster, as far as the chart needs them.

Pods are processes of this checkout, with the arguments, the environment and the account that the manifests give them.
"""

from __future__ import annotations

import asyncio
import base64
import os
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp

from presenter.sandbox import Sandbox, StatusError, User
from tests.chart.helm import NAMESPACE, Manifest, container
from tests.e2e.processes import PATIENCE, Process
from tests.eventually import eventually

DEPLOYMENTS, JOBS, PODS = "deployments.apps", "jobs.batch", "pods"
Work = Callable[[], Coroutine[Any, Any, None]]
TURN = 0.05
"""Seconds between looks at what there is to do."""


@dataclass(frozen=True)
class Pod:
    """A running process, and the labels by which a Service finds it."""

    process: Process
    labels: dict[str, str]
    url: str


class Node:
    """Brings Deployments, Jobs and pods of one namespace to what they say, and writes their status."""

    def __init__(self, sandbox: Sandbox, session: aiohttp.ClientSession, home: Path) -> None:
        self.jobs: list[str] = []
        """What Jobs printed."""
        self._sandbox = sandbox
        self._cluster = sandbox.cluster
        self._session = session
        self._home = home
        self._started: list[Process] = []
        self._busy: set[str] = set()
        self._running: dict[str, tuple[str, list[Pod]]] = {}

    @asynccontextmanager
    async def working(self) -> AsyncIterator[Node]:
        """While inside, it works."""
        task = asyncio.create_task(self._work())
        try:
            yield self
            assert not task.done(), task
        finally:
            task.cancel()
            await asyncio.wait([task])
            for process in self._started:
                await process.kill()
                sys.stderr.write(process.log() + "\n")

    def url(self, service: str) -> str:
        """Where one of the pods behind a Service answers, the newest."""
        selector = self._cluster.get("services", service, NAMESPACE)["spec"]["selector"].items()
        behind = [pod for _, pods in self._running.values() for pod in pods if selector <= pod.labels.items()]
        return behind[-1].url

    def pods(self) -> list[Pod]:
        """All that run for Deployments."""
        return [pod for _, pods in self._running.values() for pod in pods]

    async def _work(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            while True:
                for name, work in self._todo():
                    if name not in self._busy:
                        self._busy.add(name)
                        tasks.create_task(self._done(name, work()))
                await asyncio.sleep(TURN)

    async def _done(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        await work
        self._busy.remove(name)

    def _todo(self) -> Iterator[tuple[str, Work]]:
        """What is not as it should be, by name, and how it becomes so."""
        for job in self._of(JOBS):
            if not job.get("status", {}).get("conditions"):
                yield f"job {job['metadata']['uid']}", partial(self._run_job, job)
        for pod in self._of(PODS):
            if pod["status"]["phase"] == "Pending":
                yield f"pod {pod['metadata']['uid']}", partial(self._run_pod, pod)
        wanted = {deployment["metadata"]["name"]: deployment for deployment in self._of(DEPLOYMENTS)}
        for name in self._running.keys() - wanted.keys():
            yield name, partial(self._remove, name)
        for name, deployment in wanted.items():
            generation = f"{deployment['metadata']['uid']} {deployment['metadata']['generation']}"
            if self._running.get(name, ("", []))[0] != generation:
                yield name, partial(self._roll, name, generation, deployment)

    def _of(self, resource: str) -> list[Manifest]:
        return [found for found in self._cluster.objects(resource) if found["metadata"]["namespace"] == NAMESPACE]

    def _report(self, resource: str, name: str, status: Manifest) -> None:
        with suppress(StatusError):  # it may have been deleted meanwhile
            self._cluster.merge_patch(resource, name, NAMESPACE, {"status": status})

    # -- the controllers -------------------------------------------------------------------------------------

    async def _roll(self, name: str, generation: str, deployment: Manifest) -> None:
        """New pods, and once they are ready the old ones end, as with maxUnavailable: 0."""
        replicas = deployment["spec"]["replicas"]
        self._report(DEPLOYMENTS, name, {"observedGeneration": deployment["metadata"]["generation"], "replicas": 0})
        new = [await self._start(deployment["spec"]["template"]) for _ in range(replicas)]
        _, old = self._running.get(name, ("", []))
        self._running[name] = (generation, new)
        await self._end(old)
        counted = ("replicas", "updatedReplicas", "readyReplicas", "availableReplicas")
        conditions = [
            {"type": "Available", "status": "True", "reason": "MinimumReplicasAvailable"},
            {"type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable"},
        ]
        self._report(DEPLOYMENTS, name, dict.fromkeys(counted, replicas) | {"conditions": conditions})

    async def _remove(self, name: str) -> None:
        _, pods = self._running.pop(name)
        await self._end(pods)

    async def _end(self, pods: list[Pod]) -> None:
        for pod in pods:
            assert await pod.process.stop() == 0, pod.process.log()

    async def _run_job(self, job: Manifest) -> None:
        only = container(job)
        pod = job["spec"]["template"]["spec"]
        process = await self._presenter(only, self._environment(pod, only))
        done = await process.ended() == 0
        self.jobs += process.out
        kinds = ("SuccessCriteriaMet", "Complete") if done else ("FailureTarget", "Failed")
        conditions = [{"type": kind, "status": "True", "reason": "Ended"} for kind in kinds]
        counted = {"succeeded": 1} if done else {"failed": 1}
        self._report(JOBS, job["metadata"]["name"], {"conditions": conditions, "ready": 0} | counted)

    async def _run_pod(self, pod: Manifest) -> None:
        """A pod without a controller, such as that of `helm test`: its command runs to its end."""
        only = container(pod)
        bin = str(Path(sys.executable).parent)
        process = await asyncio.create_subprocess_exec(
            *only["command"],
            *only["args"],
            env={"PATH": f"{bin}:{os.defpath}"} | self._environment(pod["spec"], only),
            cwd=self._home,
        )
        phase = "Succeeded" if await process.wait() == 0 else "Failed"
        self._report(PODS, pod["metadata"]["name"], {"phase": phase})

    # -- the kubelet -----------------------------------------------------------------------------------------

    async def _start(self, template: Manifest) -> Pod:
        """A pod of a Deployment, once it is ready."""
        (only,) = template["spec"]["containers"]
        environment = self._environment(template["spec"], only) | {"PORT": "0"}  # a pod has its ports for itself
        process = await self._presenter(only, environment)
        found = await process.line(r'"event": "listening".*"port": (\d+)|"port": (\d+).*"event": "listening"')
        url = f"http://127.0.0.1:{found[1] or found[2]}"
        probe = url + only["readinessProbe"]["httpGet"]["path"]
        await eventually(partial(self._is_ready, probe), bool, PATIENCE)
        return Pod(process, template["metadata"]["labels"], url)

    async def _presenter(self, container: Manifest, environment: dict[str, str]) -> Process:
        process = await Process.start(*container["args"], home=self._home, **environment)
        self._started.append(process)
        return process

    async def _is_ready(self, url: str) -> bool:
        async with self._session.get(url) as response:
            return response.status == 200

    def _environment(self, pod: Manifest, container: Manifest) -> dict[str, str]:
        """The variables of a container: also names of Services are found, and the cluster by the pod's account."""
        found = {}
        for variable in container["env"]:
            if "value" in variable:
                found[variable["name"]] = self._resolved(variable["value"])
            else:
                found[variable["name"]] = self._secret(**variable["valueFrom"]["secretKeyRef"])
        if pod["automountServiceAccountToken"]:
            found["KUBECONFIG"] = self._login(pod["serviceAccountName"])
        return found

    def _resolved(self, value: str) -> str:
        name, is_url, _ = value.removeprefix("http://").partition(f".{NAMESPACE}.svc:")
        return self.url(name) if is_url else value

    def _secret(self, name: str, key: str) -> str:
        return base64.b64decode(self._cluster.get("secrets", name, NAMESPACE)["data"][key]).decode()

    def _login(self, account: str) -> str:
        """A kubeconfig with the account's token; the account has to exist."""
        self._cluster.get("serviceaccounts", account, NAMESPACE)
        token = f"token-of-{account}"
        self._sandbox.tokens[token] = User(f"system:serviceaccount:{NAMESPACE}:{account}")
        path = self._home / f"kubeconfig-{account}"
        self._sandbox.write_kubeconfig(path, token=token)
        return str(path)
