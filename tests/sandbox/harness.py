"""What the tests of the sandbox share: a client, manifests, and kubectl as a function."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from presenter.sandbox import Sandbox

CHECKOUT = Path(__file__).parents[2]
WIDGETS = "widgets.templates.krateo.io"
PANELS = f"panels.{WIDGETS}"
PANELS_PATH = f"/apis/{WIDGETS}/v1beta1/namespaces/default/panels"
DEADLINE = 10

Json = dict[str, Any]


def crd(plural: str, kind: str, group: str = WIDGETS, versions: tuple[str, ...] = ("v1beta1",)) -> Json:
    """A CustomResourceDefinition with a status subresource; the last of its versions is stored."""
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}"},
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {"plural": plural, "kind": kind},
            "versions": [
                {
                    "name": version,
                    "served": True,
                    "storage": version == versions[-1],
                    "subresources": {"status": {}},
                    "schema": {
                        "openAPIV3Schema": {
                            "type": "object",
                            "properties": {"spec": {"type": "object", "description": "What it shows."}},
                        }
                    },
                    "additionalPrinterColumns": [
                        {"name": "Title", "type": "string", "jsonPath": ".spec.title"},
                        {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
                    ],
                }
                for version in versions
            ],
        },
    }


def panel(name: str, namespace: str = "default", labels: dict[str, str] | None = None, **spec: Any) -> Json:
    """A Panel."""
    return {
        "apiVersion": f"{WIDGETS}/v1beta1",
        "kind": "Panel",
        "metadata": {"name": name, "namespace": namespace, "labels": labels or {}},
        "spec": spec,
    }


@dataclass
class Reply:
    """An HTTP response, read to its end."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Stream:
    """A running watch, read event by event."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self.response = response

    async def next(self) -> Json:
        async with asyncio.timeout(DEADLINE):
            line = await self.response.content.readuntil(b"\n")
        if not line.endswith(b"\n"):
            raise EOFError(line)
        event: Json = json.loads(line)
        return event

    async def take(self, count: int) -> list[tuple[str, str]]:
        """The next events, as type and name."""
        events = [await self.next() for _ in range(count)]
        return [(event["type"], event["object"]["metadata"].get("name", "")) for event in events]

    async def rest(self) -> bytes:
        """Everything until the watch ends."""
        async with asyncio.timeout(DEADLINE):
            return await self.response.content.read()


class Client:
    """Plain HTTP to a sandbox."""

    def __init__(self, session: aiohttp.ClientSession, sandbox: Sandbox) -> None:
        self.session = session
        self.sandbox = sandbox
        self._streams: list[aiohttp.ClientResponse] = []

    async def send(
        self,
        method: str,
        path: str,
        body: Any = None,
        headers: dict[str, str] | None = None,
        /,
        **query: str | int,
    ) -> Reply:
        data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        headers = {"Content-Type": "application/json", **(headers or {})}
        call = self.session.request(method, self.sandbox.url + path, data=data, headers=headers, params=query)
        async with asyncio.timeout(DEADLINE), call as response:
            return Reply(response.status, response.headers, await response.read())

    async def get(self, path: str, headers: dict[str, str] | None = None, /, **query: str | int) -> Any:
        reply = await self.send("GET", path, None, headers, **query)
        assert reply.status == 200, reply.body
        return reply.json

    async def post(self, path: str, body: Any, /, **query: str | int) -> Any:
        reply = await self.send("POST", path, body, **query)
        assert reply.status == 201, reply.body
        return reply.json

    async def watch(self, path: str, headers: dict[str, str] | None = None, /, **query: str | int) -> Stream:
        parameters = {"watch": "true", **query}
        response = await self.session.get(self.sandbox.url + path, params=parameters, headers=headers)
        assert response.status == 200, await response.read()
        self._streams.append(response)
        return Stream(response)

    def close(self) -> None:
        for response in self._streams:
            response.close()


@dataclass
class Outcome:
    """What a command printed, and its exit code."""

    code: int
    out: str
    err: str


class Kubectl:
    """kubectl with the kubeconfig of a sandbox."""

    def __init__(self, binary: Path, sandbox: Sandbox, home: Path) -> None:
        self._binary = binary
        self._home = home
        sandbox.write_kubeconfig(home / "kubeconfig")

    async def start(self, *arguments: str) -> asyncio.subprocess.Process:
        environment = {
            "KUBECONFIG": str(self._home / "kubeconfig"),
            "HOME": str(self._home),
            "PATH": os.defpath,
        }
        pipe = asyncio.subprocess.PIPE
        return await asyncio.create_subprocess_exec(
            self._binary, *arguments, stdin=pipe, stdout=pipe, stderr=pipe, env=environment, cwd=self._home
        )

    async def run(self, *arguments: str, stdin: Json | str | None = None) -> Outcome:
        text = stdin if isinstance(stdin, str | None) else json.dumps(stdin)
        process = await self.start(*arguments)
        async with asyncio.timeout(60):
            out, err = await process.communicate(text.encode() if text is not None else None)
        return Outcome(process.returncode or 0, out.decode(), err.decode())

    async def __call__(self, *arguments: str, stdin: Json | str | None = None) -> str:
        """Run kubectl, which must succeed; returns what it printed."""
        outcome = await self.run(*arguments, stdin=stdin)
        assert outcome.code == 0, outcome.err
        return outcome.out
